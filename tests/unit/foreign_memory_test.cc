// Frames of other domains in this process: mapped, held for as long as they are, and no longer.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "hcall/schema/generated/xen.h"
#include "hcall/transport/embedded/embedded_foreign_memory.h"
#include "tests/unit/embedded_machine.h"
#include "tests/unit/failing_memory.h"
#include "tests/unit/hypervisor_books.h"

namespace xencomm::embedded {
namespace {

// So that nothing else comes to lie where a test has unmapped pages, before it unmaps all around
// them: a sanitizer maps memory of its own whenever it likes.
bool Keep(char* place, std::size_t pages) {
  return mmap(place, pages * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
              -1, 0) == place;
}
bool UnmapAndKeep(char* place, std::size_t pages) {
  return munmap(place, pages * kPage) == 0 && Keep(place, pages);
}

class ForeignMemoryTest : public testing::Test {
 protected:
  std::uint64_t GfnOf(const void* pointer) {
    return PlaceOf(*client_, pointer, TracedSpace::kRegion).guest_physical / kPage;
  }
  std::uint64_t held() {
    return hypervisor::Books::StatisticsOf(machine_->hypervisor()).held_frames;
  }

  std::shared_ptr<EmbeddedMachine> machine_ = SmallMachine();
  std::shared_ptr<Client> client_ = ClientOf(machine_, SpaceOption::kRegion);
  EmbeddedForeignMemory memory_{
      std::shared_ptr<ForeignMappings>(machine_, &machine_->foreign_mappings())};
};

TEST_F(ForeignMemoryTest, MapsTheFramesThemselves) {
  auto bytes = *client_->arena().NewArray<char>(3 * kPage);
  const std::uint64_t frames[] = {GfnOf(&bytes[2 * kPage]), GfnOf(&bytes[0])};
  int errors[2] = {7, 7};
  ForeignMemory::Placement placement = {nullptr, PROT_READ | PROT_WRITE, 0};
  ASSERT_EQ(memory_.Map(0, placement, frames, errors), 0);
  EXPECT_EQ(errors[0], 0);
  EXPECT_EQ(errors[1], 0);
  EXPECT_EQ(held(), 2u);
  auto* const mapped = static_cast<char*>(placement.address);
  bytes[2 * kPage + 5] = 'a';
  EXPECT_EQ(mapped[5], 'a');
  mapped[kPage + 6] = 'b';
  EXPECT_EQ(bytes[6], 'b');
  EXPECT_EQ(memory_.Unmap(mapped, 2), 0);
  EXPECT_EQ(held(), 0u);
}

TEST_F(ForeignMemoryTest, NamesTheFramesThatCannotBeMapped) {
  const auto bytes = *client_->arena().NewArray<char>(kPage);
  const std::uint64_t frames[] = {GfnOf(bytes.get()), std::uint64_t{1} << 40};
  int errors[2] = {7, 7};
  ForeignMemory::Placement placement = {nullptr, PROT_READ, 0};
  ASSERT_EQ(memory_.Map(0, placement, frames, errors), 0);
  EXPECT_EQ(errors[0], 0);
  EXPECT_EQ(errors[1], -EINVAL);
  EXPECT_EQ(memory_.Unmap(placement.address, 2), 0);

  ASSERT_EQ(memory_.Map(99, placement, frames, errors), 0);
  EXPECT_EQ(errors[0], -ESRCH);
  // A domain's number has 16 bits.
  ASSERT_EQ(memory_.Map(0xffff, placement, frames, errors), 0);
  EXPECT_EQ(errors[1], -ESRCH);
  EXPECT_EQ(memory_.Map(0x1'0000, placement, frames, errors), -EINVAL);
  EXPECT_EQ(memory_.Map(1 << 20, placement, frames, errors), -EINVAL);
  EXPECT_EQ(memory_.Map(0, placement, {}, {}), -EINVAL);
  EXPECT_EQ(held(), 0u);
}

TEST_F(ForeignMemoryTest, MapsResourcesOfOtherDomains) {
  constexpr std::uint16_t kOther = 9;
  ASSERT_EQ(machine_->hypervisor().BuildDomain({.id = kOther, .pages = 4, .vcpus = 1}), 0);
  ForeignMemory::Resource table = {.domain = kOther, .type = 1, .id = 0, .first = 2, .count = 3};
  std::size_t size = 0;
  EXPECT_EQ(memory_.ResourceSize(table, &size), 0);
  EXPECT_EQ(size, 64 * kPage);
  ForeignMemory::Placement placement = {nullptr, PROT_READ | PROT_WRITE, 0};
  ASSERT_EQ(memory_.MapResource(table, placement), 0);
  EXPECT_EQ(held(), 3u);
  auto* const mapped = static_cast<char*>(placement.address);
  mapped[2 * kPage] = 'x';
  // The last of them once more, where the program says.
  void* const place = mmap(nullptr, kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ForeignMemory::Placement fixed = {place, PROT_READ, MAP_FIXED};
  table.first = 4;
  table.count = 1;
  ASSERT_EQ(memory_.MapResource(table, fixed), 0);
  EXPECT_EQ(fixed.address, place);
  EXPECT_EQ(*static_cast<char*>(place), 'x');
  EXPECT_EQ(held(), 4u);
  EXPECT_EQ(memory_.UnmapResource(place, 1), 0);
  EXPECT_EQ(memory_.UnmapResource(mapped, 3), 0);
  EXPECT_EQ(held(), 0u);
}

TEST_F(ForeignMemoryTest, ResourcesThatThereAreNotAreRefusedAsAWhole) {
  constexpr std::uint16_t kOther = 9;
  ASSERT_EQ(machine_->hypervisor().BuildDomain({.id = kOther, .pages = 4, .vcpus = 1}), 0);
  const ForeignMemory::Resource good = {
      .domain = kOther, .type = 1, .id = 0, .first = 0, .count = 1};
  const auto map = [&](auto change) {
    ForeignMemory::Resource resource = good;
    change(resource);
    ForeignMemory::Placement placement = {nullptr, PROT_READ, 0};
    return memory_.MapResource(resource, placement);
  };
  using Resource = ForeignMemory::Resource;
  EXPECT_EQ(map([](Resource& r) { r.count = 0; }), -EINVAL);
  EXPECT_EQ(map([](Resource& r) { r.count = 65; }), -EINVAL);
  EXPECT_EQ(map([](Resource& r) { r.count = ~std::uint64_t{0}; }), -ENOMEM);
  EXPECT_EQ(map([](Resource& r) { r.first = 64; }), -EINVAL);
  EXPECT_EQ(map([](Resource& r) { r.id = 1; }), -EINVAL);
  EXPECT_EQ(map([](Resource& r) { r.type = 3; }), -EOPNOTSUPP);
  EXPECT_EQ(map([](Resource& r) { r.domain = 99; }), -ESRCH);
  EXPECT_EQ(map([](Resource& r) { r.domain = 0; }), -EPERM);
  EXPECT_EQ(held(), 0u);
  std::size_t size = 7;
  EXPECT_EQ(memory_.ResourceSize({.domain = kOther, .type = 1, .id = 5}, &size), -EINVAL);
  EXPECT_EQ(size, 7u);
  EXPECT_EQ(memory_.Restrict(8), 0);
  EXPECT_EQ(map([](Resource&) {}), -EPERM);
  EXPECT_EQ(memory_.ResourceSize(good, &size), -EPERM);
}

// The program's arrays are copied in pieces.
TEST_F(ForeignMemoryTest, MapsManyFramesEachInItsPlace) {
  constexpr std::size_t kFrames = 3 * 1024 + 1;
  auto bytes = *client_->arena().NewArray<char>(4 * kPage);
  std::vector<std::uint64_t> frames(kFrames);
  for (std::size_t i = 0; i < kFrames; ++i) {
    frames[i] = i % 5 == 4 ? std::uint64_t{1} << 40 : GfnOf(&bytes[i % 5 * kPage]);
  }
  for (std::size_t i = 0; i < 4; ++i) bytes[i * kPage] = static_cast<char>(i);
  std::vector<int> errors(kFrames + 1, 7);
  ForeignMemory::Placement placement = {nullptr, PROT_READ, 0};
  ASSERT_EQ(memory_.Map(0, placement, frames, std::span(errors).first(kFrames)), 0);
  EXPECT_EQ(errors[kFrames], 7) << "is behind the array";
  const auto* const mapped = static_cast<const char*>(placement.address);
  for (std::size_t i = 0; i < kFrames; ++i) {
    ASSERT_EQ(errors[i], i % 5 == 4 ? -EINVAL : 0) << i;
    if (errors[i] != 0) continue;
    ASSERT_EQ(mapped[i * kPage], static_cast<char>(i % 5)) << i;
  }
  EXPECT_EQ(memory_.Unmap(placement.address, kFrames), 0);
  EXPECT_EQ(held(), 0u);
}

TEST_F(ForeignMemoryTest, MappingsThatWereUnmappedByOthersAreFound) {
  const auto bytes = *client_->arena().NewArray<char>(4 * kPage);
  std::uint64_t frames[4];
  for (std::size_t i = 0; i < 4; ++i) frames[i] = GfnOf(&bytes[i * kPage]);
  int errors[4];
  ForeignMemory::Placement placement = {nullptr, PROT_READ, 0};
  ASSERT_EQ(memory_.Map(0, placement, frames, errors), 0);
  auto* const mapped = static_cast<char*>(placement.address);
  ASSERT_TRUE(UnmapAndKeep(mapped + kPage, 1));
  EXPECT_EQ(client_->Call(__HYPERVISOR_xen_version, XENVER_version), 4 << 16 | 17);
  EXPECT_EQ(held(), 3u);
  ASSERT_EQ(munmap(mapped, 4 * kPage), 0);
  EXPECT_EQ(client_->Call(__HYPERVISOR_xen_version, XENVER_version), 4 << 16 | 17);
  EXPECT_EQ(held(), 0u);
}

// A mapping in the middle of another one that was unmapped there: each keeps its own.
TEST_F(ForeignMemoryTest, AMappingInTheHoleOfAnotherIsApart) {
  const auto bytes = *client_->arena().NewArray<char>(6 * kPage);
  std::uint64_t frames[6];
  for (std::size_t i = 0; i < 6; ++i) frames[i] = GfnOf(&bytes[i * kPage]);
  int errors[6];
  ForeignMemory::Placement outer = {nullptr, PROT_READ, 0};
  ASSERT_EQ(memory_.Map(0, outer, frames, errors), 0);
  auto* const mapped = static_cast<char*>(outer.address);
  ASSERT_TRUE(UnmapAndKeep(mapped + 2 * kPage, 2));

  ForeignMemory::Placement inner = {mapped + 2 * kPage, PROT_READ, MAP_FIXED};
  ASSERT_EQ(memory_.Map(0, inner, {frames, 1}, errors), 0);
  EXPECT_EQ(held(), 6u);  // four and one, and one whose mapping is gone
  EXPECT_EQ(client_->Call(__HYPERVISOR_xen_version, XENVER_version), 4 << 16 | 17);
  EXPECT_EQ(held(), 5u);
  ASSERT_TRUE(UnmapAndKeep(mapped + 5 * kPage, 1));
  EXPECT_EQ(client_->Call(__HYPERVISOR_xen_version, XENVER_version), 4 << 16 | 17);
  EXPECT_EQ(held(), 4u);
  EXPECT_EQ(memory_.Unmap(mapped + kPage, 2), 0);
  ASSERT_TRUE(Keep(mapped + kPage, 2));
  EXPECT_EQ(held(), 2u);
  ASSERT_EQ(munmap(mapped, 6 * kPage), 0);
  EXPECT_EQ(client_->Call(__HYPERVISOR_xen_version, XENVER_version), 4 << 16 | 17);
  EXPECT_EQ(held(), 0u);
}

TEST_F(ForeignMemoryTest, AMapThatRunsOutOfMemoryHoldsAndMapsNothing) {
  const auto bytes = *client_->arena().NewArray<char>(3 * kPage);
  const std::uint64_t frames[] = {GfnOf(&bytes[0]), std::uint64_t{1} << 40, GfnOf(&bytes[kPage])};
  ProcessMaps maps(machine_->ram().fd());
  const auto areas = [&maps] {
    ProcessMaps::Areas all;
    EXPECT_TRUE(maps.List(all));
    return all.size();
  };
  const std::size_t before = areas();
  bool mapped = false;
  for (long step = 0; !mapped; ++step) {
    int errors[3];
    ForeignMemory::Placement placement = {nullptr, PROT_READ, 0};
    allocations_left = step;
    try {
      mapped = memory_.Map(0, placement, frames, errors) == 0;
    } catch (const std::bad_alloc&) {
    }
    allocations_left = -1;
    if (mapped) {
      EXPECT_EQ(memory_.Unmap(placement.address, 3), 0);
    }
    EXPECT_EQ(held(), 0u) << "of allocation " << step;
    EXPECT_EQ(areas(), before) << "of allocation " << step;
  }
}

TEST_F(ForeignMemoryTest, RefusesWhatIsNoArrayAndNoRange) {
  const xen_pfn_t frame = 100;
  int error = 0;
  ForeignMemory::Placement placement = {nullptr, PROT_READ, 0};
  // Longer than it is, or none at all.
  EXPECT_EQ(memory_.Map(0, placement, {&frame, std::size_t{1} << 30}, {&error, 1}), -EFAULT);
  EXPECT_EQ(memory_.Map(0, placement, {static_cast<const xen_pfn_t*>(nullptr), 1}, {&error, 1}),
            -EFAULT);
  EXPECT_EQ(memory_.Map(0, placement, {&frame, 1}, {static_cast<int*>(nullptr), 1}), -EFAULT);
  void* const page = reinterpret_cast<void*>(kPage);
  EXPECT_EQ(memory_.Unmap(page, ~std::size_t{0}), -EINVAL);
  EXPECT_EQ(memory_.Unmap(page, std::size_t{1} << 52), -EINVAL);
  EXPECT_EQ(memory_.Unmap(page, std::size_t{1} << 51), -EINVAL);
  EXPECT_EQ(memory_.Unmap(nullptr, 0), -EINVAL);
  EXPECT_EQ(held(), 0u);
}

// Both ways to know what is mapped: the kernel's query, if it has one, and text.
class ForeignMappingsEndTest : public testing::TestWithParam<ProcessMaps::Source> {
 protected:
  static constexpr std::size_t kPages = 6;

  void SetUp() override {
    std::uint64_t frames[kPages];
    for (std::size_t i = 0; i < kPages; ++i) {
      frames[i] =
          PlaceOf(*client_, &bytes_[i * kPage], TracedSpace::kRegion).guest_physical / kPage;
    }
    mapped_ = Map(frames);
  }
  void TearDown() override {
    if (mapped_ != nullptr) UnmapAll();
    EXPECT_EQ(held(), 0u);
  }

  char* Map(std::span<const std::uint64_t> frames) {
    std::vector<int> errors(frames.size());
    ForeignMemory::Placement placement = {nullptr, PROT_READ | PROT_WRITE, 0};
    EXPECT_EQ(mappings_.Map(0, placement, frames, errors), 0);
    return static_cast<char*>(placement.address);
  }
  char* Page(std::size_t i) { return mapped_ + i * kPage; }
  // Once only: by then something else may lie there.
  void UnmapAll() { EXPECT_EQ(mappings_.Unmap(std::exchange(mapped_, nullptr), kPages), 0); }
  // After what a call does first.
  std::uint64_t held() {
    mappings_.Sweep();
    return hypervisor::Books::StatisticsOf(machine_->hypervisor()).held_frames;
  }
  static void* Anonymous(void* place, std::size_t pages) {
    return mmap(place, pages * kPage, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | (place != nullptr ? MAP_FIXED : 0), -1, 0);
  }

  std::shared_ptr<EmbeddedMachine> machine_ = SmallMachine();
  std::shared_ptr<Client> client_ = ClientOf(machine_, SpaceOption::kRegion);
  OwnedArray<char> bytes_ = *client_->arena().NewArray<char>(kPages * kPage);
  ForeignMappings mappings_{machine_->frame_holder(), machine_->ram(), GetParam()};
  char* mapped_ = nullptr;
};

INSTANTIATE_TEST_SUITE_P(, ForeignMappingsEndTest,
                         testing::Values(ProcessMaps::Source::kBest, ProcessMaps::Source::kText),
                         [](const auto& tested) {
                           return tested.param == ProcessMaps::Source::kBest ? "Best" : "Text";
                         });

// However many pages there are, a call looks at few on average.
TEST_P(ForeignMappingsEndTest, OfManyPagesSomeCallsGoByBetweenTwoLooks) {
  constexpr std::size_t kMany = 3 * ForeignMappings::kPagesOfACall;
  const auto held_at_call = [this] {
    mappings_.SweepForCall();
    return hypervisor::Books::StatisticsOf(machine_->hypervisor()).held_frames;
  };
  const std::uint64_t frame =
      PlaceOf(*client_, &bytes_[0], TracedSpace::kRegion).guest_physical / kPage;
  const std::vector<std::uint64_t> frames(kMany, frame);
  char* const many = Map(frames);
  const std::uint64_t all = held_at_call();
  ASSERT_EQ(Anonymous(many, 1), many);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(held_at_call(), all) << i;
  EXPECT_EQ(held_at_call(), all - 1);
  ASSERT_EQ(munmap(many, kMany * kPage), 0);
  EXPECT_EQ(held(), kPages) << "without a call it is looked at once";
  ASSERT_EQ(Anonymous(Page(0), 1), Page(0));
  for (int i = 0; i < 4; ++i) held_at_call();
  EXPECT_EQ(held_at_call(), kPages - 1) << "of few at each";
}

// What a call that is told of an end does: it takes time in what has ended, whatever else is
// mapped.
TEST_P(ForeignMappingsEndTest, OfWhatIsToldTheRestIsNotLookedAt) {
  const auto held_now = [this] {
    return hypervisor::Books::StatisticsOf(machine_->hypervisor()).held_frames;
  };
  for (const std::size_t i : {1, 4}) ASSERT_EQ(Anonymous(Page(i), 1), Page(i));
  mappings_.Sweep(std::bit_cast<std::uintptr_t>(Page(2)), 2 * kPage);
  EXPECT_EQ(held_now(), kPages) << "nothing has ended there";
  mappings_.Sweep(std::bit_cast<std::uintptr_t>(Page(3)), 2 * kPage);
  EXPECT_EQ(held_now(), kPages - 1);
  EXPECT_EQ(held(), kPages - 2);
}

TEST_P(ForeignMappingsEndTest, WhatIsReplacedAsAWholeIsLetGo) {
  ASSERT_EQ(Anonymous(mapped_, kPages), mapped_);
  EXPECT_EQ(held(), 0u);
}

TEST_P(ForeignMappingsEndTest, WhatIsReplacedInPartIsLetGoInPart) {
  ASSERT_EQ(Anonymous(Page(0), 1), Page(0));
  ASSERT_EQ(Anonymous(Page(3), 2), Page(3));
  EXPECT_EQ(held(), 3u);
  // By another file's pages.
  const int fd = memfd_create("other", MFD_CLOEXEC);
  ASSERT_EQ(ftruncate(fd, kPage), 0);
  ASSERT_EQ(mmap(Page(1), kPage, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0), Page(1));
  close(fd);
  EXPECT_EQ(held(), 2u);
  // By other pages of the machine's memory: those of the frame behind it.
  ASSERT_TRUE(
      machine_->ram().MapAt(reinterpret_cast<std::byte*>(Page(2)), {0}, kPage, PROT_READ).ok());
  EXPECT_EQ(held(), 1u);
  // What replaced them is not what Unmap lets go of.
  UnmapAll();
}

TEST_P(ForeignMappingsEndTest, WhatIsMovedIsHeldUntilItEndsThere) {
  void* const place = Anonymous(nullptr, 2);
  ASSERT_EQ(mremap(Page(2), 2 * kPage, 2 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, place), place);
  EXPECT_EQ(held(), kPages);
  ASSERT_EQ(Anonymous(Page(2), 2), Page(2));
  EXPECT_EQ(held(), kPages);
  bytes_[2 * kPage] = 'm';
  EXPECT_EQ(*static_cast<char*>(place), 'm');
  // At the old place there is nothing of it to end.
  UnmapAll();
  EXPECT_EQ(held(), 2u);
  ASSERT_EQ(munmap(place, kPage), 0);
  EXPECT_EQ(held(), 1u);
  EXPECT_EQ(mappings_.Unmap(static_cast<char*>(place) + kPage, 1), 0);
  EXPECT_EQ(held(), 0u);
}

TEST_P(ForeignMappingsEndTest, WhatIsMovedBeforeAnyCallIsNotEndedAtItsOldPlace) {
  void* const place = Anonymous(nullptr, 1);
  ASSERT_EQ(mremap(Page(5), kPage, kPage, MREMAP_MAYMOVE | MREMAP_FIXED, place), place);
  ASSERT_TRUE(Keep(Page(5), 1));
  UnmapAll();
  EXPECT_EQ(held(), 1u);
  ASSERT_EQ(munmap(place, kPage), 0);
  EXPECT_EQ(held(), 0u);
}

TEST_P(ForeignMappingsEndTest, LooksThroughOneDescriptor) {
  const auto descriptors = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
  };
  EXPECT_EQ(held(), kPages);
  const auto before = descriptors();
  for (int i = 0; i < 5; ++i) EXPECT_EQ(held(), kPages);
  EXPECT_EQ(descriptors(), before);
}

TEST_P(ForeignMappingsEndTest, WhatIsMappedTwiceEndsTwice) {
  const std::uint64_t frame =
      PlaceOf(*client_, bytes_.get(), TracedSpace::kRegion).guest_physical / kPage;
  char* const again = Map({{frame}});
  EXPECT_EQ(held(), kPages + 1);
  ASSERT_TRUE(UnmapAndKeep(Page(0), 1));
  EXPECT_EQ(held(), kPages);
  ASSERT_EQ(munmap(again, kPage), 0);
  EXPECT_EQ(held(), kPages - 1);
}

// As daemons do: they close what they did not open, and the numbers are given out again.
TEST_P(ForeignMappingsEndTest, WhatIsMappedStaysWhenTheProgramTakesTheDescriptor) {
  EXPECT_EQ(held(), kPages);
  int maps = -1;
  for (int fd = 3; fd < 256; ++fd) {
    char target[64] = {};
    if (readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), target, sizeof(target) - 1) > 0 &&
        std::string_view(target).ends_with("/maps")) {
      maps = fd;
    }
  }
  ASSERT_GE(maps, 0);
  const int other = memfd_create("other", MFD_CLOEXEC);
  ASSERT_EQ(dup2(other, maps), maps);
  close(other);
  EXPECT_EQ(held(), kPages);
  ASSERT_TRUE(UnmapAndKeep(Page(1), 1));
  EXPECT_EQ(held(), kPages - 1);
  // It is the program's to close now.
  EXPECT_EQ(close(maps), 0);
  EXPECT_EQ(held(), kPages - 1);
}

TEST_P(ForeignMappingsEndTest, ASweepThatRunsOutOfMemoryIsMadeUpForByTheNext) {
  UnmapAll();
  // A frame that is mapped nowhere else, and one that the region maps, too: that takes a longer
  // look.
  const std::uint64_t in_region =
      PlaceOf(*client_, bytes_.get(), TracedSpace::kRegion).guest_physical / kPage;
  for (const std::uint64_t frame : {std::uint64_t{256}, in_region}) {
    ran_out = true;
    for (long left = 0; ran_out; left += 1 + left / 4) {
      char* const page = Map({{frame}});
      ASSERT_TRUE(UnmapAndKeep(page, 1));
      ran_out = false;
      allocations_left = left;
      mappings_.Sweep();
      allocations_left = -1;
      EXPECT_EQ(hypervisor::Books::StatisticsOf(machine_->hypervisor()).held_frames,
                ran_out ? 1u : 0u)
          << left;
      EXPECT_EQ(held(), 0u) << left;
      ASSERT_EQ(munmap(page, kPage), 0);
    }
  }
}

TEST_P(ForeignMappingsEndTest, WhatIsSplitByItsProtectionStays) {
  ASSERT_EQ(mprotect(Page(1), kPage, PROT_READ), 0);
  ASSERT_EQ(mprotect(Page(4), kPage, PROT_NONE), 0);
  EXPECT_EQ(held(), kPages);
  ASSERT_TRUE(UnmapAndKeep(Page(4), 1));
  EXPECT_EQ(held(), kPages - 1);
}

TEST_P(ForeignMappingsEndTest, FramesThatFollowOneAnotherEndOneByOne) {
  // In the machine too, so that Linux has one mapping for all four.
  const std::uint64_t frames[] = {256, 257, 258, 259};
  char* const run = Map(frames);
  EXPECT_EQ(held(), kPages + 4);
  ASSERT_TRUE(UnmapAndKeep(run, 1));
  EXPECT_EQ(held(), kPages + 3);
  ASSERT_TRUE(UnmapAndKeep(run + 2 * kPage, 1));
  EXPECT_EQ(held(), kPages + 2);
  ASSERT_EQ(munmap(run, 4 * kPage), 0);
  EXPECT_EQ(held(), kPages);
}

TEST_P(ForeignMappingsEndTest, TheSamePlaceOfAnotherFileIsAnotherMapping) {
  const std::uint64_t gfn =
      PlaceOf(*client_, bytes_.get(), TracedSpace::kRegion).guest_physical / kPage;
  const auto offset = static_cast<off_t>(machine_->hypervisor().FrameOf(0, gfn) * kPage);
  const int fd = memfd_create("other", MFD_CLOEXEC);
  ASSERT_EQ(ftruncate(fd, offset + static_cast<off_t>(kPage)), 0);
  ASSERT_EQ(mmap(Page(0), kPage, PROT_READ, MAP_SHARED | MAP_FIXED, fd, offset), Page(0));
  close(fd);
  EXPECT_EQ(held(), kPages - 1);
}

TEST_P(ForeignMappingsEndTest, AMappingOverAnotherTakesItsPlace) {
  const std::uint64_t frame =
      PlaceOf(*client_, bytes_.get(), TracedSpace::kRegion).guest_physical / kPage;
  int error = 0;
  for (int i = 0; i < 3; ++i) {
    ForeignMemory::Placement placement = {Page(0), PROT_READ, MAP_FIXED};
    ASSERT_EQ(mappings_.Map(0, placement, {&frame, 1}, {&error, 1}), 0);
    EXPECT_EQ(held(), kPages);
  }
  ForeignMemory::Placement taken = {Page(1), PROT_READ, MAP_FIXED_NOREPLACE};
  EXPECT_EQ(mappings_.Map(0, taken, {&frame, 1}, {&error, 1}), -EEXIST);
  EXPECT_EQ(held(), kPages);
}

TEST_F(ForeignMemoryTest, ARestrictedHandleMapsOneDomain) {
  const auto bytes = *client_->arena().NewArray<char>(kPage);
  const std::uint64_t frames[] = {GfnOf(bytes.get())};
  int errors[1];
  ForeignMemory::Placement placement = {nullptr, PROT_READ, 0};
  EXPECT_EQ(memory_.Restrict(5), 0);
  EXPECT_EQ(memory_.Map(0, placement, frames, errors), -EPERM);
  EXPECT_EQ(memory_.Restrict(0), -EINVAL);
  EXPECT_EQ(memory_.Restrict(5), 0);
  ASSERT_EQ(memory_.Map(5, placement, frames, errors), 0);
  EXPECT_EQ(errors[0], -ESRCH) << "it may, but there is none";
}

}  // namespace
}  // namespace xencomm::embedded
