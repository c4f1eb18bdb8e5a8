// platform_op (7): what the kernel of the hardware domain does to the machine. Source:
// xen/platform.h.
//
// One structure of fixed size, struct xen_platform_op: a command, the interface version, and a
// union with a member for each op. Its handles are of the plain kind. The hypercall has the number
// of the historical dom0_op.
#ifndef HCALL_SCHEMA_PLATFORM_H_
#define HCALL_SCHEMA_PLATFORM_H_

#include "hcall/schema/meaning.h"
#include "hcall/schema/xen.h"

namespace xencomm::schema {

inline constexpr HypercallSpec kPlatformOp = {
    .number = __HYPERVISOR_platform_op,
    .name = "platform_op",
    .about = "Tells the hypervisor what firmware told the kernel, and the other way round.",
    .arguments = {"u_xenpf_op"},
    .registers = {In("u_xenpf_op", One())},
    .op_place = OpPlace::kArgument,
    .op_field = "cmd",
    .pointer = "u_xenpf_op",
    .type = "xen_platform_op",
    .rows = {In("cmd"), In("interface_version")},
    .version_field = "interface_version",
    .version = "XENPF_INTERFACE_VERSION",
    .prefix = "XENPF_",
    .others = {"XENPF_INTERFACE_VERSION", "XENPF_ACPI_SLEEP_"},
};

inline constexpr OpSpec kPlatformOps[] = {
    // Time.
    {
        .number = XENPF_settime32,
        .name = "settime32",
        .argument = "u.settime32",
        .about = "Sets the wallclock, until 2106.",
        .rows = {In("secs"), In("nsecs"), In("system_time").Note("at which the clock read so")},
    },
    {
        .number = XENPF_settime64,
        .name = "settime64",
        .argument = "u.settime64",
        .about = "Sets the wallclock.",
        .rows = {In("secs"), In("nsecs"), Zero("mbz"),
                 In("system_time").Note("at which the clock read so")},
    },

    // Memory types.
    {
        .number = XENPF_add_memtype,
        .name = "add_memtype",
        .argument = "u.add_memtype",
        .about = "Gives a range of memory a type (MTRR).",
        .rows = {In("mfn"), In("nr_mfns"), In("type"), Out("handle").Note("0"),
                 Out("reg").Note("the register that was taken")},
    },
    {
        .number = XENPF_del_memtype,
        .name = "del_memtype",
        .argument = "u.del_memtype",
        .about = "Takes back add_memtype.",
        .rows = {In("handle"), In("reg")},
    },
    {
        .number = XENPF_read_memtype,
        .name = "read_memtype",
        .argument = "u.read_memtype",
        .about = "Reads a register of memory types.",
        .rows = {In("reg"), Out("mfn"), Out("nr_mfns"), Out("type")},
    },

    // Firmware.
    {
        .number = XENPF_microcode_update,
        .name = "microcode_update",
        .argument = "u.microcode",
        .about = "Loads microcode into the processors.",
        .rows = {In("data", Elements("length")), In("length").Note("bytes")},
    },
    {
        .number = XENPF_platform_quirk,
        .name = "platform_quirk",
        .argument = "u.platform_quirk",
        .about = "Tells of a flaw of the machine.",
        .rows = {In("quirk_id").Enum("QUIRK_")},
    },
    {
        .number = XENPF_firmware_info,
        .name = "firmware_info",
        .argument = "u.firmware_info",
        .about = "Tells what the hypervisor learnt from the firmware when it booted.",
        .rows = {In("type").Note("XEN_FW_*"), In("index").Note("of EFI info: what is wanted")},
        .cases =
            {
                {When("type", XEN_FW_DISK_INFO),
                 {Out("u.disk_info.device"), Out("u.disk_info.version"),
                  Out("u.disk_info.interface_support"), Out("u.disk_info.legacy_max_cylinder"),
                  Out("u.disk_info.legacy_max_head"), Out("u.disk_info.legacy_sectors_per_track"),
                  InOut("u.disk_info.edd_params", Inside(0, 2))
                      .Note("the first two bytes say how long it is, before and after")}},
                {When("type", XEN_FW_DISK_MBR_SIGNATURE),
                 {Out("u.disk_mbr_signature.device"), Out("u.disk_mbr_signature.mbr_signature")}},
                {When("type", XEN_FW_VBEDDC_INFO),
                 {Out("u.vbeddc_info.capabilities"), Out("u.vbeddc_info.edid_transfer_time"),
                  Out("u.vbeddc_info.edid", Exactly(128))}},
                {When("type", XEN_FW_EFI_INFO)
                     .And("index", XEN_FW_EFI_VERSION, XEN_FW_EFI_RT_VERSION),
                 {Out("u.efi_info.version")}},
                {When("type", XEN_FW_EFI_INFO).And("index", XEN_FW_EFI_CONFIG_TABLE),
                 {Out("u.efi_info.cfg.addr"), Out("u.efi_info.cfg.nent")}},
                {When("type", XEN_FW_EFI_INFO).And("index", XEN_FW_EFI_VENDOR),
                 {Out("u.efi_info.vendor.revision"), In("u.efi_info.vendor.bufsz").Note("bytes"),
                  Out("u.efi_info.vendor.name", OneFor(2, "u.efi_info.vendor.bufsz"))
                      .Of("uint16_t")
                      .Note("UTF-16, up to a zero")}},
                {When("type", XEN_FW_EFI_INFO).And("index", XEN_FW_EFI_MEM_INFO),
                 {In("u.efi_info.mem.addr"),
                  InOut("u.efi_info.mem.size").Note("out: cut to the region's end"),
                  Out("u.efi_info.mem.attr"), Out("u.efi_info.mem.type")}},
                {When("type", XEN_FW_EFI_INFO).And("index", XEN_FW_EFI_PCI_ROM),
                 {In("u.efi_info.pci_rom.segment"), In("u.efi_info.pci_rom.bus"),
                  In("u.efi_info.pci_rom.devfn"), In("u.efi_info.pci_rom.vendor"),
                  In("u.efi_info.pci_rom.devid"), Out("u.efi_info.pci_rom.address"),
                  Out("u.efi_info.pci_rom.size")}},
                {When("type", XEN_FW_EFI_INFO).And("index", XEN_FW_EFI_APPLE_PROPERTIES),
                 {Out("u.efi_info.apple_properties.address"),
                  Out("u.efi_info.apple_properties.size")}},
                {When("type", XEN_FW_KBD_SHIFT_FLAGS), {Out("u.kbd_shift_flags")}},
            },
    },
    {
        .number = XENPF_efi_runtime_call,
        .name = "efi_runtime_call",
        .argument = "u.efi_runtime_call",
        .about = "Calls a runtime service of EFI.",
        .rows = {In("function").Enum("XEN_EFI_get_"),
                 InOut("misc").Note("flags of the service, in and out; or its one result"),
                 Out("status").Note("EFI_STATUS")},
        .cases =
            {
                {When("function", XEN_EFI_get_time),
                 {Out("u.get_time.time"), Out("u.get_time.resolution"),
                  Out("u.get_time.accuracy")}},
                {When("function", XEN_EFI_set_time), {In("u.set_time")}},
                {When("function", XEN_EFI_get_wakeup_time), {Out("u.get_wakeup_time")}},
                {When("function", XEN_EFI_set_wakeup_time), {In("u.set_wakeup_time")}},
                {When("function", XEN_EFI_get_next_high_monotonic_count), {}},
                {When("function", XEN_EFI_get_variable),
                 {In("u.get_variable.name", Text()).Of("uint16_t").Note("UTF-16"),
                  InOut("u.get_variable.size").Note("bytes; out: what it takes"),
                  Out("u.get_variable.data", Elements("u.get_variable.size"))
                      .Filled("u.get_variable.size")
                      .OrNull("with `size` 0: asks for `size`"),
                  In("u.get_variable.vendor_guid")}},
                {When("function", XEN_EFI_set_variable),
                 {In("u.set_variable.name", Text()).Of("uint16_t").Note("UTF-16"),
                  In("u.set_variable.size").Note("bytes"),
                  In("u.set_variable.data", Elements("u.set_variable.size"))
                      .OrNull("with `size` 0: deletes the variable"),
                  In("u.set_variable.vendor_guid")}},
                {When("function", XEN_EFI_get_next_variable_name),
                 {InOut("u.get_next_variable_name.size").Note("bytes; out: what it takes"),
                  InOut("u.get_next_variable_name.name", OneFor(2, "u.get_next_variable_name.size"))
                      .Of("uint16_t")
                      .Note("UTF-16; in: the variable before, or empty for the first one"),
                  InOut("u.get_next_variable_name.vendor_guid")}},
                {When("function", XEN_EFI_query_variable_info),
                 {In("u.query_variable_info.attr").Flags("XEN_EFI_VARIABLE_"),
                  Out("u.query_variable_info.max_store_size"),
                  Out("u.query_variable_info.remain_store_size"),
                  Out("u.query_variable_info.max_size")}},
                {When("function", XEN_EFI_query_capsule_capabilities),
                 {In("u.query_capsule_capabilities.capsule_header_array",
                     Elements("u.query_capsule_capabilities.capsule_count"))
                      .Of("uint64_t")
                      .Note("not implemented in 4.17; addresses of headers, by EFI"),
                  In("u.query_capsule_capabilities.capsule_count"),
                  Out("u.query_capsule_capabilities.max_capsule_size"),
                  Out("u.query_capsule_capabilities.reset_type")}},
                {When("function", XEN_EFI_update_capsule),
                 {In("u.update_capsule.capsule_header_array",
                     Elements("u.update_capsule.capsule_count"))
                      .Of("uint64_t")
                      .Note("not implemented in 4.17; addresses of headers, by EFI"),
                  In("u.update_capsule.capsule_count"),
                  In("u.update_capsule.sg_list").Note("machine address")}},
            },
    },

    // Processors and their power.
    {
        .number = XENPF_enter_acpi_sleep,
        .name = "enter_acpi_sleep",
        .argument = "u.enter_acpi_sleep",
        .about = "Puts the machine to sleep.",
        .rows = {In("val_a"), In("val_b"), In("sleep_state").Note("n of Sn"),
                 In("flags").Flags("XENPF_ACPI_SLEEP_")},
    },
    {
        .number = XENPF_change_freq,
        .name = "change_freq",
        .argument = "u.change_freq",
        .about = "Tells of a processor's new frequency.",
        .rows = {Zero("flags"), In("cpu"), In("freq").Note("Hz")},
    },
    {
        .number = XENPF_getidletime,
        .name = "getidletime",
        .argument = "u.getidletime",
        .about = "Tells for some processors how long they were idle.",
        .rows = {InOut("cpumap_bitmap", Bits("cpumap_nr_cpus")).Note("out: those that there are"),
                 In("cpumap_nr_cpus"),
                 InOut("idletime", Elements("cpumap_nr_cpus"))
                     .Note("nanoseconds; of processors that were not asked for, left as it is"),
                 Out("now").Note("when that was")},
    },
    {
        .number = XENPF_set_processor_pminfo,
        .name = "set_processor_pminfo",
        .argument = "u.set_pminfo",
        .about = "Tells what ACPI says of a processor's idle and performance states.",
        .rows = {In("id").Note("of ACPI"), In("type").Enum("XEN_PM_")},
        .cases =
            {
                {When("type", XEN_PM_CX),
                 {In("u.power.count"),
                  In("u.power.flags")
                      .Note("bit-fields, counted from the lowest bit in either order"),
                  In("u.power.states", Elements("u.power.count"))}},
                {When("type", XEN_PM_PX),
                 {In("u.perf.flags").Flags("XEN_PX_"), In("u.perf.platform_limit"),
                  In("u.perf.control_register"), In("u.perf.status_register"),
                  In("u.perf.state_count"),
                  In("u.perf.states", Elements("u.perf.state_count"))
                      .Note("looked at with XEN_PX_PSS"),
                  In("u.perf.domain_info"), In("u.perf.shared_type").Enum("XEN_CPUPERF_")}},
                {When("type", XEN_PM_PDC),
                 {InOut("u.pdc", Inside(4, 4, 2))
                      .Note("_PDC: revision, count, and so many words of capabilities; those that "
                            "the hypervisor takes care of are changed")}},
                {When("type", XEN_PM_TX), {}},
            },
    },
    {
        .number = XENPF_get_cpuinfo,
        .name = "get_cpuinfo",
        .argument = "u.pcpu_info",
        .about = "Tells a processor's ids and whether it is on.",
        .rows = {In("xen_cpuid"), Out("max_present"), Out("flags").Flags("XEN_PCPU_FLAGS_"),
                 Out("apic_id"), Out("acpi_id")},
    },
    {
        .number = XENPF_get_cpu_version,
        .name = "get_cpu_version",
        .argument = "u.pcpu_version",
        .about = "Tells a processor's make.",
        .rows = {In("xen_cpuid"), Out("max_present"), Out("vendor_id"), Out("family"), Out("model"),
                 Out("stepping")},
    },
    {
        .number = XENPF_cpu_online,
        .name = "cpu_online",
        .argument = "u.cpu_ol",
        .about = "Switches a processor on.",
        .rows = {In("cpuid")},
    },
    {
        .number = XENPF_cpu_offline,
        .name = "cpu_offline",
        .argument = "u.cpu_ol",
        .about = "Switches a processor off.",
        .rows = {In("cpuid")},
    },
    {
        .number = XENPF_cpu_hotadd,
        .name = "cpu_hotadd",
        .argument = "u.cpu_add",
        .about = "Tells of a processor that was plugged in.",
        .rows = {In("apic_id"), In("acpi_id"), In("pxm").Note("proximity domain")},
        .returns = "the hypervisor's number of it",
    },
    {
        .number = XENPF_mem_hotadd,
        .name = "mem_hotadd",
        .argument = "u.mem_add",
        .about = "Tells of memory that was plugged in.",
        .rows = {In("spfn"), In("epfn"), In("pxm").Note("proximity domain"), In("flags")},
    },
    {
        .number = XENPF_core_parking,
        .name = "core_parking",
        .argument = "u.core_parking",
        .about = "Idles processors to save power.",
        .rows = {In("type").Enum("XEN_CORE_PARKING_")},
        .cases =
            {
                {When("type", XEN_CORE_PARKING_SET), {In("idle_nums")}},
                {When("type", XEN_CORE_PARKING_GET), {Out("idle_nums")}},
            },
    },
    {
        .number = XENPF_resource_op,
        .name = "resource_op",
        .argument = "u.resource_op",
        .about = "Reads and writes MSRs of a processor, one after the other.",
        .rows = {In("nr_entries"), In("cpu"), InOut("entries", Elements("nr_entries").AtMost(3))},
        .returns = "entries done; the one after them tells its error",
    },
    {
        .number = XENPF_get_symbol,
        .name = "get_symbol",
        .argument = "u.symdata",
        .about = "Lists the hypervisor's symbols, one at a time.",
        .rows = {InOut("namelen").Note("bytes; out: what it takes"),
                 InOut("symnum").Note("out: the next one; the same: there is none"),
                 Out("name", Elements("namelen")).Filled("namelen"), Out("address"), Out("type")},
    },
};

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_PLATFORM_H_
