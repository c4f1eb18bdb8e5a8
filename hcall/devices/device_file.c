#include "hcall/devices/device_file.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

static const char *const names[] = {"privcmd", "hypercall", "evtchn",
                                    "xenbus",  "gntdev",    "gntalloc"};
_Static_assert(XENCOMM_PRIVCMD == 0 && XENCOMM_HYPERCALL == 1 && XENCOMM_EVTCHN == 2 &&
                   XENCOMM_XENBUS == 3 && XENCOMM_GNTDEV == 4 && XENCOMM_GNTALLOC == 5,
               "in the order of their names");

/* The abstract name that a socket's address is, as a string: it ends where the address does. */
static bool copy_name(const struct sockaddr_un *address, socklen_t length, char *name) {
  const size_t start = offsetof(struct sockaddr_un, sun_path) + 1;
  if (length <= start || length > sizeof(*address) || address->sun_path[0] != '\0') return false;
  memcpy(name, address->sun_path + 1, length - start);
  name[length - start] = '\0';
  return true;
}

struct xencomm_device_file xencomm_device_file_of(int fd) {
  struct xencomm_device_file file = {.device = XENCOMM_NO_DEVICE, .access_mode = 0, .id = 0};
  struct sockaddr_un address = {.sun_family = AF_UNSPEC};
  socklen_t length = sizeof(address);
  const int before = errno;
  int result = getsockname(fd, (struct sockaddr *)&address, &length);
  /* An end that listens is at the name itself, one that has connected has none of its own. */
  if (result == 0 && address.sun_family == AF_UNIX && length <= sizeof(address.sun_family)) {
    length = sizeof(address);
    result = getpeername(fd, (struct sockaddr *)&address, &length);
  }
  char name[sizeof(address.sun_path)];
  const size_t prefix = strlen(XENCOMM_DEVICE_NAMES);
  const bool has_name = result == 0 && address.sun_family == AF_UNIX &&
                        copy_name(&address, length, name) &&
                        strncmp(name, XENCOMM_DEVICE_NAMES, prefix) == 0;
  for (int i = 0; has_name && i < (int)(sizeof(names) / sizeof(names[0])); ++i) {
    const char *const device = name + prefix;
    const size_t size = strlen(names[i]);
    if (strncmp(device, names[i], size) != 0 || device[size] != '/') continue;
    char *rest;
    file.id = strtoull(device + size + 1, &rest, 10);
    if (rest == device + size + 1 || *rest != '/') break;
    file.access_mode = (int)strtol(rest + 1, NULL, 10);
    file.device = (enum xencomm_device)i;
  }
  errno = before;
  return file;
}
