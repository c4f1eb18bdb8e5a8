// Messages and regions as bytes, and which of them are valid.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <vector>

#include "hcall/sharing/vhost_user/event_file.h"
#include "hcall/sharing/vhost_user/message_socket.h"
#include "hcall/sharing/vhost_user/wire.h"
#include "tests/unit/open_files.h"

namespace xencomm::vhost_user {
namespace {

using ::testing::HasSubstr;
using Form = MemoryRegion::Form;
using Kind = MemoryRegion::Kind;

constexpr std::uint64_t kGrant = MemoryRegion::kGrantAddress;

std::vector<std::byte> Bytes(const std::vector<std::uint32_t>& words) {
  const auto bytes = std::as_bytes(std::span(words));
  return {bytes.begin(), bytes.end()};
}

// Little-endian words, as this machine has them.
TEST(VhostUserWireTest, RegionsHaveTheFieldsOfTheirForm) {
  const MemoryRegion region = {.guest_address = 0x8000000000001234,
                               .size = 0x2000,
                               .user_address = 0x7f0000001000,
                               .mmap_offset = 0x3000,
                               .flags = 10,
                               .domain = 7};
  const std::vector<std::uint32_t> plain = {0x1234, 0x80000000, 0x2000, 0,
                                            0x1000, 0x7f00,     0x3000, 0};
  std::vector<std::uint32_t> xen = plain;
  xen.insert(xen.end(), {10, 7});

  std::vector<std::uint32_t> single = {0, 0};
  single.insert(single.end(), xen.begin(), xen.end());
  EXPECT_EQ(WriteRegion(region, Form::kXen), Bytes(single));
  EXPECT_EQ(ReadRegion(Bytes(single), Form::kXen), region);

  std::vector<std::uint32_t> table = {2, 0};
  for (int i = 0; i < 2; ++i) table.insert(table.end(), plain.begin(), plain.end());
  MemoryRegion without = region;
  without.flags = without.domain = 0;
  const std::vector<MemoryRegion> both = {without, without};
  EXPECT_EQ(WriteRegions(both, Form::kPlain), Bytes(table));
  EXPECT_EQ(ReadRegions(Bytes(table), Form::kPlain), both);
}

TEST(VhostUserWireTest, RegionsOfTheOtherFormAreNotRead) {
  const std::vector<MemoryRegion> regions(3, MemoryRegion{.size = 1});
  for (const auto& [written, read] :
       {std::pair(Form::kXen, Form::kPlain), std::pair(Form::kPlain, Form::kXen)}) {
    EXPECT_FALSE(ReadRegions(WriteRegions(regions, written), read).has_value());
    EXPECT_FALSE(ReadRegion(WriteRegion(regions[0], written), read).has_value());
  }
}

TEST(VhostUserWireTest, ATableSaysHowManyRegionsItHas) {
  for (const std::size_t count : {0u, 1u, 32u}) {
    const std::vector<MemoryRegion> regions(count, MemoryRegion{.size = 1});
    auto payload = WriteRegions(regions, Form::kXen);
    EXPECT_EQ(ReadRegions(payload, Form::kXen)->size(), count);
    payload.pop_back();
    EXPECT_FALSE(ReadRegions(payload, Form::kXen).has_value());
    payload.resize(payload.size() + 2);
    EXPECT_FALSE(ReadRegions(payload, Form::kXen).has_value());
  }
  EXPECT_FALSE(ReadRegions(WriteRegions(std::vector<MemoryRegion>(33), Form::kXen), Form::kXen));
  // So many that their bytes pass 2^32.
  EXPECT_FALSE(ReadRegions(Bytes({0x0ccccccd, 0}), Form::kXen).has_value());
  EXPECT_FALSE(ReadRegions({}, Form::kXen).has_value());
}

TEST(VhostUserWireTest, PayloadsHaveTheirSizeAndNoOther) {
  const VringAddress address = {
      .index = 1, .flags = 2, .descriptors = 3, .used = 4, .available = 5, .log = 6};
  EXPECT_EQ(address.Write(), Bytes({1, 2, 3, 0, 4, 0, 5, 0, 6, 0}));
  EXPECT_EQ(VringAddress::Read(address.Write())->available, 5u);
  EXPECT_EQ(VringAddress::Read(address.Write())->used, 4u);
  EXPECT_EQ((VringState{3, 9}.Write()), Bytes({3, 9}));
  for (const std::size_t bytes : {0u, 7u, 9u, 16u, 39u, 41u}) {
    const std::vector<std::byte> payload(bytes);
    EXPECT_FALSE(ReadU64(payload).has_value()) << bytes;
    EXPECT_FALSE(VringState::Read(payload).has_value()) << bytes;
    EXPECT_FALSE(VringAddress::Read(payload).has_value()) << bytes;
    EXPECT_FALSE(VringFile::Read(payload).has_value()) << bytes;
  }
}

TEST(VhostUserWireTest, ARingsFileIsAnIndexAndWhetherThereIsOne) {
  EXPECT_EQ((VringFile{5, true}.Write()), WriteU64(5));
  EXPECT_EQ((VringFile{255, false}.Write()), WriteU64(0x1ff));
  EXPECT_TRUE(VringFile::Read(WriteU64(5))->has_file);
  EXPECT_FALSE(VringFile::Read(WriteU64(0x105))->has_file);
  EXPECT_EQ(VringFile::Read(WriteU64(0x105))->index, 5);
  EXPECT_FALSE(VringFile::Read(WriteU64(0x200)).has_value());
}

TEST(VhostUserWireTest, AConfigRangeLiesInTheConfigSpace) {
  for (const auto& [range, is_valid] :
       {std::pair(ConfigRange{0, 256, 0}, true), std::pair(ConfigRange{255, 1, 0}, true),
        std::pair(ConfigRange{256, 0, 0}, true), std::pair(ConfigRange{1, 256, 0}, false),
        std::pair(ConfigRange{257, 0, 0}, false),
        std::pair(ConfigRange{0xfffffff0, 32, 0}, false)}) {
    EXPECT_EQ(ConfigRange::Read(range.Write()).has_value(), is_valid)
        << range.offset << " " << range.size;
  }
  // Says more than it has.
  EXPECT_FALSE(ConfigRange::Read(Bytes({0, 8, 0})).has_value());
  EXPECT_FALSE(ConfigRange::Read(Bytes({0, 8})).has_value());
}

struct Case {
  const char* what;
  MemoryRegion region;
  bool is_valid;
};

TEST(VhostUserRegionTest, OnlyRegionsThatCanBeAreValid) {
  constexpr std::uint64_t kEnd = ~std::uint64_t{0};
  constexpr std::uint64_t kForeignEnd = std::uint64_t{1} << 52;
  constexpr std::uint64_t kLastReference = std::uint64_t{0xffffffff} << 12;
  const Case cases[] = {
      {"plain", {0, 1, 0, 0, 0, 0}, true},
      {"plain, anywhere in a file", {0x1000, 0x1000, 0x5000, 0x7123, 0, 0}, true},
      {"plain, its domain is nobody's", {0, 1, 0, 0, 0, 0xffffffff}, true},
      {"foreign", {0x1234, 0x1000, 0, 0, 1, 7}, true},
      {"grants", {kGrant | 0x5000, 0x1000, 0, 0, 2, 7}, true},
      {"no-advance of the implementations", {kGrant, 0x1000, 0, 0, 2 | 8, 7}, true},
      {"no-advance of the text", {kGrant, 0x1000, 0, 0, 2 | 0x100, 7}, true},
      {"no-advance of both", {kGrant, 0x1000, 0, 0, 2 | 8 | 0x100, 7}, true},

      {"foreign and grants", {kGrant, 1, 0, 0, 3, 7}, false},
      {"plain, no-advance", {0, 1, 0, 0, 8, 0}, false},
      {"plain, no-advance of the text", {0, 1, 0, 0, 0x100, 0}, false},
      {"foreign, no-advance", {0, 1, 0, 0, 1 | 8, 7}, false},
      {"foreign, no-advance of the text", {0, 1, 0, 0, 1 | 0x100, 7}, false},
      {"all of them", {kGrant, 1, 0, 0, 1 | 2 | 8, 7}, false},
      {"bit 2", {0, 1, 0, 0, 4, 7}, false},
      {"bit 4", {kGrant, 1, 0, 0, 2 | 16, 7}, false},
      {"bit 9", {kGrant, 1, 0, 0, 2 | 0x200, 7}, false},
      {"bit 31", {0, 1, 0, 0, 0x80000000, 7}, false},

      {"no bytes", {0, 0, 0, 0, 0, 0}, false},
      {"no bytes, foreign", {0, 0, 0, 0, 1, 7}, false},
      {"guest addresses to the end", {kEnd, 1, 0, 0, 0, 0}, true},
      {"guest addresses that wrap", {kEnd, 2, 0, 0, 0, 0}, false},
      {"user addresses to the end", {0, 2, kEnd - 1, 0, 0, 0}, true},
      {"user addresses that wrap", {0, 2, kEnd, 0, 0, 0}, false},
      {"an offset that wraps", {0, 2, 0, kEnd, 0, 0}, false},
      {"a size that wraps", {1, kEnd, 1, 1, 0, 0}, true},
      {"a size that wraps by one", {2, kEnd, 0, 0, 0, 0}, false},

      {"an offset, foreign", {0, 1, 0, 0x1000, 1, 7}, false},
      {"an offset, grants", {kGrant, 1, 0, 1, 2, 7}, false},
      {"the last domain", {0, 1, 0, 0, 1, 0x7fef}, true},
      {"this domain by its other name", {0, 1, 0, 0, 1, 0x7ff0}, false},
      {"the machine's devices", {0, 1, 0, 0, 1, 0x7ff1}, false},
      {"the hypervisor's memory", {0, 1, 0, 0, 1, 0x7ff2}, false},
      {"a domain of 17 bits", {0, 1, 0, 0, 1, 0x10007}, false},
      {"a granting domain of 17 bits", {kGrant, 1, 0, 0, 2, 0x10007}, false},
      {"frames to the last", {kForeignEnd - 0x1000, 0x1000, 0, 0, 1, 7}, true},
      {"a frame after the last", {kForeignEnd - 0x1000, 0x1001, 0, 0, 1, 7}, false},
      {"foreign, by a grant's address", {kGrant, 1, 0, 0, 1, 7}, false},
      {"grants, by a frame's address", {0x5000, 1, 0, 0, 2, 7}, false},
      {"grants that begin at a frame's", {kGrant - 1, 2, 0, 0, 2, 7}, false},
      {"references to the last", {kGrant | kLastReference, 0x1000, 0, 0, 2, 7}, true},
      {"a reference after the last", {kGrant | kLastReference, 0x1001, 0, 0, 2, 7}, false},
      {"a reference of 33 bits", {kGrant | std::uint64_t{1} << 44, 1, 0, 0, 2 | 8, 7}, false},
  };
  for (const Case& each : cases) {
    const absl::Status checked = each.region.Check();
    EXPECT_EQ(checked.ok(), each.is_valid) << each.what << ": " << checked;
    if (checked.ok()) continue;
    EXPECT_THAT(std::string(checked.message()), HasSubstr("expected "));
  }
}

TEST(VhostUserRegionTest, KnowsItsKind) {
  EXPECT_EQ((MemoryRegion{.flags = 0}.kind()), Kind::kPlain);
  EXPECT_EQ((MemoryRegion{.flags = 1}.kind()), Kind::kForeign);
  EXPECT_EQ((MemoryRegion{.flags = 2}.kind()), Kind::kGrants);
  EXPECT_EQ((MemoryRegion{.flags = 10}.kind()), Kind::kGrants);
  EXPECT_FALSE(MemoryRegion{.flags = 2}.is_no_advance());
  EXPECT_TRUE(MemoryRegion{.flags = 10}.is_no_advance());
  EXPECT_TRUE(MemoryRegion{.flags = 0x102}.is_no_advance());
  EXPECT_EQ(MemoryRegion::kNoAdvance, 8u) << "is what others send";
}

TEST(VhostUserRegionTest, CountsThePagesThatBytesTouch) {
  const struct {
    std::uint64_t address, bytes, pages;
  } cases[] = {{0, 1, 1},           {0, 4096, 1},       {0, 4097, 2},
               {4095, 1, 1},        {4095, 2, 2},       {4095, 4097, 2},
               {4095, 4098, 3},     {kGrant | 1, 1, 1}, {kGrant | 0xfff, 2, 2},
               {kGrant, 0x3000, 3}, {1, 0x3000, 4}};
  for (const auto& each : cases) {
    EXPECT_EQ(MemoryRegion::Pages(each.address, each.bytes), each.pages)
        << each.address << " " << each.bytes;
  }
}

class MessageSocketTest : public testing::Test {
 protected:
  void SetUp() override {
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    theirs_ = std::make_unique<FileDescriptor>(ends[0]);
    ours_ = std::make_unique<MessageSocket>(FileDescriptor(ends[1]));
  }

  void SendBytes(const std::vector<std::byte>& bytes) {
    ASSERT_EQ(write(theirs_->get(), bytes.data(), bytes.size()),
              static_cast<ssize_t>(bytes.size()));
  }
  static std::vector<std::byte> MessageOf(std::uint32_t request, std::uint32_t flags,
                                          std::uint32_t size) {
    return Bytes({request, flags, size});
  }

  std::unique_ptr<FileDescriptor> theirs_;
  std::unique_ptr<MessageSocket> ours_;
};

TEST_F(MessageSocketTest, AMessageThatComesInPiecesIsWaitedFor) {
  std::vector<std::byte> bytes = MessageOf(8, 1 | 8, 8);
  bytes.resize(20, std::byte{5});
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto received = ours_->Receive();
    ASSERT_TRUE(received.ok()) << received.status();
    EXPECT_FALSE(received->has_value()) << i;
    SendBytes({bytes[i]});
  }
  const auto received = ours_->Receive();
  ASSERT_TRUE(received.ok() && received->has_value());
  EXPECT_EQ((*received)->request, Request::kSetVringNum);
  EXPECT_TRUE((*received)->needs_reply());
  EXPECT_EQ((*received)->payload, std::vector<std::byte>(8, std::byte{5}));
  EXPECT_FALSE((*ours_->Receive()).has_value());
}

TEST_F(MessageSocketTest, MessagesThatComeAtOnceAreTakenOneByOne) {
  for (std::uint32_t request = 1; request < 4; ++request) SendBytes(MessageOf(request, 1, 0));
  for (std::uint32_t request = 1; request < 4; ++request) {
    EXPECT_EQ((*ours_->Receive())->request, Request{request});
  }
}

TEST_F(MessageSocketTest, WhatIsNoRequestOfThisVersionIsRefused) {
  for (const auto& [flags, size] :
       {std::pair(0u, 0u), std::pair(2u, 0u), std::pair(3u, 0u), std::pair(1u | 4u, 0u),
        std::pair(1u, 4097u), std::pair(1u, 0xffffffffu)}) {
    SetUp();
    SendBytes(MessageOf(1, flags, size));
    EXPECT_TRUE(absl::IsInvalidArgument(ours_->Receive().status())) << flags << " " << size;
  }
  SetUp();
  SendBytes(MessageOf(1, 1, 4096));
  EXPECT_TRUE(ours_->Receive().ok());
}

TEST_F(MessageSocketTest, OneThatEndsInTheMiddleIsNoMessage) {
  SendBytes({std::byte{1}});
  EXPECT_TRUE(ours_->Receive().ok());
  theirs_.reset();
  const absl::Status ended = ours_->Receive().status();
  EXPECT_TRUE(absl::IsCancelled(ended));
  EXPECT_THAT(std::string(ended.message()), HasSubstr("middle"));
}

TEST_F(MessageSocketTest, DescriptorsComeWithTheirMessage) {
  const std::size_t before = OpenFiles();
  MessageSocket sender(FileDescriptor(dup(theirs_->get())));
  const std::vector<int> one = {0}, many(kMostDescriptors, 0);
  ASSERT_TRUE(sender.Send(Request::kAddMemReg, 1, {}, one).ok());
  ASSERT_TRUE(sender.Send(Request::kSetMemTable, 1, WriteU64(0), many).ok());
  ASSERT_TRUE(sender.Send(Request::kSetOwner, 1, {}).ok());
  EXPECT_EQ((*ours_->Receive())->files.size(), 1u);
  EXPECT_EQ((*ours_->Receive())->files.size(), kMostDescriptors);
  EXPECT_EQ((*ours_->Receive())->files.size(), 0u);
  EXPECT_EQ(OpenFiles(), before + 1) << "they are closed with it, but for the sender's socket";
}

TEST_F(MessageSocketTest, MoreDescriptorsThanOneMessageMayHaveAreClosed) {
  const std::size_t before = OpenFiles();
  {
    MessageSocket sender(FileDescriptor(dup(theirs_->get())));
    // In the pieces of one message.
    const std::vector<int> many(kMostDescriptors, 0);
    const std::vector<std::byte> header = MessageOf(5, 1, 100);
    SendBytes({header.begin(), header.begin() + 4});
    ASSERT_TRUE(sender.Send(Request{1}, 12, {}, many).ok());
    ASSERT_TRUE(sender.Send(Request{0}, 0, {}, many).ok());
  }
  EXPECT_TRUE(absl::IsInvalidArgument(ours_->Receive().status()));
  ours_.reset();
  EXPECT_EQ(OpenFiles(), before - 1);
}

TEST_F(MessageSocketTest, WhatTheOtherSideDoesNotReadIsNotWaitedFor) {
  const std::vector<std::byte> payload(200);
  absl::Status sent = absl::OkStatus();
  for (int i = 0; i < 100'000 && sent.ok(); ++i) {
    sent = ours_->Send(Request::kGetConfig, Header::kReply, payload);
  }
  EXPECT_TRUE(absl::IsUnavailable(sent)) << sent;
  theirs_.reset();
  EXPECT_TRUE(absl::IsCancelled(ours_->Send(Request::kGetConfig, Header::kReply, payload)));
}

TEST(EventFileTest, OnlyAnEventfdIsOne) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  EXPECT_FALSE(EventFile::Of(FileDescriptor(ends[0])).ok());
  EXPECT_FALSE(EventFile::Of(FileDescriptor(ends[1])).ok());
  EXPECT_FALSE(EventFile::Of(FileDescriptor(memfd_create("no", MFD_CLOEXEC))).ok());
  const int fd = eventfd(0, EFD_CLOEXEC);
  const auto file = EventFile::Of(FileDescriptor(fd));
  ASSERT_TRUE(file.ok());
  EXPECT_FALSE(file->Take()) << "without waiting";
  file->Signal();
  file->Signal();
  EXPECT_TRUE(file->Take());
  EXPECT_FALSE(file->Take());
  // One that is full is not waited for, either.
  const std::uint64_t full = ~std::uint64_t{0} - 1;
  ASSERT_EQ(write(fd, &full, sizeof(full)), 8);
  file->Signal();
  EXPECT_TRUE(file->Take());
}

}  // namespace
}  // namespace xencomm::vhost_user
