#include "hcall/trace/memory_image.h"

#include <algorithm>
#include <utility>

namespace xencomm::trace {

void MemoryImage::Add(std::uint64_t address, std::span<const std::byte> bytes) {
  // What would pass the last address is no memory.
  bytes = bytes.first(std::min<std::uint64_t>(bytes.size(), ~address));
  while (!bytes.empty()) {
    auto next = pieces_.upper_bound(address);
    const auto before = next == pieces_.begin() ? pieces_.end() : std::prev(next);
    const std::uint64_t end = before == pieces_.end() ? 0 : before->first + before->second.size();
    if (end > address) {  // these are known
      const std::uint64_t known = std::min<std::uint64_t>(end - address, bytes.size());
      bytes = bytes.subspan(known);
      address += known;
      continue;
    }
    const std::uint64_t gap = next == pieces_.end() ? bytes.size() : next->first - address;
    const auto fresh = bytes.first(std::min<std::uint64_t>(gap, bytes.size()));
    bytes = bytes.subspan(fresh.size());
    auto piece = before;
    if (before != pieces_.end() && end == address) {
      piece->second.insert(piece->second.end(), fresh.begin(), fresh.end());
    } else {
      piece = pieces_.emplace(address, std::vector<std::byte>(fresh.begin(), fresh.end())).first;
    }
    address += fresh.size();
    next = std::next(piece);
    if (next != pieces_.end() && next->first == address) {
      piece->second.insert(piece->second.end(), next->second.begin(), next->second.end());
      pieces_.erase(next);
    }
  }
}

bool MemoryImage::Write(std::uint64_t address, std::span<const std::byte> bytes) {
  const auto known = At(address, bytes.size());
  if (known.size() < bytes.size()) return false;
  // They are this image's own.
  std::ranges::copy(bytes, const_cast<std::byte*>(known.data()));
  return true;
}

std::span<const std::byte> MemoryImage::At(std::uint64_t address, std::uint64_t most) const {
  const auto next = pieces_.upper_bound(address);
  if (next == pieces_.begin()) return {};
  const auto& [start, bytes] = *std::prev(next);
  const std::uint64_t into = address - start;
  if (into >= bytes.size()) return {};
  return std::span(bytes).subspan(into, std::min<std::uint64_t>(most, bytes.size() - into));
}

Mapping ImageSpace::Resolve(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length,
                            Access access, Cursor*) {
  std::uint64_t address;
  if (__builtin_add_overflow(pointer.value, offset, &address)) return Fault::kOverflow;
  if (access == Access::kWrite) return Fault::kNotPresent;  // nothing is changed any more
  const auto bytes = image_.At(address, length);
  if (bytes.empty()) return Fault::kNotPresent;
  return Mapping(const_cast<std::byte*>(bytes.data()), bytes.size());
}

}  // namespace xencomm::trace
