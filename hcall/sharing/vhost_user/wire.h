// The messages of vhost-user, as bytes.
//
// A message is a header of three words and a payload; descriptors travel beside it. All numbers are
// in the order of the machine that both sides run on. The source of each fact is QEMU's
// docs/interop/vhost-user.rst; where it and the other implementations differ, it is said.
//
// Memory regions have two forms. The plain one has four fields of 64 bits. Once the front-end has
// accepted kXenMmap, every region of every message has two more, of 32 bits: what kind of memory it
// is, and whose. (What was proposed first was a message of its own, number 41, with a word of such
// flags for the regions after it; the number became GET_SHARED_OBJECT's, and it is not spoken.)
#ifndef HCALL_SHARING_VHOST_USER_WIRE_H_
#define HCALL_SHARING_VHOST_USER_WIRE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "hcall/sharing/vhost_user/memory_region.h"
#include "hcall/transport/file_descriptor.h"

namespace xencomm::vhost_user {

enum class Request : std::uint32_t {
  kGetFeatures = 1,
  kSetFeatures = 2,
  kSetOwner = 3,
  kResetOwner = 4,
  kSetMemTable = 5,
  kSetVringNum = 8,
  kSetVringAddr = 9,
  kSetVringBase = 10,
  kGetVringBase = 11,
  kSetVringKick = 12,
  kSetVringCall = 13,
  kSetVringErr = 14,
  kGetProtocolFeatures = 15,
  kSetProtocolFeatures = 16,
  kGetQueueNum = 17,
  kSetVringEnable = 18,
  kGetConfig = 24,
  kSetConfig = 25,
  kGetMaxMemSlots = 36,
  kAddMemReg = 37,
  kRemMemReg = 38,
};

// Of the device's features, the one that is vhost-user's: there are protocol features.
inline constexpr std::uint64_t kProtocolFeatures = std::uint64_t{1} << 30;

// Protocol features, as bits.
inline constexpr std::uint64_t kMq = 1 << 0;
inline constexpr std::uint64_t kReplyAck = 1 << 3;
inline constexpr std::uint64_t kConfig = 1 << 9;
inline constexpr std::uint64_t kConfigureMemSlots = 1 << 15;
inline constexpr std::uint64_t kXenMmap = 1 << 17;

struct Header {
  static constexpr std::size_t kBytes = 12;

  static constexpr std::uint32_t kVersion = 1;
  static constexpr std::uint32_t kVersionMask = 3;
  static constexpr std::uint32_t kReply = 1 << 2;
  static constexpr std::uint32_t kNeedReply = 1 << 3;

  Request request = {};
  std::uint32_t flags = kVersion;
  std::uint32_t size = 0;  // of the payload, in bytes

  // `bytes` are kBytes.
  static Header Read(const std::byte* bytes);
  void Write(std::byte* bytes) const;
};

// Longer ones do not exist: the longest is a table of as many regions as descriptors may be sent.
inline constexpr std::size_t kMostPayload = 4096;
// What a message may bring.
inline constexpr std::size_t kMostDescriptors = 32;

struct Message {
  Request request = {};
  std::uint32_t flags = Header::kVersion;
  std::vector<std::byte> payload;
  std::vector<FileDescriptor> files;

  bool needs_reply() const { return (flags & Header::kNeedReply) != 0; }
};

// Payloads. Each Read answers nothing for a payload that does not have the very size of it.

std::optional<std::uint64_t> ReadU64(std::span<const std::byte> payload);
std::vector<std::byte> WriteU64(std::uint64_t value);

struct VringState {
  std::uint32_t index = 0;
  std::uint32_t number = 0;

  static std::optional<VringState> Read(std::span<const std::byte> payload);
  std::vector<std::byte> Write() const;
};

// Where a ring's parts are, by addresses of the front-end.
struct VringAddress {
  std::uint32_t index = 0;
  std::uint32_t flags = 0;  // 1: its used ring's pages are logged, which is not offered
  std::uint64_t descriptors = 0;
  std::uint64_t used = 0;
  std::uint64_t available = 0;
  std::uint64_t log = 0;

  static std::optional<VringAddress> Read(std::span<const std::byte> payload);
  std::vector<std::byte> Write() const;
};

// SET_VRING_KICK, CALL and ERR: a ring's index, and whether a descriptor comes with it.
struct VringFile {
  std::uint8_t index = 0;
  bool has_file = false;

  static std::optional<VringFile> Read(std::span<const std::byte> payload);
  std::vector<std::byte> Write() const;
};

// Of GET_CONFIG and SET_CONFIG; as many bytes follow as `size` says.
struct ConfigRange {
  static constexpr std::size_t kBytes = 12;
  static constexpr std::size_t kMostBytes = 256;

  std::uint32_t offset = 0;
  std::uint32_t size = 0;
  std::uint32_t flags = 0;

  // Nothing also when less or more follows than it says, or the range is not in a config space.
  static std::optional<ConfigRange> Read(std::span<const std::byte> payload);
  // With that many zeros behind it.
  std::vector<std::byte> Write() const;
};

// SET_MEM_TABLE. Nothing also when there are more regions than descriptors may be sent.
std::optional<std::vector<MemoryRegion>> ReadRegions(std::span<const std::byte> payload,
                                                     MemoryRegion::Form form);
std::vector<std::byte> WriteRegions(std::span<const MemoryRegion> regions, MemoryRegion::Form form);

// ADD_MEM_REG and REM_MEM_REG.
std::optional<MemoryRegion> ReadRegion(std::span<const std::byte> payload, MemoryRegion::Form form);
std::vector<std::byte> WriteRegion(const MemoryRegion& region, MemoryRegion::Form form);

}  // namespace xencomm::vhost_user

#endif  // HCALL_SHARING_VHOST_USER_WIRE_H_
