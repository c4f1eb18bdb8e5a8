// The manual pages and the shell's completion, made from the commands' own table at build time.
#ifndef HCALL_TOOLS_MANUAL_H_
#define HCALL_TOOLS_MANUAL_H_

#include <string>

namespace xencomm::tools {

// "completion" of bash's; "xencomm", or a subcommand's name: the manual page, in man's macros for
// section 1. "" when there is no such thing.
std::string Manual(const std::string& name);

}  // namespace xencomm::tools

#endif  // HCALL_TOOLS_MANUAL_H_
