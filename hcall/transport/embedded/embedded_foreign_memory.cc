#include "hcall/transport/embedded/embedded_foreign_memory.h"

#include <cerrno>
#include <limits>

namespace xencomm::embedded {

int EmbeddedForeignMemory::Map(std::uint32_t domain, Placement& placement,
                               std::span<const std::uint64_t> frames, std::span<int> errors) {
  if (domain > std::numeric_limits<std::uint16_t>::max()) return -EINVAL;
  const std::int32_t only = only_.load();
  if (only != kAnyDomain && only != static_cast<std::int32_t>(domain)) return -EPERM;
  return machine_->foreign_mappings().Map(static_cast<std::uint16_t>(domain), placement, frames,
                                          errors);
}

int EmbeddedForeignMemory::Unmap(void* address, std::size_t pages) {
  return machine_->foreign_mappings().Unmap(address, pages);
}

int EmbeddedForeignMemory::MapResource(const Resource&, Placement&) { return -EOPNOTSUPP; }

int EmbeddedForeignMemory::UnmapResource(void*, std::size_t) { return -EOPNOTSUPP; }

int EmbeddedForeignMemory::ResourceSize(const Resource&, std::size_t*) { return -EOPNOTSUPP; }

int EmbeddedForeignMemory::Restrict(std::uint16_t domain) {
  std::int32_t any = kAnyDomain;
  if (only_.compare_exchange_strong(any, domain) || any == domain) return 0;
  return -EINVAL;
}

}  // namespace xencomm::embedded
