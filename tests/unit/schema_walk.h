// A walk over a call, with what holds of every walk looked at beside what a test asks for.
#ifndef TESTS_UNIT_SCHEMA_WALK_H_
#define TESTS_UNIT_SCHEMA_WALK_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <ostream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "hcall/schema/count.h"
#include "hcall/schema/op.h"
#include "hcall/schema/walk.h"
#include "hcall/schema/words.h"
#include "tests/unit/schema_guest.h"

namespace xencomm::schema {

// A buffer in a form that a test can write down: path, elements, bytes, direction.
struct Seen {
  std::string path;
  std::uint64_t count;
  std::uint64_t bytes;
  Direction direction;

  friend bool operator==(const Seen&, const Seen&) = default;
  friend std::ostream& operator<<(std::ostream& out, const Seen& seen) {
    return out << seen.path << " x" << seen.count << ", " << seen.bytes << " bytes, direction "
               << static_cast<int>(seen.direction);
  }
};

// What a walk did, in order: e, it came to an op; v, to a buffer; r, it read.
class Trace final : public Space {
 public:
  // From event `end` on nothing goes well.
  Trace(Space& guest, ByteOrder order, std::size_t end) : guest_(guest), order_(order), end_(end) {}

  Mapping Resolve(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length, Access access,
                  Cursor* cursor) override {
    return Note('r') ? guest_.Map(pointer, offset, length, access, cursor) : Fault::kNotPresent;
  }

  Finding Walk(const Call& call) {
    auto visit = [&](const Buffer& buffer) {
      ExpectPointer(buffer);
      if (buffer.entry == kNoIndex || buffer.entry == 0) {
        seen.push_back({WordsOf(*buffer.part).path, buffer.count, buffer.bytes, buffer.direction});
      }
      last_entry = buffer.entry;
      return Note('v');
    };
    auto enter = [&](const Op&) { return Note('e'); };
    return ForEachBuffer(call, {*this, order_, 70}, visit, enter);
  }

  std::string events;
  std::vector<Seen> seen;  // of the call itself, or of a list's first
  std::uint64_t last_entry = kNoIndex;

 private:
  bool Note(char event) { return (events += event).size() <= end_; }

  // The pointer stands where the walk says, in its copy and in the caller's memory.
  void ExpectPointer(const Buffer& buffer) {
    const Part& part = *buffer.part;
    if (part.is_trailing()) return;
    const ByteOrder order = buffer.in_register ? kNativeOrder : order_;
    EXPECT_EQ(RecordView(buffer.holder_copy, order).Read(part.offset, 8) & part.address_bits(),
              buffer.address.value);
    if (buffer.in_register) return;
    const Mapping place = guest_.Map(buffer.holder, part.offset, 8, Access::kRead, nullptr);
    ASSERT_EQ(place.length(), 8u);
    EXPECT_EQ(LoadField<std::uint64_t>(place.start(), order) & part.address_bits(),
              buffer.address.value);
  }

  Space& guest_;
  const ByteOrder order_;
  const std::size_t end_;
};

class Walk : public GuestCalls {
 protected:
  // The buffers of a call; `finding_` is how the walk ended.
  std::vector<Seen> Buffers(std::uint64_t hypercall, std::initializer_list<std::uint64_t> arguments,
                            ByteOrder order = kNativeOrder) {
    const Call call = MakeCall(hypercall, arguments);
    Trace trace(guest_, order, SIZE_MAX);
    finding_ = trace.Walk(call);
    ExpectStops(call, order, trace);
    if (hypercall != __HYPERVISOR_multicall) ExpectSameInAList(call, order, trace);
    return trace.seen;
  }

  Finding finding_;

 private:
  // Whatever goes wrong first, the walk ends there.
  void ExpectStops(const Call& call, ByteOrder order, const Trace& whole) {
    const std::size_t events = std::min(whole.events.size(), std::size_t{64});
    for (std::size_t end = 0; end < events; ++end) {
      Trace trace(guest_, order, end);
      const Finding finding = trace.Walk(call);
      EXPECT_EQ(trace.events, whole.events.substr(0, end + 1));
      EXPECT_EQ(finding.problem,
                whole.events[end] == 'r' ? Problem::kUnreadable : Problem::kStopped);
    }
  }

  // A list of the call and a good one comes to the good one when nothing is wrong before it.
  void ExpectSameInAList(const Call& call, ByteOrder order, const Trace& alone) {
    std::uint64_t words[16] = {call.hypercall};
    std::copy_n(call.registers.begin(), 6, words + 2);
    words[8] = __HYPERVISOR_console_io;
    words[10] = CONSOLEIO_write;
    words[11] = 1;
    words[12] = Guest::kBase;
    for (std::uint64_t& word : words) StoreField(&word, word, order);
    static_assert(sizeof(words) == 2 * sizeof(multicall_entry));
    const Call list = MakeCall(__HYPERVISOR_multicall, {guest_.New(words, 16), 2});
    Trace trace(guest_, order, SIZE_MAX);
    const Finding finding = trace.Walk(list);
    EXPECT_EQ(finding.problem, finding_.problem);
    EXPECT_EQ(finding.part, finding_.part);
    EXPECT_EQ(finding.entry, finding.ok() ? kNoIndex : 0);
    trace.seen.erase(trace.seen.begin());  // the list
    EXPECT_EQ(trace.seen, alone.seen);
    EXPECT_EQ(trace.last_entry == 1, finding.ok());
    ExpectStops(list, order, trace);
  }
};

}  // namespace xencomm::schema

#endif  // TESTS_UNIT_SCHEMA_WALK_H_
