// Space: what a guest's pointer means.
//
//   guest pointer ── Translation ──> guest-physical segments ── Memory ──> bytes
//
// A page walk, a region, a descriptor is a Translation; SpaceOver puts it on top of a Memory and
// makes it a Space, which is all that copies and handles see. A Space is one function: one virtual
// call for each run of bytes, with translation and memory inlined below it.
//
// Rules:
// 1. A place is a pair: the pointer exactly as the guest gave it, and an offset in bytes that is
//    ours. A descriptor's pointer has no sum with an offset, and nothing of the guest's is changed
//    to express one.
// 2. Zero bytes touch nothing: the pointer is not looked at.
// 3. What is checked is what is used: a translation is never done twice for one access.
#ifndef XENCOMM_SPACE_H_
#define XENCOMM_SPACE_H_

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <new>
#include <type_traits>

#include "xencomm/address.h"
#include "xencomm/fault.h"
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
  // zero: no more is cleared.
  template <class T>
  T& As() {
    static_assert(sizeof(T) <= sizeof(bytes_) && alignof(T) <= alignof(std::uint64_t));
    static_assert(std::is_trivially_copyable_v<T>);
    return *std::launder(reinterpret_cast<T*>(bytes_));
  }

 private:
  alignas(std::uint64_t) std::byte bytes_[32];
};

// What guest pointers mean.
class Space {
 public:
  // The contiguous run at `pointer` + `offset`, of at most `length` bytes (at least 1). The runs of
  // one access are asked for in order, with one cursor; null when this run is all that is wanted,
  // as it mostly is for small accesses.
  virtual Mapping Map(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length,
                      Access access, Cursor* cursor) = 0;

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
  // Spaces are made on the stack of a call and never deleted through this class: the freestanding
  // parts have no operator delete.
  ~Space() = default;

 private:
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
};

// How pointers of one kind become guest-physical segments. Its `Cursor` is what it keeps in a
// space's cursor.
template <class T>
concept Translation = requires(T& translation, VirtualAddress pointer, std::uint64_t n,
                               typename T::Cursor& cursor) {
  { translation.Translate(pointer, n, n, Access::kRead, cursor) } -> std::same_as<Segment>;
};

// The space of a translation and the memory below it, which are flattened into its one function
// whatever the compiler thinks of their size.
template <Translation T, Memory M>
class SpaceOver final : public Space {
 public:
  // `memory` is borrowed.
  constexpr SpaceOver(T translation, M& memory) : translation_(translation), memory_(memory) {}

  [[gnu::flatten]] Mapping Map(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length,
                               Access access, Cursor* cursor) override {
    using Kept = typename T::Cursor;
    if (std::is_empty_v<Kept> || cursor == nullptr) {
      Kept nothing;
      return Find(pointer, offset, length, access, nothing);
    }
    return Find(pointer, offset, length, access, cursor->As<Kept>());
  }

 private:
  Mapping Find(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length, Access access,
               typename T::Cursor& kept) {
    const Segment segment = translation_.Translate(pointer, offset, length, access, kept);
    if (!segment.ok()) [[unlikely]]
      return segment.fault();
    return memory_.Map(segment.start(), segment.length(), access);
  }

  T translation_;
  M& memory_;
};

// For translations whose pointers are plain addresses: the sum, or nothing when it passes 2^64.
constexpr bool AddOffset(VirtualAddress pointer, std::uint64_t offset, VirtualAddress* sum) {
  return !__builtin_add_overflow(pointer.value, offset, &sum->value);
}

}  // namespace xencomm

#endif  // XENCOMM_SPACE_H_
