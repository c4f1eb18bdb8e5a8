// The demo's program: a PV domain through stock libxenctrl, and how one nested pointer is
// translated.
//
// It is an ordinary toolstack program, linked to Debian's libxenctrl. Of this library it uses only
// xencomm_translate, to look at what happened; its calls go through libxenctrl alone.
// dl_iterate_phdr, realpath
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <link.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xenctrl.h>

#include "xencomm/xencomm.h"

enum { kPages = 16384, kVcpus = 2, kListed = 8, kPageSize = 4096 };

static bool brief;  // only what is the same in every space
static xc_interface *xch;

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...) {
  if (brief) return;
  va_list arguments;
  va_start(arguments, format);
  vprintf(format, arguments);
  va_end(arguments);
}

// Whatever fails ends the program; the domain goes with it.
static void must(bool holds, const char *what) {
  if (holds) return;
  fprintf(stderr, "demo: %s: %s\n", what, strerror(errno));
  exit(1);
}

static int show_library(struct dl_phdr_info *library, size_t size, void *unused) {
  (void)size;
  (void)unused;
  static const char *const kShown[] = {"libxenctrl.", "libxencall.", "libxencomm."};
  char path[4096];
  for (size_t i = 0; i < sizeof(kShown) / sizeof(kShown[0]); i++) {
    if (strstr(library->dlpi_name, kShown[i]) == NULL) continue;
    say("   %s\n", realpath(library->dlpi_name, path) != NULL ? path : library->dlpi_name);
  }
  return 0;
}

static void connect_to_xen(void) {
  say("1. Connect\n");
  xch = xc_interface_open(NULL, NULL, 0);
  must(xch != NULL, "xc_interface_open");
  dl_iterate_phdr(show_library, NULL);
  const int version = xc_version(xch, XENVER_version, NULL);
  xen_extraversion_t extraversion;
  must(xc_version(xch, XENVER_extraversion, extraversion) == 0, "xc_version");
  xc_physinfo_t host;
  must(xc_physinfo(xch, &host) == 0, "xc_physinfo");
  say("   Xen %d.%d%s, %u processors, %" PRIu64 " MiB, %" PRIu64 " MiB free\n\n", version >> 16,
      version & 0xffff, extraversion, host.nr_cpus, host.total_pages / 256, host.free_pages / 256);
}

static uint32_t create_domain(void) {
  struct xen_domctl_createdomain config = {
      .max_vcpus = kVcpus,
      .max_evtchn_port = 1023,
      .max_grant_frames = 32,
      .max_maptrack_frames = 1024,
      .grant_opts = XEN_DOMCTL_GRANT_version(1),
  };
  uint32_t domid = 0;
  must(xc_domain_create(xch, &domid, &config) == 0, "xc_domain_create");
  must(xc_domain_max_vcpus(xch, domid, kVcpus) == 0, "xc_domain_max_vcpus");
  must(xc_domain_setmaxmem(xch, domid, kPages * (kPageSize / 1024)) == 0, "xc_domain_setmaxmem");
  say("2. Create: PV domain %u, %d vcpus, at most %d MiB\n\n", domid, kVcpus, kPages / 256);
  return domid;
}

static void populate(uint32_t domid) {
  xen_pfn_t *frames = calloc(kPages, sizeof(*frames));
  must(frames != NULL, "calloc");
  for (unsigned i = 0; i < kPages; i++) frames[i] = i;
  must(xc_domain_populate_physmap_exact(xch, domid, kPages, 0, 0, frames) == 0,
       "xc_domain_populate_physmap_exact");
  say("3. Populate: %d pages in one memory_op, whose structure points at %d frame numbers\n"
      "   (%zu KiB). They came back as %#" PRIx64 ", %#" PRIx64 ", %#" PRIx64 ", ...\n\n",
      kPages, kPages, kPages * sizeof(*frames) / 1024, (uint64_t)frames[0], (uint64_t)frames[1],
      (uint64_t)frames[2]);
  free(frames);
}

static void show_step(const struct xencomm_step *step) {
  printf("     %s[%" PRIu64 "] at guest-physical %#" PRIx64 " is %#" PRIx64 "\n", step->table,
         step->index, step->address, step->entry);
}

static void show_translation(const void *pointer) {
  xencomm_context *x = xencomm_open(NULL);
  must(x != NULL, xencomm_error());
  struct xencomm_translation region, walk;
  must(xencomm_translate(x, pointer, XENCOMM_SPACE_REGION, &region) == 0, xencomm_error());
  must(xencomm_translate(x, pointer, XENCOMM_SPACE_WALK, &walk) == 0, xencomm_error());

  printf("5. How the hypervisor reached that list\n");
  printf("   sysctl.u.getdomaininfolist.buffer is the pointer %p.\n", pointer);
  printf("   By region: the process's region begins at %#" PRIx64
         "; the pointer is\n"
         "   in its granule %" PRIu64 ", at offset %#" PRIx64 ".\n",
         region.region, (region.pointer - region.region) / kPageSize, region.pointer % kPageSize);
  for (unsigned i = 0; i < region.steps; i++) show_step(&region.step[i]);
  printf("     base + offset: guest-physical %#" PRIx64 ", machine %#" PRIx64 "\n",
         region.guest_physical, region.machine);
  printf("   By page walk: the process's page tables, in domain 0's memory.\n");
  for (unsigned i = 0; i < walk.steps; i++) show_step(&walk.step[i]);
  printf("     page + offset: guest-physical %#" PRIx64 ", machine %#" PRIx64 "%s\n\n",
         walk.guest_physical, walk.machine,
         walk.machine == region.machine ? ": the same byte" : ": ANOTHER BYTE");
  must(walk.machine == region.machine, "the two translations differ");
  xencomm_close(x);
}

// By the plain hypercall, so that the buffer of the nested pointer is ours to look at.
static void list_domains(void) {
  DECLARE_HYPERCALL_BUFFER(xc_domaininfo_t, list);
  list = xc_hypercall_buffer_alloc(xch, list, kListed * sizeof(*list));
  must(list != NULL, "xc_hypercall_buffer_alloc");
  struct xen_sysctl sysctl = {.cmd = XEN_SYSCTL_getdomaininfolist};
  sysctl.u.getdomaininfolist.max_domains = kListed;
  set_xen_guest_handle(sysctl.u.getdomaininfolist.buffer, list);
  must(xc_sysctl(xch, &sysctl) == 0, "xc_sysctl");

  say("4. List\n");
  printf("   domain  vcpus     memory  state\n");
  for (unsigned i = 0; i < sysctl.u.getdomaininfolist.num_domains; i++) {
    printf("   %6u  %5u  %5" PRIu64 " MiB  %s\n", list[i].domain, list[i].max_vcpu_id + 1,
           list[i].tot_pages / 256,
           (list[i].flags & XEN_DOMINF_paused) != 0 ? "paused" : "running");
  }
  say("\n");
  if (!brief) show_translation(list);
  xc_hypercall_buffer_free(xch, list);
}

static void destroy(uint32_t domid) {
  xc_physinfo_t before, after;
  must(xc_physinfo(xch, &before) == 0, "xc_physinfo");
  must(xc_domain_destroy(xch, domid) == 0, "xc_domain_destroy");
  must(xc_physinfo(xch, &after) == 0, "xc_physinfo");
  say("6. Destroy: domain %u is gone, and %" PRIu64 " MiB are free again\n", domid,
      (after.free_pages - before.free_pages) / 256);
  must(xc_interface_close(xch) == 0, "xc_interface_close");
}

int main(int argc, char **argv) {
  brief = argc > 1 && strcmp(argv[1], "--brief") == 0;
  connect_to_xen();
  const uint32_t domid = create_domain();
  populate(domid);
  list_domains();
  destroy(domid);
  return 0;
}
