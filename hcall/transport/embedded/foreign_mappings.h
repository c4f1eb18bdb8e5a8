// Which frames of other domains are mapped into a process, and where: this one, or one that it
// serves.
//
// Frames are held by whoever keeps the machine: the hypervisor in this process, or the process that
// it is in.
//
// A frame that is mapped is held: the hypervisor does not hand it out again, also when its domain
// is gone. Programs end such a mapping by munmap as well as by the library's function, put another
// in its place, or move it by mremap, and of none of these anybody tells us. So before each call,
// while there are mappings, it is looked whether each still is what it was; what is gone from its
// place is looked for everywhere, and is held for as long as it is mapped somewhere. Where that are
// many pages, some calls go by between two looks: no call takes time in all that a program has
// mapped. Without /proc that cannot be known, and a frame is held until it is unmapped by the
// library's function.
#ifndef HCALL_TRANSPORT_EMBEDDED_FOREIGN_MAPPINGS_H_
#define HCALL_TRANSPORT_EMBEDDED_FOREIGN_MAPPINGS_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <span>

#include "hcall/transport/embedded/address_space.h"
#include "hcall/transport/embedded/process_maps.h"
#include "hcall/transport/embedded/ram_file.h"
#include "hcall/transport/foreign_memory.h"
#include "xencomm/memory.h"
#include "xencomm/mutex.h"

namespace xencomm::embedded {

// A frame that is held, and for what: a tag of its holder's, 0 where all of its frames are held
// alike. One word; in their order frames come first.
class HeldFrame {
 public:
  static constexpr unsigned kTagBits = 24;

  constexpr HeldFrame(std::uint64_t mfn, std::uint32_t tag) : word_(mfn << kTagBits | tag) {}
  static constexpr HeldFrame FromWord(std::uint64_t word) {
    return {word >> kTagBits, static_cast<std::uint32_t>(word & ((1u << kTagBits) - 1))};
  }

  constexpr std::uint64_t word() const { return word_; }
  constexpr std::uint64_t mfn() const { return word_ >> kTagBits; }
  constexpr std::uint32_t tag() const { return word_ & ((1u << kTagBits) - 1); }

 private:
  std::uint64_t word_;
};

// Who keeps the machine, as far as mappings of its frames need it.
class FrameHolder {
 public:
  // As Hypervisor::HoldFrame, for each of `frames`: mfns[i] is the frame, or kNoFrame, and
  // errors[i] the reason or 0. 0, or a negative errno when nothing could be asked and is held.
  virtual int Hold(std::uint16_t domain, std::span<const std::uint64_t> frames, Access access,
                   std::span<std::uint64_t> mfns, std::span<int> errors) = 0;
  // As Hypervisor::HoldResourceFrame, for all frames of `resource`, in `mfns`, or none.
  virtual int HoldResource(const ForeignMemory::Resource& resource,
                           std::span<std::uint64_t> mfns) = 0;
  // How many frames it can have, or a negative errno.
  virtual std::int64_t CountResource(const ForeignMemory::Resource& resource) = 0;
  // Of what Hold or HoldResource has just held.
  virtual std::uint32_t tag() const { return 0; }
  // Each was held as often as it is released; words of HeldFrame. What cannot be said is lost: the
  // process that it should be said to is gone.
  virtual void Release(std::span<const std::uint64_t> held) = 0;

 protected:
  FrameHolder() = default;
  FrameHolder(const FrameHolder&) = delete;
  FrameHolder& operator=(const FrameHolder&) = delete;
  ~FrameHolder() = default;
};

class ForeignMappings {
 public:
  // All are borrowed. Into another process there is only what fills a place.
  ForeignMappings(FrameHolder& holder, RamFile& ram,
                  ProcessMaps::Source source = ProcessMaps::Source::kBest,
                  AddressSpace& process = OwnAddressSpace::Get())
      : holder_(holder), ram_(ram), process_(process), maps_(ram.fd(), source, process.proc()) {}

  // As ForeignMemory::Map: errors are -ESRCH (no such domain), -EINVAL (no such frame), -EPERM (not
  // writable). -ENOMEM when the process has no room for as many mappings; what fails, by an
  // exception too, has mapped nothing and holds nothing.
  int Map(std::uint16_t domain, ForeignMemory::Placement& placement,
          std::span<const std::uint64_t> frames, std::span<int> errors);

  // As ForeignMemory::MapResource: the errors of HoldResource, and -ENOMEM; all of it or nothing.
  int MapResource(const ForeignMemory::Resource& resource, ForeignMemory::Placement& placement);

  std::int64_t CountResource(const ForeignMemory::Resource& resource) {
    return holder_.CountResource(resource);
  }

  // The same into a place that is there, as `holder` gives the frames: what none of them fills, and
  // all when it fails, is a mapping of `empty_file` as before.
  struct Place {
    void* address = nullptr;
    int protection = 0;
    int empty_file = -1;
  };
  int Fill(FrameHolder& holder, std::uint16_t domain, const Place& place,
           std::span<const std::uint64_t> frames, std::span<int> errors);
  int FillWithResource(FrameHolder& holder, const ForeignMemory::Resource& resource,
                       const Place& place);

  // Any pages of mappings, as munmap.
  int Unmap(void* address, std::size_t pages);

  // Lets go of frames whose mapping is gone.
  void Sweep() { Sweep(0, std::numeric_limits<std::uintptr_t>::max()); }
  // The same before a call: of so many pages a call may look at on average.
  static constexpr std::size_t kPagesOfACall = 64;
  void SweepForCall() {
    if (any_.load(std::memory_order_relaxed)) [[unlikely]]
      SweepWhenDue();
  }
  // Of those in [start, start + bytes) alone: the others are not looked at.
  void Sweep(std::uintptr_t start, std::size_t bytes) {
    if (any_.load(std::memory_order_relaxed)) [[unlikely]]
      SweepRange(start, bytes);
  }

 private:
  // A frame is held once for each page here. Nodes move from one map to the other: none but Map
  // needs memory for them.
  using Pages = std::map<std::uint64_t, std::uint64_t>;      // address to HeldFrame
  using Lost = std::multimap<std::uint64_t, std::uint64_t>;  // HeldFrame to the address it had

  // `hold(access, mfns)` holds what is to be mapped and answers 0 or a negative errno; `empty()`
  // puts the range back when it fails.
  template <class Hold, class Empty>
  int MapInto(FrameHolder& holder, void* range, std::size_t pages, int protection, const Hold& hold,
              const Empty& empty);
  template <class Hold>
  int MapAnew(ForeignMemory::Placement& placement, std::size_t pages, const Hold& hold);
  template <class Hold>
  int FillPlace(FrameHolder& holder, const Place& place, std::size_t pages, const Hold& hold);
  // Frames, held, at [start, ...), each noted in `held` as its place: -ENOMEM.
  int MapHeld(std::uintptr_t start, int protection, std::span<const std::uint64_t> mfns,
              std::uint32_t tag, Pages& held);
  void Note(std::uintptr_t start, std::size_t bytes, Pages& held) ABSL_LOCKS_EXCLUDED(mutex_);

  // Frames to be released, some at a time, without a call for each.
  class Releasing;

  void SweepWhenDue() ABSL_LOCKS_EXCLUDED(mutex_);
  void SweepRange(std::uintptr_t start, std::size_t bytes) ABSL_LOCKS_EXCLUDED(mutex_);
  // Of the pages in [start, end) all become lost, or those that are not mapped there any more.
  void Lose(std::uintptr_t start, std::uintptr_t end) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void LoseWhatIsGone(std::uintptr_t start, std::uintptr_t end)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Pages::iterator LosePage(Pages::iterator page) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Lost pages are found elsewhere, or let go.
  void FindLost() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Calls `visit(page, address)` for each lost page that `area` maps where no other is known to be;
  // it answers the next one.
  template <class Visitor>
  void ForEachFound(const ProcessMaps::Area& area, Visitor visit)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  FrameHolder& holder_;
  RamFile& ram_;
  AddressSpace& process_;
  Mutex mutex_;
  ProcessMaps maps_ ABSL_GUARDED_BY(mutex_);
  Pages pages_ ABSL_GUARDED_BY(mutex_);
  Lost lost_ ABSL_GUARDED_BY(mutex_);
  std::atomic<bool> any_ = false;
  std::atomic<std::size_t> to_go_by_ = 0;  // calls, before the next look
};

}  // namespace xencomm::embedded

#endif  // HCALL_TRANSPORT_EMBEDDED_FOREIGN_MAPPINGS_H_
