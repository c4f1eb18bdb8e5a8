// The manual pages and the shell's completion, made from the commands' own table at build time.
#ifndef HCALL_TOOLS_MANUAL_H_
#define HCALL_TOOLS_MANUAL_H_

#include <string>

#include "hcall/tools/command.h"

namespace xencomm::tools {

// In man's macros, for section 1.
std::string ManualPage(const Command& command);
std::string OverviewPage();

// For bash.
std::string Completion();

}  // namespace xencomm::tools

#endif  // HCALL_TOOLS_MANUAL_H_
