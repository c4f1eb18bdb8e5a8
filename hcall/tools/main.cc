// xencomm: the command. Each subcommand is a file of its own.

#include <cstdio>
#include <span>
#include <string>

#include "absl/strings/str_format.h"
#include "hcall/tools/command.h"
#include "hcall/tools/manual.h"

namespace xencomm::tools {
namespace {

int RunCommandLine(const Command& command, std::span<char*> words) {
  const absl::StatusOr<Arguments> arguments = Arguments::Parse(command, words);
  if (!arguments.ok()) return Refuse(command, arguments.status());
  if (arguments->Has("help")) {
    std::fputs(Help(command).c_str(), stdout);
    return 0;
  }
  const absl::StatusOr<int> result = command.run(*arguments);
  return result.ok() ? *result : Refuse(command, result.status());
}

int Main(std::span<char*> words) {
  if (words.empty()) {
    std::fputs(Overview().c_str(), stderr);
    return 2;
  }
  const std::string name = words[0];
  if (name == "--help" || name == "-h" || name == "help") {
    std::fputs(Overview().c_str(), stdout);
    return 0;
  }
  if (name == "--version") {
    absl::PrintF("xencomm %s\n", XENCOMM_VERSION);
    return 0;
  }
  // For the build: what is installed beside the command, made by the command.
  if (name == "--write-manual" && words.size() == 2) {
    const std::string page = Manual(words[1]);
    std::fputs(page.c_str(), stdout);
    return page.empty() ? 2 : 0;
  }
  for (const Command& command : Commands()) {
    if (name == command.name) return RunCommandLine(command, words);
  }
  absl::FPrintF(stderr, "xencomm: there is no command '%s' (see xencomm --help)\n", name);
  return 2;
}

}  // namespace
}  // namespace xencomm::tools

int main(int argc, char** argv) {
  return xencomm::tools::Main(std::span<char*>(argv, static_cast<std::size_t>(argc)).subspan(1));
}
