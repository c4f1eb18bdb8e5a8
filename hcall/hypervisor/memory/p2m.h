// The p2m: from a domain's frame numbers to machine frames.
//
//   gfn ──> low[…] ──> mfn << 12 | type                                            one load
//   gfn ── bits 9 and up ──> top[…] ── bits 8…0 ──> leaf[512] ──> mfn << 12 | type   two
//   gfn ── nine bits each ──> table[512] ──> table[512] ──> table[512] ──> leaf[512]  four
//
// A translated domain has all: the low entries are one table, which doubles as long as it is at
// least half full then; gfns beyond it have leaves, so that holes cost nothing, and stay there.
// Those from 2^27 on are reached by tables of one page each, which come and go with their leaves.
// A PV domain's frame numbers are machine frame numbers, and its p2m is the frame table: what it
// owns.
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

// Bit 0: a hypercall's arguments may be read from there; bit 1: and written to it. Bit 2: what is
// there is somebody else's, and stays so.
enum class P2mType : std::uint8_t {
  kNone = 0,
  kReadOnly = 1,  // RAM that the domain may not write
  kRam = 3,
  kForeign = 4,             // another domain's, mapped by its controller
  kShared = 8 + 3,          // the hypervisor's page: shared info, grant table
  kGrantReadOnly = 16 + 4,  // granted by its owner
  kGrantWritable = 32 + 4,
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
  constexpr bool readable() const { return (word_ & 1) != 0; }
  constexpr bool writable() const { return (word_ & 2) != 0; }
  constexpr bool is_others() const { return (word_ & 4) != 0; }

 private:
  std::uint64_t word_ = 0;
};

class P2m {
 public:
  static constexpr unsigned kLeafBits = 9;
  static constexpr std::uint64_t kLeafEntries = std::uint64_t{1} << kLeafBits;
  // The top may be 2^9 pages: gfns up to 2^27, a physmap of 512 GiB. Those from there on are outer.
  static constexpr unsigned kMaxTopOrder = 9;
  static constexpr std::uint64_t kInner = kLeafEntries << kLeafBits << kMaxTopOrder;
  // What a second stage of four levels can say, as Xen's.
  static constexpr unsigned kLimitBits = 36;
  static constexpr std::uint64_t kLimit = std::uint64_t{1} << kLimitBits;

  // A translated domain's; false when there is no page for it.
  bool InitTranslated(const FrameTable& frames, OverheadPages& pages);
  // A PV domain's.
  void InitDirect(const FrameTable& frames, std::uint16_t domain);

  bool translated() const { return translated_; }

  P2mEntry Load(std::uint64_t gfn) const {
    const std::uint64_t low = low_.load(std::memory_order_acquire);
    if (IsLow(gfn, low)) [[likely]]
      return LoadFrom(EntriesOf(low) + gfn);
    return LoadFar(gfn);
  }
  // The table of the low ones as it stands, for one translation. When a larger one takes its place,
  // it stays for as long as the call that looks goes on, and so do the frames that it names.
  class LowEntries {
   public:
    explicit LowEntries(const P2m& p2m) : memory_(p2m.memory_) {
      const std::uint64_t low = p2m.low_.load(std::memory_order_acquire);
      entries_ = EntriesOf(low);
      count_ = std::uint64_t{1} << (low & kBitsMask);
    }
    // Of others nothing.
    P2mEntry Load(std::uint64_t gfn) const {
      if (gfn >= count_) [[unlikely]]
        return {};
      return LoadFrom(entries_ + gfn);
    }
    std::byte* Bytes(P2mEntry entry) const { return BytesIn(memory_, entry); }

   private:
    std::uintptr_t memory_;
    std::uint64_t* entries_;
    std::uint64_t count_;
  };
  // Where the hypervisor reaches the frame of an entry.
  std::byte* Bytes(P2mEntry entry) const { return BytesIn(memory_, entry); }

  // Changes, with the domain locked; only of a translated domain. Reserve makes room for the
  // entries [gfn, gfn + count), so that Store of them cannot fail: false when there is no memory
  // for it or the range is beyond what a p2m can hold.
  static constexpr bool CanHold(std::uint64_t gfn) { return gfn < kLimit; }
  bool Reserve(std::uint64_t gfn, std::uint64_t count, OverheadPages& pages);
  void Store(std::uint64_t gfn, P2mEntry entry);

  // One past the highest gfn that can have an entry now; and whether `gfn` can, with the
  // kLeafEntries around it.
  std::uint64_t capacity() const {
    return outer_.load(std::memory_order_relaxed) != 0 ? kLimit : InnerCapacity();
  }
  std::uint64_t InnerCapacity() const {
    const std::uint64_t far = FarCapacity(top_.load(std::memory_order_relaxed));
    const std::uint64_t low = CountOf(low_.load(std::memory_order_relaxed));
    return low < far ? far : low;
  }
  bool HasLeaf(std::uint64_t gfn) const { return Slot(gfn) != nullptr; }
  // Where the next leaf can begin, behind a `gfn` that has none.
  std::uint64_t AfterHole(std::uint64_t gfn) const;
  // Gives the leaf of `gfn` back, if it is in one, which has no entries any more.
  void DropLeaf(std::uint64_t gfn, OverheadPages& pages);

  // Gives back what is left, once the leaves are gone. Only calls that found the domain before may
  // still look things up.
  void Destroy(OverheadPages& pages);

  // How many its tables take.
  std::uint64_t pages() const { return pages_.load(std::memory_order_relaxed); }

  // One past the highest gfn that ever had an entry: of a translated domain.
  std::uint64_t end() const { return end_.load(std::memory_order_relaxed); }

 private:
  friend class Books;  // of tests/unit

  static P2mEntry LoadFrom(std::uint64_t* slot) {
    return P2mEntry::FromWord(
        std::atomic_ref<std::uint64_t>(*slot).load(std::memory_order_acquire));
  }
  // The same for a gfn that is not low, or an mfn.
  P2mEntry LoadFar(std::uint64_t gfn) const;
  // Where the entry of `gfn` stands, or null when there is no room for it.
  std::uint64_t* Slot(std::uint64_t gfn) const;
  std::uint64_t* LeafOf(std::uint64_t gfn) const;
  std::uint64_t* OuterLeafOf(std::uint64_t gfn) const;
  bool ReserveInner(std::uint64_t gfn, std::uint64_t count, OverheadPages& pages);
  bool ReserveOuter(std::uint64_t gfn, OverheadPages& pages);
  // Gives back what is empty of the tables on the way to `gfn`, the leaf included.
  void PruneOuter(std::uint64_t gfn, OverheadPages& pages);

  static std::byte* BytesIn(std::uintptr_t memory, P2mEntry entry) {
    return reinterpret_cast<std::byte*>(memory + (entry.word() & ~(kPageSize - 1)));
  }

  P2mEntry LoadDirect(std::uint64_t mfn) const;
  // Of its tables, in blocks of 2^order pages. Others may read how many there are meanwhile.
  std::uint64_t Allocate(OverheadPages& pages, unsigned order);
  void Free(OverheadPages& pages, std::uint64_t mfn, unsigned order);
  void FreeLow(OverheadPages& pages, std::uint64_t low);
  bool GrowLow(std::uint64_t gfn, std::uint64_t count, OverheadPages& pages);
  bool GrowTop(unsigned order, OverheadPages& pages);
  void DropTop(OverheadPages& pages);

  static bool IsLow(std::uint64_t gfn, std::uint64_t low) { return gfn >> (low & kBitsMask) == 0; }
  static std::uint64_t* EntriesOf(std::uint64_t low) {
    return reinterpret_cast<std::uint64_t*>(low & ~kBitsMask);
  }
  static std::uint64_t CountOf(std::uint64_t low) {
    return (low & kBitsMask) == 0 ? 0 : std::uint64_t{1} << (low & kBitsMask);
  }

  // Of a gfn, in an outer table that stands for 2^bits of them.
  static std::uint64_t IndexIn(std::uint64_t gfn, unsigned bits) {
    return gfn >> (bits - kLeafBits) & (kLeafEntries - 1);
  }

  // Of a top, or none.
  static std::uint64_t FarCapacity(std::uint64_t top) {
    return top == 0 ? 0 : kLeafEntries << kLeafBits << (top & kOrderMask);
  }
  std::uint64_t* Words(std::uint64_t machine) const {
    return reinterpret_cast<std::uint64_t*>(frames_->Pointer({machine}));
  }

  static constexpr std::uint64_t kOrderMask = kPageSize - 1;
  static constexpr std::uint64_t kBitsMask = 63;
  // There are no more low entries, so that growing is over soon: it copies them with the domain
  // locked.
  static constexpr std::uint64_t kMaxLow = std::uint64_t{1} << 18;
  // Where there are no low entries, gfn 0 has one that says so.
  alignas(kBitsMask + 1) static inline constinit std::uint64_t no_entries_[1] = {};

  const FrameTable* frames_ = nullptr;
  std::uintptr_t memory_ = 0;  // where machine address 0 is reached
  // Where the low entries are | how many bits their gfns have: one word, so that both are of one
  // table.
  std::atomic<std::uint64_t> low_ = reinterpret_cast<std::uintptr_t>(no_entries_);
  std::uint64_t low_present_ = 0;         // of them; with the domain locked
  std::atomic<std::uint64_t> top_ = 0;    // machine address of the top | its order; 0: none
  std::atomic<std::uint64_t> outer_ = 0;  // machine address of the first table; 0: none
  std::atomic<std::uint64_t> end_ = 0;
  std::atomic<std::uint64_t> pages_ = 0;
  std::uint16_t domain_ = 0;
  bool translated_ = false;
};

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_MEMORY_P2M_H_
