// Resources: pages of the hypervisor's that belong to a domain and that a toolstack maps, wherever
// the domain has them (XENMEM_acquire_resource). There is one kind, the grant table; of device
// models and of traces there are none.
#ifndef HCALL_HYPERVISOR_DOMAIN_RESOURCE_H_
#define HCALL_HYPERVISOR_DOMAIN_RESOURCE_H_

#include <cstdint>
#include <span>

namespace xencomm::hypervisor {

class Core;
class Domain;

// Which part of a domain's resources: XENMEM_resource_* and what that one calls its id.
struct Resource {
  std::uint32_t type = 0;
  std::uint32_t id = 0;
};

// How many frames there can be. Of a type that it does not know Xen answers an errno, as if it were
// a count, until 4.19.
std::uint32_t FramesOf(const Core& core, const Domain& domain, const Resource& resource);

// Frames [first, first + mfns.size()), each held, all of them or none; a grant table grows so far.
// -EINVAL (there are not so many, and cannot be), -ENOENT (no such device model), -EOPNOTSUPP (no
// such type). With the control lock held.
std::int64_t HoldResource(Core& core, Domain& domain, const Resource& resource, std::uint64_t first,
                          std::span<std::uint64_t> mfns);

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_DOMAIN_RESOURCE_H_
