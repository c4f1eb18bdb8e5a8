#include "hcall/schema/described_call.h"

#include "xencomm/byte_order.h"
#include "xencomm/descriptor.h"

namespace xencomm::schema {

DescribedCall::DescribedCall(const Call& call, ByteOrder order, PhysicalMemory& memory,
                             std::uint32_t vcpus)
    : call_(call), order_(order) {
  std::vector<CollectedBuffer> buffers;
  finding_ = CollectBuffers(call, order, vcpus, buffers);
  if (!finding_.ok()) {
    outcome_ = Outcome::kNotWalked;
    return;
  }
  for (const CollectedBuffer& buffer : buffers) {
    outcome_ = Describe(buffer, memory);
    if (outcome_ == Outcome::kDescribed) continue;
    PutBack();
    return;
  }
}

DescribedCall::~DescribedCall() { PutBack(); }

DescribedCall::Outcome DescribedCall::Describe(const CollectedBuffer& buffer,
                                               PhysicalMemory& memory) {
  constexpr std::uint64_t kPage = std::uint64_t{1} << kDescriptorPageShift;
  const std::uint64_t address = buffer.buffer.address.value;
  const auto entries = static_cast<std::uint32_t>(DescriptorEntries(address, buffer.bytes()));
  std::vector<PhysicalAddress> pages(entries);
  for (std::uint32_t i = 0; i < entries; ++i) {
    const std::uint64_t start = i == 0 ? address : (address & ~(kPage - 1)) + i * kPage;
    if (!memory.Find(buffer.data() + (start - address), &pages[i])) return Outcome::kNotBacked;
  }
  std::byte* descriptor = memory.Allocate(DescriptorBytes(entries));
  PhysicalAddress place;
  if (descriptor == nullptr || !memory.Find(descriptor, &place)) return Outcome::kNoMemory;
  StoreDescriptor(descriptor, entries, order_, [&](std::uint32_t i) { return pages[i]; });

  const std::uint64_t flags = ~buffer.buffer.part->address_bits;
  if (buffer.pointer == nullptr) {
    std::uint64_t& bits = call_.registers[buffer.register_index];
    bits = (bits & flags) | place.value;
  } else {
    const auto bits = LoadField<std::uint64_t>(buffer.pointer, order_);
    replaced_.push_back({buffer.pointer, bits});
    StoreField(buffer.pointer, (bits & flags) | place.value, order_);
  }
  return Outcome::kDescribed;
}

void DescribedCall::PutBack() {
  for (const Replaced& each : replaced_) StoreField(each.pointer, each.bits, order_);
  replaced_.clear();
}

}  // namespace xencomm::schema
