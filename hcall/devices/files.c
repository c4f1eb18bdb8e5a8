/* What a program does with a file by its path, but for opening it and asking for its status. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>

#include "hcall/devices/preload.h"

/* A function of one path. */
#define OF_PATH(type, name, parameters, arguments) \
  REAL(name);                                      \
  SHOWN type name parameters {                     \
    SERVE(path);                                   \
    return real_##name arguments;                  \
  }
/* The same, of a path in the folder `at`. */
#define OF_PATH_AT(type, name, parameters, arguments) \
  REAL(name);                                         \
  SHOWN type name parameters {                        \
    SERVE_AT(at, path);                               \
    return real_##name arguments;                     \
  }

OF_PATH(int, access, (const char *path, int mode), (path, mode))
OF_PATH(int, eaccess, (const char *path, int mode), (path, mode))
OF_PATH(int, euidaccess, (const char *path, int mode), (path, mode))
OF_PATH_AT(int, faccessat, (int at, const char *path, int mode, int flags), (at, path, mode, flags))
OF_PATH(int, chdir, (const char *path), (path))
OF_PATH(int, mkdir, (const char *path, mode_t mode), (path, mode))
OF_PATH_AT(int, mkdirat, (int at, const char *path, mode_t mode), (at, path, mode))
OF_PATH(int, rmdir, (const char *path), (path))
OF_PATH(int, unlink, (const char *path), (path))
OF_PATH_AT(int, unlinkat, (int at, const char *path, int flags), (at, path, flags))
OF_PATH(int, remove, (const char *path), (path))
OF_PATH(int, mkfifo, (const char *path, mode_t mode), (path, mode))
OF_PATH_AT(int, mkfifoat, (int at, const char *path, mode_t mode), (at, path, mode))
OF_PATH(int, mknod, (const char *path, mode_t mode, dev_t device), (path, mode, device))
OF_PATH_AT(int, mknodat, (int at, const char *path, mode_t mode, dev_t device),
           (at, path, mode, device))
OF_PATH(int, chmod, (const char *path, mode_t mode), (path, mode))
OF_PATH(int, lchmod, (const char *path, mode_t mode), (path, mode))
OF_PATH_AT(int, fchmodat, (int at, const char *path, mode_t mode, int flags),
           (at, path, mode, flags))
OF_PATH(int, chown, (const char *path, uid_t user, gid_t group), (path, user, group))
OF_PATH(int, lchown, (const char *path, uid_t user, gid_t group), (path, user, group))
OF_PATH_AT(int, fchownat, (int at, const char *path, uid_t user, gid_t group, int flags),
           (at, path, user, group, flags))
OF_PATH(int, utime, (const char *path, const struct utimbuf *times), (path, times))
OF_PATH(int, utimes, (const char *path, const struct timeval times[2]), (path, times))
OF_PATH(int, lutimes, (const char *path, const struct timeval times[2]), (path, times))
OF_PATH_AT(int, futimesat, (int at, const char *path, const struct timeval times[2]),
           (at, path, times))
OF_PATH_AT(int, utimensat, (int at, const char *path, const struct timespec times[2], int flags),
           (at, path, times, flags))
OF_PATH(int, truncate, (const char *path, off_t length), (path, length))
OF_PATH(int, statfs, (const char *path, struct statfs *status), (path, status))
OF_PATH(int, statvfs, (const char *path, struct statvfs *status), (path, status))
OF_PATH(long, pathconf, (const char *path, int name), (path, name))
OF_PATH(key_t, ftok, (const char *path, int number), (path, number))
OF_PATH(int, inotify_add_watch, (int fd, const char *path, uint32_t mask), (fd, path, mask))
OF_PATH(int, setxattr,
        (const char *path, const char *name, const void *value, size_t size, int flags),
        (path, name, value, size, flags))
OF_PATH(int, lsetxattr,
        (const char *path, const char *name, const void *value, size_t size, int flags),
        (path, name, value, size, flags))
OF_PATH(ssize_t, getxattr, (const char *path, const char *name, void *value, size_t size),
        (path, name, value, size))
OF_PATH(ssize_t, lgetxattr, (const char *path, const char *name, void *value, size_t size),
        (path, name, value, size))
OF_PATH(ssize_t, listxattr, (const char *path, char *list, size_t size), (path, list, size))
OF_PATH(ssize_t, llistxattr, (const char *path, char *list, size_t size), (path, list, size))
OF_PATH(int, removexattr, (const char *path, const char *name), (path, name))
OF_PATH(int, lremovexattr, (const char *path, const char *name), (path, name))

/* As old programs know mknod. */
int __xmknod(int version, const char *path, mode_t mode, dev_t *device);
int __xmknodat(int version, int at, const char *path, mode_t mode, dev_t *device);

SHOWN int __xmknodat(int version, int at, const char *path, mode_t mode, dev_t *device) {
  if (version == 0) return mknodat(at, path, mode, *device);
  errno = EINVAL;
  return -1;
}

SHOWN int __xmknod(int version, const char *path, mode_t mode, dev_t *device) {
  return __xmknodat(version, AT_FDCWD, path, mode, device);
}

ALIAS(truncate64, truncate);
ALIAS(statfs64, statfs);
HIDDEN_ALIAS(__statfs, statfs);
ALIAS(statvfs64, statvfs);

/* A function of two paths, each in a folder. */
#define OF_PATHS(name, parameters, arguments) \
  REAL(name);                                 \
  SHOWN int name parameters {                 \
    SERVE(from);                              \
    SERVE(to);                                \
    return real_##name arguments;             \
  }
#define OF_PATHS_AT(name, parameters, arguments) \
  REAL(name);                                    \
  SHOWN int name parameters {                    \
    SERVE_AT(from_at, from);                     \
    SERVE_AT(to_at, to);                         \
    return real_##name arguments;                \
  }

OF_PATHS(rename, (const char *from, const char *to), (from, to))
OF_PATHS(link, (const char *from, const char *to), (from, to))
OF_PATHS_AT(renameat, (int from_at, const char *from, int to_at, const char *to),
            (from_at, from, to_at, to))
OF_PATHS_AT(renameat2, (int from_at, const char *from, int to_at, const char *to, unsigned flags),
            (from_at, from, to_at, to, flags))
OF_PATHS_AT(linkat, (int from_at, const char *from, int to_at, const char *to, int flags),
            (from_at, from, to_at, to, flags))

/* What a link in the machine's files leads to would be sought outside of them. */
REAL(symlink);
SHOWN int symlink(const char *target, const char *path) {
  SERVE_ABSOLUTE(target);
  SERVE(path);
  return real_symlink(target, path);
}

REAL(symlinkat);
SHOWN int symlinkat(const char *target, int at, const char *path) {
  SERVE_ABSOLUTE(target);
  SERVE_AT(at, path);
  return real_symlinkat(target, at, path);
}

REAL(readlink);
REAL(readlinkat);

/* `length` bytes were read of the link; what leads into the machine's files is shown as it is seen
 * from outside. */
static ssize_t show_link(int at, const char *path, char *buffer, size_t size, ssize_t length) {
  const size_t files = xencomm_active() ? strlen(xencomm_files()) : 0;
  if (length <= 0 || files == 0) return length;
  const size_t common = (size_t)length < files ? (size_t)length : files;
  if (memcmp(buffer, xencomm_files(), common) != 0) return length;

  char whole[PATH_MAX];
  const ssize_t whole_length = real_readlinkat(at, path, whole, sizeof(whole));
  if (whole_length < 0) return -1;
  const char *const outside = xencomm_outside(whole, (size_t)whole_length);
  if (outside == NULL) return length;
  const size_t rest = (size_t)(whole + whole_length - outside);
  const size_t shown = rest < size ? rest : size;
  memcpy(buffer, outside, shown);
  return (ssize_t)shown;
}

SHOWN ssize_t readlink(const char *path, char *buffer, size_t size) {
  SERVE(path);
  return show_link(AT_FDCWD, path, buffer, size, real_readlink(path, buffer, size));
}

SHOWN ssize_t readlinkat(int at, const char *path, char *buffer, size_t size) {
  SERVE_AT(at, path);
  return show_link(at, path, buffer, size, real_readlinkat(at, path, buffer, size));
}

/* The fortified ones are told how large the buffer is, and end the program that has it wrong. */
ssize_t __readlink_chk(const char *path, char *buffer, size_t size, size_t real_size);
ssize_t __readlinkat_chk(int at, const char *path, char *buffer, size_t size, size_t real_size);
char *__realpath_chk(const char *path, char *resolved, size_t real_size);
REAL(__readlink_chk);
REAL(__readlinkat_chk);
REAL(__realpath_chk);

SHOWN ssize_t __readlink_chk(const char *path, char *buffer, size_t size, size_t real_size) {
  SERVE(path);
  return show_link(AT_FDCWD, path, buffer, size,
                   real___readlink_chk(path, buffer, size, real_size));
}

SHOWN ssize_t __readlinkat_chk(int at, const char *path, char *buffer, size_t size,
                               size_t real_size) {
  SERVE_AT(at, path);
  return show_link(at, path, buffer, size,
                   real___readlinkat_chk(at, path, buffer, size, real_size));
}

/* A resolved name, as it is seen from outside of the machine's files. */
static char *show_name(char *name) {
  if (name == NULL || !xencomm_active()) return name;
  const char *const outside = xencomm_outside(name, strlen(name));
  if (outside != NULL) memmove(name, outside, strlen(outside) + 1);
  return name;
}

REAL(realpath);
REAL(canonicalize_file_name);

SHOWN char *realpath(const char *path, char *resolved) {
  SERVE(path);
  return show_name(real_realpath(path, resolved));
}

SHOWN char *__realpath_chk(const char *path, char *resolved, size_t real_size) {
  SERVE(path);
  return show_name(real___realpath_chk(path, resolved, real_size));
}

SHOWN char *canonicalize_file_name(const char *path) {
  SERVE(path);
  return show_name(real_canonicalize_file_name(path));
}

REAL(getcwd);
SHOWN char *getcwd(char *buffer, size_t size) {
  xencomm_active();
  return show_name(real_getcwd(buffer, size));
}

char *__getcwd_chk(char *buffer, size_t size, size_t real_size);
REAL(__getcwd_chk);
SHOWN char *__getcwd_chk(char *buffer, size_t size, size_t real_size) {
  xencomm_active();
  return show_name(real___getcwd_chk(buffer, size, real_size));
}

/* Where a template of a name leads: the same six X's before `suffix` bytes, which take_letters then
 * brings back. */
#define X_COUNT 6

static char *serve_template(char *template, int suffix, char *room, size_t size) {
  if (size == 1 || suffix < 0) return template;
  const size_t tail = (size_t)suffix + X_COUNT;
  const char *const served = xencomm_place_at(AT_FDCWD, template, room, size).path;
  const size_t length = strlen(template);
  const size_t served_length = strlen(served);
  if (served == template || tail > length || tail > served_length ||
      strcmp(template + length - tail, served + served_length - tail) != 0) {
    return template;
  }
  return room + (served - room);
}

static void take_letters(char *template, int suffix, const char *served) {
  if (served == template) return;
  const size_t tail = (size_t)suffix + X_COUNT;
  memcpy(template + strlen(template) - tail, served + strlen(served) - tail, X_COUNT);
}

#define OF_TEMPLATE(name, parameters, suffix, ...)                             \
  REAL(name);                                                                  \
  SHOWN int name parameters {                                                  \
    char room[xencomm_room(template)];                                         \
    char *const served = serve_template(template, suffix, room, sizeof(room)); \
    const int fd = real_##name(served __VA_OPT__(, ) __VA_ARGS__);             \
    take_letters(template, suffix, served);                                    \
    return fd;                                                                 \
  }

OF_TEMPLATE(mkstemp, (char *template), 0)
OF_TEMPLATE(mkostemp, (char *template, int flags), 0, flags)
OF_TEMPLATE(mkstemps, (char *template, int suffix), suffix, suffix)
OF_TEMPLATE(mkostemps, (char *template, int suffix, int flags), suffix, suffix, flags)

ALIAS(mkstemp64, mkstemp);
ALIAS(mkostemp64, mkostemp);
ALIAS(mkstemps64, mkstemps);
ALIAS(mkostemps64, mkostemps);

REAL(mkdtemp);
SHOWN char *mkdtemp(char *template) {
  char room[xencomm_room(template)];
  char *const served = serve_template(template, 0, room, sizeof(room));
  const char *const made = real_mkdtemp(served);
  take_letters(template, 0, served);
  return made == NULL ? NULL : template;
}

REAL(mktemp);
SHOWN char *mktemp(char *template) {
  char room[xencomm_room(template)];
  char *const served = serve_template(template, 0, room, sizeof(room));
  real_mktemp(served);
  if (served[0] == '\0') { /* it found none */
    template[0] = '\0';
  } else {
    take_letters(template, 0, served);
  }
  return template;
}
