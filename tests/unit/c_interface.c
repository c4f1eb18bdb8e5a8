// The C header as a C program meets it: strict C11, only the shared library.

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "xencomm/xencomm.h"

// As Xen's headers define a handle (XEN_GUEST_HANDLE_64).
typedef union {
  uint32_t *p;
  uint64_t q;
} handle_t;

static int failures;

static void expect(int holds, const char *what) {
  if (holds) return;
  printf("failed: %s (%s)\n", what, xencomm_error());
  failures++;
}

int main(void) {
  xencomm_context *x = xencomm_open("embedded:memory=256M,dom0=64M");
  expect(x != NULL, "xencomm_open");
  if (x == NULL) return 1;
  uint32_t *array = xencomm_alloc_array(x, 1000, sizeof(*array));
  expect(array != NULL, "xencomm_alloc_array");
  handle_t handle = {NULL};
  expect(XENCOMM_SET_HANDLE(x, handle, array, 1000) == 0 && handle.p == array, "a handle");
  char *version = xencomm_calloc(x, 1, 1024);
  expect(xencomm_call(x, 17, 1, (uintptr_t)version, 0, 0, 0) == 0, "xen_version");
  expect(version[0] == '.', "the version");
  struct xencomm_translation walk;
  expect(xencomm_translate(x, array, XENCOMM_SPACE_WALK, &walk) == 0 && walk.steps == 4, "a walk");
  expect(xencomm_free(x, version) == 0, "xencomm_free");
  expect(xencomm_free(x, version) == -1 && errno == EINVAL, "a double free");
  expect(strstr(xencomm_error(), "free already") != NULL, "its sentence");
  expect(xencomm_free(x, array) == 0, "xencomm_free");
  expect(xencomm_close(x) == 0, "xencomm_close");
  return failures != 0;
}
