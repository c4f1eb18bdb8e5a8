// What the parts of the regions program share: regions over pages of the kernel's own, which is
// made to do whatever it could (forge/forge.h).
#ifndef TESTS_XEN_REGIONS_H_
#define TESTS_XEN_REGIONS_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <xen/xen.h>

#include "hcall/xen/xen/include/public/xencomm_op.h"
#include "tests/xen/check.h"
#include "tests/xen/forge/forge.h"

enum { kPage = 4096, kExtraVersion = 16 };
// Where regions of tests lie: a number like any other, as nothing is mapped there.
static const uint64_t kBase = 0x5500000000;

extern bool is_pvh;
extern bool is_control;  // the domain may make the toolstack's calls

// Page 0 begins with the table. Bytes of the pages are named by how far they are from there.
struct region {
  int fd;  // of the pages
  uint64_t pages;
  struct xencomm_header header;
  int64_t handle;
};

// Hypercalls: index, arguments, region; all registers afterwards, or Xen's answer.
struct forge_call call7(uint64_t index, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e,
                        uint64_t region);
int64_t call(uint64_t index, uint64_t a, uint64_t b, uint64_t c, uint64_t region);
int64_t xencomm_op(uint64_t op, uint64_t a, uint64_t b, uint64_t c, uint64_t d);
// With a region.
int64_t in_region(const struct region *region, unsigned number, uint64_t a, uint64_t b);

// Guest-physical; of a PV domain machine address.
uint64_t page_address(const struct region *region, uint64_t page);
void put(const struct region *region, uint64_t at, const void *bytes, size_t size);
void get(const struct region *region, uint64_t at, void *bytes, size_t size);
void put_base(const struct region *region, uint64_t index, uint64_t base);

// Over `pages` pages, in order, all backed; not registered.
struct region make_table(uint64_t pages);
int64_t try_register(const struct region *region, uint64_t access);
// make_table's, registered for reading and writing.
struct region make_region(uint64_t pages);
void end_table(struct region *region);
void end_region(struct region *region);

// Has the hypervisor write kExtraVersion bytes, the first of which is a point.
int64_t extraversion(const struct region *region, uint64_t pointer);
bool has_extraversion(const struct region *region, uint64_t at);

// region_registering.c
void check_headers(void);
void check_extend(void);
void check_ids(void);
void check_large(void);
void check_many_pages(void);
void check_granules(void);
void check_page_form(void);
void check_balloon(void);
void check_registering_at_once(void);
void check_xen_frames(void);

// region_calls.c
void check_probe(void);
void check_pointers(void);
void check_nested(void);
void check_kept_pointers(void);
void check_read_only(void);
void check_arguments(void);
void check_arguments_read_only(void);
void check_iret_in_list(void);
void check_multicall(void);
void check_ends_under_calls(void);
void check_ends_in_mid_call(void);

#endif  // TESTS_XEN_REGIONS_H_
