#include "hcall/tools/command.h"

#include "absl/strings/str_format.h"

namespace xencomm::tools {

int PrintHelp(const Command& command) {
  absl::PrintF("Usage: xencomm %s %s\n\n%s.\n\n%s", command.name, command.synopsis, command.summary,
               command.help());
  return 0;
}

int RefuseUsage(const Command& command, const std::string& sentence) {
  absl::FPrintF(stderr, "xencomm %s: %s (see xencomm %s --help)\n", command.name, sentence,
                command.name);
  return 2;
}

int Fail(const Command& command, const std::string& sentence, int exit_code) {
  absl::FPrintF(stderr, "xencomm %s: %s\n", command.name, sentence);
  return exit_code;
}

}  // namespace xencomm::tools
