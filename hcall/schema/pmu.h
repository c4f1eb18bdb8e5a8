// xenpmu_op (40): performance counters for domains. Source: xen/pmu.h.
//
// Two registers: a command and a pointer to struct xen_pmu_params.
#ifndef HCALL_SCHEMA_PMU_H_
#define HCALL_SCHEMA_PMU_H_

#include "hcall/schema/meaning.h"
#include "hcall/schema/xen.h"

namespace xencomm::schema {

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

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_PMU_H_
