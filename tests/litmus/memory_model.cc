#include "tests/litmus/memory_model.h"

#include <algorithm>
#include <cstring>

namespace xencomm::litmus {

void View::Raise(unsigned location, std::size_t store) {
  if (location >= floors_.size()) floors_.resize(location + 1);
  floors_[location] = std::max(floors_[location], static_cast<std::uint16_t>(store));
}

void View::JoinFloors(const View& other) {
  for (unsigned i = 0; i < other.floors_.size(); ++i) Raise(i, other.floors_[i]);
}

void View::Join(const View& other) {
  for (unsigned i = 0; i < kMostThreads; ++i) {
    clocks_[i] = std::max(clocks_[i], other.clocks_[i]);
  }
  JoinFloors(other);
}

void MemoryModel::Reset() {
  ++execution_;
  stores_.clear();
  sequential_ = {};
  for (unsigned i = 0; i < kMostThreads; ++i) {
    threads_[i] = {};
    threads_[i].view.clock(i) = 1;
  }
}

MemoryModel::Cell& MemoryModel::CellOf(std::uintptr_t address) {
  const std::uintptr_t number = address / kPage;
  if (last_page_ == nullptr || number != last_page_number_ || last_page_->execution != execution_) {
    std::unique_ptr<Page>& page = pages_[number];
    if (page == nullptr) page = std::make_unique<Page>();
    if (page->execution != execution_) {
      std::memset(page->cells, 0, sizeof(page->cells));
      page->execution = execution_;
    }
    last_page_ = page.get();
    last_page_number_ = number;
  }
  return last_page_->cells[address % kPage];
}

bool MemoryModel::Touch(unsigned thread, std::uintptr_t start, std::size_t bytes, Access access) {
  static constexpr unsigned kConflicts[] = {
      1u << kPlainWrite | 1u << kAtomicWrite,
      1u << kPlainRead | 1u << kPlainWrite | 1u << kAtomicRead | 1u << kAtomicWrite,
      1u << kPlainWrite,
      1u << kPlainRead | 1u << kPlainWrite,
  };
  static constexpr Cell kUntouched = {};
  View& view = threads_[thread].view;
  bool is_ordered = true;
  for (std::size_t done = 0; done != bytes;) {
    Cell* const cells = &CellOf(start + done);
    const std::size_t in_page = std::min(bytes - done, kPage - (start + done) % kPage);
    for (std::size_t i = 0; i != in_page; ++i) {
      Cell& cell = cells[i];
      if (std::memcmp(&cell, &kUntouched, sizeof(cell)) != 0) {
        for (unsigned kind = 0; kind < 4; ++kind) {
          if ((kConflicts[access] >> kind & 1) == 0) continue;
          for (unsigned other = 0; other < kMostThreads; ++other) {
            if (other != thread && cell.times[kind][other] > view.clock(other)) is_ordered = false;
          }
        }
        if (access == kPlainWrite) cell.location = 0;
      }
      cell.times[access][thread] = view.clock(thread);
    }
    done += in_page;
  }
  return is_ordered;
}

bool MemoryModel::IsWrittenBefore(const Moment& moment, std::uintptr_t start, std::size_t bytes) {
  for (std::uintptr_t at = start; at != start + bytes; ++at) {
    for (unsigned thread = 0; thread < kMostThreads; ++thread) {
      if (CellOf(at).times[kPlainWrite][thread] > moment[thread]) return false;
    }
  }
  return true;
}

unsigned MemoryModel::LocationAt(std::uintptr_t start, std::size_t bytes) {
  Cell& cell = CellOf(start);
  if (cell.location == 0) {
    stores_.push_back({{Peek(start, bytes), {}}});
    cell.location = static_cast<std::uint16_t>(stores_.size());
  }
  return cell.location - 1u;
}

std::size_t MemoryModel::OldestFor(unsigned thread, unsigned location, int order) {
  View& view = threads_[thread].view;
  if (order == __ATOMIC_SEQ_CST) view.Raise(location, sequential_.floor(location));
  return view.floor(location);
}

void MemoryModel::Read(unsigned thread, unsigned location, std::size_t store, int order) {
  Thread& self = threads_[thread];
  self.view.Raise(location, store);
  if (order == __ATOMIC_SEQ_CST) sequential_.Raise(location, store);
  (Acquires(order) ? self.view : self.unacquired).Join(stores_[location][store].released);
}

void MemoryModel::Write(unsigned thread, unsigned location, std::uint64_t value, int order,
                        bool reads) {
  Thread& self = threads_[thread];
  std::vector<Stored>& stores = stores_[location];
  self.view.Raise(location, stores.size());
  if (order == __ATOMIC_SEQ_CST) sequential_.Raise(location, stores.size());
  Stored made = {value, Releases(order) ? self.view : self.fenced};
  // A read-modify-write goes on with the release sequence of what it read.
  if (reads) made.released.Join(stores.back().released);
  stores.push_back(std::move(made));
  ++self.view.clock(thread);
}

void MemoryModel::Fence(unsigned thread, int order) {
  Thread& self = threads_[thread];
  if (Acquires(order)) self.view.Join(self.unacquired);
  if (order == __ATOMIC_SEQ_CST) {
    self.view.JoinFloors(sequential_);
    sequential_.JoinFloors(self.view);
  }
  if (Releases(order)) self.fenced = self.view;
  ++self.view.clock(thread);
}

View MemoryModel::Release(unsigned thread) {
  Thread& self = threads_[thread];
  View released = self.view;
  ++self.view.clock(thread);
  return released;
}

std::uint64_t Peek(std::uintptr_t start, std::size_t bytes) {
  std::uint64_t value = 0;
  std::memcpy(&value, reinterpret_cast<const void*>(start), bytes);
  return value;
}

void Poke(std::uintptr_t start, std::size_t bytes, std::uint64_t value) {
  std::memcpy(reinterpret_cast<void*>(start), &value, bytes);
}

}  // namespace xencomm::litmus
