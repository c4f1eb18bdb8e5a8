// A toolstack's calls through stock libxenctrl 4.20, and those that are new since 4.17 also by
// hypercalls of their own: what real Xen 4.20 answers, line by line.
//
// The same program runs on real Xen, and on the embedded hypervisor as Xen 4.20. toolstack.c goes
// through the calls that both releases have in more detail.
#include <stdlib.h>
#include <unistd.h>

#include <xencall.h>
#include <xenctrl.h>

#include <xen/features.h>
#include <xen/hvm/params.h>
#include <xen/physdev.h>
#include <xen/vcpu.h>
#include <xen/version.h>

#include "tests/xen/check.h"

unsigned checks_passed, checks_failed;

static xc_interface *xch;
static xencall_handle *xcall;

enum {
  kNobody = 0x7abc,
  kNoVcpu = 4000,
  kNoCpu = -1,
  kHvm = XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap,
};
static const uint64_t kNoArea = ~0ull;  // ends an area that is registered by address

// Memory that Xen reaches, a page of it, in which the call's argument is made and answered.
static void *page;

static void *fresh(unsigned char fill) { return memset(page, fill, 4096); }

static struct xen_domctl *domctl_op(void) { return fresh(0); }
static struct xen_sysctl *sysctl_op(void) { return fresh(0); }
static struct xen_platform_op *platform_op(void) { return fresh(0); }

// What is in the page, as one call or another.
static long domctl(uint32_t cmd, uint32_t domid) {
  struct xen_domctl *op = page;
  op->cmd = cmd;
  op->domain = (domid_t)domid;
  op->interface_version = XEN_DOMCTL_INTERFACE_VERSION;
  return xencall1(xcall, __HYPERVISOR_domctl, (uintptr_t)op);
}

static long sysctl(uint32_t cmd) {
  struct xen_sysctl *op = page;
  op->cmd = cmd;
  op->interface_version = XEN_SYSCTL_INTERFACE_VERSION;
  return xencall1(xcall, __HYPERVISOR_sysctl, (uintptr_t)op);
}

static long platform(uint32_t cmd) {
  struct xen_platform_op *op = page;
  op->cmd = cmd;
  op->interface_version = XENPF_INTERFACE_VERSION;
  return xencall1(xcall, __HYPERVISOR_platform_op, (uintptr_t)op);
}

static long version(unsigned cmd, const void *argument) {
  return xencall2(xcall, __HYPERVISOR_xen_version, cmd, (uintptr_t)argument);
}

static long vcpu_op(unsigned cmd, unsigned vcpu, const void *argument) {
  return xencall3(xcall, __HYPERVISOR_vcpu_op, cmd, vcpu, (uintptr_t)argument);
}

// Versions.

// Strings of any length came with 4.18: without room they say their length, and with room, of
// which not a byte more is written, the text without an end.
static void check_long_string(unsigned cmd, const char *expected) {
  const long length = version(cmd, NULL);
  CHECK(length == (long)strlen(expected));
  xen_varbuf_t *text = fresh(0x5a);
  text->len = 4000;
  CHECK(version(cmd, text) == length && text->len == 4000);
  CHECK(memcmp(text->buf, expected, (size_t)length) == 0 && text->buf[length] == 0x5a);
  text = fresh(0x5a);
  text->len = (uint32_t)length;
  CHECK(version(cmd, text) == length);
  CHECK(memcmp(text->buf, expected, (size_t)length) == 0 && text->buf[length] == 0x5a);
  if (length == 0) return;
  text = fresh(0x5a);
  text->len = (uint32_t)length - 1;
  CHECK_REFUSED(version(cmd, text), ENOBUFS);
  CHECK(text->len == (uint32_t)length - 1 && text->buf[0] == 0x5a);
}

static void check_version(void) {
  const int number = xc_version(xch, XENVER_version, NULL);
  CHECK(number >> 16 == 4 && (number & 0xffff) == 20);

  xen_extraversion_t extraversion;
  CHECK(xc_version(xch, XENVER_extraversion, extraversion) == 0 && extraversion[0] == '.');
  check_long_string(XENVER_extraversion2, extraversion);
  xen_capabilities_info_t capabilities;
  CHECK(xc_version(xch, XENVER_capabilities, capabilities) == 0);
  CHECK(strstr(capabilities, "xen-3.0-x86_64") != NULL);
  check_long_string(XENVER_capabilities2, capabilities);
  xen_changeset_info_t changeset;
  CHECK(xc_version(xch, XENVER_changeset, changeset) == 0);
  check_long_string(XENVER_changeset2, changeset);
  xen_commandline_t command_line;
  CHECK(xc_version(xch, XENVER_commandline, command_line) == 0);
  check_long_string(XENVER_commandline2, command_line);
  CHECK_REFUSED(version(XENVER_commandline2 + 1, NULL), ENOSYS);

  // As libxenctrl asks for them: the length first.
  char *text = xc_xenver_extraversion(xch);
  CHECK(text != NULL && strcmp(text, extraversion) == 0);
  free(text);
  text = xc_xenver_capabilities(xch);
  CHECK(text != NULL && strcmp(text, capabilities) == 0);
  free(text);
  text = xc_xenver_changeset(xch);
  CHECK(text != NULL && strcmp(text, changeset) == 0);
  free(text);
  text = xc_xenver_commandline(xch);
  CHECK(text != NULL && strcmp(text, command_line) == 0);
  free(text);
  // Hexadecimal, of 20 bytes; or there is none.
  text = xc_xenver_buildid(xch);
  CHECK(text != NULL ? strlen(text) == 40 : errno == ENODATA);
  free(text);

  xen_compile_info_t compile_info;
  CHECK(xc_version(xch, XENVER_compile_info, &compile_info) == 0);
  CHECK(memchr(compile_info.compiler, 0, sizeof(compile_info.compiler)) != NULL);
  xen_platform_parameters_t parameters = {0};
  CHECK(xc_version(xch, XENVER_platform_parameters, &parameters) == 0);
  CHECK(parameters.virt_start != 0);
  CHECK(xc_version(xch, XENVER_pagesize, NULL) == 4096);
  xen_domain_handle_t handle;
  CHECK(xc_version(xch, XENVER_guest_handle, &handle) == 0);

  xen_feature_info_t *features = fresh(0);
  CHECK(version(XENVER_get_features, features) == 0);
  static const unsigned kFeatures[] = {XENFEAT_dom0, XENFEAT_runstate_phys_area,
                                       XENFEAT_vcpu_time_phys_area, XENFEAT_dm_msix_all_writes};
  for (unsigned i = 0; i < sizeof(kFeatures) / sizeof(kFeatures[0]); i++) {
    CHECK((features->submap & (1u << kFeatures[i])) != 0);
  }
  features->submap_idx = 1;
  CHECK_REFUSED(version(XENVER_get_features, features), EINVAL);
}

// No version but this release's own.
static void check_interface_versions(void) {
  CHECK(XEN_DOMCTL_INTERFACE_VERSION == 0x17 && XEN_SYSCTL_INTERFACE_VERSION == 0x15);
  for (int off = -2; off <= 1; off++) {
    struct xen_domctl *about_domain = domctl_op();
    about_domain->cmd = XEN_DOMCTL_getdomaininfo;
    about_domain->interface_version = (uint32_t)(XEN_DOMCTL_INTERFACE_VERSION + off);
    long answer = xencall1(xcall, __HYPERVISOR_domctl, (uintptr_t)about_domain);
    CHECK(off == 0 ? answer == 0 : answer < 0 && errno == EACCES);
    CHECK(about_domain->interface_version == (uint32_t)(XEN_DOMCTL_INTERFACE_VERSION + off));

    struct xen_sysctl *about_host = sysctl_op();
    about_host->cmd = XEN_SYSCTL_physinfo;
    about_host->interface_version = (uint32_t)(XEN_SYSCTL_INTERFACE_VERSION + off);
    answer = xencall1(xcall, __HYPERVISOR_sysctl, (uintptr_t)about_host);
    CHECK(off == 0 ? answer == 0 : answer < 0 && errno == EACCES);

    struct xen_platform_op *about_platform = platform_op();
    about_platform->cmd = XENPF_get_cpu_version;
    about_platform->interface_version = (uint32_t)(XENPF_INTERFACE_VERSION + off);
    answer = xencall1(xcall, __HYPERVISOR_platform_op, (uintptr_t)about_platform);
    CHECK(off == 0 ? answer == 0 : answer < 0 && errno == EACCES);
  }
}

// The host.

static void check_sysctls(void) {
  xc_physinfo_t physinfo;
  memset(&physinfo, 0x5a, sizeof(physinfo));
  CHECK(xc_physinfo(xch, &physinfo) == 0);
  CHECK(physinfo.nr_cpus >= 1 && physinfo.threads_per_core >= 1 && physinfo.cpu_khz > 0);
  CHECK(physinfo.max_cpu_id + 1 >= physinfo.nr_cpus && physinfo.nr_nodes == 1);
  CHECK(physinfo.total_pages > physinfo.free_pages && physinfo.free_pages > 0);
  CHECK((physinfo.capabilities & XEN_SYSCTL_PHYSCAP_pv) != 0);

  int scheduler = 0;
  CHECK(xc_sched_id(xch, &scheduler) == 0 && scheduler == XEN_SCHEDULER_CREDIT2);
  unsigned cpus = 0, nodes = 0;
  CHECK(xc_cputopoinfo(xch, &cpus, NULL) == 0 && cpus == physinfo.max_cpu_id + 1);
  CHECK(xc_numainfo(xch, &nodes, NULL, NULL) == 0 && nodes == 1);
  uint64_t bytes = 0;
  CHECK(xc_availheap(xch, 0, 0, -1, &bytes) == 0 && bytes > 0 && (bytes & 4095) == 0);
  static char console[65536];
  unsigned length = sizeof(console);
  uint32_t index = 0;
  CHECK(xc_readconsolering(xch, console, &length, 0, 1, &index) == 0 && length > 0);

  struct xen_sysctl *op = sysctl_op();
  CHECK(sysctl(XEN_SYSCTL_get_cpu_featureset) == 0 && op->u.cpu_featureset.nr_features >= 10);
  op = sysctl_op();
  op->u.cpu_policy.index = XEN_SYSCTL_cpu_policy_hvm_default;
  CHECK(sysctl(XEN_SYSCTL_get_cpu_policy) == 0);
  CHECK(op->u.cpu_policy.nr_leaves > 0 && op->u.cpu_policy.nr_msrs > 0);
  op->u.cpu_policy.index = XEN_SYSCTL_cpu_policy_hvm_default + 1;
  CHECK_REFUSED(sysctl(XEN_SYSCTL_get_cpu_policy), EINVAL);

  // Neither machine has a driver of frequencies, and so none by performance levels.
  xc_set_cppc_para_t levels = {.set_params = XEN_SYSCTL_CPPC_SET_DESIRED, .desired = 128};
  CHECK_REFUSED(xc_set_cpufreq_cppc(xch, 0, &levels), EINVAL);
  CHECK_REFUSED(xc_set_cpufreq_cppc(xch, kNoVcpu, &levels), EINVAL);
  struct xc_get_cpufreq_para parameters = {0};
  CHECK_REFUSED(xc_get_cpufreq_para(xch, 0, &parameters), EINVAL);

  // Overlays of device trees are not for this architecture.
  sysctl_op();
  CHECK_REFUSED(sysctl(XEN_SYSCTL_dt_overlay), ENOSYS);
  sysctl_op();
  CHECK_REFUSED(sysctl(XEN_SYSCTL_dt_overlay + 1), ENOSYS);
}

static void check_platform_ops(void) {
  struct xenpf_pcpu_version cpu = {.xen_cpuid = 0};
  CHECK(xc_get_cpu_version(xch, &cpu) == 0 && cpu.xen_cpuid == 0);
  struct xenpf_ucode_revision revision = {.cpu = 0};
  CHECK(xc_get_ucode_revision(xch, &revision) == 0 && revision.cpu == 0);
  revision.cpu = (uint32_t)kNoCpu;
  CHECK_REFUSED(xc_get_ucode_revision(xch, &revision), ENOENT);

  struct xen_platform_op *op = platform_op();
  op->u.ucode_revision.cpu = (uint32_t)kNoCpu;
  op->u.ucode_revision.revision = 0x5a5a5a5a;
  CHECK_REFUSED(platform(XENPF_get_ucode_revision), ENOENT);
  CHECK(op->u.ucode_revision.revision == 0x5a5a5a5a);

  // How domain 0's console is shown: as much as its structure has, all of it written.
  op = fresh(0x5a);
  CHECK(platform(XENPF_get_dom0_console) == sizeof(op->u.dom0_console));
  CHECK(op->u.dom0_console.video_type != 0x5a);

  // What is no microcode, and a flag that there is not.
  static char nothing[64];
  CHECK_REFUSED(xc_microcode_update(xch, nothing, sizeof(nothing), 0), EINVAL);
  CHECK_REFUSED(xc_microcode_update(xch, nothing, sizeof(nothing), XENPF_UCODE_FORCE), EINVAL);
  CHECK_REFUSED(xc_microcode_update(xch, nothing, sizeof(nothing), 2), EINVAL);
  platform_op();
  CHECK_REFUSED(platform(XENPF_microcode_update2), EINVAL);
  platform_op();
  CHECK_REFUSED(platform(XENPF_microcode_update2 + 1), ENOSYS);
}

// The areas of a vcpu that are registered by the guest's physical address.
static void check_vcpu_areas(void) {
  static const struct {
    unsigned cmd;
    size_t size;
  } kAreas[] = {
      {VCPUOP_register_runstate_phys_area, sizeof(struct vcpu_runstate_info)},
      {VCPUOP_register_vcpu_time_phys_area, sizeof(struct vcpu_time_info)},
  };
  for (unsigned i = 0; i < sizeof(kAreas) / sizeof(kAreas[0]); i++) {
    const unsigned cmd = kAreas[i].cmd;
    uint64_t *address = fresh(0);
    *address = kNoArea;
    CHECK(vcpu_op(cmd, 0, address) == 0);
    CHECK(vcpu_op(cmd, 0, address) == 0);     // that there is none is no mistake
    *address = 0x10000 - kAreas[i].size + 8;  // more than a page
    CHECK_REFUSED(vcpu_op(cmd, 0, address), ENXIO);
    *address = 0x10004;  // not aligned
    CHECK_REFUSED(vcpu_op(cmd, 0, address), ENXIO);
    *address = ~0ull - 4095;  // of a frame that nobody has
    CHECK_REFUSED(vcpu_op(cmd, 0, address), EINVAL);
    *address = kNoArea;
    CHECK_REFUSED(vcpu_op(cmd, kNoVcpu, address), ENOENT);
    CHECK_REFUSED(vcpu_op(cmd, 0, NULL), EFAULT);
  }
  CHECK_REFUSED(vcpu_op(VCPUOP_register_vcpu_time_phys_area + 1, 0, fresh(0)), ENOSYS);
}

static void check_pci_reset(void) {
  struct pci_device_reset *reset = fresh(0);
  reset->dev.seg = 0xffff;
  reset->dev.bus = 0xff;
  CHECK_REFUSED(
      xencall2(xcall, __HYPERVISOR_physdev_op, PHYSDEVOP_pci_device_reset, (uintptr_t)reset),
      ENODEV);
}

// Domains.

static struct xen_domctl_createdomain configuration(uint32_t flags) {
  struct xen_domctl_createdomain config = {
      .flags = flags,
      .max_vcpus = 2,
      .max_evtchn_port = 1023,
      .max_grant_frames = 32,
      .max_maptrack_frames = 1024,
      .grant_opts = XEN_DOMCTL_GRANT_version(1),
  };
  memset(config.handle, 0xa5, sizeof(config.handle));
  if (flags & XEN_DOMCTL_CDF_hvm) config.arch.emulation_flags = XEN_X86_EMU_LAPIC;
  return config;
}

static uint32_t create_domain(uint32_t flags) {
  struct xen_domctl_createdomain config = configuration(flags);
  uint32_t domid = 0;
  CHECK(xc_domain_create(xch, &domid, &config) == 0 && domid != 0);
  return domid;
}

static void check_creation(void) {
  // Whether alternative p2ms are for a domain is said when it is created, and never again.
  for (uint32_t mode = 0; mode <= XEN_DOMCTL_ALTP2M_limited + 1; mode++) {
    for (int hvm = 0; hvm < 2; hvm++) {
      struct xen_domctl_createdomain config = configuration(hvm ? kHvm : 0);
      config.altp2m_opts = mode;
      uint32_t domid = 0;
      if (mode != 0 && (!hvm || mode > XEN_DOMCTL_ALTP2M_limited)) {
        CHECK_REFUSED(xc_domain_create(xch, &domid, &config), EINVAL);
        continue;
      }
      CHECK(xc_domain_create(xch, &domid, &config) == 0);
      if (hvm) {
        uint64_t value = 99;
        CHECK(xc_hvm_param_get(xch, domid, HVM_PARAM_ALTP2M, &value) == 0 && value == mode);
        CHECK_REFUSED(xc_hvm_param_set(xch, domid, HVM_PARAM_ALTP2M, mode), EEXIST);
      }
      CHECK(xc_domain_destroy(xch, domid) == 0);
    }
  }

  // The emulated devices of a device model's domain, all but the virtual PCI; with routes of
  // interrupts to event channels, or without.
  const uint32_t without = XEN_X86_EMU_ALL & ~(XEN_X86_EMU_VPCI | XEN_X86_EMU_USE_PIRQ);
  const struct {
    uint32_t flags, devices;
    int error;
  } kDevices[] = {
      {kHvm, without, 0},
      {kHvm, without | XEN_X86_EMU_USE_PIRQ, 0},
      {kHvm, XEN_X86_EMU_ALL, EOPNOTSUPP},
      {kHvm, XEN_X86_EMU_ALL + 1, EINVAL},
      {kHvm, 0, EOPNOTSUPP},
      {0, without, EOPNOTSUPP},
      {0, XEN_X86_EMU_ALL + 1, EINVAL},
  };
  for (unsigned i = 0; i < sizeof(kDevices) / sizeof(kDevices[0]); i++) {
    struct xen_domctl_createdomain config = configuration(kDevices[i].flags);
    config.arch.emulation_flags = kDevices[i].devices;
    uint32_t domid = 0;
    if (kDevices[i].error != 0) {
      CHECK_REFUSED(xc_domain_create(xch, &domid, &config), kDevices[i].error);
    } else {
      CHECK(xc_domain_create(xch, &domid, &config) == 0);
      CHECK(xc_domain_destroy(xch, domid) == 0);
    }
  }
  struct xen_domctl_createdomain config = configuration(0);
  uint32_t domid = 0;
  config.flags = 1u << 8;  // the first that has no meaning
  CHECK_REFUSED(xc_domain_create(xch, &domid, &config), EINVAL);
  config.flags = 0;
  config.arch.misc_flags = 2;
  CHECK_REFUSED(xc_domain_create(xch, &domid, &config), EINVAL);

  // What Xen itself has at most is no limit for a domain, as it was until 4.17.
  config = configuration(0);
  config.max_grant_frames = 65;
  config.max_maptrack_frames = 1025;
  CHECK(xc_domain_create(xch, &domid, &config) == 0);
  struct gnttab_query_size size = {.dom = (domid_t)domid};
  CHECK(xc_gnttab_query_size(xch, &size) == 0 && size.max_nr_frames == 65);
  CHECK(xc_domain_destroy(xch, domid) == 0);
}

// The call for one domain tells of no other, as it did until 4.17; the one for a list does.
static void check_one_domain(void) {
  const uint32_t first = create_domain(0), second = create_domain(0);
  xc_domaininfo_t info;
  memset(&info, 0x5a, sizeof(info));
  CHECK(xc_domain_getinfo_single(xch, first, &info) == 0 && info.domain == first);
  CHECK(info.flags == (0xffff0000u | XEN_DOMINF_paused) && info.handle[15] == 0xa5);
  CHECK(info.tot_pages == 0 && info.max_pages == 0 && info.nr_online_vcpus == 0);
  CHECK(dominfo_shutdown_reason(&info) == 0xff && !dominfo_shutdown_with(&info, 0xff));
  CHECK(xc_domain_getinfo_single(xch, first, NULL) == 0);
  CHECK(xc_domain_destroy(xch, first) == 0);
  CHECK_REFUSED(xc_domain_getinfo_single(xch, first, &info), ESRCH);
  CHECK(xc_domain_getinfolist(xch, first, 1, &info) == 1 && info.domain == second);
  CHECK_REFUSED(xc_domain_getinfo_single(xch, kNobody, NULL), ESRCH);
  CHECK(xc_domain_getinfo_single(xch, 0, &info) == 0 && info.domain == 0 && info.tot_pages > 0);

  static const domid_t kNobodies[] = {DOMID_SELF, DOMID_IO, DOMID_XEN, DOMID_INVALID, kNobody};
  for (unsigned i = 0; i < sizeof(kNobodies) / sizeof(kNobodies[0]); i++) {
    struct xen_domctl *op = domctl_op();
    CHECK_REFUSED(domctl(XEN_DOMCTL_getdomaininfo, kNobodies[i]), ESRCH);
    CHECK(op->domain == kNobodies[i] && op->u.getdomaininfo.domain == 0);
  }
  domctl_op();
  CHECK(domctl(XEN_DOMCTL_getdomaininfo, second) == 0);
  CHECK(xc_domain_shutdown(xch, second, SHUTDOWN_suspend) == 0);
  CHECK(xc_domain_getinfo_single(xch, second, &info) == 0);
  CHECK(dominfo_shutdown_with(&info, SHUTDOWN_suspend));
  CHECK(xc_domain_destroy(xch, second) == 0);
}

// Ops that 4.17 had not.
static void check_new_domctls(uint32_t domid) {
  const uint32_t keyboard = 1;
  CHECK(xc_domain_gsi_permission(xch, domid, keyboard, XEN_DOMCTL_GSI_GRANT) == 0);
  CHECK(xc_domain_gsi_permission(xch, domid, keyboard, XEN_DOMCTL_GSI_GRANT) == 0);
  CHECK(xc_domain_gsi_permission(xch, domid, keyboard, XEN_DOMCTL_GSI_REVOKE) == 0);
  CHECK_REFUSED(xc_domain_gsi_permission(xch, domid, keyboard, 2), EINVAL);
  CHECK_REFUSED(xc_domain_gsi_permission(xch, domid, ~0u, XEN_DOMCTL_GSI_GRANT), ERANGE);
  CHECK_REFUSED(xc_domain_gsi_permission(xch, domid, ~0u, 2), EINVAL);  // this is seen first
  CHECK_REFUSED(xc_domain_gsi_permission(xch, kNobody, keyboard, 2), ESRCH);

  // Parts of the last level cache are for machines that are started with them.
  const uint32_t colors[2] = {0, 1};
  CHECK_REFUSED(xc_domain_set_llc_colors(xch, domid, NULL, 0), EOPNOTSUPP);
  CHECK_REFUSED(xc_domain_set_llc_colors(xch, domid, colors, 2), EOPNOTSUPP);
  CHECK_REFUSED(xc_domain_set_llc_colors(xch, kNobody, colors, 2), ESRCH);
  struct xen_domctl *op = domctl_op();
  op->u.set_llc_colors.pad = 1;
  CHECK_REFUSED(domctl(XEN_DOMCTL_set_llc_colors, domid), EINVAL);

  domctl_op();
  CHECK_REFUSED(domctl(XEN_DOMCTL_dt_overlay, domid), ENOSYS);
  domctl_op();
  CHECK_REFUSED(domctl(XEN_DOMCTL_set_llc_colors + 1, domid), ENOSYS);
}

static void check_memory(uint32_t domid, bool hvm) {
  enum { kPages = 64 };
  CHECK(xc_domain_setmaxmem(xch, domid, kPages * 4) == 0);
  xen_pfn_t extents[kPages + 1];
  for (unsigned i = 0; i <= kPages; i++) extents[i] = i;
  CHECK(xc_domain_populate_physmap(xch, domid, kPages + 1, 0, 0, extents) == kPages);
  xc_domaininfo_t info;
  CHECK(xc_domain_getinfo_single(xch, domid, &info) == 0);
  CHECK(info.tot_pages == kPages && info.max_pages == kPages);
  CHECK(xc_domain_populate_physmap(xch, domid, 1, 0, 0, extents) == 0);

  xen_pfn_t highest = 0;
  CHECK(xc_domain_maximum_gpfn(xch, domid, &highest) == 0);
  CHECK(!hvm || highest == kPages - 1);
  CHECK(xc_domain_decrease_reservation_exact(xch, domid, 1, 0, extents) == 0);
  CHECK(xc_get_tot_pages(xch, domid) == kPages - 1);
  xen_pfn_t place[1] = {0};
  CHECK(xc_domain_populate_physmap_exact(xch, domid, 1, 0, 0, place) == 0);
  CHECK_REFUSED(xc_domain_claim_pages(xch, domid, kPages + 1), EINVAL);
  if (hvm) {
    CHECK(xc_domain_add_to_physmap(xch, domid, XENMAPSPACE_shared_info, 0, 0x900) == 0);
    CHECK(xc_domain_getinfo_single(xch, domid, &info) == 0 && info.shared_info_frame == 0x900);
    CHECK(xc_domain_remove_from_physmap(xch, domid, 0x900) == 0);
    // What is not there cannot be moved: newer point releases say so otherwise than 4.17.
    CHECK_REFUSED(xc_domain_add_to_physmap(xch, domid, XENMAPSPACE_gmfn, 0x1234, 0x901), EACCES);
    uint64_t bytes = 0;
    CHECK(xc_set_paging_mempool_size(xch, domid, 4 << 20) == 0);
    CHECK(xc_get_paging_mempool_size(xch, domid, &bytes) == 0 && bytes == 4 << 20);
  }
}

// Several calls in one, of different kinds: each has its answer.
static void check_multicall(uint32_t domid) {
  struct {
    multicall_entry_t calls[5];
    struct xen_memory_reservation reservation;
    struct xen_domctl about;
    domid_t domid;
  } *all = fresh(0);
  all->domid = (domid_t)domid;
  all->about.cmd = XEN_DOMCTL_getdomaininfo;
  all->about.interface_version = XEN_DOMCTL_INTERFACE_VERSION;
  all->about.domain = (domid_t)domid;
  all->reservation.domid = kNobody;
  const struct {
    unsigned op;
    uint64_t first, second;
  } kCalls[] = {
      {__HYPERVISOR_memory_op, XENMEM_current_reservation, (uintptr_t)&all->domid},
      {__HYPERVISOR_xen_version, XENVER_version, 0},
      {__HYPERVISOR_domctl, (uintptr_t)&all->about, 0},
      {__HYPERVISOR_memory_op, XENMEM_decrease_reservation, (uintptr_t)&all->reservation},
      {60, 0, 0},  // no hypercall
  };
  for (unsigned i = 0; i < 5; i++) {
    all->calls[i].op = kCalls[i].op;
    all->calls[i].args[0] = kCalls[i].first;
    all->calls[i].args[1] = kCalls[i].second;
  }
  CHECK(xencall2(xcall, __HYPERVISOR_multicall, (uintptr_t)all->calls, 5) == 0);
  CHECK((long)all->calls[0].result == xc_get_tot_pages(xch, domid));
  CHECK(all->calls[1].result == 0x40014);
  CHECK(all->calls[2].result == 0 && all->about.u.getdomaininfo.domain == domid);
  CHECK(all->about.u.getdomaininfo.tot_pages == all->calls[0].result);
  CHECK((long)all->calls[3].result == 0);  // none of no extents
  CHECK((long)all->calls[4].result == -ENOSYS);
}

// From its creation to its end.
static void check_domain(bool hvm) {
  const uint32_t domid = create_domain(hvm ? kHvm : 0);
  CHECK(xc_domain_max_vcpus(xch, domid, 2) == 0);
  CHECK_REFUSED(xc_domain_max_vcpus(xch, domid, 1), EINVAL);
  if (hvm) {
    unsigned megabytes = 2;
    CHECK(xc_shadow_control(xch, domid, XEN_DOMCTL_SHADOW_OP_SET_ALLOCATION, &megabytes, 0) == 0);
  }
  check_memory(domid, hvm);
  check_new_domctls(domid);
  check_multicall(domid);

  xc_domaininfo_t info;
  CHECK(xc_domain_pause(xch, domid) == 0 && xc_domain_unpause(xch, domid) == 0);
  CHECK(xc_domain_getinfo_single(xch, domid, &info) == 0);
  CHECK((info.flags & XEN_DOMINF_paused) != 0 && info.max_vcpu_id == 1);
  CHECK(xc_domain_unpause(xch, domid) == 0 && xc_domain_getinfo_single(xch, domid, &info) == 0);
  CHECK((info.flags & XEN_DOMINF_paused) == 0);

  xc_domaininfo_t list[4];
  CHECK(xc_domain_getinfolist(xch, 0, 4, list) == 2);
  CHECK(list[0].domain == 0 && list[1].domain == domid);
  CHECK(xc_domain_destroy(xch, domid) == 0);
  CHECK_REFUSED(xc_domain_getinfo_single(xch, domid, &info), ESRCH);
  CHECK_REFUSED(xc_domain_destroy(xch, domid), ESRCH);
}

int main(void) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  xch = xc_interface_open(NULL, NULL, 0);
  xcall = xencall_open(NULL, 0);
  page = xcall != NULL ? xencall_alloc_buffer_pages(xcall, 1) : NULL;
  CHECK(xch != NULL && page != NULL);
  if (xch == NULL || page == NULL) return close_checks();
  check_version();
  check_interface_versions();
  check_sysctls();
  check_platform_ops();
  check_vcpu_areas();
  check_pci_reset();
  check_creation();
  check_one_domain();
  for (int hvm = 0; hvm < 2; hvm++) check_domain(hvm);
  xencall_free_buffer_pages(xcall, page, 1);
  CHECK(xencall_close(xcall) == 0 && xc_interface_close(xch) == 0);
  return close_checks();
}
