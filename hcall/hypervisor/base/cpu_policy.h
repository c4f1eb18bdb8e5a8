// The processor that domains are told of: a fixed x86-64 one, whatever runs the hypervisor.
//
// Toolstacks compare, level and migrate by it, so that it must be the same on every machine: a
// 64-bit processor with SSE2 and hardware virtualisation, and none of the features that need state
// to be saved beyond FXSAVE.
#ifndef HCALL_HYPERVISOR_BASE_CPU_POLICY_H_
#define HCALL_HYPERVISOR_BASE_CPU_POLICY_H_

#include <array>
#include <cstdint>
#include <span>

#include "hcall/schema/generated/types.h"

namespace xencomm::hypervisor {

// Words of a featureset in Xen 4.17.7 (public/arch-x86/cpufeatureset.h).
inline constexpr unsigned kFeaturesetWords = 19;

// The most that a policy of Xen 4.17.7 can hold (CPUID_MAX_SERIALISED_LEAVES and
// MSR_MAX_SERIALISED_ENTRIES in lib/x86/cpu-policy.h).
inline constexpr std::uint32_t kMaxCpuidLeaves = 14 + 2 + 5 + 1 + 62 + 34 + 2;
inline constexpr std::uint32_t kMaxMsrEntries = 2;

std::span<const std::uint32_t, kFeaturesetWords> HostFeatureset();
std::span<const xen_cpuid_leaf_t> HostLeaves();
std::span<const xen_msr_entry_t> HostMsrs();

// A domain's own, once a toolstack has set it; in pages of the domain.
struct CpuPolicy {
  std::uint32_t leaf_count = 0;
  std::uint32_t msr_count = 0;
  std::array<xen_cpuid_leaf_t, kMaxCpuidLeaves> leaves = {};
  std::array<xen_msr_entry_t, kMaxMsrEntries> msrs = {};
};

// Of a domain with this policy, or with none of its own.
inline std::span<const xen_cpuid_leaf_t> LeavesOf(const CpuPolicy* policy) {
  return policy == nullptr ? HostLeaves() : std::span(policy->leaves).first(policy->leaf_count);
}

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_BASE_CPU_POLICY_H_
