/* Calls that no system call carries, as a tracer gets to know of them: it watches a program from
 * outside (hcall/trace), and sees system calls alone. While `xencomm_announces` is set, such a call
 * has one in front of it and one behind, which fail and do nothing else:
 *
 *   ioctl(XENCOMM_ANNOUNCED, REQUEST, ARGUMENT)   what the program would have asked a device
 *   ioctl(XENCOMM_ANNOUNCED, XENCOMM_ANNOUNCED_END, &end)
 *
 * Calls inside others may be announced, too: the outermost counts. */
#ifndef HCALL_TRANSPORT_ANNOUNCE_H_
#define HCALL_TRANSPORT_ANNOUNCE_H_

#include <linux/ioctl.h>
#include <sys/syscall.h>

#ifdef __cplusplus
extern "C" {
#endif

/* No file's. */
#define XENCOMM_ANNOUNCED (-0x58434f4d)

struct xencomm_announced_end {
  long result; /* as a kernel answers: a negative errno, or what the call returned */
  unsigned long continuations;
};
#define XENCOMM_ANNOUNCED_END _IOC(_IOC_NONE, 'P', 0xfe, sizeof(struct xencomm_announced_end))

/* Is set in programs that a tracer starts, and what they start; or by a tracer, from outside. */
#define XENCOMM_TRACED_VARIABLE "XENCOMM_TRACED"
extern volatile int xencomm_announces __attribute__((visibility("default")));

/* Not by the C library: it has no part in this, and leaves errno alone. */
static inline void xencomm_announce(unsigned long request, const void *argument) {
#if defined(__x86_64__)
  const long file = XENCOMM_ANNOUNCED;
  long number = SYS_ioctl;
  __asm__ volatile("syscall"
                   : "+a"(number)
                   : "D"(file), "S"(request), "d"(argument)
                   : "rcx", "r11", "memory");
#else
  (void)request;
  (void)argument;
#endif
}

static inline void xencomm_announce_end(long result, unsigned long continuations) {
  const struct xencomm_announced_end end = {result, continuations};
  xencomm_announce(XENCOMM_ANNOUNCED_END, &end);
}

#ifdef __cplusplus
}  // extern "C"
#endif

#endif /* HCALL_TRANSPORT_ANNOUNCE_H_ */
