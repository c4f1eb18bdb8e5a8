// The event channel device: all open files of it, and the ports that each has bound.
//
// A file is a connected stream socket, of which the client has one end and this the other. Ports
// that have an event are sent, 32 bits each, in the order of their events; what the client writes
// are ports that it wants to hear of again. In between a port is disabled: masked at the
// hypervisor, which keeps what comes. When the client's end has no reference left, in whatever
// process, the file is closed and so are its ports.
//
// Rules:
// 1. What a socket takes no more waits here, at most once for each port: a port that was enabled
//    again before it could be sent is not added. So nothing overflows, and no read answers EFBIG
//    as Linux's does for a client that enables what it never reads.
// 2. A write that is no whole number of ports is cut to one, as Linux cuts it, if nothing was
//    written behind it yet.
// 3. What was written to files before an ioctl counts before it; what came of the ioctl has been
//    sent when it is answered.
// 4. Nothing here waits for a client.
#ifndef HCALL_MACHINE_EVENT_DEVICE_H_
#define HCALL_MACHINE_EVENT_DEVICE_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hcall/machine/kernel_events.h"
#include "hcall/machine/port_queue.h"
#include "hcall/transport/embedded/guest_kernel.h"
#include "hcall/transport/file_descriptor.h"
#include "xencomm/mutex.h"

namespace xencomm::machine {

// Who has a port of domain 0's kernel's own. Both by any thread, with the device's lock held: they
// call nothing of it, nor of the hypervisor.
class KernelPort {
 public:
  virtual void HadEvent() = 0;
  // A file that had bound the other end has closed it; none has bound it again.
  virtual void WasLetGo() = 0;

 protected:
  ~KernelPort() = default;
};

class EventFiles final : private embedded::UpcallHandler {
 public:
  // Of the domain whose kernel this is; it is borrowed, and calls of it end before this does.
  static absl::StatusOr<std::unique_ptr<EventFiles>> Create(embedded::GuestKernel& kernel);

  EventFiles(const EventFiles&) = delete;
  EventFiles& operator=(const EventFiles&) = delete;
  ~EventFiles();

  // Can be read when there is something for Serve to do.
  int fd() const { return epoll_.get(); }
  // Takes what clients wrote and sends them their events, as far as there is something. By one
  // thread at a time.
  void Serve() ABSL_LOCKS_EXCLUDED(mutex_);

  // A client has opened the device. `id` names the file from now on, and no other that is open;
  // `socket` is this end of it.
  absl::Status Open(std::uint64_t id, FileDescriptor socket) ABSL_LOCKS_EXCLUDED(mutex_);

  // A port that the kernel has just bound: `handler` is borrowed, and hears of it until another one
  // is set; null: nobody does.
  void SetKernelPort(std::uint32_t port, KernelPort* handler) ABSL_LOCKS_EXCLUDED(mutex_);

  // A port that some file has bound is not closed until it is let go as often as it was kept, also
  // when the file is. False: none has bound it.
  bool Keep(std::uint32_t port) ABSL_LOCKS_EXCLUDED(mutex_);
  void LetGo(std::uint32_t port) ABSL_LOCKS_EXCLUDED(mutex_);
  // An event for whoever is at its other end.
  void Send(std::uint32_t port);

  // An ioctl of a file: what it returns, or a negative errno. `argument` is what the client's
  // pointer led to, as many bytes as the number says, and empty when it led nowhere. By any thread.
  // -EBADF: the file is closed.
  std::int64_t Ioctl(std::uint64_t id, std::uint32_t number, std::span<const std::byte> argument)
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  static constexpr std::uint32_t kAnyDomain = ~std::uint32_t{0};

  struct File {
    File(std::uint64_t named, FileDescriptor end) : id(named), socket(std::move(end)) {}

    const std::uint64_t id;
    const FileDescriptor socket;
    std::uint32_t only = kAnyDomain;  // whose ports it may bind
    PortQueue waiting;
    bool is_full = false;  // the socket; its room is waited for
  };

  EventFiles(embedded::GuestKernel& kernel, shared_info& info, FileDescriptor epoll,
             FileDescriptor wake)
      : kernel_(kernel), epoll_(std::move(epoll)), wake_(std::move(wake)), events_(info) {}

  void Upcall() override;

  std::int64_t Answer(File& file, std::uint32_t number, std::span<const std::byte> argument)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::int64_t BindVirq(File& file, std::span<const std::byte> argument)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::int64_t BindInterdomain(File& file, std::span<const std::byte> argument)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::int64_t BindUnbound(File& file, std::span<const std::byte> argument)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::int64_t Restrict(File& file, std::span<const std::byte> argument)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // A port that the hypervisor has just bound, as it answered; it is the file's from now on.
  std::int64_t Bound(File& file, std::int64_t answer, std::uint32_t port)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool Has(const File& file, std::uint32_t port) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return port < KernelEvents::kPorts && owners_[port] == &file;
  }
  void Unmask(std::uint32_t port) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Unbind(std::uint32_t port) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ClosePort(std::uint32_t port) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether it is the other end of the kernel's port.
  bool LeadsToKernel(std::uint32_t port) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Takes what was written to any file; sends, or not, what waits for room that there is now.
  void TakeReady(bool sends) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Enables what was written to the file; false when its client's end is gone.
  bool TakeWritten(File& file) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Hands out all events that there are.
  void Deliver() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Send(File& file) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Close(File& file) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  embedded::GuestKernel& kernel_;
  const FileDescriptor epoll_;  // of all sockets, and:
  const FileDescriptor wake_;   // written when there is news that nobody is about to look for
  // Whoever holds the lock says first that it will look; each upcall says that there is news.
  enum class News : std::uint8_t { kNone, kLooking, kSome };
  std::atomic<News> news_ = News::kNone;

  Mutex mutex_;
  KernelEvents events_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<std::uint64_t, std::unique_ptr<File>> files_ ABSL_GUARDED_BY(mutex_);
  std::array<File*, KernelEvents::kPorts> owners_ ABSL_GUARDED_BY(mutex_) = {};
  std::array<std::uint32_t, KernelEvents::kPorts> kept_ ABSL_GUARDED_BY(mutex_) = {};
  std::uint32_t kernel_port_ ABSL_GUARDED_BY(mutex_) = 0;
  KernelPort* kernel_port_handler_ ABSL_GUARDED_BY(mutex_) = nullptr;
  std::vector<File*> told_ ABSL_GUARDED_BY(mutex_);  // of Deliver alone; there is room for all
};

}  // namespace xencomm::machine

#endif  // HCALL_MACHINE_EVENT_DEVICE_H_
