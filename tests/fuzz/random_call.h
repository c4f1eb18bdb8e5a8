// Calls made up from the op table: of any op, with arguments and buffers in the shape that its rows
// describe and contents at random. No op is known here.
#ifndef TESTS_FUZZ_RANDOM_CALL_H_
#define TESTS_FUZZ_RANDOM_CALL_H_

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "hcall/schema/count.h"
#include "hcall/schema/generated/xen.h"
#include "hcall/schema/op.h"
#include "hcall/schema/walk.h"
#include "hcall/schema/words.h"
#include "xencomm/byte_order.h"
#include "xencomm/region.h"
#include "xencomm/space.h"

namespace xencomm::fuzz {

// SplitMix64: the same numbers for the same seed everywhere.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t Next() {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
  }
  std::uint64_t Below(std::uint64_t limit) { return Next() % limit; }
  bool OneIn(std::uint64_t n) { return Below(n) == 0; }
  void Fill(std::byte* to, std::size_t bytes) {
    for (std::size_t i = 0; i < bytes; ++i) to[i] = static_cast<std::byte>(Next());
  }

 private:
  std::uint64_t state_;
};

// The memory that a call lies in: a region with its table in front, filled from its start.
class CallMemory {
 public:
  static constexpr std::size_t kBytes = std::size_t{1} << 18;
  static constexpr unsigned kShift = 12;
  // What the table is filled with: a length that is read there is not none.
  static constexpr int kTableByte = 0x11;

  CallMemory()
      : bytes_(static_cast<std::byte*>(std::aligned_alloc(1 << kShift, kBytes)), &std::free) {
    std::memset(bytes_.get(), kTableByte, kBytes);
    Clear();
  }

  RegionLayout layout() const { return *RegionLayout::Make({address()}, kBytes, kShift); }
  std::uint64_t address() const { return reinterpret_cast<std::uint64_t>(bytes_.get()); }
  std::uint64_t end() const { return address() + kBytes; }
  // What is in use, the table included.
  std::span<std::byte> used() const { return {bytes_.get(), used_}; }

  // 16-byte aligned; nullptr: there is no room.
  std::byte* New(std::size_t bytes) {
    std::size_t start = AlignUp(used_, 16);
    if (start < hole_ + kHoleBytes && start + bytes > hole_) start = hole_ + kHoleBytes;
    if (start > kBytes || bytes > kBytes - start) return nullptr;
    used_ = start + bytes;
    return bytes_.get() + start;
  }
  void Clear() { used_ = 1 << kShift; }
  // Nothing is put into the granule at `hole`, in bytes from the start.
  static constexpr std::size_t kHoleBytes = std::size_t{1} << kShift;
  void LeaveOut(std::size_t hole) { hole_ = hole; }

 private:
  std::unique_ptr<std::byte, decltype(&std::free)> bytes_;
  std::size_t used_ = 0;
  std::size_t hole_ = kBytes;
};

// That memory as a guest's: everything else faults.
class CallSpace final : public Space {
 public:
  explicit CallSpace(const CallMemory& memory) : memory_(memory) {}

  Mapping Resolve(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length, Access,
                  Cursor*) override {
    std::uint64_t address;
    if (__builtin_add_overflow(pointer.value, offset, &address)) return Fault::kOverflow;
    if (!Contains(memory_.address(), CallMemory::kBytes, address, 1)) return Fault::kNotPresent;
    const std::uint64_t rest = memory_.end() - address;
    return Mapping(reinterpret_cast<std::byte*>(address), length < rest ? length : rest);
  }

 private:
  const CallMemory& memory_;
};

// A number of 1, 2, 4 or 8 bytes.
inline void StoreNumber(std::byte* record, schema::Ref field, std::uint64_t value,
                        ByteOrder order) {
  std::byte* const to = record + field.offset;
  if (field.size == 1) StoreField(to, static_cast<std::uint8_t>(value), order);
  if (field.size == 2) StoreField(to, static_cast<std::uint16_t>(value), order);
  if (field.size == 4) StoreField(to, static_cast<std::uint32_t>(value), order);
  if (field.size == 8) StoreField(to, value, order);
}

// Every op of the table, in every form that it has in some releases.
inline std::vector<const schema::Op*> AllOps(schema::Releases among = schema::kAllReleases) {
  std::vector<const schema::Op*> ops;
  for (const schema::Hypercall& hypercall : schema::Hypercalls()) {
    for (const schema::Op& op : hypercall.ops()) {
      if ((op.releases & among) != 0) ops.push_back(&op);
    }
  }
  return ops;
}

class RandomCall {
 public:
  static constexpr std::uint32_t kVcpus = 70;

  // What the walk is to find.
  struct Expected {
    const schema::Part* part;
    std::uint64_t address;
    std::uint64_t bytes;
  };

  // Of the newest release among some that has this form of the op.
  RandomCall(const schema::Op& op, ByteOrder order, Random& random, CallMemory& memory,
             schema::Releases among = schema::kAllReleases)
      : release_(schema::NewestOf(op.releases & among)),
        order_(order),
        random_(random),
        memory_(memory) {
    call_ = Make(op, true);
  }

  // Whether there was room for it.
  bool ok() const { return ok_; }
  const schema::Call& call() const { return call_; }
  const std::vector<Expected>& expected() const { return expected_; }
  schema::Releases release() const { return release_; }

 private:
  schema::Call Make(const schema::Op& op, bool may_hold_calls) {
    schema::Call call = {.hypercall = op.hypercall().number};
    for (std::uint64_t& each : call.registers) each = random_.Next();
    auto* registers = reinterpret_cast<std::byte*>(call.registers.data());
    if (op.hypercall().op_place == schema::OpPlace::kRegister) {
      const std::uint64_t progress = random_.Next() & ~op.hypercall().op_mask;
      StoreNumber(registers, op.hypercall().op_field, op.number | progress, kNativeOrder);
    }
    if (op.hypercall().op_place == schema::OpPlace::kFirstBuffer) {
      MakeBufferList(op, registers);
    } else {
      SetCounts(op.registers(), registers, kNativeOrder);
      MakeParts(op, op.registers(), registers, kNativeOrder, may_hold_calls);
    }
    // Of an int's register the rest may be anything.
    for (const schema::Part& part : op.registers().parts()) {
      call.registers[part.offset / sizeof(std::uint64_t)] |= random_.Next() & ~part.number_bits();
    }
    return call;
  }

  // A small number, now and then one that makes a bitmap of more than a word.
  std::uint64_t SmallCount(const schema::Amount& amount) {
    if (amount.per > 1 && random_.OneIn(2)) return 60 + random_.Below(20);
    return random_.Below(amount.most != 0 && amount.most < 5 ? amount.most + 1 : 6);
  }

  void SetCounts(const schema::Record& record, std::byte* bytes, ByteOrder order) {
    for (const schema::Part& part : record.parts()) {
      if (part.room().kind == schema::CountKind::kRange) {
        const std::uint64_t first = 1 + random_.Below(100);
        StoreNumber(bytes, part.room().a, first, order);
        StoreNumber(bytes, part.room().b, first + random_.Below(6) - 1, order);
      } else if (part.room().kind == schema::CountKind::kNumber) {
        for (const schema::Ref factor : {part.room().a, part.room().b}) {
          if (factor) StoreNumber(bytes, factor, SmallCount(part.room()), order);
        }
      }
    }
  }

  void MakeRecord(const schema::Op& op, const schema::Record& record, std::byte* bytes,
                  bool may_hold_calls) {
    random_.Fill(bytes, record.type()->size);
    SetCounts(record, bytes, order_);
    if (!record.variants().empty()) {
      const auto& variant = record.variants()[random_.Below(record.variants().size())];
      for (const schema::Index index : variant.test_indices) {
        const schema::Test& test = schema::facts::kTests[index];
        if (!test.field) continue;
        const std::int64_t value = test.values()[random_.Below(test.values().size())];
        StoreNumber(bytes, test.field, static_cast<std::uint64_t>(value), order_);
      }
    }
    const schema::Hypercall& hypercall = op.hypercall();
    if (&record == &op.argument() && hypercall.op_place != schema::OpPlace::kRegister) {
      if (hypercall.op_place != schema::OpPlace::kNone) {
        StoreNumber(bytes, hypercall.op_field, op.number, order_);
      }
      StoreNumber(bytes, hypercall.version_field, VersionOf(op), order_);
    }
    MakeParts(op, record, bytes, order_, may_hold_calls);
  }

  // One of those that the row is for.
  std::uint32_t VersionOf(const schema::Op& op) {
    for (const schema::Version& version : op.hypercall().versions()) {
      if ((version.releases & release_) != 0 && !op.is_stable) return version.number;
    }
    return 0;
  }

  void MakeParts(const schema::Op& op, const schema::Record& record, std::byte* bytes,
                 ByteOrder order, bool may_hold_calls) {
    const schema::RecordView view(bytes, order);
    for (const schema::Part& part : record.parts()) {
      if (!part.is_buffer() || part.direction() == schema::Direction::kIgnored) continue;
      if (!view.Has(part, schema::Phase::kBefore)) continue;
      MakePart(op, part, view, bytes, order, may_hold_calls);
    }
  }

  void MakePart(const schema::Op& op, const schema::Part& part, const schema::RecordView& view,
                std::byte* holder, ByteOrder order, bool may_hold_calls) {
    using schema::CountKind;
    const schema::Ref pointer = {part.offset, sizeof(std::uint64_t)};
    const std::uint64_t flags = random_.Next() & ~part.address_bits();
    if (part.may_be_null() && random_.OneIn(6)) {
      return StoreNumber(holder, pointer, flags, order);
    }
    std::uint64_t count = 0;
    std::uint64_t inside = 0;
    switch (part.room().kind) {
      case CountKind::kText:
      case CountKind::kUntilZero:
        count = 1 + random_.Below(5);
        break;
      case CountKind::kVcpus:
        count = AlignUp(kVcpus, 64) / 8;
        break;
      case CountKind::kInside:
        inside = part.room().at + part.room().per + random_.Below(16);
        count = inside + part.room().scale;
        break;
      default:
        count = *schema::Evaluate(part.room(), view);
    }
    // What no bytes are pointed at by is not looked at.
    if (count == 0) return;
    const std::uint64_t size = part.element().size;
    std::byte* const buffer =
        part.is_trailing() ? holder + part.offset : memory_.New(count * size + RoomBehind(part));
    if (buffer == nullptr) {
      ok_ = false;
      return StoreNumber(holder, pointer, 0, order);
    }
    const auto address = reinterpret_cast<std::uint64_t>(buffer);
    if (!part.is_trailing()) StoreNumber(holder, pointer, flags | address, order);
    expected_.push_back({&part, address, count * size});

    for (std::uint64_t i = 0; i < count; ++i) {
      std::byte* const element = buffer + i * size;
      if (op.hypercall().holds_calls && may_hold_calls) {
        MakeEntry(element);
      } else if (part.element_record() != nullptr) {
        MakeRecord(op, *part.element_record(), element, may_hold_calls);
      } else {
        random_.Fill(element, size);
      }
      if (part.room().kind == CountKind::kText || part.room().kind == CountKind::kUntilZero) {
        EndWithZero(part, element, i + 1 == count);
      }
    }
    if (part.room().kind == CountKind::kInside) {
      StoreNumber(buffer, {part.room().at, part.room().per}, inside, order);
    }
  }

  void EndWithZero(const schema::Part& part, std::byte* element, bool is_last) {
    const bool is_text = part.room().kind == schema::CountKind::kText;
    const schema::Ref end = is_text ? schema::Ref{0, part.element().size} : part.room().a;
    StoreNumber(element, end, is_last ? 0 : 1 + random_.Below(100), order_);
  }

  // For the array that a structure ends with.
  static std::uint64_t RoomBehind(const schema::Part& part) {
    if (part.element_record() == nullptr) return 0;
    std::uint64_t room = 0;
    for (const schema::Part& inner : part.element_record()->parts()) {
      if (inner.is_trailing()) room += 8 * inner.element().size;
    }
    return room;
  }

  // Of a list of calls: any call but another list.
  void MakeEntry(std::byte* entry) {
    static const std::vector<const schema::Op*> kOps = AllOps();
    const schema::Op* op;
    do {
      op = kOps[random_.Below(kOps.size())];
    } while (op->hypercall().holds_calls || (op->releases & release_) == 0);
    const schema::Call inner = Make(*op, false);
    StoreField(entry + offsetof(multicall_entry, op), inner.hypercall, order_);
    std::uint32_t at = offsetof(multicall_entry, args);
    for (const std::uint64_t each : inner.registers) {
      StoreField(entry + at, each, order_);
      at += 8;
    }
  }

  // A dm_op: a list of buffers, the first of which holds the op.
  void MakeBufferList(const schema::Op& op, std::byte* registers) {
    const std::uint32_t handle = offsetof(xen_dm_op_buf, h);
    const std::uint32_t length = offsetof(xen_dm_op_buf, size);
    const schema::Part* list = nullptr;
    for (const schema::Part& part : op.registers().parts()) {
      if (part.is_buffer()) list = &part;
    }
    const std::uint64_t count = op.buffers().size() + 1;
    std::byte* const entries = memory_.New(count * list->element().size);
    std::byte* const argument = memory_.New(op.argument().type()->size);
    if (entries == nullptr || argument == nullptr) {
      ok_ = false;
      return;
    }
    StoreNumber(registers, list->room().a, count, kNativeOrder);
    StoreNumber(registers, {list->offset, 8}, reinterpret_cast<std::uint64_t>(entries),
                kNativeOrder);
    expected_.push_back(
        {list, reinterpret_cast<std::uint64_t>(entries), count * list->element().size});
    random_.Fill(entries, count * list->element().size);
    MakeRecord(op, op.argument(), argument, false);
    auto add = [&](std::uint64_t i, const schema::Part* part, std::byte* at, std::uint64_t bytes) {
      std::byte* const entry = entries + i * list->element().size;
      StoreField(entry + handle, reinterpret_cast<std::uint64_t>(at), order_);
      StoreField(entry + length, bytes, order_);
      if (bytes != 0) expected_.push_back({part, reinterpret_cast<std::uint64_t>(at), bytes});
    };
    const schema::Part* pointer = nullptr;
    for (const schema::Part& part : list->element_record()->parts()) {
      if (part.is_buffer()) pointer = &part;
    }
    const std::uint64_t least = op.own_offset + op.own_type()->size;
    add(0, pointer, argument, least + random_.Below(op.argument().type()->size - least + 1));
    for (std::size_t i = 0; i < op.buffers().size(); ++i) {
      const std::uint64_t bytes = random_.Below(5) * op.buffers()[i].element().size;
      std::byte* const buffer = memory_.New(bytes);
      if (buffer == nullptr) ok_ = false;
      if (buffer != nullptr) random_.Fill(buffer, bytes);
      add(i + 1, &op.buffers()[i], buffer, buffer != nullptr ? bytes : 0);
    }
  }

  const schema::Releases release_;
  ByteOrder order_;
  Random& random_;
  CallMemory& memory_;
  schema::Call call_;
  std::vector<Expected> expected_;
  bool ok_ = true;
};

}  // namespace xencomm::fuzz

#endif  // TESTS_FUZZ_RANDOM_CALL_H_
