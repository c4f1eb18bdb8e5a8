// xencomm schema: the op table, for people and for programs.

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>

#include "absl/strings/str_format.h"
#include "hcall/hypervisor/calls/hypercall_table.h"
#include "hcall/schema/json.h"
#include "hcall/schema/op.h"
#include "hcall/schema/print.h"
#include "hcall/tools/command.h"
#include "hcall/tools/print.h"

namespace xencomm::tools {
namespace {

absl::StatusOr<int> Explain(const std::string& name) {
  const schema::Hypercall* const hypercall = schema::Find(name);
  std::string text;
  // A hypercall without ops of its own is its one op.
  if (hypercall != nullptr && hypercall->op_place != schema::OpPlace::kNone) {
    text = schema::ListOps(*hypercall);
  } else {
    text = schema::ExplainOp(hypercall == nullptr ? name : name + "." + hypercall->ops[0].name);
  }
  if (text.empty()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("'%s' is neither a hypercall nor an op: expected a name that xencomm "
                        "schema lists, or HYPERCALL.OP",
                        name));
  }
  std::fputs(text.c_str(), stdout);
  return 0;
}

// "ENOSYS" of -ENOSYS.
const char* ErrorName(std::int64_t answer) { return ::strerrorname_np(static_cast<int>(-answer)); }

// The ops that the embedded hypervisor has no handler for, by the tables that it dispatches calls
// by, with what it answers them.
void ListUnimplemented(bool json) {
  Json all = Json::array();
  for (const schema::Hypercall& hypercall : schema::Hypercalls()) {
    for (const schema::Op& op : hypercall.ops) {
      const hypervisor::OpAnswer known = hypervisor::Ask(hypercall.number, op.number);
      if (known.is_implemented || !op.IsIn(hypercall.version)) continue;
      const char* const answer = ErrorName(known.without);
      if (json) {
        all.push_back({{"hypercall", hypercall.name},
                       {"op", op.name},
                       {"number", op.number},
                       {"answer", answer}});
      } else {
        absl::PrintF("%-12s %s.%s\n", answer, hypercall.name, op.name);
      }
    }
  }
  if (json) PrintJson({{"unimplemented", all}});
}

absl::StatusOr<int> Run(const Arguments& arguments) {
  const bool is_named = !arguments.operands().empty();
  if (arguments.Has("unimplemented")) {
    if (is_named) {
      return absl::InvalidArgumentError("--unimplemented is of all hypercalls: expected no NAME");
    }
    ListUnimplemented(arguments.Has("json"));
    return 0;
  }
  if (arguments.Has("json") && is_named) {
    return absl::InvalidArgumentError("--json is the whole table: expected no NAME");
  }
  if (is_named) return Explain(arguments.Operand());
  std::fputs((arguments.Has("json") ? schema::ExportJson() : schema::ListHypercalls()).c_str(),
             stdout);
  return 0;
}

}  // namespace

Command SchemaCommand() {
  return {
      .name = "schema",
      .summary = "Show what Xen's hypercalls take and point at",
      .description =
          "Without NAME, the hypercalls; for a hypercall (domctl), its ops; for an op "
          "(domctl.createdomain), every field with its offset and type, and every buffer that it "
          "points at, with count and direction.",
      .options = {{"json", "",
                   "the whole table, as hcall/schema/op_table.schema.json describes it"},
                  {"unimplemented", "",
                   "the ops that the embedded hypervisor does not implement, each with what it "
                   "answers: what a Xen does that was built without it; with --json as JSON"}},
      .operands = {kNameValue},
      .examples = {{"What the list of domains takes.", "xencomm schema sysctl.getdomaininfolist"}},
      .run = Run,
  };
}

}  // namespace xencomm::tools
