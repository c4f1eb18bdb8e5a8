// Foreign memory of a machine, in this process or in one of its own: the frames' own bytes in the
// memfd, mapped once more.
#ifndef HCALL_TRANSPORT_EMBEDDED_EMBEDDED_FOREIGN_MEMORY_H_
#define HCALL_TRANSPORT_EMBEDDED_EMBEDDED_FOREIGN_MEMORY_H_

#include <atomic>
#include <memory>
#include <utility>

#include "hcall/transport/embedded/foreign_mappings.h"
#include "hcall/transport/foreign_memory.h"

namespace xencomm::embedded {

class EmbeddedForeignMemory final : public ForeignMemory {
 public:
  explicit EmbeddedForeignMemory(std::shared_ptr<ForeignMappings> mappings)
      : mappings_(std::move(mappings)) {}

  int Map(std::uint32_t domain, Placement& placement, std::span<const std::uint64_t> frames,
          std::span<int> errors) override;
  int Unmap(void* address, std::size_t pages) override;

  // Grant tables.
  int MapResource(const Resource& resource, Placement& placement) override;
  int UnmapResource(void* address, std::size_t pages) override;
  int ResourceSize(const Resource& resource, std::size_t* size) override;

  // -EINVAL when it is restricted to another domain already.
  int Restrict(std::uint16_t domain) override;

 private:
  static constexpr std::int32_t kAnyDomain = -1;

  int MayAskFor(const Resource& resource) const;

  const std::shared_ptr<ForeignMappings> mappings_;
  std::atomic<std::int32_t> only_ = kAnyDomain;
};

}  // namespace xencomm::embedded

#endif  // HCALL_TRANSPORT_EMBEDDED_EMBEDDED_FOREIGN_MEMORY_H_
