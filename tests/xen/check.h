// Checks of a program that runs on real Xen and on the embedded hypervisor alike: each prints a
// line when it fails, and the program closes with their counts.
#ifndef TESTS_XEN_CHECK_H_
#define TESTS_XEN_CHECK_H_

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

// Defined by the program.
extern unsigned checks_passed, checks_failed;

static inline void check_that(bool holds, const char *what, int line) {
  if (holds) {
    checks_passed++;
    return;
  }
  checks_failed++;
  printf("failed: line %d: %s (errno %d: %s)\n", line, what, errno, strerror(errno));
}

// That a condition holds.
#define CHECK(condition) check_that((condition), #condition, __LINE__)

// That a call fails as libxenctrl's calls do: -1, and errno as Xen answered.
#define CHECK_REFUSED(call, expected_errno)                                                       \
  do {                                                                                            \
    errno = 0;                                                                                    \
    const long answer_ = (long)(call);                                                            \
    check_that(answer_ < 0 && errno == (expected_errno), #call " == " #expected_errno, __LINE__); \
  } while (0)

static inline int close_checks(void) {
  printf("%u passed, %u failed\n", checks_passed, checks_failed);
  return checks_failed != 0;
}

#endif  // TESTS_XEN_CHECK_H_
