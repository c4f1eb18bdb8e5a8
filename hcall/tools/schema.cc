// xencomm schema: the op table, for people and for programs.

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "hcall/hypervisor/dispatch.h"
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

// "ENOSYS" of -ENOSYS.
const char* ErrorName(std::int64_t answer) { return ::strerrorname_np(static_cast<int>(-answer)); }

// The ops that the embedded hypervisor has no handler for, by the tables that it dispatches calls
// by, with what it answers them.
std::string ListUnimplemented(bool json) {
  std::vector<std::string> lines;
  for (const schema::Hypercall& hypercall : schema::Hypercalls()) {
    for (const schema::Op& op : hypercall.ops) {
      const hypervisor::OpAnswer known = hypervisor::Ask(hypercall.number, op.number);
      if (known.is_implemented || !op.IsIn(hypercall.version)) continue;
      lines.push_back(
          json ? absl::StrFormat("    {\"hypercall\": \"%s\", \"op\": \"%s\", \"number\": %u, "
                                 "\"answer\": \"%s\"}",
                                 hypercall.name, op.name, op.number, ErrorName(known.without))
               : absl::StrFormat("%-12s %s.%s", ErrorName(known.without), hypercall.name, op.name));
    }
  }
  return json ? absl::StrCat("{\n  \"unimplemented\": [\n", absl::StrJoin(lines, ",\n"),
                             "\n  ]\n}\n")
              : absl::StrCat(absl::StrJoin(lines, "\n"), "\n");
}

absl::StatusOr<int> Run(const Arguments& arguments) {
  const std::span<char*> names = arguments.operands();
  if (arguments.Has("unimplemented")) {
    if (!names.empty()) {
      return absl::InvalidArgumentError("--unimplemented is of all hypercalls: expected no NAME");
    }
    std::fputs(ListUnimplemented(arguments.Has("json")).c_str(), stdout);
    return 0;
  }
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
      .synopsis = "[--unimplemented] [--json] | [NAME]",
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
      .examples = {{"What the list of domains takes.", "xencomm schema sysctl.getdomaininfolist"}},
      .names_op = true,
      .run = Run,
  };
  return *kCommand;
}

}  // namespace xencomm::tools
