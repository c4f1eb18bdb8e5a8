#include "hcall/machine/server.h"

#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "hcall/hypervisor/base/machine.h"
#include "hcall/hypervisor/calls/hypercall_table.h"
#include "hcall/schema/generated/xen.h"
#include "hcall/schema/words.h"
#include "hcall/transport/machine/message.h"
#include "xencomm/sentence.h"

namespace xencomm::machine {
namespace {

// Bound where nobody but this user reaches it; whoever connects is asked who he is, besides.
absl::StatusOr<FileDescriptor> ListenAt(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(Sentence("--socket=%s: expected a path of at most %u bytes",
                                               path, sizeof(address.sun_path) - 1));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  const auto* const name = reinterpret_cast<const sockaddr*>(&address);

  FileDescriptor asking(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (connect(asking.get(), name, sizeof(address)) == 0) {
    return absl::AlreadyExistsError(Sentence("a machine runs at %s already", path));
  }
  // Any file refuses; only a socket can be one that a machine left.
  struct stat about;
  if (errno == ECONNREFUSED && lstat(path.c_str(), &about) == 0 && S_ISSOCK(about.st_mode)) {
    unlink(path.c_str());
  }

  FileDescriptor listening(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listening.is_open()) return absl::ErrnoToStatus(errno, "a socket for the machine");
  // Its mode is what is left of 0777, and the umask is the process's: the file is made narrower.
  if (bind(listening.get(), name, sizeof(address)) != 0) {
    return absl::UnavailableError(
        Sentence("no socket can be made at %s: %s", path, strerrordesc_np(errno)));
  }
  chmod(path.c_str(), S_IRUSR | S_IWUSR);
  if (listen(listening.get(), SOMAXCONN) != 0) {
    unlink(path.c_str());
    return absl::ErrnoToStatus(errno, "the machine's socket");
  }
  return listening;
}

// Whether Debian's Xen refuses it, too: it was built without FLASK and without counters, and a
// machine without some devices has answers of its own (hcall/hypervisor/calls/op_table.h).
bool IsXensAnswer(std::uint64_t hypercall, std::uint64_t op) {
  const bool counts = hypercall == __HYPERVISOR_sysctl &&
                      (op == XEN_SYSCTL_perfc_op || op == XEN_SYSCTL_lockprof_op);
  return hypercall == __HYPERVISOR_xsm_op || counts ||
         hypervisor::Ask(hypercall, op).without != -ENOSYS;
}

// Of a call that a thread of a session makes: it has the client's name.
void SayMissing(std::uint64_t hypercall, std::uint64_t op) {
  if (IsXensAnswer(hypercall, op)) return;
  std::string name = schema::WordsOf(*schema::Find(hypercall)).name;
  if (op != hypervisor::kNoOp) {
    const schema::Op* const row = schema::Find(hypercall, op, schema::kAllReleases);
    name = row != nullptr ? absl::StrCat(name, ".", schema::WordsOf(*row).name)
                          : absl::StrCat("op ", op, " of ", name);
  }
  char program[16] = {};
  pthread_getname_np(pthread_self(), program, sizeof(program));
  absl::FPrintF(stderr, "xencomm machine: %s asked for %s, which is not implemented\n", program,
                name);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const MachineSetting& setting,
                                                      const std::string& path) {
  absl::StatusOr<FileDescriptor> listening = ListenAt(path);
  if (!listening.ok()) return listening.status();
  auto leave_nothing = absl::MakeCleanup([&path] { unlink(path.c_str()); });
  auto machine = embedded::EmbeddedMachine::Create(
      setting, embedded::EmbeddedMachine::Lending::kDomainsMemory);
  if (!machine.ok()) return machine.status();
  (*machine)->Tell(SayMissing);
  absl::StatusOr<std::unique_ptr<Devices>> devices = Devices::Create(**machine, FilesOf(path));
  if (!devices.ok()) return devices.status();
  absl::StatusOr<std::unique_ptr<HostFiles>> files =
      HostFiles::Create(FilesOf(path), (*machine)->kernel());
  if (!files.ok()) return files.status();
  absl::StatusOr<std::unique_ptr<StoreService>> store =
      StoreService::Create(**machine, **devices, FilesOf(path) + "/run/xenstored/socket");
  if (!store.ok()) return store.status();
  for (const absl::Status& told :
       {(*files)->Write("/proc/xen/xsd_port", absl::StrCat((*store)->port())),
        (*files)->Link("/proc/xen/xsd_kva", (*store)->page())}) {
    if (!told.ok()) return told;
  }
  std::move(leave_nothing).Cancel();
  return std::unique_ptr<Server>(new Server(path, *std::move(listening), *std::move(machine),
                                            *std::move(devices), *std::move(files),
                                            *std::move(store)));
}

Server::~Server() {
  for (Client& client : clients_) client.session.Stop();
  for (Client& client : clients_) client.thread.join();
  unlink(path_.c_str());
}

absl::Status Server::Run(int stop) {
  pollfd files[] = {{.fd = stop, .events = POLLIN, .revents = 0},
                    {.fd = socket_.get(), .events = POLLIN, .revents = 0},
                    {.fd = devices_->fd(), .events = POLLIN, .revents = 0},
                    {.fd = store_->fd(), .events = POLLIN, .revents = 0}};
  constexpr int kCollectAfterMs = 1000;  // as Linux does
  for (;;) {
    const int ready = poll(files, std::size(files), kCollectAfterMs);
    if (ready < 0 && errno != EINTR) {
      return absl::ErrnoToStatus(errno, "the machine's wait for clients");
    }
    if (ready == 0) devices_->Collect();
    if (ready <= 0) continue;
    if (files[0].revents != 0) return absl::OkStatus();
    if (files[2].revents != 0) devices_->Serve();
    if (files[3].revents != 0) store_->Serve();
    if (files[1].revents == 0) continue;
    FileDescriptor client(accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    DropEnded();
    if (client.is_open()) {
      Admit(std::move(client));
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
      usleep(10'000);  // there will be room when another client has ended
    }
  }
}

void Server::Admit(FileDescriptor socket) {
  const int fd = socket.get();
  if (clients_.size() >= kMostClients) {
    SendRefusal(fd, ENOMEM, Sentence("the machine has %u clients, and no more", kMostClients));
    return;
  }
  clients_.emplace_back(*machine_, *devices_, std::move(socket));
  Client& client = clients_.back();
  try {
    client.thread = std::thread([&client] {
      client.session.Run();
      client.has_ended.store(true);
    });
  } catch (const std::system_error&) {
    SendRefusal(fd, ENOMEM, "the machine's process can have no more threads");
    clients_.pop_back();
  }
}

void Server::DropEnded() {
  for (auto client = clients_.begin(); client != clients_.end();) {
    if (!client->has_ended.load()) {
      ++client;
      continue;
    }
    client->thread.join();
    client = clients_.erase(client);
  }
}

}  // namespace xencomm::machine
