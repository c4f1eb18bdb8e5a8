#include "hcall/machine/server.h"

#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "hcall/hypervisor/base/machine.h"
#include "hcall/hypervisor/calls/hypercall_table.h"
#include "hcall/schema/generated/xen.h"
#include "hcall/schema/words.h"
#include "hcall/transport/listening_socket.h"
#include "hcall/transport/machine/message.h"
#include "xencomm/sentence.h"

namespace xencomm::machine {
namespace {

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
  absl::StatusOr<FileDescriptor> listening = ListenAt(path, SOCK_SEQPACKET, "a machine runs");
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
