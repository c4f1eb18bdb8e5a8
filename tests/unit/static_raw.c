/* A program without any library: it makes system calls by itself, as those of Go do. Ends with 0,
 * or the line that failed. */
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <xen/xen.h>

#include <xen/sysctl.h>
#include <xen/version.h>

enum { kPage = 4096, kHypercall = 0x305000 };

static long call(long number, long a, long b, long c, long d, long e, long f) {
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}

void *memset(void *place, int byte, size_t count);
void *memset(void *place, int byte, size_t count) {
  for (volatile char *each = place; count-- > 0;) *each++ = (char)byte;
  return place;
}

#define NEED(what)                                                    \
  do {                                                                \
    if (!(what)) call(SYS_exit_group, __LINE__ % 256, 0, 0, 0, 0, 0); \
  } while (0)

static long hypercall(long fd, uint64_t op, uint64_t a, uint64_t b) {
  const uint64_t words[6] = {op, a, b};
  return call(SYS_ioctl, fd, kHypercall, (long)words, 0, 0, 0);
}

__attribute__((force_align_arg_pointer)) void _start(void);
void _start(void) {
  const long fd = call(SYS_open, (long)"/dev/xen/privcmd", O_RDWR, 0, 0, 0, 0);
  NEED(fd >= 0);
  NEED(hypercall(fd, __HYPERVISOR_xen_version, XENVER_version, 0) >> 16 == 4);

  /* From the stack, and from a page of buffers. */
  xen_domctl_getdomaininfo_t first;
  xen_sysctl_t sysctl;
  memset(&sysctl, 0, sizeof(sysctl));
  sysctl.cmd = XEN_SYSCTL_getdomaininfolist;
  sysctl.interface_version = XEN_SYSCTL_INTERFACE_VERSION;
  sysctl.u.getdomaininfolist.max_domains = 1;
  set_xen_guest_handle(sysctl.u.getdomaininfolist.buffer, &first);
  NEED(hypercall(fd, __HYPERVISOR_sysctl, (uintptr_t)&sysctl, 0) == 0);
  NEED(sysctl.u.getdomaininfolist.num_domains == 1 && first.tot_pages > 0);

  const long buffers = call(SYS_openat, AT_FDCWD, (long)"/dev/xen/hypercall", O_RDWR, 0, 0, 0);
  NEED(buffers >= 0);
  char *page = (char *)call(SYS_mmap, 0, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, buffers, 0);
  NEED((long)page > 0 && page[0] == 0);
  NEED(hypercall(fd, __HYPERVISOR_xen_version, XENVER_extraversion, (uintptr_t)page) == 0);
  NEED(page[0] == '.');
  NEED(call(SYS_munmap, (long)page, kPage, 0, 0, 0, 0) == 0);
  NEED(call(SYS_mmap, 0, kPage, PROT_READ, MAP_SHARED, fd, 8) == -22);
  NEED(call(SYS_close, fd, 0, 0, 0, 0, 0) == 0);
  NEED(hypercall(fd, __HYPERVISOR_xen_version, XENVER_version, 0) == -9);
  call(SYS_exit_group, 0, 0, 0, 0, 0, 0);
  __builtin_unreachable();
}
