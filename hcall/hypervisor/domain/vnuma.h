// Vnuma: the virtual NUMA topology that a toolstack gives a domain, and the domain asks for.
#ifndef HCALL_HYPERVISOR_DOMAIN_VNUMA_H_
#define HCALL_HYPERVISOR_DOMAIN_VNUMA_H_

#include <cstdint>

#include "hcall/hypervisor/memory/overhead.h"
#include "hcall/schema/generated/types.h"

namespace xencomm::hypervisor {

// Each list fits a page in Xen, which bounds nodes and ranges.
struct Vnuma {
  static constexpr unsigned kMaxNodes = 32;
  static constexpr unsigned kMaxRanges = kPageSize / sizeof(xen_vmemrange_t);

  std::uint32_t nr_vnodes = 0;
  std::uint32_t nr_vmemranges = 0;
  std::uint32_t nr_vcpus = 0;
  std::uint32_t vdistance[kMaxNodes * kMaxNodes] = {};  // row by row
  xen_vmemrange_t vmemrange[kMaxRanges] = {};
  std::uint32_t* vcpu_to_vnode = nullptr;  // nr_vcpus of them

  static void Delete(Vnuma* vnuma, OverheadPages& pages) {
    if (vnuma == nullptr) return;
    pages.Delete(vnuma->vcpu_to_vnode, vnuma->nr_vcpus);
    pages.Delete(vnuma);
  }
};

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_DOMAIN_VNUMA_H_
