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
    .rows = {In("cmd"), In("interface_version").Note("any other: -EACCES")},
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
        .rows = {In("secs").Note("since 1970"), In("nsecs").Note("nanoseconds"),
                 In("system_time").Note("nanoseconds since boot at which the clock read so")},
    },
    {
        .number = XENPF_settime64,
        .name = "settime64",
        .argument = "u.settime64",
        .about = "Sets the wallclock.",
        .rows = {In("secs").Note("since 1970"), In("nsecs").Note("nanoseconds"), Zero("mbz"),
                 In("system_time").Note("nanoseconds since boot at which the clock read so")},
    },

    // Memory types.
    {
        .number = XENPF_add_memtype,
        .name = "add_memtype",
        .argument = "u.add_memtype",
        .about = "Gives a range of memory a type (MTRR).",
        .rows = {In("mfn").Note("machine frame"), In("nr_mfns").Note("pages"),
                 In("type").Note("0 UC, 1 WC, 4 WT, 5 WP, 6 WB"), Out("handle").Note("0"),
                 Out("reg").Note("the register that was taken")},
    },
    {
        .number = XENPF_del_memtype,
        .name = "del_memtype",
        .argument = "u.del_memtype",
        .about = "Takes back add_memtype.",
        .rows = {In("handle").Note("0"), In("reg").Note("as add_memtype told")},
    },
    {
        .number = XENPF_read_memtype,
        .name = "read_memtype",
        .argument = "u.read_memtype",
        .about = "Reads a register of memory types.",
        .rows = {In("reg").Note("index"), Out("mfn").Note("machine frame"),
                 Out("nr_mfns").Note("pages; 0: not in use"),
                 Out("type").Note("0 UC, 1 WC, 4 WT, 5 WP, 6 WB")},
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
        .about = "Tells what the hypervisor learnt from the firmware when it booted. -ESRCH: there "
                 "is no such thing, or none of that index.",
        .rows = {In("type").Enum("XEN_FW_DISK_ XEN_FW_VBEDDC_ XEN_FW_EFI_INFO XEN_FW_KBD_"),
                 In("index")
                     .Enum("XEN_FW_EFI_")
                     .Except("XEN_FW_EFI_INFO")
                     .Note("these of EFI_INFO; of disks 0 and up; else 0")},
        .cases =
            {
                {When("type", XEN_FW_DISK_INFO),
                 {Out("u.disk_info.device").Note("BIOS number: 0x80 and up"),
                  Out("u.disk_info.version").Note("of EDD"),
                  Out("u.disk_info.interface_support").Note("bits, as INT 13h 41h has them"),
                  Out("u.disk_info.legacy_max_cylinder"), Out("u.disk_info.legacy_max_head"),
                  Out("u.disk_info.legacy_sectors_per_track"),
                  InOut("u.disk_info.edd_params", Inside(0, 2).AtLeast(2))
                      .Note("the first two bytes say how long it is, before and after, and are "
                            "touched whatever they say")}},
                {When("type", XEN_FW_DISK_MBR_SIGNATURE),
                 {Out("u.disk_mbr_signature.device").Note("BIOS number"),
                  Out("u.disk_mbr_signature.mbr_signature")}},
                {When("type", XEN_FW_VBEDDC_INFO),
                 {Out("u.vbeddc_info.capabilities"),
                  Out("u.vbeddc_info.edid_transfer_time").Note("seconds for a block"),
                  Out("u.vbeddc_info.edid", Exactly(128)).Note("EDID")}},
                {When("type", XEN_FW_EFI_INFO)
                     .And("index", XEN_FW_EFI_VERSION, XEN_FW_EFI_RT_VERSION),
                 {Out("u.efi_info.version").Note("major << 16 | minor")}},
                {When("type", XEN_FW_EFI_INFO).And("index", XEN_FW_EFI_CONFIG_TABLE),
                 {Out("u.efi_info.cfg.addr").Note("machine address"),
                  Out("u.efi_info.cfg.nent").Note("entries")}},
                {When("type", XEN_FW_EFI_INFO).And("index", XEN_FW_EFI_VENDOR),
                 {Out("u.efi_info.vendor.revision").Note("of the firmware"),
                  In("u.efi_info.vendor.bufsz").Note("bytes"),
                  Out("u.efi_info.vendor.name", OneFor(2, "u.efi_info.vendor.bufsz"))
                      .Of("uint16_t")
                      .Note("UTF-16, up to a zero")}},
                {When("type", XEN_FW_EFI_INFO).And("index", XEN_FW_EFI_MEM_INFO),
                 {In("u.efi_info.mem.addr").Note("machine address"),
                  InOut("u.efi_info.mem.size").Note("bytes; out: cut to the region's end"),
                  Out("u.efi_info.mem.attr").Note("EFI_MEMORY_* bits"),
                  Out("u.efi_info.mem.type").Note("EFI_MEMORY_TYPE")}},
                {When("type", XEN_FW_EFI_INFO).And("index", XEN_FW_EFI_PCI_ROM),
                 {In("u.efi_info.pci_rom.segment"), In("u.efi_info.pci_rom.bus"),
                  In("u.efi_info.pci_rom.devfn"), In("u.efi_info.pci_rom.vendor"),
                  In("u.efi_info.pci_rom.devid"),
                  Out("u.efi_info.pci_rom.address").Note("machine address"),
                  Out("u.efi_info.pci_rom.size").Note("bytes")}},
                {When("type", XEN_FW_EFI_INFO).And("index", XEN_FW_EFI_APPLE_PROPERTIES),
                 {Out("u.efi_info.apple_properties.address").Note("machine address"),
                  Out("u.efi_info.apple_properties.size").Note("bytes")}},
                {When("type", XEN_FW_KBD_SHIFT_FLAGS),
                 {Out("u.kbd_shift_flags").Note("as INT 16h 02h tells")}},
            },
    },
    {
        .number = XENPF_efi_runtime_call,
        .name = "efi_runtime_call",
        .argument = "u.efi_runtime_call",
        .about = "Calls a runtime service of EFI. 0 says only that it was called: `status` is the "
                 "service's own.",
        .rows = {In("function").Enum("XEN_EFI_get_ XEN_EFI_set_ XEN_EFI_query_ XEN_EFI_update_"),
                 InOut("misc").Note("in: attributes of set_variable and query_variable_info, "
                                    "enable of set_wakeup_time, else 0; out: attributes of "
                                    "get_variable, flags of the clocks, or the monotonic count"),
                 Out("status").Note("EFI_STATUS")},
        .cases =
            {
                {When("function", XEN_EFI_get_time),
                 {Out("u.get_time.time"), Out("u.get_time.resolution").Note("ticks in a second"),
                  Out("u.get_time.accuracy").Note("parts in 10^12")}},
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
                 {InOut("u.get_next_variable_name.size")
                      .Note("in: bytes that there is room for, all of which are read and written; "
                            "out: what it takes"),
                  InOut("u.get_next_variable_name.name", OneFor(2, "u.get_next_variable_name.size"))
                      .Of("uint16_t")
                      .Note("UTF-16; in: the variable before, or empty for the first one"),
                  InOut("u.get_next_variable_name.vendor_guid")}},
                {When("function", XEN_EFI_query_variable_info),
                 {In("u.query_variable_info.attr").Flags("XEN_EFI_VARIABLE_"),
                  Out("u.query_variable_info.max_store_size").Note("bytes"),
                  Out("u.query_variable_info.remain_store_size").Note("bytes"),
                  Out("u.query_variable_info.max_size").Note("bytes, of one variable")}},
                {When("function", XEN_EFI_query_capsule_capabilities),
                 {In("u.query_capsule_capabilities.capsule_header_array",
                     Elements("u.query_capsule_capabilities.capsule_count"))
                      .Of("uint64_t")
                      .Note("not implemented in 4.17; addresses of headers, by EFI"),
                  In("u.query_capsule_capabilities.capsule_count").Note("headers"),
                  Out("u.query_capsule_capabilities.max_capsule_size"),
                  Out("u.query_capsule_capabilities.reset_type")}},
                {When("function", XEN_EFI_update_capsule),
                 {In("u.update_capsule.capsule_header_array",
                     Elements("u.update_capsule.capsule_count"))
                      .Of("uint64_t")
                      .Note("not implemented in 4.17; addresses of headers, by EFI"),
                  In("u.update_capsule.capsule_count").Note("headers"),
                  In("u.update_capsule.sg_list").Note("machine address")}},
            },
    },

    // Processors and their power.
    {
        .number = XENPF_enter_acpi_sleep,
        .name = "enter_acpi_sleep",
        .argument = "u.enter_acpi_sleep",
        .about = "Puts the machine to sleep.",
        .rows = {In("val_a").Note("value for the PM1a control register"),
                 In("val_b").Note("value for the PM1b control register"),
                 In("sleep_state").Note("n of Sn"), In("flags").Flags("XENPF_ACPI_SLEEP_")},
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
                 In("cpumap_nr_cpus").Note("processors from 0 on"),
                 InOut("idletime", Elements("cpumap_nr_cpus"))
                     .Note("nanoseconds; of processors that were not asked for, left as it is"),
                 Out("now").Note("system time, nanoseconds")},
    },
    {
        .number = XENPF_set_processor_pminfo,
        .name = "set_processor_pminfo",
        .argument = "u.set_pminfo",
        .about = "Tells what ACPI says of a processor's idle (CX) and performance (PX) states, and "
                 "asks for what to tell ACPI (PDC).",
        .rows = {In("id").Note("ACPI id of the processor"), In("type").Enum("XEN_PM_")},
        .cases =
            {
                {When("type", XEN_PM_CX),
                 {In("u.power.count").Note("states; the hypervisor has no limit"),
                  In("u.power.flags")
                      .Note("bit-fields, counted from the lowest bit in either order"),
                  In("u.power.states", Elements("u.power.count"))}},
                {When("type", XEN_PM_PX),
                 {In("u.perf.flags")
                      .Flags("XEN_PX_")
                      .Note("which of these fields hold something; with all four of the flags the "
                            "processor is ready"),
                  In("u.perf.platform_limit").Note("PPC: the first state that the platform allows"),
                  In("u.perf.control_register").Note("PCT"),
                  In("u.perf.status_register").Note("PCT"),
                  In("u.perf.state_count").Note("PSS: states, 2 or more"),

                  In("u.perf.domain_info").Note("PSD"),
                  In("u.perf.shared_type").Enum("XEN_CPUPERF_").Note("PSD")}},
                {WhenFlag("u.perf.flags", XEN_PX_PSS).And("type", XEN_PM_PX),
                 {In("u.perf.states", Elements("u.perf.state_count"))}},
                {UnlessFlag("u.perf.flags", XEN_PX_PSS).And("type", XEN_PM_PX),
                 {Ignored("u.perf.states")}},
                {When("type", XEN_PM_PDC),
                 {InOut("u.pdc", Inside(4, 4, 2))
                      .Note("_PDC: revision 1, count, and so many words of capabilities; Xen "
                            "changes the first of these words, to what it takes care of")}},
                {When("type", XEN_PM_TX), {}},
            },
    },
    {
        .number = XENPF_get_cpuinfo,
        .name = "get_cpuinfo",
        .argument = "u.pcpu_info",
        .about = "Tells a processor's ids and whether it is on.",
        .rows = {In("xen_cpuid").Note("the hypervisor's number of it"),
                 Out("max_present").Note("highest number of a processor that is there"),
                 Out("flags").Flags("XEN_PCPU_FLAGS_"), Out("apic_id").Note("~0: not there"),
                 Out("acpi_id").Note("~0: not there")},
    },
    {
        .number = XENPF_get_cpu_version,
        .name = "get_cpu_version",
        .argument = "u.pcpu_version",
        .about = "Tells a processor's make.",
        .rows = {In("xen_cpuid").Note("the hypervisor's number of it"),
                 Out("max_present").Note("highest number of a processor that is there"),
                 Out("vendor_id").Note("12 characters, not ended by a zero"), Out("family"),
                 Out("model"), Out("stepping")},
    },
    {
        .number = XENPF_cpu_online,
        .name = "cpu_online",
        .argument = "u.cpu_ol",
        .about = "Switches a processor on.",
        .rows = {In("cpuid").Note("the hypervisor's number of it")},
    },
    {
        .number = XENPF_cpu_offline,
        .name = "cpu_offline",
        .argument = "u.cpu_ol",
        .about = "Switches a processor off. Not processor 0.",
        .rows = {In("cpuid").Note("the hypervisor's number of it")},
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
        .rows = {In("spfn").Note("first machine frame"),
                 In("epfn").Note("machine frame after the last one"),
                 In("pxm").Note("proximity domain"), In("flags")},
    },
    {
        .number = XENPF_core_parking,
        .name = "core_parking",
        .argument = "u.core_parking",
        .about = "Idles processors to save power.",
        .rows = {In("type").Enum("XEN_CORE_PARKING_")},
        .cases =
            {
                {When("type", XEN_CORE_PARKING_SET),
                 {In("idle_nums").Note("processors to keep idle, or that are")}},
                {When("type", XEN_CORE_PARKING_GET),
                 {Out("idle_nums").Note("processors to keep idle, or that are")}},
            },
    },
    {
        .number = XENPF_resource_op,
        .name = "resource_op",
        .argument = "u.resource_op",
        .about =
            "Reads and writes MSRs of a processor, one after the other, without an interruption.",
        .rows = {In("nr_entries"), In("cpu").Note("the hypervisor's number of it"),
                 InOut("entries", Elements("nr_entries").AtMost(3))},
        .returns = "entries done; the one after them tells its error",
    },
    {
        .number = XENPF_get_symbol,
        .name = "get_symbol",
        .argument = "u.symdata",
        .about = "Lists the hypervisor's symbols, one at a time.",
        .rows = {InOut("namelen").Note("bytes; out: what it takes"),
                 InOut("symnum").Note("out: the next one; the same: there is none"),
                 Out("name", Elements("namelen")).Filled("namelen"),
                 Out("address").Note("virtual, in the hypervisor"),
                 Out("type").Note("a letter, as nm(1) has it")},
    },
};

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_PLATFORM_H_
