// A registered region while what its domain writes is logged: it goes by the guest-physical
// addresses of its pages, for a Memory that marks what is written there.
#ifndef HCALL_HYPERVISOR_DOMAIN_LOGGED_REGION_H_
#define HCALL_HYPERVISOR_DOMAIN_LOGGED_REGION_H_

#include <cstdint>

#include "hcall/hypervisor/memory/domain_memory.h"
#include "hcall/hypervisor/memory/frame_table.h"
#include "xencomm/region_translation.h"

namespace xencomm::hypervisor {

class LoggedRegion final : public Space {
 public:
  // All are borrowed.
  LoggedRegion(const RegisteredRegion& region, const FrameTable& frames, DomainMemory& memory)
      : region_(region), frames_(frames), memory_(memory) {}

 private:
  Mapping Resolve(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length, Access access,
                  Cursor*) override {
    const Mapping held = region_.Find(pointer, offset, length, access);
    if (!held.ok()) return held;
    const std::uint64_t gfn = frames_.Of(frames_.MfnOfPointer(held.start())).gfn;
    const std::uint64_t within = reinterpret_cast<std::uintptr_t>(held.start()) % kPageSize;
    const Mapping run =
        memory_.Map(PhysicalAddress{(gfn << kPageShift) + within}, held.length(), access);
    // A held page stays where its domain has it. One that was let go of meanwhile may be anywhere,
    // and what its row says now need not be a gfn.
    if (run.ok() && run.start() != held.start()) return Fault::kNotBacked;
    return run;
  }

  const RegisteredRegion& region_;
  const FrameTable& frames_;
  DomainMemory& memory_;
};

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_DOMAIN_LOGGED_REGION_H_
