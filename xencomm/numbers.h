// Small numbers, lent to threads: each is one thread's at a time.
//
// What a thread has for itself stands in an array, in the place of a number. What it leaves there,
// the next one that is lent that number finds.
#ifndef XENCOMM_NUMBERS_H_
#define XENCOMM_NUMBERS_H_

#include <atomic>
#include <bit>
#include <cstdint>

#include "xencomm/language.h"

namespace xencomm {

class Numbers {
 public:
  static constexpr std::uint32_t kCount = 64;

  // The lowest that is free; kCount when none is.
  std::uint32_t Take() {
    std::uint64_t taken = taken_.load(std::memory_order_relaxed);
    while (taken != ~std::uint64_t{0}) {
      // The lowest bit that is clear.
      if (taken_.compare_exchange_weak(taken, taken | (taken + 1), std::memory_order_acquire,
                                       std::memory_order_relaxed)) {
        return static_cast<std::uint32_t>(std::countr_one(taken));
      }
    }
    return kCount;
  }
  void GiveBack(std::uint32_t number) {
    taken_.fetch_and(~(std::uint64_t{1} << number), std::memory_order_release);
  }

 private:
  std::atomic<std::uint64_t> taken_ = 0;
};

// This thread's own number; kCount when it has none. The model is what finds it without a call, in
// a library, too.
[[gnu::tls_model("initial-exec")]] inline constinit thread_local std::uint32_t thread_number =
    Numbers::kCount;

// When the thread asks for the first time it gets its number, if one is free, until it ends. What
// it does after that, in destructors of other thread-local variables, it does without one.
inline void AskForThreadNumber() {
  static constinit Numbers numbers;
  struct Loan {
    Loan() { thread_number = numbers.Take(); }
    ~Loan() {
      if (thread_number != Numbers::kCount) numbers.GiveBack(thread_number);
      thread_number = Numbers::kCount;
    }
  };
  static thread_local const Loan loan;
}

}  // namespace xencomm

#endif  // XENCOMM_NUMBERS_H_
