// ForeignMemory: frames of another domain, mapped into this process, as a toolstack does it.
//
// One interface over what Linux's privcmd does on real Xen and over the embedded machine.
#ifndef HCALL_TRANSPORT_FOREIGN_MEMORY_H_
#define HCALL_TRANSPORT_FOREIGN_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "xencomm/xencomm.h"

namespace xencomm {

class ForeignMemory {
 public:
  // Where a mapping goes: as mmap's arguments of the same names.
  struct Placement {
    void* address = nullptr;
    int protection = 0;
    int flags = 0;
  };

  // Part of a guest's resource (XENMEM_acquire_resource in public/memory.h), in frames.
  struct Resource {
    std::uint16_t domain = 0;
    std::uint32_t type = 0;
    std::uint32_t id = 0;
    std::uint32_t first = 0;
    std::uint64_t count = 0;
  };

  ForeignMemory() = default;
  ForeignMemory(const ForeignMemory&) = delete;
  ForeignMemory& operator=(const ForeignMemory&) = delete;
  // Mappings that were not unmapped stay.
  virtual ~ForeignMemory() = default;

  // All answer 0 or a negative errno.

  // Maps `frames` (gfns; mfns of a PV domain) of `domain` one after the other, from *placement
  // .address on, which becomes where they are. errors[i] is 0 or the negative errno of frame i; the
  // answer is 0 also when some, or all, could not be mapped: touching those raises SIGBUS or
  // SIGSEGV.
  virtual int Map(std::uint32_t domain, Placement& placement, std::span<const std::uint64_t> frames,
                  std::span<int> errors) = 0;

  virtual int Unmap(void* address, std::size_t pages) = 0;

  virtual int MapResource(const Resource& resource, Placement& placement) = 0;
  virtual int UnmapResource(void* address, std::size_t pages) = 0;
  // In bytes.
  virtual int ResourceSize(const Resource& resource, std::size_t* size) = 0;

  // From now on only `domain`'s memory can be mapped.
  virtual int Restrict(std::uint16_t domain) = 0;
};

// By a setting as xencomm_open takes it; an empty one means the environment's, or the default.
XENCOMM_API absl::StatusOr<std::unique_ptr<ForeignMemory>> OpenForeignMemory(
    const std::string& setting);

}  // namespace xencomm

#endif  // HCALL_TRANSPORT_FOREIGN_MEMORY_H_
