#include "hcall/sharing/vhost_user/memory_region.h"

#include <limits>

#include "xencomm/byte_order.h"
#include "xencomm/sentence.h"

namespace xencomm::vhost_user {
namespace {

// The first of the numbers that are no domain's: the hypervisor's own memory has one of these, and
// the machine's devices have (DOMID_FIRST_RESERVED of Xen's public/xen.h).
constexpr std::uint32_t kFirstReserved = 0x7ff0;

// No processor that Xen runs on has longer addresses.
constexpr std::uint64_t kMostForeign = (std::uint64_t{1} << 52) - 1;

}  // namespace

MemoryRegion MemoryRegion::Read(const std::byte* bytes, Form form) {
  const auto word = [bytes](std::size_t i) {
    return LoadField<std::uint64_t>(bytes + 8 * i, kNativeOrder);
  };
  MemoryRegion region = {
      .guest_address = word(0), .size = word(1), .user_address = word(2), .mmap_offset = word(3)};
  if (form == Form::kXen) {
    region.flags = LoadField<std::uint32_t>(bytes + 32, kNativeOrder);
    region.domain = LoadField<std::uint32_t>(bytes + 36, kNativeOrder);
  }
  return region;
}

void MemoryRegion::Write(std::byte* bytes, Form form) const {
  std::size_t at = 0;
  for (const std::uint64_t word : {guest_address, size, user_address, mmap_offset}) {
    StoreField(bytes + at, word, kNativeOrder);
    at += sizeof(word);
  }
  if (form == Form::kPlain) return;
  StoreField(bytes + at, flags, kNativeOrder);
  StoreField(bytes + at + sizeof(flags), domain, kNativeOrder);
}

MemoryRegion::Kind MemoryRegion::kind() const {
  if ((flags & kForeign) != 0) return Kind::kForeign;
  return (flags & kGrants) != 0 ? Kind::kGrants : Kind::kPlain;
}

absl::Status MemoryRegion::Check() const {
  const auto wrong = [this](const char* expected) {
    return absl::InvalidArgumentError(
        Sentence("region of %#x bytes at %#x, offset %#x, flags %#x, of domain %u: expected %s",
                 size, guest_address, mmap_offset, flags, domain, expected));
  };
  if ((flags & ~(kForeign | kGrants | kNoAdvance | kNoAdvanceOfText)) != 0 ||
      (flags & (kForeign | kGrants)) == (kForeign | kGrants) ||
      (is_no_advance() && kind() != Kind::kGrants)) {
    return wrong("flags 0, 1, 2, or 2 with no-advance");
  }
  if (size == 0) return wrong("a byte at least");
  for (const std::uint64_t start : {guest_address, user_address, mmap_offset}) {
    if (Overflows(start, size)) return wrong("a range that does not pass 2^64");
  }
  if (kind() == Kind::kPlain) return absl::OkStatus();

  if (mmap_offset != 0) return wrong("offset 0 of what is no file");
  if (domain >= kFirstReserved) return wrong("a domain");
  const std::uint64_t last = guest_address + (size - 1);
  if (kind() == Kind::kForeign) {
    return last <= kMostForeign ? absl::OkStatus() : wrong("addresses of at most 52 bits");
  }
  // With bit 63 at its start it has it to its end, since nothing wraps.
  if ((guest_address & kGrantAddress) == 0 ||
      Page(last) > std::numeric_limits<std::uint32_t>::max()) {
    return wrong("addresses of 2^63 and a reference of 32 bits");
  }
  return absl::OkStatus();
}

}  // namespace xencomm::vhost_user
