// xencomm run: an unmodified program over the drop-in libraries.

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "hcall/devices/devices.h"
#include "hcall/devices/supervised/supervisor.h"
#include "hcall/machine/server.h"
#include "hcall/tools/command.h"
#include "hcall/tools/machine_process.h"
#include "hcall/tools/program_file.h"
#include "hcall/transport/machine/connection.h"
#include "hcall/transport/machine/protocol.h"

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

// What is put in front of every program on a machine: its devices (hcall/devices).
fs::path PreloadedLibrary(const fs::path& drop_ins) {
  std::error_code error;
  for (const fs::path& folder : {drop_ins, drop_ins.parent_path() / "devices"}) {
    if (fs::exists(folder / "libxencomm-preload.so", error))
      return folder / "libxencomm-preload.so";
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

// In its own process, as a shell does: the exit code when it cannot be.
int Execute(char** program) {
  execvp(program[0], program);
  const int error = errno;
  absl::FPrintF(stderr, "xencomm run: '%s' cannot be run: %s\n", program[0],
                strerrordesc_np(error));
  // Not found, or found and not executable.
  return error == ENOENT ? 127 : 126;
}

// The program's process, while a machine is kept for it, or a domain: whose end is that of its
// processes, this one too.
int ExecuteAndWait(char** program, bool ends_with_this) {
  const pid_t self = getpid();
  const pid_t child = fork();
  if (child < 0) {
    absl::FPrintF(stderr, "xencomm run: no process can be had: %s\n", strerrordesc_np(errno));
    return 126;
  }
  if (child == 0) {
    if (ends_with_this) devices::EndWithParent(self);
    _exit(Execute(program));
  }
  // A terminal's signals reach the program by themselves; what is sent to this process is passed
  // on.
  static pid_t program_process;
  program_process = child;
  for (const int terminals : {SIGINT, SIGQUIT}) std::signal(terminals, SIG_IGN);
  for (const int passed : {SIGTERM, SIGHUP}) {
    std::signal(passed, [](int number) { kill(program_process, number); });
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

// What programs on a machine find of it in their environment; the folder of its files.
std::string NameMachine(const std::string& options, const JoinedSetting& joined) {
  std::string files = machine::Server::FilesOf(joined.path, joined.domain);
  setenv(XENCOMM_MACHINE_VARIABLE, options.c_str(), 1);
  setenv(XENCOMM_FILES_VARIABLE, files.c_str(), 1);
  // For programs that are not led there: static ones. Other domains have a device instead.
  if (joined.domain == 0) {
    setenv("XENSTORED_PATH", absl::StrCat(files, "/run/xenstored/socket").c_str(), 1);
  } else {
    unsetenv("XENSTORED_PATH");
  }
  return files;
}

// The program finds Linux's devices of Xen, and the system's own libraries of Xen do the rest.
absl::Status Join(const std::string& options, const fs::path& drop_ins) {
  const absl::StatusOr<JoinedSetting> joined = ParseJoinedSetting(options);
  if (!joined.ok()) return joined.status();
  const fs::path preloaded = PreloadedLibrary(drop_ins);
  if (preloaded.empty()) {
    return absl::NotFoundError("libxencomm-preload.so is not where it was built or installed");
  }
  NameMachine(options, *joined);
  Prepend("LD_PRELOAD", preloaded.string());
  return absl::OkStatus();
}

// The same by its system calls.
absl::StatusOr<int> JoinSupervised(const std::string& options, char** program) {
  const absl::StatusOr<JoinedSetting> joined = ParseJoinedSetting(options);
  if (!joined.ok()) return joined.status();
  const std::string files = NameMachine(options, *joined);
  return devices::RunSupervised(*joined, files, [program] { return Execute(program); });
}

// What --domain says: an id, or one that is made (machine/protocol.h).
absl::StatusOr<std::uint64_t> DomainOf(const std::string& word) {
  constexpr std::uint64_t kDefaultMegabytes = 64;
  constexpr std::uint64_t kMostMegabytes = std::uint64_t{1} << 20;
  if (word == "new") return machine::kNewDomain | kDefaultMegabytes << 20;
  const bool is_new = word.rfind("new:", 0) == 0;
  const std::optional<std::uint64_t> number = ParseNumber(is_new ? word.substr(4) : word);
  if (is_new && number && *number != 0 && *number <= kMostMegabytes) {
    return machine::kNewDomain | *number << 20;
  }
  if (!is_new && number && *number != 0 && *number <= kMostDomains) return *number;
  return absl::InvalidArgumentError(absl::StrFormat(
      "--domain=%s: expected a domain's id, new, or new:MiB (at most %u)", word, kMostMegabytes));
}

// This process is a client of the domain, too, so that it stays while the program runs; its id is
// in `*transport` afterwards.
absl::StatusOr<std::shared_ptr<machine::Connection>> JoinDomain(const std::string& word,
                                                                std::string* transport) {
  const absl::StatusOr<std::uint64_t> domain = DomainOf(word);
  if (!domain.ok()) return domain.status();
  const Setting parts = SplitSetting(*transport);
  if (parts.name != "machine") {
    return absl::InvalidArgumentError("--domain: expected a machine that is a process");
  }
  absl::StatusOr<JoinedSetting> setting = ParseJoinedSetting(parts.options);
  if (!setting.ok()) return setting.status();
  setting->domain = *domain;
  auto connection = machine::Connection::Open(*setting);
  if (connection.ok()) absl::StrAppend(transport, ",domain=", (*connection)->domain());
  return connection;
}

void Warn(const std::string& sentence) {
  absl::FPrintF(stderr, "xencomm run: warning: %s\n", sentence);
}

// What would come out of it otherwise than it looks. A program that the loader keeps everything
// from would do to the host what it is to do to the machine: that is refused. One that is static
// may start others, which are reached.
absl::Status Check(const char* program, bool is_supervised) {
  const ProgramFile file = FindProgram(program);
  if (is_supervised) {
    if (file.gains_rights[0] != '\0') {
      Warn(absl::StrFormat("'%s' is %s, and gains no rights with --static", file.path,
                           file.gains_rights));
    }
    return absl::OkStatus();
  }
  if (file.gains_rights[0] != '\0') {
    return absl::FailedPreconditionError(absl::StrFormat(
        "'%s' is %s: expected a program with no more rights than its user, since nothing can be "
        "put in front of another",
        file.path, file.gains_rights));
  }
  if (file.is_static) {
    Warn(absl::StrFormat("'%s' is statically linked, and finds no devices without --static",
                         file.path));
  }
  return absl::OkStatus();
}

void WarnOfHostsDevices() {
  for (const char* device : {"/dev/xen/privcmd", "/proc/xen/privcmd"}) {
    if (access(device, F_OK) != 0) continue;
    Warn(absl::StrFormat("this host has a %s itself: programs find the machine's in its place",
                         device));
    return;
  }
}

absl::StatusOr<int> Run(const Arguments& arguments) {
  const fs::path folder = DropInFolder();
  if (folder.empty()) {
    return absl::NotFoundError("libxencall.so.1 is not where it was built or installed");
  }
  char** const program = arguments.operands().data();
  const bool is_supervised = arguments.Has("static");
  const absl::Status checked = Check(program[0], is_supervised);
  if (!checked.ok()) return checked;
  // A machine of its own, unless it joins one or the hypervisor is to be in the program's process.
  std::string transport = arguments.Transport();
  std::unique_ptr<MachineProcess> machine;
  const auto setting = arguments.MachineToStart();
  if (!setting.ok()) return setting.status();
  if (setting->has_value()) {
    auto started = MachineProcess::Start(**setting);
    if (!started.ok()) return started.status();
    machine = *std::move(started);
    transport = arguments.OnMachine(machine->socket());
  }
  std::shared_ptr<machine::Connection> joined_domain;
  if (const auto word = arguments.Get("domain")) {
    auto joined = JoinDomain(*word, &transport);
    if (!joined.ok()) return joined.status();
    joined_domain = *std::move(joined);
  }
  const Setting parts = SplitSetting(transport);
  if (is_supervised) {
    if (parts.name != "machine") {
      return absl::InvalidArgumentError("--static: expected a machine that is a process");
    }
    WarnOfHostsDevices();
    setenv("XENCOMM_TRANSPORT", transport.c_str(), 1);
    return JoinSupervised(parts.options, program);
  }
  if (parts.name == "machine") {
    const absl::Status joined = Join(parts.options, folder);
    if (!joined.ok()) return joined;
    WarnOfHostsDevices();
  } else {
    Prepend("LD_LIBRARY_PATH", folder.string());
    // The store of a hypervisor in this process, where there is no daemon's.
    if (parts.name == "embedded") Prepend("LD_LIBRARY_PATH", (folder / "embedded").string());
  }
  setenv("XENCOMM_TRANSPORT", transport.c_str(), 1);
  const bool is_domains = joined_domain != nullptr;
  return machine != nullptr || is_domains ? ExecuteAndWait(program, is_domains) : Execute(program);
}

}  // namespace

Command RunCommand() {
  return {
      .name = "run",
      .summary = "Run an unmodified toolstack program over this library",
      .description =
          "PROGRAM, and all that it starts, finds Linux's devices of Xen (/dev/xen, /proc/xen), a "
          "xenstore and the folders that toolstacks write: those of a machine, a hypervisor in a "
          "process of its own, that is started for it and ended afterwards. No Xen is needed, and "
          "PROGRAM and its libraries are not changed. With --machine it joins a machine that runs. "
          "Programs that make system calls by themselves find no devices, and static ones neither, "
          "of which it warns: they want --static. A setuid program, or one with capabilities, is "
          "not run: the loader would put nothing in front of it. Of a script all this is said of "
          "its interpreter. Where the host has Xen's devices itself, programs find the machine's, "
          "which it says, too.\n\n"
          "With --static the kernel tells a supervisor of PROGRAM's system calls (seccomp), and "
          "of all that it starts, static or not: those that take a path, fstat, connect and "
          "bind, mmap of a file, and ioctls with the letters of Xen's devices. Each takes some "
          "microseconds more, and may be ended by a signal whose handler does not restart "
          "calls; all others go on as ever. It needs Linux 5.19 and the right to trace one's own "
          "processes, no others; where pidfd_getfd is forbidden, as it is in containers, a "
          "device's ioctl takes some hundred microseconds. Nobody below it gains rights, as sudo "
          "would, of which it warns for PROGRAM; nothing is supervised twice, and frames (in "
          "such a container, all of a device) are not to be had by what a debugger holds. Programs "
          "of 32 bits find no devices, a listing of a folder shows devices as plain files, and "
          "read and write of a device are a socket's. It is no border: a program can get around "
          "it.\n\n"
          "With --domain PROGRAM, and all that it starts, is a process of another domain than 0: "
          "its hypercalls, grants, event channels and memory are that domain's, and so is its "
          "connection to the machine's store, by /dev/xen/xenbus. The domain was made by a "
          "toolstack that has not started it (xl create -p), and the machine is its kernel from "
          "then on; or it is made now (new), with 64 MiB unless it is said, and ends with PROGRAM. "
          "When a domain is destroyed, PROGRAM is killed, and so is what it started that uses the "
          "devices. A front-end and a back-end are two programs so.\n\n"
          "With --space=direct, xcom or inline the hypervisor is in the program's own process, "
          "behind this library's libxencall.so.1 and libxenforeignmemory.so.1 in place of the "
          "system's, and ends with it: valgrind's memcheck then looks for leaks in all of the "
          "machine's memory, which wants to be small (--memory=256M --dom0=64M). With --xen these "
          "are put over the Xen of this machine.",
      .options = {{.name = "domain",
                   .value = "ID|new[:MiB]",
                   .help = "be a process of that domain, or of one that is made for it"},
                  {.name = "static",
                   .value = "",
                   .help =
                       "serve programs that make system calls by themselves, as static ones do"}},
      .runs_program = true,
      .connects = Command::Connects::kAnywhere,
      .examples = {{"Debian's xen-cpuid, its arguments reached by a page walk.",
                    "xencomm run --space=walk4 -- xen-cpuid -p"},
                   {"A shell of a domain of its own, on a machine that runs.",
                    "xencomm run --machine=/tmp/m --domain=new:128 -- bash"}},
      .run = Run,
  };
}

}  // namespace xencomm::tools
