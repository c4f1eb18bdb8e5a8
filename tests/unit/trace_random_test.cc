// Random calls of every op: what a trace says of a call is what was put into it, and what the
// hypervisor made of it.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/escaping.h"
#include "gtest/gtest.h"
#include "hcall/schema/generated/xen.h"
#include "hcall/schema/words.h"
#include "hcall/trace/call_text.h"
#include "hcall/trace/captured_call.h"
#include "hcall/trace/described_call.h"
#include "hcall/transport/collect.h"
#include "hcall/transport/outputs.h"
#include "hcall/transport/privcmd_calls.h"
#include "nlohmann/json.hpp"
#include "tests/fuzz/random_call.h"

namespace xencomm::trace {
namespace {

using fuzz::CallMemory;
using fuzz::Random;
using fuzz::RandomCall;
using nlohmann::json;
using schema::Part;
using schema::Phase;
using schema::RecordView;

constexpr unsigned kRounds = 20;  // for each case of an op
constexpr std::uint64_t kMost = std::uint64_t{1} << 20;

// The program's memory: that of the call, and the ioctl's argument in a page of its own.
class Memory final : public ProgramMemory {
 public:
  explicit Memory(CallMemory& memory) : memory_(memory) {}

  void SetFrame(const schema::Call& call) {
    PrivcmdHypercall frame = {.op = call.hypercall, .arg = {}};
    std::copy_n(call.registers.begin(), 5, frame.arg);
    std::memcpy(frame_.data() + 64, &frame, sizeof(frame));
  }
  static constexpr std::uint64_t kFrame = 0x7000'0000'0000;

  std::uint64_t Read(std::uint64_t address, std::span<std::byte> to) override {
    EXPECT_EQ(address % 4096, 0u);
    std::uint64_t done = 0;
    for (; done < to.size(); done += 4096) {
      const std::uint64_t page = address + done;
      if (page == kFrame) {
        std::memcpy(&to[done], frame_.data(), 4096);
      } else if (page >= memory_.address() && page < memory_.end()) {
        std::memcpy(&to[done], reinterpret_cast<const void*>(page), 4096);
      } else {
        break;
      }
      ++pages_read;
    }
    return done;
  }

  std::uint64_t pages_read = 0;

 private:
  CallMemory& memory_;
  std::array<std::byte, 4096> frame_ = {};
};

// A number as the trace has it, before or after the call.
std::optional<std::uint64_t> NumberIn(const json& value, const char* when) {
  if (value.is_object() && value.contains(when)) return NumberIn(value[when], when);
  if (value.is_object() && value.contains("before")) return std::nullopt;
  if (value.is_object() && value.contains("value")) return NumberIn(value["value"], when);
  if (value.is_object() && value.contains("pointer")) return NumberIn(value["pointer"], when);
  if (value.is_null()) return 0;
  if (!value.is_number()) return std::nullopt;
  return value.is_number_unsigned() ? value.get<std::uint64_t>()
                                    : static_cast<std::uint64_t>(value.get<std::int64_t>());
}

const json* At(const json& value, std::string_view path) {
  if (path.empty()) return &value;
  if (path[0] == '.') path.remove_prefix(1);
  const std::size_t dot = std::min(path.find('.'), path.size());
  const auto found = value.find(std::string(path.substr(0, dot)));
  if (found == value.end()) return nullptr;
  return dot == path.size() ? &*found : At(*found, path.substr(dot + 1));
}

class Check {
 public:
  Check(const schema::Op& op, const RandomCall& made, CallMemory& memory, Random& random)
      : op_(op), made_(made), memory_(memory), random_(random) {}

  void Run() {
    Memory theirs(memory_);
    theirs.SetFrame(made_.call());
    CapturedCall call;
    call.request = kPrivcmdHypercall;
    call.argument = Memory::kFrame + 64;
    const Reading reading = {made_.release(), RandomCall::kVcpus};
    CaptureBefore(call, theirs, reading, kMost);
    const std::vector<std::byte> before(memory_.used().begin(), memory_.used().end());

    std::vector<schema::CollectedBuffer> buffers;
    ASSERT_TRUE(
        CollectBuffers(made_.call(), kNativeOrder, RandomCall::kVcpus, made_.release(), buffers)
            .ok());
    const std::int64_t answer = random_.OneIn(4) ? -ENOMEM : 0;
    // A hypervisor that writes all that it may. Structures come before what they lead to.
    if (answer == 0) {
      for (const schema::CollectedBuffer& buffer : buffers) {
        const schema::ReturnedBuffer all{buffer, buffer.data(), buffer.pointer,
                                         made_.call().registers, kNativeOrder};
        all.ForEachOutput(all.ResultOf(buffers[0].data(), answer),
                          [&](std::uint64_t offset, std::uint64_t bytes) {
                            random_.Fill(buffer.data() + offset, bytes);
                          });
      }
    }
    call.result = answer;
    CaptureAfter(call, theirs, reading, kMost);
    const std::uint64_t pages = theirs.pages_read;

    const std::vector<DescribedCall> described = Describe(call, reading, Amounts());
    EXPECT_EQ(theirs.pages_read, pages) << "what was captured is all that is looked at";
    ASSERT_FALSE(described.empty());
    if (op_.hypercall().holds_calls) return;
    EXPECT_EQ(described.size(), 1u);
    EXPECT_EQ(described[0].note, "");
    EXPECT_EQ(described[0].group, WordsOf(op_.hypercall()).name);
    EXPECT_TRUE(described[0].op.empty() || described[0].op == WordsOf(op_).name);
    const json line = json::parse(CallJson(call, described[0], {}));
    EXPECT_EQ(line["result"], answer);
    text_ = line.dump();

    then_ = &before;
    failed_ = answer < 0;
    CheckRegisters(line["arguments"]);
    for (const schema::CollectedBuffer& buffer : buffers) {
      if (buffer.buffer.element_record != &op_.argument() || buffer.buffer.count != 1) continue;
      CheckRecord(line["arguments"], op_.argument(), buffer.buffer.address.value,
                  buffer.buffer.bytes);
    }
    // No pointer's place is told twice.
    for (const schema::CollectedBuffer& buffer : buffers) CheckContents(line["arguments"], buffer);
  }

 private:
  const std::byte* Then(std::uint64_t address) const {
    return then_->data() + (address - memory_.address());
  }

  void CheckRegisters(const json& arguments) {
    for (const Part& part : op_.registers().parts()) {
      const schema::Hypercall& hypercall = op_.hypercall();
      if (part.is_buffer() || part.direction() == schema::Direction::kIgnored) continue;
      if (hypercall.op_place == schema::OpPlace::kRegister &&
          part.offset == hypercall.op_field.offset) {
        continue;
      }
      const json* const found = At(arguments, WordsOf(part).path);
      ASSERT_NE(found, nullptr) << WordsOf(part).path << " in " << text_;
      EXPECT_EQ(NumberIn(*found, "before"),
                made_.call().registers[part.offset / 8] & part.number_bits())
          << WordsOf(part).path << " in " << text_;
    }
  }

  // Every field of the argument, by its name.
  void CheckRecord(const json& fields, const schema::Record& record, std::uint64_t address,
                   std::uint64_t bytes) {
    std::vector<std::byte> was(record.type()->size), is(record.type()->size);
    std::copy_n(Then(address), bytes, was.begin());
    std::copy_n(reinterpret_cast<const std::byte*>(address), bytes, is.begin());
    const RecordView then(was.data(), kNativeOrder), now(is.data(), kNativeOrder);
    for (const Part& part : record.parts()) {
      const schema::Hypercall& hypercall = op_.hypercall();
      const std::string_view path = WordsOf(part).path;
      const auto is_at = [&](schema::Ref field) {
        return field && part.offset == field.offset && part.size() == field.size;
      };
      const std::size_t start = path.rfind('.') + 1;
      const bool is_elsewhere = std::ranges::any_of(record.parts(), [&](const Part& other) {
        return &other != &part && path == WordsOf(other).path;
      });
      if (part.direction() == schema::Direction::kIgnored && !is_elsewhere) {
        EXPECT_EQ(At(fields, path), nullptr) << path << " means nothing, in " << text_;
      }
      if (part.direction() == schema::Direction::kIgnored || part.is_buffer() ||
          is_at(hypercall.version_field) ||
          (hypercall.op_place != schema::OpPlace::kRegister && is_at(hypercall.op_field)) ||
          path.substr(start).starts_with("pad") || path.starts_with("_") || path == "reserved" ||
          path.starts_with("pad")) {
        continue;
      }
      if (part.offset + part.size() > bytes) continue;  // the argument was cut off
      const bool was_there = part.reads() && then.Has(part, Phase::kBefore);
      const bool is_there =
          part.writes() && now.Has(part, Phase::kAfter) && (!failed_ || part.reads());
      const json* found = At(fields, path);
      if (!was_there && !is_there) continue;
      const std::string in_union = "u." + std::string(path);
      if (part.offset >= op_.own_offset && At(fields, in_union) != nullptr) {
        found = At(fields, in_union);
      }
      ASSERT_NE(found, nullptr) << path << " in " << text_;
      const bool is_number = part.type().size == part.size() && part.type().is_number();
      const schema::Member* const member = WordsOf(part).member();
      if (!is_number || (member != nullptr && member->bit_width != 0)) continue;
      ++numbers;
      const auto number = [&](const RecordView& view) {
        std::uint64_t value = view.Read(part.offset, part.size());
        const unsigned unused = 64 - 8 * part.size();
        if (part.type().kind == schema::Kind::kSigned) {
          value = static_cast<std::uint64_t>(static_cast<std::int64_t>(value << unused) >> unused);
        }
        return value;
      };
      if (was_there) {
        EXPECT_EQ(NumberIn(*found, "before"), number(then)) << path << " in " << text_;
      }
      if (is_there && (!was_there || number(now) != number(then))) {
        EXPECT_EQ(NumberIn(*found, "after"), number(now)) << path << " in " << text_;
      }
    }
  }

  // Of buffers that lie behind a pointer of the argument: what is in them.
  void CheckContents(const json& arguments, const schema::CollectedBuffer& collected) {
    const schema::Buffer& buffer = collected.buffer;
    const Part& part = *buffer.part;
    if (buffer.element_record != nullptr || buffer.in_register || part.is_trailing()) return;
    if (buffer.index != schema::kNoIndex) return;
    const json* found = At(arguments, WordsOf(part).path);
    if (found == nullptr) return;  // of a structure inside another
    const bool has_after = found->is_object() && found->contains("after");
    if (buffer.direction == schema::Direction::kIn || (failed_ && !has_after && buffer.reads())) {
      ExpectBytes(*found, part, Then(buffer.address.value), buffer.bytes);
    } else if (buffer.direction == schema::Direction::kOut && failed_) {
      EXPECT_EQ(NumberIn(*found, "after"), buffer.address.value) << text_;
    } else if (buffer.direction == schema::Direction::kInOut && has_after) {
      ExpectBytes((*found)["before"], part, Then(buffer.address.value), buffer.bytes);
      ExpectBytes((*found)["after"], part, collected.data(), buffer.bytes);
    } else if (buffer.direction == schema::Direction::kOut) {
      ExpectBytes(*found, part, collected.data(), buffer.bytes);
    }
  }

  // At most so many bytes: the op may have filled fewer.
  void ExpectBytes(const json& value, const Part& part, const std::byte* bytes,
                   std::uint64_t most) {
    const std::uint64_t size = part.element().size;
    if (value.is_array() && part.element().is_number()) {
      EXPECT_LE(value.size() * size, most) << text_;
      for (std::size_t i = 0; i < value.size(); ++i) {
        std::uint64_t number = RecordView(bytes + i * size, kNativeOrder).Read(0, size);
        if (part.element().kind == schema::Kind::kSigned) continue;
        EXPECT_EQ(NumberIn(value[i], "before"), number) << WordsOf(part).path << " in " << text_;
        ++elements;
      }
    } else if (value.is_object() && value.contains("bytes")) {
      const std::string known = absl::HexStringToBytes(value["bytes"].get<std::string>());
      EXPECT_LE(known.size(), most) << text_;
      EXPECT_EQ(std::memcmp(known.data(), bytes, known.size()), 0) << text_;
      elements += known.size();
    } else if (value.is_object() && value.contains("bits")) {
      std::vector<bool> bits(most * 8);
      for (const json& range : value["bits"]) {
        for (std::uint64_t bit = range[0]; bit <= range[1]; ++bit) bits.at(bit) = true;
      }
      for (std::uint64_t bit = 0; bit < bits.size(); ++bit) {
        const bool is_set = (std::to_integer<unsigned>(bytes[bit / 8]) >> bit % 8 & 1) != 0;
        // What stands behind the last one is none.
        EXPECT_TRUE(is_set || !bits[bit]) << text_;
      }
      ++elements;
    }
  }

  const schema::Op& op_;
  const RandomCall& made_;
  CallMemory& memory_;
  Random& random_;
  const std::vector<std::byte>* then_ = nullptr;
  bool failed_ = false;
  std::string text_;

 public:
  std::uint64_t numbers = 0, elements = 0;
};

TEST(RandomCalls, AreShownAsTheyWereMade) {
  CallMemory memory;
  std::uint64_t numbers = 0, elements = 0;
  for (const schema::Op* op : fuzz::AllOps()) {
    const std::size_t cases = std::max(op->argument().variants().size(), std::size_t{1});
    for (std::uint64_t seed = 0; seed < kRounds * cases; ++seed) {
      SCOPED_TRACE(std::string(WordsOf(op->hypercall()).name) + "." + WordsOf(*op).name +
                   ", seed " + std::to_string(seed));
      memory.Clear();
      Random random(seed);
      const RandomCall call(*op, kNativeOrder, random, memory);
      if (!call.ok()) continue;
      Check check(*op, call, memory, random);
      check.Run();
      numbers += check.numbers;
      elements += check.elements;
      if (::testing::Test::HasFailure()) return;
    }
  }
  EXPECT_GT(numbers, 20000u);
  EXPECT_GT(elements, 10000u);
}

// Whatever stands in memory instead, a line comes of it.
TEST(RandomCalls, ThatAreHostileAreShownToo) {
  CallMemory memory;
  unsigned refused = 0;
  for (const schema::Op* op : fuzz::AllOps()) {
    for (std::uint64_t seed = 0; seed < kRounds; ++seed) {
      memory.Clear();
      Random random(seed);
      const RandomCall made(*op, kNativeOrder, random, memory);
      Memory theirs(memory);
      theirs.SetFrame(made.call());
      const std::span<std::byte> used = memory.used().subspan(4096);
      const Reading reading = {made.release(), RandomCall::kVcpus};
      for (unsigned i = 0; i < 4 && !used.empty(); ++i) {
        random.Fill(&used[random.Below(used.size())], 1);
        CapturedCall call;
        call.request = kPrivcmdHypercall;
        call.argument = Memory::kFrame + 64;
        CaptureBefore(call, theirs, reading, 4096);
        random.Fill(&used[random.Below(used.size())], 1);
        call.result = random.OneIn(2) ? 0 : -EFAULT;
        CaptureAfter(call, theirs, reading, 4096);
        for (const DescribedCall& each : Describe(call, reading, {8, 32})) {
          EXPECT_NE(CallText(each, {}, false), "");
          EXPECT_TRUE(json::accept(CallJson(call, each, {})));
          refused += each.note.empty() ? 0 : 1;
        }
      }
    }
  }
  EXPECT_GT(refused, 100u);
}

}  // namespace
}  // namespace xencomm::trace
