// Schedule: which vcpu runs on which processor, and for how long.
//
// Vcpus that make calls are the only ones that execute anything, and what they do between two calls
// is not seen. So time is told by samples, as a timer's ticks would tell it: whenever somebody asks
// for times, what has passed since the last sample goes to the vcpus that are found in a call, one
// on each processor, where its affinity lets it be; a processor without one was idle. The caller is
// always found. Hence, at any sample:
//
// 1. The time that vcpus ran on a processor and the time that it was idle make up the machine's.
// 2. At most one vcpu runs on a processor, and it runs where it may.
// 3. A vcpu's four times make up the time since it was made.
//
// A call that asks for nothing of this pays nothing for it.
#ifndef HCALL_HYPERVISOR_DOMAIN_SCHEDULE_H_
#define HCALL_HYPERVISOR_DOMAIN_SCHEDULE_H_

#include <array>
#include <cstdint>
#include <span>

#include "hcall/hypervisor/base/machine.h"
#include "hcall/hypervisor/base/spin_lock.h"
#include "hcall/hypervisor/domain/domain.h"
#include "hcall/schema/generated/types.h"
#include "xencomm/guest_handle.h"

namespace xencomm::hypervisor {

class Schedule {
 public:
  // The machine is borrowed.
  Schedule(Machine& machine, unsigned cpus) : machine_(machine), cpus_(cpus) {}

  // A new vcpu: on the processors in turn.
  void Add(Vcpu& vcpu);

  // From now on the vcpu makes calls, or none any more. With the control lock held, and no call of
  // it under way.
  void Claim(Vcpu& vcpu);
  void Release(Vcpu& vcpu);

  // Where it may run. It goes there, if it is elsewhere. With the control lock held.
  void Pin(Vcpu& vcpu, const CpuMask& hard_affinity);

  // Takes a sample, and answers its time; `caller` makes the call that asks. In `idle` comes for
  // how long each processor was idle.
  std::uint64_t Sample(const Vcpu& caller, std::span<std::uint64_t> idle = {});

  // A vcpu's state and times, by a sample.
  Cleared<vcpu_runstate_info> RunstateOf(Vcpu& vcpu, const Vcpu& caller);

  // What a vcpu was found doing in the last sample, or is doing, for one that makes no calls.
  static unsigned StateOf(const Vcpu& vcpu);
  // For how long it ran, as of the last sample.
  static std::uint64_t RanFor(const Vcpu& vcpu) {
    return vcpu.times.spent[RUNSTATE_running].load(std::memory_order_relaxed);
  }

 private:
  // With the lock held, as the next.
  std::uint64_t SampleAt(std::uint64_t now, const Vcpu* caller);
  // The processor that the vcpu is on, or another one that it may be on, if that is taken; kMaxCpus
  // when all are.
  unsigned FreePlaceOf(const Vcpu& vcpu, const CpuMask& taken) const;

  Machine& machine_;
  const unsigned cpus_;

  SpinLock lock_;  // of what follows, and of the vcpus' times and hard affinities
  std::uint64_t sampled_ = 0;
  unsigned claimed_count_ = 0;
  std::array<Vcpu*, kMaxCallers> claimed_ = {};
  std::array<std::uint64_t, kMaxCpus> busy_ = {};
};

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_DOMAIN_SCHEDULE_H_
