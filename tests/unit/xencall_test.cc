// The drop-in libraries through the headers of the libraries that they stand in for.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "hcall/schema/generated/xen.h"
#include "tests/unit/fake_privcmd.h"
#include "tests/unit/process_mapping.h"

extern "C" {
#include <xencall.h>
#include <xenforeignmemory.h>
#include <xentoolcore.h>
#include <xentoollog.h>
}

namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using xencomm::testing::FakePrivcmd;
using xencomm::testing::IsMapped;
using xencomm::testing::MappingAt;
using namespace xencomm::xen;

// A logger that keeps what it is told.
struct RecordingLogger : xentoollog_logger {
  RecordingLogger() : xentoollog_logger{} {
    vmessage = [](xentoollog_logger* logger, xentoollog_level, int, const char*, const char* format,
                  va_list arguments) {
      char line[1024];
      std::vsnprintf(line, sizeof(line), format, arguments);
      static_cast<RecordingLogger*>(logger)->text += line;
    };
    destroy = [](xentoollog_logger*) {};
  }
  std::string text;
};

class Xencall : public testing::Test {
 protected:
  void SetUp() override {
    setenv("XENCOMM_TRANSPORT", "embedded:memory=256M,dom0=64M", 1);
    xcall_ = xencall_open(&logger_, 0);
    ASSERT_NE(xcall_, nullptr) << logger_.text;
  }
  void TearDown() override { EXPECT_EQ(xencall_close(xcall_), 0); }

  static int Version(xencall_handle* xcall) {
    return xencall2(xcall, __HYPERVISOR_xen_version, XENVER_version, 0);
  }
  static bool IsNull(int fd) {
    struct stat theirs = {};
    struct stat null = {};
    return fstat(fd, &theirs) == 0 && stat("/dev/null", &null) == 0 && S_ISCHR(theirs.st_mode) &&
           theirs.st_rdev == null.st_rdev;
  }

  RecordingLogger logger_;
  xencall_handle* xcall_ = nullptr;
};

TEST(XencallOpen, WithoutAHypervisorItSaysSoAndFails) {
  setenv("XENCOMM_TRANSPORT", "embedded:space=warp", 1);
  RecordingLogger logger;
  EXPECT_EQ(xencall_open(&logger, 0), nullptr);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_THAT(logger.text, HasSubstr("space=warp"));
  // What is told is no format.
  setenv("XENCOMM_TRANSPORT", "embedded:space=100%%", 1);
  RecordingLogger literal;
  EXPECT_EQ(xencall_open(&literal, 0), nullptr);
  EXPECT_THAT(literal.text, HasSubstr("space=100%%"));
  setenv("XENCOMM_TRANSPORT", "embedded:space=warp", 1);
  RecordingLogger other;
  EXPECT_EQ(xenforeignmemory_open(&other, 0), nullptr);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_THAT(other.text, HasSubstr("space=warp"));
  EXPECT_EQ(xencall_close(nullptr), 0);
  EXPECT_EQ(xenforeignmemory_close(nullptr), 0);
}

TEST_F(Xencall, BuffersAreCleared) {
  for (int i = 0; i < 3; ++i) {
    for (const std::size_t size : {std::size_t{1}, std::size_t{144}, std::size_t{100000}}) {
      auto* const buffer = static_cast<char*>(xencall_alloc_buffer(xcall_, size));
      EXPECT_TRUE(std::all_of(buffer, buffer + size, [](char byte) { return byte == 0; }));
      std::memset(buffer, 0x5a, size);
      xencall_free_buffer(xcall_, buffer);
    }
    auto* const pages = static_cast<char*>(xencall_alloc_buffer_pages(xcall_, 2));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(pages) % 4096, 0u);
    EXPECT_TRUE(std::all_of(pages, pages + 8192, [](char byte) { return byte == 0; }));
    std::memset(pages, 0x5a, 8192);
    xencall_free_buffer_pages(xcall_, pages, 2);
  }
  EXPECT_THAT(logger_.text, IsEmpty());
}

TEST_F(Xencall, ABufferThatIsFreedTwiceIsLoggedAndTheRestGoesOn) {
  void* const buffer = xencall_alloc_buffer(xcall_, 10);
  errno = 0;
  xencall_free_buffer(xcall_, buffer);
  EXPECT_THAT(logger_.text, IsEmpty());
  xencall_free_buffer(xcall_, buffer);
  EXPECT_THAT(logger_.text, HasSubstr("free already"));
  EXPECT_EQ(errno, 0);
  xencall_free_buffer(xcall_, nullptr);
  xencall_free_buffer_pages(xcall_, nullptr, 1);
  EXPECT_NE(xencall_alloc_buffer(xcall_, 10), xencall_alloc_buffer(xcall_, 10));
}

TEST_F(Xencall, TooMuchIsRefused) {
  EXPECT_EQ(xencall_alloc_buffer(xcall_, ~std::size_t{0}), nullptr);
  EXPECT_EQ(errno, ENOMEM);
  EXPECT_EQ(xencall_alloc_buffer_pages(xcall_, ~std::size_t{0}), nullptr);
  EXPECT_EQ(errno, EINVAL);
}

TEST_F(Xencall, CallsAnswerOrSetErrno) {
  EXPECT_EQ(xencall2(xcall_, __HYPERVISOR_xen_version, XENVER_version, 0), 4 << 16 | 17);
  EXPECT_EQ(xencall2L(xcall_, __HYPERVISOR_xen_version, XENVER_version, 0), 4 << 16 | 17);
  EXPECT_EQ(xencall2(xcall_, __HYPERVISOR_xen_version, XENVER_extraversion, 8), -1);
  EXPECT_EQ(errno, EFAULT);
  EXPECT_EQ(xencall0(xcall_, 9999), -1);
  EXPECT_EQ(errno, ENOSYS);
  EXPECT_EQ(xencall5(xcall_, 9999, 1, 2, 3, 4, 5), -1);
  EXPECT_EQ(errno, ENOSYS);
  EXPECT_EQ(xencall_buffers_never_fault(xcall_), 1);
}

TEST_F(Xencall, HandlesShareTheirBuffers) {
  xencall_handle* const other = xencall_open(nullptr, XENCALL_OPENFLAG_NON_REENTRANT);
  void* const buffer = xencall_alloc_buffer(xcall_, 1024);
  EXPECT_EQ(xencall2(other, __HYPERVISOR_xen_version, XENVER_extraversion,
                     reinterpret_cast<std::uintptr_t>(buffer)),
            0);
  xencall_free_buffer(other, buffer);
  EXPECT_EQ(xencall_close(other), 0);
  EXPECT_THAT(logger_.text, IsEmpty());
}

TEST_F(Xencall, InAForkedChildItCanBeClosedAndOpenedAgain) {
  const pid_t child = fork();
  if (child == 0) {
    if (xencall_close(xcall_) != 0) _exit(1);
    xencall_handle* const own = xencall_open(nullptr, 0);
    if (own == nullptr) _exit(2);
    if (xencall2(own, __HYPERVISOR_xen_version, XENVER_version, 0) < 0) _exit(3);
    _exit(xencall_close(own));
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_GT(xencall2(xcall_, __HYPERVISOR_xen_version, XENVER_version, 0), 0);
}

TEST_F(Xencall, TheDescriptorIsOneForProgramsToUse) {
  const int fd = xencall_fd(xcall_);
  ASSERT_GE(fd, 0);
  EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDWR);
  EXPECT_FALSE(IsNull(fd));
  pollfd ready = {.fd = fd, .events = POLLIN, .revents = 0};
  EXPECT_GE(poll(&ready, 1, 0), 0);
  EXPECT_EQ(ready.revents & POLLNVAL, 0);
  EXPECT_EQ(ioctl(fd, 0), -1);
  EXPECT_EQ(errno, ENOTTY);

  // Who puts another in its place closes that with the handle.
  xencall_handle* const walking = [] {
    setenv("XENCOMM_TRANSPORT", "embedded:memory=256M,dom0=64M,space=walk4", 1);
    return xencall_open(nullptr, 0);
  }();
  ASSERT_NE(walking, nullptr);
  const int other = xencall_fd(walking);
  EXPECT_NE(other, fd);
  EXPECT_EQ(dup2(fd, other), other);
  EXPECT_GT(Version(walking), 0);
  EXPECT_EQ(xencall_close(walking), 0);
  EXPECT_EQ(fcntl(other, F_GETFD), -1);
}

// Restrictions are for good: each is of a child.
class XencallRestriction : public Xencall {
 protected:
  // Runs `checks` in a child; what fails in it fails here.
  template <class Checks>
  static void InChild(Checks checks) {
    std::fflush(nullptr);
    const pid_t child = fork();
    if (child == 0) {
      checks();
      std::fflush(nullptr);
      _exit(HasFailure() ? 1 : 0);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  static void ExpectDead(xencall_handle* xcall) {
    EXPECT_EQ(Version(xcall), -1);
    EXPECT_EQ(errno, ENOTTY);
    // Neither device is left: not for calls, nor for more memory.
    EXPECT_TRUE(IsNull(xencall_fd(xcall)));
    EXPECT_EQ(xencall_alloc_buffer_pages(xcall, 1024), nullptr);
    EXPECT_EQ(errno, EACCES);
  }
};

TEST_F(XencallRestriction, IsOfAllHandlesThatAreOpenAndOfNoLaterOne) {
  InChild([&] {
    xencall_handle* const first = xencall_open(nullptr, 0);
    xencall_handle* const second = xencall_open(nullptr, 0);
    setenv("XENCOMM_TRANSPORT", "embedded:memory=256M,dom0=64M,space=walk4", 1);
    xencall_handle* const walking = xencall_open(nullptr, 0);
    setenv("XENCOMM_TRANSPORT", "embedded:memory=256M,dom0=64M", 1);
    auto* const buffer = static_cast<char*>(xencall_alloc_buffer(first, 100));
    std::strcpy(buffer, "kept");

    ASSERT_EQ(xentoolcore_restrict_all(5), 0);
    for (xencall_handle* const each : {first, second, walking}) ExpectDead(each);

    xencall_handle* const later = xencall_open(nullptr, 0);
    ASSERT_NE(later, nullptr);
    EXPECT_GT(Version(later), 0);
    EXPECT_FALSE(IsNull(xencall_fd(later)));
    void* const extra = xencall_alloc_buffer(later, sizeof(xen_extraversion_t));
    EXPECT_EQ(xencall2(later, __HYPERVISOR_xen_version, XENVER_extraversion,
                       reinterpret_cast<std::uintptr_t>(extra)),
              0);
    EXPECT_NE(xencall_alloc_buffer_pages(later, 1024), nullptr);
    for (xencall_handle* const each : {first, second, walking}) ExpectDead(each);

    // What there was stays, and ends as ever.
    EXPECT_STREQ(buffer, "kept");
    xencall_free_buffer(first, buffer);
    void* const again = xencall_alloc_buffer(second, 100);
    EXPECT_NE(again, nullptr);
    xencall_free_buffer(second, again);
    EXPECT_EQ(xencall_close(first), 0);
    EXPECT_EQ(xencall_close(second), 0);
    EXPECT_EQ(xencall_close(walking), 0);
    EXPECT_GT(Version(later), 0);

    // The next one is of that, too.
    ASSERT_EQ(xentoolcore_restrict_all(5), 0);
    ExpectDead(later);
    EXPECT_EQ(xencall_close(later), 0);
    xencall_handle* const last = xencall_open(nullptr, 0);
    EXPECT_GT(Version(last), 0);
    EXPECT_EQ(xencall_close(last), 0);
  });
}

TEST_F(XencallRestriction, AFreshHandleGetsNoMemoryAtAll) {
  InChild([] {
    xencall_handle* const fresh = xencall_open(nullptr, 0);
    ASSERT_EQ(xentoolcore_restrict_all(5), 0);
    EXPECT_EQ(xencall_alloc_buffer(fresh, 1), nullptr);
    EXPECT_EQ(errno, EACCES);
    EXPECT_EQ(xencall_close(fresh), 0);
  });
}

TEST_F(XencallRestriction, IsOfAHandleThatAChildInherited) {
  InChild([&] {
    ASSERT_EQ(xentoolcore_restrict_all(5), 0);
    EXPECT_EQ(Version(xcall_), -1);
    EXPECT_EQ(errno, ENOTTY);
    EXPECT_TRUE(IsNull(xencall_fd(xcall_)));
    EXPECT_EQ(xencall_close(xcall_), 0);
    xencall_handle* const own = xencall_open(nullptr, 0);
    EXPECT_GT(Version(own), 0);
  });
  // The parent's is as it was.
  EXPECT_GT(Version(xcall_), 0);
  EXPECT_FALSE(IsNull(xencall_fd(xcall_)));
}

TEST_F(XencallRestriction, IsOfForeignMemoryToOneDomain) {
  InChild([] {
    xenforeignmemory_handle* const memory = xenforeignmemory_open(nullptr, 0);
    ASSERT_EQ(xentoolcore_restrict_all(5), 0);
    const xen_pfn_t frame = 100;
    EXPECT_EQ(xenforeignmemory_map(memory, 0, PROT_READ, 1, &frame, nullptr), nullptr);
    EXPECT_EQ(errno, EPERM);
    EXPECT_EQ(xentoolcore_restrict_all(5), 0);
    EXPECT_EQ(xentoolcore_restrict_all(6), -1);
    xenforeignmemory_handle* const later = xenforeignmemory_open(nullptr, 0);
    void* const mapped = xenforeignmemory_map(later, 0, PROT_READ, 1, &frame, nullptr);
    EXPECT_NE(mapped, nullptr);
    EXPECT_EQ(xenforeignmemory_unmap(later, mapped, 1), 0);
  });
}

TEST_F(XencallRestriction, WithoutAnythingToPutInPlaceFailsAndIsKeptAllTheSame) {
  InChild([] {
    xencall_handle* const own = xencall_open(nullptr, 0);
    const rlimit none = {0, 0};
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    EXPECT_EQ(xentoolcore_restrict_all(5), -1);
    EXPECT_EQ(errno, EMFILE);
    EXPECT_EQ(Version(own), -1);
    EXPECT_EQ(errno, ENOTTY);
  });
}

TEST_F(Xencall, ForeignMemoryIsMappedOrRefused) {
  xenforeignmemory_handle* const memory = xenforeignmemory_open(&logger_, 0);
  ASSERT_NE(memory, nullptr) << logger_.text;
  const xen_pfn_t frames[2] = {100, xen_pfn_t{1} << 40};
  int errors[2] = {7, 7};
  void* const mapped = xenforeignmemory_map(memory, 0, PROT_READ, 2, frames, errors);
  ASSERT_NE(mapped, nullptr);
  EXPECT_EQ(errors[0], 0);
  EXPECT_EQ(errors[1], -EINVAL);
  EXPECT_EQ(xenforeignmemory_unmap(memory, mapped, 2), 0);

  // With nowhere to say which frame failed, one fails all.
  EXPECT_EQ(xenforeignmemory_map(memory, 0, PROT_READ, 2, frames, nullptr), nullptr);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(xenforeignmemory_map(memory, 77, PROT_READ, 1, frames, nullptr), nullptr);
  EXPECT_EQ(errno, ESRCH);

  // At an address of the caller's choice.
  void* const place = mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT_EQ(xenforeignmemory_map2(memory, 0, place, PROT_READ, MAP_FIXED, 1, frames, nullptr),
            place);
  EXPECT_EQ(xenforeignmemory_unmap(memory, place, 1), 0);

  void* address = nullptr;
  // A domain's own it does not map so.
  EXPECT_EQ(xenforeignmemory_map_resource(memory, 0, 1, 0, 0, 1, &address, PROT_READ, 0), nullptr);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(
      xenforeignmemory_map_resource(memory, 0, 0, 0, 0, 1, &address, PROT_READ, MAP_ANONYMOUS),
      nullptr);
  EXPECT_EQ(errno, EINVAL);
  std::size_t size = 0;
  EXPECT_EQ(xenforeignmemory_resource_size(memory, 0, 1, 0, &size), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(xenforeignmemory_resource_size(memory, 77, 1, 0, &size), -1);
  EXPECT_EQ(errno, ESRCH);
  EXPECT_EQ(xenforeignmemory_unmap_resource(memory, nullptr), 0);
  EXPECT_EQ(xenforeignmemory_close(memory), 0);
}

// On Xen: what comes out at the other end of the libraries.
class OnXen : public testing::Test {
 protected:
  void SetUp() override {
    setenv("XENCOMM_TRANSPORT", "privcmd", 1);
    fake_.control = [this](unsigned long request, void* argument) {
      if (request == IOCTL_PRIVCMD_MMAPBATCH_V2) {
        const auto& batch = *static_cast<const privcmd_mmapbatch_v2_t*>(argument);
        // Of each two frames the first is there.
        for (unsigned i = 0; i < batch.num; ++i) batch.err[i] = batch.arr[i] % 2 == 0 ? 0 : -ENXIO;
        return 0;
      }
      if (request == IOCTL_PRIVCMD_MMAP_RESOURCE) {
        auto& resource = *static_cast<privcmd_mmap_resource_t*>(argument);
        resources_.push_back(resource);
        resource.num = 3;
      }
      return error_;
    };
  }

  FakePrivcmd fake_;
  std::vector<privcmd_mmap_resource_t> resources_;
  int error_ = 0;
  RecordingLogger logger_;
};

TEST_F(OnXen, ArgumentsArriveAsTheyAre) {
  xencall_handle* const xcall = xencall_open(&logger_, 0);
  ASSERT_NE(xcall, nullptr) << logger_.text;
  privcmd_hypercall_t seen = {};
  long answer = 0;
  fake_.call = [&](const privcmd_hypercall_t& call) {
    seen = call;
    errno = EPERM;
    return answer;
  };
  const std::function<int()> calls[] = {
      [&] { return xencall0(xcall, 30); },
      [&] { return xencall1(xcall, 31, 11); },
      [&] { return xencall2(xcall, 32, 11, 12); },
      [&] { return xencall3(xcall, 33, 11, 12, 13); },
      [&] { return xencall4(xcall, 34, 11, 12, 13, 14); },
      [&] { return xencall5(xcall, 35, 11, 12, 13, 14, 15); },
  };
  for (unsigned count = 0; count < 6; ++count) {
    answer = 77;
    EXPECT_EQ(calls[count](), 77);
    EXPECT_EQ(seen.op, 30u + count);
    for (unsigned i = 0; i < 5; ++i) EXPECT_EQ(seen.arg[i], i < count ? 11 + i : 0) << count;
    answer = -1;
    errno = 0;
    EXPECT_EQ(calls[count](), -1);
    EXPECT_EQ(errno, EPERM);
  }
  answer = 0x1'2345'6789;
  EXPECT_EQ(xencall2L(xcall, 12, 21, 22), answer) << "passes an int";
  EXPECT_EQ(seen.op, 12u);
  EXPECT_THAT(seen.arg, ElementsAre(21, 22, 0, 0, 0));
  EXPECT_EQ(xencall_fd(xcall), fake_.opened["/dev/xen/privcmd"].fd);
  EXPECT_EQ(xencall_buffers_never_fault(xcall), 1);
  EXPECT_EQ(xencall_close(xcall), 0);
  EXPECT_EQ(fcntl(fake_.opened["/dev/xen/privcmd"].fd, F_GETFD), -1) << "is left open";
  EXPECT_THAT(logger_.text, IsEmpty());
}

TEST_F(OnXen, BuffersMayFaultWhereTheKernelGivesNone) {
  fake_.open_errors["/dev/xen/hypercall"] = {ENOENT};
  xencall_handle* const xcall = xencall_open(&logger_, 0);
  EXPECT_EQ(xencall_buffers_never_fault(xcall), 0);
  // No pages are one.
  void* const page = xencall_alloc_buffer_pages(xcall, 0);
  ASSERT_NE(page, nullptr);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(page) % 4096, 0u);
  std::memset(page, 0x5a, 4096);
  void* const next = xencall_alloc_buffer_pages(xcall, 1);
  EXPECT_TRUE(next <= static_cast<char*>(page) - 4096 || next >= static_cast<char*>(page) + 4096);
  xencall_free_buffer_pages(xcall, next, 1);
  xencall_free_buffer_pages(xcall, page, 0);
  EXPECT_EQ(xencall_close(xcall), 0);
  EXPECT_THAT(logger_.text, IsEmpty());
}

TEST_F(OnXen, WhatIsInTheWayIsLoggedAndAnErrno) {
  const struct {
    int error;
    int answer;
  } cases[] = {{EACCES, EACCES}, {EPERM, EACCES}, {ENOENT, ENODEV}};
  for (const auto& [error, answer] : cases) {
    for (const bool calls : {true, false}) {
      const auto open = [&](xentoollog_logger* logger) {
        fake_.open_errors["/dev/xen/privcmd"] = {error};
        errno = 0;
        return calls ? xencall_open(logger, 0) == nullptr
                     : xenforeignmemory_open(logger, 0) == nullptr;
      };
      RecordingLogger logger;
      EXPECT_TRUE(open(&logger));
      EXPECT_EQ(errno, answer);
      EXPECT_THAT(logger.text, HasSubstr("/dev/xen/privcmd cannot be opened"));
      // Without a logger, to stderr.
      testing::internal::CaptureStderr();
      EXPECT_TRUE(open(nullptr));
      EXPECT_THAT(testing::internal::GetCapturedStderr(),
                  AllOf(HasSubstr(calls ? "xencall: error: " : "xenforeignmemory: error: "),
                        HasSubstr("/dev/xen/privcmd cannot be opened")));
    }
  }
}

class ForeignMemoryOnXen : public OnXen {
 protected:
  void SetUp() override {
    OnXen::SetUp();
    memory_ = xenforeignmemory_open(&logger_, 0);
    ASSERT_NE(memory_, nullptr) << logger_.text;
  }
  void TearDown() override {
    const int fd = fake_.opened["/dev/xen/privcmd"].fd;
    EXPECT_GE(fcntl(fd, F_GETFD), 0);
    EXPECT_EQ(xenforeignmemory_close(memory_), 0);
    EXPECT_EQ(fcntl(fd, F_GETFD), -1) << "is left open";
  }

  xenforeignmemory_resource_handle* MapResource(unsigned long frame, unsigned long frames,
                                                void** place, int flags = 0) {
    errno = 0;
    return xenforeignmemory_map_resource(memory_, 5, 1, 2, frame, frames, place,
                                         PROT_READ | PROT_WRITE, flags);
  }

  xenforeignmemory_handle* memory_ = nullptr;
};

TEST_F(ForeignMemoryOnXen, WithNowhereToTellOneFrameThatFailsFailsAll) {
  const xen_pfn_t frames[] = {2, 4, 5};
  int errors[3] = {7, 7, 7};
  void* const mapped = xenforeignmemory_map(memory_, 5, PROT_READ, 3, frames, errors);
  ASSERT_NE(mapped, nullptr);
  EXPECT_THAT(errors, ElementsAre(0, 0, -ENXIO));
  EXPECT_EQ(xenforeignmemory_unmap(memory_, mapped, 3), 0);
  EXPECT_FALSE(IsMapped(mapped));

  const auto map = [&](void* place, std::size_t count) {
    return xenforeignmemory_map2(memory_, 5, place, PROT_READ, place != nullptr ? MAP_FIXED : 0,
                                 count, frames, nullptr);
  };
  auto* const place = static_cast<char*>(map(nullptr, 2));
  ASSERT_NE(place, nullptr);
  EXPECT_EQ(map(place, 3), nullptr);
  EXPECT_EQ(errno, ENXIO);
  EXPECT_FALSE(IsMapped(place));
  EXPECT_FALSE(IsMapped(place + 3 * 4096 - 1));
  EXPECT_EQ(xenforeignmemory_unmap(memory_, place + 1, 1), -1);
  EXPECT_EQ(errno, EINVAL);
}

TEST_F(ForeignMemoryOnXen, ResourcesAreMappedUntilTheyAreUnmapped) {
  const struct {
    unsigned long frame;
    int flags;
  } cases[] = {{0, 0}, {7, MAP_SHARED}, {UINT32_MAX, MAP_PRIVATE}, {7, MAP_SHARED | MAP_PRIVATE}};
  for (const auto& [frame, flags] : cases) {
    void* place = nullptr;
    xenforeignmemory_resource_handle* const resource = MapResource(frame, 2, &place, flags);
    ASSERT_NE(resource, nullptr);
    EXPECT_EQ(resources_.back().dom, 5u);
    EXPECT_EQ(resources_.back().type, 1u);
    EXPECT_EQ(resources_.back().id, 2u);
    EXPECT_EQ(resources_.back().idx, frame);
    EXPECT_EQ(resources_.back().num, 2u);
    EXPECT_EQ(resources_.back().addr, reinterpret_cast<std::uintptr_t>(place));
    EXPECT_EQ(MappingAt(place).access, "rw-s");
    EXPECT_EQ(MappingAt(static_cast<char*>(place) + 2 * 4096 - 1).access, "rw-s");
    EXPECT_EQ(xenforeignmemory_unmap_resource(memory_, resource), 0);
    EXPECT_FALSE(IsMapped(place));
    EXPECT_FALSE(IsMapped(static_cast<char*>(place) + 2 * 4096 - 1));
  }
}

TEST_F(ForeignMemoryOnXen, NoFramesAtNoPlaceAskWhetherThereIsAResource) {
  void* place = nullptr;
  xenforeignmemory_resource_handle* const none = MapResource(9, 0, &place);
  ASSERT_NE(none, nullptr);
  EXPECT_EQ(place, nullptr);
  ASSERT_EQ(resources_.size(), 1u);
  EXPECT_EQ(resources_[0].dom, 5u);
  EXPECT_EQ(resources_[0].type, 1u);
  EXPECT_EQ(resources_[0].id, 2u);
  EXPECT_EQ(resources_[0].num, 0u);
  EXPECT_EQ(resources_[0].addr, 0u);
  EXPECT_EQ(xenforeignmemory_unmap_resource(memory_, none), 0) << "there is nothing to unmap";
  error_ = ESRCH;
  EXPECT_EQ(MapResource(0, 0, &place), nullptr);
  EXPECT_EQ(errno, ESRCH);
  EXPECT_EQ(xenforeignmemory_unmap_resource(memory_, nullptr), 0);

  std::size_t size = 7;
  EXPECT_EQ(xenforeignmemory_resource_size(memory_, 5, 1, 2, &size), -1);
  EXPECT_EQ(errno, ESRCH);
  EXPECT_EQ(size, 7u);
  error_ = 0;
  EXPECT_EQ(xenforeignmemory_resource_size(memory_, 5, 1, 2, &size), 0);
  EXPECT_EQ(size, 3u * 4096);
}

TEST_F(ForeignMemoryOnXen, ArgumentsOfResourcesAreChecked) {
  void* const taken = mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  void* place = taken;
  for (const int flag : {MAP_FIXED, MAP_ANONYMOUS, MAP_POPULATE, MAP_NORESERVE}) {
    EXPECT_EQ(MapResource(0, 1, &place, MAP_SHARED | flag), nullptr) << flag;
    EXPECT_EQ(errno, EINVAL);
  }
  EXPECT_EQ(MapResource(std::uint64_t{1} << 32, 1, &place), nullptr);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_TRUE(resources_.empty());
  // No frames at a place are no question.
  EXPECT_EQ(MapResource(0, 0, &place), nullptr);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_TRUE(resources_.empty());
  void* nowhere = nullptr;
  xenforeignmemory_resource_handle* const last = MapResource(UINT32_MAX, 1, &nowhere);
  ASSERT_NE(last, nullptr);
  EXPECT_EQ(resources_[0].idx, UINT32_MAX);
  EXPECT_EQ(xenforeignmemory_unmap_resource(memory_, last), 0);

  error_ = EINVAL;
  EXPECT_EQ(MapResource(0, 1, &place), nullptr);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(place, taken) << "a refusal moved it";
  munmap(taken, 4096);
}

TEST_F(ForeignMemoryOnXen, RestrictionsArePrivcmdsToMake) {
  error_ = EPERM;
  EXPECT_EQ(xenforeignmemory_restrict(memory_, 5), -1);
  EXPECT_EQ(errno, EPERM);
}

}  // namespace
