#include "hcall/schema/walk.h"

#include <cstddef>
#include <iterator>

#include "hcall/schema/count.h"
#include "hcall/schema/generated/xen.h"
#include "xencomm/copy.h"

namespace xencomm::schema {
namespace {

// Lists that end with a zero are looked through no further.
constexpr std::uint64_t kMaxScan = 65536;

// Buffers of a dm_op: Xen 4.17, common/dm.c.
constexpr std::uint64_t kMaxListedBuffers = 2;

// A structure that was read.
struct Copy {
  alignas(std::uint64_t) std::byte bytes[kMaxRecordSize];
};

const Part* PartAt(const Record& record, Ref field) {
  for (const Part& part : record.parts()) {
    if (part.offset == field.offset && part.size() == field.size) return &part;
  }
  return nullptr;
}

// Registers as the hypervisor takes them: of an int it does not look at the upper half.
Registers AsNumbers(const Op& op, const Registers& given) {
  Registers registers = given;
  for (const Part& part : op.registers().parts()) {
    registers[part.offset / sizeof(std::uint64_t)] &= part.number_bits();
  }
  return registers;
}

class Walker {
 public:
  Walker(const Caller& caller, BufferVisitor visit, OpVisitor enter)
      : caller_(caller), visit_(visit), enter_(enter) {}

  Finding Walk(const Call& call) {
    WalkCall(call, kNoIndex);
    return finding_;
  }

 private:
  // Where in the walk something is.
  struct Place {
    const Hypercall* hypercall = nullptr;
    const Op* op = nullptr;
    std::uint64_t entry = kNoIndex;
    std::uint64_t index = kNoIndex;
  };

  bool Fail(Problem problem, const Place& place, const Part* part = nullptr,
            VirtualAddress address = {}, std::uint64_t number = 0) {
    finding_ = {.problem = problem,
                .hypercall = place.hypercall,
                .op = place.op,
                .part = part,
                .entry = place.entry,
                .index = place.index,
                .address = address,
                .number = number};
    return false;
  }

  // All ops of a hypercall have their number in the same field.
  bool FailUnknownOp(const Place& place, std::uint64_t number) {
    const Hypercall& hypercall = *place.hypercall;
    const Op& any = hypercall.ops()[0];
    const bool in_register = hypercall.op_place == OpPlace::kRegister;
    return Fail(Problem::kUnknownOp, place,
                PartAt(in_register ? any.registers() : any.argument(), hypercall.op_field), {},
                number);
  }

  bool Read(const Place& place, const Part* part, VirtualAddress address, std::uint64_t offset,
            void* to, std::uint64_t bytes) {
    const CopyResult result = CopyFrom(caller_.space, address, offset, to, bytes);
    if (result.ok()) return true;
    Fail(Problem::kUnreadable, place, part, result.address);
    finding_.bytes = bytes;
    finding_.fault = result.fault;
    return false;
  }

  bool Visit(const Buffer& buffer) {
    if (visit_(buffer)) return true;
    const Place place = {&buffer.op->hypercall(), buffer.op, buffer.entry, buffer.index};
    Fail(Problem::kStopped, place, buffer.part, buffer.address);
    finding_.bytes = buffer.bytes;
    return false;
  }

  bool WalkCall(const Call& call, std::uint64_t entry) {
    Place place = {.entry = entry};
    place.hypercall = Find(call.hypercall);
    if (place.hypercall == nullptr) {
      return Fail(Problem::kUnknownHypercall, place, nullptr, {}, call.hypercall);
    }
    if (place.hypercall->holds_calls && entry != kNoIndex) return Fail(Problem::kNested, place);
    switch (place.hypercall->op_place) {
      case OpPlace::kNone:
        return WalkOp(place, 0, Find(*place.hypercall, 0, caller_.releases), call, nullptr);
      case OpPlace::kRegister: {
        const RecordView registers(call.registers.data(), kNativeOrder);
        const std::uint64_t number = registers.Read(place.hypercall->op_field);
        return WalkOp(place, number, Find(*place.hypercall, number, caller_.releases), call,
                      nullptr);
      }
      case OpPlace::kArgument:
        return WalkArgument(place, call);
      case OpPlace::kFirstBuffer:
        return WalkBufferList(place, call);
    }
    return false;
  }

  // The op's number is in the argument, which is read first.
  bool WalkArgument(const Place& place, const Call& call) {
    const Hypercall& hypercall = *place.hypercall;
    Copy argument;
    const VirtualAddress address = {call.registers[static_cast<std::size_t>(hypercall.pointer)]};
    const Part* const pointer = BufferOf(hypercall.ops()[0].registers());
    if (address.value == 0) return Fail(Problem::kNull, place, pointer);
    if (!Read(place, pointer, address, 0, argument.bytes, hypercall.type()->size)) return false;
    const RecordView view(argument.bytes, caller_.order);
    const std::uint64_t number = view.Read(hypercall.op_field);
    const std::span<const Op> forms = FormsOf(hypercall, number);
    Releases releases = caller_.releases;
    if (hypercall.version_field) {
      const std::uint64_t version = view.Read(hypercall.version_field);
      releases = ReleasesThatTake(hypercall, forms, version, releases);
      if (releases == 0) {
        const Part* const field = PartAt(hypercall.ops()[0].argument(), hypercall.version_field);
        return Fail(Problem::kUnknownVersion, place, field, {}, version);
      }
    }
    return WalkOp(place, number, NewestOf(forms, releases), call, &argument);
  }

  // `op` may be unknown.
  bool WalkOp(Place place, std::uint64_t number, const Op* op, const Call& call,
              const Copy* argument) {
    place.op = op;
    if (op == nullptr) return FailUnknownOp(place, number);
    if (!enter_(*place.op)) return Fail(Problem::kStopped, place);
    const Registers registers = AsNumbers(*place.op, call.registers);
    const RecordView view(registers.data(), kNativeOrder);
    for (const Part& part : place.op->registers().parts()) {
      if (!part.is_buffer()) continue;
      Buffer buffer = BufferAt(place, part);
      buffer.in_register = true;
      buffer.holder_copy = registers.data();
      if (!WalkPart(place, view, buffer, argument)) return false;
    }
    return true;
  }

  // `bytes` is a copy of the record, which lies at `address`.
  bool WalkRecord(const Place& place, const Record& record, const std::byte* bytes,
                  VirtualAddress address) {
    const RecordView view(bytes, caller_.order);
    if (!CheckVariant(place, record, view)) return false;
    for (const Part& part : record.parts()) {
      if (!part.is_buffer() || part.direction() == Direction::kIgnored) continue;
      if (!view.Has(part, Phase::kBefore)) continue;
      Buffer buffer = BufferAt(place, part);
      buffer.holder = address;
      buffer.holder_copy = bytes;
      if (!WalkPart(place, view, buffer, nullptr)) return false;
    }
    return true;
  }

  bool CheckVariant(const Place& place, const Record& record, const RecordView& view) {
    if (record.variants().empty()) return true;
    for (const Variant& variant : record.variants()) {
      if (view.Holds(variant)) return true;
    }
    const Ref discriminator = record.variants()[0].test(0).field;
    return Fail(Problem::kUnknownVariant, place, PartAt(record, discriminator), {},
                view.Read(discriminator));
  }

  static Buffer BufferAt(const Place& place, const Part& part) {
    return {.op = place.op,
            .part = &part,
            .entry = place.entry,
            .index = place.index,
            .element = &part.element(),
            .element_record = part.element_record(),
            .direction = part.direction()};
  }

  // `argument` is a copy of the op's argument when it was read already.
  bool WalkPart(const Place& place, const RecordView& view, Buffer& buffer, const Copy* argument) {
    const Part& part = *buffer.part;
    buffer.address =
        part.is_trailing()
            ? buffer.holder + part.offset
            : VirtualAddress{view.Read(part.offset, sizeof(std::uint64_t)) & part.address_bits()};
    if (!Count(place, view, buffer)) return false;
    if (buffer.count == 0) return true;
    if (buffer.address.value == 0 || buffer.address.value == part.second_null()) {
      return part.may_be_null() || Fail(Problem::kNull, place, &part);
    }
    if (__builtin_mul_overflow(buffer.count, std::uint64_t{buffer.element->size}, &buffer.bytes) ||
        Overflows(buffer.address.value, buffer.bytes)) {
      return Fail(Problem::kOverflow, place, &part, buffer.address, buffer.count);
    }
    return Visit(buffer) && WalkElements(place, buffer, argument);
  }

  bool WalkElements(Place place, const Buffer& buffer, const Copy* argument) {
    const Record* const record = buffer.element_record;
    const bool holds_calls = place.hypercall->holds_calls && buffer.in_register;
    if (record == nullptr) return true;
    if (!record->has_pointers && record->variants().empty() && !holds_calls) return true;
    Copy copy;
    for (std::uint64_t i = 0; i < buffer.count; ++i) {
      const std::uint64_t offset = i * buffer.element->size;
      const VirtualAddress address = buffer.address + offset;
      place.index = buffer.count == 1 ? kNoIndex : i;
      const std::byte* bytes = copy.bytes;
      if (i == 0 && argument != nullptr) {
        bytes = argument->bytes;
      } else if (!Read(place, buffer.part, buffer.address, offset, copy.bytes,
                       buffer.element->size)) {
        return false;
      }
      if (!WalkRecord(place, *record, bytes, address)) return false;
      if (holds_calls && !WalkEntry(bytes, i)) return false;
    }
    return true;
  }

  bool WalkEntry(const std::byte* bytes, std::uint64_t entry) {
    const RecordView view(bytes, caller_.order);
    Call call = {.hypercall = view.Read(offsetof(multicall_entry, op), sizeof(std::uint64_t))};
    std::uint64_t offset = offsetof(multicall_entry, args);
    for (std::uint64_t& each : call.registers) {
      each = view.Read(offset, sizeof(std::uint64_t));
      offset += sizeof(std::uint64_t);
    }
    return WalkCall(call, entry);
  }

  // The list of buffers of a dm_op. It is read as a whole, so that the op and its buffers belong
  // together.
  bool WalkBufferList(Place place, const Call& call) {
    constexpr std::uint64_t kListed = sizeof(xen_dm_op_buf);
    const Hypercall& hypercall = *place.hypercall;
    const Part* list = BufferOf(hypercall.ops()[0].registers());
    const Registers numbers = AsNumbers(hypercall.ops()[0], call.registers);
    const RecordView registers(numbers.data(), kNativeOrder);
    const Result<std::uint64_t> count = Evaluate(list->room(), registers);
    if (!count.ok() || *count > kMaxListedBuffers) {
      return Fail(Problem::kTooMany, place, list, {}, count.ok() ? *count : 0);
    }
    if (*count == 0) return Fail(Problem::kTooFew, place, list);
    const VirtualAddress address = {registers.Read(list->offset, sizeof(std::uint64_t))};
    if (address.value == 0) return Fail(Problem::kNull, place, list);

    alignas(std::uint64_t) std::byte buffers[kMaxListedBuffers * kListed];
    if (!Read(place, list, address, 0, buffers, *count * kListed)) return false;
    const RecordView listed(buffers, caller_.order);
    auto handle = [&](std::uint32_t i) {
      return VirtualAddress{
          listed.Read(i * kListed + offsetof(xen_dm_op_buf, h), sizeof(std::uint64_t))};
    };
    auto size = [&](std::uint32_t i) {
      return listed.Read(i * kListed + offsetof(xen_dm_op_buf, size), sizeof(std::uint64_t));
    };

    // The first buffer may be cut off behind the op's own part.
    const Part* const pointer = BufferOf(*list->element_record());
    place.index = 0;
    Copy argument = {};
    const std::uint64_t given = size(0) < hypercall.type()->size ? size(0) : hypercall.type()->size;
    if (given < hypercall.op_field.offset + hypercall.op_field.size) {
      return Fail(Problem::kTooFew, place, pointer, handle(0), given);
    }
    if (handle(0).value == 0) return Fail(Problem::kNull, place, pointer);
    if (!Read(place, pointer, handle(0), 0, argument.bytes, given)) return false;
    const RecordView view(argument.bytes, caller_.order);
    const std::uint64_t number = view.Read(hypercall.op_field);
    place.op = Find(hypercall, number, caller_.releases);
    if (place.op == nullptr) return FailUnknownOp(place, number);
    list = BufferOf(place.op->registers());
    if (!enter_(*place.op)) return Fail(Problem::kStopped, place);
    if (given < place.op->own_offset + place.op->own_type()->size) {
      return Fail(Problem::kTooFew, place, pointer, handle(0), given);
    }
    if (!CheckVariant(place, place.op->argument(), view)) return false;
    const std::size_t wanted = place.op->buffers().size() + 1;
    if (*count < wanted) return Fail(Problem::kTooFew, place, &place.op->buffers()[*count - 1]);

    Buffer all = BufferAt({place.hypercall, place.op, place.entry}, *list);
    all.in_register = true;
    all.holder_copy = numbers.data();
    all.address = address;
    all.count = *count;
    all.bytes = *count * kListed;
    if (!Visit(all)) return false;
    for (std::uint32_t i = 0; i < wanted; ++i) {
      place.index = i;
      Buffer buffer = BufferAt(place, i == 0 ? *pointer : place.op->buffers()[i - 1]);
      buffer.holder = address + i * kListed;
      buffer.holder_copy = buffers + i * kListed;
      buffer.address = handle(i);
      buffer.bytes = i == 0 ? given : size(i);
      if (i == 0) {
        buffer.element = hypercall.type();
        buffer.element_record = &place.op->argument();
        buffer.direction = place.op->direction;
      }
      buffer.count = i == 0 ? 1 : buffer.bytes / buffer.element->size;
      if (buffer.bytes == 0) continue;
      if (buffer.address.value == 0) return Fail(Problem::kNull, place, buffer.part);
      if (Overflows(buffer.address.value, buffer.bytes)) {
        return Fail(Problem::kOverflow, place, buffer.part, buffer.address, buffer.bytes);
      }
      if (!Visit(buffer)) return false;
    }
    return true;
  }

  // --- Counting ---

  bool Count(const Place& place, const RecordView& view, Buffer& buffer) {
    const Part& part = *buffer.part;
    const Amount& room = part.room();
    const bool is_in_buffer = room.kind == CountKind::kText || room.kind == CountKind::kUntilZero ||
                              room.kind == CountKind::kInside;
    if (is_in_buffer && buffer.address.value == 0) {
      return part.may_be_null() || Fail(Problem::kNull, place, &part);
    }
    switch (room.kind) {
      case CountKind::kVcpus:
        // Xen reads the bitmap in words of a guest's unsigned long.
        buffer.count = AlignUp(caller_.vcpus, 64) / 8;
        return true;
      case CountKind::kText:
        return Scan(place, {0, buffer.element->size}, buffer);
      case CountKind::kUntilZero:
        return Scan(place, room.a, buffer);
      case CountKind::kInside:
        if (!ReadNumber(place, buffer, room.at, room.per, buffer.count)) return false;
        buffer.count += room.scale;
        if (buffer.count < room.least) buffer.count = room.least;
        return true;
      default: {
        const Result<std::uint64_t> count = Evaluate(room, view);
        if (!count.ok()) return Fail(Problem::kOverflow, place, &part, buffer.address);
        if (room.most != 0 && *count > room.most) {
          return Fail(Problem::kTooMany, place, &part, buffer.address, *count);
        }
        buffer.count = *count;
        return true;
      }
    }
  }

  // Up to and including the element that ends the list, whose field `end` is zero.
  bool Scan(const Place& place, Ref end, Buffer& buffer) {
    for (std::uint64_t i = 0; i < kMaxScan; ++i) {
      const std::uint64_t at = i * buffer.element->size + end.offset;
      std::uint64_t number;
      if (!ReadNumber(place, buffer, at, end.size, number)) return false;
      buffer.count = i + 1;
      if (number == 0) return true;
    }
    return Fail(Problem::kEndless, place, buffer.part, buffer.address, kMaxScan);
  }

  bool ReadNumber(const Place& place, const Buffer& buffer, std::uint64_t offset,
                  std::uint32_t size, std::uint64_t& number) {
    alignas(std::uint64_t) std::byte bytes[sizeof(std::uint64_t)];
    if (!Read(place, buffer.part, buffer.address, offset, bytes, size)) return false;
    number = RecordView(bytes, caller_.order).Read(0, size);
    return true;
  }

  const Caller& caller_;
  BufferVisitor visit_;
  OpVisitor enter_;
  Finding finding_;
};

}  // namespace

Finding ForEachBuffer(const Call& call, const Caller& caller, BufferVisitor visit,
                      OpVisitor enter) {
  return Walker(caller, visit, enter).Walk(call);
}

std::uint64_t CountFilled(const Part& part, std::uint64_t room, const void* holder, ByteOrder order,
                          std::int64_t result) {
  const Amount& amount = part.filled();
  if (amount.kind == CountKind::kNone || result < 0) return room;
  std::uint64_t filled = room;
  if (amount.kind == CountKind::kReturned) {
    filled = static_cast<std::uint64_t>(result);
  } else {
    const Result<std::uint64_t> count = Evaluate(amount, RecordView(holder, order));
    if (count.ok()) filled = *count;
  }
  return filled < room ? filled : room;
}

const char* Describe(Problem problem) {
  constexpr const char* kWords[] = {
      "nothing wrong",
      "unknown hypercall",
      "unknown op",
      "unknown interface version",
      "a value with no meaning in this op",
      "null where a pointer is needed",
      "a count that passes the last address",
      "a structure that cannot be read",
      "fewer or shorter buffers than the op needs",
      "more elements than the op takes",
      "a list without an end",
      "a list of calls in a list of calls",
      "stopped",
      "a buffer that shares bytes with one of unlike elements",
      "an op that is not let through",
      "a buffer outside the region's payload",
      "a buffer in granules that are for the kernel's copies alone",
      "a pointer that outlives the call, in a region that is not registered",
      "a copy in granules that are not registered for arguments only",
  };
  static_assert(std::size(kWords) == static_cast<std::size_t>(Problem::kUnguarded) + 1);
  return kWords[static_cast<std::size_t>(problem)];
}

}  // namespace xencomm::schema
