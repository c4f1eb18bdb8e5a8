// Random calls of every op, audited and made while the program changes all of its memory in
// between: none of it reaches the kernel's copies, whose ops stay what was audited, and what is
// given back are outputs of the program's own.

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "hcall/schema/audited_call.h"
#include "hcall/schema/words.h"
#include "tests/fuzz/random_call.h"
#include "tests/unit/hypervisor_machine.h"
#include "xencomm/region_table.h"

namespace xencomm::hypervisor {
namespace {

using fuzz::CallMemory;
using fuzz::Random;
using fuzz::RandomCall;
using schema::AuditedCall;
using schema::AuditScratch;

constexpr unsigned kRounds = 24;
constexpr std::uint64_t kGranules = CallMemory::kBytes >> kPageShift;
// The granule for arguments only: other calls' copies, and in the middle this one's.
constexpr std::uint64_t kGuarded = 4;
constexpr std::uint64_t kGuardedAt = kGuarded << kPageShift;
constexpr std::uint64_t kOwnAt = 1024;
constexpr std::uint64_t kOwnBytes = 2048;

// A guest whose region lies at the addresses of `memory`, which the calls are made up in.
class Guest {
 public:
  Guest(CallMemory& memory, ByteOrder order)
      : memory_(memory),
        machine_({.pool_bytes = std::uint64_t{16} << 20,
                  .pages = 256,
                  .space = SpaceKind::kRegion,
                  .order = order}),
        guest_(machine_.hypervisor.LockedMemoryOf(*machine_.vcpu)) {
    const PhysicalAddress table[] = {Place(0)};
    table_ = std::make_unique<RegionTable<LockedMemory>>(
        *RegionTable<LockedMemory>::Build(guest_, memory.layout(), order, table));
    for (std::uint64_t i = 1; i < kGranules; ++i) {
      if (i == kGuarded) continue;
      EXPECT_TRUE(table_->Back(i, Place(i)).ok());
    }
    handle_ = machine_.Call(kXencommOp, XencommOp::kRegister, table_->handle().value, 1);
    EXPECT_GT(handle_, 0);
    EXPECT_TRUE(table_->Back(kGuarded, Place(kGuarded)).ok());
    EXPECT_EQ(machine_.Call(kXencommOp, XencommOp::kExtend, handle_, kGuarded, 1,
                            GranuleUse::kArgumentsOnly),
              0);
    space_.emplace(table_->AsStateless(), guest_);
  }

  std::byte* At(std::uint64_t offset) {
    return guest_.Map(Place(offset >> kPageShift) + offset % kPageSize, 1, Access::kWrite).start();
  }
  std::vector<std::byte> Payload() {
    std::vector<std::byte> bytes(CallMemory::kBytes);
    for (std::uint64_t i = 1; i < kGranules; ++i) {
      if (i != kGuarded) std::memcpy(&bytes[i << kPageShift], At(i << kPageShift), kPageSize);
    }
    return bytes;
  }
  void SetPayload(const std::byte* from) {
    for (std::uint64_t i = 1; i < kGranules; ++i) {
      if (i != kGuarded) std::memcpy(At(i << kPageShift), from + (i << kPageShift), kPageSize);
    }
  }

  Space& space() { return *space_; }
  std::int64_t Make(const schema::Call& call) {
    HypercallFrame frame = {.index = call.hypercall, .region = static_cast<std::uint64_t>(handle_)};
    std::copy_n(call.registers.begin(), std::size(frame.arguments), frame.arguments);
    return machine_.hypervisor.Call(*machine_.vcpu, frame);
  }
  // Whether it can go on: some ops end domains.
  bool lives() {
    HypercallFrame frame = {.index = __HYPERVISOR_xen_version, .arguments = {XENVER_version}};
    return machine_.hypervisor.Call(*machine_.vcpu, frame) > 0;
  }

 private:
  // In reverse, so that neighbours are none.
  static PhysicalAddress Place(std::uint64_t granule) {
    return {(64 + kGranules - granule) << kPageShift};
  }

  CallMemory& memory_;
  TestMachine machine_;
  LockedMemory guest_;
  std::unique_ptr<RegionTable<LockedMemory>> table_;
  std::int64_t handle_ = 0;
  std::optional<SpaceOver<StatelessRegion<LockedMemory>, LockedMemory>> space_;
};

// The bytes that a call of this op leaves outputs in, of `bytes` at its argument's copy.
std::vector<bool> Outputs(const schema::Op& op, const std::byte* copy, std::uint64_t bytes,
                          ByteOrder order) {
  const schema::Part* const pointer = schema::BufferOf(op.registers());
  std::vector<bool> written(bytes);
  for (std::uint64_t at = 0; at < bytes; at += pointer->element().size) {
    const schema::RecordView view(copy + at, order);
    for (const schema::Part& part : pointer->element_record()->parts()) {
      if (part.is_buffer() || !part.writes() || !view.Has(part, schema::Phase::kAfter)) continue;
      for (std::uint64_t i = 0; i < part.size(); ++i) written[at + part.offset + i] = true;
    }
  }
  return written;
}

// What a program can do to its memory, knowing where the copies lie.
void Change(Random& random, ByteOrder order, std::uint64_t guarded, std::vector<std::byte>& bytes,
            std::uint64_t used) {
  const std::uint64_t start = guarded - kGuardedAt;
  const unsigned how = static_cast<unsigned>(random.Below(4));
  for (std::uint64_t at = kPageSize; at + 8 <= used; at += 4) {
    const auto word = LoadField<std::uint64_t>(&bytes[at], order);
    if (how != 0 && word >= start && word - start < CallMemory::kBytes) {
      StoreField(&bytes[at], guarded - 16 + 8 * random.Below(CallMemory::kHoleBytes / 8 + 4),
                 order);
      at += 4;
    } else if (how == 0 || random.OneIn(how == 1 ? 1000 : 3)) {
      static constexpr std::uint32_t kNumbers[] = {0, 1, 20, 64, 500, 1u << 20, ~0u};
      StoreField(&bytes[at], kNumbers[random.Below(std::size(kNumbers))], order);
    }
  }
}

class Lockdown {
 public:
  explicit Lockdown(ByteOrder order) : order_(order) { memory_.LeaveOut(kGuardedAt); }

  // A sentence when something is wrong.
  std::string Check(const schema::Op& op, std::uint64_t seed) {
    if (guest_ == nullptr || !guest_->lives()) guest_ = std::make_unique<Guest>(memory_, order_);
    // What the register leads to ends right in front of the copies.
    memory_.Clear();
    std::uint64_t first = 0;
    {
      Random random(seed);
      const RandomCall call(op, order_, random, memory_);
      if (!call.ok()) return "";
      if (!call.expected().empty()) first = AlignUp(call.expected()[0].bytes, 16);
    }
    memory_.Clear();
    memory_.New(kGuardedAt - kPageSize - std::min(first, kGuardedAt - kPageSize));
    Random random(seed);
    const RandomCall made(op, order_, random, memory_, schema::kBaseRelease);
    if (!made.ok()) return "";
    std::vector<std::byte> payload(CallMemory::kBytes);
    std::copy(memory_.used().begin(), memory_.used().end(), payload.begin());
    const schema::Call call = Aim(op, made, random, payload);
    guest_->SetPayload(payload.data());

    std::byte* const guarded = guest_->At(kGuardedAt);
    random.Fill(guarded, kPageSize);
    const std::vector<std::byte> others(guarded, guarded + kPageSize);
    const std::uint64_t address = memory_.address() + kGuardedAt;
    const AuditScratch scratch = {{address + kOwnAt}, {guarded + kOwnAt, kOwnBytes}};
    const schema::Caller caller = {guest_->space(), order_, 2, schema::kBaseRelease};
    AuditedCall audited(call, caller,
                        {.region = memory_.layout(), .arguments_only = {{address}, kPageSize}},
                        scratch);
    if (!audited.ok()) return "";
    ++audited_;
    const std::vector<std::byte> copy(guarded + kOwnAt, guarded + kOwnAt + kOwnBytes);
    const std::uint64_t copied = CopiedBytes(op, call, audited.call());

    Change(random, order_, address, payload, memory_.used().size());
    guest_->SetPayload(payload.data());
    guest_->Make(audited.call());

    for (std::uint64_t i = 0; i < kPageSize; ++i) {
      if (i - kOwnAt < copied) continue;
      if (guarded[i] != others[i]) return "wrote over another copy, at byte " + std::to_string(i);
    }
    std::vector<bool> outputs(copied);
    if (copied != 0) outputs = Outputs(op, guarded + kOwnAt, copied, order_);
    for (std::uint64_t i = 0; i < copied; ++i) {
      if (guarded[kOwnAt + i] == copy[i] || outputs[i] || IsProgress(op, i)) continue;
      return "changed its copy where there is no output, at byte " + std::to_string(i);
    }

    const std::vector<std::byte> before = guest_->Payload();
    if (!audited.CopyBack().ok()) return "gave nothing back";
    const std::vector<std::byte> after = guest_->Payload();
    const std::uint64_t original = call.registers[RegisterOf(op)] - memory_.address();
    for (std::uint64_t i = 0; i < after.size(); ++i) {
      if (after[i] == before[i] || (i - original < copied && outputs[i - original])) continue;
      return "gave back what is no output, at byte " + std::to_string(i);
    }
    return "";
  }

  unsigned audited() const { return audited_; }

 private:
  static std::size_t RegisterOf(const schema::Op& op) {
    return op.hypercall().pointer < 0 ? 0 : static_cast<std::size_t>(op.hypercall().pointer);
  }
  std::uint64_t CopiedBytes(const schema::Op& op, const schema::Call& call,
                            const schema::Call& passed) const {
    if (call.registers == passed.registers) return 0;
    const schema::Part* const pointer = schema::BufferOf(op.registers());
    const schema::RecordView registers(call.registers.data(), kNativeOrder);
    return pointer->element().size *
           (op.hypercall().holds_calls ? *schema::Evaluate(pointer->room(), registers) : 1);
  }
  // A call of a list that is continued keeps its progress in its registers.
  static bool IsProgress(const schema::Op& op, std::uint64_t at) {
    constexpr std::uint64_t kFirstByte = 8;  // of the op only: its result comes next, an output
    return op.hypercall().holds_calls && at % sizeof(multicall_entry_t) >= kFirstByte;
  }
  // Turns the call into one that this hypervisor goes far into: of its version, of a domain and a
  // vcpu that there are, without progress.
  schema::Call Aim(const schema::Op& op, const RandomCall& made, Random& random,
                   std::vector<std::byte>& payload) {
    schema::Call call = made.call();
    const schema::Hypercall& hypercall = op.hypercall();
    if (hypercall.op_place == schema::OpPlace::kRegister) call.registers[0] = op.number;
    for (const schema::Part& part : op.registers().parts()) {
      const std::size_t index = part.offset / sizeof(std::uint64_t);
      if (!part.is_buffer() && index != 0) call.registers[index] &= 1;
    }
    if (made.expected().empty() || hypercall.holds_calls) return call;
    const std::uint64_t argument = made.expected()[0].address - memory_.address();
    if (hypercall.version_field && (op.releases & schema::kBaseRelease) != 0) {
      StoreField(&payload[argument + hypercall.version_field.offset],
                 hypercall.versions()[0].number, order_);
    }
    for (const schema::Part& part : op.argument().parts()) {
      if (part.size() != sizeof(domid_t) ||
          std::strstr(schema::WordsOf(part).path, "dom") == nullptr)
        continue;
      const domid_t domain = random.OneIn(2) ? domid_t{0} : domid_t{DOMID_SELF};
      StoreField(&payload[argument + part.offset], domain, order_);
    }
    return call;
  }

  ByteOrder order_;
  CallMemory memory_;
  std::unique_ptr<Guest> guest_;
  unsigned audited_ = 0;
};

class RandomLockdownTest : public testing::TestWithParam<ByteOrder> {};

INSTANTIATE_TEST_SUITE_P(, RandomLockdownTest, testing::Values(ByteOrder::kLittle, ByteOrder::kBig),
                         [](const auto& each) {
                           return each.param == ByteOrder::kBig ? "BigEndian" : "LittleEndian";
                         });

TEST_P(RandomLockdownTest, WhatChangesAfterTheAuditReachesNoCopy) {
  Lockdown lockdown(GetParam());
  for (const schema::Op* op : fuzz::AllOps(schema::kBaseRelease)) {
    for (std::uint64_t seed = 0; seed < kRounds; ++seed) {
      const std::string wrong = lockdown.Check(*op, seed);
      EXPECT_EQ(wrong, "") << schema::WordsOf(op->hypercall()).name << "."
                           << schema::WordsOf(*op).name << ", seed " << seed;
      if (!wrong.empty()) break;
    }
  }
  EXPECT_GT(lockdown.audited(), fuzz::AllOps(schema::kBaseRelease).size() * kRounds / 4);
}

}  // namespace
}  // namespace xencomm::hypervisor
