/* Which paths are a machine's: what both fronts know of them.
 */
#ifndef HCALL_DEVICES_PLACES_H_
#define HCALL_DEVICES_PLACES_H_

#include <stdbool.h>
#include <stddef.h>

#include "hcall/transport/machine/device_names.h"

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(hidden)

/* Where a path leads: as it came, or into the machine's files, which also show the devices. */
struct xencomm_place {
  const char *path;
  enum xencomm_device device;
  bool is_node; /* in /dev */
};

/* Whether a path that begins with this component can lead from another folder into a kept path, or
 * out of one. */
bool xencomm_may_cross(const char *component, size_t length);

/* Where `path` leads, whose first `left` bytes count. `absolute` has `length` bytes of the folder
 * that a relative path is in, room for the path and 2 bytes more, and before it for `files`, the
 * folder of the machine's files; the place may be there. What leads out of that folder, from
 * `is_inside` or on its way, has an absolute path, too. */
struct xencomm_place xencomm_place_in(const char *files, char *absolute, size_t length,
                                      const char *path, size_t left, bool is_inside);

/* What a name in the machine's files is outside of them: the rest of `name`, of `length` bytes in
 * all; else null. */
const char *xencomm_outside_of(const char *files, const char *name, size_t length);

/* A device's path in /dev; null: it is none. */
const char *xencomm_node(enum xencomm_device device);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif /* HCALL_DEVICES_PLACES_H_ */
