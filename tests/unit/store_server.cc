// A store at a Unix socket, for programs that know no other.
//
//   store_server SOCKET
//
// At SOCKET.domains a client commands what the hypervisor would do, a line each, answered by a line
// with the domain's number: "make N" (0: any), "introduce N", "shut N", "end N". After "be N", what
// comes is of that domain's own connection. Ends when its standard input does.

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <list>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "hcall/machine/store/store.h"
#include "hcall/machine/store/store_connection.h"

namespace xencomm::machine {
namespace {

int Listen(const std::string& path) {
  sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = {}};
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  unlink(address.sun_path);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      listen(fd, 64) != 0) {
    std::perror(address.sun_path);
    std::exit(1);
  }
  return fd;
}

struct Client {
  int fd;
  std::unique_ptr<StoreConnection> connection;  // none yet: it commands
  std::string commands;
};

class Server {
 public:
  explicit Server(const std::string& path)
      : listener_(Listen(path)), commands_(Listen(path + ".domains")), store_([this](DomainId id) {
          const auto found = domains_.find(id);
          return found == domains_.end() ? DomainState::kAbsent : found->second;
        }) {
    store_.BootDomain0();
  }

  void Run() {
    for (;;) {
      std::vector<pollfd> fds = {
          {STDIN_FILENO, POLLIN, 0}, {listener_, POLLIN, 0}, {commands_, POLLIN, 0}};
      for (const Client& client : clients_) {
        const StoreConnection* const c = client.connection.get();
        fds.push_back({client.fd,
                       static_cast<short>((c == nullptr || c->wants_input() ? POLLIN : 0) |
                                          (c != nullptr && !c->output().empty() ? POLLOUT : 0)),
                       0});
      }
      if (poll(fds.data(), fds.size(), -1) < 0) return;
      if (fds[0].revents != 0) return;
      auto ready = fds.begin() + 3;
      for (Client& client : clients_) Serve(client, (ready++)->revents);
      std::erase_if(clients_, [](const Client& client) { return client.fd < 0; });
      if (fds[1].revents != 0) Accept(listener_);
      if (fds[2].revents != 0) Accept(commands_);
    }
  }

 private:
  void Accept(int listener) {
    const int fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    clients_.push_back({fd, nullptr, ""});
    if (listener == listener_) Connect(clients_.back(), 0);
  }

  void Connect(Client& client, DomainId domain) {
    client.connection = std::make_unique<StoreConnection>(store_, domain, [] {});
  }

  void Serve(Client& client, int events) {
    char bytes[1 << 16];
    if ((events & (POLLIN | POLLHUP | POLLERR)) != 0) {
      const ssize_t count = read(client.fd, bytes, sizeof(bytes));
      if (count == 0 || (count < 0 && errno != EAGAIN)) return Close(client);
      if (count > 0) Take(client, {bytes, static_cast<std::size_t>(count)});
    }
    StoreConnection* const c = client.connection.get();
    if (c == nullptr) return;
    if (!c->output().empty()) {
      const ssize_t count = send(client.fd, c->output().data(), c->output().size(), MSG_NOSIGNAL);
      if (count > 0) c->Sent(static_cast<std::size_t>(count));
    }
    if (c->wants_to_end()) Close(client);
  }

  void Take(Client& client, std::string_view bytes) {
    if (client.connection != nullptr) {
      client.connection->Receive(std::as_bytes(std::span(bytes)));
      return;
    }
    client.commands += bytes;
    for (std::size_t end;
         client.connection == nullptr && (end = client.commands.find('\n')) != std::string::npos;) {
      const std::string answer = Command(client, client.commands.substr(0, end)) + "\n";
      client.commands.erase(0, end + 1);
      (void)send(client.fd, answer.data(), answer.size(), MSG_NOSIGNAL);
    }
  }

  std::string Command(Client& client, const std::string& line) {
    auto id = static_cast<DomainId>(std::atoi(line.substr(line.find(' ') + 1).c_str()));
    if (line.starts_with("make")) {
      if (id == 0) id = ++last_domain_;
      domains_[id] = DomainState::kRunning;
    } else if (line.starts_with("introduce")) {
      (void)store_.Introduce(id, 0, 1);
    } else if (line.starts_with("shut")) {
      domains_[id] = DomainState::kShutDown;
      store_.CheckDomains();
    } else if (line.starts_with("end")) {
      domains_.erase(id);
      store_.CheckDomains();
    } else if (line.starts_with("be")) {
      Connect(client, id);
    } else {
      return "what?";
    }
    return std::to_string(id);
  }

  void Close(Client& client) {
    client.connection.reset();
    close(client.fd);
    client.fd = -1;
  }

  const int listener_;
  const int commands_;
  DomainId last_domain_ = 0;
  std::map<DomainId, DomainState> domains_;
  Store store_;
  std::list<Client> clients_;  // its connections end before the store
};

}  // namespace
}  // namespace xencomm::machine

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: store_server SOCKET\n", stderr);
    return 1;
  }
  xencomm::machine::Server server(argv[1]);
  std::puts("ready");
  std::fflush(stdout);
  server.Run();
}
