// xencomm: the command. Each subcommand is a file of its own.

#include <cstdio>
#include <cstring>
#include <span>
#include <string>

#include "absl/strings/str_format.h"
#include "hcall/tools/command.h"

namespace xencomm::tools {
namespace {

constexpr const Command* kCommands[] = {&kRunCommand, &kSchemaCommand};

void PrintOverview(std::FILE* to) {
  absl::FPrintF(to, "Usage: xencomm COMMAND ...\n\nCommands:\n");
  for (const Command* command : kCommands) {
    absl::FPrintF(to, "  %-8s %s\n", command->name, command->summary);
  }
  absl::FPrintF(to, "\nxencomm COMMAND --help says more.\n");
}

int Main(std::span<char*> arguments) {
  if (arguments.empty()) {
    PrintOverview(stderr);
    return 2;
  }
  const std::string name = arguments[0];
  if (name == "--help" || name == "-h" || name == "help") {
    PrintOverview(stdout);
    return 0;
  }
  if (name == "--version") {
    absl::PrintF("xencomm %s\n", XENCOMM_VERSION);
    return 0;
  }
  for (const Command* command : kCommands) {
    if (name == command->name) return command->run(*command, arguments);
  }
  absl::FPrintF(stderr, "xencomm: there is no command '%s' (see xencomm --help)\n", name);
  return 2;
}

}  // namespace
}  // namespace xencomm::tools

int main(int argc, char** argv) {
  return xencomm::tools::Main(std::span<char*>(argv, static_cast<std::size_t>(argc)).subspan(1));
}
