/* Which paths are a machine's. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "hcall/devices/kept_paths.h"
#include "hcall/devices/preload.h"

static const char *const kept_paths[] = {XENCOMM_KEPT_PATHS};
#define KEPT_PATHS (sizeof(kept_paths) / sizeof(kept_paths[0]))

REAL(readlinkat);
REAL(syscall);

/* Linux has nodes in /dev/xen; in /proc/xen, a file system of its own, these are plain files. */
static const struct {
  const char *path;
  enum xencomm_device device;
  bool is_node;
} devices[] = {
    {"/dev/xen/privcmd", XENCOMM_PRIVCMD, true},   {"/dev/xen/hypercall", XENCOMM_HYPERCALL, true},
    {"/dev/xen/evtchn", XENCOMM_EVTCHN, true},     {"/dev/xen/xenbus", XENCOMM_XENBUS, true},
    {"/proc/xen/privcmd", XENCOMM_PRIVCMD, false}, {"/proc/xen/xenbus", XENCOMM_XENBUS, false},
};
#define DEVICES (sizeof(devices) / sizeof(devices[0]))

/* Whether `name`, of `length` bytes, is a kept path or lies in one. */
static bool is_kept(const char *name, size_t length) {
  for (size_t i = 0; i < KEPT_PATHS; ++i) {
    size_t kept = strlen(kept_paths[i]);
    const bool open_end = kept_paths[i][kept - 1] == '*';
    kept -= open_end;
    if (length >= kept && memcmp(name, kept_paths[i], kept) == 0 &&
        (open_end || length == kept || name[kept] == '/')) {
      return true;
    }
  }
  return false;
}

/* Whether a path that begins with this component can lead from another folder into a kept path, or
 * out of one. */
static bool may_cross(const char *component, size_t length) {
  if (length == 2 && memcmp(component, "..", 2) == 0) return true;
  for (size_t i = 0; i < DEVICES; ++i) {
    const char *const name = strrchr(devices[i].path, '/') + 1;
    if (strlen(name) == length && memcmp(component, name, length) == 0) return true;
  }
  for (size_t i = 0; i < KEPT_PATHS; ++i) {
    for (const char *kept = kept_paths[i]; kept != NULL; kept = strchr(kept, '/')) {
      ++kept;
      size_t same = 0;
      while (same < length && kept[same] == component[same]) ++same;
      const char next = kept[same];
      if (next == '*' || (same == length && (next == '/' || next == '\0'))) return true;
    }
  }
  return false;
}

/* Adds a path to the one of `written` bytes, without "//", "." and "..", as the kernel reads it
 * when no component is a link; a slash at the end stays, since it asks for a folder. Answers how
 * long it is then. */
static size_t add(char *to, size_t written, const char *path, size_t length) {
  const char *const end = path + length;
  while (path < end) {
    while (path < end && *path == '/') ++path;
    const char *const component = path;
    while (path < end && *path != '/') ++path;
    const size_t size = (size_t)(path - component);
    if (size == 2 && memcmp(component, "..", 2) == 0) {
      while (written > 0 && to[--written] != '/') {
      }
    } else if (size != 0 && (size != 1 || *component != '.')) {
      to[written++] = '/';
      memcpy(to + written, component, size);
      written += size;
      continue;
    }
    if (path == end) to[written++] = '/';
  }
  return written;
}

/* /var/run and /var/lock are links on Debian. Answers where the path begins then. */
static char *follow_links(char *path) {
  if (strncmp(path, "/var/run/", 9) == 0) return path + 4;
  if (strncmp(path, "/var/lock/", 10) == 0) memcpy(path, "/run", 4);
  return path;
}

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
  if (length == PATH_MAX || !may_cross(component, strcspn(component, "/"))) return 1;
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
  length = add(absolute, length, path, strnlen(path, left));
  absolute[length] = '\0';
  absolute = follow_links(absolute);
  if (!is_kept(absolute, strlen(absolute))) {
    if (is_inside) place.path = absolute;
    return place;
  }
  for (size_t i = 0; i < DEVICES; ++i) {
    if (strcmp(absolute, devices[i].path) == 0) {
      place.device = devices[i].device;
      place.is_node = devices[i].is_node;
    }
  }
  place.path = memcpy(absolute - files, xencomm_files(), files);
  return place;
}

const char *xencomm_outside(const char *name, size_t length) {
  const size_t files = strlen(xencomm_files());
  const bool inside = length > files && memcmp(name, xencomm_files(), files) == 0;
  return inside && is_kept(name + files, length - files) ? name + files : NULL;
}

const char *xencomm_node(enum xencomm_device device) {
  for (size_t i = 0; i < DEVICES; ++i) {
    if (devices[i].device == device && devices[i].is_node) return devices[i].path;
  }
  return NULL;
}
