/* Programs that this one starts: they are on the machine, too, whatever environment they are given.
 */
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wordexp.h>

#include "hcall/devices/preload.h"

#define ENVIRONMENT(theirs)                                 \
  char *environment_room[xencomm_environment_room(theirs)]; \
  char **const environment = xencomm_environment(theirs, environment_room)

REAL(execve);
SHOWN int execve(const char *path, char *const arguments[], char *const theirs[]) {
  SERVE(path);
  ENVIRONMENT(theirs);
  return real_execve(path, arguments, environment);
}

REAL(execveat);
SHOWN int execveat(int at, const char *path, char *const arguments[], char *const theirs[],
                   int flags) {
  SERVE_AT(at, path);
  ENVIRONMENT(theirs);
  return real_execveat(at, path, arguments, environment, flags);
}

REAL(fexecve);
SHOWN int fexecve(int fd, char *const arguments[], char *const theirs[]) {
  ENVIRONMENT(theirs);
  return real_fexecve(fd, arguments, environment);
}

REAL(execvpe);
SHOWN int execvpe(const char *path, char *const arguments[], char *const theirs[]) {
  SERVE_ABSOLUTE(path); /* another is sought in PATH */
  ENVIRONMENT(theirs);
  return real_execvpe(path, arguments, environment);
}

SHOWN int execv(const char *path, char *const arguments[]) {
  return execve(path, arguments, environ);
}

SHOWN int execvp(const char *path, char *const arguments[]) {
  return execvpe(path, arguments, environ);
}

/* Collects `first` and what follows it, up to the null, as `arguments`; `list` stands behind it. */
#define COLLECT(first, list)                          \
  va_list list;                                       \
  va_start(list, first);                              \
  size_t count = 1;                                   \
  while (va_arg(list, const char *) != NULL) ++count; \
  va_end(list);                                       \
  char *arguments[count + 1];                         \
  va_start(list, first);                              \
  arguments[0] = (char *)(size_t)first;               \
  for (size_t i = 1; i <= count; ++i) arguments[i] = va_arg(list, char *)

SHOWN int execl(const char *path, const char *first, ...) {
  COLLECT(first, list);
  va_end(list);
  return execve(path, arguments, environ);
}

SHOWN int execlp(const char *path, const char *first, ...) {
  COLLECT(first, list);
  va_end(list);
  return execvpe(path, arguments, environ);
}

SHOWN int execle(const char *path, const char *first, ...) {
  COLLECT(first, list);
  char *const *const theirs = va_arg(list, char *const *);
  va_end(list);
  return execve(path, arguments, theirs);
}

REAL(posix_spawn);
SHOWN int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                      const posix_spawnattr_t *attributes, char *const arguments[],
                      char *const theirs[]) {
  SERVE(path);
  ENVIRONMENT(theirs);
  return real_posix_spawn(pid, path, actions, attributes, arguments, environment);
}

REAL(posix_spawnp);
SHOWN int posix_spawnp(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                       const posix_spawnattr_t *attributes, char *const arguments[],
                       char *const theirs[]) {
  SERVE_ABSOLUTE(path);
  ENVIRONMENT(theirs);
  return real_posix_spawnp(pid, path, actions, attributes, arguments, environment);
}

/* These are new in glibc 2.39: an older one has none, and no program of it calls them. */
typedef int spawn_pidfd(int *, const char *, const posix_spawn_file_actions_t *,
                        const posix_spawnattr_t *, char *const[], char *const[]);
spawn_pidfd pidfd_spawn, pidfd_spawnp;

static int spawn_by(const char *name, int *pidfd, const char *path,
                    const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attributes,
                    char *const arguments[], char *const theirs[]) {
  SERVE_ABSOLUTE(path);
  ENVIRONMENT(theirs);
  spawn_pidfd *real;
  *(void **)(void *)&real = dlsym(RTLD_NEXT, name);
  return real == NULL ? ENOSYS : real(pidfd, path, actions, attributes, arguments, environment);
}

SHOWN int pidfd_spawn(int *pidfd, const char *path, const posix_spawn_file_actions_t *actions,
                      const posix_spawnattr_t *attributes, char *const arguments[],
                      char *const theirs[]) {
  return spawn_by("pidfd_spawn", pidfd, path, actions, attributes, arguments, theirs);
}

SHOWN int pidfd_spawnp(int *pidfd, const char *path, const posix_spawn_file_actions_t *actions,
                       const posix_spawnattr_t *attributes, char *const arguments[],
                       char *const theirs[]) {
  return spawn_by("pidfd_spawnp", pidfd, path, actions, attributes, arguments, theirs);
}

/* A device is opened when the action is added, and given to the program by another action. Until
 * the actions are destroyed its descriptor, plus one, is kept in what glibc left spare in them. */
#define SPARE(actions) (sizeof((actions)->__pad) / sizeof((actions)->__pad[0]))

REAL(posix_spawn_file_actions_addopen);
SHOWN int posix_spawn_file_actions_addopen(posix_spawn_file_actions_t *actions, int fd,
                                           const char *path, int flags, mode_t mode) {
  char room[xencomm_absolute_room(path)]; /* another is in the folder that the program will be in */
  const struct xencomm_place place = xencomm_place_at(AT_FDCWD, path, room, sizeof(room));
  if (place.device == XENCOMM_NO_DEVICE || (flags & O_PATH) != 0) {
    return real_posix_spawn_file_actions_addopen(actions, fd, place.path, flags, mode);
  }
  size_t spare = 0;
  while (spare < SPARE(actions) && actions->__pad[spare] != 0) ++spare;
  if (spare == SPARE(actions)) return ENOMEM;
  const int before = errno;
  const int device = xencomm_open_device(place.device, flags | O_CLOEXEC);
  int result = device < 0 ? errno : posix_spawn_file_actions_adddup2(actions, device, fd);
  if (device >= 0 && result != 0) close(device);
  if (result == 0) actions->__pad[spare] = device + 1;
  errno = before;
  return result;
}

REAL(posix_spawn_file_actions_destroy);
SHOWN int posix_spawn_file_actions_destroy(posix_spawn_file_actions_t *actions) {
  if (xencomm_active()) {
    for (size_t i = 0; i < SPARE(actions); ++i) {
      if (actions->__pad[i] != 0) close(actions->__pad[i] - 1);
      actions->__pad[i] = 0;
    }
  }
  return real_posix_spawn_file_actions_destroy(actions);
}

REAL(posix_spawn_file_actions_addchdir_np);
SHOWN int posix_spawn_file_actions_addchdir_np(posix_spawn_file_actions_t *actions,
                                               const char *path) {
  SERVE_ABSOLUTE(path);
  return real_posix_spawn_file_actions_addchdir_np(actions, path);
}

/* These start a shell inside the C library, with this program's environment. */
#define BY_SHELL(type, name, parameters, arguments) \
  REAL(name);                                       \
  SHOWN type name parameters {                      \
    xencomm_restore_environment();                  \
    return real_##name arguments;                   \
  }

BY_SHELL(int, system, (const char *command), (command))
BY_SHELL(FILE *, popen, (const char *command, const char *mode), (command, mode))
BY_SHELL(int, wordexp, (const char *words, wordexp_t *result, int flags), (words, result, flags))
