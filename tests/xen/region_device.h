// /dev/xen/xencomm by raw ioctls.
#ifndef TESTS_XEN_REGION_DEVICE_H_
#define TESTS_XEN_REGION_DEVICE_H_

#include <errno.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "hcall/linux/xencomm_device.h"

enum { kPage = 4096 };
static const uint64_t kRegionCall = 1 << 30, kXencommOp = 55;

// Xen's answer, or a negative errno.
static inline long call3(int fd, uint64_t op, uint64_t a, uint64_t b, uint64_t c) {
  struct xencomm_hypercall call = {op, {a, b, c}};
  errno = 0;
  const long answer = ioctl(fd, XENCOMM_IOC_HYPERCALL, &call);
  return answer == -1 ? -errno : answer;
}

static inline int reserve(int fd, const void *base, uint64_t length) {
  struct xencomm_reserve place = {(uintptr_t)base, length};
  return ioctl(fd, XENCOMM_IOC_RESERVE, &place);
}

// Addresses for a region, with nothing behind them.
static inline char *take_addresses(uint64_t length) {
  return mmap(NULL, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

// Some of its payload; counted in bytes.
static inline void *map_payload(int fd, char *base, uint64_t offset, uint64_t length) {
  return mmap(base + offset, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
              (off_t)offset);
}

#endif  // TESTS_XEN_REGION_DEVICE_H_
