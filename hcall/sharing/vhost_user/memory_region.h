// A memory region as a front-end describes it: which guest addresses, and what is behind them.
//
// | kind         | flags        | the descriptor beside it | guest addresses                     |
// | ------------ | ------------ | ------------------------ | ----------------------------------- |
// | plain        | 0            | a file, to be mapped     | any                                 |
// | foreign      | 1            | privcmd                  | the domain's frame * 4096 and on    |
// | grants       | 2            | gntdev                   | 2^63 + the reference * 4096 and on  |
// | no-advance   | 2, 8 or 256  | gntdev                   | as grants, mapped at each access    |
//
// No other flags are valid. No-advance has two values: the protocol's text says bit 8, which is
// 256, and the implementations that there are have the value 8. Written is 8, both are understood.
//
// The guest's driver puts references into its addresses so that a back-end can map what it is lent
// and no more; a reference follows another for each page of a range. A region may begin and end
// anywhere in a page, and two may share one.
#ifndef HCALL_SHARING_VHOST_USER_MEMORY_REGION_H_
#define HCALL_SHARING_VHOST_USER_MEMORY_REGION_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "xencomm/address.h"

namespace xencomm::vhost_user {

inline constexpr std::uint64_t kPageShift = 12;
inline constexpr std::uint64_t kPageBytes = 1 << kPageShift;

struct MemoryRegion {
  enum class Kind : std::uint8_t { kPlain, kForeign, kGrants };
  enum class Form : std::uint8_t { kPlain, kXen };

  static constexpr std::uint32_t kForeign = 1;
  static constexpr std::uint32_t kGrants = 2;
  static constexpr std::uint32_t kNoAdvance = 8;
  static constexpr std::uint32_t kNoAdvanceOfText = 1 << 8;

  static constexpr std::uint64_t kGrantAddress = std::uint64_t{1} << 63;

  std::uint64_t guest_address = 0;
  std::uint64_t size = 0;          // bytes
  std::uint64_t user_address = 0;  // in the front-end, which names rings by it
  std::uint64_t mmap_offset = 0;   // where in the file it begins
  std::uint32_t flags = 0;
  std::uint32_t domain = 0;

  // In bytes.
  static constexpr std::size_t Bytes(Form form) { return form == Form::kXen ? 40 : 32; }
  static MemoryRegion Read(const std::byte* bytes, Form form);
  void Write(std::byte* bytes, Form form) const;

  // kInvalidArgument with a sentence for a region that cannot be; the others only after it is ok.
  absl::Status Check() const;

  Kind kind() const;
  bool is_no_advance() const { return (flags & (kNoAdvance | kNoAdvanceOfText)) != 0; }

  // The frame, or the reference, of the page in which this address lies.
  static constexpr std::uint64_t Page(std::uint64_t address) {
    return (address & ~kGrantAddress) >> kPageShift;
  }
  // How many pages the bytes touch, at least one.
  static constexpr std::uint64_t Pages(std::uint64_t address, std::uint64_t bytes) {
    return Page(address + (bytes - 1)) - Page(address) + 1;
  }

  friend bool operator==(const MemoryRegion&, const MemoryRegion&) = default;
};

static_assert(MemoryRegion::Pages(0xfff, 1) == 1 && MemoryRegion::Pages(0xfff, 2) == 2);
static_assert(MemoryRegion::Page(MemoryRegion::kGrantAddress | 0x7fff) == 7);

}  // namespace xencomm::vhost_user

#endif  // HCALL_SHARING_VHOST_USER_MEMORY_REGION_H_
