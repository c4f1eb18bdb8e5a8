// Memory of a program as it was at one moment: what was read of it, by address.
#ifndef HCALL_TRACE_MEMORY_IMAGE_H_
#define HCALL_TRACE_MEMORY_IMAGE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "xencomm/space.h"

namespace xencomm::trace {

// Bytes in a row that grow at either end, at a cost of what is added alone, in the long run.
class Piece {
 public:
  const std::byte* data() const { return bytes_.data() + unused_; }
  std::size_t size() const { return bytes_.size() - unused_; }
  const std::byte* begin() const { return data(); }
  const std::byte* end() const { return data() + size(); }
  void Append(std::span<const std::byte> more);
  void Prepend(std::span<const std::byte> more);

  bool operator==(const Piece& other) const;

 private:
  std::vector<std::byte> bytes_;
  std::size_t unused_ = 0;  // so many at the front are not there yet
};

class MemoryImage {
 public:
  using Pieces = std::map<std::uint64_t, Piece>;

  // Of bytes that are there already the new ones are not looked at.
  void Add(std::uint64_t address, std::span<const std::byte> bytes);

  // Over bytes that are there. False: they are not, not all of them.
  bool Write(std::uint64_t address, std::span<const std::byte> bytes);

  // From an address on, as far as they are known without a gap, at most `most`.
  std::span<const std::byte> At(std::uint64_t address, std::uint64_t most) const;

  // Disjoint, and none begins where another ends.
  const Pieces& pieces() const { return pieces_; }
  bool operator==(const MemoryImage&) const = default;

 private:
  Pieces pieces_;
};

// What a pointer of the program leads to, in an image; the rest of its memory is not there.
class ImageSpace final : public Space {
 public:
  // Borrowed.
  explicit ImageSpace(const MemoryImage& image) : image_(image) {}

 private:
  Mapping Resolve(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length, Access access,
                  Cursor* cursor) override;

  const MemoryImage& image_;
};

}  // namespace xencomm::trace

#endif  // HCALL_TRACE_MEMORY_IMAGE_H_
