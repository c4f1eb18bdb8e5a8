// What calls with a region reach, and what they do not.
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <xen/grant_table.h>
#include <xen/memory.h>
#include <xen/physdev.h>
#include <xen/sysctl.h>
#include <xen/vcpu.h>
#include <xen/version.h>

#include "tests/xen/regions.h"

void check_probe(void) {
  CHECK(call(__HYPERVISOR_xen_version | XENCOMM_CALL, XENVER_version, 0, 0, 0) >> 16 == 4);
  // No region: pointers lead nowhere; where nothing is wanted none is looked at.
  CHECK(call(__HYPERVISOR_xen_version | XENCOMM_CALL, XENVER_extraversion, kBase, 0, 0) == -EFAULT);
  CHECK(call(__HYPERVISOR_console_io | XENCOMM_CALL, CONSOLEIO_write, 0, kBase, 0) ==
        (is_control ? 0 : -EPERM));
  CHECK(call(__HYPERVISOR_xen_version | XENCOMM_CALL, XENVER_extraversion, kBase, 0, 12345) ==
        -EFAULT);
  CHECK(call(60 | XENCOMM_CALL, 0, 0, 0, 0) == -ENOSYS);
  CHECK(xencomm_op(3, 0, 0, 0, 0) == -ENOSYS);
}

void check_pointers(void) {
  struct region region = make_region(8);
  CHECK(extraversion(&region, kBase + kPage) == 0 && has_extraversion(&region, kPage));
  // Registers come back as they went, but for the answer.
  const struct forge_call after =
      call7(__HYPERVISOR_xen_version | XENCOMM_CALL, XENVER_extraversion, kBase + 2 * kPage, 3, 4,
            5, (uint64_t)region.handle);
  CHECK(after.rax == 0 && after.r10 == 4 && after.r8 == 5 && after.r9 == (uint64_t)region.handle);
  // At the end, over it, before the payload, in the table, outside.
  CHECK(extraversion(&region, kBase + 8 * kPage - kExtraVersion) == 0);
  CHECK(has_extraversion(&region, 8 * kPage - kExtraVersion));
  CHECK(extraversion(&region, kBase + 8 * kPage - kExtraVersion + 1) == -EFAULT);
  CHECK(extraversion(&region, kBase + 8 * kPage) == -EFAULT);
  CHECK(extraversion(&region, kBase + kPage - 1) == -EFAULT);
  CHECK(extraversion(&region, kBase) == -EFAULT);
  CHECK(extraversion(&region, kBase + 64) == -EFAULT);
  CHECK(extraversion(&region, kBase - 1) == -EFAULT);
  CHECK(extraversion(&region, 0) == -EFAULT && extraversion(&region, ~0ull) == -EFAULT);
  CHECK(extraversion(&region, ~0ull - kExtraVersion + 1) == -EFAULT);
  struct xencomm_header header;
  get(&region, 0, &header, sizeof(header));
  CHECK(memcmp(&header, &region.header, sizeof(header)) == 0);

  // Over two pages, in both directions.
  char line[1024], other[1024];
  CHECK(in_region(&region, __HYPERVISOR_xen_version, XENVER_commandline, kBase + kPage) == 0);
  CHECK(in_region(&region, __HYPERVISOR_xen_version, XENVER_commandline, kBase + 3 * kPage - 512) ==
        0);
  get(&region, kPage, line, sizeof(line));
  get(&region, 3 * kPage - 512, other, sizeof(other));
  CHECK(line[0] != 0 && memcmp(line, other, sizeof(line)) == 0);
  const domid_t self = DOMID_SELF;
  put(&region, 5 * kPage - 1, &self, sizeof(self));
  CHECK(in_region(&region, __HYPERVISOR_memory_op, XENMEM_current_reservation,
                  kBase + 5 * kPage - 1) > 0);
  if (!is_control) return end_region(&region);
  struct xen_sysctl sysctl = {.cmd = XEN_SYSCTL_physinfo,
                              .interface_version = XEN_SYSCTL_INTERFACE_VERSION};
  put(&region, 5 * kPage - 12, &sysctl, sizeof(sysctl));
  CHECK(in_region(&region, __HYPERVISOR_sysctl, kBase + 5 * kPage - 12, 0) == 0);
  get(&region, 5 * kPage - 12, &sysctl, sizeof(sysctl));
  CHECK(sysctl.u.physinfo.nr_cpus >= 1 && sysctl.u.physinfo.total_pages > 0);
  end_region(&region);
}

// A pointer that stands in memory is one of the region's, too: so many bytes are written there.
static uint64_t nested_size(void) { return is_control ? 64 : 8; }
static uint64_t nested_argument(void) {
  return is_control ? sizeof(struct xen_sysctl) : sizeof(struct gnttab_setup_table);
}
static int64_t write_nested(const struct region *region, uint64_t at, uint64_t buffer) {
  if (!is_control) {
    struct gnttab_setup_table setup = {.dom = DOMID_SELF, .nr_frames = 1};
    set_xen_guest_handle_raw(setup.frame_list, (void *)buffer);
    put(region, at, &setup, sizeof(setup));
    const int64_t answer = call(__HYPERVISOR_grant_table_op | XENCOMM_CALL, GNTTABOP_setup_table,
                                kBase + at, 1, (uint64_t)region->handle);
    get(region, at, &setup, sizeof(setup));
    return answer != 0 || setup.status != GNTST_bad_virt_addr ? answer : -EFAULT;
  }
  struct xen_sysctl sysctl = {.cmd = XEN_SYSCTL_readconsole,
                              .interface_version = XEN_SYSCTL_INTERFACE_VERSION};
  sysctl.u.readconsole.count = 64;
  set_xen_guest_handle_raw(sysctl.u.readconsole.buffer, (void *)buffer);
  put(region, at, &sysctl, sizeof(sysctl));
  return in_region(region, __HYPERVISOR_sysctl, kBase + at, 0);
}
void check_nested(void) {
  struct region region = make_region(8);
  CHECK(write_nested(&region, kPage, kBase + 4 * kPage - 4) == 0);
  uint32_t halves[2];
  get(&region, 4 * kPage - 4, halves, sizeof(halves));
  CHECK(halves[0] != 0 && (!is_control || halves[1] != 0));
  struct forge_page raw = {.number = 3};
  CHECK(ioctl(region.fd, FORGE_PAGE, &raw) == 0);
  CHECK(write_nested(&region, kPage, raw.virtual_address) == -EFAULT);
  CHECK(write_nested(&region, kPage, kBase + 8) == -EFAULT);
  CHECK(write_nested(&region, kPage, kBase + 8 * kPage - nested_size() + 1) == -EFAULT);
  end_region(&region);
}

// What would be kept beyond the call, and with it the region.
void check_kept_pointers(void) {
  struct region region = make_region(4);
  struct vcpu_register_runstate_memory_area area = {0};
  area.addr.p = kBase + 2 * kPage;
  put(&region, kPage, &area, sizeof(area));
  const uint64_t index = __HYPERVISOR_vcpu_op | XENCOMM_CALL, handle = (uint64_t)region.handle;
  static const unsigned kOps[] = {VCPUOP_register_runstate_memory_area,
                                  VCPUOP_register_vcpu_time_memory_area};
  for (unsigned i = 0; i < 2; i++) {
    // Of this vcpu and of another.
    for (uint64_t vcpu = 0; vcpu < 2; vcpu++) {
      CHECK(call(index, kOps[i], vcpu, kBase + kPage, handle) == -EOPNOTSUPP);
    }
  }
  struct physdev_set_iobitmap bitmap = {.nr_ports = 8};
  set_xen_guest_handle_raw(bitmap.bitmap, (void *)(kBase + 2 * kPage));
  put(&region, kPage, &bitmap, sizeof(bitmap));
  CHECK(in_region(&region, __HYPERVISOR_physdev_op, PHYSDEVOP_set_iobitmap, kBase + kPage) ==
        (is_pvh ? -ENOSYS : -EOPNOTSUPP));
  end_region(&region);
}

void check_read_only(void) {
  struct region region = make_table(4);
  region.handle = try_register(&region, XENCOMM_READ);
  CHECK(region.handle > 0);
  CHECK(extraversion(&region, kBase + kPage) == -EFAULT && !has_extraversion(&region, kPage));
  const char kText[] = "regions: read\n";
  put(&region, kPage, kText, sizeof(kText));
  const int64_t written = call(__HYPERVISOR_console_io | XENCOMM_CALL, CONSOLEIO_write,
                               sizeof(kText) - 1, kBase + kPage, (uint64_t)region.handle);
  CHECK(written == (is_control ? 0 : -EPERM));
  end_region(&region);
}

void check_arguments(void) {
  struct region region = make_table(8);
  const uint64_t bases[] = {page_address(&region, 5), page_address(&region, 6)};
  put_base(&region, 5, XENCOMM_NO_BASE);
  put_base(&region, 6, XENCOMM_NO_BASE);
  region.handle = try_register(&region, XENCOMM_READ_WRITE);
  put_base(&region, 5, bases[0]);
  put_base(&region, 6, bases[1]);
  CHECK(xencomm_op(XENCOMM_extend, (uint64_t)region.handle, 5, 2, XENCOMM_ARGUMENTS_ONLY) == 0);
  CHECK(xencomm_op(XENCOMM_extend, (uint64_t)region.handle, 5, 2, XENCOMM_ANY_POINTER) == -EEXIST);

  // The argument is reached, in a page and over two; what stands in it is not, wherever it points.
  const uint64_t places[] = {5 * kPage, 6 * kPage - 64};
  for (unsigned i = 0; i < 2; i++) {
    const uint64_t at = places[i];
    CHECK(write_nested(&region, at, kBase + 2 * kPage) == 0);
    uint64_t result;
    get(&region, 2 * kPage, &result, sizeof(result));
    CHECK(result != 0);
    CHECK(write_nested(&region, at, kBase + 5 * kPage + 2048) == -EFAULT);
    CHECK(write_nested(&region, at, kBase + 6 * kPage + 2048) == -EFAULT);
    CHECK(write_nested(&region, at, kBase + at + nested_argument()) == -EFAULT);
    CHECK(write_nested(&region, at, kBase + at + nested_argument() - 8) == -EFAULT);
    CHECK(write_nested(&region, at, kBase + at) == -EFAULT);
    CHECK(write_nested(&region, at, kBase + 5 * kPage - 4) == -EFAULT);
  }
  CHECK(extraversion(&region, kBase + 5 * kPage + 16) == 0);
  CHECK(has_extraversion(&region, 5 * kPage + 16));

  // A list of calls there, whose entries point elsewhere, there, and at the list itself.
  const uint64_t pointers[] = {kBase + 3 * kPage, kBase + 6 * kPage, kBase + 5 * kPage + 128,
                               kBase + 5 * kPage, kBase + 4 * kPage};
  const int64_t results[] = {0, -EFAULT, -EFAULT, -EFAULT, 0};
  struct multicall_entry list[5] = {{0}};
  for (unsigned i = 0; i < 5; i++) {
    list[i].op = __HYPERVISOR_xen_version;
    list[i].args[0] = XENVER_extraversion;
    list[i].args[1] = pointers[i];
  }
  put(&region, 5 * kPage, list, sizeof(list));
  CHECK(in_region(&region, __HYPERVISOR_multicall, kBase + 5 * kPage, 5) == 0);
  get(&region, 5 * kPage, list, sizeof(list));
  for (unsigned i = 0; i < 5; i++) CHECK((int64_t)list[i].result == results[i]);
  CHECK(has_extraversion(&region, 3 * kPage) && has_extraversion(&region, 4 * kPage));
  end_region(&region);
}

// What is for reading is so for arguments, too: a page that is a page table may be read.
void check_arguments_read_only(void) {
  struct region region = make_table(8);
  const uint64_t base = page_address(&region, 5);
  put_base(&region, 5, XENCOMM_NO_BASE);
  region.handle = try_register(&region, XENCOMM_READ);
  put_base(&region, 5, base);
  CHECK(xencomm_op(XENCOMM_extend, (uint64_t)region.handle, 5, 1, XENCOMM_ARGUMENTS_ONLY) == 0);
  CHECK(extraversion(&region, kBase + 5 * kPage) == -EFAULT);
  CHECK(!has_extraversion(&region, 5 * kPage));
  const domid_t self = DOMID_SELF;
  put(&region, 5 * kPage, &self, sizeof(self));
  CHECK(in_region(&region, __HYPERVISOR_memory_op, XENMEM_current_reservation, kBase + 5 * kPage) >
        0);
  end_region(&region);
}

// A process's list could have the kernel return to where it likes.
void check_iret_in_list(void) {
  if (is_pvh) return;
  struct region region = make_region(4);
  struct multicall_entry entry = {.op = __HYPERVISOR_iret};
  put(&region, kPage, &entry, sizeof(entry));
  CHECK(in_region(&region, __HYPERVISOR_multicall, kBase + kPage, 1) == 0);
  get(&region, kPage, &entry, sizeof(entry));
  CHECK((int64_t)entry.result == -EPERM);
  end_region(&region);
}

void check_multicall(void) {
  struct region region = make_region(20);
  struct multicall_entry list[4] = {{0}};
  list[0].op = __HYPERVISOR_xencomm_op;
  list[0].args[0] = XENCOMM_unregister;
  list[0].args[1] = (uint64_t)region.handle;
  list[1].op = __HYPERVISOR_xen_version | XENCOMM_CALL;
  list[2].op = __HYPERVISOR_xen_version;
  list[2].args[0] = XENVER_extraversion;
  list[2].args[1] = kBase + 3 * kPage;
  const struct multicall_entry good = list[2];
  list[3] = good;
  list[3].args[1] = kBase;
  put(&region, 2 * kPage - 64, list, sizeof(list));
  CHECK(in_region(&region, __HYPERVISOR_multicall, kBase + 2 * kPage - 64, 4) == 0);
  get(&region, 2 * kPage - 64, list, sizeof(list));
  CHECK((int64_t)list[0].result == -EPERM && (int64_t)list[1].result == -ENOSYS);
  CHECK(list[2].result == 0 && has_extraversion(&region, 3 * kPage));
  CHECK((int64_t)list[3].result == -EFAULT);
  // A list that leaves the region is done up to there.
  put(&region, 20 * kPage - 64, &good, 64);
  CHECK(in_region(&region, __HYPERVISOR_multicall, kBase + 20 * kPage - 64, 2) == -EFAULT);

  // One that is stopped often keeps the region and the bit.
  enum { kEntries = 16 * kPage / 64 };
  static struct multicall_entry many[kEntries];
  for (unsigned i = 0; i < kEntries; i++) {
    many[i] = good;
    many[i].result = 77;
    many[i].args[1] = kBase + 19 * kPage;
  }
  for (unsigned turn = 0; turn < 50; turn++) {
    put(&region, kPage, many, sizeof(many));
    CHECK(in_region(&region, __HYPERVISOR_multicall, kBase + kPage, kEntries) == 0);
  }
  get(&region, kPage, many, sizeof(many));
  unsigned done = 0;
  for (unsigned i = 0; i < kEntries; i++) done += many[i].result == 0;
  CHECK(done == kEntries);
  end_region(&region);
}

// Calls by one processor, while the other ends their region and begins it anew.
struct caller {
  pthread_t thread;
  const struct region *region;
  atomic_bool stop;
  uint64_t calls, faults, others;
};
static void *call_on(void *data) {
  struct caller *const caller = data;
  while (!caller->stop) {
    const int64_t answer = extraversion(caller->region, kBase + kPage);
    caller->calls++;
    if (answer == -EFAULT) caller->faults++;
    if (answer != 0 && answer != -EFAULT) caller->others++;
  }
  return NULL;
}
void check_ends_under_calls(void) {
  struct region region = make_table(3);
  region.handle = try_register(&region, XENCOMM_READ_WRITE);
  struct caller caller = {.region = &region};
  CHECK(pthread_create(&caller.thread, NULL, call_on, &caller) == 0);
  for (unsigned turn = 0; turn < 300; turn++) {
    usleep(500);
    CHECK(xencomm_op(XENCOMM_unregister, (uint64_t)region.handle, 0, 0, 0) == 0);
    region.handle = try_register(&region, XENCOMM_READ_WRITE);
    CHECK(region.handle > 0);
  }
  caller.stop = true;
  CHECK(pthread_join(caller.thread, NULL) == 0);
  CHECK(caller.others == 0 && caller.calls > caller.faults);
  end_region(&region);
}

// A call that is under way when its region ends writes nothing from then on.
enum { kEntries = 128 * kPage / 64 };
static void *make_list(void *data) {
  const struct region *const region = data;
  in_region(region, __HYPERVISOR_multicall, kBase + kPage, kEntries);
  return NULL;
}
void check_ends_in_mid_call(void) {
  static struct multicall_entry list[kEntries], now[kEntries], later[kEntries];
  struct region region = make_table(131);
  for (unsigned i = 0; i < kEntries; i++) {
    list[i] = (struct multicall_entry){.op = __HYPERVISOR_xen_version,
                                       .args = {XENVER_extraversion, kBase + 130 * kPage}};
    list[i].result = 77;
  }
  unsigned ended_in_mid_call = 0;
  for (unsigned turn = 0; turn < 30; turn++) {
    put(&region, kPage, list, sizeof(list));
    region.handle = try_register(&region, XENCOMM_READ_WRITE);
    CHECK(region.handle > 0);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, make_list, &region) == 0);
    for (unsigned i = 0; i < 1000 && now[0].result != 0; i++) get(&region, kPage, now, 64);
    CHECK(xencomm_op(XENCOMM_unregister, (uint64_t)region.handle, 0, 0, 0) == 0);
    get(&region, kPage, now, sizeof(now));
    CHECK(pthread_join(thread, NULL) == 0);
    get(&region, kPage, later, sizeof(later));
    CHECK(memcmp(now, later, sizeof(now)) == 0);
    ended_in_mid_call += now[0].result == 0 && now[kEntries - 1].result == 77;
    now[0].result = 77;
  }
  printf("%u of 30 regions ended in the middle of a call\n", ended_in_mid_call);
  CHECK(ended_in_mid_call > 0);
  end_table(&region);
}
