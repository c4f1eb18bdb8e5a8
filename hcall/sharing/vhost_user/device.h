// A virtio device, behind its virtqueues: what a back-end is the back-end of.
#ifndef HCALL_SHARING_VHOST_USER_DEVICE_H_
#define HCALL_SHARING_VHOST_USER_DEVICE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "hcall/sharing/vhost_user/chain.h"
#include "hcall/sharing/vhost_user/guest_memory.h"

namespace xencomm::vhost_user {

class Device {
 public:
  virtual ~Device() = default;

  // Feature bits of its kind; those of rings and of vhost-user are not its to know.
  virtual std::uint64_t features() const = 0;
  // How many it has; at most 256.
  virtual std::uint16_t queues() const = 0;
  // Its configuration space, as virtio has it.
  virtual std::vector<std::byte> config() const = 0;

  // Does what a chain of queue `queue` asks for: the bytes that were written into its writable
  // buffers, from their start on; nothing when there is no way to answer in it, which breaks the
  // ring. Between two of these no guest is served: neither takes long, whatever it asks.
  virtual std::optional<std::uint32_t> Serve(std::uint16_t queue, const Chain& chain,
                                             const GuestMemory& memory) = 0;

  // Those of features() that the driver knows; 0 until it has said so.
  virtual void Accept(std::uint64_t features) = 0;
};

}  // namespace xencomm::vhost_user

#endif  // HCALL_SHARING_VHOST_USER_DEVICE_H_
