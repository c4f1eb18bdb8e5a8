// What a toolstack does to a domain besides giving it memory: vcpus, affinity, scheduling, events,
// grants, parameters, saved state.

#include <bit>
#include <cstring>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/hypervisor_books.h"
#include "tests/unit/hypervisor_toolstack.h"

namespace xencomm::hypervisor {
namespace {

using HypervisorToolstackTest = ToolstackTest;

TEST_F(HypervisorToolstackTest, DescribesVcpus) {
  xen_domctl_t op = {};
  op.u.getvcpuinfo.vcpu = 1;
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_getvcpuinfo, kPv, op), 0);
  EXPECT_EQ(op.u.getvcpuinfo.online, 0);
  EXPECT_EQ(op.u.getvcpuinfo.cpu, 1u);
  op.u.getvcpuinfo.vcpu = 2;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_getvcpuinfo, kPv, op), -kEINVAL);
  op.u.getvcpuinfo.vcpu = 0;
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_getvcpuinfo, 0, op), 0);
  EXPECT_EQ(op.u.getvcpuinfo.running, 1);
}

TEST_F(HypervisorToolstackTest, KeepsVcpuContexts) {
  std::vector<vcpu_guest_context_t> contexts(2);
  xen_domctl_t op = {};
  op.u.vcpucontext.ctxt.p = contexts.data();
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_getvcpucontext, kHvm, op), -kENODATA);
  std::memset(contexts.data(), 0, sizeof(contexts[0]));
  contexts[0].user_regs.rip = 0x1000;
  contexts[0].flags = VGCF_online;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_setvcpucontext, kHvm, op), 0);
  op.u.vcpucontext.ctxt.p = &contexts[1];
  // It is complete once it has its hardware's state.
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_getvcpucontext, kHvm, op), -kENODATA);
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_getdomaininfo, kHvm, op), 0);
  EXPECT_EQ(op.u.getdomaininfo.nr_online_vcpus, 1u);

  // A PV context names frames that must be the domain's own.
  op.u.vcpucontext.vcpu = 0;
  op.u.vcpucontext.ctxt.p = contexts.data();
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_setvcpucontext, kPv, op), -kEINVAL);
  contexts[0].ctrlreg[3] = pv_frames[5] << 12;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_setvcpucontext, kPv, op), -kEINVAL);  // no user's tables
  contexts[0].flags = VGCF_online | VGCF_in_kernel;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_setvcpucontext, kPv, op), 0);
  op.u.vcpucontext.ctxt.p = &contexts[1];
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_getvcpucontext, kPv, op), 0);
  EXPECT_EQ(contexts[1].ctrlreg[3], pv_frames[5] << 12);
  EXPECT_EQ(contexts[1].ctrlreg[0], 0x80050033u);  // the processor's, not the guest's to choose
  op.u.vcpucontext.ctxt.p = contexts.data();
  contexts[0].user_regs.rip = std::uint64_t{1} << 47;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_setvcpucontext, kPv, op), -kEINVAL);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_setvcpucontext, 0, op), -kEINVAL);
  op.u.vcpucontext.vcpu = 7;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_setvcpucontext, kPv, op), -kEINVAL);
}

TEST_F(HypervisorToolstackTest, SetsAndTellsAffinity) {
  std::uint8_t hard[4] = {0xff, 0xff, 0xff, 0xff};
  std::uint8_t soft[4] = {0xff, 0xff, 0xff, 0xff};
  xen_domctl_t op = {};
  op.u.vcpuaffinity.flags = XEN_VCPUAFFINITY_HARD | XEN_VCPUAFFINITY_SOFT;
  op.u.vcpuaffinity.cpumap_hard.bitmap.p = hard;
  op.u.vcpuaffinity.cpumap_hard.nr_bits = 32;
  op.u.vcpuaffinity.cpumap_soft.bitmap.p = soft;
  op.u.vcpuaffinity.cpumap_soft.nr_bits = 32;
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_getvcpuaffinity, kPv, op), 0);
  EXPECT_EQ(hard[0], 3);  // two processors
  EXPECT_EQ(hard[3], 0);  // and no more
  hard[0] = 2;
  soft[0] = 1;
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_setvcpuaffinity, kPv, op), 0);
  EXPECT_EQ(hard[0], 2);
  EXPECT_EQ(soft[0], 0);  // what is left of it in the hard one
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_getvcpuaffinity, kPv, op), 0);
  EXPECT_EQ(hard[0], 2);
  EXPECT_EQ(soft[0], 1);
  hard[0] = 4;  // a processor that there is not
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_setvcpuaffinity, kPv, op), -kEINVAL);
  op.u.vcpuaffinity.flags = 0;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_getvcpuaffinity, kPv, op), -kEINVAL);
  op.u.vcpuaffinity.flags = XEN_VCPUAFFINITY_HARD;
  op.u.vcpuaffinity.cpumap_hard.bitmap.p = nullptr;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_getvcpuaffinity, kPv, op), -kEINVAL);
}

TEST_F(HypervisorToolstackTest, KeepsCredit2Parameters) {
  xen_domctl_t op = {};
  op.u.scheduler_op.sched_id = XEN_SCHEDULER_CREDIT2;
  op.u.scheduler_op.cmd = XEN_DOMCTL_SCHEDOP_getinfo;
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_scheduler_op, kPv, op), 0);
  EXPECT_EQ(op.u.scheduler_op.u.credit2.weight, 256);
  op.u.scheduler_op.cmd = XEN_DOMCTL_SCHEDOP_putinfo;
  op.u.scheduler_op.u.credit2.weight = 512;
  op.u.scheduler_op.u.credit2.cap = 200;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_scheduler_op, kPv, op), 0);
  op.u.scheduler_op.u.credit2.cap = 201;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_scheduler_op, kPv, op), -kEINVAL);
  op.u.scheduler_op.cmd = XEN_DOMCTL_SCHEDOP_getinfo;
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_scheduler_op, kPv, op), 0);
  EXPECT_EQ(op.u.scheduler_op.u.credit2.weight, 512);
  EXPECT_EQ(op.u.scheduler_op.u.credit2.cap, 200);
  op.u.scheduler_op.sched_id = XEN_SCHEDULER_CREDIT;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_scheduler_op, kPv, op), -kEINVAL);
}

TEST_F(HypervisorToolstackTest, KeepsVirtualNuma) {
  std::uint32_t distances[4] = {10, 20, 20, 10};
  std::uint32_t vcpus[2] = {0, 1};
  std::uint32_t nodes[2] = {0, 0};
  xen_vmemrange_t ranges[2] = {{0, 4096, 0, 0}, {4096, 8192, 0, 1}};
  xen_domctl_t op = {};
  op.u.vnuma.nr_vnodes = 2;
  op.u.vnuma.nr_vmemranges = 2;
  op.u.vnuma.nr_vcpus = 2;
  op.u.vnuma.vdistance.p = distances;
  op.u.vnuma.vcpu_to_vnode.p = vcpus;
  op.u.vnuma.vnode_to_pnode.p = nodes;
  op.u.vnuma.vmemrange.p = ranges;
  xen_vnuma_topology_info info = {};
  info.domid = kHvm;
  EXPECT_EQ(MemoryOp(XENMEM_get_vnumainfo, info), -kEOPNOTSUPP);
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_setvnumainfo, kHvm, op), 0);
  EXPECT_EQ(MemoryOp(XENMEM_get_vnumainfo, info), -kENOBUFS);
  EXPECT_EQ(info.nr_vnodes, 2u);
  EXPECT_EQ(info.nr_vcpus, 2u);
  std::uint32_t told_distances[4] = {};
  std::uint32_t told_vcpus[2] = {};
  xen_vmemrange_t told_ranges[2] = {};
  info.vdistance.h.p = told_distances;
  info.vcpu_to_vnode.h.p = told_vcpus;
  info.vmemrange.h.p = told_ranges;
  EXPECT_EQ(MemoryOp(XENMEM_get_vnumainfo, info), 0);
  EXPECT_EQ(told_distances[1], 20u);
  EXPECT_EQ(told_vcpus[1], 1u);
  EXPECT_EQ(told_ranges[1].end, 8192u);
  vcpus[1] = 2;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_setvnumainfo, kHvm, op), -kE2BIG);
  op.u.vnuma.nr_vnodes = 33;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_setvnumainfo, kHvm, op), -kEINVAL);
}

TEST_F(HypervisorToolstackTest, OffersEventChannels) {
  evtchn_alloc_unbound offer = {.dom = kPv, .remote_dom = DOMID_SELF, .port = 0};
  ASSERT_EQ(EventOp(EVTCHNOP_alloc_unbound, offer), 0);
  EXPECT_EQ(offer.port, 1u);
  evtchn_status status = {};
  status.dom = kPv;
  status.port = 1;
  ASSERT_EQ(EventOp(EVTCHNOP_status, status), 0);
  EXPECT_EQ(status.status, std::uint32_t{EVTCHNSTAT_unbound});
  EXPECT_EQ(status.u.unbound.dom, 0);

  evtchn_bind_interdomain bind = {.remote_dom = kPv, .remote_port = 1, .local_port = 0};
  ASSERT_EQ(EventOp(EVTCHNOP_bind_interdomain, bind), 0);
  ASSERT_EQ(EventOp(EVTCHNOP_status, status), 0);
  EXPECT_EQ(status.status, std::uint32_t{EVTCHNSTAT_interdomain});
  EXPECT_EQ(status.u.interdomain.port, bind.local_port);
  evtchn_send send = {.port = bind.local_port};
  EXPECT_EQ(EventOp(EVTCHNOP_send, send), 0);
  evtchn_close close = {.port = bind.local_port};
  EXPECT_EQ(EventOp(EVTCHNOP_close, close), 0);
  EXPECT_EQ(EventOp(EVTCHNOP_close, close), -kEINVAL);
  ASSERT_EQ(EventOp(EVTCHNOP_status, status), 0);
  EXPECT_EQ(status.status, std::uint32_t{EVTCHNSTAT_unbound});

  status.port = 40;
  ASSERT_EQ(EventOp(EVTCHNOP_status, status), 0);
  EXPECT_EQ(status.status, std::uint32_t{EVTCHNSTAT_closed});
  status.port = 64;
  EXPECT_EQ(EventOp(EVTCHNOP_status, status), -kEINVAL);
  status.dom = kMissing;
  EXPECT_EQ(EventOp(EVTCHNOP_status, status), -kESRCH);

  // max_evtchn_port: the ports end.
  std::int64_t last = 0;
  for (int i = 0; i < 1100 && last == 0; ++i) last = EventOp(EVTCHNOP_alloc_unbound, offer);
  EXPECT_EQ(last, -kENOSPC);
  EXPECT_EQ(offer.port, 1023u);
}

TEST_F(HypervisorToolstackTest, SetsUpGrantTables) {
  gnttab_query_size size = {};
  size.dom = kPv;
  ASSERT_EQ(GrantOp(GNTTABOP_query_size, size), 0);
  EXPECT_EQ(size.nr_frames, 1u);
  EXPECT_EQ(size.max_nr_frames, 64u);
  xen_pfn_t frames[4] = {};
  gnttab_setup_table setup = {};
  setup.dom = kPv;
  setup.nr_frames = 4;
  setup.frame_list.p = frames;
  ASSERT_EQ(GrantOp(GNTTABOP_setup_table, setup), 0);
  EXPECT_EQ(setup.status, GNTST_okay);
  EXPECT_NE(frames[3], 0u);
  std::uint64_t mfn;
  ASSERT_EQ(machine.HoldFrame(kPv, frames[3], Access::kRead, &mfn), 0);
  machine.ReleaseFrame(mfn);
  setup.nr_frames = 65;
  ASSERT_EQ(GrantOp(GNTTABOP_setup_table, setup), 0);
  EXPECT_EQ(setup.status, GNTST_general_error);
  setup.dom = kMissing;
  ASSERT_EQ(GrantOp(GNTTABOP_setup_table, setup), 0);
  EXPECT_EQ(setup.status, GNTST_bad_domain);
  EXPECT_EQ(GrantOp(GNTTABOP_setup_table, setup, 2), -kEINVAL);
  EXPECT_EQ(GrantOp(GNTTABOP_setup_table, setup, 0x80000000), -kEINVAL);
  gnttab_set_version version = {.version = 2};
  EXPECT_EQ(GrantOp(GNTTABOP_set_version, version), 0);
  gnttab_get_version told = {};
  told.dom = DOMID_SELF;
  EXPECT_EQ(GrantOp(GNTTABOP_get_version, told), 0);
  EXPECT_EQ(told.version, 2u);
  version.version = 3;
  EXPECT_EQ(GrantOp(GNTTABOP_set_version, version), -kEINVAL);
}

TEST_F(HypervisorToolstackTest, ReservedGrantsOutliveAChangeOfVersion) {
  constexpr std::uint64_t kGfn = 5000;
  xen_add_to_physmap map = {};
  map.domid = DOMID_SELF;
  map.space = XENMAPSPACE_grant_table;
  map.gpfn = kGfn;
  ASSERT_EQ(MemoryOp(XENMEM_add_to_physmap, map), 0);
  const std::uint64_t mfn = machine.hypervisor.FrameOf(0, kGfn);
  auto* old = reinterpret_cast<grant_entry_v1_t*>(machine.BytesOf(mfn));
  auto* now = reinterpret_cast<grant_entry_v2_t*>(machine.BytesOf(mfn));
  old[1] = {.flags = GTF_permit_access | GTF_reading, .domid = 7, .frame = 0x1234};
  old[8] = {.flags = GTF_permit_access, .domid = 7, .frame = 0x5678};

  gnttab_set_version version = {.version = 2};
  ASSERT_EQ(GrantOp(GNTTABOP_set_version, version), 0);
  EXPECT_EQ(now[1].hdr.flags, GTF_permit_access);
  EXPECT_EQ(now[1].hdr.domid, 7);
  EXPECT_EQ(now[1].full_page.frame, 0x1234u);
  EXPECT_EQ(now[8].hdr.flags, 0);

  // A frame that version 1 has no room for.
  now[1].full_page.frame = std::uint64_t{1} << 32;
  version.version = 1;
  EXPECT_EQ(GrantOp(GNTTABOP_set_version, version), -kERANGE);
  EXPECT_EQ(version.version, 2u);
  now[1].full_page.frame = 0x4321;
  version.version = 1;
  ASSERT_EQ(GrantOp(GNTTABOP_set_version, version), 0);
  EXPECT_EQ(old[1].flags, GTF_permit_access | GTF_reading);
  EXPECT_EQ(old[1].domid, 7);
  EXPECT_EQ(old[1].frame, 0x4321u);
}

TEST_F(HypervisorToolstackTest, StatusFramesGoWithTheirVersion) {
  constexpr std::uint64_t kGfn = 5000;
  const auto overhead = [&] { return Books::StatisticsOf(machine.hypervisor, 0).overhead_pages; };
  const auto set_version = [&](std::uint32_t wanted) {
    gnttab_set_version version = {.version = wanted};
    return GrantOp(GNTTABOP_set_version, version);
  };
  const auto status_of = [&](std::uint32_t frames) {
    xen_pfn_t list[2] = {};
    gnttab_get_status_frames request = {};
    request.dom = DOMID_SELF;
    request.nr_frames = frames;
    request.frame_list.p = list;
    EXPECT_EQ(GrantOp(GNTTABOP_get_status_frames, request), 0);
    return request.status;
  };
  xen_pfn_t frames[9] = {};
  gnttab_setup_table setup = {};
  setup.dom = DOMID_SELF;
  setup.nr_frames = 9;
  setup.frame_list.p = frames;
  ASSERT_EQ(GrantOp(GNTTABOP_setup_table, setup), 0);
  xen_add_to_physmap map = {};
  map.domid = DOMID_SELF;
  map.space = XENMAPSPACE_grant_table;
  map.gpfn = kGfn + 1;
  ASSERT_EQ(MemoryOp(XENMEM_add_to_physmap, map), 0);  // so that the p2m has room for its leaf
  const std::uint64_t before = overhead();

  for (unsigned round = 0; round < 3; ++round) {
    ASSERT_EQ(set_version(2), 0);
    EXPECT_EQ(overhead(), before + 2);
    EXPECT_EQ(status_of(2), GNTST_okay);
    map.idx = XENMAPIDX_grant_table_status | 1;
    map.gpfn = kGfn;
    ASSERT_EQ(MemoryOp(XENMEM_add_to_physmap, map), 0);
    const std::uint64_t mfn = machine.hypervisor.FrameOf(0, kGfn);

    // While somebody maps one of them, all stay, and so do the grants.
    std::uint64_t held;
    ASSERT_EQ(machine.HoldFrame(0, kGfn, Access::kWrite, &held), 0);
    EXPECT_EQ(held, mfn);
    auto* grants = reinterpret_cast<grant_entry_v2_t*>(
        machine.BytesOf(machine.hypervisor.FrameOf(0, kGfn + 1)));
    grants[9].hdr = {.flags = GTF_permit_access, .domid = 7};
    EXPECT_EQ(set_version(1), -kEBUSY);
    EXPECT_EQ(overhead(), before + 2);
    EXPECT_EQ(status_of(2), GNTST_okay);
    EXPECT_EQ(machine.hypervisor.FrameOf(0, kGfn), mfn);
    EXPECT_EQ(grants[9].hdr.flags, GTF_permit_access);
    machine.ReleaseFrame(held);

    ASSERT_EQ(set_version(1), 0);
    EXPECT_EQ(overhead(), before);
    EXPECT_EQ(status_of(1), GNTST_general_error);
    EXPECT_EQ(machine.HoldFrame(0, kGfn, Access::kRead, &held), -kEINVAL);
    EXPECT_EQ(MemoryOp(XENMEM_add_to_physmap, map), -kEINVAL);
    EXPECT_EQ(grants[9].hdr.flags, 0);
  }
}

// Of a table of version 2, the frames of grants and those of their status are placed each by its
// own numbers.
TEST_F(HypervisorToolstackTest, PlacesGrantAndStatusFrames) {
  const auto add = [&](std::uint64_t index, std::uint64_t gfn) {
    xen_add_to_physmap request = {};
    request.domid = 0;
    request.space = XENMAPSPACE_grant_table;
    request.idx = index;
    request.gpfn = gfn;
    return MemoryOp(XENMEM_add_to_physmap, request);
  };
  ASSERT_EQ(add(0, 1000), 0);
  const std::uint64_t grants = machine.hypervisor.FrameOf(0, 1000);
  EXPECT_EQ(add(XENMAPIDX_grant_table_status, 1001), -kEINVAL);  // version 1 has none
  gnttab_set_version version = {.version = 2};
  ASSERT_EQ(GrantOp(GNTTABOP_set_version, version), 0);
  ASSERT_EQ(add(0, 1002), 0);
  EXPECT_EQ(machine.hypervisor.FrameOf(0, 1002), grants);
  EXPECT_EQ(machine.hypervisor.FrameOf(0, 1000), kNoFrame);
  ASSERT_EQ(add(XENMAPIDX_grant_table_status, 1001), 0);
  EXPECT_NE(machine.hypervisor.FrameOf(0, 1001), grants);
  EXPECT_EQ(machine.hypervisor.FrameOf(0, 1002), grants);
  version.version = 1;
  EXPECT_EQ(GrantOp(GNTTABOP_set_version, version), 0);
  EXPECT_EQ(machine.hypervisor.FrameOf(0, 1001), kNoFrame);
  EXPECT_EQ(machine.hypervisor.FrameOf(0, 1002), grants);
}

TEST(HypervisorGrantTable, KeepsItsVersionWhenThereIsNoRoomForStatusFrames) {
  const auto grow = [](TestMachine& machine) {
    xen_pfn_t frames[64] = {};
    gnttab_setup_table setup = {};
    setup.dom = DOMID_SELF;
    setup.nr_frames = 64;
    setup.frame_list.p = frames;
    EXPECT_EQ(machine.Call(__HYPERVISOR_grant_table_op, GNTTABOP_setup_table, &setup, 1), 0);
    EXPECT_EQ(setup.status, GNTST_okay);
    return Books::StatisticsOf(machine.hypervisor, 0).overhead_pages;
  };
  TestMachine roomy;
  const std::uint64_t needed = grow(roomy);
  // Eight status frames are wanted, and there is room for four.
  TestMachine tight({.max_overhead_pages = needed + 4});
  ASSERT_EQ(grow(tight), needed);
  gnttab_set_version version = {.version = 2};
  EXPECT_EQ(tight.Call(__HYPERVISOR_grant_table_op, GNTTABOP_set_version, &version, 1), -kENOMEM);
  EXPECT_EQ(version.version, 1u);
  EXPECT_EQ(Books::StatisticsOf(tight.hypervisor, 0).overhead_pages, needed);
}

TEST_F(HypervisorToolstackTest, SharedPagesThatAreMappedOutliveTheirDomain) {
  xen_domctl_t op = {};
  ASSERT_EQ(machine.CreateDomain(7, 1), 7);
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_getdomaininfo, 7, op), 0);
  const std::uint64_t shared_info = op.u.getdomaininfo.shared_info_frame;
  std::uint64_t mfn;
  ASSERT_EQ(machine.HoldFrame(7, shared_info, Access::kWrite, &mfn), 0);
  EXPECT_EQ(mfn, shared_info);
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, 7), 0);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_getdomaininfo, 7, op), 0);
  EXPECT_EQ(op.domain, 7);
  // What is left of it cannot be mapped by others any more.
  EXPECT_EQ(machine.MapForeign(kHvm, 3000, 7, shared_info), -kEINVAL);
  machine.ReleaseFrame(mfn);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_getdomaininfo, 7, op), -kESRCH);
}

TEST_F(HypervisorToolstackTest, KeepsHvmParameters) {
  xen_hvm_param param = {};
  param.domid = kHvm;
  param.index = HVM_PARAM_STORE_PFN;
  param.value = 0xfeffc;
  const auto hvm_op = [&](unsigned op) { return machine.Call(__HYPERVISOR_hvm_op, op, &param); };
  EXPECT_EQ(hvm_op(HVMOP_set_param), 0);
  param.value = 0;
  EXPECT_EQ(hvm_op(HVMOP_get_param), 0);
  EXPECT_EQ(param.value, 0xfeffcu);
  param.index = HVM_PARAM_IOREQ_SERVER_PFN;
  param.value = 1;
  EXPECT_EQ(hvm_op(HVMOP_set_param), 0);
  param.value = 2;
  EXPECT_EQ(hvm_op(HVMOP_set_param), -kEEXIST);
  param.index = HVM_PARAM_PAE_ENABLED;
  EXPECT_EQ(hvm_op(HVMOP_get_param), -kEINVAL);
  param.index = HVM_NR_PARAMS;
  EXPECT_EQ(hvm_op(HVMOP_get_param), -kEINVAL);
  param.index = HVM_PARAM_STORE_PFN;
  param.domid = kPv;
  EXPECT_EQ(hvm_op(HVMOP_get_param), -kEINVAL);
  param.domid = kMissing;
  EXPECT_EQ(hvm_op(HVMOP_get_param), -kESRCH);
  EXPECT_EQ(hvm_op(1000), -kENOSYS);
}

// hvm_op's number is a long in Xen, vcpu_op's numbers are ints.
TEST_F(HypervisorToolstackTest, LooksAtTheBitsOfARegisterThatXenLooksAt) {
  constexpr std::uint64_t kAbove = std::uint64_t{1} << 32;
  xen_hvm_param param = {};
  param.domid = kHvm;
  param.index = HVM_PARAM_STORE_PFN;
  EXPECT_EQ(machine.Call(__HYPERVISOR_hvm_op, HVMOP_get_param, &param), 0);
  EXPECT_EQ(machine.Call(__HYPERVISOR_hvm_op, 0x100 | HVMOP_get_param, &param), -kENOSYS);
  EXPECT_EQ(machine.Call(__HYPERVISOR_hvm_op, kAbove | HVMOP_get_param, &param), -kENOSYS);
  EXPECT_EQ(machine.Call(__HYPERVISOR_vcpu_op, kAbove | VCPUOP_is_up, kAbove), 1);
  EXPECT_EQ(machine.Call(__HYPERVISOR_vcpu_op, VCPUOP_is_up, 2), -kENOENT);
}

TEST_F(HypervisorToolstackTest, TellsAndTakesCpuPolicies) {
  xen_domctl_t op = {};
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_get_cpu_policy, kHvm, op), 0);
  EXPECT_GT(op.u.cpu_policy.nr_leaves, 100u);
  std::vector<xen_cpuid_leaf_t> leaves(op.u.cpu_policy.nr_leaves);
  std::vector<xen_msr_entry_t> msrs(op.u.cpu_policy.nr_msrs);
  op.u.cpu_policy.leaves.p = leaves.data();
  op.u.cpu_policy.msrs.p = msrs.data();
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_get_cpu_policy, kHvm, op), 0);
  leaves.resize(op.u.cpu_policy.nr_leaves);
  EXPECT_EQ(leaves[0].leaf, 0u);
  leaves[1].b = 0x12345678;
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_set_cpu_policy, kHvm, op), 0);
  leaves[1].b = 0;
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_get_cpu_policy, kHvm, op), 0);
  EXPECT_EQ(leaves[1].b, 0x12345678u);
  op.u.cpu_policy.nr_leaves = 3;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_get_cpu_policy, kHvm, op), -kENOBUFS);
  leaves[0].leaf = 0x50000000;
  op.u.cpu_policy.nr_leaves = 1;
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_set_cpu_policy, kHvm, op), -kERANGE);
  EXPECT_EQ(op.u.cpu_policy.err_leaf, 0x50000000u);
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_unpausedomain, kHvm), 0);
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_set_cpu_policy, kHvm, op), -kEEXIST);
}

TEST_F(HypervisorToolstackTest, DomainsShutDown) {
  sched_remote_shutdown request = {.domain_id = kPv, .reason = SHUTDOWN_suspend};
  EXPECT_EQ(machine.Call(__HYPERVISOR_sched_op, SCHEDOP_remote_shutdown, &request), 0);
  xen_domctl_t op = {};
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_getdomaininfo, kPv, op), 0);
  EXPECT_TRUE((op.u.getdomaininfo.flags & XEN_DOMINF_shutdown) != 0);
  EXPECT_EQ(op.u.getdomaininfo.flags >> XEN_DOMINF_shutdownshift, std::uint32_t{SHUTDOWN_suspend});
  EXPECT_EQ(machine.Domctl(XEN_DOMCTL_resumedomain, kPv), 0);
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_getdomaininfo, kPv, op), 0);
  EXPECT_FALSE((op.u.getdomaininfo.flags & XEN_DOMINF_shutdown) != 0);
  request.domain_id = kMissing;
  EXPECT_EQ(machine.Call(__HYPERVISOR_sched_op, SCHEDOP_remote_shutdown, &request), -kESRCH);
  EXPECT_EQ(machine.Call(__HYPERVISOR_sched_op, SCHEDOP_yield), 0);
}

// A reason that was given before the end is the reason, and no later one is taken.
TEST_F(HypervisorToolstackTest, TheFirstReasonToShutDownStands) {
  sched_shutdown request = {.reason = SHUTDOWN_watchdog};
  bool has_ended = false;
  for (const std::uint32_t op : {SCHEDOP_shutdown_code, SCHEDOP_shutdown, SCHEDOP_shutdown_code}) {
    EXPECT_EQ(machine.Call(__HYPERVISOR_sched_op, op, &request), 0);
    xen_domctl_t info = {};
    ASSERT_EQ(machine.Domctl(XEN_DOMCTL_getdomaininfo, 0, info), 0);
    const std::uint32_t flags = info.u.getdomaininfo.flags;
    EXPECT_EQ(flags >> XEN_DOMINF_shutdownshift, std::uint32_t{SHUTDOWN_watchdog});
    has_ended |= op == SCHEDOP_shutdown;
    EXPECT_EQ((flags & XEN_DOMINF_shutdown) != 0, has_ended);
    request.reason = SHUTDOWN_crash;
  }
}

// It is seen by whoever asks next, and once.
TEST_F(HypervisorToolstackTest, AWatchdogShutsItsDomainDown) {
  const auto set = [&](std::uint32_t id, std::uint32_t timeout) {
    sched_watchdog request = {.id = id, .timeout = timeout};
    return machine.Call(__HYPERVISOR_sched_op, SCHEDOP_watchdog, &request);
  };
  const auto flags = [&] {
    xen_domctl_t info = {};
    EXPECT_EQ(machine.Domctl(XEN_DOMCTL_getdomaininfo, 0, info), 0);
    return info.u.getdomaininfo.flags;
  };
  EXPECT_EQ(set(0, 1000), 1);
  EXPECT_EQ(set(0, 0), 2);  // due now
  EXPECT_EQ(set(2, 0), 0);  // but stopped
  EXPECT_EQ(flags() & XEN_DOMINF_shutdown, 0u);
  EXPECT_EQ(set(0, 0), 2);
  EXPECT_NE(flags() & XEN_DOMINF_shutdown, 0u);
  EXPECT_EQ(flags() >> XEN_DOMINF_shutdownshift, std::uint32_t{SHUTDOWN_watchdog});
  // It is in use until it is stopped.
  EXPECT_EQ(set(0, 0), -kENOSPC);
  EXPECT_EQ(set(2, 1000), 0);
  EXPECT_EQ(set(2, 0), 0);
  EXPECT_EQ(set(1, 0), 0);
  EXPECT_EQ(set(1, 0), -kEINVAL);
  EXPECT_EQ(set(3, 0), -kEINVAL);
  EXPECT_EQ(set(~0u, 0), -kEINVAL);
}

// What is the whole domain's is bound once, by vcpu 0, and moves; what is a vcpu's, by each.
TEST_F(HypervisorToolstackTest, VirqsAreBoundAsTheyAre) {
  const auto bind = [&](std::uint32_t virq, std::uint32_t vcpu, std::uint32_t* port) {
    evtchn_bind_virq request = {.virq = virq, .vcpu = vcpu, .port = 0};
    const std::int64_t answer =
        machine.Call(__HYPERVISOR_event_channel_op, EVTCHNOP_bind_virq, &request);
    *port = request.port;
    return answer;
  };
  const auto move = [&](std::uint32_t port) {
    evtchn_bind_vcpu request = {.port = port, .vcpu = 1};
    return machine.Call(__HYPERVISOR_event_channel_op, EVTCHNOP_bind_vcpu, &request);
  };
  const std::set<std::uint32_t> of_each = {VIRQ_TIMER, VIRQ_DEBUG, VIRQ_XENOPROF, VIRQ_XENPMU};
  for (std::uint32_t virq = 0; virq < NR_VIRQS; ++virq) {
    SCOPED_TRACE(virq);
    const bool is_global = !of_each.contains(virq);
    std::uint32_t port;
    EXPECT_EQ(bind(virq, 1, &port), is_global ? -kEINVAL : 0);
    EXPECT_EQ(bind(virq, 0, &port), 0);
    EXPECT_EQ(move(port), is_global ? 0 : -kEINVAL);
    EXPECT_EQ(bind(virq, 0, &port), -kEEXIST);
    EXPECT_EQ(bind(virq, 2, &port), is_global ? -kEINVAL : -kENOENT);
  }
  std::uint32_t port;
  EXPECT_EQ(bind(NR_VIRQS, 0, &port), -kEINVAL);
}

TEST_F(HypervisorToolstackTest, PortsOfAnotherAreResetWhileItIsPaused) {
  const auto reset = [&](std::uint16_t domain) {
    evtchn_reset request = {.dom = domain};
    return machine.Call(__HYPERVISOR_event_channel_op, EVTCHNOP_reset, &request);
  };
  EXPECT_EQ(reset(kPv), 0);
  ASSERT_EQ(machine.Domctl(XEN_DOMCTL_unpausedomain, kPv), 0);
  EXPECT_EQ(reset(kPv), -kEINVAL);
  EXPECT_EQ(reset(0), 0);
}

}  // namespace
}  // namespace xencomm::hypervisor
