// xencomm schema: the op table, for people and for programs.

#include <getopt.h>

#include <cstdio>
#include <string>

#include "absl/strings/str_format.h"
#include "hcall/schema/json.h"
#include "hcall/schema/op.h"
#include "hcall/schema/print.h"
#include "hcall/tools/command.h"

namespace xencomm::tools {
namespace {

std::string Help() {
  return "Without NAME, the hypercalls; for a hypercall (domctl), its ops; for an op\n"
         "(domctl.createdomain), every field with its offset and type, and every buffer that it\n"
         "points at, with count and direction.\n\n"
         "Options:\n"
         "  --json   the whole table, as hcall/schema/op_table.schema.json describes it\n"
         "  --help   this text\n\n"
         "Example:\n"
         "  xencomm schema sysctl.getdomaininfolist\n";
}

int Explain(const Command& command, const std::string& name) {
  const schema::Hypercall* const hypercall = schema::Find(name);
  std::string text;
  // A hypercall without ops of its own is its one op.
  if (hypercall != nullptr && hypercall->op_place != schema::OpPlace::kNone) {
    text = schema::ListOps(*hypercall);
  } else {
    text = schema::ExplainOp(hypercall == nullptr ? name : name + "." + hypercall->ops[0].name);
  }
  if (text.empty()) {
    return RefuseUsage(command,
                       absl::StrFormat("'%s' is neither a hypercall nor an op: expected a name "
                                       "that xencomm schema lists, or HYPERCALL.OP",
                                       name));
  }
  std::fputs(text.c_str(), stdout);
  return 0;
}

int Run(const Command& command, std::span<char*> arguments) {
  static constexpr option kOptions[] = {
      {"help", no_argument, nullptr, 'h'}, {"json", no_argument, nullptr, 'j'}, {}};
  bool json = false;
  opterr = 0;
  const int count = static_cast<int>(arguments.size());
  for (;;) {
    const int next = getopt_long(count, arguments.data(), "h", kOptions, nullptr);
    if (next == -1) break;
    if (next == 'h') return PrintHelp(command);
    if (next != 'j') {
      return RefuseUsage(command, absl::StrFormat("there is no option '%s'",
                                                  arguments[static_cast<std::size_t>(optind) - 1]));
    }
    json = true;
  }
  const auto names = arguments.subspan(static_cast<std::size_t>(optind));
  if (json && !names.empty()) {
    return RefuseUsage(command, "--json is the whole table: expected no NAME");
  }
  if (names.size() > 1) return RefuseUsage(command, "expected one NAME at most");
  if (names.size() == 1) return Explain(command, names[0]);
  std::fputs((json ? schema::ExportJson() : schema::ListHypercalls()).c_str(), stdout);
  return 0;
}

}  // namespace

constexpr Command kSchemaCommand = {
    "schema", "[--json | NAME]", "Show what Xen's hypercalls take and point at", Help, Run,
};

}  // namespace xencomm::tools
