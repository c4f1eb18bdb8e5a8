#include "hcall/tools/machine_process.h"

#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "hcall/machine/server.h"

namespace xencomm::tools {
namespace {

// In which this user's machines have their sockets.
std::string RuntimeFolder() {
  const char* const runtime = std::getenv("XDG_RUNTIME_DIR");
  if (runtime != nullptr && runtime[0] == '/') return absl::StrCat(runtime, "/xencomm");
  return absl::StrCat("/tmp/xencomm-", geteuid());
}

// A folder of this user alone; it may be there.
absl::Status MakeFolder(const std::string& folder) {
  if (mkdir(folder.c_str(), S_IRWXU) != 0 && errno != EEXIST) {
    return absl::UnavailableError(
        absl::StrFormat("the folder %s cannot be made: %s", folder, strerrordesc_np(errno)));
  }
  struct stat about = {};
  if (lstat(folder.c_str(), &about) != 0 || !S_ISDIR(about.st_mode) || about.st_uid != geteuid()) {
    return absl::PermissionDeniedError(
        absl::StrFormat("%s is there and not a folder of this user", folder));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> DefaultSocket() {
  const std::string folder = RuntimeFolder();
  const absl::Status made = MakeFolder(folder);
  if (!made.ok()) return made;
  return absl::StrCat(folder, "/machine");
}

FileDescriptor StopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  return FileDescriptor(signalfd(-1, &signals, SFD_CLOEXEC));
}

absl::StatusOr<std::unique_ptr<MachineProcess>> MachineProcess::Start(
    const MachineSetting& setting) {
  const std::string parent = RuntimeFolder();
  const absl::Status made = MakeFolder(parent);
  if (!made.ok()) return made;
  std::string folder = absl::StrCat(parent, "/run-XXXXXX");
  if (mkdtemp(folder.data()) == nullptr) {
    return absl::UnavailableError(
        absl::StrFormat("no folder can be made in %s: %s", parent, strerrordesc_np(errno)));
  }
  auto machine = std::unique_ptr<MachineProcess>(new MachineProcess(folder));
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "a pipe to the machine");
  const FileDescriptor reading(ends[0]);
  FileDescriptor writing(ends[1]);
  const pid_t own = getpid();
  machine->process_ = fork();
  if (machine->process_ < 0) return absl::ErrnoToStatus(errno, "the machine's process");
  if (machine->process_ == 0) _exit(machine->Serve(setting, writing.get(), own));
  { const FileDescriptor closed(std::move(writing)); }

  // One character when it is ready, or a sentence, or nothing.
  std::string said(1000, '\0');
  ssize_t length = 0;
  do {
    length = read(reading.get(), said.data(), said.size());
  } while (length < 0 && errno == EINTR);
  said.resize(length < 0 ? 0 : static_cast<std::size_t>(length));
  if (said == "\n") return machine;
  return absl::UnavailableError(said.empty() ? "the machine's process ended at its start" : said);
}

int MachineProcess::Serve(const MachineSetting& setting, int ready, pid_t parent) {
  const FileDescriptor stop = StopSignals();
  // What the terminal sends to the program is not for the machine.
  setsid();
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) return 0;
  const auto say = [ready](const std::string& text) {
    static_cast<void>(!write(ready, text.data(), text.size()));
    close(ready);
  };
  const auto server = machine::Server::Start(setting, socket());
  if (!server.ok()) {
    say(std::string(server.status().message()));
    return 1;
  }
  say("\n");
  return (*server)->Run(stop.get()).ok() ? 0 : 1;
}

MachineProcess::~MachineProcess() {
  if (process_ > 0) {
    kill(process_, SIGTERM);
    while (waitpid(process_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

}  // namespace xencomm::tools
