// Ops explained: what each field means, what each pointer leads to, case by case.
#ifndef HCALL_TOOLS_EXPLAIN_H_
#define HCALL_TOOLS_EXPLAIN_H_

#include <string>
#include <string_view>

#include "hcall/schema/op.h"

namespace xencomm::schema {

// One line for each hypercall, or for each op of one: name, number, what it does.
std::string ListHypercalls();
std::string ListOps(const Hypercall& hypercall);

// All that the table knows of an op: every field with offset, type and direction, every buffer with
// its count, what null means, and the cases.
std::string ExplainOp(const Op& op);
std::string ExplainOp(std::string_view name);  // "domctl.createdomain"; empty: there is none

// "nr_vnodes * nr_vnodes", "(nr_bits + 7) / 8", "16", "up to a zero".
std::string CountText(const Amount& amount, const Part& part, const Record& record,
                      const Op* registers_of = nullptr);

// "cmd is 1 or 2, sched_id is 8"; empty: always.
std::string CaseText(const Part& part, const Record& record);

}  // namespace xencomm::schema

#endif  // HCALL_TOOLS_EXPLAIN_H_
