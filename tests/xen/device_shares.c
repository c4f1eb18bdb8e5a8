// The device of pages that are granted.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/xen/check.h"
#include "tests/xen/device_grants.h"
#include "tests/xen/devices.h"

int64_t share(int fd, size_t count, uint16_t flags, uint32_t *refs) {
  static struct share_pages pages;
  pages.domid = 0;
  pages.flags = flags;
  pages.count = (uint32_t)count;
  pages.index = 77;
  if (ioctl(fd, kShare, &pages) != 0) return -errno;
  memcpy(refs, pages.refs, count * sizeof(refs[0]));
  return (int64_t)pages.index;
}
int unshare(int fd, uint64_t index, uint32_t count) {
  const struct grant_unmap gone = {.index = index, .count = count};
  return ioctl(fd, kUnshare, &gone);
}

static const int kBoth = PROT_READ | PROT_WRITE;

static void check_offsets(void) {
  const int fd = open_device("/dev/xen/gntalloc"), other = open_device("/dev/xen/gntalloc");
  uint32_t refs[8] = {0};
  // Not in between: the end of a mapping over both would take it along (gntalloc_vma_close).
  CHECK(share(other, 1, kWritable, refs + 7) == 0);
  CHECK(share(fd, 0, kWritable, refs) == 0);
  CHECK(share(fd, 2, kWritable, refs) == 0 && share(fd, 1, kWritable, refs + 2) == 2 * kPage);
  CHECK(share(fd, 2, kWritable, refs + 3) == 3 * kPage);
  for (int i = 0; i < 5; i++) {
    CHECK(refs[i] >= 8 && can_be_mapped(refs[i]));
    for (int j = 0; j < i; j++) CHECK(refs[i] != refs[j]);
  }

  // Any run of them, as often as one likes, of zeros.
  char *all = map_shared(fd, 0, 5, kBoth), *two = map_shared(fd, kPage, 2, kBoth);
  char *shown = map_shared(fd, 4 * kPage, 1, PROT_READ);
  CHECK(all != MAP_FAILED && two != MAP_FAILED && shown != MAP_FAILED);
  for (int i = 0; i < 5 * kPage; i += 256) CHECK(all[i] == 0);
  for (int i = 0; i < 5; i++) all[i * kPage] = (char)('a' + i);
  CHECK(two[0] == 'b' && two[kPage] == 'c' && shown[0] == 'e' && write_raises(shown, SIGSEGV));
  CHECK_NO_MAPPING(map_shared(fd, 0, 6, kBoth), ENOENT);
  CHECK_NO_MAPPING(map_shared(fd, 5 * kPage, 1, kBoth), ENOENT);
  CHECK_NO_MAPPING(map_shared(fd, (uint64_t)1 << 40, 1, kBoth), ENOENT);
  CHECK_NO_MAPPING(mmap(NULL, kPage, PROT_READ, MAP_PRIVATE, fd, 0), EINVAL);
  CHECK_NO_MAPPING(mmap(NULL, kPage, kBoth, MAP_PRIVATE, fd, 0), EINVAL);
  CHECK_NO_MAPPING(mmap(NULL, kPage, kBoth, MAP_SHARED, fd, 8), EINVAL);

  CHECK_REFUSED(unshare(fd, 0, 0), EINVAL);
  CHECK_REFUSED(unshare(fd, 0, 6), EINVAL);
  CHECK_REFUSED(unshare(fd, 5, 1), EINVAL);
  CHECK_REFUSED(unshare(fd, 5 * kPage, 1), EINVAL);
  CHECK_REFUSED(unshare(fd, 0, UINT32_MAX), EINVAL);
  CHECK_REFUSED(ioctl(fd, kUnshare, NULL), EFAULT);
  // Of two that were asked for apart; their mappings stay, and the others' offsets do.
  CHECK(unshare(fd, kPage, 2) == 0);
  CHECK_REFUSED(unshare(fd, kPage, 2), EINVAL);
  CHECK_REFUSED(unshare(fd, 0, 2), EINVAL);
  CHECK_NO_MAPPING(map_shared(fd, 0, 2, kBoth), ENOENT);
  CHECK_NO_MAPPING(map_shared(fd, kPage, 1, kBoth), ENOENT);
  CHECK(munmap(two, 2 * kPage) == 0);
  CHECK(all[kPage] == 'b' && can_be_mapped(refs[1]) && can_be_mapped(refs[2]));
  uint32_t more = 0;
  CHECK(share(fd, 1, kWritable, &more) == 5 * kPage);
  CHECK(munmap(all, 5 * kPage) == 0);
  CHECK(has_gone(refs[1]) && has_gone(refs[2]));
  CHECK(can_be_mapped(refs[0]) && can_be_mapped(refs[3]) && can_be_mapped(refs[7]));
  CHECK(unshare(fd, 0, 1) == 0 && has_gone(refs[0]));
  // A mapping keeps the file, with all that it has.
  CHECK(close(fd) == 0);
  CHECK(can_be_mapped(refs[3]) && can_be_mapped(more) && can_be_mapped(refs[4]));
  CHECK(shown[0] == 'e' && munmap(shown, kPage) == 0);
  CHECK(has_gone(refs[3]) && has_gone(more) && has_gone(refs[4]));
  CHECK(close(other) == 0 && has_gone(refs[7]));
}

static void check_life(void) {
  const int fd = open_device("/dev/xen/gntalloc"), gntdev = open_device("/dev/xen/gntdev");
  uint32_t refs[2];
  const int64_t index = share(fd, 2, kWritable, refs);
  // Before it is mapped by whoever grants it, and behind it.
  char *theirs = map_grants(gntdev, 2, refs, kBoth);
  strcpy(theirs, "here first");
  char *ours = map_shared(fd, (uint64_t)index, 2, kBoth);
  CHECK(ours != MAP_FAILED && strcmp(ours, "here first") == 0);
  CHECK(unshare(fd, (uint64_t)index, 2) == 0 && close(fd) == 0);
  strcpy(ours + kPage, "by its mapping");
  CHECK(strcmp(theirs + kPage, "by its mapping") == 0 && can_be_mapped(refs[0]));
  CHECK(munmap(ours, 2 * kPage) == 0);
  // The page is not given to anybody else before both have ended.
  const int next = open_device("/dev/xen/gntalloc");
  uint32_t others[64];
  ours = map_shared(next, (uint64_t)share(next, 64, kWritable, others), 64, kBoth);
  memset(ours, 'o', 64 * kPage);
  CHECK(strcmp(theirs, "here first") == 0 && strcmp(theirs + kPage, "by its mapping") == 0);
  strcpy(theirs, "to nobody");
  for (int i = 0; i < 64; i++) {
    CHECK(ours[i * kPage] == 'o' && others[i] != refs[0] && others[i] != refs[1]);
  }
  CHECK(munmap(ours, 64 * kPage) == 0 && close(next) == 0);
  CHECK(munmap(theirs, 2 * kPage) == 0 && close(gntdev) == 0);
}

static void check_limit(void) {
  const int fd = open_device("/dev/xen/gntalloc"), other = open_device("/dev/xen/gntalloc");
  static uint32_t refs[kMostShared];
  static struct share_pages pages;
  pages = (struct share_pages){.count = kMostShared + 1};
  CHECK_REFUSED(ioctl(fd, kShare, &pages), ENOSPC);
  CHECK(share(fd, kMostShared - 1, kWritable, refs) == 0);
  CHECK(share(other, 2, kWritable, refs) == -ENOSPC && share(other, 1, kWritable, refs) == 0);
  CHECK(share(other, 1, kWritable, refs) == -ENOSPC && share(fd, 1, 0, refs) == -ENOSPC);
  CHECK(unshare(fd, 500 * kPage, 1) == 0);
  CHECK(share(other, 1, kWritable, refs) == kPage && share(other, 1, 0, refs) == -ENOSPC);
  CHECK(close(fd) == 0);
  CHECK(share(other, kMostShared - 2, kWritable, refs) == 2 * kPage);
  CHECK(close(other) == 0);
}

static void check_refused_shares(void) {
  const int fd = open_device("/dev/xen/gntalloc");
  CHECK_REFUSED(ioctl(fd, kShare, NULL), EFAULT);
  char *border = pages_before_nothing(1) + kPage;
  struct share_pages two = {.domid = 0, .count = 2};
  memcpy(border - 16, &two, 16);
  CHECK_REFUSED(ioctl(fd, kShare, border - 16), EFAULT);
  memcpy(border - 24, &two, 24);
  CHECK(ioctl(fd, kShare, border - 24) == 0);  // each takes four bytes
  CHECK(munmap(border - kPage, kPage) == 0);
  // Whom it is granted to need not be there.
  two = (struct share_pages){.domid = kNobody, .flags = 0xfffe, .count = 1};
  CHECK(ioctl(fd, kShare, &two) == 0 && has_gone(two.refs[0]));
  char argument[64] = "";
  const unsigned long none[] = {kGrantMap, kGrantUnmap, kGrantOffset, kGrantCopy, kHypercall};
  for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
    CHECK_REFUSED(ioctl(fd, none[i], argument), ENOTTY);
  }
  CHECK_REFUSED(read(fd, argument, 4), EINVAL);
  CHECK_REFUSED(write(fd, argument, 4), EINVAL);
  CHECK(close(fd) == 0);
}

void check_shares(void) {
  check_offsets();
  check_life();
  check_limit();
  check_refused_shares();
}
