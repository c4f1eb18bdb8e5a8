// The frame table: one row for each page of the pool.
//
// Who owns a frame, what it is used for, and what keeps it from being freed. A frame's number is an
// mfn; inside the hypervisor's lists it is an index from the pool's first frame, to be half as
// long.
#ifndef HCALL_HYPERVISOR_MEMORY_FRAME_TABLE_H_
#define HCALL_HYPERVISOR_MEMORY_FRAME_TABLE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "hcall/hypervisor/base/machine.h"
#include "xencomm/address.h"

namespace xencomm::hypervisor {

enum class FrameUse : std::uint8_t {
  kNone,      // free, or about to be
  kMemory,    // of a domain, counted in its tot_pages
  kGivenUp,   // was a domain's memory; somebody or a page table still maps it
  kShared,    // the hypervisor's own page that a domain may map: shared info, grant table
  kOverhead,  // the hypervisor's own page, charged to a domain
};

// Who a frame belongs to and as what: one word, so that both are read at once.
struct FrameOwner {
  std::uint16_t domain;
  FrameUse use;
  std::uint8_t reserved = 0;

  friend constexpr bool operator==(const FrameOwner&, const FrameOwner&) = default;
};

// A number that is written with a lock and also read without.
class SharedNumber {
 public:
  operator std::uint64_t() const { return value_.load(std::memory_order_relaxed); }
  SharedNumber& operator=(std::uint64_t value) {
    value_.store(value, std::memory_order_relaxed);
    return *this;
  }

 private:
  std::atomic<std::uint64_t> value_;
};

inline constexpr std::uint32_t kNoIndex = ~std::uint32_t{0};

// What the entries of page tables make of a page of a PV domain (page_types.h); under the domain's
// lock.
enum class PageType : std::uint8_t {
  kNone,  // anything
  kL1,    // a page table
  kL2,
  kL3,
  kL4,
  kWritable,  // entries map it for writing
};
class TypeWord {
 public:
  static constexpr unsigned kTypeBits = 3;
  static constexpr std::uint32_t kMostValue = ~std::uint32_t{0} >> kTypeBits;

  constexpr TypeWord() = default;
  constexpr TypeWord(PageType type, std::uint32_t value)
      : word_(value << kTypeBits | static_cast<std::uint8_t>(type)) {}

  constexpr PageType type() const { return static_cast<PageType>(word_ & ((1u << kTypeBits) - 1)); }
  // Of kWritable, how many entries; of a table, the frame of what it refers to, by its index.
  constexpr std::uint32_t value() const { return word_ >> kTypeBits; }

 private:
  std::uint32_t word_ = 0;
};

struct Frame {
  std::atomic<FrameOwner> owner;
  std::atomic<std::uint32_t> holds;  // mappings by others and by page tables: delay freeing
  std::uint32_t next;                // in the list that the frame's use puts it on
  std::uint32_t previous;
  SharedNumber gfn;         // where a translated domain has it, or kNoFrame
  std::uint16_t pins;       // regions, areas, events: refuse removal from the physmap
  std::uint8_t free_order;  // of a free block's first frame: order + 1, else 0; the heap's
  bool dirty : 1;           // of a free block: not known to be zero; the heap's
  bool leaving : 1;         // in the middle of Physmap::FreeAll only
  TypeWord type;
};
static_assert(sizeof(Frame) == 32);

class FrameTable {
 public:
  FrameTable() = default;
  // `frames` has a row for each of `count` frames from `first_mfn` on.
  FrameTable(std::uintptr_t memory, Frame* frames, std::uint64_t first_mfn, std::uint32_t count)
      : memory_(memory), frames_(frames), first_mfn_(first_mfn), count_(count) {}

  bool Has(std::uint64_t mfn) const { return mfn - first_mfn_ < count_; }
  std::uint32_t count() const { return count_; }

  // Only for frames that it has.
  Frame& At(std::uint32_t index) const { return frames_[index]; }
  Frame& Of(std::uint64_t mfn) const { return frames_[mfn - first_mfn_]; }
  std::uint32_t IndexOf(std::uint64_t mfn) const {
    return static_cast<std::uint32_t>(mfn - first_mfn_);
  }
  std::uint64_t MfnOf(std::uint32_t index) const { return first_mfn_ + index; }

  std::byte* Bytes(std::uint64_t mfn) const { return Pointer({mfn << kPageShift}); }
  // An address of the pool as the hypervisor reaches it; there is no other way to one.
  std::byte* Pointer(MachineAddress address) const {
    return reinterpret_cast<std::byte*>(memory_ + address.value);
  }
  std::uint64_t MfnOfPointer(const void* bytes) const {
    return (reinterpret_cast<std::uintptr_t>(bytes) - memory_) >> kPageShift;
  }

 private:
  std::uintptr_t memory_ = 0;
  Frame* frames_ = nullptr;
  std::uint64_t first_mfn_ = 0;
  std::uint32_t count_ = 0;
};

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_MEMORY_FRAME_TABLE_H_
