// The p2m: from a domain's frame numbers to machine frames.
//
//   gfn ── bits 9 and up ──> top[…] ── bits 8…0 ──> leaf[512] ──> mfn << 12 | flags
//
// A translated domain has the two levels above; the top grows with the highest gfn in use. A PV
// domain's frame numbers are machine frame numbers, and its p2m is the frame table: what it owns.
//
// Rules:
// 1. A look-up takes no lock. An entry is one word and is loaded once.
// 2. Changes are made with the domain locked. A frame that leaves the p2m goes through the heap's
//    quiescence before it is used again, so what a look-up gave stays valid until its call ends.
// 3. Nothing is truncated: a gfn of any size that has no entry has no memory.
#ifndef HCALL_HYPERVISOR_MEMORY_P2M_H_
#define HCALL_HYPERVISOR_MEMORY_P2M_H_

#include <atomic>
#include <cstdint>

#include "hcall/hypervisor/memory/frame_table.h"

namespace xencomm::hypervisor {

class OverheadPages;

enum class P2mType : std::uint8_t {
  kNone,
  kRam,
  kReadOnly,  // RAM that the domain may not write
  kShared,    // the hypervisor's page: shared info, grant table
  kForeign,   // another domain's, mapped by its controller
};

// mfn << 12 | type. 0: nothing there.
class P2mEntry {
 public:
  constexpr P2mEntry() = default;
  constexpr P2mEntry(std::uint64_t mfn, P2mType type)
      : word_(mfn << kPageShift | static_cast<std::uint64_t>(type)) {}
  static constexpr P2mEntry FromWord(std::uint64_t word) {
    P2mEntry entry;
    entry.word_ = word;
    return entry;
  }

  constexpr std::uint64_t word() const { return word_; }
  constexpr std::uint64_t mfn() const { return word_ >> kPageShift; }
  constexpr P2mType type() const { return static_cast<P2mType>(word_ & 0xff); }
  constexpr bool present() const { return type() != P2mType::kNone; }

  // What a hypercall's arguments may be read from and written to.
  constexpr bool readable() const {
    return type() == P2mType::kRam || type() == P2mType::kReadOnly || type() == P2mType::kShared;
  }
  constexpr bool writable() const { return type() == P2mType::kRam || type() == P2mType::kShared; }

 private:
  std::uint64_t word_ = 0;
};

class P2m {
 public:
  static constexpr unsigned kLeafBits = 9;
  static constexpr std::uint64_t kLeafEntries = std::uint64_t{1} << kLeafBits;
  // The top may be 2^9 pages: gfns up to 2^27, a physmap of 512 GiB.
  static constexpr unsigned kMaxTopOrder = 9;
  static constexpr std::uint64_t kLimit = kLeafEntries << kLeafBits << kMaxTopOrder;

  // A translated domain's; false when there is no page for the top.
  bool InitTranslated(const FrameTable& frames, OverheadPages& pages);
  // A PV domain's.
  void InitDirect(const FrameTable& frames, std::uint16_t domain);

  bool translated() const { return translated_; }

  P2mEntry Load(std::uint64_t gfn) const {
    if (!translated_) [[unlikely]]
      return LoadDirect(gfn);
    std::uint64_t* slot = Slot(gfn);
    if (slot == nullptr) [[unlikely]]
      return {};
    return P2mEntry::FromWord(
        std::atomic_ref<std::uint64_t>(*slot).load(std::memory_order_acquire));
  }

  // Changes, with the domain locked; only of a translated domain. Reserve makes room for the
  // entries [gfn, gfn + count), so that Store of them cannot fail: false when there is no memory
  // for it or the range is beyond what a p2m can hold.
  static constexpr bool CanHold(std::uint64_t gfn) { return gfn < kLimit; }
  bool Reserve(std::uint64_t gfn, std::uint64_t count, OverheadPages& pages);
  void Store(std::uint64_t gfn, P2mEntry entry);

  // Entries that the top has room for; and whether there is a leaf for that of `gfn`.
  std::uint64_t capacity() const {
    return kLeafEntries << kLeafBits << (top_.load(std::memory_order_relaxed) & kOrderMask);
  }
  bool HasLeaf(std::uint64_t gfn) const { return Slot(gfn) != nullptr; }
  // Gives the leaf of `gfn` back, which has no entries any more.
  void DropLeaf(std::uint64_t gfn, OverheadPages& pages);

  // Gives back what is left: the top, once the leaves are gone. Only calls that found the domain
  // before may still look things up.
  void Destroy(OverheadPages& pages);

  // One past the highest gfn that ever had an entry: of a translated domain.
  std::uint64_t end() const { return end_.load(std::memory_order_relaxed); }

 private:
  friend class Books;  // of tests/unit

  // Where the entry of `gfn` stands, or null when no leaf covers it.
  std::uint64_t* Slot(std::uint64_t gfn) const {
    const std::uint64_t top = top_.load(std::memory_order_acquire);
    const std::uint64_t index = gfn >> kLeafBits;
    if (index >= kLeafEntries << (top & kOrderMask)) [[unlikely]]
      return nullptr;
    const std::uint64_t leaf = std::atomic_ref<std::uint64_t>(Words(top & ~kOrderMask)[index])
                                   .load(std::memory_order_acquire);
    if (leaf == 0) [[unlikely]]
      return nullptr;
    return Words(leaf) + (gfn & (kLeafEntries - 1));
  }

  P2mEntry LoadDirect(std::uint64_t mfn) const;
  bool GrowTop(unsigned order, OverheadPages& pages);

  std::uint64_t* Words(std::uint64_t machine) const {
    return reinterpret_cast<std::uint64_t*>(frames_->Pointer({machine}));
  }

  static constexpr std::uint64_t kOrderMask = kPageSize - 1;

  const FrameTable* frames_ = nullptr;
  std::atomic<std::uint64_t> top_ = 0;  // machine address of the top | its order
  std::atomic<std::uint64_t> end_ = 0;
  std::uint16_t domain_ = 0;
  bool translated_ = false;
};

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_MEMORY_P2M_H_
