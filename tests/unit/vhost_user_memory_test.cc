// A guest's memory over regions of all kinds: what an access gets, and what is left of it.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "hcall/sharing/vhost_user/chain.h"
#include "hcall/sharing/vhost_user/guest_memory.h"
#include "tests/unit/fake_pages.h"
#include "tests/unit/open_files.h"
#include "xencomm/copy.h"

namespace xencomm::vhost_user {
namespace {

using ::testing::HasSubstr;

constexpr std::uint64_t kPage = FakePages::kPage;
constexpr std::uint64_t kGrant = MemoryRegion::kGrantAddress;
constexpr std::uint32_t kNoAdvance = MemoryRegion::kGrants | MemoryRegion::kNoAdvance;

FileDescriptor File(std::uint64_t bytes) {
  FileDescriptor file(memfd_create("plain-region", MFD_CLOEXEC));
  EXPECT_EQ(ftruncate(file.get(), static_cast<off_t>(bytes)), 0);
  return file;
}

class GuestMemoryTest : public testing::Test {
 protected:
  static constexpr std::size_t kFrames = 600;

  // Page i begins with the byte i.
  void SetUp() override {
    for (std::size_t i = 0; i < kFrames; ++i) At(i) = static_cast<std::byte>(i);
    // References from 100 on, of frames that run the other way.
    for (std::uint32_t i = 0; i < 300; ++i) pages_.Give(100 + i, {.frame = 599 - i});
  }
  void TearDown() override {
    memory_.reset();
    EXPECT_EQ(pages_.mapped_pages(), 0);
    EXPECT_EQ(MappingsOf("plain-region"), 0u);
  }

  std::byte& At(std::size_t page, std::size_t offset = 0) {
    return pages_.bytes()[page * kPage + offset];
  }
  static MemoryRegion Foreign(std::uint64_t page, std::uint64_t pages) {
    return {.guest_address = page * kPage,
            .size = pages * kPage,
            .flags = MemoryRegion::kForeign,
            .domain = FakePages::kDomain};
  }
  static MemoryRegion Grants(std::uint64_t reference, std::uint64_t pages,
                             std::uint32_t flags = MemoryRegion::kGrants) {
    return {.guest_address = kGrant | reference * kPage,
            .size = pages * kPage,
            .flags = flags,
            .domain = FakePages::kDomain};
  }
  static MemoryRegion Plain(std::uint64_t address, std::uint64_t bytes, std::uint64_t user = 0,
                            std::uint64_t offset = 0) {
    return {.guest_address = address, .size = bytes, .user_address = user, .mmap_offset = offset};
  }
  absl::Status Add(const MemoryRegion& region) { return memory_->Add(region, File(1)); }

  // The byte at an address, or the fault.
  static std::string Load(GuestMemory::Accessor& accessor, std::uint64_t address) {
    const Mapping mapping = accessor.Map({address}, 1, Access::kRead);
    if (!mapping.ok()) return Describe(mapping.fault().fault);
    return std::to_string(std::to_integer<int>(*mapping.start()));
  }
  std::string Load(std::uint64_t address) {
    auto accessor = memory_->BeginAccess();
    return Load(accessor, address);
  }

  FakePages pages_{kFrames};
  std::unique_ptr<GuestMemory> memory_ = std::make_unique<GuestMemory>(&pages_);
};

constexpr char kNothing[] = "no memory at this guest-physical address";

TEST_F(GuestMemoryTest, RegionsOfAllKindsLieSideBySide) {
  const FileDescriptor file = File(8 * kPage);
  const char byte = 99;
  ASSERT_EQ(pwrite(file.get(), &byte, 1, 3 * kPage), 1);
  ASSERT_TRUE(memory_->Add(Plain(4 * kPage, kPage, 0x10000, 3 * kPage), file).ok());
  ASSERT_TRUE(Add(Foreign(5, 3)).ok());
  ASSERT_TRUE(Add(Grants(100, 2)).ok());
  ASSERT_TRUE(Add(Grants(102, 10, kNoAdvance)).ok());
  EXPECT_EQ(Load(4 * kPage - 1), kNothing);
  EXPECT_EQ(Load(4 * kPage), "99");
  EXPECT_EQ(Load(5 * kPage), "5");
  EXPECT_EQ(Load(7 * kPage), "7");
  EXPECT_EQ(Load(8 * kPage), kNothing);
  EXPECT_EQ(Load(kGrant | 99 * kPage), kNothing);
  EXPECT_EQ(Load(kGrant | 101 * kPage), std::to_string(598 % 256));
  EXPECT_EQ(Load(kGrant | 102 * kPage), std::to_string(597 % 256));
  EXPECT_EQ(Load(kGrant | 111 * kPage), std::to_string(588 % 256));
  EXPECT_EQ(Load(kGrant | 112 * kPage), kNothing);
  EXPECT_EQ(Load(~std::uint64_t{0}), kNothing);
}

TEST_F(GuestMemoryTest, WhatIsKeptIsMappedOnceAndWhatIsNoAdvanceAtEachAccess) {
  ASSERT_TRUE(Add(Foreign(5, 3)).ok());
  ASSERT_TRUE(Add(Grants(100, 2)).ok());
  ASSERT_TRUE(Add(Grants(102, 200, kNoAdvance)).ok());
  EXPECT_EQ(pages_.mapped_pages(), 5);
  EXPECT_EQ(pages_.mappings_made(), 2);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Load(5 * kPage), "5");
    EXPECT_EQ(Load(kGrant | 100 * kPage), std::to_string(599 % 256));
  }
  EXPECT_EQ(pages_.mappings_made(), 2);
  {
    auto accessor = memory_->BeginAccess();
    EXPECT_EQ(Load(accessor, kGrant | 102 * kPage), std::to_string(597 % 256));
    EXPECT_EQ(pages_.mapped_pages(), 6);
    // Of bytes in three pages, three.
    const Mapping three =
        accessor.Map({(kGrant | 110 * kPage) + kPage - 1}, kPage + 2, Access::kRead);
    ASSERT_EQ(three.length(), kPage + 2);
    EXPECT_EQ(three.start()[1], At(599 - 11));
    EXPECT_EQ(pages_.mapped_pages(), 9);
  }
  EXPECT_EQ(pages_.mapped_pages(), 5);
}

TEST_F(GuestMemoryTest, BothValuesOfNoAdvanceMeanIt) {
  for (const std::uint32_t value : {MemoryRegion::kNoAdvance, MemoryRegion::kNoAdvanceOfText}) {
    ASSERT_TRUE(Add(Grants(100, 2, MemoryRegion::kGrants | value)).ok());
    EXPECT_EQ(pages_.mapped_pages(), 0);
    EXPECT_EQ(Load(kGrant | 100 * kPage), std::to_string(599 % 256));
    ASSERT_TRUE(memory_->Remove(Grants(100, 2)).ok());
  }
}

// Rings are granted by pages, and named by their bytes.
TEST_F(GuestMemoryTest, RegionsBeginAndEndAnywhereInAPage) {
  for (const std::uint32_t flags : {MemoryRegion::kGrants, kNoAdvance}) {
    MemoryRegion first = Grants(100, 1, flags), second = first;
    first.guest_address += 0x10;
    first.size = 0x20;
    second.guest_address += 0x30;
    second.size = kPage;  // and into the next page
    ASSERT_TRUE(Add(first).ok());
    ASSERT_TRUE(Add(second).ok());
    EXPECT_EQ(pages_.mapped_pages(), flags == kNoAdvance ? 0 : 3);
    At(599, 0x2f) = std::byte{11};
    At(599, 0x30) = std::byte{12};
    At(598, 0x2f) = std::byte{13};
    const std::uint64_t start = kGrant | 100 * kPage;
    EXPECT_EQ(Load(start + 0xf), kNothing);
    EXPECT_EQ(Load(start + 0x2f), "11");
    EXPECT_EQ(Load(start + 0x30), "12");
    EXPECT_EQ(Load(start + kPage + 0x2f), "13");
    EXPECT_EQ(Load(start + kPage + 0x30), kNothing);
    auto accessor = memory_->BeginAccess();
    EXPECT_EQ(accessor.Map({start + 0x10}, 0x100, Access::kRead).length(), 0x20u);
    memory_->Clear();
  }
}

TEST_F(GuestMemoryTest, AReferenceThatIsRevokedIsAFault) {
  ASSERT_TRUE(Add(Grants(100, 50, kNoAdvance)).ok());
  EXPECT_EQ(Load(kGrant | 110 * kPage), std::to_string(589 % 256));
  pages_.Revoke(110);
  EXPECT_EQ(Load(kGrant | 110 * kPage), kNothing);
  auto accessor = memory_->BeginAccess();
  EXPECT_FALSE(accessor.Map({kGrant | 108 * kPage}, 4 * kPage, Access::kRead).ok());
  EXPECT_EQ(pages_.mapped_pages(), 0) << "not those before it, either";
  pages_.FailAfter(0);
  EXPECT_EQ(accessor.Map({kGrant | 108 * kPage}, 1, Access::kRead).fault(), Fault::kNoMemory);
}

TEST_F(GuestMemoryTest, WhatIsGrantedForReadingIsNotWritten) {
  pages_.Give(100, {.frame = 3, .is_writable = false});
  for (const std::uint32_t flags : {MemoryRegion::kGrants, kNoAdvance}) {
    ASSERT_TRUE(Add(Grants(100, 2, flags)).ok());
    EXPECT_EQ(Load(kGrant | 100 * kPage), "3");
    auto accessor = memory_->BeginAccess();
    EXPECT_EQ(accessor.Map({kGrant | 100 * kPage}, 1, Access::kWrite).fault(), Fault::kNotWritable);
    memory_->Clear();
  }
}

TEST_F(GuestMemoryTest, WritesArriveInThePages) {
  ASSERT_TRUE(Add(Foreign(5, 3)).ok());
  ASSERT_TRUE(Add(Grants(100, 2, kNoAdvance)).ok());
  auto accessor = memory_->BeginAccess();
  *accessor.Map({6 * kPage + 9}, 1, Access::kWrite).start() = std::byte{77};
  *accessor.Map({(kGrant | 101 * kPage) + 8}, 1, Access::kWrite).start() = std::byte{78};
  EXPECT_EQ(At(6, 9), std::byte{77});
  EXPECT_EQ(At(598, 8), std::byte{78});
}

TEST_F(GuestMemoryTest, AnAccessMapsNoMorePagesThanItMay) {
  ASSERT_TRUE(Add(Grants(100, 300, kNoAdvance)).ok());
  auto accessor = memory_->BeginAccess();
  const Mapping run = accessor.Map({(kGrant | 100 * kPage) + 8}, 300 * kPage, Access::kRead);
  EXPECT_EQ(run.length(), GuestMemory::Accessor::kMostRun * kPage - 8);
  std::uint64_t mapped = GuestMemory::Accessor::kMostRun;
  for (; accessor.Map({kGrant | 100 * kPage}, kPage, Access::kRead).ok(); ++mapped) {
    ASSERT_LT(mapped, 2000u);
  }
  EXPECT_EQ(mapped, GuestMemory::Accessor::kMostPages);
}

TEST_F(GuestMemoryTest, RegionsThatGoStayForWhomUsesThem) {
  const FileDescriptor file = File(kPage);
  ASSERT_TRUE(Add(Foreign(5, 3)).ok());
  ASSERT_TRUE(memory_->Add(Plain(0, kPage), file).ok());
  {
    auto accessor = memory_->BeginAccess();
    const Mapping foreign = accessor.Map({5 * kPage}, 1, Access::kRead);
    const Mapping plain = accessor.Map({0}, 1, Access::kRead);
    ASSERT_TRUE(memory_->Remove(Foreign(5, 3)).ok());
    memory_->Clear();
    EXPECT_EQ(Load(5 * kPage), kNothing);
    EXPECT_EQ(*foreign.start(), std::byte{5});
    EXPECT_EQ(*plain.start(), std::byte{0});
    EXPECT_EQ(Load(accessor, 6 * kPage), "6") << "as the regions were when it began";
    EXPECT_EQ(pages_.mapped_pages(), 3);
  }
  EXPECT_EQ(pages_.mapped_pages(), 0);
  EXPECT_EQ(MappingsOf("plain-region"), 0u);
}

TEST_F(GuestMemoryTest, ARegionIsRemovedByItsAddressesAndSize) {
  MemoryRegion region = Foreign(5, 3);
  region.user_address = 0x7000;
  ASSERT_TRUE(Add(region).ok());
  for (const auto field :
       {&MemoryRegion::guest_address, &MemoryRegion::size, &MemoryRegion::user_address}) {
    MemoryRegion other = region;
    other.*field += 1;
    EXPECT_TRUE(absl::IsNotFound(memory_->Remove(other)));
  }
  EXPECT_EQ(pages_.mapped_pages(), 3);
  region.mmap_offset = 5;
  EXPECT_TRUE(memory_->Remove(region).ok()) << "by nothing else";
  EXPECT_EQ(pages_.mapped_pages(), 0);
  EXPECT_TRUE(absl::IsNotFound(memory_->Remove(region)));
}

TEST_F(GuestMemoryTest, RegionsDoNotOverlap) {
  ASSERT_TRUE(Add(Foreign(10, 4)).ok());
  for (const auto& [page, count, is_refused] :
       {std::tuple(8, 2, false), std::tuple(14, 2, false), std::tuple(8, 3, true),
        std::tuple(13, 2, true), std::tuple(11, 1, true), std::tuple(8, 10, true),
        std::tuple(10, 4, true)}) {
    const MemoryRegion region =
        Foreign(static_cast<std::uint64_t>(page), static_cast<std::uint64_t>(count));
    const absl::Status added = Add(region);
    EXPECT_EQ(absl::IsAlreadyExists(added), is_refused) << page << " " << count << " " << added;
    if (added.ok()) {
      EXPECT_TRUE(memory_->Remove(region).ok());
    }
  }
  EXPECT_EQ(pages_.mapped_pages(), 4);
  const std::vector<MemoryRegion> both = {Foreign(1, 2), Foreign(2, 2)};
  std::vector<FileDescriptor> files;
  files.push_back(File(1));
  files.push_back(File(1));
  EXPECT_TRUE(absl::IsAlreadyExists(memory_->Replace(both, files)));
  EXPECT_EQ(Load(10 * kPage), "10") << "what was, is";
}

TEST_F(GuestMemoryTest, PlainRegionsDoNotOverlapInTheFrontEnd) {
  const FileDescriptor file = File(4 * kPage);
  ASSERT_TRUE(memory_->Add(Plain(0, kPage, 0x10000), file).ok());
  EXPECT_TRUE(absl::IsAlreadyExists(memory_->Add(Plain(8 * kPage, kPage, 0x10fff), file)));
  EXPECT_TRUE(memory_->Add(Plain(8 * kPage, kPage, 0x11000), file).ok());
  // Others are mapped by no front-end: their addresses there are not looked at.
  MemoryRegion foreign = Foreign(100, 1);
  foreign.user_address = 0x10000;
  EXPECT_TRUE(Add(foreign).ok());
}

TEST_F(GuestMemoryTest, AChangeThatFailsChangesNothing) {
  ASSERT_TRUE(Add(Foreign(10, 4)).ok());
  const std::vector<MemoryRegion> regions = {Foreign(20, 4), Foreign(30, 4), Grants(100, 5),
                                             Plain(0, kPage)};
  for (long failing = 0; failing <= 3; ++failing) {
    std::vector<FileDescriptor> files;
    for (std::size_t i = 0; i < regions.size(); ++i) {
      // The last one's is too short.
      files.push_back(File(i == 3 && failing == 3 ? kPage - 1 : kPage));
    }
    pages_.FailAfter(failing);
    EXPECT_FALSE(memory_->Replace(regions, files).ok()) << failing;
    EXPECT_EQ(pages_.mapped_pages(), 4) << failing;
    EXPECT_EQ(Load(10 * kPage), "10") << failing;
    EXPECT_EQ(Load(20 * kPage), kNothing) << failing;
  }
  pages_.FailAfter(-1);
  EXPECT_FALSE(memory_->Replace(regions, {}).ok()) << "without descriptors";
  std::vector<FileDescriptor> files;
  for (std::size_t i = 0; i < regions.size(); ++i) files.push_back(File(kPage));
  EXPECT_TRUE(memory_->Replace(regions, files).ok());
  EXPECT_EQ(pages_.mapped_pages(), 13);
  EXPECT_EQ(Load(10 * kPage), kNothing);
}

TEST_F(GuestMemoryTest, WhatCannotBeMappedIsRefusedWithTheReason) {
  MemoryRegion other = Foreign(0, 1);
  other.domain = 9;
  EXPECT_THAT(std::string(Add(other).message()), HasSubstr("domain 9"));
  EXPECT_FALSE(Add(Foreign(kFrames - 1, 2)).ok());
  EXPECT_FALSE(Add(Grants(400, 1)).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(Add(Foreign(0, 0))));
  memory_ = std::make_unique<GuestMemory>(nullptr);
  EXPECT_TRUE(absl::IsUnimplemented(Add(Foreign(0, 1))));
  EXPECT_TRUE(memory_->Add(Plain(0, 1), File(1)).ok());
}

TEST_F(GuestMemoryTest, ThereAreSoManyRegionsAndNoMore) {
  const FileDescriptor file = File(1);
  for (std::uint64_t i = 0; i < GuestMemory::kMostRegions; ++i) {
    ASSERT_TRUE(memory_->Add(Plain(2 * i, 1, 2 * i), file).ok()) << i;
  }
  EXPECT_TRUE(absl::IsResourceExhausted(memory_->Add(Plain(5000, 1, 5000), file)));
  auto accessor = memory_->BeginAccess();
  for (std::uint64_t i = 0; i < 2 * GuestMemory::kMostRegions; ++i) {
    EXPECT_EQ(accessor.Map({i}, 5, Access::kRead).length(), i % 2 == 0 ? 1u : 0u) << i;
  }
}

TEST_F(GuestMemoryTest, FrontEndsAddressesAreFoundInTheirRegions) {
  const FileDescriptor file = File(4 * kPage);
  ASSERT_TRUE(memory_->Add(Plain(kPage, kPage, 0x10000), file).ok());
  EXPECT_EQ(memory_->OfUser(0x10010, 8), PhysicalAddress{kPage + 0x10});
  EXPECT_EQ(memory_->OfUser(0x10ff8, 8), PhysicalAddress{kPage + 0xff8});
  EXPECT_EQ(memory_->OfUser(0x10ff8, 9), std::nullopt);
  EXPECT_EQ(memory_->OfUser(0xffff, 1), std::nullopt);
  EXPECT_EQ(memory_->OfUser(kGrant | 100 * kPage, 1), std::nullopt);
  // With Xen's regions also as the guest's.
  ASSERT_TRUE(Add(Grants(100, 2)).ok());
  EXPECT_EQ(memory_->OfUser(kGrant | 100 * kPage, 1), PhysicalAddress{kGrant | 100 * kPage});
  EXPECT_EQ(memory_->OfUser(0x10010, 8), PhysicalAddress{kPage + 0x10});
}

TEST_F(GuestMemoryTest, AFileThatIsNoneOrTooShortIsRefused) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const FileDescriptor reading(ends[0]), writing(ends[1]);
  EXPECT_TRUE(absl::IsInvalidArgument(memory_->Add(Plain(0, 1), reading)));
  EXPECT_FALSE(memory_->Add(Plain(0, 1), FileDescriptor(-1)).ok());
  EXPECT_FALSE(memory_->Add(Plain(0, 1), FileDescriptor(open("/dev/zero", O_RDWR))).ok());
  for (const auto& [size, offset, is_refused] :
       {std::tuple(kPage, 0ul, false), std::tuple(kPage + 1, 0ul, true),
        std::tuple(kPage, 1ul, true), std::tuple(1ul, kPage - 1, false),
        std::tuple(1ul, kPage, true), std::tuple(1ul, 1ul << 62, true)}) {
    const absl::Status added = memory_->Add(Plain(0, size, 0, offset), File(kPage));
    EXPECT_EQ(absl::IsInvalidArgument(added), is_refused) << size << " " << offset << added;
    memory_->Clear();
  }
  const FileDescriptor sealed = File(kPage);
  const FileDescriptor read_only(
      open(("/proc/self/fd/" + std::to_string(sealed.get())).c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_FALSE(memory_->Add(Plain(0, 1), read_only).ok());
}

class TruncatedFileTest : public GuestMemoryTest {
 protected:
  void SetUp() override {
    GuestMemoryTest::SetUp();
    ASSERT_TRUE(memory_->Add(Plain(0, 4 * kPage), file_).ok());
  }
  void Truncate() { ASSERT_EQ(ftruncate(file_.get(), 0), 0); }

  const FileDescriptor file_ = File(4 * kPage);
};

TEST_F(TruncatedFileTest, ReadingWhatIsNoMoreGivesZerosAndIsNoticed) {
  auto accessor = memory_->BeginAccess();
  const Mapping mapping = accessor.Map({kPage}, 8, Access::kWrite);
  *mapping.start() = std::byte{5};
  Truncate();
  EXPECT_FALSE(memory_->is_torn());
  EXPECT_EQ(LoadSharedField<std::uint64_t>(mapping.start(), ByteOrder::kLittle), 0u);
  EXPECT_TRUE(memory_->is_torn());
  // What is left cannot be taken for the guest's.
  EXPECT_EQ(accessor.Map({kPage}, 8, Access::kRead).fault(), Fault::kNoMemory);
  EXPECT_EQ(Load(0), kNothing);
}

TEST_F(TruncatedFileTest, WritingAndCopyingGoOn) {
  Buffers buffers;
  buffers.Add({kPage - 8}, 16);
  BufferAccess access(*memory_, buffers);
  Truncate();
  const std::uint64_t bytes[2] = {1, 2};
  EXPECT_TRUE(CopyTo(access.space(), {0}, 0, bytes, sizeof(bytes)).ok());
  EXPECT_TRUE(memory_->is_torn());
}

TEST_F(TruncatedFileTest, TheKernelAnswersAnErrno) {
  auto accessor = memory_->BeginAccess();
  const Mapping mapping = accessor.Map({kPage}, 8, Access::kRead);
  Truncate();
  const FileDescriptor other = File(kPage);
  EXPECT_EQ(pwrite(other.get(), mapping.start(), 8, 0), -1);
  EXPECT_EQ(errno, EFAULT);
  EXPECT_FALSE(memory_->is_torn()) << "nobody has read anything else";
}

TEST_F(TruncatedFileTest, OthersAreWholeAndTheNextOneIsToo) {
  const FileDescriptor other = File(kPage);
  ASSERT_TRUE(memory_->Add(Plain(8 * kPage, kPage, 0x100000), other).ok());
  Truncate();
  EXPECT_EQ(Load(0), "0");
  EXPECT_EQ(Load(8 * kPage), "0");
  EXPECT_TRUE(memory_->is_torn());
  ASSERT_TRUE(memory_->Remove(Plain(0, 4 * kPage)).ok());
  EXPECT_FALSE(memory_->is_torn());
  ASSERT_TRUE(memory_->Add(Plain(0, kPage), File(kPage)).ok());
  EXPECT_EQ(Load(0), "0");
  EXPECT_FALSE(memory_->is_torn());
}

TEST_F(TruncatedFileTest, ThreadsThatMeetItTogetherAllGoOn) {
  auto accessor = memory_->BeginAccess();
  const Mapping mapping = accessor.Map({0}, 4 * kPage, Access::kRead);
  Truncate();
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < 4; ++i) {
    threads.emplace_back([at = mapping.start() + i * kPage] {
      EXPECT_EQ(LoadSharedField<std::uint64_t>(at, ByteOrder::kLittle), 0u);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(memory_->is_torn());
}

// Not a mapping of ours: it is nobody's to go on from.
TEST(SharedFileDeathTest, ASigbusOfAnotherMappingEndsTheProcessAsEver) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(
      {
        const FileDescriptor file = File(kPage);
        const auto mapped = SharedFile::Map(file.get(), 0, kPage);
        if (!mapped.ok()) std::exit(0);
        auto* const other = static_cast<volatile char*>(
            mmap(nullptr, 2 * kPage, PROT_READ, MAP_SHARED, file.get(), 0));
        std::exit(other[kPage]);
      },
      "");
}

TEST(SharedFileTest, ThereAreSoManyAndNoMore) {
  const FileDescriptor file = File(kPage);
  std::vector<std::unique_ptr<SharedFile>> all;
  for (;;) {
    auto mapped = SharedFile::Map(file.get(), 0, kPage);
    if (!mapped.ok()) {
      EXPECT_TRUE(absl::IsResourceExhausted(mapped.status()));
      break;
    }
    all.push_back(*std::move(mapped));
  }
  EXPECT_EQ(all.size(), SharedFile::kMost);
  all.pop_back();
  EXPECT_TRUE(SharedFile::Map(file.get(), 0, kPage).ok());
}

// An unmapped slot's flag is not the next one's.
TEST(SharedFileTest, AnOffsetAnywhereInAPage) {
  const FileDescriptor file = File(3 * kPage);
  ASSERT_EQ(pwrite(file.get(), "x", 1, kPage + 7), 1);
  const auto mapped = SharedFile::Map(file.get(), kPage + 7, kPage);
  ASSERT_TRUE(mapped.ok());
  EXPECT_EQ(*(*mapped)->start(), std::byte{'x'});
  EXPECT_FALSE((*mapped)->is_torn());
}

}  // namespace
}  // namespace xencomm::vhost_user
