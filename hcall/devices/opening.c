/* Opening files, devices and folders. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hcall/devices/preload.h"

/* Whether open is told a mode. */
static bool may_create(int flags) {
  return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
}

/* What opens: with O_PATH, the file that shows the device. */
static bool opens_device(struct xencomm_place place, int flags) {
  return place.device != XENCOMM_NO_DEVICE && (flags & O_PATH) == 0;
}

#define TAKE_MODE(flags, mode)   \
  mode_t mode = 0;               \
  if (may_create(flags)) {       \
    va_list list;                \
    va_start(list, flags);       \
    mode = va_arg(list, mode_t); \
    va_end(list);                \
  }

REAL(open);
REAL(openat);
REAL(creat);

SHOWN int open(const char *path, int flags, ...) {
  TAKE_MODE(flags, mode);
  PLACE(path);
  return opens_device(place, flags) ? xencomm_open_device(place.device, flags)
                                    : real_open(place.path, flags, mode);
}

SHOWN int openat(int at, const char *path, int flags, ...) {
  TAKE_MODE(flags, mode);
  PLACE_AT(at, path);
  return opens_device(place, flags) ? xencomm_open_device(place.device, flags)
                                    : real_openat(at, place.path, flags, mode);
}

SHOWN int creat(const char *path, mode_t mode) {
  PLACE(path);
  return place.device != XENCOMM_NO_DEVICE
             ? xencomm_open_device(place.device, O_CREAT | O_WRONLY | O_TRUNC)
             : real_creat(place.path, mode);
}

/* The fortified ones of no mode, which end the program that creates by them. */
int __open_2(const char *path, int flags);
int __openat_2(int at, const char *path, int flags);
REAL(__open_2);
REAL(__openat_2);

SHOWN int __open_2(const char *path, int flags) {
  PLACE(path);
  return opens_device(place, flags) && !may_create(flags) ? xencomm_open_device(place.device, flags)
                                                          : real___open_2(place.path, flags);
}

SHOWN int __openat_2(int at, const char *path, int flags) {
  PLACE_AT(at, path);
  return opens_device(place, flags) && !may_create(flags) ? xencomm_open_device(place.device, flags)
                                                          : real___openat_2(at, place.path, flags);
}

ALIAS(open64, open);
HIDDEN_ALIAS(__open, open);
HIDDEN_ALIAS(__open64, open);
ALIAS(openat64, openat);
ALIAS(creat64, creat);
HIDDEN_ALIAS(__open64_2, __open_2);
HIDDEN_ALIAS(__openat64_2, __openat_2);

/* A stream's mode as open's flags. */
static int flags_of(const char *mode) {
  int flags = mode[0] == 'r' ? O_RDONLY : O_WRONLY | O_CREAT;
  if (strchr(mode, '+') != NULL) flags = (flags & ~O_ACCMODE) | O_RDWR;
  if (strchr(mode, 'e') != NULL) flags |= O_CLOEXEC;
  if (strchr(mode, 'x') != NULL && mode[0] != 'r') flags |= O_EXCL;
  return flags;
}

/* Closes without a trace. */
static void give_up(int fd) {
  const int why = errno;
  close(fd);
  errno = why;
}

REAL(fopen);
SHOWN FILE *fopen(const char *path, const char *mode) {
  PLACE(path);
  if (place.device == XENCOMM_NO_DEVICE) return real_fopen(place.path, mode);
  const int fd = xencomm_open_device(place.device, flags_of(mode));
  if (fd < 0) return NULL;
  FILE *const stream = fdopen(fd, mode);
  if (stream == NULL) give_up(fd);
  return stream;
}

/* A device takes the descriptor of a file that can be opened in any mode. */
REAL(freopen);
SHOWN FILE *freopen(const char *path, const char *mode, FILE *stream) {
  PLACE(path);
  if (place.device == XENCOMM_NO_DEVICE) return real_freopen(place.path, mode, stream);
  const int flags = flags_of(mode);
  const int fd = xencomm_open_device(place.device, flags);
  if (fd < 0) {
    const int why = errno;
    real_freopen("", mode, stream); /* which closes it, and finds nothing */
    errno = why;
    return NULL;
  }
  FILE *const opened = real_freopen("/dev/null", mode, stream);
  if (opened != NULL) dup3(fd, fileno(opened), flags & O_CLOEXEC);
  give_up(fd);
  return opened;
}

ALIAS(fopen64, fopen);
ALIAS(freopen64, freopen);

REAL(opendir);
SHOWN DIR *opendir(const char *path) {
  SERVE(path);
  return real_opendir(path);
}

/* An entry says what kind of file it is. */
REAL(readdir);
SHOWN struct dirent *readdir(DIR *folder) {
  const bool is_active = xencomm_active();
  struct dirent *const entry = real_readdir(folder);
  if (entry == NULL || !is_active || entry->d_type != DT_REG) return entry;
  const char *const name = entry->d_name;
  PLACE_AT(dirfd(folder), name);
  if (place.is_node) entry->d_type = DT_CHR;
  return entry;
}
ALIAS(readdir64, readdir);

/* These open inside the C library. */
REAL(scandir);
SHOWN int scandir(const char *path, struct dirent ***list, int (*select)(const struct dirent *),
                  int (*compare)(const struct dirent **, const struct dirent **)) {
  SERVE(path);
  return real_scandir(path, list, select, compare);
}

REAL(scandirat);
SHOWN int scandirat(int at, const char *path, struct dirent ***list,
                    int (*select)(const struct dirent *),
                    int (*compare)(const struct dirent **, const struct dirent **)) {
  SERVE_AT(at, path);
  return real_scandirat(at, path, list, select, compare);
}

ALIAS(scandir64, scandir);
ALIAS(scandirat64, scandirat);

/* The names that a walk tells are those in the machine's files, which can be used as well. */
REAL(ftw);
SHOWN int ftw(const char *path, __ftw_func_t tell, int descriptors) {
  SERVE(path);
  return real_ftw(path, tell, descriptors);
}

REAL(nftw);
SHOWN int nftw(const char *path, __nftw_func_t tell, int descriptors, int flags) {
  SERVE(path);
  return real_nftw(path, tell, descriptors, flags);
}

ALIAS(ftw64, ftw);
ALIAS(nftw64, nftw);

/* A pattern is sought by our own functions, so that what is found has the names that were asked
 * for. */
static void *open_folder(const char *path) { return opendir(path); }
static struct dirent *read_folder(void *folder) { return readdir(folder); }
static void close_folder(void *folder) { closedir(folder); }

REAL(glob);
SHOWN int glob(const char *pattern, int flags, int (*on_error)(const char *, int), glob_t *found) {
  if (!xencomm_active() || (flags & GLOB_ALTDIRFUNC) != 0) {
    return real_glob(pattern, flags, on_error, found);
  }
  found->gl_opendir = open_folder;
  found->gl_readdir = read_folder;
  found->gl_closedir = close_folder;
  found->gl_stat = stat;
  found->gl_lstat = lstat;
  const int result = real_glob(pattern, flags | GLOB_ALTDIRFUNC, on_error, found);
  found->gl_flags &= ~GLOB_ALTDIRFUNC;
  return result;
}
ALIAS(glob64, glob);
