// The subcommands of `xencomm`, and how they talk to people.
#ifndef HCALL_TOOLS_COMMAND_H_
#define HCALL_TOOLS_COMMAND_H_

#include <span>
#include <string>

namespace xencomm::tools {

// `arguments` end with a null pointer that is not counted, as main's do, and begin with the
// subcommand's name.
struct Command {
  const char* name;
  const char* synopsis;   // of the arguments
  const char* summary;    // one line
  std::string (*help)();  // what --help prints below that
  int (*run)(const Command& command, std::span<char*> arguments);
};

extern const Command kRunCommand;
extern const Command kSchemaCommand;

// Prints the usage of `command` to stdout; 0.
int PrintHelp(const Command& command);

// Prints one sentence to stderr, and where to read more; the exit code of wrong usage, 2.
int RefuseUsage(const Command& command, const std::string& sentence);

// Prints one sentence to stderr; `exit_code`.
int Fail(const Command& command, const std::string& sentence, int exit_code = 1);

}  // namespace xencomm::tools

#endif  // HCALL_TOOLS_COMMAND_H_
