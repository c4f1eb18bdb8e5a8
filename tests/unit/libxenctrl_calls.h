// A call of each function of libxenctrl and its sisters that makes hypercalls, with arguments from
// which every pointer gets a length of its own.
#ifndef TESTS_UNIT_LIBXENCTRL_CALLS_H_
#define TESTS_UNIT_LIBXENCTRL_CALLS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "hcall/schema/walk.h"

extern "C" {
#define XC_WANT_COMPAT_DEVICEMODEL_API 1
#include <xenctrl.h>
#include <xendevicemodel.h>
#include <xenguest.h>
#include <xenhypfs.h>

#include <xen/hypfs.h>  // after the types that it needs

// Not in the installed headers, but among what the library shows.
struct xc_mmu;
struct xc_mmu* xc_alloc_mmu_updates(xc_interface*, unsigned domain);
int xc_add_mmu_update(xc_interface*, struct xc_mmu*, unsigned long long ptr,
                      unsigned long long val);
int xc_flush_mmu_updates(xc_interface*, struct xc_mmu*);
int xc_get_pfn_type_batch(xc_interface*, uint32_t domain, unsigned count, xen_pfn_t*);
int xc_vm_event_control(xc_interface*, uint32_t domain, unsigned op, unsigned mode, uint32_t* port);
}

namespace xencomm::libxenctrl {

using schema::Call;

constexpr std::uint32_t kDomain = 5;
constexpr unsigned kCpus = 77;
constexpr unsigned kNodes = 3;
constexpr std::size_t kCpuMap = (kCpus + 7) / 8;  // bytes

// The start of some memory, whatever is to be there.
struct Pointer {
  std::byte* start;
  template <class T>
  operator T*() const {
    return reinterpret_cast<T*>(start);
  }
};

// What a caller of libxenctrl gives it: memory whose bytes are nowhere else, so that they can be
// told in a hypercall buffer. It takes next to no stack, so that what libxenctrl leaves there to
// chance is what the test has put there.
class User {
 public:
  // Of the caller: what is in it, and what was to begin with.
  struct Memory {
    std::span<const std::byte> bytes;
    std::span<const std::byte> original;
  };

  Pointer operator()(std::size_t size) {
    std::memset(&bytes_[used_], static_cast<int>(1 + count_), size);
    return Keep(size);
  }
  Pointer Text(const char* text) {
    const std::size_t size = std::strlen(text) + 1;
    std::memcpy(&bytes_[used_], text, size);
    return Keep(size);
  }

  // Cleared, and with a value: these are not looked for.
  Pointer Out() { return Take(kPlain); }
  template <class T>
  Pointer Value(const T& value) {
    static_assert(sizeof(value) <= kPlain);
    std::memcpy(&bytes_[used_], &value, sizeof(value));
    return Take(kPlain);
  }

  std::span<const Memory> memory() const { return {memory_.data(), count_}; }

 private:
  static constexpr std::size_t kPlain = 1024;
  static constexpr std::size_t kAlignment = 16;

  Pointer Take(std::size_t size) {
    std::byte* const start = &bytes_[used_];
    used_ = (used_ + size + kAlignment - 1) & ~(kAlignment - 1);
    return {start};
  }
  Pointer Keep(std::size_t size) {
    std::memcpy(&original_[used_], &bytes_[used_], size);
    memory_[count_++] = {{&bytes_[used_], size}, {&original_[used_], size}};
    return Take(size);
  }

  alignas(kAlignment) std::array<std::byte, 32 * kPlain> bytes_ = {};
  std::array<std::byte, 32 * kPlain> original_ = {};
  std::size_t used_ = 0;
  std::array<Memory, 8> memory_;
  std::size_t count_ = 0;
};

// What the hypervisor answers, and writes.
using Answer = std::function<long(const Call&)>;

template <class T>
T& Argument(const Call& call, unsigned i = 0) {
  return *reinterpret_cast<T*>(call.registers[i]);
}

// The machine has processors and nodes, and there is nothing else to tell.
inline long Ordinary(const Call& call) {
  if (call.hypercall != __HYPERVISOR_sysctl) return 0;
  auto& op = Argument<xen_sysctl>(call);
  if (op.cmd == XEN_SYSCTL_physinfo) {
    op.u.physinfo.max_cpu_id = kCpus - 1;
    op.u.physinfo.max_node_id = kNodes - 1;
  }
  // libxenctrl keeps what else it is told, and asks no more.
  if (op.cmd == XEN_SYSCTL_psr_cmt_op) op.u.psr_cmt_op.u.data = 0;
  return 0;
}

struct Use {
  const char* words;
  void (*make)(xc_interface*, User&);
  Answer answer = Ordinary;

  Use Answered(Answer other) const { return {words, make, std::move(other)}; }
};

// A buffer that libxenctrl wants its caller to allocate.
class HypercallBuffer {
 public:
  HypercallBuffer(xc_interface* x, std::size_t bytes) : x_(x) {
    buffer_.ubuf = reinterpret_cast<void*>(~std::uintptr_t{0});
    xc__hypercall_buffer_alloc(x_, &buffer_, bytes);
  }
  HypercallBuffer(const HypercallBuffer&) = delete;
  HypercallBuffer& operator=(const HypercallBuffer&) = delete;
  ~HypercallBuffer() { xc__hypercall_buffer_free(x_, &buffer_); }

  xc_hypercall_buffer_t* get() { return &buffer_; }

 private:
  xc_interface* x_;
  xc_hypercall_buffer_t buffer_ = {};
};

inline auto CpuPolicy() {
  return std::unique_ptr<xc_cpu_policy_t, void (*)(xc_cpu_policy_t*)>(xc_cpu_policy_init(),
                                                                      xc_cpu_policy_destroy);
}

inline void PxStatistics(xc_interface* x, User& u) {
  xc_px_stat statistics = {};
  statistics.total = 6;  // 4.17's asks for it
  statistics.trans_pt = u(6 * 6 * sizeof(std::uint64_t));
  statistics.pt = u(6 * sizeof(xc_px_val));
  xc_pm_get_pxstat(x, 1, &statistics);
}

inline void CxStatistics(xc_interface* x, User& u) {
  xc_cx_stat statistics = {};
  statistics.nr = 3;
  statistics.nr_pc = 4;
  statistics.nr_cc = 5;
  statistics.triggers = u(3 * sizeof(std::uint64_t));
  statistics.residencies = u(3 * sizeof(std::uint64_t));
  statistics.pc = u(4 * sizeof(std::uint64_t));
  statistics.cc = u(5 * sizeof(std::uint64_t));
  xc_pm_get_cxstat(x, 1, &statistics);
}

inline void CpuFrequency(xc_interface* x, User& u) {
  struct xc_get_cpufreq_para parameters = {};
  parameters.cpu_num = 2;
  parameters.freq_num = 3;
  parameters.gov_num = 4;
  parameters.affected_cpus = u(2 * sizeof(std::uint32_t));
  parameters.scaling_available_frequencies = u(3 * sizeof(std::uint32_t));
  parameters.scaling_available_governors = u(4 * CPUFREQ_NAME_LEN);
  xc_get_cpufreq_para(x, 1, &parameters);
}

// Several go into one multicall.
inline void ResourceOps(xc_interface* x, User& u, std::uint32_t count) {
  std::vector<xc_resource_op_t> ops;
  for (std::uint32_t entries = 2; entries < 2 + count; ++entries) {
    ops.push_back({0, 1, entries, u(entries * sizeof(xc_resource_entry_t))});
  }
  xc_resource_op(x, count, ops.data());
}

inline void MmuUpdates(xc_interface* x) {
  xc_mmu* const updates = xc_alloc_mmu_updates(x, kDomain);
  for (unsigned i = 0; i < 3; ++i) xc_add_mmu_update(x, updates, i, i);
  xc_flush_mmu_updates(x, updates);
  std::free(updates);
}

inline void KexecLoad(xc_interface* x) {
  HypercallBuffer image(x, 300);
  xen_kexec_segment_t segment = {};
  segment.buf.h.p = image.get()->hbuf;
  segment.buf_size = 300;
  segment.dest_size = 4096;
  xc_kexec_load(x, 0, 62, 1, 1, &segment);
}

inline void Hypfs() {
  xenhypfs_handle* const hypfs = xenhypfs_open(nullptr, 0);
  std::free(xenhypfs_read(hypfs, "/params/name"));
  xenhypfs_write(hypfs, "/params/name", "value");
  xenhypfs_close(hypfs);
}

#define CALL(...)                                                                         \
  Use {                                                                                   \
#__VA_ARGS__,                                                                         \
        []([[maybe_unused]] xc_interface * x, [[maybe_unused]] User & u) { __VA_ARGS__; } \
  }

inline const Use kUses[] = {

#if XEN_DOMCTL_INTERFACE_VERSION == 0x15
    // Until 4.17.
    CALL(xc_domain_getinfo(x, kDomain, 3, u.Out())),
    CALL(xc_livepatch_upload(x, u.Text("name"), u(1000), 1000)),
    CALL(xc_microcode_update(x, u(1000), 1000)),
#else
    // Since then.
    CALL(xc_domain_getinfo_single(x, kDomain, u.Out())),
    CALL(xc_domain_gsi_permission(x, kDomain, 1, XEN_DOMCTL_GSI_GRANT)),
    CALL(xc_domain_set_llc_colors(x, kDomain, u(3 * sizeof(std::uint32_t)), 3)),
    CALL(xc_monitor_io(x, kDomain, true)),
    CALL(xc_livepatch_upload(x, u.Text("name"), u(1000), 1000, true)),
    CALL(xc_set_cpufreq_cppc(x, 1, u.Out())),
    CALL(xc_microcode_update(x, u(1000), 1000, XENPF_UCODE_FORCE)),
    CALL(xc_get_cpu_version(x, u.Out())),
    CALL(xc_get_ucode_revision(x, u.Out())),
    CALL(std::free(xc_xenver_extraversion(x))),
    CALL(std::free(xc_xenver_commandline(x))),
#endif

    // domctl
    CALL(xc_domain_create(x, u.Out(), u.Out())),
    CALL(xc_domain_max_vcpus(x, kDomain, 4)),
    CALL(xc_domain_pause(x, kDomain)),
    CALL(xc_domain_unpause(x, kDomain)),
    CALL(xc_domain_destroy(x, kDomain)),
    CALL(xc_domain_shutdown(x, kDomain, 1)),
    CALL(xc_watchdog(x, 1, 1)),
    CALL(xc_domain_node_setaffinity(x, kDomain, u(1))),
    CALL(xc_domain_node_getaffinity(x, kDomain, u(1))),
    CALL(xc_vcpu_setaffinity(x, kDomain, 0, u(kCpuMap), u(kCpuMap),
                             XEN_VCPUAFFINITY_HARD | XEN_VCPUAFFINITY_SOFT)),
    CALL(xc_vcpu_getaffinity(x, kDomain, 0, u(kCpuMap), u(kCpuMap),
                             XEN_VCPUAFFINITY_HARD | XEN_VCPUAFFINITY_SOFT)),
    CALL(xc_vcpu_getaffinity(x, kDomain, 0, u(kCpuMap), nullptr, XEN_VCPUAFFINITY_HARD)),
    CALL(xc_domain_get_guest_width(x, kDomain, u.Out())),
    CALL(xc_vcpu_setcontext(x, kDomain, 0, u(sizeof(vcpu_guest_context_any_t)))),
    CALL(xc_vcpu_setcontext(x, kDomain, 0, nullptr)),
    CALL(xc_vcpu_getcontext(x, kDomain, 0, u(sizeof(vcpu_guest_context_any_t)))),
    CALL(xc_domain_getinfolist(x, 0, 3, u(3 * sizeof(xc_domaininfo_t)))),
    CALL(xc_set_broken_page_p2m(x, kDomain, 1)),
    CALL(xc_domain_hvm_getcontext(x, kDomain, u(1000), 1000)),
    CALL(xc_domain_hvm_getcontext(x, kDomain, nullptr, 0)),
    CALL(xc_domain_hvm_getcontext_partial(x, kDomain, 1, 2, u(100), 100)),
    CALL(xc_domain_hvm_setcontext(x, kDomain, u(1000), 1000)),
    CALL(xc_dom_vuart_init(x, 0, kDomain, 0, 1, u.Out())),
    CALL(xc_vcpu_get_extstate(x, kDomain, 0, u.Value(xc_vcpu_extstate_t{3, 100, u(100)}))),
    CALL(xc_vcpu_getinfo(x, kDomain, 0, u.Out())),
    CALL(xc_domain_sethandle(x, kDomain, u.Out())),
    CALL(xc_shadow_control(x, kDomain, XEN_DOMCTL_SHADOW_OP_GET_ALLOCATION, u.Out(), 0)),
    CALL(xc_shadow_control(x, kDomain, XEN_DOMCTL_SHADOW_OP_OFF, nullptr, 0)),
    CALL(xc_logdirty_control(x, kDomain, XEN_DOMCTL_SHADOW_OP_PEEK, HypercallBuffer(x, 13).get(),
                             100, 0, nullptr)),
    CALL(xc_get_paging_mempool_size(x, kDomain, u.Out())),
    CALL(xc_set_paging_mempool_size(x, kDomain, 4096)),
    CALL(xc_sched_credit_domain_set(x, kDomain, u.Out())),
    CALL(xc_sched_credit_domain_get(x, kDomain, u.Out())),
    CALL(xc_sched_credit2_domain_set(x, kDomain, u.Out())),
    CALL(xc_sched_credit2_domain_get(x, kDomain, u.Out())),
    CALL(xc_sched_rtds_domain_set(x, kDomain, u.Out())),
    CALL(xc_sched_rtds_domain_get(x, kDomain, u.Out())),
    CALL(xc_sched_rtds_vcpu_set(x, kDomain, u(3 * sizeof(xen_domctl_schedparam_vcpu)), 3)),
    CALL(xc_sched_rtds_vcpu_get(x, kDomain, u(3 * sizeof(xen_domctl_schedparam_vcpu)), 3)),
    CALL(xc_domain_send_trigger(x, kDomain, 0, 0)),
    CALL(xc_domain_setdebugging(x, kDomain, 1)),
    CALL(xc_domain_p2m_audit(x, kDomain, u.Out(), u.Out(), u.Out())),
    CALL(xc_domain_set_access_required(x, kDomain, 1)),
    CALL(xc_domain_set_virq_handler(x, kDomain, 3)),
    CALL(xc_domain_setmaxmem(x, kDomain, 1024)),
    CALL(xc_domain_setvnuma(x, kDomain, 2, 3, 4, u(3 * sizeof(xen_vmemrange_t)), u(4 * 4), u(4 * 4),
                            u(2 * 4))),
    CALL(xc_domain_soft_reset(x, kDomain)),
    CALL(xc_domain_set_time_offset(x, kDomain, 1)),
    CALL(xc_domain_set_tsc_info(x, kDomain, 1, 2, 3, 4)),
    CALL(xc_domain_get_tsc_info(x, kDomain, u.Out(), u.Out(), u.Out(), u.Out())),
    CALL(xc_domain_ioport_permission(x, kDomain, 1, 2, 1)),
    CALL(xc_domain_irq_permission(x, kDomain, 1, true)),
    CALL(xc_domain_iomem_permission(x, kDomain, 1, 2, 1)),
    CALL(xc_vmtrace_enable(x, kDomain, 0)),
    CALL(xc_vmtrace_output_position(x, kDomain, 0, u.Out())),
    CALL(xc_vmtrace_get_option(x, kDomain, 0, 1, u.Out())),
    CALL(xc_vmtrace_set_option(x, kDomain, 0, 1, 2)),
    CALL(xc_domain_subscribe_for_suspend(x, kDomain, 3)),
    CALL(xc_assign_device(x, kDomain, 1, 0)),
    CALL(xc_get_device_group(x, kDomain, 1, 6, u.Out(), u(6 * 4))),
    CALL(xc_test_assign_device(x, kDomain, 1)),
    CALL(xc_deassign_device(x, kDomain, 1)),
    CALL(xc_assign_dt_device(x, kDomain, u.Text("/some/path"))),
    CALL(xc_test_assign_dt_device(x, kDomain, u.Text("/some/path"))),
    CALL(xc_deassign_dt_device(x, kDomain, u.Text("/some/path"))),
    CALL(xc_domain_memory_mapping(x, kDomain, 1, 2, 3, 1)),
    CALL(xc_domain_ioport_mapping(x, kDomain, 1, 2, 3, 1)),
    CALL(xc_domain_update_msi_irq(x, kDomain, 1, 2, 3, 4)),
    CALL(xc_domain_unbind_msi_irq(x, kDomain, 1, 2, 3)),
    CALL(xc_domain_bind_pt_pci_irq(x, kDomain, 1, 2, 3, 1)),
    CALL(xc_domain_bind_pt_isa_irq(x, kDomain, 1)),
    CALL(xc_domain_bind_pt_spi_irq(x, kDomain, 1, 2)),
    CALL(xc_domain_set_target(x, kDomain, 6)),
    CALL(xc_domain_debug_control(x, kDomain, XEN_DOMCTL_DEBUG_OP_SINGLE_STEP_ON, 0)),
    CALL(xc_mem_paging_disable(x, kDomain)),
    CALL(xc_mem_paging_resume(x, kDomain)),
    CALL(xc_vm_event_get_version(x)),
    CALL(xc_vm_event_control(x, kDomain, XEN_VM_EVENT_ENABLE, XEN_DOMCTL_VM_EVENT_OP_PAGING,
                             u.Out())),
    CALL(xc_monitor_get_capabilities(x, kDomain, u.Out())),
    CALL(xc_monitor_write_ctrlreg(x, kDomain, 1, true, true, 2, true)),
    CALL(xc_monitor_mov_to_msr(x, kDomain, 1, true, true)),
    CALL(xc_monitor_singlestep(x, kDomain, true)),
    CALL(xc_monitor_guest_request(x, kDomain, true, true, true)),
    CALL(xc_monitor_debug_exceptions(x, kDomain, true, true)),
    CALL(xc_monitor_vmexit(x, kDomain, true, true)),
    CALL(xc_monitor_emulate_each_rep(x, kDomain, true)),
    CALL(xc_memshr_control(x, kDomain, 1)),
    CALL(xc_psr_cmt_attach(x, kDomain)),
    CALL(xc_psr_cmt_get_domain_rmid(x, kDomain, u.Out())),
    CALL(xc_psr_set_domain_data(x, kDomain, XC_PSR_CAT_L3_CBM, 1, 2)),
    CALL(xc_psr_get_domain_data(x, kDomain, XC_PSR_CAT_L3_CBM, 1, u.Out())),
    CALL(xc_cpu_policy_get_domain(x, kDomain, CpuPolicy().get())).Answered([](const Call& call) {
      Argument<xen_domctl>(call).u.cpu_policy.nr_leaves = 0;
      Argument<xen_domctl>(call).u.cpu_policy.nr_msrs = 0;
      return 0L;
    }),
    CALL(xc_set_domain_cpu_policy(x, kDomain, 3, u(3 * sizeof(xen_cpuid_leaf_t)), 2,
                                  u(2 * sizeof(xen_msr_entry_t)), u.Out(), u.Out(), u.Out())),
    CALL(xc_get_pfn_type_batch(x, kDomain, 7, u(7 * 8))),

    // sysctl
    CALL(xc_cpupool_create(x, u.Out(), 5)),
    CALL(xc_cpupool_destroy(x, 1)),
    CALL(xc_cpupool_infofree(x, xc_cpupool_getinfo(x, 1))),
    CALL(xc_cpupool_addcpu(x, 1, 2)),
    CALL(xc_cpupool_removecpu(x, 1, 2)),
    CALL(xc_cpupool_movedomain(x, 1, kDomain)),
    CALL(free(xc_cpupool_freeinfo(x))),
    CALL(xc_sched_credit_params_set(x, 0, u.Out())),
    CALL(xc_sched_credit_params_get(x, 0, u.Out())),
    CALL(xc_sched_credit2_params_set(x, 0, u.Out())),
    CALL(xc_sched_credit2_params_get(x, 0, u.Out())),
    CALL(xc_sched_arinc653_schedule_set(x, 0, u(sizeof(xen_sysctl_arinc653_schedule)))),
    CALL(xc_sched_arinc653_schedule_get(x, 0, u(sizeof(xen_sysctl_arinc653_schedule)))),
    CALL(xc_readconsolering(x, u(100), u.Value(100u), 0, 0, nullptr)),
    CALL(xc_send_debug_keys(x, u.Text("keys"))),
    CALL(xc_physinfo(x, u.Out())),
    CALL(xc_cputopoinfo(x, u.Value(6u), u(6 * sizeof(xc_cputopo_t)))),
    CALL(xc_cputopoinfo(x, u.Value(0u), nullptr)),
    CALL(xc_numainfo(x, u.Value(3u), u(3 * sizeof(xc_meminfo_t)), u(3 * 3 * 4))),
    CALL(xc_numainfo(x, u.Value(0u), nullptr, nullptr)),
    CALL(xc_pcitopoinfo(x, 5, u(5 * sizeof(physdev_pci_device_t)), u(5 * 4)))
        .Answered([](const Call& call) {
          Argument<xen_sysctl>(call).u.pcitopoinfo.num_devs = 5;
          return 0L;
        }),
    CALL(xc_sched_id(x, u.Out())),
    CALL(xc_getcpuinfo(x, 6, u(6 * sizeof(xc_cpuinfo_t)), u.Out())),
    CALL(xc_availheap(x, 0, 0, -1, u.Out())),
    CALL(xc_perfc_reset(x)),
    CALL(xc_perfc_query_number(x, u.Out(), u.Out())),
    // Not xc_perfc_query: it leaves its counts to chance.
    CALL(xc_lockprof_reset(x)),
    CALL(xc_lockprof_query_number(x, u.Out())),
    CALL(xc_lockprof_query(x, u.Value(4u), u.Out(),
                           HypercallBuffer(x, 4 * sizeof(xc_lockprof_data_t)).get())),
    CALL(xc_tbuf_enable(x, 20, u.Out(), u.Out())),
    CALL(xc_tbuf_disable(x)),
    CALL(xc_tbuf_set_size(x, 20)),
    CALL(xc_tbuf_get_size(x, u.Out())),
    CALL(xc_tbuf_set_cpu_mask(x, u(kCpuMap))),
    CALL(xc_tbuf_set_evt_mask(x, 3)),
    CALL(xc_pm_get_max_px(x, 1, u.Out())),
    CALL(PxStatistics(x, u)).Answered([](const Call& call) {
      Argument<xen_sysctl>(call).u.get_pmstat.u.getpx.total = 6;
      return 0L;
    }),
    CALL(xc_pm_reset_pxstat(x, 1)),
    CALL(xc_pm_get_max_cx(x, 1, u.Out())),
    CALL(CxStatistics(x, u)),
    CALL(xc_pm_reset_cxstat(x, 1)),
    CALL(xc_cpu_online(x, 1)),
    CALL(xc_cpu_offline(x, 1)),
    CALL(xc_smt_enable(x)),
    CALL(CpuFrequency(x, u)),
    CALL(xc_set_cpufreq_gov(x, 1, u.Text("performance"))),
    CALL(xc_set_cpufreq_para(x, 1, SCALING_MAX_FREQ, 2)),
    CALL(xc_get_cpufreq_avgfreq(x, 1, u.Out())),
    CALL(xc_set_sched_opt_smt(x, 1)),
    CALL(xc_get_cpuidle_max_cstate(x, u.Out())),
    CALL(xc_set_cpuidle_max_cstate(x, 1)),
    CALL(xc_enable_turbo(x, 1)),
    CALL(xc_psr_cmt_get_total_rmid(x, u.Out())),
    CALL(xc_psr_cmt_get_l3_cache_size(x, 1, u.Out())),
    CALL(xc_psr_get_hw_info(x, 0, XC_PSR_CAT_L3, u.Out())),
    CALL(xc_livepatch_get(x, u.Text("name"), u.Out())),
    CALL(xc_livepatch_list_get_sizes(x, u.Out(), u.Out(), u.Out())),
    CALL(xc_livepatch_list(x, 3, 0, u(3 * sizeof(xen_livepatch_status)), u(60), u(3 * 4), 60, u(50),
                           u(3 * 4), 50, u.Out(), u.Out()))
        .Answered([](const Call& call) {
          Argument<xen_sysctl>(call).u.livepatch.u.list.nr = 0;
          return 3L;
        }),
    CALL(xc_livepatch_apply(x, u.Text("name"), 0, 0)),
    CALL(xc_get_cpu_levelling_caps(x, u.Out())),
    CALL(xc_get_cpu_featureset(x, 0, u.Value(9u), u(9 * 4))),
    CALL(xc_cpu_policy_get_size(x, u.Out(), u.Out())),
    CALL(xc_cpu_policy_get_system(x, 0, CpuPolicy().get())).Answered([](const Call& call) {
      Argument<xen_sysctl>(call).u.cpu_policy.nr_leaves = 0;
      Argument<xen_sysctl>(call).u.cpu_policy.nr_msrs = 0;
      return 0L;
    }),
    CALL(xc_mark_page_online(x, 10, 15, u(6 * 4))),
    CALL(xc_mark_page_offline(x, 10, 15, u(6 * 4))),
    CALL(xc_query_page_offline_status(x, 10, 15, u(6 * 4))),

    // platform_op
    CALL(ResourceOps(x, u, 1)),
    CALL(ResourceOps(x, u, 2)),

    // memory_op
    CALL(xc_machphys_mfn_list(x, 4, u(4 * 8))),
    CALL(xc_domain_getvnuma(x, kDomain, u.Value(2u), u.Value(3u), u.Value(4u),
                            u(3 * sizeof(xen_vmemrange_t)), u(2 * 2 * 4), u(4 * 4))),
    CALL(xc_domain_set_memory_map(x, kDomain, u(3 * sizeof(e820entry)), 3)),
    CALL(xc_get_machine_memory_map(x, u(3 * sizeof(e820entry)), 3)),
    CALL(xc_reserved_device_memory_map(x, 0, 1, 2, 3, u(3 * sizeof(xen_reserved_device_memory)),
                                       u.Value(3u))),
    CALL(xc_domain_maximum_gpfn(x, kDomain, u.Out())),
    CALL(xc_domain_increase_reservation(x, kDomain, 4, 0, 0, u(4 * 8))),
    CALL(xc_domain_increase_reservation(x, kDomain, 4, 0, 0, nullptr)),
    CALL(xc_domain_decrease_reservation(x, kDomain, 4, 0, u(4 * 8))),
    CALL(xc_domain_populate_physmap(x, kDomain, 4, 0, 0, u(4 * 8))),
    CALL(xc_domain_add_to_physmap(x, kDomain, XENMAPSPACE_shared_info, 0, 1)),
    CALL(xc_domain_add_to_physmap_batch(x, kDomain, 6, XENMAPSPACE_gmfn_foreign, 4, u(4 * 8),
                                        u(4 * 8), u(4 * 4))),
    CALL(xc_domain_remove_from_physmap(x, kDomain, 1)),
    CALL(xc_domain_claim_pages(x, kDomain, 10)),
    CALL(xc_domain_memory_exchange_pages(x, kDomain, 4, 0, u(4 * 8), 2, 1, u(2 * 8))),
    CALL(xc_domain_set_pod_target(x, kDomain, 1, u.Out(), u.Out(), u.Out())),
    CALL(xc_domain_get_pod_target(x, kDomain, u.Out(), u.Out(), u.Out())),
    CALL(xc_maximum_ram_page(x, u.Out())),
    CALL(xc_mem_paging_nominate(x, kDomain, 1)),
    CALL(xc_mem_paging_evict(x, kDomain, 1)),
    CALL(xc_mem_paging_prep(x, kDomain, 1)),
    CALL(xc_mem_paging_load(x, kDomain, 1, u(4096))),
    CALL(xc_set_mem_access(x, kDomain, XENMEM_access_r, 1, 2)),
    CALL(xc_set_mem_access_multi(x, kDomain, u(5), u(5 * 8), 5)),
    CALL(xc_get_mem_access(x, kDomain, 1, u.Out())),
    CALL(xc_memshr_nominate_gfn(x, kDomain, 1, u.Out())),
    CALL(xc_memshr_nominate_gref(x, kDomain, 1, u.Out())),
    CALL(xc_memshr_share_gfns(x, kDomain, 1, 2, 6, 3, 4)),
    CALL(xc_memshr_add_to_physmap(x, kDomain, 1, 2, 6, 3)),
    CALL(xc_memshr_range_share(x, kDomain, 6, 1, 2)),
    CALL(xc_memshr_fork(x, kDomain, 6, true, true)),
    CALL(xc_memshr_fork_reset(x, kDomain, true, true)),
    CALL(xc_memshr_debug_gfn(x, kDomain, 1)),
    CALL(xc_memshr_audit(x)),
    CALL(xc_sharing_freed_pages(x)),

    // hvm_op
    CALL(xc_hvm_param_set(x, kDomain, 1, 2)),
    CALL(xc_hvm_param_get(x, kDomain, 1, u.Out())),
    CALL(xc_altp2m_get_domain_state(x, kDomain, u.Out())),
    CALL(xc_altp2m_set_domain_state(x, kDomain, true)),
    CALL(xc_altp2m_set_vcpu_enable_notify(x, kDomain, 0, 1)),
    CALL(xc_altp2m_create_view(x, kDomain, XENMEM_access_r, u.Out())),
    CALL(xc_altp2m_destroy_view(x, kDomain, 1)),
    CALL(xc_altp2m_switch_to_view(x, kDomain, 1)),
    CALL(xc_altp2m_set_suppress_ve(x, kDomain, 1, 2, true)),
    CALL(xc_altp2m_set_supress_ve_multi(x, kDomain, 1, 2, 3, true, u.Out(), u.Out())),
    CALL(xc_altp2m_set_mem_access(x, kDomain, 1, 2, XENMEM_access_r)),
    CALL(xc_altp2m_set_mem_access_multi(x, kDomain, 1, u(5), u(5 * 8), 5)),
    CALL(xc_altp2m_get_mem_access(x, kDomain, 1, 2, u.Out())),
    CALL(xc_altp2m_change_gfn(x, kDomain, 1, 2, 3)),
    CALL(xc_altp2m_get_vcpu_p2m_idx(x, kDomain, 0, u.Out())),
    CALL(xc_altp2m_set_visibility(x, kDomain, 1, true)),

    // dm_op
    CALL(xc_hvm_create_ioreq_server(x, kDomain, 1, u.Out())),
    CALL(xc_hvm_get_ioreq_server_info(x, kDomain, 1, u.Out(), u.Out(), u.Out())),
    CALL(xc_hvm_map_io_range_to_ioreq_server(x, kDomain, 1, 0, 2, 3)),
    CALL(xc_hvm_unmap_io_range_from_ioreq_server(x, kDomain, 1, 0, 2, 3)),
    CALL(xc_hvm_destroy_ioreq_server(x, kDomain, 1)),
    CALL(xc_hvm_set_ioreq_server_state(x, kDomain, 1, 1)),
    CALL(xc_hvm_set_pci_intx_level(x, kDomain, 0, 1, 2, 3, 1)),
    CALL(xc_hvm_set_isa_irq_level(x, kDomain, 1, 1)),
    CALL(xc_hvm_set_pci_link_route(x, kDomain, 1, 2)),
    CALL(xc_hvm_inject_msi(x, kDomain, 1, 2)),
    CALL(xc_hvm_track_dirty_vram(x, kDomain, 1, 100, u(16))),
    CALL(xc_hvm_modified_memory(x, kDomain, 1, 2)),
    CALL(xc_hvm_set_mem_type(x, kDomain, HVMMEM_ram_ro, 1, 2)),
    CALL(xc_hvm_inject_trap(x, kDomain, 0, 1, 2, 3, 4, 5)),
    CALL(xendevicemodel_map_mem_type_to_ioreq_server(xc_interface_dmod_handle(x), kDomain, 1,
                                                     HVMMEM_ioreq_server,
                                                     XEN_DMOP_IOREQ_MEM_ACCESS_WRITE)),
    CALL(xendevicemodel_set_irq_level(xc_interface_dmod_handle(x), kDomain, 1, 1)),
    CALL(xendevicemodel_modified_memory_bulk(xc_interface_dmod_handle(x), kDomain,
                                             u(4 * sizeof(xen_dm_op_modified_memory_extent)), 4)),
    CALL(xendevicemodel_shutdown(xc_interface_dmod_handle(x), kDomain, 1)),
    CALL(xendevicemodel_relocate_memory(xc_interface_dmod_handle(x), kDomain, 1, 2, 3)),
    CALL(xendevicemodel_nr_vcpus(xc_interface_dmod_handle(x), kDomain, u.Out())),
    CALL(xc_domain_pin_memory_cacheattr(x, kDomain, 1, 2, 0)),

    // Others
    CALL(xc_evtchn_reset(x, kDomain)),
    CALL(xc_evtchn_status(x, u.Out())),
    CALL(xc_physdev_map_pirq(x, kDomain, 1, u.Value(3))),
    CALL(xc_physdev_map_pirq_msi(x, kDomain, 1, u.Value(3), 2, 3, 4, 5)),
    CALL(xc_physdev_unmap_pirq(x, kDomain, 1)),
    CALL(xc_mmuext_op(x, u.Value(mmuext_op{MMUEXT_PIN_L4_TABLE, {}, {}}), 1, kDomain)),
    CALL(MmuUpdates(x)),
    CALL(xc_version(x, XENVER_extraversion, u(sizeof(xen_extraversion_t)))),
    CALL(xc_version(x, XENVER_compile_info, u(sizeof(xen_compile_info_t)))),
    CALL(xc_version(x, XENVER_capabilities, u(sizeof(xen_capabilities_info_t)))),
    CALL(xc_version(x, XENVER_changeset, u(sizeof(xen_changeset_info_t)))),
    CALL(xc_version(x, XENVER_platform_parameters, u(sizeof(xen_platform_parameters_t)))),
    CALL(xc_version(x, XENVER_get_features, u(sizeof(xen_feature_info_t)))),
    CALL(xc_version(x, XENVER_guest_handle, u(sizeof(xen_domain_handle_t)))),
    CALL(xc_version(x, XENVER_commandline, u(sizeof(xen_commandline_t)))),
    CALL(xc_version(x, XENVER_build_id, u.Out())),
    CALL(xc_gnttab_query_size(x, u.Out())),
    CALL(xc_gnttab_get_version(x, kDomain)),
    CALL(xc_mca_op_inject_v2(x, 0, u(kCpuMap), kCpus)),
    CALL(xc_flask_load(x, u(100), 100)),
    CALL(xc_flask_context_to_sid(x, u(50), 50, u.Out())),
    CALL(xc_flask_sid_to_context(x, 3, u(50), 50)),
    CALL(xc_flask_getenforce(x)),
    CALL(xc_flask_setenforce(x, 1)),
    CALL(xc_flask_getbool_byid(x, 3, u(40), 40, u.Out(), u.Out())),
    CALL(xc_flask_getbool_byname(x, u.Text("boolean"), u.Out(), u.Out())),
    CALL(xc_flask_setbool(x, u.Text("boolean"), 1, 1)),
    CALL(xc_flask_add_pirq(x, 3, u.Text("context"))),
    CALL(xc_flask_del_pirq(x, 3)),
    CALL(xc_flask_access(x, u.Text("subject"), u.Text("object"), 1, 2, u.Out(), u.Out(), u.Out(),
                         u.Out(), u.Out())),
    CALL(xc_flask_avc_cachestats(x, u(1000), 1000)),
    CALL(xc_flask_avc_hashstats(x, u(1000), 1000)),
    CALL(xc_flask_policyvers(x)),
    CALL(xc_flask_getavc_threshold(x)),
    CALL(xc_flask_setavc_threshold(x, 3)),
    CALL(xc_flask_relabel_domain(x, kDomain, 3)),
    CALL(xc_kexec_exec(x, 0)),
    CALL(xc_kexec_get_range(x, 0, 0, u.Out(), u.Out())),
    CALL(KexecLoad(x)),
    CALL(xc_kexec_unload(x, 0)),
    CALL(xc_kexec_status(x, 0)),
    CALL(Hypfs()).Answered([](const Call& call) {
      if (call.registers[0] != XEN_HYPFS_OP_read) return 0L;
      auto& entry = Argument<xen_hypfs_direntry>(call, 3);
      entry = {};
      entry.type = XEN_HYPFS_TYPE_STRING;
      entry.max_write_len = 10;
      return 0L;
    }),
};

#undef CALL

}  // namespace xencomm::libxenctrl

#endif  // TESTS_UNIT_LIBXENCTRL_CALLS_H_
