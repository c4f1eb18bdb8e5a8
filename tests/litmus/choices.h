// Choices: every way through a program that asks for choices, fewest surprises first.
#ifndef TESTS_LITMUS_CHOICES_H_
#define TESTS_LITMUS_CHOICES_H_

#include <vector>

namespace xencomm::litmus {

class Choices {
 public:
  // Before the first execution of those with at most `surprises`.
  void Begin(unsigned surprises) {
    most_ = surprises;
    path_.clear();
    Rewind();
  }

  // One of `count`; 0 is no surprise.
  unsigned Choose(unsigned count) {
    if (count == 1) return 0;
    if (at_ == path_.size()) path_.push_back({0, surprises_ < most_ ? count : 1});
    const unsigned chosen = path_[at_++].chosen;
    if (chosen != 0) ++surprises_;
    return chosen;
  }

  // Goes on to the next execution that differs; false when there is none.
  bool Next() {
    while (!path_.empty() && path_.back().chosen + 1 >= path_.back().count) path_.pop_back();
    if (path_.empty()) return false;
    ++path_.back().chosen;
    Rewind();
    return true;
  }

  // Of the execution that has just been run.
  unsigned surprises() const { return surprises_; }

 private:
  struct Choice {
    unsigned chosen;
    unsigned count;
  };

  void Rewind() {
    at_ = 0;
    surprises_ = 0;
  }

  std::vector<Choice> path_;
  std::size_t at_ = 0;
  unsigned surprises_ = 0;
  unsigned most_ = 0;
};

}  // namespace xencomm::litmus

#endif  // TESTS_LITMUS_CHOICES_H_
