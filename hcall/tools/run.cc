// xencomm run: an unmodified program over the drop-in libraries.

#include <getopt.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "hcall/tools/command.h"
#include "hcall/transport/setting.h"

namespace xencomm::tools {
namespace {

namespace fs = std::filesystem;

std::string Help() {
  return absl::StrCat(
      "PROGRAM finds this library's libxencall.so.1 and libxenforeignmemory.so.1 in place of the\n"
      "system's. Its hypercalls are answered by a hypervisor in its own process: no Xen is "
      "needed,\n"
      "and what it does to domains ends with it. PROGRAM itself is not changed.\n\n"
      "Options:\n",
      EmbeddedOptionsHelp(),
      "  --xen              hypercalls go to the Xen that this machine runs on instead\n"
      "  --help             this text\n\n"
      "Example:\n"
      "  xencomm run --space=walk4 -- xen-cpuid -p\n");
}

// Where the drop-in libraries are, seen from this program: in the build folder, or installed.
fs::path DropInFolder() {
  std::error_code error;
  const fs::path here = fs::read_symlink("/proc/self/exe", error).parent_path();
  for (const fs::path& folder :
       {here.parent_path() / "xencall", here.parent_path() / XENCOMM_DROP_IN_DIR}) {
    if (fs::exists(folder / "libxencall.so.1", error)) return folder;
  }
  return {};
}

// In front of what is there, which the program may need for its other libraries.
void Prepend(const char* variable, const std::string& value) {
  const char* const before = std::getenv(variable);
  const std::string all =
      before == nullptr || before[0] == '\0' ? value : absl::StrCat(value, ":", before);
  setenv(variable, all.c_str(), 1);
}

int Execute(const Command& command, const std::string& transport, char** program) {
  const fs::path folder = DropInFolder();
  if (folder.empty()) {
    return Fail(command, "libxencall.so.1 is not where it was built or installed");
  }
  Prepend("LD_LIBRARY_PATH", folder.string());
  setenv("XENCOMM_TRANSPORT", transport.c_str(), 1);
  execvp(program[0], program);
  const int error = errno;
  // As a shell does: not found, or found and not executable.
  return Fail(command,
              absl::StrFormat("'%s' cannot be run: %s", program[0], strerrordesc_np(error)),
              error == ENOENT ? 127 : 126);
}

int Run(const Command& command, std::span<char*> arguments) {
  std::vector<option> options = {{"help", no_argument, nullptr, 'h'},
                                 {"xen", no_argument, nullptr, 'x'}};
  const std::vector<std::string> names = EmbeddedOptionNames();
  for (const std::string& name : names) {
    options.push_back({name.c_str(), required_argument, nullptr, 'o'});
  }
  options.push_back({});

  bool on_xen = false;
  std::vector<std::string> embedded;
  opterr = 0;
  const int count = static_cast<int>(arguments.size());
  // '+': what follows PROGRAM is PROGRAM's. ':': a missing value is told apart.
  for (;;) {
    int index = 0;
    const int next = getopt_long(count, arguments.data(), "+:h", options.data(), &index);
    if (next == -1) break;
    const std::string word = arguments[static_cast<std::size_t>(std::max(optind - 1, 0))];
    switch (next) {
      case 'h':
        return PrintHelp(command);
      case 'x':
        on_xen = true;
        break;
      case 'o':
        embedded.push_back(
            absl::StrCat(options[static_cast<std::size_t>(index)].name, "=", optarg));
        break;
      case ':':
        return RefuseUsage(command, absl::StrFormat("%s wants a value", word));
      default:
        return RefuseUsage(command, absl::StrFormat("there is no option '%s'", word));
    }
  }
  if (on_xen && !embedded.empty()) {
    return RefuseUsage(command, absl::StrFormat("--%s is for the embedded hypervisor: expected it "
                                                "without --xen",
                                                embedded[0]));
  }
  if (optind == count) return RefuseUsage(command, "expected a PROGRAM");
  const std::string setting = absl::StrJoin(embedded, ",");
  const absl::StatusOr<EmbeddedSetting> checked = ParseEmbeddedSetting(setting);
  if (!checked.ok()) {
    return RefuseUsage(command, absl::StrCat("--", std::string(checked.status().message())));
  }
  const std::string transport = on_xen            ? "privcmd"
                                : setting.empty() ? "embedded"
                                                  : absl::StrCat("embedded:", setting);
  return Execute(command, transport, arguments.data() + optind);
}

}  // namespace

constexpr Command kRunCommand = {
    "run",
    "[OPTION...] [--] PROGRAM [ARGUMENT...]",
    "Run an unmodified toolstack program over this library",
    Help,
    Run,
};

}  // namespace xencomm::tools
