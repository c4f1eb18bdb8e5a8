// What a domain that the machine sets up is to be, and which space a domain's pointers are in.
#ifndef HCALL_HYPERVISOR_DOMAIN_DOMAIN_CONFIG_H_
#define HCALL_HYPERVISOR_DOMAIN_DOMAIN_CONFIG_H_

#include <cstdint>

#include "xencomm/byte_order.h"

namespace xencomm::hypervisor {

// The space that the handles of a domain's calls are in.
enum class SpaceKind : std::uint8_t {
  kRaw,     // virtual addresses, by the vcpu's raw space; a call opts into a region by bit 30
  kRegion,  // into the region that the call names; a call without one has no pointers
  kXcom,    // descriptors and inline addresses
};

// A domain that the machine sets up by itself, as Xen sets up domain 0.
struct DomainConfig {
  std::uint16_t id = 0;
  std::uint64_t pages = 0;  // at gfn 0 and up, in runs of 16 that are permuted in machine memory
  // The first of them lie in the hypervisor's own memory, where the pool has such
  // (MachineConfig::own_end): what the domain's kernel shows nobody.
  std::uint64_t own_pages = 0;
  unsigned vcpus = 1;
  ByteOrder order = kNativeOrder;
  SpaceKind space = SpaceKind::kRegion;
  // Who calls for it reaches all frames: grants may be mapped in place (domain/grant_maps.h).
  bool reaches_frames = false;
  bool privileged = false;  // a control domain; without it, only what Xen lets a guest do
};

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_DOMAIN_DOMAIN_CONFIG_H_
