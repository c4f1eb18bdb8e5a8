#include "bench/guest.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "arch/x86_64/page_tables.h"
#include "xencomm/region_table.h"

namespace xencomm::bench {
namespace {

constexpr std::uint64_t kMachinePages = 4 * kBufferPages;

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

void Must(FaultInfo fault) { (void)Must(fault.ok() ? Result<bool>(true) : Result<bool>(fault)); }

}  // namespace

Guest::Guest() : machine_(kMachinePages), memory_(machine_) {
  MapBuffer();
  BuildRegion();
  const PhysicalAddress root4 = BuildPageTables(4);
  const PhysicalAddress root5 = BuildPageTables(5);
  const PhysicalAddress descriptor = BuildDescriptor();

  // 46 bits as processors have, so that the reserved bits are more than none.
  const x86_64::PagingState four{.cr3 = root4.value, .physical_bits = 46};
  const x86_64::PagingState five{.cr3 = root5.value, .cr4 = x86_64::kCr4La57, .physical_bits = 46};
  registered_.emplace(RegisteredRegion(*layout_, bases_.data()), memory_);
  stateless_.emplace(StatelessRegion<GuestMemory>(Must(OpenTable(memory_, region_, kNativeOrder))),
                     memory_);
  walk4_.emplace(Walk(memory_, four), memory_);
  walk5_.emplace(Walk(memory_, five), memory_);
  descriptor_.emplace(DescriptorSpace<GuestMemory>(memory_, kNativeOrder), memory_);

  const VirtualAddress buffer{reinterpret_cast<std::uintptr_t>(buffer_)};
  ways_ = {{"registered", &*registered_, buffer},
           {"stateless", &*stateless_, buffer},
           {"walk4", &*walk4_, buffer},
           {"walk5", &*walk5_, buffer},
           {"xcom", &*descriptor_, {descriptor.value}}};
}

PhysicalAddress Guest::NewFrame() { return {next_gfn_++ << 12}; }

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
    const auto place = static_cast<off_t>(memory_.FrameOf(frame.value >> 12) << 12);
    if (mmap(buffer_ + i * kPage, kPage, PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_FIXED | MAP_POPULATE, machine_.file(), place) == MAP_FAILED) {
      std::perror("bench: a page of a buffer");
      std::exit(1);
    }
  }
}

void Guest::BuildRegion() {
  std::vector<PhysicalAddress> table_frames(layout_->table_granules());
  for (PhysicalAddress& frame : table_frames) frame = NewFrame();
  const auto table =
      Must(RegionTable<GuestMemory>::Build(memory_, *layout_, kNativeOrder, table_frames));
  region_ = table.handle();
  bases_.resize(layout_->table_granules(), kNotBackedBase);
  for (const PhysicalAddress frame : frames_) {
    Must(table.Back(bases_.size(), frame));
    bases_.push_back(frame.value | kHeldForWriting);
  }
}

PhysicalAddress Guest::BuildPageTables(unsigned levels) {
  struct Frames {
    Result<PhysicalAddress> Allocate() { return guest->NewFrame(); }
    Guest* guest;
  } frames{this};
  const auto tables = Must(x86_64::PageTables<GuestMemory, Frames>::Make(memory_, frames, levels));
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
  const PhysicalAddress first = NewFrame();
  PhysicalAddress frame = first;
  for (std::uint64_t done = 0; done < bytes.size(); done += kPage) {
    const std::uint64_t length = std::min(kPage, bytes.size() - done);
    std::memcpy(memory_.Map(frame, length, Access::kWrite).start(), bytes.data() + done, length);
    frame = NewFrame();
  }
  return first;
}

}  // namespace xencomm::bench
