/* The front's beginning: what it finds in the environment and the C library, and the devices. */
#include "hcall/devices/preload.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEVICES_LIBRARY "libxencomm-devices.so"

/* Of all files' REAL: the linker's names of the section. */
extern const struct xencomm_real __start_xencomm_reals[] __attribute__((visibility("hidden")));
extern const struct xencomm_real __stop_xencomm_reals[] __attribute__((visibility("hidden")));

/* Copies: the program may write over its environment, or clear it. Each as VARIABLE=VALUE. */
static char machine_setting[PATH_MAX];
static char files_setting[PATH_MAX];
static char preload_setting[PATH_MAX];
#define PRELOAD_VARIABLE "LD_PRELOAD"
#define PRELOAD 0
static const char *const variables[] = {PRELOAD_VARIABLE, XENCOMM_MACHINE_VARIABLE,
                                        XENCOMM_FILES_VARIABLE};
static char *const settings[] = {preload_setting, machine_setting, files_setting};
#define SETTINGS (sizeof(settings) / sizeof(settings[0]))

static bool has_machine;
/* How many calls of this thread are inside the devices' library. */
static _Thread_local int depth __attribute__((tls_model("initial-exec")));
/* How it may be cancelled outside of it: not inside, where it can hold locks. */
static _Thread_local int cancelling __attribute__((tls_model("initial-exec")));

static bool keep_setting(char *setting, const char *variable, const char *value) {
  if (value == NULL || value[0] == '\0') return false;
  const int length = snprintf(setting, PATH_MAX, "%s=%s", variable, value);
  return length > 0 && length < PATH_MAX;
}

static const char *value_of(const char *setting) { return strchr(setting, '=') + 1; }

static void find_reals(void) {
  for (const struct xencomm_real *real = __start_xencomm_reals; real < __stop_xencomm_reals;
       ++real) {
    *real->function = dlsym(RTLD_NEXT, real->name);
  }
}

static void keep_settings(void) {
  Dl_info self;
  has_machine =
      keep_setting(machine_setting, XENCOMM_MACHINE_VARIABLE, getenv(XENCOMM_MACHINE_VARIABLE)) &&
      keep_setting(files_setting, XENCOMM_FILES_VARIABLE, getenv(XENCOMM_FILES_VARIABLE)) &&
      dladdr(variables, &self) != 0 &&
      keep_setting(preload_setting, PRELOAD_VARIABLE, self.dli_fname);
  if (!has_machine) return;
  for (size_t last = strlen(files_setting) - 1; files_setting[last] == '/'; --last) {
    files_setting[last] = '\0';
  }
}

/* Before the first call that stands in, which may be another library's at its own start. What runs
 * before all of these, as a sanitizer does, comes before the C library has an environment. */
static void ensure_started(void) {
  static pthread_once_t found = PTHREAD_ONCE_INIT;
  static pthread_once_t kept = PTHREAD_ONCE_INIT;
  pthread_once(&found, find_reals);
  if (environ != NULL) pthread_once(&kept, keep_settings);
}

__attribute__((constructor)) static void start_early(void) { ensure_started(); }

bool xencomm_active(void) {
  ensure_started();
  return has_machine && depth == 0;
}

const char *xencomm_files(void) { return value_of(files_setting); }

/* Whether `setting` is one of VARIABLE=VALUE. */
static bool is_of(const char *setting, const char *variable) {
  const size_t length = strlen(variable);
  return strncmp(setting, variable, length) == 0 && setting[length] == '=';
}

/* Whether a list, as the dynamic linker reads it, has a name. */
static bool lists(const char *list, const char *name) {
  while (*list != '\0') {
    const size_t length = strcspn(list, ": ");
    if (length == strlen(name) && memcmp(list, name, length) == 0) return true;
    list += length + (list[length] != '\0');
  }
  return false;
}

/* What a program's environment has of the machine. */
struct found {
  size_t count;
  bool has[SETTINGS];
  size_t preload; /* where the list is; of several, the last one counts */
  bool lists_preload;
};

static struct found find(char *const *theirs) {
  struct found found = {0};
  for (; theirs != NULL && theirs[found.count] != NULL; ++found.count) {
    const char *const setting = theirs[found.count];
    for (size_t i = 0; i < SETTINGS; ++i) found.has[i] |= is_of(setting, variables[i]);
    if (is_of(setting, PRELOAD_VARIABLE)) {
      found.preload = found.count;
      found.lists_preload = lists(value_of(setting), value_of(preload_setting));
    }
  }
  return found;
}

static bool is_complete(const struct found *found) {
  bool complete = found->lists_preload;
  for (size_t i = 0; i < SETTINGS; ++i) complete &= found->has[i];
  return complete;
}

size_t xencomm_environment_room(char *const *theirs) {
  if (!xencomm_active()) return 1;
  const struct found found = find(theirs);
  if (is_complete(&found)) return 1;
  const size_t list = found.has[PRELOAD] ? strlen(theirs[found.preload]) : 0;
  const size_t text = strlen(preload_setting) + 1 + list + 1;
  return found.count + SETTINGS + 1 + text / sizeof(char *) + 1;
}

char **xencomm_environment(char *const *theirs, char **room) {
  char **const same = (char **)(size_t)theirs;
  if (!xencomm_active()) return same;
  const struct found found = find(theirs);
  if (is_complete(&found)) return same;
  size_t count = found.count;
  if (count != 0) memcpy(room, theirs, count * sizeof(*room));
  for (size_t i = 0; i < SETTINGS; ++i) {
    if (!found.has[i]) room[count++] = settings[i];
  }
  room[count] = NULL;
  if (found.has[PRELOAD] && !found.lists_preload) {
    char *const text = (char *)(room + found.count + SETTINGS + 1);
    strcpy(text, preload_setting);
    strcat(text, ":");
    room[found.preload] = strcat(text, value_of(theirs[found.preload]));
  }
  return room;
}

void xencomm_restore_environment(void) {
  char *room[xencomm_environment_room(environ)];
  char **const whole = xencomm_environment(environ, room);
  if (whole == environ) return;
  for (size_t i = 0; i < SETTINGS; ++i) {
    for (char **setting = whole; *setting != NULL; ++setting) {
      if (is_of(*setting, variables[i])) setenv(variables[i], value_of(*setting), 1);
    }
  }
}

static const struct xencomm_devices *_Atomic used_devices;

/* They find the machine by the environment, which the program may have cleared. */
static void load_devices(void) {
  for (size_t i = 0; i < SETTINGS; ++i) setenv(variables[i], value_of(settings[i]), 0);
  char path[PATH_MAX];
  const char *const own = value_of(preload_setting);
  const char *const slash = strrchr(own, '/');
  const int folder = slash == NULL ? 0 : (int)(slash + 1 - own);
  const int length = snprintf(path, sizeof(path), "%.*s" DEVICES_LIBRARY, folder, own);
  void *const library = length < (int)sizeof(path) ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
  const struct xencomm_devices *(*devices)(void) = NULL;
  if (library != NULL) *(void **)(void *)&devices = dlsym(library, "xencomm_find_devices");
  if (devices == NULL) {
    const char *const why = dlerror();
    dprintf(STDERR_FILENO, "xencomm: Xen's devices are not served: %s\n",
            why != NULL ? why : "the path of their library is too long");
    return;
  }
  used_devices = devices();
}

static void enter(void) {
  if (depth++ == 0) pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancelling);
}

void xencomm_leave(void) {
  int inside;
  if (--depth == 0) pthread_setcancelstate(cancelling, &inside);
}

int xencomm_own_from(int from) {
  return xencomm_active() && used_devices != NULL ? used_devices->own_from(from) : -1;
}

const struct xencomm_devices *xencomm_enter_used(void) {
  if (used_devices != NULL) enter();
  return used_devices;
}

const struct xencomm_devices *xencomm_enter(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  const int before = errno;
  enter();
  pthread_once(&once, load_devices);
  errno = before;
  if (used_devices != NULL) return used_devices;
  xencomm_leave();
  errno = ENODEV;
  return NULL;
}
