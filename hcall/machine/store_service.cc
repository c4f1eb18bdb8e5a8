#include "hcall/machine/store_service.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <iterator>
#include <span>

#include "xencomm/sentence.h"

namespace xencomm::machine {
namespace {

// Read at a time from one client, so that none is waited for long.
constexpr std::size_t kPiece = 1 << 14;
// How often in a row a daemon is listened to.
constexpr int kRounds = 16;

absl::StatusOr<FileDescriptor> ListenAt(const std::string& path) {
  // A path of any length: the name in its folder is short.
  const std::size_t slash = path.rfind('/');
  const FileDescriptor folder(open(path.substr(0, slash).c_str(), O_PATH | O_CLOEXEC));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const std::string name = Sentence("/proc/self/fd/%d/%s", folder.get(), path.substr(slash + 1));
  name.copy(address.sun_path, sizeof(address.sun_path) - 1);
  FileDescriptor listening(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  unlink(path.c_str());
  if (!listening.is_open() ||
      bind(listening.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 ||
      listen(listening.get(), SOMAXCONN) != 0) {
    return absl::UnavailableError(
        Sentence("the store has no socket at %s: %s", path, strerrordesc_np(errno)));
  }
  return listening;
}

}  // namespace

absl::StatusOr<std::unique_ptr<StoreService>> StoreService::Create(
    embedded::EmbeddedMachine& machine, Devices& devices, const std::string& socket) {
  absl::StatusOr<FileDescriptor> listening = ListenAt(socket);
  if (!listening.ok()) return listening.status();
  absl::StatusOr<std::unique_ptr<StoreDaemon>> daemon =
      StoreDaemon::Create(machine.kernel(), devices);
  if (!daemon.ok()) return daemon.status();
  auto service = std::unique_ptr<StoreService>(
      new StoreService(machine, devices, FileDescriptor(epoll_create1(EPOLL_CLOEXEC)),
                       *std::move(listening), socket, *std::move(daemon)));
  epoll_event at_socket = {.events = EPOLLIN, .data = {.ptr = nullptr}};
  epoll_event at_domains = {.events = EPOLLIN | EPOLLET, .data = {.ptr = &service->store_}};
  epoll_event at_daemon = {.events = EPOLLIN, .data = {.ptr = service->daemon_.get()}};
  const int epoll = service->epoll_.get();
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, service->listening_->get(), &at_socket) != 0 ||
      epoll_ctl(epoll, EPOLL_CTL_ADD, devices.domains_fd(), &at_domains) != 0 ||
      epoll_ctl(epoll, EPOLL_CTL_ADD, service->daemon_->fd(), &at_daemon) != 0) {
    return absl::ErrnoToStatus(errno, "the machine's store");
  }
  devices.SetXenbusHandler(service.get());
  return service;
}

StoreService::StoreService(embedded::EmbeddedMachine& machine, Devices& devices,
                           FileDescriptor epoll, FileDescriptor listening, std::string path,
                           std::unique_ptr<StoreDaemon> daemon)
    : machine_(machine),
      devices_(devices),
      epoll_(std::move(epoll)),
      listening_(std::move(listening)),
      path_(std::move(path)),
      daemon_(std::move(daemon)),
      store_([this](DomainId domain) { return StateOf(domain); }),
      // Whatever a request brings about is sent before the service waits again.
      own_(std::make_unique<StoreConnection>(store_, DomainId{0}, [] {})),
      xenbus_([this]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
        if (own_ != nullptr) xenbus_.ExchangeWith(*own_);
      }) {
  const MutexLock lock(mutex_);
  store_.BootDomain0();
  xenbus_.Connect();
}

StoreService::~StoreService() {
  unlink(path_.c_str());
  // Connections end before the store.
  const MutexLock lock(mutex_);
  clients_.clear();
  own_.reset();
}

DomainState StoreService::StateOf(DomainId domain) {
  if (domain > 0xffff) return DomainState::kAbsent;  // as a client may say
  using State = hypervisor::Hypervisor::DomainState;
  switch (machine_.hypervisor().StateOf(static_cast<std::uint16_t>(domain))) {
    case State::kAbsent:
      return DomainState::kAbsent;
    case State::kAlive:
      return DomainState::kRunning;
    case State::kShutDown:
      return DomainState::kShutDown;
    case State::kDying:
      return DomainState::kDying;
  }
  return DomainState::kAbsent;
}

void StoreService::Serve() {
  const MutexLock lock(mutex_);
  epoll_event ready[64];
  const int count = epoll_wait(epoll_.get(), ready, std::size(ready), 0);
  for (int i = 0; i < count; ++i) {
    if (ready[i].data.ptr == nullptr) {
      Accept();
    } else if (ready[i].data.ptr == &store_) {
      store_.CheckDomains();
    } else if (ready[i].data.ptr != daemon_.get()) {
      auto& client = *static_cast<Client*>(ready[i].data.ptr);
      if ((ready[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) Read(client);
    }
  }
  if (daemon_->Look(xenbus_)) MeetDaemon();
  if (own_ != nullptr) xenbus_.ExchangeWith(*own_);
  daemon_->Carry(xenbus_);
  // What is sent, and who ends, makes requests. Others are not waited for long by anybody.
  int rounds = 0;
  do {
    SettleAll();
  } while (daemon_->Carry(xenbus_) && ++rounds < kRounds);
  if (rounds == kRounds) daemon_->LookAgain();
}

void StoreService::MeetDaemon() {
  if (own_ != nullptr) {
    xenbus_.Disconnect();
    own_.reset();
    epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, devices_.domains_fd(), nullptr);
    listening_.reset();
    for (Client& client : clients_) client.has_ended = client.has_ended || !client.is_device;
  }
  xenbus_.Connect();
  // What the kernel can be told to do by control/shutdown.
  for (const char* const feature : {"poweroff", "reboot", "suspend"}) {
    xenbus_.Ask(XS_WRITE, 0, Sentence("control/feature-%s%c1", feature, '\0'));
  }
}

void StoreService::Accept() {
  FileDescriptor socket(accept4(listening_->get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket.is_open()) return;
  ucred peer = {.pid = 0, .uid = ~uid_t{0}, .gid = ~gid_t{0}};
  socklen_t length = sizeof(peer);
  getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &length);
  if (peer.uid != geteuid() && peer.uid != 0) return;
  Add(std::move(socket), std::make_unique<StoreConnection>(store_, DomainId{0}, [] {}), false)
      .IgnoreError();
}

absl::Status StoreService::OpenXenbus(std::uint16_t domain, FileDescriptor socket) {
  const MutexLock lock(mutex_);
  if (domain == 0) return Add(std::move(socket), std::make_unique<XenbusFile>(xenbus_), true);
  if (own_ == nullptr) {
    return absl::UnavailableError("xenstored serves the store, for domain 0's processes alone");
  }
  store_.Admit(domain);
  return Add(std::move(socket), std::make_unique<StoreConnection>(store_, DomainId{domain}, [] {}),
             false);
}

absl::Status StoreService::Add(FileDescriptor socket, std::unique_ptr<ClientStream> connection,
                               bool is_device) {
  if (clients_.size() >= kMostClients) {
    return absl::ResourceExhaustedError("the store has as many clients as it serves");
  }
  clients_.emplace_back(std::move(socket), std::move(connection), is_device);
  Client& client = clients_.back();
  client.watched = EPOLLIN;
  epoll_event watched = {.events = EPOLLIN, .data = {.ptr = &client}};
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, client.socket.get(), &watched) != 0) {
    clients_.pop_back();
    return absl::ErrnoToStatus(errno, "the store's client");
  }
  return absl::OkStatus();
}

void StoreService::Read(Client& client) {
  std::byte bytes[kPiece];
  const ssize_t length = read(client.socket.get(), bytes, sizeof(bytes));
  if (length == 0 || (length < 0 && errno != EAGAIN && errno != EINTR)) client.has_ended = true;
  if (length <= 0) return;
  const std::span<const std::byte> taken = std::span(bytes).first(static_cast<std::size_t>(length));
  client.connection->Receive(taken);
}

void StoreService::Settle(Client& client) {
  ClientStream& connection = *client.connection;
  while (!connection.output().empty()) {
    const std::string_view output = connection.output();
    const ssize_t sent =
        send(client.socket.get(), output.data(), output.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent <= 0) {
      client.has_ended = client.has_ended || (errno != EAGAIN && errno != EINTR);
      break;
    }
    connection.Sent(static_cast<std::size_t>(sent));
  }
  if (connection.wants_to_end()) client.has_ended = true;
  const std::uint32_t wanted =
      (connection.wants_input() ? EPOLLIN : 0u) | (connection.output().empty() ? 0u : EPOLLOUT);
  if (wanted == client.watched || client.has_ended) return;
  client.watched = wanted;
  epoll_event watched = {.events = wanted, .data = {.ptr = &client}};
  epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, client.socket.get(), &watched);
}

void StoreService::SettleAll() {
  // What one client's end brings about, another one is told.
  std::size_t before;
  do {
    before = clients_.size();
    for (Client& client : clients_) Settle(client);
    for (Client& client : clients_) {
      if (client.has_ended) epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, client.socket.get(), nullptr);
    }
    std::erase_if(clients_, [](const Client& client) { return client.has_ended; });
  } while (clients_.size() != before);
}

}  // namespace xencomm::machine
