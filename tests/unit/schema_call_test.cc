// Whole calls: bounced, and described for the historical ABI.
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "gtest/gtest.h"
#include "hcall/schema/generated/xen.h"
#include "hcall/schema/words.h"
#include "hcall/transport/bounced_call.h"
#include "hcall/transport/embedded/described_call.h"
#include "xencomm/descriptor.h"

namespace xencomm::schema {
namespace {

std::uint64_t Address(const void* pointer) { return reinterpret_cast<std::uint64_t>(pointer); }

Call Sysctl(xen_sysctl& sysctl, std::uint32_t cmd) {
  sysctl.cmd = cmd;
  sysctl.interface_version = XEN_SYSCTL_INTERFACE_VERSION;
  return {.hypercall = __HYPERVISOR_sysctl, .registers = {Address(&sysctl)}};
}

class Heap final : public BounceMemory {
 public:
  explicit Heap(unsigned allocations = ~0u) : left_(allocations) {}
  ~Heap() override { EXPECT_EQ(live_, 0); }

  std::byte* Allocate(std::uint64_t bytes) override {
    if (left_ == 0) return nullptr;
    --left_;
    ++live_;
    return static_cast<std::byte*>(std::malloc(bytes));
  }
  void Free(std::byte* memory) override {
    --live_;
    std::free(memory);
  }

 private:
  unsigned left_;
  int live_ = 0;
};

TEST(BouncedCall, CopiesInAndOutByDirection) {
  std::vector<xen_domctl_getdomaininfo> infos(4);
  xen_sysctl sysctl = {};
  sysctl.u.getdomaininfolist.first_domain = 3;
  sysctl.u.getdomaininfolist.max_domains = 4;
  set_xen_guest_handle(sysctl.u.getdomaininfolist.buffer, infos.data());
  Heap heap;
  BouncedCall bounced(Sysctl(sysctl, XEN_SYSCTL_getdomaininfolist), kNativeOrder, heap);
  ASSERT_TRUE(bounced.ok());

  auto* copy = reinterpret_cast<xen_sysctl*>(bounced.call().registers[0]);
  ASSERT_NE(copy, &sysctl);
  EXPECT_EQ(copy->u.getdomaininfolist.first_domain, 3);
  ASSERT_NE(copy->u.getdomaininfolist.buffer.p, infos.data());
  copy->u.getdomaininfolist.buffer.p[1].domain = 77;
  copy->u.getdomaininfolist.num_domains = 2;
  copy->u.getdomaininfolist.first_domain = 99;   // not the hypervisor's to change
  copy->u.getdomaininfolist.buffer.p = nullptr;  // nor this
  bounced.CopyBack(0);

  EXPECT_EQ(infos[1].domain, 77);
  EXPECT_EQ(sysctl.u.getdomaininfolist.num_domains, 2u);
  EXPECT_EQ(sysctl.u.getdomaininfolist.first_domain, 3);
  EXPECT_EQ(sysctl.u.getdomaininfolist.buffer.p, infos.data());
}

// As in place: what lies behind the filled elements stays the program's.
TEST(BouncedCall, CopiesBackWhatTheCallFilled) {
  struct {
    std::uint32_t num_domains;
    std::int64_t result;
    unsigned copied;
  } const kCases[] = {
      {0, 0, 0},       {3, 0, 3}, {4, 0, 4}, {~0u, 0, 4},  // more than there was room for
      {1, -EFAULT, 4},  // a failed call may have written anything
  };
  for (const auto& each : kCases) {
    std::vector<xen_domctl_getdomaininfo> infos(4);
    xen_sysctl sysctl = {};
    sysctl.u.getdomaininfolist.max_domains = 4;
    set_xen_guest_handle(sysctl.u.getdomaininfolist.buffer, infos.data());
    Heap heap;
    BouncedCall bounced(Sysctl(sysctl, XEN_SYSCTL_getdomaininfolist), kNativeOrder, heap);
    ASSERT_TRUE(bounced.ok());
    auto& list = reinterpret_cast<xen_sysctl*>(bounced.call().registers[0])->u.getdomaininfolist;
    list.num_domains = each.num_domains;
    for (unsigned i = 0; i < 4; ++i) {
      list.buffer.p[i].domain = 7;
      infos[i].domain = 5;  // by another thread, meanwhile
    }
    bounced.CopyBack(each.result);
    for (unsigned i = 0; i < 4; ++i) EXPECT_EQ(infos[i].domain, i < each.copied ? 7 : 5) << i;
  }
}

TEST(BouncedCall, LeavesInputsAlone) {
  std::array<std::uint64_t, 2> frames = {1, 2};
  xen_memory_reservation reservation = {};
  reservation.nr_extents = 2;
  set_xen_guest_handle(reservation.extent_start, frames.data());
  Heap heap;
  BouncedCall bounced({.hypercall = __HYPERVISOR_memory_op,
                       .registers = {XENMEM_decrease_reservation, Address(&reservation)}},
                      kNativeOrder, heap);
  ASSERT_TRUE(bounced.ok());
  reinterpret_cast<xen_memory_reservation*>(bounced.call().registers[1])->extent_start.p[0] = 9;
  bounced.CopyBack(2);
  EXPECT_EQ(frames[0], 1u);
}

TEST(BouncedCall, GivesEntriesOfAMulticallTheirPointersBack) {
  std::array<std::uint64_t, 2> frames = {1, 2};
  xen_memory_reservation reservation = {};
  reservation.nr_extents = 2;
  set_xen_guest_handle(reservation.extent_start, frames.data());
  multicall_entry entry = {
      __HYPERVISOR_memory_op, 0, {XENMEM_populate_physmap, Address(&reservation)}};
  Heap heap;
  BouncedCall bounced({.hypercall = __HYPERVISOR_multicall, .registers = {Address(&entry), 1}},
                      kNativeOrder, heap);
  ASSERT_TRUE(bounced.ok());
  auto* copy = reinterpret_cast<multicall_entry*>(bounced.call().registers[0]);
  ASSERT_NE(copy->args[1], Address(&reservation));
  reinterpret_cast<xen_memory_reservation*>(copy->args[1])->extent_start.p[1] = 22;
  copy->result = 2;
  bounced.CopyBack(0);
  EXPECT_EQ(entry.result, 2u);
  EXPECT_EQ(entry.args[1], Address(&reservation));
  EXPECT_EQ(frames[1], 22u);
}

TEST(BouncedCall, CopiesBackWhatACallOfAListFilled) {
  struct {
    std::uint64_t entry;
    std::int64_t list;
    std::array<std::uint64_t, 2> frames;
  } const kCases[] = {
      {1, 0, {11, 2}},
      {static_cast<std::uint64_t>(-ENOMEM), 0, {11, 22}},
      {1, -EFAULT, {11, 22}},  // what the entry says may be of before
  };
  for (const auto& each : kCases) {
    std::array<std::uint64_t, 2> frames = {1, 2};
    xen_memory_reservation reservation = {};
    reservation.nr_extents = 2;
    set_xen_guest_handle(reservation.extent_start, frames.data());
    multicall_entry entry = {
        __HYPERVISOR_memory_op, 0, {XENMEM_populate_physmap, Address(&reservation)}};
    Heap heap;
    BouncedCall bounced({.hypercall = __HYPERVISOR_multicall, .registers = {Address(&entry), 1}},
                        kNativeOrder, heap);
    ASSERT_TRUE(bounced.ok());
    auto* copy = reinterpret_cast<multicall_entry*>(bounced.call().registers[0]);
    auto* extents = reinterpret_cast<xen_memory_reservation*>(copy->args[1])->extent_start.p;
    extents[0] = 11;
    extents[1] = 22;
    copy->result = each.entry;
    bounced.CopyBack(each.list);
    EXPECT_EQ(frames, each.frames);
  }
}

TEST(BouncedCall, KeepsTheEndOfAStructureWithIt) {
  struct {
    std::uint32_t len = 20;
    unsigned char buf[20] = {};
  } build_id;
  Heap heap;
  BouncedCall bounced(
      {.hypercall = __HYPERVISOR_xen_version, .registers = {XENVER_build_id, Address(&build_id)}},
      kNativeOrder, heap);
  ASSERT_TRUE(bounced.ok());
  reinterpret_cast<xen_build_id*>(bounced.call().registers[1])->buf[19] = 0xab;
  bounced.CopyBack(20);
  EXPECT_EQ(build_id.buf[19], 0xab);
}

TEST(BouncedCall, FreesAllWhenMemoryRunsOut) {
  std::array<char, 8> text = {};
  xen_sysctl sysctl = {};
  sysctl.u.readconsole.count = text.size();
  set_xen_guest_handle(sysctl.u.readconsole.buffer, text.data());
  Heap heap(1);
  BouncedCall bounced(Sysctl(sysctl, XEN_SYSCTL_readconsole), kNativeOrder, heap);
  EXPECT_TRUE(bounced.out_of_memory());
  EXPECT_EQ(sysctl.u.readconsole.buffer.p, text.data());
}

TEST(BouncedCall, ReportsWhatTheWalkFound) {
  xen_sysctl sysctl = {};
  Heap heap;
  BouncedCall bounced(Sysctl(sysctl, 999), kNativeOrder, heap);
  EXPECT_EQ(bounced.finding().problem, Problem::kUnknownOp);
}

// Two lists of one op in a row of three numbers that they share the middle one of.
struct SharedFrames {
  std::array<std::uint64_t, 3> frames = {1, 2, 3};
  std::array<int, 2> errors = {};
  xen_add_to_physmap_batch batch = {};

  SharedFrames() {
    batch.size = 2;
    set_xen_guest_handle(batch.idxs, frames.data());
    set_xen_guest_handle(batch.gpfns, frames.data() + 1);
    set_xen_guest_handle(batch.errs, errors.data());
  }
  Call call() {
    return {.hypercall = __HYPERVISOR_memory_op,
            .registers = {XENMEM_add_to_physmap_batch, Address(&batch)}};
  }
};

// Two calls of a multicall with one argument.
struct SharedArgument {
  std::array<std::uint64_t, 2> frames = {1, 2};
  xen_memory_reservation reservation = {};
  std::array<multicall_entry, 2> entries = {};

  SharedArgument() {
    reservation.nr_extents = 2;
    set_xen_guest_handle(reservation.extent_start, frames.data());
    entries[0] = {__HYPERVISOR_memory_op, 0, {XENMEM_decrease_reservation, Address(&reservation)}};
    entries[1] = {__HYPERVISOR_memory_op, 0, {XENMEM_populate_physmap, Address(&reservation)}};
  }
  Call call() {
    return {.hypercall = __HYPERVISOR_multicall, .registers = {Address(entries.data()), 2}};
  }
};

// A call whose buffer of bytes lies over the pointer to it.
Call OverItself(xen_sysctl& sysctl) {
  sysctl.u.readconsole.count = sizeof(sysctl);
  set_xen_guest_handle(sysctl.u.readconsole.buffer, reinterpret_cast<char*>(&sysctl));
  return Sysctl(sysctl, XEN_SYSCTL_readconsole);
}

TEST(BouncedCall, CopiesWhatBuffersShareOnce) {
  SharedFrames shared;
  Heap heap;
  BouncedCall bounced(shared.call(), kNativeOrder, heap);
  ASSERT_TRUE(bounced.ok());
  auto* copy = reinterpret_cast<xen_add_to_physmap_batch*>(bounced.call().registers[1]);
  EXPECT_EQ(copy->gpfns.p, copy->idxs.p + 1);
  copy->gpfns.p[0] = 22;
  EXPECT_EQ(copy->idxs.p[1], 22u);
}

// Two bitmaps of which the last byte of one is the first of the other.
xen_domctl OverlappingBitmaps(std::array<std::uint8_t, 3>& bits) {
  xen_domctl domctl = {};
  domctl.cmd = XEN_DOMCTL_setvcpuaffinity;
  domctl.interface_version = XEN_DOMCTL_INTERFACE_VERSION;
  xen_domctl_vcpuaffinity& affinity = domctl.u.vcpuaffinity;
  affinity.flags = XEN_VCPUAFFINITY_HARD | XEN_VCPUAFFINITY_SOFT;
  affinity.cpumap_hard.nr_bits = affinity.cpumap_soft.nr_bits = 16;
  set_xen_guest_handle(affinity.cpumap_hard.bitmap, bits.data());
  set_xen_guest_handle(affinity.cpumap_soft.bitmap, bits.data() + 1);
  return domctl;
}

TEST(BouncedCall, CopiesASharedByteOnce) {
  std::array<std::uint8_t, 3> bits = {1, 2, 3};
  xen_domctl domctl = OverlappingBitmaps(bits);
  Heap heap;
  BouncedCall bounced({.hypercall = __HYPERVISOR_domctl, .registers = {Address(&domctl)}},
                      kNativeOrder, heap);
  ASSERT_TRUE(bounced.ok());
  const auto& copy = reinterpret_cast<xen_domctl*>(bounced.call().registers[0])->u.vcpuaffinity;
  EXPECT_EQ(copy.cpumap_soft.bitmap.p, copy.cpumap_hard.bitmap.p + 1);
}

// Both lists are written: neither comes back over the other as it was before.
TEST(BouncedCall, CopiesBackWhatWasWrittenThroughEitherPointer) {
  std::array<std::uint64_t, 3> nanoseconds = {1, 2, 3};
  xen_sysctl sysctl = {};
  sysctl.u.get_pmstat.type = PMSTAT_get_cxstat;
  sysctl.u.get_pmstat.u.getcx.nr = 2;
  set_xen_guest_handle(sysctl.u.get_pmstat.u.getcx.triggers, nanoseconds.data());
  set_xen_guest_handle(sysctl.u.get_pmstat.u.getcx.residencies, nanoseconds.data() + 1);
  Heap heap;
  BouncedCall bounced(Sysctl(sysctl, XEN_SYSCTL_get_pmstat), kNativeOrder, heap);
  ASSERT_TRUE(bounced.ok());
  auto& copy = reinterpret_cast<xen_sysctl*>(bounced.call().registers[0])->u.get_pmstat.u.getcx;
  copy.residencies.p[1] = 33;
  copy.triggers.p[1] = 22;
  bounced.CopyBack(0);
  EXPECT_EQ(nanoseconds, (std::array<std::uint64_t, 3>{1, 22, 33}));
}

TEST(BouncedCall, GivesAnArgumentOfTwoCallsItsPointersBack) {
  SharedArgument shared;
  Heap heap;
  BouncedCall bounced(shared.call(), kNativeOrder, heap);
  ASSERT_TRUE(bounced.ok());
  auto* copy = reinterpret_cast<multicall_entry*>(bounced.call().registers[0]);
  EXPECT_EQ(copy[0].args[1], copy[1].args[1]);
  auto* reservation = reinterpret_cast<xen_memory_reservation*>(copy[0].args[1]);
  ASSERT_NE(reservation->extent_start.p, shared.frames.data());
  reservation->extent_start.p[0] = 11;
  copy[1].result = 1;
  bounced.CopyBack(0);
  EXPECT_EQ(reservation->extent_start.p, shared.frames.data());
  EXPECT_EQ(shared.frames[0], 11u);
  EXPECT_EQ(shared.entries[0].args[1], Address(&shared.reservation));
  EXPECT_EQ(shared.entries[1].args[1], Address(&shared.reservation));
}

TEST(BouncedCall, RefusesAPointerInAnotherBuffersData) {
  xen_sysctl sysctl = {};
  Heap heap;
  BouncedCall bounced(OverItself(sysctl), kNativeOrder, heap);
  EXPECT_EQ(bounced.finding().problem, Problem::kOverlap);
  EXPECT_STREQ(schema::WordsOf(*bounced.finding().op).name, "readconsole");
}

// The process's addresses are the guest-physical ones, but for one page that has none.
class Identity final : public PhysicalMemory {
 public:
  bool Find(const std::byte* address, PhysicalAddress* physical) override {
    physical->value = Address(address) + (Address(address) >> 12 == moved_ ? distance_ : 0);
    return Address(address) >> 12 != missing_;
  }
  std::byte* Allocate(std::uint64_t bytes) override {
    blocks_.push_back(std::make_unique<std::uint64_t[]>((bytes + 7) / 8));
    return reinterpret_cast<std::byte*>(blocks_.back().get());
  }
  void Miss(const void* address) { missing_ = Address(address) >> 12; }
  void Move(const void* address, std::uint64_t distance) {
    moved_ = Address(address) >> 12;
    distance_ = distance;
  }

 private:
  std::vector<std::unique_ptr<std::uint64_t[]>> blocks_;
  std::uint64_t missing_ = 0;
  std::uint64_t moved_ = 0;
  std::uint64_t distance_ = 0;
};

TEST(DescribedCall, DescribesEachBufferAndPutsPointersBack) {
  alignas(4096) static std::array<char, 3 * 4096> text;
  xen_sysctl sysctl = {};
  sysctl.u.readconsole.count = 2 * 4096;
  set_xen_guest_handle(sysctl.u.readconsole.buffer, text.data() + 100);
  const Call call = Sysctl(sysctl, XEN_SYSCTL_readconsole);
  Identity memory;
  {
    DescribedCall described(call, kNativeOrder, memory);
    ASSERT_EQ(described.outcome(), DescribedCall::Outcome::kDescribed);
    EXPECT_NE(described.call().registers[0], call.registers[0]);
    const auto* descriptor = reinterpret_cast<const std::byte*>(sysctl.u.readconsole.buffer.p);
    EXPECT_EQ(LoadField<std::uint32_t>(descriptor, kNativeOrder), kDescriptorMagic);
    ASSERT_EQ(LoadField<std::uint32_t>(descriptor + 4, kNativeOrder), 3u);
    EXPECT_EQ(LoadField<std::uint64_t>(descriptor + 8, kNativeOrder), Address(text.data() + 100));
    EXPECT_EQ(LoadField<std::uint64_t>(descriptor + 16, kNativeOrder), Address(text.data() + 4096));
  }
  EXPECT_EQ(sysctl.u.readconsole.buffer.p, text.data() + 100);
}

TEST(DescribedCall, NamesWhatLiesInOnePieceInline) {
  alignas(4096) static std::array<char, 3 * 4096> text;
  xen_sysctl sysctl = {};
  sysctl.u.readconsole.count = 2 * 4096;
  set_xen_guest_handle(sysctl.u.readconsole.buffer, text.data() + 100);
  const Call call = Sysctl(sysctl, XEN_SYSCTL_readconsole);
  Identity memory;
  const std::uint64_t inline_text = Address(text.data() + 100) | kInlineFlag;
  const auto describe = [&](auto check) {
    DescribedCall described(call, kNativeOrder, memory, 1, DescribedCall::Inline::kWherePossible);
    ASSERT_EQ(described.outcome(), DescribedCall::Outcome::kDescribed);
    EXPECT_EQ(described.call().registers[0], call.registers[0] | kInlineFlag);
    check(Address(sysctl.u.readconsole.buffer.p));
  };
  describe([&](std::uint64_t pointer) { EXPECT_EQ(pointer, inline_text); });
  // The last of its pages lies elsewhere.
  memory.Move(text.data() + 2 * 4096, 1 << 20);
  describe([&](std::uint64_t pointer) {
    ASSERT_EQ(pointer & kInlineFlag, 0u);
    const auto* descriptor = reinterpret_cast<const std::byte*>(pointer);
    EXPECT_EQ(LoadField<std::uint32_t>(descriptor, kNativeOrder), kDescriptorMagic);
    EXPECT_EQ(LoadField<std::uint64_t>(descriptor + 24, kNativeOrder),
              Address(text.data() + 2 * 4096) + (1 << 20));
  });
  EXPECT_EQ(sysctl.u.readconsole.buffer.p, text.data() + 100);
}

TEST(DescribedCall, PutsPointersBackWhenAPageHasNoAddress) {
  alignas(4096) static std::array<char, 2 * 4096> text;
  alignas(4096) static std::array<xen_processor_cx, 1> states;
  xen_platform_op op = {};
  op.cmd = XENPF_set_processor_pminfo;
  op.interface_version = XENPF_INTERFACE_VERSION;
  op.u.set_pminfo.type = XEN_PM_CX;
  op.u.set_pminfo.u.power.count = 1;
  set_xen_guest_handle(op.u.set_pminfo.u.power.states, states.data());
  states[0].dpcnt = 1;
  // The second level cannot be described when the first one is already.
  states[0].dp.p = reinterpret_cast<xen_processor_csd*>(text.data() + 4096);
  Identity memory;
  memory.Miss(text.data() + 4096);
  DescribedCall described({.hypercall = __HYPERVISOR_platform_op, .registers = {Address(&op)}},
                          kNativeOrder, memory);
  EXPECT_EQ(described.outcome(), DescribedCall::Outcome::kNotBacked);
  EXPECT_EQ(op.u.set_pminfo.u.power.states.p, states.data());
}

TEST(DescribedCall, PutsAnArgumentsPointersBackThatTwoCallsLeadTo) {
  SharedArgument shared;
  Identity memory;
  {
    DescribedCall described(shared.call(), kNativeOrder, memory);
    ASSERT_EQ(described.outcome(), DescribedCall::Outcome::kDescribed);
    EXPECT_NE(shared.reservation.extent_start.p, shared.frames.data());
  }
  EXPECT_EQ(shared.reservation.extent_start.p, shared.frames.data());
  EXPECT_EQ(shared.entries[1].args[1], Address(&shared.reservation));
}

TEST(DescribedCall, RefusesAPointerInAnotherBuffersData) {
  xen_sysctl sysctl = {};
  const Call call = OverItself(sysctl);
  Identity memory;
  DescribedCall described(call, kNativeOrder, memory);
  EXPECT_EQ(described.outcome(), DescribedCall::Outcome::kNotWalked);
  EXPECT_EQ(Address(sysctl.u.readconsole.buffer.p), Address(&sysctl));
}

}  // namespace
}  // namespace xencomm::schema
