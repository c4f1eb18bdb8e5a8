#include "hcall/devices/places.h"

#include <string.h>

#include "hcall/devices/kept_paths.h"

static const char *const kept_paths[] = {XENCOMM_KEPT_PATHS};
#define KEPT_PATHS (sizeof(kept_paths) / sizeof(kept_paths[0]))

/* Linux has nodes in /dev/xen; in /proc/xen, a file system of its own, these are plain files. */
static const struct {
  const char *path;
  enum xencomm_device device;
  bool is_node;
} devices[] = {
    {"/dev/xen/privcmd", XENCOMM_PRIVCMD, true},   {"/dev/xen/hypercall", XENCOMM_HYPERCALL, true},
    {"/dev/xen/evtchn", XENCOMM_EVTCHN, true},     {"/dev/xen/xenbus", XENCOMM_XENBUS, true},
    {"/dev/xen/gntdev", XENCOMM_GNTDEV, true},     {"/dev/xen/gntalloc", XENCOMM_GNTALLOC, true},
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
bool xencomm_may_cross(const char *component, size_t length) {
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
 * long it is then, and whether it was in a kept path on its way. */
static size_t add(char *to, size_t written, const char *path, size_t length, bool *was_kept) {
  const char *const end = path + length;
  while (path < end) {
    while (path < end && *path == '/') ++path;
    const char *const component = path;
    while (path < end && *path != '/') ++path;
    const size_t size = (size_t)(path - component);
    if (size == 2 && memcmp(component, "..", 2) == 0) {
      *was_kept |= is_kept(to, written);
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

struct xencomm_place xencomm_place_in(const char *files, char *absolute, size_t length,
                                      const char *path, size_t left, bool is_inside) {
  struct xencomm_place place = {path, XENCOMM_NO_DEVICE, false};
  length = add(absolute, length, path, strnlen(path, left), &is_inside);
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
  const size_t before = strlen(files);
  place.path = memcpy(absolute - before, files, before);
  return place;
}

const char *xencomm_outside_of(const char *files, const char *name, size_t length) {
  const size_t before = strlen(files);
  const bool inside = length > before && memcmp(name, files, before) == 0;
  return inside && is_kept(name + before, length - before) ? name + before : NULL;
}

const char *xencomm_node(enum xencomm_device device) {
  for (size_t i = 0; i < DEVICES; ++i) {
    if (devices[i].device == device && devices[i].is_node) return devices[i].path;
  }
  return NULL;
}
