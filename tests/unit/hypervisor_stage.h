// A machine in which calls are made again and again, each from the same beginning; and the places
// in memory that a call says something by, from the op table.
#ifndef TESTS_UNIT_HYPERVISOR_STAGE_H_
#define TESTS_UNIT_HYPERVISOR_STAGE_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "hcall/schema/count.h"
#include "hcall/schema/walk.h"
#include "hcall/schema/words.h"
#include "tests/unit/hypervisor_books.h"
#include "tests/unit/hypervisor_calls.h"
#include "tests/unit/hypervisor_image.h"

namespace xencomm::hypervisor {

// Takes what memory there is.
inline constexpr std::uint16_t kTaker = 77;

// Bytes of guest memory that say one thing.
struct Place {
  std::byte* at;
  std::size_t size;
  std::string name;
  bool is_pointer = false;
};

inline std::uint64_t Load(const Place& place) {
  std::uint64_t value = 0;
  std::memcpy(&value, place.at, place.size);
  return value;
}
inline void Store(const Place& place, std::uint64_t value) {
  std::memcpy(place.at, &value, place.size);
}

// Of one that there are many of.
inline std::string Numbered(const std::string& name, std::uint64_t i, std::uint64_t count) {
  return count == 1 ? name : name + '[' + std::to_string(i) + ']';
}

// The first two and the last of `count`.
template <class Visitor>
void ForSome(std::uint64_t count, Visitor visit) {
  for (std::uint64_t i = 0; i < count; ++i) {
    if (i < 2 || i + 1 == count) visit(i);
  }
}

inline void AddScalars(const schema::Type& type, std::byte* at, const std::string& name,
                       std::vector<Place>& places) {
  if (!type.is_record()) {
    places.push_back({at, type.size, name, type.kind == schema::Kind::kHandle});
    return;
  }
  for (const schema::Member& field : schema::MembersOf(type)) {
    ForSome(field.count, [&](std::uint64_t i) {
      const std::string inner = name + '.' + field.name;
      AddScalars(field.type(), at + field.offset + i * field.type().size,
                 Numbered(inner, i, field.count), places);
    });
  }
}

// All the bytes that one pointer leads to.
struct Extent {
  std::string name;
  const std::byte* at;
  std::uint64_t bytes;

  bool Overlaps(const std::byte* other, std::uint64_t length) const {
    return other < at + bytes && at < other + length;
  }
};

inline bool Contains(std::span<const std::byte> part, const void* at, std::uint64_t length) {
  return xencomm::Contains(reinterpret_cast<std::uintptr_t>(part.data()), part.size(),
                           reinterpret_cast<std::uintptr_t>(at), length);
}

// What a call reads and writes, by the op table.
class Touched {
 public:
  Touched(const HypercallFrame& frame, Space& space, std::span<const std::byte> arguments)
      : arguments_(arguments), writable_(arguments.size()) {
    schema::Call call = {.hypercall = frame.index};
    std::copy(std::begin(frame.arguments), std::end(frame.arguments), call.registers.begin());
    auto visit = [&](const schema::Buffer& buffer) {
      Visit(buffer);
      return true;
    };
    static_cast<void>(schema::ForEachBuffer(
        call, {.space = space, .vcpus = 2, .releases = schema::kBaseRelease}, visit));
  }

  // What it says, and where it is answered.
  const std::vector<Place>& places() const { return places_; }
  const std::vector<Place>& outputs() const { return outputs_; }
  const std::vector<Extent>& extents() const { return extents_; }
  bool MayWrite(std::size_t offset) const { return writable_[offset]; }
  void AddOutputsOf(const Touched& other) {
    for (std::size_t i = 0; i < writable_.size(); ++i) {
      if (other.writable_[i]) writable_[i] = true;
    }
  }

 private:
  void Visit(const schema::Buffer& buffer) {
    auto* const at = reinterpret_cast<std::byte*>(buffer.address.value);
    const std::uint32_t size = buffer.element->size;
    if (buffer.bytes != 0) {
      const std::string name = schema::WordsOf(*buffer.part).path;
      extents_.push_back({buffer.index == schema::kNoIndex
                              ? name
                              : name + '[' + std::to_string(buffer.index) + ']',
                          at, buffer.bytes});
    }
    if (buffer.element_record == nullptr) {
      if (buffer.writes()) AddWritable(at, buffer.bytes);
      if (!Contains(arguments_, at, buffer.bytes)) return;
      ForSome(buffer.count, [&](std::uint64_t i) {
        const std::string name = Numbered(schema::WordsOf(*buffer.part).path, i, buffer.count);
        if (buffer.reads()) AddScalars(*buffer.element, at + i * size, name, places_);
        if (buffer.writes()) AddScalars(*buffer.element, at + i * size, name, outputs_);
      });
      return;
    }
    if (!Contains(arguments_, at, buffer.bytes)) return;
    for (std::uint64_t i = 0; i < buffer.count; ++i) {
      const schema::RecordView view(at + i * size, kNativeOrder);
      for (const schema::Part& part : buffer.element_record->parts()) {
        if (!view.Holds(part.when())) continue;
        if (part.writes() && !part.is_buffer())
          AddWritable(at + i * size + part.offset, part.size());
      }
    }
    ForSome(buffer.count, [&](std::uint64_t i) {
      const schema::RecordView view(at + i * size, kNativeOrder);
      for (const schema::Part& part : buffer.element_record->parts()) {
        if (part.is_trailing()) continue;
        std::byte* const field = at + i * size + part.offset;
        const std::string name = Numbered(schema::WordsOf(part).path, i, buffer.count);
        const bool is_there = view.Has(part, schema::Phase::kBefore);
        if (part.is_buffer()) {
          if (is_there) places_.push_back({field, part.size(), name, true});
          continue;
        }
        const std::uint64_t count = part.size() / part.type().size;
        ForSome(count, [&](std::uint64_t j) {
          std::byte* const place = field + j * part.type().size;
          const std::string one = Numbered(name, j, count);
          if (is_there && part.reads()) AddScalars(part.type(), place, one, places_);
          if (part.writes()) AddScalars(part.type(), place, one, outputs_);
        });
      }
    });
  }
  void AddWritable(const std::byte* at, std::uint64_t bytes) {
    const auto begin = static_cast<std::uint64_t>(at - arguments_.data());
    if (begin >= writable_.size()) return;
    const auto count = static_cast<std::ptrdiff_t>(std::min(bytes, writable_.size() - begin));
    std::fill_n(writable_.begin() + static_cast<std::ptrdiff_t>(begin), count, true);
  }

  std::span<const std::byte> arguments_;
  std::vector<Place> places_;
  std::vector<Place> outputs_;
  std::vector<Extent> extents_;
  std::vector<bool> writable_;
};

// A machine that calls are refused in, and that goes back to how it was.
class Stage {
 public:
  explicit Stage(unsigned preempt_interval)
      : on(Options(preempt_interval)),
        base(on.machine.hypervisor),
        before(on.machine.hypervisor),
        after(on.machine.hypervisor),
        done(on.machine.hypervisor) {
    WarmUp();
    // It lies there unused, and is compared as often as all else.
    xen_domctl_t op = {};
    op.u.paging_mempool.size = 16 * kPageSize;
    EXPECT_EQ(on.machine.Domctl(XEN_DOMCTL_set_paging_mempool_size, kHvm, op), 0);
    base.Take();
  }
  ~Stage() { base.Restore(); }

  // All memory but `spare` pages is taken.
  void LeaveFree(std::uint64_t spare) {
    static std::array<xen_pfn_t, kPoolBytes / kPageSize> frames;
    ASSERT_EQ(on.machine.CreateDomain(kTaker, kPoolBytes), kTaker);
    const std::uint64_t free = Books::StatisticsOf(on.machine.hypervisor).free_pages;
    xen_memory_reservation all = TestMachine::Reservation(kTaker, frames.data(), free);
    ASSERT_EQ(on.machine.Call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, &all),
              static_cast<std::int64_t>(free));
    ASSERT_LE(spare, free);
    xen_memory_reservation some = TestMachine::Reservation(kTaker, frames.data(), spare);
    ASSERT_EQ(on.machine.Call(__HYPERVISOR_memory_op, XENMEM_decrease_reservation, &some),
              static_cast<std::int64_t>(spare));
  }

  // A domain that is about to end, or has ended and has a page that somebody maps: that one, for
  // ReleaseFrame, or kNoFrame. In a machine whose calls stop as often as they can.
  std::uint64_t End(std::uint16_t domain, bool wholly) {
    std::uint64_t held = kNoFrame;
    on.machine.HoldFrame(domain, domain == kPv ? on.pv_frames[0] : 0, Access::kRead, &held);
    xen_domctl_t op = {};
    op.cmd = XEN_DOMCTL_destroydomain;
    op.interface_version = XEN_DOMCTL_INTERFACE_VERSION;
    op.domain = domain;
    HypercallFrame end = on.Frame(__HYPERVISOR_domctl, &op);
    do {
      on.machine.hypervisor.Hypercall(*on.control, end);
    } while (end.continued && wholly);
    return held;
  }

  // Of other memory than the arguments' and the domains' there is none.
  bool IsThere(const void* at, std::uint64_t length) {
    return Contains(on.arguments(), at, length) ||
           Contains({on.machine.BytesOf(kFirstFrame), kPoolBytes}, at, length);
  }

  static constexpr std::uint64_t kFirstFrame = TestMachineOptions().pool_begin >> kPageShift;
  static constexpr std::size_t kPoolBytes = std::size_t{4} << 20;

  // Of those that are many: the first ones and some of the others.
  static constexpr unsigned Next(unsigned n) { return n + 1 + n / 16; }

  CallsMachine on;
  Books::Image base;    // in which nothing was prepared
  Books::Image before;  // the call that is looked at
  Books::Image after;   // it was refused
  Books::Image done;    // or was not

 private:
  static TestMachineOptions Options(unsigned preempt_interval) {
    TestMachineOptions options = CallsMachine::kOptions;
    options.pool_bytes = kPoolBytes;
    options.pages = kPagesOfEach;
    options.preempt_interval = preempt_interval;
    return options;
  }
  // What Xen makes with a domain, and the hypervisor when it is first looked at, also by a call
  // that is then refused: ports, grants, HVM parameters.
  void WarmUp() {
    for (const std::uint16_t id : {std::uint16_t{0}, kGuest, kPv, kHvm}) {
      evtchn_status status = {.dom = id, .port = 0, .status = 0, .vcpu = 0, .u = {}};
      EXPECT_EQ(on.machine.Call(__HYPERVISOR_event_channel_op, EVTCHNOP_status, &status), 0);
      gnttab_query_size size = {};
      size.dom = id;
      EXPECT_EQ(on.machine.Call(__HYPERVISOR_grant_table_op, GNTTABOP_query_size, &size, 1), 0);
    }
    xen_hvm_param param = {};
    param.domid = kHvm;
    EXPECT_EQ(on.machine.Call(__HYPERVISOR_hvm_op, HVMOP_get_param, &param), 0);
  }
};

}  // namespace xencomm::hypervisor

#endif  // TESTS_UNIT_HYPERVISOR_STAGE_H_
