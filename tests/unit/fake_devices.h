// What the fake library of the devices was asked, for devices_front_test.
#ifndef TESTS_UNIT_FAKE_DEVICES_H_
#define TESTS_UNIT_FAKE_DEVICES_H_

#include <stddef.h>
#include <sys/types.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"  // in C++, of a function that is called as a structure
#include "hcall/devices/devices.h"
#pragma GCC diagnostic pop

#ifdef __cplusplus
extern "C" {
#endif

#define FAKE_UNMAPPED 16
/* Mappings that are remembered. */
#define FAKE_LIVE 16

struct fake_state {
  int opened; /* how often */
  enum xencomm_device device;
  int flags;
  int fails; /* errno of the next open, or 0 */
  /* What the C library itself said of /proc/xen/capabilities when open was called: errno, or 0. */
  int outside;
  int asked; /* how often ioctl was called */
  int fd;
  unsigned long request;
  void *argument;
  int mapped; /* how often */
  int protection, map_flags;
  size_t length;
  off_t offset;
  int refuses_changes; /* errno of the next may_change, or 0 */
  int unmapped;        /* how often */
  struct {
    void *address;
    size_t length;
  } gone[FAKE_UNMAPPED];
  char machine[64];      /* as the environment had it when the library was loaded */
  void *live[FAKE_LIVE]; /* addresses of mappings that have not gone */
  int conflicts;         /* mappings in the place of one that had not gone */
  int own[2];            /* descriptors of its own; 0: none */
};

struct fake_state *fake_devices(void);

#ifdef __cplusplus
}
#endif

#endif  // TESTS_UNIT_FAKE_DEVICES_H_
