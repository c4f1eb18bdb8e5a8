// xencomm run: an unmodified program over the drop-in libraries.

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "hcall/tools/command.h"

namespace xencomm::tools {
namespace {

namespace fs = std::filesystem;

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

absl::StatusOr<int> Run(const Arguments& arguments) {
  const std::string transport = arguments.Transport();
  const fs::path folder = DropInFolder();
  if (folder.empty()) {
    return absl::NotFoundError("libxencall.so.1 is not where it was built or installed");
  }
  Prepend("LD_LIBRARY_PATH", folder.string());
  // The store of a machine in this process, where there is no daemon's.
  if (transport != "privcmd") Prepend("LD_LIBRARY_PATH", (folder / "embedded").string());
  setenv("XENCOMM_TRANSPORT", transport.c_str(), 1);
  char** const program = arguments.operands().data();
  execvp(program[0], program);
  const int error = errno;
  absl::FPrintF(stderr, "xencomm run: '%s' cannot be run: %s\n", program[0],
                strerrordesc_np(error));
  // As a shell does: not found, or found and not executable.
  return error == ENOENT ? 127 : 126;
}

}  // namespace

Command RunCommand() {
  return {
      .name = "run",
      .summary = "Run an unmodified toolstack program over this library",
      .description =
          "PROGRAM finds this library's libxencall.so.1 and libxenforeignmemory.so.1 in place of "
          "the system's. Its hypercalls are answered by a hypervisor in its own process: no Xen "
          "is needed, and what it does to domains ends with it. PROGRAM itself is not changed.",
      .runs_program = true,
      .connects = Command::Connects::kAnywhere,
      .examples = {{"Debian's xen-cpuid, its arguments reached by a page walk.",
                    "xencomm run --space=walk4 -- xen-cpuid -p"}},
      .run = Run,
  };
}

}  // namespace xencomm::tools
