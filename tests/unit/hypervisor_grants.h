// Domains that grant one another pages, and calls of each of them about that.
#ifndef TESTS_UNIT_HYPERVISOR_GRANTS_H_
#define TESTS_UNIT_HYPERVISOR_GRANTS_H_

#include <cstdint>
#include <cstring>
#include <map>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/hypervisor_machine.h"

namespace xencomm::hypervisor {

inline constexpr std::uint16_t kGranter = 3;  // translated, as the next two
inline constexpr std::uint16_t kMapper = 4;
inline constexpr std::uint16_t kThird = 5;
inline constexpr std::uint16_t kPv = 6;  // a PV domain, which calls as the others do
inline constexpr std::uint16_t kNoDomain = 99;
inline constexpr std::uint64_t kDomainPages = 32;
inline constexpr std::uint64_t kWindow = 0x200;  // gfns from here on are free
inline constexpr std::uint32_t kRef = 9;         // not a reserved one

inline constexpr int kInUse = GTF_reading | GTF_writing;

class GrantsTest : public testing::Test {
 protected:
  explicit GrantsTest(const TestMachineOptions& options = {.pool_bytes = std::uint64_t{8} << 20,
                                                           .pages = 32})
      : machine(options) {}

  void SetUp() override {
    ASSERT_EQ(machine.build_result, 0);
    vcpus[0] = machine.vcpu;
    free_before = Books::StatisticsOf(machine.hypervisor).free_pages;
    overhead_before = Overhead(0);
    for (const std::uint16_t id : {kGranter, kMapper, kThird}) Build(id);
    ASSERT_EQ(CreateGranting(kPv, 0), kPv);
    pv_frames = Populate(kPv);
    Claim(kPv);
  }
  void TearDown() override {
    machine.ExpectBooksAddUp();
    while (vcpus.size() > 1) End(vcpus.rbegin()->first);
    const Statistics now = Books::StatisticsOf(machine.hypervisor);
    EXPECT_EQ(now.domains, 1u);
    EXPECT_EQ(now.held_frames, 0u);
    EXPECT_EQ(now.free_pages + Overhead(0) - overhead_before, free_before);
  }

  void Build(std::uint16_t id, const DomainConfig& traits = {}) {
    DomainConfig config = traits;
    config.id = id;
    config.pages = kDomainPages;
    config.space = SpaceKind::kRaw;
    ASSERT_EQ(machine.hypervisor.BuildDomain(config), 0);
    orders[id] = config.order;
    Claim(id);
  }
  void Claim(std::uint16_t id) {
    Vcpu* const vcpu = machine.hypervisor.ClaimVcpu(id, 0);
    ASSERT_NE(vcpu, nullptr);
    machine.hypervisor.SetRawSpace(*vcpu, machine.direct);
    vcpus[id] = vcpu;
  }
  // By a toolstack; may have so many frames of handles.
  std::int64_t CreateGranting(std::uint16_t id, std::uint32_t flags, int maptrack_frames = -1) {
    xen_domctl_t create = TestMachine::CreateRequest(flags);
    create.u.createdomain.max_maptrack_frames = maptrack_frames;
    create.u.createdomain.grant_opts = 2;
    std::int64_t result = machine.Domctl(XEN_DOMCTL_createdomain, id, create);
    if (result != 0) return result;
    xen_domctl_t op = {};
    op.u.max_vcpus.max = 1;
    result = machine.Domctl(XEN_DOMCTL_max_vcpus, id, op);
    if (result != 0) return result;
    op = {};
    op.u.max_mem.max_memkb = 1000 << 2;
    result = machine.Domctl(XEN_DOMCTL_max_mem, id, op);
    return result != 0 ? result : id;
  }
  std::vector<xen_pfn_t> Populate(std::uint16_t id) {
    std::vector<xen_pfn_t> frames(kDomainPages);
    std::iota(frames.begin(), frames.end(), 0);
    xen_memory_reservation request = TestMachine::Reservation(id, frames.data(), frames.size());
    EXPECT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, &request),
              static_cast<std::int64_t>(kDomainPages));
    return frames;
  }

  // Ends a domain: its pages go as far as nobody maps them.
  std::int64_t Destroy(std::uint16_t id) { return machine.Domctl(XEN_DOMCTL_destroydomain, id); }
  void Release(std::uint16_t id) {
    machine.hypervisor.ReleaseVcpu(*vcpus.at(id));
    vcpus.erase(id);
    versions.erase(id);
  }
  void End(std::uint16_t id) {
    EXPECT_EQ(Destroy(id), 0) << id;
    Release(id);
  }

  std::uint64_t Overhead(std::uint16_t id) {
    return Books::StatisticsOf(machine.hypervisor, id).overhead_pages;
  }
  std::uint64_t PagesOf(std::uint16_t id) {
    return Books::StatisticsOf(machine.hypervisor, id).pages;
  }
  bool Exists(std::uint16_t id) {
    return machine.hypervisor.StateOf(id) != Hypervisor::DomainState::kAbsent;
  }
  // As the domain names its page.
  std::uint64_t FrameOf(std::uint16_t id, std::uint64_t page) {
    return id == kPv ? pv_frames[page] : page;
  }
  std::uint64_t MfnOf(std::uint16_t id, std::uint64_t page) {
    return id == kPv ? pv_frames[page] : machine.hypervisor.FrameOf(id, page);
  }
  std::byte* BytesOf(std::uint16_t id, std::uint64_t page) {
    return machine.BytesOf(MfnOf(id, page));
  }

  // The table

  template <class T>
  std::int64_t Op(std::uint16_t by, unsigned op, T* list, std::uint64_t count = 1) {
    return machine.Called(machine.hypervisor.Call(
        *vcpus.at(by), machine.Frame(__HYPERVISOR_grant_table_op, op, list, count)));
  }
  std::int64_t SetVersion(std::uint16_t by, std::uint32_t version) {
    gnttab_set_version request = {.version = InOrder(version, OrderOf(by))};
    const std::int64_t answer = Op(by, GNTTABOP_set_version, &request);
    const std::uint32_t told = InOrder(request.version, OrderOf(by));
    EXPECT_EQ(told, answer == 0 ? version : VersionOf(by));
    versions[by] = told;
    return answer;
  }
  void UseVersion(std::uint16_t by, std::uint32_t version) {
    if (version == VersionOf(by)) return;
    ASSERT_EQ(SetVersion(by, version), 0);
  }
  std::uint32_t VersionOf(std::uint16_t id) const {
    const auto found = versions.find(id);
    return found == versions.end() ? 1 : found->second;
  }
  ByteOrder OrderOf(std::uint16_t id) const {
    const auto found = orders.find(id);
    return found == orders.end() ? machine.order : found->second;
  }
  std::byte* Frame(std::uint16_t id, std::uint32_t part, std::uint64_t index) {
    std::uint64_t mfn;
    if (machine.hypervisor.HoldResourceFrame(id, {.type = XENMEM_resource_grant_table, .id = part},
                                             index, &mfn) != 0) {
      ADD_FAILURE() << "domain " << id << " has no frame " << index;
      return nullptr;
    }
    machine.hypervisor.ReleaseFrame(mfn);
    return machine.BytesOf(mfn);
  }
  std::byte* PlaceOf(std::uint16_t id, std::uint32_t ref) {
    const std::size_t size =
        VersionOf(id) == 1 ? sizeof(grant_entry_v1_t) : sizeof(grant_entry_v2_t);
    const std::size_t of_frame = kPageSize / size;
    return Frame(id, XENMEM_resource_grant_table_id_shared, ref / of_frame) + ref % of_frame * size;
  }
  GrantEntry EntryOf(std::uint16_t id, std::uint32_t ref) {
    std::byte* const at = PlaceOf(id, ref);
    std::byte* status = nullptr;
    if (VersionOf(id) == 2) {
      constexpr std::size_t kOfFrame = kPageSize / sizeof(grant_status_t);
      status = Frame(id, XENMEM_resource_grant_table_id_status, ref / kOfFrame) +
               ref % kOfFrame * sizeof(grant_status_t);
    }
    return {at, status, OrderOf(id)};
  }
  void Grant(std::uint16_t by, std::uint32_t ref, std::uint16_t to, std::uint64_t page,
             int flags = GTF_permit_access) {
    EntryOf(by, ref).Store(static_cast<std::uint16_t>(flags), to, FrameOf(by, page));
  }
  // Of version 2.
  void GrantPart(std::uint16_t by, std::uint32_t ref, std::uint16_t to, std::uint64_t page,
                 std::uint16_t offset, std::uint16_t length, int flags = 0) {
    grant_entry_v2_t entry = {};
    entry.sub_page.page_off = InOrder(offset, OrderOf(by));
    entry.sub_page.length = InOrder(length, OrderOf(by));
    entry.sub_page.frame = InOrder(FrameOf(by, page), OrderOf(by));
    Put(by, ref, to, GTF_permit_access | GTF_sub_page | flags, entry);
  }
  void PassOn(std::uint16_t by, std::uint32_t ref, std::uint16_t to, std::uint16_t origin,
              std::uint32_t origin_ref, int flags = 0) {
    grant_entry_v2_t entry = {};
    entry.transitive.trans_domid = InOrder(origin, OrderOf(by));
    entry.transitive.gref = InOrder(origin_ref, OrderOf(by));
    Put(by, ref, to, GTF_transitive | flags, entry);
  }
  void Put(std::uint16_t by, std::uint32_t ref, std::uint16_t to, int flags,
           grant_entry_v2_t entry) {
    ASSERT_EQ(VersionOf(by), 2u);
    entry.hdr.flags = InOrder(static_cast<std::uint16_t>(flags), OrderOf(by));
    entry.hdr.domid = InOrder(to, OrderOf(by));
    std::memcpy(PlaceOf(by, ref), &entry, sizeof(entry));
  }
  // What the granter is shown: GTF_reading, GTF_writing.
  int Shown(std::uint16_t by, std::uint32_t ref) { return EntryOf(by, ref).LoadStatus() & kInUse; }

  // Mappings

  static gnttab_map_grant_ref MapOp(std::uint16_t granter, std::uint32_t ref,
                                    std::uint64_t gfn = kWindow,
                                    std::uint32_t flags = GNTMAP_host_map) {
    gnttab_map_grant_ref op = {};
    op.host_addr = gfn << kPageShift;
    op.flags = flags;
    op.ref = ref;
    op.dom = granter;
    op.status = 7;
    return op;
  }
  static gnttab_unmap_grant_ref UnmapOp(std::uint32_t handle, std::uint64_t gfn,
                                        std::uint64_t bus_address = 0) {
    return {
        .host_addr = gfn << kPageShift, .dev_bus_addr = bus_address, .handle = handle, .status = 7};
  }
  std::int16_t Map(std::uint16_t by, gnttab_map_grant_ref& op) {
    EXPECT_EQ(Op(by, GNTTABOP_map_grant_ref, &op), 0);
    return op.status;
  }
  std::int16_t Map(std::uint16_t by, std::uint16_t granter, std::uint32_t ref, std::uint64_t gfn,
                   std::uint32_t flags = GNTMAP_host_map, std::uint32_t* handle = nullptr) {
    gnttab_map_grant_ref op = MapOp(granter, ref, gfn, flags);
    const std::int16_t status = Map(by, op);
    if (handle != nullptr) *handle = op.handle;
    return status;
  }
  std::int16_t Unmap(std::uint16_t by, std::uint32_t handle, std::uint64_t gfn,
                     std::uint64_t bus_address = 0) {
    gnttab_unmap_grant_ref op = UnmapOp(handle, gfn, bus_address);
    EXPECT_EQ(Op(by, GNTTABOP_unmap_grant_ref, &op), 0);
    return op.status;
  }
  // What the domain reaches by a frame number of its own.
  bool Maps(std::uint16_t id, std::uint64_t gfn, std::uint64_t mfn) {
    return machine.hypervisor.FrameOf(id, gfn) == mfn;
  }
  std::int64_t Decrease(std::uint16_t id, std::uint64_t page) {
    xen_pfn_t frame = FrameOf(id, page);
    xen_memory_reservation request = TestMachine::Reservation(id, &frame, 1);
    return machine.Call(__HYPERVISOR_memory_op, XENMEM_decrease_reservation, &request);
  }

  // Copies

  struct Side {
    std::uint16_t domain = DOMID_SELF;
    std::uint64_t number = 0;  // of the grant, or of the page
    std::uint16_t offset = 0;
    bool is_grant = false;
  };
  static Side Granted(std::uint16_t domain, std::uint32_t ref, unsigned offset = 0) {
    return {domain, ref, static_cast<std::uint16_t>(offset), true};
  }
  static Side Own(std::uint64_t frame, unsigned offset = 0) {
    return {DOMID_SELF, frame, static_cast<std::uint16_t>(offset), false};
  }
  template <class Pointer>
  static void Fill(Pointer& pointer, const Side& side) {
    pointer.domid = side.domain;
    pointer.offset = side.offset;
    if (side.is_grant) {
      pointer.u.ref = static_cast<std::uint32_t>(side.number);
    } else {
      pointer.u.gmfn = side.number;
    }
  }
  static gnttab_copy CopyOp(const Side& from, const Side& to, unsigned length) {
    gnttab_copy op = {};
    op.len = static_cast<std::uint16_t>(length);
    op.status = 7;
    op.flags = static_cast<std::uint16_t>((from.is_grant ? GNTCOPY_source_gref : 0) |
                                          (to.is_grant ? GNTCOPY_dest_gref : 0));
    Fill(op.source, from);
    Fill(op.dest, to);
    return op;
  }
  std::int16_t Copy(std::uint16_t by, const Side& from, const Side& to, unsigned length) {
    gnttab_copy op = CopyOp(from, to, length);
    EXPECT_EQ(Op(by, GNTTABOP_copy, &op), 0);
    return op.status;
  }

  TestMachine machine;
  std::map<std::uint16_t, Vcpu*> vcpus;  // by domain
  std::map<std::uint16_t, std::uint32_t> versions;
  std::map<std::uint16_t, ByteOrder> orders;
  std::vector<xen_pfn_t> pv_frames;
  std::uint64_t free_before = 0;
  std::uint64_t overhead_before = 0;
};

}  // namespace xencomm::hypervisor

#endif  // TESTS_UNIT_HYPERVISOR_GRANTS_H_
