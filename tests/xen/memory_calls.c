// memory_op and what belongs to a domain's memory: reservations, the physmap, foreign mappings.
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/xen/check.h"
#include "tests/xen/toolstack.h"

enum {
  kPages = 64,
  kNoPage = kMinor == 17 ? EINVAL : EACCES,  // what is to be moved in the physmap is not there
};

static void check_foreign_pages(uint32_t domid, const xen_pfn_t *frames, bool translated) {
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
  errno = 0;
  CHECK(xc_map_foreign_pages(xch, domid, PROT_READ, none, 1) == NULL);
  CHECK(errno == (translated ? EINVAL : EPERM));
  int errors[2] = {7, 7};
  xen_pfn_t mixed[2] = {frames[1], 0x7ffffff};
  mapped = xc_map_foreign_bulk(xch, domid, PROT_READ, mixed, errors, 2);
  CHECK(mapped != NULL && errors[0] == 0 && errors[1] < 0);
  if (mapped != NULL) munmap(mapped, 2 * 4096);
  errno = 0;
  CHECK(xc_map_foreign_pages(xch, kNobody, PROT_READ, two, 2) == NULL && errno == ESRCH);

  static char page[4096] = "copied";
  CHECK(xc_copy_to_domain_page(xch, domid, frames[2], page) == 0);
  CHECK(xc_clear_domain_pages(xch, domid, frames[0], 1) == 0);
  mapped = xc_map_foreign_range(xch, domid, 4096, PROT_READ, frames[2]);
  CHECK(mapped != NULL && strcmp((char *)mapped, page) == 0);
  if (mapped != NULL) munmap(mapped, 4096);
  mapped = xc_map_foreign_range(xch, domid, 4096, PROT_READ, frames[0]);
  CHECK(mapped != NULL && mapped[123] == 0);
  if (mapped != NULL) munmap(mapped, 4096);
}

// What a caller may ask of the memory that it gets: its order, its place.
static void check_placement(uint32_t domid) {
  static const struct {
    unsigned order, flags;
    int given;
  } kRequests[] = {
      {9, 0, 1},
      {1, 0, 1},
      {0, XENMEMF_address_bits(33), 1},
      {0, XENMEMF_address_bits(20), 0},
      {0, XENMEMF_node(0), 1},
      {0, XENMEMF_exact_node(0), 1},
      {0, XENMEMF_exact_node(5), 0},  // there is no such node
      {0, XENMEMF_exact_node(70), 0},
      {64, 0, 0},
  };
  CHECK(xc_domain_setmaxmem(xch, domid, 8192) == 0);
  const long before = xc_get_tot_pages(xch, domid);
  long given = 0;
  for (unsigned i = 0; i < sizeof(kRequests) / sizeof(kRequests[0]); i++) {
    xen_pfn_t extent[1] = {512 * (i + 4)};
    CHECK(xc_domain_populate_physmap(xch, domid, 1, kRequests[i].order, kRequests[i].flags,
                                     extent) == kRequests[i].given);
    if (kRequests[i].given != 0) given += 1l << kRequests[i].order;
  }
  CHECK(xc_get_tot_pages(xch, domid) == before + given);

  xen_pfn_t more[2] = {0, 0};
  CHECK(xc_domain_increase_reservation(xch, domid, 2, 0, 0, more) == 2);
  CHECK(xc_domain_increase_reservation(xch, domid, 2, 0, 0, NULL) == 2);
  CHECK(xc_get_tot_pages(xch, domid) == before + given + 4);
  CHECK_REFUSED(xc_domain_increase_reservation_exact(xch, domid, 100000, 0, 0, NULL), ENOMEM);
  // Less than it has: it keeps that, and gets no more.
  CHECK(xc_domain_setmaxmem(xch, domid, 4) == 0);
  xen_pfn_t one[1] = {0x7000};
  CHECK(xc_domain_populate_physmap(xch, domid, 1, 0, 0, one) == 0);
}

static void check_page_types(uint32_t domid, const xen_pfn_t *frames) {
  xen_pfn_t types[kPages];
  memcpy(types, frames, sizeof(types));
  types[3] = 0x7ffffff;
  CHECK(xc_get_pfn_type_batch(xch, domid, kPages, types) == 0);
  CHECK((types[0] & XEN_DOMCTL_PFINFO_LTAB_MASK) == XEN_DOMCTL_PFINFO_NOTAB);
  CHECK((types[3] & XEN_DOMCTL_PFINFO_LTAB_MASK) == XEN_DOMCTL_PFINFO_XTAB);
  static xen_pfn_t many[1025];
  CHECK(xc_get_pfn_type_batch(xch, domid, 1024, many) == 0);
  CHECK_REFUSED(xc_get_pfn_type_batch(xch, domid, 1025, many), E2BIG);
  CHECK_REFUSED(xc_get_pfn_type_batch(xch, kNobody, 1, many), ESRCH);
}

static void check_pv_memory(void) {
  xen_pfn_t frames[kPages];
  const uint32_t domid = create_domain_with_pages(0, 1, kPages, frames);
  check_foreign_pages(domid, frames, false);
  check_page_types(domid, frames);
  CHECK_REFUSED(xc_domain_claim_pages(xch, domid, kPages), EINVAL);  // it has them

  // Four frames in, four frames out.
  xen_pfn_t out[4] = {0, 1, 2, 3};
  CHECK(xc_domain_memory_exchange_pages(xch, domid, 4, 0, frames, 4, 0, out) == 0);
  CHECK(xc_get_tot_pages(xch, domid) == kPages);
  CHECK(out[0] != frames[0] && out[0] != 0);
  // Four in, one of four pages out; and what does not come out even. libxenctrl writes what it was
  // given for the answer also when there is none.
  xen_pfn_t absent[1] = {0x7fffffff};
  xen_pfn_t wanted[4] = {1, 2, 3, 4};
  xen_pfn_t block[1] = {8};
  CHECK(xc_domain_memory_exchange_pages(xch, domid, 4, 0, frames + 8, 1, 2, block) == 0);
  CHECK(block[0] % 4 == 0 && xc_get_tot_pages(xch, domid) == kPages);
  CHECK_REFUSED(xc_domain_memory_exchange_pages(xch, domid, 4, 0, frames + 12, 3, 0, wanted),
                EINVAL);
  CHECK_REFUSED(xc_domain_memory_exchange_pages(xch, kNobody, 4, 0, frames + 12, 4, 0, wanted),
                ESRCH);
  CHECK_REFUSED(xc_domain_memory_exchange_pages(xch, domid, 1, 0, absent, 1, 0, wanted), EINVAL);

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
  CHECK_REFUSED(xc_domain_set_memory_map(xch, kNobody, map, 2), ESRCH);
  static struct e820entry many[2000];
  CHECK_REFUSED(xc_domain_set_memory_map(xch, domid, many, 2000), EINVAL);

  // Its physmap is its own business, and it has no dirty log.
  CHECK_REFUSED(xc_domain_add_to_physmap(xch, domid, XENMAPSPACE_shared_info, 0, 0x900), EACCES);
  CHECK_REFUSED(xc_domain_remove_from_physmap(xch, domid, 0x900), EACCES);
  unsigned megabytes = 4;
  CHECK_REFUSED(xc_shadow_control(xch, domid, XEN_DOMCTL_SHADOW_OP_SET_ALLOCATION, &megabytes, 0),
                EINVAL);
  CHECK_REFUSED(xc_shadow_control(xch, domid, XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY, NULL, 0),
                EOPNOTSUPP);
  check_placement(domid);
  CHECK(xc_domain_destroy(xch, domid) == 0);
}

static void check_hvm_memory(void) {
  xen_pfn_t frames[kPages];
  const uint32_t domid =
      create_domain_with_pages(XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap, 1, kPages, frames);
  check_foreign_pages(domid, frames, true);
  check_page_types(domid, frames);

  xen_pfn_t highest = 0;
  CHECK(xc_domain_maximum_gpfn(xch, domid, &highest) == 0 && highest == kPages - 1);

  CHECK(xc_domain_add_to_physmap(xch, domid, XENMAPSPACE_shared_info, 0, 0x1000) == 0);
  CHECK(xc_domain_maximum_gpfn(xch, domid, &highest) == 0 && highest == 0x1000);
  CHECK(xc_domain_remove_from_physmap(xch, domid, 0x1000) == 0);
  CHECK_REFUSED(xc_domain_remove_from_physmap(xch, domid, 0x1000), ENOENT);
  CHECK_REFUSED(xc_domain_add_to_physmap(xch, domid, 77, 0, 0x1000), EINVAL);
  CHECK_REFUSED(xc_domain_add_to_physmap(xch, domid, XENMAPSPACE_shared_info, 1, 0x1000), EINVAL);
  CHECK_REFUSED(xc_domain_add_to_physmap(xch, kNobody, XENMAPSPACE_shared_info, 0, 1), ESRCH);
  CHECK_REFUSED(xc_domain_add_to_physmap(xch, domid, XENMAPSPACE_gmfn_foreign, 0, 1), ENOSYS);
  CHECK(xc_domain_add_to_physmap(xch, domid, XENMAPSPACE_grant_table, 5, 0x1001) == 0);
  CHECK_REFUSED(xc_domain_add_to_physmap(xch, domid, XENMAPSPACE_grant_table, 32, 1), EINVAL);
  // A page has one place: it goes from 10 to 0x1002, and from there over 11, which is freed.
  CHECK(xc_domain_add_to_physmap(xch, domid, XENMAPSPACE_gmfn, 10, 0x1002) == 0);
  CHECK_REFUSED(xc_domain_add_to_physmap(xch, domid, XENMAPSPACE_gmfn, 10, 0x1003), kNoPage);
  CHECK(xc_domain_add_to_physmap(xch, domid, XENMAPSPACE_gmfn, 0x1002, 11) == 0);
  CHECK(xc_get_tot_pages(xch, domid) == kPages - 1);
  // Where its shared info is shows in what is told of it.
  CHECK(xc_domain_add_to_physmap(xch, domid, XENMAPSPACE_shared_info, 0, 0x900) == 0);
  xc_domaininfo_t info;
  CHECK(find_domain(domid, &info) && info.shared_info_frame == 0x900);
  CHECK(xc_domain_remove_from_physmap(xch, domid, 0x900) == 0);
  CHECK(find_domain(domid, &info) && info.shared_info_frame == ~0ul);
  // Taken out of the physmap a page is not given back.
  CHECK(xc_domain_remove_from_physmap(xch, domid, 20) == 0);
  CHECK(xc_get_tot_pages(xch, domid) == kPages - 1);
  CHECK_REFUSED(xc_domain_remove_from_physmap(xch, kNobody, 20), ESRCH);

  // Two frames move, the third one is not there.
  xen_ulong_t from[3] = {8, 9, 0x7ffffff};
  xen_pfn_t to[3] = {0x2000, 0x2001, 0x2002};
  int errors[3] = {7, 7, 7};
  CHECK(xc_domain_add_to_physmap_batch(xch, domid, 0, XENMAPSPACE_gmfn, 3, from, to, errors) == 0);
  CHECK(errors[0] == 0 && errors[1] == 0 && errors[2] == -kNoPage);
  CHECK(xc_domain_add_to_physmap_batch(xch, domid, 0, 77, 1, from, to, errors) == 0);
  CHECK(errors[0] == -EINVAL);
  CHECK_REFUSED(
      xc_domain_add_to_physmap_batch(xch, kNobody, 0, XENMAPSPACE_gmfn, 1, from, to, errors),
      ESRCH);

  unsigned megabytes = 4;
  CHECK(xc_shadow_control(xch, domid, XEN_DOMCTL_SHADOW_OP_SET_ALLOCATION, &megabytes, 0) == 0);
  CHECK(xc_shadow_control(xch, domid, XEN_DOMCTL_SHADOW_OP_GET_ALLOCATION, &megabytes, 0) == 0);
  CHECK(megabytes == 4);
  // What of it is in use is not given back, all the rest is.
  uint64_t before = 0, after = 0;
  CHECK(xc_get_paging_mempool_size(xch, domid, &before) == 0 && before == 4 << 20);
  CHECK_REFUSED(xc_set_paging_mempool_size(xch, domid, 0), ENOMEM);
  CHECK(xc_get_paging_mempool_size(xch, domid, &after) == 0 && 0 < after && after < 1 << 20);
  CHECK(xc_set_paging_mempool_size(xch, domid, after) == 0);
  CHECK_REFUSED(xc_set_paging_mempool_size(xch, domid, after - 4096), ENOMEM);
  megabytes = 0;
  CHECK_REFUSED(xc_shadow_control(xch, domid, XEN_DOMCTL_SHADOW_OP_SET_ALLOCATION, &megabytes, 0),
                ENOMEM);
  CHECK(xc_set_paging_mempool_size(xch, domid, before) == 0);

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

  check_placement(domid);
  CHECK(xc_domain_destroy(xch, domid) == 0);
}

// A target for what is populated on demand: memory is set aside for a domain without a page, and one
// that has pages, none of which is to be populated, keeps what it has.
static void check_targets(void) {
  xen_pfn_t frames[16];
  const uint32_t pv = create_domain_with_pages(0, 1, 16, frames);
  CHECK_REFUSED(xc_domain_set_pod_target(xch, pv, 8, NULL, NULL, NULL), EINVAL);
  CHECK_REFUSED(xc_domain_get_pod_target(xch, pv, NULL, NULL, NULL), EINVAL);
  CHECK(xc_domain_destroy(xch, pv) == 0);

  const uint32_t hvm =
      create_domain_with_pages(XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap, 1, 0, NULL);
  CHECK(xc_domain_setmaxmem(xch, hvm, 4 * 1000) == 0);
  uint64_t total = 7, cache = 7, entries = 7;
  CHECK_REFUSED(xc_domain_set_pod_target(xch, hvm, 1001, NULL, NULL, NULL), EINVAL);
  static const struct {
    uint64_t target, pages;
  } kTargets[] = {{0, 0}, {600, 600}, {601, 601}, {1000, 1000}, {5, 1000}};
  for (unsigned i = 0; i < sizeof(kTargets) / sizeof(kTargets[0]); i++) {
    CHECK(xc_domain_set_pod_target(xch, hvm, kTargets[i].target, &total, &cache, &entries) == 0);
    CHECK(total == kTargets[i].pages && cache == total && entries == 0);
    CHECK(xc_domain_get_pod_target(xch, hvm, &total, &cache, &entries) == 0);
    CHECK(total == kTargets[i].pages && cache == total && entries == 0);
  }
  CHECK(xc_domain_setmaxmem(xch, hvm, 4 * 2000) == 0);
  xen_pfn_t gfn = 3;
  CHECK(xc_domain_decrease_reservation(xch, hvm, 1, 0, &gfn) == 0);
  CHECK(xc_domain_populate_physmap_exact(xch, hvm, 1, 0, 0, &gfn) == 0);
  CHECK(xc_domain_set_pod_target(xch, hvm, 1500, &total, &cache, &entries) == 0);
  CHECK(total == 1001 && cache == 1000 && entries == 0);
  CHECK(xc_domain_set_pod_target(xch, hvm, 10, &total, &cache, &entries) == 0);
  CHECK(total == 1001 && cache == 1000 && entries == 0);
  CHECK(xc_domain_destroy(xch, hvm) == 0);
  CHECK_REFUSED(xc_domain_set_pod_target(xch, kNobody, 1, NULL, NULL, NULL), ESRCH);
  CHECK_REFUSED(xc_domain_get_pod_target(xch, kNobody, NULL, NULL, NULL), ESRCH);
}

// A physmap of four levels has an end.
static void check_far_memory(void) {
  const uint32_t domid =
      create_domain_with_pages(XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap, 1, kPages, NULL);
  static const xen_pfn_t kFar[] = {1ul << 27, 1ul << 35, (1ul << 36) - 1};
  for (unsigned i = 0; i < sizeof(kFar) / sizeof(kFar[0]); i++) {
    xen_pfn_t gfn = kFar[i];
    CHECK(xc_domain_add_to_physmap(xch, domid, XENMAPSPACE_shared_info, 0, gfn) == 0);
    CHECK(xc_domain_remove_from_physmap(xch, domid, gfn) == 0);
    CHECK(xc_domain_populate_physmap_exact(xch, domid, 1, 0, 0, &gfn) == 0);
    unsigned char *mapped = xc_map_foreign_range(xch, domid, 4096, PROT_READ, gfn);
    CHECK(mapped != NULL && mapped[4095] == 0);
    if (mapped != NULL) munmap(mapped, 4096);
    CHECK(xc_domain_decrease_reservation_exact(xch, domid, 1, 0, &gfn) == 0);
  }
  static const xen_pfn_t kBeyond[] = {1ul << 36, 1ul << 44, 1ul << 50};
  for (unsigned i = 0; i < sizeof(kBeyond) / sizeof(kBeyond[0]); i++) {
    xen_pfn_t gfn = kBeyond[i];
    CHECK_REFUSED(xc_domain_add_to_physmap(xch, domid, XENMAPSPACE_shared_info, 0, gfn), ENOENT);
    CHECK_REFUSED(xc_domain_remove_from_physmap(xch, domid, gfn), ENOENT);
    CHECK(xc_domain_populate_physmap(xch, domid, 1, 0, 0, &gfn) == 0);
  }
  CHECK(xc_get_tot_pages(xch, domid) == kPages + 3);  // those that found no place
  xen_pfn_t highest = 0;
  CHECK(xc_domain_maximum_gpfn(xch, domid, &highest) == 0 && highest == (1ul << 36) - 1);
  CHECK(xc_domain_destroy(xch, domid) == 0);
}

// A page that somebody maps is there until the mapping ends, by munmap as toolstacks end it, and so
// long its domain is not gone.
static void check_held_page(void) {
  xen_pfn_t frames[4];
  const uint32_t domid = create_domain_with_pages(0, 1, 4, frames);
  unsigned char *mapped = xc_map_foreign_range(xch, domid, 4096, PROT_READ | PROT_WRITE, frames[2]);
  CHECK(mapped != NULL);
  if (mapped == NULL) return;
  mapped[17] = 'x';
  CHECK(xc_domain_destroy(xch, domid) == 0);
  CHECK(mapped[17] == 'x');
  xc_domaininfo_t info;
  CHECK(find_domain(domid, &info) && info.tot_pages == 1);
  CHECK((info.flags & XEN_DOMINF_dying) != 0);
  CHECK(xc_map_foreign_range(xch, domid, 4096, PROT_READ, frames[1]) == NULL);
  CHECK(munmap(mapped, 4096) == 0);
  for (int i = 0; i < 200 && find_domain(domid, &info); i++) usleep(10000);
  CHECK(!find_domain(domid, &info));
}

void check_memory_calls(void) {
  check_pv_memory();
  check_hvm_memory();
  check_targets();
  check_far_memory();
  check_held_page();
}
