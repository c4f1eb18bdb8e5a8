// console_io (18): domain 0 writes on the console; there is nobody to read from.

#include "hcall/hypervisor/call.h"
#include "hcall/schema/xen.h"

namespace xencomm::hypervisor {
namespace {

std::int64_t Write(Call& call, std::uint32_t count) {
  constexpr std::uint32_t kChunk = 128;
  const std::uint64_t pointer = call.frame.arguments[2];
  const auto text = call.Handle<const char>(pointer, count);
  if (!text.ok()) return -kEFAULT;
  for (std::uint32_t done = 0; done < count;) {
    char chunk[kChunk];
    const std::uint32_t length = count - done < kChunk ? count - done : kChunk;
    if (!text->Read(done, std::span<char>(chunk, length)).ok()) return -kEFAULT;
    call.core.console.Print(call.core.machine, {chunk, length});
    done += length;
    if (done != count && call.ShouldPreempt()) {
      call.frame.arguments[2] = pointer + done;
      return call.ContinueWith(__HYPERVISOR_console_io, CONSOLEIO_write, count - done);
    }
  }
  return 0;
}

}  // namespace

std::int64_t ConsoleIo(Call& call) {
  if (!call.domain.privileged) return -kEPERM;
  const auto count = static_cast<std::uint32_t>(call.frame.arguments[1]);
  // Xen's count is an int.
  if (count > 0x7fffffff) return -kEINVAL;
  switch (static_cast<std::uint32_t>(call.frame.arguments[0])) {
    case CONSOLEIO_write:
      return Write(call, count);
    case CONSOLEIO_read:
      return 0;
    default:
      return -kENOSYS;
  }
}

}  // namespace xencomm::hypervisor
