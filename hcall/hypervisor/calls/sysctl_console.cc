// sysctl: the console ring and the keys pressed on it.

#include "hcall/hypervisor/calls/sysctl.h"
#include "hcall/hypervisor/domain/event_channel.h"
#include "hcall/schema/generated/rows.h"

namespace xencomm::hypervisor {

std::int64_t ReadConsole(SysctlCall& op) {
  constexpr std::uint32_t kChunk = 256;
  xen_sysctl_readconsole& request = op.argument->u.readconsole;
  const auto buffer = op.argument.Bind(schema::rows::sysctl::readconsole::buffer);
  Console& console = op.call.core.console;

  std::uint32_t position = console.StartFor(request.incremental != 0, request.index);
  // No more than the ring holds, or it could be written as fast as it is read.
  const std::uint32_t most =
      request.count < Console::kRingSize ? request.count : Console::kRingSize;
  std::uint32_t done = 0;
  while (done < most) {
    char chunk[kChunk];
    const std::uint32_t room = most - done < kChunk ? most - done : kChunk;
    const std::uint32_t copied = console.Read(position, chunk, room, &position);
    if (copied == 0) break;
    if (!buffer.Write(done, std::span<const char>(chunk, copied)).ok()) return -kEFAULT;
    done += copied;
  }
  if (request.clear != 0) console.ForgetUpTo(position);
  request.count = done;
  request.index = position;
  return 0;
}

std::int64_t DebugKeys(SysctlCall& op) {
  const xen_sysctl_debug_keys& request = op.argument->u.debug_keys;
  const auto keys = op.argument.Bind(schema::rows::sysctl::debug_keys::keys);
  for (std::uint32_t i = 0; i < request.nr_keys; ++i) {
    char key;
    if (!keys.Read(i, key).ok()) return -kEFAULT;
    // What is printed for a key is for people; that it was pressed can be seen.
    char line[] = "(XEN) '?' pressed\n";
    line[7] = key;
    op.call.core.console.Print(op.call.core.machine, {line, sizeof(line) - 1});
    SendGlobalVirq(op.call.core, VIRQ_CON_RING);
    // Xen goes on for as long as the guest says; there is no place to keep how far it came.
    if (i + 1 != request.nr_keys && op.call.ShouldPreempt()) return -kE2BIG;
  }
  return 0;
}

}  // namespace xencomm::hypervisor
