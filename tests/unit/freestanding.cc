// The freestanding parts, linked with nothing: no libc, no libstdc++, no start-up code.
//
// What is missing at link time is what a kernel would miss. The four functions below are all that
// these parts may ask of their surroundings. The program copies through a region, registered and
// stateless, and through a descriptor, and exits with 0, or with the line of the check that failed.
#include <cstddef>
#include <cstdint>

#include "xencomm/descriptor.h"
#include "xencomm/guest_handle.h"
#include "xencomm/region_table.h"

extern "C" {

void* memcpy(void* to, const void* from, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) {
    static_cast<volatile char*>(to)[i] = static_cast<const char*>(from)[i];
  }
  return to;
}

void* memmove(void* to, const void* from, std::size_t bytes) {
  if (to <= from) return memcpy(to, from, bytes);
  for (std::size_t i = bytes; i-- > 0;) {
    static_cast<volatile char*>(to)[i] = static_cast<const char*>(from)[i];
  }
  return to;
}

void* memset(void* to, int value, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) {
    static_cast<volatile char*>(to)[i] = static_cast<char>(value);
  }
  return to;
}

int memcmp(const void* a, const void* b, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) {
    const int difference =
        static_cast<const unsigned char*>(a)[i] - static_cast<const unsigned char*>(b)[i];
    if (difference != 0) return difference;
  }
  return 0;
}

}  // extern "C"

namespace xencomm {
namespace {

constexpr std::uint64_t kPage = 4096;

// Sixteen pages whose neighbours in guest-physical memory lie far apart here.
struct SmallMemory {
  Mapping Map(PhysicalAddress physical, std::uint64_t length, Access) {
    if (physical.value >= sizeof(bytes)) return Fault::kNoMemory;
    const std::uint64_t within = physical.value % kPage;
    const std::uint64_t frame = physical.value / kPage * 5 % 16;
    const std::uint64_t rest = kPage - within;
    return {bytes + frame * kPage + within, length < rest ? length : rest};
  }

  alignas(kPage) std::byte bytes[16 * kPage];
};

struct Pair {
  std::uint64_t first;
  std::uint64_t second;
};
void SwapBytes(Pair& pair) {
  xencomm::SwapBytes(pair.first);
  xencomm::SwapBytes(pair.second);
}

SmallMemory memory;

// 0, or the line that failed.
int CheckPairs(Space& space, VirtualAddress pointer, ByteOrder order) {
  const GuestHandle<Pair> handle(space, pointer, 300, order);
  for (std::uint64_t i = 0; i < 300; ++i) {
    if (!handle.Write(i, Pair{i, ~i}).ok()) return __LINE__;
  }
  for (std::uint64_t i = 0; i < 300; ++i) {
    Pair pair;
    if (!handle.Read(i, pair).ok() || pair.first != i || pair.second != ~i) return __LINE__;
  }
  if (!handle.Clear(10, 200).ok()) return __LINE__;
  Pair pair;
  if (!handle.Read(209, pair).ok() || pair.second != 0) return __LINE__;
  return handle.Read(300, pair).fault.fault == Fault::kOutOfRange ? 0 : __LINE__;
}

int CheckAll(ByteOrder order) {
  const VirtualAddress base{0x1000'0000};
  const auto layout = RegionLayout::Make(base, 4 * kPage, 12);
  if (!layout.ok()) return __LINE__;
  memset(memory.bytes, 0, sizeof(memory.bytes));
  const PhysicalAddress table_page[] = {{2 * kPage}};
  const auto table = RegionTable<SmallMemory>::Build(memory, *layout, order, table_page);
  if (!table.ok()) return __LINE__;
  HeldPage held[4];
  for (std::uint64_t i = 1; i < 4; ++i) {
    const std::uint64_t page = (15 - i) * kPage;
    if (!table->Back(i, {page}).ok()) return __LINE__;
    held[i] = HeldPage(memory.Map({page}, kPage, Access::kWrite).start(), Access::kWrite,
                       GranuleUse::kAnyPointer);
  }

  const VirtualAddress pointer = base + (kPage + 4088);
  RegisteredRegion registered(*layout, held, FoundIn::kMemory);
  if (const int line = CheckPairs(registered, pointer, order)) return line;

  const auto reader = OpenTable(memory, table->handle(), order);
  if (!reader.ok()) return __LINE__;
  SpaceOver stateless(StatelessRegion{*reader}, memory);
  if (const int line = CheckPairs(stateless, pointer, order)) return line;

  const PhysicalAddress pages[] = {{9 * kPage + 8}, {3 * kPage}};
  StoreDescriptor(memory.bytes, 2, order, [&](std::uint32_t i) { return pages[i]; });
  // Frame 0 is page 0: the descriptor lies at guest-physical 0 plus 8, since 0 itself is null.
  memmove(memory.bytes + 8, memory.bytes, DescriptorBytes(2));
  SpaceOver descriptors(XcomTranslation(memory, order), memory);
  return CheckPairs(descriptors, {8}, order);
}

[[noreturn]] void Exit(int code) {
  for (;;) {
    // exit_group(code): the one service of the kernel underneath that this program asks for.
    asm volatile("syscall" ::"a"(231L), "D"(static_cast<long>(code)) : "rcx", "r11", "memory");
  }
}

}  // namespace
}  // namespace xencomm

// The ABI wants the stack aligned before a call, and the kernel leaves it so at _start, where no
// call has happened: hence the attribute.
extern "C" [[gnu::force_align_arg_pointer]] void _start() {
  int line = xencomm::CheckAll(xencomm::ByteOrder::kLittle);
  if (line == 0) line = xencomm::CheckAll(xencomm::ByteOrder::kBig);
  // An exit code has eight bits; a failing line must not look like success.
  xencomm::Exit(line == 0 ? 0 : (line % 255) + 1);
}
