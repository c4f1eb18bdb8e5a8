// Every op that the hypervisor implements has a working call, and it works, again and again; of the
// caller's memory it changes what the op table calls its outputs, all of that and nothing else.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hcall/hypervisor/calls/hypercall_table.h"
#include "hcall/hypervisor/domain/domain.h"
#include "hcall/schema/count.h"
#include "hcall/schema/op.h"
#include "hcall/schema/words.h"
#include "hcall/transport/collect.h"
#include "tests/unit/hypervisor_calls.h"
#include "xencomm/hypercall.h"

namespace xencomm::hypervisor {
namespace {

class WorkingCallTest : public testing::TestWithParam<WorkingCall> {};

INSTANTIATE_TEST_SUITE_P(, WorkingCallTest, testing::ValuesIn(AllWorkingCalls()),
                         [](const auto& each) { return NameOf(each.param); });

// What a call may do with the caller's arguments, byte by byte, by the op table.
class Uses {
 public:
  struct Byte {
    bool is_read = false;
    bool is_written = false;
    bool is_padding = false;  // of a structure that is nothing but an output
    const schema::Part* part = nullptr;
  };

  Uses(CallsMachine& on, const HypercallFrame& frame) : arguments_(on.arguments()) {
    bytes_.resize(arguments_.size());
    call_.hypercall = frame.index;
    std::ranges::copy(frame.arguments, call_.registers.begin());
    const schema::Finding finding = schema::CollectBuffers(
        call_, kNativeOrder, on.control->domain->max_vcpus, schema::kBaseRelease, buffers_);
    // Xen's continuations and the library's own hypercall: what they read is not told.
    if (finding.problem == schema::Problem::kUnknownOp ||
        finding.problem == schema::Problem::kUnknownHypercall) {
      for (Byte& byte : bytes_) byte.is_read = true;
      return;
    }
    EXPECT_TRUE(finding.ok()) << schema::Describe(finding.problem);
    for (const schema::CollectedBuffer& each : buffers_) {
      NoteElements(each.buffer, each.buffer.count, schema::Phase::kBefore);
    }
  }

  // After the call, whose outputs say how far they go.
  void NoteOutputs(std::int64_t answer) {
    for (const schema::CollectedBuffer& each : buffers_) {
      const schema::Buffer& buffer = each.buffer;
      const void* const holder =
          buffer.in_register ? call_.registers.data() : static_cast<void*>(At(buffer.holder));
      NoteElements(buffer,
                   schema::CountFilled(*buffer.part, buffer.count, holder, kNativeOrder, answer),
                   schema::Phase::kAfter);
      if (each.tail == 0) continue;
      const schema::Part& tail = *each.tail_part;
      const std::uint64_t filled = schema::CountFilled(tail, each.tail / tail.element().size,
                                                       each.data(), kNativeOrder, answer);
      Note(each.data() + buffer.bytes, filled * tail.element().size, tail, false, tail.writes());
    }
  }

  const Byte& operator[](std::size_t i) const { return bytes_[i]; }

 private:
  static std::byte* At(VirtualAddress address) {
    return reinterpret_cast<std::byte*>(address.value);
  }

  // Empty for memory other than the arguments'.
  std::span<Byte> UsesOf(const std::byte* at, std::uint64_t bytes) {
    const auto first = static_cast<std::uint64_t>(at - arguments_.data());
    return Contains(0, bytes_.size(), first, bytes) ? std::span(bytes_).subspan(first, bytes)
                                                    : std::span<Byte>();
  }
  void Note(const std::byte* at, std::uint64_t bytes, const schema::Part& part, bool is_read,
            bool is_written) {
    for (Byte& byte : UsesOf(at, bytes)) {
      byte.is_read |= is_read;
      byte.is_written |= is_written;
      byte.is_padding = false;
      if (is_written) byte.part = &part;
    }
  }

  // What is read of `count` elements, or, after the call, written.
  void NoteElements(const schema::Buffer& buffer, std::uint64_t count, schema::Phase phase) {
    const bool before = phase == schema::Phase::kBefore;
    const std::uint64_t size = buffer.element->size;
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::byte* const element = At(buffer.address) + i * size;
      if (buffer.element_record == nullptr) {
        Note(element, size, *buffer.part, before && buffer.reads(), !before && buffer.writes());
        continue;
      }
      if (before && !buffer.reads()) {
        for (Byte& byte : UsesOf(element, size)) byte.is_padding = true;
      }
      const schema::RecordView view(element, kNativeOrder);
      for (const schema::Part& part : buffer.element_record->parts()) {
        if (part.is_trailing() || !view.Has(part, phase)) continue;
        // Of a pointer the direction is that of what it points at.
        const bool reads = part.is_pointer() || part.reads();
        const bool writes = !part.is_pointer() && part.writes();
        Note(element + part.offset, part.size(), part, before && reads, !before && writes);
      }
    }
  }

  std::span<std::byte> arguments_;
  std::vector<Byte> bytes_;
  schema::Call call_;
  std::vector<schema::CollectedBuffer> buffers_;
};

// Outputs that a call which works leaves alone.
bool MayStay(const WorkingCall& call, std::string_view part) {
  static const auto* const kStay = new std::set<std::pair<std::string_view, std::string_view>>{
      // Only of a policy that is refused.
      {"domctl.set_cpu_policy", "err_leaf"},
      {"domctl.set_cpu_policy", "err_subleaf"},
      {"domctl.set_cpu_policy", "err_msr"},
      // Only what the processor has a counter for.
      {"sysctl.get_pmstat.get_cxstat", "u.getcx.pc"},
      {"sysctl.get_pmstat.get_cxstat", "u.getcx.cc"},
  };
  return kStay->contains({call.name, part});
}

// Twice, with other bytes where it has nothing to read: what is written has no trace of them.
TEST_P(WorkingCallTest, ChangesItsOutputsAndNothingElse) {
  constexpr std::array kFillers = {std::byte{0xa5}, std::byte{0x5a}};
  const WorkingCall& call = GetParam();
  CallsMachine on;
  std::set<std::size_t> unchanged;
  std::set<std::string> faults;
  for (const std::byte filler : kFillers) {
    on.Begin();
    const HypercallFrame frame = call.prepare(on, call.target);
    const std::span<std::byte> bytes = on.arguments();
    Uses uses(on, frame);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      if (!uses[i].is_read) bytes[i] = filler;
    }
    const std::vector<std::byte> before(bytes.begin(), bytes.end());

    const std::int64_t answer = on.machine.hypervisor.Call(*on.control, frame);
    const std::int64_t outcome = answer < 0 || call.result == nullptr ? answer : call.result(on);
    if (call.answer == kAnyAnswer) {
      EXPECT_GE(outcome, 0);
    } else {
      EXPECT_EQ(outcome, call.answer);
    }

    uses.NoteOutputs(answer);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      const Uses::Byte& use = uses[i];
      const bool changed = bytes[i] != before[i];
      if (!use.is_written) {
        const bool is_cleared = use.is_padding && bytes[i] == std::byte{0};
        if (changed && !is_cleared) faults.insert("byte " + std::to_string(i) + " is no output");
      } else if (!use.is_read && !changed && !MayStay(call, schema::WordsOf(*use.part).path)) {
        // What is written may be what stood there, but not both times.
        if (unchanged.contains(i))
          faults.insert(std::string(schema::WordsOf(*use.part).path) + " is not written");
        unchanged.insert(i);
      }
    }
  }
  EXPECT_THAT(faults, testing::IsEmpty());
}

TEST(WorkingCallsTest, AreRefusedWhereWhatMustBeZeroIsNot) {
  unsigned fields = 0;
  for (const WorkingCall& call : AllWorkingCalls()) {
    const schema::Op* const op = schema::Find(call.hypercall, call.op);
    if (op == nullptr || op->argument().type() == nullptr) continue;
    const schema::Part& pointer = *schema::BufferOf(op->registers());
    for (const schema::Part& part : op->argument().parts()) {
      if (schema::WordsOf(part).note == nullptr ||
          std::string_view(schema::WordsOf(part).note) != "must be zero")
        continue;
      SCOPED_TRACE(std::string(call.name) + ": " + schema::WordsOf(part).path);
      CallsMachine on;
      const HypercallFrame frame = call.prepare(on, call.target);
      auto* const argument =
          reinterpret_cast<std::byte*>(frame.arguments[pointer.offset / sizeof(std::uint64_t)]);
      if (!schema::RecordView(argument, kNativeOrder).Holds(part.when())) continue;
      ++fields;
      argument[part.offset + part.size() - 1] = std::byte{1};
      EXPECT_EQ(on.machine.hypervisor.Call(*on.control, frame), -kEINVAL);
    }
  }
  EXPECT_GT(fields, 0u);
}

// Whose XSM_XS_PRIV that is.
TEST(WorkingCallsTest, XenstoresDomainOnlyAsksAboutDomains) {
  constexpr std::uint16_t kXenstore = 1;
  CallsMachine on;
  ASSERT_EQ(on.machine.CreateDomain(kXenstore, 0, XEN_DOMCTL_CDF_xs_domain), kXenstore);
  Vcpu* const caller = on.machine.hypervisor.ClaimVcpu(kXenstore, 0);
  ASSERT_NE(caller, nullptr);
  on.machine.hypervisor.SetRawSpace(*caller, on.space);
  for (const WorkingCall& call : WorkingControlCalls()) {
    SCOPED_TRACE(call.name);
    const bool asks = call.hypercall == __HYPERVISOR_domctl && call.op == XEN_DOMCTL_getdomaininfo;
    on.Begin();
    const HypercallFrame frame = call.prepare(on, kHvm);
    EXPECT_EQ(on.machine.hypervisor.Call(*caller, frame), asks ? 0 : call.refusal);
  }
}

TEST(WorkingCallsTest, EveryOpHasOne) {
  std::set<std::pair<std::uint64_t, std::uint64_t>> there;
  for (const WorkingCall& call : AllWorkingCalls()) there.insert({call.hypercall, call.op});
  for (const schema::Hypercall& hypercall : schema::Hypercalls()) {
    for (const schema::Op& op : hypercall.ops()) {
      if ((op.releases & schema::kBaseRelease) == 0) continue;
      if (!Ask(hypercall.number, op.number).is_implemented) continue;
      EXPECT_TRUE(there.contains({hypercall.number, op.number}))
          << schema::WordsOf(hypercall).name << ' ' << schema::WordsOf(op).name
          << " has no working call";
    }
  }
  // The library's own, which are in no table.
  for (const XencommOp op : {XencommOp::kRegister, XencommOp::kExtend, XencommOp::kUnregister}) {
    const auto number = static_cast<std::uint64_t>(op);
    EXPECT_TRUE(there.contains({kXencommOp, number})) << number << " has no working call";
  }
}

}  // namespace
}  // namespace xencomm::hypervisor
