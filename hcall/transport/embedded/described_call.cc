#include "hcall/transport/embedded/described_call.h"

#include "xencomm/byte_order.h"
#include "xencomm/descriptor.h"

namespace xencomm::schema {
namespace {

constexpr std::uint64_t kPage = std::uint64_t{1} << kDescriptorPageShift;

// `pages`: where a buffer's bytes lie, the first one's and then of each further page.
bool AreContiguous(const std::vector<PhysicalAddress>& pages) {
  for (std::size_t i = 1; i < pages.size(); ++i) {
    if (pages[i].value != (pages[0].value & ~(kPage - 1)) + i * kPage) return false;
  }
  return !pages.empty() && (pages[0].value & kInlineFlag) == 0;
}

}  // namespace

DescribedCall::DescribedCall(const Call& call, ByteOrder order, PhysicalMemory& memory,
                             std::uint32_t vcpus, Inline inline_addresses, Releases releases)
    : call_(call), order_(order) {
  std::vector<CollectedBuffer> buffers;
  if (!CollectBuffers(call, order, vcpus, releases, buffers).ok() ||
      !FindSharedPointer(buffers, GroupBuffers(buffers)).ok()) {
    outcome_ = Outcome::kNotWalked;
    return;
  }
  for (const CollectedBuffer& buffer : buffers) {
    outcome_ = Describe(buffer, memory, inline_addresses);
    if (outcome_ == Outcome::kDescribed) continue;
    PutBack();
    return;
  }
}

DescribedCall::~DescribedCall() { PutBack(); }

DescribedCall::Outcome DescribedCall::Describe(const CollectedBuffer& buffer,
                                               PhysicalMemory& memory, Inline inline_addresses) {
  const std::uint64_t address = buffer.buffer.address.value;
  const auto entries = static_cast<std::uint32_t>(DescriptorEntries(address, buffer.bytes()));
  std::vector<PhysicalAddress> pages(entries);
  for (std::uint32_t i = 0; i < entries; ++i) {
    const std::uint64_t start = i == 0 ? address : (address & ~(kPage - 1)) + i * kPage;
    if (!memory.Find(buffer.data() + (start - address), &pages[i])) return Outcome::kNotBacked;
  }
  // A register that keeps flags of its own has no room for the inline flag.
  const std::uint64_t flags = ~buffer.buffer.part->address_bits();
  std::uint64_t place;
  if (inline_addresses == Inline::kWherePossible && (flags & kInlineFlag) == 0 &&
      AreContiguous(pages)) {
    place = InlineAddress(pages[0]).value;
  } else {
    std::byte* descriptor = memory.Allocate(DescriptorBytes(entries));
    PhysicalAddress physical;
    if (descriptor == nullptr || !memory.Find(descriptor, &physical)) return Outcome::kNoMemory;
    StoreDescriptor(descriptor, entries, order_, [&](std::uint32_t i) { return pages[i]; });
    place = physical.value;
  }

  if (buffer.pointer == nullptr) {
    std::uint64_t& bits = call_.registers[buffer.register_index];
    bits = (bits & flags) | place;
  } else {
    const auto bits = LoadField<std::uint64_t>(buffer.pointer, order_);
    replaced_.push_back({buffer.pointer, bits});
    StoreField(buffer.pointer, (bits & flags) | place, order_);
  }
  return Outcome::kDescribed;
}

// The last one first: a pointer that two others lead to was replaced twice.
void DescribedCall::PutBack() {
  for (auto each = replaced_.rbegin(); each != replaced_.rend(); ++each) {
    StoreField(each->pointer, each->bits, order_);
  }
  replaced_.clear();
}

}  // namespace xencomm::schema
