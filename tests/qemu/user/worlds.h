// The worlds of a user program: the spaces of its pointers, and where they point.

#ifndef TESTS_QEMU_USER_WORLDS_H_
#define TESTS_QEMU_USER_WORLDS_H_

#include <stdint.h>

#include "tests/qemu/scenario/world.h"
#include "tests/qemu/user/machine.h"
#include "xencomm/descriptor.h"
#include "xencomm/region.h"

namespace qemu {

inline uint64_t PhysicalOf(const void* byte) {
  return SystemCall(kSysPhysical, reinterpret_cast<uint64_t>(byte));
}

// Pointers into a region that the kernel made for this program.
class RegionWorld final : public World {
 public:
  // The region's whole payload is backed. `number` is what kSysCreateRegion answered.
  RegionWorld(uint64_t number, const xencomm::RegionLayout& layout)
      : World(reinterpret_cast<void*>(layout.virtual_base().value + layout.payload_offset()),
              layout.length() - layout.payload_offset(), layout.granule_size()),
        number_(number) {}

  uint64_t Handle(const void* buffer, uint64_t) override {
    return reinterpret_cast<uint64_t>(buffer);
  }

  int64_t Hypercall(uint64_t index, uint64_t a1, uint64_t a2, uint64_t a3) override {
    return static_cast<int64_t>(SystemCall(kSysHypercall, index, a1, a2, a3, 0, 0, number_));
  }
  uint64_t Physical(const void* byte) override { return PhysicalOf(byte); }

 private:
  uint64_t number_;
};

// Pointers as the program itself uses them. Only a hypervisor that walks page tables takes them.
class RawWorld final : public World {
 public:
  using World::World;

  uint64_t Handle(const void* buffer, uint64_t) override {
    return reinterpret_cast<uint64_t>(buffer);
  }

  int64_t Hypercall(uint64_t index, uint64_t a1, uint64_t a2, uint64_t a3) override {
    return static_cast<int64_t>(SystemCall(kSysHypercall, index, a1, a2, a3, 0, 0, kNoRegion));
  }
  uint64_t Physical(const void* byte) override { return PhysicalOf(byte); }
};

// Descriptors that the kernel makes, and where `inlines` is set, inline addresses of what lies in
// one page.
class XcomWorld final : public World {
 public:
  XcomWorld(void* memory, uint64_t bytes, uint64_t page_bytes, bool inlines)
      : World(memory, bytes, page_bytes), page_bytes_(page_bytes), inlines_(inlines) {}

  uint64_t Handle(const void* buffer, uint64_t bytes) override {
    const auto address = reinterpret_cast<uint64_t>(buffer);
    // Nothing to describe: any descriptor is as good.
    if (bytes == 0) bytes = 1;
    if (inlines_ && address % page_bytes_ + bytes <= page_bytes_) {
      return xencomm::InlineAddress({SystemCall(kSysPhysical, address)}).value;
    }
    return SystemCall(kSysDescribe, address, bytes, slot_++ % kSlots);
  }

  int64_t Hypercall(uint64_t index, uint64_t a1, uint64_t a2, uint64_t a3) override {
    return static_cast<int64_t>(SystemCall(kSysHypercall, index, a1, a2, a3, 0, 0, kNoRegion));
  }
  uint64_t Physical(const void* byte) override { return PhysicalOf(byte); }

 private:
  static constexpr uint64_t kSlots = 8;  // of kSysDescribe: more than one call has buffers

  uint64_t page_bytes_;
  bool inlines_;
  uint64_t slot_ = 0;
};

}  // namespace qemu

#endif  // TESTS_QEMU_USER_WORLDS_H_
