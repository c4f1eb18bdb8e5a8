// What the parts of the toolstack program share.
#ifndef TESTS_XEN_TOOLSTACK_H_
#define TESTS_XEN_TOOLSTACK_H_

// With the older names of the calls that map foreign memory (xenctrl_compat.h).
#define XC_WANT_COMPAT_MAP_FOREIGN_API
#include <stdbool.h>
#include <stdint.h>

#include <xenctrl.h>

#include <xen/features.h>
#include <xen/hvm/params.h>
#include <xenguest.h>

#include "tests/xen/minor.h"

// Exported by libxenctrl, in no installed header: turns frame numbers into their types.
int xc_get_pfn_type_batch(xc_interface *xch, uint32_t dom, unsigned num, xen_pfn_t *types);

extern xc_interface *xch;

// Of a domain that nobody has: DOMID_FIRST_RESERVED is 0x7ff0.
enum { kNobody = 0x7abc };

// A domain without memory, with `max_vcpus` vcpus that are not up. PV without XEN_DOMCTL_CDF_hvm.
uint32_t create_domain(uint32_t flags, unsigned max_vcpus);

// As create_domain, with `pages` pages: at gfn 0 and up of an HVM domain. `frames` gets the numbers
// by which the toolstack names them and may be null.
uint32_t create_domain_with_pages(uint32_t flags, unsigned max_vcpus, unsigned pages,
                                  xen_pfn_t *frames);

// Whether there is such a domain, and what Xen tells of it.
bool find_domain(uint32_t domid, xc_domaininfo_t *info);

void check_host_calls(void);
void check_domain_state(void);
void check_hvm_state(void);
void check_many_pages(void);
void check_restriction(void);
void check_domain_calls(void);
void check_memory_calls(void);
void check_page_tables(void);
void check_builder(void);
void check_grants_in_use(void);

#endif  // TESTS_XEN_TOOLSTACK_H_
