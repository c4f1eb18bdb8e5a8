// Foreign memory on real Xen, by the ioctls of /dev/xen/privcmd.
#ifndef HCALL_TRANSPORT_PRIVCMD_FOREIGN_MEMORY_H_
#define HCALL_TRANSPORT_PRIVCMD_FOREIGN_MEMORY_H_

#include "hcall/transport/foreign_memory.h"

namespace xencomm {

class PrivcmdForeignMemory final : public ForeignMemory {
 public:
  // As Privcmd::Open.
  static absl::StatusOr<std::unique_ptr<ForeignMemory>> Open();

  ~PrivcmdForeignMemory() override;

  int Map(std::uint32_t domain, Placement& placement, std::span<const std::uint64_t> frames,
          std::span<int> errors) override;
  int Unmap(void* address, std::size_t pages) override;
  int MapResource(const Resource& resource, Placement& placement) override;
  int UnmapResource(void* address, std::size_t pages) override;
  int ResourceSize(const Resource& resource, std::size_t* size) override;
  int Restrict(std::uint16_t domain) override;

 private:
  explicit PrivcmdForeignMemory(int fd) : fd_(fd) {}

  const int fd_;
};

}  // namespace xencomm

#endif  // HCALL_TRANSPORT_PRIVCMD_FOREIGN_MEMORY_H_
