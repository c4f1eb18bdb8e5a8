// MemoryModel: what the threads of one execution have written and may read.
//
// Plain memory holds what was written last. An atomic location has all its stores besides, in the
// order in which they were run, and each thread has a view: of each location the oldest store that
// it may still read. Views are handed on as C++ says (a release store's to whom reads it with
// acquire; by fences; by the order of all seq_cst operations), and so are vector clocks, by which a
// race is known: an access that is not behind one by another thread that it conflicts with.
#ifndef TESTS_LITMUS_MEMORY_MODEL_H_
#define TESTS_LITMUS_MEMORY_MODEL_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "tests/litmus/explore.h"

namespace xencomm::litmus {

constexpr bool Acquires(int order) {
  return order == __ATOMIC_ACQUIRE || order == __ATOMIC_ACQ_REL || order == __ATOMIC_SEQ_CST;
}
constexpr bool Releases(int order) {
  return order == __ATOMIC_RELEASE || order == __ATOMIC_ACQ_REL || order == __ATOMIC_SEQ_CST;
}

class View {
 public:
  std::uint16_t& clock(unsigned thread) { return clocks_[thread]; }
  const Moment& clocks() const { return clocks_; }
  // The oldest store of a location that may be read.
  std::uint16_t floor(unsigned location) const {
    return location < floors_.size() ? floors_[location] : std::uint16_t{0};
  }
  void Raise(unsigned location, std::size_t store);
  void JoinFloors(const View& other);
  void Join(const View& other);

 private:
  Moment clocks_ = {};
  std::vector<std::uint16_t> floors_;
};

struct Stored {
  std::uint64_t value;
  View released;  // handed on to whom reads it
};

class MemoryModel {
 public:
  enum Access : std::uint8_t { kPlainRead, kPlainWrite, kAtomicRead, kAtomicWrite };

  // A new execution.
  void Reset();

  // False: it races. A plain write ends what an atomic location there was.
  bool Touch(unsigned thread, std::uintptr_t start, std::size_t bytes, Access access);
  Moment NowOf(unsigned thread) const { return threads_[thread].view.clocks(); }
  bool IsWrittenBefore(const Moment& moment, std::uintptr_t start, std::size_t bytes);

  // The location at `start`, which from now on has stores; the first is what is there.
  unsigned LocationAt(std::uintptr_t start, std::size_t bytes);
  const Stored& store(unsigned location, std::size_t i) const { return stores_[location][i]; }
  std::size_t LastOf(unsigned location) const { return stores_[location].size() - 1; }
  // The oldest that the thread may read by an operation of this order.
  std::size_t OldestFor(unsigned thread, unsigned location, int order);

  void Read(unsigned thread, unsigned location, std::size_t store, int order);
  void Write(unsigned thread, unsigned location, std::uint64_t value, int order, bool reads);
  void Fence(unsigned thread, int order);
  // As a lock is handed on, which is no atomic operation of the program's.
  void Acquire(unsigned thread, const View& from) { threads_[thread].view.Join(from); }
  View Release(unsigned thread);

 private:
  // Of one byte, the time of each thread's last access of each kind, on its own clock.
  struct Cell {
    std::uint16_t times[4][kMostThreads];
    std::uint16_t location;  // + 1, at its first byte
  };
  static constexpr std::size_t kPage = 4096;
  struct Page {
    std::uint64_t execution = 0;
    Cell cells[kPage];
  };
  struct Thread {
    View view;
    View unacquired;  // of what was read without acquiring, for a fence to come
    View fenced;      // of the last release fence
  };

  Cell& CellOf(std::uintptr_t address);

  std::uint64_t execution_ = 0;
  std::unordered_map<std::uintptr_t, std::unique_ptr<Page>> pages_;
  std::uintptr_t last_page_number_ = 0;
  Page* last_page_ = nullptr;
  std::vector<std::vector<Stored>> stores_;  // by location
  std::array<Thread, kMostThreads> threads_;
  View sequential_;  // floors: of the seq_cst operations so far
};

// A value of 1 to 8 bytes in memory.
std::uint64_t Peek(std::uintptr_t start, std::size_t bytes);
void Poke(std::uintptr_t start, std::size_t bytes, std::uint64_t value);

}  // namespace xencomm::litmus

#endif  // TESTS_LITMUS_MEMORY_MODEL_H_
