// What refused calls leave on real Xen, through libxencall.
#include <pthread.h>
#include <stddef.h>
#include <unistd.h>

#include <xencall.h>

#include "tests/xen/check.h"
#include "tests/xen/refused_calls.h"

unsigned checks_passed, checks_failed;

static xencall_handle *xcall;

long hypercall(unsigned number, uint64_t a, uint64_t b, uint64_t c) {
  const long answer = xencall3(xcall, number, a, b, c);
  return answer < 0 ? -errno : answer;
}

static void *wait_and_do(void *meanwhile) {
  static unsigned tries;
  usleep(500 * (1 + tries++ % 8));
  ((void (*)(void))meanwhile)();
  return NULL;
}

// The other thread's time comes when a kernel that can be preempted anywhere (preempt=full) gets
// its timer's event, for which the call has stopped.
long hypercall_with(void (*meanwhile)(void), unsigned number, uint64_t a, uint64_t b) {
  pthread_t other;
  CHECK(pthread_create(&other, NULL, wait_and_do, (void *)meanwhile) == 0);
  const long answer = hypercall(number, a, b, 0);
  CHECK(pthread_join(other, NULL) == 0);
  return answer;
}

int main(void) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  xcall = xencall_open(NULL, 0);
  CHECK(xcall != NULL);
  if (xcall == NULL) return close_checks();
  for (unsigned i = 0; i < refused_calls_count; i++) {
    const unsigned passed = checks_passed, failed = checks_failed;
    refused_calls[i].check();
    if (checks_failed != failed) printf("failed: %s\n", refused_calls[i].name);
    checks_passed = passed + (checks_failed == failed);  // however often it tried
  }
  printf("the console has: %s\n", refused_console_line);
  CHECK(xencall_close(xcall) == 0);
  return close_checks();
}
