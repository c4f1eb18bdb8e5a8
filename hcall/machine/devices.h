// The machine's side of Linux's devices: the kernels that clients' files are open in.
#ifndef HCALL_MACHINE_DEVICES_H_
#define HCALL_MACHINE_DEVICES_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "hcall/machine/device_files.h"
#include "hcall/machine/domain_devices.h"
#include "hcall/transport/embedded/embedded_machine.h"
#include "hcall/transport/file_descriptor.h"
#include "xencomm/mutex.h"

namespace xencomm::machine {

// Who serves /dev/xen/xenbus.
class XenbusHandler {
 public:
  // The machine's end of a file that a client of a domain has opened. By any thread.
  virtual absl::Status OpenXenbus(std::uint16_t domain, FileDescriptor socket) = 0;

 protected:
  ~XenbusHandler() = default;
};

class Devices {
 public:
  // `machine` is borrowed, and calls of it end before this does. The files of another domain than 0
  // are at `files_folder`, "-" and its id.
  static absl::StatusOr<std::unique_ptr<Devices>> Create(embedded::EmbeddedMachine& machine,
                                                         std::string files_folder);

  Devices(const Devices&) = delete;
  Devices& operator=(const Devices&) = delete;
  ~Devices();

  // Can be read when there is something for Serve to do. By one thread.
  int fd() const { return epoll_.get(); }
  void Serve() ABSL_LOCKS_EXCLUDED(mutex_);
  // Of gntdev and gntalloc: what Serve does of files that nobody has open any more. By any thread.
  void EndClosedFiles() ABSL_LOCKS_EXCLUDED(ending_);
  // Takes back what gntalloc's files gave up while others had it mapped. To be called when a
  // mapping has ended, and now and then: nothing tells of those that a hypercall ends.
  void Collect() ABSL_LOCKS_EXCLUDED(mutex_);

  // An eventfd that is written to whenever a domain may have shut down or ended. Whoever waits for
  // that does so by the edge, and nobody reads it.
  int domains_fd() const { return domains_.get(); }
  // Whether a domain has been destroyed. Its processes are ended by Serve.
  bool HasEnded(std::uint16_t domain) const;

  // Those of domain 0, and of another domain, which has processes here from now on.
  const std::shared_ptr<DomainDevices>& domain0() const { return domain0_; }
  absl::StatusOr<std::shared_ptr<DomainDevices>> Join(std::shared_ptr<embedded::GuestDomain> domain)
      ABSL_LOCKS_EXCLUDED(mutex_);

  struct Opened {
    std::uint64_t id;
    FileDescriptor clients;
  };
  // `access_mode` as DeviceFiles::Open.
  absl::StatusOr<Opened> Open(const std::shared_ptr<DomainDevices>& domain, xencomm_device device,
                              int access_mode);
  // Borrowed, until the devices end. Without one, that device cannot be opened.
  void SetXenbusHandler(XenbusHandler* handler) { xenbus_ = handler; }
  // As EventFiles::SetKernelPort, of domain 0.
  void SetKernelPort(std::uint32_t port, KernelPort* handler) {
    domain0_->events().SetKernelPort(port, handler);
  }
  DeviceFiles& files() { return *files_; }

  // An ioctl of a file of /dev/xen/evtchn: EventFiles::Ioctl. -ENOTTY for another device's.
  std::int64_t Event(std::uint64_t id, std::uint32_t number, std::span<const std::byte> argument);

 private:
  Devices(embedded::EmbeddedMachine& machine, FileDescriptor epoll, FileDescriptor domains,
          std::unique_ptr<DeviceFiles> files, std::shared_ptr<DomainDevices> domain0,
          std::string files_folder)
      : machine_(machine),
        epoll_(std::move(epoll)),
        domains_(std::move(domains)),
        files_(std::move(files)),
        domain0_(std::move(domain0)),
        files_folder_(std::move(files_folder)) {
    machine_.TellOfDomains(domains_.get());
  }

  // Another domain's, until nobody has them: who joins it next has others.
  struct Joined {
    std::unique_ptr<DomainDevices> devices;
    unsigned users = 0;
  };
  std::shared_ptr<DomainDevices> UseOf(std::uint16_t id, Joined& joined)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Leave(std::uint16_t id) ABSL_LOCKS_EXCLUDED(mutex_);
  std::vector<std::shared_ptr<DomainDevices>> All() ABSL_LOCKS_EXCLUDED(mutex_);

  embedded::EmbeddedMachine& machine_;
  const FileDescriptor epoll_;  // of all those below
  const FileDescriptor domains_;
  Mutex mutex_;
  absl::flat_hash_map<std::uint16_t, Joined> joined_ ABSL_GUARDED_BY(mutex_);
  const std::unique_ptr<DeviceFiles> files_;
  const std::shared_ptr<DomainDevices> domain0_;
  const std::string files_folder_;
  Mutex ending_;  // a file's end is over for whoever has it
  XenbusHandler* xenbus_ = nullptr;
};

}  // namespace xencomm::machine

#endif  // HCALL_MACHINE_DEVICES_H_
