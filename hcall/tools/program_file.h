// What is known of a program from its file, before it runs: whether anything can be put in front of
// it.
#ifndef HCALL_TOOLS_PROGRAM_FILE_H_
#define HCALL_TOOLS_PROGRAM_FILE_H_

#include <string>

namespace xencomm::tools {

struct ProgramFile {
  std::string path;        // of what is loaded: of a script, its interpreter
  bool is_static = false;  // nobody loads libraries for it
  // Why it runs with other rights than this process has ("setuid", …):
  // the loader then loads nothing that the environment says. "": it does not.
  const char* gains_rights = "";
};

// What execvp would run for `name`; nothing is known of what cannot be found or read.
ProgramFile FindProgram(const std::string& name);

}  // namespace xencomm::tools

#endif  // HCALL_TOOLS_PROGRAM_FILE_H_
