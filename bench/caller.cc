#include "bench/caller.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>

#include "arch/x86_64/page_tables.h"
#include "xencomm/descriptor.h"
#include "xencomm/hypercall.h"
#include "xencomm/region_table.h"

namespace xencomm::bench {
namespace {

using hypervisor::kPageShift;
using hypervisor::kPageSize;

// Room for a list of a million extents, and for all the others.
constexpr std::uint64_t kBufferBytes = std::uint64_t{10} << 20;
constexpr std::uint64_t kBufferPages = kBufferBytes >> kPageShift;
constexpr std::uint64_t kTablePages = 64;  // region table and page tables
// Behind the others and in one piece, as the format wants it.
constexpr std::uint64_t kDescriptorGfn = kBufferPages + kTablePages;
constexpr std::uint64_t kDescriptorPages = 16;
constexpr std::uint64_t kCacheLine = 64;

// Where the first caller has its region, the same in every run; the next have theirs further on.
constexpr std::uint64_t kRegion = 0x2bcd'ef01'2000;
constexpr std::uint64_t kRegionDistance = std::uint64_t{1} << 30;

constexpr unsigned kVcpus = 3;

RegionLayout NextLayout() {
  static unsigned callers = 0;
  const VirtualAddress base{kRegion + callers++ * kRegionDistance};
  const RegionLayout guess =
      Must(RegionLayout::Make(base, 2 * kBufferBytes, kPageShift), "no region is so long");
  return Must(RegionLayout::Make(base, guess.payload_offset() + kBufferBytes, kPageShift),
              "no region is so long");
}

}  // namespace

Caller::Caller(BenchMachine& machine, std::uint16_t id, hypervisor::SpaceKind kind)
    : machine_(machine), id_(id), kind_(kind), layout_(NextLayout()) {
  machine_.Build({.id = id_,
                  .pages = kDescriptorGfn + kDescriptorPages,
                  .vcpus = kVcpus,
                  .space = kind_,
                  .privileged = true});
  hypervisor::Hypervisor& hypervisor = machine_.hypervisor();
  hypervisor::Vcpu& vcpu = machine_.Claim(id_, 0);
  memory_.emplace(hypervisor.LockedMemoryOf(vcpu));
  free_gfns_.resize(kDescriptorGfn);
  std::iota(free_gfns_.begin(), free_gfns_.end(), std::uint64_t{0});
  std::shuffle(free_gfns_.begin(), free_gfns_.end(), std::mt19937_64(id_));
  MapBuffer();

  if (kind_ == hypervisor::SpaceKind::kXcom) {
    ways_.push_back({"xcom", &hypervisor, &vcpu, 0, 0});
    return;
  }
  backed_ = layout_->length();
  direct_.emplace(*layout_, backed_);
  hypervisor.SetRawSpace(vcpu, *direct_);
  const PhysicalAddress header = BuildRegion();
  const std::int64_t handle = hypervisor.Call(
      vcpu,
      {.index = kXencommOp,
       .arguments = {static_cast<std::uint64_t>(XencommOp::kRegister), header.value, 1, 0, 0}});
  Check(handle > 0, "the region cannot be registered");
  ways_ = {{"direct", &hypervisor, &vcpu, 0, 0},
           {"registered", &hypervisor, &vcpu, kRegionCall, static_cast<std::uint64_t>(handle)},
           {"stateless", &hypervisor, &vcpu, kRegionCall, header.value}};
  AddWalk("walk4", 1, 4, walk4_);
  AddWalk("walk5", 2, 5, walk5_);
}

PhysicalAddress Caller::NewFrame() {
  Check(!free_gfns_.empty(), "a caller has too few pages");
  const std::uint64_t gfn = free_gfns_.back();
  free_gfns_.pop_back();
  return {gfn << kPageShift};
}

// No two pages of it are neighbours.
void Caller::MapBuffer() {
  void* const wanted = reinterpret_cast<void*>(layout_->virtual_base().value);
  Check(mmap(wanted, layout_->length(), PROT_NONE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0) == wanted,
        "there is no address space for a caller's region");
  buffer_ = static_cast<std::byte*>(wanted) + layout_->payload_offset();
  for (std::uint64_t i = 0; i < kBufferPages; ++i) {
    const PhysicalAddress frame = NewFrame();
    frames_.push_back(frame);
    const std::uint64_t mfn = machine_.hypervisor().FrameOf(id_, frame.value >> kPageShift);
    Check(
        machine_.ram()
            .MapAt(buffer_ + i * kPageSize, {mfn << kPageShift}, kPageSize, PROT_READ | PROT_WRITE)
            .ok(),
        "a page of a caller's buffer cannot be mapped");
  }
  std::memset(buffer_, 0, kBufferBytes);  // so that it is there
}

PhysicalAddress Caller::BuildRegion() {
  std::vector<PhysicalAddress> table_frames(layout_->table_granules());
  for (PhysicalAddress& frame : table_frames) frame = NewFrame();
  const auto table = Must(
      RegionTable<hypervisor::LockedMemory>::Build(*memory_, *layout_, kNativeOrder, table_frames),
      "a region's table cannot be built");
  for (std::uint64_t i = 0; i < kBufferPages; ++i) {
    Check(table.Back(layout_->table_granules() + i, frames_[i]).ok(), "a granule is not backed");
  }
  return table.handle();
}

void Caller::AddWalk(const char* name, unsigned vcpu_id, unsigned levels,
                     std::optional<Walker>& walker) {
  struct Frames {
    Result<PhysicalAddress> Allocate() { return caller->NewFrame(); }
    Caller* caller;
  } frames{this};
  const auto tables =
      Must(x86_64::PageTables<hypervisor::LockedMemory, Frames>::Make(*memory_, frames, levels),
           "page tables cannot be built");
  const std::uint64_t flags = x86_64::kEntryWritable | x86_64::kEntryUser | x86_64::kEntryNoExecute;
  VirtualAddress page{reinterpret_cast<std::uintptr_t>(buffer_)};
  for (const PhysicalAddress frame : frames_) {
    Check(tables.Map(page, frame, kPageSize, flags).ok(), "a page cannot be mapped");
    page = page + kPageSize;
  }
  hypervisor::Hypervisor& hypervisor = machine_.hypervisor();
  hypervisor::Vcpu& vcpu = machine_.Claim(id_, vcpu_id);
  // 46 bits as processors have, so that the reserved bits are more than none.
  walker.emplace(hypervisor.MemoryOf(vcpu),
                 x86_64::PagingState{.cr3 = tables.root().value,
                                     .cr4 = levels == 5 ? x86_64::kCr4La57 : 0,
                                     .physical_bits = 46});
  hypervisor.SetRawSpace(vcpu, walker->space);
  ways_.push_back({name, &hypervisor, &vcpu, 0, 0});
}

std::uint64_t Caller::Take(std::uint64_t bytes) {
  const std::uint64_t offset = AlignUp(used_, kCacheLine);
  used_ = offset + bytes;
  Check(used_ <= kBufferBytes, "a caller's buffer is too small");
  return offset;
}

Caller::OwnPage Caller::PutPage() {
  used_ = AlignUp(used_, kPageSize);
  const std::uint64_t offset = Take(kPageSize);
  return {buffer_ + offset, frames_[offset >> kPageShift].value >> kPageShift};
}

std::uint64_t Caller::PointerTo(std::uint64_t offset, std::uint64_t bytes) {
  if (kind_ != hypervisor::SpaceKind::kXcom) {
    return reinterpret_cast<std::uintptr_t>(buffer_ + offset);
  }
  const std::uint64_t within = offset & (kPageSize - 1);
  const auto entries = static_cast<std::uint32_t>(DescriptorEntries(within, bytes));
  std::vector<std::byte> descriptor(DescriptorBytes(entries));
  StoreDescriptor(descriptor.data(), entries, kNativeOrder, [&](std::uint32_t i) {
    return frames_[(offset >> kPageShift) + i] + (i == 0 ? within : 0);
  });
  const PhysicalAddress place{(kDescriptorGfn << kPageShift) + descriptors_used_};
  descriptors_used_ += descriptor.size();
  Check(descriptors_used_ <= kDescriptorPages << kPageShift, "there are too many descriptors");
  for (std::uint64_t done = 0; done < descriptor.size();) {
    const Mapping run = memory_->Map(place + done, descriptor.size() - done, Access::kWrite);
    std::memcpy(run.start(), descriptor.data() + done, run.length());
    done += run.length();
  }
  return place.value;
}

}  // namespace xencomm::bench
