// A xenstored that a user has started, as domain 0's kernel finds it: it has mapped the kernel's
// page (store_ring.h), bound the other end of the kernel's port, and sent an event by it. From then
// on the kernel's side of the store, Xenbus, speaks to it.
//
// It is gone when it lets go of the port, by its end too. Then the page begins anew, for another
// one. Who makes no sense is not spoken to before he has let go of the port.
#ifndef HCALL_MACHINE_STORE_DAEMON_H_
#define HCALL_MACHINE_STORE_DAEMON_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/statusor.h"
#include "hcall/machine/devices.h"
#include "hcall/machine/store/xenbus.h"
#include "hcall/machine/store_ring.h"
#include "hcall/transport/embedded/guest_kernel.h"
#include "hcall/transport/file_descriptor.h"

namespace xencomm::machine {

class StoreDaemon final : private KernelPort {
 public:
  // Both are borrowed.
  static absl::StatusOr<std::unique_ptr<StoreDaemon>> Create(embedded::GuestKernel& kernel,
                                                             Devices& devices);

  StoreDaemon(const StoreDaemon&) = delete;
  StoreDaemon& operator=(const StoreDaemon&) = delete;
  ~StoreDaemon();

  // What a daemon is told: the kernel's port, and a file of the page.
  std::uint32_t port() const { return port_; }
  int page() const { return ring_->fd(); }

  // Can be read when there is something to look for. All below by one thread.
  int fd() const { return rung_.get(); }
  // Disconnects `xenbus` from a daemon that is gone, and answers whether another one has come.
  bool Look(Xenbus& xenbus);
  // There is more to do, although nobody says so.
  void LookAgain() { HadEvent(); }
  // Carries what there is, and some of what comes meanwhile; whether there was something.
  bool Carry(Xenbus& xenbus);

 private:
  StoreDaemon(embedded::GuestKernel& kernel, Devices& devices, std::unique_ptr<StoreRing> ring,
              FileDescriptor rung, std::uint32_t port)
      : kernel_(kernel),
        devices_(devices),
        ring_(std::move(ring)),
        rung_(std::move(rung)),
        port_(port) {}

  void HadEvent() override;
  void WasLetGo() override;

  bool IsBound();
  void Lose(Xenbus& xenbus);

  embedded::GuestKernel& kernel_;
  Devices& devices_;
  const std::unique_ptr<StoreRing> ring_;
  const FileDescriptor rung_;  // an eventfd
  const std::uint32_t port_;
  std::optional<std::uint64_t> served_;  // the page's life in which a daemon serves
  std::uint64_t senseless_ = 0;          // the one in which a daemon is not spoken to any more
};

}  // namespace xencomm::machine

#endif  // HCALL_MACHINE_STORE_DAEMON_H_
