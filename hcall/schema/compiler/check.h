// Whether the rows say all that there is to say: of every op, every field and every pointer that
// the headers declare.
#ifndef HCALL_SCHEMA_COMPILER_CHECK_H_
#define HCALL_SCHEMA_COMPILER_CHECK_H_

#include "hcall/schema/compiler/resolve.h"

namespace xencomm::schema::compiler {

// The header's name for an op's number: "XEN_DOMCTL_createdomain". nullptr: it has none.
const char* ConstantOf(const ResolvedOp& op);

void Check(const ResolvedTable& table, Errors& errors);

}  // namespace xencomm::schema::compiler

#endif  // HCALL_SCHEMA_COMPILER_CHECK_H_
