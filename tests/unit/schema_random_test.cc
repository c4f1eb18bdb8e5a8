// Random calls of every op of the table, through all that is derived from it.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/fuzz/call_properties.h"
#include "tests/fuzz/hostile_edit.h"
#include "tests/fuzz/random_call.h"

namespace xencomm::fuzz {
namespace {

constexpr unsigned kRounds = 50;  // for each case of an op

// Calls check(op, order, call, memory, random) for random calls of every op: a sentence when
// something is wrong.
template <class Check>
void ForEachCall(Check check) {
  CallMemory memory;
  unsigned checked = 0;
  for (const schema::Op* op : AllOps()) {
    const std::size_t cases = std::max(op->argument().variants().size(), std::size_t{1});
    for (std::uint64_t seed = 0; seed < kRounds * cases; ++seed) {
      memory.Clear();
      Random random(seed);
      const ByteOrder order = seed % 2 == 0 ? ByteOrder::kLittle : ByteOrder::kBig;
      const RandomCall call(*op, order, random, memory);
      if (!call.ok()) continue;
      ++checked;
      const std::string wrong = check(*op, order, call, memory, random);
      EXPECT_EQ(wrong, "") << schema::WordsOf(op->hypercall()).name << "."
                           << schema::WordsOf(*op).name << ", seed " << seed;
      if (!wrong.empty()) break;
    }
  }
  EXPECT_GT(checked, AllOps().size() * kRounds * 9 / 10);
}

// The arrays of which an op tells how much it filled.
std::set<const schema::Part*> CountedArrays() {
  std::set<const schema::Part*> arrays;
  for (const schema::Op* op : AllOps()) {
    for (const std::span<const schema::Part> parts :
         {op->registers().parts(), op->argument().parts(), op->buffers()}) {
      for (const schema::Part& part : parts) {
        if (part.filled().kind != schema::CountKind::kNone) arrays.insert(&part);
      }
    }
  }
  return arrays;
}

TEST(RandomCalls, KeepWhatHoldsForAll) {
  std::set<const schema::Part*> never_cut_short = CountedArrays();
  EXPECT_GT(never_cut_short.size(), 50u);
  ForEachCall([&](const schema::Op& op, ByteOrder order, const RandomCall& call, CallMemory& memory,
                  Random& random) {
    CallProperties properties(op, order, call.call(), &call, memory, random);
    const std::string wrong = properties.Check();
    for (const schema::Part* part : properties.cut_short()) never_cut_short.erase(part);
    return wrong;
  });
  for (const schema::Part* part : never_cut_short) ADD_FAILURE() << schema::WordsOf(*part).path;
}

// Counts, pointers and discriminators of all kinds of bad values, one after the other.
TEST(RandomCalls, AreRefusedByNameWhenTheyAreHostile) {
  unsigned refused = 0;
  ForEachCall([&](const schema::Op& op, ByteOrder order, const RandomCall& made, CallMemory& memory,
                  Random& random) -> std::string {
    std::vector<schema::CollectedBuffer> buffers;
    CollectBuffers(made.call(), order, RandomCall::kVcpus, made.release(), buffers);
    schema::Call call = made.call();
    for (unsigned i = 0; i < 8; ++i) {
      const std::uint64_t bits = random.Next();
      Edit edit;
      static_assert(sizeof(edit) == sizeof(bits));
      std::memcpy(&edit, &bits, sizeof(edit));
      Apply(edit, buffers, order, memory, call);
      CallProperties properties(op, order, call, nullptr, memory, random);
      const std::string wrong = properties.CheckHostile();
      if (!wrong.empty()) return wrong;
      refused += properties.is_refused() ? 1 : 0;
    }
    return "";
  });
  EXPECT_GT(refused, AllOps().size() * kRounds);
}

}  // namespace
}  // namespace xencomm::fuzz
