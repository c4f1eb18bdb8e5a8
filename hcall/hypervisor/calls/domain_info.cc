#include "hcall/hypervisor/calls/domain_info.h"

#include <cstring>

namespace xencomm::hypervisor {
namespace {

// Of guest-physical addresses under hardware-assisted paging: 48 bits, as a four-level second stage
// has.
constexpr std::uint8_t kPhysicalAddressBits = 48;

std::uint32_t FlagsOf(const Domain& domain, std::uint32_t running, std::uint32_t blocked) {
  std::uint32_t flags = running | blocked;
  if (domain.life.load() == Life::kDead) flags |= XEN_DOMINF_dying;
  if (domain.shut_down) flags |= XEN_DOMINF_shutdown;
  // All ones in a domain that was not shut down.
  flags |= domain.shutdown_code << XEN_DOMINF_shutdownshift;
  if (domain.controller_pauses.load() > 0) flags |= XEN_DOMINF_paused;
  if (domain.debugger_attached) flags |= XEN_DOMINF_debugged;
  if ((domain.options & XEN_DOMCTL_CDF_xs_domain) != 0) flags |= XEN_DOMINF_xs_domain;
  if (domain.hvm) flags |= XEN_DOMINF_hvm_guest;
  if ((domain.options & XEN_DOMCTL_CDF_hap) != 0) flags |= XEN_DOMINF_hap;
  return flags;
}

}  // namespace

Cleared<xen_domctl_getdomaininfo_t> DescribeDomain(Core& core, const Domain& domain) {
  Cleared<xen_domctl_getdomaininfo_t> info;
  info->domain = domain.id;
  info->max_vcpu_id = XEN_INVALID_MAX_VCPU_ID;
  std::uint32_t running = 0, blocked = XEN_DOMINF_blocked;
  for (unsigned i = 0; i < domain.max_vcpus; ++i) {
    const Vcpu* vcpu = domain.vcpu(i);
    if (vcpu == nullptr) continue;
    info->max_vcpu_id = i;
    info->cpu_time += Schedule::RanFor(*vcpu);
    if (!vcpu->online.load(std::memory_order_relaxed)) continue;
    ++info->nr_online_vcpus;
    const unsigned state = Schedule::StateOf(*vcpu);
    if (state == RUNSTATE_running) running = XEN_DOMINF_running;
    if (state != RUNSTATE_blocked) blocked = 0;
  }
  if (info->nr_online_vcpus == 0) blocked = 0;
  info->flags = FlagsOf(domain, running, blocked);
  info->tot_pages = domain.tot_pages.load(std::memory_order_relaxed);
  info->max_pages = domain.max_pages.load(std::memory_order_relaxed);
  info->outstanding_pages = domain.outstanding_pages.load(std::memory_order_relaxed);
  // A PV domain's frame numbers are the machine's; a translated one has it where it mapped it.
  info->shared_info_frame =
      domain.translated() ? core.frames.Of(domain.shared_info_mfn).gfn : domain.shared_info_mfn;
  static_assert(sizeof(info->handle) == sizeof(domain.handle));
  std::memcpy(info->handle, domain.handle.data(), sizeof(info->handle));
  info->arch_config.emulation_flags = domain.emulation_flags;
  info->gpaddr_bits = kPhysicalAddressBits;
  return info;
}

}  // namespace xencomm::hypervisor
