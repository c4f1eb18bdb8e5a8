// xenoprof_op (31): profiles of domains and the hypervisor. Source: xen/xenoprof.h.
//
// Two registers: a command and a pointer to what depends on it.
#ifndef HCALL_SCHEMA_XENOPROF_H_
#define HCALL_SCHEMA_XENOPROF_H_

#include "hcall/schema/meaning.h"
#include "hcall/schema/xen.h"

namespace xencomm::schema {

inline constexpr HypercallSpec kXenoprofOp = {
    .number = __HYPERVISOR_xenoprof_op,
    .name = "xenoprof_op",
    .about = "Profiles domains and the hypervisor, the older way.",
    .arguments = {"op", "arg"},
    .registers = {In("op").LowBits(32), In("arg", One())},
    .op_place = OpPlace::kRegister,
    .op_field = "op",
    .pointer = "arg",
    .prefix = "XENOPROF_",
    .others = {"XENOPROF_last_op", "XENOPROF_ESCAPE_CODE", "XENOPROF_TRACE_BEGIN",
               "XENOPROF_CPU_TYPE_SIZE"},
};

inline constexpr OpSpec kXenoprofOps[] = {
    {
        .number = XENOPROF_init,
        .name = "init",
        .argument = "xenoprof_init",
        .about = "Tells what can be counted.",
        .rows = {Out("num_events").Note("counters"),
                 Out("is_primary").Note("1: the caller controls the others"),
                 Out("cpu_type").Note("name")},
    },
    {
        .number = XENOPROF_reset_active_list,
        .name = "reset_active_list",
        .argument = nullptr,
        .about = "Forgets the domains that take part.",
    },
    {
        .number = XENOPROF_reset_passive_list,
        .name = "reset_passive_list",
        .argument = nullptr,
        .about = "Forgets the domains that are watched.",
    },
    {
        .number = XENOPROF_set_active,
        .name = "set_active",
        .argument = nullptr,
        .about = "Lets a domain take part.",
        .outer = {In("arg", One()).Of("uint16_t").Note("domain")},
    },
    {
        .number = XENOPROF_set_passive,
        .name = "set_passive",
        .argument = "xenoprof_passive",
        .about = "Watches a domain.",
        .rows = {In("domain_id"), In("max_samples").Note("of each vcpu"),
                 Out("nbuf").Note("buffers, one for each vcpu"),
                 Out("bufsize").Note("bytes of each"),
                 Out("buf_gmaddr").Note("guest-physical address")},
    },
    {
        .number = XENOPROF_reserve_counters,
        .name = "reserve_counters",
        .argument = nullptr,
        .about = "Takes the counters.",
    },
    {
        .number = XENOPROF_counter,
        .name = "counter",
        .argument = "xenoprof_counter",
        .about = "Sets what a counter counts.",
        .rows = {In("ind").Note("counter"), In("count").Note("events from sample to sample"),
                 In("enabled"), In("event"), In("hypervisor"), In("kernel"), In("user"),
                 In("unit_mask")},
    },
    {
        .number = XENOPROF_setup_events,
        .name = "setup_events",
        .argument = nullptr,
        .about = "Loads the counters.",
    },
    {
        .number = XENOPROF_enable_virq,
        .name = "enable_virq",
        .argument = nullptr,
        .about = "Notifies the calling domain of samples.",
    },
    {
        .number = XENOPROF_start,
        .name = "start",
        .argument = nullptr,
        .about = "Starts counting.",
    },
    {
        .number = XENOPROF_stop,
        .name = "stop",
        .argument = nullptr,
        .about = "Stops counting.",
    },
    {
        .number = XENOPROF_disable_virq,
        .name = "disable_virq",
        .argument = nullptr,
        .about = "Takes back enable_virq.",
    },
    {
        .number = XENOPROF_release_counters,
        .name = "release_counters",
        .argument = nullptr,
        .about = "Gives the counters back.",
    },
    {
        .number = XENOPROF_shutdown,
        .name = "shutdown",
        .argument = nullptr,
        .about = "Ends profiling.",
    },
    {
        .number = XENOPROF_get_buffer,
        .name = "get_buffer",
        .argument = "xenoprof_get_buffer",
        .about = "Allocates the buffers for samples, which the calling domain shares.",
        .rows = {In("max_samples").Note("of each vcpu"),
                 Out("nbuf").Note("buffers, one for each vcpu"),
                 Out("bufsize").Note("bytes of each"),
                 InOut("buf_gmaddr")
                     .Note("guest-physical address; in, of a translated domain: where to")},
    },
    {
        .number = XENOPROF_set_backtrace,
        .name = "set_backtrace",
        .argument = nullptr,
        .about = "Sets how deep call stacks are sampled.",
        .outer = {In("arg", One()).Of("uint64_t").Note("frames")},
    },
    {
        .number = XENOPROF_get_ibs_caps,
        .name = "get_ibs_caps",
        .argument = nullptr,
        .about = "Tells what AMD's instruction-based sampling can do.",
        .returns = "CPUID 0x8000001b EAX; 0: it is not there",
    },
    {
        .number = XENOPROF_ibs_counter,
        .name = "ibs_counter",
        .argument = "xenoprof_ibs_counter",
        .about = "Sets what AMD's instruction-based sampling counts.",
        .rows = {In("op_enabled"), In("fetch_enabled"), In("max_cnt_fetch"), In("max_cnt_op"),
                 In("rand_en"), In("dispatched_ops")},
    },
};

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_XENOPROF_H_
