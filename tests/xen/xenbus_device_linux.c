#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "tests/xen/xenbus_device.h"

struct xenbus_device {
  int fd;
};

enum { kWhile = 1000 };  // milliseconds

struct xenbus_device *xenbus_open(void) {
  struct xenbus_device *device = calloc(1, sizeof(*device));
  device->fd = open("/dev/xen/xenbus", O_RDWR | O_CLOEXEC);
  if (device->fd < 0) {
    perror("/dev/xen/xenbus");
    exit(1);
  }
  return device;
}

void xenbus_close(struct xenbus_device *device) {
  close(device->fd);
  free(device);
}

long xenbus_write(struct xenbus_device *device, const void *bytes, size_t length) {
  const ssize_t taken = write(device->fd, bytes, length);
  return taken < 0 ? -errno : taken;
}

long xenbus_read(struct xenbus_device *device, void *bytes, size_t length) {
  struct pollfd ready = {.fd = device->fd, .events = POLLIN};
  if (poll(&ready, 1, kWhile) == 0) return 0;
  const ssize_t taken = read(device->fd, bytes, length);
  return taken < 0 ? -errno : taken;
}
