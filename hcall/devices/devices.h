/* Xen's kernel devices for a process on a machine: what the preloaded front calls.
 *
 * The front (preload.c) stands between a program and the C library. It knows which paths and which
 * descriptors are devices, and needs no library but C's, since it is in every process; what a
 * device does is in a library of its own, which is loaded when the first device is used.
 */
#ifndef HCALL_DEVICES_DEVICES_H_
#define HCALL_DEVICES_DEVICES_H_

#include <stddef.h>
#include <sys/types.h>

#include "hcall/devices/device_file.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Of the environment: the machine's socket (with the space of calls, as behind "machine:"), and the
 * folder of its files, in which the paths that Linux would serve (/proc/xen, /sys/hypervisor ...)
 * and those that toolstacks write are kept. */
#define XENCOMM_MACHINE_VARIABLE "XENCOMM_MACHINE"
#define XENCOMM_FILES_VARIABLE "XENCOMM_MACHINE_FILES"

/* All as the system calls of their names: -1 and errno. */
struct xencomm_devices {
  /* `flags` as open's: O_CLOEXEC and O_NONBLOCK count. */
  int (*open)(enum xencomm_device device, int flags);
  long (*ioctl)(int fd, const struct xencomm_device_file *file, unsigned long request,
                void *argument);
  /* MAP_FAILED. */
  void *(*mmap)(int fd, const struct xencomm_device_file *file, void *address, size_t length,
                int protection, int flags, off_t offset);
  /* Whether munmap (a new length of 0) or mremap may do so: 0, or the errno of its refusal. */
  int (*may_change)(void *address, size_t length, size_t new_length);
  /* munmap or another mapping has taken the place of what was there. */
  void (*unmapped)(void *address, size_t length);
  /* The lowest descriptor from `from` on that is the devices' own: to the program it is not there.
   * -1: none. At any time, by a signal's handler, too. */
  int (*own_from)(int from);
};

/* Of the library that the front loads. Never null. */
const struct xencomm_devices *xencomm_find_devices(void);

#ifdef __cplusplus
}
#endif

#endif /* HCALL_DEVICES_DEVICES_H_ */
