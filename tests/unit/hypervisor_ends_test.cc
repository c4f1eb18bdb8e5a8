// Ends: of each count, index and number that a call has, the first one, the last one and the one
// past it, and those that only wrap to something good. Those of memory:
// hypervisor_memory_ends_test.

#include <algorithm>
#include <numeric>
#include <ostream>
#include <vector>

#include <gtest/gtest.h>

#include "hcall/hypervisor/base/cpu_policy.h"
#include "tests/unit/hypervisor_machine.h"

namespace xencomm::hypervisor {
namespace {

constexpr std::uint16_t kPv = 3;
constexpr std::uint16_t kHvm = 4;
constexpr std::uint16_t kGuest = 5;  // controls nobody else, and makes calls itself
constexpr std::uint64_t kTaken = 32;
constexpr std::uint64_t kMostGfns = std::uint64_t{1} << 36;
constexpr std::uint64_t kLimit = 2000;  // pages, more than the largest extent of a guest

constexpr std::uint64_t k31 = std::uint64_t{1} << 31;
constexpr std::uint64_t k32 = std::uint64_t{1} << 32;
constexpr std::uint64_t kAll32 = k32 - 1;
constexpr std::uint64_t kAll64 = ~std::uint64_t{0};

class Subject {
 public:
  Subject() {
    const std::uint32_t hvm = XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap;
    EXPECT_EQ(machine.CreateDomain(kPv, kLimit, 0, 2), kPv);
    EXPECT_EQ(machine.CreateDomain(kHvm, kLimit, hvm, 2), kHvm);
    EXPECT_EQ(machine.hypervisor.BuildDomain(
                  {.id = kGuest, .pages = kTaken, .vcpus = 2, .space = SpaceKind::kRaw}),
              0);
    xen_domctl_t op = {};
    op.u.max_mem.max_memkb = kLimit << 2;
    EXPECT_EQ(machine.Domctl(XEN_DOMCTL_max_mem, kGuest, op), 0);
    guest = machine.hypervisor.ClaimVcpu(kGuest, 0);
    machine.hypervisor.SetRawSpace(*guest, machine.direct);
    for (const std::uint16_t id : {kPv, kHvm}) {
      std::vector<xen_pfn_t> gfns(kTaken);
      std::iota(gfns.begin(), gfns.end(), 0);
      xen_memory_reservation all = TestMachine::Reservation(id, gfns.data(), kTaken);
      EXPECT_EQ(Memory(XENMEM_populate_physmap, all), static_cast<std::int64_t>(kTaken));
    }
  }

  template <class T>
  std::int64_t Memory(std::uint64_t op, T& argument) {
    return machine.Call(__HYPERVISOR_memory_op, op, &argument);
  }
  template <class T>
  std::int64_t GuestMemory(std::uint64_t op, T& argument) {
    return machine.hypervisor.Call(*guest, machine.Frame(__HYPERVISOR_memory_op, op, &argument));
  }
  template <class T>
  std::int64_t Grant(Vcpu& vcpu, std::uint64_t op, T& argument) {
    return machine.hypervisor.Call(vcpu,
                                   machine.Frame(__HYPERVISOR_grant_table_op, op, &argument, 1));
  }
  std::int64_t Platform(std::uint32_t cmd, xen_platform_op_t& op) {
    op.cmd = cmd;
    op.interface_version = XENPF_INTERFACE_VERSION;
    return machine.Call(__HYPERVISOR_platform_op, &op);
  }
  // One extent, which is given up again.
  std::int64_t Populate(std::uint16_t id, std::uint64_t gfn, unsigned order, std::uint32_t flags,
                        bool by_guest = false) {
    xen_pfn_t extent = gfn;
    xen_memory_reservation one = TestMachine::Reservation(id, &extent, 1, order);
    one.mem_flags = flags;
    const std::int64_t done =
        by_guest ? GuestMemory(XENMEM_populate_physmap, one) : Memory(XENMEM_populate_physmap, one);
    one.mem_flags = 0;
    EXPECT_TRUE(done != 1 || Memory(XENMEM_decrease_reservation, one) == 1);
    return done;
  }
  // What creating answers; the domain is destroyed again.
  std::int64_t Create(xen_domctl_t op, std::uint16_t id = 7) {
    const std::int64_t answer = machine.Domctl(XEN_DOMCTL_createdomain, id, op);
    if (answer != 0) return answer;
    EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, op.domain), 0);
    return op.domain;
  }
  // How many bytes of a bitmap are written.
  template <class Ask>
  std::int64_t BytesOfBitmap(std::uint64_t bits, Ask ask) {
    std::vector<std::uint8_t> map((1 << 17) + 1, 0xee);
    xenctl_bitmap bitmap = {};
    bitmap.bitmap.p = map.data();
    bitmap.nr_bits = static_cast<std::uint32_t>(bits);
    const std::int64_t answer = ask(bitmap);
    if (answer != 0) return answer;
    std::size_t bytes = 0;
    while (map[bytes] != 0xee) ++bytes;
    EXPECT_EQ(std::count(map.begin(), map.end(), 0xee),
              static_cast<std::ptrdiff_t>(map.size() - bytes));
    return static_cast<std::int64_t>(bytes);
  }

  TestMachine machine{{.pool_bytes = std::uint64_t{16} << 20, .pages = 64}};
  Vcpu* guest = nullptr;
};

struct End {
  const char* what;
  std::int64_t (*call)(Subject&, std::uint64_t value);
  struct Case {
    std::uint64_t value;
    std::int64_t answer;
  };
  std::vector<Case> cases;
};
void PrintTo(const End& end, std::ostream* out) { *out << end.what; }

template <class T>
T Narrow(std::uint64_t value) {
  return static_cast<T>(value);
}

const End kEnds[] = {
    // Reservations.
    {"OrderOfAControlDomain",
     [](Subject& s, std::uint64_t v) {
       xen_pfn_t frame = 0;
       xen_memory_exchange exchange = {};
       exchange.in = TestMachine::Reservation(kPv, &frame, 1, Narrow<unsigned>(v));
       exchange.out = TestMachine::Reservation(kPv, &frame, 1, Narrow<unsigned>(v));
       return s.Memory(XENMEM_exchange, exchange);
     },
     {{0, -kEINVAL}, {18, -kENOMEM}, {19, -kEPERM}, {63, -kEPERM}, {64, -kEPERM},
      {kAll32, -kEPERM}}},
    {"OrderOfAGuest",
     [](Subject& s, std::uint64_t v) {
       return s.Populate(kGuest, 1024, Narrow<unsigned>(v), 0, true);
     },
     {{0, 1}, {9, 1}, {10, 0}, {64, 0}, {kAll32, 0}}},
    {"ExchangedExtents",
     [](Subject& s, std::uint64_t v) {
       xen_pfn_t frame = 0;
       xen_memory_exchange exchange = {};
       exchange.in = TestMachine::Reservation(kPv, &frame, v, 9);
       exchange.out = TestMachine::Reservation(kPv, &frame, v << 9, 0);
       return s.Memory(XENMEM_exchange, exchange);
     },
     {{0, 0}, {1, -kEINVAL}, {kAll64 >> 9, -kEFAULT}, {(kAll64 >> 9) + 1, -kEINVAL},
      {kAll64, -kEINVAL}}},
    {"ExtentsThatAreDone",
     [](Subject& s, std::uint64_t v) {
       xen_pfn_t gfns[] = {2000, 2001};
       xen_memory_reservation two = TestMachine::Reservation(kHvm, gfns, 2);
       return s.Memory(XENMEM_populate_physmap | v << 6, two);
     },
     {{1, 2}, {2, 2}, {3, 3}, {(k32 - 1) >> 6, kAll32 >> 6}}},
    {"ProgressOfAnOpThatKeepsNone",
     [](Subject& s, std::uint64_t v) {
       xen_memory_domain which = {.domid = kPv};
       return s.Memory(XENMEM_current_reservation | v << 6, which);
     },
     {{0, kTaken}, {1, -kEINVAL}, {kAll64 >> 6, -kEINVAL}}},
    {"Gfn",
     [](Subject& s, std::uint64_t v) { return s.Populate(kHvm, v, 0, 0); },
     {{0, 1}, {(1 << 27) - 1, 1}, {1 << 27, 1}, {kMostGfns - 1, 1}, {kMostGfns, 0}, {kAll64 >> 12, 0}, {kAll64 - 1, 0}, {kAll64, 0}}},
    {"GfnOfALargeExtent",
     [](Subject& s, std::uint64_t v) { return s.Populate(kHvm, v, 9, 0); },
     {{(1 << 27) - 512, 1}, {kMostGfns - 512, 1}, {kMostGfns - 511, 0}, {kAll64 - 511, 0}}},
    {"GfnGivenUp",
     [](Subject& s, std::uint64_t v) {
       xen_pfn_t gfn = v;
       xen_memory_reservation one = TestMachine::Reservation(kHvm, &gfn, 1, 1);
       return s.Memory(XENMEM_decrease_reservation, one);
     },
     {{kTaken, 0}, {1 << 27, 0}, {kMostGfns, 0}, {kAll64, 0}, {0, 1}}},
    {"MachineFrameGivenUp",
     [](Subject& s, std::uint64_t v) {
       xen_pfn_t mfn = v;
       xen_memory_reservation one = TestMachine::Reservation(kPv, &mfn, 1);
       return s.Memory(XENMEM_decrease_reservation, one);
     },
     {{0, 0}, {(1 << 18) - 1, 0}, {1 << 18, 0}, {(1 << 18) + 4096, 0}, {kAll64, 0}}},
    {"AddressBits",
     [](Subject& s, std::uint64_t v) {
       return s.Populate(kPv, 100, 0, XENMEMF_address_bits(Narrow<std::uint32_t>(v)));
     },
     {{0, 1}, {1, 0}, {12, 0}, {13, 0}, {30, 0}, {31, 1}, {32, 1}, {64, 1}, {255, 1}}},
    {"ExactNode",
     [](Subject& s, std::uint64_t v) {
       return s.Populate(kPv, 100, 0, XENMEMF_exact_node(Narrow<std::uint32_t>(v)));
     },
     {{0, 1}, {1, 0}, {63, 0}, {64, 0}, {254, 0}}},
    {"PreferredNode",
     [](Subject& s, std::uint64_t v) {
       return s.Populate(kPv, 100, 0, XENMEMF_node(Narrow<std::uint32_t>(v)));
     },
     {{0, 1}, {63, 1}, {64, 0}, {254, 0}}},
    {"NodeThatAGuestPrefers",
     [](Subject& s, std::uint64_t v) {
       return s.Populate(kGuest, 1024, 0, XENMEMF_node(Narrow<std::uint32_t>(v)), true);
     },
     {{0, 1}, {63, 1}, {64, 1}, {254, 1}}},
    {"ExactNodeOfAGuest",
     [](Subject& s, std::uint64_t v) {
       return s.Populate(kGuest, 1024, 0, XENMEMF_exact_node(Narrow<std::uint32_t>(v)), true);
     },
     {{0, 0}, {1, 0}, {254, 0}}},
    {"NodeOfTheDomainsOwn",
     [](Subject& s, std::uint64_t v) {
       return s.Populate(kPv, 100, 0, XENMEMF_vnode | XENMEMF_node(Narrow<std::uint32_t>(v)));
     },
     {{0, 1}, {64, 1}, {200, 1}}},
    {"ClaimedPages",
     [](Subject& s, std::uint64_t v) {
       xen_memory_reservation none = TestMachine::Reservation(kPv, nullptr, 0);
       EXPECT_EQ(s.Memory(XENMEM_claim_pages, none), 0);
       xen_memory_reservation claim = TestMachine::Reservation(kPv, nullptr, v);
       return s.Memory(XENMEM_claim_pages, claim);
     },
     {{1, -kEINVAL}, {kTaken, -kEINVAL}, {kTaken + 1, 0}, {kLimit, 0}, {kLimit + 1, -kEINVAL},
      {k32 + kTaken + 1, -kEINVAL}, {kAll64, -kEINVAL}, {0, 0}}},
    {"MaximumMemory",
     [](Subject& s, std::uint64_t v) {
       xen_domctl_t op = {};
       op.u.max_mem.max_memkb = v;
       EXPECT_EQ(s.machine.Domctl(XEN_DOMCTL_max_mem, kPv, op), 0);
       xen_memory_domain which = {.domid = kPv};
       return s.Memory(XENMEM_maximum_reservation, which);
     },
     {{0, 0}, {3, 0}, {4, 1}, {(kAll32 << 2) - 1, kAll32 - 1}, {kAll32 << 2, kAll32},
      {k32 << 2, kAll32}, {kAll64, kAll32}}},

    // The physmap.
    {"GfnOfASharedPage",
     [](Subject& s, std::uint64_t v) {
       xen_add_to_physmap add = {
           .domid = kHvm, .size = 0, .space = XENMAPSPACE_shared_info, .idx = 0, .gpfn = v};
       return s.Memory(XENMEM_add_to_physmap, add);
     },
     {{kTaken, 0}, {(1 << 27) - 1, 0}, {kMostGfns - 1, 0}, {kMostGfns, -kENOENT}, {kAll64 >> 12, -kENOENT},
      {kAll64 - 1, -kENOENT}, {kAll64, -kEINVAL}}},
    {"IndexOfSharedInfo",
     [](Subject& s, std::uint64_t v) {
       xen_add_to_physmap add = {
           .domid = kHvm, .size = 0, .space = XENMAPSPACE_shared_info, .idx = v, .gpfn = kTaken};
       return s.Memory(XENMEM_add_to_physmap, add);
     },
     {{0, 0}, {1, -kEINVAL}, {k32, -kEINVAL}, {kAll64, -kEINVAL}}},
    {"Space",
     [](Subject& s, std::uint64_t v) {
       xen_add_to_physmap add = {
           .domid = kHvm, .size = 0, .space = Narrow<unsigned>(v), .idx = 0, .gpfn = kTaken};
       return s.Memory(XENMEM_add_to_physmap, add);
     },
     {{0, 0}, {1, 0}, {5, -kEACCES}, {6, -kEINVAL}, {kAll32, -kEINVAL}}},
    {"GrantFrame",
     [](Subject& s, std::uint64_t v) {
       xen_add_to_physmap add = {
           .domid = kHvm, .size = 0, .space = XENMAPSPACE_grant_table, .idx = v, .gpfn = kTaken};
       return s.Memory(XENMEM_add_to_physmap, add);
     },
     {{0, 0}, {63, 0}, {64, -kEINVAL}, {k31 - 1, -kEINVAL}, {k31, -kEINVAL}, {kAll32, -kEINVAL},
      {kAll64, -kEINVAL}}},
    {"StatusFrame",
     [](Subject& s, std::uint64_t v) {
       gnttab_set_version version = {.version = 2};
       EXPECT_EQ(s.Grant(*s.guest, GNTTABOP_set_version, version), 0);
       xen_add_to_physmap add = {.domid = kGuest,
                                 .size = 0,
                                 .space = XENMAPSPACE_grant_table,
                                 .idx = XENMAPIDX_grant_table_status | v,
                                 .gpfn = kTaken};
       return s.Memory(XENMEM_add_to_physmap, add);
     },
     // The table grows for them.
     {{0, 0}, {1, 0}, {7, 0}, {8, -kEINVAL}, {k31 - 1, -kEINVAL}}},
    {"MovedPage",
     [](Subject& s, std::uint64_t v) {
       xen_add_to_physmap add = {
           .domid = kHvm, .size = 0, .space = XENMAPSPACE_gmfn, .idx = v, .gpfn = v};
       return s.Memory(XENMEM_add_to_physmap, add);
     },
     {{0, 0}, {kTaken - 1, 0}, {kTaken, -kEINVAL}, {1 << 27, -kEINVAL}, {kAll64 - 1, -kEINVAL}}},
    {"MovedPages",
     [](Subject& s, std::uint64_t v) {
       xen_add_to_physmap add = {.domid = kHvm,
                                 .size = Narrow<std::uint16_t>(v),
                                 .space = XENMAPSPACE_gmfn_range,
                                 .idx = 0,
                                 .gpfn = 0};
       return s.Memory(XENMEM_add_to_physmap, add);
     },
     {{0, 0}, {1, 0}, {kTaken, 0}, {kTaken + 1, -kEINVAL}, {0xffff, -kEINVAL}}},
    {"MovedPagesAtTheEnd",
     [](Subject& s, std::uint64_t v) {
       xen_add_to_physmap add = {.domid = kHvm,
                                 .size = 3,
                                 .space = XENMAPSPACE_gmfn_range,
                                 .idx = 0,
                                 .gpfn = v};
       return s.Memory(XENMEM_add_to_physmap, add);
     },
     {{kAll64 - 3, -kENOENT}, {kAll64 - 2, -kEOVERFLOW}, {kAll64 - 1, -kEOVERFLOW},
      {kAll64, -kEINVAL}}},
    {"MovedPagesThatAreDone",
     [](Subject& s, std::uint64_t v) {
       xen_add_to_physmap add = {
           .domid = kHvm, .size = 1, .space = XENMAPSPACE_gmfn_range, .idx = 0, .gpfn = 0};
       return s.Memory(XENMEM_add_to_physmap | v << 6, add);
     },
     {{0, 0}, {1, 0}, {2, -kEILSEQ}, {0xffff, -kEILSEQ}, {0x10000, -kEDOM},
      {kAll64 >> 6, -kEDOM}}},
    {"PagesOfABatchThatAreDone",
     [](Subject& s, std::uint64_t v) {
       std::uint64_t indices[] = {0, 1};
       xen_pfn_t gfns[] = {0, 1};
       int errors[] = {7, 7};
       xen_add_to_physmap_batch batch = {};
       batch.domid = kHvm;
       batch.space = XENMAPSPACE_gmfn;
       batch.size = 2;
       batch.idxs.p = indices;
       batch.gpfns.p = gfns;
       batch.errs.p = errors;
       const std::int64_t answer = s.Memory(XENMEM_add_to_physmap_batch | v << 6, batch);
       return answer != 0 ? answer : errors[0] * 10 + errors[1];
     },
     {{0, 0}, {1, 70}, {2, -kEILSEQ}, {3, -kEILSEQ}, {0xffff, -kEILSEQ}, {0x10000, -kEDOM}}},
    {"RemovedGfn",
     [](Subject& s, std::uint64_t v) {
       xen_remove_from_physmap remove = {.domid = kHvm, .gpfn = v};
       return s.Memory(XENMEM_remove_from_physmap, remove);
     },
     {{kTaken - 1, 0}, {kTaken, -kENOENT}, {1 << 27, -kENOENT}, {kAll64, -kENOENT}}},
    {"PagesWhoseTypesAreTold",
     [](Subject& s, std::uint64_t v) {
       std::vector<xen_pfn_t> frames(1025);
       xen_domctl_t op = {};
       op.u.getpageframeinfo3.num = v;
       op.u.getpageframeinfo3.array.p = frames.data();
       const std::int64_t answer = s.machine.Domctl(XEN_DOMCTL_getpageframeinfo3, kHvm, op);
       return answer != 0 ? answer
                          : std::count(frames.begin(), frames.end(), XEN_DOMCTL_PFINFO_NOTAB) -
                                static_cast<std::int64_t>(frames.size() - v);
     },
     // No table: 0, as what is not written.
     {{0, 0}, {1024, 1024}, {1025, -kE2BIG}, {k32, -kE2BIG}, {kAll64, -kE2BIG}}},
    {"BytesOfAPagingPool",
     [](Subject& s, std::uint64_t v) {
       xen_domctl_t op = {};
       op.u.paging_mempool.size = v;
       return s.machine.Domctl(XEN_DOMCTL_set_paging_mempool_size, kHvm, op);
     },
     // The page of its second stage and one for each vcpu are in use.
     {{0, -kENOMEM}, {1, -kEINVAL}, {2 * kPageSize, -kENOMEM}, {3 * kPageSize, 0},
      {kPageSize - 1, -kEINVAL},
      {kAll32 << kPageShift, -kENOMEM}, {k32 << kPageShift, -kEINVAL},
      {kAll64 << kPageShift, -kEINVAL}, {kAll64, -kEINVAL}}},

    // Grants.
    {"GrantOpsOfOneCall",
     [](Subject& s, std::uint64_t v) {
       gnttab_get_version version = {};
       version.dom = kPv;
       return s.machine.Call(__HYPERVISOR_grant_table_op, GNTTABOP_get_version, &version, v);
     },
     {{0x7fffffff, 0}, {k31, -kEINVAL}, {kAll32, -kEINVAL}, {k32, 0}}},
    {"FramesOfAGrantTable",
     [](Subject& s, std::uint64_t v) {
       std::vector<xen_pfn_t> frames(65);
       gnttab_setup_table setup = {};
       setup.dom = kPv;
       setup.nr_frames = Narrow<std::uint32_t>(v);
       setup.frame_list.p = frames.data();
       const std::int64_t answer = s.Grant(*s.machine.vcpu, GNTTABOP_setup_table, setup);
       if (answer != 0 || setup.status != GNTST_okay) return std::int64_t{setup.status};
       return std::int64_t{65} - std::count(frames.begin(), frames.end(), 0u);
     },
     {{0, 0}, {1, 1}, {64, 64}, {65, GNTST_general_error}, {kAll32, GNTST_general_error}}},
    {"StatusFramesThatAreTold",
     [](Subject& s, std::uint64_t v) {
       gnttab_set_version version = {.version = 2};
       EXPECT_EQ(s.Grant(*s.guest, GNTTABOP_set_version, version), 0);
       xen_pfn_t frames[64] = {};
       gnttab_setup_table setup = {};
       setup.dom = kGuest;
       setup.nr_frames = 64;
       setup.frame_list.p = frames;
       EXPECT_EQ(s.Grant(*s.machine.vcpu, GNTTABOP_setup_table, setup), 0);
       std::vector<std::uint64_t> list(9);
       gnttab_get_status_frames request = {};
       request.dom = kGuest;
       request.nr_frames = Narrow<std::uint32_t>(v);
       request.frame_list.p = list.data();
       EXPECT_EQ(s.Grant(*s.machine.vcpu, GNTTABOP_get_status_frames, request), 0);
       if (request.status != GNTST_okay) return std::int64_t{request.status};
       return std::int64_t{9} - std::count(list.begin(), list.end(), 0u);
     },
     {{0, 0}, {1, 1}, {8, 8}, {9, GNTST_general_error}, {kAll32, GNTST_general_error}}},
    {"GrantVersion",
     [](Subject& s, std::uint64_t v) {
       gnttab_set_version version = {.version = Narrow<std::uint32_t>(v)};
       return s.Grant(*s.guest, GNTTABOP_set_version, version);
     },
     {{0, -kEINVAL}, {1, 0}, {2, 0}, {3, -kEINVAL}, {kAll32, -kEINVAL}}},

    // Domains.
    {"VcpusOfAPvDomain",
     [](Subject& s, std::uint64_t v) {
       return s.Create(TestMachine::CreateRequest(0, Narrow<unsigned>(v)));
     },
     {{0, -kEINVAL}, {1, 7}, {8192, 7}, {8193, -kEINVAL}, {kAll32, -kEINVAL}}},
    {"VcpusOfAnHvmDomain",
     [](Subject& s, std::uint64_t v) {
       return s.Create(TestMachine::CreateRequest(XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap,
                                                  Narrow<unsigned>(v)));
     },
     {{0, -kEINVAL}, {128, 7}, {129, -kEINVAL}, {kAll32, -kEINVAL}}},
    {"MostGrantFrames",
     [](Subject& s, std::uint64_t v) {
       xen_domctl_t op = TestMachine::CreateRequest();
       op.u.createdomain.max_grant_frames = Narrow<std::int32_t>(v);
       return s.Create(op);
     },
     {{0, -kEINVAL}, {1, 7}, {64, 7}, {65, -kEINVAL}, {k31 - 1, -kEINVAL}, {k31, 7}, {kAll32, 7}}},
    {"MostMaptrackFrames",
     [](Subject& s, std::uint64_t v) {
       xen_domctl_t op = TestMachine::CreateRequest();
       op.u.createdomain.max_maptrack_frames = Narrow<std::int32_t>(v);
       return s.Create(op);
     },
     {{0, 7}, {1024, 7}, {1025, -kEINVAL}, {k31 - 1, -kEINVAL}, {k31, 7}, {kAll32, 7}}},
    {"MostGrantVersion",
     [](Subject& s, std::uint64_t v) {
       xen_domctl_t op = TestMachine::CreateRequest();
       op.u.createdomain.grant_opts = Narrow<std::uint32_t>(v);
       return s.Create(op);
     },
     {{0, -kEINVAL}, {1, 7}, {2, 7}, {3, -kEINVAL}, {15, -kEINVAL}, {16, -kEINVAL}}},
    {"MostPorts",
     [](Subject& s, std::uint64_t v) {
       xen_domctl_t op = TestMachine::CreateRequest();
       op.u.createdomain.max_evtchn_port = Narrow<std::uint32_t>(v);
       EXPECT_EQ(s.machine.Domctl(XEN_DOMCTL_createdomain, 7, op), 0);
       evtchn_alloc_unbound offer = {.dom = 7, .remote_dom = 0, .port = 0};
       std::int64_t answer = 0;
       for (int i = 0; i < 65 && answer == 0; ++i) {
         answer = s.machine.Call(__HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound, &offer);
       }
       EXPECT_EQ(s.machine.Domctl(XEN_DOMCTL_destroydomain, 7), 0);
       return answer == 0 ? 65 : std::int64_t{offer.port};
     },
     {{0, 0}, {1, 1}, {63, 63}, {64, 64}, {65, 65}, {k31, 65}, {kAll32, 65}}},
    {"DomainId",
     [](Subject& s, std::uint64_t v) {
       return s.Create(TestMachine::CreateRequest(), Narrow<std::uint16_t>(v));
     },
     {{1, 1}, {511, 511}, {512, 512}, {kGuest, -kEEXIST}, {DOMID_FIRST_RESERVED - 1, 0x7fef},
      {DOMID_FIRST_RESERVED, 1}, {0xffff, 2}, {0, 6}}},
    {"DomainOfADomctl",
     [](Subject& s, std::uint64_t v) {
       return s.machine.Domctl(XEN_DOMCTL_unpausedomain, Narrow<std::uint16_t>(v));
     },
     {{kPv, 0}, {kGuest + 1, -kESRCH}, {0x7fef, -kESRCH}, {0x7ff0, -kESRCH}, {0xffff, -kESRCH}}},
    {"FirstDomainOfAList",
     [](Subject& s, std::uint64_t v) {
       xen_domctl_getdomaininfo_t infos[4];
       xen_sysctl_t op = {};
       op.u.getdomaininfolist.first_domain = Narrow<std::uint16_t>(v);
       op.u.getdomaininfolist.max_domains = 4;
       op.u.getdomaininfolist.buffer.p = infos;
       const std::int64_t answer = s.machine.Sysctl(XEN_SYSCTL_getdomaininfolist, op);
       return answer != 0 ? answer : std::int64_t{op.u.getdomaininfolist.num_domains};
     },
     {{0, 4}, {1, 3}, {kPv, 3}, {kGuest, 1}, {kGuest + 1, 0}, {0x7fef, 0}, {0x7ff0, 0},
      {0xffff, 0}}},
    {"LengthOfAListOfDomains",
     [](Subject& s, std::uint64_t v) {
       xen_domctl_getdomaininfo_t infos[4];
       xen_sysctl_t op = {};
       op.u.getdomaininfolist.max_domains = Narrow<std::uint32_t>(v);
       op.u.getdomaininfolist.buffer.p = infos;
       const std::int64_t answer = s.machine.Sysctl(XEN_SYSCTL_getdomaininfolist, op);
       return answer != 0 ? answer : std::int64_t{op.u.getdomaininfolist.num_domains};
     },
     {{0, 0}, {1, 1}, {3, 3}, {4, 4}, {5, 4}, {kAll32, 4}}},

    // Vcpus and processors.
    {"VcpuToldOf",
     [](Subject& s, std::uint64_t v) {
       xen_domctl_t op = {};
       op.u.getvcpuinfo.vcpu = Narrow<std::uint32_t>(v);
       return s.machine.Domctl(XEN_DOMCTL_getvcpuinfo, kPv, op);
     },
     {{0, 0}, {1, 0}, {2, -kEINVAL}, {kAll32, -kEINVAL}}},
    {"VcpuWithoutContext",
     [](Subject& s, std::uint64_t v) {
       xen_domctl_t op = {};
       op.u.vcpucontext.vcpu = Narrow<std::uint32_t>(v);
       return s.machine.Domctl(XEN_DOMCTL_setvcpucontext, kPv, op);
     },
     {{0, 0}, {1, 0}, {2, -kEINVAL}, {kAll32, -kEINVAL}}},
    {"VcpuWhoseContextIsTold",
     [](Subject& s, std::uint64_t v) {
       vcpu_guest_context_t context;
       xen_domctl_t op = {};
       op.u.vcpucontext.vcpu = Narrow<std::uint32_t>(v);
       op.u.vcpucontext.ctxt.p = &context;
       return s.machine.Domctl(XEN_DOMCTL_getvcpucontext, kGuest, op);
     },
     {{0, 0}, {1, 0}, {2, -kEINVAL}, {kAll32, -kEINVAL}}},
    {"VcpuUp",
     [](Subject& s, std::uint64_t v) {
       return s.machine.Call(__HYPERVISOR_vcpu_op, VCPUOP_is_up, v);
     },
     {{0, 1}, {1, 1}, {2, -kENOENT}, {kAll32, -kENOENT}, {k32, 1}}},
    {"ProcessorsOfAnAffinity",
     [](Subject& s, std::uint64_t v) {
       return s.BytesOfBitmap(v, [&](const xenctl_bitmap& bitmap) {
         xen_domctl_t op = {};
         op.u.vcpuaffinity.flags = XEN_VCPUAFFINITY_HARD;
         op.u.vcpuaffinity.cpumap_hard = bitmap;
         return s.machine.Domctl(XEN_DOMCTL_getvcpuaffinity, kPv, op);
       });
     },
     {{0, 0}, {1, 1}, {8, 1}, {9, 2}, {256, 32}, {257, 33}, {1 << 20, 1 << 17},
      {(1 << 20) + 1, -kE2BIG}, {kAll32, -kE2BIG}}},
    {"ProcessorsOfAPool",
     [](Subject& s, std::uint64_t v) {
       return s.BytesOfBitmap(v, [&](const xenctl_bitmap& bitmap) {
         xen_sysctl_t op = {};
         op.u.cpupool_op.op = XEN_SYSCTL_CPUPOOL_OP_INFO;
         op.u.cpupool_op.cpumap = bitmap;
         return s.machine.Sysctl(XEN_SYSCTL_cpupool_op, op);
       });
     },
     {{0, 0}, {1, 1}, {8, 1}, {9, 2}, {1 << 20, 1 << 17}, {(1 << 20) + 1, -kE2BIG},
      {kAll32, -kE2BIG}}},
    {"NodesThatAreTold",
     [](Subject& s, std::uint64_t v) {
       return s.BytesOfBitmap(v, [&](const xenctl_bitmap& bitmap) {
         xen_domctl_t op = {};
         op.u.nodeaffinity.nodemap = bitmap;
         return s.machine.Domctl(XEN_DOMCTL_getnodeaffinity, kPv, op);
       });
     },
     {{0, 0}, {1, 1}, {8, 1}, {9, 2}, {64, 8}, {65, 9}, {1 << 20, 1 << 17},
      {(1 << 20) + 1, -kE2BIG}, {kAll32, -kE2BIG}}},
    {"NodesThatAreSet",
     [](Subject& s, std::uint64_t v) {
       std::uint8_t map[] = {0xff};
       xen_domctl_t op = {};
       op.u.nodeaffinity.nodemap.bitmap.p = map;
       op.u.nodeaffinity.nodemap.nr_bits = Narrow<std::uint32_t>(v);
       return s.machine.Domctl(XEN_DOMCTL_setnodeaffinity, kPv, op);
     },
     {{0, -kEINVAL}, {1, 0}, {8, 0}}},
    {"ProcessorsThatAreSet",
     [](Subject& s, std::uint64_t v) {
       std::uint8_t map[] = {0xfe, 0xff, 0xff};
       xen_domctl_t op = {};
       op.u.vcpuaffinity.flags = XEN_VCPUAFFINITY_HARD;
       op.u.vcpuaffinity.cpumap_hard.bitmap.p = map;
       op.u.vcpuaffinity.cpumap_hard.nr_bits = Narrow<std::uint32_t>(v);
       const std::int64_t answer = s.machine.Domctl(XEN_DOMCTL_setvcpuaffinity, kPv, op);
       return answer != 0 ? answer : std::int64_t{map[0]};
     },
     // Processor 1 is the last.
     {{0, -kEINVAL}, {1, -kEINVAL}, {2, 2}, {3, 2}, {24, 2}}},
    {"ProcessorsToldOf",
     [](Subject& s, std::uint64_t v) {
       xen_sysctl_cpuinfo_t info[2];
       xen_sysctl_t op = {};
       op.u.getcpuinfo.max_cpus = Narrow<std::uint32_t>(v);
       op.u.getcpuinfo.info.p = info;
       const std::int64_t answer = s.machine.Sysctl(XEN_SYSCTL_getcpuinfo, op);
       return answer != 0 ? answer : std::int64_t{op.u.getcpuinfo.nr_cpus};
     },
     {{0, 0}, {1, 1}, {2, 2}, {3, 2}, {kAll32, 2}}},
    {"ProcessorsOfATopology",
     [](Subject& s, std::uint64_t v) {
       xen_sysctl_cputopo_t topology[2];
       xen_sysctl_t op = {};
       op.u.cputopoinfo.num_cpus = Narrow<std::uint32_t>(v);
       op.u.cputopoinfo.cputopo.p = topology;
       const std::int64_t answer = s.machine.Sysctl(XEN_SYSCTL_cputopoinfo, op);
       return answer != 0 ? answer : std::int64_t{op.u.cputopoinfo.num_cpus};
     },
     {{0, 0}, {1, 1}, {2, 2}, {3, 2}, {kAll32, 2}}},
    {"ProcessorWhoseSleepIsTold",
     [](Subject& s, std::uint64_t v) {
       xen_sysctl_t op = {};
       op.u.get_pmstat.type = PMSTAT_get_max_cx;
       op.u.get_pmstat.cpuid = Narrow<std::uint32_t>(v);
       return s.machine.Sysctl(XEN_SYSCTL_get_pmstat, op);
     },
     {{0, 0}, {1, 0}, {2, -kEINVAL}, {kAll32, -kEINVAL}}},
    {"LimitOfSleep",
     [](Subject& s, std::uint64_t v) {
       xen_sysctl_t op = {};
       op.u.pm_op.cmd = XEN_SYSCTL_pm_op_get_max_cstate;
       op.u.pm_op.cpuid = Narrow<std::uint32_t>(v);
       return s.machine.Sysctl(XEN_SYSCTL_pm_op, op);
     },
     {{0, 0}, {1, 0}, {2, -kEINVAL}, {kAll32, -kEINVAL}}},
    {"ProcessorOfTheMachine",
     [](Subject& s, std::uint64_t v) {
       xen_platform_op_t op = {};
       op.u.pcpu_info.xen_cpuid = Narrow<std::uint32_t>(v);
       EXPECT_EQ(s.Platform(XENPF_get_cpuinfo, op), 0);
       return std::int64_t{op.u.pcpu_info.flags};
     },
     {{0, XEN_PCPU_FLAGS_ONLINE}, {1, XEN_PCPU_FLAGS_ONLINE}, {2, XEN_PCPU_FLAGS_INVALID},
      {kAll32, XEN_PCPU_FLAGS_INVALID}}},
    {"VersionOfAProcessor",
     [](Subject& s, std::uint64_t v) {
       xen_platform_op_t op = {};
       op.u.pcpu_version.xen_cpuid = Narrow<std::uint32_t>(v);
       EXPECT_EQ(s.Platform(XENPF_get_cpu_version, op), 0);
       return std::int64_t{op.u.pcpu_version.family};
     },
     {{0, 15}, {1, 15}, {2, 0}, {kAll32, 0}}},
    {"Pool",
     [](Subject& s, std::uint64_t v) {
       xen_sysctl_t op = {};
       op.u.cpupool_op.op = XEN_SYSCTL_CPUPOOL_OP_INFO;
       op.u.cpupool_op.cpupool_id = Narrow<std::uint32_t>(v);
       return s.machine.Sysctl(XEN_SYSCTL_cpupool_op, op);
     },
     {{0, 0}, {1, -kENOENT}, {kAll32, -kENOENT}}},
    {"ProcessorAddedToAPool",
     [](Subject& s, std::uint64_t v) {
       xen_sysctl_t op = {};
       op.u.cpupool_op.op = XEN_SYSCTL_CPUPOOL_OP_ADDCPU;
       op.u.cpupool_op.cpu = Narrow<std::uint32_t>(v);
       return s.machine.Sysctl(XEN_SYSCTL_cpupool_op, op);
     },
     {{0, -kENODEV}, {1, -kENODEV}, {2, -kEINVAL}, {XEN_SYSCTL_CPUPOOL_PAR_ANY, -kENODEV}}},
    {"MicrosecondsOfASlice",
     [](Subject& s, std::uint64_t v) {
       xen_sysctl_t op = {};
       op.u.scheduler_op.sched_id = XEN_SCHEDULER_CREDIT2;
       op.u.scheduler_op.cmd = XEN_SYSCTL_SCHEDOP_putinfo;
       op.u.scheduler_op.u.sched_credit2.ratelimit_us = Narrow<std::uint32_t>(v);
       return s.machine.Sysctl(XEN_SYSCTL_scheduler_op, op);
     },
     {{0, 0}, {1, -kEINVAL}, {99, -kEINVAL}, {100, 0}, {500000, 0}, {500001, -kEINVAL},
      {kAll32, -kEINVAL}}},

    // What is kept of a domain.
    {"EntriesOfAMemoryMap",
     [](Subject& s, std::uint64_t v) {
       std::vector<e820_entry> entries(1025);
       xen_foreign_memory_map map = {};
       map.domid = kPv;
       map.map.nr_entries = Narrow<std::uint32_t>(v);
       map.map.buffer.p = entries.data();
       return s.Memory(XENMEM_set_memory_map, map);
     },
     {{0, 0}, {1, 0}, {1024, 0}, {1025, -kEINVAL}, {kAll32, -kEINVAL}}},
    {"EntriesOfAMemoryMapThatAreTold",
     [](Subject& s, std::uint64_t v) {
       e820_entry entries[2] = {{0, 1, 1}, {1, 1, 1}};
       xen_foreign_memory_map map = {};
       map.domid = 0;
       map.map.nr_entries = 2;
       map.map.buffer.p = entries;
       EXPECT_EQ(s.Memory(XENMEM_set_memory_map, map), 0);
       xen_memory_map own = {};
       own.nr_entries = Narrow<std::uint32_t>(v);
       own.buffer.p = entries;
       const std::int64_t answer = s.Memory(XENMEM_memory_map, own);
       return answer != 0 ? answer : std::int64_t{own.nr_entries};
     },
     {{0, 0}, {1, 1}, {2, 2}, {3, 2}, {kAll32, 2}}},
    {"EntriesOfTheMachinesMap",
     [](Subject& s, std::uint64_t v) {
       e820_entry entries[2];
       xen_memory_map map = {};
       map.nr_entries = Narrow<std::uint32_t>(v);
       map.buffer.p = entries;
       const std::int64_t answer = s.Memory(XENMEM_machine_memory_map, map);
       return answer != 0 ? answer : std::int64_t{map.nr_entries};
     },
     {{0, -kEINVAL}, {2, -kEINVAL}, {3, 2}, {kAll32, 2}}},
    {"ExtentsOfTheMachinesTable",
     [](Subject& s, std::uint64_t v) {
       xen_pfn_t extents[2];
       xen_machphys_mfn_list list = {};
       list.max_extents = Narrow<std::uint32_t>(v);
       list.extent_start.p = extents;
       const std::int64_t answer = s.Memory(XENMEM_machphys_mfn_list, list);
       return answer != 0 ? answer : std::int64_t{list.nr_extents};
     },
     {{0, 0}, {1, 1}, {2, 2}, {3, 2}, {kAll32, 2}}},
    {"VirtualNodes",
     [](Subject& s, std::uint64_t v) {
       std::vector<std::uint32_t> numbers(33 * 33);
       xen_domctl_t op = {};
       op.u.vnuma.nr_vnodes = Narrow<std::uint32_t>(v);
       op.u.vnuma.nr_vcpus = 2;
       op.u.vnuma.vdistance.p = numbers.data();
       op.u.vnuma.vcpu_to_vnode.p = numbers.data();
       op.u.vnuma.vnode_to_pnode.p = numbers.data();
       return s.machine.Domctl(XEN_DOMCTL_setvnumainfo, kPv, op);
     },
     {{0, -kEINVAL}, {1, 0}, {32, 0}, {33, -kEINVAL}, {1 << 16, -kEINVAL}, {kAll32, -kEINVAL}}},
    {"VirtualRanges",
     [](Subject& s, std::uint64_t v) {
       std::uint32_t number = 0;
       std::vector<xen_vmemrange_t> ranges(171);
       xen_domctl_t op = {};
       op.u.vnuma.nr_vnodes = 1;
       op.u.vnuma.nr_vcpus = 2;
       op.u.vnuma.nr_vmemranges = Narrow<std::uint32_t>(v);
       std::uint32_t nodes[2] = {};
       op.u.vnuma.vdistance.p = &number;
       op.u.vnuma.vcpu_to_vnode.p = nodes;
       op.u.vnuma.vnode_to_pnode.p = &number;
       op.u.vnuma.vmemrange.p = ranges.data();
       return s.machine.Domctl(XEN_DOMCTL_setvnumainfo, kPv, op);
     },
     {{0, 0}, {1, 0}, {170, 0}, {171, -kEINVAL}, {kAll32, -kEINVAL}}},
    {"VirtualNodeOfAVcpu",
     [](Subject& s, std::uint64_t v) {
       std::uint32_t distances[4] = {};
       std::uint32_t vcpus[2] = {0, Narrow<std::uint32_t>(v)};
       std::uint32_t nodes[2] = {};
       xen_domctl_t op = {};
       op.u.vnuma.nr_vnodes = 2;
       op.u.vnuma.nr_vcpus = 2;
       op.u.vnuma.vdistance.p = distances;
       op.u.vnuma.vcpu_to_vnode.p = vcpus;
       op.u.vnuma.vnode_to_pnode.p = nodes;
       return s.machine.Domctl(XEN_DOMCTL_setvnumainfo, kPv, op);
     },
     {{0, 0}, {1, 0}, {2, -kE2BIG}, {kAll32, -kE2BIG}}},
    {"NodeOfAVirtualNode",
     [](Subject& s, std::uint64_t v) {
       std::uint32_t zeros[4] = {};
       std::uint32_t nodes[2] = {0, Narrow<std::uint32_t>(v)};
       xen_domctl_t op = {};
       op.u.vnuma.nr_vnodes = 2;
       op.u.vnuma.nr_vcpus = 2;
       op.u.vnuma.vdistance.p = zeros;
       op.u.vnuma.vcpu_to_vnode.p = zeros;
       op.u.vnuma.vnode_to_pnode.p = nodes;
       return s.machine.Domctl(XEN_DOMCTL_setvnumainfo, kPv, op);
     },
     {{0, 0}, {63, 0}, {64, -kE2BIG}, {kAll32, -kE2BIG}}},
    {"LeavesOfAPolicy",
     [](Subject& s, std::uint64_t v) {
       std::vector<xen_cpuid_leaf_t> leaves(kMaxCpuidLeaves + 1);
       xen_domctl_t op = {};
       op.u.cpu_policy.nr_leaves = Narrow<std::uint32_t>(v);
       op.u.cpu_policy.leaves.p = leaves.data();
       return s.machine.Domctl(XEN_DOMCTL_set_cpu_policy, kPv, op);
     },
     {{0, 0}, {kMaxCpuidLeaves, 0}, {kMaxCpuidLeaves + 1, -kE2BIG}, {kAll32, -kE2BIG}}},
    {"LeavesOfTheMachinesPolicy",
     [](Subject& s, std::uint64_t v) {
       std::vector<xen_cpuid_leaf_t> leaves(kMaxCpuidLeaves);
       xen_sysctl_t op = {};
       op.u.cpu_policy.nr_leaves = Narrow<std::uint32_t>(v);
       op.u.cpu_policy.leaves.p = leaves.data();
       const std::int64_t answer = s.machine.Sysctl(XEN_SYSCTL_get_cpu_policy, op);
       return answer != 0 ? answer : std::int64_t{op.u.cpu_policy.nr_leaves};
     },
     {{HostLeaves().size(), static_cast<std::int64_t>(HostLeaves().size())},
      {HostLeaves().size() - 1, -kENOBUFS},
      {kMaxCpuidLeaves, static_cast<std::int64_t>(HostLeaves().size())},
      {0, -kENOBUFS}}},
    {"RegistersOfTheMachinesPolicy",
     [](Subject& s, std::uint64_t v) {
       std::vector<xen_msr_entry_t> registers(kMaxMsrEntries);
       xen_sysctl_t op = {};
       op.u.cpu_policy.nr_msrs = Narrow<std::uint32_t>(v);
       op.u.cpu_policy.msrs.p = registers.data();
       const std::int64_t answer = s.machine.Sysctl(XEN_SYSCTL_get_cpu_policy, op);
       return answer != 0 ? answer : std::int64_t{op.u.cpu_policy.nr_msrs};
     },
     {{HostMsrs().size(), static_cast<std::int64_t>(HostMsrs().size())},
      {HostMsrs().size() - 1, -kENOBUFS},
      {kMaxMsrEntries, static_cast<std::int64_t>(HostMsrs().size())}}},
    {"RegistersOfAPolicy",
     [](Subject& s, std::uint64_t v) {
       xen_msr_entry_t registers[kMaxMsrEntries + 1] = {};
       for (xen_msr_entry_t& each : registers) each.idx = 0xce;
       xen_domctl_t op = {};
       op.u.cpu_policy.nr_msrs = Narrow<std::uint32_t>(v);
       op.u.cpu_policy.msrs.p = registers;
       return s.machine.Domctl(XEN_DOMCTL_set_cpu_policy, kPv, op);
     },
     {{0, 0}, {kMaxMsrEntries, 0}, {kMaxMsrEntries + 1, -kE2BIG}, {kAll32, -kE2BIG}}},
    {"HvmParameter",
     [](Subject& s, std::uint64_t v) {
       xen_hvm_param param = {};
       param.domid = kHvm;
       param.index = Narrow<std::uint32_t>(v);
       return s.machine.Call(__HYPERVISOR_hvm_op, HVMOP_get_param, &param);
     },
     {{0, 0}, {HVM_NR_PARAMS - 1, 0}, {HVM_NR_PARAMS, -kEINVAL}, {kAll32, -kEINVAL}}},
    {"TscMode",
     [](Subject& s, std::uint64_t v) {
       xen_domctl_t op = {};
       op.u.tsc_info.tsc_mode = Narrow<std::uint32_t>(v);
       return s.machine.Domctl(XEN_DOMCTL_settscinfo, kPv, op);
     },
     {{0, 0}, {2, 0}, {3, -kEINVAL}, {kAll32, -kEINVAL}}},
    {"BytesOfAnHvmContext",
     [](Subject& s, std::uint64_t v) {
       std::vector<std::uint8_t> bytes(32);
       xen_domctl_t op = {};
       op.u.hvmcontext.size = Narrow<std::uint32_t>(v);
       op.u.hvmcontext.buffer.p = bytes.data();
       return s.machine.Domctl(XEN_DOMCTL_sethvmcontext, kHvm, op);
     },
     {{0, -kENODATA}, {31, -kENODATA}, {32, -kENODATA}, {(4 << 20) + 1, -kENOMEM},
      {kAll32, -kENOMEM}}},

    // The machine.
    {"TimeWithPadding",
     [](Subject& s, std::uint64_t v) {
       xen_platform_op_t op = {};
       op.u.settime64.mbz = Narrow<std::uint32_t>(v);
       return s.Platform(XENPF_settime64, op);
     },
     {{0, 0}, {1, -kEINVAL}, {k31, -kEINVAL}}},
    {"CharactersOfTheConsole",
     [](Subject& s, std::uint64_t v) {
       std::vector<char> text(1 << 15);
       xen_sysctl_t op = {};
       op.u.readconsole.count = Narrow<std::uint32_t>(v);
       op.u.readconsole.buffer.p = text.data();
       const std::int64_t answer = s.machine.Sysctl(XEN_SYSCTL_readconsole, op);
       const auto told = static_cast<std::uint32_t>(s.machine.console.size());
       EXPECT_LT(told, 16384u);
       return answer != 0 ? answer
              : op.u.readconsole.count == told ? 10000
                                               : std::int64_t{op.u.readconsole.count};
     },
     // All there is stands for itself.
     {{0, 0}, {1, 1}, {255, 255}, {256, 256}, {257, 257}, {16384, 10000}, {kAll32, 10000}}},
    {"PlaceInTheConsole",
     [](Subject& s, std::uint64_t v) {
       // From its end on.
       const auto end = static_cast<std::uint32_t>(s.machine.console.size());
       std::vector<char> text(1 << 15);
       xen_sysctl_t op = {};
       op.u.readconsole.incremental = 1;
       op.u.readconsole.index = end + Narrow<std::uint32_t>(v);
       op.u.readconsole.count = static_cast<std::uint32_t>(text.size());
       op.u.readconsole.buffer.p = text.data();
       const std::int64_t answer = s.machine.Sysctl(XEN_SYSCTL_readconsole, op);
       EXPECT_EQ(op.u.readconsole.index, end);
       return answer != 0 ? answer
              : op.u.readconsole.count == end ? 10000
                                              : std::int64_t{op.u.readconsole.count};
     },
     // One that is not there is the oldest.
     {{0, 0}, {kAll32, 1}, {1, 10000}, {k31, 10000}}},
    {"CharactersOnTheConsole",
     [](Subject& s, std::uint64_t v) {
       const char text[] = "x";
       return s.machine.Call(__HYPERVISOR_console_io, CONSOLEIO_write, v, text);
     },
     {{0, 0}, {1, 0}, {k31, -kEINVAL}, {kAll32, -kEINVAL}, {k32, 0}}},
    {"EntriesOfAMulticall",
     [](Subject& s, std::uint64_t v) {
       multicall_entry_t entries[2] = {};
       for (multicall_entry_t& entry : entries) {
         entry.op = __HYPERVISOR_xen_version;
         entry.args[0] = XENVER_pagesize;
       }
       const std::int64_t answer = s.machine.Call(__HYPERVISOR_multicall, entries, v);
       return answer != 0 ? answer
                          : static_cast<std::int64_t>(entries[0].result + entries[1].result) >> 12;
     },
     {{0, 0}, {1, 1}, {2, 2}, {k32, 0}, {k32 + 1, 1}}},
};

class HypervisorEndsTest : public testing::TestWithParam<End> {};

INSTANTIATE_TEST_SUITE_P(, HypervisorEndsTest, testing::ValuesIn(kEnds),
                         [](const auto& each) { return each.param.what; });

TEST_P(HypervisorEndsTest, AreWhereTheyAre) {
  Subject subject;
  for (const auto& [value, answer] : GetParam().cases) {
    EXPECT_EQ(GetParam().call(subject, value), answer) << std::hex << "0x" << value;
  }
}

// Ids are given out in rising order, and after the last one the first one comes again.
TEST(HypervisorDomainIdTest, ComeAgainWhenAllWereGivenOut) {
  TestMachine machine({.pool_bytes = std::uint64_t{4} << 20, .pages = 16});
  for (std::uint32_t round = 0; round <= DOMID_FIRST_RESERVED; ++round) {
    const std::uint32_t expected = round % (DOMID_FIRST_RESERVED - 1) + 1;
    xen_domctl_t op = TestMachine::CreateRequest();
    ASSERT_EQ(machine.Domctl(XEN_DOMCTL_createdomain, 0, op), 0) << expected;
    ASSERT_EQ(op.domain, expected);
    ASSERT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, op.domain), 0);
  }
}

}  // namespace
}  // namespace xencomm::hypervisor
