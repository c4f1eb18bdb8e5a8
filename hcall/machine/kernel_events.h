// Which of domain 0's ports have an event: a kernel's side of the two-level ABI (public/xen.h,
// struct shared_info).
//
// A bit for each port says that an event is pending, another that nobody wants to hear of it; each
// vcpu's selector says in which words something is new. The hypervisor sets a port's bit, then the
// selector's, then that an upcall is pending. They are taken in the other order, so that what is
// set meanwhile is found now or makes another upcall.
#ifndef HCALL_MACHINE_KERNEL_EVENTS_H_
#define HCALL_MACHINE_KERNEL_EVENTS_H_

#include <atomic>
#include <bit>
#include <cstdint>

#include "hcall/schema/generated/xen.h"

namespace xencomm::machine {

// One thread at a time.
class KernelEvents {
 public:
  static constexpr std::uint32_t kPorts = 4096;

  // `info` is borrowed.
  explicit KernelEvents(shared_info& info) : info_(info) {}

  // Calls `found` with each port that has an event and is not masked. Its event is taken, and it is
  // masked: unmasking it is a call of the hypervisor, which knows whether another came.
  template <class Found>
  void Take(Found found) {
    for (auto& vcpu : info_.vcpu_info) {
      if (std::atomic_ref(vcpu.evtchn_upcall_pending).exchange(0) == 0) continue;
      std::uint64_t words = std::atomic_ref(vcpu.evtchn_pending_sel).exchange(0);
      for (; words != 0; words &= words - 1) {
        const auto word = static_cast<std::uint32_t>(std::countr_zero(words));
        std::uint64_t ports = std::atomic_ref(info_.evtchn_pending[word]).load() &
                              ~std::atomic_ref(info_.evtchn_mask[word]).load();
        std::atomic_ref(info_.evtchn_mask[word]).fetch_or(ports);
        std::atomic_ref(info_.evtchn_pending[word]).fetch_and(~ports);
        for (; ports != 0; ports &= ports - 1) {
          found(word * 64 + static_cast<std::uint32_t>(std::countr_zero(ports)));
        }
      }
    }
  }

 private:
  shared_info& info_;
};

}  // namespace xencomm::machine

#endif  // HCALL_MACHINE_KERNEL_EVENTS_H_
