// What the architectures say about a machine: the registers of a hypercall, and machine memory that
// is reached at its own addresses. Both architectures' files, as they are in their kernels.

#include <array>
#include <cstring>

#include <gtest/gtest.h>

#include "arch/powerpc/hypercall_entry.h"
#include "arch/powerpc/real_address.h"
#include "arch/x86_64/hypercall_entry.h"
#include "arch/x86_64/real_address.h"
#include "xencomm/machine_memory.h"

namespace xencomm {
namespace {

// Register by register, in the order in which the entry code puts them down.
template <class Registers>
Registers Filled(std::uint64_t caller) {
  std::array<std::uint64_t, sizeof(Registers) / sizeof(std::uint64_t)> words;
  for (std::size_t i = 0; i < words.size(); ++i) words[i] = 0x1000 + i;
  words.back() = caller;
  Registers registers;
  std::memcpy(&registers, words.data(), sizeof(registers));
  return registers;
}

template <class Registers>
void ExpectTheCallsOrder() {
  Registers registers = Filled<Registers>(0);
  EXPECT_EQ(registers.index(), 0x1000u);
  std::uint64_t arguments[Registers::kArguments];
  registers.get_arguments(arguments);
  for (unsigned i = 0; i < Registers::kArguments; ++i) EXPECT_EQ(arguments[i], 0x1001 + i);
  EXPECT_EQ(registers.region(), 0x1006u);

  // The answer changes no other register.
  Registers expected = registers;
  reinterpret_cast<std::uint64_t*>(&expected)[0] = ~std::uint64_t{0} - 13;
  registers.set_result(-14);
  EXPECT_EQ(std::memcmp(&registers, &expected, sizeof(registers)), 0);
}

TEST(HypercallRegistersTest, AreInTheCallsOrder) {
  ExpectTheCallsOrder<x86_64::HypercallRegisters>();
  ExpectTheCallsOrder<powerpc::HypercallRegisters>();
}

TEST(HypercallRegistersTest, TellAKernelFromAProgram) {
  for (const std::uint64_t cpl : {1, 2, 3}) {
    EXPECT_FALSE(Filled<x86_64::HypercallRegisters>(cpl).from_kernel()) << cpl;
  }
  EXPECT_TRUE(Filled<x86_64::HypercallRegisters>(0).from_kernel());
  // MSR[PR] is bit 49 of 64, counted from the left.
  constexpr std::uint64_t kPr = std::uint64_t{1} << (63 - 49);
  for (const std::uint64_t msr : {kPr, ~std::uint64_t{0}}) {
    EXPECT_FALSE(Filled<powerpc::HypercallRegisters>(msr).from_kernel()) << msr;
  }
  for (const std::uint64_t msr : {std::uint64_t{0}, ~kPr}) {
    EXPECT_TRUE(Filled<powerpc::HypercallRegisters>(msr).from_kernel()) << msr;
  }
}

// Only x86-64 has calls whose pointers are raw.
TEST(HypercallRegistersTest, OptIntoARegionWhereThereIsAnotherWay) {
  EXPECT_EQ(x86_64::kRegionOptIn, std::uint64_t{1} << 30);
  EXPECT_EQ(powerpc::kRegionOptIn, 0u);
}

// Answers one run for all, and remembers what it was asked.
struct OneRun {
  Run<MachineAddress> run;
  PhysicalAddress physical = {};
  std::uint64_t length = 0;
  Access access = {};

  Run<MachineAddress> Lookup(PhysicalAddress at, std::uint64_t bytes, Access for_access) {
    physical = at, length = bytes, access = for_access;
    return run;
  }
};

Mapping Mapped(unsigned address_bits, Run<MachineAddress> run) {
  OneRun p2m{run};
  MachineMemory memory(p2m, address_bits);
  const Mapping mapping = memory.Map({0x5008}, 24, Access::kWrite);
  EXPECT_EQ(p2m.physical.value, 0x5008u);
  EXPECT_EQ(p2m.length, 24u);
  EXPECT_EQ(p2m.access, Access::kWrite);
  return mapping;
}

void ExpectMemoryBelow(unsigned address_bits) {
  const std::uint64_t limit = std::uint64_t{1} << address_bits;
  const auto mapped = [address_bits](std::uint64_t at, std::uint64_t length) {
    return Mapped(address_bits, {MachineAddress{at}, length});
  };
  for (const std::uint64_t at : {std::uint64_t{0}, std::uint64_t{0x7008}, limit - 16}) {
    const Mapping mapping = mapped(at, 16);
    ASSERT_TRUE(mapping.ok()) << at;
    EXPECT_EQ(reinterpret_cast<std::uint64_t>(mapping.start()), at);
    EXPECT_EQ(mapping.length(), 16u);
  }
  EXPECT_TRUE(mapped(limit - 1, 1).ok());
  // Real mode would ignore the bits above, and reach what lies at 0.
  for (const std::uint64_t at :
       {limit - 15, limit - 1, limit, limit + 0x7008, ~std::uint64_t{0} - 16, ~std::uint64_t{0}}) {
    const Mapping mapping = mapped(at, 16);
    ASSERT_FALSE(mapping.ok()) << at;
    EXPECT_EQ(mapping.fault().fault, Fault::kNoMemory);
  }
  const Mapping refused = Mapped(address_bits, Fault::kNotWritable);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.fault().fault, Fault::kNotWritable);
}

TEST(MachineMemoryTest, EndsWhereTheProcessorsAddressesDo) {
  ExpectMemoryBelow(x86_64::kRealAddressBits);
  ExpectMemoryBelow(powerpc::kRealAddressBits);
  ExpectMemoryBelow(powerpc::kRealAddressBits970);
}

TEST(MachineMemoryTest, KnowsTheAddressesOfTheProcessors) {
  EXPECT_EQ(x86_64::kRealAddressBits, 52u);
  EXPECT_EQ(powerpc::kRealAddressBits, 60u);
  EXPECT_EQ(powerpc::kRealAddressBits970, 42u);
}

}  // namespace
}  // namespace xencomm
