// Space: what a guest's pointer means.
//
//   guest pointer ── Translation ──> guest-physical segments ── Memory ──> bytes
//
// A page walk, a region, a descriptor is a Translation; SpaceOver puts it on top of a Memory and
// makes it a Space, which is all that copies and handles see. A Space is one function: one virtual
// call for each run of bytes, with translation and memory inlined below it; and none where the
// bytes lie in pages that it knows already (KnownPages).
//
// Rules:
// 1. A place is a pair: the pointer exactly as the guest gave it, and an offset in bytes that is
//    ours. A descriptor's pointer has no sum with an offset, and nothing of the guest's is changed
//    to express one.
// 2. Zero bytes touch nothing: the pointer is not looked at.
// 3. What is checked is what is used: of a translation that is begun anew, nothing is.
#ifndef XENCOMM_SPACE_H_
#define XENCOMM_SPACE_H_

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <new>
#include <type_traits>

#include "xencomm/address.h"
#include "xencomm/fault.h"
#include "xencomm/hypercall.h"
#include "xencomm/memory.h"

namespace xencomm {

// How far an access went, and if not to its end: why, and where it stopped.
struct [[nodiscard]] CopyResult {
  std::uint64_t bytes = 0;
  FaultInfo fault = {};
  VirtualAddress address = {};  // of the byte that faulted; only with a fault

  constexpr bool ok() const { return fault.ok(); }
};

// What a space remembers from one run of an access to the next: the table that it read last. Empty
// at the start of each access, since nothing is remembered longer.
class Cursor {
 public:
  Cursor() { __builtin_memset(bytes_, 0, sizeof(std::uint64_t)); }

  // As what the space keeps there, the same at every use. A `T` is empty when its first word is
  // zero.
  template <class T>
  T& As() {
    static_assert(sizeof(T) <= sizeof(bytes_) && alignof(T) <= alignof(std::uint64_t));
    static_assert(std::is_trivially_copyable_v<T>);
    if (is_empty()) return *new (bytes_) T();
    return *std::launder(reinterpret_cast<T*>(bytes_));
  }
  bool is_empty() const {
    std::uint64_t first;
    __builtin_memcpy(&first, bytes_, sizeof(first));
    return first == 0;
  }

 private:
  alignas(std::uint64_t) std::byte bytes_[32];
};

// A page of 4 KiB as a hypervisor holds it for a guest's calls: one word, where the page is and, in
// the bits that its alignment leaves free, what it may not be used for.
class HeldPage {
 public:
  static constexpr std::uint64_t kBytes = 4096;

  static constexpr std::uint64_t kNotReadable = 1;
  static constexpr std::uint64_t kNotWritable = 2;
  static constexpr std::uint64_t kArgumentsOnly = 4;
  static constexpr std::uint64_t kNoUse = kNotReadable | kNotWritable | kArgumentsOnly;

  // None is held.
  constexpr HeldPage() = default;
  // `page` is aligned.
  HeldPage(const std::byte* page, std::uint64_t denied)
      : word_(reinterpret_cast<std::uintptr_t>(page) | denied) {}
  HeldPage(const std::byte* page, Access access, GranuleUse use)
      : HeldPage(page, (access == Access::kWrite ? 0 : kNotWritable) |
                           (use == GranuleUse::kAnyPointer ? 0 : kArgumentsOnly)) {}

  bool is_none() const { return word_ == kNoUse; }
  bool is_usable() const { return (word_ & kNotReadable) == 0; }
  bool Denies(std::uint64_t uses) const { return (word_ & uses) != 0; }
  GranuleUse use() const {
    return Denies(kArgumentsOnly) ? GranuleUse::kArgumentsOnly : GranuleUse::kAnyPointer;
  }
  std::byte* page() const { return reinterpret_cast<std::byte*>(word_ & ~(kBytes - 1)); }

  // Where it is shared: it changes while calls look at it. Who finds a page also finds what it held
  // before the store: at least that it was cleared.
  HeldPage Load() const {
    HeldPage now;
    now.word_ = __atomic_load_n(&word_, __ATOMIC_ACQUIRE);
    return now;
  }
  void Store(HeldPage page) { __atomic_store_n(&word_, page.word_, __ATOMIC_RELEASE); }

 private:
  std::uint64_t word_ = kNoUse;
};

// Pages in a row of which a space knows before a call where they are.
struct KnownPages {
  VirtualAddress start = {};        // of the first one, aligned
  std::uint64_t length = 0;         // bytes; 0: none are known
  const HeldPage* pages = nullptr;  // borrowed, and may change meanwhile
  std::uint64_t for_reading = 0;    // what a page must not deny
  std::uint64_t for_writing = 0;

  // The page of the byte at `pointer` + `offset`, and how far into it that lies. False: the space
  // has to be asked, if only for the reason.
  [[gnu::always_inline]] bool Find(VirtualAddress pointer, std::uint64_t offset, Access access,
                                   std::byte** page, std::uint64_t* within) const {
    const std::uint64_t address = pointer.value + offset;
    if (address < offset) [[unlikely]]
      return false;
    const std::uint64_t into = address - start.value;
    if (into >= length) [[unlikely]]
      return false;
    const HeldPage held = pages[into / HeldPage::kBytes].Load();
    if (held.Denies(access == Access::kWrite ? for_writing : for_reading)) [[unlikely]]
      return false;
    *page = held.page();
    *within = into % HeldPage::kBytes;
    return true;
  }
};

// What guest pointers mean.
class Space {
 public:
  // The contiguous run at `pointer` + `offset`, of at most `length` bytes (at least 1). The runs of
  // one access are asked for in order, with one cursor; null when this run is all that is wanted,
  // as it mostly is for small accesses.
  Mapping Map(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length, Access access,
              Cursor* cursor) {
    std::byte* page;
    std::uint64_t within;
    if (!known_.Find(pointer, offset, access, &page, &within)) {
      return Resolve(pointer, offset, length, access, cursor);
    }
    const std::uint64_t rest = HeldPage::kBytes - within;
    return {page + within, length < rest ? length : rest};
  }

  // All of `length` bytes, at least 1 and less than 2^63, if they lie in one run, as a few mostly
  // do. Otherwise nothing that is ok(), and not why.
  [[gnu::always_inline]] Mapping MapWhole(VirtualAddress pointer, std::uint64_t offset,
                                          std::uint64_t length, Access access) {
    std::byte* page;
    std::uint64_t within;
    if (known_.Find(pointer, offset, access, &page, &within)) [[likely]] {
      if (within + length > HeldPage::kBytes) [[unlikely]]
        return Fault::kOutOfRange;
      return {page + within, length};
    }
    const Mapping run = Resolve(pointer, offset, length, access, nullptr);
    if (run.length() != length) [[unlikely]]
      return Fault::kOutOfRange;
    return {run.start(), length};
  }

  // Calls `visit(std::byte* run, std::uint64_t offset, std::uint64_t length)` for all runs of a
  // range in order, neighbours joined; `offset` counts from the start of the access. Stops at the
  // first fault, after everything before it was visited.
  template <class Visit>
  CopyResult ForEachRun(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length,
                        Access access, const Visit& visit) {
    if (length == 0) return {};
    Cursor cursor;
    const Mapping first = Map(pointer, offset, length, access, &cursor);
    if (first.length() == length) [[likely]] {
      visit(first.start(), std::uint64_t{0}, length);
      return {.bytes = length};
    }
    if (!first.ok()) return {.fault = first.fault(), .address = pointer + offset};
    return FollowingRuns(first, pointer, offset, length, access, visit, cursor);
  }

 protected:
  constexpr Space() = default;
  explicit constexpr Space(const KnownPages& known) : known_(known) {}
  // Spaces are made on the stack of a call and never deleted through this class: the freestanding
  // parts have no operator delete.
  ~Space() = default;

 private:
  // As Map, wherever the bytes lie.
  virtual Mapping Resolve(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length,
                          Access access, Cursor* cursor) = 0;

  // Goes on from the run that was found first.
  template <class Visit>
  [[gnu::noinline]] CopyResult FollowingRuns(Mapping first, VirtualAddress pointer,
                                             std::uint64_t offset, std::uint64_t length,
                                             Access access, const Visit& visit, Cursor& cursor) {
    std::byte* run = first.start();  // found and not visited yet, in case the next continues it
    std::uint64_t run_offset = 0;
    std::uint64_t done = first.length();
    CopyResult result;
    while (done < length) {
      const Mapping next = Map(pointer, offset + done, length - done, access, &cursor);
      if (!next.ok()) {
        result.fault = next.fault();
        result.address = pointer + (offset + done);
        break;
      }
      if (next.start() != run + (done - run_offset)) {
        visit(run, run_offset, done - run_offset);
        run = next.start();
        run_offset = done;
      }
      done += next.length();
    }
    visit(run, run_offset, done - run_offset);
    result.bytes = done;
    return result;
  }

  const KnownPages known_ = {};
};

// For translations whose pointers are plain addresses: the sum, or nothing when it passes 2^64.
constexpr bool AddOffset(VirtualAddress pointer, std::uint64_t offset, VirtualAddress* sum) {
  return !__builtin_add_overflow(pointer.value, offset, &sum->value);
}

// How pointers of one kind become guest-physical segments. Its `Cursor` is what it keeps in a
// space's cursor. One of plain addresses that reads tables may have TranslateQuickly, which reads
// them by the quick side of a memory: an address in the page of 4 KiB that the byte lies in, or
// false.
template <class T>
concept Translation = requires(T& translation, VirtualAddress pointer, std::uint64_t n,
                               typename T::Cursor& cursor) {
  { translation.Translate(pointer, n, n, Access::kRead, cursor) } -> std::same_as<Segment>;
};

// The space of a translation and the memory below it, which are flattened into its one function
// whatever the compiler thinks of their size. Where the memory has a quick side, what may be a
// single run is looked for there first.
template <Translation T, Memory M>
class SpaceOver final : public Space {
 public:
  // `memory` is borrowed.
  constexpr SpaceOver(T translation, M& memory) : translation_(translation), memory_(memory) {}

  [[gnu::flatten]] Mapping Resolve(VirtualAddress pointer, std::uint64_t offset,
                                   std::uint64_t length, Access access, Cursor* cursor) override {
    if constexpr (kIsQuick) {
      VirtualAddress address;
      if (cursor == nullptr && AddOffset(pointer, offset, &address)) [[likely]] {
        std::byte* start;
        if (FindQuickly(address, length, access, &start)) [[likely]]
          return {start, length};
        // Of the pair only the sum is kept meanwhile.
        return ResolveSlowly(address, 0, length, access, nullptr);
      }
    }
    return ResolveSlowly(pointer, offset, length, access, cursor);
  }

 private:
  using Kept = typename T::Cursor;
  static constexpr bool kIsQuick = HasQuickSide<M> && requires {
    &T::template TranslateQuickly<QuickSide<M>>;
  };

  [[gnu::flatten, gnu::noinline]] Mapping ResolveSlowly(VirtualAddress pointer,
                                                        std::uint64_t offset, std::uint64_t length,
                                                        Access access, Cursor* cursor) {
    if (std::is_empty_v<Kept> || cursor == nullptr) {
      Kept nothing;
      return Find(pointer, offset, length, access, nothing);
    }
    if constexpr (kIsQuick) {
      VirtualAddress address;
      std::byte* start;
      if (cursor->is_empty() && AddOffset(pointer, offset, &address) &&
          FindQuickly(address, length, access, &start)) {
        return {start, length};
      }
    }
    return Find(pointer, offset, length, access, cursor->As<Kept>());
  }

  // All of it, or nothing, and not why.
  bool FindQuickly(VirtualAddress address, std::uint64_t length, Access access, std::byte** start) {
    // What goes on in another page is not begun. What is left of a page is the negation of the
    // address with all ones above the page's bits.
    if (length > -(address.value | -HeldPage::kBytes)) [[unlikely]]
      return false;
    QuickSide<M> memory = memory_.Quick();
    PhysicalAddress in_page;
    if (!translation_.TranslateQuickly(memory, address, access, &in_page)) return false;
    std::byte* page;
    if (!memory.FindPage(in_page, access, &page)) [[unlikely]]
      return false;
    *start = page + address.value % HeldPage::kBytes;
    return true;
  }

  Mapping Find(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length, Access access,
               Kept& kept) {
    const Segment segment = translation_.Translate(pointer, offset, length, access, kept);
    if (!segment.ok()) [[unlikely]]
      return segment.fault();
    return memory_.Map(segment.start(), segment.length(), access);
  }

  T translation_;
  M& memory_;
};

}  // namespace xencomm

#endif  // XENCOMM_SPACE_H_
