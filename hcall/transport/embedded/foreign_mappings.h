// Which frames of other domains are mapped into this process, and where.
//
// A frame that is mapped is held: the hypervisor does not hand it out again, also when its domain
// is gone. Programs end such a mapping by munmap as well as by the library's function, and of the
// first nobody tells us; so what is gone is looked for before each call while there are mappings.
#ifndef HCALL_TRANSPORT_EMBEDDED_FOREIGN_MAPPINGS_H_
#define HCALL_TRANSPORT_EMBEDDED_FOREIGN_MAPPINGS_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "hcall/hypervisor/hypervisor.h"
#include "hcall/transport/embedded/machine_memory.h"
#include "hcall/transport/foreign_memory.h"
#include "xencomm/mutex.h"

namespace xencomm::embedded {

class ForeignMappings {
 public:
  // Both are borrowed.
  ForeignMappings(hypervisor::Hypervisor& hypervisor, MachineMemory& memory)
      : hypervisor_(hypervisor), memory_(memory) {}

  // As ForeignMemory::Map: errors are -ESRCH (no such domain), -EINVAL (no such frame), -EPERM (not
  // writable), -ENOMEM (no room for another mapping).
  int Map(std::uint16_t domain, ForeignMemory::Placement& placement,
          std::span<const std::uint64_t> frames, std::span<int> errors);

  // Any pages of mappings, as munmap.
  int Unmap(void* address, std::size_t pages);

  // Lets go of frames whose mapping is gone.
  void Sweep() {
    if (any_.load(std::memory_order_relaxed)) [[unlikely]]
      SweepAll();
  }

 private:
  using Frames = std::vector<std::uint64_t>;  // kNoFrame where none is held
  using Mappings = std::map<std::uintptr_t, Frames>;

  void SweepAll();
  // Lets go of the frames mapped in [start, end), both page-aligned, and cuts the range out of what
  // is known: no two mappings overlap.
  void Forget(std::uintptr_t start, std::uintptr_t end) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  hypervisor::Hypervisor& hypervisor_;
  MachineMemory& memory_;
  Mutex mutex_;
  Mappings mappings_ ABSL_GUARDED_BY(mutex_);  // by address
  std::atomic<bool> any_ = false;
};

}  // namespace xencomm::embedded

#endif  // HCALL_TRANSPORT_EMBEDDED_FOREIGN_MAPPINGS_H_
