// Calls that fail half way: what Xen has done by then, and leaves.
//
// A list runs from a page into one that cannot be read; an answer goes into one that can only be
// read; memory ends, or a field is wrong, in the middle; an argument is gone when a call goes on. A
// process protects its pages as it likes, and a hypervisor meets that in the page tables.
//
// Named after the call, and what it meets: _read, _write, _memory, _gone, or the field.
#include "tests/xen/refused_calls.h"

#include <sys/mman.h>

#include <xenctrl.h>

#include <xen/hvm/save.h>
#include <xen/vcpu.h>

#include "tests/xen/check.h"
#include "tests/xen/minor.h"

enum { kPage = 4096, kRoom = 24 * kPage, kUntouched = 7, kManyPages = 64 };

// Far above what a domain's physmap can hold.
static const xen_pfn_t kNowhere = (xen_pfn_t)1 << 45;

// Arguments that nothing is wrong with, one after the other.
static char *room;
static size_t used;
// Between a page that nothing is wrong with and one that is protected.
static char *border;

static void *locked_pages(size_t bytes) {
  void *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE | MAP_LOCKED, -1, 0);
  CHECK(pages != MAP_FAILED);
  return pages;
}

static void begin(void) {
  if (room == NULL) {
    room = locked_pages(kRoom);
    border = (char *)locked_pages(2 * kPage) + kPage;
  }
  CHECK(mprotect(border, kPage, PROT_READ | PROT_WRITE) == 0);
  memset(border - kPage, 0, 2 * kPage);
  memset(room, 0, kRoom);
  used = 0;
}

static void *put(size_t bytes) {
  void *place = room + used;
  used += (bytes + 15) & ~(size_t)15;
  CHECK(used <= kRoom);
  return place;
}

// What lies behind the border can only be read from now on, or not even that.
static void protect(int protection) { CHECK(mprotect(border, kPage, protection) == 0); }

static long call(unsigned number, uint64_t op, const void *argument) {
  return hypercall(number, op, (uintptr_t)argument, 0);
}

// domctl

static struct xen_domctl *put_domctl(struct xen_domctl *place, const struct xen_domctl *op,
                                     uint32_t cmd, uint32_t domid) {
  *place = *op;
  place->cmd = cmd;
  place->interface_version = XEN_DOMCTL_INTERFACE_VERSION;
  place->domain = (domid_t)domid;
  return place;
}

static long domctl(struct xen_domctl *op, uint32_t cmd, uint32_t domid) {
  struct xen_domctl *argument = put_domctl(put(sizeof(*argument)), op, cmd, domid);
  const long answer = hypercall(__HYPERVISOR_domctl, (uintptr_t)argument, 0, 0);
  *op = *argument;
  return answer;
}

static struct xen_domctl *put_domctl_at_border(const struct xen_domctl *op, uint32_t cmd,
                                               uint32_t domid) {
  protect(PROT_READ | PROT_WRITE);
  return put_domctl((struct xen_domctl *)border, op, cmd, domid);
}

// Of which the answer cannot be written.
static long domctl_unanswered(const struct xen_domctl *op, uint32_t cmd, uint32_t domid) {
  const struct xen_domctl *argument = put_domctl_at_border(op, cmd, domid);
  protect(PROT_READ);
  return hypercall(__HYPERVISOR_domctl, (uintptr_t)argument, 0, 0);
}

static struct xen_domctl creation(uint32_t flags) {
  struct xen_domctl op = {.u.createdomain = {.flags = flags,
                                             .max_vcpus = 1,
                                             .max_evtchn_port = 1023,
                                             .max_grant_frames = 32,
                                             .max_maptrack_frames = 1024,
                                             .grant_opts = XEN_DOMCTL_GRANT_version(1)}};
  if (flags & XEN_DOMCTL_CDF_hvm) op.u.createdomain.arch.emulation_flags = XEN_X86_EMU_LAPIC;
  return op;
}

enum { kPv = 0, kHvm = XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap };

// With a vcpu, and with room for so many pages.
static uint32_t create(uint32_t flags, uint64_t max_pages) {
  begin();
  struct xen_domctl op = creation(flags);
  CHECK(domctl(&op, XEN_DOMCTL_createdomain, 0) == 0);
  const uint32_t domid = op.domain;
  op = (struct xen_domctl){.u.max_vcpus.max = 1};
  CHECK(domctl(&op, XEN_DOMCTL_max_vcpus, domid) == 0);
  op = (struct xen_domctl){.u.max_mem.max_memkb = max_pages * 4};
  CHECK(domctl(&op, XEN_DOMCTL_max_mem, domid) == 0);
  return domid;
}

static void destroy(uint32_t domid) {
  struct xen_domctl op = {0};
  long answer;
  do answer = domctl(&op, XEN_DOMCTL_destroydomain, domid);
  while (answer == -EAGAIN);
  CHECK(answer == 0);
}

static long page_count(uint32_t domid) {
  domid_t *argument = put(sizeof(*argument));
  *argument = (domid_t)domid;
  return call(__HYPERVISOR_memory_op, XENMEM_current_reservation, argument);
}

// Reservations

static struct xen_memory_reservation *reservation(uint32_t domid, xen_pfn_t *extents,
                                                  unsigned long count) {
  struct xen_memory_reservation *argument = put(sizeof(*argument));
  argument->nr_extents = count;
  argument->domid = (domid_t)domid;
  set_xen_guest_handle_raw(argument->extent_start, extents);
  return argument;
}

static long reserve(unsigned op, uint32_t domid, xen_pfn_t *extents, unsigned long count) {
  return call(__HYPERVISOR_memory_op, op, reservation(domid, extents, count));
}

// Numbers 0, 1 … of which `in_front` lie before the border.
static xen_pfn_t *extents_at_border(unsigned in_front, unsigned count) {
  xen_pfn_t *extents = (xen_pfn_t *)border - in_front;
  for (unsigned i = 0; i < count; i++) extents[i] = i;
  return extents;
}

// As create, with all its pages: at gfn 0 and up. The frames by which a toolstack names them.
static uint32_t create_with_pages(uint32_t flags, unsigned pages, xen_pfn_t **frames) {
  const uint32_t domid = create(flags, pages);
  *frames = put(pages * sizeof(**frames));
  for (unsigned i = 0; i < pages; i++) (*frames)[i] = i;
  CHECK(reserve(XENMEM_populate_physmap, domid, *frames, pages) == pages);
  return domid;
}

static void populate_physmap_read(void) {
  const uint32_t domid = create(kHvm, kManyPages);
  xen_pfn_t *extents = extents_at_border(2, 4);
  protect(PROT_NONE);
  CHECK(reserve(XENMEM_populate_physmap, domid, extents, 4) == 2);
  CHECK(page_count(domid) == 2);
  destroy(domid);
}

// Of a PV domain: it is told where its memory is.
static void populate_physmap_write(void) {
  const uint32_t domid = create(kPv, kManyPages);
  xen_pfn_t *extents = extents_at_border(2, 4);
  protect(PROT_READ);
  CHECK(reserve(XENMEM_populate_physmap, domid, extents, 4) == 2);
  CHECK(page_count(domid) == 3);
  CHECK(extents[1] != 1 && extents[2] == 2);
  destroy(domid);
}

static void populate_physmap_memory(void) {
  const uint32_t domid = create(kHvm, 2);
  CHECK(reserve(XENMEM_populate_physmap, domid, extents_at_border(2, 4), 4) == 2);
  CHECK(page_count(domid) == 2);
  destroy(domid);
}

// A page that can be put nowhere is the domain's all the same.
static void populate_physmap_nowhere(void) {
  const uint32_t domid = create(kHvm, kManyPages);
  xen_pfn_t *extents = extents_at_border(2, 4);
  extents[2] = kNowhere;
  CHECK(reserve(XENMEM_populate_physmap, domid, extents, 4) == 2);
  CHECK(page_count(domid) == 3);
  destroy(domid);
}

static void increase_reservation_write(void) {
  const uint32_t domid = create(kPv, kManyPages);
  xen_pfn_t *extents = extents_at_border(2, 4);
  protect(PROT_READ);
  CHECK(reserve(XENMEM_increase_reservation, domid, extents, 4) == 2);
  CHECK(page_count(domid) == 3);
  CHECK(extents[1] != 1 && extents[2] == 2);
  destroy(domid);
}

static void increase_reservation_memory(void) {
  const uint32_t domid = create(kPv, 2);
  CHECK(reserve(XENMEM_increase_reservation, domid, extents_at_border(2, 4), 4) == 2);
  CHECK(page_count(domid) == 2);
  destroy(domid);
}

static void decrease_reservation_read(void) {
  xen_pfn_t *frames;
  const uint32_t domid = create_with_pages(kHvm, 8, &frames);
  xen_pfn_t *extents = extents_at_border(2, 4);
  protect(PROT_NONE);
  CHECK(reserve(XENMEM_decrease_reservation, domid, extents, 4) == 2);
  CHECK(page_count(domid) == 6);
  destroy(domid);
}

// The physmap

enum { kWindow = 0x2000 };

static bool is_at(uint32_t domid, xen_pfn_t gfn) {
  struct xen_remove_from_physmap *argument = put(sizeof(*argument));
  argument->domid = (domid_t)domid;
  argument->gpfn = gfn;
  return call(__HYPERVISOR_memory_op, XENMEM_remove_from_physmap, argument) == 0;
}

static long add_to_physmap(uint32_t domid, unsigned space, unsigned size, xen_ulong_t index,
                           xen_pfn_t gfn) {
  struct xen_add_to_physmap *argument = put(sizeof(*argument));
  *argument = (struct xen_add_to_physmap){
      .domid = (domid_t)domid, .size = (uint16_t)size, .space = space, .idx = index, .gpfn = gfn};
  return call(__HYPERVISOR_memory_op, XENMEM_add_to_physmap, argument);
}

// Of pages at gfn 0, 1 … to kWindow and up.
static long add_batch(uint32_t domid, unsigned space, unsigned count, xen_ulong_t *indices,
                      xen_pfn_t *gfns, int *errors) {
  struct xen_add_to_physmap_batch *argument = put(sizeof(*argument));
  argument->domid = (domid_t)domid;
  argument->space = (uint16_t)space;
  argument->size = (uint16_t)count;
  set_xen_guest_handle_raw(argument->idxs, indices);
  set_xen_guest_handle_raw(argument->gpfns, gfns);
  set_xen_guest_handle_raw(argument->errs, errors);
  return call(__HYPERVISOR_memory_op, XENMEM_add_to_physmap_batch, argument);
}

static xen_pfn_t *window(unsigned count) {
  xen_pfn_t *gfns = put(count * sizeof(*gfns));
  for (unsigned i = 0; i < count; i++) gfns[i] = kWindow + i;
  return gfns;
}

static void add_to_physmap_batch_read(void) {
  xen_pfn_t *frames;
  const uint32_t domid = create_with_pages(kHvm, 8, &frames);
  xen_ulong_t *indices = extents_at_border(2, 4);
  int *errors = put(4 * sizeof(*errors));
  for (int i = 0; i < 4; i++) errors[i] = kUntouched;
  protect(PROT_NONE);
  CHECK(add_batch(domid, XENMAPSPACE_gmfn, 4, indices, window(4), errors) == -EFAULT);
  CHECK(errors[0] == 0 && errors[1] == 0 && errors[2] == kUntouched);
  CHECK(!is_at(domid, 0) && !is_at(domid, 1) && is_at(domid, 2));
  CHECK(is_at(domid, kWindow) && is_at(domid, kWindow + 1) && !is_at(domid, kWindow + 2));
  destroy(domid);
}

static void add_to_physmap_batch_write(void) {
  xen_pfn_t *frames;
  const uint32_t domid = create_with_pages(kHvm, 8, &frames);
  xen_ulong_t *indices = put(4 * sizeof(*indices));
  int *errors = (int *)border - 1;
  for (unsigned i = 0; i < 4; i++) {
    indices[i] = i;
    errors[i] = kUntouched;
  }
  protect(PROT_READ);
  CHECK(add_batch(domid, XENMAPSPACE_gmfn, 4, indices, window(4), errors) == -EFAULT);
  CHECK(errors[0] == 0 && errors[1] == kUntouched);
  CHECK(!is_at(domid, 0) && !is_at(domid, 1) && is_at(domid, 2));
  CHECK(is_at(domid, kWindow) && is_at(domid, kWindow + 1) && !is_at(domid, kWindow + 2));
  destroy(domid);
}

static unsigned grant_frames(uint32_t domid) {
  struct gnttab_query_size *argument = put(sizeof(*argument));
  argument->dom = (domid_t)domid;
  CHECK(hypercall(__HYPERVISOR_grant_table_op, GNTTABOP_query_size, (uintptr_t)argument, 1) == 0);
  CHECK(argument->status == GNTST_okay);
  return argument->nr_frames;
}

// The table grows for a frame, which then can be put nowhere.
static void add_to_physmap_batch_grant_frame(void) {
  const uint32_t domid = create(kHvm, kManyPages);
  CHECK(grant_frames(domid) == 1);
  xen_ulong_t *indices = put(2 * sizeof(*indices));
  indices[1] = 5;
  xen_pfn_t *gfns = window(2);
  gfns[1] = kNowhere;
  int *errors = put(2 * sizeof(*errors));
  CHECK(add_batch(domid, XENMAPSPACE_grant_table, 2, indices, gfns, errors) == 0);
  CHECK(errors[0] == 0 && errors[1] < 0);
  CHECK(grant_frames(domid) == 6);
  CHECK(is_at(domid, kWindow));
  destroy(domid);
}

static void add_to_physmap_grant_frame(void) {
  const uint32_t domid = create(kHvm, kManyPages);
  CHECK(add_to_physmap(domid, XENMAPSPACE_grant_table, 0, 5, kNowhere) < 0);
  CHECK(grant_frames(domid) == 6);
  destroy(domid);
}

// A page of the range is not there.
static void add_to_physmap_range(void) {
  xen_pfn_t *frames;
  const uint32_t domid = create_with_pages(kHvm, 8, &frames);
  CHECK(is_at(domid, 2));  // and is not any more
  CHECK(add_to_physmap(domid, XENMAPSPACE_gmfn_range, 4, 0, kWindow) ==
        (kMinor == 17 ? -EINVAL : -EACCES));
  CHECK(!is_at(domid, 0) && !is_at(domid, 1) && is_at(domid, 3));
  CHECK(is_at(domid, kWindow) && is_at(domid, kWindow + 1) && !is_at(domid, kWindow + 2));
  destroy(domid);
}

// Exchanging pages of a PV domain

static struct xen_memory_exchange *exchange(uint32_t domid, unsigned count, xen_pfn_t *in,
                                            xen_pfn_t *out, struct xen_memory_exchange *argument) {
  argument->in.domid = argument->out.domid = (domid_t)domid;
  argument->in.nr_extents = argument->out.nr_extents = count;
  set_xen_guest_handle_raw(argument->in.extent_start, in);
  set_xen_guest_handle_raw(argument->out.extent_start, out);
  return argument;
}

static bool owns(uint32_t domid, xen_pfn_t frame) {
  uint64_t *type = put(sizeof(*type));
  *type = frame;
  struct xen_domctl op = {.u.getpageframeinfo3.num = 1};
  set_xen_guest_handle_raw(op.u.getpageframeinfo3.array, type);
  CHECK(domctl(&op, XEN_DOMCTL_getpageframeinfo3, domid) == 0);
  return *type != XEN_DOMCTL_PFINFO_XTAB;
}

// The domain has what it was given for a page, but in no place.
static void exchange_read(void) {
  xen_pfn_t *frames;
  const uint32_t domid = create_with_pages(kPv, 8, &frames);
  xen_pfn_t *out = extents_at_border(1, 3);
  struct xen_memory_exchange *argument =
      exchange(domid, 3, frames, out, put(sizeof(struct xen_memory_exchange)));
  protect(PROT_NONE);
  CHECK(call(__HYPERVISOR_memory_op, XENMEM_exchange, argument) == -EFAULT);
  CHECK(argument->nr_exchanged == 1 && out[0] != 0);
  CHECK(page_count(domid) == 8);
  CHECK(owns(domid, out[0]) && !owns(domid, frames[1]) && owns(domid, frames[2]));
  destroy(domid);
}

// Where a page's number goes; and the count in its argument. There for one page only: between two,
// Xen may stop and write how far it came.
static void exchange_write(void) {
  xen_pfn_t *frames;
  uint32_t domid = create_with_pages(kPv, 8, &frames);
  xen_pfn_t *out = extents_at_border(0, 2);
  struct xen_memory_exchange *argument = exchange(domid, 2, frames, out, put(sizeof(*argument)));
  protect(PROT_READ);
  CHECK(call(__HYPERVISOR_memory_op, XENMEM_exchange, argument) == -EFAULT);
  CHECK(argument->nr_exchanged == 0 && page_count(domid) == 8 && out[0] == 0);
  CHECK(!owns(domid, frames[0]) && owns(domid, frames[1]));
  destroy(domid);

  domid = create_with_pages(kPv, 8, &frames);
  out = put(sizeof(*out));
  argument = exchange(domid, 1, frames, out, (struct xen_memory_exchange *)border);
  protect(PROT_READ);
  CHECK(call(__HYPERVISOR_memory_op, XENMEM_exchange, argument) == -EFAULT);
  CHECK(argument->nr_exchanged == 0 && page_count(domid) == 8);
  CHECK(owns(domid, out[0]) && !owns(domid, frames[0]));
  destroy(domid);
}

// Multicalls: each entry gives the domain a page.

static multicall_entry_t *entries_at_border(uint32_t domid, unsigned in_front, unsigned count) {
  multicall_entry_t *entries = (multicall_entry_t *)border - in_front;
  for (unsigned i = 0; i < count; i++) {
    entries[i] = (multicall_entry_t){
        .op = __HYPERVISOR_memory_op,
        .result = kUntouched,
        .args = {XENMEM_increase_reservation, (uintptr_t)reservation(domid, NULL, 1)}};
  }
  return entries;
}

static void multicall_read(void) {
  const uint32_t domid = create(kPv, kManyPages);
  multicall_entry_t *entries = entries_at_border(domid, 2, 4);
  protect(PROT_NONE);
  CHECK(hypercall(__HYPERVISOR_multicall, (uintptr_t)entries, 4, 0) == -EFAULT);
  CHECK(entries[0].result == 1 && entries[1].result == 1);
  CHECK(page_count(domid) == 2);
  destroy(domid);
}

static void multicall_write(void) {
  const uint32_t domid = create(kPv, kManyPages);
  multicall_entry_t *entries = entries_at_border(domid, 2, 4);
  protect(PROT_READ);
  CHECK(hypercall(__HYPERVISOR_multicall, (uintptr_t)entries, 4, 0) == -EFAULT);
  CHECK(entries[1].result == 1 && entries[2].result == kUntouched);
  CHECK(page_count(domid) == 3);
  destroy(domid);
}

// domctl

static void createdomain_write(void) {
  enum { kChosen = 0x123 };
  begin();
  const struct xen_domctl request = creation(kPv);
  struct xen_domctl op = {0};
  CHECK(domctl(&op, XEN_DOMCTL_getdomaininfo, kChosen) == -ESRCH || op.domain != kChosen);
  CHECK(domctl_unanswered(&request, XEN_DOMCTL_createdomain, kChosen) == -EFAULT);
  CHECK(domctl(&op, XEN_DOMCTL_getdomaininfo, kChosen) == 0 && op.domain == kChosen);
  destroy(kChosen);
}

// Xen may stop in between, to go on later. It writes an answer then, too, and when that faults, the
// call is made again with -EFAULT for its number, which no hypercall has. What is done by then
// stays: made once more, it goes on.
static void shadow_set_allocation_write(void) {
  const uint32_t domid = create(kHvm, kManyPages);
  const struct xen_domctl request = {
      .u.shadow_op = {.op = XEN_DOMCTL_SHADOW_OP_SET_ALLOCATION, .mb = 3}};
  long answer = -ENOSYS;
  for (int i = 0; i < 1000 && answer == -ENOSYS; i++) {
    answer = domctl_unanswered(&request, XEN_DOMCTL_shadow_op, domid);
  }
  CHECK(answer == -EFAULT);
  struct xen_domctl op = {.u.shadow_op.op = XEN_DOMCTL_SHADOW_OP_GET_ALLOCATION};
  CHECK(domctl(&op, XEN_DOMCTL_shadow_op, domid) == 0 && op.u.shadow_op.mb == 3);
  destroy(domid);
}

static struct xen_domctl soft_affinity(char *bitmap, unsigned bits) {
  struct xen_domctl op = {
      .u.vcpuaffinity = {.flags = XEN_VCPUAFFINITY_SOFT, .cpumap_soft.nr_bits = bits}};
  set_xen_guest_handle_raw(op.u.vcpuaffinity.cpumap_soft.bitmap, (uint8_t *)bitmap);
  return op;
}

static int soft_affinity_of(uint32_t domid) {
  char *bitmap = put(1);
  struct xen_domctl op = soft_affinity(bitmap, 8);
  CHECK(domctl(&op, XEN_DOMCTL_getvcpuaffinity, domid) == 0);
  return *bitmap;
}

static void setvcpuaffinity_write(void) {
  const uint32_t domid = create(kPv, kManyPages);
  CHECK(soft_affinity_of(domid) != 0);
  struct xen_domctl op = soft_affinity(border, 8);
  protect(PROT_READ);
  CHECK(domctl(&op, XEN_DOMCTL_setvcpuaffinity, domid) == -EFAULT);
  CHECK(soft_affinity_of(domid) == 0);
  destroy(domid);
}

// For more processors than there are: what is said of them is not read, but answered.
static void setvcpuaffinity_many_bits(void) {
  const uint32_t domid = create(kPv, kManyPages);
  struct xen_domctl op = soft_affinity(border - 512, 8 * 512 + 8);
  protect(PROT_NONE);
  CHECK(domctl(&op, XEN_DOMCTL_setvcpuaffinity, domid) == -EFAULT);
  CHECK(soft_affinity_of(domid) == 0);
  destroy(domid);
}

// A weight, and a cap that is too high.
static void domain_scheduler_putinfo(void) {
  const uint32_t domid = create(kPv, kManyPages);
  struct xen_domctl op = {.u.scheduler_op = {.sched_id = XEN_SCHEDULER_CREDIT2,
                                             .cmd = XEN_DOMCTL_SCHEDOP_putinfo,
                                             .u.credit2 = {.weight = 512, .cap = 60000}}};
  CHECK(domctl(&op, XEN_DOMCTL_scheduler_op, domid) == -EINVAL);
  op.u.scheduler_op.cmd = XEN_DOMCTL_SCHEDOP_getinfo;
  CHECK(domctl(&op, XEN_DOMCTL_scheduler_op, domid) == 0);
  CHECK(op.u.scheduler_op.u.credit2.weight == 512 && op.u.scheduler_op.u.credit2.cap == 0);
  destroy(domid);
}

// sysctl

static long sysctl_at(struct xen_sysctl *argument, const struct xen_sysctl *op, uint32_t cmd,
                      int protection) {
  *argument = *op;
  argument->cmd = cmd;
  argument->interface_version = XEN_SYSCTL_INTERFACE_VERSION;
  protect(protection);
  return hypercall(__HYPERVISOR_sysctl, (uintptr_t)argument, 0, 0);
}

static long sysctl(struct xen_sysctl *op, uint32_t cmd) {
  struct xen_sysctl *copy = put(sizeof(*copy));
  const long answer = sysctl_at(copy, op, cmd, PROT_READ | PROT_WRITE);
  *op = *copy;
  return answer;
}

enum { kConsole = 16 * kPage };  // all that Xen keeps

static struct xen_sysctl console(char *buffer, uint32_t index) {
  struct xen_sysctl op = {
      .u.readconsole = {.incremental = index != 0, .index = index, .count = kConsole}};
  set_xen_guest_handle_raw(op.u.readconsole.buffer, buffer);
  return op;
}

// Text from `index` on, and where the next one will be.
static uint32_t read_console(char *buffer, uint32_t *index) {
  struct xen_sysctl op = console(buffer, *index);
  CHECK(sysctl(&op, XEN_SYSCTL_readconsole) == 0);
  *index = op.u.readconsole.index;
  return op.u.readconsole.count;
}

static struct xen_sysctl debug_keys(const char *keys, unsigned count) {
  struct xen_sysctl op = {.u.debug_keys.nr_keys = count};
  set_xen_guest_handle_raw(op.u.debug_keys.keys, (char *)keys);
  return op;
}

static void debug_keys_read(void) {
  begin();
  char *text = put(kConsole);
  uint32_t index = 0;
  read_console(text, &index);
  memset(text, 0, kConsole);
  border[-1] = border[0] = 'q';
  const struct xen_sysctl op = debug_keys(border - 1, 2);
  CHECK(sysctl_at(put(sizeof(op)), &op, XEN_SYSCTL_debug_keys, PROT_NONE) == -EFAULT);
  CHECK(read_console(text, &index) < kConsole);
  const char *pressed = strstr(text, "'q' pressed");
  CHECK(pressed != NULL && strstr(pressed + 1, "'q' pressed") == NULL);
}

static void readconsole_clear_write(void) {
  begin();
  char *text = put(kConsole);
  uint32_t index = 0;
  *text = 'q';
  struct xen_sysctl op = debug_keys(text, 1);
  CHECK(sysctl(&op, XEN_SYSCTL_debug_keys) == 0);
  CHECK(read_console(text, &index) > 0);
  op = console(text, 0);
  op.u.readconsole.clear = 1;
  CHECK(sysctl_at((struct xen_sysctl *)border, &op, XEN_SYSCTL_readconsole, PROT_READ) == -EFAULT);
  index = 0;
  CHECK(read_console(text, &index) == 0);
}

static int ratelimit(void) {
  struct xen_sysctl op = {
      .u.scheduler_op = {.sched_id = XEN_SCHEDULER_CREDIT2, .cmd = XEN_SYSCTL_SCHEDOP_getinfo}};
  CHECK(sysctl(&op, XEN_SYSCTL_scheduler_op) == 0);
  return (int)op.u.scheduler_op.u.sched_credit2.ratelimit_us;
}

static void scheduler_putinfo_write(void) {
  begin();
  const int before = ratelimit();
  struct xen_sysctl op = {.u.scheduler_op = {.sched_id = XEN_SCHEDULER_CREDIT2,
                                             .cmd = XEN_SYSCTL_SCHEDOP_putinfo,
                                             .u.sched_credit2.ratelimit_us = 3000}};
  CHECK(sysctl_at((struct xen_sysctl *)border, &op, XEN_SYSCTL_scheduler_op, PROT_READ) == -EFAULT);
  CHECK(ratelimit() == 3000);
  op.u.scheduler_op.u.sched_credit2.ratelimit_us = before;
  CHECK(sysctl(&op, XEN_SYSCTL_scheduler_op) == 0);
}

const char refused_console_line[] = "refused: this much could be read";

// Text goes out by so many bytes at a time. What can be read of the second ones would show in the
// line.
static void console_write_read(void) {
  enum { kChunk = 127, kMore = 10, kAll = 2 * kChunk };
  begin();
  char *text = border - kChunk - kMore;
  const size_t start = kChunk - (sizeof(refused_console_line) - 1);
  for (size_t i = 0; i < kChunk + kMore; i++) {
    text[i] = (char)(i < start ? '\n' : i < kChunk ? refused_console_line[i - start] : '?');
  }
  char *end = put(1);
  *end = '\n';
  protect(PROT_NONE);
  CHECK(hypercall(__HYPERVISOR_console_io, CONSOLEIO_write, kAll, (uintptr_t)text) == -EFAULT);
  CHECK(hypercall(__HYPERVISOR_console_io, CONSOLEIO_write, 1, (uintptr_t)end) == 0);
}

// Event channels

static long status_of(uint32_t domid, evtchn_port_t port) {
  struct evtchn_status *argument = put(sizeof(*argument));
  *argument = (struct evtchn_status){.dom = (domid_t)domid, .port = port};
  const long answer = call(__HYPERVISOR_event_channel_op, EVTCHNOP_status, argument);
  return answer == 0 ? (long)argument->status : answer;
}

// That the next one will have.
static evtchn_port_t free_port(void) {
  evtchn_port_t port = 1;
  while (status_of(DOMID_SELF, port) > EVTCHNSTAT_closed) {
    used = 0;
    port++;
  }
  return port;
}

static void close_port(evtchn_port_t port) {
  struct evtchn_close *argument = put(sizeof(*argument));
  argument->port = port;
  CHECK(call(__HYPERVISOR_event_channel_op, EVTCHNOP_close, argument) == 0);
}

static void alloc_unbound_write(void) {
  const uint32_t domid = create(kPv, kManyPages);
  CHECK(status_of(domid, 1) == EVTCHNSTAT_closed);
  *(struct evtchn_alloc_unbound *)border =
      (struct evtchn_alloc_unbound){.dom = (domid_t)domid, .remote_dom = 0};
  protect(PROT_READ);
  CHECK(call(__HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound, border) == -EFAULT);
  CHECK(status_of(domid, 1) == EVTCHNSTAT_unbound);
  CHECK(status_of(domid, 2) == EVTCHNSTAT_closed);
  destroy(domid);
}

// Of the caller's own: nothing is sent to them.
static void bind_port_write(void) {
  begin();
  evtchn_port_t port = free_port();
  protect(PROT_READ);
  CHECK(call(__HYPERVISOR_event_channel_op, EVTCHNOP_bind_ipi, border) == -EFAULT);
  CHECK(status_of(DOMID_SELF, port) == EVTCHNSTAT_ipi);
  close_port(port);

  begin();
  port = free_port();
  *(struct evtchn_bind_virq *)border = (struct evtchn_bind_virq){.virq = VIRQ_DEBUGGER};
  protect(PROT_READ);
  CHECK(call(__HYPERVISOR_event_channel_op, EVTCHNOP_bind_virq, border) == -EFAULT);
  CHECK(status_of(DOMID_SELF, port) == EVTCHNSTAT_virq);
  close_port(port);
}

// Grant tables

static struct gnttab_setup_table *setup_table(uint32_t domid, void *at, xen_pfn_t *list) {
  struct gnttab_setup_table *argument = at;
  *argument =
      (struct gnttab_setup_table){.dom = (domid_t)domid, .nr_frames = 4, .status = kUntouched};
  set_xen_guest_handle_raw(argument->frame_list, list);
  return argument;
}

static void setup_table_write(void) {
  const uint32_t domid = create(kPv, kManyPages);
  struct gnttab_setup_table *argument = setup_table(domid, border, put(4 * sizeof(xen_pfn_t)));
  protect(PROT_READ);
  CHECK(hypercall(__HYPERVISOR_grant_table_op, GNTTABOP_setup_table, (uintptr_t)argument, 1) ==
        -EFAULT);
  CHECK(grant_frames(domid) == 4);
  destroy(domid);
}

// Where the list is to go there is nothing.
static void setup_table_list(void) {
  const uint32_t domid = create(kPv, kManyPages);
  struct gnttab_setup_table *argument =
      setup_table(domid, put(sizeof(*argument)), (xen_pfn_t *)border - 1);
  protect(PROT_NONE);
  CHECK(hypercall(__HYPERVISOR_grant_table_op, GNTTABOP_setup_table, (uintptr_t)argument, 1) == 0);
  CHECK(argument->status == GNTST_bad_virt_addr && ((xen_pfn_t *)border)[-1] != 0);
  CHECK(grant_frames(domid) == 4);
  destroy(domid);
}

static unsigned grant_version(void) {
  struct gnttab_get_version *argument = put(sizeof(*argument));
  argument->dom = DOMID_SELF;
  CHECK(hypercall(__HYPERVISOR_grant_table_op, GNTTABOP_get_version, (uintptr_t)argument, 1) == 0);
  return argument->version;
}

// Of the caller's own table, which nobody uses meanwhile.
static void set_version_write(void) {
  begin();
  const unsigned before = grant_version();
  const unsigned other = 3 - before;
  ((struct gnttab_set_version *)border)->version = other;
  protect(PROT_READ);
  CHECK(hypercall(__HYPERVISOR_grant_table_op, GNTTABOP_set_version, (uintptr_t)border, 1) ==
        -EFAULT);
  CHECK(grant_version() == other);
  struct gnttab_set_version *argument = put(sizeof(*argument));
  argument->version = before;
  CHECK(hypercall(__HYPERVISOR_grant_table_op, GNTTABOP_set_version, (uintptr_t)argument, 1) == 0);
  CHECK(grant_version() == before);
}

// Calls that find their argument gone when they go on. Whether it is gone in time is chance: each
// is tried until it was.

enum { kLong = 8192, kTries = 400 };

static void take_away(void) { protect(PROT_NONE); }

static void increase_reservation_gone(void) {
  long answer = 0;
  for (int i = 0; i < kTries && (answer == 0 || answer == kLong); i++) {
    const uint32_t domid = create(kPv, kLong);
    struct xen_memory_reservation *argument = (struct xen_memory_reservation *)border;
    argument->nr_extents = kLong;
    argument->domid = (domid_t)domid;
    answer = hypercall_with(take_away, __HYPERVISOR_memory_op, XENMEM_increase_reservation,
                            (uintptr_t)argument);
    CHECK(page_count(domid) == answer);
    destroy(domid);
  }
  CHECK(0 < answer && answer < kLong);
}

static void add_to_physmap_range_gone(void) {
  unsigned moved = 0;
  for (int i = 0; i < kTries && (moved == 0 || moved == kLong); i++) {
    xen_pfn_t *frames;
    const uint32_t domid = create_with_pages(kHvm, kLong, &frames);
    struct xen_add_to_physmap *argument = (struct xen_add_to_physmap *)border;
    argument->domid = (domid_t)domid;
    argument->size = kLong;
    argument->space = XENMAPSPACE_gmfn_range;
    argument->gpfn = kWindow;
    const long answer = hypercall_with(take_away, __HYPERVISOR_memory_op, XENMEM_add_to_physmap,
                                       (uintptr_t)argument);
    used = 0;
    for (moved = 0; is_at(domid, kWindow + moved); moved++) used = 0;
    CHECK(answer == (moved == kLong ? 0 : -EFAULT));
    CHECK(moved == kLong || is_at(domid, moved));
    CHECK(moved == 0 || !is_at(domid, moved - 1));
    destroy(domid);
  }
  CHECK(0 < moved && moved < kLong);
}

static void destroydomain_gone(void) {
  long left = 0;
  for (int i = 0; i < kTries && (left <= 0 || left == kLong); i++) {
    const uint32_t domid = create(kPv, kLong);
    CHECK(reserve(XENMEM_increase_reservation, domid, NULL, kLong) == kLong);
    const struct xen_domctl nothing = {0};
    const struct xen_domctl *argument =
        put_domctl_at_border(&nothing, XEN_DOMCTL_destroydomain, domid);
    const long answer = hypercall_with(take_away, __HYPERVISOR_domctl, (uintptr_t)argument, 0);
    left = page_count(domid);
    CHECK(answer == (left == -ESRCH ? 0 : -EFAULT));
    if (left != -ESRCH) destroy(domid);
    CHECK(page_count(domid) == -ESRCH);
  }
  CHECK(0 < left && left < kLong);
}

static uint64_t pool_size(uint32_t domid) {
  struct xen_domctl op = {0};
  CHECK(domctl(&op, XEN_DOMCTL_get_paging_mempool_size, domid) == 0);
  return op.u.paging_mempool.size;
}

// The memory of its paging is of some size between what it was and what it is to be.
static void check_pool_gone(const struct xen_domctl *request, uint32_t cmd) {
  const uint64_t wanted = (uint64_t)kLong * kPage;
  uint64_t before = 0, size = 0;
  for (int i = 0; i < kTries && (size == before || size == wanted); i++) {
    const uint32_t domid = create(kHvm, kManyPages);
    before = pool_size(domid);
    const struct xen_domctl *argument = put_domctl_at_border(request, cmd, domid);
    const long answer = hypercall_with(take_away, __HYPERVISOR_domctl, (uintptr_t)argument, 0);
    size = pool_size(domid);
    CHECK(answer == (size == wanted ? 0 : -EFAULT));
    protect(PROT_READ | PROT_WRITE);
    CHECK(hypercall(__HYPERVISOR_domctl, (uintptr_t)argument, 0, 0) == 0);
    CHECK(pool_size(domid) == wanted);
    destroy(domid);
  }
  CHECK(before < size && size < wanted);
}

// All that is not in use is given back before it is refused.
static void set_paging_mempool_size_field(void) {
  const uint32_t domid = create(kHvm, kManyPages);
  const uint64_t before = pool_size(domid);
  struct xen_domctl op = {.u.paging_mempool.size = 0};
  CHECK(domctl(&op, XEN_DOMCTL_set_paging_mempool_size, domid) == -ENOMEM);
  CHECK(0 < pool_size(domid) && pool_size(domid) < before);
  destroy(domid);
}

static void set_paging_mempool_size_gone(void) {
  const struct xen_domctl request = {.u.paging_mempool.size = kLong * kPage};
  check_pool_gone(&request, XEN_DOMCTL_set_paging_mempool_size);
}

static void shadow_set_allocation_gone(void) {
  const struct xen_domctl request = {
      .u.shadow_op = {.op = XEN_DOMCTL_SHADOW_OP_SET_ALLOCATION, .mb = kLong * kPage >> 20}};
  check_pool_gone(&request, XEN_DOMCTL_shadow_op);
}

// A list of records that has no end: what came before is loaded.
static void sethvmcontext_size(void) {
  const uint32_t domid = create(kHvm, kManyPages);
  struct list {
    struct hvm_save_descriptor header;
    struct hvm_save_header header_contents;
    struct hvm_save_descriptor adjust;
    struct hvm_tsc_adjust adjust_contents;
    struct hvm_save_descriptor end;
  } *list = put(sizeof(*list));
  *list = (struct list){
      .header = {.typecode = HVM_SAVE_CODE(HEADER), .length = sizeof(list->header_contents)},
      .header_contents = {.magic = HVM_FILE_MAGIC, .version = HVM_FILE_VERSION},
      .adjust = {.typecode = HVM_SAVE_CODE(TSC_ADJUST), .length = sizeof(list->adjust_contents)},
      .adjust_contents = {.tsc_adjust = 0x1234},
  };
  struct xen_domctl op = {.u.hvmcontext.size = sizeof(*list) - 1};
  set_xen_guest_handle_raw(op.u.hvmcontext.buffer, (uint8_t *)list);
  CHECK(domctl(&op, XEN_DOMCTL_sethvmcontext, domid) == -ENODATA);
  struct hvm_tsc_adjust *loaded = put(sizeof(*loaded));
  op = (struct xen_domctl){
      .u.hvmcontext_partial = {.type = HVM_SAVE_CODE(TSC_ADJUST), .bufsz = sizeof(*loaded)}};
  set_xen_guest_handle_raw(op.u.hvmcontext_partial.buffer, (uint8_t *)loaded);
  CHECK(domctl(&op, XEN_DOMCTL_gethvmcontext_partial, domid) == 0);
  CHECK(loaded->tsc_adjust == (kMinor >= 19 ? 0 : 0x1234));
  destroy(domid);
}

#define REFUSED(name) \
  { #name, name }

const struct refused_call refused_calls[] = {
    REFUSED(populate_physmap_read),
    REFUSED(populate_physmap_write),
    REFUSED(populate_physmap_memory),
    REFUSED(populate_physmap_nowhere),
    REFUSED(increase_reservation_write),
    REFUSED(increase_reservation_memory),
    REFUSED(decrease_reservation_read),
    REFUSED(add_to_physmap_batch_read),
    REFUSED(add_to_physmap_batch_write),
    REFUSED(add_to_physmap_batch_grant_frame),
    REFUSED(add_to_physmap_grant_frame),
    REFUSED(add_to_physmap_range),
    REFUSED(exchange_read),
    REFUSED(exchange_write),
    REFUSED(multicall_read),
    REFUSED(multicall_write),
    REFUSED(createdomain_write),
    REFUSED(shadow_set_allocation_write),
    REFUSED(setvcpuaffinity_write),
    REFUSED(setvcpuaffinity_many_bits),
    REFUSED(domain_scheduler_putinfo),
    REFUSED(debug_keys_read),
    REFUSED(readconsole_clear_write),
    REFUSED(scheduler_putinfo_write),
    REFUSED(console_write_read),
    REFUSED(alloc_unbound_write),
    REFUSED(bind_port_write),
    REFUSED(setup_table_write),
    REFUSED(setup_table_list),
    REFUSED(set_version_write),
    REFUSED(sethvmcontext_size),
    REFUSED(set_paging_mempool_size_field),
    REFUSED(increase_reservation_gone),
    REFUSED(add_to_physmap_range_gone),
    REFUSED(destroydomain_gone),
    REFUSED(set_paging_mempool_size_gone),
    REFUSED(shadow_set_allocation_gone),
};
const unsigned refused_calls_count = sizeof(refused_calls) / sizeof(refused_calls[0]);
