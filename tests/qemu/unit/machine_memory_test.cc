// What real mode must not be asked: addresses whose high bits it would ignore. Compiled for the
// architecture that the test runs on.

#if defined(__powerpc64__)
#include "arch/powerpc/hypercall_entry.h"
namespace arch = xencomm::powerpc;
#else
#include "arch/x86_64/hypercall_entry.h"
namespace arch = xencomm::x86_64;
#endif

#include <gtest/gtest.h>

#include <cstdint>

#include "xencomm/machine_memory.h"

namespace xencomm {
namespace {

// A p2m with one run, whatever is asked for.
struct OneRun {
  Run<MachineAddress> run;
  Run<MachineAddress> Lookup(PhysicalAddress, std::uint64_t length, Access access) {
    if (access == Access::kWrite && !writable) return Fault::kNotWritable;
    return {run.start(), length < run.length() ? length : run.length()};
  }
  bool writable = true;
};

constexpr unsigned kBits = 42;
constexpr std::uint64_t kLimit = std::uint64_t{1} << kBits;

TEST(MachineMemory, AMachineAddressIsItsOwnPointer) {
  OneRun p2m = {.run = {MachineAddress{0x12345000}, 4096}};
  MachineMemory memory(p2m, kBits);
  const Mapping mapping = memory.Map({0}, 100, Access::kWrite);
  ASSERT_TRUE(mapping.ok());
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(mapping.start()), 0x12345000u);
  EXPECT_EQ(mapping.length(), 100u);
}

TEST(MachineMemory, RefusesAddressBitsThatTheProcessorIgnores) {
  const struct {
    std::uint64_t start;
    std::uint64_t length;
    bool reachable;
  } rows[] = {
      {kLimit - 4096, 4096, true},         // the last page
      {kLimit, 4096, false},               // would alias page 0
      {kLimit | 0x12345000, 4096, false},  // would alias that page
      {kLimit - 4096, 8192, false},        // begins inside
      {~std::uint64_t{0} - 4095, 4096, false},
      {std::uint64_t{1} << 63, 4096, false},
  };
  for (const auto& row : rows) {
    OneRun p2m = {.run = {MachineAddress{row.start}, row.length}};
    MachineMemory memory(p2m, kBits);
    const Mapping mapping = memory.Map({0}, row.length, Access::kRead);
    EXPECT_EQ(mapping.ok(), row.reachable) << std::hex << row.start;
    if (!mapping.ok()) {
      EXPECT_EQ(mapping.fault().fault, Fault::kNoMemory);
    }
  }
}

TEST(MachineMemory, HandsTheFaultOfTheP2mOn) {
  OneRun p2m = {.run = {MachineAddress{0x1000}, 4096}, .writable = false};
  MachineMemory memory(p2m, kBits);
  EXPECT_EQ(memory.Map({0}, 1, Access::kWrite).fault().fault, Fault::kNotWritable);
  EXPECT_TRUE(memory.Map({0}, 1, Access::kRead).ok());
}

TEST(HypercallRegisters, TellAKernelFromAProgram) {
  arch::HypercallRegisters registers = {};
  EXPECT_TRUE(registers.from_kernel());
#if defined(__powerpc64__)
  registers.srr1 = arch::kMsrProblemState;
#else
  registers.cpl = 3;
#endif
  EXPECT_FALSE(registers.from_kernel());
}

TEST(HypercallRegisters, KeepIndexArgumentsAndRegionApart) {
#if defined(__powerpc64__)
  arch::HypercallRegisters registers = {
      .r3 = 1, .r4 = 2, .r5 = 3, .r6 = 4, .r7 = 5, .r8 = 6, .r9 = 7, .srr0 = 0, .srr1 = 0};
#else
  arch::HypercallRegisters registers = {
      .rax = 1, .rdi = 2, .rsi = 3, .rdx = 4, .r10 = 5, .r8 = 6, .r9 = 7, .cpl = 0};
#endif
  EXPECT_EQ(registers.index(), 1u);
  std::uint64_t arguments[arch::HypercallRegisters::kArguments];
  registers.get_arguments(arguments);
  for (unsigned i = 0; i < arch::HypercallRegisters::kArguments; ++i) {
    EXPECT_EQ(arguments[i], i + 2);
  }
  EXPECT_EQ(registers.region(), 7u);
  registers.set_result(-1);
  EXPECT_EQ(registers.index(), ~std::uint64_t{0});
}

}  // namespace
}  // namespace xencomm
