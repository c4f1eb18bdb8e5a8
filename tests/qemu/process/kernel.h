// A process in the role of machine and kernel: the embedded hypervisor over a file of memory, one
// domain, and the domain's buffers, whose pages lie scattered in that file. Whoever maps the file's
// pages at the buffers' addresses is the domain's user program: this process, or another one of the
// other byte order.

#ifndef TESTS_QEMU_PROCESS_KERNEL_H_
#define TESTS_QEMU_PROCESS_KERNEL_H_

#include <cstdint>
#include <optional>

#include "arch/x86_64/page_tables.h"
#include "arch/x86_64/page_walk.h"
#include "hcall/hypervisor/hypervisor.h"
#include "xencomm/region.h"

namespace qemu {

// In which space the pointers of the domain's calls are.
enum class ProcessSpace : std::uint64_t {
  kRegistered,
  kStateless,
  kRaw,
  kDescriptors,
  kInline,
};

// The buffers: virtual addresses of the user program, where no heap comes: one begins up to 1 GiB
// behind its program. The region of the first two spaces, table included, is the same range.
inline constexpr std::uint64_t kBuffers = 0x1000000000;
inline constexpr std::uint64_t kBufferBytes = 12 << 20;
inline constexpr std::uint64_t kPage = xencomm::hypervisor::kPageSize;

// A file's length that holds the machine's memory.
inline constexpr std::uint64_t kMachineBytes = 0x10000000;

class Kernel {
 public:
  // `memory` is the file, mapped from its start; its content is zero.
  Kernel(std::byte* memory, ProcessSpace space, xencomm::ByteOrder order);
  Kernel(const Kernel&) = delete;
  Kernel& operator=(const Kernel&) = delete;

  // Where the page that begins at `kBuffers` + `offset` lies in the file.
  std::uint64_t FileOffset(std::uint64_t offset);

  // What is behind that byte, as the domain knows its memory.
  std::uint64_t GuestPhysical(std::uint64_t offset) const;

  // The first buffer byte that is the user program's: behind a region's table.
  std::uint64_t payload_offset() const { return payload_offset_; }

  // What a guest handle to these bytes holds; good for one call.
  std::uint64_t Handle(std::uint64_t address, std::uint64_t bytes);

  std::int64_t Hypercall(std::uint64_t index, std::uint64_t a1, std::uint64_t a2, std::uint64_t a3);

 private:
  struct PlainMachine final : xencomm::hypervisor::Machine {};
  using DomainMemory = xencomm::hypervisor::DomainMemory;
  using LockedMemory = xencomm::hypervisor::LockedMemory;

  // Frames for page tables, by guest-physical address.
  struct TableFrames {
    std::uint64_t next;
    xencomm::Result<xencomm::PhysicalAddress> Allocate() {
      next += kPage;
      return xencomm::PhysicalAddress{next - kPage};
    }
  };

  void BuildRegion();
  void BuildPageTables();

  ProcessSpace space_;
  xencomm::ByteOrder order_;
  PlainMachine machine_;
  xencomm::hypervisor::Hypervisor hypervisor_;
  xencomm::hypervisor::Vcpu* vcpu_ = nullptr;
  std::optional<LockedMemory> memory_;  // the kernel's own, outside calls
  std::optional<DomainMemory> call_memory_;
  std::uint64_t region_handle_ = 0;
  std::uint64_t payload_offset_ = 0;
  std::uint64_t slot_ = 0;
  std::optional<xencomm::SpaceOver<xencomm::x86_64::PageWalk<DomainMemory>, DomainMemory>> raw_;
};

// For what a test's own set-up cannot go on without.
void Require(bool condition, const char* what);

}  // namespace qemu

#endif  // TESTS_QEMU_PROCESS_KERNEL_H_
