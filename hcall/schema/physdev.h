// physdev_op (33): interrupts, ports and PCI devices of the machine, as the kernel that drives them
// sees them. Source: xen/physdev.h.
//
// Two registers: a command and a pointer to a structure that depends on it. The older hypercall 19
// has the command in the structure.
#ifndef HCALL_SCHEMA_PHYSDEV_H_
#define HCALL_SCHEMA_PHYSDEV_H_

#include "hcall/schema/meaning.h"
#include "hcall/schema/xen.h"

namespace xencomm::schema {

inline constexpr HypercallSpec kPhysdevOp = {
    .number = __HYPERVISOR_physdev_op,
    .name = "physdev_op",
    .about = "Drives the machine's interrupts, ports and PCI devices.",
    .arguments = {"cmd", "arg"},
    .registers = {In("cmd").LowBits(32), In("arg", One())},
    .op_place = OpPlace::kRegister,
    .op_field = "cmd",
    .pointer = "arg",
    .prefix = "PHYSDEVOP_",
    .others = {"PHYSDEVOP_DBGP_"},
};

inline constexpr OpSpec kPhysdevOps[] = {
    {
        .number = PHYSDEVOP_eoi,
        .name = "eoi",
        .argument = "physdev_eoi",
        .about = "Ends an interrupt.",
        .rows = {In("irq").Note("pirq of the domain")},
    },
    {
        .number = PHYSDEVOP_irq_status_query,
        .name = "irq_status_query",
        .argument = "physdev_irq_status_query",
        .about = "Tells whether an interrupt has to be ended, and is shared.",
        .rows = {In("irq").Note("pirq of the domain"), Out("flags").Flags("XENIRQSTAT_")},
    },
    {
        .number = PHYSDEVOP_IRQ_UNMASK_NOTIFY,
        .name = "IRQ_UNMASK_NOTIFY",
        .argument = nullptr,
        .about = "Ended all interrupts of the domain in older versions.",
    },
    {
        .number = PHYSDEVOP_pirq_eoi_gmfn_v1,
        .name = "pirq_eoi_gmfn_v1",
        .argument = "physdev_pirq_eoi_gmfn",
        .about = "Shares a page with a bit for each interrupt that has to be ended, and lets "
                 "unmasking an event end it.",
        .rows = {In("gmfn").Note("guest frame, of a page that may be written")},
    },
    {
        .number = PHYSDEVOP_pirq_eoi_gmfn_v2,
        .name = "pirq_eoi_gmfn_v2",
        .argument = "physdev_pirq_eoi_gmfn",
        .about = "Shares a page with a bit for each interrupt that has to be ended.",
        .rows = {In("gmfn").Note("guest frame, of a page that may be written")},
    },
    {
        .number = PHYSDEVOP_set_iopl,
        .name = "set_iopl",
        .argument = "physdev_set_iopl",
        .about = "Sets a vcpu's I/O privilege level.",
        .rows = {In("iopl").Note("0 to 3")},
    },
    {
        .number = PHYSDEVOP_set_iobitmap,
        .name = "set_iobitmap",
        .argument = "physdev_set_iobitmap",
        .about = "Sets the ports that user mode of a vcpu may use.",
        .rows = {In("bitmap", Bits("nr_ports").AtMost(8193).AndMore(1))
                     .UntilReplaced()
                     .OrNull("none")
                     .Note("a bit is clear for a port that may be used; read at each access, two "
                           "bytes at a time"),
                 In("nr_ports").Note("at most 65536")},
    },
    {
        .number = PHYSDEVOP_apic_read,
        .name = "apic_read",
        .argument = "physdev_apic",
        .about = "Reads a register of an I/O APIC.",
        .rows = {In("apic_physbase").Note("machine address"), In("reg").Note("index"),
                 Out("value").Note("of the register")},
    },
    {
        .number = PHYSDEVOP_apic_write,
        .name = "apic_write",
        .argument = "physdev_apic",
        .about = "Writes a register of an I/O APIC.",
        .rows = {In("apic_physbase").Note("machine address"), In("reg").Note("index"),
                 In("value").Note("of the register")},
    },
    {
        .number = PHYSDEVOP_alloc_irq_vector,
        .name = "alloc_irq_vector",
        .argument = "physdev_irq",
        .about = "Allocates an interrupt vector.",
        .rows = {In("irq").Note("GSI"),
                 Out("vector").Note("`irq`: vectors are the hypervisor's own")},
    },
    {
        .number = PHYSDEVOP_free_irq_vector,
        .name = "free_irq_vector",
        .argument = "physdev_irq",
        .about = "Frees an interrupt vector; no longer implemented.",
        .rows = {In("irq"), In("vector")},
    },
    {
        .number = PHYSDEVOP_map_pirq,
        .name = "map_pirq",
        .argument = "physdev_map_pirq",
        .about = "Gives a domain a machine interrupt: a line (GSI) or an MSI of a device.",
        .rows = {In("domid").Note("DOMID_SELF: the caller"),
                 InOut("type").Enum("MAP_PIRQ_TYPE_").Note("out: MSI_SEG has become MSI"),
                 In("index").Note("of GSI the line; of MSI the machine interrupt, -1: a new one; "
                                  "of MULTI_MSI not looked at"),
                 InOut("pirq").Note("the domain's number for it; in negative: any"),
                 In("bus").Note("segment in the upper half"),
                 In("devfn").Note("device << 3 | function"),
                 InOut("entry_nr")
                     .Note("of MSI-X the entry; of MULTI_MSI how many; out, of MULTI_MSI: how many "
                           "were possible"),
                 In("table_base").Note("machine address of the MSI-X table; 0: plain MSI")},
    },
    {
        .number = PHYSDEVOP_unmap_pirq,
        .name = "unmap_pirq",
        .argument = "physdev_unmap_pirq",
        .about = "Takes back map_pirq.",
        .rows = {In("domid").Note("DOMID_SELF: the caller"), In("pirq").Note("as map_pirq told")},
    },
    {
        .number = PHYSDEVOP_get_free_pirq,
        .name = "get_free_pirq",
        .argument = "physdev_get_free_pirq",
        .about = "Tells a free interrupt number.",
        .rows = {In("type").Enum("MAP_PIRQ_TYPE_"),
                 Out("pirq").Note("kept for the caller, to be given to map_pirq")},
    },
    {
        .number = PHYSDEVOP_setup_gsi,
        .name = "setup_gsi",
        .argument = "physdev_setup_gsi",
        .about = "Tells how an interrupt line is triggered.",
        .rows = {In("gsi").Note("line"), In("triggering").Note("0: edge; 1: level"),
                 In("polarity").Note("0: high; 1: low")},
    },
    {
        .number = PHYSDEVOP_manage_pci_add,
        .name = "manage_pci_add",
        .argument = "physdev_manage_pci",
        .about = "Tells of a PCI device; see pci_device_add.",
        .rows = {In("bus"), In("devfn").Note("device << 3 | function")},
    },
    {
        .number = PHYSDEVOP_manage_pci_remove,
        .name = "manage_pci_remove",
        .argument = "physdev_manage_pci",
        .about = "Tells that a PCI device is gone; see pci_device_remove.",
        .rows = {In("bus"), In("devfn").Note("device << 3 | function")},
    },
    {
        .number = PHYSDEVOP_manage_pci_add_ext,
        .name = "manage_pci_add_ext",
        .argument = "physdev_manage_pci_ext",
        .about = "Tells of a PCI device with functions; see pci_device_add.",
        .rows = {In("bus"), In("devfn").Note("device << 3 | function"),
                 In("is_extfn").Note("1: its function number has no device in it"),
                 In("is_virtfn").Note("1: a virtual function"),
                 In("physfn").Note("of a virtual function: the physical one")},
    },
    {
        .number = PHYSDEVOP_pci_device_add,
        .name = "pci_device_add",
        .argument = "physdev_pci_device_add",
        .about = "Tells of a PCI device.",
        .rows = {In("seg"), In("bus"), In("devfn").Note("device << 3 | function"),
                 In("flags").Flags("XEN_PCI_DEV_"),
                 In("physfn").Note("of a virtual function: the physical one")},
        .cases =
            {
                {WhenFlag("flags", XEN_PCI_DEV_PXM),
                 {In("optarr", One()).Trailing().Note("proximity domain")}},
            },
    },
    {
        .number = PHYSDEVOP_pci_device_remove,
        .name = "pci_device_remove",
        .argument = "physdev_pci_device",
        .about = "Tells that a PCI device is gone.",
        .rows = {In("seg"), In("bus"), In("devfn").Note("device << 3 | function")},
    },
    {
        .number = PHYSDEVOP_restore_msi,
        .name = "restore_msi",
        .argument = "physdev_restore_msi",
        .about = "Restores a device's MSIs after sleep.",
        .rows = {In("bus"), In("devfn").Note("device << 3 | function")},
    },
    {
        .number = PHYSDEVOP_restore_msi_ext,
        .name = "restore_msi_ext",
        .argument = "physdev_pci_device",
        .about = "Restores a device's MSIs after sleep.",
        .rows = {In("seg"), In("bus"), In("devfn").Note("device << 3 | function")},
    },
    {
        .number = PHYSDEVOP_prepare_msix,
        .name = "prepare_msix",
        .argument = "physdev_pci_device",
        .about = "Protects a device's MSI-X table before it goes to another domain.",
        .rows = {In("seg"), In("bus"), In("devfn").Note("device << 3 | function")},
    },
    {
        .number = PHYSDEVOP_release_msix,
        .name = "release_msix",
        .argument = "physdev_pci_device",
        .about = "Takes back prepare_msix.",
        .rows = {In("seg"), In("bus"), In("devfn").Note("device << 3 | function")},
    },
    {
        .number = PHYSDEVOP_pci_mmcfg_reserved,
        .name = "pci_mmcfg_reserved",
        .argument = "physdev_pci_mmcfg_reserved",
        .about = "Tells whether PCI's memory-mapped configuration is reserved.",
        .rows = {In("address").Note("machine address of bus 0"), In("segment"),
                 In("start_bus").Note("the first"), In("end_bus").Note("the last"),
                 In("flags").Flags("XEN_PCI_MMCFG_")},
    },
    {
        .number = PHYSDEVOP_dbgp_op,
        .name = "dbgp_op",
        .argument = "physdev_dbgp_op",
        .about = "Tells of resets of the USB debug port.",
        .rows = {In("op").Enum("PHYSDEVOP_DBGP_RESET_"), In("bus").Enum("PHYSDEVOP_DBGP_BUS_"),
                 In("u.pci").Note("when `bus` says so")},
    },
};

inline constexpr HypercallSpec kPhysdevOpCompat = {
    .number = __HYPERVISOR_physdev_op_compat,
    .name = "physdev_op_compat",
    .about = "The form of physdev_op before 0x00030202.",
    .arguments = {"uop"},
    .registers = {In("uop", One())},
    .op_place = OpPlace::kArgument,
    .op_field = "cmd",
    .pointer = "uop",
    .type = "physdev_op",
    .rows = {In("cmd")},
};

inline constexpr OpSpec kPhysdevCompatOps[] = {
    {
        .number = PHYSDEVOP_irq_status_query,
        .name = "irq_status_query",
        .argument = "u.irq_status_query",
        .about = "Tells whether an interrupt has to be ended, and is shared.",
        .rows = {In("irq"), Out("flags").Flags("XENIRQSTAT_")},
    },
    {
        .number = PHYSDEVOP_IRQ_UNMASK_NOTIFY,
        .name = "IRQ_UNMASK_NOTIFY",
        .argument = nullptr,
        .about = "Ended all interrupts of the domain in older versions.",
    },
    {
        .number = PHYSDEVOP_set_iopl,
        .name = "set_iopl",
        .argument = "u.set_iopl",
        .about = "Sets a vcpu's I/O privilege level.",
        .rows = {In("iopl")},
    },
    {
        .number = PHYSDEVOP_set_iobitmap,
        .name = "set_iobitmap",
        .argument = "u.set_iobitmap",
        .about = "Sets the ports that user mode of a vcpu may use.",
        .rows =
            {In("bitmap", Bits("nr_ports").AtMost(8193).AndMore(1)).UntilReplaced().OrNull("none"),
             In("nr_ports")},
    },
    {
        .number = PHYSDEVOP_apic_read,
        .name = "apic_read",
        .argument = "u.apic_op",
        .about = "Reads a register of an I/O APIC.",
        .rows = {In("apic_physbase"), In("reg"), Out("value")},
    },
    {
        .number = PHYSDEVOP_apic_write,
        .name = "apic_write",
        .argument = "u.apic_op",
        .about = "Writes a register of an I/O APIC.",
        .rows = {In("apic_physbase"), In("reg"), In("value")},
    },
    {
        .number = PHYSDEVOP_alloc_irq_vector,
        .name = "alloc_irq_vector",
        .argument = "u.irq_op",
        .about = "Allocates an interrupt vector.",
        .rows = {In("irq"), Out("vector")},
    },
    {
        .number = PHYSDEVOP_free_irq_vector,
        .name = "free_irq_vector",
        .argument = "u.irq_op",
        .about = "Frees an interrupt vector; no longer implemented.",
        .rows = {In("irq"), In("vector")},
    },
};

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_PHYSDEV_H_
