// xencomm schema: the op table, for people and for programs.

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>

#include "absl/strings/str_format.h"
#include "hcall/hypervisor/calls/hypercall_table.h"
#include "hcall/schema/op.h"
#include "hcall/schema/print.h"
#include "hcall/schema/words.h"
#include "hcall/tools/command.h"
#include "hcall/tools/explain.h"
#include "hcall/tools/print.h"
#include "hcall/tools/schema_diff.h"

namespace xencomm::tools {
namespace {

absl::StatusOr<int> Explain(const std::string& name) {
  const schema::Hypercall* const hypercall = schema::Find(name);
  std::string text;
  // A hypercall without ops of its own is its one op.
  if (hypercall != nullptr && hypercall->op_place != schema::OpPlace::kNone) {
    text = schema::ListOps(*hypercall);
  } else {
    text = schema::ExplainOp(hypercall == nullptr ? name : name + "." + name);
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
    for (const schema::Op& op : hypercall.ops()) {
      const hypervisor::OpAnswer known = hypervisor::Ask(hypercall.number, op.number);
      if (known.is_implemented || (op.releases & schema::kBaseRelease) == 0) continue;
      const char* const answer = ErrorName(known.without);
      if (json) {
        all.push_back({{"hypercall", schema::WordsOf(hypercall).name},
                       {"op", schema::WordsOf(op).name},
                       {"number", op.number},
                       {"answer", answer}});
      } else {
        absl::PrintF("%-12s %s.%s\n", answer, schema::WordsOf(hypercall).name,
                     schema::WordsOf(op).name);
      }
    }
  }
  if (json) PrintJson({{"unimplemented", all}});
}

// "4.17,4.20".
absl::StatusOr<int> Diff(const std::string& value, bool json) {
  const std::size_t comma = value.find(',');
  const auto from = schema::ParseRelease(value.substr(0, comma));
  const auto to =
      comma != std::string::npos ? schema::ParseRelease(value.substr(comma + 1)) : std::nullopt;
  if (!from || !to) {
    return absl::InvalidArgumentError(
        absl::StrFormat("--diff=%s: expected FROM,TO, two releases out of %s", value,
                        schema::ReleasesText(schema::kAllReleases)));
  }
  const Json diff = DiffReleases(*from, *to);
  if (json) {
    PrintJson(diff);
  } else {
    std::fputs(DiffText(diff).c_str(), stdout);
  }
  return 0;
}

absl::StatusOr<int> Run(const Arguments& arguments) {
  const bool is_named = !arguments.operands().empty();
  if (arguments.Has("diff")) {
    if (is_named || arguments.Has("unimplemented")) {
      return absl::InvalidArgumentError(
          "--diff is of all hypercalls: expected nothing beside it "
          "but --json");
    }
    return Diff(*arguments.Get("diff"), arguments.Has("json"));
  }
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
  std::fputs(arguments.Has("json") ? schema::OpTableJson() : schema::ListHypercalls().c_str(),
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
                  {"diff", "FROM,TO",
                   "what changed from one release of Xen to another: \"4.17,4.20\"; with --json as "
                   "JSON"},
                  {"unimplemented", "",
                   "the ops that the embedded hypervisor does not implement, each with what it "
                   "answers: what a Xen does that was built without it; with --json as JSON"}},
      .operands = {kNameValue},
      .examples = {{"What the list of domains takes.", "xencomm schema sysctl.getdomaininfolist"},
                   {"What Xen 4.20 has otherwise.", "xencomm schema --diff=4.17,4.20"}},
      .run = Run,
  };
}

}  // namespace xencomm::tools
