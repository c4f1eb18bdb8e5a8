// Calls about the host: topology, memory, console, power management.
#include <stdlib.h>

#include "tests/xen/check.h"
#include "tests/xen/toolstack.h"

static void check_topology(void) {
  xc_physinfo_t physinfo;
  CHECK(xc_physinfo(xch, &physinfo) == 0);

  unsigned max_cpus = 0;
  CHECK(xc_cputopoinfo(xch, &max_cpus, NULL) == 0);
  CHECK(max_cpus == physinfo.max_cpu_id + 1);
  CHECK(xc_get_max_cpus(xch) == (int)max_cpus);
  CHECK(xc_get_online_cpus(xch) == (int)physinfo.nr_cpus && xc_get_max_nodes(xch) == 64);
  xc_cputopo_t *cpus = calloc(max_cpus + 4, sizeof(*cpus));
  unsigned asked = max_cpus + 4;
  CHECK(xc_cputopoinfo(xch, &asked, cpus) == 0 && asked == max_cpus);
  CHECK(cpus[0].socket == 0 && cpus[0].node == 0);
  asked = 0;
  CHECK(xc_cputopoinfo(xch, &asked, cpus) == 0 && asked == 0);
  free(cpus);

  unsigned max_nodes = 0;
  CHECK(xc_numainfo(xch, &max_nodes, NULL, NULL) == 0);
  CHECK(max_nodes == 1);
  xc_meminfo_t memory[1];
  uint32_t distance[1] = {0};
  CHECK(xc_numainfo(xch, &max_nodes, memory, distance) == 0);
  CHECK(max_nodes == 1 && memory[0].memsize > memory[0].memfree && memory[0].memfree > 0);
  CHECK(distance[0] == 10);
  CHECK(memory[0].memsize >> 12 >= physinfo.total_pages);
  CHECK(memory[0].memfree >> 12 <= physinfo.total_pages);
  max_nodes = 0;
  CHECK(xc_numainfo(xch, &max_nodes, memory, distance) == 0 && max_nodes == 0);

  uint64_t bytes = 0;
  CHECK(xc_availheap(xch, 0, 0, -1, &bytes) == 0 && bytes > 0 && (bytes & 4095) == 0);
  CHECK(xc_sharing_freed_pages(xch) == 0 && xc_sharing_used_frames(xch) == 0);
}

static void check_cpu_features(void) {
  uint32_t length = 0;
  CHECK(xc_get_cpu_featureset(xch, XEN_SYSCTL_cpu_featureset_host, &length, NULL) == 0);
  CHECK(length >= 10 && length < 64);
  uint32_t words[64] = {0};
  const uint32_t all = length;
  CHECK(xc_get_cpu_featureset(xch, XEN_SYSCTL_cpu_featureset_host, &length, words) == 0);
  CHECK(length == all && words[0] != 0);
  CHECK((words[0] & 1) != 0);  // an FPU
  // The same in short, where what AMD repeats of the first word is said once.
  xc_physinfo_t physinfo;
  CHECK(xc_physinfo(xch, &physinfo) == 0);
  CHECK(physinfo.hw_cap[0] == words[0] && physinfo.hw_cap[1] == words[1]);
  CHECK(physinfo.hw_cap[2] == (words[2] & ~0x0183f3ffu) && physinfo.hw_cap[3] == words[3]);
  length = 1;
  uint32_t one[2] = {0, 0x5a5a5a5a};
  CHECK_REFUSED(xc_get_cpu_featureset(xch, XEN_SYSCTL_cpu_featureset_host, &length, one), ENOBUFS);
  CHECK(one[0] == words[0] && one[1] == 0x5a5a5a5a);
  for (uint32_t set = XEN_SYSCTL_cpu_featureset_raw; set <= XEN_SYSCTL_cpu_featureset_hvm_max;
       set++) {
    length = 64;
    CHECK(xc_get_cpu_featureset(xch, set, &length, words) == 0 && length == all && words[0] != 0);
  }
  length = all;
  CHECK_REFUSED(xc_get_cpu_featureset(xch, XEN_SYSCTL_cpu_featureset_hvm_max + 1, &length, words),
                EINVAL);
}

static void check_memory_map(void) {
  struct e820entry map[64];
  const int entries = xc_get_machine_memory_map(xch, map, 64);
  CHECK(entries > 0 && entries <= 64);
  uint64_t ram = 0, ram_end = 0;
  bool ordered = true;
  for (int i = 0; i < entries; i++) {
    ordered = ordered && (i == 0 || map[i].addr >= map[i - 1].addr + map[i - 1].size);
    if (map[i].type != E820_RAM) continue;
    ram += map[i].size;
    ram_end = map[i].addr + map[i].size;
  }
  xc_physinfo_t physinfo;
  CHECK(xc_physinfo(xch, &physinfo) == 0);
  CHECK(ordered && ram >> 12 >= physinfo.total_pages);
  // Xen wants room for one more than there are.
  CHECK(xc_get_machine_memory_map(xch, map, (uint32_t)entries) < 0);

  unsigned long highest = 0;
  CHECK(xc_maximum_ram_page(xch, &highest) == 0 && highest == ram_end >> 12);
  CHECK(physinfo.max_mfn == highest - 1);

  xen_pfn_t extents[2] = {~(xen_pfn_t)0, ~(xen_pfn_t)0};
  CHECK(xc_machphys_mfn_list(xch, 1, extents) == 0);
  CHECK(extents[0] != ~(xen_pfn_t)0 && extents[1] == ~(xen_pfn_t)0);
}

static void check_console(void) {
  char text[65536];
  uint32_t index = 0;
  unsigned length = sizeof(text);
  CHECK(xc_readconsolering(xch, text, &length, 0, 1, &index) == 0);
  CHECK(length > 0 && length <= sizeof(text) && index > 0);
  unsigned few = 16;
  uint32_t start = 0;
  CHECK(xc_readconsolering(xch, text, &few, 0, 1, &start) == 0);
  CHECK(few == 16);

  CHECK(xc_send_debug_keys(xch, "q") == 0);
  length = sizeof(text);
  const uint32_t before = index;
  CHECK(xc_readconsolering(xch, text, &length, 0, 1, &index) == 0);
  CHECK(length > 0 && index > before);
  CHECK(memcmp(text, "(XEN) 'q' pressed", 17) == 0);

  // Nothing more came; then all of it is read and cleared, and nothing is left.
  uint32_t end = index;
  length = sizeof(text);
  CHECK(xc_readconsolering(xch, text, &length, 0, 1, &end) == 0 && length == 0 && end == index);
  length = sizeof(text);
  CHECK(xc_readconsolering(xch, text, &length, 1, 0, &end) == 0 && length > 0);
  length = sizeof(text);
  CHECK(xc_readconsolering(xch, text, &length, 0, 0, &end) == 0 && length == 0);
}

static void check_power_management(void) {
  // Neither has a driver for it: QEMU's machine under Xen, and the embedded hypervisor's.
  int value = 0;
  CHECK_REFUSED(xc_pm_get_max_px(xch, 0, &value), ENODEV);
  CHECK_REFUSED(xc_pm_get_max_px(xch, 4000, &value), EINVAL);
  uint64_t transitions[1];
  struct xc_px_val states[1];
  struct xc_px_stat performance = {.trans_pt = transitions, .pt = states};
  CHECK_REFUSED(xc_pm_get_pxstat(xch, 0, &performance), ENODEV);
  CHECK_REFUSED(xc_pm_reset_pxstat(xch, 0), ENODEV);
  struct xc_get_cpufreq_para parameters = {0};
  CHECK_REFUSED(xc_get_cpufreq_para(xch, 0, &parameters), EINVAL);

  // What Xen takes for granted: a processor runs, or it is halted.
  CHECK(xc_pm_get_max_cx(xch, 0, &value) == 0 && value == 2);
  uint64_t triggers[4] = {0}, residencies[4] = {0}, packages[1], cores[1];
  struct xc_cx_stat sleep = {
      .nr = 4, .triggers = triggers, .residencies = residencies, .pc = packages, .cc = cores};
  CHECK(xc_pm_get_cxstat(xch, 0, &sleep) == 0 && sleep.nr == 2 && sleep.last == 0);
  CHECK(sleep.nr_pc == 0 && sleep.nr_cc == 0 && residencies[0] + residencies[1] > 0);
  CHECK(xc_pm_reset_cxstat(xch, 0) == 0);
  CHECK_REFUSED(xc_pm_get_max_cx(xch, 4000, &value), EINVAL);
}

// What processors were idle for, and domain 0 ran for, in nanoseconds.
struct times {
  uint64_t now, idle, domain, vcpus;
  unsigned running;
};

static struct times take_times(void) {
  struct times times = {0};
  uint64_t triggers[2], residencies[2] = {0}, packages[1], cores[1];
  struct xc_cx_stat sleep = {
      .nr = 2, .triggers = triggers, .residencies = residencies, .pc = packages, .cc = cores};
  CHECK(xc_pm_get_cxstat(xch, 0, &sleep) == 0);
  times.now = residencies[0] + residencies[1];
  xc_cpuinfo_t cpus[64];
  int nr_cpus = 0;
  CHECK(xc_getcpuinfo(xch, 64, cpus, &nr_cpus) == 0);
  for (int i = 0; i < nr_cpus; i++) times.idle += cpus[i].idletime;
  xc_domaininfo_t domain;
  CHECK(find_domain(0, &domain));
  times.domain = domain.cpu_time;
  for (unsigned i = 0; i <= domain.max_vcpu_id; i++) {
    xc_vcpuinfo_t vcpu;
    CHECK(xc_vcpu_getinfo(xch, 0, i, &vcpu) == 0);
    CHECK(!(vcpu.running && vcpu.blocked) && vcpu.cpu < (unsigned)nr_cpus);
    times.vcpus += vcpu.cpu_time;
    times.running += vcpu.running != 0;
  }
  return times;
}

// Nobody ran while a processor was idle, and all that ran and was idle is the processors' time.
static void check_times(void) {
  xc_physinfo_t physinfo;
  CHECK(xc_physinfo(xch, &physinfo) == 0);
  const struct times before = take_times();
  for (int i = 0; i < 100; i++) CHECK(xc_physinfo(xch, &physinfo) == 0);
  const struct times after = take_times();
  CHECK(before.running >= 1 && before.running <= physinfo.nr_cpus);
  CHECK(before.vcpus >= before.domain && after.domain >= before.vcpus);
  CHECK(after.domain > before.domain && after.idle >= before.idle);
  const struct times last = take_times();
  CHECK(after.idle - before.idle + after.domain - before.vcpus <=
        (last.now - before.now) * physinfo.nr_cpus);
  CHECK(after.idle <= last.now * physinfo.nr_cpus);

  // Where a vcpu may be, there it is.
  xc_cpumap_t hard = xc_cpumap_alloc(xch), all = xc_cpumap_alloc(xch);
  CHECK(xc_vcpu_getaffinity(xch, 0, 0, all, NULL, XEN_VCPUAFFINITY_HARD) == 0);
  for (unsigned cpu = 0; cpu < physinfo.nr_cpus; cpu++) {
    memset(hard, 0, (size_t)xc_get_cpumap_size(xch));
    xc_cpumap_setcpu((int)cpu, hard);
    CHECK(xc_vcpu_setaffinity(xch, 0, 0, hard, NULL, XEN_VCPUAFFINITY_HARD) == 0);
    xc_vcpuinfo_t info;
    CHECK(xc_vcpu_getinfo(xch, 0, 0, &info) == 0 && info.cpu == cpu);
  }
  CHECK(xc_vcpu_setaffinity(xch, 0, 0, all, NULL, XEN_VCPUAFFINITY_HARD) == 0);
  free(hard);
  free(all);
}

static void check_scheduling(void) {
  struct xen_sysctl_credit2_schedule schedule = {0};
  CHECK(xc_sched_credit2_params_get(xch, 0, &schedule) == 0);
  CHECK(schedule.ratelimit_us == 1000);
  schedule.ratelimit_us = 2000;
  CHECK(xc_sched_credit2_params_set(xch, 0, &schedule) == 0);
  schedule.ratelimit_us = 0;
  CHECK(xc_sched_credit2_params_get(xch, 0, &schedule) == 0 && schedule.ratelimit_us == 2000);
  static const unsigned kRefused[] = {50, 500001, 5000000};
  for (unsigned i = 0; i < sizeof(kRefused) / sizeof(kRefused[0]); i++) {
    schedule.ratelimit_us = (int)kRefused[i];
    CHECK_REFUSED(xc_sched_credit2_params_set(xch, 0, &schedule), EINVAL);
  }
  schedule.ratelimit_us = 1000;
  CHECK(xc_sched_credit2_params_set(xch, 0, &schedule) == 0);
  CHECK_REFUSED(xc_sched_credit2_params_get(xch, 77, &schedule), ESRCH);

  xc_cpupoolinfo_t *pool = xc_cpupool_getinfo(xch, 0);
  CHECK(pool != NULL);
  if (pool != NULL) {
    CHECK(pool->cpupool_id == 0 && pool->n_dom >= 1 && pool->sched_id == XEN_SCHEDULER_CREDIT2);
    CHECK(xc_cpumap_testcpu(0, pool->cpumap));
    xc_cpupool_infofree(xch, pool);
  }
  CHECK(xc_cpupool_getinfo(xch, 77) == NULL);
  xc_cpumap_t unused = xc_cpupool_freeinfo(xch);
  CHECK(unused != NULL && unused[0] == 0);
  free(unused);
  CHECK_REFUSED(xc_cpupool_addcpu(xch, 77, 0), ENOENT);
  CHECK_REFUSED(xc_cpupool_addcpu(xch, 0, 0), ENODEV);
}

// No page is out of use.
static void check_pages_in_use(void) {
  xc_physinfo_t info;
  CHECK(xc_physinfo(xch, &info) == 0);
  // Of the last frames some are the firmware's.
  const unsigned long last = (unsigned long)info.max_mfn - 4096, beyond = (unsigned long)1 << 31;
  uint32_t status[3] = {7, 7, 7};
  CHECK(xc_query_page_offline_status(xch, last - 1, last, status) == 0);
  CHECK(status[0] == 0 && status[1] == 0 && status[2] == 7);
  CHECK(xc_mark_page_online(xch, last, last, status + 1) == 0 && status[1] == 0);
  CHECK_REFUSED(xc_query_page_offline_status(xch, beyond, beyond + 1, status), EINVAL);
  CHECK(status[0] == 0x01010101 && status[1] == 0x01010101 && status[2] == 7);
  CHECK_REFUSED(xc_mark_page_online(xch, beyond, beyond, status), EINVAL);
}

// libxenctrl's function is older than what it can be told since.
static int upload_patch(char *name, unsigned char *file, uint32_t size) {
#if XEN_DOMCTL_INTERFACE_VERSION == 0x15
  return xc_livepatch_upload(xch, name, file, size);
#else
  return xc_livepatch_upload(xch, name, file, size, false);
#endif
}

// No patch is loaded, and none is one.
static void check_patches(void) {
  uint32_t count = 7, names = 7, metadata = 7;
  CHECK(xc_livepatch_list_get_sizes(xch, &count, &names, &metadata) == 0);
  CHECK(count == 0 && names == 0 && metadata == 0);
  char patch_name[] = "patch";
  struct xen_livepatch_status status;
  CHECK_REFUSED(xc_livepatch_get(xch, patch_name, &status), ENOENT);
  CHECK_REFUSED(xc_livepatch_apply(xch, patch_name, 0, 0), ENOENT);
  CHECK_REFUSED(xc_livepatch_unload(xch, patch_name, 0, 0), ENOENT);
  // An ELF file's header, with no sections.
  unsigned char file[300] = {0x7f, 'E', 'L', 'F', 2, 1, 1, [16] = 1, [18] = 62, [20] = 1,
                             [52] = 64, [62] = 1};
  CHECK_REFUSED(upload_patch(patch_name, file, sizeof(file)), EINVAL);
  static const struct {
    unsigned at, value;
    int error;
  } kOthers[] = {{1, 'e', EINVAL},      {4, 1, EOPNOTSUPP},  {5, 2, EOPNOTSUPP},
                 {6, 2, EOPNOTSUPP},    {7, 3, EOPNOTSUPP},  {7, 9, EINVAL},
                 {8, 1, EOPNOTSUPP},    {16, 2, EOPNOTSUPP}, {18, 3, EOPNOTSUPP},
                 {20, 2, EOPNOTSUPP},   {56, 1, EOPNOTSUPP}, {62, 0, EINVAL}};
  for (unsigned i = 0; i < sizeof(kOthers) / sizeof(kOthers[0]); i++) {
    const unsigned char was = file[kOthers[i].at];
    file[kOthers[i].at] = (unsigned char)kOthers[i].value;
    CHECK_REFUSED(upload_patch(patch_name, file, sizeof(file)), kOthers[i].error);
    file[kOthers[i].at] = was;
  }
  CHECK_REFUSED(upload_patch(patch_name, file, 63), EINVAL);
}

static void check_watchdogs(void) {
  const int first = xc_watchdog(xch, 0, 100), second = xc_watchdog(xch, 0, 100);
  CHECK(first == 1 && second == 2);
  CHECK_REFUSED(xc_watchdog(xch, 0, 100), ENOSPC);
  CHECK_REFUSED(xc_watchdog(xch, 3, 100), EINVAL);
  CHECK(xc_watchdog(xch, 1, 200) == 0);
  CHECK(xc_watchdog(xch, 1, 0) == 0);
  CHECK_REFUSED(xc_watchdog(xch, 1, 0), EINVAL);
  CHECK_REFUSED(xc_watchdog(xch, 1, 100), EINVAL);
  CHECK(xc_watchdog(xch, 0, 100) == 1);
  CHECK(xc_watchdog(xch, 1, 0) == 0 && xc_watchdog(xch, 2, 0) == 0);
}

void check_host_calls(void) {
  check_topology();
  check_cpu_features();
  check_memory_map();
  check_console();
  check_power_management();
  check_pages_in_use();
  check_patches();
  check_watchdogs();
  check_times();
  check_scheduling();
}
