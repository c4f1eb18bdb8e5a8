/* Descriptors and mappings of devices. */
#include <errno.h>
#include <limits.h>
#include <linux/openat2.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "hcall/devices/preload.h"
#include "hcall/transport/announce.h"

enum xencomm_device xencomm_device_of(int fd) { return xencomm_device_file_of(fd).device; }

int xencomm_open_device(enum xencomm_device device, int flags) {
  if ((flags & O_DIRECTORY) != 0 || (flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL)) {
    errno = (flags & O_DIRECTORY) != 0 ? ENOTDIR : EEXIST;
    return -1;
  }
  const struct xencomm_devices *const devices = xencomm_enter();
  if (devices == NULL) return -1;
  const int fd = devices->open(device, flags);
  xencomm_leave();
  return fd;
}

/* The event channel device gives and takes whole ports, a page of them at most: what is asked of a
 * descriptor that may be one. Only an unusual count costs a system call. */
enum { kPort = 4, kPage = 4096 };
static size_t whole_ports(int fd, size_t count) {
  if ((count % kPort == 0 && count <= kPage) || !xencomm_active()) return count;
  if (xencomm_device_of(fd) != XENCOMM_EVTCHN) return count;
  return count > kPage ? kPage : count - count % kPort;
}

REAL(read);
SHOWN ssize_t read(int fd, void *bytes, size_t count) {
  const size_t whole = whole_ports(fd, count);
  return whole == 0 && count != 0 ? 0 : real_read(fd, bytes, whole);
}

/* Of fortified programs. */
extern void __chk_fail(void) __attribute__((noreturn));
SHOWN ssize_t __read_chk(int fd, void *bytes, size_t count, size_t room);
SHOWN ssize_t __read_chk(int fd, void *bytes, size_t count, size_t room) {
  if (count > room) __chk_fail();
  return read(fd, bytes, count);
}

/* Into an end that listens nothing is written, and the kernel says so by another error. */
REAL(write);
SHOWN ssize_t write(int fd, const void *bytes, size_t count) {
  const size_t whole = whole_ports(fd, count);
  if (whole == 0 && count != 0) return 0;
  ssize_t result = real_write(fd, bytes, whole);
  if (result < 0 && errno == ENOTCONN && xencomm_device_of(fd) != XENCOMM_NO_DEVICE) errno = EINVAL;
  /* Linux takes ports at once. The machine does as soon as it comes to it. */
  while (result < 0 && errno == EAGAIN && xencomm_device_of(fd) == XENCOMM_EVTCHN) {
    struct pollfd room = {.fd = fd, .events = POLLOUT};
    poll(&room, 1, -1);
    result = real_write(fd, bytes, whole);
  }
  return result;
}

/* Of privcmd, evtchn and gntdev, whose libraries also ask for numbers that are none, to see them
 * refused. */
static bool may_be_of_device(unsigned long request) {
  return _IOC_TYPE(request) == 'P' || _IOC_TYPE(request) == 'E' || _IOC_TYPE(request) == 'G';
}

REAL(ioctl);
SHOWN int ioctl(int fd, unsigned long request, ...) {
  va_list list;
  va_start(list, request);
  void *const argument = va_arg(list, void *);
  va_end(list);
  if (!xencomm_active() || !may_be_of_device(request)) return real_ioctl(fd, request, argument);
  const struct xencomm_device_file file = xencomm_device_file_of(fd);
  if (file.device == XENCOMM_NO_DEVICE) return real_ioctl(fd, request, argument);
  const struct xencomm_devices *const devices = xencomm_enter();
  if (devices == NULL) return -1;
  /* Programs that declare the number as an int pass it with its sign. */
  const bool announces = xencomm_announces != 0;
  if (announces) xencomm_announce((unsigned)request, argument);
  const long result = devices->ioctl(fd, &file, (unsigned)request, argument);
  if (announces) xencomm_announce_end(result < 0 ? -errno : result, 0);
  xencomm_leave();
  return (int)result;
}

/* While it is held, no device is mapped and no mapping goes: the devices hear that one has gone
 * before there can be another in its place. */
static pthread_mutex_t mappings = PTHREAD_MUTEX_INITIALIZER;

static void lock_mappings(void) { pthread_mutex_lock(&mappings); }
static void unlock_mappings(void) { pthread_mutex_unlock(&mappings); }

__attribute__((constructor)) static void leave_no_lock_to_children(void) {
  pthread_atfork(lock_mappings, unlock_mappings, unlock_mappings);
}

/* Whether a mapping's end can concern the devices; then the lock is held. */
static const struct xencomm_devices *begin_change(void) {
  const struct xencomm_devices *const devices = xencomm_active() ? xencomm_enter_used() : NULL;
  if (devices != NULL) lock_mappings();
  return devices;
}

static void end_change(const struct xencomm_devices *devices) {
  if (devices == NULL) return;
  unlock_mappings();
  xencomm_leave();
}

/* What was at these addresses has gone; errno stays. */
static void tell(const struct xencomm_devices *devices, void *address, size_t length) {
  if (devices == NULL || length == 0) return;
  const int before = errno;
  devices->unmapped(address, length);
  errno = before;
}

static void *map_device(const struct xencomm_device_file *file, void *address, size_t length,
                        int protection, int flags, int fd, off_t offset) {
  const struct xencomm_devices *const devices = xencomm_enter();
  if (devices == NULL) return MAP_FAILED;
  lock_mappings();
  void *const mapping = devices->mmap(fd, file, address, length, protection, flags, offset);
  unlock_mappings();
  xencomm_leave();
  return mapping;
}

/* The kernel tries first, so that nobody else's mapping takes longer. It refuses a socket by an
 * error of its own, when it has unmapped what was at a fixed address. */
REAL(mmap);
SHOWN void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
  if (!xencomm_active()) return real_mmap(address, length, protection, flags, fd, offset);
  const int before = errno;
  const struct xencomm_devices *const changed = (flags & MAP_FIXED) != 0 ? begin_change() : NULL;
  void *const mapping = real_mmap(address, length, protection, flags, fd, offset);
  if (mapping != MAP_FAILED) tell(changed, mapping, length);
  end_change(changed);
  if (mapping != MAP_FAILED || errno != ENODEV) return mapping;
  const struct xencomm_device_file file = xencomm_device_file_of(fd);
  if (file.device == XENCOMM_NO_DEVICE) return mapping;
  errno = before;
  return map_device(&file, address, length, protection, flags, fd, offset);
}
ALIAS(mmap64, mmap);

/* Whether the devices refuse that their mappings are changed so. */
static bool is_refused(const struct xencomm_devices *devices, void *address, size_t length,
                       size_t new_length) {
  const int error = devices == NULL ? 0 : devices->may_change(address, length, new_length);
  if (error != 0) errno = error;
  return error != 0;
}

REAL(munmap);
SHOWN int munmap(void *address, size_t length) {
  const struct xencomm_devices *const changed = begin_change();
  const int result = is_refused(changed, address, length, 0) ? -1 : real_munmap(address, length);
  if (result == 0) tell(changed, address, length);
  end_change(changed);
  return result;
}

REAL(mremap);
SHOWN void *mremap(void *address, size_t length, size_t new_length, int flags, ...) {
  void *new_address = NULL;
  if ((flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) != 0) {
    va_list list;
    va_start(list, flags);
    new_address = va_arg(list, void *);
    va_end(list);
  }
  const struct xencomm_devices *const changed = begin_change();
  void *const mapping = is_refused(changed, address, length, new_length)
                            ? MAP_FAILED
                            : real_mremap(address, length, new_length, flags, new_address);
  if (mapping != MAP_FAILED && mapping != address) {
    tell(changed, address, length);
    if ((flags & MREMAP_FIXED) != 0) tell(changed, mapping, new_length);
  } else if (mapping == address) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t kept = (new_length + page - 1) & ~(page - 1);
    if (kept < length) tell(changed, (char *)address + kept, length - kept);
  }
  end_change(changed);
  return mapping;
}

/* What the devices have open is not the program's to close, and not there when it asks. */
static bool is_own(int fd) { return fd >= 0 && xencomm_own_from(fd) == fd; }

REAL(close);
SHOWN int close(int fd) {
  if (!is_own(fd)) return real_close(fd);
  errno = EBADF;
  return -1;
}

/* Onto another's number the kernel puts nothing while that is being opened. */
REAL(dup2);
SHOWN int dup2(int fd, int number) {
  if (!is_own(number)) return real_dup2(fd, number);
  errno = EBUSY;
  return -1;
}
REAL(dup3);
SHOWN int dup3(int fd, int number, int flags) {
  if (!is_own(number)) return real_dup3(fd, number, flags);
  errno = EBUSY;
  return -1;
}

/* In pieces, between the devices' own. */
REAL(close_range);
SHOWN int close_range(unsigned first, unsigned last, int flags) {
  while (first <= last && first <= INT_MAX) {
    const int own = xencomm_own_from((int)first);
    if (own < 0 || (unsigned)own > last) break;
    if ((unsigned)own > first && real_close_range(first, (unsigned)own - 1, flags) != 0) return -1;
    if ((unsigned)own == last) return 0;
    first = (unsigned)own + 1;
  }
  return real_close_range(first, last, flags);
}
REAL(closefrom);
SHOWN void closefrom(int first) {
  for (int own; (own = xencomm_own_from(first < 0 ? 0 : first)) >= 0; first = own + 1) {
    for (int fd = first < 0 ? 0 : first; fd < own; ++fd) real_close(fd);
  }
  real_closefrom(first);
}

/* Calls that programs make by number, since the C library has, or had, no function for them. */
REAL(syscall);

static long open_by_how(int at, const char *path, const struct open_how *how, size_t size) {
  PLACE_AT(at, path);
  const bool is_path = size >= sizeof(*how) && (how->flags & O_PATH) != 0;
  /* Where `at` is the root of all, or the limit. */
  const bool is_bound =
      size >= sizeof(*how) && (how->resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT)) != 0;
  if (is_bound) return real_syscall(SYS_openat2, at, path, how, size);
  if (place.device == XENCOMM_NO_DEVICE || size < sizeof(*how) || is_path) {
    return real_syscall(SYS_openat2, at, place.path, how, size);
  }
  return xencomm_open_device(place.device, (int)how->flags);
}

SHOWN long syscall(long number, ...) {
  long a[6];
  va_list list;
  va_start(list, number);
  for (size_t i = 0; i < sizeof(a) / sizeof(a[0]); ++i) a[i] = va_arg(list, long);
  va_end(list);
  if (!xencomm_active()) return real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
  switch (number) {
#ifdef SYS_open
    case SYS_open:
      return open((const char *)a[0], (int)a[1], (mode_t)a[2]);
#endif
    case SYS_openat:
      return openat((int)a[0], (const char *)a[1], (int)a[2], (mode_t)a[3]);
    case SYS_openat2:
      return open_by_how((int)a[0], (const char *)a[1], (const struct open_how *)a[2],
                         (size_t)a[3]);
    case SYS_statx:
      return statx((int)a[0], (const char *)a[1], (int)a[2], (unsigned)a[3], (struct statx *)a[4]);
    case SYS_ioctl:
      return ioctl((int)a[0], (unsigned long)a[1], (void *)a[2]);
    case SYS_mmap:
      return (long)mmap((void *)a[0], (size_t)a[1], (int)a[2], (int)a[3], (int)a[4], a[5]);
    case SYS_munmap:
      return munmap((void *)a[0], (size_t)a[1]);
    case SYS_close:
      return close((int)a[0]);
#ifdef SYS_dup2
    case SYS_dup2:
      return dup2((int)a[0], (int)a[1]);
#endif
    case SYS_dup3:
      return dup3((int)a[0], (int)a[1], (int)a[2]);
    case SYS_close_range:
      return close_range((unsigned)a[0], (unsigned)a[1], (int)a[2]);
    default:
      return real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
  }
}
