// The grant device: pages that a domain grants, mapped and copied.
#include "tests/xen/device_grants.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/xen/check.h"
#include "tests/xen/devices.h"

// GNTST_*
enum { kOkay = 0, kGeneralError = -1, kBadDomain = -2, kBadRef = -3 };

int64_t add_grants(int fd, size_t count, const uint32_t *refs) {
  struct grant_map map = {.count = (uint32_t)count, .index = 77};
  for (size_t i = 0; i < count; i++) map.refs[i] = (struct grant_ref){.domid = 0, .ref = refs[i]};
  return ioctl(fd, kGrantMap, &map) == 0 ? (int64_t)map.index : -errno;
}
int remove_grants(int fd, uint64_t index, uint32_t count) {
  const struct grant_unmap unmap = {.index = index, .count = count};
  return ioctl(fd, kGrantUnmap, &unmap);
}
int set_notice(int fd, uint64_t index, uint32_t action, uint32_t port) {
  const struct unmap_notify notify = {.index = index, .action = action, .port = port};
  return ioctl(fd, kUnmapNotify, &notify);
}
char *map_shared(int fd, uint64_t offset, size_t pages, int protection) {
  return mmap(NULL, pages * kPage, protection, MAP_SHARED, fd, (off_t)offset);
}
char *map_grants(int fd, size_t count, const uint32_t *refs, int protection) {
  const int64_t index = add_grants(fd, count, refs);
  CHECK(index >= 0);
  char *pages = map_shared(fd, (uint64_t)index, count, protection);
  CHECK(pages != MAP_FAILED);
  return pages;
}
bool can_be_mapped(uint32_t ref) {
  const int fd = open_device("/dev/xen/gntdev");
  char *page = map_shared(fd, (uint64_t)add_grants(fd, 1, &ref), 1, PROT_READ);
  if (page != MAP_FAILED) CHECK(munmap(page, kPage) == 0);
  CHECK(close(fd) == 0);
  return page != MAP_FAILED;
}

// A machine hears of a file's end in its own time.
bool has_gone(uint32_t ref) {
  for (int tries = 0; tries < 5000; tries++) {
    if (!can_be_mapped(ref)) return true;
    usleep(1000);
  }
  return false;
}

// All that is granted here, as it is mapped by whoever grants it.
enum { kShared = 4 };
static uint32_t refs[kShared], read_only_ref;
static char *own;

static void check_added(void) {
  const int fd = open_device("/dev/xen/gntdev");
  struct grant_map map = {.count = 0};
  CHECK_REFUSED(ioctl(fd, kGrantMap, &map), EINVAL);
  map.count = (64 << 10) + 1;
  CHECK_REFUSED(ioctl(fd, kGrantMap, &map), EINVAL);
  map.count = UINT32_MAX;
  CHECK_REFUSED(ioctl(fd, kGrantMap, &map), EINVAL);
  CHECK_REFUSED(ioctl(fd, kGrantMap, NULL), EFAULT);
  // As much as the number says is there at least, and then as much as is counted.
  char *border = pages_before_nothing(1) + kPage;
  map.count = 1;
  memcpy(border - 24, &map, 24);
  CHECK(ioctl(fd, kGrantMap, border - 24) == 0);
  memcpy(border - 16, &map, 16);
  CHECK_REFUSED(ioctl(fd, kGrantMap, border - 16), EFAULT);
  map.count = 2;
  memcpy(border - 24, &map, 24);
  CHECK_REFUSED(ioctl(fd, kGrantMap, border - 24), EFAULT);
  CHECK(munmap(border - kPage, kPage) == 0);

  // Where there is room, with a page behind it.
  CHECK(add_grants(fd, 3, refs) == kPage && add_grants(fd, 1, refs) == 4 * kPage);
  CHECK(add_grants(fd, 2, refs) == 5 * kPage);
  CHECK_REFUSED(remove_grants(fd, kPage, 2), ENOENT);
  CHECK_REFUSED(remove_grants(fd, 2 * kPage, 1), ENOENT);
  CHECK_REFUSED(remove_grants(fd, 7 * kPage, 1), ENOENT);
  CHECK_REFUSED(remove_grants(fd, UINT64_MAX, 1), ENOENT);
  CHECK_REFUSED(ioctl(fd, kGrantUnmap, NULL), EFAULT);
  CHECK(remove_grants(fd, kPage, 3) == 0);
  CHECK_REFUSED(remove_grants(fd, kPage, 3), ENOENT);
  CHECK(add_grants(fd, 3, refs) == 7 * kPage);
  CHECK(add_grants(fd, 2, refs) == kPage && add_grants(fd, 1, refs) == 10 * kPage);
  // However many, and whichever byte of its first page.
  CHECK(remove_grants(fd, kPage + 5, 0) == 0);
  CHECK_REFUSED(remove_grants(fd, kPage + 5, 0), ENOENT);
  // Each file has its own.
  const int other = open_device("/dev/xen/gntdev");
  CHECK_REFUSED(remove_grants(other, 0, 1), ENOENT);
  CHECK(add_grants(other, 1, refs) == 0);
  CHECK(close(other) == 0 && close(fd) == 0);
}

static void check_mapped(void) {
  const int fd = open_device("/dev/xen/gntdev");
  for (int i = 0; i < kShared; i++) own[i * kPage] = (char)('a' + i);
  const uint32_t some[3] = {refs[2], refs[0], refs[2]};
  const uint64_t all = (uint64_t)add_grants(fd, 3, some);
  CHECK_NO_MAPPING(map_shared(fd, all, 2, PROT_READ), EINVAL);
  CHECK_NO_MAPPING(map_shared(fd, all, 4, PROT_READ), EINVAL);
  CHECK_NO_MAPPING(map_shared(fd, all + kPage, 1, PROT_READ), EINVAL);
  CHECK_NO_MAPPING(map_shared(fd, all + 3 * kPage, 1, PROT_READ), EINVAL);
  CHECK_NO_MAPPING(mmap(NULL, 3 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0), EINVAL);
  CHECK_NO_MAPPING(mmap(NULL, 3 * kPage, PROT_READ, MAP_SHARED, fd, 8), EINVAL);
  CHECK_NO_MAPPING(mmap(NULL, 0, PROT_READ, MAP_SHARED, fd, 0), EINVAL);
  // A length is rounded up.
  char *pages = mmap(NULL, 2 * kPage + 1, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)all);
  CHECK(pages != MAP_FAILED);
  CHECK(pages[0] == 'c' && pages[kPage] == 'a' && pages[2 * kPage] == 'c');
  pages[kPage - 1] = 'x';
  CHECK(own[3 * kPage - 1] == 'x' && pages[3 * kPage - 1] == 'x');
  own[kPage - 1] = 'y';
  CHECK(pages[2 * kPage - 1] == 'y');
  CHECK_NO_MAPPING(map_shared(fd, all, 3, PROT_READ), EINVAL);

  struct grant_offset asked = {.vaddr = (uintptr_t)pages, .offset = 99, .count = 99};
  CHECK(ioctl(fd, kGrantOffset, &asked) == 0 && asked.offset == all && asked.count == 3);
  asked = (struct grant_offset){.vaddr = (uintptr_t)pages + 2 * kPage + 17, .offset = 99};
  CHECK(ioctl(fd, kGrantOffset, &asked) == 0 && asked.offset == all && asked.count == 3);
  asked.vaddr = (uintptr_t)own;
  CHECK_REFUSED(ioctl(fd, kGrantOffset, &asked), EINVAL);
  asked.vaddr = (uintptr_t)&asked;
  CHECK_REFUSED(ioctl(fd, kGrantOffset, &asked), EINVAL);
  asked.vaddr = UINT64_MAX;
  CHECK_REFUSED(ioctl(fd, kGrantOffset, &asked), EINVAL);
  CHECK_REFUSED(ioctl(fd, kGrantOffset, NULL), EFAULT);

  // It is taken back, and stays mapped.
  CHECK(remove_grants(fd, all, 3) == 0);
  CHECK_REFUSED(remove_grants(fd, all, 3), ENOENT);
  CHECK(pages[0] == 'c' && pages[2 * kPage - 1] == 'y');
  pages[1] = 'z';
  CHECK(own[2 * kPage + 1] == 'z');
  // Part by part, and without the file.
  CHECK(munmap(pages + kPage, kPage) == 0 && read_raises(pages + kPage, SIGSEGV));
  CHECK(pages[0] == 'c' && pages[2 * kPage] == 'c');
  CHECK(close(fd) == 0);
  pages[2] = 'w';
  CHECK(own[2 * kPage + 2] == 'w');
  CHECK(munmap(pages, 3 * kPage) == 0);

  const int again = open_device("/dev/xen/gntdev");
  const int64_t index = add_grants(again, 1, refs + 1);
  char *place = pages_before_nothing(1);
  CHECK(mmap(place, kPage, PROT_READ, MAP_SHARED | MAP_FIXED, again, index) == place);
  CHECK(place[0] == 'b' && write_raises(place, SIGSEGV));
  // What comes in its place ends it.
  CHECK(mmap(place, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == place);
  CHECK(place[0] == 0);
  CHECK_NO_MAPPING(map_shared(again, (uint64_t)index, 1, PROT_READ), EINVAL);
  const int64_t private = add_grants(again, 1, refs + 1);
  char *copy = mmap(NULL, kPage, PROT_READ, MAP_PRIVATE, again, private);
  CHECK(copy != MAP_FAILED && copy[0] == 'b');
  CHECK(munmap(copy, kPage) == 0 && munmap(place, kPage) == 0 && close(again) == 0);
}

static void check_refused_grants(void) {
  const int fd = open_device("/dev/xen/gntdev");
  char *page = map_grants(fd, 1, &read_only_ref, PROT_READ);
  CHECK(page[0] == own[3 * kPage] && munmap(page, kPage) == 0);
  int64_t index = add_grants(fd, 1, &read_only_ref);
  CHECK_NO_MAPPING(map_shared(fd, (uint64_t)index, 1, PROT_READ | PROT_WRITE), EINVAL);
  // Once, whatever came of it.
  CHECK_NO_MAPPING(map_shared(fd, (uint64_t)index, 1, PROT_READ), EINVAL);
  const struct grant_ref bad[] = {
      {0, 1 << 20}, {0, UINT32_MAX}, {kNobody, refs[0]}, {kSelf + 9, 8}};
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    struct grant_map map = {.count = 2, .refs = {{0, refs[0]}, bad[i]}};
    CHECK(ioctl(fd, kGrantMap, &map) == 0);
    CHECK_NO_MAPPING(map_shared(fd, map.index, 2, PROT_READ), EINVAL);
    CHECK(remove_grants(fd, map.index, 2) == 0);
  }
  // A domain's id has 16 bits.
  struct grant_map map = {.count = 1, .refs = {{0x50000, refs[0]}}};
  CHECK(ioctl(fd, kGrantMap, &map) == 0);
  page = map_shared(fd, map.index, 1, PROT_READ);
  CHECK(page != MAP_FAILED && page[0] == own[0] && munmap(page, kPage) == 0);
  index = add_grants(fd, 1, refs);
  page = map_shared(fd, (uint64_t)index, 1, PROT_READ | PROT_WRITE);
  CHECK(page != MAP_FAILED && munmap(page, kPage) == 0);
  CHECK(close(fd) == 0);
}

static struct copy_side at_grant(uint32_t ref, uint16_t offset) {
  return (struct copy_side){.ref = ref, .offset = offset, .domid = 0};
}
static struct copy_side at(void *address) { return (struct copy_side){.address = address}; }
static int copy(int fd, struct copy_segment *segments, uint32_t count) {
  const struct grant_copy list = {.count = count, .segments = segments};
  for (uint32_t i = 0; i < count; i++) segments[i].status = 55;
  return ioctl(fd, kGrantCopy, &list);
}

static void check_copies(void) {
  const int fd = open_device("/dev/xen/gntdev");
  char *local = pages_before_nothing(3);
  for (int i = 0; i < 3 * kPage; i++) local[i] = (char)(i * 7 + i / kPage);
  memset(own, 0, kShared * kPage);
  struct copy_segment some[40] = {
      // From a page that is written nowhere, and over the end of a local page.
      {.source = at(local + kPage - 100), .dest = at_grant(refs[0], 0), 4096, kToGrant},
      {.source = at_grant(refs[0], 96), .dest = at_grant(refs[1], 1), 4000, kFromGrant | kToGrant},
      {.source = at_grant(refs[1], 4001), .dest = at(local + 2 * kPage - 3), 95, kFromGrant},
      {.source = at(local), .dest = at_grant(refs[2], 4096), 0, kToGrant},
  };
  CHECK(copy(fd, some, 4) == 0);
  for (int i = 0; i < 4; i++) CHECK(some[i].status == kOkay);
  CHECK(memcmp(own, local + kPage - 100, 4096) == 0);
  CHECK(memcmp(own + kPage + 1, own + 96, 4000) == 0 && own[kPage] == 0 && own[kPage + 4001] == 0);
  for (int i = -4; i < 97; i++) {
    const int where = 2 * kPage + i;
    CHECK(local[where] == (i >= -3 && i < 92 ? 0 : (char)(where * 7 + where / kPage)));
  }
  // More than go at a time.
  for (int i = 0; i < 40; i++) {
    local[i] = (char)(i + 1);
    some[i] = (struct copy_segment){
        .source = at(local + i), .dest = at_grant(refs[i % 2], (uint16_t)(i * 100)), 1, kToGrant};
  }
  CHECK(copy(fd, some, 40) == 0);
  for (int i = 0; i < 40; i++) CHECK(some[i].status == 0 && own[i % 2 * kPage + i * 100] == i + 1);

  struct copy_segment one = {.source = at_grant(refs[0], 4095), .dest = at(local), 2, kFromGrant};
  CHECK_REFUSED(copy(fd, &one, 1), EINVAL);
  one = (struct copy_segment){.source = at(local), .dest = at_grant(refs[0], 65535), 1, kToGrant};
  CHECK_REFUSED(copy(fd, &one, 1), EINVAL);
  one = (struct copy_segment){.source = at(local), .dest = at(local + 100), 10, 0};
  CHECK_REFUSED(copy(fd, &one, 1), EINVAL);
  one.flags = 4;
  CHECK_REFUSED(copy(fd, &one, 1), EINVAL);
  one = (struct copy_segment){.source = at(local), .dest = at_grant(refs[0], 0), 10, kToGrant | 4};
  CHECK(copy(fd, &one, 1) == 0 && one.status == kOkay);
  char *border = local + 3 * kPage;
  one = (struct copy_segment){.source = at(border - 4), .dest = at_grant(refs[0], 0), 8, kToGrant};
  CHECK_REFUSED(copy(fd, &one, 1), EFAULT);
  one = (struct copy_segment){.source = at_grant(refs[0], 0), .dest = at(border), 8, kFromGrant};
  CHECK_REFUSED(copy(fd, &one, 1), EFAULT);
  one.dest.address = (void *)"what is read only";
  CHECK_REFUSED(copy(fd, &one, 1), EFAULT);
  CHECK(copy(fd, (struct copy_segment *)border, 0) == 0);
  CHECK_REFUSED(ioctl(fd, kGrantCopy, NULL), EFAULT);
  const struct grant_copy nowhere = {.count = 1, .segments = (void *)border};
  CHECK_REFUSED(ioctl(fd, kGrantCopy, &nowhere), EFAULT);

  // What Xen refuses is said of each, and the others are made.
  struct copy_segment bad[] = {
      {.source = at(local), .dest = at_grant(1 << 20, 0), 10, kToGrant},
      {.source = {.ref = refs[0], .domid = kNobody}, .dest = at(local + 100), 10, kFromGrant},
      {.source = at(local), .dest = at_grant(read_only_ref, 0), 10, kToGrant},
      {.source = at_grant(read_only_ref, 0), .dest = at(local + 200), 10, kFromGrant},
      {.source = at(local), .dest = at_grant(refs[2], 8), 10, kToGrant},
  };
  CHECK(copy(fd, bad, 5) == 0);
  CHECK(bad[0].status == kBadRef && bad[1].status == kBadDomain);
  CHECK(bad[2].status == kGeneralError && bad[3].status == kOkay && bad[4].status == kOkay);
  CHECK(memcmp(own + 2 * kPage + 8, local, 10) == 0);
  CHECK(munmap(local, 3 * kPage) == 0 && close(fd) == 0);
}

static void check_no_others(void) {
  const int fd = open_device("/dev/xen/gntdev");
  char argument[64] = "";
  const unsigned long none[] = {kGrantSetMax,  kGrantExport, kGrantWait,      kGrantImport,
                                kGrantRelease, kShare,       kUnshare,        kHypercall,
                                0x184740,      0x184741,     0x184700 + 0x99, 0x4700};
  for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
    CHECK_REFUSED(ioctl(fd, none[i], argument), ENOTTY);
  }
  CHECK_REFUSED(read(fd, argument, 4), EINVAL);
  CHECK_REFUSED(write(fd, argument, 4), EINVAL);
  CHECK(close(fd) == 0);
}

void check_grants(void) {
  const int fd = open_device("/dev/xen/gntalloc");
  const int64_t index = share(fd, kShared, kWritable, refs);
  CHECK(index >= 0);
  own = map_shared(fd, (uint64_t)index, kShared, PROT_READ | PROT_WRITE);
  CHECK(own != MAP_FAILED);
  CHECK(share(fd, 1, 0, &read_only_ref) >= 0);
  check_added();
  check_mapped();
  own[3 * kPage] = 0;
  check_refused_grants();
  check_copies();
  check_no_others();
  CHECK(munmap(own, kShared * kPage) == 0 && close(fd) == 0);
  for (int i = 0; i < kShared; i++) CHECK(has_gone(refs[i]));
}
