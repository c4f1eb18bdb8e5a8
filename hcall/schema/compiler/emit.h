// Writes the resolved table out as C++.
#ifndef HCALL_SCHEMA_COMPILER_EMIT_H_
#define HCALL_SCHEMA_COMPILER_EMIT_H_

#include <string>

#include "hcall/schema/compiler/resolve.h"

namespace xencomm::schema::compiler {

// table.cc: the table that Find() answers from, plain constant data.
std::string EmitTable(const ResolvedTable& table);

// rows.h: every buffer as a typed row of its own, for bind.h.
std::string EmitRows(const ResolvedTable& table);

}  // namespace xencomm::schema::compiler

#endif  // HCALL_SCHEMA_COMPILER_EMIT_H_
