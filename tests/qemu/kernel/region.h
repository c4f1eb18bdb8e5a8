// A region of a process, from the kernel's side: it decides where the table lies, backs granules
// with frames that stay, and keeps the region handle to itself.

#ifndef TESTS_QEMU_KERNEL_REGION_H_
#define TESTS_QEMU_KERNEL_REGION_H_

#include <stdint.h>

#include <optional>
#include <span>

#include "tests/qemu/kernel/memory.h"
#include "tests/qemu/kernel/process_memory.h"
#include "tests/qemu/runtime/system_call.h"
#include "xencomm/hypercall.h"
#include "xencomm/region_table.h"

namespace qemu {

// A hypercall that a process asks for, with the region that is its own or none. -EPERM for what
// only a kernel calls.
int64_t HypercallFor(uint64_t index, std::span<const uint64_t, 5> arguments,
                     xencomm::RegionHandle region);

class Region {
 public:
  bool exists() const { return table_.has_value(); }
  xencomm::RegionHandle handle() const { return handle_; }

  // Answers 0 or a negative errno; then nothing exists.
  int64_t Create(ProcessMemory& process, uint64_t address, uint64_t bytes, unsigned granule_shift,
                 RegionKind kind);

  // Granules [first, first + count) of the payload. Stops at the first that cannot be backed. Those
  // for arguments only are the kernel's to write, and read-only for the process.
  int64_t Back(ProcessMemory& process, uint64_t first, uint64_t count,
               xencomm::GranuleUse use = xencomm::GranuleUse::kAnyPointer);

  void Destroy();

  // Of one that exists.
  const xencomm::RegionLayout& layout() const { return table_->layout(); }
  xencomm::StatelessRegion<KernelMemory> AsStateless() const { return table_->AsStateless(); }

 private:
  // Memory for one granule, mapped for the process at its place in the region.
  static bool Granule(ProcessMemory& process, uint64_t index, const xencomm::RegionLayout& layout,
                      Protection protection, xencomm::PhysicalAddress* granule);

  std::optional<xencomm::RegionTable<KernelMemory>> table_;
  xencomm::RegionHandle handle_ = xencomm::RegionHandle::None();
};

}  // namespace qemu

#endif  // TESTS_QEMU_KERNEL_REGION_H_
