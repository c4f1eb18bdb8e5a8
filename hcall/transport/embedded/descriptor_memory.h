// Where the guest kernel puts the descriptors of one call in the historical ABI, and what it knows
// of the process's pages while it writes them.
//
// A descriptor is contiguous in guest-physical memory, so it lies in blocks of frames that follow
// each other. They are mapped one after the other, as a kernel's linear map has them, and kept for
// the next call.
#ifndef HCALL_TRANSPORT_EMBEDDED_DESCRIPTOR_MEMORY_H_
#define HCALL_TRANSPORT_EMBEDDED_DESCRIPTOR_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "hcall/transport/embedded/described_call.h"
#include "hcall/transport/embedded/guest_kernel.h"
#include "hcall/transport/embedded/guest_region.h"
#include "hcall/transport/embedded/ram_file.h"

namespace xencomm::embedded {

class DescriptorMemory final : public schema::PhysicalMemory {
 public:
  // All are borrowed. One call at a time uses it.
  DescriptorMemory(GuestKernel& kernel, RamFile& ram, const GuestRegion& region)
      : kernel_(kernel), ram_(ram), region_(region) {}
  DescriptorMemory(const DescriptorMemory&) = delete;
  DescriptorMemory& operator=(const DescriptorMemory&) = delete;
  ~DescriptorMemory() override;

  // Of the region's payload, and of descriptors.
  bool Find(const std::byte* address, PhysicalAddress* physical) override;
  std::byte* Allocate(std::uint64_t bytes) override;

  // The call has ended: all its descriptors are free.
  void Reset();

 private:
  struct Window {
    std::byte* start = nullptr;
    FrameRun frames;
    std::uint64_t used = 0;  // bytes
  };

  bool AddWindow(std::uint64_t bytes);
  void Drop(const Window& window);

  GuestKernel& kernel_;
  RamFile& ram_;
  const GuestRegion& region_;
  std::vector<Window> windows_;
};

}  // namespace xencomm::embedded

#endif  // HCALL_TRANSPORT_EMBEDDED_DESCRIPTOR_MEMORY_H_
