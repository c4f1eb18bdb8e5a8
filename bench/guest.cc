#include "bench/guest.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <random>

#include "arch/x86_64/page_tables.h"
#include "xencomm/region_table.h"

namespace xencomm::bench {
namespace {

constexpr std::uint16_t kDomain = 1;
constexpr std::uint64_t kDomainPages = 4 * kBufferPages;
constexpr std::uint64_t kDescriptorPages = (DescriptorBytes(kBufferPages) + kPage - 1) /
                                           kPage;  // behind them: contiguous, as its format wants
constexpr std::uint64_t kMachinePages = 2 * kDomainPages;

// Where the buffer's region lies, the same in every run: which entries of the tables a walk reads
// depends on it.
constexpr std::uintptr_t kRegion = 0x2468'ace2'4000;

// A benchmark without its guest is none.
template <class T>
const T& Must(const Result<T>& result) {
  if (!result.ok()) {
    std::fprintf(stderr, "bench: the guest cannot be set up: %s\n", Describe(result.fault().fault));
    std::exit(1);
  }
  return *result;
}

template <class T>
T Must(absl::StatusOr<T> result) {
  if (result.ok()) return *std::move(result);
  std::fprintf(stderr, "bench: the guest cannot be set up: %s\n",
               std::string(result.status().message()).c_str());
  std::exit(1);
}

void Must(FaultInfo fault) { (void)Must(fault.ok() ? Result<bool>(true) : Result<bool>(fault)); }

}  // namespace

Guest::Guest() : ram_(Must(embedded::RamFile::Create(kMachinePages * kPage))) {
  BuildDomain();
  MapBuffer();
  BuildRegion();
  const PhysicalAddress root4 = BuildPageTables(4);
  const PhysicalAddress root5 = BuildPageTables(5);
  const PhysicalAddress descriptor = BuildDescriptor();

  // 46 bits as processors have, so that the reserved bits are more than none.
  const x86_64::PagingState four{.cr3 = root4.value, .physical_bits = 46};
  const x86_64::PagingState five{.cr3 = root5.value, .cr4 = x86_64::kCr4La57, .physical_bits = 46};
  registered_.emplace(*layout_, held_pages_.data(), FoundIn::kMemory);
  stateless_.emplace(StatelessRegion<GuestMemory>(Must(OpenTable(memory(), region_, kNativeOrder))),
                     memory());
  walk4_.emplace(Walk(memory(), four), memory());
  walk5_.emplace(Walk(memory(), five), memory());
  descriptor_.emplace(XcomTranslation<GuestMemory>(memory(), kNativeOrder), memory());

  const VirtualAddress buffer{reinterpret_cast<std::uintptr_t>(buffer_)};
  spaces_ = {{"registered", &*registered_, buffer},
             {"stateless", &*stateless_, buffer},
             {"walk4", &*walk4_, buffer},
             {"walk5", &*walk5_, buffer},
             {"xcom", &*descriptor_, {descriptor.value}}};
}

// The hypervisor scatters a domain's memory in runs of 16 frames. Here the gfns are shuffled too:
// no two pages of the buffer are neighbours.
void Guest::BuildDomain() {
  const hypervisor::MachineConfig config{.memory = reinterpret_cast<std::uintptr_t>(ram_->data()),
                                         .pool_begin = kPage,
                                         .pool_end = kMachinePages * kPage,
                                         .pool_is_zero = true};
  hypervisor::Vcpu* vcpu = nullptr;
  if (hypervisor_.Init(config, machine_) == 0 &&
      hypervisor_.BuildDomain({.id = kDomain, .pages = kDomainPages + kDescriptorPages}) == 0) {
    vcpu = hypervisor_.ClaimVcpu(kDomain, 0);
  }
  if (vcpu == nullptr) {
    std::fprintf(stderr, "bench: the hypervisor does not build a domain\n");
    std::exit(1);
  }
  memory_.emplace(hypervisor_.MemoryOf(*vcpu));
  own_memory_.emplace(hypervisor_.LockedMemoryOf(*vcpu));
  free_gfns_.resize(kDomainPages);
  std::iota(free_gfns_.begin(), free_gfns_.end(), std::uint64_t{0});
  std::shuffle(free_gfns_.begin(), free_gfns_.end(), std::mt19937_64(1));
}

PhysicalAddress Guest::NewFrame() {
  const std::uint64_t gfn = free_gfns_.back();
  free_gfns_.pop_back();
  return {gfn << 12};
}

// The buffer's frames, and before them as many addresses as a region needs for its table.
void Guest::MapBuffer() {
  const RegionLayout guess = Must(RegionLayout::Make({0}, 2 * kBufferBytes, 12));
  const std::uint64_t table_bytes = guess.payload_offset();
  const std::uint64_t length = table_bytes + kBufferBytes;
  void* const range = mmap(reinterpret_cast<void*>(kRegion), length, PROT_NONE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (range == MAP_FAILED) {
    std::perror("bench: address space for a buffer");
    std::exit(1);
  }
  layout_ = Must(RegionLayout::Make({reinterpret_cast<std::uintptr_t>(range)}, length, 12));
  buffer_ = static_cast<std::byte*>(range) + layout_->payload_offset();
  const std::uint64_t pages = (length - layout_->payload_offset()) / kPage;
  for (std::uint64_t i = 0; i < pages; ++i) {
    const PhysicalAddress frame = NewFrame();
    frames_.push_back(frame);
    const auto place = static_cast<off_t>(hypervisor_.FrameOf(kDomain, frame.value >> 12) << 12);
    if (mmap(buffer_ + i * kPage, kPage, PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_FIXED | MAP_POPULATE, ram_->fd(), place) == MAP_FAILED) {
      std::perror("bench: a page of a buffer");
      std::exit(1);
    }
  }
}

void Guest::BuildRegion() {
  std::vector<PhysicalAddress> table_frames(layout_->table_granules());
  for (PhysicalAddress& frame : table_frames) frame = NewFrame();
  const auto table = Must(RegionTable<hypervisor::LockedMemory>::Build(own_memory(), *layout_,
                                                                       kNativeOrder, table_frames));
  region_ = table.handle();
  held_pages_.resize(layout_->table_granules());
  for (const PhysicalAddress frame : frames_) {
    Must(table.Back(held_pages_.size(), frame));
    pages_.push_back(own_memory().Map(frame, kPage, Access::kWrite).start());
    held_pages_.emplace_back(pages_.back(), Access::kWrite, GranuleUse::kAnyPointer);
  }
}

PhysicalAddress Guest::BuildPageTables(unsigned levels) {
  struct Frames {
    Result<PhysicalAddress> Allocate() { return guest->NewFrame(); }
    Guest* guest;
  } frames{this};
  const auto tables = Must(
      x86_64::PageTables<hypervisor::LockedMemory, Frames>::Make(own_memory(), frames, levels));
  const std::uint64_t flags = x86_64::kEntryWritable | x86_64::kEntryUser | x86_64::kEntryNoExecute;
  VirtualAddress page{reinterpret_cast<std::uintptr_t>(buffer_)};
  for (const PhysicalAddress frame : frames_) {
    Must(tables.Map(page, frame, kPage, flags));
    page = page + kPage;
  }
  return tables.root();
}

PhysicalAddress Guest::BuildDescriptor() {
  const auto entries = static_cast<std::uint32_t>(frames_.size());
  std::vector<std::byte> bytes(DescriptorBytes(entries));
  StoreDescriptor(bytes.data(), entries, kNativeOrder,
                  [this](std::uint32_t i) { return frames_[i]; });
  const PhysicalAddress place{kDomainPages << 12};
  for (std::uint64_t done = 0; done < bytes.size();) {
    const Mapping run = own_memory().Map(place + done, bytes.size() - done, Access::kWrite);
    std::memcpy(run.start(), bytes.data() + done, run.length());
    done += run.length();
  }
  return place;
}

}  // namespace xencomm::bench
