// Checks of a user program: a line for each, which the runner counts.

#ifndef TESTS_QEMU_USER_CHECK_H_
#define TESTS_QEMU_USER_CHECK_H_

#include <stdint.h>

#include "tests/qemu/runtime/print.h"

namespace qemu {

class Checks {
 public:
  void Expect(const char* name, bool ok) {
    Print("CHECK ", ok ? "ok " : "FAIL ", name, "\n");
    passed_ = passed_ && ok;
  }

  void ExpectEqual(const char* name, int64_t actual, int64_t expected) {
    if (actual == expected) return Expect(name, true);
    Print("CHECK FAIL ", name, " is ", actual, ", not ", expected, "\n");
    passed_ = false;
  }

  bool passed() const { return passed_; }

 private:
  bool passed_ = true;
};

}  // namespace qemu

#endif  // TESTS_QEMU_USER_CHECK_H_
