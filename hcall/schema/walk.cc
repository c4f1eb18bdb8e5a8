#include "hcall/schema/walk.h"

#include <cstddef>
#include <cstring>

#include "hcall/schema/count.h"
#include "hcall/schema/generated/layout.h"
#include "xencomm/copy.h"

namespace xencomm::schema {
namespace {

// Lists that end with a zero are looked through no further.
constexpr std::uint64_t kMaxScan = 65536;

// Buffers of a dm_op: Xen 4.17, common/dm.c.
constexpr std::uint64_t kMaxListedBuffers = 2;

// A structure that was read, or a part of the walk that none was read for yet.
struct Copy {
  alignas(std::uint64_t) std::byte bytes[kMaxRecordSize];
  bool is_read = false;
};

const Part* PartAt(const Record& record, Ref field) {
  for (const Part& part : record.parts) {
    if (part.offset == field.offset && part.size == field.size) return &part;
  }
  return nullptr;
}

// Registers as the hypervisor takes them: of an int it does not look at the upper half.
Registers AsNumbers(const Op& op, const Registers& given) {
  Registers registers = given;
  for (const Part& part : op.registers.parts) {
    registers[part.offset / sizeof(std::uint64_t)] &= part.number_bits;
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
    const Op& any = hypercall.ops[0];
    const bool in_register = hypercall.op_place == OpPlace::kRegister;
    return Fail(Problem::kUnknownOp, place,
                PartAt(in_register ? any.registers : any.argument, hypercall.op_field), {}, number);
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
    const Place place = {buffer.op->hypercall, buffer.op, buffer.entry, buffer.index};
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
        return WalkOp(place, 0, 0, call, nullptr);
      case OpPlace::kRegister: {
        const RecordView registers(call.registers.data(), kNativeOrder);
        return WalkOp(place, registers.Read(place.hypercall->op_field), 0, call, nullptr);
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
    const Part* const pointer = BufferOf(hypercall.ops[0].registers);
    if (address.value == 0) return Fail(Problem::kNull, place, pointer);
    if (!Read(place, pointer, address, 0, argument.bytes, hypercall.type->size)) return false;
    argument.is_read = true;
    const RecordView view(argument.bytes, caller_.order);
    std::uint32_t version = 0;
    if (!ReadVersion(place, view, version)) return false;
    return WalkOp(place, view.Read(hypercall.op_field), version, call, &argument);
  }

  bool ReadVersion(const Place& place, const RecordView& view, std::uint32_t& version) {
    const Hypercall& hypercall = *place.hypercall;
    if (!hypercall.version_field) return true;
    const std::uint64_t given = view.Read(hypercall.version_field);
    for (const std::uint32_t known : hypercall.versions) {
      version = known;
      if (given == known) return true;
    }
    const Part* const field = PartAt(hypercall.ops[0].argument, hypercall.version_field);
    return Fail(Problem::kUnknownVersion, place, field, {}, given);
  }

  bool WalkOp(Place place, std::uint64_t number, std::uint32_t version, const Call& call,
              const Copy* argument) {
    place.op = Find(*place.hypercall, number, version);
    if (place.op == nullptr) return FailUnknownOp(place, number);
    if (!enter_(*place.op)) return Fail(Problem::kStopped, place);
    const Registers registers = AsNumbers(*place.op, call.registers);
    const RecordView view(registers.data(), kNativeOrder);
    for (const Part& part : place.op->registers.parts) {
      if (!part.is_buffer()) continue;
      Buffer buffer;
      buffer.in_register = true;
      buffer.holder_copy = registers.data();
      if (!WalkPart(place, part, view, buffer, argument)) return false;
    }
    return true;
  }

  // `bytes` is a copy of the record, which lies at `address`.
  bool WalkRecord(const Place& place, const Record& record, const std::byte* bytes,
                  VirtualAddress address) {
    const RecordView view(bytes, caller_.order);
    if (!CheckVariant(place, record, view)) return false;
    for (const Part& part : record.parts) {
      if (!part.is_buffer() || part.direction == Direction::kIgnored) continue;
      if (!view.Has(part, Phase::kBefore)) continue;
      Buffer buffer;
      buffer.holder = address;
      buffer.holder_copy = bytes;
      if (!WalkPart(place, part, view, buffer, nullptr)) return false;
    }
    return true;
  }

  bool CheckVariant(const Place& place, const Record& record, const RecordView& view) {
    if (record.variants.empty()) return true;
    for (const Variant& variant : record.variants) {
      if (view.Holds(variant.tests[0]) && view.Holds(variant.tests[1])) return true;
    }
    const Ref discriminator = record.variants[0].tests[0].field;
    return Fail(Problem::kUnknownVariant, place, PartAt(record, discriminator), {},
                view.Read(discriminator));
  }

  // `argument` is a copy of the op's argument when it was read already.
  bool WalkPart(const Place& place, const Part& part, const RecordView& view, Buffer& buffer,
                const Copy* argument) {
    buffer.op = place.op;
    buffer.part = &part;
    buffer.entry = place.entry;
    buffer.index = place.index;
    buffer.element = part.element;
    buffer.element_record = part.element_record;
    buffer.direction = part.direction;
    buffer.address =
        part.is_trailing
            ? buffer.holder + part.offset
            : VirtualAddress{view.Read({part.offset, sizeof(std::uint64_t)}) & part.address_bits};
    if (!Count(place, part, view, buffer)) return false;
    if (buffer.count == 0) return true;
    if (buffer.address.value == 0 || buffer.address.value == part.second_null) {
      return part.null != nullptr || Fail(Problem::kNull, place, &part);
    }
    if (__builtin_mul_overflow(buffer.count, std::uint64_t{part.element->size}, &buffer.bytes) ||
        Overflows(buffer.address.value, buffer.bytes)) {
      return Fail(Problem::kOverflow, place, &part, buffer.address, buffer.count);
    }
    return Visit(buffer) && WalkElements(place, part, buffer, argument);
  }

  bool WalkElements(Place place, const Part& part, const Buffer& buffer, const Copy* argument) {
    const Record* record = part.element_record;
    const bool holds_calls = place.hypercall->holds_calls && buffer.in_register;
    if (record == nullptr) return true;
    if (!record->has_pointers && record->variants.empty() && !holds_calls) return true;
    Copy copy;
    for (std::uint64_t i = 0; i < buffer.count; ++i) {
      const std::uint64_t offset = i * part.element->size;
      const VirtualAddress address = buffer.address + offset;
      place.index = buffer.count == 1 ? kNoIndex : i;
      const std::byte* bytes = copy.bytes;
      if (i == 0 && argument != nullptr) {
        bytes = argument->bytes;
      } else if (!Read(place, &part, buffer.address, offset, copy.bytes, part.element->size)) {
        return false;
      }
      if (!WalkRecord(place, *record, bytes, address)) return false;
      if (holds_calls && !WalkEntry(bytes, i)) return false;
    }
    return true;
  }

  bool WalkEntry(const std::byte* bytes, std::uint64_t entry) {
    constexpr std::uint32_t kNumber = layout::multicall_entry_fields[0].offset;
    constexpr std::uint32_t kArguments = layout::multicall_entry_fields[2].offset;
    const RecordView view(bytes, caller_.order);
    Call call = {.hypercall = view.Read({kNumber, sizeof(std::uint64_t)})};
    std::uint32_t offset = kArguments;
    for (std::uint64_t& each : call.registers) {
      each = view.Read({offset, sizeof(std::uint64_t)});
      offset += static_cast<std::uint32_t>(sizeof(std::uint64_t));
    }
    return WalkCall(call, entry);
  }

  // The list of buffers of a dm_op. It is read as a whole, so that the op and its buffers belong
  // together.
  bool WalkBufferList(Place place, const Call& call) {
    constexpr std::uint32_t kHandle = layout::xen_dm_op_buf_fields[0].offset;
    constexpr std::uint32_t kSize = layout::xen_dm_op_buf_fields[1].offset;
    constexpr std::uint32_t kListed = layout::xen_dm_op_buf.size;
    const Hypercall& hypercall = *place.hypercall;
    const Part* list = BufferOf(hypercall.ops[0].registers);
    const Registers numbers = AsNumbers(hypercall.ops[0], call.registers);
    const RecordView registers(numbers.data(), kNativeOrder);
    const Result<std::uint64_t> count = Evaluate(list->room, registers);
    if (!count.ok() || *count > kMaxListedBuffers) {
      return Fail(Problem::kTooMany, place, list, {}, count.ok() ? *count : 0);
    }
    if (*count == 0) return Fail(Problem::kTooFew, place, list);
    const VirtualAddress address = {registers.Read({list->offset, sizeof(std::uint64_t)})};
    if (address.value == 0) return Fail(Problem::kNull, place, list);

    alignas(std::uint64_t) std::byte buffers[kMaxListedBuffers * kListed];
    if (!Read(place, list, address, 0, buffers, *count * kListed)) return false;
    const RecordView listed(buffers, caller_.order);
    auto handle = [&](std::uint32_t i) {
      return VirtualAddress{listed.Read({i * kListed + kHandle, sizeof(std::uint64_t)})};
    };
    auto size = [&](std::uint32_t i) {
      return listed.Read({i * kListed + kSize, sizeof(std::uint64_t)});
    };

    // The first buffer may be cut off behind the op's own part.
    const Part* const pointer = BufferOf(*list->element_record);
    place.index = 0;
    Copy argument;
    std::memset(argument.bytes, 0, sizeof(argument.bytes));
    const std::uint64_t given = size(0) < hypercall.type->size ? size(0) : hypercall.type->size;
    if (given < hypercall.op_field.offset + hypercall.op_field.size) {
      return Fail(Problem::kTooFew, place, pointer, handle(0), given);
    }
    if (handle(0).value == 0) return Fail(Problem::kNull, place, pointer);
    if (!Read(place, pointer, handle(0), 0, argument.bytes, given)) return false;
    const RecordView view(argument.bytes, caller_.order);
    const std::uint64_t number = view.Read(hypercall.op_field);
    place.op = Find(hypercall, number, hypercall.version);
    if (place.op == nullptr) return FailUnknownOp(place, number);
    list = BufferOf(place.op->registers);
    if (!enter_(*place.op)) return Fail(Problem::kStopped, place);
    if (given < place.op->own_offset + place.op->own_type->size) {
      return Fail(Problem::kTooFew, place, pointer, handle(0), given);
    }
    if (!CheckVariant(place, place.op->argument, view)) return false;
    const std::size_t wanted = place.op->buffers.size() + 1;
    if (*count < wanted) return Fail(Problem::kTooFew, place, &place.op->buffers[*count - 1]);

    Buffer all;
    all.op = place.op;
    all.part = list;
    all.entry = place.entry;
    all.in_register = true;
    all.holder_copy = numbers.data();
    all.address = address;
    all.element = list->element;
    all.element_record = list->element_record;
    all.count = *count;
    all.bytes = *count * kListed;
    if (!Visit(all)) return false;
    for (std::uint32_t i = 0; i < wanted; ++i) {
      Buffer buffer = all;
      buffer.in_register = false;
      buffer.index = i;
      buffer.holder = address + i * kListed;
      buffer.holder_copy = buffers + i * kListed;
      buffer.address = handle(i);
      buffer.bytes = size(i);
      place.index = i;
      if (i == 0) {
        buffer.part = pointer;
        buffer.element = hypercall.type;
        buffer.element_record = &place.op->argument;
        buffer.direction = place.op->direction;
        buffer.bytes = given;
        buffer.count = 1;
      } else {
        buffer.part = &place.op->buffers[i - 1];
        buffer.element = buffer.part->element;
        buffer.element_record = buffer.part->element_record;
        buffer.direction = buffer.part->direction;
        buffer.count = buffer.bytes / buffer.element->size;
      }
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

  bool Count(const Place& place, const Part& part, const RecordView& view, Buffer& buffer) {
    switch (part.room.kind) {
      case CountKind::kVcpus:
        // Xen reads the bitmap in words of a guest's unsigned long.
        buffer.count = AlignUp(caller_.vcpus, 64) / 8;
        return true;
      case CountKind::kText:
      case CountKind::kUntilZero:
        return Scan(place, part, buffer);
      case CountKind::kInside: {
        if (buffer.address.value == 0) {
          return part.null != nullptr || Fail(Problem::kNull, place, &part);
        }
        alignas(std::uint64_t) std::byte number[sizeof(std::uint64_t)];
        const Ref ref = {0, part.room.per};
        if (!Read(place, &part, buffer.address, part.room.at, number, ref.size)) return false;
        buffer.count = RecordView(number, caller_.order).Read(ref) + part.room.scale;
        if (buffer.count < part.room.least) buffer.count = part.room.least;
        return true;
      }
      default: {
        const Result<std::uint64_t> count = Evaluate(part.room, view);
        if (!count.ok()) return Fail(Problem::kOverflow, place, &part, buffer.address);
        if (part.room.most != 0 && *count > part.room.most) {
          return Fail(Problem::kTooMany, place, &part, buffer.address, *count);
        }
        buffer.count = *count;
        return true;
      }
    }
  }

  // Up to and including the element that ends the list.
  bool Scan(const Place& place, const Part& part, Buffer& buffer) {
    if (buffer.address.value == 0) {
      return part.null != nullptr || Fail(Problem::kNull, place, &part);
    }
    const Ref end = part.room.kind == CountKind::kText ? Ref{0, part.element->size} : part.room.a;
    for (std::uint64_t i = 0; i < kMaxScan; ++i) {
      alignas(std::uint64_t) std::byte number[sizeof(std::uint64_t)];
      if (!Read(place, &part, buffer.address, i * part.element->size + end.offset, number,
                end.size)) {
        return false;
      }
      if (RecordView(number, caller_.order).Read({0, end.size}) == 0) {
        buffer.count = i + 1;
        return true;
      }
    }
    return Fail(Problem::kEndless, place, &part, buffer.address, kMaxScan);
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
  if (part.filled.kind == CountKind::kNone || result < 0) return room;
  std::uint64_t filled = room;
  if (part.filled.kind == CountKind::kReturned) {
    filled = static_cast<std::uint64_t>(result);
  } else {
    const Result<std::uint64_t> count = Evaluate(part.filled, RecordView(holder, order));
    if (count.ok()) filled = *count;
  }
  return filled < room ? filled : room;
}

const char* Describe(Problem problem) {
  switch (problem) {
    case Problem::kNone:
      return "nothing wrong";
    case Problem::kUnknownHypercall:
      return "unknown hypercall";
    case Problem::kUnknownOp:
      return "unknown op";
    case Problem::kUnknownVersion:
      return "unknown interface version";
    case Problem::kUnknownVariant:
      return "a value with no meaning in this op";
    case Problem::kNull:
      return "null where a pointer is needed";
    case Problem::kOverflow:
      return "a count that passes the last address";
    case Problem::kUnreadable:
      return "a structure that cannot be read";
    case Problem::kTooFew:
      return "fewer or shorter buffers than the op needs";
    case Problem::kTooMany:
      return "more elements than the op takes";
    case Problem::kEndless:
      return "a list without an end";
    case Problem::kNested:
      return "a list of calls in a list of calls";
    case Problem::kStopped:
      return "stopped";
    case Problem::kOverlap:
      return "a buffer that shares bytes with one of unlike elements";
    case Problem::kNotAllowed:
      return "an op that is not let through";
    case Problem::kOutside:
      return "a buffer outside the region's payload";
    case Problem::kArgumentsOnly:
      return "a buffer in granules that are for the kernel's copies alone";
    case Problem::kUnguarded:
      return "a copy in granules that are not registered for arguments only";
    case Problem::kOutlives:
      return "a pointer that outlives the call, in a region that is not registered";
  }
  return "unknown problem";
}

}  // namespace xencomm::schema
