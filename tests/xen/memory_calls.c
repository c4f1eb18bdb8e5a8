// memory_op and what belongs to a domain's memory: reservations, the physmap, foreign mappings.
#include <stdlib.h>
#include <sys/mman.h>

#include "tests/xen/check.h"
#include "tests/xen/toolstack.h"

enum { kPages = 64 };

static void check_foreign_pages(uint32_t domid, const xen_pfn_t *frames) {
  unsigned char *mapped = xc_map_foreign_pages(xch, domid, PROT_READ | PROT_WRITE, frames, kPages);
  CHECK(mapped != NULL);
  if (mapped == NULL) return;
  size_t nonzero = 0;
  for (size_t i = 0; i < kPages * 4096u; i++) nonzero += mapped[i] != 0;
  CHECK(nonzero == 0);
  for (int i = 0; i < kPages; i++) mapped[i * 4096 + 123] = (unsigned char)(i + 1);
  CHECK(munmap(mapped, kPages * 4096u) == 0);

  // Seen again, through another mapping in another order.
  xen_pfn_t two[2] = {frames[kPages - 1], frames[0]};
  mapped = xc_map_foreign_pages(xch, domid, PROT_READ, two, 2);
  CHECK(mapped != NULL && mapped[123] == kPages && mapped[4096 + 123] == 1);
  if (mapped != NULL) munmap(mapped, 2 * 4096);

  xen_pfn_t none[1] = {0x7ffffff};
  CHECK(xc_map_foreign_pages(xch, domid, PROT_READ, none, 1) == NULL);
  int errors[2] = {7, 7};
  xen_pfn_t mixed[2] = {frames[1], 0x7ffffff};
  mapped = xc_map_foreign_bulk(xch, domid, PROT_READ, mixed, errors, 2);
  CHECK(mapped != NULL && errors[0] == 0 && errors[1] < 0);
  if (mapped != NULL) munmap(mapped, 2 * 4096);
  CHECK(xc_map_foreign_pages(xch, kNobody, PROT_READ, two, 2) == NULL);
}

static void check_page_types(uint32_t domid, const xen_pfn_t *frames) {
  xen_pfn_t types[kPages];
  memcpy(types, frames, sizeof(types));
  types[3] = 0x7ffffff;
  CHECK(xc_get_pfn_type_batch(xch, domid, kPages, types) == 0);
  CHECK((types[0] & XEN_DOMCTL_PFINFO_LTAB_MASK) == XEN_DOMCTL_PFINFO_NOTAB);
  CHECK((types[3] & XEN_DOMCTL_PFINFO_LTAB_MASK) == XEN_DOMCTL_PFINFO_XTAB);
}

static void check_pv_memory(void) {
  xen_pfn_t frames[kPages];
  const uint32_t domid = create_domain_with_pages(0, 1, kPages, frames);
  check_foreign_pages(domid, frames);
  check_page_types(domid, frames);

  // Four frames in, four frames out.
  xen_pfn_t out[4] = {0, 1, 2, 3};
  CHECK(xc_domain_memory_exchange_pages(xch, domid, 4, 0, frames, 4, 0, out) == 0);
  CHECK(xc_get_tot_pages(xch, domid) == kPages);
  CHECK(out[0] != frames[0] && out[0] != 0);

  CHECK(xc_domain_decrease_reservation_exact(xch, domid, 4, 0, out) == 0);
  CHECK(xc_get_tot_pages(xch, domid) == kPages - 4);
  CHECK(xc_domain_decrease_reservation(xch, domid, 1, 0, out) == 0);
  xen_pfn_t bad[2] = {frames[5], 0x7ffffff};
  CHECK(xc_domain_decrease_reservation(xch, domid, 2, 0, bad) == 1);
  CHECK(xc_get_tot_pages(xch, domid) == kPages - 5);

  // An order that no domain may ask for, and one that is not there.
  xen_pfn_t large[1] = {1024};
  CHECK(xc_domain_populate_physmap(xch, domid, 1, 30, 0, large) <= 0);
  CHECK(xc_domain_populate_physmap(xch, kNobody, 1, 0, 0, large) == 0);
  CHECK(xc_domain_populate_physmap(xch, domid, 0, 0, 0, large) == 0);

  xen_pfn_t highest = 0;
  CHECK(xc_domain_maximum_gpfn(xch, domid, &highest) == 0);

  struct e820entry map[2] = {{.addr = 0, .size = 0x9f000, .type = E820_RAM},
                             {.addr = 0x100000, .size = 0x300000, .type = E820_RAM}};
  CHECK(xc_domain_set_memory_map(xch, domid, map, 2) == 0);
  static struct e820entry many[2000];
  CHECK_REFUSED(xc_domain_set_memory_map(xch, domid, many, 2000), EINVAL);
  CHECK(xc_domain_destroy(xch, domid) == 0);
}

static void check_hvm_memory(void) {
  xen_pfn_t frames[kPages];
  const uint32_t domid =
      create_domain_with_pages(XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap, 1, kPages, frames);
  check_foreign_pages(domid, frames);
  check_page_types(domid, frames);

  xen_pfn_t highest = 0;
  CHECK(xc_domain_maximum_gpfn(xch, domid, &highest) == 0 && highest == kPages - 1);

  CHECK(xc_domain_add_to_physmap(xch, domid, XENMAPSPACE_shared_info, 0, 0x1000) == 0);
  CHECK(xc_domain_maximum_gpfn(xch, domid, &highest) == 0 && highest == 0x1000);
  CHECK(xc_domain_remove_from_physmap(xch, domid, 0x1000) == 0);
  CHECK_REFUSED(xc_domain_remove_from_physmap(xch, domid, 0x1000), ENOENT);
  CHECK_REFUSED(xc_domain_add_to_physmap(xch, domid, 77, 0, 0x1000), EINVAL);

  // Two frames move, the third one is not there.
  xen_ulong_t from[3] = {8, 9, 0x7ffffff};
  xen_pfn_t to[3] = {0x2000, 0x2001, 0x2002};
  int errors[3] = {7, 7, 7};
  CHECK(xc_domain_add_to_physmap_batch(xch, domid, 0, XENMAPSPACE_gmfn, 3, from, to, errors) == 0);
  CHECK(errors[0] == 0 && errors[1] == 0 && errors[2] < 0);

  unsigned megabytes = 4;
  CHECK(xc_shadow_control(xch, domid, XEN_DOMCTL_SHADOW_OP_SET_ALLOCATION, &megabytes, 0) == 0);
  CHECK(xc_shadow_control(xch, domid, XEN_DOMCTL_SHADOW_OP_GET_ALLOCATION, &megabytes, 0) == 0);
  CHECK(megabytes == 4);

  CHECK(xc_shadow_control(xch, domid, XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY, NULL, 0) == 0);
  DECLARE_HYPERCALL_BUFFER(unsigned long, bitmap);
  bitmap = xc_hypercall_buffer_alloc_pages(xch, bitmap, 1);
  CHECK(bitmap != NULL);
  xc_shadow_op_stats_t stats;
  CHECK(xc_logdirty_control(xch, domid, XEN_DOMCTL_SHADOW_OP_CLEAN, HYPERCALL_BUFFER(bitmap),
                            kPages, 0, &stats) == kPages);
  // Nothing runs in the domain, so nothing becomes dirty.
  memset(bitmap, 0xff, 16);
  CHECK(xc_logdirty_control(xch, domid, XEN_DOMCTL_SHADOW_OP_PEEK, HYPERCALL_BUFFER(bitmap), 128, 0,
                            &stats) == 128);
  CHECK(bitmap[0] == 0 && bitmap[1] == 0);
  CHECK(xc_shadow_control(xch, domid, XEN_DOMCTL_SHADOW_OP_OFF, NULL, 0) == 0);
  xc_hypercall_buffer_free_pages(xch, bitmap, 1);

  CHECK(xc_domain_destroy(xch, domid) == 0);
}

void check_memory_calls(void) {
  check_pv_memory();
  check_hvm_memory();
}
