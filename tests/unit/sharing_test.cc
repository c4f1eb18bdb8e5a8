// Other domains' memory by the installed interface, between clients of three domains of one
// machine: domain 0, and two that were made for processes.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <map>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "hcall/schema/generated/xen.h"
#include "tests/unit/failing_memory.h"
#include "tests/unit/machine_of_clients.h"
#include "tests/unit/open_files.h"
#include "xencomm/grant_share.h"
#include "xencomm/mapper.h"
#include "xencomm/sharing.h"

namespace xencomm {
namespace {

using machine::Connection;
using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

constexpr std::size_t kPage = 4096;

class SharingTest : public testing::Test {
 protected:
  std::string Setting(std::uint16_t domain) {
    return "machine:" + machine_.path() +
           (domain == 0 ? std::string() : ",domain=" + std::to_string(domain));
  }
  std::shared_ptr<Connection> MakeDomain() {
    auto made = Connection::Open(
        {.path = machine_.path(), .domain = machine::kNewDomain | std::uint64_t{32} << 20});
    EXPECT_TRUE(made.ok()) << made.status();
    return *std::move(made);
  }
  std::shared_ptr<Mapper> MapperOf(std::uint16_t domain) {
    auto mapper = Mapper::Open(Setting(domain));
    EXPECT_TRUE(mapper.ok()) << mapper.status();
    return *std::move(mapper);
  }
  GrantShare ShareOf(std::uint16_t domain) {
    auto share = GrantShare::Open(Setting(domain));
    EXPECT_TRUE(share.ok()) << share.status();
    return *std::move(share);
  }
  std::uint64_t held() { return machine_.statistics().held_frames; }

  // Pages of domain `from`, for domain `to`, in which each byte of page i is `first + i`.
  std::vector<Grant> Lend(GrantShare& share, std::uint16_t from, std::uint16_t to,
                          std::size_t count, int first, Access access = Access::kWrite) {
    const auto pages = share.Allocate(to, count, access);
    EXPECT_TRUE(pages.ok()) << pages.status();
    const auto start = share.Map(pages->page, count, Access::kWrite);
    EXPECT_TRUE(start.ok()) << start.status();
    std::vector<Grant> grants;
    for (std::size_t i = 0; i < count; ++i) {
      std::memset(*start + i * kPage, first + static_cast<int>(i), kPage);
      grants.push_back({from, pages->refs[i]});
    }
    return grants;
  }

  // What a process of its own answers.
  static int InChild(const std::function<int()>& body) {
    const pid_t child = fork();
    if (child == 0) _exit(body());
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 256;
  }

  machine::MachineOfClients machine_;
  const std::shared_ptr<Connection> a_connection_ = MakeDomain(), b_connection_ = MakeDomain();
  const std::uint16_t a_ = a_connection_->domain(), b_ = b_connection_->domain();
};

TEST_F(SharingTest, ScatteredGrantsOfSeveralDomainsAreOneRange) {
  GrantShare of_a = ShareOf(a_), of_b = ShareOf(b_);
  const std::vector<Grant> from_a = Lend(of_a, a_, 0, 3, 10);
  const std::vector<Grant> from_b = Lend(of_b, b_, 0, 2, 20);
  const Grant grants[] = {from_a[2], from_b[1], from_a[0], from_b[0], from_a[2]};
  const auto mapper = MapperOf(0);
  const std::uint64_t held_before = held();
  {
    auto mapped = mapper->MapGrants(grants, Access::kWrite);
    ASSERT_TRUE(mapped.ok()) << mapped.status();
    ASSERT_EQ(mapped->pages(), 5u);
    std::vector<int> seen;
    for (std::size_t i = 0; i < 5; ++i) {
      seen.push_back(std::to_integer<int>(mapped->data()[i * kPage + 7]));
    }
    EXPECT_THAT(seen, ElementsAre(12, 21, 10, 20, 12));
    // The same page twice, and it is the owner's.
    mapped->data()[4 * kPage] = std::byte{0x77};
    EXPECT_EQ(mapped->data()[0], std::byte{0x77});

    GrantMapping moved = *std::move(mapped);
    EXPECT_EQ(moved.data()[7], std::byte{12});
    EXPECT_GT(held(), held_before);
  }
  EXPECT_EQ(held(), held_before) << "what moved is unmapped once, and at the end";
}

TEST_F(SharingTest, MoreThanADeviceMapsAtOnceAreOneRange) {
  GrantShare of_a = ShareOf(a_);
  const std::vector<Grant> lent = Lend(of_a, a_, 0, 100, 1);
  std::vector<Grant> grants(9000);
  for (std::size_t i = 0; i < grants.size(); ++i) grants[i] = lent[i % 100];
  auto mapped = MapperOf(0)->MapGrants(grants, Access::kRead);
  ASSERT_TRUE(mapped.ok()) << mapped.status();
  for (std::size_t i = 0; i < grants.size(); ++i) {
    ASSERT_EQ(mapped->data()[i * kPage], static_cast<std::byte>(1 + i % 100)) << i;
  }
}

TEST_F(SharingTest, OfGrantsSomeFailAndTheOthersAreThere) {
  GrantShare of_a = ShareOf(a_);
  const std::vector<Grant> lent = Lend(of_a, a_, 0, 4, 30);
  const std::vector<Grant> readable = Lend(of_a, a_, 0, 1, 40, Access::kRead);
  const Grant grants[] = {lent[0], readable[0],       {a_, 8000}, lent[1],
                          lent[2], {b_, lent[0].ref}, {5555, 9},  lent[3]};
  const auto mapper = MapperOf(0);
  const std::uint64_t held_before = held();
  {
    int errors[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    const auto mapped = mapper->MapGrants(grants, Access::kWrite, errors);
    ASSERT_TRUE(mapped.ok()) << mapped.status();
    EXPECT_THAT(errors, ElementsAre(0, -EACCES, -EINVAL, 0, 0, -EINVAL, -EINVAL, 0));
    for (const auto& [i, value] : {std::pair(0, 30), {3, 31}, {4, 32}, {7, 33}}) {
      EXPECT_EQ(mapped->data()[i * 4096], static_cast<std::byte>(value)) << i;
    }
    EXPECT_EQ(held(), held_before + 4) << "and not what was tried";
    EXPECT_DEATH(static_cast<volatile std::byte*>(mapped->data())[kPage] = std::byte{1}, "");
  }
  EXPECT_EQ(held(), held_before);

  // All or nothing.
  for (const auto& [count, error, words] :
       {std::tuple(std::size_t{2}, absl::StatusCode::kPermissionDenied,
                   "grant " + std::to_string(readable[0].ref) + " of domain " + std::to_string(a_) +
                       " cannot be mapped for writing"),
        std::tuple(std::size_t{1}, absl::StatusCode::kInvalidArgument,
                   std::string("grant 8000 of domain "))}) {
    const auto refused =
        mapper->MapGrants(std::span(grants).subspan(count == 2 ? 0 : 2, count), Access::kWrite);
    EXPECT_EQ(refused.status().code(), error) << refused.status();
    EXPECT_THAT(std::string(refused.status().message()), HasSubstr(words));
    EXPECT_EQ(held(), held_before);
  }
  const auto read = mapper->MapGrants(readable, Access::kRead);
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->data()[9], std::byte{40});
  EXPECT_DEATH(static_cast<volatile std::byte*>(read->data())[0] = std::byte{1}, "");
}

TEST_F(SharingTest, WhatCannotBeMeantIsRefusedInASentence) {
  const auto mapper = MapperOf(0);
  const Grant grant[] = {{a_, 1}};
  int errors[2];
  EXPECT_THAT(std::string(mapper->MapGrants({}, Access::kRead).status().message()),
              HasSubstr("expected one"));
  EXPECT_THAT(std::string(mapper->MapGrants(grant, Access::kRead, errors).status().message()),
              HasSubstr("2 errors: expected one for each of 1"));
  EXPECT_EQ(mapper->MapFrames(a_, {}, Access::kRead).status().code(),
            absl::StatusCode::kInvalidArgument);

  for (const std::string setting : {"embedded", "embedded:space=walk4"}) {
    EXPECT_EQ(Mapper::Open(setting).status().code(), absl::StatusCode::kUnimplemented);
    const absl::Status refused = GrantShare::Open(setting).status();
    EXPECT_EQ(refused.code(), absl::StatusCode::kUnimplemented);
    EXPECT_THAT(std::string(refused.message()), HasSubstr("nobody to share memory with"));
  }
  EXPECT_EQ(Mapper::Open("xen").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Mapper::Open("machine:/no/such").status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(SharingTest, FramesOfADomainAreMappedAndEachSaysWhatFailed) {
  ASSERT_EQ(machine_.machine().hypervisor().BuildDomain({.id = 900, .pages = 8, .vcpus = 1}), 0);
  const auto mapper = MapperOf(0);
  const std::uint64_t held_before = held();
  {
    const std::uint64_t frames[] = {3, 8, 5};
    int errors[3];
    const auto mapped = mapper->MapFrames(900, frames, Access::kWrite, errors);
    ASSERT_TRUE(mapped.ok()) << mapped.status();
    EXPECT_THAT(errors, ElementsAre(0, -EINVAL, 0));
    EXPECT_EQ(mapped->pages(), 3u);
    mapped->data()[2 * kPage] = std::byte{5};
    const std::uint64_t five[] = {5};
    const auto again = mapper->MapFrames(900, five, Access::kRead);
    ASSERT_TRUE(again.ok());
    EXPECT_EQ(again->data()[0], std::byte{5});

    const auto refused = mapper->MapFrames(900, frames, Access::kRead);
    EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(refused.status().message()),
                HasSubstr("frame 0x8 of domain 900 cannot be mapped"));
    EXPECT_EQ(held(), held_before + 3);
    const auto nobody = mapper->MapFrames(901, five, Access::kRead);
    EXPECT_EQ(nobody.status().code(), absl::StatusCode::kNotFound) << nobody.status();
    // Which only domain 0 may.
    EXPECT_FALSE(MapperOf(a_)->MapFrames(900, five, Access::kRead).ok());
  }
  EXPECT_EQ(held(), held_before);
}

TEST_F(SharingTest, CopiesAreMadeOneByOneAndSayWhatBecameOfThem) {
  GrantShare of_a = ShareOf(a_), of_b = ShareOf(b_);
  const std::vector<Grant> from_a = Lend(of_a, a_, 0, 1, 50);
  const std::vector<Grant> from_b = Lend(of_b, b_, 0, 1, 60);
  const std::vector<Grant> readable = Lend(of_a, a_, 0, 1, 70, Access::kRead);
  const auto mapper = MapperOf(0);
  char text[16] = "copied by Xen";
  char back[16] = {};
  CopySegment segments[] = {
      {CopySide::Of(text), CopySide::Of(from_a[0], 100), sizeof(text)},
      {CopySide::Of(from_a[0], 100), CopySide::Of(from_b[0], 4096 - 16), sizeof(text)},
      {CopySide::Of(text), CopySide::Of(readable[0], 0), sizeof(text)},
      {CopySide::Of(from_b[0], 4096 - 16), CopySide::Of(back), sizeof(back)}};
  EXPECT_TRUE(mapper->Copy(segments).ok());
  EXPECT_STREQ(back, text);
  EXPECT_THAT(std::vector<int>({segments[0].status, segments[1].status, segments[3].status}),
              Each(0));
  EXPECT_LT(segments[2].status, 0);

  const CopySegment wrong[] = {{CopySide::Of(text), CopySide::Of(back), 4},
                               {CopySide::Of(from_a[0], 4095), CopySide::Of(back), 2},
                               {CopySide::Of(text), CopySide::Of(from_a[0], 0), 4097}};
  for (const CopySegment& each : wrong) {
    CopySegment pair[] = {{CopySide::Of(from_a[0], 0), CopySide::Of(back), 1}, each};
    const absl::Status refused = mapper->Copy(pair);
    EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument) << refused;
    EXPECT_THAT(std::string(refused.message()), HasSubstr("segment 1 of"));
    EXPECT_STREQ(back, text) << "before any copy";
  }
  EXPECT_TRUE(mapper->Copy({}).ok());
}

TEST_F(SharingTest, ANoticeComesWhenAllOfTheMappingIsGone) {
  GrantShare of_a = ShareOf(a_);
  const auto pages = *of_a.Allocate(0, 3, Access::kWrite);
  std::byte* const ours = *of_a.Map(pages.page, 3, Access::kWrite);
  std::memset(ours, 9, 3 * kPage);
  // In two parts.
  const Grant grants[] = {
      {a_, pages.refs[0]}, {a_, 8000}, {a_, pages.refs[1]}, {a_, pages.refs[2]}};
  int errors[4];
  {
    auto mapped = MapperOf(0)->MapGrants(grants, Access::kWrite, errors);
    ASSERT_TRUE(mapped.ok());
    EXPECT_TRUE(mapped->NotifyAtUnmap(5, std::nullopt).ok());
    EXPECT_TRUE(mapped->NotifyAtUnmap(3 * kPage + 8, std::nullopt).ok()) << "in its place";
    for (const std::uint64_t byte : {kPage, 4 * kPage, std::size_t{1} << 40}) {
      EXPECT_EQ(mapped->NotifyAtUnmap(byte, std::nullopt).code(),
                absl::StatusCode::kInvalidArgument)
          << byte;
    }
    EXPECT_FALSE(mapped->NotifyAtUnmap(std::nullopt, 999).ok()) << "nobody has that port";
    EXPECT_EQ(ours[2 * kPage + 8], std::byte{9});
  }
  EXPECT_EQ(ours[2 * kPage + 8], std::byte{0});
  EXPECT_EQ(std::count(ours, ours + 3 * kPage, std::byte{9}), 3 * 4096 - 1);

  {
    auto mapped = *MapperOf(0)->MapGrants(std::span(grants).first(1), Access::kWrite);
    EXPECT_TRUE(mapped.NotifyAtUnmap(5, std::nullopt).ok());
    EXPECT_TRUE(mapped.NotifyAtUnmap(std::nullopt, std::nullopt).ok());
    auto read = *MapperOf(0)->MapGrants(std::span(grants).first(1), Access::kRead);
    EXPECT_FALSE(read.NotifyAtUnmap(6, std::nullopt).ok());
  }
  EXPECT_EQ(ours[5], std::byte{9});
}

TEST_F(SharingTest, PagesAreWhereTheCallerSays) {
  GrantShare share = ShareOf(a_);
  EXPECT_EQ(share.AllocateAt(100, 0, 3, Access::kWrite)->page, 100u);
  for (const std::uint64_t page : {98u, 100u, 102u}) {
    const auto refused = share.AllocateAt(page, 0, 3, Access::kWrite);
    EXPECT_EQ(refused.status().code(), absl::StatusCode::kAlreadyExists) << page;
  }
  EXPECT_TRUE(share.AllocateAt(97, 0, 3, Access::kWrite).ok());
  EXPECT_TRUE(share.AllocateAt(103, 0, 1, Access::kWrite).ok());
  EXPECT_EQ(share.Allocate(0, 1, Access::kWrite)->page, 104u) << "behind all there were";
  EXPECT_FALSE(share.AllocateAt(~std::uint64_t{0}, 0, 1, Access::kWrite).ok());
  EXPECT_FALSE(share.AllocateAt(~std::uint64_t{0} - 1, 0, 3, Access::kWrite).ok());
  EXPECT_FALSE(share.Allocate(0, 0, Access::kWrite).ok());
  EXPECT_FALSE(share.Allocate(0, std::size_t{1} << 60, Access::kWrite).ok());

  // Any run is mapped, also across allocations.
  std::byte* const start = *share.Map(98, 6, Access::kWrite);
  start[0] = std::byte{1};
  start[6 * kPage - 1] = std::byte{2};
  EXPECT_EQ(share.Map(96, 2, Access::kWrite).status().code(), absl::StatusCode::kNotFound);

  // An address anywhere in a mapping.
  EXPECT_EQ(*share.OffsetOf(start), 98 * kPage);
  EXPECT_EQ(*share.OffsetOf(start + 5 * kPage + 17), 103 * kPage + 17);
  EXPECT_EQ(*share.OffsetOf(start + 6 * kPage - 1), 104 * kPage - 1);
  EXPECT_FALSE(share.OffsetOf(start + 6 * kPage).ok());
  EXPECT_FALSE(share.OffsetOf(start - 1).ok());

  EXPECT_FALSE(share.Unmap(start + kPage).ok());
  EXPECT_TRUE(share.Unmap(start).ok());
  EXPECT_FALSE(share.Unmap(start).ok());
  EXPECT_FALSE(share.OffsetOf(start).ok());
}

TEST_F(SharingTest, FreedPagesAreFreedOnce) {
  GrantShare share = ShareOf(a_);
  ASSERT_TRUE(share.AllocateAt(10, 0, 10, Access::kWrite).ok());
  EXPECT_TRUE(share.Free(13, 2).ok());
  EXPECT_EQ(share.Free(13, 2).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(share.Free(12, 2).ok()) << "half of it is not there";
  auto other = GrantShare::FromDescriptor(Setting(a_), share.fd());
  ASSERT_TRUE(other.ok()) << other.status();
  ASSERT_TRUE(other->AllocateAt(13, 0, 2, Access::kWrite).ok());
  ASSERT_TRUE(other->AllocateAt(30, 0, 1, Access::kWrite).ok());
  EXPECT_TRUE(share.Free(19, 1).ok());
  EXPECT_TRUE(share.Free(10, 1).ok());
  { const GrantShare ended = std::move(share); }
  // What the other allocated is there, and what this one did is not.
  EXPECT_TRUE(other->Map(13, 2, Access::kRead).ok());
  EXPECT_TRUE(other->Map(30, 1, Access::kRead).ok());
  for (const std::uint64_t gone : {10u, 11u, 12u, 15u, 16u, 18u, 19u}) {
    EXPECT_FALSE(other->Map(gone, 1, Access::kRead).ok()) << gone;
  }
}

TEST_F(SharingTest, APageIsGrantedToSeveralAndTakenBackFromOne) {
  GrantShare share = ShareOf(0);
  const auto pages = *share.Allocate(a_, 2, Access::kWrite);
  const auto also = share.GrantAlso(pages.page, b_, 2, Access::kRead);
  ASSERT_TRUE(also.ok()) << also.status();
  EXPECT_THAT(*share.List(pages.page + 1),
              UnorderedElementsAre(SharedGrant{{a_, pages.refs[1]}, Access::kWrite},
                                   SharedGrant{{b_, (*also)[1]}, Access::kRead}));
  std::byte* const ours = *share.Map(pages.page, 2, Access::kWrite);
  ours[kPage] = std::byte{4};

  const Grant of_a[] = {{0, pages.refs[1]}}, of_b[] = {{0, (*also)[1]}};
  auto in_a = MapperOf(a_)->MapGrants(of_a, Access::kWrite);
  ASSERT_TRUE(in_a.ok()) << in_a.status();
  EXPECT_FALSE(MapperOf(b_)->MapGrants(of_a, Access::kRead).ok()) << "it is the other's";
  EXPECT_EQ(MapperOf(b_)->MapGrants(of_b, Access::kWrite).status().code(),
            absl::StatusCode::kPermissionDenied);
  {
    const auto in_b = MapperOf(b_)->MapGrants(of_b, Access::kRead);
    ASSERT_TRUE(in_b.ok());
    in_a->data()[0] = std::byte{7};
    EXPECT_EQ(in_b->data()[0], std::byte{7});
    const absl::Status used = share.Revoke((*also)[1]);
    EXPECT_EQ(used.code(), absl::StatusCode::kAborted) << used;
  }
  EXPECT_TRUE(share.Revoke((*also)[1]).ok());
  EXPECT_FALSE(MapperOf(b_)->MapGrants(of_b, Access::kRead).ok());
  EXPECT_EQ(share.Revoke((*also)[1]).code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(*share.List(pages.page + 1),
              ElementsAre(SharedGrant{{a_, pages.refs[1]}, Access::kWrite}));
  EXPECT_EQ(in_a->data()[0], std::byte{7}) << "the others' stays";
  EXPECT_FALSE(share.GrantAlso(pages.page + 1, b_, 2, Access::kRead).ok());
  EXPECT_FALSE(share.List(pages.page + 2).ok());
}

TEST_F(SharingTest, AFileIsSharedThroughFork) {
  GrantShare share = ShareOf(a_);
  const auto pages = *share.Allocate(0, 2, Access::kWrite);
  std::byte* const ours = *share.Map(pages.page, 2, Access::kWrite);
  const std::vector<Grant> lent = {{a_, pages.refs[0]}, {a_, pages.refs[1]}};
  auto mapper = MapperOf(0);
  auto mapped = std::make_unique<GrantMapping>(*mapper->MapGrants(lent, Access::kWrite));
  const std::string setting = Setting(a_);
  ours[kPage] = std::byte{1};
  EXPECT_EQ(InChild([&] {
              // What the parent made refuses, and its end does nothing.
              if (share.Allocate(0, 1, Access::kWrite).status().code() !=
                  absl::StatusCode::kFailedPrecondition) {
                return 1;
              }
              if (mapper->MapGrants(lent, Access::kWrite).status().code() !=
                  absl::StatusCode::kFailedPrecondition) {
                return 2;
              }
              mapped.reset();
              auto own = GrantShare::FromDescriptor(setting, share.fd());
              if (!own.ok()) return 3;
              const GrantShare gone = std::move(share);
              const auto start = own->Map(pages.page, 2, Access::kWrite);
              if (!start.ok()) return 4;
              if ((*start)[kPage] != std::byte{1}) return 5;
              (*start)[kPage] = std::byte{2};
              return own->AllocateAt(50, 0, 1, Access::kWrite).ok() ? 0 : 6;
            }),
            0);
  EXPECT_EQ(ours[kPage], std::byte{2});
  EXPECT_EQ(mapped->data()[kPage], std::byte{2});
  EXPECT_TRUE(share.Map(pages.page, 2, Access::kRead).ok());
  EXPECT_FALSE(share.Map(50, 1, Access::kRead).ok()) << "it went with the child's share";
}

TEST_F(SharingTest, AFileIsSharedThroughASocket) {
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const FileDescriptor here(ends[0]), there(ends[1]);
  const std::string setting = Setting(a_);
  const pid_t child = fork();
  if (child == 0) {
    auto share = GrantShare::Open(setting);
    if (!share.ok()) _exit(1);
    const auto pages = share->AllocateAt(7, 0, 1, Access::kWrite);
    if (!pages.ok()) _exit(2);
    (*share->Map(7, 1, Access::kWrite))[9] = std::byte{0x99};
    std::uint32_t ref = pages->refs[0];
    char control[CMSG_SPACE(sizeof(int))] = {};
    iovec part = {&ref, sizeof(ref)};
    msghdr message = {};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    cmsghdr* const head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int));
    const int fd = share->fd();
    std::memcpy(CMSG_DATA(head), &fd, sizeof(fd));
    _exit(sendmsg(there.get(), &message, 0) == sizeof(ref) ? 0 : 3);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  std::uint32_t ref = 0;
  char control[CMSG_SPACE(sizeof(int))] = {};
  iovec part = {&ref, sizeof(ref)};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  ASSERT_EQ(recvmsg(here.get(), &message, MSG_CMSG_CLOEXEC), static_cast<ssize_t>(sizeof(ref)));
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
  const FileDescriptor received(fd);

  // The process that made it is dead, and its pages are there.
  auto share = GrantShare::FromDescriptor(setting, received.get());
  ASSERT_TRUE(share.ok()) << share.status();
  EXPECT_EQ((*share->Map(7, 1, Access::kRead))[9], std::byte{0x99});
  const Grant grants[] = {{a_, ref}};
  EXPECT_EQ(MapperOf(0)->MapGrants(grants, Access::kRead)->data()[9], std::byte{0x99});
}

TEST_F(SharingTest, WhatIsNoSharesDescriptorIsRefused) {
  const FileDescriptor null(open("/dev/null", O_RDWR | O_CLOEXEC));
  const auto gntdev = a_connection_->OpenDevice(XENCOMM_GNTDEV, O_RDWR);
  ASSERT_TRUE(gntdev.ok());
  for (const int fd : {null.get(), gntdev->fd.get(), -1, 12345}) {
    const absl::Status refused = GrantShare::FromDescriptor(Setting(a_), fd).status();
    EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument) << fd << " " << refused;
  }
  for (const int fd : {null.get(), -1}) {
    EXPECT_EQ(GrantShare::FromDescriptor("privcmd", fd).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST_F(SharingTest, NothingIsLeftOfWhatEnded) {
  const auto use = [&] {
    GrantShare share = ShareOf(a_);
    const std::vector<Grant> lent = Lend(share, a_, 0, 5, 1);
    EXPECT_TRUE(share.GrantAlso(0, b_, 5, Access::kRead).ok());
    const auto mapper = MapperOf(0);
    const auto mapped = mapper->MapGrants(lent, Access::kWrite);
    EXPECT_TRUE(mapped.ok());
    const std::vector<Grant> wrong = {lent[0], {b_, 9}, lent[2]};
    EXPECT_FALSE(mapper->MapGrants(wrong, Access::kWrite).ok());
  };
  use();
  const std::uint64_t held_before = held();
  const std::size_t files = OpenFiles(), mappings = MappingsOf("");
  const std::uint64_t free = machine_.frames().free();
  for (int i = 0; i < 20; ++i) use();
  EXPECT_EQ(held(), held_before);
  EXPECT_EQ(machine_.frames().free(), free);
  // The machine's side of a file ends in its own time.
  for (int i = 0; i < 1000 && OpenFiles() > files; ++i) usleep(1000);
  EXPECT_LE(OpenFiles(), files);
  EXPECT_LE(MappingsOf(""), mappings + 4);
}

// The C interface over the same.
class SharingInC : public SharingTest {
 protected:
  static void ExpectRefusal(int error, const std::string& words) {
    EXPECT_EQ(errno, error);
    EXPECT_THAT(std::string(xencomm_error()), HasSubstr(words));
  }
};

TEST_F(SharingInC, SharesMapsAndCopies) {
  xencomm_share* const share = xencomm_share_open(Setting(a_).c_str());
  ASSERT_NE(share, nullptr) << xencomm_error();
  std::uint32_t refs[3];
  EXPECT_EQ(xencomm_share_allocate(share, 5, 0, 3, XENCOMM_WRITABLE, refs), 5);
  EXPECT_EQ(xencomm_share_allocate(share, 7, 0, 1, 0, refs), -1);
  ExpectRefusal(EEXIST, "1 pages for domain 0 at page 7");
  EXPECT_EQ(xencomm_share_allocate(share, XENCOMM_UNSET, 0, 1, 0, refs + 2), 8);
  EXPECT_EQ(xencomm_share_allocate(share, -2, 0, 1, 0, refs), -1);
  ExpectRefusal(EINVAL, "page -2");
  EXPECT_EQ(xencomm_share_allocate(share, XENCOMM_UNSET, 0, 1, 2, refs), -1);
  ExpectRefusal(EINVAL, "flags 0x2");
  auto* const ours = static_cast<char*>(xencomm_share_map(share, 5, 4, XENCOMM_WRITABLE));
  ASSERT_NE(ours, nullptr) << xencomm_error();
  EXPECT_EQ(xencomm_share_map(share, 4, 1, 0), nullptr);
  ExpectRefusal(EINVAL, "page 4");
  EXPECT_EQ(xencomm_share_offset(share, ours + 4097), 6 * 4096 + 1);
  EXPECT_EQ(xencomm_share_offset(share, &refs), -1);
  ExpectRefusal(EINVAL, "expected an address in a mapping");

  std::uint32_t also = 0;
  EXPECT_EQ(xencomm_share_also(share, 5, b_, 1, 0, &also), 0);
  xencomm_grant list[1] = {};
  EXPECT_EQ(xencomm_share_list(share, 5, 1, list), 2);
  EXPECT_EQ(list[0].domain, 0);
  EXPECT_EQ(list[0].ref, refs[0]);

  xencomm_mapper* const mapper = xencomm_mapper_open(Setting(0).c_str());
  ASSERT_NE(mapper, nullptr) << xencomm_error();
  const xencomm_grant grants[] = {{a_, refs[1]}, {a_, refs[2]}, {a_, 9999}, {a_, refs[0]}};
  int errors[4] = {};
  xencomm_mapping* mapping = xencomm_map_grants(mapper, 4, grants, XENCOMM_WRITABLE, errors);
  ASSERT_NE(mapping, nullptr) << xencomm_error();
  EXPECT_THAT(errors, ElementsAre(0, EACCES, EINVAL, 0));
  EXPECT_EQ(xencomm_mapping_pages(mapping), 4u);
  auto* const data = static_cast<char*>(xencomm_mapping_data(mapping));
  data[3 * 4096] = 'x';
  EXPECT_EQ(ours[0], 'x');
  EXPECT_EQ(xencomm_notify_at_unmap(mapping, 3 * 4096, XENCOMM_UNSET), 0);
  for (const auto& [byte, port] : {std::pair<std::int64_t, std::int64_t>(-5, -1),
                                   {1 << 20, -1},
                                   {-1, std::int64_t{1} << 32}}) {
    EXPECT_EQ(xencomm_notify_at_unmap(mapping, byte, port), -1);
    EXPECT_EQ(errno, EINVAL);
  }
  EXPECT_EQ(xencomm_share_revoke(share, refs[0]), -1);
  ExpectRefusal(EBUSY, "to be taken back");
  EXPECT_EQ(xencomm_unmap(mapping), 0);
  EXPECT_EQ(ours[0], 0);
  EXPECT_EQ(xencomm_map_grants(mapper, 4, grants, XENCOMM_WRITABLE, nullptr), nullptr);
  ExpectRefusal(EACCES, "cannot be mapped for writing");
  EXPECT_EQ(xencomm_map_grants(mapper, 4, grants, 8, nullptr), nullptr);
  ExpectRefusal(EINVAL, "flags 0x8");

  char text[] = "copied";
  xencomm_copy copies[] = {{.from = {.memory = text, .grant = {}, .offset = 0},
                            .to = {.memory = nullptr, .grant = grants[0], .offset = 30},
                            .length = sizeof(text),
                            .status = 1},
                           {.from = {.memory = text, .grant = {}, .offset = 0},
                            .to = {.memory = nullptr, .grant = grants[1], .offset = 0},
                            .length = 1,
                            .status = 1}};
  EXPECT_EQ(xencomm_copy_grants(mapper, 2, copies), 0);
  EXPECT_EQ(copies[0].status, GNTST_okay);
  EXPECT_LT(copies[1].status, 0);
  EXPECT_STREQ(ours + 4096 + 30, text);
  copies[0].to.offset = 4095;
  EXPECT_EQ(xencomm_copy_grants(mapper, 1, copies), -1);
  ExpectRefusal(EINVAL, "segment 0 of 7 bytes");

  // By its descriptor.
  xencomm_share* const again = xencomm_share_of_fd(Setting(a_).c_str(), xencomm_share_fd(share));
  ASSERT_NE(again, nullptr) << xencomm_error();
  EXPECT_STREQ(static_cast<char*>(xencomm_share_map(again, 6, 1, 0)) + 30, text);
  EXPECT_EQ(xencomm_share_notify(again, 6, 30, XENCOMM_UNSET), 0);
  EXPECT_EQ(xencomm_share_notify(again, 6, 4096, XENCOMM_UNSET), -1);
  EXPECT_EQ(xencomm_share_notify(again, 60, 1, XENCOMM_UNSET), -1);
  EXPECT_EQ(xencomm_share_unmap(share, ours), 0);
  EXPECT_EQ(xencomm_share_unmap(share, ours), -1);
  EXPECT_EQ(xencomm_share_free(share, 6, 1), 0);
  EXPECT_EQ(xencomm_share_free(share, 6, 1), -1);
  ExpectRefusal(EINVAL, "1 pages at page 6 to be freed");
  EXPECT_EQ(xencomm_share_close(again), 0);
  EXPECT_EQ(xencomm_share_close(share), 0);
  EXPECT_EQ(xencomm_mapper_close(mapper), 0);
  EXPECT_EQ(xencomm_share_close(nullptr) | xencomm_mapper_close(nullptr) | xencomm_unmap(nullptr),
            0);
}

// Memory of this thread runs out at any step of each function: it answers, and the next time it
// succeeds.
TEST_F(SharingInC, AnswersWhenMemoryRunsOutAtAnyStep) {
  const std::string own = Setting(0), theirs = Setting(a_);
  xencomm_share* const share = xencomm_share_open(theirs.c_str());
  xencomm_mapper* const mapper = xencomm_mapper_open(own.c_str());
  std::uint32_t refs[4];
  ASSERT_EQ(xencomm_share_allocate(share, 0, 0, 4, XENCOMM_WRITABLE, refs), 0);
  ASSERT_EQ(machine_.machine().hypervisor().BuildDomain({.id = 900, .pages = 8, .vcpus = 1}), 0);
  const xencomm_grant grants[] = {{a_, refs[0]}, {a_, 9999}, {a_, refs[1]}};
  const std::uint64_t frames[] = {1, 77};
  int errors[3];
  char text[8] = {};
  xencomm_copy copy = {.from = {.memory = text, .grant = {}, .offset = 0},
                       .to = {.memory = nullptr, .grant = grants[0], .offset = 0},
                       .length = sizeof(text),
                       .status = 0};
  xencomm_mapping* const kept = xencomm_map_grants(mapper, 1, grants, XENCOMM_WRITABLE, nullptr);
  void* const mapped = xencomm_share_map(share, 2, 1, 0);
  xencomm_grant listed;
  const auto close = [](auto* opened, auto* closes) {
    return opened != nullptr && closes(opened) == 0;
  };
  const std::map<std::string, std::function<bool()>> cases = {
      {"mapper_open",
       [&] { return close(xencomm_mapper_open(own.c_str()), xencomm_mapper_close); }},
      {"share_open",
       [&] { return close(xencomm_share_open(theirs.c_str()), xencomm_share_close); }},
      {"share_of_fd",
       [&] {
         return close(xencomm_share_of_fd(theirs.c_str(), xencomm_share_fd(share)),
                      xencomm_share_close);
       }},
      {"map_grants",
       [&] { return close(xencomm_map_grants(mapper, 3, grants, 0, errors), xencomm_unmap); }},
      {"map_grants, all or nothing",
       [&] {
         errno = 0;
         return xencomm_map_grants(mapper, 3, grants, 0, nullptr) == nullptr && errno == EINVAL;
       }},
      {"map_frames",
       [&] { return close(xencomm_map_frames(mapper, 900, 2, frames, 0, errors), xencomm_unmap); }},
      {"copy_grants", [&] { return xencomm_copy_grants(mapper, 1, &copy) == 0; }},
      {"notify_at_unmap", [&] { return xencomm_notify_at_unmap(kept, 9, XENCOMM_UNSET) == 0; }},
      {"mapping_data", [&] { return xencomm_mapping_data(kept) != nullptr; }},
      {"mapping_pages", [&] { return xencomm_mapping_pages(kept) == 1; }},
      {"share_allocate",
       [&] {
         const bool done = xencomm_share_allocate(share, 50, 0, 2, 0, refs + 2) == 50;
         const Unlimited unlimited;
         EXPECT_EQ(xencomm_share_free(share, 50, 2) == 0, done);
         return done;
       }},
      {"share_free",
       [&] {
         {
           const Unlimited unlimited;
           EXPECT_EQ(xencomm_share_allocate(share, 60, 0, 3, 0, refs + 1), 60);
         }
         const bool done = xencomm_share_free(share, 61, 1) == 0;
         const Unlimited unlimited;
         EXPECT_EQ(xencomm_share_free(share, 61, 1) == 0, !done);
         EXPECT_EQ(xencomm_share_free(share, 60, 1) | xencomm_share_free(share, 62, 1), 0);
         return done;
       }},
      {"share_map",
       [&] {
         void* const data = xencomm_share_map(share, 0, 2, 0);
         const Unlimited unlimited;
         return data != nullptr && xencomm_share_unmap(share, data) == 0;
       }},
      {"share_offset", [&] { return xencomm_share_offset(share, mapped) == 2 * 4096; }},
      {"share_also",
       [&] {
         std::uint32_t ref = 0;
         const bool done = xencomm_share_also(share, 3, b_, 1, 0, &ref) == 0;
         const Unlimited unlimited;
         EXPECT_EQ(xencomm_share_revoke(share, ref) == 0, done);
         return done;
       }},
      {"share_list", [&] { return xencomm_share_list(share, 3, 1, &listed) == 1; }},
      {"share_revoke",
       [&] {
         errno = 0;
         return xencomm_share_revoke(share, 9999) == -1 && errno == EINVAL;
       }},
      {"share_notify", [&] { return xencomm_share_notify(share, 0, 1, XENCOMM_UNSET) == 0; }},
  };
  for (const auto& [name, call] : cases) {
    SCOPED_TRACE(name);
    ASSERT_TRUE(call()) << xencomm_error();
    const std::uint64_t held_before = held();
    for (long step = 0;; ++step) {
      ASSERT_LT(step, 1000);
      allocations_left = step;
      ran_out = false;
      errno = 0;
      const bool succeeded = call();
      const int error = errno;
      allocations_left = -1;
      if (!ran_out) break;
      EXPECT_TRUE(succeeded || error == ENOMEM) << "errno " << error << ", of step " << step;
      EXPECT_EQ(held(), held_before) << step;
      ASSERT_TRUE(call()) << xencomm_error() << ", after step " << step;
    }
  }
  EXPECT_EQ(xencomm_unmap(kept) | xencomm_mapper_close(mapper) | xencomm_share_close(share), 0);
}

TEST_F(SharingInC, MapsFrames) {
  ASSERT_EQ(machine_.machine().hypervisor().BuildDomain({.id = 900, .pages = 8, .vcpus = 1}), 0);
  xencomm_mapper* const mapper = xencomm_mapper_open(Setting(0).c_str());
  ASSERT_NE(mapper, nullptr) << xencomm_error();
  const std::uint64_t frames[] = {1, 77};
  int errors[2] = {};
  xencomm_mapping* const mapping = xencomm_map_frames(mapper, 900, 2, frames, 0, errors);
  ASSERT_NE(mapping, nullptr) << xencomm_error();
  EXPECT_THAT(errors, ElementsAre(0, EINVAL));
  EXPECT_EQ(*static_cast<char*>(xencomm_mapping_data(mapping)), 0);
  EXPECT_EQ(xencomm_notify_at_unmap(mapping, 0, XENCOMM_UNSET), -1);
  ExpectRefusal(EINVAL, "a mapping of frames");
  EXPECT_EQ(xencomm_map_frames(mapper, 900, 2, frames, 0, nullptr), nullptr);
  ExpectRefusal(EINVAL, "frame 0x4d of domain 900");
  EXPECT_EQ(xencomm_mapper_close(mapper), 0);
  EXPECT_EQ(xencomm_unmap(mapping), 0) << "which outlives its mapper";

  EXPECT_EQ(xencomm_mapper_open("embedded"), nullptr);
  ExpectRefusal(ENOTSUP, "nobody to share memory with");
  EXPECT_EQ(xencomm_share_open("embedded"), nullptr);
  ExpectRefusal(ENOTSUP, "nobody to share memory with");
}

}  // namespace
}  // namespace xencomm
