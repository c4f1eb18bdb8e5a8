// xencomm machine: a hypervisor in a process of its own, for programs that join it.

#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <string>

#include "absl/strings/str_format.h"
#include "hcall/machine/server.h"
#include "hcall/tools/command.h"
#include "hcall/tools/machine_process.h"

namespace xencomm::tools {
namespace {

absl::StatusOr<int> Run(const Arguments& arguments) {
  absl::StatusOr<std::string> path = arguments.Get("socket").has_value()
                                         ? absl::StatusOr<std::string>(*arguments.Get("socket"))
                                         : DefaultSocket();
  if (!path.ok()) return path.status();
  const FileDescriptor stop = StopSignals();
  const auto server = machine::Server::Start(arguments.Embedded().machine, *path);
  if (!server.ok()) return server.status();
  absl::PrintF("xencomm machine: ready at %s\n", *path);
  std::fflush(stdout);
  const absl::Status ended = (*server)->Run(stop.get());
  if (!ended.ok()) return ended;
  return 0;
}

}  // namespace

Command MachineCommand() {
  return {
      .name = "machine",
      .summary = "Run a hypervisor in a process of its own, for many programs",
      .description =
          "Programs join it by the transport machine:SOCKET, or by 'xencomm run --machine=SOCKET'. "
          "It prints a line when it is ready and ends at SIGTERM or SIGINT, and with it all "
          "domains. "
          "What a client made it hold ends with the client.\n\n"
          "Clients are processes of the same user, or root's. They share the memory of domains by "
          "a file that is given as a whole: a client can reach all domains' memory, and other "
          "clients' arguments, behind the calls. What the hypervisor itself knows, and the tables "
          "of regions, are in memory that no client gets.",
      .options = {{"socket", kFileValue,
                   "where it listens ($XDG_RUNTIME_DIR/xencomm/machine, or else "
                   "/tmp/xencomm-UID/machine)"}},
      .connects = Command::Connects::kMachine,
      .examples = {{"A machine in the background, and a program on it.",
                    "xencomm machine --socket=/tmp/m & xencomm run --machine=/tmp/m -- xl info"}},
      .run = Run,
  };
}

}  // namespace xencomm::tools
