// /dev/xen/privcmd and /dev/xen/hypercall, as a program on a machine has them.
//
// A hypercall's arguments may lie anywhere in the program's memory: by the op table they are copied
// into the region of this process's calls, and back. Frames of other domains are mapped out of the
// machine's memory into mappings that mmap of the device has made, which hold nothing before.
#ifndef HCALL_DEVICES_PRIVCMD_DEVICE_H_
#define HCALL_DEVICES_PRIVCMD_DEVICE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "hcall/devices/program.h"
#include "hcall/transport/embedded/foreign_mappings.h"
#include "hcall/transport/file_descriptor.h"
#include "hcall/transport/machine/connection.h"
#include "hcall/transport/privcmd_calls.h"
#include "xencomm/client.h"
#include "xencomm/mutex.h"

namespace xencomm::devices {

// All functions answer as the system call does in the kernel: a negative errno, or a result.
class PrivcmdDevice {
 public:
  // For `program`, whose `mappings` are; both are borrowed.
  static absl::StatusOr<std::unique_ptr<PrivcmdDevice>> Create(
      std::shared_ptr<machine::Connection> connection, embedded::ForeignMappings& mappings,
      Program& program);

  PrivcmdDevice(const PrivcmdDevice&) = delete;
  PrivcmdDevice& operator=(const PrivcmdDevice&) = delete;

  std::int64_t Ioctl(std::uint64_t file, unsigned long request, std::uint64_t argument);

  // A mapping that frames can be put into: an address or a negative errno.
  std::int64_t MapRoom(std::uint64_t address, std::size_t length, int protection, int flags)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Pages for hypercalls' buffers, which are like any others: what lies in them is copied as if it
  // lay elsewhere.
  std::int64_t MapBuffers(std::uint64_t address, std::size_t length, int protection, int flags)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // 0, or the errno with which Linux refuses that a device's mapping is changed so: frames go all
  // at once, and nothing grows.
  int MayChange(std::uint64_t start, std::size_t length, std::size_t new_length)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // One was unmapped, or something else is there now.
  void Unmapped(std::uint64_t start, std::size_t length) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  // What mmap made and how much of it is filled.
  struct Room {
    std::size_t pages = 0;
    int protection = 0;
    std::vector<bool> filled;  // empty before the first call that fills it
  };
  using Rooms = std::map<std::uint64_t, Room>;

  PrivcmdDevice(std::shared_ptr<machine::Connection> connection, std::shared_ptr<Client> client,
                embedded::ForeignMappings& mappings, Program& program, FileDescriptor empty)
      : connection_(std::move(connection)),
        client_(std::move(client)),
        mappings_(mappings),
        program_(program),
        empty_(std::move(empty)) {}

  // What calls go through: a file, which may be restricted, and the domain that they are about.
  struct Way {
    std::uint64_t file = 0;
    std::uint16_t domain = 0;
  };
  std::int64_t Hypercall(std::uint64_t file, std::uint64_t argument);
  // These answer machine::kRefusedByFile where nothing was looked at.
  std::int64_t Multicall(const Way& way, std::uint64_t list, std::uint64_t count);
  std::int64_t Bounce(const Way& way, std::uint64_t index,
                      std::span<const std::uint64_t, 5> arguments);
  // An answer without a call. A restricted file refuses before it looks: that is asked about only
  // here, since with a call the machine sees to it, in the same round trip.
  std::int64_t AnswerHere(const Way& way, std::int64_t answer);
  std::int64_t MapBatch(std::uint64_t file, std::uint64_t argument, bool is_first_version)
      ABSL_LOCKS_EXCLUDED(mutex_);
  std::int64_t MapResource(std::uint64_t file, std::uint64_t argument) ABSL_LOCKS_EXCLUDED(mutex_);
  std::int64_t DmOp(std::uint64_t file, std::uint64_t argument);
  // 0, or why a list of a device model's buffers is not taken.
  std::int64_t CheckBuffers(std::uint64_t list, std::uint64_t count);
  std::int64_t Restrict(std::uint64_t file, std::uint64_t argument);
  // 0, or why the file does not reach that domain.
  std::int64_t Reaches(std::uint64_t file, std::uint16_t domain);

  // Pages into a room that takes them, or -EINVAL: `put(place, errors)` maps them and says of each
  // whether it was.
  template <class Put>
  std::int64_t Fill(std::uint64_t address, std::uint64_t pages, const Put& put)
      ABSL_LOCKS_EXCLUDED(mutex_);

  const std::shared_ptr<machine::Connection> connection_;
  const std::shared_ptr<Client> client_;  // of the region of calls
  embedded::ForeignMappings& mappings_;
  Program& program_;
  const FileDescriptor empty_;  // a file without a byte: what is mapped of it raises SIGBUS
  Mutex mutex_;
  Rooms rooms_ ABSL_GUARDED_BY(mutex_);
  std::map<std::uint64_t, std::size_t> buffers_ ABSL_GUARDED_BY(mutex_);  // bytes
};

}  // namespace xencomm::devices

#endif  // HCALL_DEVICES_PRIVCMD_DEVICE_H_
