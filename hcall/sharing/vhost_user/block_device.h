// A virtio block device over a file.
//
// A request is a header, data and a status byte, in whatever buffers the driver likes. Data goes
// between the file and the guest's memory without a copy of ours. What a request asks of memory
// that is not there, or behind the file's end, is answered by an I/O error in its status byte.
#ifndef HCALL_SHARING_VHOST_USER_BLOCK_DEVICE_H_
#define HCALL_SHARING_VHOST_USER_BLOCK_DEVICE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "hcall/sharing/vhost_user/device.h"
#include "hcall/transport/file_descriptor.h"

namespace xencomm::vhost_user {

class BlockDevice final : public Device {
 public:
  static constexpr std::uint64_t kSector = 512;
  static constexpr std::uint16_t kQueues = 16;

  // The most that is read or written by one system call, and pages mapped at a time.
  static constexpr std::uint64_t kWindow = std::uint64_t{1} << 20;
  // The most that one request transfers, so that the others have their turn.
  static constexpr std::uint64_t kMostBytes = std::uint64_t{64} << 20;

  // `path` is a file or a block device. Its capacity is whole sectors: what follows the last of
  // them is never touched.
  static absl::StatusOr<std::unique_ptr<BlockDevice>> Open(const std::string& path,
                                                           bool is_read_only);

  std::uint64_t capacity() const { return capacity_; }  // sectors

  std::uint64_t features() const override;
  std::uint16_t queues() const override { return kQueues; }
  std::vector<std::byte> config() const override;
  void Accept(std::uint64_t features) override;
  std::optional<std::uint32_t> Serve(std::uint16_t queue, const Chain& chain,
                                     const GuestMemory& memory) override;

 private:
  // What stands in a request's status byte.
  enum class Answer : std::uint8_t { kOk = 0, kIoError = 1, kUnsupported = 2 };
  enum class Direction : std::uint8_t { kIn, kOut };

  struct Request {
    std::uint32_t type = 0;
    std::uint64_t sector = 0;
  };

  BlockDevice(FileDescriptor file, std::string name, bool is_read_only, bool is_file,
              std::uint64_t capacity)
      : file_(std::move(file)),
        name_(std::move(name)),
        is_read_only_(is_read_only),
        is_file_(is_file),
        capacity_(capacity) {}

  // `data` is how many of the chain's writable bytes are before the status byte.
  Answer Perform(const Request& request, const Chain& chain, std::uint64_t data,
                 const GuestMemory& memory) const;
  // Bytes of `buffers` from `offset` on, and as many of the file from `sector` on.
  Answer Transfer(Direction direction, std::uint64_t sector, const Buffers& buffers,
                  std::uint64_t offset, std::uint64_t length, const GuestMemory& memory) const;
  // All of them; `place` is in bytes.
  bool TransferWindow(Direction direction, std::uint64_t place, const Buffers& buffers,
                      std::uint64_t offset, std::uint64_t length, const GuestMemory& memory) const;
  Answer Flush() const;
  // For DISCARD and WRITE_ZEROES.
  Answer Erase(const Request& request, const Chain& chain, const GuestMemory& memory) const;
  Answer Identify(const Chain& chain, std::uint64_t data, const GuestMemory& memory) const;

  // Whether these are sectors that it has.
  bool Has(std::uint64_t sector, std::uint64_t bytes) const {
    return bytes % kSector == 0 && Contains(0, capacity_, sector, bytes / kSector);
  }

  const FileDescriptor file_;
  const std::string name_;
  const bool is_read_only_;
  const bool is_file_;  // whose parts can be given back
  const std::uint64_t capacity_;
  // A driver that knows no flush counts on what is written to be there.
  bool is_write_through_ = true;
};

}  // namespace xencomm::vhost_user

#endif  // HCALL_SHARING_VHOST_USER_BLOCK_DEVICE_H_
