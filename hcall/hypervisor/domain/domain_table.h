// The domains by their ids, in two levels: look-up and the walk in rising order take no lock.
#ifndef HCALL_HYPERVISOR_DOMAIN_DOMAIN_TABLE_H_
#define HCALL_HYPERVISOR_DOMAIN_DOMAIN_TABLE_H_

#include <atomic>
#include <cstdint>

#include "hcall/hypervisor/domain/domain.h"

namespace xencomm::hypervisor {

// Ids from here on have meanings of their own (DOMID_FIRST_RESERVED in public/xen.h).
inline constexpr std::uint16_t kFirstReservedDomain = 0x7ff0;

class DomainTable {
 public:
  Domain* Find(std::uint64_t id) const {
    if (id >= kFirstReservedDomain) return nullptr;
    const Leaf* leaf = leaves_[id / kLeafSize].load(std::memory_order_acquire);
    return leaf == nullptr ? nullptr
                           : leaf->domains[id % kLeafSize].load(std::memory_order_acquire);
  }

  // The first domain with this id or a higher one, or null.
  Domain* FindFrom(std::uint64_t id) const {
    const std::uint64_t end = end_.load(std::memory_order_relaxed);
    while (id < end) {
      const Leaf* leaf = leaves_[id / kLeafSize].load(std::memory_order_acquire);
      if (leaf == nullptr) {
        id = (id / kLeafSize + 1) * kLeafSize;
        continue;
      }
      Domain* domain = leaf->domains[id % kLeafSize].load(std::memory_order_acquire);
      if (domain != nullptr) return domain;
      ++id;
    }
    return nullptr;
  }

  // With the control lock held. False when there is no page for the leaf; leaves stay.
  bool Insert(std::uint16_t id, Domain* domain, FrameHeap& heap, const FrameTable& frames) {
    std::atomic<Leaf*>& leaf = leaves_[id / kLeafSize];
    if (leaf.load(std::memory_order_relaxed) == nullptr) {
      const std::uint64_t mfn = heap.Allocate(0);
      if (mfn == kNoFrame) return false;
      leaf.store(new (frames.Bytes(mfn)) Leaf, std::memory_order_release);
    }
    leaf.load(std::memory_order_relaxed)
        ->domains[id % kLeafSize]
        .store(domain, std::memory_order_release);
    if (id >= end_.load(std::memory_order_relaxed)) {
      end_.store(id + 1u, std::memory_order_relaxed);
    }
    return true;
  }
  void Remove(std::uint16_t id) {
    leaves_[id / kLeafSize]
        .load(std::memory_order_relaxed)
        ->domains[id % kLeafSize]
        .store(nullptr, std::memory_order_relaxed);
  }

 private:
  friend class Books;  // of tests/unit

  static constexpr unsigned kLeafSize = kPageSize / sizeof(void*);

  struct Leaf {
    std::atomic<Domain*> domains[kLeafSize] = {};
  };

  std::atomic<std::uint32_t> end_ = 0;  // behind the highest id that a domain ever had
  std::atomic<Leaf*> leaves_[(kFirstReservedDomain + kLeafSize - 1) / kLeafSize] = {};
};

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_DOMAIN_DOMAIN_TABLE_H_
