// Ends of memory: structures, buffers and bitmaps that end where a granule, a frame, the domain's
// memory or all addresses end.

#include <algorithm>
#include <cstring>
#include <ostream>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "hcall/hypervisor/calls/bitmap.h"
#include "tests/unit/hypervisor_machine.h"
#include "xencomm/descriptor.h"
#include "xencomm/region_table.h"

namespace xencomm::hypervisor {
namespace {

constexpr std::uint64_t kAll64 = ~std::uint64_t{0};

// Memory that ends after so many bytes.
class ShortSpace final : public Space {
 public:
  explicit ShortSpace(std::span<std::uint8_t> bytes) : bytes_(bytes) {}
  Mapping Resolve(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length, Access access,
                  Cursor* cursor) override {
    auto* const at = reinterpret_cast<std::uint8_t*>(pointer.value + offset);
    const bool is_there = at >= bytes_.data() && at + length <= bytes_.data() + bytes_.size();
    return is_there ? direct_.Map(pointer, offset, length, access, cursor) : Fault::kNotPresent;
  }

 private:
  std::span<std::uint8_t> bytes_;
  DirectSpace direct_;
};

constexpr std::uint32_t kSomeBits[] = {
    0, 1, 7, 8, 9, 15, 16, 17, 63, 64, 65, 70, 71, 254, 255, 256, 257, 300, ~std::uint32_t{0}};

// Of a bitmap no more bytes are looked at than have bits that both sides know.
TEST(HypervisorBitmapTest, IsReadUpToTheLastBitThatThereIs) {
  for (const unsigned cpus : {1u, 7u, 8u, 9u, 16u, 17u, 255u, kMaxCpus}) {
    for (const std::uint32_t bits : kSomeBits) {
      SCOPED_TRACE(testing::Message() << bits << " bits of " << cpus << " processors");
      const std::uint32_t known = std::min<std::uint32_t>(bits, cpus);
      for (const unsigned pattern : {0xffu, 0xa5u, 0x5au, 0x01u, 0x80u}) {
        // No byte is as the one before it.
        const auto byte = [&](std::uint64_t i) {
          return static_cast<std::uint8_t>(pattern + i * 0x3b);
        };
        std::vector<std::uint8_t> bytes((known + 7) / 8);
        for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = byte(i);
        ShortSpace space(bytes);
        const GuestHandle<const std::uint8_t> map(
            space, {reinterpret_cast<std::uintptr_t>(bytes.data())}, (std::uint64_t{bits} + 7) / 8);
        CpuMask mask = CpuMask::All();
        ASSERT_TRUE(ReadCpus(map, bits, cpus, &mask));
        for (unsigned cpu = 0; cpu < kMaxCpus + 8; ++cpu) {
          ASSERT_EQ(mask.Has(cpu), cpu < known && (byte(cpu / 8) >> cpu % 8 & 1) != 0) << cpu;
        }
        // Without the last byte it is none.
        if (bytes.empty()) continue;
        ShortSpace shorter{std::span(bytes).first(bytes.size() - 1)};
        EXPECT_FALSE(ReadCpus(GuestHandle<const std::uint8_t>(shorter, map.address(), map.count()),
                              bits, cpus, &mask));
      }
    }
  }
}

// All of what the guest has is written, with zeroes behind the last processor.
TEST(HypervisorBitmapTest, IsWrittenUpToItsEnd) {
  CpuMask mask;
  for (unsigned cpu = 0; cpu < kMaxCpus; cpu += 1 + cpu % 3) mask.Set(cpu);
  for (const unsigned cpus : {1u, 7u, 8u, 9u, 16u, 17u, 255u, kMaxCpus}) {
    for (std::uint64_t size = 0; size < kMaxCpus / 8 + 3; ++size) {
      SCOPED_TRACE(testing::Message() << size << " bytes for " << cpus << " processors");
      std::vector<std::uint8_t> bytes(size, 0xee);
      ShortSpace space(bytes);
      const GuestHandle<std::uint8_t> map(space, {reinterpret_cast<std::uintptr_t>(bytes.data())},
                                          size);
      ASSERT_TRUE(WriteCpus(map, mask, cpus));
      for (unsigned bit = 0; bit < size * 8; ++bit) {
        ASSERT_EQ((bytes[bit / 8] >> bit % 8 & 1) != 0, bit < cpus && mask.Has(bit)) << bit;
      }
      for (std::uint64_t shorter = 0; shorter < size; ++shorter) {
        ShortSpace cut{std::span(bytes).first(shorter)};
        EXPECT_FALSE(WriteCpus(GuestHandle<std::uint8_t>(cut, map.address(), size), mask, cpus));
      }
    }
  }
}

// A region whose last byte is the last of all addresses.
struct Shape {
  const char* name;
  unsigned granule_shift;
  bool is_registered;
  ByteOrder order;
};
void PrintTo(const Shape& shape, std::ostream* out) { *out << shape.name; }

class HypervisorLastBytesTest : public testing::TestWithParam<Shape> {
 protected:
  static constexpr PhysicalAddress kTable{std::uint64_t{2} << 20};
  static constexpr PhysicalAddress kPayload{std::uint64_t{4} << 20};

  void SetUp() override {
    for (const std::uint16_t id : {std::uint16_t{1}, std::uint16_t{2}}) {
      ASSERT_EQ(machine.hypervisor.BuildDomain({.id = id}), 0);
    }
    const auto layout =
        RegionLayout::Make({0 - 2 * granule}, 2 * granule, GetParam().granule_shift);
    const PhysicalAddress table[] = {kTable};
    const auto built = RegionTable<LockedMemory>::Build(memory, *layout, GetParam().order, table);
    ASSERT_TRUE(built.ok());
    ASSERT_TRUE(built->Back(1, kPayload).ok());
    handle = built->handle().value;
    if (!GetParam().is_registered) return;
    const std::int64_t id = machine.Call(kXencommOp, XencommOp::kRegister, handle, 1);
    ASSERT_GT(id, 0);
    handle = static_cast<std::uint64_t>(id);
  }

  template <class... Arguments>
  std::int64_t Call(std::uint64_t index, Arguments... arguments) {
    HypercallFrame frame = machine.Frame(index, arguments...);
    frame.region = handle;
    return machine.hypervisor.Call(*machine.vcpu, frame);
  }
  // As many bytes of the payload as the memory behind it allows for.
  void Write(std::uint64_t pointer, const void* from, std::uint64_t bytes) {
    for (std::uint64_t i = 0; i < bytes; ++i) {
      const PhysicalAddress place = kPayload + (pointer + i - (0 - granule));
      *memory.Map(place, 1, Access::kWrite).start() = static_cast<const std::byte*>(from)[i];
    }
  }
  void Read(std::uint64_t pointer, void* to, std::uint64_t bytes) {
    for (std::uint64_t i = 0; i < bytes; ++i) {
      const PhysicalAddress place = kPayload + (pointer + i - (0 - granule));
      static_cast<std::byte*>(to)[i] = *memory.Map(place, 1, Access::kRead).start();
    }
  }
  // A list of domains into a buffer, by a structure at `op_at`: what it answers, or how many.
  std::int64_t List(std::uint64_t op_at, std::uint64_t buffer, std::uint32_t most) {
    xen_sysctl_t op = {};
    op.cmd = InOrder(std::uint32_t{XEN_SYSCTL_getdomaininfolist}, GetParam().order);
    op.interface_version = InOrder(std::uint32_t{XEN_SYSCTL_INTERFACE_VERSION}, GetParam().order);
    auto& list = op.u.getdomaininfolist;
    list.max_domains = InOrder(most, GetParam().order);
    const std::uint64_t pointer = InOrder(buffer, GetParam().order);
    std::memcpy(&list.buffer, &pointer, sizeof(pointer));
    Write(op_at, &op, std::min<std::uint64_t>(sizeof(op), 0 - op_at));
    const std::int64_t answer = Call(__HYPERVISOR_sysctl, op_at);
    if (answer != 0) return answer;
    Read(op_at, &op, sizeof(op));
    return InOrder(list.num_domains, GetParam().order);
  }
  std::uint16_t DomainAt(std::uint64_t pointer) {
    xen_domctl_getdomaininfo_t info;
    Read(pointer, &info, sizeof(info));
    return InOrder(info.domain, GetParam().order);
  }

  const std::uint64_t granule = std::uint64_t{1} << GetParam().granule_shift;
  TestMachine machine{{.pool_bytes = std::uint64_t{16} << 20,
                       .pages = 1536,
                       .space = SpaceKind::kRegion,
                       .order = GetParam().order}};
  LockedMemory memory = machine.hypervisor.LockedMemoryOf(*machine.vcpu);
  std::uint64_t handle = 0;
};

INSTANTIATE_TEST_SUITE_P(, HypervisorLastBytesTest,
                         testing::Values(Shape{"Small", 12, true, ByteOrder::kLittle},
                                         Shape{"SmallStateless", 12, false, ByteOrder::kBig},
                                         Shape{"Large", 21, true, ByteOrder::kBig},
                                         Shape{"LargeStateless", 21, false, ByteOrder::kLittle}),
                         [](const auto& each) { return each.param.name; });

TEST_P(HypervisorLastBytesTest, AStructureMayEndThere) {
  constexpr std::uint64_t kBytes = sizeof(xen_sysctl_t);
  EXPECT_EQ(List(0 - kBytes, 0 - granule, 3), 3);
  for (const std::uint64_t at : {0 - kBytes + 1, 0 - kBytes + 8, kAll64}) {
    EXPECT_EQ(List(at, 0 - granule, 3), -kEFAULT) << kBytes - (0 - at);
  }
  // At the payload's first byte, and where it begins in the table.
  EXPECT_EQ(List(0 - granule, 0 - 1024, 3), 3);
  for (const std::uint64_t at : {0 - granule - 1, 0 - 2 * granule, 0 - 2 * granule - 1}) {
    EXPECT_EQ(Call(__HYPERVISOR_sysctl, at), -kEFAULT) << at;
  }
  // Up to the last byte of a frame, and over it.
  const std::uint64_t frame_end = 0 - granule + kPageSize;
  EXPECT_EQ(List(frame_end - kBytes, 0 - granule, 3), 3);
  EXPECT_EQ(List(frame_end - 9, 0 - granule, 3), granule == kPageSize ? -kEFAULT : 3);
}

TEST_P(HypervisorLastBytesTest, ABufferMayEndThere) {
  constexpr std::uint64_t kBytes = sizeof(xen_domctl_getdomaininfo_t);
  const std::uint64_t op_at = 0 - granule;
  for (std::uint32_t count = 1; count <= 3; ++count) {
    const std::uint64_t buffer = 0 - count * kBytes;
    ASSERT_EQ(List(op_at, buffer, count), count);
    for (std::uint32_t i = 0; i < count; ++i) EXPECT_EQ(DomainAt(buffer + i * kBytes), i);
    // One byte further there is no room for the last one.
    EXPECT_EQ(List(op_at, buffer + 1, count), -kEFAULT) << count;
  }
  // No room is needed for those that are not there, not even addresses.
  EXPECT_EQ(List(op_at, 0 - 4 * kBytes, 4), 3);
  EXPECT_EQ(List(op_at, 0 - 3 * kBytes, 4), 3);
  EXPECT_EQ(List(op_at, 0 - 3 * kBytes, ~std::uint32_t{0}), 3);
  // It ends in the structure's own frame, in the table, before the region.
  EXPECT_EQ(List(op_at, 0 - granule + kPageSize - 3 * kBytes, 3), 3);
  EXPECT_EQ(List(op_at, 0 - granule - 1, 3), -kEFAULT);
  EXPECT_EQ(List(op_at, 0 - 2 * granule, 3), -kEFAULT);
  EXPECT_EQ(List(op_at, 0 - 2 * granule - 3 * kBytes, 3), -kEFAULT);
  EXPECT_EQ(List(op_at, kAll64, 0), 0);
}

// By a descriptor or an inline address: where the domain's memory ends, and their own 63 bits do.
class HypervisorLastFrameTest : public testing::TestWithParam<ByteOrder> {
 protected:
  static constexpr std::uint64_t kEnd = 64 << kPageShift;
  static constexpr std::uint64_t kBytes = sizeof(xen_extraversion_t);

  std::int64_t Ask(std::uint64_t pointer) {
    return machine.Call(__HYPERVISOR_xen_version, XENVER_extraversion, pointer);
  }
  // With `count` said and these entries written, as far as there is memory.
  std::int64_t AskBy(std::uint64_t at, std::uint32_t count,
                     const std::vector<std::uint64_t>& entries) {
    std::vector<std::byte> bytes(DescriptorBytes(entries.size()));
    StoreDescriptor(bytes.data(), static_cast<std::uint32_t>(entries.size()), GetParam(),
                    [&](std::uint32_t i) { return PhysicalAddress{entries[i]}; });
    StoreField(&bytes[offsetof(DescriptorHeader, nr_addrs)], count, GetParam());
    for (std::size_t i = 0; i < bytes.size() && at + i < kEnd; ++i) {
      *memory.Map({at + i}, 1, Access::kWrite).start() = bytes[i];
    }
    return Ask(at);
  }

  TestMachine machine{{.pool_bytes = std::uint64_t{4} << 20,
                       .pages = kEnd >> kPageShift,
                       .space = SpaceKind::kXcom,
                       .order = GetParam()}};
  LockedMemory memory = machine.hypervisor.LockedMemoryOf(*machine.vcpu);
};

INSTANTIATE_TEST_SUITE_P(, HypervisorLastFrameTest,
                         testing::Values(ByteOrder::kLittle, ByteOrder::kBig),
                         [](const auto& each) {
                           return each.param == ByteOrder::kBig ? "BigEndian" : "LittleEndian";
                         });

TEST_P(HypervisorLastFrameTest, AnInlineAddress) {
  EXPECT_EQ(Ask(InlineAddress({0}).value), 0);
  EXPECT_EQ(Ask(InlineAddress({kEnd - kBytes}).value), 0);
  EXPECT_EQ(std::memcmp(memory.Map({kEnd - kBytes}, 3, Access::kRead).start(), ".7", 3), 0);
  for (const std::uint64_t at : {kEnd - kBytes + 1, kEnd - 1, kEnd, kAll64 / 2 - kBytes + 1,
                                 kAll64 / 2 - kBytes + 2, kAll64 / 2}) {
    EXPECT_EQ(Ask(InlineAddress({at}).value), -kEFAULT) << at;
  }
}

TEST_P(HypervisorLastFrameTest, ADescriptor) {
  constexpr std::uint64_t kSecond = 7 << kPageShift;
  const std::uint64_t last = kEnd - DescriptorBytes(1);
  const std::uint64_t crossing = (kSecond - kBytes) + 8;  // half of it
  // It ends with the memory, or begins there.
  EXPECT_EQ(AskBy(last, 1, {kSecond}), 0);
  EXPECT_EQ(AskBy(last + 8, 1, {kSecond}), -kEFAULT);
  EXPECT_EQ(Ask(kEnd), -kEFAULT);
  EXPECT_EQ(Ask(kAll64 / 2 - 7), -kEFAULT);
  // What it describes ends with the memory.
  EXPECT_EQ(AskBy(0x1000, 1, {kEnd - kBytes}), 0);
  EXPECT_EQ(AskBy(0x1000, 1, {kEnd - kBytes + 1}), -kEFAULT);
  EXPECT_EQ(AskBy(0x1000, 1, {kEnd}), -kEFAULT);
  // As many entries as are needed, more, and fewer.
  EXPECT_EQ(AskBy(0x1000, 2, {crossing, kSecond}), 0);
  EXPECT_EQ(AskBy(0x1000, ~std::uint32_t{0}, {crossing, kSecond}), 0);
  EXPECT_EQ(AskBy(0x1000, 1, {crossing, kSecond}), -kEFAULT);
  EXPECT_EQ(AskBy(0x1000, 0, {crossing, kSecond}), -kEFAULT);
  // The entry that is needed lies in the next frame, or where there is none; one that is not needed
  // may.
  EXPECT_EQ(AskBy(0x3000 - DescriptorBytes(1), 2, {crossing, kSecond}), 0);
  EXPECT_EQ(AskBy(last, 2, {crossing, kSecond}), -kEFAULT);
  EXPECT_EQ(AskBy(last, 2, {kSecond, kSecond}), 0);
}

}  // namespace
}  // namespace xencomm::hypervisor
