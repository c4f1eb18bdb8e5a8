// The machine's process: a hypervisor behind a Unix socket, for as many clients as come.
#ifndef HCALL_MACHINE_SERVER_H_
#define HCALL_MACHINE_SERVER_H_

#include <list>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hcall/machine/client_session.h"
#include "hcall/machine/host_files.h"
#include "hcall/machine/store_service.h"
#include "hcall/transport/embedded/embedded_machine.h"
#include "hcall/transport/file_descriptor.h"
#include "hcall/transport/setting.h"
#include "xencomm/mutex.h"

namespace xencomm::machine {

class Server {
 public:
  static constexpr std::size_t kMostClients = 256;

  // Where the host's files of a machine are that listens at `path`.
  static std::string FilesOf(const std::string& path) { return path + ".files"; }
  static std::string FilesOf(const std::string& path, std::uint64_t domain) {
    return domain == 0 ? FilesOf(path) : FilesOf(path) + "-" + std::to_string(domain);
  }

  // A machine that is on, and a socket at `path`: who connects is served from Run on. A socket that
  // a machine left behind is replaced. kAlreadyExists: a machine answers there.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const MachineSetting& setting,
                                                       const std::string& path);

  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  // Nothing is left of the socket, either.
  ~Server();

  // Serves until there is something to be read at `stop`.
  absl::Status Run(int stop);

  embedded::EmbeddedMachine& machine() { return *machine_; }

 private:
  struct Client {
    Client(embedded::EmbeddedMachine& machine, Devices& devices, FileDescriptor socket)
        : session(machine, devices, std::move(socket)) {}
    ClientSession session;
    std::atomic<bool> has_ended = false;
    std::thread thread;
  };

  Server(std::string path, FileDescriptor socket,
         std::shared_ptr<embedded::EmbeddedMachine> machine, std::unique_ptr<Devices> devices,
         std::unique_ptr<HostFiles> files, std::unique_ptr<StoreService> store)
      : path_(std::move(path)),
        socket_(std::move(socket)),
        machine_(std::move(machine)),
        devices_(std::move(devices)),
        files_(std::move(files)),
        store_(std::move(store)) {}

  void Admit(FileDescriptor socket);
  void DropEnded();

  const std::string path_;
  const FileDescriptor socket_;
  const std::shared_ptr<embedded::EmbeddedMachine> machine_;
  const std::unique_ptr<Devices> devices_;
  const std::unique_ptr<HostFiles> files_;
  const std::unique_ptr<StoreService> store_;
  std::list<Client> clients_;  // of Run's thread
};

}  // namespace xencomm::machine

#endif  // HCALL_MACHINE_SERVER_H_
