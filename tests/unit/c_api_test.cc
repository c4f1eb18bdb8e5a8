// The C API: what each function refuses, how, and what it says.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <barrier>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "hcall/schema/generated/xen.h"
#include "xencomm/xencomm.h"

namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using namespace xencomm::xen;

constexpr char kEmbedded[] = "embedded:memory=512M,dom0=128M";

class CApi : public testing::Test {
 protected:
  void SetUp() override {
    x_ = xencomm_open(kEmbedded);
    ASSERT_NE(x_, nullptr) << xencomm_error();
  }
  void TearDown() override { EXPECT_EQ(xencomm_close(x_), 0); }

  // What the last call, which failed, left behind.
  static void ExpectRefusal(int error, const std::string& words) {
    EXPECT_EQ(errno, error);
    EXPECT_THAT(std::string(xencomm_error()), HasSubstr(words));
  }

  xencomm_context* x_ = nullptr;
};

TEST(CApiOpen, RefusesWhatIsNoTransport) {
  const struct {
    const char* setting;
    int error;
    const char* words;
  } cases[] = {
      {"xen", EINVAL, "'xen' is no transport: expected privcmd, xencomm-device, machine:PATH"},
      {"privcmd:fast", EINVAL, "'privcmd:fast': privcmd takes no options"},
      {"xencomm-device:fast", EINVAL, "'xencomm-device:fast': xencomm-device takes no options"},
      {"embedded:space=warp", EINVAL, "space=warp: expected direct"},
      {"embedded:memory=1", EINVAL, "memory=1: expected"},
  };
  for (const auto& [setting, error, words] : cases) {
    errno = 0;
    EXPECT_EQ(xencomm_open(setting), nullptr);
    EXPECT_EQ(errno, error) << setting;
    EXPECT_THAT(std::string(xencomm_error()), HasSubstr(words));
  }
}

TEST(CApiOpen, WithoutXenPrivcmdSaysWhatToDo) {
  if (access("/dev/xen/privcmd", F_OK) == 0) GTEST_SKIP() << "this machine runs on Xen";
  unsetenv("XENCOMM_TRANSPORT");
  for (const char* const setting : {static_cast<const char*>(nullptr), "privcmd"}) {
    EXPECT_EQ(xencomm_open(setting), nullptr);
    EXPECT_EQ(errno, ENODEV);
    EXPECT_THAT(std::string(xencomm_error()),
                AllOf(HasSubstr("/dev/xen/privcmd"), HasSubstr("XENCOMM_TRANSPORT=embedded")));
  }
}

// Also when they open at once, each the first.
TEST(CApiOpen, ThreadsThatOpenAlikeShareTheirMemory) {
  constexpr unsigned kThreads = 4;
  for (int round = 0; round < 5; ++round) {
    xencomm_context* opened[kThreads] = {};
    std::barrier together(kThreads);
    std::vector<std::thread> threads;
    for (xencomm_context*& each : opened) {
      threads.emplace_back([&] {
        together.arrive_and_wait();
        each = xencomm_open(kEmbedded);
      });
    }
    for (std::thread& thread : threads) thread.join();
    void* const memory = xencomm_alloc(opened[0], 100);
    for (xencomm_context* const each : opened) EXPECT_EQ(xencomm_check(each, memory, 1, 100), 0);
    for (xencomm_context* const each : opened) EXPECT_EQ(xencomm_close(each), 0);
  }
}

TEST_F(CApi, TheEnvironmentChoosesWhenTheProgramDoesNot) {
  setenv("XENCOMM_TRANSPORT", kEmbedded, 1);
  xencomm_context* const other = xencomm_open(nullptr);
  ASSERT_NE(other, nullptr) << xencomm_error();
  // Opened alike, they share their memory.
  void* const memory = xencomm_alloc(x_, 100);
  EXPECT_EQ(xencomm_free(other, memory), 0);
  EXPECT_EQ(xencomm_close(other), 0);
  unsetenv("XENCOMM_TRANSPORT");
}

TEST_F(CApi, OneMachineAProcess) {
  EXPECT_EQ(xencomm_open("embedded:memory=1G,dom0=128M"), nullptr);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_THAT(std::string(xencomm_error()), HasSubstr("already"));
  xencomm_context* const walking = xencomm_open("embedded:memory=512M,dom0=128M,space=walk4");
  EXPECT_NE(walking, nullptr) << xencomm_error();
  EXPECT_EQ(xencomm_close(walking), 0);
}

TEST_F(CApi, AllocatesAndFrees) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{144},
                                 std::size_t{4096}, std::size_t{8192}, std::size_t{1} << 22}) {
    void* const memory = xencomm_alloc(x_, size);
    ASSERT_NE(memory, nullptr) << xencomm_error();
    EXPECT_EQ(xencomm_free(x_, memory), 0) << xencomm_error();
    auto* const cleared = static_cast<unsigned char*>(xencomm_calloc(x_, size, 1));
    for (std::size_t i = 0; i < size; ++i) ASSERT_EQ(cleared[i], 0);
    EXPECT_EQ(xencomm_free(x_, cleared), 0);
    void* const aligned = xencomm_alloc_aligned(x_, 4096, size);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(aligned) % 4096, 0u);
    EXPECT_EQ(xencomm_free(x_, aligned), 0);
  }
  EXPECT_EQ(xencomm_free(x_, nullptr), 0);
}

TEST_F(CApi, RefusesWhatCannotBeAllocated) {
  EXPECT_EQ(xencomm_alloc_array(x_, SIZE_MAX / 4, 8), nullptr);
  ExpectRefusal(EINVAL, "passes 2^64");
  EXPECT_EQ(xencomm_calloc(x_, SIZE_MAX, 2), nullptr);
  ExpectRefusal(EINVAL, "passes 2^64");
  EXPECT_EQ(xencomm_alloc(x_, std::size_t{1} << 40), nullptr);
  ExpectRefusal(ENOMEM, "1099511627776 bytes");
  EXPECT_EQ(xencomm_alloc_aligned(x_, 48, 8), nullptr);
  ExpectRefusal(EINVAL, "alignment of 48");
}

TEST_F(CApi, RefusesToFreeWhatIsNotLive) {
  auto* const memory = static_cast<char*>(xencomm_alloc(x_, 256));
  int local = 0;
  EXPECT_EQ(xencomm_free(x_, memory + 8), -1);
  ExpectRefusal(EINVAL, "inside the allocation");
  EXPECT_EQ(xencomm_free(x_, &local), -1);
  ExpectRefusal(EINVAL, "not memory of this arena");
  EXPECT_EQ(xencomm_free(x_, memory), 0);
  EXPECT_EQ(xencomm_free(x_, memory), -1);
  ExpectRefusal(EINVAL, "free already");
}

TEST_F(CApi, HandlesNameLiveMemoryOnly) {
  GuestPointer<std::uint8_t> handle = {};
  auto* const memory = static_cast<std::uint8_t*>(xencomm_alloc(x_, 256));
  EXPECT_EQ(XENCOMM_SET_HANDLE(x_, handle, memory, 256), 0);
  EXPECT_EQ(handle.p, memory);

  handle.p = nullptr;
  EXPECT_EQ(XENCOMM_SET_HANDLE(x_, handle, memory + 1, 256), -1);
  ExpectRefusal(EFAULT, "run out of the allocation");
  std::uint8_t local[4] = {};
  EXPECT_EQ(XENCOMM_SET_HANDLE(x_, handle, local, 4), -1);
  ExpectRefusal(EFAULT, "not memory of this arena");
  EXPECT_EQ(xencomm_check(x_, memory, SIZE_MAX, 2), -1);
  ExpectRefusal(EFAULT, "18446744073709551615 elements of 2 bytes: the product passes 2^64");
  EXPECT_EQ(handle.p, nullptr) << "a refusal set the handle";
  EXPECT_EQ(XENCOMM_SET_HANDLE(x_, handle, local, 0), 0) << "zero bytes are not looked at";
  EXPECT_EQ(xencomm_free(x_, memory), 0);
}

TEST_F(CApi, CallsAnswerOrSayWhy) {
  EXPECT_EQ(xencomm_call(x_, __HYPERVISOR_xen_version, XENVER_version, 0, 0, 0, 0), 4 << 16 | 17);
  auto* const text = static_cast<char*>(xencomm_calloc(x_, 1, sizeof(xen_extraversion_t)));
  EXPECT_EQ(xencomm_call(x_, __HYPERVISOR_xen_version, XENVER_extraversion,
                         reinterpret_cast<std::uintptr_t>(text), 0, 0, 0),
            0);
  EXPECT_THAT(std::string(text), Not(IsEmpty()));
  EXPECT_EQ(xencomm_call(x_, __HYPERVISOR_xen_version, XENVER_extraversion, 16, 0, 0, 0), -1);
  ExpectRefusal(EFAULT, "hypercall 17 answered EFAULT");
  EXPECT_EQ(xencomm_call(x_, 999, 0, 0, 0, 0, 0), -1);
  ExpectRefusal(ENOSYS, "hypercall 999 answered ENOSYS");
  EXPECT_EQ(xencomm_free(x_, text), 0);
}

TEST_F(CApi, ShowsHowAPointerIsTranslated) {
  auto* const memory = static_cast<char*>(xencomm_alloc(x_, 4096));
  xencomm_translation region = {};
  xencomm_translation walk = {};
  ASSERT_EQ(xencomm_translate(x_, memory + 5, XENCOMM_SPACE_REGION, &region), 0) << xencomm_error();
  ASSERT_EQ(xencomm_translate(x_, memory + 5, XENCOMM_SPACE_WALK, &walk), 0) << xencomm_error();
  EXPECT_EQ(region.pointer, std::bit_cast<std::uintptr_t>(memory + 5));
  EXPECT_EQ(walk.pointer, region.pointer);
  EXPECT_EQ(region.region % 4096, 0u);
  EXPECT_EQ(walk.region, 0u);
  EXPECT_EQ(region.machine, walk.machine);
  EXPECT_EQ(region.guest_physical, walk.guest_physical);
  EXPECT_EQ(region.guest_physical % 4096, 5u);
  // The base of the pointer's granule, which the table holds behind its header of 32 bytes.
  ASSERT_EQ(region.steps, 1u);
  EXPECT_STREQ(region.step[0].table, "base");
  EXPECT_EQ(region.step[0].index, (region.pointer - region.region) / 4096);
  EXPECT_EQ(region.step[0].address % 4096, 32 + 8 * region.step[0].index);
  EXPECT_EQ(region.step[0].entry, region.guest_physical - 5);
  ASSERT_EQ(walk.steps, 4u);
  EXPECT_STREQ(walk.step[0].table, "PML4");
  EXPECT_STREQ(walk.step[3].table, "PT");
  int local = 0;
  EXPECT_EQ(xencomm_translate(x_, &local, XENCOMM_SPACE_REGION, &region), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(xencomm_free(x_, memory), 0);
}

TEST_F(CApi, ErrorsAreTheThreadsOwn) {
  EXPECT_EQ(xencomm_free(x_, &x_), -1);
  std::thread([] { EXPECT_THAT(std::string(xencomm_error()), IsEmpty()); }).join();
  EXPECT_THAT(std::string(xencomm_error()), Not(IsEmpty()));
}

TEST_F(CApi, AForkedChildIsRefusedAndOpensItsOwn) {
  void* const memory = xencomm_alloc(x_, 64);
  const pid_t child = fork();
  if (child == 0) {
    if (xencomm_alloc(x_, 64) != nullptr || errno != ESTALE) _exit(1);
    if (std::string(xencomm_error()).find("fork") == std::string::npos) _exit(2);
    if (xencomm_free(x_, memory) != -1 || errno != ESTALE) _exit(3);
    if (xencomm_check(x_, memory, 1, 1) != -1 || errno != ESTALE) _exit(4);
    if (xencomm_call(x_, __HYPERVISOR_xen_version, 0, 0, 0, 0, 0) != -1 || errno != ESTALE) {
      _exit(5);
    }
    xencomm_context* const own = xencomm_open(kEmbedded);
    if (own == nullptr || xencomm_alloc(own, 64) == nullptr) _exit(6);
    if (xencomm_call(own, __HYPERVISOR_xen_version, 0, 0, 0, 0, 0) < 0) _exit(7);
    _exit(xencomm_close(own) | xencomm_close(x_));
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(xencomm_free(x_, memory), 0);
}

}  // namespace
