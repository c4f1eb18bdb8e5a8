#include "hcall/sharing/vhost_user/wire.h"

#include <concepts>

#include "xencomm/byte_order.h"

namespace xencomm::vhost_user {
namespace {

// Fields one after the other.
class Reader {
 public:
  explicit Reader(const std::byte* at) : at_(at) {}
  template <std::unsigned_integral T>
  T Next() {
    const T value = LoadField<T>(at_, kNativeOrder);
    at_ += sizeof(T);
    return value;
  }

 private:
  const std::byte* at_;
};

class Writer {
 public:
  explicit Writer(std::byte* at) : at_(at) {}
  template <std::unsigned_integral T>
  Writer& Put(T value) {
    StoreField(at_, value, kNativeOrder);
    at_ += sizeof(T);
    return *this;
  }

 private:
  std::byte* at_;
};

// In front of the regions of a table: how many, and padding; of a single one: padding.
constexpr std::size_t kBeforeRegions = 8;

constexpr std::uint64_t kIndexBits = 0xff;
constexpr std::uint64_t kNoFile = 1 << 8;

}  // namespace

Header Header::Read(const std::byte* bytes) {
  Reader reader(bytes);
  Header header;
  header.request = Request{reader.Next<std::uint32_t>()};
  header.flags = reader.Next<std::uint32_t>();
  header.size = reader.Next<std::uint32_t>();
  return header;
}

void Header::Write(std::byte* bytes) const {
  Writer(bytes).Put(static_cast<std::uint32_t>(request)).Put(flags).Put(size);
}

std::optional<std::uint64_t> ReadU64(std::span<const std::byte> payload) {
  if (payload.size() != sizeof(std::uint64_t)) return std::nullopt;
  return Reader(payload.data()).Next<std::uint64_t>();
}

std::vector<std::byte> WriteU64(std::uint64_t value) {
  std::vector<std::byte> payload(sizeof(value));
  Writer(payload.data()).Put(value);
  return payload;
}

std::optional<VringState> VringState::Read(std::span<const std::byte> payload) {
  if (payload.size() != 8) return std::nullopt;
  Reader reader(payload.data());
  VringState state;
  state.index = reader.Next<std::uint32_t>();
  state.number = reader.Next<std::uint32_t>();
  return state;
}

std::vector<std::byte> VringState::Write() const {
  std::vector<std::byte> payload(8);
  Writer(payload.data()).Put(index).Put(number);
  return payload;
}

std::optional<VringAddress> VringAddress::Read(std::span<const std::byte> payload) {
  if (payload.size() != 40) return std::nullopt;
  Reader reader(payload.data());
  VringAddress address;
  address.index = reader.Next<std::uint32_t>();
  address.flags = reader.Next<std::uint32_t>();
  address.descriptors = reader.Next<std::uint64_t>();
  address.used = reader.Next<std::uint64_t>();
  address.available = reader.Next<std::uint64_t>();
  address.log = reader.Next<std::uint64_t>();
  return address;
}

std::vector<std::byte> VringAddress::Write() const {
  std::vector<std::byte> payload(40);
  Writer(payload.data()).Put(index).Put(flags).Put(descriptors).Put(used).Put(available).Put(log);
  return payload;
}

std::optional<VringFile> VringFile::Read(std::span<const std::byte> payload) {
  const std::optional<std::uint64_t> word = ReadU64(payload);
  if (!word.has_value() || (*word & ~(kIndexBits | kNoFile)) != 0) return std::nullopt;
  return VringFile{static_cast<std::uint8_t>(*word & kIndexBits), (*word & kNoFile) == 0};
}

std::vector<std::byte> VringFile::Write() const {
  return WriteU64(index | (has_file ? 0 : kNoFile));
}

std::optional<ConfigRange> ConfigRange::Read(std::span<const std::byte> payload) {
  if (payload.size() < kBytes) return std::nullopt;
  Reader reader(payload.data());
  ConfigRange range;
  range.offset = reader.Next<std::uint32_t>();
  range.size = reader.Next<std::uint32_t>();
  range.flags = reader.Next<std::uint32_t>();
  if (payload.size() - kBytes != range.size) return std::nullopt;
  if (!Contains(0, kMostBytes, range.offset, range.size)) return std::nullopt;
  return range;
}

std::vector<std::byte> ConfigRange::Write() const {
  std::vector<std::byte> payload(kBytes + size);
  Writer(payload.data()).Put(offset).Put(size).Put(flags);
  return payload;
}

std::optional<std::vector<MemoryRegion>> ReadRegions(std::span<const std::byte> payload,
                                                     MemoryRegion::Form form) {
  if (payload.size() < kBeforeRegions) return std::nullopt;
  const auto count = Reader(payload.data()).Next<std::uint32_t>();
  const std::size_t bytes = MemoryRegion::Bytes(form);
  if (count > kMostDescriptors || payload.size() != kBeforeRegions + count * bytes) {
    return std::nullopt;
  }
  std::vector<MemoryRegion> regions;
  for (std::size_t i = 0; i < count; ++i) {
    regions.push_back(MemoryRegion::Read(payload.data() + kBeforeRegions + i * bytes, form));
  }
  return regions;
}

std::vector<std::byte> WriteRegions(std::span<const MemoryRegion> regions,
                                    MemoryRegion::Form form) {
  const std::size_t bytes = MemoryRegion::Bytes(form);
  std::vector<std::byte> payload(kBeforeRegions + regions.size() * bytes);
  Writer(payload.data()).Put(static_cast<std::uint32_t>(regions.size()));
  for (std::size_t i = 0; i < regions.size(); ++i) {
    regions[i].Write(payload.data() + kBeforeRegions + i * bytes, form);
  }
  return payload;
}

std::optional<MemoryRegion> ReadRegion(std::span<const std::byte> payload,
                                       MemoryRegion::Form form) {
  if (payload.size() != kBeforeRegions + MemoryRegion::Bytes(form)) return std::nullopt;
  return MemoryRegion::Read(payload.data() + kBeforeRegions, form);
}

std::vector<std::byte> WriteRegion(const MemoryRegion& region, MemoryRegion::Form form) {
  std::vector<std::byte> payload(kBeforeRegions + MemoryRegion::Bytes(form));
  region.Write(payload.data() + kBeforeRegions, form);
  return payload;
}

}  // namespace xencomm::vhost_user
