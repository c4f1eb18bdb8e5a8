// The op table for people: values by their names, calls and findings in words.
#ifndef HCALL_SCHEMA_PRINT_H_
#define HCALL_SCHEMA_PRINT_H_

#include <cstdint>
#include <string>

#include "hcall/schema/op.h"
#include "hcall/schema/walk.h"

namespace xencomm::schema {

// The whole table, as op_table.schema.json describes it.
const char* OpTableJson();

// A number by the names of its constants: "XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap", or as it is.
std::string NameValue(const Part& part, std::uint64_t value);

// A call in words: its ops, the fields of their structures as they are before the call, and what
// they point at. Ends with the first finding.
Finding DescribeCall(const Call& call, const Caller& caller, std::string& text);

// What a walk or an audit found, in a sentence: "sysctl.readconsole: buffer at 0x7f…: a buffer
// outside the region's payload".
std::string PrintFinding(const Finding& finding);

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_PRINT_H_
