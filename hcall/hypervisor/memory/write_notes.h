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
  // Pages [first, first + count), in one word. What one leg writes is counted in fewer bits.
  static constexpr unsigned kGfnBits = 36;  // of a p2m's
  struct Run {
    std::uint64_t first : kGfnBits;
    std::uint64_t count : 64 - kGfnBits;
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
    Run& run = runs_[used_++];
    run.first = gfn & ((std::uint64_t{1} << kGfnBits) - 1);
    run.count = 1;
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
