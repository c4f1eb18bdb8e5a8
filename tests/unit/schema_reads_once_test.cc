// Random calls of every op, audited while the program changes each byte right after it was read:
// nothing is decided by a byte that was read before and is another now.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "gtest/gtest.h"
#include "hcall/schema/audited_call.h"
#include "hcall/schema/words.h"
#include "tests/fuzz/random_call.h"

namespace xencomm::fuzz {
namespace {

using schema::AuditedCall;
using schema::AuditScratch;

constexpr unsigned kRounds = 12;
constexpr std::uint64_t kScratchAt = std::uint64_t{4} << CallMemory::kShift;
constexpr std::uint64_t kScratchBytes = 2048;

using Change = std::byte (*)(std::byte);
constexpr Change kChanges[] = {
    [](std::byte) { return std::byte{0xff}; },
    [](std::byte) { return std::byte{}; },
    [](std::byte byte) { return std::byte(std::to_integer<unsigned>(byte) + 1); },
    [](std::byte byte) { return std::byte(std::to_integer<unsigned>(byte) - 1); },
};

// What is read is handed out as a copy and changes at once: whoever looks again, by the space or
// past it, finds something else.
class ChangingSpace final : public Space {
 public:
  // But for what lies at `scratch`, which is not the program's. Without a change nothing changes.
  ChangingSpace(CallSpace& space, const std::byte* scratch, Change change)
      : space_(space), scratch_(scratch), change_(change) {}

  Mapping Resolve(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length, Access access,
                  Cursor* cursor) override {
    const Mapping run = space_.Map(pointer, offset, length, access, cursor);
    if (!run.ok() || access == Access::kWrite || change_ == nullptr) return run;
    const std::span<std::byte> read(run.start(), run.length());
    if (static_cast<std::size_t>(read.data() - scratch_) < CallMemory::kHoleBytes) return run;
    std::vector<std::byte>& copy = copies_.emplace_back(read.begin(), read.end());
    std::ranges::transform(read, read.begin(), change_);
    return {copy.data(), copy.size()};
  }

 private:
  CallSpace& space_;
  const std::byte* const scratch_;
  const Change change_;
  std::vector<std::vector<std::byte>> copies_;
};

struct Audited {
  schema::Problem problem;
  schema::Call passed;
  std::vector<std::byte> copy;
};

Audited Audit(CallMemory& memory, const RandomCall& made, ByteOrder order, Change change) {
  std::byte* const scratch = reinterpret_cast<std::byte*>(memory.address() + kScratchAt);
  std::memset(scratch, 0, kScratchBytes);
  CallSpace direct(memory);
  ChangingSpace space(direct, scratch, change);
  const schema::Caller caller = {space, order, RandomCall::kVcpus, made.release()};
  const VirtualAddress at = {memory.address() + kScratchAt};
  const AuditScratch own = {at, {scratch, kScratchBytes}};
  const AuditedCall audited(
      made.call(), caller,
      {.region = memory.layout(), .arguments_only = {at, CallMemory::kHoleBytes}}, own);
  return {audited.finding().problem, audited.call(), {scratch, scratch + kScratchBytes}};
}

TEST(RandomCalls, AreAuditedByWhatWasReadFirst) {
  CallMemory memory;
  memory.LeaveOut(kScratchAt);
  unsigned passed = 0;
  for (const schema::Op* op : AllOps()) {
    for (std::uint64_t seed = 0; seed < kRounds; ++seed) {
      memory.Clear();
      Random random(seed);
      const ByteOrder order = seed % 2 == 0 ? ByteOrder::kLittle : ByteOrder::kBig;
      const RandomCall made(*op, order, random, memory);
      if (!made.ok()) continue;
      const std::vector<std::byte> before(memory.used().begin(), memory.used().end());
      const Audited expected = Audit(memory, made, order, nullptr);
      passed += expected.problem == schema::Problem::kNone;
      for (const Change change : kChanges) {
        const Audited audited = Audit(memory, made, order, change);
        std::ranges::copy(before, memory.used().begin());
        EXPECT_EQ(audited.problem, expected.problem)
            << schema::WordsOf(op->hypercall()).name << "." << schema::WordsOf(*op).name
            << ", seed " << seed;
        if (expected.problem != schema::Problem::kNone) continue;
        EXPECT_EQ(audited.passed.registers, expected.passed.registers);
        EXPECT_EQ(audited.copy, expected.copy) << schema::WordsOf(op->hypercall()).name << "."
                                               << schema::WordsOf(*op).name << ", seed " << seed;
      }
    }
  }
  EXPECT_GT(passed, AllOps().size() * kRounds / 4);
}

}  // namespace
}  // namespace xencomm::fuzz
