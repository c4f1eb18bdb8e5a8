// A back-end's conversation with one front-end: what it is told over the socket, and the rings that
// it serves meanwhile.
//
// Everything is done by the thread that calls Turn: a message, then what the rings have. So no ring
// is served while the regions change, and a region that goes is unmapped when the message has been
// handled. Neither side can keep the other waiting: in one turn a ring is served at most as many
// chains as it has entries, and not for long.
//
// What goes wrong stays where it does: an operation that fails changes nothing and is answered with
// an errno, when the front-end wants answers, or else ends the connection, which also tells it; a
// ring whose guest breaks the rules is served no more, and its error eventfd is signalled.
#ifndef HCALL_SHARING_VHOST_USER_SESSION_H_
#define HCALL_SHARING_VHOST_USER_SESSION_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hcall/sharing/vhost_user/device.h"
#include "hcall/sharing/vhost_user/event_file.h"
#include "hcall/sharing/vhost_user/guest_memory.h"
#include "hcall/sharing/vhost_user/message_socket.h"
#include "hcall/sharing/vhost_user/virtqueue.h"
#include "hcall/sharing/vhost_user/wire.h"

namespace xencomm::vhost_user {

class Session {
 public:
  // Is told what went wrong, in a sentence.
  using Teller = std::function<void(const std::string& sentence)>;

  // `socket` is a connected stream socket. `device` and `mapper` are borrowed; without a mapper,
  // the Xen form of regions is not offered.
  Session(FileDescriptor socket, Device& device, PageMapper* mapper, Teller teller);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  // Nothing is mapped any longer.
  ~Session();

  // Waits until there is something to do, for at most `timeout` milliseconds (-1: for ever), and
  // does it. kAborted: there is something to be read at `stop` (-1: nothing stops it). kCancelled:
  // the front-end has gone. Other errors: what it said or did ends the connection. After any the
  // session is to be dropped.
  absl::Status Turn(int stop, int timeout);

 private:
  struct Ring {
    std::uint32_t size = 0;
    std::uint16_t next = 0;  // where it begins, or was stopped
    std::optional<VringAddress> address;
    std::unique_ptr<Virtqueue> queue;
    std::optional<EventFile> kick, call, error;
    bool is_started = false, is_enabled = false;
    bool is_broken = false;  // until it is stopped
    bool has_work = false;   // was kicked, and not served to its end since
  };

  // Answers a request's reply, or nothing when it has none.
  using Reply = absl::StatusOr<std::optional<std::vector<std::byte>>>;

  absl::Status WaitAndServe(int stop, int timeout);
  absl::Status HandleMessage();
  Reply Perform(Message& message);
  // Of requests that are about one ring.
  absl::Status PerformOnRing(Message& message);
  absl::StatusOr<std::vector<std::byte>> GetVringBase(const Message& message);
  std::vector<std::byte> GetConfig(const Message& message) const;
  absl::Status SetFeatures(std::uint64_t features);
  absl::Status ChangeRegions(Message& message);
  absl::Status SetAddress(const VringAddress& address);
  absl::Status SetFile(Message& message);

  absl::StatusOr<Ring*> Find(std::uint32_t index);
  absl::Status MapRing(Ring& ring);
  // After the regions changed.
  void MapRingsAnew();
  void Serve(std::uint16_t index, Ring& ring);
  // At most so many; whether there are more, of which no kick will tell.
  absl::StatusOr<bool> ServeChains(std::uint16_t index, Virtqueue& queue, std::uint32_t most);
  void Break(std::uint16_t index, Ring& ring, const absl::Status& why);
  void Stop(Ring& ring);
  bool MayServe(const Ring& ring) const {
    return ring.is_started && ring.is_enabled && !ring.is_broken && ring.has_work;
  }

  std::uint64_t OfferedFeatures() const;
  std::uint64_t OfferedProtocolFeatures() const;
  bool Has(std::uint64_t protocol_feature) const {
    return (protocol_features_ & protocol_feature) != 0;
  }
  MemoryRegion::Form form() const {
    return Has(kXenMmap) ? MemoryRegion::Form::kXen : MemoryRegion::Form::kPlain;
  }

  MessageSocket socket_;
  Device& device_;
  const bool has_mapper_;
  const Teller teller_;
  std::uint64_t features_ = 0;           // accepted
  std::uint64_t protocol_features_ = 0;  // accepted
  GuestMemory memory_;
  std::vector<Ring> rings_;
};

}  // namespace xencomm::vhost_user

#endif  // HCALL_SHARING_VHOST_USER_SESSION_H_
