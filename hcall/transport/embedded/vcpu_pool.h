// A domain's vcpus, lent to the threads that make calls.
//
// A vcpu makes one call at a time, so a call takes one for as long as it lasts. Taking and giving
// back cost two atomic operations each; a thread waits only when all vcpus are inside a call.
#ifndef HCALL_TRANSPORT_EMBEDDED_VCPU_POOL_H_
#define HCALL_TRANSPORT_EMBEDDED_VCPU_POOL_H_

#include <semaphore.h>

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "hcall/hypervisor/hypervisor.h"
#include "xencomm/numbers.h"

namespace xencomm::embedded {

class VcpuPool {
 public:
  static constexpr unsigned kMaxVcpus = Numbers::kCount;

  explicit VcpuPool(hypervisor::Hypervisor& hypervisor, std::uint16_t domain = 0);
  VcpuPool(const VcpuPool&) = delete;
  VcpuPool& operator=(const VcpuPool&) = delete;
  ~VcpuPool() { sem_destroy(&available_); }

  // Claims vcpus 0 to `count` - 1 of the domain, until Release or as long as the machine is on.
  // Before any other function.
  absl::Status Claim(unsigned count);
  // Gives them back. None is lent, nor will be.
  void Release();

  // One vcpu, from construction to destruction.
  class Lease {
   public:
    explicit Lease(VcpuPool& pool) : pool_(pool), slot_(pool.Take()) {}
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    ~Lease() { pool_.GiveBack(slot_); }

    hypervisor::Vcpu& vcpu() const { return *pool_.slots_[slot_].vcpu; }
    // Which one it is, below kMaxVcpus.
    std::uint32_t index() const { return slot_; }

    // Makes raw pointers of this call mean what `space` says. It must live until no lease uses it.
    void SetRawSpace(Space& space) {
      Slot& slot = pool_.slots_[slot_];
      if (slot.space == &space) return;
      pool_.hypervisor_.SetRawSpace(*slot.vcpu, space);
      slot.space = &space;
    }
    // Makes them lead nowhere.
    void ForgetRawSpace() { SetRawSpace(pool_.nowhere_); }

   private:
    VcpuPool& pool_;
    const std::uint32_t slot_;
  };

 private:
  class Nowhere final : public Space {
    Mapping Resolve(VirtualAddress, std::uint64_t, std::uint64_t, Access, Cursor*) override {
      return Fault::kNotPresent;
    }
  };
  struct Slot {
    hypervisor::Vcpu* vcpu = nullptr;
    Space* space = nullptr;
  };

  std::uint32_t Take();
  void GiveBack(std::uint32_t slot);

  hypervisor::Hypervisor& hypervisor_;
  const std::uint16_t domain_;
  Nowhere nowhere_;
  Slot slots_[kMaxVcpus];
  unsigned count_ = 0;
  Numbers lent_;
  // Not std::counting_semaphore: libstdc++'s loses wakeups (gcc's bug 104928).
  sem_t available_;
};

}  // namespace xencomm::embedded

#endif  // HCALL_TRANSPORT_EMBEDDED_VCPU_POOL_H_
