// Structures that need rows of their own wherever they are met: those with pointers or unlike
// unions that are embedded in others, and those that are the elements of an array.
#ifndef HCALL_SCHEMA_RECORDS_H_
#define HCALL_SCHEMA_RECORDS_H_

#include "hcall/schema/meaning.h"
#include "hcall/schema/xen.h"

namespace xencomm::schema {

inline constexpr RecordSpec kRecordSpecs[] = {
    // Embedded: a pointer's direction is that of the row which embeds it.
    {
        .type = "xenctl_bitmap",
        .about = "A set of processors or nodes.",
        .rows =
            {In("bitmap", Bits("nr_bits"))
                 .Note("in: bits that it does not reach are 0; out: bits that name nothing are 0"),
             In("nr_bits")},
    },
    {
        .type = "xen_livepatch_name",
        .about = "The name of a live patch.",
        .rows = {In("name", Elements("size").AtMost(XEN_LIVEPATCH_NAME_SIZE)),
                 In("size").Note("bytes, the zero at the end included"), Zero("pad")},
    },

    // Elements of an array that hold a pointer: the second level.
    {
        .type = "xen_processor_cx",
        .about = "An idle state: platform_op.set_processor_pminfo.",
        .rows = {In("reg").Note("how to enter it"), In("type").Note("n of Cn"),
                 In("latency").Note("microseconds"), In("power").Note("milliwatts"),
                 In("dpcnt").Note("dependencies"),
                 In("dp", Elements("dpcnt")).OrNull("no dependencies")},
    },
    {
        .type = "xen_kexec_segment",
        .about = "A piece of a kernel: kexec_op.kexec_load.",
        .rows = {In("buf.h", Elements("buf_size")).OrNull("with `buf_size` 0: nothing to copy"),
                 Overlay("buf._pad", "buf.h"), In("buf_size").Note("bytes"),
                 In("dest_maddr").Note("machine address"),
                 In("dest_size").Note("bytes; what `buf` does not fill is cleared")},
    },
    {
        .type = "xen_dm_op_buf",
        .about = "A buffer: dm_op.",
        .rows = {InOut("h", Elements("size")), In("size").Note("bytes")},
    },
    {
        .type = "xen_argo_iov",
        .about = "A piece of a message: argo_op.sendv.",
        .rows = {In("iov_hnd", Elements("iov_len")),
                 In("iov_len").Note("bytes; 16 MiB less 32 at most, in all, or -EMSGSIZE"),
                 Zero("pad")},
    },

    // Elements with more than one direction, or a union.
    {
        .type = "xen_argo_ring_data_ent",
        .about = "A ring that is asked about: argo_op.notify.",
        .rows = {In("ring.aport").Note("port"), In("ring.domain_id").Note("whose ring"),
                 Zero("ring.pad"), Out("flags").Flags("XEN_ARGO_RING_"), Zero("pad"),
                 In("space_required").Note("bytes; 0: no notification wanted"),
                 Out("max_message_size").Note("bytes")},
    },
    {
        .type = "xen_domctl_schedparam_vcpu",
        .about = "A vcpu's share; only RTDS has shares for single vcpus: domctl.scheduler_op.",
        .rows = {InOut("u.rtds.period").Note("microseconds"),
                 InOut("u.rtds.budget").Note("microseconds in each period"),
                 InOut("u.rtds.flags").Flags("XEN_DOMCTL_SCHEDRT_"),
                 Overlay("u.credit", "u.rtds.period"), Overlay("u.credit2", "u.rtds.period"),
                 In("vcpuid")},
    },
    {
        .type = "xenpf_resource_entry",
        .about = "An MSR to read or write: platform_op.resource_op.",
        .rows = {InOut("u.cmd")
                     .Enum("XEN_RESOURCE_OP_")
                     .Note("out, of the entry that failed: its error, as `u.ret`"),
                 Overlay("u.ret", "u.cmd"), Zero("rsvd"), In("idx").Note("MSR"),
                 InOut("val").Note("read or written")},
    },
};

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_RECORDS_H_
