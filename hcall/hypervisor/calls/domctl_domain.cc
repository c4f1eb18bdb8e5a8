// domctl: a domain's life, from createdomain to destroydomain.

#include <cstring>

#include "hcall/hypervisor/calls/domctl.h"
#include "hcall/hypervisor/domain/domain_life.h"
#include "hcall/schema/generated/rows.h"

namespace xencomm::hypervisor {
namespace {

// Limits of Xen 4.17 on x86: MAX_VIRT_CPUS (asm/config.h), HVM_MAX_VCPUS
// (public/hvm/hvm_info_table.h), gnttab_max_frames and gnttab_max_maptrack_frames.
constexpr unsigned kMaxPvVcpus = 8192;
constexpr unsigned kMaxHvmVcpus = 128;
constexpr int kMaxGrantFrames = 64;
constexpr int kMaxMaptrackFrames = 1024;
constexpr unsigned kMaxGrantVersion = 2;

constexpr std::uint32_t kKnownOptions = XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap |
                                        XEN_DOMCTL_CDF_s3_integrity | XEN_DOMCTL_CDF_oos_off |
                                        XEN_DOMCTL_CDF_xs_domain | XEN_DOMCTL_CDF_iommu |
                                        XEN_DOMCTL_CDF_nested_virt | XEN_DOMCTL_CDF_vpmu;

// Which alternative p2ms a domain may have, as later releases say when it is created.
struct Altp2m {
  std::uint64_t mode;
  std::uint64_t count;
};

Altp2m Altp2mOf(const DomctlCall& op) {
  namespace rows = schema::rows::domctl::createdomain;
  return {op.argument.Read(rows::altp2m_opts) + op.argument.Read(rows::altp2m_opts_4_21),
          op.argument.Read(rows::altp2m_nr)};
}

// What Xen refuses a configuration for, in its order.
std::int64_t CheckConfig(const xen_domctl_createdomain& config, const Altp2m& altp2m,
                         schema::Releases release) {
  const bool hvm = (config.flags & XEN_DOMCTL_CDF_hvm) != 0;
  const bool hap = (config.flags & XEN_DOMCTL_CDF_hap) != 0;
  if ((config.flags & ~kKnownOptions) != 0) return -kEINVAL;
  if ((config.grant_opts & ~std::uint32_t{XEN_DOMCTL_GRANT_version_mask}) != 0) return -kEINVAL;
  if (config.max_vcpus < 1) return -kEINVAL;
  if (hap && !hvm) return -kEINVAL;
  // A machine without an IOMMU, without tracing, without a virtual PMU, and not started by tboot.
  if ((config.flags & (XEN_DOMCTL_CDF_iommu | XEN_DOMCTL_CDF_vpmu | XEN_DOMCTL_CDF_s3_integrity)) !=
      0) {
    return -kEINVAL;
  }
  if (config.iommu_opts != 0 || config.vmtrace_size != 0) return -kEINVAL;
  if (altp2m.mode > XEN_DOMCTL_ALTP2M_limited || (altp2m.mode != 0 && !hvm)) return -kEINVAL;
  if (altp2m.mode == 0 && altp2m.count != 0) return -kEINVAL;

  if (config.max_vcpus > (hvm ? kMaxHvmVcpus : kMaxPvVcpus)) return -kEINVAL;
  const bool nested = (config.flags & XEN_DOMCTL_CDF_nested_virt) != 0;
  if (nested && (!hap || altp2m.mode != 0)) return -kEINVAL;
  if ((config.arch.misc_flags & ~std::uint32_t{XEN_X86_MSR_RELAXED}) != 0) return -kEINVAL;

  const std::uint32_t emulation = config.arch.emulation_flags;
  if ((emulation & ~std::uint32_t{XEN_X86_EMU_ALL}) != 0) return -kEINVAL;
  // Whether interrupts are routed to event channels became the toolstack's choice.
  const std::uint32_t chosen = (release & schema::kSince4_19) != 0 ? XEN_X86_EMU_USE_PIRQ : 0;
  const std::uint32_t all = XEN_X86_EMU_ALL & ~XEN_X86_EMU_VPCI;
  const bool emulation_ok = hvm ? (emulation | chosen) == all || emulation == XEN_X86_EMU_LAPIC
                                : emulation == 0 || emulation == XEN_X86_EMU_PIT;
  if (!emulation_ok) return -kEOPNOTSUPP;

  const std::uint32_t version = config.grant_opts & XEN_DOMCTL_GRANT_version_mask;
  if (version == 0 || version > kMaxGrantVersion) return -kEINVAL;
  if (config.max_grant_frames == 0) return -kEINVAL;
  // The hypervisor's own limits were a domain's, too.
  if ((release & schema::kSince4_18) == 0 && (config.max_grant_frames > kMaxGrantFrames ||
                                              config.max_maptrack_frames > kMaxMaptrackFrames)) {
    return -kEINVAL;
  }
  if (config.cpupool_id != 0) return -kESRCH;
  // Built, as Debian's is, without shadow page tables.
  return hvm && !hap ? -kEOPNOTSUPP : 0;
}

// The id that was asked for, or the next one that is free.
std::int64_t ChooseId(Core& core, std::uint16_t wanted, std::uint16_t* id) {
  if (wanted > 0 && wanted < kFirstReservedDomain) {
    *id = wanted;
    return core.domains.Find(wanted) == nullptr ? 0 : -kEEXIST;
  }
  std::uint16_t next = core.last_domain;
  do {
    next =
        next + 1 == kFirstReservedDomain ? std::uint16_t{1} : static_cast<std::uint16_t>(next + 1);
    if (core.domains.Find(next) == nullptr) {
      core.last_domain = next;
      *id = next;
      return 0;
    }
  } while (next != core.last_domain);
  return -kENOMEM;
}

}  // namespace

std::int64_t CreateDomainOp(DomctlCall& op) {
  const xen_domctl_createdomain& config = op.argument->u.createdomain;
  DomainTraits traits;
  std::int64_t error = ChooseId(op.call.core, op.argument->domain, &traits.id);
  const Altp2m altp2m = Altp2mOf(op);
  if (error == 0) error = CheckConfig(config, altp2m, op.call.core.config.release);
  if (error != 0) return error;

  traits.hvm = (config.flags & XEN_DOMCTL_CDF_hvm) != 0;
  traits.translated = traits.hvm;
  traits.options = config.flags;
  traits.ssidref = config.ssidref;
  traits.altp2m_mode = altp2m.mode;
  traits.emulation_flags = config.arch.emulation_flags;
  traits.max_vcpus = config.max_vcpus;
  traits.max_event_port = config.max_evtchn_port < 0x7fffffff ? config.max_evtchn_port : 0x7fffffff;
  traits.max_grant_frames = static_cast<std::uint32_t>(
      config.max_grant_frames < 0 ? kMaxGrantFrames : config.max_grant_frames);
  traits.max_grant_version = config.grant_opts & XEN_DOMCTL_GRANT_version_mask;
  traits.max_maptrack_frames = static_cast<std::uint32_t>(
      config.max_maptrack_frames < 0 ? kMaxMaptrackFrames : config.max_maptrack_frames);
  // What Xen sets aside at first for a second stage.
  if (traits.hvm) traits.paging_pages = 256;
  // The order in which its builder writes its structures.
  traits.order = op.call.domain.order;
  static_assert(sizeof(config.handle) == sizeof(traits.handle));
  std::memcpy(traits.handle.data(), config.handle, sizeof(config.handle));

  Domain* domain = nullptr;
  error = CreateDomain(op.call.core, traits, &domain);
  if (error != 0) return error;
  op.argument->domain = domain->id;
  op.copy_back = true;
  return 0;
}

std::int64_t DestroyDomainOp(DomctlCall& op) {
  if (op.target == &op.call.domain) return -kEINVAL;
  if (KillDomain(op.call.core, *op.target, op.call.work)) return 0;
  return op.call.Continue();
}

std::int64_t PauseDomainOp(DomctlCall& op) {
  if (op.target == &op.call.domain) return -kEINVAL;
  // Counted, with an end that keeps a toolstack from overflowing it (255 in Xen).
  if (op.target->controller_pauses.load() == 255) return -kEOVERFLOW;
  op.target->controller_pauses.fetch_add(1);
  return 0;
}

std::int64_t UnpauseDomainOp(DomctlCall& op) {
  if (op.target->controller_pauses.load() == 0) return -kEINVAL;
  if (op.target->controller_pauses.fetch_sub(1) == 1) op.target->creation_finished = true;
  return 0;
}

std::int64_t MaxVcpusOp(DomctlCall& op) {
  if (op.target == &op.call.domain || op.argument->u.max_vcpus.max != op.target->max_vcpus) {
    return -kEINVAL;
  }
  return CreateVcpus(op.call.core, *op.target);
}

std::int64_t MaxMemOp(DomctlCall& op) {
  // Xen keeps the number of pages in an unsigned int.
  constexpr std::uint64_t kMost = ~std::uint32_t{0};
  const std::uint64_t pages = op.argument->u.max_mem.max_memkb >> (kPageShift - 10);
  op.target->max_pages.store(pages < kMost ? pages : kMost, std::memory_order_relaxed);
  return 0;
}

}  // namespace xencomm::hypervisor
