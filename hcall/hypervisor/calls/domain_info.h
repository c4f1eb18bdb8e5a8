// What a toolstack is told of a domain: struct xen_domctl_getdomaininfo, by domctl one at a time
// and by sysctl as a list.
#ifndef HCALL_HYPERVISOR_CALLS_DOMAIN_INFO_H_
#define HCALL_HYPERVISOR_CALLS_DOMAIN_INFO_H_

#include "hcall/hypervisor/domain/core.h"
#include "hcall/schema/generated/types.h"
#include "xencomm/guest_handle.h"

namespace xencomm::hypervisor {

// All of it, padding included, so that the list's elements can leave as they are.
Cleared<xen_domctl_getdomaininfo_t> DescribeDomain(Core& core, const Domain& domain);

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_CALLS_DOMAIN_INFO_H_
