// Space: what a guest's pointer means.
//
//   guest pointer ── Translator ──> guest-physical segments ── Memory ──> bytes
//
// A model of translation (page walk, region, descriptor) is a Translator; SpaceOver puts it on top
// of a Memory and makes it a Space, which is all that copies and handles see. One virtual call
// reaches the bytes of a whole copy; translation and memory are inlined below it.
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

// A reference to a callable that takes (std::byte* run, std::uint64_t offset, std::uint64_t
// length), `offset` counted from the start of the access. It lives as long as the call it is
// passed to.
class RunVisitor {
 public:
  template <class F>
  requires std::invocable<F&, std::byte*, std::uint64_t, std::uint64_t> RunVisitor(F& f)
      : object_(&f),
        call_([](void* object, std::byte* run, std::uint64_t offset, std::uint64_t length) {
          (*static_cast<F*>(object))(run, offset, length);
        }) {}

  void operator()(std::byte* run, std::uint64_t offset, std::uint64_t length) const {
    call_(object_, run, offset, length);
  }

 private:
  void* object_;
  void (*call_)(void*, std::byte*, std::uint64_t, std::uint64_t);
};

class Space {
 public:
  // The contiguous run at `pointer` + `offset`, of at most `length` bytes (at least 1). The fast
  // path of small copies: when the run is as long as what is wanted, no more is needed.
  virtual Mapping Map(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length,
                      Access access) = 0;

  // All runs of a range in order, as few as the frames behind it allow. Stops at the first fault,
  // after everything before it was visited.
  virtual CopyResult ForEachRun(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length,
                                Access access, RunVisitor visit) = 0;

 protected:
  // Spaces are made on the stack of a call and never deleted through this class: the freestanding
  // parts have no operator delete.
  ~Space() = default;
};

// `Cursor` is what a translator remembers inside one copy (the last table that it read), never
// across copies. It starts out empty by default construction.
template <class T>
concept Translator = requires(T& translator, VirtualAddress pointer, std::uint64_t n,
                              typename T::Cursor& cursor) {
  { translator.Translate(pointer, n, n, Access::kRead, cursor) } -> std::same_as<Segment>;
};

// Its functions are flattened: translation and memory are inlined into them whatever the compiler
// thinks of their size. Of a cursor that is local to a single step nothing is left then.
template <Translator T, Memory M>
class SpaceOver final : public Space {
 public:
  // `memory` is borrowed.
  constexpr SpaceOver(T translator, M& memory) : translator_(translator), memory_(memory) {}

  [[gnu::flatten]] Mapping Map(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length,
                               Access access) override {
    typename T::Cursor cursor;
    return Step(pointer, offset, length, access, cursor);
  }

  [[gnu::flatten]] CopyResult ForEachRun(VirtualAddress pointer, std::uint64_t offset,
                                         std::uint64_t length, Access access,
                                         RunVisitor visit) override {
    if (length == 0) return {};
    typename T::Cursor cursor;
    const Mapping first = Step(pointer, offset, length, access, cursor);
    if (first.length() == length) [[likely]] {
      visit(first.start(), 0, length);
      return {.bytes = length};
    }
    if (!first.ok()) {
      return {.fault = first.fault(), .address = pointer + offset};
    }
    return FollowingRuns(first, pointer, offset, length, access, visit, cursor);
  }

  T& translator() { return translator_; }

 private:
  // Goes on from the run that was found first.
  [[gnu::flatten, gnu::noinline]] CopyResult FollowingRuns(Mapping first, VirtualAddress pointer,
                                                           std::uint64_t offset,
                                                           std::uint64_t length, Access access,
                                                           RunVisitor visit,
                                                           typename T::Cursor cursor) {
    std::byte* run = first.start();  // found and not visited yet, in case the next continues it
    std::uint64_t run_offset = 0;
    std::uint64_t done = first.length();
    CopyResult result;
    while (done < length) {
      const Mapping next = Step(pointer, offset + done, length - done, access, cursor);
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

  Mapping Step(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length, Access access,
               typename T::Cursor& cursor) {
    const Segment segment = translator_.Translate(pointer, offset, length, access, cursor);
    if (!segment.ok()) [[unlikely]]
      return segment.fault();
    return memory_.Map(segment.start(), segment.length(), access);
  }

  T translator_;
  M& memory_;
};

// For translators whose pointers are plain addresses: the sum, or nothing when it passes 2^64.
constexpr bool AddOffset(VirtualAddress pointer, std::uint64_t offset, VirtualAddress* sum) {
  return !__builtin_add_overflow(pointer.value, offset, &sum->value);
}

}  // namespace xencomm

#endif  // XENCOMM_SPACE_H_
