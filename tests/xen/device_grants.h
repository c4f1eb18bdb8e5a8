// What the parts of the devices program that share pages have in common. Domain 0 grants its pages
// to itself: on Linux, too, the two devices know nothing of one another.
#ifndef TESTS_XEN_DEVICE_GRANTS_H_
#define TESTS_XEN_DEVICE_GRANTS_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct grant_ref {
  uint32_t domid, ref;
};
enum { kMostRefs = 8, kMostShared = 1024 };
// /dev/xen/gntdev's.
struct grant_map {
  uint32_t count, pad;
  uint64_t index;
  struct grant_ref refs[kMostRefs];
};
struct grant_unmap {
  uint64_t index;
  uint32_t count, pad;
};
struct grant_offset {
  uint64_t vaddr, offset;
  uint32_t count, pad;
};
struct unmap_notify {
  uint64_t index;
  uint32_t action, port;
};
struct copy_side {
  union {
    void *address;
    struct {
      uint32_t ref;
      uint16_t offset, domid;
    };
  };
};
struct copy_segment {
  struct copy_side source, dest;
  uint16_t length, flags;
  int16_t status;
};
struct grant_copy {
  uint32_t count;
  struct copy_segment *segments;
};
// /dev/xen/gntalloc's.
struct share_pages {
  uint16_t domid, flags;
  uint32_t count;
  uint64_t index;
  uint32_t refs[kMostShared + 1];
};

enum {
  kGrantMap = 0x184700,
  kGrantUnmap = 0x104701,
  kGrantOffset = 0x184702,
  kGrantSetMax = 0x44703,
  kShare = 0x184705,
  kUnshare = 0x104706,
  kUnmapNotify = 0x104707,
  kGrantCopy = 0x104708,
  kGrantExport = 0x144709,
  kGrantWait = 0x8470a,
  kGrantImport = 0x14470b,
  kGrantRelease = 0x8470c,

  kClearByte = 1,
  kSendEvent = 2,
  kFromGrant = 1,
  kToGrant = 2,
  kWritable = 1,
};

// Where so many grants of domain 0 can be mapped: the offset, or -errno.
int64_t add_grants(int fd, size_t count, const uint32_t *refs);
int remove_grants(int fd, uint64_t index, uint32_t count);
// Pages for domain 0: the offset, or -errno.
int64_t share(int fd, size_t count, uint16_t flags, uint32_t *refs);
int unshare(int fd, uint64_t index, uint32_t count);
int set_notice(int fd, uint64_t index, uint32_t action, uint32_t port);

char *map_shared(int fd, uint64_t offset, size_t pages, int protection);
// Adds grants and maps them.
char *map_grants(int fd, size_t count, const uint32_t *refs, int protection);
// Whether domain 0 grants it to itself still.
bool can_be_mapped(uint32_t ref);
bool has_gone(uint32_t ref);

#endif  // TESTS_XEN_DEVICE_GRANTS_H_
