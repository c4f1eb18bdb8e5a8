// Core: everything that the hypervisor holds, in one place at the front of the pool.
#ifndef HCALL_HYPERVISOR_DOMAIN_CORE_H_
#define HCALL_HYPERVISOR_DOMAIN_CORE_H_

#include <atomic>
#include <cstdint>

#include "hcall/hypervisor/base/console.h"
#include "hcall/hypervisor/base/machine.h"
#include "hcall/hypervisor/base/spin_lock.h"
#include "hcall/hypervisor/base/work.h"
#include "hcall/hypervisor/domain/domain_table.h"
#include "hcall/hypervisor/domain/schedule.h"
#include "hcall/hypervisor/memory/pool.h"

namespace xencomm::hypervisor {

class Core : public Pool {
 public:
  Core(const MachineConfig& machine_config, Machine& on)
      : Pool(on), config(machine_config), schedule(on, machine_config.cpus) {}

  MachineConfig config;
  DomainTable domains;
  Schedule schedule;
  Console console;

  SpinLock events;  // all rows of event channels

  // Domctl and sysctl, and whatever makes or ends a domain.
  SpinLock control;
  unsigned domain_count = 0;      // under the control lock, as what follows
  std::uint16_t last_domain = 0;  // that an id was chosen for
  // The deepest C-state and sub-state that processors may take: any.
  std::uint32_t sleep_limit[2] = {~std::uint32_t{0}, ~std::uint32_t{0}};
  // When the first watchdog is due; read without the lock, too.
  std::atomic<std::uint64_t> watchdog_due = ~std::uint64_t{0};
  std::uint64_t tokens = 0;           // of continued calls, given out
  std::uint32_t ratelimit_us = 1000;  // of the scheduler; Xen's default

  std::atomic<std::uint64_t> region_generation = 0;  // of the region that was registered last
  std::atomic<std::uint64_t> longest_leg = 0;        // pieces of work, for Books

  // Whether this is the first time that such an op is noted. Those that are numbered high share a
  // place.
  bool NoteMissing(std::uint64_t hypercall, std::uint64_t op) {
    const std::uint64_t row = hypercall % kNotedHypercalls;
    const std::uint64_t bit = op < kNotedOps - 1 ? op : kNotedOps - 1;
    const std::uint64_t mask = std::uint64_t{1} << bit % 64;
    return (missing_ops_[row][bit / 64].fetch_or(mask, std::memory_order_relaxed) & mask) == 0;
  }

  // What a continued call is known by when it comes again: never 0, and unlike what a guest's
  // register happens to hold. With the control lock held.
  std::uint64_t NewToken() {
    constexpr std::uint64_t kSpread = 0x9e3779b97f4a7c15;  // odd: all differ
    return ++tokens * kSpread;
  }

  void NoteLeg(const Work& work) {
    std::uint64_t longest = longest_leg.load(std::memory_order_relaxed);
    while (work.done() > longest &&
           !longest_leg.compare_exchange_weak(longest, work.done(), std::memory_order_relaxed)) {
    }
  }

  // One past the highest machine frame.
  std::uint64_t max_page() const { return config.pool_end >> kPageShift; }

 private:
  friend class Books;  // of tests/unit

  static constexpr unsigned kNotedHypercalls = 64;
  static constexpr unsigned kNotedOps = 128;

  std::atomic<std::uint64_t> missing_ops_[kNotedHypercalls][kNotedOps / 64] = {};
};

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_DOMAIN_CORE_H_
