// Memory by the gigabyte: many extents in one call, and all of it back.
#include <stdlib.h>
#include <unistd.h>

#include "tests/xen/check.h"
#include "tests/xen/toolstack.h"

static uint64_t free_pages(void) {
  xc_physinfo_t physinfo;
  CHECK(xc_physinfo(xch, &physinfo) == 0);
  return physinfo.free_pages + physinfo.scrub_pages;
}

// Xen gives memory back behind the call's back, and its own heap may keep a few pages of it.
static void check_all_free(uint64_t before) {
  const uint64_t kept = 16;
  for (int i = 0; i < 200 && free_pages() + kept < before; i++) usleep(10000);
  CHECK(free_pages() + kept >= before);
}

// `wanted` extents of 2^order pages in one call, or as many as three quarters of the free memory
// hold.
static void check_extents(bool hvm, unsigned long wanted, unsigned order) {
  const uint64_t before = free_pages();
  unsigned long count = wanted;
  if (count << order > before / 4 * 3) count = before / 4 * 3 >> order;
  CHECK(count > 0);

  const uint32_t domid = create_domain(hvm ? XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap : 0, 1);
  CHECK(xc_domain_max_vcpus(xch, domid, 1) == 0);
  if (hvm) {
    // For a second stage of that size.
    unsigned megabytes = 1 + (unsigned)((count << order) >> 16);
    CHECK(xc_shadow_control(xch, domid, XEN_DOMCTL_SHADOW_OP_SET_ALLOCATION, &megabytes, 0) == 0);
  }
  CHECK(xc_domain_setmaxmem(xch, domid, (count << order) * 4) == 0);
  xen_pfn_t *extents = calloc(count + 1, sizeof(*extents));
  for (unsigned long i = 0; i <= count; i++) extents[i] = i << order;
  CHECK(xc_domain_populate_physmap(xch, domid, count + 1, order, 0, extents) == (int)count);
  CHECK(xc_get_tot_pages(xch, domid) == (long)(count << order));
  CHECK(free_pages() < before);
  xen_pfn_t highest = 0;
  if (hvm) {
    CHECK(xc_domain_maximum_gpfn(xch, domid, &highest) == 0);
    CHECK(highest == (count << order) - 1);
  }
  // Most of it goes back by the extent, the rest with the domain.
  const unsigned long back = count - count / 4;
  CHECK(xc_domain_decrease_reservation(xch, domid, back, order, extents) == (int)back);
  CHECK(xc_get_tot_pages(xch, domid) == (long)((count - back) << order));
  CHECK(xc_domain_destroy(xch, domid) == 0);
  free(extents);
  check_all_free(before);
}

void check_many_pages(void) {
  check_extents(false, 1000000, 0);
  check_extents(true, 1000000, 0);
  check_extents(false, 512, 9);
  check_extents(true, 512, 9);
}
