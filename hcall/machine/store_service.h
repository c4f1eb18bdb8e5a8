// The store, for whoever reaches it: at the socket where xenstored would listen, and as
// /dev/xen/xenbus. It is the machine's own until somebody starts a xenstored, which takes its place
// for good (store_daemon.h): the socket is that one's then, those who are connected to this one are
// disconnected, and /dev/xen/xenbus leads to the daemon, also for those who have it open.
#ifndef HCALL_MACHINE_STORE_SERVICE_H_
#define HCALL_MACHINE_STORE_SERVICE_H_

#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hcall/machine/devices.h"
#include "hcall/machine/store/client_stream.h"
#include "hcall/machine/store/store.h"
#include "hcall/machine/store/store_connection.h"
#include "hcall/machine/store/xenbus.h"
#include "hcall/machine/store/xenbus_file.h"
#include "hcall/machine/store_daemon.h"
#include "hcall/transport/embedded/embedded_machine.h"
#include "hcall/transport/file_descriptor.h"
#include "xencomm/mutex.h"

namespace xencomm::machine {

class StoreService final : public XenbusHandler {
 public:
  // Of all programs together.
  static constexpr std::size_t kMostClients = 1024;

  // With what domain 0 has when it is up. `socket` is a path; all else is borrowed, and the devices
  // outlive it.
  static absl::StatusOr<std::unique_ptr<StoreService>> Create(embedded::EmbeddedMachine& machine,
                                                              Devices& devices,
                                                              const std::string& socket);

  StoreService(const StoreService&) = delete;
  StoreService& operator=(const StoreService&) = delete;
  ~StoreService();

  // Can be read when there is something for Serve to do. By one thread.
  int fd() const { return epoll_.get(); }
  void Serve() ABSL_LOCKS_EXCLUDED(mutex_);

  // What a xenstored is told of the kernel's side: its port, and a file of its page.
  std::uint32_t port() const { return daemon_->port(); }
  int page() const { return daemon_->page(); }

  // Of another domain than 0: its own connection to the machine's store. kUnavailable: a daemon has
  // taken that one's place, and knows of no such process.
  absl::Status OpenXenbus(std::uint16_t domain, FileDescriptor socket) override
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Client {
    Client(FileDescriptor end, std::unique_ptr<ClientStream> at_store, bool of_device)
        : socket(std::move(end)), connection(std::move(at_store)), is_device(of_device) {}

    const FileDescriptor socket;
    const std::unique_ptr<ClientStream> connection;
    const bool is_device;
    std::uint32_t watched = 0;
    bool has_ended = false;
  };

  StoreService(embedded::EmbeddedMachine& machine, Devices& devices, FileDescriptor epoll,
               FileDescriptor listening, std::string path, std::unique_ptr<StoreDaemon> daemon);

  DomainState StateOf(DomainId domain);
  // A daemon has come: if there is a store of this process's own, it ends.
  void MeetDaemon() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Accept() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Add(FileDescriptor socket, std::unique_ptr<ClientStream> connection, bool is_device)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Read(Client& client) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Sends what there is, and says what is waited for from now on.
  void Settle(Client& client) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SettleAll() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  embedded::EmbeddedMachine& machine_;
  Devices& devices_;
  const FileDescriptor epoll_;
  std::optional<FileDescriptor> listening_;  // until a daemon comes
  const std::string path_;
  const std::unique_ptr<StoreDaemon> daemon_;

  Mutex mutex_;
  Store store_ ABSL_GUARDED_BY(mutex_);
  // The kernel's, while no daemon has come.
  std::unique_ptr<StoreConnection> own_ ABSL_GUARDED_BY(mutex_);
  Xenbus xenbus_ ABSL_GUARDED_BY(mutex_);
  std::list<Client> clients_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace xencomm::machine

#endif  // HCALL_MACHINE_STORE_SERVICE_H_
