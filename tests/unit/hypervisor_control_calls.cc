// Working calls of a control domain: domctl, sysctl and platform_op.
//
// Bitmaps and lists are longer than what there is to tell, so that what lies behind is cleared or
// left alone, and a list never has only one element.

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <span>

#include "tests/unit/hypervisor_calls.h"

namespace xencomm::hypervisor {
namespace {

constexpr std::uint32_t kBits = 70;  // of a bitmap: more than a word, and no whole bytes
constexpr std::uint32_t kBitmapBytes = (kBits + 7) / 8;
constexpr std::uint32_t kHvmFlags = XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap;

// What a row says besides what to ask for.
struct More {
  std::uint16_t target = kHvm;
  std::int64_t (*result)(CallsMachine& on) = nullptr;
  std::int64_t answer = 0;
  std::int64_t absent = -kESRCH;
  std::int64_t absent_refusal = -kESRCH;  // a domctl looks for its domain before all else
};

// Puts a call into its structure, after what must have been done before it.
template <class Op>
using Fill = void (*)(CallsMachine& on, Op& op);

template <std::uint32_t kCmd, Fill<xen_domctl_t> kFill = nullptr>
constexpr WorkingCall Domctl(const char* name, const More& more = {}) {
  return {.name = name,
          .hypercall = __HYPERVISOR_domctl,
          .op = kCmd,
          .may = May::kControl,
          .prepare =
              [](CallsMachine& on, std::uint16_t target) {
                xen_domctl_t* const op = on.PutDomctl(kCmd, target);
                if constexpr (kFill != nullptr) kFill(on, *op);
                return on.Frame(__HYPERVISOR_domctl, op);
              },
          .target = more.target,
          .answer = more.answer,
          .absent = more.absent,
          .absent_refusal = more.absent_refusal,
          .result = more.result};
}

template <std::uint32_t kCmd, Fill<xen_sysctl_t> kFill = nullptr>
constexpr WorkingCall Sysctl(const char* name, std::int64_t answer = 0) {
  return {.name = name,
          .hypercall = __HYPERVISOR_sysctl,
          .op = kCmd,
          .may = May::kControl,
          .prepare =
              [](CallsMachine& on, std::uint16_t) {
                xen_sysctl_t* const op = on.PutSysctl(kCmd);
                if constexpr (kFill != nullptr) kFill(on, *op);
                return on.Frame(__HYPERVISOR_sysctl, op);
              },
          .answer = answer,
          .absent = answer,
          .absent_refusal = -kEPERM};
}

template <std::uint32_t kCmd, Fill<xen_platform_op_t> kFill = nullptr>
constexpr WorkingCall PlatformOp(const char* name,
                                 std::int64_t (*result)(CallsMachine& on) = nullptr) {
  return {.name = name,
          .hypercall = __HYPERVISOR_platform_op,
          .op = kCmd,
          .may = May::kControl,
          .prepare =
              [](CallsMachine& on, std::uint16_t) {
                auto* const op = on.Put<xen_platform_op_t>();
                op->cmd = kCmd;
                op->interface_version = XENPF_INTERFACE_VERSION;
                if constexpr (kFill != nullptr) kFill(on, *op);
                return on.Frame(__HYPERVISOR_platform_op, op);
              },
          .absent = 0,
          .absent_refusal = -kEPERM,
          .result = result};
}

// What must have been done before.
void Before(CallsMachine& on, std::uint32_t cmd, std::uint16_t domain, xen_domctl_t op = {}) {
  EXPECT_EQ(on.machine.Domctl(cmd, domain, op), 0) << "domctl " << cmd;
}

// Destroys what calls have created.
void EndNew(CallsMachine& on) {
  std::array<xen_domctl_getdomaininfo_t, 8> list = {};
  xen_sysctl_t op = {};
  op.u.getdomaininfolist.first_domain = kHvm + 1;
  op.u.getdomaininfolist.max_domains = list.size();
  op.u.getdomaininfolist.buffer.p = list.data();
  EXPECT_EQ(on.machine.Sysctl(XEN_SYSCTL_getdomaininfolist, op), 0);
  for (const auto& each : std::span(list).first(op.u.getdomaininfolist.num_domains)) {
    Before(on, XEN_DOMCTL_destroydomain, each.domain);
  }
}

// A domain as the toolstack has just made it: paused, once, and with nothing but two vcpus.
void MakeNew(CallsMachine& on) {
  EndNew(on);
  EXPECT_EQ(on.machine.CreateDomain(kNew, kPagesOfEach, 0, 2), kNew);
}

void PutCreation(CallsMachine& on, xen_domctl_t& op, std::uint32_t flags) {
  EndNew(on);
  op.u.createdomain = TestMachine::CreateRequest(flags, 2).u.createdomain;
  std::memset(op.u.createdomain.handle, 0x5c, sizeof(op.u.createdomain.handle));
}

void PutBitmap(CallsMachine& on, xenctl_bitmap& bitmap, std::uint8_t first = 0) {
  bitmap.nr_bits = kBits;
  bitmap.bitmap.p = on.PutArray<std::uint8_t>(kBitmapBytes);
  *bitmap.bitmap.p = first;
}

void PutAffinity(CallsMachine& on, xen_domctl_t& op, std::uint8_t hard, std::uint8_t soft) {
  xen_domctl_vcpuaffinity& affinity = op.u.vcpuaffinity;
  affinity.vcpu = 1;
  affinity.flags = XEN_VCPUAFFINITY_HARD | XEN_VCPUAFFINITY_SOFT;
  PutBitmap(on, affinity.cpumap_hard, hard);
  PutBitmap(on, affinity.cpumap_soft, soft);
}

// Where a buffer is read and written, the result of a call is whether it now holds what it should:
// 0.
std::int64_t Differs(std::span<const std::uint8_t> bitmap, std::uint8_t first) {
  return bitmap[0] != first || std::ranges::count(bitmap.subspan(1), 0) != kBitmapBytes - 1;
}

// Registers that vcpu 1 of the PV domain, and of any HVM one, can have.
vcpu_guest_context_t PvContext(const CallsMachine& on) {
  vcpu_guest_context_t context = {};
  context.flags = VGCF_online | VGCF_in_kernel;
  context.user_regs.rip = 0x1000;
  context.ctrlreg[3] = on.pv_frames[5] << 12;
  context.gdt_frames[0] = on.pv_frames[6];
  context.gdt_ents = 512;
  return context;
}
void PutContext(CallsMachine& on, xen_domctl_t& op) {
  op.u.vcpucontext.vcpu = 1;
  op.u.vcpucontext.ctxt.p = on.PutArray<vcpu_guest_context_t>(1);
}
void GiveContext(CallsMachine& on, std::uint16_t domain) {
  vcpu_guest_context_t context = PvContext(on);
  xen_domctl_t op = {};
  op.u.vcpucontext.vcpu = 1;
  op.u.vcpucontext.ctxt.p = &context;
  Before(on, XEN_DOMCTL_setvcpucontext, domain, op);
}

void Shadow(CallsMachine& on, std::uint32_t op) {
  xen_domctl_t request = {};
  request.u.shadow_op.op = op;
  Before(on, XEN_DOMCTL_shadow_op, kHvm, request);
}
void HypercallInit(CallsMachine&, xen_domctl_t& op) { op.u.hypercall_init.gmfn = 5; }

// The HVM domain's log is on, and at two of its gfns there are new pages.
void WriteLogged(CallsMachine& on) {
  Shadow(on, XEN_DOMCTL_SHADOW_OP_OFF);
  Shadow(on, XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY);
  for (const unsigned op : {XENMEM_decrease_reservation, XENMEM_populate_physmap}) {
    std::array<xen_pfn_t, 2> gfns = {3, 30};
    auto pages = TestMachine::Reservation(kHvm, gfns.data(), gfns.size());
    EXPECT_EQ(on.machine.Call(__HYPERVISOR_memory_op, op, &pages), 2);
  }
}
void PutDirtyBitmap(CallsMachine& on, xen_domctl_t& op, std::uint32_t what) {
  WriteLogged(on);
  op.u.shadow_op.op = what;
  op.u.shadow_op.pages = kBits;
  op.u.shadow_op.dirty_bitmap.p = on.PutArray<std::uint8_t>(kBitmapBytes);
}
void SetPool(CallsMachine& on, std::uint64_t bytes) {
  xen_domctl_t op = {};
  op.u.paging_mempool.size = bytes;
  Before(on, XEN_DOMCTL_set_paging_mempool_size, kHvm, op);
}
constexpr std::uint64_t kPoolBytes = std::uint64_t{1} << 20;  // of the HVM domain's paging

// Bytes of the HVM domain's saved state, at most.
std::uint32_t HvmContextBytes(CallsMachine& on) {
  xen_domctl_t op = {};
  EXPECT_EQ(on.machine.Domctl(XEN_DOMCTL_gethvmcontext, kHvm, op), 0);
  return op.u.hvmcontext.size;
}
// Its state as it is now; the request with which to give it.
xen_domctl_t HvmContext(CallsMachine& on) {
  xen_domctl_t op = {};
  op.u.hvmcontext.size = HvmContextBytes(on);
  op.u.hvmcontext.buffer.p = on.PutArray<std::uint8_t>(op.u.hvmcontext.size);
  EXPECT_EQ(on.machine.Domctl(XEN_DOMCTL_gethvmcontext, kHvm, op), 0);
  return op;
}
// Its vcpu 1 has registers, and all its hardware a state.
void GiveHvmContext(CallsMachine& on) {
  GiveContext(on, kHvm);
  Before(on, XEN_DOMCTL_sethvmcontext, kHvm, HvmContext(on));
}

// Room for a processor's leaves and registers, or for none, to ask how many there are.
template <class Policy>
void PutPolicyRoom(CallsMachine& on, Policy& policy, std::uint32_t leaves, std::uint32_t msrs) {
  policy.nr_leaves = leaves;
  policy.nr_msrs = msrs;
  policy.leaves.p = on.PutArray<xen_cpuid_leaf_t>(leaves);
  policy.msrs.p = on.PutArray<xen_msr_entry_t>(msrs);
}

void Print(CallsMachine& on) {
  char text[] = "a line\n";
  EXPECT_EQ(on.machine.Call(__HYPERVISOR_console_io, CONSOLEIO_write, sizeof(text) - 1, text), 0);
}
void PutConsoleRoom(CallsMachine& on, xen_sysctl_readconsole& request) {
  Print(on);
  request.count = 64;
  request.buffer.p = on.PutArray<char>(request.count);
}

// A domain's life.

void CreateHvmDomain(CallsMachine& on, xen_domctl_t& op) { PutCreation(on, op, kHvmFlags); }
void CreatePvDomain(CallsMachine& on, xen_domctl_t& op) { PutCreation(on, op, 0); }
void MaxVcpus(CallsMachine& on, xen_domctl_t& op) {
  EndNew(on);
  Before(on, XEN_DOMCTL_createdomain, kNew, TestMachine::CreateRequest(kHvmFlags, 2));
  op.u.max_vcpus.max = 2;
}
void MaxMem(CallsMachine&, xen_domctl_t& op) { op.u.max_mem.max_memkb = 4 * 50; }
void AboutNew(CallsMachine& on, xen_domctl_t&) { MakeNew(on); }
void ResumeDomain(CallsMachine& on, xen_domctl_t&) {
  MakeNew(on);
  sched_remote_shutdown_t shutdown = {.domain_id = kNew, .reason = SHUTDOWN_suspend};
  EXPECT_EQ(on.machine.Call(__HYPERVISOR_sched_op, SCHEDOP_remote_shutdown, &shutdown), 0);
}
void DestroyDomain(CallsMachine& on, xen_domctl_t&) {
  MakeNew(on);
  std::array<xen_pfn_t, 3> frames = {1, 2, 3};
  auto pages = TestMachine::Reservation(kNew, frames.data(), frames.size());
  EXPECT_EQ(on.machine.Call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, &pages), 3);
}

// What it is, and what is only kept.

void SetDomainHandle(CallsMachine&, xen_domctl_t& op) {
  std::memset(op.u.setdomainhandle.handle, 0xd7, sizeof(op.u.setdomainhandle.handle));
}
void SetDebugging(CallsMachine&, xen_domctl_t& op) { op.u.setdebugging.enable = 1; }
void SetTimeOffset(CallsMachine&, xen_domctl_t& op) {
  op.u.settimeoffset.time_offset_seconds = -3600;
}
void Subscribe(CallsMachine&, xen_domctl_t& op) { op.u.subscribe.port = 5; }
void SetAddressSize(CallsMachine&, xen_domctl_t& op) { op.u.address_size.size = 64; }
void SetTscInfo(CallsMachine&, xen_domctl_t& op) {
  op.u.tsc_info.tsc_mode = 2;
  op.u.tsc_info.incarnation = 6;
}
void SetNodeAffinity(CallsMachine& on, xen_domctl_t& op) {
  PutBitmap(on, op.u.nodeaffinity.nodemap, 1);
}
void GetNodeAffinity(CallsMachine& on, xen_domctl_t& op) {
  PutBitmap(on, op.u.nodeaffinity.nodemap);
}
void SetVnumaInfo(CallsMachine& on, xen_domctl_t& op) {
  xen_domctl_vnuma& vnuma = op.u.vnuma;
  vnuma.nr_vnodes = vnuma.nr_vmemranges = vnuma.nr_vcpus = 2;
  vnuma.vdistance.p = *on.Put<unsigned[4]>({10, 20, 20, 10});
  vnuma.vcpu_to_vnode.p = *on.Put<unsigned[2]>({1, 0});
  vnuma.vnode_to_pnode.p = *on.Put<unsigned[2]>({0, 0});
  vnuma.vmemrange.p = *on.Put<xen_vmemrange_t[2]>({{0, 0x10000, 0, 0}, {0x10000, 0x20000, 0, 1}});
}

// Its vcpus.

void GetVcpuInfo(CallsMachine&, xen_domctl_t& op) { op.u.getvcpuinfo.vcpu = 1; }
void SetVcpuContext(CallsMachine& on, xen_domctl_t& op) {
  PutContext(on, op);
  *op.u.vcpucontext.ctxt.p = PvContext(on);
}
void ResetVcpu(CallsMachine& on, xen_domctl_t& op) {
  GiveContext(on, kPv);
  op.u.vcpucontext.vcpu = 1;
}
void GetVcpuContext(CallsMachine& on, xen_domctl_t& op) {
  GiveContext(on, kPv);
  PutContext(on, op);
}
void SetVcpuAffinity(CallsMachine& on, xen_domctl_t& op) { PutAffinity(on, op, 2, 0xff); }
// Of the processors that there are; softly, of those that the hard one leaves.
std::int64_t AffinityDiffers(CallsMachine& on) {
  const xen_domctl_vcpuaffinity& affinity = on.First<xen_domctl_t>().u.vcpuaffinity;
  return Differs({affinity.cpumap_hard.bitmap.p, kBitmapBytes}, 2) +
         Differs({affinity.cpumap_soft.bitmap.p, kBitmapBytes}, 2);
}
void GetVcpuAffinity(CallsMachine& on, xen_domctl_t& op) { PutAffinity(on, op, 0, 0); }
void GetSchedulerInfo(CallsMachine&, xen_domctl_t& op) {
  op.u.scheduler_op.sched_id = XEN_SCHEDULER_CREDIT2;
  op.u.scheduler_op.cmd = XEN_DOMCTL_SCHEDOP_getinfo;
}
void PutSchedulerInfo(CallsMachine&, xen_domctl_t& op) {
  op.u.scheduler_op.sched_id = XEN_SCHEDULER_CREDIT2;
  op.u.scheduler_op.cmd = XEN_DOMCTL_SCHEDOP_putinfo;
  op.u.scheduler_op.u.credit2 = {.weight = 512, .cap = 150};
}

// The processor that it is told of, and its hardware's state.

void GetCpuPolicy(CallsMachine& on, xen_domctl_t& op) { PutPolicyRoom(on, op.u.cpu_policy, 40, 3); }
void SetCpuPolicy(CallsMachine& on, xen_domctl_t& op) {
  MakeNew(on);
  PutPolicyRoom(on, op.u.cpu_policy, 2, 2);
  op.u.cpu_policy.leaves.p[0] = {1, XEN_CPUID_NO_SUBLEAF, 0, 7, 0, 0};
  op.u.cpu_policy.leaves.p[1] = {0xd, 2, 8, 0, 0, 0};
  op.u.cpu_policy.msrs.p[0] = {0xce, 0, 5};
  op.u.cpu_policy.msrs.p[1] = {0x10a, 0, 6};
}
void GetHvmContext(CallsMachine& on, xen_domctl_t& op) {
  xen_domctl_hvmcontext& context = op.u.hvmcontext;
  context.size = HvmContextBytes(on) + 100;
  context.buffer.p = on.PutArray<std::uint8_t>(context.size);
}
void GetGivenHvmContext(CallsMachine& on, xen_domctl_t& op) {
  GiveHvmContext(on);
  GetHvmContext(on, op);
}
void SetHvmContext(CallsMachine& on, xen_domctl_t& op) {
  GiveContext(on, kHvm);
  op.u.hvmcontext = HvmContext(on).u.hvmcontext;
}
void GetHvmVcpuContext(CallsMachine& on, xen_domctl_t& op) {
  GiveHvmContext(on);
  PutContext(on, op);
}
void GetHvmContextPartialSize(CallsMachine&, xen_domctl_t& op) {
  op.u.hvmcontext_partial.type = sizeof(__HVM_SAVE_TYPE_MTRR::c);
  op.u.hvmcontext_partial.instance = 1;
}
void GetHvmContextPartial(CallsMachine& on, xen_domctl_t& op) {
  GetHvmContextPartialSize(on, op);
  op.u.hvmcontext_partial.bufsz = 300;
  op.u.hvmcontext_partial.buffer.p = on.PutArray<std::uint8_t>(300);
}

// Its pages.

void GetPageFrameInfo(CallsMachine& on, xen_domctl_t& op) {
  op.u.getpageframeinfo3.num = 3;
  op.u.getpageframeinfo3.array.p =
      *on.Put<xen_pfn_t[3]>({on.pv_frames[4], ~xen_pfn_t{0}, on.pv_frames[9]});
}
std::int64_t PageFrameInfoDiffers(CallsMachine& on) {
  constexpr std::array<xen_pfn_t, 3> kTypes = {XEN_DOMCTL_PFINFO_NOTAB, XEN_DOMCTL_PFINFO_XTAB,
                                               XEN_DOMCTL_PFINFO_NOTAB};
  const xen_pfn_t* const types = on.First<xen_domctl_t>().u.getpageframeinfo3.array.p;
  return !std::ranges::equal(kTypes, std::span(types, kTypes.size()));
}
void EnableShadow(CallsMachine& on, xen_domctl_t& op) {
  Shadow(on, XEN_DOMCTL_SHADOW_OP_OFF);
  op.u.shadow_op.op = XEN_DOMCTL_SHADOW_OP_ENABLE;
  op.u.shadow_op.mode = XEN_DOMCTL_SHADOW_ENABLE_LOG_DIRTY;
}
void EnableLogDirty(CallsMachine& on, xen_domctl_t& op) {
  Shadow(on, XEN_DOMCTL_SHADOW_OP_OFF);
  op.u.shadow_op.op = XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY;
}
void ShadowOff(CallsMachine& on, xen_domctl_t& op) {
  WriteLogged(on);
  op.u.shadow_op.op = XEN_DOMCTL_SHADOW_OP_OFF;
}
void Clean(CallsMachine& on, xen_domctl_t& op) {
  PutDirtyBitmap(on, op, XEN_DOMCTL_SHADOW_OP_CLEAN);
}
void CleanAtLast(CallsMachine& on, xen_domctl_t& op) {
  PutDirtyBitmap(on, op, XEN_DOMCTL_SHADOW_OP_CLEAN);
  op.u.shadow_op.mode = XEN_DOMCTL_SHADOW_LOGDIRTY_FINAL;
}
void CleanOfCounts(CallsMachine& on, xen_domctl_t& op) {
  PutDirtyBitmap(on, op, XEN_DOMCTL_SHADOW_OP_CLEAN);
  op.u.shadow_op.dirty_bitmap.p = nullptr;
}
void Peek(CallsMachine& on, xen_domctl_t& op) { PutDirtyBitmap(on, op, XEN_DOMCTL_SHADOW_OP_PEEK); }
void GetAllocation(CallsMachine& on, xen_domctl_t& op) {
  SetPool(on, kPoolBytes);
  op.u.shadow_op.op = XEN_DOMCTL_SHADOW_OP_GET_ALLOCATION;
}
void SetAllocation(CallsMachine& on, xen_domctl_t& op) {
  SetPool(on, kPoolBytes);
  op.u.shadow_op.op = XEN_DOMCTL_SHADOW_OP_SET_ALLOCATION;
  op.u.shadow_op.mb = 2;
}
void GetPoolSize(CallsMachine& on, xen_domctl_t&) { SetPool(on, kPoolBytes); }
void SetMorePoolPages(CallsMachine& on, xen_domctl_t& op) {
  SetPool(on, kPoolBytes);
  op.u.paging_mempool.size = kPoolBytes + 3 * kPageSize;
}
void SetFewerPoolPages(CallsMachine& on, xen_domctl_t& op) {
  SetPool(on, kPoolBytes);
  op.u.paging_mempool.size = kPoolBytes - 3 * kPageSize;
}

// The console.

void ReadConsole(CallsMachine& on, xen_sysctl_t& op) { PutConsoleRoom(on, op.u.readconsole); }
void ReadConsoleFromIndex(CallsMachine& on, xen_sysctl_t& op) {
  PutConsoleRoom(on, op.u.readconsole);
  op.u.readconsole.incremental = 1;
  op.u.readconsole.index = 3;
}
void ReadConsoleAndClear(CallsMachine& on, xen_sysctl_t& op) {
  PutConsoleRoom(on, op.u.readconsole);
  op.u.readconsole.clear = 1;
}
void DebugKeys(CallsMachine& on, xen_sysctl_t& op) {
  op.u.debug_keys.nr_keys = 2;
  op.u.debug_keys.keys.p = *on.Put<char[2]>({'h', 'q'});
}

void ListPatches(CallsMachine&, xen_sysctl_t& op) {
  op.u.livepatch.cmd = XEN_SYSCTL_LIVEPATCH_LIST;
}

// The machine.

void QueryOffline(CallsMachine& on, xen_sysctl_t& op) {
  xen_sysctl_page_offline_op& query = op.u.page_offline;
  query.cmd = sysctl_query_page_offline;
  query.start = TestMachineOptions().pool_begin >> 12;
  query.end = query.start + 4;
  query.status.p = on.PutArray<std::uint32_t>(5);
}
void AvailHeap(CallsMachine&, xen_sysctl_t& op) { op.u.availheap.node = -1; }
void GetDomainInfoList(CallsMachine& on, xen_sysctl_t& op) {
  xen_sysctl_getdomaininfolist& list = op.u.getdomaininfolist;
  list.first_domain = 1;
  list.max_domains = 6;
  list.buffer.p = on.PutArray<xen_domctl_getdomaininfo_t>(list.max_domains);
}
void GetCpuTimes(CallsMachine& on, xen_sysctl_t& op) {
  op.u.getcpuinfo.max_cpus = 4;
  op.u.getcpuinfo.info.p = on.PutArray<xen_sysctl_cpuinfo_t>(4);
}
void CpuTopology(CallsMachine& on, xen_sysctl_t& op) {
  op.u.cputopoinfo.num_cpus = 4;
  op.u.cputopoinfo.cputopo.p = on.PutArray<xen_sysctl_cputopo_t>(4);
}
void NumaInfo(CallsMachine& on, xen_sysctl_t& op) {
  op.u.numainfo.num_nodes = 2;
  op.u.numainfo.meminfo.p = on.PutArray<xen_sysctl_meminfo_t>(2);
  op.u.numainfo.distance.p = on.PutArray<std::uint32_t>(4);
}
void PciTopology(CallsMachine& on, xen_sysctl_t& op) {
  op.u.pcitopoinfo.num_devs = 2;
  op.u.pcitopoinfo.devs.p = on.PutArray<physdev_pci_device_t>(2);
  op.u.pcitopoinfo.nodes.p = on.PutArray<std::uint32_t>(2);
}

// Its processors.

void GetMaxCx(CallsMachine&, xen_sysctl_t& op) {
  op.u.get_pmstat.type = PMSTAT_get_max_cx;
  op.u.get_pmstat.cpuid = 1;
}
void GetCxStat(CallsMachine& on, xen_sysctl_t& op) {
  op.u.get_pmstat.type = PMSTAT_get_cxstat;
  op.u.get_pmstat.cpuid = 1;
  pm_cx_stat& states = op.u.get_pmstat.u.getcx;
  states.nr = states.nr_pc = states.nr_cc = 3;
  states.triggers.p = on.PutArray<std::uint64_t>(3);
  states.residencies.p = on.PutArray<std::uint64_t>(3);
  states.pc.p = on.PutArray<std::uint64_t>(3);
  states.cc.p = on.PutArray<std::uint64_t>(3);
}
void ResetCxStat(CallsMachine&, xen_sysctl_t& op) { op.u.get_pmstat.type = PMSTAT_reset_cxstat; }
void SetSchedOptSmt(CallsMachine&, xen_sysctl_t& op) {
  op.u.pm_op.cmd = XEN_SYSCTL_pm_op_set_sched_opt_smt;
  op.u.pm_op.u.set_sched_opt_smt = 1;
}
void GetMaxCstate(CallsMachine&, xen_sysctl_t& op) {
  op.u.pm_op.cmd = XEN_SYSCTL_pm_op_get_max_cstate;
}
void SetMaxCstate(CallsMachine&, xen_sysctl_t& op) {
  op.u.pm_op.cmd = XEN_SYSCTL_pm_op_set_max_cstate;
  op.u.pm_op.cpuid = 1;
  op.u.pm_op.u.set_max_cstate = 3;
}
void GetCpuFeatureset(CallsMachine& on, xen_sysctl_t& op) {
  op.u.cpu_featureset.index = XEN_SYSCTL_cpu_featureset_hvm;
  op.u.cpu_featureset.nr_features = 30;
  op.u.cpu_featureset.features.p = on.PutArray<std::uint32_t>(30);
}
// Some of them, and that there are more.
void GetSomeOfCpuFeatureset(CallsMachine& on, xen_sysctl_t& op) {
  op.u.cpu_featureset.nr_features = 2;
  op.u.cpu_featureset.features.p = on.PutArray<std::uint32_t>(4);
}
void GetSystemCpuPolicy(CallsMachine& on, xen_sysctl_t& op) {
  op.u.cpu_policy.index = XEN_SYSCTL_cpu_policy_pv_max;
  PutPolicyRoom(on, op.u.cpu_policy, 40, 3);
}
void CpuPoolInfo(CallsMachine& on, xen_sysctl_t& op) {
  op.u.cpupool_op.op = XEN_SYSCTL_CPUPOOL_OP_INFO;
  PutBitmap(on, op.u.cpupool_op.cpumap);
}
void CpuPoolFreeInfo(CallsMachine& on, xen_sysctl_t& op) {
  op.u.cpupool_op.op = XEN_SYSCTL_CPUPOOL_OP_FREEINFO;
  PutBitmap(on, op.u.cpupool_op.cpumap);
}
HypercallFrame MoveDomain(CallsMachine& on, std::uint16_t target) {
  xen_sysctl_t* const op = on.PutSysctl(XEN_SYSCTL_cpupool_op);
  op->u.cpupool_op.op = XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN;
  op->u.cpupool_op.domid = target;
  return on.Frame(__HYPERVISOR_sysctl, op);
}
void GetScheduler(CallsMachine&, xen_sysctl_t& op) {
  op.u.scheduler_op.sched_id = XEN_SCHEDULER_CREDIT2;
  op.u.scheduler_op.cmd = XEN_SYSCTL_SCHEDOP_getinfo;
}
void PutScheduler(CallsMachine&, xen_sysctl_t& op) {
  op.u.scheduler_op.sched_id = XEN_SCHEDULER_CREDIT2;
  op.u.scheduler_op.cmd = XEN_SYSCTL_SCHEDOP_putinfo;
  op.u.scheduler_op.u.sched_credit2.ratelimit_us = 2000;
}

// platform_op.

void SetTime32(CallsMachine&, xen_platform_op_t& op) {
  op.u.settime32 = {.secs = 1, .nsecs = 2, .system_time = 3};
}
void SetTime64(CallsMachine&, xen_platform_op_t& op) {
  op.u.settime64 = {.secs = 1, .nsecs = 2, .mbz = 0, .system_time = 3};
}
void GetIdleTime(CallsMachine& on, xen_platform_op_t& op) {
  op.u.getidletime.cpumap_nr_cpus = kBits;
  op.u.getidletime.cpumap_bitmap.p = on.PutArray<std::uint8_t>(kBitmapBytes);
  *op.u.getidletime.cpumap_bitmap.p = 0xff;
  op.u.getidletime.idletime.p = on.PutArray<std::uint64_t>(kBits);
}
// All are asked for; there are two, of which the first was idle until domain 0 came.
std::int64_t IdleTimeDiffers(CallsMachine& on) {
  const xenpf_getidletime& idle = on.First<xen_platform_op_t>().u.getidletime;
  const auto times = CopyOf<std::uint64_t>(idle.idletime.p, kBits);
  return Differs({idle.cpumap_bitmap.p, kBitmapBytes}, 3) || times[0] == 0 || times[0] > times[1] ||
         times[1] != idle.now || std::ranges::count(times, 0u) != kBits - 2;
}
void GetCpuInfo(CallsMachine&, xen_platform_op_t& op) { op.u.pcpu_info.xen_cpuid = 1; }
void GetCpuVersion(CallsMachine&, xen_platform_op_t& op) { op.u.pcpu_version.xen_cpuid = 1; }

constexpr WorkingCall kCalls[] = {
    // A domain's life.
    Domctl<XEN_DOMCTL_createdomain, CreateHvmDomain>(
        "domctl.createdomain.hvm", {.target = kNew, .absent = 0, .absent_refusal = -kEPERM}),
    Domctl<XEN_DOMCTL_createdomain, CreatePvDomain>(
        "domctl.createdomain.pv_of_any_id", {.target = 0, .absent = 0, .absent_refusal = -kEPERM}),
    Domctl<XEN_DOMCTL_max_vcpus, MaxVcpus>("domctl.max_vcpus", {.target = kNew}),
    Domctl<XEN_DOMCTL_max_mem, MaxMem>("domctl.max_mem"),
    Domctl<XEN_DOMCTL_pausedomain, AboutNew>("domctl.pausedomain", {.target = kNew}),
    Domctl<XEN_DOMCTL_unpausedomain, AboutNew>("domctl.unpausedomain", {.target = kNew}),
    Domctl<XEN_DOMCTL_resumedomain, ResumeDomain>("domctl.resumedomain", {.target = kNew}),
    Domctl<XEN_DOMCTL_destroydomain, DestroyDomain>("domctl.destroydomain", {.target = kNew}),
    // What it is, and what is only kept.
    Domctl<XEN_DOMCTL_getdomaininfo>("domctl.getdomaininfo", {.absent_refusal = -kEPERM}),
    Domctl<XEN_DOMCTL_getdomaininfo>("domctl.getdomaininfo.of_the_next",
                                     {.target = kGuest - 1, .absent_refusal = -kEPERM}),
    Domctl<XEN_DOMCTL_setdomainhandle, SetDomainHandle>("domctl.setdomainhandle"),
    Domctl<XEN_DOMCTL_setdebugging, SetDebugging>("domctl.setdebugging"),
    Domctl<XEN_DOMCTL_settimeoffset, SetTimeOffset>("domctl.settimeoffset"),
    Domctl<XEN_DOMCTL_subscribe, Subscribe>("domctl.subscribe"),
    Domctl<XEN_DOMCTL_set_address_size, SetAddressSize>("domctl.set_address_size", {.target = kPv}),
    Domctl<XEN_DOMCTL_get_address_size>("domctl.get_address_size", {.target = kPv}),
    Domctl<XEN_DOMCTL_settscinfo, SetTscInfo>("domctl.settscinfo"),
    Domctl<XEN_DOMCTL_gettscinfo>("domctl.gettscinfo"),
    Domctl<XEN_DOMCTL_setnodeaffinity, SetNodeAffinity>("domctl.setnodeaffinity"),
    Domctl<XEN_DOMCTL_getnodeaffinity, GetNodeAffinity>("domctl.getnodeaffinity"),
    Domctl<XEN_DOMCTL_setvnumainfo, SetVnumaInfo>("domctl.setvnumainfo"),
    // Its vcpus.
    Domctl<XEN_DOMCTL_getvcpuinfo, GetVcpuInfo>("domctl.getvcpuinfo"),
    Domctl<XEN_DOMCTL_sendtrigger>("domctl.sendtrigger"),
    Domctl<XEN_DOMCTL_setvcpucontext, SetVcpuContext>("domctl.setvcpucontext.pv", {.target = kPv}),
    Domctl<XEN_DOMCTL_setvcpucontext, SetVcpuContext>("domctl.setvcpucontext.hvm"),
    Domctl<XEN_DOMCTL_setvcpucontext, ResetVcpu>("domctl.setvcpucontext.reset", {.target = kPv}),
    Domctl<XEN_DOMCTL_getvcpucontext, GetVcpuContext>("domctl.getvcpucontext", {.target = kPv}),
    Domctl<XEN_DOMCTL_setvcpuaffinity, SetVcpuAffinity>("domctl.setvcpuaffinity",
                                                        {.result = AffinityDiffers}),
    Domctl<XEN_DOMCTL_getvcpuaffinity, GetVcpuAffinity>("domctl.getvcpuaffinity"),
    Domctl<XEN_DOMCTL_scheduler_op, GetSchedulerInfo>("domctl.scheduler_op.getinfo"),
    Domctl<XEN_DOMCTL_scheduler_op, PutSchedulerInfo>("domctl.scheduler_op.putinfo"),
    // The processor that it is told of, and its hardware's state.
    Domctl<XEN_DOMCTL_get_cpu_policy>("domctl.get_cpu_policy.sizes"),
    Domctl<XEN_DOMCTL_get_cpu_policy, GetCpuPolicy>("domctl.get_cpu_policy"),
    Domctl<XEN_DOMCTL_set_cpu_policy, SetCpuPolicy>("domctl.set_cpu_policy", {.target = kNew}),
    Domctl<XEN_DOMCTL_gethvmcontext>("domctl.gethvmcontext.size"),
    Domctl<XEN_DOMCTL_gethvmcontext, GetHvmContext>("domctl.gethvmcontext"),
    Domctl<XEN_DOMCTL_gethvmcontext, GetGivenHvmContext>("domctl.gethvmcontext.given"),
    Domctl<XEN_DOMCTL_getvcpucontext, GetHvmVcpuContext>("domctl.getvcpucontext.hvm"),
    Domctl<XEN_DOMCTL_sethvmcontext, SetHvmContext>("domctl.sethvmcontext"),
    Domctl<XEN_DOMCTL_gethvmcontext_partial, GetHvmContextPartialSize>(
        "domctl.gethvmcontext_partial.size"),
    Domctl<XEN_DOMCTL_gethvmcontext_partial, GetHvmContextPartial>("domctl.gethvmcontext_partial"),
    // Its pages.
    Domctl<XEN_DOMCTL_getpageframeinfo3, GetPageFrameInfo>(
        "domctl.getpageframeinfo3", {.target = kPv, .result = PageFrameInfoDiffers}),
    Domctl<XEN_DOMCTL_hypercall_init, HypercallInit>("domctl.hypercall_init"),
    Domctl<XEN_DOMCTL_shadow_op, EnableShadow>("domctl.shadow_op.enable"),
    Domctl<XEN_DOMCTL_shadow_op, EnableLogDirty>("domctl.shadow_op.enable_logdirty"),
    Domctl<XEN_DOMCTL_shadow_op, ShadowOff>("domctl.shadow_op.off"),
    Domctl<XEN_DOMCTL_shadow_op, Clean>("domctl.shadow_op.clean"),
    Domctl<XEN_DOMCTL_shadow_op, CleanAtLast>("domctl.shadow_op.clean_at_last"),
    Domctl<XEN_DOMCTL_shadow_op, CleanOfCounts>("domctl.shadow_op.clean_of_counts"),
    Domctl<XEN_DOMCTL_shadow_op, Peek>("domctl.shadow_op.peek"),
    Domctl<XEN_DOMCTL_shadow_op, GetAllocation>("domctl.shadow_op.get_allocation"),
    Domctl<XEN_DOMCTL_shadow_op, SetAllocation>("domctl.shadow_op.set_allocation"),
    Domctl<XEN_DOMCTL_get_paging_mempool_size, GetPoolSize>("domctl.get_paging_mempool_size"),
    Domctl<XEN_DOMCTL_set_paging_mempool_size, SetMorePoolPages>(
        "domctl.set_paging_mempool_size.more"),
    Domctl<XEN_DOMCTL_set_paging_mempool_size, SetFewerPoolPages>(
        "domctl.set_paging_mempool_size.less"),
    // The console.
    Sysctl<XEN_SYSCTL_readconsole, ReadConsole>("sysctl.readconsole"),
    Sysctl<XEN_SYSCTL_readconsole, ReadConsoleFromIndex>("sysctl.readconsole.from_index"),
    Sysctl<XEN_SYSCTL_readconsole, ReadConsoleAndClear>("sysctl.readconsole.clear"),
    Sysctl<XEN_SYSCTL_debug_keys, DebugKeys>("sysctl.debug_keys"),
    Sysctl<XEN_SYSCTL_livepatch_op, ListPatches>("sysctl.livepatch_op.list"),
    // The machine.
    Sysctl<XEN_SYSCTL_page_offline_op, QueryOffline>("sysctl.page_offline_op"),
    Sysctl<XEN_SYSCTL_physinfo>("sysctl.physinfo"),
    Sysctl<XEN_SYSCTL_sched_id>("sysctl.sched_id"),
    Sysctl<XEN_SYSCTL_availheap, AvailHeap>("sysctl.availheap"),
    Sysctl<XEN_SYSCTL_getdomaininfolist, GetDomainInfoList>("sysctl.getdomaininfolist"),
    Sysctl<XEN_SYSCTL_getcpuinfo, GetCpuTimes>("sysctl.getcpuinfo"),
    Sysctl<XEN_SYSCTL_cputopoinfo>("sysctl.cputopoinfo.size"),
    Sysctl<XEN_SYSCTL_cputopoinfo, CpuTopology>("sysctl.cputopoinfo"),
    Sysctl<XEN_SYSCTL_numainfo>("sysctl.numainfo.size"),
    Sysctl<XEN_SYSCTL_numainfo, NumaInfo>("sysctl.numainfo"),
    Sysctl<XEN_SYSCTL_pcitopoinfo, PciTopology>("sysctl.pcitopoinfo"),
    // Its processors.
    Sysctl<XEN_SYSCTL_get_pmstat, GetMaxCx>("sysctl.get_pmstat.get_max_cx"),
    Sysctl<XEN_SYSCTL_get_pmstat, GetCxStat>("sysctl.get_pmstat.get_cxstat"),
    Sysctl<XEN_SYSCTL_get_pmstat, ResetCxStat>("sysctl.get_pmstat.reset_cxstat"),
    Sysctl<XEN_SYSCTL_pm_op, SetSchedOptSmt>("sysctl.pm_op.set_sched_opt_smt"),
    Sysctl<XEN_SYSCTL_pm_op, GetMaxCstate>("sysctl.pm_op.get_max_cstate"),
    Sysctl<XEN_SYSCTL_pm_op, SetMaxCstate>("sysctl.pm_op.set_max_cstate"),
    Sysctl<XEN_SYSCTL_get_cpu_levelling_caps>("sysctl.get_cpu_levelling_caps"),
    Sysctl<XEN_SYSCTL_get_cpu_featureset>("sysctl.get_cpu_featureset.size"),
    Sysctl<XEN_SYSCTL_get_cpu_featureset, GetCpuFeatureset>("sysctl.get_cpu_featureset"),
    // Some of them, and that there are more.
    Sysctl<XEN_SYSCTL_get_cpu_featureset, GetSomeOfCpuFeatureset>(
        "sysctl.get_cpu_featureset.of_too_little_room", -kENOBUFS),
    Sysctl<XEN_SYSCTL_get_cpu_policy>("sysctl.get_cpu_policy.sizes"),
    Sysctl<XEN_SYSCTL_get_cpu_policy, GetSystemCpuPolicy>("sysctl.get_cpu_policy"),
    Sysctl<XEN_SYSCTL_cpupool_op, CpuPoolInfo>("sysctl.cpupool_op.info"),
    Sysctl<XEN_SYSCTL_cpupool_op, CpuPoolFreeInfo>("sysctl.cpupool_op.freeinfo"),
    {.name = "sysctl.cpupool_op.movedomain",
     .hypercall = __HYPERVISOR_sysctl,
     .op = XEN_SYSCTL_cpupool_op,
     .may = May::kControl,
     .prepare = MoveDomain,
     .absent_refusal = -kEPERM},
    Sysctl<XEN_SYSCTL_scheduler_op, GetScheduler>("sysctl.scheduler_op.getinfo"),
    Sysctl<XEN_SYSCTL_scheduler_op, PutScheduler>("sysctl.scheduler_op.putinfo"),
    // platform_op.
    PlatformOp<XENPF_settime32, SetTime32>("platform_op.settime32"),
    PlatformOp<XENPF_settime64, SetTime64>("platform_op.settime64"),
    PlatformOp<XENPF_getidletime, GetIdleTime>("platform_op.getidletime", IdleTimeDiffers),
    PlatformOp<XENPF_get_cpuinfo, GetCpuInfo>("platform_op.get_cpuinfo"),
    PlatformOp<XENPF_get_cpu_version, GetCpuVersion>("platform_op.get_cpu_version"),
};

}  // namespace

std::span<const WorkingCall> WorkingControlCalls() { return kCalls; }

}  // namespace xencomm::hypervisor
