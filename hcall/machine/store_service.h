// The machine's store, for whoever reaches it: at the socket where xenstored would listen, and as
// /dev/xen/xenbus.
#ifndef HCALL_MACHINE_STORE_SERVICE_H_
#define HCALL_MACHINE_STORE_SERVICE_H_

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hcall/machine/devices.h"
#include "hcall/machine/store/store.h"
#include "hcall/machine/store/store_connection.h"
#include "hcall/machine/store/xenbus_file.h"
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

  absl::Status OpenXenbus(FileDescriptor socket) override ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Client {
    Client(FileDescriptor end, std::unique_ptr<StoreConnection> at_store)
        : socket(std::move(end)), connection(std::move(at_store)) {}

    const FileDescriptor socket;
    const std::unique_ptr<StoreConnection> connection;
    std::uint32_t watched = 0;
    bool has_ended = false;
  };

  StoreService(embedded::EmbeddedMachine& machine, FileDescriptor epoll, FileDescriptor events,
               FileDescriptor listening, std::string path);

  DomainState StateOf(DomainId domain);
  void TakeEvents() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Accept() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Add(FileDescriptor socket, bool is_device) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Read(Client& client) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Sends what there is, and says what is waited for from now on.
  void Settle(Client& client) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SettleAll() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  embedded::EmbeddedMachine& machine_;
  const FileDescriptor epoll_;
  const FileDescriptor events_;  // of ends of domains
  const FileDescriptor listening_;
  const std::string path_;

  Mutex mutex_;
  Store store_ ABSL_GUARDED_BY(mutex_);
  std::list<Client> clients_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace xencomm::machine

#endif  // HCALL_MACHINE_STORE_SERVICE_H_
