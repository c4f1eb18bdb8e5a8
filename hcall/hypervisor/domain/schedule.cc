#include "hcall/hypervisor/domain/schedule.h"

#include <iterator>

namespace xencomm::hypervisor {
namespace {

bool IsInCall(const Vcpu& vcpu) {
  return vcpu.slot->epoch.load(std::memory_order_relaxed) != CallerSlot::kIdle;
}

// Of a vcpu that is not in a call: a guest that could run has nothing to do.
unsigned StateOutsideCalls(const Vcpu& vcpu) {
  const bool could_run = vcpu.online.load(std::memory_order_relaxed) &&
                         vcpu.domain->creation_finished.load(std::memory_order_relaxed);
  return could_run ? RUNSTATE_blocked : RUNSTATE_offline;
}

// What has passed since the vcpu's last sample was spent in the state that it is found in.
void Spend(Vcpu& vcpu, unsigned state, std::uint64_t now) {
  VcpuTimes& times = vcpu.times;
  if (times.state.load(std::memory_order_relaxed) != state) {
    times.state.store(state, std::memory_order_relaxed);
    times.entered = times.sampled;
  }
  std::atomic<std::uint64_t>& spent = times.spent[state];
  spent.store(spent.load(std::memory_order_relaxed) + now - times.sampled,
              std::memory_order_relaxed);
  times.sampled = now;
}

}  // namespace

void Schedule::Add(Vcpu& vcpu) {
  vcpu.processor.store(vcpu.id % cpus_, std::memory_order_relaxed);
  vcpu.times.sampled = vcpu.times.entered = machine_.NowNanoseconds();
}

void Schedule::Claim(Vcpu& vcpu) {
  const std::uint64_t now = machine_.NowNanoseconds();
  SpinGuard guard(lock_);
  Spend(vcpu, StateOutsideCalls(vcpu), SampleAt(now, nullptr));
  claimed_[claimed_count_++] = &vcpu;
}

void Schedule::Release(Vcpu& vcpu) {
  const std::uint64_t now = machine_.NowNanoseconds();
  SpinGuard guard(lock_);
  SampleAt(now, nullptr);
  unsigned i = 0;
  while (claimed_[i] != &vcpu) ++i;
  claimed_[i] = claimed_[--claimed_count_];
}

void Schedule::Pin(Vcpu& vcpu, const CpuMask& hard_affinity) {
  SpinGuard guard(lock_);
  vcpu.hard_affinity = hard_affinity;
  if (hard_affinity.Has(vcpu.processor.load(std::memory_order_relaxed))) return;
  const CpuMask online = hard_affinity.And(CpuMask::FirstOf(cpus_));
  const CpuMask wanted = online.And(vcpu.soft_affinity);
  const CpuMask& allowed = wanted == CpuMask{} ? online : wanted;
  unsigned cpu = 0;
  while (!allowed.Has(cpu)) ++cpu;
  vcpu.processor.store(cpu, std::memory_order_relaxed);
}

std::uint64_t Schedule::Sample(const Vcpu& caller, std::span<std::uint64_t> idle) {
  // Before the lock: the machine may take its time to tell.
  std::uint64_t now = machine_.NowNanoseconds();
  SpinGuard guard(lock_);
  now = SampleAt(now, &caller);
  for (std::size_t cpu = 0; cpu < idle.size(); ++cpu) idle[cpu] = now - busy_[cpu];
  return now;
}

Cleared<vcpu_runstate_info> Schedule::RunstateOf(Vcpu& vcpu, const Vcpu& caller) {
  const std::uint64_t now = machine_.NowNanoseconds();
  SpinGuard guard(lock_);
  const std::uint64_t sampled = SampleAt(now, &caller);
  // Only those that make calls are in every sample.
  if (vcpu.times.sampled != sampled) Spend(vcpu, StateOutsideCalls(vcpu), sampled);
  Cleared<vcpu_runstate_info> info;
  info->state = static_cast<int>(vcpu.times.state.load(std::memory_order_relaxed));
  info->state_entry_time = vcpu.times.entered;
  for (unsigned i = 0; i < std::size(info->time); ++i) {
    info->time[i] = vcpu.times.spent[i].load(std::memory_order_relaxed);
  }
  return info;
}

unsigned Schedule::StateOf(const Vcpu& vcpu) {
  const unsigned state = vcpu.times.state.load(std::memory_order_relaxed);
  return state == RUNSTATE_running || state == RUNSTATE_runnable ? state : StateOutsideCalls(vcpu);
}

std::uint64_t Schedule::SampleAt(std::uint64_t now, const Vcpu* caller) {
  if (now < sampled_) now = sampled_;  // another vcpu's sample came in between
  CpuMask taken;
  const auto run = [&](Vcpu& vcpu) {
    const unsigned cpu = FreePlaceOf(vcpu, taken);
    if (cpu == kMaxCpus) return Spend(vcpu, RUNSTATE_runnable, now);
    taken.Set(cpu);
    vcpu.processor.store(cpu, std::memory_order_relaxed);
    busy_[cpu] += now - sampled_;
    Spend(vcpu, RUNSTATE_running, now);
  };
  // The caller first: it runs, wherever that is.
  for (unsigned i = 0; i < claimed_count_; ++i) {
    if (claimed_[i] == caller) run(*claimed_[i]);
  }
  for (unsigned i = 0; i < claimed_count_; ++i) {
    Vcpu& vcpu = *claimed_[i];
    if (&vcpu == caller) continue;
    if (IsInCall(vcpu)) {
      run(vcpu);
    } else {
      Spend(vcpu, StateOutsideCalls(vcpu), now);
    }
  }
  sampled_ = now;
  return now;
}

unsigned Schedule::FreePlaceOf(const Vcpu& vcpu, const CpuMask& taken) const {
  const auto fits = [&](unsigned cpu) { return vcpu.hard_affinity.Has(cpu) && !taken.Has(cpu); };
  const unsigned own = vcpu.processor.load(std::memory_order_relaxed);
  if (fits(own)) return own;
  for (unsigned cpu = 0; cpu < cpus_; ++cpu) {
    if (fits(cpu)) return cpu;
  }
  return kMaxCpus;
}

}  // namespace xencomm::hypervisor
