// Stateless and registered regions whose tables the fuzzer writes.
#include "tests/fuzz/guest.h"
#include "xencomm/region_table.h"
#include "xencomm/region_translation.h"

namespace xencomm::fuzz {
namespace {

// What a pointer means, said as plainly as the design says it: recursion, no cursor, no tricks.
class Model {
 public:
  Model(GuestMemory& memory, const RegionLayout& layout, PhysicalAddress handle, ByteOrder order)
      : memory_(memory), layout_(layout), handle_(handle), order_(order) {}

  Result<PhysicalAddress> Granule(std::uint64_t index) {
    if (index == 0) return handle_;
    const std::uint64_t place = 32 + 8 * index;
    const Result<PhysicalAddress> table = Granule(place / layout_.granule_size());
    if (!table.ok()) return table.fault();
    const Mapping word = memory_.Map(*table + place % layout_.granule_size(), 8, Access::kRead);
    if (!word.ok()) return word.fault();
    const auto base = LoadField<std::uint64_t>(word.start(), order_);
    if (base == ~std::uint64_t{0}) return Fault::kNotBacked;
    if (base % layout_.granule_size() != 0) return Fault::kMisaligned;
    return PhysicalAddress{base};
  }

  Mapping Byte(std::uint64_t address, Access access) {
    const std::uint64_t base = layout_.virtual_base().value;
    if (address < base || address - base >= layout_.length()) return Fault::kOutOfRange;
    const std::uint64_t into = address - base;
    const bool in_table =
        layout_.base_count() == 1
            ? into < 40
            : into / layout_.granule_size() <
                  (32 + 8 * std::uint64_t{layout_.base_count()} + layout_.granule_size() - 1) /
                      layout_.granule_size();
    if (in_table) return Fault::kInTable;
    const Result<PhysicalAddress> granule = Granule(into / layout_.granule_size());
    if (!granule.ok()) return granule.fault();
    return memory_.Map(*granule + into % layout_.granule_size(), 1, access);
  }

 private:
  GuestMemory& memory_;
  RegionLayout layout_;
  PhysicalAddress handle_;
  ByteOrder order_;
};

void Run(FuzzedDataProvider& data) {
  GuestMemory memory(data);
  const auto order = data.ConsumeBool() ? ByteOrder::kBig : ByteOrder::kLittle;
  const PhysicalAddress handle{data.ConsumeIntegralInRange<std::uint64_t>(0, 3) * kPage};

  // Mostly a well-formed table to begin with, else hardly an input would pass the header.
  const auto layout =
      RegionLayout::Make({data.ConsumeIntegral<std::uint64_t>() & ~(kPage - 1)},
                         data.ConsumeIntegralInRange<std::uint64_t>(1, 600'000) * kPage, 12);
  if (layout.ok()) {
    layout->Store(memory.At(handle.value), order);
    StoreField(memory.At(handle.value + BaseOffset(0)), handle.value, order);
  }
  const std::uint64_t start =
      data.ConsumeBool() && layout.ok()
          ? layout->virtual_base().value + data.ConsumeIntegral<std::uint32_t>()
          : data.ConsumeIntegral<std::uint64_t>();
  const std::uint64_t offset =
      data.ConsumeBool() ? data.ConsumeIntegral<std::uint64_t>() : std::uint64_t{0};
  const std::uint64_t length = data.ConsumeIntegralInRange<std::uint64_t>(0, 3 * kPage);
  const Access access = data.ConsumeBool() ? Access::kRead : Access::kWrite;
  memory.Scribble(data, order);

  const auto table = OpenTable(memory, handle, order);
  if (!table.ok()) return;
  SpaceOver stateless(StatelessRegion{*table}, memory);
  CheckCopyIsBytewise(stateless, {start}, offset, length, access);
  Model model(memory, table->layout(), handle, order);
  std::uint64_t address;
  if (!__builtin_add_overflow(start, offset, &address)) {
    const Mapping expected = model.Byte(address, access);
    const Mapping actual = stateless.Map({start}, offset, 1, access, nullptr);
    FUZZ_CHECK(expected.ok() == actual.ok());
    if (expected.ok()) {
      FUZZ_CHECK(expected.start() == actual.start());
    } else {
      FUZZ_CHECK(expected.fault() == actual.fault());
    }
  }

  // Registering what a stateless call sees gives the same answers, but for granules that could not
  // be held.
  const RegionLayout& found = table->layout();
  if (RegisteredRegion::PagesOf(found) > 4096) return;
  std::vector<HeldPage> held(RegisteredRegion::PagesOf(found));
  for (std::uint64_t i = 0; i < held.size(); ++i) {
    const std::uint64_t at = i * kPage;
    const Result<PhysicalAddress> base = model.Granule(at >> found.granule_shift());
    if (!base.ok()) continue;
    const PhysicalAddress page = *base + at % found.granule_size();
    const Mapping run = memory.Map(page, kPage, Access::kRead);
    if (!run.ok()) continue;
    const bool writable = memory.Map(page, kPage, Access::kWrite).ok();
    held[i] =
        HeldPage(run.start(), writable ? Access::kWrite : Access::kRead, GranuleUse::kAnyPointer);
  }
  RegisteredRegion registered(found, held.data(), FoundIn::kMemory);
  CheckCopyIsBytewise(registered, {start}, offset, length, access);
}

}  // namespace
}  // namespace xencomm::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  FuzzedDataProvider data(bytes, size);
  xencomm::fuzz::Run(data);
  return 0;
}
