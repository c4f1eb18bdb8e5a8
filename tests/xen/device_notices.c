// What the other side of a shared page is told of its end.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/xen/check.h"
#include "tests/xen/device_grants.h"
#include "tests/xen/devices.h"

static const int kBoth = PROT_READ | PROT_WRITE;

// Two ends of an event channel of domain 0's: what is sent from one is read at the other.
static int senders, receivers;
static uint32_t port, receivers_port;

static void open_channel(void) {
  senders = open_device("/dev/xen/evtchn");
  receivers = open_device("/dev/xen/evtchn");
  const uint32_t domid = 0;
  port = (uint32_t)ioctl(senders, kBindUnboundPort, &domid);
  const uint32_t remote[2] = {0, port};
  receivers_port = (uint32_t)ioctl(receivers, kBindInterdomain, remote);
  CHECK((int)port > 0 && (int)receivers_port > 0);
  CHECK(fcntl(receivers, F_SETFL, O_NONBLOCK) == 0);
}

// Those that came until now, or within a time.
static bool was_told_in(int milliseconds) {
  struct pollfd one = {.fd = receivers, .events = POLLIN};
  uint32_t got = 0;
  if (poll(&one, 1, milliseconds) != 1) return false;
  CHECK(read(receivers, &got, sizeof(got)) == sizeof(got) && got == receivers_port);
  CHECK(write(receivers, &got, sizeof(got)) == sizeof(got));
  return true;
}
static bool was_told(void) { return was_told_in(10000); }
static bool was_not_told(void) { return !was_told_in(30); }

// Two pages, as both sides map them.
static int shares, grants;
static uint32_t refs[2];
static char *ours, *theirs;
static uint64_t own_offset, offset;

static void open_pages(void) {
  shares = open_device("/dev/xen/gntalloc");
  grants = open_device("/dev/xen/gntdev");
  own_offset = (uint64_t)share(shares, 2, kWritable, refs);
  ours = map_shared(shares, own_offset, 2, kBoth);
  CHECK(ours != MAP_FAILED);
  memset(ours, 1, 2 * kPage);
}
static void map_theirs(int protection) {
  offset = (uint64_t)add_grants(grants, 2, refs);
  theirs = map_shared(grants, offset, 2, protection);
  CHECK(theirs != MAP_FAILED);
  memset(ours, 1, 2 * kPage);
}
// Whether that is the only byte of both pages that was cleared; none: -1.
static bool is_cleared(const char *pages, int at) {
  for (int i = 0; i < 2 * kPage; i++) {
    if (pages[i] != (i != at)) return false;
  }
  return true;
}

static void check_refused_notices(void) {
  map_theirs(PROT_READ);
  CHECK_REFUSED(set_notice(grants, offset, kClearByte, 0), EINVAL);
  CHECK_REFUSED(set_notice(grants, offset, kClearByte | kSendEvent, port), EINVAL);
  CHECK_REFUSED(set_notice(grants, offset, 4, 0), EINVAL);
  CHECK_REFUSED(set_notice(grants, offset, kSendEvent, 0), EINVAL);
  CHECK_REFUSED(set_notice(grants, offset, kSendEvent, 1000000), EINVAL);
  CHECK_REFUSED(set_notice(grants, offset, kSendEvent, port + receivers_port + 7), EINVAL);
  CHECK_REFUSED(set_notice(grants, offset + 2 * kPage, 0, 0), ENOENT);
  CHECK_REFUSED(set_notice(grants, offset + 2 * kPage, kSendEvent, port), ENOENT);
  CHECK_REFUSED(set_notice(grants, offset + 2 * kPage, kSendEvent, 0), EINVAL);  // first
  CHECK_REFUSED(set_notice(grants, offset + 2 * kPage, 4, 0), EINVAL);
  CHECK_REFUSED(ioctl(grants, kUnmapNotify, NULL), EFAULT);
  CHECK(set_notice(grants, offset + 2 * kPage - 1, kSendEvent, port) == 0);
  CHECK(remove_grants(grants, offset, 2) == 0);
  CHECK_REFUSED(set_notice(grants, offset, kSendEvent, port), ENOENT);
  CHECK(was_not_told());
  CHECK(munmap(theirs, 2 * kPage) == 0 && was_told() && is_cleared(ours, -1));

  CHECK_REFUSED(set_notice(shares, own_offset, 4, 0), EINVAL);
  CHECK_REFUSED(set_notice(shares, own_offset, kSendEvent, 0), EINVAL);
  CHECK_REFUSED(set_notice(shares, own_offset + 2 * kPage, kSendEvent, port), ENOENT);
  CHECK_REFUSED(set_notice(shares, own_offset + 2 * kPage, kSendEvent, 0), ENOENT);
  CHECK_REFUSED(set_notice(shares, own_offset + 2 * kPage, 4, 0), ENOENT);
  CHECK_REFUSED(ioctl(shares, kUnmapNotify, NULL), EFAULT);
}

static void check_ends_of_grants(void) {
  enum { kByte = kPage + 77 };
  // Taken back, and then unmapped: in two parts.
  map_theirs(kBoth);
  CHECK(set_notice(grants, offset + kByte, kClearByte | kSendEvent, port) == 0);
  CHECK(remove_grants(grants, offset, 2) == 0 && was_not_told() && is_cleared(ours, -1));
  CHECK(munmap(theirs, kPage) == 0 && was_not_told() && is_cleared(ours, -1));
  CHECK(munmap(theirs + kPage, kPage) == 0 && was_told() && is_cleared(ours, kByte));
  // The other way round. What a PV domain has unmapped, it does not map any more.
  map_theirs(kBoth);
  CHECK(set_notice(grants, offset + kByte, kClearByte | kSendEvent, port) == 0);
  CHECK(munmap(theirs, 2 * kPage) == 0 && was_not_told());
  if (is_translated()) CHECK(is_cleared(ours, -1));
  CHECK(remove_grants(grants, offset, 2) == 0 && was_told() && is_cleared(ours, kByte));
  // By the end of the file, and the other way round.
  for (int way = 0; way < 2; way++) {
    map_theirs(kBoth);
    CHECK(set_notice(grants, offset, kClearByte | kSendEvent, port) == 0);
    if (way == 0) CHECK(munmap(theirs, 2 * kPage) == 0 && was_not_told());
    CHECK(close(grants) == 0);
    if (way == 1) {
      CHECK(was_not_told() && is_cleared(ours, -1));
      CHECK(munmap(theirs, 2 * kPage) == 0);
    }
    CHECK(was_told() && is_cleared(ours, 0));
    grants = open_device("/dev/xen/gntdev");
  }
  // Never mapped: no byte.
  memset(ours, 1, 2 * kPage);
  offset = (uint64_t)add_grants(grants, 2, refs);
  CHECK(set_notice(grants, offset + 5, kClearByte | kSendEvent, port) == 0);
  CHECK(remove_grants(grants, offset, 2) == 0 && was_told() && is_cleared(ours, -1));
  // Said before it is mapped.
  offset = (uint64_t)add_grants(grants, 2, refs);
  CHECK(set_notice(grants, offset + 5, kClearByte | kSendEvent, port) == 0);
  theirs = map_shared(grants, offset, 2, kBoth);
  CHECK(remove_grants(grants, offset, 2) == 0 && munmap(theirs, 2 * kPage) == 0);
  CHECK(was_told() && is_cleared(ours, 5));

  // The last one counts, whatever it says.
  const struct {
    uint32_t action, byte;
    bool sends;
    int cleared;
  } lasts[] = {{0, 9, false, -1},
               {kClearByte, 4095, false, 4095},
               {kSendEvent, 4096, true, -1},
               {kClearByte | kSendEvent, 4096, true, 4096}};
  for (size_t i = 0; i < sizeof(lasts) / sizeof(lasts[0]); i++) {
    map_theirs(kBoth);
    CHECK(set_notice(grants, offset + 3, kClearByte | kSendEvent, port) == 0);
    CHECK(set_notice(grants, offset + lasts[i].byte, lasts[i].action, port) == 0);
    CHECK_REFUSED(set_notice(grants, offset, kSendEvent, 0), EINVAL);  // and changes nothing
    CHECK(remove_grants(grants, offset, 2) == 0 && munmap(theirs, 2 * kPage) == 0);
    CHECK(lasts[i].sends ? was_told() : was_not_told());
    CHECK(is_cleared(ours, lasts[i].cleared));
  }
}

static void check_ends_of_shares(void) {
  // By page, each when nobody here has it any more.
  uint32_t pages[3];
  const uint64_t index = (uint64_t)share(shares, 3, kWritable, pages);
  char *mapped = map_shared(shares, index, 3, kBoth);
  memset(mapped, 1, 3 * kPage);
  theirs = map_grants(grants, 2, pages, kBoth);
  CHECK(set_notice(shares, index + 1, kClearByte | kSendEvent, port) == 0);
  CHECK(set_notice(shares, index + 2, kClearByte, 0) == 0);
  CHECK(set_notice(shares, index + 2 * kPage + 3, kClearByte | kSendEvent, port) == 0);
  CHECK(unshare(shares, index, 2) == 0 && was_not_told() && is_cleared(theirs, -1));
  CHECK(munmap(mapped, 3 * kPage) == 0 && was_not_told() && is_cleared(theirs, 2));
  CHECK(unshare(shares, index + 2 * kPage, 1) == 0 && was_told());
  CHECK(munmap(theirs, 2 * kPage) == 0);
}

static void hold_and_wait(void *ready) {
  const int fd = open("/dev/xen/gntdev", O_RDWR | O_CLOEXEC);
  const uint64_t index = (uint64_t)add_grants(fd, 2, refs);
  const char *pages = map_shared(fd, index, 2, kBoth);
  if (pages == MAP_FAILED || set_notice(fd, index + 8, kClearByte | kSendEvent, port) != 0) {
    _exit(1);
  }
  if (write(*(int *)ready, "", 1) != 1) _exit(2);
  for (;;) pause();
}

static void check_deaths(void) {
  int ends[2];
  CHECK(pipe(ends) == 0);
  for (int i = 0; i < 20; i++) {
    memset(ours, 1, 2 * kPage);
    const pid_t child = fork();
    if (child == 0) hold_and_wait(&ends[1]);
    char byte;
    CHECK(read(ends[0], &byte, 1) == 1 && was_not_told() && is_cleared(ours, -1));
    CHECK(kill(child, SIGKILL) == 0);
    // When it is told of it, the byte is clear already.
    struct pollfd one = {.fd = receivers, .events = POLLIN};
    const int told = poll(&one, 1, 10000);
    const char seen = *(volatile char *)(ours + 8);
    CHECK(told == 1 && seen == 0 && was_told() && is_cleared(ours, 8));
    CHECK(waitpid(child, NULL, 0) == child);
  }
  CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
}

// A notice keeps the port that its event goes by.
static void check_kept_port(void) {
  map_theirs(kBoth);
  CHECK(set_notice(grants, offset, kSendEvent, port) == 0);
  CHECK(close(senders) == 0 && was_not_told());
  CHECK(munmap(theirs, 2 * kPage) == 0 && remove_grants(grants, offset, 2) == 0 && was_told());
  // It has gone with it, in a while.
  int tries = 0;
  while (set_notice(shares, own_offset, kSendEvent, port) == 0 && tries++ < 5000) {
    CHECK(set_notice(shares, own_offset, 0, 0) == 0);
    usleep(1000);
  }
  CHECK(tries < 5000 && errno == EINVAL);
}

void check_notices(void) {
  open_channel();
  open_pages();
  was_told_in(100);  // what binding it left
  check_refused_notices();
  check_ends_of_grants();
  check_ends_of_shares();
  check_deaths();
  check_kept_port();
  CHECK(munmap(ours, 2 * kPage) == 0);
  CHECK(close(shares) == 0 && close(grants) == 0 && close(receivers) == 0);
}
