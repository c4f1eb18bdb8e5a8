// What the parts of the devices program share: /dev/xen's devices by their raw numbers, and a
// domain whose frames they map.
#ifndef TESTS_XEN_DEVICES_H_
#define TESTS_XEN_DEVICES_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>

enum { kPage = 4096 };

// Of a domain that nobody has: DOMID_FIRST_RESERVED is 0x7ff0.
enum { kNobody = 0x7abc, kSelf = 0x7ff0 };

struct hypercall {
  uint64_t op, arg[5];
};
struct mmap_entry {
  uint64_t va, mfn, npages;
};
struct mmap_frames {
  int32_t num;
  uint16_t dom;
  struct mmap_entry *entries;
};
struct mmap_batch {
  int32_t num;
  uint16_t dom;
  uint64_t addr;
  uint64_t *arr;
};
struct mmap_batch_v2 {
  uint32_t num;
  uint16_t dom;
  uint64_t addr;
  const uint64_t *arr;
  int32_t *err;
};
struct dm_op_buffer {
  void *ptr;
  size_t size;
};
struct dm_op {
  uint16_t dom, num;
  const struct dm_op_buffer *bufs;
};
struct mmap_resource {
  uint16_t dom;
  uint32_t type, id, idx;
  uint64_t num, addr;
};

enum {
  kHypercall = 0x305000,
  kMmap = 0x105002,
  kMmapBatch = 0x185003,
  kMmapBatchV2 = 0x205004,
  kDmOp = 0x105005,
  kRestrict = 0x25006,
  kMmapResource = 0x205007,
  kIrqFd = 0x40185008,
  kIoEventFd = 0x40305009,

  kBindVirq = 0x44500,
  kBindInterdomain = 0x84501,
  kBindUnboundPort = 0x44502,
  kUnbind = 0x44503,
  kNotify = 0x44504,
  kReset = 0x4505,
  kRestrictDomid = 0x24506,
};

// Open all the time.
extern int privcmd;

// A device that is closed by whoever asked for it.
int open_device(const char *path);

// By the privcmd device: what it returned, or -errno.
long hypercall(uint64_t op, uint64_t a, uint64_t b);

// Anonymous pages of zeros that were touched, before one that is not there.
char *pages_before_nothing(size_t pages);

// Whether reading or writing a byte there raises this signal; 0: none.
bool read_raises(const volatile char *place, int signal);
bool write_raises(volatile char *place, int signal);

// That mmap or mremap answers this errno.
#define CHECK_NO_MAPPING(mapping, expected_errno)                                        \
  do {                                                                                   \
    errno = 0;                                                                           \
    const void *mapping_ = (mapping);                                                    \
    check_that(mapping_ == MAP_FAILED && errno == (expected_errno), #mapping, __LINE__); \
  } while (0)

// Runs `check` in a forked child, whose checks count here.
void check_in_child(void (*check)(void *), void *argument);

// A PVH domain that is paused, with pages at gfns 0 to kPages - 1.
enum { kPages = 8, kGrantFrames = 32 };
uint16_t create_domain(void);
void destroy_domain(uint16_t domid);
bool add_page(uint16_t domid, uint64_t gfn);
// Whether this domain's frames are what its kernel says they are (PVH), not the machine's (PV).
bool is_translated(void);

void check_hypercalls(void);
void check_buffers(void);
void check_frames(void);
void check_events(void);
void check_event_calls(void);
void check_grants(void);
void check_shares(void);
void check_notices(void);

#endif  // TESTS_XEN_DEVICES_H_
