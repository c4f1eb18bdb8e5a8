// The books of a hypervisor: do all frames, pins, holds, counts, ports and locks add up?
//
// Every frame of the pool is counted once, by whoever has it: the heap, a domain's memory, a part
// of a domain. Every pin and hold is counted by what it is for. What is left over, or there twice,
// is said in a sentence.
#ifndef TESTS_UNIT_HYPERVISOR_BOOKS_H_
#define TESTS_UNIT_HYPERVISOR_BOOKS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "hcall/hypervisor/memory/frame_table.h"

namespace xencomm::hypervisor {

class Domain;
class Hypervisor;

struct BooksOptions {
  // Frames that the machine holds (Hypervisor::HoldFrame), beside those that domains map.
  std::uint64_t held_by_machine = 0;
  // Whether free pages that count as zero are looked at, too.
  bool looks_at_bytes = true;
};

// Where a frame of the pool is.
struct FrameRow {
  const char* claimed = nullptr;  // by whom
  FrameOwner owner = {};
  std::uint64_t gfn = kNoFrame;  // where its domain has it
  // Of a free one: the order of the block that it lies in, and whether that does not count as zero.
  bool is_free = false;
  bool is_dirty = false;
  unsigned order = 0;
};

struct Statistics {
  std::uint64_t total_pages = 0;    // of the pool, without the frame table
  std::uint64_t free_pages = 0;     // can be handed out now or once the calls under way have ended
  std::uint64_t held_frames = 0;    // mapped by HoldFrame
  std::uint64_t pinned_frames = 0;  // of registered regions and areas
  unsigned domains = 0;             // dying ones that still have pages included
  unsigned regions = 0;             // registered
  std::uint64_t longest_leg = 0;    // pieces that one leg of a call did at most (base/work.h)
};

struct DomainStatistics {
  std::uint64_t pages = 0;           // its memory, tot_pages in Xen
  std::uint64_t overhead_pages = 0;  // what it costs besides
  unsigned regions = 0;
};

class Books {
 public:
  class Image;  // hypervisor_image.h

  // What does not add up; nothing, as it should be. No call may be under way.
  static std::vector<std::string> Faults(const Hypervisor& hypervisor, const BooksOptions& options);
  // All frames of the pool. Calls may be under way, but none that changes what is looked at.
  static std::vector<FrameRow> Frames(const Hypervisor& hypervisor);
  static const FrameTable& TableOf(const Hypervisor& hypervisor);
  // Whose a frame is at this moment.
  static FrameOwner OwnerOf(const Hypervisor& hypervisor, std::uint64_t mfn);
  // From now on the domain may not write what it has there.
  static void MakeReadOnly(Hypervisor& hypervisor, std::uint16_t domain, std::uint64_t gfn);
  static Statistics StatisticsOf(const Hypervisor& hypervisor);
  static DomainStatistics StatisticsOf(const Hypervisor& hypervisor, std::uint16_t domain);
  // Whether no call is under way.
  static bool IsQuiet(const Hypervisor& hypervisor);

 private:
  class Counting;

  // By their index: whether each frame of the pool is free, and what one of them is used for.
  static std::vector<bool> FreeFrames(const Hypervisor& hypervisor);
  static const char* UserOf(const Hypervisor& hypervisor, std::uint32_t frame);
  static unsigned RegionsOf(const Domain& domain);
};

}  // namespace xencomm::hypervisor

#endif  // TESTS_UNIT_HYPERVISOR_BOOKS_H_
