// What a PV kernel does to its page tables and descriptor tables. Source: xen/xen.h,
// xen/arch-x86/xen.h.
//
// All arguments are in registers: lists with their counts, and the place for a number of what was
// done.
#ifndef HCALL_SCHEMA_MMU_H_
#define HCALL_SCHEMA_MMU_H_

#include "hcall/schema/meaning.h"
#include "hcall/schema/xen.h"

namespace xencomm::schema {

inline constexpr HypercallSpec kMmuUpdate = {
    .number = __HYPERVISOR_mmu_update,
    .name = "mmu_update",
    .about = "Changes page-table entries of a PV domain.",
    .arguments = {"ureqs", "count", "pdone", "foreigndom"},
    .registers =
        {In("ureqs", Elements("count")),
         In("count").LowBits(31).Note("bit 31: a call that goes on"),
         InOut("pdone", One())
             .Of("uint32_t")
             .OrNull("not wanted")
             .Note("read by a call that goes on"),
         In("foreigndom")
             .LowBits(32)
             .Note("whose pages; DOMID_SELF: the caller. Above 16 bits, + 1: whose page tables")},
    .op_place = OpPlace::kNone,
    .pointer = "ureqs",
};

inline constexpr OpSpec kMmuUpdateOps[] = {
    {
        .number = 0,
        .name = "mmu_update",
        .argument = "mmu_update",
        .about = "Changes page-table entries of a PV domain.",
        .rows = {In("ptr").Note("machine address; MMU_* in the low two bits"), In("val")},
    },
};

inline constexpr HypercallSpec kMmuextOp = {
    .number = __HYPERVISOR_mmuext_op,
    .name = "mmuext_op",
    .about = "Pins page tables, flushes TLBs and caches, sets the LDT.",
    .arguments = {"uops", "count", "pdone", "foreigndom"},
    .registers = {In("uops", Elements("count")),
                  In("count").LowBits(31).Note("bit 31: a call that goes on"),
                  InOut("pdone", One())
                      .Of("uint32_t")
                      .OrNull("not wanted")
                      .Note("read by a call that goes on"),
                  In("foreigndom").LowBits(32).Note("whose pages; DOMID_SELF: the caller")},
    .op_place = OpPlace::kNone,
    .pointer = "uops",
};

inline constexpr OpSpec kMmuextOps[] = {
    {
        .number = 0,
        .name = "mmuext_op",
        .argument = "mmuext_op",
        .about = "Pins page tables, flushes TLBs and caches, sets the LDT.",
        .rows = {In("cmd").Enum("MMUEXT_")},
        .cases =
            {
                {When("cmd", MMUEXT_PIN_L1_TABLE, MMUEXT_PIN_L2_TABLE, MMUEXT_PIN_L3_TABLE,
                      MMUEXT_PIN_L4_TABLE, MMUEXT_UNPIN_TABLE, MMUEXT_NEW_BASEPTR,
                      MMUEXT_NEW_USER_BASEPTR, MMUEXT_CLEAR_PAGE, MMUEXT_MARK_SUPER,
                      MMUEXT_UNMARK_SUPER),
                 {In("arg1.mfn").Note("machine frame, of a translated domain guest frame")}},
                {When("cmd", MMUEXT_COPY_PAGE),
                 {In("arg1.mfn").Note("machine frame, of a translated domain guest frame"),
                  In("arg2.src_mfn").Note("copied to arg1")}},
                {When("cmd", MMUEXT_INVLPG_LOCAL, MMUEXT_INVLPG_ALL),
                 {In("arg1.linear_addr").Note("virtual address")}},
                {When("cmd", MMUEXT_INVLPG_MULTI),
                 {In("arg1.linear_addr").Note("virtual address"), In("arg2.vcpumask", VcpuBits())}},
                {When("cmd", MMUEXT_TLB_FLUSH_MULTI), {In("arg2.vcpumask", VcpuBits())}},
                {When("cmd", MMUEXT_SET_LDT),
                 {In("arg1.linear_addr").Note("the LDT's address"),
                  In("arg2.nr_ents").Note("entries of 8 bytes, at most 8192")}},
                {When("cmd", MMUEXT_TLB_FLUSH_LOCAL, MMUEXT_TLB_FLUSH_ALL, MMUEXT_FLUSH_CACHE,
                      MMUEXT_FLUSH_CACHE_GLOBAL),
                 {}},
            },
    },
};

inline constexpr HypercallSpec kSetTrapTable = {
    .number = __HYPERVISOR_set_trap_table,
    .name = "set_trap_table",
    .about = "Sets the handlers of a vcpu's exceptions and interrupts.",
    .arguments = {"traps"},
    .registers = {In("traps", UntilZero("address")).OrNull("clears all")},
    .op_place = OpPlace::kNone,
    .pointer = "traps",
};

inline constexpr OpSpec kSetTrapTableOps[] = {
    {
        .number = 0,
        .name = "set_trap_table",
        .argument = "trap_info",
        .about = "Sets the handlers of a vcpu's exceptions and interrupts.",
        .rows = {In("vector").Note("0 to 255"),
                 In("flags").Note("who may raise it; whether events are masked"), In("cs"),
                 In("address").Note("0 ends the list")},
    },
};

inline constexpr HypercallSpec kSetGdt = {
    .number = __HYPERVISOR_set_gdt,
    .name = "set_gdt",
    .about = "Sets a vcpu's global descriptor table.",
    .arguments = {"frame_list", "entries"},
    .registers = {In("frame_list", OneFor(512, "entries").AtMost(14))
                      .Of("uint64_t")
                      .Note("a frame holds 512 entries"),
                  In("entries").LowBits(32)},
    .op_place = OpPlace::kNone,
};

inline constexpr OpSpec kSetGdtOps[] = {
    {
        .number = 0,
        .name = "set_gdt",
        .argument = nullptr,
        .about = "Sets a vcpu's global descriptor table.",
    },
};

inline constexpr HypercallSpec kUpdateVaMapping = {
    .number = __HYPERVISOR_update_va_mapping,
    .name = "update_va_mapping",
    .about = "Changes the page-table entry of an address, and flushes it.",
    .arguments = {"va", "val", "flags"},
    .registers = {In("va"), In("val"),
                  In("flags", VcpuBits())
                      .Of("uint8_t")
                      .AddressBits(~std::uint64_t{UVMF_FLUSHTYPE_MASK})
                      .SecondNull(UVMF_ALL)
                      .OrNull("UVMF_LOCAL; UVMF_ALL is one too")
                      .Note("UVMF_*, and which vcpus to flush")},
    .op_place = OpPlace::kNone,
};

inline constexpr OpSpec kUpdateVaMappingOps[] = {
    {
        .number = 0,
        .name = "update_va_mapping",
        .argument = nullptr,
        .about = "Changes the page-table entry of an address, and flushes it.",
    },
};

inline constexpr HypercallSpec kUpdateVaMappingOtherdomain = {
    .number = __HYPERVISOR_update_va_mapping_otherdomain,
    .name = "update_va_mapping_otherdomain",
    .about = "Maps a page of another domain at an address, and flushes it.",
    .arguments = {"va", "val", "flags", "domid"},
    .registers = {In("va"), In("val"),
                  In("flags", VcpuBits())
                      .Of("uint8_t")
                      .AddressBits(~std::uint64_t{UVMF_FLUSHTYPE_MASK})
                      .SecondNull(UVMF_ALL)
                      .OrNull("UVMF_LOCAL; UVMF_ALL is one too")
                      .Note("UVMF_*, and which vcpus to flush"),
                  In("domid").LowBits(16)},
    .op_place = OpPlace::kNone,
};

inline constexpr OpSpec kUpdateVaMappingOtherdomainOps[] = {
    {
        .number = 0,
        .name = "update_va_mapping_otherdomain",
        .argument = nullptr,
        .about = "Maps a page of another domain at an address, and flushes it.",
    },
};

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_MMU_H_
