// The whole state of a hypervisor: to be compared with what it is later, and to go back to.
//
// All that a hypervisor holds lies in its pool. Of that, what is free is nobody's state; and what
// moves although nothing happens is left out by name (hypervisor_image.cc): everything else counts,
// also what is added later.
#ifndef TESTS_UNIT_HYPERVISOR_IMAGE_H_
#define TESTS_UNIT_HYPERVISOR_IMAGE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/unit/hypervisor_books.h"

namespace xencomm::hypervisor {

class Books::Image {
 public:
  // Borrowed. It is of the present, as after Take. No call may be under way, here and below.
  explicit Image(const Hypervisor& hypervisor) : hypervisor_(hypervisor) { Take(); }

  void Take();
  // What the hypervisor has now that it had not then, in sentences; nothing when all is the same.
  std::vector<std::string> Changes() const { return Compare(kMostChanges); }
  bool IsCurrent() const { return Compare(1).empty(); }
  void Restore() const;

 private:
  static constexpr std::size_t kMostChanges = 8;  // the first ones tell what happened

  std::byte* Pool() const;
  // Of a pool, or of its bytes here, what was not free.
  void CopyUsed(const std::byte* from, std::byte* to) const;
  std::vector<std::string> Compare(std::size_t most) const;

  const Hypervisor& hypervisor_;
  std::vector<std::byte> bytes_;  // of the pool
  std::vector<bool> free_;        // frames
};

}  // namespace xencomm::hypervisor

#endif  // TESTS_UNIT_HYPERVISOR_IMAGE_H_
