/* Which paths are a machine's. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "hcall/devices/preload.h"

REAL(readlinkat);
REAL(syscall);

/* The path of an open folder, or AT_FDCWD, of at most PATH_MAX bytes, without a slash at the end
 * and without a 0; answers its length, or -1. The thread may have its own. */
static ssize_t path_of(int folder, char *path) {
  const int before = errno;
  ssize_t length;
  if (folder == AT_FDCWD) {
    length = real_syscall(SYS_getcwd, path, PATH_MAX) - 1;
  } else {
    char link[40];
    snprintf(link, sizeof(link), "/proc/thread-self/fd/%d", folder);
    length = real_readlinkat(AT_FDCWD, link, path, PATH_MAX);
  }
  errno = before;
  if (length <= 0 || path[0] != '/') return -1;
  return path[length - 1] == '/' ? length - 1 : length;
}

size_t xencomm_absolute_room(const char *path) {
  if (!xencomm_active() || path == NULL || path[0] != '/') return 1;
  /* The kernel refuses what is longer. */
  const size_t length = strnlen(path, PATH_MAX);
  return length == PATH_MAX ? 1 : strlen(xencomm_files()) + length + 2;
}

size_t xencomm_room(const char *path) {
  if (!xencomm_active() || path == NULL) return 1;
  if (path[0] == '/') return xencomm_absolute_room(path);
  const char *component = path;
  while (component[0] == '.' && component[1] == '/') {
    component += 2;
    while (*component == '/') ++component;
  }
  const size_t length = strnlen(path, PATH_MAX);
  if (length == PATH_MAX || !xencomm_may_cross(component, strcspn(component, "/"))) return 1;
  return strlen(xencomm_files()) + PATH_MAX + length + 2;
}

struct xencomm_place xencomm_place_at(int folder, const char *path, char *room, size_t size) {
  struct xencomm_place place = {path, XENCOMM_NO_DEVICE, false};
  if (size == 1) return place;
  const size_t files = strlen(xencomm_files());
  char *absolute = room + files;
  size_t length = 0;
  bool is_inside = false;
  if (path[0] != '/') {
    const ssize_t base = path_of(folder, absolute);
    if (base < 0) return place;
    length = (size_t)base;
    const char *const outside = xencomm_outside(absolute, length);
    is_inside = outside != NULL;
    if (is_inside) {
      length -= (size_t)(outside - absolute);
      memmove(absolute, outside, length);
    }
  }
  const size_t left = size - files - length - 2;
  return xencomm_place_in(xencomm_files(), absolute, length, path, left, is_inside);
}

const char *xencomm_outside(const char *name, size_t length) {
  return xencomm_outside_of(xencomm_files(), name, length);
}
