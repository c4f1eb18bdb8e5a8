// An opening of /dev/xen/xenbus: Linux' own on real Xen (xenbus_device_linux.c), or what serves it
// here.
#ifndef TESTS_XEN_XENBUS_DEVICE_H_
#define TESTS_XEN_XENBUS_DEVICE_H_

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct xenbus_device;

struct xenbus_device *xenbus_open(void);
void xenbus_close(struct xenbus_device *device);
// As write(): how many bytes it took, or a negative errno.
long xenbus_write(struct xenbus_device *device, const void *bytes, size_t length);
// As read(), but that it waits only a while when there is nothing: then 0.
long xenbus_read(struct xenbus_device *device, void *bytes, size_t length);

#ifdef __cplusplus
}
#endif

#endif  // TESTS_XEN_XENBUS_DEVICE_H_
