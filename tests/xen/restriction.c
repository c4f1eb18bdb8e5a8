// What xentoolcore_restrict_all takes from a program, and what it leaves.
#include "tests/xen/toolstack.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <xencall.h>
#include <xenforeignmemory.h>
#include <xentoolcore.h>

#include "tests/xen/check.h"

enum { kDomain = 5 };

static int version(xencall_handle *xcall) {
  return xencall2(xcall, __HYPERVISOR_xen_version, XENVER_version, 0);
}

static bool is_null(int fd) {
  struct stat theirs, null;
  return fstat(fd, &theirs) == 0 && stat("/dev/null", &null) == 0 && S_ISCHR(theirs.st_mode) &&
         theirs.st_rdev == null.st_rdev;
}

static void check_dead(xencall_handle *xcall) {
  CHECK_REFUSED(version(xcall), ENOTTY);
  CHECK(is_null(xencall_fd(xcall)));
  errno = 0;
  CHECK(xencall_alloc_buffer_pages(xcall, 1024) == NULL && errno == EACCES);
}

static void restrict_this_process(void) {
  xencall_handle *first = xencall_open(NULL, 0), *second = xencall_open(NULL, 0);
  xenforeignmemory_handle *memory = xenforeignmemory_open(NULL, 0);
  xc_interface *control = xc_interface_open(NULL, NULL, 0);
  xc_physinfo_t physinfo;
  CHECK(first != NULL && second != NULL && memory != NULL && control != NULL);
  CHECK(xc_physinfo(control, &physinfo) == 0);
  CHECK((fcntl(xencall_fd(first), F_GETFD) & FD_CLOEXEC) != 0);
  CHECK(version(first) > 0 && !is_null(xencall_fd(first)));
  char *buffer = xencall_alloc_buffer(first, 100);
  CHECK(buffer != NULL);
  strcpy(buffer, "kept");

  CHECK(xentoolcore_restrict_all(kDomain) == 0);
  check_dead(first);
  check_dead(second);
  CHECK_REFUSED(xc_physinfo(control, &physinfo), ENOTTY);
  CHECK_REFUSED(xc_version(xch, XENVER_version, NULL), ENOTTY);  // the parent's
  const xen_pfn_t frame = 100;
  int error = 0;
  errno = 0;
  CHECK(xenforeignmemory_map(memory, 0, PROT_READ, 1, &frame, &error) == NULL && errno == EPERM);
  CHECK(strcmp(buffer, "kept") == 0);
  xencall_free_buffer(first, buffer);

  xencall_handle *later = xencall_open(NULL, 0);
  CHECK(later != NULL && version(later) > 0 && !is_null(xencall_fd(later)));
  void *pages = xencall_alloc_buffer_pages(later, 16);
  CHECK(pages != NULL);
  CHECK(xencall2(later, __HYPERVISOR_xen_version, XENVER_extraversion, (uintptr_t)pages) == 0);
  xencall_free_buffer_pages(later, pages, 16);
  xc_interface *control_later = xc_interface_open(NULL, NULL, 0);
  CHECK(control_later != NULL && xc_physinfo(control_later, &physinfo) == 0);
  check_dead(first);

  CHECK(xentoolcore_restrict_all(kDomain) == 0);
  check_dead(later);
  CHECK(xentoolcore_restrict_all(kDomain + 1) == -1);
  CHECK(xencall_close(first) == 0 && xencall_close(second) == 0 && xencall_close(later) == 0);
  CHECK(xenforeignmemory_close(memory) == 0);
}

void check_restriction(void) {
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    checks_passed = checks_failed = 0;
    restrict_this_process();
    fflush(stdout);
    _exit(checks_failed != 0);
  }
  int status = -1;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  CHECK(xc_version(xch, XENVER_version, NULL) > 0);
}
