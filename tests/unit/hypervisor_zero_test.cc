// Handed out is zero. Domains take memory and give it up in every way, in an order at random, also
// while calls are under way and until there is none left. Each page that reaches one of them is
// looked at in full, then filled with the name of who has it: nobody else ever sees that.
//
// Who has a page is what the frame table says after each step, so a new way to come by one is
// covered as it comes. That the ways known today all occur is counted.

#include <algorithm>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "hcall/schema/words.h"
#include "tests/fuzz/random_call.h"
#include "tests/unit/hypervisor_machine.h"
#include "xencomm/region_table.h"

namespace xencomm::hypervisor {
namespace {

using fuzz::CallMemory;
using fuzz::CallSpace;
using fuzz::Random;
using fuzz::RandomCall;

// Frames below have numbers of fewer bits: the pool reaches into two zones of the heap.
constexpr std::uint64_t kEdge = std::uint64_t{1} << 18;
constexpr std::uint64_t kLowPages = 1024;
constexpr std::uint64_t kHighPages = 4096;
constexpr std::uint32_t kLowOnly = XENMEMF_address_bits(18 + kPageShift);
constexpr std::uint64_t kFirstFrame = kEdge - kLowPages;

// What a machine does with free memory that it is asked to discard.
enum class Discards { kNever, kAlways, kAtRandom };

struct Pool {
  const char* name;
  bool is_zero;
  Discards discards;
};
void PrintTo(const Pool& pool, std::ostream* out) { *out << pool.name; }

// The upper half of each word of a page that belongs to somebody.
constexpr std::uint32_t kSecret = 0x5ec2e7a1;

class HypervisorZeroTest : public testing::TestWithParam<Pool> {
 protected:
  enum class Kind { kPv, kHvm, kBuilt };
  static constexpr std::uint16_t kDomains = 4;  // beside domain 0
  struct Guest {
    Kind kind = Kind::kPv;
    Vcpu* vcpu = nullptr;
    std::vector<std::uint64_t> regions;  // handles
  };

  // Gfns of translated domains: of memory in any order, of the hypervisor's and others' pages.
  static constexpr std::uint64_t kMemoryGfns = 1 << 14;
  static constexpr std::uint64_t kOtherGfns = 64;
  static constexpr unsigned kMostOrder = 12;
  // Superpages: the machine is asked to discard them.
  static constexpr unsigned kLargeOrder = 9;
  // Single pages come in runs of 2^4.
  static std::string ClassOf(unsigned of_order) {
    return of_order < 5 ? std::to_string(of_order) : of_order < kLargeOrder ? "5 to 8" : "9 and up";
  }

  void SetUp() override {
    machine.on_discard = [this](MachineAddress start, std::uint64_t bytes) {
      return Discard(start.value >> kPageShift, bytes >> kPageShift);
    };
    ASSERT_EQ(machine.build_result, 0);
    other = machine.hypervisor.ClaimVcpu(0, 1);
    machine.hypervisor.SetRawSpace(*other, machine.direct);
    Look();
  }
  void TearDown() override {
    DestroyAll(0);
    Look();
    machine.hypervisor.ReleaseVcpu(*other);
    EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).domains, 1u);
  }

  // Pages.

  static constexpr std::uint64_t Pages(unsigned of_order) { return std::uint64_t{1} << of_order; }
  std::byte* Bytes(std::size_t index) { return machine.BytesOf(kFirstFrame + index); }
  static bool IsAll(const std::byte* page, std::uint64_t word) {
    return std::memcmp(page, &word, sizeof(word)) == 0 &&
           std::memcmp(page, page + sizeof(word), kPageSize - sizeof(word)) == 0;
  }
  static std::uint64_t SecretOf(std::size_t index, unsigned serial) {
    // Read as a grant, it is none.
    return std::uint64_t{kSecret} << 32 | index << 16 | serial << 5;
  }
  void Fill(std::size_t index, unsigned serial) {
    const std::uint64_t word = SecretOf(index, serial);
    for (std::uint64_t at = 0; at < kPageSize; at += sizeof(word)) {
      std::memcpy(Bytes(index) + at, &word, sizeof(word));
    }
    owners[index] = serial;
  }
  void ExpectZero(std::size_t index, const char* who) {
    ASSERT_TRUE(IsAll(Bytes(index), 0))
        << step << ": frame " << std::hex << kFirstFrame + index << " of " << who << " is not zero";
  }

  bool Discard(std::uint64_t mfn, std::uint64_t pages) {
    for (std::uint64_t i = 0; i < pages; ++i) {
      EXPECT_EQ(Books::OwnerOf(machine.hypervisor, mfn + i).use, FrameUse::kNone)
          << step << ": is somebody's";
    }
    const bool clears = GetParam().discards == Discards::kAlways ||
                        (GetParam().discards == Discards::kAtRandom && random.OneIn(2));
    // It may lose its contents either way, and is asked for them only where it says so.
    std::memset(machine.BytesOf(mfn), clears ? 0 : kSecret & 0xff, pages << kPageShift);
    discarded.emplace_back(mfn, clears);
    return clears;
  }

  // What the last step changed.
  void Look() {
    const std::vector<FrameRow> before = std::exchange(rows, Books::Frames(machine.hypervisor));
    std::set<std::uint16_t> there;
    for (const FrameRow& row : rows) {
      if (row.owner.use == FrameUse::kShared) there.insert(row.owner.domain);
    }
    for (std::uint16_t id = 0; id <= kDomains; ++id) {
      if (!there.contains(id)) serials[id] = 0;
      if (there.contains(id) && serials[id] == 0) serials[id] = ++last_serial;
    }
    owned.clear();
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const FrameRow& row = rows[i];
      const bool is_pool = std::strcmp(row.claimed, kPagingPool) == 0;
      const bool is_owned = is_pool || row.owner.use == FrameUse::kMemory ||
                            row.owner.use == FrameUse::kShared ||
                            row.owner.use == FrameUse::kGivenUp;
      if (row.owner.use == FrameUse::kMemory) owned[row.owner.domain].push_back(i);
      const unsigned serial = is_owned ? serials[row.owner.domain] : 0;
      if (serial == owners[i]) {
        if (!before.empty() && !is_owned && !before[i].is_dirty && row.is_dirty) {
          Note("zero beside what is not");
        }
        if (!before.empty() && row.is_free && before[i].is_free && row.order > before[i].order) {
          Note("grew together");
        }
        continue;
      }
      if (serial != 0) {
        ExpectZero(i, row.claimed);
        NoteTaken(row, before.empty() ? FrameRow() : before[i], i);
        Fill(i, serial);
      } else {
        NoteGivenUp(before[i], row);
        EXPECT_EQ(std::count(held.begin(), held.end(), kFirstFrame + i), 0)
            << step << ": a frame that is held is free";
        if (in_mid_call && before[i].owner.use == FrameUse::kMemory) {
          left.emplace_back(i, owners[i]);
        }
        owners[i] = 0;
      }
    }
    for (const auto& [mfn, clears] : std::exchange(discarded, {})) {
      Note(std::string(owners[mfn - kFirstFrame] != 0 ? "taken, " : "given up, ") +
           (clears ? "discarded" : "not discarded"));
    }
  }
  // What somebody has is what it wrote there.
  void LookAtAll() {
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (owners[i] == 0 || rows[i].owner.use == FrameUse::kShared) continue;
      ASSERT_TRUE(IsAll(Bytes(i), SecretOf(i, owners[i])))
          << step << ": somebody wrote to frame " << std::hex << kFirstFrame + i << " of "
          << rows[i].claimed;
    }
  }
  void ExpectNoSecrets(std::span<const std::byte> bytes, const std::string& whose) {
    for (std::size_t at = 0; at + 4 <= bytes.size(); at += 4) {
      std::uint32_t word;
      std::memcpy(&word, &bytes[at], sizeof(word));
      ASSERT_TRUE(word != kSecret && word != TestMachine::kNeverCleared * 0x01010101u)
          << whose << " tells what somebody left, at byte " << at;
    }
  }

  void Note(const std::string& way, unsigned count = 1) { ways[way] += count; }
  void NoteTaken(const FrameRow& row, const FrameRow& before, std::size_t index) {
    if (before.claimed == nullptr) return;
    const std::string from = before.claimed;
    Note(from + (before.is_dirty ? ", cleared" : ", zero already"));
    if (from == "the heap") Note(before.order > order ? "split" : "whole");
    Note("taken: " + std::string(row.claimed));
    if (row.owner.use != FrameUse::kMemory) return;
    Note(index >= kLowPages ? "high" : flags == kLowOnly ? "low by width" : "low at last");
    EXPECT_TRUE(index < kLowPages || flags != kLowOnly) << step;
  }
  void NoteGivenUp(const FrameRow& before, const FrameRow& row) {
    Note("given up: " + std::string(before.claimed));
    Note("to " + std::string(row.claimed) + (row.is_dirty ? ", to be cleared" : ", cleared"));
  }

  // Calls.

  // Nothing when it waits for memory that is not there before another call has ended.
  std::optional<std::int64_t> Make(Vcpu& vcpu, HypercallFrame frame) {
    std::int64_t answer = machine.hypervisor.Hypercall(vcpu, frame);
    for (int legs = 1; frame.continued; ++legs) {
      if (legs == 1000) {
        Note("waits for memory");
        return std::nullopt;
      }
      answer = machine.hypervisor.Hypercall(vcpu, frame);
    }
    return answer;
  }
  // -1 for nothing, too.
  template <class T>
  std::int64_t MemoryOp(std::uint64_t op, T& argument) {
    return Make(*machine.vcpu, machine.Frame(__HYPERVISOR_memory_op, op, &argument)).value_or(-1);
  }
  bool Domctl(std::uint32_t cmd, std::uint16_t domain, xen_domctl_t op = {}) {
    op.cmd = cmd;
    op.interface_version = XEN_DOMCTL_INTERFACE_VERSION;
    op.domain = domain;
    return Make(*machine.vcpu, machine.Frame(__HYPERVISOR_domctl, &op)) == std::int64_t{0};
  }

  // Domains.

  bool IsThere(std::uint16_t id) const { return serials[id] != 0; }
  bool IsDying(std::uint16_t id) {
    xen_domctl_t op = {};
    return machine.Domctl(XEN_DOMCTL_getdomaininfo, id, op) != 0 ||
           (op.u.getdomaininfo.flags & XEN_DOMINF_dying) != 0;
  }
  bool IsTranslated(std::uint16_t id) const { return id == 0 || guests[id].kind != Kind::kPv; }
  std::uint16_t AnyDomain() { return static_cast<std::uint16_t>(1 + random.Below(kDomains)); }

  void Create(std::uint16_t id) {
    Guest& guest = guests[id];
    guest = Guest{};
    guest.kind = static_cast<Kind>(random.Below(3));
    if (guest.kind == Kind::kBuilt) {
      const DomainConfig config = {
          .id = id, .pages = random.Below(100), .vcpus = 1, .space = SpaceKind::kRaw};
      if (machine.hypervisor.BuildDomain(config) != 0) return;
    } else {
      const bool is_hvm = guest.kind == Kind::kHvm;
      const xen_domctl_t create =
          TestMachine::CreateRequest(is_hvm ? XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap : 0);
      if (!Domctl(XEN_DOMCTL_createdomain, id, create)) return;
      xen_domctl_t op = {};
      op.u.max_vcpus.max = 1;
      Domctl(XEN_DOMCTL_max_vcpus, id, op);
    }
    guest.vcpu = machine.hypervisor.ClaimVcpu(id, 0);
    if (guest.vcpu != nullptr) machine.hypervisor.SetRawSpace(*guest.vcpu, machine.direct);
  }
  void Destroy(std::uint16_t id) {
    if (!IsThere(id)) return;
    Domctl(XEN_DOMCTL_destroydomain, id);
    if (guests[id].vcpu != nullptr) machine.hypervisor.ReleaseVcpu(*guests[id].vcpu);
    guests[id].vcpu = nullptr;
  }
  void DestroyAll(std::uint16_t) {
    for (std::uint16_t id = 1; id <= kDomains; ++id) Destroy(id);
    for (const std::uint64_t mfn : std::exchange(held, {})) machine.ReleaseFrame(mfn);
  }
  // Mostly far away.
  void SetLimit(std::uint16_t id) {
    xen_domctl_t op = {};
    op.u.max_mem.max_memkb = random.OneIn(4) ? 4 * owned[id].size() + 40 : std::uint64_t{1} << 30;
    Domctl(XEN_DOMCTL_max_mem, id, op);
  }

  // The name that a domain has for a page of its own.
  std::uint64_t NameOf(std::size_t index) const {
    return IsTranslated(rows[index].owner.domain) ? rows[index].gfn : kFirstFrame + index;
  }
  std::uint64_t FrameAt(std::uint16_t id, std::uint64_t name) {
    return IsTranslated(id) ? machine.hypervisor.FrameOf(id, name) : name;
  }
  // Names of aligned runs of 2^order pages of a domain's; at most `count`.
  std::vector<xen_pfn_t> Runs(std::uint16_t id, unsigned of_order, std::size_t count) {
    std::vector<xen_pfn_t> names;
    for (const std::size_t index : owned[id]) {
      if (NameOf(index) != kNoFrame) names.push_back(NameOf(index));
    }
    std::sort(names.begin(), names.end());
    const std::uint64_t pages = Pages(of_order);
    std::vector<xen_pfn_t> runs;
    for (std::size_t i = 0; i + pages <= names.size(); ++i) {
      if (names[i] % pages == 0 && names[i + pages - 1] == names[i] + pages - 1) {
        runs.push_back(names[i]);
      }
    }
    for (std::size_t i = runs.size(); i > 1; --i) std::swap(runs[i - 1], runs[random.Below(i)]);
    if (runs.size() > count) runs.resize(count);
    return runs;
  }
  std::uint64_t AnyName(std::uint16_t id) {
    if (owned[id].empty()) return 0;
    return NameOf(owned[id][random.Below(owned[id].size())]);
  }
  std::uint64_t OtherGfn() { return kMemoryGfns + random.Below(kOtherGfns); }

  // Steps.

  void Reserve(std::uint16_t id, std::uint64_t op) {
    order = static_cast<unsigned>(random.OneIn(2) ? random.Below(kMostOrder + 1) : 0);
    flags = random.OneIn(3) ? kLowOnly : 0;
    const std::uint64_t most = std::max<std::uint64_t>(1, 300 >> order);
    std::vector<xen_pfn_t> extents(1 + random.Below(most));
    for (xen_pfn_t& extent : extents) {
      extent = random.Below(kMemoryGfns >> order) << order;
      if (random.OneIn(200)) extent = random.Below(1 << 8) << 12;  // far, as no other one is
    }
    ReserveAt(id, op, extents);
  }
  void ReserveAt(std::uint16_t id, std::uint64_t op, std::vector<xen_pfn_t>& extents) {
    SetLimit(id);
    xen_memory_reservation request =
        TestMachine::Reservation(id, extents.data(), extents.size(), order);
    request.mem_flags = flags;
    const bool is_some_done = MemoryOp(op, request) > 0;
    Note((op == XENMEM_decrease_reservation ? "given up by order " : "taken by order ") +
             ClassOf(order),
         is_some_done);
  }
  void Populate(std::uint16_t id) { Reserve(id, XENMEM_populate_physmap); }
  void Increase(std::uint16_t id) { Reserve(id, XENMEM_increase_reservation); }
  // As far as it goes.
  void TakeAll(std::uint16_t id) {
    std::vector<xen_pfn_t> extents(Books::StatisticsOf(machine.hypervisor).free_pages + 1);
    std::iota(extents.begin(), extents.end(), 0);
    ReserveAt(id, XENMEM_populate_physmap, extents);
    Note("nothing is left", Books::StatisticsOf(machine.hypervisor).free_pages == 0);
  }
  void TakeLarge(std::uint16_t id) {
    order = static_cast<unsigned>(kLargeOrder + random.Below(kMostOrder - 8));
    std::vector<xen_pfn_t> extents(kMemoryGfns >> order);
    for (std::size_t i = 0; i < extents.size(); ++i) extents[i] = i << order;
    ReserveAt(id, XENMEM_populate_physmap, extents);
  }
  void Decrease(std::uint16_t id) {
    std::vector<xen_pfn_t> extents;
    for (order = static_cast<unsigned>(random.OneIn(2) ? 0 : random.Below(kMostOrder + 1));
         extents.empty() && !owned[id].empty(); --order) {
      extents = Runs(id, order, 1 + random.Below(owned[id].size()));
      if (!extents.empty() || order == 0) break;
    }
    ReserveAt(id, XENMEM_decrease_reservation, extents);
  }
  void Exchange(std::uint16_t id) {
    const auto in_order = static_cast<unsigned>(random.OneIn(2) ? 0 : random.Below(10));
    const auto out_order = static_cast<unsigned>(random.OneIn(2) ? 0 : random.Below(10));
    const unsigned shared = std::max(in_order, out_order);
    std::vector<xen_pfn_t> in = Runs(id, in_order, (2u << shared) >> in_order);
    in.resize(in.size() << in_order >> shared << shared >> in_order);
    std::vector<xen_pfn_t> out(in.size() << in_order >> out_order);
    for (xen_pfn_t& gfn : out) gfn = random.Below(kMemoryGfns >> out_order) << out_order;
    order = out_order;
    flags = random.OneIn(3) ? kLowOnly : 0;
    xen_memory_exchange exchange = {};
    exchange.in = TestMachine::Reservation(id, in.data(), in.size(), in_order);
    exchange.out = TestMachine::Reservation(id, out.data(), out.size(), out_order);
    exchange.out.mem_flags = flags;
    std::set<std::uint64_t> given;
    for (const xen_pfn_t name : in) {
      for (std::uint64_t i = 0; i < Pages(in_order); ++i) given.insert(FrameAt(id, name + i));
    }
    const bool is_done = !in.empty() && MemoryOp(XENMEM_exchange, exchange) == 0;
    // What was given up may have come back in the same call.
    std::set<std::uint64_t> taken;
    for (const std::uint64_t mfn : given) {
      const bool is_owned = Books::OwnerOf(machine.hypervisor, mfn).use == FrameUse::kMemory;
      if (is_owned && IsAll(machine.BytesOf(mfn), 0)) taken.insert(mfn);
    }
    if (is_done) {
      Note(in_order < out_order   ? "exchanged for larger ones"
           : in_order > out_order ? "exchanged for smaller ones"
                                  : "exchanged for others");
      for (const xen_pfn_t name : out) {
        for (std::uint64_t i = 0; i < Pages(out_order); ++i) taken.insert(FrameAt(id, name + i));
      }
    }
    // And what was taken may have been given up again, where the list names one gfn twice.
    taken.erase(kNoFrame);
    for (const std::uint64_t mfn : taken) {
      ExpectZero(mfn - kFirstFrame, "an exchange");
      Fill(mfn - kFirstFrame, serials[id]);
    }
  }
  void Place(std::uint16_t id) {
    static constexpr unsigned kSpaces[] = {XENMAPSPACE_shared_info, XENMAPSPACE_grant_table,
                                           XENMAPSPACE_grant_table, XENMAPSPACE_gmfn};
    xen_add_to_physmap add = {};
    add.domid = id;
    add.space = kSpaces[random.Below(std::size(kSpaces))];
    add.gpfn = OtherGfn();
    if (add.space == XENMAPSPACE_gmfn) add.idx = AnyName(id);
    if (add.space == XENMAPSPACE_grant_table) {
      add.idx = random.Below(64) | (random.OneIn(2) ? XENMAPIDX_grant_table_status : 0);
    }
    MemoryOp(XENMEM_add_to_physmap, add);
  }
  void Unplace(std::uint16_t id) {
    xen_remove_from_physmap remove = {};
    remove.domid = id;
    remove.gpfn = random.OneIn(4) ? AnyName(id) : OtherGfn();
    MemoryOp(XENMEM_remove_from_physmap, remove);
  }
  void MapForeign(std::uint16_t id) {
    const std::uint16_t source = AnyDomain();
    std::uint64_t index = AnyName(source);
    xen_pfn_t gfn = OtherGfn();
    int error = 0;
    xen_add_to_physmap_batch batch = {};
    batch.domid = id;
    batch.space = XENMAPSPACE_gmfn_foreign;
    batch.u.foreign_domid = source;
    batch.size = 1;
    batch.idxs.p = &index;
    batch.gpfns.p = &gfn;
    batch.errs.p = &error;
    MemoryOp(XENMEM_add_to_physmap_batch, batch);
  }
  void Hold(std::uint16_t id) {
    std::uint64_t mfn;
    const std::uint64_t name = AnyName(id);
    for (std::uint64_t times = 1 + random.Below(2); times != 0; --times) {
      if (machine.HoldFrame(id, name, Access::kRead, &mfn) == 0) held.push_back(mfn);
    }
  }
  void Release(std::uint16_t) {
    if (held.empty()) return;
    std::swap(held[random.Below(held.size())], held.back());
    machine.ReleaseFrame(held.back());
    held.pop_back();
  }
  void Grants(std::uint16_t id) {
    xen_pfn_t frames[64] = {};
    gnttab_setup_table setup = {};
    setup.dom = id;
    setup.nr_frames = static_cast<std::uint32_t>(1 + random.Below(64));
    setup.frame_list.p = frames;
    Make(*machine.vcpu,
         machine.Frame(__HYPERVISOR_grant_table_op, GNTTABOP_setup_table, &setup, 1));
    if (guests[id].vcpu == nullptr || random.OneIn(3)) return;
    gnttab_set_version version = {.version = static_cast<std::uint32_t>(1 + random.Below(2))};
    Make(*guests[id].vcpu,
         machine.Frame(__HYPERVISOR_grant_table_op, GNTTABOP_set_version, &version, 1));
  }
  void SizePool(std::uint16_t id) {
    xen_domctl_t op = {};
    op.u.paging_mempool.size = random.Below(600) << kPageShift;
    Domctl(XEN_DOMCTL_set_paging_mempool_size, id, op);
  }
  // A region of a built domain's own pages, or the end of one.
  void Region(std::uint16_t id) {
    Guest& guest = guests[id];
    if (guest.kind != Kind::kBuilt || guest.vcpu == nullptr) return;
    if (!guest.regions.empty() && random.OneIn(2)) {
      if (Make(*guest.vcpu, machine.Frame(kXencommOp, XencommOp::kUnregister,
                                          guest.regions.back())) == std::int64_t{0}) {
        guest.regions.pop_back();
      }
      return;
    }
    LockedMemory memory = machine.hypervisor.LockedMemoryOf(*guest.vcpu);
    const std::uint64_t granules = 2 + random.Below(30);
    const auto layout = RegionLayout::Make({0x7f0000000000}, granules << 12, 12);
    const PhysicalAddress table[] = {{AnyName(id) << kPageShift}};
    const auto built = RegionTable<LockedMemory>::Build(memory, *layout, kNativeOrder, table);
    if (!built.ok()) return;
    for (std::uint64_t i = 1; i < granules; ++i) {
      EXPECT_TRUE(built->Back(i, {AnyName(id) << kPageShift}).ok());
    }
    const auto handle =
        Make(*guest.vcpu, machine.Frame(kXencommOp, XencommOp::kRegister, table[0].value, 1));
    if (handle.value_or(0) > 0) {
      guest.regions.push_back(static_cast<std::uint64_t>(*handle));
      Note("a region");
    }
    Fill(FrameAt(id, table[0].value >> kPageShift) - kFirstFrame, serials[id]);
  }
  void Area(std::uint16_t id) {
    Guest& guest = guests[id];
    if (guest.vcpu == nullptr || owned[id].empty()) return;
    const std::size_t index = owned[id][random.Below(owned[id].size())];
    if (FrameAt(id, NameOf(index)) != kFirstFrame + index) return;
    const std::byte* at = random.OneIn(3) ? nullptr : Bytes(index) + 8 * random.Below(500);
    const vcpu_register_runstate_memory_area request = {
        .addr = {.p = reinterpret_cast<std::uint64_t>(at)}};
    const auto answer = Make(
        *guest.vcpu,
        machine.Frame(__HYPERVISOR_vcpu_op, VCPUOP_register_runstate_memory_area, 0, &request));
    if (answer == std::int64_t{0} && at != nullptr) {
      Note("an area");
      Fill(index, serials[id]);
    }
  }

  // Any op of the table, about these domains: nothing that it answers is what somebody left.
  void Ask(std::uint16_t) {
    static const std::vector<const schema::Op*> kOps = fuzz::AllOps(schema::kBaseRelease);
    const schema::Op& op = *kOps[random.Below(kOps.size())];
    const schema::Hypercall& hypercall = op.hypercall();
    if (hypercall.holds_calls ||
        (hypercall.number == __HYPERVISOR_domctl && op.number == XEN_DOMCTL_createdomain)) {
      return;
    }
    call_memory.Clear();
    const RandomCall made(op, kNativeOrder, random, call_memory, schema::kBaseRelease);
    if (!made.ok()) return;
    schema::Call call = made.call();
    if (hypercall.op_place == schema::OpPlace::kRegister) call.registers[0] = op.number;
    if (!made.expected().empty()) {
      auto* const argument = reinterpret_cast<std::byte*>(made.expected()[0].address);
      if (hypercall.version_field && (op.releases & schema::kBaseRelease) != 0) {
        StoreField(argument + hypercall.version_field.offset, hypercall.versions()[0].number,
                   kNativeOrder);
      }
      for (const schema::Part& part : op.argument().parts()) {
        if (part.is_buffer()) continue;
        if (part.size() == sizeof(domid_t) &&
            std::strstr(schema::WordsOf(part).path, "dom") != nullptr) {
          StoreField(argument + part.offset, domid_t{AnyDomain()}, kNativeOrder);
        } else if (part.size() == 4 && std::strstr(schema::WordsOf(part).path, "vcpu") != nullptr) {
          StoreField(argument + part.offset, std::uint32_t{0}, kNativeOrder);
        }
      }
    }
    HypercallFrame frame = {.index = call.hypercall};
    std::copy_n(call.registers.begin(), std::size(frame.arguments), frame.arguments);
    CallSpace space(call_memory);
    machine.hypervisor.SetRawSpace(*machine.vcpu, space);
    const auto answer = Make(*machine.vcpu, frame);
    machine.hypervisor.SetRawSpace(*machine.vcpu, machine.direct);
    Note("asked", answer.value_or(-1) >= 0);
    ExpectNoSecrets(call_memory.used(),
                    std::string(schema::WordsOf(hypercall).name) + "." + schema::WordsOf(op).name);
  }
  // What is kept of a domain and read back: nobody has put anything there.
  void ReadBack(std::uint16_t id) {
    std::vector<std::byte> buffer(std::size_t{1} << 16);
    xen_domctl_t op = {};
    op.u.vcpucontext.ctxt.p = reinterpret_cast<vcpu_guest_context_t*>(buffer.data());
    Note("a vcpu's context", Domctl(XEN_DOMCTL_getvcpucontext, id, op));
    ExpectNoSecrets(buffer, "a vcpu's context");
    op = {};
    op.u.hvmcontext.size = static_cast<std::uint32_t>(buffer.size());
    op.u.hvmcontext.buffer.p = reinterpret_cast<std::uint8_t*>(buffer.data());
    Note("an HVM context", Domctl(XEN_DOMCTL_gethvmcontext, id, op));
    ExpectNoSecrets(buffer, "an HVM context");
    ReadDirty(id, buffer);
    xen_sysctl_t console = {};
    console.u.readconsole.count = static_cast<std::uint32_t>(buffer.size());
    console.u.readconsole.buffer.p = reinterpret_cast<char*>(buffer.data());
    machine.Sysctl(XEN_SYSCTL_readconsole, console);
    ExpectNoSecrets(buffer, "the console");
  }
  // Of a log that has just begun no page is dirty.
  void ReadDirty(std::uint16_t id, std::vector<std::byte>& buffer) {
    xen_domctl_t op = {};
    op.u.shadow_op.op = XEN_DOMCTL_SHADOW_OP_OFF;
    Domctl(XEN_DOMCTL_shadow_op, id, op);
    op.u.shadow_op.op = XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY;
    if (!Domctl(XEN_DOMCTL_shadow_op, id, op)) return;
    std::fill(buffer.begin(), buffer.end(), std::byte{0});
    op.u.shadow_op.op = XEN_DOMCTL_SHADOW_OP_PEEK;
    op.u.shadow_op.pages = kMemoryGfns + kOtherGfns;
    op.u.shadow_op.dirty_bitmap.p = reinterpret_cast<std::uint8_t*>(buffer.data());
    if (!Domctl(XEN_DOMCTL_shadow_op, id, op)) return;
    Note("a dirty log");
    ASSERT_EQ(std::count(buffer.begin(), buffer.end(), std::byte{0}),
              static_cast<std::ptrdiff_t>(buffer.size()))
        << step << ": a page is dirty that nobody wrote to";
  }

  // Some steps while another call is under way, for which all waits that they give up.
  void InMidCall(std::uint16_t) {
    if (in_mid_call) return;
    in_mid_call = true;
    machine.meanwhile = [&] {
      for (unsigned i = 0; i < 6 && !HasFatalFailure(); ++i) Step();
      for (const auto& [index, serial] : std::exchange(left, {})) {
        EXPECT_STREQ(rows[index].claimed, "what waits") << step;
        EXPECT_TRUE(IsAll(Bytes(index), SecretOf(index, serial))) << step;
        Note("waited for a call");
      }
    };
    vcpu_runstate_info state = {};
    machine.hypervisor.Call(
        *other, machine.Frame(__HYPERVISOR_vcpu_op, VCPUOP_get_runstate_info, 1, &state));
    EXPECT_FALSE(machine.meanwhile);
    in_mid_call = false;
  }

  using Test = HypervisorZeroTest;
  struct KindOfStep {
    unsigned often;
    const char* name;
    void (Test::*run)(std::uint16_t id);
  };
  const KindOfStep& AnyStep() {
    static constexpr KindOfStep kSteps[] = {
        {6, "destroy", &Test::Destroy},
        {3, "destroy all", &Test::DestroyAll},
        {24, "populate", &Test::Populate},
        {8, "increase", &Test::Increase},
        {3, "take all", &Test::TakeAll},
        {6, "take large", &Test::TakeLarge},
        {30, "decrease", &Test::Decrease},
        {16, "exchange", &Test::Exchange},
        {6, "place", &Test::Place},
        {5, "unplace", &Test::Unplace},
        {4, "map", &Test::MapForeign},
        {4, "hold", &Test::Hold},
        {4, "release", &Test::Release},
        {6, "grants", &Test::Grants},
        {4, "paging pool", &Test::SizePool},
        {6, "region", &Test::Region},
        {4, "area", &Test::Area},
        {10, "ask", &Test::Ask},
        {4, "read back", &Test::ReadBack},
        {6, "in mid-call", &Test::InMidCall},
    };
    unsigned sum = 0;
    for (const KindOfStep& each : kSteps) sum += each.often;
    std::uint64_t at = random.Below(sum);
    const KindOfStep* step_kind = kSteps;
    for (; at >= step_kind->often; ++step_kind) at -= step_kind->often;
    return *step_kind;
  }
  void Step() {
    const std::uint16_t id = AnyDomain();
    order = 0;
    flags = 0;
    step = std::to_string(++steps);
    if (!IsThere(id)) {
      step += ", create";
      Create(id);
    } else if (IsDying(id)) {
      step += ", forget";
      Destroy(id);
      Release(id);
    } else {
      const KindOfStep& any = AnyStep();
      step += std::string(", ") + any.name;
      (this->*any.run)(id);
    }
    Look();
  }

  static constexpr const char* kPagingPool = "a paging pool";

  TestMachine machine{{.pool_bytes = (kLowPages + kHighPages) << kPageShift,
                       .pool_begin = kFirstFrame << kPageShift,
                       .pool_is_zero = GetParam().is_zero,
                       .pages = 64,
                       .preempt_interval = 256}};
  Vcpu* other = nullptr;
  Random random{20240917};
  CallMemory call_memory;

  Guest guests[kDomains + 1];
  unsigned serials[kDomains + 1] = {};  // of the domains that are there, or 0; none comes twice
  unsigned last_serial = 0;
  std::vector<FrameRow> rows;
  std::vector<unsigned> owners = std::vector<unsigned>(kLowPages + kHighPages);  // serials, or 0
  std::map<std::uint16_t, std::vector<std::size_t>> owned;  // by domain: indices of its memory
  std::vector<std::uint64_t> held;                          // mfns
  std::vector<std::pair<std::uint64_t, bool>> discarded;    // mfn, and whether it was, in this step

  unsigned steps = 0;
  std::string step;
  unsigned order = 0;       // of this step's extents
  std::uint32_t flags = 0;  // and where they may lie
  bool in_mid_call = false;
  // Given up since the call under way began, with the serials of their owners.
  std::vector<std::pair<std::size_t, unsigned>> left;
  std::map<std::string, unsigned> ways;
};

INSTANTIATE_TEST_SUITE_P(, HypervisorZeroTest,
                         testing::Values(Pool{"Dirty", false, Discards::kNever},
                                         Pool{"DirtyDiscarded", false, Discards::kAlways},
                                         Pool{"ZeroDiscardedAtRandom", true, Discards::kAtRandom}),
                         [](const auto& each) { return each.param.name; });

TEST_P(HypervisorZeroTest, WhateverWayItComes) {
  for (unsigned i = 0; i < 1400 && !HasFailure(); ++i) {
    Step();
    if (i % 16 == 0) LookAtAll();
    if (i % 64 == 0) machine.ExpectBooksAddUp();
  }
  if (HasFailure()) return;

  std::vector<std::string> wanted = {
      "nothing is left", "waits for memory", "waited for a call",
      // where a page was in the heap
      "whole", "split", "high", "low by width", "low at last", "the heap, cleared",
      "the heap, zero already", "the run at hand, zero already", "an open block, cleared",
      // and where it went
      "grew together", "zero beside what is not", "to the heap, to be cleared",
      "to what waits, to be cleared",
      // by which way
      "exchanged for larger ones", "exchanged for others", "exchanged for smaller ones",
      "given up: what a domain gave up", "a region", "an area", "asked", "a vcpu's context",
      "an HVM context", "a dirty log"};
  for (const char* what :
       {"a domain's memory", "shared info", "grants", "grants' status", kPagingPool}) {
    wanted.push_back(std::string("taken: ") + what);
    wanted.push_back(std::string("given up: ") + what);
  }
  for (const unsigned of_order : {0u, 1u, 2u, 3u, 4u, 5u, kLargeOrder}) {
    wanted.push_back("taken by order " + ClassOf(of_order));
    // Page by page, whatever the order.
    if (of_order != kLargeOrder) wanted.push_back("given up by order " + ClassOf(of_order));
  }
  if (GetParam().discards != Discards::kAlways) {
    wanted.insert(wanted.end(), {"taken, not discarded", "given up, not discarded"});
  }
  if (GetParam().discards != Discards::kNever) {
    wanted.insert(wanted.end(),
                  {"given up, discarded", "an open block, zero already", "to the heap, cleared"});
  }
  if (GetParam().discards == Discards::kAtRandom) wanted.push_back("taken, discarded");
  for (const std::string& way : wanted) EXPECT_NE(ways[way], 0u) << way << " did not occur";
}

}  // namespace
}  // namespace xencomm::hypervisor
