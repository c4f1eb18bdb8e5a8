// The op table for people: an op explained, and what a walk found.
#ifndef HCALL_SCHEMA_PRINT_H_
#define HCALL_SCHEMA_PRINT_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "hcall/schema/op.h"
#include "hcall/schema/walk.h"

namespace xencomm::schema {

// One line for each hypercall, or for each op of one: name, number, what it does.
std::string ListHypercalls();
std::string ListOps(const Hypercall& hypercall);

// All that the table knows of an op: every field with offset, type and direction, every buffer with
// its count, what null means, and the cases.
std::string ExplainOp(const Op& op);
std::string ExplainOp(std::string_view name);  // "domctl.createdomain"; empty: there is none

// A number by the names of its constants: "XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap", or as it is.
std::string NameValue(const Part& part, std::uint64_t value);

// What a walk or an audit found, in a sentence: "sysctl.readconsole: buffer at 0x7f…: a buffer
// outside the region's payload".
std::string PrintFinding(const Finding& finding);

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_PRINT_H_
