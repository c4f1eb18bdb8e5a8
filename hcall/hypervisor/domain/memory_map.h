// MemoryMap: the memory map (E820) that a toolstack gives a domain.
#ifndef HCALL_HYPERVISOR_DOMAIN_MEMORY_MAP_H_
#define HCALL_HYPERVISOR_DOMAIN_MEMORY_MAP_H_

#include <cstdint>

#include "hcall/hypervisor/memory/overhead.h"
#include "hcall/schema/generated/types.h"

namespace xencomm::hypervisor {

struct MemoryMap {
  static constexpr std::uint32_t kMaxEntries = 1024;  // E820MAX in Xen

  std::uint32_t count = 0;
  e820_entry entries[kMaxEntries] = {};
};

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_DOMAIN_MEMORY_MAP_H_
