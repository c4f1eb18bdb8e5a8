// What a refused call leaves on real Xen: checks that run there and on the embedded hypervisor.
#ifndef TESTS_XEN_REFUSED_CALLS_H_
#define TESTS_XEN_REFUSED_CALLS_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Each makes a call that is refused, and looks at what there is afterwards.
struct refused_call {
  const char *name;
  void (*check)(void);
};
extern const struct refused_call refused_calls[];
extern const unsigned refused_calls_count;

// What check console_write_read leaves on the console, a line of its own. Who runs it looks for it.
extern const char refused_console_line[];

// Defined by the program: the answer, or a negative errno. Pointers are the process's, and its page
// protections hold for the hypervisor, too.
long hypercall(unsigned number, uint64_t a, uint64_t b, uint64_t c);

// The same, and `meanwhile` happens once the call has begun and before it has ended, if it can be
// had so: a call that takes long stops again and again to go on later.
long hypercall_with(void (*meanwhile)(void), unsigned number, uint64_t a, uint64_t b);

#ifdef __cplusplus
}
#endif

#endif  // TESTS_XEN_REFUSED_CALLS_H_
