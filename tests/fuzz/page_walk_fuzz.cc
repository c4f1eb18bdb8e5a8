// Page tables and paging modes that the fuzzer writes.
#include "arch/x86_64/page_walk.h"
#include "tests/fuzz/guest.h"

namespace xencomm::fuzz {
namespace {

void Run(FuzzedDataProvider& data) {
  GuestMemory memory(data);
  x86_64::PagingState state;
  state.cr0 = data.ConsumeIntegral<std::uint64_t>();
  state.cr3 = data.ConsumeIntegralInRange<std::uint64_t>(0, kPages - 1) * kPage;
  state.cr4 = data.ConsumeIntegral<std::uint64_t>();
  const std::uint64_t pointer = data.ConsumeBool() ? data.ConsumeIntegral<std::uint32_t>()
                                                   : data.ConsumeIntegral<std::uint64_t>();
  const std::uint64_t offset =
      data.ConsumeBool() ? data.ConsumeIntegral<std::uint64_t>() : std::uint64_t{0};
  const std::uint64_t length = data.ConsumeIntegralInRange<std::uint64_t>(0, 3 * kPage);
  const Access access = data.ConsumeBool() ? Access::kRead : Access::kWrite;
  // Entries that mostly lead to a table that exists, so that walks get to the end of it.
  for (int i = 0; i < 48 && data.remaining_bytes() > 4; ++i) {
    const std::uint64_t place = data.ConsumeIntegralInRange<std::uint64_t>(0, kPages - 1) * kPage +
                                data.ConsumeIntegralInRange<std::uint64_t>(0, 7) * 8;
    StoreField(memory.At(place),
               data.ConsumeIntegralInRange<std::uint64_t>(0, kPages - 1) * kPage |
                   (data.ConsumeIntegral<std::uint8_t>() | 1u),
               ByteOrder::kLittle);
  }
  memory.Scribble(data, ByteOrder::kLittle);

  SpaceOver space(x86_64::PageWalk(memory, state), memory);
  CheckCopyIsBytewise(space, {pointer}, offset, length, access);
}

}  // namespace
}  // namespace xencomm::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  FuzzedDataProvider data(bytes, size);
  xencomm::fuzz::Run(data);
  return 0;
}
