/* A library of the devices that only remembers what it was asked. */
#include "tests/unit/fake_devices.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static const char *const names[] = {"privcmd", "hypercall", "evtchn",
                                    "xenbus",  "gntdev",    "gntalloc"};
static struct fake_state remembered;

struct fake_state *fake_devices(void) {
  return &remembered;
}

/* One end of a connection to a name of our own. What is written to it comes back from the other
 * end, which stays open. */
static int fake_open(enum xencomm_device device, int flags) {
  ++remembered.opened;
  remembered.device = device;
  remembered.flags = flags;
  remembered.outside = access("/proc/xen/capabilities", R_OK) == 0 ? 0 : errno;
  if (remembered.fails != 0) {
    errno = remembered.fails;
    remembered.fails = 0;
    return -1;
  }
  struct sockaddr_un name = {.sun_family = AF_UNIX};
  const int length =
      snprintf(name.sun_path + 1, sizeof(name.sun_path) - 1, "%s%s/%d/%d/%d", XENCOMM_DEVICE_NAMES,
               names[device], remembered.opened, flags & O_ACCMODE, getpid());
  const socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
  /* The program's descriptor is the lowest that is free, as of any open. */
  const int fd = socket(AF_UNIX, SOCK_STREAM | ((flags & O_CLOEXEC) != 0 ? SOCK_CLOEXEC : 0), 0);
  const int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int other = -1;
  if (bind(listening, (struct sockaddr *)&name, size) != 0 || listen(listening, 1) != 0 ||
      connect(fd, (struct sockaddr *)&name, size) != 0 ||
      (other = accept4(listening, NULL, NULL, SOCK_CLOEXEC)) < 0 ||
      write(other, names[device], 3) != 3) {
    abort();
  }
  shutdown(other, SHUT_WR);
  fcntl(other, F_DUPFD_CLOEXEC, 200); /* out of the program's way */
  close(other);
  close(listening);
  return fd;
}

static long fake_ioctl(int fd, const struct xencomm_device_file *file, unsigned long request,
                       void *argument) {
  ++remembered.asked;
  remembered.fd = fd;
  remembered.device = file->device;
  remembered.request = request;
  remembered.argument = argument;
  return 42;
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Where an address is remembered, or null. */
static void **live(void *address) {
  for (int i = 0; i < FAKE_LIVE; ++i) {
    if (remembered.live[i] == address) return &remembered.live[i];
  }
  return NULL;
}

static void *fake_mmap(int fd, const struct xencomm_device_file *file, void *address, size_t length,
                       int protection, int flags, off_t offset) {
  ++remembered.mapped;
  remembered.fd = fd;
  remembered.device = file->device;
  remembered.length = length;
  remembered.protection = protection;
  remembered.map_flags = flags;
  remembered.offset = offset;
  void *const mapping = mmap(address, length, protection, flags | MAP_ANONYMOUS, -1, 0);
  pthread_mutex_lock(&lock);
  void **place = live(mapping);
  remembered.conflicts += place != NULL;
  if (place == NULL) place = live(NULL);
  if (place != NULL) *place = mapping;
  pthread_mutex_unlock(&lock);
  return mapping;
}

static int fake_may_change(void *address, size_t length, size_t new_length) {
  (void)address, (void)length, (void)new_length;
  const int error = remembered.refuses_changes;
  remembered.refuses_changes = 0;
  return error;
}

static void fake_unmapped(void *address, size_t length) {
  pthread_mutex_lock(&lock);
  void **const place = live(address);
  if (place != NULL) *place = NULL;
  pthread_mutex_unlock(&lock);
  if (remembered.unmapped < FAKE_UNMAPPED) {
    remembered.gone[remembered.unmapped].address = address;
    remembered.gone[remembered.unmapped].length = length;
  }
  ++remembered.unmapped;
  errno = EXDEV; /* which nobody shall see */
}

static int fake_own_from(int from) {
  for (int i = 0; i < 2; ++i) {
    if (remembered.own[i] != 0 && remembered.own[i] >= from) return remembered.own[i];
  }
  return -1;
}

const struct xencomm_devices *xencomm_find_devices(void) {
  static const struct xencomm_devices devices = {fake_open,       fake_ioctl,    fake_mmap,
                                                 fake_may_change, fake_unmapped, fake_own_from};
  const char *const machine = getenv(XENCOMM_MACHINE_VARIABLE);
  snprintf(remembered.machine, sizeof(remembered.machine), "%s", machine == NULL ? "" : machine);
  return &devices;
}
