// A process of the embedded machine's domain 0 that has a region: what `layout` and `walk` look at
// when they are given nothing else.
#ifndef HCALL_TOOLS_EMBEDDED_PROCESS_H_
#define HCALL_TOOLS_EMBEDDED_PROCESS_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "hcall/tools/memory_view.h"
#include "hcall/transport/embedded/embedded_transport.h"
#include "hcall/transport/setting.h"
#include "xencomm/arena.h"

namespace xencomm::tools {

class EmbeddedProcess {
 public:
  // Its region has room for `payload` bytes.
  static absl::StatusOr<std::unique_ptr<EmbeddedProcess>> Start(const EmbeddedSetting& setting,
                                                                std::uint64_t payload) {
    auto process = std::unique_ptr<EmbeddedProcess>(new EmbeddedProcess);
    auto machine = embedded::EmbeddedMachine::Create(setting.machine);
    if (!machine.ok()) return machine.status();
    process->machine_ = *std::move(machine);
    process->transport_ =
        std::make_unique<embedded::EmbeddedTransport>(process->machine_, setting.space);
    auto backing = process->transport_->MakeBacking();
    if (!backing.ok()) return backing.status();
    auto arena = Arena::Create(*std::move(backing), payload);
    if (!arena.ok()) return arena.status();
    process->arena_ = *std::move(arena);
    process->view_ = std::make_unique<DomainView>(process->machine_->kernel().memory());
    return process;
  }

  Arena& arena() { return *arena_; }
  const embedded::GuestRegion& region() const { return transport_->region(); }
  PhysicalAddress header() const { return region().table_frames().front(); }
  MemoryView& memory() { return *view_; }
  MachineAddress MachineOf(PhysicalAddress physical) {
    return machine_->kernel().MachineOf(physical);
  }

 private:
  EmbeddedProcess() = default;

  // Each is used by those below it.
  std::shared_ptr<embedded::EmbeddedMachine> machine_;
  std::unique_ptr<embedded::EmbeddedTransport> transport_;
  std::unique_ptr<Arena> arena_;
  std::unique_ptr<DomainView> view_;
};

}  // namespace xencomm::tools

#endif  // HCALL_TOOLS_EMBEDDED_PROCESS_H_
