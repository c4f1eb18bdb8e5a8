// Page tables of a PV domain, built and pinned by hand: what Xen takes for one, and what that means
// for the pages in it.
#include <stdlib.h>
#include <sys/mman.h>

#include "tests/xen/check.h"
#include "tests/xen/toolstack.h"

enum { kPages = 32, kRoot = 0, kUpper, kMiddle, kLowest, kFirstMapped };

enum { kPresent = 1, kWritable = 2, kUser = 4, kAccessed = 32 };
static const uint64_t kTable = kPresent | kWritable | kUser | kAccessed;
static const uint64_t kOfKernel = 1ull << 52;  // _PAGE_GUEST_KERNEL in Xen

static xen_pfn_t frames[kPages];

// Entry `index` of a page, written or read as a toolstack does that has mapped it.
static uint64_t entry_of(uint32_t domid, unsigned page, unsigned index, const uint64_t *value) {
  const int protection = value != NULL ? PROT_READ | PROT_WRITE : PROT_READ;
  uint64_t *const table = xc_map_foreign_range(xch, domid, 4096, protection, frames[page]);
  CHECK(table != NULL);
  if (table == NULL) return 0;
  if (value != NULL) table[index] = *value;
  const uint64_t entry = table[index];
  munmap(table, 4096);
  return entry;
}
static void set_entry(uint32_t domid, unsigned page, unsigned index, uint64_t value) {
  entry_of(domid, page, index, &value);
}
static uint64_t to(unsigned page, uint64_t flags) { return frames[page] << 12 | flags; }

static int change(uint32_t domid, unsigned cmd, xen_pfn_t mfn) {
  struct mmuext_op op = {.cmd = cmd, .arg1.mfn = mfn};
  return xc_mmuext_op(xch, &op, 1, domid);
}
static int pin(uint32_t domid, unsigned page, unsigned level) {
  return change(domid, MMUEXT_PIN_L1_TABLE + level - 1, frames[page]);
}
static int unpin(uint32_t domid, unsigned page) {
  return change(domid, MMUEXT_UNPIN_TABLE, frames[page]);
}

// The types of the tables and of the first page behind them.
static bool types_are(uint32_t domid, uint32_t root, uint32_t upper, uint32_t middle,
                      uint32_t lowest) {
  xen_pfn_t types[kFirstMapped + 1];
  memcpy(types, frames, sizeof(types));
  if (xc_get_pfn_type_batch(xch, domid, kFirstMapped + 1, types) != 0) return false;
  return types[0] == root && types[1] == upper && types[2] == middle && types[3] == lowest &&
         types[kFirstMapped] == XEN_DOMCTL_PFINFO_NOTAB;
}
static bool is_pinned_tree(uint32_t domid) {
  return types_are(domid, XEN_DOMCTL_PFINFO_L4TAB | XEN_DOMCTL_PFINFO_LPINTAB,
                   XEN_DOMCTL_PFINFO_L3TAB, XEN_DOMCTL_PFINFO_L2TAB, XEN_DOMCTL_PFINFO_L1TAB);
}
static bool has_no_tables(uint32_t domid) { return types_are(domid, 0, 0, 0, 0); }

static void check_entries(uint32_t domid) {
  const unsigned kSpare = 20;
  const uint64_t past = (uint64_t)0x7ffffff << 12, none = (((uint64_t)1 << 40) - 1) << 12;
  xen_pfn_t other_frame = 0;
  const uint32_t other = create_domain_with_pages(0, 1, 1, &other_frame);
  const uint64_t of_others = other_frame << 12;
  const struct {
    unsigned page, index;
    uint64_t entry;
    int error;  // 0: it is pinned
  } kRows[] = {
      // Flags.
      {kLowest, 511, to(kSpare, kPresent | 0x8), EINVAL},
      {kLowest, 511, to(kSpare, kPresent | 0x10), EINVAL},
      {kLowest, 511, to(kSpare, kPresent | 0x80), EINVAL},
      {kLowest, 511, to(kSpare, kPresent | 0x100), 0},
      {kLowest, 511, to(kSpare, kPresent | 0xe00 | 1ull << 62 | 1ull << 63), 0},
      {kMiddle, 511, to(kSpare, kPresent | 0x80), EINVAL},
      {kMiddle, 511, to(kSpare, kPresent | 0x100), EINVAL},
      {kUpper, 511, to(kSpare, kPresent | 0x80), EINVAL},
      {kRoot, 511, to(kSpare, kPresent | 0x10), EINVAL},
      // Frames.
      {kLowest, 511, past | kPresent, EPERM},
      {kLowest, 511, none | kPresent, EINVAL},
      {kLowest, 511, of_others | kPresent, EBUSY},
      {kMiddle, 511, past | kTable, EINVAL},
      {kRoot, 511, of_others | kTable, EINVAL},
      // Levels, and tables that would be written.
      {kRoot, 511, to(kMiddle, kTable), EINVAL},
      {kMiddle, 511, to(kMiddle, kTable), EINVAL},
      {kMiddle, 511, to(kFirstMapped, kTable), EINVAL},
      {kLowest, 511, to(kRoot, kPresent | kWritable), EBUSY},
      {kLowest, 511, to(kLowest, kPresent | kWritable), EBUSY},
      {kLowest, 511, to(kLowest, kPresent), 0},
      {kRoot, 511, to(kRoot, kPresent | kUser), 0},
      {kRoot, 511, to(kRoot, kTable), EINVAL},
      // The hypervisor's part of the root.
      {kRoot, 256, past | kTable, 0},
      {kRoot, 271, past | kTable, 0},
      {kRoot, 255, past | kTable, EINVAL},
      {kRoot, 272, past | kTable, EINVAL},
  };
  for (unsigned i = 0; i < sizeof(kRows) / sizeof(kRows[0]); i++) {
    set_entry(domid, kRows[i].page, kRows[i].index, kRows[i].entry);
    errno = 0;
    const int answer = pin(domid, kRoot, 4);
    if (!(kRows[i].error == 0 ? answer == 0 : answer == -1 && errno == kRows[i].error)) {
      printf("row %u: %d, errno %d\n", i, answer, errno);
    }
    CHECK(kRows[i].error == 0 ? answer == 0 : answer == -1 && errno == kRows[i].error);
    CHECK(answer == 0 ? is_pinned_tree(domid) : has_no_tables(domid));
    if (answer == 0) CHECK(unpin(domid, kRoot) == 0);
    CHECK(has_no_tables(domid));
    set_entry(domid, kRows[i].page, kRows[i].index, 0);
  }
  CHECK(xc_domain_destroy(xch, other) == 0);
}

static void check_pins(uint32_t domid) {
  CHECK_REFUSED(unpin(domid, kRoot), EINVAL);
  CHECK(pin(domid, kRoot, 4) == 0);
  CHECK(is_pinned_tree(domid));
  CHECK_REFUSED(pin(domid, kRoot, 4), EINVAL);
  CHECK_REFUSED(pin(domid, kRoot, 3), EINVAL);
  CHECK_REFUSED(pin(domid, kLowest, 2), EINVAL);
  CHECK_REFUSED(pin(domid, kFirstMapped, 1), EINVAL);  // mapped for writing
  CHECK_REFUSED(unpin(domid, kUpper), EINVAL);
  CHECK(is_pinned_tree(domid));
  // A pin of its own keeps a table when the tree goes.
  CHECK(pin(domid, kMiddle, 2) == 0);
  CHECK(unpin(domid, kRoot) == 0);
  CHECK(types_are(domid, 0, 0, XEN_DOMCTL_PFINFO_L2TAB | XEN_DOMCTL_PFINFO_LPINTAB,
                  XEN_DOMCTL_PFINFO_L1TAB));
  CHECK(unpin(domid, kMiddle) == 0);
  CHECK(has_no_tables(domid));

  // A list goes on until one fails.
  struct mmuext_op list[3] = {{.cmd = MMUEXT_PIN_L4_TABLE, .arg1.mfn = frames[kRoot]},
                              {.cmd = MMUEXT_UNPIN_TABLE, .arg1.mfn = frames[kUpper]},
                              {.cmd = MMUEXT_UNPIN_TABLE, .arg1.mfn = frames[kRoot]}};
  CHECK_REFUSED(xc_mmuext_op(xch, list, 3, domid), EINVAL);
  CHECK(is_pinned_tree(domid));
  CHECK(xc_mmuext_op(xch, list + 2, 1, domid) == 0);
  CHECK(xc_mmuext_op(xch, list, 0, domid) == 0);

  CHECK_REFUSED(change(kNobody, MMUEXT_PIN_L4_TABLE, frames[kRoot]), ESRCH);
  CHECK_REFUSED(change(0, MMUEXT_PIN_L4_TABLE, frames[kRoot]), ESRCH);
  CHECK_REFUSED(change(domid, MMUEXT_PIN_L4_TABLE, 0x7ffffff), EINVAL);
  CHECK_REFUSED(change(domid, MMUEXT_UNPIN_TABLE, 0x7ffffff), EINVAL);
  // Which other ops there are depends on the kind of domain 0.
  CHECK(change(domid, MMUEXT_NEW_BASEPTR, frames[kRoot]) == -1 &&
        (errno == EPERM || errno == EOPNOTSUPP));
}

// What becomes of entries, and of pages that are given up while tables lead to them.
static void check_pages(uint32_t domid) {
  CHECK(pin(domid, kRoot, 4) == 0);
  CHECK(entry_of(domid, kLowest, kFirstMapped, NULL) ==
        to(kFirstMapped, kPresent | kWritable | kAccessed | kUser | kOfKernel));
  CHECK(entry_of(domid, kLowest, 30, NULL) == 0);
  CHECK((entry_of(domid, kRoot, 0, NULL) & ~(uint64_t)64) == to(kUpper, kTable));

  // A PV domain 0 cannot map a table for writing; a translated one can, as it does here.
  errno = 0;
  void *const mapped =
      xc_map_foreign_range(xch, domid, 4096, PROT_READ | PROT_WRITE, frames[kRoot]);
  CHECK(mapped != NULL || errno == EBUSY);
  if (mapped != NULL) munmap(mapped, 4096);

  const long before = xc_get_tot_pages(xch, domid);
  CHECK(xc_domain_decrease_reservation_exact(xch, domid, 1, 0, &frames[kFirstMapped]) == 0);
  CHECK(xc_domain_decrease_reservation_exact(xch, domid, 1, 0, &frames[kUpper]) == 0);
  CHECK(xc_domain_decrease_reservation_exact(xch, domid, 1, 0, &frames[kRoot]) == 0);
  CHECK(xc_domain_decrease_reservation_exact(xch, domid, 1, 0, &frames[kPages - 1]) == 0);
  CHECK(xc_get_tot_pages(xch, domid) == before - 1);
  for (unsigned page = kMiddle; page <= kFirstMapped + 2; page++) {
    xen_pfn_t out = 0;
    const bool is_free = page == kFirstMapped + 2;  // nothing leads to it
    if (page == kFirstMapped) continue;
    errno = 0;
    const int answer = xc_domain_memory_exchange_pages(xch, domid, 1, 0, &frames[page], 1, 0, &out);
    CHECK(is_free ? answer == 0 : answer == -1 && errno == EINVAL);
  }
  CHECK(unpin(domid, kRoot) == 0);
  CHECK(xc_get_tot_pages(xch, domid) == before - 4);
}

void check_page_tables(void) {
  const uint32_t domid = create_domain_with_pages(0, 1, kPages, frames);
  set_entry(domid, kRoot, 0, to(kUpper, kTable));
  set_entry(domid, kUpper, 0, to(kMiddle, kTable));
  set_entry(domid, kMiddle, 0, to(kLowest, kTable));
  for (unsigned i = kFirstMapped; i < kFirstMapped + 2; i++) {
    set_entry(domid, kLowest, i, to(i, kPresent | kWritable | kAccessed));
  }
  CHECK(has_no_tables(domid));
  check_pins(domid);
  check_entries(domid);
  check_pages(domid);
  // It ends with what is pinned.
  set_entry(domid, kLowest, kFirstMapped, 0);
  CHECK(pin(domid, kMiddle, 2) == 0);
  CHECK(xc_domain_destroy(xch, domid) == 0);

  const uint32_t hvm =
      create_domain_with_pages(XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap, 1, 8, NULL);
  CHECK_REFUSED(change(hvm, MMUEXT_PIN_L4_TABLE, 3), EINVAL);
  CHECK(xc_domain_destroy(xch, hvm) == 0);
}
