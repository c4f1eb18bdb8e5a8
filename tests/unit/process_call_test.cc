// What a kernel passes on of a process's hypercall, and what it keeps for itself.
#include "xencomm/process_call.h"

#include <cstdint>

#include "gtest/gtest.h"

namespace xencomm {
namespace {

constexpr std::uint64_t kSysctl = 35;  // __HYPERVISOR_sysctl, xen/xen.h
constexpr std::uint64_t kArguments[5] = {11, 12, 13, 14, 15};
constexpr RegionHandle kRegion = RegionHandle::Registered(7);

TEST(ProcessCall, PassesIndexAndArgumentsOn) {
  const auto call = PassOn(kSysctl, kArguments, RegionHandle::None(), kRegionCall);
  ASSERT_TRUE(call.has_value());
  EXPECT_EQ(call->index, kSysctl);
  EXPECT_EQ(call->region, 0u);
  for (unsigned i = 0; i < 5; ++i) EXPECT_EQ(call->arguments[i], kArguments[i]);
}

TEST(ProcessCall, TheRegionIsTheKernelsToSay) {
  // With the region the bit that opts in, where there is one; without it, no bit.
  EXPECT_EQ(PassOn(kSysctl, kArguments, kRegion, kRegionCall)->index, kSysctl | kRegionCall);
  EXPECT_EQ(PassOn(kSysctl, kArguments, kRegion, kRegionCall)->region, kRegion.value());
  EXPECT_EQ(PassOn(kSysctl, kArguments, kRegion, 0)->index, kSysctl);
  const std::uint64_t opted_in = kSysctl | kRegionCall;
  EXPECT_EQ(PassOn(opted_in, kArguments, RegionHandle::None(), kRegionCall)->index, kSysctl);
  EXPECT_EQ(PassOn(opted_in, kArguments, kRegion, 0)->index, kSysctl);
}

TEST(ProcessCall, WhatIsForKernelsIsNotPassedOnInAnyDisguise) {
  for (const std::uint64_t disguise :
       {std::uint64_t{0}, kRegionCall, std::uint64_t{1} << 32, std::uint64_t{1} << 63,
        kRegionCall | std::uint64_t{0xffffffff} << 32}) {
    for (const RegionHandle region : {RegionHandle::None(), kRegion}) {
      EXPECT_FALSE(PassOn(kXencommOp | disguise, kArguments, region, kRegionCall)) << disguise;
      EXPECT_FALSE(PassOn(kXencommOp | disguise, kArguments, region, 0)) << disguise;
    }
  }
  for (std::uint64_t index = 0; index < 256; ++index) {
    EXPECT_EQ(PassOn(index, kArguments, kRegion, kRegionCall).has_value(), index != kXencommOp);
  }
}

TEST(ProcessCall, AHandleIsAPositiveNumber) {
  EXPECT_GT(static_cast<std::int64_t>(RegionHandle::Registered(~std::uint64_t{0}).value()), 0);
  EXPECT_EQ(RegionHandle::Registered((std::uint64_t{1} << 62) - 1).id(),
            (std::uint64_t{1} << 62) - 1);
}

}  // namespace
}  // namespace xencomm
