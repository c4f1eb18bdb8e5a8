// console_io, callback_op, nmi_op, xenpmu_op and xenoprof_op: small calls with one pointer each.
// Sources: xen/xen.h, xen/callback.h, xen/nmi.h, xen/pmu.h, xen/xenoprof.h.
#ifndef HCALL_SCHEMA_SMALL_H_
#define HCALL_SCHEMA_SMALL_H_

#include "hcall/schema/meaning.h"
#include "hcall/schema/xen.h"

namespace xencomm::schema {

inline constexpr HypercallSpec kConsoleIo = {
    .number = __HYPERVISOR_console_io,
    .name = "console_io",
    .about = "Writes and reads the hypervisor's console.",
    .arguments = {"cmd", "count", "buffer"},
    .registers = {In("cmd").LowBits(32), In("count").LowBits(32).Note("bytes")},
    .op_place = OpPlace::kRegister,
    .op_field = "cmd",
    .prefix = "CONSOLEIO_",
};

inline constexpr OpSpec kConsoleIoOps[] = {
    {
        .number = CONSOLEIO_write,
        .name = "write",
        .argument = nullptr,
        .about = "Writes to the console.",
        .outer = {In("buffer", Elements("count")).Of("char")},
    },
    {
        .number = CONSOLEIO_read,
        .name = "read",
        .argument = nullptr,
        .about = "Reads what was typed at the console.",
        .outer = {Out("buffer", Elements("count")).Filled(Returned()).Of("char")},
        .returns = "bytes read",
    },
};

inline constexpr HypercallSpec kCallbackOp = {
    .number = __HYPERVISOR_callback_op,
    .name = "callback_op",
    .about = "Says where a PV kernel wants to be entered.",
    .arguments = {"cmd", "arg"},
    .registers = {In("cmd").LowBits(32), In("arg", One())},
    .op_place = OpPlace::kRegister,
    .op_field = "cmd",
    .pointer = "arg",
    .prefix = "CALLBACKOP_",
};

inline constexpr OpSpec kCallbackOps[] = {
    {
        .number = CALLBACKOP_register,
        .name = "register",
        .argument = "callback_register",
        .about = "Sets an entry.",
        .rows = {In("type").Enum("CALLBACKTYPE_"), In("flags").Flags("CALLBACKF_"),
                 In("address").Note("of the entry in the kernel")},
    },
    {
        .number = CALLBACKOP_unregister,
        .name = "unregister",
        .argument = "callback_unregister",
        .about = "Takes an entry back.",
        .rows = {In("type").Enum("CALLBACKTYPE_"), Ignored("_unused")},
    },
};

inline constexpr HypercallSpec kNmiOp = {
    .number = __HYPERVISOR_nmi_op,
    .name = "nmi_op",
    .about = "Says where NMIs go.",
    .arguments = {"cmd", "arg"},
    .registers = {In("cmd").LowBits(32), In("arg", One())},
    .op_place = OpPlace::kRegister,
    .op_field = "cmd",
    .pointer = "arg",
    .prefix = "XENNMI_",
};

inline constexpr OpSpec kNmiOps[] = {
    {
        .number = XENNMI_register_callback,
        .name = "register_callback",
        .argument = "xennmi_callback",
        .about = "Sets the handler of the calling vcpu's NMIs.",
        .rows = {In("handler_address").Note("in the kernel"), Ignored("pad")},
    },
    {
        .number = XENNMI_unregister_callback,
        .name = "unregister_callback",
        .argument = nullptr,
        .about = "Takes back register_callback.",
    },
};

inline constexpr HypercallSpec kXenpmuOp = {
    .number = __HYPERVISOR_xenpmu_op,
    .name = "xenpmu_op",
    .about = "Gives a domain the processors' performance counters.",
    .arguments = {"op", "arg"},
    .registers = {In("op").LowBits(32), In("arg", One())},
    .op_place = OpPlace::kRegister,
    .op_field = "op",
    .pointer = "arg",
    .prefix = "XENPMU_",
    .others = {"XENPMU_VER_", "XENPMU_MODE_", "XENPMU_FEATURE_"},
};

inline constexpr OpSpec kXenpmuOps[] = {
    {
        .number = XENPMU_mode_get,
        .name = "mode_get",
        .argument = "xen_pmu_params",
        .about = "Tells who may count what.",
        .rows = {Out("version").Note("XENPMU_VER_*"), Out("val").Flags("XENPMU_MODE_"),
                 Ignored("vcpu"), Ignored("pad")},
    },
    {
        .number = XENPMU_mode_set,
        .name = "mode_set",
        .argument = "xen_pmu_params",
        .about = "Sets who may count what.",
        .rows = {In("version"), In("val").Flags("XENPMU_MODE_"), Ignored("vcpu"), Zero("pad")},
    },
    {
        .number = XENPMU_feature_get,
        .name = "feature_get",
        .argument = "xen_pmu_params",
        .about = "Tells the features that domains can use.",
        .rows = {Ignored("version"), Out("val").Flags("XENPMU_FEATURE_"), Ignored("vcpu"),
                 Ignored("pad")},
    },
    {
        .number = XENPMU_feature_set,
        .name = "feature_set",
        .argument = "xen_pmu_params",
        .about = "Sets the features that domains can use.",
        .rows = {In("version"), In("val").Flags("XENPMU_FEATURE_"), Ignored("vcpu"), Zero("pad")},
    },
    {
        .number = XENPMU_init,
        .name = "init",
        .argument = "xen_pmu_params",
        .about = "Shares a page for a vcpu's samples.",
        .rows = {In("version"), In("val").Note("guest frame"), In("vcpu"), Zero("pad")},
    },
    {
        .number = XENPMU_finish,
        .name = "finish",
        .argument = "xen_pmu_params",
        .about = "Takes back init.",
        .rows = {In("version"), Ignored("val"), In("vcpu"), Zero("pad")},
    },
    {
        .number = XENPMU_lvtpc_set,
        .name = "lvtpc_set",
        .argument = nullptr,
        .about = "Loads the interrupt's settings from the shared page.",
    },
    {
        .number = XENPMU_flush,
        .name = "flush",
        .argument = nullptr,
        .about = "Loads the counters from the shared page.",
    },
};

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

#endif  // HCALL_SCHEMA_SMALL_H_
