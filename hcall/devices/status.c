/* The status of files and descriptors, in which a device is a character device. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "hcall/devices/preload.h"

/* Linux gives its miscellaneous devices numbers as they come, from the highest down. */
#define MISC_MAJOR 10
#define HIGHEST_MINOR 127

static unsigned minor_of(enum xencomm_device device) { return HIGHEST_MINOR - (unsigned)device; }

REAL(stat);
REAL(lstat);
REAL(fstat);
REAL(fstatat);
REAL(statx);

static int show(struct xencomm_place place, int result, struct stat *status) {
  if (result != 0 || !place.is_node) return result;
  status->st_mode = S_IFCHR | (status->st_mode & 07777);
  status->st_rdev = makedev(MISC_MAJOR, minor_of(place.device));
  status->st_size = 0;
  status->st_blocks = 0;
  return result;
}

SHOWN int stat(const char *path, struct stat *status) {
  PLACE(path);
  return show(place, real_stat(place.path, status), status);
}

SHOWN int lstat(const char *path, struct stat *status) {
  PLACE(path);
  return show(place, real_lstat(place.path, status), status);
}

/* The node of the device that a descriptor is, when what was found is a socket; or null. */
static const char *node_of(int fd, mode_t mode) {
  return S_ISSOCK(mode) && xencomm_active() ? xencomm_node(xencomm_device_of(fd)) : NULL;
}

/* A descriptor of a device has the status of its node, which is in the machine's files. */
static int show_descriptor(int fd, int result, struct stat *status) {
  const char *const node = result == 0 ? node_of(fd, status->st_mode) : NULL;
  return node == NULL ? result : stat(node, status);
}

SHOWN int fstat(int fd, struct stat *status) {
  xencomm_active();
  return show_descriptor(fd, real_fstat(fd, status), status);
}

static bool is_own(const char *path) { return path == NULL || path[0] == '\0'; }

SHOWN int fstatat(int at, const char *path, struct stat *status, int flags) {
  PLACE_AT(at, path);
  const int result = real_fstatat(at, place.path, status, flags);
  return is_own(path) ? show_descriptor(at, result, status) : show(place, result, status);
}

SHOWN int statx(int at, const char *path, int flags, unsigned mask, struct statx *status) {
  PLACE_AT(at, path);
  const int result = real_statx(at, place.path, flags, mask, status);
  const char *const node = result == 0 && is_own(path) ? node_of(at, status->stx_mode) : NULL;
  if (node != NULL) return statx(AT_FDCWD, node, flags, mask, status);
  if (result != 0 || !place.is_node) return result;
  status->stx_mode = (uint16_t)(S_IFCHR | (status->stx_mode & 07777));
  status->stx_rdev_major = MISC_MAJOR;
  status->stx_rdev_minor = minor_of(place.device);
  status->stx_size = 0;
  status->stx_blocks = 0;
  return result;
}

ALIAS(stat64, stat);
ALIAS(lstat64, lstat);
ALIAS(fstat64, fstat);
ALIAS(fstatat64, fstatat);

/* As programs that are older than glibc 2.33 know them; 0 and 1 are the same structure. */
int __xstat(int version, const char *path, struct stat *status);
int __lxstat(int version, const char *path, struct stat *status);
int __fxstat(int version, int fd, struct stat *status);
int __fxstatat(int version, int at, const char *path, struct stat *status, int flags);

static bool is_version(int version) {
  if (version == 0 || version == 1) return true;
  errno = EINVAL;
  return false;
}

SHOWN int __xstat(int version, const char *path, struct stat *status) {
  return is_version(version) ? stat(path, status) : -1;
}

SHOWN int __lxstat(int version, const char *path, struct stat *status) {
  return is_version(version) ? lstat(path, status) : -1;
}

SHOWN int __fxstat(int version, int fd, struct stat *status) {
  return is_version(version) ? fstat(fd, status) : -1;
}

SHOWN int __fxstatat(int version, int at, const char *path, struct stat *status, int flags) {
  return is_version(version) ? fstatat(at, path, status, flags) : -1;
}

HIDDEN_ALIAS(__xstat64, __xstat);
HIDDEN_ALIAS(__lxstat64, __lxstat);
HIDDEN_ALIAS(__fxstat64, __fxstat);
HIDDEN_ALIAS(__fxstatat64, __fxstatat);
