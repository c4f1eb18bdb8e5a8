#include "hcall/tools/example_call.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "absl/strings/str_format.h"
#include "hcall/schema/count.h"
#include "hcall/schema/print.h"
#include "hcall/schema/words.h"
#include "xencomm/own_space.h"

namespace xencomm::tools {
namespace {

using schema::CountKind;
using schema::Op;
using schema::OpPlace;
using schema::Part;
using schema::Record;
using schema::Ref;

// Elements of an array that holds pointers, each of which leads to a buffer of its own.
constexpr std::uint64_t kFew = 3;
constexpr char kText[] = "xencomm";

// A record in memory of one's own, to read and to write.
class Fields {
 public:
  Fields(std::byte* bytes, ByteOrder order) : bytes_(bytes), order_(order) {}

  schema::RecordView view() const { return {bytes_, order_}; }
  std::uint64_t Read(Ref ref) const { return view().Read(ref); }
  void Write(Ref ref, std::uint64_t value) const {
    switch (ref.size) {
      case 1:
        return StoreField(bytes_ + ref.offset, static_cast<std::uint8_t>(value), order_);
      case 2:
        return StoreField(bytes_ + ref.offset, static_cast<std::uint16_t>(value), order_);
      case 4:
        return StoreField(bytes_ + ref.offset, static_cast<std::uint32_t>(value), order_);
      case 8:
        return StoreField(bytes_ + ref.offset, value, order_);
      default:
        return;
    }
  }
  // `value`, or the largest that the field can hold.
  void WriteAtMost(Ref ref, std::uint64_t value) const {
    const std::uint64_t most =
        ref.size >= 8 ? ~std::uint64_t{0} : (std::uint64_t{1} << (8 * ref.size)) - 1;
    Write(ref, std::min(value, most));
  }

 private:
  std::byte* bytes_;
  ByteOrder order_;
};

class Filler {
 public:
  Filler(const Op& op, std::uint64_t elements, Arena& arena)
      : op_(op), elements_(elements), arena_(arena) {}

  absl::StatusOr<schema::Call> Fill() {
    schema::Call call = {.hypercall = op_.hypercall().number};
    auto* const registers = reinterpret_cast<std::byte*>(call.registers.data());
    const Fields fields(registers, kNativeOrder);
    if (op_.hypercall().op_place == OpPlace::kRegister) {
      fields.Write(op_.hypercall().op_field, op_.number);
    }
    const absl::Status filled = op_.hypercall().op_place == OpPlace::kFirstBuffer
                                    ? FillBufferList(fields)
                                    : FillRecord(op_.registers(), fields);
    if (!filled.ok()) return filled;
    return call;
  }

 private:
  static bool Holds(const Fields& fields, const Part& part) {
    return part.is_buffer() && part.direction() != schema::Direction::kIgnored &&
           fields.view().Has(part, schema::Phase::kBefore);
  }

  // The oldest that has the op.
  static std::uint32_t VersionOf(const Op& op) {
    for (const schema::Version& each : op.hypercall().versions()) {
      if ((each.releases & op.releases) != 0 && !op.is_stable) return each.number;
    }
    return 0;
  }

  // --- Which case ---

  static void Satisfy(const Fields& fields, const schema::Test& test) {
    if (!test.field || fields.view().Holds(test)) return;
    const auto value = static_cast<std::uint64_t>(test.values()[0]);
    const std::uint64_t now = fields.Read(test.field);
    if (test.is_flags) {
      fields.Write(test.field, test.is_not ? now & ~value : now | value);
      return;
    }
    if (!test.is_not) return fields.Write(test.field, value);
    std::int64_t other = 0;
    while (!test.Holds(other)) ++other;
    fields.Write(test.field, static_cast<std::uint64_t>(other));
  }

  // How much there is to see: buffers, and most of all those that lead on.
  static unsigned Score(const Fields& fields, const Record& record) {
    unsigned score = 0;
    for (const Part& part : record.parts()) {
      if (!Holds(fields, part)) continue;
      score += part.element_record() != nullptr && part.element_record()->has_pointers ? 10 : 1;
    }
    return score;
  }

  static bool IsKnown(const Fields& fields, const Record& record) {
    if (record.variants().empty()) return true;
    return std::ranges::any_of(record.variants(), [&](const schema::Variant& variant) {
      return fields.view().Holds(variant);
    });
  }

  static void ChooseCase(const Record& record, std::byte* bytes, std::size_t size,
                         ByteOrder order) {
    std::vector<schema::Variant> cases(record.variants().begin(), record.variants().end());
    for (const Part& each : record.parts()) {
      if (each.is_buffer()) cases.push_back(each.when());
    }
    std::vector<std::byte> best(bytes, bytes + size);
    int best_score = -1;
    for (const schema::Variant& each : cases) {
      std::vector<std::byte> tried(bytes, bytes + size);
      const Fields trial(tried.data(), order);
      for (std::size_t i = 0; i < std::size(each.test_indices); ++i) Satisfy(trial, each.test(i));
      const int score = static_cast<int>(Score(trial, record));
      if (!IsKnown(trial, record) || score <= best_score) continue;
      best = tried;
      best_score = score;
    }
    std::copy(best.begin(), best.end(), bytes);
  }

  // --- How many ---

  std::uint64_t Wanted(const Part& part) const {
    const bool leads_on =
        (part.element_record() != nullptr && part.element_record()->has_pointers) ||
        op_.hypercall().holds_calls;
    const std::uint64_t wanted = leads_on ? std::min(kFew, elements_) : elements_;
    const std::uint64_t most = part.room().most;
    return most == 0 ? wanted : std::min(wanted, most);
  }

  void ChooseCount(const Part& part, const Fields& fields) const {
    const schema::Amount& room = part.room();
    const std::uint64_t wanted = Wanted(part);
    if (room.kind == CountKind::kRange) {
      if (fields.Read(room.b) == 0) fields.WriteAtMost(room.b, fields.Read(room.a) + wanted - 1);
      return;
    }
    if (room.kind != CountKind::kNumber || !room.a) return;
    const std::uint64_t second = room.b ? std::min<std::uint64_t>(2, wanted) : 1;
    if (room.b && fields.Read(room.b) == 0) fields.WriteAtMost(room.b, second);
    if (fields.Read(room.a) != 0) return;
    const std::uint64_t each = room.scale * second;
    fields.WriteAtMost(room.a, std::max<std::uint64_t>(1, wanted * room.per / each));
  }

  // Elements of a buffer, as the walk will count them.
  std::uint64_t CountOf(const Part& part, const Fields& fields) const {
    switch (part.room().kind) {
      case CountKind::kText:
        return sizeof(kText);
      case CountKind::kUntilZero:
        return kFew + 1;
      case CountKind::kInside:
        return std::max<std::uint64_t>(Wanted(part),
                                       part.room().scale + part.room().at + part.room().per);
      case CountKind::kVcpus:
        return sizeof(std::uint64_t);
      default: {
        const Result<std::uint64_t> count = schema::Evaluate(part.room(), fields.view());
        return count.ok() ? *count : 0;
      }
    }
  }

  // --- Filling ---

  absl::StatusOr<std::byte*> Allocate(std::uint64_t bytes) const {
    const absl::StatusOr<void*> memory = arena_.Allocate(bytes, Contents::kCleared, 8);
    if (!memory.ok()) return memory.status();
    return static_cast<std::byte*>(*memory);
  }

  absl::Status FillRecord(const Record& record, const Fields& fields) {
    for (const Part& part : record.parts()) {
      if (Holds(fields, part)) ChooseCount(part, fields);
    }
    for (const Part& part : record.parts()) {
      if (!Holds(fields, part) || part.is_trailing()) continue;
      const std::uint64_t count = CountOf(part, fields);
      if (count == 0) continue;
      const absl::StatusOr<std::byte*> buffer = FillBuffer(part, count);
      if (!buffer.ok()) return buffer.status();
      const Ref pointer = {part.offset, sizeof(std::uint64_t)};
      const std::uint64_t flags = fields.Read(pointer) & ~part.address_bits();
      fields.Write(pointer, std::bit_cast<std::uint64_t>(*buffer) | flags);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::byte*> FillBuffer(const Part& part, std::uint64_t count) {
    const std::uint64_t size = part.element().size;
    const Record* const record = part.element_record();
    const absl::StatusOr<std::byte*> buffer = Allocate(count * size + TailOf(record, count));
    if (!buffer.ok()) return buffer.status();
    FillEnds(part, count, *buffer);
    if (record == nullptr) return buffer;
    for (std::uint64_t i = 0; i < count; ++i) {
      const absl::Status filled = FillElement(*record, *buffer + i * size, size);
      if (!filled.ok()) return filled;
    }
    return buffer;
  }

  // What an array at the end of a structure needs besides: at most so much.
  std::uint64_t TailOf(const Record* record, std::uint64_t count) const {
    std::uint64_t tail = 0;
    if (record == nullptr || count != 1) return tail;
    for (const Part& part : record->parts()) {
      if (part.is_trailing()) tail += elements_ * part.element().size;
    }
    return tail;
  }

  // What the walk counts by when no field tells.
  static void FillEnds(const Part& part, std::uint64_t count, std::byte* buffer) {
    const Fields fields(buffer, kNativeOrder);
    if (part.room().kind == CountKind::kText) {
      for (std::uint64_t i = 0; i + 1 < count; ++i) {
        fields.Write({static_cast<std::uint32_t>(i * part.element().size), part.element().size},
                     static_cast<std::uint64_t>(kText[i]));
      }
    } else if (part.room().kind == CountKind::kUntilZero) {
      for (std::uint64_t i = 0; i + 1 < count; ++i) {
        Fields(buffer + i * part.element().size, kNativeOrder).Write(part.room().a, i + 1);
      }
    } else if (part.room().kind == CountKind::kInside) {
      fields.WriteAtMost({part.room().at, part.room().per}, count - part.room().scale);
    }
  }

  absl::Status FillElement(const Record& record, std::byte* bytes, std::uint64_t size) {
    const Fields fields(bytes, arena_.order());
    const schema::Hypercall& hypercall = op_.hypercall();
    if (&record == &op_.argument() && hypercall.op_place != OpPlace::kRegister &&
        hypercall.op_place != OpPlace::kNone) {
      fields.Write(hypercall.op_field, op_.number);
      if (hypercall.version_field) fields.Write(hypercall.version_field, VersionOf(op_));
    }
    ChooseCase(record, bytes, size, arena_.order());
    if (hypercall.holds_calls) return FillEntry(bytes);
    return FillRecord(record, fields);
  }

  // A call in a list of calls: one that has a nested pointer itself.
  absl::Status FillEntry(std::byte* entry) {
    const Op* const inner = schema::Find("sysctl", "getdomaininfolist");
    const absl::StatusOr<schema::Call> call = Filler(*inner, elements_, arena_).Fill();
    if (!call.ok()) return call.status();
    // struct multicall_entry, xen/xen.h: op, result, args.
    const Fields fields(entry, arena_.order());
    fields.Write({0, 8}, call->hypercall);
    for (std::uint32_t i = 0; i < call->registers.size(); ++i) {
      fields.Write({16 + 8 * i, 8}, call->registers[i]);
    }
    return absl::OkStatus();
  }

  // dm_op: the registers point at a list of buffers, the first of which is the argument.
  absl::Status FillBufferList(const Fields& registers) {
    const Part* list = nullptr;
    for (const Part& part : op_.registers().parts()) {
      if (part.is_buffer()) list = &part;
    }
    const std::uint64_t count = op_.buffers().size() + 1;
    const absl::StatusOr<std::byte*> listed = Allocate(count * list->element().size);
    if (!listed.ok()) return listed.status();
    registers.Write(list->room().a, count);
    registers.Write({list->offset, 8}, std::bit_cast<std::uint64_t>(*listed));

    const std::uint64_t argument_size = op_.hypercall().type()->size;
    const absl::StatusOr<std::byte*> argument = Allocate(argument_size);
    if (!argument.ok()) return argument.status();
    const absl::Status filled = FillElement(op_.argument(), *argument, argument_size);
    if (!filled.ok()) return filled;
    for (const Part& part : op_.buffers()) ChooseCount(part, Fields(*argument, arena_.order()));

    for (std::uint32_t i = 0; i < count; ++i) {
      std::uint64_t bytes = argument_size;
      std::byte* buffer = *argument;
      if (i != 0) {
        const Part& part = op_.buffers()[i - 1];
        const std::uint64_t elements = CountOf(part, Fields(*argument, arena_.order()));
        bytes = (elements == 0 ? elements_ : elements) * part.element().size;
        const absl::StatusOr<std::byte*> allocated = Allocate(bytes);
        if (!allocated.ok()) return allocated.status();
        buffer = *allocated;
      }
      // struct xen_dm_op_buf, xen/hvm/dm_op.h: handle, size.
      const Fields entry(*listed + i * list->element().size, arena_.order());
      entry.Write({0, 8}, std::bit_cast<std::uint64_t>(buffer));
      entry.Write({8, 8}, bytes);
    }
    return absl::OkStatus();
  }

  const Op& op_;
  const std::uint64_t elements_;
  Arena& arena_;
};

}  // namespace

absl::StatusOr<schema::Call> ExampleCall(const Op& op, std::uint64_t elements, Arena& arena) {
  absl::StatusOr<schema::Call> call = Filler(op, elements, arena).Fill();
  if (!call.ok()) return call.status();
  std::uint64_t buffers = 0;
  auto visit = [&](const schema::Buffer&) {
    ++buffers;
    return true;
  };
  OwnSpace space;
  const schema::Finding finding = schema::ForEachBuffer(*call, {space, arena.order()}, visit);
  if (!finding.ok()) return absl::InternalError(schema::PrintFinding(finding));
  if (buffers == 0) {
    return absl::FailedPreconditionError(
        absl::StrFormat("%s.%s takes registers alone: there is nothing of it in memory",
                        schema::WordsOf(op.hypercall()).name, schema::WordsOf(op).name));
  }
  return call;
}

}  // namespace xencomm::tools
