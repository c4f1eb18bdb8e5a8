// hvm_op (34): what an HVM domain and its toolstack say to one another. Source: xen/hvm/hvm_op.h.
//
// Two registers: a command and a pointer to a structure that depends on it.
#ifndef HCALL_SCHEMA_HVM_OP_H_
#define HCALL_SCHEMA_HVM_OP_H_

#include "hcall/schema/meaning.h"
#include "hcall/schema/xen.h"

namespace xencomm::schema {

inline constexpr HypercallSpec kHvmOp = {
    .number = __HYPERVISOR_hvm_op,
    .name = "hvm_op",
    .about = "Sets and reads parameters of an HVM domain, and its alternative views of memory.",
    .arguments = {"op", "arg"},
    .registers = {In("op"), In("arg", One())},
    .op_place = OpPlace::kRegister,
    .op_field = "op",
    .pointer = "arg",
    .prefix = "HVMOP_",
    .others = {"HVMOP_ALTP2M_INTERFACE_VERSION"},
};

inline constexpr OpSpec kHvmOps[] = {
    {
        .number = HVMOP_set_param,
        .name = "set_param",
        .argument = "xen_hvm_param",
        .about = "Sets a parameter of a domain.",
        .rows = {In("domid").Note("DOMID_SELF: the caller"), Ignored("pad"),
                 In("index").Enum("HVM_PARAM_").Except("HVM_PARAM_CALLBACK_TYPE_"),
                 In("value").Note("see xen/hvm/params.h")},
    },
    {
        .number = HVMOP_get_param,
        .name = "get_param",
        .argument = "xen_hvm_param",
        .about = "Reads a parameter of a domain.",
        .rows = {In("domid").Note("DOMID_SELF: the caller"), Ignored("pad"),
                 In("index").Enum("HVM_PARAM_").Except("HVM_PARAM_CALLBACK_TYPE_"),
                 Out("value").Note("see xen/hvm/params.h")},
    },
    {
        .number = HVMOP_flush_tlbs,
        .name = "flush_tlbs",
        .argument = nullptr,
        .about = "Flushes the TLBs of all of the domain's vcpus.",
        .outer = {In("arg", Exactly(0)).Of("void").OrNull("the only value allowed")},
    },
    {
        .number = HVMOP_pagetable_dying,
        .name = "pagetable_dying",
        .argument = "xen_hvm_pagetable_dying",
        .about = "Tells that a page table is about to go.",
        .rows = {In("domid").Note("DOMID_SELF"), Ignored("pad"),
                 In("gpa").Note("guest-physical address of it")},
    },
    {
        .number = HVMOP_get_time,
        .name = "get_time",
        .argument = "xen_hvm_get_time",
        .about = "Tells the time since the machine booted.",
        .rows = {Out("now").Note("nanoseconds")},
    },
    {
        .number = HVMOP_xentrace,
        .name = "xentrace",
        .argument = "xen_hvm_xentrace",
        .about = "Writes a record into the trace buffer.",
        .rows = {In("event").Note("TRC_* number, 12 bits"),
                 In("extra_bytes").Note("of `extra`, at most 28"), In("extra")},
    },
    {
        .number = HVMOP_set_mem_access,
        .name = "set_mem_access",
        .argument = nullptr,
        .about = "Became access_op of memory_op; no longer implemented.",
    },
    {
        .number = HVMOP_get_mem_access,
        .name = "get_mem_access",
        .argument = nullptr,
        .about = "Became access_op of memory_op; no longer implemented.",
    },
    {
        .number = HVMOP_get_mem_type,
        .name = "get_mem_type",
        .argument = "xen_hvm_get_mem_type",
        .about = "Tells the type of a page.",
        .rows = {In("domid").Note("DOMID_SELF: the caller"), Out("mem_type").Enum("HVMMEM_"),
                 Ignored("pad"), In("pfn").Note("guest frame")},
    },
    {
        .number = HVMOP_set_evtchn_upcall_vector,
        .name = "set_evtchn_upcall_vector",
        .argument = "xen_hvm_evtchn_upcall_vector",
        .about = "Chooses the interrupt vector by which a vcpu learns of events.",
        .rows = {In("vcpu"), In("vector").Note("16 to 255")},
    },
    {
        .number = HVMOP_guest_request_vm_event,
        .name = "guest_request_vm_event",
        .argument = nullptr,
        .about = "Sends an event to who monitors the domain.",
    },
    {
        .number = HVMOP_altp2m,
        .name = "altp2m",
        .argument = "xen_hvm_altp2m_op",
        .about = "Creates and changes alternative views of a domain's memory. All but the domain's "
                 "state need it switched on: -EOPNOTSUPP.",
        .rows = {In("version").Note("HVMOP_ALTP2M_INTERFACE_VERSION"),
                 In("cmd").Enum("HVMOP_altp2m_"), In("domain").Note("DOMID_SELF: the caller"),
                 Zero("pad1"), Zero("pad2")},
        .cases =
            {
                {When("cmd", HVMOP_altp2m_get_domain_state),
                 {Out("u.domain_state.state").Note("1: on")}},
                {When("cmd", HVMOP_altp2m_set_domain_state),
                 {In("u.domain_state.state").Note("1: on")}},
                {When("cmd", HVMOP_altp2m_vcpu_enable_notify),
                 {In("u.enable_notify.vcpu_id"), Zero("u.enable_notify.pad"),
                  In("u.enable_notify.gfn")
                      .Note("guest frame of the page that the processor reports violations in "
                            "(#VE)")}},
                {When("cmd", HVMOP_altp2m_vcpu_disable_notify), {In("u.disable_notify.vcpu_id")}},
                {When("cmd", HVMOP_altp2m_create_p2m),
                 {Out("u.view.view").Note("number of the view; 0 is the domain's own"),
                  In("u.view.hvmmem_default_access").Enum("XENMEM_access_", "xenmem_access_t")}},
                {When("cmd", HVMOP_altp2m_destroy_p2m, HVMOP_altp2m_switch_p2m),
                 {In("u.view.view").Note("number of the view; 0 is the domain's own"),
                  Ignored("u.view.hvmmem_default_access")}},
                {When("cmd", HVMOP_altp2m_set_mem_access),
                 {In("u.mem_access.view").Note("number of the view"),
                  In("u.mem_access.access").Enum("XENMEM_access_", "xenmem_access_t"),
                  Zero("u.mem_access.pad"), In("u.mem_access.gfn").Note("guest frame")}},
                {When("cmd", HVMOP_altp2m_get_mem_access),
                 {In("u.mem_access.view").Note("number of the view"),
                  Out("u.mem_access.access").Enum("XENMEM_access_", "xenmem_access_t"),
                  Zero("u.mem_access.pad"), In("u.mem_access.gfn").Note("guest frame")}},
                {When("cmd", HVMOP_altp2m_set_mem_access_multi),
                 {In("u.set_mem_access_multi.view").Note("number of the view"),
                  Zero("u.set_mem_access_multi.pad"), In("u.set_mem_access_multi.nr").Note("pages"),
                  InOut("u.set_mem_access_multi.opaque").Note("progress; 0 at first"),
                  In("u.set_mem_access_multi.pfn_list", Elements("u.set_mem_access_multi.nr"))
                      .Note("guest frames"),
                  In("u.set_mem_access_multi.access_list", Elements("u.set_mem_access_multi.nr"))
                      .Note("XENMEM_access_*, one for each page")}},
                {When("cmd", HVMOP_altp2m_change_gfn),
                 {In("u.change_gfn.view").Note("number of the view"), Zero("u.change_gfn.pad1"),
                  Zero("u.change_gfn.pad2"),
                  In("u.change_gfn.old_gfn").Note("guest frame whose page changes"),
                  In("u.change_gfn.new_gfn")
                      .Note("guest frame of the domain's own view that it shows from now on; ~0: "
                            "its own again")}},
                {When("cmd", HVMOP_altp2m_set_suppress_ve),
                 {In("u.suppress_ve.view").Note("number of the view"),
                  In("u.suppress_ve.suppress_ve")
                      .Note("0: violations go to the domain (#VE); 1: to the hypervisor"),
                  Zero("u.suppress_ve.pad1"), Zero("u.suppress_ve.pad2"),
                  In("u.suppress_ve.gfn").Note("guest frame")}},
                {When("cmd", HVMOP_altp2m_get_suppress_ve),
                 {In("u.suppress_ve.view").Note("number of the view"),
                  Out("u.suppress_ve.suppress_ve")
                      .Note("0: violations go to the domain (#VE); 1: to the hypervisor"),
                  Zero("u.suppress_ve.pad1"), Zero("u.suppress_ve.pad2"),
                  In("u.suppress_ve.gfn").Note("guest frame")}},
                {When("cmd", HVMOP_altp2m_set_suppress_ve_multi),
                 {In("u.suppress_ve_multi.view").Note("number of the view"),
                  In("u.suppress_ve_multi.suppress_ve")
                      .Note("0: violations go to the domain (#VE); 1: to the hypervisor"),
                  Zero("u.suppress_ve_multi.pad1"),
                  InOut("u.suppress_ve_multi.first_error")
                      .Note("in: 0; out: the first error, a negative errno"),
                  InOut("u.suppress_ve_multi.first_gfn").Note("moves on"),
                  InOut("u.suppress_ve_multi.last_gfn")
                      .Note("included; out: cut to the highest guest-physical address"),
                  Out("u.suppress_ve_multi.first_error_gfn").Note("where that was")}},
                {When("cmd", HVMOP_altp2m_get_p2m_idx),
                 {In("u.get_vcpu_p2m_idx.vcpu_id"),
                  Out("u.get_vcpu_p2m_idx.altp2m_idx").Note("the view that it uses")}},
                {When("cmd", HVMOP_altp2m_set_visibility),
                 {In("u.set_visibility.altp2m_idx").Note("number of the view"),
                  In("u.set_visibility.visible")
                      .Note("0: a processor cannot switch to it by itself"),
                  Zero("u.set_visibility.pad")}},
            },
    },
};

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_HVM_OP_H_
