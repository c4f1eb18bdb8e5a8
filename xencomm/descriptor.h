// The historical descriptor ('XCOM') and inline addresses: the ABI of Xen's public/xencomm.h as
// Xen on PowerPC used it, read and written byte-compatibly.
//
// A guest pointer of an XCOM domain is the guest-physical address of a descriptor, or, with bit 63
// set, an inline address: the rest of it is guest-physical and names the bytes themselves.
//
//   { u32 magic; u32 nr_addrs; u64 address[nr_addrs]; }       8-byte aligned
//
// The array is contiguous in guest-physical memory and free to cross pages. Entry 0 begins anywhere
// in its page, the others at the start of theirs; each runs to the end of its page. Where history
// was loose we are strict: an INVALID or misaligned entry inside the range that is wanted is a
// fault, never skipped, and an offset never changes the guest's descriptor.
#ifndef XENCOMM_DESCRIPTOR_H_
#define XENCOMM_DESCRIPTOR_H_

#include <cstddef>
#include <cstdint>

#include "xencomm/byte_order.h"
#include "xencomm/space.h"

namespace xencomm {

// For offsets and sizes (struct xencomm_desc, public/xencomm.h).
struct DescriptorHeader {
  std::uint32_t magic;
  std::uint32_t nr_addrs;
};
static_assert(sizeof(DescriptorHeader) == 8 && offsetof(DescriptorHeader, nr_addrs) == 4);

inline constexpr std::uint32_t kDescriptorMagic = 0x58434F4D;           // XENCOMM_MAGIC
inline constexpr std::uint64_t kDescriptorInvalid = ~std::uint64_t{0};  // XENCOMM_INVALID
inline constexpr std::uint64_t kInlineFlag = std::uint64_t{1} << 63;    // XENCOMM_INLINE_FLAG
inline constexpr unsigned kDescriptorPageShift = 12;

// The inline form of a guest-physical range that is contiguous.
constexpr VirtualAddress InlineAddress(PhysicalAddress physical) {
  return {physical.value | kInlineFlag};
}

// How many entries a buffer needs, and its descriptor's size in bytes.
constexpr std::uint64_t DescriptorEntries(std::uint64_t first_address, std::uint64_t length,
                                          unsigned page_shift = kDescriptorPageShift) {
  const std::uint64_t page = std::uint64_t{1} << page_shift;
  return AlignUp((first_address & (page - 1)) + length, page) >> page_shift;
}
constexpr std::uint64_t DescriptorBytes(std::uint64_t entries) {
  return sizeof(DescriptorHeader) + entries * sizeof(std::uint64_t);
}

// Both forms, told apart by the pointer: what XCOM domains speak.
template <Memory M>
class XcomTranslation {
 public:
  // The head of the descriptor, read once for a copy: a second look could see another count. And
  // the page of it that was read last: 512 entries in a row lie in one.
  struct Cursor {
    bool read = false;
    std::uint32_t nr_addrs = 0;
    std::uint64_t first = 0;  // address[0], since every later entry is found from its offset
    std::uint64_t page = 0;   // its number, and 1; 0: none yet
    const std::byte* bytes = nullptr;
  };

  // `memory` is borrowed.
  XcomTranslation(M& memory, ByteOrder order, unsigned page_shift = kDescriptorPageShift)
      : memory_(&memory),
        order_(order),
        page_(std::uint64_t{1} << page_shift),
        page_shift_(page_shift) {}

  Segment Translate(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length, Access,
                    Cursor& cursor) const {
    if ((pointer.value & kInlineFlag) != 0) return Inline(pointer, offset, length);
    if (pointer.value == 0) return Fault::kNull;
    if (!cursor.read) {
      const FaultInfo fault = ReadHead(pointer, cursor);
      if (!fault.ok()) return fault;
    }

    const std::uint64_t within_first = cursor.first & (page_ - 1);
    std::uint64_t place;  // of the byte wanted, counted from the start of entry 0's page
    if (__builtin_add_overflow(within_first, offset, &place)) return Fault::kOverflow;
    const std::uint64_t index = place >> page_shift_;
    if (index >= cursor.nr_addrs) return Fault::kOutOfRange;

    std::uint64_t page = cursor.first - within_first;
    if (index != 0) {
      const Result<std::uint64_t> entry = Entry(pointer, index, cursor);
      if (!entry.ok()) return entry.fault();
      if (*entry == kDescriptorInvalid) return Fault::kNotBacked;
      if (!IsAligned(*entry, page_)) return Fault::kMisaligned;
      page = *entry;
    }
    const std::uint64_t within = place & (page_ - 1);
    const std::uint64_t rest = page_ - within;
    return {PhysicalAddress{page + within}, length < rest ? length : rest};
  }

 private:
  static Segment Inline(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length) {
    const std::uint64_t start = pointer.value & ~kInlineFlag;
    // An inline address has 63 bits: an offset must not carry into the flag.
    if (!Contains(0, kInlineFlag, start, offset) || start + offset == kInlineFlag) {
      return Fault::kOverflow;
    }
    const std::uint64_t rest = kInlineFlag - (start + offset);
    return {PhysicalAddress{start + offset}, length < rest ? length : rest};
  }

  FaultInfo ReadHead(VirtualAddress pointer, Cursor& cursor) const {
    if (!IsAligned(pointer.value, alignof(std::uint64_t))) return Fault::kMisaligned;

    // Magic and count are one aligned word and are read as one, so they belong together.
    const Result<std::uint64_t> head =
        ReadWord(*memory_, PhysicalAddress{pointer.value}, ByteOrder::kBig);
    if (!head.ok()) return head.fault();
    const auto magic = InBigEndianWord(static_cast<std::uint32_t>(*head >> 32));
    if (magic != kDescriptorMagic) {
      return magic == __builtin_bswap32(kDescriptorMagic) ? Fault::kByteOrder : Fault::kBadMagic;
    }
    cursor.nr_addrs = InBigEndianWord(static_cast<std::uint32_t>(*head));
    if (cursor.nr_addrs == 0) return Fault::kOutOfRange;

    const Result<std::uint64_t> first = Entry(pointer, 0, cursor);
    if (!first.ok()) return first.fault();
    if (*first == kDescriptorInvalid) return Fault::kNotBacked;
    cursor.first = *first;
    cursor.read = true;
    return {};
  }

  // A field of the domain's order out of a word that was read as big-endian.
  std::uint32_t InBigEndianWord(std::uint32_t value) const {
    return order_ == ByteOrder::kBig ? value : __builtin_bswap32(value);
  }

  Result<std::uint64_t> Entry(VirtualAddress pointer, std::uint64_t index, Cursor& cursor) const {
    // Neither has so many bits that the sum could wrap.
    const std::uint64_t address = pointer.value + DescriptorBytes(index);
    const std::uint64_t within = address % HeldPage::kBytes;
    if (const std::uint64_t page = address / HeldPage::kBytes + 1; cursor.page != page) {
      const Mapping run =
          memory_->Map(PhysicalAddress{address - within}, HeldPage::kBytes, Access::kRead);
      if (run.length() < HeldPage::kBytes) {
        return run.ok() ? FaultInfo(Fault::kNoMemory) : run.fault();
      }
      cursor.page = page;
      cursor.bytes = run.start();
    }
    return LoadSharedField<std::uint64_t>(cursor.bytes + within, order_);
  }

  M* memory_;
  ByteOrder order_;
  std::uint64_t page_;
  unsigned page_shift_;
};

// Writes the descriptor of a buffer into `to`, which has room for DescriptorBytes(entries). Entry i
// is address_of(i): the guest-physical address of the buffer's part in its page i, entry 0 with its
// offset in the page.
template <class AddressOf>
void StoreDescriptor(std::byte* to, std::uint32_t entries, ByteOrder order, AddressOf address_of) {
  StoreField(to + offsetof(DescriptorHeader, magic), kDescriptorMagic, order);
  StoreField(to + offsetof(DescriptorHeader, nr_addrs), entries, order);
  for (std::uint32_t i = 0; i < entries; ++i) {
    const PhysicalAddress address = address_of(i);
    StoreField(to + DescriptorBytes(i), address.value, order);
  }
}

}  // namespace xencomm

#endif  // XENCOMM_DESCRIPTOR_H_
