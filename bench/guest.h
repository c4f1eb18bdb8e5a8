// A guest for benchmarks: a buffer of scattered frames that is reached in every space there is.
//
// It is a domain of the embedded hypervisor. The buffer's frames are also mapped into this process,
// in the buffer's order, at the buffer's own virtual address: the direct pointer reads the same
// bytes as the spaces do, at the address that they are given.
#ifndef BENCH_GUEST_H_
#define BENCH_GUEST_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "arch/x86_64/page_walk.h"
#include "hcall/hypervisor/hypervisor.h"
#include "hcall/transport/embedded/ram_file.h"
#include "xencomm/descriptor.h"
#include "xencomm/region_translation.h"

namespace xencomm::bench {

// As calls reach it; measured outside of any, where nobody else changes anything. What is built, is
// built through the locked one.
using GuestMemory = hypervisor::DomainMemory;

inline constexpr std::uint64_t kPage = 4096;
inline constexpr std::uint64_t kBufferBytes = std::uint64_t{8} << 20;
inline constexpr std::uint64_t kBufferPages = kBufferBytes / kPage;

// The buffer in one space, where a pointer to it may be another than elsewhere.
struct NamedSpace {
  const char* name;
  Space* space;
  VirtualAddress buffer;
};

class Guest {
 public:
  Guest();
  Guest(const Guest&) = delete;
  Guest& operator=(const Guest&) = delete;

  std::byte* direct() const { return buffer_; }
  // The same pages where the hypervisor has them.
  std::span<std::byte* const> pages() const { return pages_; }
  std::span<const NamedSpace> spaces() const { return spaces_; }

 private:
  template <class T>
  using Over = SpaceOver<T, GuestMemory>;
  using Walk = x86_64::PageWalk<GuestMemory>;

  void BuildDomain();
  PhysicalAddress NewFrame();
  void MapBuffer();
  void BuildRegion();
  PhysicalAddress BuildPageTables(unsigned levels);
  PhysicalAddress BuildDescriptor();

  GuestMemory& memory() { return *memory_; }
  hypervisor::LockedMemory& own_memory() { return *own_memory_; }

  const std::unique_ptr<embedded::RamFile> ram_;
  struct : hypervisor::Machine {
  } machine_;  // needs no devices
  hypervisor::Hypervisor hypervisor_;
  std::optional<GuestMemory> memory_;
  std::optional<hypervisor::LockedMemory> own_memory_;
  std::vector<std::uint64_t> free_gfns_;
  std::vector<PhysicalAddress> frames_;  // of the buffer, page by page
  std::byte* buffer_ = nullptr;
  std::vector<std::byte*> pages_;

  std::optional<RegionLayout> layout_;
  PhysicalAddress region_;
  std::vector<HeldPage> held_pages_;  // of the region, as a hypervisor has them

  std::optional<RegisteredRegion> registered_;
  std::optional<Over<StatelessRegion<GuestMemory>>> stateless_;
  std::optional<Over<Walk>> walk4_, walk5_;
  std::optional<Over<XcomTranslation<GuestMemory>>> descriptor_;
  std::vector<NamedSpace> spaces_;
};

}  // namespace xencomm::bench

#endif  // BENCH_GUEST_H_
