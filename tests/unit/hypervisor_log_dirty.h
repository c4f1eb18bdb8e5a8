// A guest whose writes are logged, and spaces in which something happens in the middle of a call.
#ifndef TESTS_UNIT_HYPERVISOR_LOG_DIRTY_H_
#define TESTS_UNIT_HYPERVISOR_LOG_DIRTY_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/hypervisor_machine.h"

namespace xencomm::hypervisor {

inline constexpr std::uint16_t kGuest = 6;
inline constexpr std::uint64_t kGuestPages = 600;
inline constexpr std::uint64_t kFar = 70000;  // in another block of marks, and another leaf
inline constexpr std::uint64_t kBitmapPages = 80000;

// A guest whose pointers are guest-physical. Something may happen once between the moment when
// bytes are mapped for writing and the moment when they are written.
class PhysicalSpace final : public Space {
 public:
  explicit PhysicalSpace(DomainMemory memory) : memory_(memory) {}

  void BeforeWrite(std::function<void()> action) { action_ = std::move(action); }

  Mapping Resolve(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length, Access access,
                  Cursor*) override {
    const Mapping run = memory_.Map({pointer.value + offset}, length, access);
    if (access == Access::kWrite && action_) std::exchange(action_, nullptr)();
    return run;
  }

 private:
  DomainMemory memory_;
  std::function<void()> action_;
};

// Memory of the process, but for an end from which on it faults, and an object that can only be
// read.
class EndingSpace final : public Space {
 public:
  const void* end = nullptr;
  const void* read_only = nullptr;

  Mapping Resolve(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length, Access access,
                  Cursor* cursor) override {
    if (IsBehind(pointer.value + offset + length)) return Fault::kNotPresent;
    if (IsRefused(pointer, access)) return Fault::kNotWritable;
    return direct_.Map(pointer, offset, length, access, cursor);
  }

 private:
  bool IsBehind(std::uint64_t address) const {
    const auto last = reinterpret_cast<std::uint64_t>(end);
    // Of the bitmap only: everything else lies elsewhere.
    return end != nullptr && address > last && address <= last + kBitmapPages / 8;
  }
  bool IsRefused(VirtualAddress pointer, Access access) const {
    return access == Access::kWrite && read_only != nullptr &&
           pointer.value == reinterpret_cast<std::uint64_t>(read_only);
  }

  DirectSpace direct_;
};

// Memory of the process, where something happens once before some of it is written.
class TellingSpace final : public Space {
 public:
  void BeforeWritingTo(const void* address, std::function<void()> action) {
    address_ = reinterpret_cast<std::uint64_t>(address);
    action_ = std::move(action);
  }

  Mapping Resolve(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length, Access access,
                  Cursor* cursor) override {
    Tell(pointer, access);
    return direct_.Map(pointer, offset, length, access, cursor);
  }

 private:
  void Tell(VirtualAddress pointer, Access access) {
    if (pointer.value != address_ || access != Access::kWrite || !action_) return;
    std::exchange(action_, nullptr)();
  }

  std::uint64_t address_ = 0;
  std::function<void()> action_;
  DirectSpace direct_;
};

class LogDirtyTest : public testing::Test {
 protected:
  explicit LogDirtyTest(const TestMachineOptions& options = {.pages = 64}) : machine(options) {}

  void SetUp() override {
    free_before = Books::StatisticsOf(machine.hypervisor).free_pages;
    ASSERT_EQ(machine.hypervisor.BuildDomain(
                  {.id = kGuest, .pages = kGuestPages, .vcpus = 2, .space = SpaceKind::kRaw}),
              0);
    for (unsigned i = 0; i < 2; ++i) {
      vcpus[i] = machine.hypervisor.ClaimVcpu(kGuest, i);
      ASSERT_NE(vcpus[i], nullptr);
      spaces[i] = std::make_unique<PhysicalSpace>(machine.hypervisor.MemoryOf(*vcpus[i]));
      machine.hypervisor.SetRawSpace(*vcpus[i], *spaces[i]);
    }
    Move(kGuestPages - 1, kFar);
  }
  void TearDown() override {
    EXPECT_EQ(machine.Domctl(XEN_DOMCTL_destroydomain, kGuest), 0);
    for (Vcpu* vcpu : vcpus) machine.hypervisor.ReleaseVcpu(*vcpu);
    // All but the leaf of the table of domains.
    EXPECT_EQ(Books::StatisticsOf(machine.hypervisor).free_pages, free_before);
  }

  void Move(std::uint64_t from, std::uint64_t to) {
    xen_add_to_physmap add = {
        .domid = kGuest, .size = 0, .space = XENMAPSPACE_gmfn, .idx = from, .gpfn = to};
    ASSERT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_add_to_physmap, &add), 0);
  }
  // A call that writes a time, which is always another, to this page.
  std::int64_t Write(std::uint64_t gfn, unsigned vcpu = 0) {
    return machine.hypervisor.Call(
        *vcpus[vcpu],
        machine.Frame(__HYPERVISOR_vcpu_op, VCPUOP_get_runstate_info, 0, gfn << kPageShift));
  }

  xen_domctl_t Request(std::uint32_t which, void* bitmap, std::uint64_t pages) {
    xen_domctl_t op = {};
    op.cmd = XEN_DOMCTL_shadow_op;
    op.interface_version = XEN_DOMCTL_INTERFACE_VERSION;
    op.domain = kGuest;
    op.u.shadow_op.op = which;
    op.u.shadow_op.pages = pages;
    op.u.shadow_op.dirty_bitmap.p = static_cast<std::uint8_t*>(bitmap);
    op.u.shadow_op.stats.dirty_count = 4711;
    return op;
  }
  std::int64_t Shadow(std::uint32_t which) {
    xen_domctl_t op = Request(which, nullptr, 0);
    return machine.Call(__HYPERVISOR_domctl, &op);
  }
  std::int64_t Enable() { return Shadow(XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY); }

  static std::vector<std::uint64_t> PagesIn(const std::vector<std::uint8_t>& bits) {
    std::vector<std::uint64_t> pages;
    for (std::uint64_t i = 0; i < bits.size() * 8; ++i) {
      if ((bits[i / 8] >> i % 8 & 1) != 0) pages.push_back(i);
    }
    return pages;
  }
  // The pages that a CLEAN or PEEK tells of.
  std::vector<std::uint64_t> Read(std::uint32_t which, std::uint64_t pages = kBitmapPages) {
    std::vector<std::uint8_t> bits((pages + 7) / 8, 0xff);
    xen_domctl_t op = Request(which, bits.data(), pages);
    EXPECT_EQ(machine.Call(__HYPERVISOR_domctl, &op), 0);
    EXPECT_EQ(op.u.shadow_op.stats.dirty_count, PagesIn(bits).size());
    return PagesIn(bits);
  }
  std::vector<std::uint64_t> Clean() { return Read(XEN_DOMCTL_SHADOW_OP_CLEAN); }

  using Pages = std::vector<std::uint64_t>;
  static Pages AllPages() {
    Pages all;
    for (std::uint64_t i = 0; i < kGuestPages - 1; ++i) all.push_back(i);
    all.push_back(kFar);
    return all;
  }

  TestMachine machine;
  std::uint64_t free_before = 0;
  Vcpu* vcpus[2] = {};
  std::unique_ptr<PhysicalSpace> spaces[2];
};

}  // namespace xencomm::hypervisor

#endif  // TESTS_UNIT_HYPERVISOR_LOG_DIRTY_H_
