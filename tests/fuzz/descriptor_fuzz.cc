// Descriptors and inline addresses that the fuzzer writes.
#include "tests/fuzz/guest.h"
#include "xencomm/descriptor.h"

namespace xencomm::fuzz {
namespace {

// Where byte `offset` of a buffer lies, as public/xencomm.h's historical users computed it, with
// the strictness of xencomm/descriptor.h.
Mapping ModelByte(GuestMemory& memory, std::uint64_t pointer, std::uint64_t offset, ByteOrder order,
                  Access access) {
  if (pointer >> 63 != 0) {
    const std::uint64_t address = pointer << 1 >> 1;
    if (offset >> 63 != 0 || (address + offset) >> 63 != 0) return Fault::kOverflow;
    return memory.Map({address + offset}, 1, access);
  }
  if (pointer == 0) return Fault::kNull;
  if (pointer % 8 != 0) return Fault::kMisaligned;
  const auto word = [&](std::uint64_t place) { return memory.Map({place}, 8, Access::kRead); };
  const Mapping head = word(pointer);
  if (!head.ok()) return head.fault();
  const auto magic = LoadField<std::uint32_t>(head.start(), order);
  if (magic == __builtin_bswap32(0x58434F4D)) return Fault::kByteOrder;
  if (magic != 0x58434F4D) return Fault::kBadMagic;
  const auto count = LoadField<std::uint32_t>(head.start() + 4, order);
  if (count == 0) return Fault::kOutOfRange;
  const Mapping first = word(pointer + 8);
  if (!first.ok()) return first.fault();
  const auto address = LoadField<std::uint64_t>(first.start(), order);
  if (address == ~std::uint64_t{0}) return Fault::kNotBacked;
  if (offset < kPage - address % kPage) return memory.Map({address + offset}, 1, access);
  const std::uint64_t beyond = offset - (kPage - address % kPage);
  if (offset + address % kPage < offset) return Fault::kOverflow;
  const std::uint64_t index = 1 + beyond / kPage;
  if (index >= count) return Fault::kOutOfRange;
  const Mapping entry = word(pointer + 8 + 8 * index);
  if (!entry.ok()) return entry.fault();
  const auto page = LoadField<std::uint64_t>(entry.start(), order);
  if (page == ~std::uint64_t{0}) return Fault::kNotBacked;
  if (page % kPage != 0) return Fault::kMisaligned;
  return memory.Map({page + beyond % kPage}, 1, access);
}

void Run(FuzzedDataProvider& data) {
  GuestMemory memory(data);
  const auto order = data.ConsumeBool() ? ByteOrder::kBig : ByteOrder::kLittle;
  const std::uint64_t pointer = data.ConsumeBool()
                                    ? data.ConsumeIntegralInRange<std::uint64_t>(0, 1023) * 8
                                    : data.ConsumeIntegral<std::uint64_t>();
  if (IsAligned(pointer, 8) && pointer < kPages * kPage) {
    StoreField(memory.At(pointer), kDescriptorMagic, order);
    StoreField(memory.At(pointer) + 4, data.ConsumeIntegral<std::uint32_t>() >> 16, order);
  }
  const std::uint64_t offset = data.ConsumeBool() ? data.ConsumeIntegral<std::uint64_t>()
                                                  : data.ConsumeIntegral<std::uint16_t>();
  const std::uint64_t length = data.ConsumeIntegralInRange<std::uint64_t>(0, 3 * kPage);
  const Access access = data.ConsumeBool() ? Access::kRead : Access::kWrite;
  memory.Scribble(data, order);

  SpaceOver space(XcomTranslation(memory, order), memory);
  CheckCopyIsBytewise(space, {pointer}, offset, length, access);
  const Mapping expected = ModelByte(memory, pointer, offset, order, access);
  const Mapping actual = space.Map({pointer}, offset, 1, access, nullptr);
  FUZZ_CHECK(expected.ok() == actual.ok());
  if (expected.ok()) {
    FUZZ_CHECK(expected.start() == actual.start());
  } else {
    FUZZ_CHECK(expected.fault() == actual.fault());
  }
}

}  // namespace
}  // namespace xencomm::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  FuzzedDataProvider data(bytes, size);
  xencomm::fuzz::Run(data);
  return 0;
}
