// xen_version (17): what hypervisor this is. Source: xen/version.h.
//
// Two registers: a command and a pointer to what it fills. Any domain may ask; who is not allowed
// to know gets an empty or a fixed answer.
#ifndef HCALL_SCHEMA_VERSION_H_
#define HCALL_SCHEMA_VERSION_H_

#include "hcall/schema/meaning.h"
#include "hcall/schema/xen.h"

namespace xencomm::schema {

inline constexpr HypercallSpec kXenVersion = {
    .number = __HYPERVISOR_xen_version,
    .name = "xen_version",
    .about = "Describes the hypervisor.",
    .arguments = {"cmd", "arg"},
    .registers = {In("cmd").LowBits(32), In("arg", One())},
    .op_place = OpPlace::kRegister,
    .op_field = "cmd",
    .pointer = "arg",
    .prefix = "XENVER_",
};

inline constexpr OpSpec kXenVersionOps[] = {
    {
        .number = XENVER_version,
        .name = "version",
        .argument = nullptr,
        .about = "Tells the version.",
        .returns = "major << 16 | minor",
    },
    {
        .number = XENVER_extraversion,
        .name = "extraversion",
        .argument = nullptr,
        .about = "Tells what follows major and minor: \".2-pre\".",
        .outer = {Out("arg", Exactly(XEN_EXTRAVERSION_LEN)).Of("char")},
    },
    {
        .number = XENVER_compile_info,
        .name = "compile_info",
        .argument = "xen_compile_info",
        .about = "Tells by whom, when and with what the hypervisor was built.",
        .rows = {Out("compiler"), Out("compile_by"), Out("compile_domain"), Out("compile_date")},
    },
    {
        .number = XENVER_capabilities,
        .name = "capabilities",
        .argument = nullptr,
        .about = "Lists the kinds of domain that can run: \"xen-3.0-x86_64 hvm-3.0-x86_64\".",
        .outer = {Out("arg", Exactly(XEN_CAPABILITIES_INFO_LEN)).Of("char")},
    },
    {
        .number = XENVER_changeset,
        .name = "changeset",
        .argument = nullptr,
        .about = "Tells the revision that the hypervisor was built from.",
        .outer = {Out("arg", Exactly(XEN_CHANGESET_INFO_LEN)).Of("char")},
    },
    {
        .number = XENVER_platform_parameters,
        .name = "platform_parameters",
        .argument = "xen_platform_parameters",
        .about = "Tells where the hypervisor's own addresses begin.",
        .rows = {Out("virt_start").Note("virtual address")},
    },
    {
        .number = XENVER_get_features,
        .name = "get_features",
        .argument = "xen_feature_info",
        .about = "Tells the features that a kernel may use, 32 at a time.",
        .rows = {In("submap_idx").Note("0: the first 32"),
                 Out("submap").Note("a bit for each XENFEAT_*")},
    },
    {
        .number = XENVER_pagesize,
        .name = "pagesize",
        .argument = nullptr,
        .about = "Tells the size of a page.",
        .outer = {In("arg", Exactly(0)).Of("void").OrNull("the only value allowed")},
        .returns = "bytes",
    },
    {
        .number = XENVER_guest_handle,
        .name = "guest_handle",
        .argument = nullptr,
        .about = "Tells the calling domain's UUID.",
        .outer = {Out("arg", Exactly(sizeof(xen_domain_handle_t))).Of("uint8_t")},
    },
    {
        .number = XENVER_commandline,
        .name = "commandline",
        .argument = nullptr,
        .about = "Tells the hypervisor's command line.",
        .outer = {Out("arg", Exactly(sizeof(xen_commandline_t))).Of("char")},
    },
    {
        .number = XENVER_build_id,
        .name = "build_id",
        .argument = "xen_build_id",
        .about = "Tells the build id of the hypervisor's ELF image.",
        .rows = {In("len").Note("bytes of `buf`"),
                 Out("buf", Elements("len")).Filled(Returned()).Trailing()},
        .outer = {InOut("arg", One()).OrNull("asks for the size")},
        .returns = "bytes of the build id",
    },
};

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_VERSION_H_
