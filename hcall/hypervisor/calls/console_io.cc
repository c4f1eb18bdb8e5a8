// console_io (18): domain 0 writes on the console; there is nobody to read from.

#include "hcall/hypervisor/calls/call.h"
#include "hcall/schema/generated/xen.h"

namespace xencomm::hypervisor {
namespace {

std::uint32_t CountOf(const Call& call) {
  return static_cast<std::uint32_t>(call.frame.arguments[1]);
}

std::int64_t Write(Call& call) {
  constexpr std::uint32_t kChunk = 127;  // as Xen, which ends it with a zero
  const std::uint32_t count = CountOf(call);
  const std::uint64_t pointer = call.frame.arguments[2];
  const auto text = call.Handle<const char>(pointer, count);
  // As in a multicall, a descriptor's pointer stays, and how far the call came is kept in the
  // count's upper half.
  const bool by_descriptor = call.domain.space == SpaceKind::kXcom;
  auto done = static_cast<std::uint32_t>(by_descriptor ? call.frame.arguments[1] >> 32 : 0);
  while (done < count) {
    char chunk[kChunk];
    const std::uint32_t length = count - done < kChunk ? count - done : kChunk;
    if (!text.Read(done, std::span<char>(chunk, length)).ok()) return -kEFAULT;
    call.core.console.Print(call.core.machine, {chunk, length});
    done += length;
    if (done != count && call.ShouldPreempt()) {
      if (by_descriptor) {
        return call.ContinueWith(__HYPERVISOR_console_io, CONSOLEIO_write,
                                 std::uint64_t{done} << 32 | count);
      }
      call.frame.arguments[2] = pointer + done;
      return call.ContinueWith(__HYPERVISOR_console_io, CONSOLEIO_write, count - done);
    }
  }
  return 0;
}

// Nobody types there.
std::int64_t Read(Call&) { return 0; }

constexpr OpTable<Call, CONSOLEIO_read + 1> kOps = {
    {CONSOLEIO_write, Write},
    {CONSOLEIO_read, Read},
};

}  // namespace

OpAnswer AskConsoleIo(std::uint64_t op) { return kOps.Ask(op); }

std::int64_t ConsoleIo(Call& call) {
  if (!call.domain.privileged) return -kEPERM;
  // Xen's count is an int.
  if (CountOf(call) > 0x7fffffff) return -kEINVAL;
  return kOps.Run(static_cast<std::uint32_t>(call.frame.arguments[0]), call);
}

}  // namespace xencomm::hypervisor
