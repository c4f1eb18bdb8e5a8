// Arena: the allocator of a region's payload.
//
// What a hypercall touches is put here: its structure, and everything that the structure points at.
// The memory is where the hypervisor can reach it (a Backing's concern), so nothing is copied to
// make a call, and handles hold plain pointers.
//
// Rules:
// 1. Once the Arena has grown to what a program needs, allocating and freeing make no system call,
//    take no lock, clear nothing and write nothing that another thread writes: a thread keeps the
//    blocks that it frees, up to kKept of each size, for its next of that size. A lock is taken
//    where a thread frees more than it allocates, or less; for blocks of more than 64 pages; and
//    while 64 other threads have used an Arena and not ended. Nothing that is kept is lost: it goes
//    to the next thread that begins when its own has ended, and to whoever allocates when the Arena
//    cannot grow.
// 2. The metadata is kept out of band. Whatever a hypercall writes into the region, and wherever,
//    the Arena goes on working.
// 3. Nothing is freed on a guess. A pointer that is not the start of a live allocation is refused,
//    with what it is instead; of two threads that free one block, one is.
// 4. After fork the memory is not in the child. There an Arena refuses everything; the child makes
//    one of its own.
//
// All functions may be called by any thread at any time.
#ifndef XENCOMM_ARENA_H_
#define XENCOMM_ARENA_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "xencomm/backing.h"
#include "xencomm/export.h"
#include "xencomm/fork_marker.h"
#include "xencomm/owned.h"

namespace xencomm {

class Blocks;  // what an Arena knows of its memory

enum class Contents : std::uint8_t {
  kAny,      // whatever was there: for what is written whole, or only received
  kCleared,  // zeroes, in the bytes that were asked for
};

class XENCOMM_API Arena final : private Freer {
 public:
  static constexpr std::uint64_t kPageSize = 4096;
  static constexpr std::uint64_t kDefaultSize = std::uint64_t{256} << 20;
  static constexpr std::uint64_t kMaxSize = std::uint64_t{1} << 30;
  static constexpr std::uint32_t kKept = 31;

  // An Arena of `payload_size` bytes: a multiple of the page size, at most kMaxSize. Only addresses
  // are reserved; memory is put behind them as it is needed.
  static absl::StatusOr<std::unique_ptr<Arena>> Create(std::unique_ptr<Backing> backing,
                                                       std::uint64_t payload_size = kDefaultSize);

  // Gives the memory back, allocations that are still live included.
  ~Arena();

  // `size` bytes, aligned to `alignment`: a power of two, at most the page size. Without one, to
  // the next power of two that is at least `size`, a page at most. Zero bytes are an allocation
  // too, with an address of its own.
  //   kInvalidArgument     the alignment is none
  //   kResourceExhausted   the region is full, or no more memory can be had or locked
  //   kPermissionDenied    more memory would be needed, after GrowNoMore
  //   kFailedPrecondition  in a forked child
  absl::StatusOr<void*> Allocate(std::size_t size, Contents contents = Contents::kAny,
                                 std::size_t alignment = 1);

  // `count` elements of `size` bytes. kInvalidArgument when the product passes 2^64.
  absl::StatusOr<void*> AllocateArray(std::size_t count, std::size_t size,
                                      Contents contents = Contents::kAny,
                                      std::size_t alignment = 1);

  // One T, or `count` of them, freed when the owner goes. The owner must not outlive the Arena.
  template <class T>
  absl::StatusOr<Owned<T>> New(Contents contents = Contents::kAny) {
    absl::StatusOr<void*> memory = Allocate(sizeof(T), contents, alignof(T));
    if (!memory.ok()) return memory.status();
    return Owned<T>(static_cast<T*>(*memory), Returning());
  }
  template <class T>
  absl::StatusOr<OwnedArray<T>> NewArray(std::size_t count, Contents contents = Contents::kAny) {
    absl::StatusOr<void*> memory = AllocateArray(count, sizeof(T), contents, alignof(T));
    if (!memory.ok()) return memory.status();
    return OwnedArray<T>(static_cast<T*>(*memory), count, Returning());
  }

  // Frees what begins at `pointer`; null is free already. When it is refused nothing has changed:
  //   kInvalidArgument     not an address of this Arena, or not the start of an allocation
  //   kNotFound            free already
  //   kFailedPrecondition  in a forked child
  absl::Status Free(void* pointer);

  // The live allocation that holds the byte at `pointer`, with all the room it has, which can be
  // more than was asked for. Refuses as Free does.
  absl::StatusOr<std::span<std::byte>> Find(const void* pointer) const;

  // Whether [pointer, pointer + size) lies in one live allocation: what a handle may name. Refuses
  // as Free does, and with kOutOfRange when the range runs out of the allocation.
  absl::Status Check(const void* pointer, std::size_t size) const;

  // From now on there is no memory but what there is.
  void GrowNoMore();

  // The whole range of the region, table included.
  std::span<std::byte> region() const;
  std::span<std::byte> payload() const;
  ByteOrder order() const;
  // Bytes that have memory behind them.
  std::uint64_t populated() const;

  // Whether this is still the process that created the Arena.
  bool in_same_process() const { return marker_.in_same_process(); }

 private:
  explicit Arena(std::unique_ptr<Blocks> blocks);

  void FreeOwned(void* pointer) override;
  ReturnTo Returning() { return ReturnTo(*this); }

  const std::unique_ptr<Blocks> blocks_;
  const ForkMarker& marker_;  // of blocks_
};

}  // namespace xencomm

#endif  // XENCOMM_ARENA_H_
