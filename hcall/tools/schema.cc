// xencomm schema: the op table, for people and for programs.

#include <cstdio>
#include <string>

#include "absl/strings/str_format.h"
#include "hcall/schema/json.h"
#include "hcall/schema/op.h"
#include "hcall/schema/print.h"
#include "hcall/tools/command.h"

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

absl::StatusOr<int> Run(const Arguments& arguments) {
  const std::span<char*> names = arguments.operands();
  if (arguments.Has("json") && !names.empty()) {
    return absl::InvalidArgumentError("--json is the whole table: expected no NAME");
  }
  const absl::Status few = arguments.AtMost(1, "one NAME at most");
  if (!few.ok()) return few;
  if (names.size() == 1) return Explain(names[0]);
  std::fputs((arguments.Has("json") ? schema::ExportJson() : schema::ListHypercalls()).c_str(),
             stdout);
  return 0;
}

}  // namespace

const Command& SchemaCommand() {
  static const Command* const kCommand = new Command{
      .name = "schema",
      .synopsis = "[--json | NAME]",
      .summary = "Show what Xen's hypercalls take and point at",
      .description =
          "Without NAME, the hypercalls; for a hypercall (domctl), its ops; for an op "
          "(domctl.createdomain), every field with its offset and type, and every buffer that it "
          "points at, with count and direction.",
      .options = {{"json", "",
                   "the whole table, as hcall/schema/op_table.schema.json describes it"}},
      .examples = {{"What the list of domains takes.", "xencomm schema sysctl.getdomaininfolist"}},
      .names_op = true,
      .run = Run,
  };
  return *kCommand;
}

}  // namespace xencomm::tools
