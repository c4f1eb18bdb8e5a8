// The frames of another domain: privcmd's mmap, and the ioctls that fill it.
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <xen/xen.h>

#include <xen/version.h>

#include "tests/xen/check.h"
#include "tests/xen/devices.h"

static uint16_t domain;

static char *room_for(size_t pages, int protection) {
  errno = E2BIG;
  char *room = mmap(NULL, pages * kPage, protection, MAP_SHARED, privcmd, 0);
  CHECK(room != MAP_FAILED && errno == E2BIG);
  return room;
}

static int map_batch(char *place, uint32_t count, const uint64_t *gfns, int32_t *errors) {
  struct mmap_batch_v2 batch = {
      .num = count, .dom = domain, .addr = (uintptr_t)place, .arr = gfns, .err = errors};
  return ioctl(privcmd, kMmapBatchV2, &batch);
}

static char *mapped(size_t count, const uint64_t *gfns, int protection) {
  int32_t errors[kPages] = {0};
  char *pages = room_for(count, protection);
  errno = E2BIG;
  CHECK(map_batch(pages, count, gfns, errors) == 0 && errno == E2BIG);
  for (size_t i = 0; i < count; i++) CHECK(errors[i] == 0);
  return pages;
}

static const uint64_t kGfns[kPages] = {0, 1, 2, 3, 4, 5, 6, 7};
// Where the domain has nothing.
enum { kHole = 0x20000 };

static void check_bytes(void) {
  const uint64_t some[3] = {5, 2, 5};
  char *all = mapped(kPages, kGfns, PROT_READ | PROT_WRITE);
  char *pages = mapped(3, some, PROT_READ | PROT_WRITE);
  for (int i = 0; i < kPages; i++) {
    CHECK(all[i * kPage] == 0);
    strcpy(all + i * kPage, "own");
    all[i * kPage + 10] = (char)i;
  }
  CHECK(pages[10] == 5 && pages[kPage + 10] == 2 && pages[2 * kPage + 10] == 5);
  strcpy(pages, "theirs");
  CHECK(strcmp(all + 5 * kPage, "theirs") == 0 && strcmp(pages + 2 * kPage, "theirs") == 0);
  CHECK(munmap(pages, 3 * kPage) == 0);
  CHECK(read_raises(pages, SIGSEGV));

  pages = mapped(1, some, PROT_READ);
  CHECK(strcmp(pages, "theirs") == 0 && write_raises(pages, SIGSEGV));
  CHECK(munmap(pages, kPage) == 0);
  CHECK(munmap(all, kPages * kPage) == 0);
}

static void find_no_frames(void *pages) { CHECK(read_raises(pages, SIGSEGV)); }

static void check_life(void) {
  const int fd = open_device("/dev/xen/privcmd");
  char *pages = mmap(NULL, 2 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, kPage);
  CHECK(pages != MAP_FAILED && read_raises(pages, SIGBUS) && write_raises(pages, SIGBUS));
  CHECK(close(fd) == 0);
  // Any file of the device fills it.
  int32_t errors[2] = {7, 7};
  CHECK(map_batch(pages, 2, kGfns + 1, errors) == 0 && errors[0] == 0 && errors[1] == 0);
  CHECK(strcmp(pages, "own") == 0 && pages[10] == 1 && pages[kPage + 10] == 2);
  check_in_child(find_no_frames, pages);
  CHECK(madvise(pages, 2 * kPage, MADV_DONTFORK) == 0);
  // All of it or nothing.
  CHECK(munmap(pages, kPage) == -1 && errno == EINVAL && pages[10] == 1);
  CHECK(munmap(pages + kPage, kPage) == -1 && errno == EINVAL && pages[kPage + 10] == 2);
  CHECK(munmap(pages, 2 * kPage) == 0);

  pages = mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(mmap(pages, kPage, PROT_READ, MAP_SHARED | MAP_FIXED, privcmd, 0) == pages);
  CHECK(map_batch(pages, 1, kGfns + 3, errors) == 0 && pages[10] == 3);
  CHECK(munmap(pages, kPage) == 0);
  pages = room_for(1, PROT_READ);
  CHECK_NO_MAPPING(mremap(pages, kPage, 2 * kPage, MREMAP_MAYMOVE), EFAULT);
  CHECK(munmap(pages, kPage) == 0);
  CHECK_NO_MAPPING(mmap(NULL, 0, PROT_READ, MAP_SHARED, privcmd, 0), EINVAL);
  CHECK_NO_MAPPING(mmap(NULL, kPage, PROT_READ, MAP_SHARED, privcmd, 8), EINVAL);
}

static void check_refused_batches(void) {
  int32_t errors[4] = {7, 7, 7, 7};
  char *pages = room_for(3, PROT_READ);
  CHECK_REFUSED(ioctl(privcmd, kMmapBatchV2, NULL), EFAULT);
  CHECK_REFUSED(map_batch(pages, 0, kGfns, errors), EINVAL);
  CHECK_REFUSED(map_batch(pages, 3, NULL, errors), EFAULT);
  CHECK_REFUSED(map_batch(pages, 3, kGfns, NULL), EFAULT);
  CHECK_REFUSED(map_batch(pages, 3, kGfns, (int32_t *)0xffff800000000000), EFAULT);
  CHECK_REFUSED(map_batch(pages, 0x7fffffff, kGfns, errors), EFAULT);
  char *border = pages_before_nothing(1) + kPage;
  CHECK_REFUSED(map_batch(pages, 3, (uint64_t *)(border - 16), errors), EFAULT);
  CHECK_REFUSED(map_batch(pages, 3, kGfns, (int32_t *)(border - 8)), EFAULT);
  CHECK(mprotect(border - kPage, kPage, PROT_READ) == 0);
  CHECK_REFUSED(map_batch(pages, 3, kGfns, (int32_t *)(border - 16)), EFAULT);
  CHECK(errors[0] == 7);  // nobody came so far

  // What is not there for it: memory of other kinds, more or less than was asked of mmap.
  CHECK_REFUSED(map_batch(border - kPage, 1, kGfns, errors), EINVAL);
  CHECK(errors[0] == 0 && errors[1] == 7);
  CHECK_REFUSED(map_batch((char *)errors, 1, kGfns, errors), EINVAL);
  CHECK_REFUSED(map_batch((char *)0x7ffffffff000, 1, kGfns, errors), EINVAL);
  munmap(border - kPage, kPage);
  CHECK_REFUSED(map_batch(pages, 2, kGfns, errors), EINVAL);
  CHECK_REFUSED(map_batch(pages, 4, kGfns, errors), EINVAL);
  CHECK_REFUSED(map_batch(pages + kPage, 2, kGfns, errors), EINVAL);
  CHECK_REFUSED(map_batch(pages + 8, 3, kGfns, errors), EINVAL);
  CHECK(read_raises(pages, SIGBUS));

  CHECK(map_batch(pages, 3, kGfns, errors) == 0);
  CHECK(strcmp(pages, "own") == 0 && pages[2 * kPage + 10] == 2);
  CHECK_REFUSED(map_batch(pages, 3, kGfns, errors), EINVAL);
  CHECK_REFUSED(map_batch(pages + kPage, 1, kGfns + 4, errors), EINVAL);
  CHECK(pages[kPage + 10] == 1);
  CHECK(munmap(pages, 3 * kPage) == 0);
}

// Whether a frame that failed left a hole, which a later call fills. In a translated domain Linux
// leaves a page of its own there, with no memory behind it, and then refuses to put another over
// it: what it meant is right there, too.
static bool is_hole(const char *place) {
  return read_raises(place, SIGBUS) || (is_translated() && *place == (char)0xff);
}
static bool fills(char *place, uint64_t gfn, int32_t error) {
  int32_t errors[1] = {7};
  if (map_batch(place, 1, &gfn, errors) == 0) return errors[0] == error;
  return errno == EINVAL && is_translated();
}

static void check_partial_errors(void) {
  const uint64_t gfns[4] = {6, kHole, 4, (uint64_t)1 << 30};
  int32_t errors[4] = {7, 7, 7, 7};
  char *pages = room_for(4, PROT_READ | PROT_WRITE);
  CHECK(map_batch(pages, 4, gfns, errors) == 0);
  CHECK(errors[0] == 0 && errors[1] == -EINVAL && errors[2] == 0 && errors[3] == -EINVAL);
  CHECK(pages[10] == 6 && pages[2 * kPage + 10] == 4);
  CHECK(is_hole(pages + kPage) && is_hole(pages + 3 * kPage));

  CHECK_REFUSED(map_batch(pages + kPage, 2, kGfns, errors), EINVAL);
  CHECK_REFUSED(map_batch(pages + 3 * kPage, 2, kGfns, errors), EINVAL);
  CHECK(fills(pages + kPage, kHole, -EINVAL) && is_hole(pages + kPage));
  CHECK(add_page(domain, kHole));
  CHECK(fills(pages + kPage, kHole, 0) && (pages[kPage] == 0 || is_hole(pages + kPage)));
  CHECK(munmap(pages, 4 * kPage) == 0);

  // Nobody's frames.
  const uint16_t was = domain;
  domain = kNobody;
  pages = room_for(2, PROT_READ);
  CHECK(map_batch(pages, 2, kGfns, errors) == 0);
  CHECK(errors[0] == -ESRCH && errors[1] == -ESRCH && is_hole(pages));
  domain = was;
  CHECK(fills(pages + kPage, 7, 0) && (pages[kPage + 10] == 7 || is_hole(pages + kPage)));
  CHECK(munmap(pages, 2 * kPage) == 0);
}

static void check_first_version(void) {
  uint64_t gfns[3] = {1, kHole + 1, 3};
  char *pages = room_for(3, PROT_READ);
  struct mmap_batch batch = {.num = 3, .dom = domain, .addr = (uintptr_t)pages, .arr = gfns};
  CHECK_REFUSED(ioctl(privcmd, kMmapBatch, NULL), EFAULT);
  batch.num = 0;
  CHECK_REFUSED(ioctl(privcmd, kMmapBatch, &batch), EINVAL);
  batch.num = 3;
  batch.arr = NULL;
  CHECK_REFUSED(ioctl(privcmd, kMmapBatch, &batch), EFAULT);
  batch.arr = gfns;
  batch.num = 2;
  CHECK_REFUSED(ioctl(privcmd, kMmapBatch, &batch), EINVAL);
  batch.num = 3;
  CHECK(ioctl(privcmd, kMmapBatch, &batch) == 0);
  CHECK(gfns[0] == 1 && gfns[1] == (0xf0000000 | (kHole + 1)) && gfns[2] == 3);
  CHECK(pages[10] == 1 && is_hole(pages + kPage) && pages[2 * kPage + 10] == 3);
  CHECK_REFUSED(ioctl(privcmd, kMmapBatch, &batch), EINVAL);
  // The two versions fill the same.
  CHECK(fills(pages + kPage, 2, 0) && (pages[kPage + 10] == 2 || is_hole(pages + kPage)));
  CHECK(munmap(pages, 3 * kPage) == 0);
}

static void check_oldest_call(void) {
  char *pages = room_for(1, PROT_READ);
  struct mmap_entry entry = {.va = (uintptr_t)pages, .mfn = 0, .npages = 1};
  struct mmap_frames frames = {.num = 1, .dom = domain, .entries = &entry};
  if (is_translated()) {
    CHECK_REFUSED(ioctl(privcmd, kMmap, &frames), ENOSYS);
    CHECK_REFUSED(ioctl(privcmd, kMmap, NULL), ENOSYS);
  } else {
    CHECK_REFUSED(ioctl(privcmd, kMmap, NULL), EFAULT);
    frames.num = 0;
    CHECK(ioctl(privcmd, kMmap, &frames) == 0);
    frames.num = 1;
    entry.va = 0;
    CHECK_REFUSED(ioctl(privcmd, kMmap, &frames), EINVAL);
  }
  CHECK(munmap(pages, kPage) == 0);
}

// Each time with a mapping that nothing was put into: Linux dies of a second one, translated.
static int map_resource(uint16_t domid, uint32_t type, uint32_t id, uint32_t index,
                        bool (*is_good)(const uint64_t *)) {
  char *pages = room_for(1, PROT_READ | PROT_WRITE);
  struct mmap_resource resource = {
      .dom = domid, .type = type, .id = id, .idx = index, .num = 1, .addr = (uintptr_t)pages};
  errno = 0;
  const int answer = ioctl(privcmd, kMmapResource, &resource);
  const int error = errno;
  if (answer == 0) CHECK(is_good((const uint64_t *)pages));
  CHECK(munmap(pages, kPage) == 0);
  errno = error;
  return answer;
}

static bool has_no_grants(const uint64_t *entries) {
  for (unsigned i = 0; i < kPage / sizeof(*entries); i++) {
    if (entries[i] != 0) return false;
  }
  return true;
}

static void check_resources(void) {
  enum { kGrantTable = 1, kUnknown = 99 };  // types
  enum { kShared = 0, kStatus = 1 };        // of which the grant table has two
  struct mmap_resource resource = {.dom = domain, .type = kGrantTable, .id = kShared};
  CHECK(ioctl(privcmd, kMmapResource, &resource) == 0 && resource.num == kGrantFrames);
  resource.num = 0;
  resource.id = 2;
  CHECK_REFUSED(ioctl(privcmd, kMmapResource, &resource), EINVAL);
  resource = (struct mmap_resource){.dom = kNobody, .type = kGrantTable};
  CHECK_REFUSED(ioctl(privcmd, kMmapResource, &resource), ESRCH);
  CHECK_REFUSED(ioctl(privcmd, kMmapResource, NULL), EFAULT);

  // One without the other, and what is no mapping of this device.
  resource = (struct mmap_resource){.dom = domain, .type = kGrantTable, .num = 1};
  CHECK_REFUSED(ioctl(privcmd, kMmapResource, &resource), EINVAL);
  resource = (struct mmap_resource){.dom = domain, .type = kGrantTable, .addr = kPage};
  CHECK_REFUSED(ioctl(privcmd, kMmapResource, &resource), EINVAL);
  resource.num = 1;
  resource.addr = (uintptr_t)&resource;
  CHECK_REFUSED(ioctl(privcmd, kMmapResource, &resource), EINVAL);

  CHECK(map_resource(domain, kGrantTable, kShared, 0, has_no_grants) == 0);
  CHECK(map_resource(domain, kGrantTable, kShared, kGrantFrames - 1, has_no_grants) == 0);
  CHECK_REFUSED(map_resource(domain, kGrantTable, kShared, kGrantFrames, NULL), EINVAL);
  CHECK_REFUSED(map_resource(domain, kGrantTable, kStatus, 0, NULL),
                EINVAL);  // a table of version 1
  CHECK_REFUSED(map_resource(domain, kGrantTable, 2, 0, NULL), EINVAL);
  const long version = hypercall(__HYPERVISOR_xen_version, XENVER_version, 0);
  CHECK_REFUSED(map_resource(domain, kUnknown, 0, 0, NULL),
                (version & 0xffff) < 20 ? EOPNOTSUPP : EINVAL);
  CHECK_REFUSED(map_resource(kNobody, kGrantTable, kShared, 0, NULL), ESRCH);
}

void check_frames(void) {
  domain = create_domain();
  check_bytes();
  check_life();
  check_refused_batches();
  check_partial_errors();
  check_first_version();
  check_oldest_call();
  check_resources();
  destroy_domain(domain);
}
