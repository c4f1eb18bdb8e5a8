// A libxenctrl program for memcheck: clean, or with one fault.
//
//   memcheck_program clean|output|input
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <xencall.h>
#include <xenctrl.h>
#include <xenforeignmemory.h>

// A domain's life, and all that is answered is looked at.
static int live(xc_interface *xch) {
  struct xen_domctl_createdomain config = {
      .flags = XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap,
      .max_vcpus = 1,
      .max_evtchn_port = 1023,
      .max_grant_frames = 32,
      .max_maptrack_frames = 1024,
      .grant_opts = 1,
      .arch.emulation_flags = XEN_X86_EMU_LAPIC,
  };
  uint32_t domain = 0;
  if (xc_domain_create(xch, &domain, &config) != 0 || xc_domain_max_vcpus(xch, domain, 1) != 0 ||
      xc_domain_setmaxmem(xch, domain, 4096) != 0) {
    return 2;
  }
  xen_pfn_t frames[8];
  for (unsigned i = 0; i < 8; i++) frames[i] = i;
  if (xc_domain_populate_physmap_exact(xch, domain, 8, 0, 0, frames) != 0) return 2;
  xc_domaininfo_t list[4];
  const int count = xc_domain_getinfolist(xch, 0, 4, list);
  for (int i = 0; i < count; i++)
    printf("%u: %llu pages\n", list[i].domain, (unsigned long long)list[i].tot_pages);
  xc_physinfo_t info = {0};
  if (xc_physinfo(xch, &info) != 0) return 2;
  printf("%llu pages in all\n", (unsigned long long)info.total_pages);
  xenforeignmemory_handle *memory = xenforeignmemory_open(NULL, 0);
  int errors[2];
  char *mapped = xenforeignmemory_map(memory, domain, PROT_READ | PROT_WRITE, 2, frames, errors);
  if (mapped == NULL) return 2;
  printf("%d\n", mapped[5]);
  mapped[5] = 1;
  xenforeignmemory_unmap(memory, mapped, 2);
  xenforeignmemory_close(memory);
  return xc_domain_destroy(xch, domain) == 0 ? 0 : 2;
}

int main(int argc, char **argv) {
  const char *what = argc == 2 ? argv[1] : "";
  if (strcmp(what, "clean") == 0) {
    xc_interface *xch = xc_interface_open(NULL, NULL, 0);
    if (xch == NULL) return 2;
    const int failed = live(xch);
    xc_interface_close(xch);
    return failed;
  }
  xencall_handle *xcall = xencall_open(NULL, 0);
  if (xcall == NULL) return 2;
  struct xen_sysctl *op = xencall_alloc_buffer(xcall, sizeof(*op));
  struct xen_sysctl unset;
  volatile struct xen_sysctl *unknown = &unset;
  op->cmd = XEN_SYSCTL_getdomaininfolist;
  op->interface_version = XEN_SYSCTL_INTERFACE_VERSION;
  if (strcmp(what, "input") == 0) {
    op->u.getdomaininfolist.first_domain = unknown->u.getdomaininfolist.first_domain;
    xencall1(xcall, __HYPERVISOR_sysctl, (uintptr_t)op);
  } else {
    // Refused before anything is written.
    op->interface_version = 1;
    op->u.getdomaininfolist.num_domains = unknown->u.getdomaininfolist.num_domains;
    if (xencall1(xcall, __HYPERVISOR_sysctl, (uintptr_t)op) >= 0) return 2;
    printf(op->u.getdomaininfolist.num_domains == 1 ? "one\n" : "not one\n");
  }
  xencall_free_buffer(xcall, op);
  xencall_close(xcall);
  return 0;
}
