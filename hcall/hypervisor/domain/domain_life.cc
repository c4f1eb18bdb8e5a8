#include "hcall/hypervisor/domain/domain_life.h"

#include <new>
#include <utility>

#include "hcall/hypervisor/base/cpu_policy.h"
#include "hcall/hypervisor/base/errno.h"
#include "hcall/hypervisor/domain/core.h"
#include "hcall/hypervisor/domain/event_channel.h"
#include "hcall/hypervisor/domain/grant_maps.h"
#include "hcall/hypervisor/domain/grant_table.h"
#include "hcall/hypervisor/domain/hvm_context.h"
#include "hcall/hypervisor/domain/memory_map.h"
#include "hcall/hypervisor/domain/region_registry.h"
#include "hcall/hypervisor/domain/vnuma.h"
#include "hcall/hypervisor/memory/physmap.h"

namespace xencomm::hypervisor {
namespace {

constexpr unsigned kVcpusPerPage = kPageSize / sizeof(Vcpu);
static_assert(kVcpusPerPage != 0);

constexpr unsigned kDomainOrder = OrderOf(sizeof(Domain));

// What is left of what the domain costs; calls under way on other vcpus may still look at it. All
// in one leg: it is as many blocks as a domain can have vcpus (8,192), and some dozens.
void FreeParts(Core& core, Domain& domain) {
  domain.p2m.Destroy(domain.overhead);
  RegionRegistry::Destroy(domain);
  // Of a domain that has just been made and is not complete: KillDomain leaves none.
  Work whole(~std::uint64_t{0});
  domain.paging_pool.Resize(core, domain.id, 0, whole);
  EventChannels::Destroy(domain);
  GrantTable::Destroy(domain);
  GrantMaps::Destroy(core, domain);
  domain.overhead.Delete(domain.hvm_state);
  domain.overhead.Delete(domain.memory_map.load());
  Vnuma::Delete(domain.vnuma.load(), domain.overhead);
  domain.overhead.Delete(domain.cpu_policy);
  if (domain.vcpus != nullptr) {
    for (unsigned i = 0; i < domain.max_vcpus; ++i) {
      const Vcpu* vcpu = domain.vcpus[i];
      if (vcpu == nullptr) continue;
      domain.overhead.Delete(vcpu->hvm);
      if (vcpu->context == nullptr) continue;
      domain.overhead.Free(core.frames.MfnOfPointer(vcpu->context), kContextOrder);
    }
    for (unsigned first = 0; first < domain.max_vcpus; first += kVcpusPerPage) {
      domain.overhead.Delete(domain.vcpus[first], kVcpusPerPage);
    }
    domain.overhead.Delete(domain.vcpus, domain.max_vcpus);
  }
  if (domain.shared_info_mfn != kNoFrame) domain.overhead.Free(domain.shared_info_mfn, 0);
}

void FreeDomain(Core& core, Domain& domain) {
  core.own().FreeLater(core.frames.MfnOfPointer(&domain), kDomainOrder);
}

// Takes the p2m apart and ends the mappings of others' pages in it; true when all is gone.
bool EmptyP2m(Core& core, Domain& domain, Work& work) {
  if (!domain.translated()) return true;
  std::uint64_t& next_gfn = domain.ending.next_gfn;
  for (;;) {
    const std::uint64_t foreign = Physmap(core, domain).EmptyUpToForeign(next_gfn, work);
    if (foreign == kNoFrame) return next_gfn >= domain.p2m.capacity();
    // Its owner's lock, not this domain's.
    ReleaseMapping(core, foreign);
  }
}

}  // namespace

std::int64_t CreateDomain(Core& core, const DomainTraits& traits, Domain** created) {
  if (core.domains.Find(traits.id) != nullptr) return -kEEXIST;
  if (core.domain_count > core.config.max_domains) return -kENOMEM;  // of which one is domain 0

  const std::uint64_t home = core.own().Allocate(kDomainOrder);
  if (home == kNoFrame) return -kENOMEM;
  Domain& domain = *new (core.frames.Bytes(home)) Domain;
  domain.id = traits.id;
  domain.order = traits.order;
  domain.space = traits.space;
  domain.privileged = traits.privileged;
  domain.hvm = traits.hvm;
  domain.built = traits.built;
  domain.reaches_frames = traits.reaches_frames;
  domain.options = traits.options;
  domain.ssidref = traits.ssidref;
  domain.emulation_flags = traits.emulation_flags;
  domain.altp2m_mode = traits.altp2m_mode;
  domain.handle = traits.handle;
  domain.max_vcpus = traits.max_vcpus;
  domain.max_event_port = traits.max_event_port;
  domain.max_grant_frames = traits.max_grant_frames;
  domain.max_grant_version = traits.max_grant_version;
  domain.max_maptrack_frames = traits.max_maptrack_frames;
  domain.controller_pauses.store(1, std::memory_order_relaxed);
  domain.overhead.Init(core, traits.id, core.config.max_overhead_pages);
  domain.dirty_log.Init(domain.overhead);

  bool complete = true;
  if (traits.translated) {
    complete = domain.p2m.InitTranslated(core.frames, domain.overhead);
  } else {
    domain.p2m.InitDirect(core.frames, traits.id);
  }
  domain.vcpus = complete ? domain.overhead.New<Vcpu*>(traits.max_vcpus) : nullptr;
  complete = domain.vcpus != nullptr;
  if (complete) {
    domain.shared_info_mfn = domain.overhead.AllocateShared();
    complete = domain.shared_info_mfn != kNoFrame;
  }
  if (complete) {
    Work whole(~std::uint64_t{0});  // a fixed number (calls/domctl_domain.cc)
    const PagingPool::Outcome sized =
        domain.paging_pool.Resize(core, domain.id, traits.paging_pages, whole);
    complete = sized == PagingPool::Outcome::kDone;
  }
  if (!complete || !core.domains.Insert(traits.id, &domain, core.own(), core.frames)) {
    FreeParts(core, domain);
    FreeDomain(core, domain);
    return -kENOMEM;
  }
  ++core.domain_count;
  *created = &domain;
  return 0;
}

std::int64_t CreateVcpus(Core& core, Domain& domain) {
  for (unsigned first = 0; first < domain.max_vcpus; first += kVcpusPerPage) {
    if (domain.vcpus[first] != nullptr) continue;
    Vcpu* page = domain.overhead.New<Vcpu>(kVcpusPerPage);
    if (page == nullptr) return -kENOMEM;
    for (unsigned i = 0; i < kVcpusPerPage && first + i < domain.max_vcpus; ++i) {
      Vcpu& vcpu = page[i];
      vcpu.domain = &domain;
      vcpu.id = first + i;
      vcpu.hard_affinity = CpuMask::All();
      vcpu.soft_affinity = CpuMask::All();
      core.schedule.Add(vcpu);
      std::atomic_ref<Vcpu*>(domain.vcpus[first + i]).store(&vcpu);
    }
  }
  return 0;
}

bool KillDomain(Core& core, Domain& domain, Work& work) {
  Physmap physmap(core, domain);
  if (!domain.dying()) {
    // From here on no page, region or area is added: all look under this lock.
    SpinGuard events(core.events);
    SpinGuard guard(domain.lock);
    domain.life.store(Life::kDying);
    if (domain.event_channels != nullptr) domain.event_channels->fifo.Release(core, domain);
    physmap.Claim(0);
    domain.pod_cache_pages = 0;
    domain.dropping = kNoFrame;  // as all tables are now
    for (unsigned i = 0; i < domain.max_vcpus; ++i) {
      if (Vcpu* vcpu = domain.vcpu(i)) {
        vcpu->runstate_area.Release(physmap);
        vcpu->time_area.Release(physmap);
        for (std::uint64_t& root : vcpu->roots) {
          if (root != kNoFrame) physmap.LetGo(std::exchange(root, kNoFrame));
        }
      }
    }
  }
  if (!RegionRegistry::UnregisterSome(core, domain, work)) return false;
  {
    SpinGuard guard(core.events);
    if (!ClosePorts(core, domain, domain.ending.next_port, work)) return false;
  }
  if (!physmap.FreeSome(work)) return false;
  if (!EmptyP2m(core, domain, work)) return false;
  if (!EndGrantMaps(core, domain, work)) return false;
  if (!domain.dirty_log.End(work)) return false;
  if (domain.paging_pool.Resize(core, domain.id, 0, work) != PagingPool::Outcome::kDone) {
    return false;
  }
  {
    // Calls that found it before change nothing of it any more.
    SpinGuard guard(domain.lock);
    domain.life.store(Life::kDead);
  }
  SendGlobalVirq(core, VIRQ_DOM_EXC);
  ForgetDomain(core, domain);
  return true;
}

void ShutDown(Core& core, Domain& domain, std::uint32_t reason) {
  domain.SetShutdownReason(reason);
  if (domain.shut_down) return;
  domain.shut_down = true;
  if (domain.shutdown_code == SHUTDOWN_suspend && domain.suspend_port != 0) {
    // To whom the domain's own port leads, which subscribed to it, and to nobody else.
    SpinGuard guard(core.events);
    SendFrom(core, domain, domain.suspend_port);
    return;
  }
  SendGlobalVirq(core, VIRQ_DOM_EXC);
}

void ExpireWatchdogs(Core& core) {
  const std::uint64_t due = core.watchdog_due.load(std::memory_order_relaxed);
  if (due == Domain::Watchdog::kNever) return;
  const std::uint64_t now = core.machine.NowNanoseconds();
  if (now < due) return;
  std::uint64_t first = Domain::Watchdog::kNever;
  std::uint64_t next = 0;
  while (Domain* domain = core.domains.FindFrom(next)) {
    next = std::uint64_t{domain->id} + 1;
    for (Domain::Watchdog& watchdog : domain->watchdogs) {
      if (watchdog.due <= now) {
        watchdog.due = Domain::Watchdog::kNever;
        if (!domain->shut_down && !domain->dying()) ShutDown(core, *domain, SHUTDOWN_watchdog);
      }
      if (watchdog.due < first) first = watchdog.due;
    }
  }
  core.watchdog_due.store(first, std::memory_order_relaxed);
}

void ReleaseMapping(Core& core, std::uint64_t mfn) {
  const FrameOwner owner = core.frames.Of(mfn).owner.load(std::memory_order_relaxed);
  Domain* domain = core.domains.Find(owner.domain);
  if (domain == nullptr) return;
  Physmap(core, *domain).Release(mfn);
  ForgetDomain(core, *domain);
}

void ForgetDomain(Core& core, Domain& domain) {
  if (domain.life.load() != Life::kDead || domain.claimed_vcpus != 0 ||
      domain.tot_pages.load() != 0 || domain.shared_holds != 0) {
    return;
  }
  core.domains.Remove(domain.id);
  --core.domain_count;
  FreeParts(core, domain);
  FreeDomain(core, domain);
  // Once more: who looked before still found it.
  SendGlobalVirq(core, VIRQ_DOM_EXC);
}

}  // namespace xencomm::hypervisor
