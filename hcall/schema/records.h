// Structures that pointers stand in and that more than one op uses, embedded or as elements; and
// those with a union whose meaning does not depend on the op.
#ifndef HCALL_SCHEMA_RECORDS_H_
#define HCALL_SCHEMA_RECORDS_H_

#include "hcall/schema/meaning.h"
#include "hcall/schema/xen.h"

namespace xencomm::schema {

inline constexpr RecordSpec kRecordSpecs[] = {
    {
        .type = "xenctl_bitmap",
        .about = "A set of processors or nodes.",
        .rows = {In("bitmap", Bits("nr_bits")), In("nr_bits")},
    },
    {
        .type = "xen_livepatch_name",
        .about = "The name of a live patch.",
        .rows = {In("name", Elements("size")), In("size").Note("the zero at the end included"),
                 Zero("pad")},
    },
    {
        .type = "xen_domctl_schedparam_vcpu",
        .about = "A vcpu's share; only RTDS has shares for single vcpus.",
        .rows = {InOut("u.rtds.period").Note("microseconds"), InOut("u.rtds.budget"),
                 InOut("u.rtds.flags").Flags("XEN_DOMCTL_SCHEDRT_"),
                 Overlay("u.credit", "u.rtds.period"), Overlay("u.credit2", "u.rtds.period"),
                 In("vcpuid")},
    },
};

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_RECORDS_H_
