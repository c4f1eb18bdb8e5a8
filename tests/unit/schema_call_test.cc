// Whole calls: bounced, described for the historical ABI, and turned into the other byte order.
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "gtest/gtest.h"
#include "hcall/schema/bounced_call.h"
#include "hcall/schema/described_call.h"
#include "hcall/schema/swapped_call.h"
#include "hcall/schema/xen.h"
#include "xencomm/descriptor.h"

namespace xencomm::schema {
namespace {

constexpr ByteOrder kOther = Opposite(kNativeOrder);

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
  bounced.CopyBack();

  EXPECT_EQ(infos[1].domain, 77);
  EXPECT_EQ(sysctl.u.getdomaininfolist.num_domains, 2u);
  EXPECT_EQ(sysctl.u.getdomaininfolist.first_domain, 3);
  EXPECT_EQ(sysctl.u.getdomaininfolist.buffer.p, infos.data());
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
  bounced.CopyBack();
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
  bounced.CopyBack();
  EXPECT_EQ(entry.result, 2u);
  EXPECT_EQ(entry.args[1], Address(&reservation));
  EXPECT_EQ(frames[1], 22u);
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
  bounced.CopyBack();
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
    DescribedCall described(call, kNativeOrder, memory, 1, DescribedCall::Form::kInline);
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

TEST(SwappedCall, TurnsACallWithItsBuffersAndBack) {
  std::array<xen_processor_cx, 1> states = {};
  std::array<xen_processor_csd, 1> dependencies = {{{0x01020304, 0, 0}}};
  xen_platform_op op = {};
  op.cmd = XENPF_set_processor_pminfo;
  op.interface_version = XENPF_INTERFACE_VERSION;
  op.u.set_pminfo.type = XEN_PM_CX;
  op.u.set_pminfo.u.power.count = 1;
  set_xen_guest_handle(op.u.set_pminfo.u.power.states, states.data());
  states[0].dpcnt = 1;
  set_xen_guest_handle(states[0].dp, dependencies.data());
  const xen_platform_op before = op;
  {
    SwappedCall swapped({.hypercall = __HYPERVISOR_platform_op, .registers = {Address(&op)}},
                        kNativeOrder);
    ASSERT_TRUE(swapped.finding().ok());
    EXPECT_EQ(op.u.set_pminfo.u.power.count, 0x01000000u);
    EXPECT_EQ(states[0].dpcnt, 0x01000000u);
    EXPECT_EQ(dependencies[0].domain, 0x04030201u);
  }
  EXPECT_EQ(std::memcmp(&op, &before, sizeof(op)), 0);
  EXPECT_EQ(states[0].dpcnt, 1u);
  EXPECT_EQ(dependencies[0].domain, 0x01020304u);
}

TEST(SwappedCall, TurnsResultsThatMeanSomethingElseThanTheArgument) {
  xen_sysctl sysctl = {};
  sysctl.u.psr_cmt_op.cmd = XEN_SYSCTL_PSR_CMT_get_l3_cache_size;
  sysctl.u.psr_cmt_op.u.l3_cache.cpu = 2;
  {
    SwappedCall swapped(Sysctl(sysctl, XEN_SYSCTL_psr_cmt_op), kNativeOrder);
    ASSERT_TRUE(swapped.finding().ok());
    EXPECT_EQ(sysctl.u.psr_cmt_op.u.l3_cache.cpu, 0x02000000u);
    sysctl.u.psr_cmt_op.u.data =
        __builtin_bswap64(0x1122334455667788);  // as the other order has it
  }
  EXPECT_EQ(sysctl.u.psr_cmt_op.u.data, 0x1122334455667788u);
}

}  // namespace
}  // namespace xencomm::schema
