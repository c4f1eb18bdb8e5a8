// All rows as they are written, one file per hypercall.
#ifndef HCALL_SCHEMA_HYPERCALLS_H_
#define HCALL_SCHEMA_HYPERCALLS_H_

#include "hcall/schema/domctl.h"
#include "hcall/schema/meaning.h"
#include "hcall/schema/memory.h"
#include "hcall/schema/multicall.h"
#include "hcall/schema/records.h"
#include "hcall/schema/sysctl.h"
#include "hcall/schema/version.h"

namespace xencomm::schema {

inline constexpr HypercallEntry kHypercallEntries[] = {
    {&kMemoryOp, kMemoryOps}, {&kMulticall, kMulticallOps}, {&kXenVersion, kXenVersionOps},
    {&kSysctl, kSysctlOps},   {&kDomctl, kDomctlOps},
};

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_HYPERCALLS_H_
