// domctl: the processor that a domain is told of.

#include <utility>

#include "hcall/hypervisor/base/cpu_policy.h"
#include "hcall/hypervisor/calls/domctl.h"
#include "hcall/schema/generated/rows.h"

namespace xencomm::hypervisor {
namespace {

namespace rows = schema::rows::domctl;

struct PolicyView {
  std::span<const xen_cpuid_leaf_t> leaves;
  std::span<const xen_msr_entry_t> msrs;
};

PolicyView PolicyOf(const Domain& domain) {
  const CpuPolicy* policy = domain.cpu_policy;
  return {LeavesOf(policy),
          policy == nullptr ? HostMsrs() : std::span(policy->msrs).first(policy->msr_count)};
}

// Leaves that a policy may have at all: basic, hypervisor and extended ones of a known number.
bool IsKnownLeaf(std::uint32_t leaf) {
  return leaf <= 0xd || leaf == 0x40000000 || leaf == 0x40000100 || leaf - 0x80000000 <= 0x21;
}

bool IsKnownMsr(std::uint32_t index) { return index == 0xce || index == 0x10a; }

// Puts a leaf into the list, which stays in the order in which leaves are handed out.
bool Merge(CpuPolicy& policy, const xen_cpuid_leaf_t& leaf) {
  for (std::uint32_t i = 0; i < policy.leaf_count; ++i) {
    xen_cpuid_leaf_t& each = policy.leaves[i];
    if (each.leaf == leaf.leaf && each.subleaf == leaf.subleaf) {
      each = leaf;
      return true;
    }
  }
  if (policy.leaf_count == policy.leaves.size()) return false;
  std::uint32_t place = policy.leaf_count++;
  const auto is_after = [&](const xen_cpuid_leaf_t& other) {
    return other.leaf != leaf.leaf ? other.leaf > leaf.leaf : other.subleaf > leaf.subleaf;
  };
  for (; place != 0 && is_after(policy.leaves[place - 1]); --place) {
    policy.leaves[place] = policy.leaves[place - 1];
  }
  policy.leaves[place] = leaf;
  return true;
}

// Takes the toolstack's leaves and MSRs over; on refusal the request says which.
std::int64_t MergeRequest(DomctlCall& op, CpuPolicy& policy) {
  xen_domctl_cpu_policy& request = op.argument->u.cpu_policy;
  request.err_leaf = request.err_subleaf = request.err_msr = ~std::uint32_t{0};
  const auto leaves = op.argument.Bind(rows::set_cpu_policy::leaves);
  const auto msrs = op.argument.Bind(rows::set_cpu_policy::msrs);
  if (request.nr_leaves > kMaxCpuidLeaves || request.nr_msrs > kMaxMsrEntries) return -kE2BIG;
  for (std::uint32_t i = 0; i < request.nr_leaves; ++i) {
    xen_cpuid_leaf_t leaf;
    if (!leaves.Read(i, leaf).ok()) return -kEFAULT;
    if (!IsKnownLeaf(leaf.leaf) || !Merge(policy, leaf)) {
      request.err_leaf = leaf.leaf;
      request.err_subleaf = leaf.subleaf;
      return -kERANGE;
    }
  }
  for (std::uint32_t i = 0; i < request.nr_msrs; ++i) {
    xen_msr_entry_t msr;
    if (!msrs.Read(i, msr).ok()) return -kEFAULT;
    request.err_msr = msr.idx;
    if (msr.flags != 0) return -kEINVAL;
    if (!IsKnownMsr(msr.idx)) return -kERANGE;
    request.err_msr = ~std::uint32_t{0};
    for (xen_msr_entry_t& each : std::span(policy.msrs).first(policy.msr_count)) {
      if (each.idx == msr.idx) each.val = msr.val;
    }
  }
  return 0;
}

}  // namespace

std::int64_t GetCpuPolicyOp(DomctlCall& op) {
  xen_domctl_cpu_policy& request = op.argument->u.cpu_policy;
  const auto leaves = op.argument.Bind(rows::get_cpu_policy::leaves);
  const auto msrs = op.argument.Bind(rows::get_cpu_policy::msrs);
  const PolicyView policy = PolicyOf(*op.target);
  if (leaves.is_null()) {
    request.nr_leaves = kMaxCpuidLeaves;
  } else {
    if (request.nr_leaves < policy.leaves.size()) return -kENOBUFS;
    if (!leaves.Write(0, policy.leaves).ok()) return -kEFAULT;
    request.nr_leaves = static_cast<std::uint32_t>(policy.leaves.size());
  }
  if (msrs.is_null()) {
    request.nr_msrs = kMaxMsrEntries;
  } else {
    if (request.nr_msrs < policy.msrs.size()) return -kENOBUFS;
    if (!msrs.Write(0, policy.msrs).ok()) return -kEFAULT;
    request.nr_msrs = static_cast<std::uint32_t>(policy.msrs.size());
  }
  op.copy_back = true;
  return 0;
}

std::int64_t SetCpuPolicyOp(DomctlCall& op) {
  Domain& target = *op.target;
  if (&target == &op.call.domain) return -kEINVAL;
  if (target.creation_finished) return -kEEXIST;
  CpuPolicy* policy = target.overhead.New<CpuPolicy>();
  if (policy == nullptr) return -kENOMEM;
  const PolicyView old = PolicyOf(target);
  for (const xen_cpuid_leaf_t& leaf : old.leaves) policy->leaves[policy->leaf_count++] = leaf;
  for (const xen_msr_entry_t& msr : old.msrs) policy->msrs[policy->msr_count++] = msr;

  const std::int64_t answer = MergeRequest(op, *policy);
  if (answer == 0) {
    std::swap(policy, target.cpu_policy);
  } else {
    op.copy_back = true;
  }
  target.overhead.Delete(policy);
  return answer;
}

}  // namespace xencomm::hypervisor
