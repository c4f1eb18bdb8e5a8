// Whether the log of dirty pages of a running guest has what Xen writes by a region, and no more.
//
//   dirty_pages DOMID WRITTEN OTHER
//
// The guest runs `regions --write`, which says the two pfns.
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <xenctrl.h>

#include "tests/xen/check.h"

unsigned checks_passed, checks_failed;

static bool has(const uint64_t *bits, unsigned long number) {
  return (bits[number / 64] >> number % 64 & 1) != 0;
}

int main(int argc, char **argv) {
  if (argc != 4) return 1;
  const uint32_t domid = (uint32_t)atoi(argv[1]);
  const unsigned long written = strtoul(argv[2], NULL, 10), other = strtoul(argv[3], NULL, 10);
  xc_interface *const xch = xc_interface_open(NULL, NULL, 0);
  CHECK(xch != NULL);
  xen_pfn_t last = 0;
  CHECK(xc_domain_maximum_gpfn(xch, domid, &last) == 0 && written <= last && other <= last);
  const unsigned long pages = last + 1;
  DECLARE_HYPERCALL_BUFFER(uint64_t, bits);
  bits = xc_hypercall_buffer_alloc_pages(xch, bits, pages / 8 / 4096 + 1);
  CHECK(bits != NULL);
  if (checks_failed != 0) return close_checks();

  CHECK(xc_shadow_control(xch, domid, XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY, NULL, 0) == 0);
  for (unsigned turn = 0; turn < 5; turn++) {
    // With the first one there is all that was dirty before.
    CHECK(xc_logdirty_control(xch, domid, XEN_DOMCTL_SHADOW_OP_CLEAN, HYPERCALL_BUFFER(bits), pages,
                              0, NULL) == (long long)pages);
    usleep(300000);
    CHECK(xc_logdirty_control(xch, domid, XEN_DOMCTL_SHADOW_OP_PEEK, HYPERCALL_BUFFER(bits), pages,
                              0, NULL) == (long long)pages);
    CHECK(has(bits, written) && !has(bits, other));
  }
  CHECK(xc_shadow_control(xch, domid, XEN_DOMCTL_SHADOW_OP_OFF, NULL, 0) == 0);
  xc_hypercall_buffer_free_pages(xch, bits, pages / 8 / 4096 + 1);
  CHECK(xc_interface_close(xch) == 0);
  return close_checks();
}
