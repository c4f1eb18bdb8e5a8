// Calls of every op of the table: well-formed ones must keep all properties, and whatever is then
// changed in them must lead to a finding with a name, never out of the call's memory.
//
// An input is an op, a seed that the call is made from, and the numbers that are changed. The
// mutator knows that form, so that each input is a call.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/fuzz/call_properties.h"
#include "tests/fuzz/hostile_edit.h"
#include "tests/fuzz/random_call.h"

namespace xencomm::fuzz {
namespace {

struct Input {
  static constexpr std::size_t kMaxEdits = 12;

  std::uint16_t op = 0;
  std::uint16_t edits = 0;
  std::uint32_t seed = 0;
  Edit edit[kMaxEdits] = {};

  static Input Read(const std::uint8_t* data, std::size_t size) {
    Input input;
    std::memcpy(&input, data, std::min(size, sizeof(input)));
    input.edits = static_cast<std::uint16_t>(input.edits % (kMaxEdits + 1));
    return input;
  }
};

void Expect(const schema::Op& op, const std::string& wrong) {
  if (wrong.empty()) return;
  std::fprintf(stderr, "%s.%s: %s\n", schema::WordsOf(op.hypercall()).name,
               schema::WordsOf(op).name, wrong.c_str());
  std::abort();
}

void Run(const Input& input) {
  static const std::vector<const schema::Op*> kOps = AllOps();
  static CallMemory memory;
  const schema::Op& op = *kOps[input.op % kOps.size()];
  Random random(input.seed);
  const ByteOrder order = random.OneIn(2) ? ByteOrder::kLittle : ByteOrder::kBig;
  memory.Clear();
  const RandomCall made(op, order, random, memory);
  if (!made.ok()) return;
  Expect(op, CallProperties(op, order, made.call(), &made, memory, random).Check());

  std::vector<schema::CollectedBuffer> buffers;
  CollectBuffers(made.call(), order, RandomCall::kVcpus, made.release(), buffers);
  schema::Call call = made.call();
  for (std::size_t i = 0; i < input.edits; ++i) Apply(input.edit[i], buffers, order, memory, call);
  Expect(op, CallProperties(op, order, call, nullptr, memory, random).CheckHostile());
}

}  // namespace
}  // namespace xencomm::fuzz

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t max_size, unsigned seed) {
  using xencomm::fuzz::Input;
  if (max_size < sizeof(Input)) return 0;
  Input input = Input::Read(data, size);
  xencomm::fuzz::Random random(seed);
  switch (random.Below(4)) {
    case 0:
      input.op = static_cast<std::uint16_t>(random.Next());
      break;
    case 1:
      input.seed = static_cast<std::uint32_t>(random.Next());
      break;
    default: {
      if (input.edits < Input::kMaxEdits) ++input.edits;
      const std::uint64_t bits = random.Next();
      std::memcpy(&input.edit[random.Below(input.edits)], &bits, sizeof(bits));
    }
  }
  std::memcpy(data, &input, sizeof(input));
  return sizeof(input);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  xencomm::fuzz::Run(xencomm::fuzz::Input::Read(data, size));
  return 0;
}
