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

namespace xencomm::hypervisor {

class Hypervisor;

struct BooksOptions {
  // Frames that the machine holds (Hypervisor::HoldFrame), beside those that domains map.
  std::uint64_t held_by_machine = 0;
  // Whether free pages that count as zero are looked at, too.
  bool looks_at_bytes = true;
};

class Books {
 public:
  // What does not add up; nothing, as it should be. No call may be under way.
  static std::vector<std::string> Faults(const Hypervisor& hypervisor, const BooksOptions& options);
  // Whether no call is under way.
  static bool IsQuiet(const Hypervisor& hypervisor);

 private:
  class Counting;
};

}  // namespace xencomm::hypervisor

#endif  // TESTS_UNIT_HYPERVISOR_BOOKS_H_
