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
  xc_cputopo_t *cpus = calloc(max_cpus + 4, sizeof(*cpus));
  unsigned asked = max_cpus;
  CHECK(xc_cputopoinfo(xch, &asked, cpus) == 0 && asked == max_cpus);
  free(cpus);

  unsigned max_nodes = 0;
  CHECK(xc_numainfo(xch, &max_nodes, NULL, NULL) == 0);
  CHECK(max_nodes == 1);
  xc_meminfo_t memory[1];
  uint32_t distance[1] = {0};
  CHECK(xc_numainfo(xch, &max_nodes, memory, distance) == 0);
  CHECK(max_nodes == 1 && memory[0].memsize > memory[0].memfree && memory[0].memfree > 0);
  CHECK(distance[0] == 10 || distance[0] == XEN_INVALID_NODE_DIST);
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
  length = 1;
  uint32_t one[2] = {0, 0x5a5a5a5a};
  CHECK_REFUSED(xc_get_cpu_featureset(xch, XEN_SYSCTL_cpu_featureset_host, &length, one), ENOBUFS);
  CHECK(one[0] == words[0] && one[1] == 0x5a5a5a5a);
  length = all;
  CHECK_REFUSED(xc_get_cpu_featureset(xch, 77, &length, words), EINVAL);
}

static void check_memory_map(void) {
  struct e820entry map[64];
  const int entries = xc_get_machine_memory_map(xch, map, 64);
  CHECK(entries > 0 && entries <= 64);
  int ram = 0;
  for (int i = 0; i < entries; i++) ram += map[i].type == E820_RAM && map[i].size > 0;
  CHECK(ram > 0);
  // Xen wants room for one more than there are.
  CHECK(xc_get_machine_memory_map(xch, map, (uint32_t)entries) < 0);

  unsigned long highest = 0;
  CHECK(xc_maximum_ram_page(xch, &highest) == 0 && highest > 0);

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
}

static void check_power_management(void) {
  // Neither has a driver for it: QEMU's machine under Xen, and the embedded hypervisor's.
  int value = 0;
  CHECK_REFUSED(xc_pm_get_max_px(xch, 0, &value), ENODEV);
  CHECK_REFUSED(xc_pm_get_max_px(xch, 4000, &value), EINVAL);
}

static void check_scheduling(void) {
  struct xen_sysctl_credit2_schedule schedule = {0};
  CHECK(xc_sched_credit2_params_get(xch, 0, &schedule) == 0);
  CHECK(schedule.ratelimit_us == 1000);
  schedule.ratelimit_us = 2000;
  CHECK(xc_sched_credit2_params_set(xch, 0, &schedule) == 0);
  schedule.ratelimit_us = 0;
  CHECK(xc_sched_credit2_params_get(xch, 0, &schedule) == 0 && schedule.ratelimit_us == 2000);
  schedule.ratelimit_us = 5000000;
  CHECK_REFUSED(xc_sched_credit2_params_set(xch, 0, &schedule), EINVAL);
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
}

void check_host_calls(void) {
  check_topology();
  check_cpu_features();
  check_memory_map();
  check_console();
  check_power_management();
  check_scheduling();
}
