// Work: how much one leg of a call may do before it stops to be continued. A leg is what runs from
// an entry into the hypervisor to the return: in Xen, between two hypercall continuations.
//
// Counted in pieces: an extent, an entry, a page, a look at a place that is empty. Whatever a guest
// can make long is given the leg's work, and asks it after each piece. There is always progress,
// since the first piece is done without asking; and a list of calls has one work for all its
// entries, or each of them could be as long as a leg.
#ifndef HCALL_HYPERVISOR_BASE_WORK_H_
#define HCALL_HYPERVISOR_BASE_WORK_H_

#include <cstdint>

namespace xencomm::hypervisor {

class Work {
 public:
  explicit Work(std::uint64_t most) : most_(most) {}
  Work(const Work&) = delete;
  Work& operator=(const Work&) = delete;

  // Notes that `pieces` more were done. True: it is time to stop.
  bool Done(std::uint64_t pieces = 1) {
    done_ += pieces;
    return is_used_up();
  }
  bool is_used_up() const { return done_ >= most_; }

  // Pieces.
  std::uint64_t left() const { return is_used_up() ? 0 : most_ - done_; }
  std::uint64_t done() const { return done_; }

 private:
  const std::uint64_t most_;
  std::uint64_t done_ = 0;
};

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_BASE_WORK_H_
