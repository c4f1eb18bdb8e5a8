#include "hcall/trace/memory_image.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace xencomm::trace {

void Piece::Append(std::span<const std::byte> more) {
  bytes_.insert(bytes_.end(), more.begin(), more.end());
}

void Piece::Prepend(std::span<const std::byte> more) {
  if (more.size() > unused_) {
    const std::size_t room = size() + more.size();
    bytes_.insert(bytes_.begin(), room, std::byte{0});
    unused_ += room;
  }
  unused_ -= more.size();
  std::ranges::copy(more, bytes_.begin() + static_cast<std::ptrdiff_t>(unused_));
}

bool Piece::operator==(const Piece& other) const { return std::ranges::equal(*this, other); }

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
    const bool is_joined = before != pieces_.end() && end == address;
    const auto piece = is_joined ? before : pieces_.try_emplace(address).first;
    piece->second.Append(fresh);
    address += fresh.size();
    next = std::next(piece);
    if (next == pieces_.end() || next->first != address) continue;
    // The shorter one joins the longer one.
    if (piece->second.size() > next->second.size()) {
      piece->second.Append(next->second);
      pieces_.erase(next);
    } else {
      next->second.Prepend(piece->second);
      auto both = pieces_.extract(next);
      both.key() = piece->first;
      pieces_.erase(piece);
      pieces_.insert(std::move(both));
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
  const auto& [start, piece] = *std::prev(next);
  const std::uint64_t into = address - start;
  if (into >= piece.size()) return {};
  return std::span(piece).subspan(into, std::min<std::uint64_t>(most, piece.size() - into));
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
