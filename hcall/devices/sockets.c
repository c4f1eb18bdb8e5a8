/* Sockets whose names lie in the machine's files, as the store's does. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "hcall/devices/preload.h"

typedef int call_by_name(int fd, const struct sockaddr *address, socklen_t length);

/* Calls with the address of a path in the machine's files. One that is longer than an address can
 * be goes by its folder's descriptor. */
static int call_with(call_by_name *call, int fd, const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int folder = -1;
  const size_t length = strlen(path);
  if (length < sizeof(address.sun_path)) {
    memcpy(address.sun_path, path, length);
  } else {
    const char *const name = strrchr(path, '/') + 1;
    char folder_path[length];
    memcpy(folder_path, path, length);
    folder_path[name - path] = '\0';
    folder = open(folder_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) return -1;
    const int written =
        snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", folder, name);
    if (written >= (int)sizeof(address.sun_path)) {
      close(folder);
      errno = ENAMETOOLONG;
      return -1;
    }
  }
  const int result = call(fd, (const struct sockaddr *)&address, sizeof(address));
  if (folder >= 0) close(folder);
  return result;
}

static int call_served(call_by_name *call, int fd, const struct sockaddr *address,
                       socklen_t length) {
  struct sockaddr_un named;
  const size_t begin = offsetof(struct sockaddr_un, sun_path);
  if (!xencomm_active() || address == NULL || length <= begin || length > sizeof(named) ||
      address->sa_family != AF_UNIX) {
    return call(fd, address, length);
  }
  char path_bytes[sizeof(named.sun_path) + 1] = {0};
  memcpy(path_bytes, (const char *)address + begin, length - begin);
  const char *const path = path_bytes;
  PLACE(path);
  return place.path == path ? call(fd, address, length) : call_with(call, fd, place.path);
}

REAL(connect);
SHOWN int connect(int fd, const struct sockaddr *address, socklen_t length) {
  xencomm_active();
  return call_served(real_connect, fd, address, length);
}
HIDDEN_ALIAS(__connect, connect);

REAL(bind);
SHOWN int bind(int fd, const struct sockaddr *address, socklen_t length) {
  xencomm_active();
  return call_served(real_bind, fd, address, length);
}
