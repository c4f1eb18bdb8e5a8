// DirectSpace: a pointer of the process is an address of the hypervisor, because both are in one
// process. The measure for all others: no translation at all, but for the check that the pointer
// lies in the region's payload.
#ifndef HCALL_TRANSPORT_EMBEDDED_DIRECT_SPACE_H_
#define HCALL_TRANSPORT_EMBEDDED_DIRECT_SPACE_H_

#include <atomic>
#include <bit>
#include <cstdint>

#include "xencomm/region.h"
#include "xencomm/region_translation.h"
#include "xencomm/space.h"

namespace xencomm::embedded {

class DirectSpace final : public Space {
 public:
  // `layout` is that of the region; its granules up to `backed` bytes from its start can be used.
  // Both are borrowed.
  DirectSpace(const RegionLayout& layout, const std::atomic<std::uint64_t>& backed)
      : layout_(layout), backed_(backed) {}

  Mapping Resolve(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length, Access,
                  Cursor*) override {
    std::uint64_t into;
    const Fault fault = LocateInRegion(layout_.virtual_base(), layout_.payload_offset(),
                                       layout_.length(), pointer, offset, &into);
    if (fault != Fault::kNone) return fault;
    const std::uint64_t backed = backed_.load(std::memory_order_relaxed);
    if (into >= backed) return Fault::kNotBacked;
    const std::uint64_t rest = backed - into;
    return {std::bit_cast<std::byte*>(pointer.value + offset), length < rest ? length : rest};
  }

 private:
  const RegionLayout& layout_;
  const std::atomic<std::uint64_t>& backed_;
};

}  // namespace xencomm::embedded

#endif  // HCALL_TRANSPORT_EMBEDDED_DIRECT_SPACE_H_
