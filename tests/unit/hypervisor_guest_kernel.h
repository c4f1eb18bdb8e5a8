// The kernel of a test machine's domain 0, as far as regions need one.

#ifndef TESTS_UNIT_HYPERVISOR_GUEST_KERNEL_H_
#define TESTS_UNIT_HYPERVISOR_GUEST_KERNEL_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/hypervisor_machine.h"
#include "xencomm/hypercall.h"
#include "xencomm/region_table.h"

namespace xencomm::hypervisor {

inline constexpr std::uint64_t kBase = 0x7f0000000000;

// A guest's kernel: writes tables into domain 0's memory and calls with a region handle. Payload
// granule i is backed by gfn kFirstPayload + reversed order, so that nothing is where it seems.
class GuestKernel {
 public:
  static constexpr std::uint64_t kTableGfn = 8;
  static constexpr std::uint64_t kFirstPayload = 64;

  GuestKernel(TestMachine& machine, ByteOrder order, std::uint64_t granules)
      : machine_(machine),
        memory_(machine.hypervisor.LockedMemoryOf(*machine.vcpu)),
        order_(order),
        granules_(granules) {
    const auto layout = RegionLayout::Make({kBase}, granules << 12, 12);
    std::vector<PhysicalAddress> table;
    for (std::uint64_t i = 0; i < layout->table_granules(); ++i) {
      table.push_back({(kTableGfn + i) << 12});
    }
    auto built = RegionTable<LockedMemory>::Build(memory_, *layout, order, table);
    EXPECT_TRUE(built.ok());
    header_ = built->handle();
    for (std::uint64_t i = layout->table_granules(); i < granules; ++i) {
      EXPECT_TRUE(built->Back(i, GranulePlace(i)).ok());
    }
    table_ = std::make_unique<RegionTable<LockedMemory>>(*built);
  }

  PhysicalAddress GranulePlace(std::uint64_t granule) const {
    return {(kFirstPayload + granules_ - granule) << 12};
  }

  std::int64_t Register(std::uint64_t access) {
    const std::int64_t handle =
        machine_.Call(kXencommOp, XencommOp::kRegister, header_.value, access);
    if (handle > 0) handle_ = static_cast<std::uint64_t>(handle);
    return handle;
  }
  std::int64_t Extend(std::uint64_t first, std::uint64_t count,
                      GranuleUse use = GranuleUse::kAnyPointer) {
    return machine_.Call(kXencommOp, XencommOp::kExtend, handle_, first, count, use);
  }
  std::int64_t Unregister() { return machine_.Call(kXencommOp, XencommOp::kUnregister, handle_); }
  // As if granules from `first` on had not been backed yet: Back backs them again.
  void Unback(std::uint64_t first) {
    for (std::uint64_t i = first; i < granules_; ++i) {
      *reinterpret_cast<std::uint64_t*>(
          memory_.Map(header_ + BaseOffset(i), sizeof(std::uint64_t), Access::kWrite).start()) =
          kNotBackedBase;
    }
  }
  void Back(std::uint64_t granule) {
    EXPECT_TRUE(table_->Back(granule, GranulePlace(granule)).ok());
  }
  void UseStateless() { handle_ = header_.value; }

  // The guest's bytes at `offset` into the region.
  void Write(std::uint64_t offset, const void* from, std::size_t bytes) {
    for (std::size_t i = 0; i < bytes; ++i)
      *At(offset + i) = static_cast<const std::byte*>(from)[i];
  }
  void Read(std::uint64_t offset, void* to, std::size_t bytes) {
    for (std::size_t i = 0; i < bytes; ++i) static_cast<std::byte*>(to)[i] = *At(offset + i);
  }
  std::byte* At(std::uint64_t offset) {
    return memory_.Map(GranulePlace(offset >> 12) + (offset & 0xfff), 1, Access::kWrite).start();
  }

  template <class... Arguments>
  std::int64_t Call(std::uint64_t index, Arguments... arguments) {
    HypercallFrame frame = machine_.Frame(index, arguments...);
    frame.region = handle_;
    return machine_.Called(machine_.hypervisor.Call(*machine_.vcpu, frame));
  }

  const RegionLayout& layout() const { return table_->layout(); }
  LockedMemory& memory() { return memory_; }
  RegionTable<LockedMemory>& table() { return *table_; }
  PhysicalAddress header() const { return header_; }
  std::uint64_t handle() const { return handle_; }

 private:
  TestMachine& machine_;
  LockedMemory memory_;
  ByteOrder order_;
  std::uint64_t granules_;
  PhysicalAddress header_;
  std::uint64_t handle_ = 0;
  std::unique_ptr<RegionTable<LockedMemory>> table_;
};

}  // namespace xencomm::hypervisor

#endif  // TESTS_UNIT_HYPERVISOR_GUEST_KERNEL_H_
