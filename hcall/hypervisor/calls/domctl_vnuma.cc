// domctl: setting a domain's virtual NUMA topology.

#include "hcall/hypervisor/calls/domctl.h"
#include "hcall/hypervisor/domain/vnuma.h"
#include "hcall/schema/generated/rows.h"

namespace xencomm::hypervisor {
namespace {

namespace rows = schema::rows::domctl::setvnumainfo;

constexpr std::uint32_t kMaxPhysicalNodes = 64;  // MAX_NUMNODES

std::int64_t Fill(DomctlCall& op, Vnuma& vnuma) {
  const auto distances = op.argument.Bind(rows::vdistance);
  const auto ranges = op.argument.Bind(rows::vmemrange);
  const auto vcpus = op.argument.Bind(rows::vcpu_to_vnode);
  const auto nodes = op.argument.Bind(rows::vnode_to_pnode);
  const std::uint32_t count = vnuma.nr_vnodes;
  if (!distances.Read(0, std::span(vnuma.vdistance).first(std::size_t{count} * count)).ok() ||
      !ranges.Read(0, std::span(vnuma.vmemrange).first(vnuma.nr_vmemranges)).ok() ||
      !vcpus.Read(0, std::span(vnuma.vcpu_to_vnode, vnuma.nr_vcpus)).ok()) {
    return -kEFAULT;
  }
  for (std::uint32_t i = 0; i < vnuma.nr_vcpus; ++i) {
    if (vnuma.vcpu_to_vnode[i] >= count) return -kE2BIG;
  }
  for (std::uint32_t i = 0; i < count; ++i) {
    std::uint32_t physical;
    if (!nodes.Read(i, physical).ok()) return -kEFAULT;
    if (physical >= kMaxPhysicalNodes) return -kE2BIG;
  }
  for (std::uint32_t i = 0; i < vnuma.nr_vmemranges; ++i) {
    if (vnuma.vmemrange[i].flags != 0) return -kEINVAL;
  }
  return 0;
}

}  // namespace

std::int64_t SetVnumaOp(DomctlCall& op) {
  const xen_domctl_vnuma& request = op.argument->u.vnuma;
  Domain& target = *op.target;
  if (request.nr_vcpus != target.max_vcpus || request.pad != 0) return -kEINVAL;
  if (request.nr_vnodes == 0 || request.nr_vnodes > Vnuma::kMaxNodes ||
      request.nr_vmemranges > Vnuma::kMaxRanges) {
    return -kEINVAL;
  }
  Vnuma* vnuma = target.overhead.New<Vnuma>();
  if (vnuma == nullptr) return -kENOMEM;
  vnuma->nr_vnodes = request.nr_vnodes;
  vnuma->nr_vmemranges = request.nr_vmemranges;
  vnuma->nr_vcpus = request.nr_vcpus;
  vnuma->vcpu_to_vnode = target.overhead.New<std::uint32_t>(request.nr_vcpus);
  const std::int64_t answer = vnuma->vcpu_to_vnode == nullptr ? -kENOMEM : Fill(op, *vnuma);
  if (answer == 0) vnuma = target.vnuma.exchange(vnuma, std::memory_order_release);
  Vnuma::Delete(vnuma, target.overhead);
  return answer;
}

}  // namespace xencomm::hypervisor
