/* What the front's files share: the C library's own functions, where a path leads, and the devices.
 *
 * Rules of every function that stands in for one of the C library's:
 *  - Without the two variables in the environment, and when the library of the devices calls, it
 *    does what the C library's does.
 *  - It allocates nothing, and leaves errno alone when it succeeds.
 *  - What is neither kept nor a device goes on as it came.
 */
#ifndef HCALL_DEVICES_PRELOAD_H_
#define HCALL_DEVICES_PRELOAD_H_

#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>

#include "hcall/devices/devices.h"
#include "hcall/devices/places.h"

#pragma GCC visibility push(hidden)

#define SHOWN __attribute__((visibility("default")))

/* Defines real_NAME, the C library's function. It is found at the start; xencomm_active sees to
 * that, and so does whatever asks for a path. */
struct xencomm_real {
  void **function;
  const char *name;
};
#define REAL(name)                                                                            \
  static __typeof__(name) *real_##name;                                                       \
  __attribute__((used,                                                                        \
                 section("xencomm_reals"))) static const struct xencomm_real entry_##name = { \
      (void **)(void *)&real_##name, #name}

/* Another name of the same function: that of 64 bits, whose types are the ordinary ones; or one
 * that no header has. */
#define ALIAS(also, name) \
  extern __typeof__(also) also __attribute__((alias(#name), visibility("default")))
#define HIDDEN_ALIAS(also, name) \
  extern __typeof__(name) also   \
      __attribute__((ATTRIBUTES_OF(name) alias(#name), visibility("default")))
#if __has_attribute(copy)
#define ATTRIBUTES_OF(name) copy(name),
#else
#define ATTRIBUTES_OF(name)
#endif

/* Whether there is a machine, for this call. */
bool xencomm_active(void);

/* `room` has `size` bytes, and the place may be in it: xencomm_room(path), or xencomm_absolute_room
 * if a relative path is not one in `folder`. That is a descriptor, or AT_FDCWD; which folder it is,
 * is asked only when the path can lead from there into a kept one, or out. */
size_t xencomm_room(const char *path);
size_t xencomm_absolute_room(const char *path);
struct xencomm_place xencomm_place_at(int folder, const char *path, char *room, size_t size);

#define PLACE_AT(folder, path)        \
  char path_room[xencomm_room(path)]; \
  const struct xencomm_place place = xencomm_place_at(folder, path, path_room, sizeof(path_room))
#define PLACE(path) PLACE_AT(AT_FDCWD, path)

/* For what does no more with a device than with the file that shows it. */
static inline const char *xencomm_served(int folder, const char *path, char *room, size_t size) {
  return xencomm_place_at(folder, path, room, size).path;
}
#define SERVE_AT(folder, path)          \
  char path##_room[xencomm_room(path)]; \
  path = xencomm_served(folder, path, path##_room, sizeof(path##_room))
#define SERVE(path) SERVE_AT(AT_FDCWD, path)
#define SERVE_ABSOLUTE(path)                     \
  char path##_room[xencomm_absolute_room(path)]; \
  path = xencomm_served(AT_FDCWD, path, path##_room, sizeof(path##_room))

/* What a name in the machine's files is outside of them: the rest of `name`, of `length` bytes in
 * all; else null. */
const char *xencomm_outside(const char *name, size_t length);
/* The folder of the machine's files, without a slash at the end. */
const char *xencomm_files(void);

/* The functions of the devices, or null and ENODEV, with a sentence at the first time; what a
 * thread calls from here to xencomm_leave is the C library's own. */
const struct xencomm_devices *xencomm_enter(void);
/* The same, but null, too, when this process has used no device. */
const struct xencomm_devices *xencomm_enter_used(void);
void xencomm_leave(void);

/* The lowest descriptor from `from` on that is the devices' own; -1: none. */
int xencomm_own_from(int from);

/* As open() of the device. */
int xencomm_open_device(enum xencomm_device device, int flags);
/* Which device a descriptor is; errno is left alone. */
enum xencomm_device xencomm_device_of(int fd);

/* An environment for a program: `theirs`, and what it lacks to be on the machine, too. `room` has
 * place for xencomm_environment_room(theirs) pointers. */
size_t xencomm_environment_room(char *const *theirs);
char **xencomm_environment(char *const *theirs, char **room);
/* The same of this program's own, for what the C library starts by itself. */
void xencomm_restore_environment(void);

#pragma GCC visibility pop

#endif /* HCALL_DEVICES_PRELOAD_H_ */
