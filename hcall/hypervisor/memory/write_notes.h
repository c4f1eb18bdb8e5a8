// WriteNotes: which pages of its domain the leg under way was given to write.
//
// Noted only while a toolstack logs what the domain writes (dirty_log.h): what is mapped for
// writing is written some time after, so it is marked when the leg ends. What there is no room for
// is not lost: then everything counts as written.
#ifndef HCALL_HYPERVISOR_MEMORY_WRITE_NOTES_H_
#define HCALL_HYPERVISOR_MEMORY_WRITE_NOTES_H_

#include <cstdint>
#include <span>

namespace xencomm::hypervisor {

class WriteNotes {
 public:
  // Pages [first, first + count). A gfn of a p2m has 27 bits.
  struct Run {
    std::uint32_t first;
    std::uint32_t count;
  };

  void Note(std::uint64_t gfn) {
    // The last ones first: calls write the same few pages over and over.
    for (unsigned i = used_; i-- != 0;) {
      Run& run = runs_[i];
      if (gfn - run.first < run.count) return;
      if (gfn - run.first == run.count) {
        ++run.count;
        return;
      }
    }
    if (used_ == kRuns) {
      is_short_ = true;
      return;
    }
    runs_[used_++] = {static_cast<std::uint32_t>(gfn), 1};
  }

  bool is_empty() const { return used_ == 0; }
  // More was written than there was room to note.
  bool is_short() const { return is_short_; }
  std::span<const Run> runs() const { return {runs_, used_}; }

  void Forget() {
    used_ = 0;
    is_short_ = false;
  }

 private:
  static constexpr unsigned kRuns = 128;

  unsigned used_ = 0;
  bool is_short_ = false;
  Run runs_[kRuns];
};

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_MEMORY_WRITE_NOTES_H_
