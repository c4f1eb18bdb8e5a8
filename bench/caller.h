// A domain that makes whole calls, each by every way that its pointers can be understood.
//
//   direct              the process's own addresses, as if the hypervisor shared them
//   registered          into a region that was registered before
//   stateless           into the same region, by its table
//   walk4, walk5        the same addresses, by page tables
//   xcom                descriptors: a kind of domain, not of call, so that it has its own domain
//
// All ways but the last are one domain's, and a call's arguments are the same bytes at the same
// addresses: what differs is the translation alone.
#ifndef BENCH_CALLER_H_
#define BENCH_CALLER_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <type_traits>
#include <vector>

#include "arch/x86_64/page_walk.h"
#include "bench/machine.h"
#include "hcall/transport/embedded/direct_space.h"
#include "xencomm/region.h"

namespace xencomm::bench {

// By which a call can be made again and again. All is borrowed.
struct Way {
  const char* name;
  hypervisor::Hypervisor* hypervisor;
  hypervisor::Vcpu* vcpu;
  std::uint64_t flag;    // in the index
  std::uint64_t region;  // the region handle

  // A call to its end. Arguments are numbers, or pointers as the guest has them.
  template <class... Arguments>
  std::int64_t Call(std::uint64_t index, Arguments... arguments) const {
    return hypervisor->Call(*vcpu, {.index = index | flag,
                                    .arguments = {static_cast<std::uint64_t>(arguments)...},
                                    .region = region});
  }
};

// `count` objects in a caller's buffer.
template <class T>
struct Argument {
  T* here;                // as this process reaches them
  std::uint64_t pointer;  // as the guest does

  T* operator->() const { return here; }
  T& operator[](std::size_t i) const { return here[i]; }
  // For a handle's field.
  T* guest() const { return reinterpret_cast<T*>(pointer); }
};

class Caller {
 public:
  // A new domain, which is privileged: of kRaw, called by all ways but the last, or of kXcom.
  Caller(BenchMachine& machine, std::uint16_t id, hypervisor::SpaceKind kind);
  Caller(const Caller&) = delete;
  Caller& operator=(const Caller&) = delete;

  std::uint16_t id() const { return id_; }
  std::span<const Way> ways() const { return ways_; }
  // Of a kRaw domain.
  const RegionLayout& layout() const { return *layout_; }

  // Room for a call's argument, all zero, on cache lines of its own. It is never given back.
  template <class T>
  Argument<T> Put(std::size_t count = 1) {
    static_assert(std::is_trivially_copyable_v<T>);
    const std::uint64_t offset = Take(count * sizeof(T));
    return {reinterpret_cast<T*>(buffer_ + offset), PointerTo(offset, count * sizeof(T))};
  }
  // A page of the buffer alone, of which the domain knows the frame.
  struct OwnPage {
    std::byte* here;
    std::uint64_t gfn;
  };
  OwnPage PutPage();

 private:
  using Walk = x86_64::PageWalk<hypervisor::DomainMemory>;
  // A vcpu whose pointers are walked for, and what that reads.
  struct Walker {
    Walker(hypervisor::DomainMemory of_vcpu, const x86_64::PagingState& paging)
        : memory(of_vcpu), space(Walk(memory, paging), memory) {}

    hypervisor::DomainMemory memory;
    SpaceOver<Walk, hypervisor::DomainMemory> space;
  };

  PhysicalAddress NewFrame();
  void MapBuffer();
  PhysicalAddress BuildRegion();
  void AddWalk(const char* name, unsigned vcpu, unsigned levels, std::optional<Walker>& walker);
  std::uint64_t Take(std::uint64_t bytes);
  // A guest pointer to a range of the buffer.
  std::uint64_t PointerTo(std::uint64_t offset, std::uint64_t bytes);

  BenchMachine& machine_;
  const std::uint16_t id_;
  const hypervisor::SpaceKind kind_;
  std::optional<hypervisor::LockedMemory> memory_;
  std::vector<std::uint64_t> free_gfns_;
  std::vector<PhysicalAddress> frames_;  // of the buffer, page by page
  std::byte* buffer_ = nullptr;
  std::uint64_t used_ = 0;              // bytes of the buffer
  std::uint64_t descriptors_used_ = 0;  // bytes

  std::optional<RegionLayout> layout_;
  std::atomic<std::uint64_t> backed_ = 0;
  std::optional<embedded::DirectSpace> direct_;
  std::optional<Walker> walk4_, walk5_;
  std::vector<Way> ways_;
};

}  // namespace xencomm::bench

#endif  // BENCH_CALLER_H_
