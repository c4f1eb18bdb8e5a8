// Whole calls, from the caller's registers to its result, by every way. What a call changes of its
// arguments, a turn puts back; what it does to a domain, a turn undoes.
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "bench/caller.h"
#include "bench/rows.h"
#include "hcall/hypervisor/domain/grant_entry.h"
#include "hcall/schema/generated/xen.h"

namespace xencomm::bench {
namespace {

constexpr std::uint64_t kMillion = 1'000'000;

// Beside the two that call.
constexpr std::uint16_t kBuilt = 2;    // has kBuiltPages
constexpr std::uint16_t kCreated = 3;  // has none, and may have kMillion
constexpr std::uint16_t kOthers = 4;   // and more
constexpr std::uint64_t kBuiltPages = 2048;
constexpr unsigned kMany = 1024;

// What kBuilt grants each caller: its last pages, which no other call changes, full of a pattern.
constexpr std::uint32_t kGrants = 32;
constexpr std::uint64_t kFirstGranted = kBuiltPages - kGrants;
constexpr std::uint32_t FirstRefFor(std::uint16_t caller) { return 8 + caller * kGrants; }
constexpr int kPattern = 0x5a;
// In which callers have nothing of their own.
constexpr std::uint64_t kWindowGfn = std::uint64_t{1} << 20;

xen_domctl DomctlFor(std::uint32_t cmd, std::uint16_t domain) {
  xen_domctl op = {};
  op.cmd = cmd;
  op.interface_version = XEN_DOMCTL_INTERFACE_VERSION;
  op.domain = domain;
  return op;
}

xen_sysctl SysctlFor(std::uint32_t cmd) {
  xen_sysctl op = {};
  op.cmd = cmd;
  op.interface_version = XEN_SYSCTL_INTERFACE_VERSION;
  return op;
}

xen_memory_reservation ReservationOf(std::uint16_t domain, const Argument<std::uint64_t>& extents,
                                     std::uint64_t count) {
  xen_memory_reservation reservation = {};
  reservation.extent_start.p = extents.guest();
  reservation.nr_extents = count;
  reservation.domid = domain;
  return reservation;
}

Argument<std::uint64_t> PutGfns(Caller& caller, std::uint64_t first, std::uint64_t count) {
  const auto gfns = caller.Put<std::uint64_t>(count);
  for (std::uint64_t i = 0; i < count; ++i) gfns[i] = first + i;
  return gfns;
}

// What follows are the calls. Each has its arguments in a caller's buffer. Prepare writes them,
// with results that are none; Turn makes the call and answers whether it says that it worked;
// Worked looks at the results.

struct XenVersion {
  XenVersion(Caller& caller, std::uint64_t) : text(caller.Put<char>(XEN_EXTRAVERSION_LEN)) {}

  void Prepare() const { text[0] = '?'; }
  bool Turn(const Way& way) const {
    return way.Call(__HYPERVISOR_xen_version, XENVER_extraversion, text.pointer) == 0;
  }
  bool Worked() const { return text[0] == '.'; }

  Argument<char> text;
};

struct PhysInfo {
  PhysInfo(Caller& caller, std::uint64_t) : op(caller.Put<xen_sysctl>()) {}

  void Prepare() const { *op.here = SysctlFor(XEN_SYSCTL_physinfo); }
  bool Turn(const Way& way) const { return way.Call(__HYPERVISOR_sysctl, op.pointer) == 0; }
  bool Worked() const { return op->u.physinfo.total_pages != 0; }

  Argument<xen_sysctl> op;
};

struct GetDomainInfoList {
  GetDomainInfoList(Caller& caller, std::uint64_t wanted)
      : count(static_cast<std::uint32_t>(wanted)),
        op(caller.Put<xen_sysctl>()),
        list(caller.Put<xen_domctl_getdomaininfo>(count)) {}

  void Prepare() const {
    *op.here = SysctlFor(XEN_SYSCTL_getdomaininfolist);
    op->u.getdomaininfolist.max_domains = count;
    op->u.getdomaininfolist.buffer.p = list.guest();
    list[count - 1].tot_pages = 0;
  }
  bool Turn(const Way& way) const { return way.Call(__HYPERVISOR_sysctl, op.pointer) == 0; }
  bool Worked() const {
    const xen_domctl_getdomaininfo& last = list[count - 1];
    return op->u.getdomaininfolist.num_domains == count && last.domain == count - 1 &&
           last.tot_pages != 0;
  }

  std::uint32_t count;
  Argument<xen_sysctl> op;
  Argument<xen_domctl_getdomaininfo> list;
};

// What the one gives the domain, the other takes.
struct PopulateAndDecrease {
  PopulateAndDecrease(Caller& caller, std::uint64_t extents)
      : count(static_cast<std::int64_t>(extents)),
        reservation(caller.Put<xen_memory_reservation>()),
        gfns(PutGfns(caller, 0, extents)) {}

  void Prepare() const {
    *reservation.here = ReservationOf(kCreated, gfns, static_cast<std::uint64_t>(count));
  }
  bool Turn(const Way& way) const {
    const std::int64_t populated =
        way.Call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, reservation.pointer);
    const std::int64_t decreased =
        way.Call(__HYPERVISOR_memory_op, XENMEM_decrease_reservation, reservation.pointer);
    return populated == count && decreased == count;
  }
  bool Worked() const { return true; }  // a page that is not there cannot be given up

  std::int64_t count;
  Argument<xen_memory_reservation> reservation;
  Argument<std::uint64_t> gfns;
};

// New pages at the gfns of those that are given up for them.
struct Exchange {
  Exchange(Caller& caller, std::uint64_t extents)
      : count(extents),
        exchange(caller.Put<xen_memory_exchange>()),
        gfns(PutGfns(caller, 0, extents)) {}

  void Prepare() const {
    *exchange.here = {.in = ReservationOf(kBuilt, gfns, count),
                      .out = ReservationOf(kBuilt, gfns, count),
                      .nr_exchanged = 0};
  }
  bool Turn(const Way& way) const {
    exchange->nr_exchanged = 0;
    return way.Call(__HYPERVISOR_memory_op, XENMEM_exchange, exchange.pointer) == 0;
  }
  bool Worked() const { return exchange->nr_exchanged == count; }

  std::uint64_t count;
  Argument<xen_memory_exchange> exchange;
  Argument<std::uint64_t> gfns;
};

// The list that it reads becomes the list of what it found.
struct GetPageFrameInfo {
  GetPageFrameInfo(Caller& caller, std::uint64_t frames)
      : count(frames),
        op(caller.Put<xen_domctl>()),
        list(caller.Put<std::uint64_t>(frames)),
        gfns(PutGfns(caller, 1, frames)) {}

  void Prepare() const {
    *op.here = DomctlFor(XEN_DOMCTL_getpageframeinfo3, kBuilt);
    op->u.getpageframeinfo3.num = count;
    op->u.getpageframeinfo3.array.p = list.guest();
  }
  bool Turn(const Way& way) const {
    std::memcpy(list.here, gfns.here, count * sizeof(std::uint64_t));
    return way.Call(__HYPERVISOR_domctl, op.pointer) == 0;
  }
  bool Worked() const {
    return list[0] == XEN_DOMCTL_PFINFO_NOTAB && list[count - 1] == XEN_DOMCTL_PFINFO_NOTAB;
  }

  std::uint64_t count;
  Argument<xen_domctl> op;
  Argument<std::uint64_t> list, gfns;
};

struct VcpuContext {
  static constexpr std::uint64_t kRip = 0x1234'5678;

  explicit VcpuContext(Caller& caller)
      : op(caller.Put<xen_domctl>()), context(caller.Put<vcpu_guest_context>()) {}

  void PrepareFor(std::uint32_t cmd) const {
    *op.here = DomctlFor(cmd, kBuilt);
    op->u.vcpucontext.ctxt.p = context.guest();
  }
  bool Turn(const Way& way) const { return way.Call(__HYPERVISOR_domctl, op.pointer) == 0; }

  Argument<xen_domctl> op;
  Argument<vcpu_guest_context> context;
};

struct SetVcpuContext : VcpuContext {
  SetVcpuContext(Caller& caller, std::uint64_t) : VcpuContext(caller) {}

  void Prepare() const {
    PrepareFor(XEN_DOMCTL_setvcpucontext);
    context->flags = VGCF_online;
    context->user_regs.rip = kRip;
  }
  bool Worked() const { return true; }  // seen by the next one
};

struct GetVcpuContext : VcpuContext {
  GetVcpuContext(Caller& caller, std::uint64_t) : VcpuContext(caller) {}

  void Prepare() const {
    PrepareFor(XEN_DOMCTL_getvcpucontext);
    context->user_regs.rip = 0;
  }
  bool Worked() const { return context->user_regs.rip == kRip; }
};

// Each of its calls has a structure of its own, which is read and written.
struct Multicall {
  Multicall(Caller& caller, std::uint64_t calls) : entries(caller.Put<multicall_entry>(calls)) {
    for (std::uint64_t i = 0; i < calls; ++i) infos.push_back(caller.Put<xen_feature_info>());
  }

  void Prepare() const {
    for (std::size_t i = 0; i < infos.size(); ++i) {
      entries[i] = {.op = __HYPERVISOR_xen_version,
                    .result = ~std::uint64_t{0},
                    .args = {XENVER_get_features, infos[i].pointer}};
      *infos[i].here = {};
    }
  }
  bool Turn(const Way& way) const {
    return way.Call(__HYPERVISOR_multicall, entries.pointer, infos.size()) == 0;
  }
  bool Worked() const {
    for (std::size_t i = 0; i < infos.size(); ++i) {
      if (entries[i].result != 0 || infos[i]->submap == 0) return false;
    }
    return true;
  }

  Argument<multicall_entry> entries;
  std::vector<Argument<xen_feature_info>> infos;
};

// Into the caller's address space and out of it again.
struct MapGrants {
  MapGrants(Caller& caller, std::uint64_t pages)
      : count(pages),
        first_ref(FirstRefFor(caller.id())),
        maps(caller.Put<gnttab_map_grant_ref>(pages)),
        unmaps(caller.Put<gnttab_unmap_grant_ref>(pages)) {}

  void Prepare() const {
    for (std::uint32_t i = 0; i < count; ++i) {
      maps[i] = {};
      maps[i].host_addr = (kWindowGfn + i) << hypervisor::kPageShift;
      maps[i].flags = GNTMAP_host_map;
      maps[i].ref = first_ref + i;
      maps[i].dom = kBuilt;
      unmaps[i] = {};
      unmaps[i].host_addr = maps[i].host_addr;
      unmaps[i].status = GNTST_general_error;
    }
  }
  bool Turn(const Way& way) const {
    const std::int64_t mapped =
        way.Call(__HYPERVISOR_grant_table_op, GNTTABOP_map_grant_ref, maps.pointer, count);
    for (std::uint64_t i = 0; i < count; ++i) unmaps[i].handle = maps[i].handle;
    return mapped == 0 && way.Call(__HYPERVISOR_grant_table_op, GNTTABOP_unmap_grant_ref,
                                   unmaps.pointer, count) == 0;
  }
  bool Worked() const {
    for (std::uint64_t i = 0; i < count; ++i) {
      if (maps[i].status != GNTST_okay || unmaps[i].status != GNTST_okay) return false;
    }
    return true;
  }

  std::uint64_t count;
  std::uint32_t first_ref;
  Argument<gnttab_map_grant_ref> maps;
  Argument<gnttab_unmap_grant_ref> unmaps;
};

// The first bytes of granted pages, into pages of the caller's.
template <std::uint16_t kBytes>
struct CopyGrants {
  CopyGrants(Caller& caller, std::uint64_t pages)
      : segments(caller.Put<gnttab_copy>(pages)), first_ref(FirstRefFor(caller.id())) {
    for (std::uint64_t i = 0; i < pages; ++i) own.push_back(caller.PutPage());
  }

  void Prepare() const {
    for (std::uint32_t i = 0; i < own.size(); ++i) {
      segments[i] = {};
      segments[i].source.u.ref = first_ref + i;
      segments[i].source.domid = kBuilt;
      segments[i].dest.u.gmfn = own[i].gfn;
      segments[i].dest.domid = DOMID_SELF;
      segments[i].len = kBytes;
      segments[i].flags = GNTCOPY_source_gref;
      std::memset(own[i].here, 0, kBytes);
    }
  }
  bool Turn(const Way& way) const {
    return way.Call(__HYPERVISOR_grant_table_op, GNTTABOP_copy, segments.pointer, own.size()) == 0;
  }
  bool Worked() const {
    for (std::size_t i = 0; i < own.size(); ++i) {
      if (segments[i].status != GNTST_okay || own[i].here[kBytes - 1] != std::byte{kPattern}) {
        return false;
      }
    }
    return true;
  }

  Argument<gnttab_copy> segments;
  std::uint32_t first_ref;
  std::vector<Caller::OwnPage> own;
};

class CallsMachine {
 public:
  // There are `domains` in all.
  CallsMachine(unsigned domains, std::uint64_t pages, BenchMachine::MemoryKind kind)
      : machine_(pages, kind) {
    machine_.Build({.id = kBuilt, .pages = kBuiltPages});
    Create();
    Grant(raw_.id());
    Grant(xcom_.id());
    for (std::uint16_t id = kOthers; id < domains; ++id) machine_.Build({.id = id, .pages = 1});
  }

  template <std::uint16_t kBytes>
  void AddCopies(Rows& rows, std::uint64_t pages) {
    const std::string name = "grant copy of " + std::to_string(kBytes) + " bytes";
    Add<CopyGrants<kBytes>>(rows, name, pages);
    // The same bytes by who has a pointer to both.
    const CopyGrants<kBytes> beside(raw_, pages);
    rows.Add("call/" + name + "/" + std::to_string(pages) + "/pages", [this, beside] {
      for (std::size_t i = 0; i < beside.own.size(); ++i) {
        std::memcpy(beside.own[i].here, granted_[i], Hidden(std::uint64_t{kBytes}));
      }
      benchmark::ClobberMemory();
    });
  }

  template <class Call>
  void Add(Rows& rows, const std::string& name, std::uint64_t count,
           const RowOptions& options = {}) {
    for (Caller* const caller : {&raw_, &xcom_}) {
      const Call call(*caller, count);
      for (const Way& way : caller->ways()) {
        const std::string row = "call/" + name + "/" + std::to_string(count) + "/" + way.name;
        call.Prepare();
        Check(call.Turn(way) && call.Worked(), (row + " does not do what it is to do").c_str());
        const auto turn = [call, way] {
          bool worked = call.Turn(way);
          benchmark::DoNotOptimize(worked);
        };
        rows.Add(row, turn, options);
      }
    }
  }

 private:
  void Grant(std::uint16_t caller) {
    hypervisor::Hypervisor& hypervisor = machine_.hypervisor();
    std::byte* const memory = machine_.ram().data();
    std::uint64_t table;
    Check(hypervisor.HoldResourceFrame(
              kBuilt,
              {.type = XENMEM_resource_grant_table, .id = XENMEM_resource_grant_table_id_shared}, 0,
              &table) == 0,
          "a domain has no grant table");
    for (std::uint32_t i = 0; i < kGrants; ++i) {
      const std::uint64_t gfn = kFirstGranted + i;
      std::byte* const page = memory + (hypervisor.FrameOf(kBuilt, gfn) << hypervisor::kPageShift);
      std::memset(page, kPattern, hypervisor::kPageSize);
      if (caller == raw_.id()) granted_.push_back(page);
      const std::uint64_t place = (FirstRefFor(caller) + i) * sizeof(grant_entry_v1);
      hypervisor::GrantEntry(memory + (table << hypervisor::kPageShift) + place, nullptr,
                             kNativeOrder)
          .Store(GTF_permit_access, caller, gfn);
    }
    hypervisor.ReleaseFrame(table);
  }
  // As a toolstack makes a PVH domain.
  void Create() {
    const auto op = raw_.Put<xen_domctl>();
    const auto call = [&] {
      Check(raw_.ways().front().Call(__HYPERVISOR_domctl, op.pointer) == 0,
            "a domain cannot be created");
    };
    *op.here = DomctlFor(XEN_DOMCTL_createdomain, kCreated);
    op->u.createdomain.flags = XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap;
    op->u.createdomain.max_vcpus = 1;
    op->u.createdomain.max_evtchn_port = 1023;
    op->u.createdomain.max_grant_frames = -1;
    op->u.createdomain.max_maptrack_frames = -1;
    op->u.createdomain.grant_opts = 1;
    op->u.createdomain.arch.emulation_flags = XEN_X86_EMU_LAPIC;
    call();
    *op.here = DomctlFor(XEN_DOMCTL_max_mem, kCreated);
    op->u.max_mem.max_memkb = kMillion << 2;
    call();
  }

  BenchMachine machine_;
  std::vector<const std::byte*> granted_;  // pages
  Caller raw_{machine_, 0, hypervisor::SpaceKind::kRaw};
  Caller xcom_{machine_, 1, hypervisor::SpaceKind::kXcom};
};

}  // namespace

void AddCalls(Rows& rows) {
  using MemoryKind = BenchMachine::MemoryKind;
  static CallsMachine few(kOthers, std::uint64_t{1} << 16, MemoryKind::kThere);
  few.Add<XenVersion>(rows, "xen_version", 1);
  few.Add<PhysInfo>(rows, "physinfo", 1);
  few.Add<GetDomainInfoList>(rows, "getdomaininfolist", 1);
  few.Add<PopulateAndDecrease>(rows, "populate+decrease", 1);
  few.Add<PopulateAndDecrease>(rows, "populate+decrease", 512);
  few.Add<Exchange>(rows, "exchange", 1);
  few.Add<Exchange>(rows, "exchange", 512);
  few.Add<GetPageFrameInfo>(rows, "getpageframeinfo3", 1024);
  few.Add<SetVcpuContext>(rows, "setvcpucontext", 1);
  few.Add<GetVcpuContext>(rows, "getvcpucontext", 1);
  few.Add<Multicall>(rows, "multicall", 32);
  few.Add<MapGrants>(rows, "grant map+unmap", 1);
  few.Add<MapGrants>(rows, "grant map+unmap", kGrants);
  few.AddCopies<16>(rows, 1);
  few.AddCopies<hypervisor::kPageSize>(rows, 1);
  few.AddCopies<hypervisor::kPageSize>(rows, kGrants);

  static CallsMachine many(kMany, 3 * kMillion / 2, MemoryKind::kGivenBack);
  many.Add<GetDomainInfoList>(rows, "getdomaininfolist", kMany);
  many.Add<PopulateAndDecrease>(rows, "populate+decrease", kMillion, {.counted = false});
}

}  // namespace xencomm::bench
