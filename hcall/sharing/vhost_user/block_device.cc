#include "hcall/sharing/vhost_user/block_device.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/virtio_blk.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <span>

#include "absl/status/status.h"
#include "xencomm/byte_order.h"
#include "xencomm/copy.h"
#include "xencomm/sentence.h"

namespace xencomm::vhost_user {
namespace {

constexpr ByteOrder kOrder = ByteOrder::kLittle;

constexpr std::uint64_t Bit(unsigned feature) { return std::uint64_t{1} << feature; }

// Of a request: {u32 type, u32 reserved, u64 sector}.
constexpr std::uint64_t kHeaderBytes = 16;
// Of DISCARD and WRITE_ZEROES: {u64 sector, u32 sectors, u32 flags}, so many of them.
constexpr std::uint64_t kEraseBytes = 16;
constexpr std::uint64_t kMostErases = 16;

// Buffers that a driver may have in a request; with the header and the status these fill a ring of
// the size that most front-ends make.
constexpr std::uint32_t kMostSegments = 126;

// Moves all that the pieces are of, whatever a call does at a time. Fewer when the file ends.
bool MoveAll(int file, bool is_in, std::span<iovec> pieces, std::uint64_t place) {
  while (!pieces.empty()) {
    const int count = static_cast<int>(std::min<std::size_t>(pieces.size(), IOV_MAX));
    const auto at = static_cast<off_t>(place);
    ssize_t moved =
        is_in ? preadv(file, pieces.data(), count, at) : pwritev(file, pieces.data(), count, at);
    if (moved < 0 && errno == EINTR) continue;
    if (moved <= 0) return false;
    place += static_cast<std::uint64_t>(moved);
    while (!pieces.empty() && static_cast<std::size_t>(moved) >= pieces.front().iov_len) {
      moved -= static_cast<ssize_t>(pieces.front().iov_len);
      pieces = pieces.subspan(1);
    }
    if (moved == 0) continue;
    pieces.front().iov_base = static_cast<std::byte*>(pieces.front().iov_base) + moved;
    pieces.front().iov_len -= static_cast<std::size_t>(moved);
  }
  return true;
}

}  // namespace

absl::StatusOr<std::unique_ptr<BlockDevice>> BlockDevice::Open(const std::string& path,
                                                               bool is_read_only) {
  // Not to wait for who opens a pipe's other end.
  FileDescriptor file(
      open(path.c_str(), (is_read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK));
  if (!file.is_open()) {
    return absl::UnavailableError(
        Sentence("the image %s cannot be opened: %s", path, strerrordesc_np(errno)));
  }
  struct stat about;
  if (fstat(file.get(), &about) != 0) return absl::ErrnoToStatus(errno, path);
  std::uint64_t bytes = static_cast<std::uint64_t>(about.st_size);
  if (S_ISBLK(about.st_mode)) {
    if (ioctl(file.get(), BLKGETSIZE64, &bytes) != 0) return absl::ErrnoToStatus(errno, path);
  } else if (!S_ISREG(about.st_mode)) {
    return absl::UnavailableError(
        Sentence("the image %s cannot be served: expected a file or a block device", path));
  }
  if (bytes < kSector) {
    return absl::UnavailableError(
        Sentence("the image %s has %u bytes: expected a sector of 512 at least", path, bytes));
  }
  const std::size_t slash = path.rfind('/');
  return std::unique_ptr<BlockDevice>(
      new BlockDevice(std::move(file), slash == path.npos ? path : path.substr(slash + 1),
                      is_read_only, S_ISREG(about.st_mode), bytes / kSector));
}

std::uint64_t BlockDevice::features() const {
  std::uint64_t features = Bit(VIRTIO_BLK_F_SEG_MAX) | Bit(VIRTIO_BLK_F_BLK_SIZE) |
                           Bit(VIRTIO_BLK_F_FLUSH) | Bit(VIRTIO_BLK_F_MQ);
  if (is_read_only_) return features | Bit(VIRTIO_BLK_F_RO);
  if (is_file_) features |= Bit(VIRTIO_BLK_F_DISCARD) | Bit(VIRTIO_BLK_F_WRITE_ZEROES);
  return features;
}

std::vector<std::byte> BlockDevice::config() const {
  constexpr auto kMostErased = static_cast<std::uint32_t>(kMostBytes / kSector);
  virtio_blk_config config = {};
  config.capacity = InOrder(capacity_, kOrder);
  config.seg_max = InOrder(kMostSegments, kOrder);
  config.blk_size = InOrder(static_cast<std::uint32_t>(kSector), kOrder);
  config.num_queues = InOrder(kQueues, kOrder);
  if ((features() & Bit(VIRTIO_BLK_F_DISCARD)) != 0) {
    config.max_discard_sectors = InOrder(kMostErased, kOrder);
    config.max_discard_seg = InOrder(static_cast<std::uint32_t>(kMostErases), kOrder);
    config.discard_sector_alignment = InOrder(std::uint32_t{1}, kOrder);
    config.max_write_zeroes_sectors = InOrder(kMostErased, kOrder);
    config.max_write_zeroes_seg = InOrder(static_cast<std::uint32_t>(kMostErases), kOrder);
    config.write_zeroes_may_unmap = 1;
  }
  const auto bytes = std::as_bytes(std::span(&config, 1));
  return {bytes.begin(), bytes.end()};
}

void BlockDevice::Accept(std::uint64_t features) {
  is_write_through_ = (features & Bit(VIRTIO_BLK_F_FLUSH)) == 0;
}

std::optional<std::uint32_t> BlockDevice::Serve(std::uint16_t, const Chain& chain,
                                                const GuestMemory& memory) {
  if (chain.writable.size() == 0) return std::nullopt;
  const std::uint64_t data = chain.writable.size() - 1;

  Request request;
  Answer answer = Answer::kIoError;
  std::byte header[kHeaderBytes];
  bool has_header;
  {
    BufferAccess access(memory, chain.readable);
    has_header = CopyFrom(access.space(), {0}, 0, header, sizeof(header)).ok();
  }
  if (has_header) {
    request.type = LoadField<std::uint32_t>(header, kOrder);
    request.sector = LoadField<std::uint64_t>(header + 8, kOrder);
    answer = Perform(request, chain, data, memory);
  }

  BufferAccess access(memory, chain.writable);
  if (!CopyTo(access.space(), {data}, 0, &answer, 1).ok()) return std::nullopt;
  // From the start on: the status byte alone when there is nothing before it.
  const bool is_filled = answer == Answer::kOk &&
                         (request.type == VIRTIO_BLK_T_IN || request.type == VIRTIO_BLK_T_GET_ID);
  return is_filled ? static_cast<std::uint32_t>(data + 1) : data == 0 ? 1 : 0;
}

BlockDevice::Answer BlockDevice::Perform(const Request& request, const Chain& chain,
                                         std::uint64_t data, const GuestMemory& memory) const {
  switch (request.type) {
    case VIRTIO_BLK_T_IN:
      return Transfer(Direction::kIn, request.sector, chain.writable, 0, data, memory);
    case VIRTIO_BLK_T_OUT: {
      if (is_read_only_) return Answer::kIoError;
      const Answer answer = Transfer(Direction::kOut, request.sector, chain.readable, kHeaderBytes,
                                     chain.readable.size() - kHeaderBytes, memory);
      return answer == Answer::kOk && is_write_through_ ? Flush() : answer;
    }
    case VIRTIO_BLK_T_FLUSH:
      return Flush();
    case VIRTIO_BLK_T_GET_ID:
      return Identify(chain, data, memory);
    case VIRTIO_BLK_T_DISCARD:
    case VIRTIO_BLK_T_WRITE_ZEROES:
      return Erase(request, chain, memory);
    default:
      return Answer::kUnsupported;
  }
}

BlockDevice::Answer BlockDevice::Transfer(Direction direction, std::uint64_t sector,
                                          const Buffers& buffers, std::uint64_t offset,
                                          std::uint64_t length, const GuestMemory& memory) const {
  if (length > kMostBytes || !Has(sector, length)) return Answer::kIoError;
  // What is mapped for one window is unmapped before the next.
  for (std::uint64_t done = 0; done < length; done += kWindow) {
    if (!TransferWindow(direction, sector * kSector + done, buffers, offset + done,
                        std::min(kWindow, length - done), memory)) {
      return Answer::kIoError;
    }
  }
  return Answer::kOk;
}

bool BlockDevice::TransferWindow(Direction direction, std::uint64_t place, const Buffers& buffers,
                                 std::uint64_t offset, std::uint64_t length,
                                 const GuestMemory& memory) const {
  const bool is_in = direction == Direction::kIn;
  BufferAccess access(memory, buffers);
  std::vector<iovec> pieces;
  const CopyResult found =
      access.space().ForEachRun({offset}, 0, length, is_in ? Access::kWrite : Access::kRead,
                                [&pieces](std::byte* run, std::uint64_t, std::uint64_t bytes) {
                                  pieces.push_back({run, bytes});
                                });
  return found.ok() && MoveAll(file_.get(), is_in, pieces, place);
}

BlockDevice::Answer BlockDevice::Flush() const {
  return fdatasync(file_.get()) == 0 ? Answer::kOk : Answer::kIoError;
}

BlockDevice::Answer BlockDevice::Erase(const Request& request, const Chain& chain,
                                       const GuestMemory& memory) const {
  if (is_read_only_) return Answer::kIoError;
  if (!is_file_) return Answer::kUnsupported;
  const std::uint64_t bytes = chain.readable.size() - kHeaderBytes;
  if (bytes == 0 || bytes % kEraseBytes != 0 || bytes > kMostErases * kEraseBytes) {
    return Answer::kIoError;
  }
  std::byte erases[kMostErases * kEraseBytes];
  BufferAccess access(memory, chain.readable);
  if (!CopyFrom(access.space(), {kHeaderBytes}, 0, erases, bytes).ok()) return Answer::kIoError;

  const bool is_discard = request.type == VIRTIO_BLK_T_DISCARD;
  for (std::uint64_t at = 0; at < bytes; at += kEraseBytes) {
    const auto sector = LoadField<std::uint64_t>(erases + at, kOrder);
    const std::uint64_t length = kSector * LoadField<std::uint32_t>(erases + at + 8, kOrder);
    const auto flags = LoadField<std::uint32_t>(erases + at + 12, kOrder);
    if ((flags & ~(is_discard ? 0u : VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP)) != 0) {
      return Answer::kUnsupported;
    }
    if (length > kMostBytes || !Has(sector, length)) return Answer::kIoError;
    if (length == 0) continue;
    const int mode = is_discard || flags != 0 ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
                                              : FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
    if (fallocate(file_.get(), mode, static_cast<off_t>(sector * kSector),
                  static_cast<off_t>(length)) == 0) {
      continue;
    }
    if (errno != EOPNOTSUPP) return Answer::kIoError;
    // To discard is a wish; zeros are not.
    if (!is_discard) return Answer::kUnsupported;
  }
  return is_write_through_ ? Flush() : Answer::kOk;
}

BlockDevice::Answer BlockDevice::Identify(const Chain& chain, std::uint64_t data,
                                          const GuestMemory& memory) const {
  if (data != VIRTIO_BLK_ID_BYTES) return Answer::kIoError;
  char id[VIRTIO_BLK_ID_BYTES] = {};
  name_.copy(id, sizeof(id));
  BufferAccess access(memory, chain.writable);
  return CopyTo(access.space(), {0}, 0, id, sizeof(id)).ok() ? Answer::kOk : Answer::kIoError;
}

}  // namespace xencomm::vhost_user
