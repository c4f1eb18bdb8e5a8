#include "hcall/trace/captured_call.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <map>
#include <vector>

#include "absl/strings/str_cat.h"
#include "hcall/schema/count.h"
#include "hcall/schema/generated/xen.h"
#include "hcall/trace/device_requests.h"
#include "hcall/transport/privcmd_calls.h"
#include "xencomm/copy.h"

namespace xencomm::trace {
namespace {

using schema::Buffer;
using schema::Call;
using schema::Caller;
using schema::Direction;

// Reads a program's memory by pages, each once, and keeps in an image what was asked for. How much
// that is, a program can choose: of one call it looks at so many pages, as `most` bytes of a buffer
// and a number of buffers are.
class CapturingSpace final : public Space {
 public:
  // Borrowed.
  CapturingSpace(ProgramMemory& memory, MemoryImage& image, std::uint64_t most)
      : memory_(memory),
        image_(image),
        most_pages_(std::clamp<std::uint64_t>(most, 64 << 10, 4 << 20) * 64 / kPage) {}

  // As far as there is something.
  void Keep(std::uint64_t address, std::uint64_t bytes) {
    std::uint64_t end;
    if (bytes == 0 || __builtin_add_overflow(address, bytes, &end)) return;
    Load(address, end);
    (void)ForEachRun(VirtualAddress{address}, 0, bytes, Access::kRead,
                     [](std::byte*, std::uint64_t, std::uint64_t) {});
  }

  // Says what is missing for that.
  void TellMissing(std::string& unread) const {
    if (!is_too_much_ || !unread.empty()) return;
    unread = absl::StrCat("it leads to more than ", most_pages_, " pages: not all were read");
  }

 private:
  static constexpr std::uint64_t kPage = 4096;
  static constexpr std::uint64_t kMostPages = 256;  // at a time
  struct Page {
    std::array<std::byte, kPage> bytes;
    bool is_there = false;
  };

  Mapping Resolve(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length, Access access,
                  Cursor*) override {
    std::uint64_t address;
    if (__builtin_add_overflow(pointer.value, offset, &address)) return Fault::kOverflow;
    if (access == Access::kWrite) return Fault::kNotPresent;
    const std::uint64_t into = address % kPage;
    Load(address - into, address - into + 1);
    const auto page = pages_.find(address - into);
    if (page == pages_.end() || !page->second.is_there) return Fault::kNotPresent;
    const auto bytes = std::span(page->second.bytes).subspan(into, std::min(length, kPage - into));
    image_.Add(address, bytes);
    return Mapping(bytes.data(), bytes.size());
  }

  // The pages from the one of `address` to the one before `end`, up to the first that is not there;
  // those in a row together.
  void Load(std::uint64_t address, std::uint64_t end) {
    for (std::uint64_t at = address - address % kPage; at < end;) {
      if (const auto known = pages_.find(at); known != pages_.end()) {
        if (!known->second.is_there || at + kPage < at) return;
        at += kPage;
        continue;
      }
      const std::uint64_t left = std::min(most_pages_ - pages_.size(), kMostPages);
      if (left == 0) {
        is_too_much_ = true;
        return;
      }
      std::uint64_t pages = 1;
      while (pages < left && end - at > pages * kPage && !pages_.contains(at + pages * kPage)) {
        ++pages;
      }
      std::vector<std::byte> bytes(pages * kPage);
      const std::uint64_t read = memory_.Read(at, bytes) / kPage;
      for (std::uint64_t i = 0; i <= read && i < pages; ++i) {
        Page& page = pages_[at + i * kPage];
        page.is_there = i < read;
        if (page.is_there) std::memcpy(page.bytes.data(), &bytes[i * kPage], kPage);
      }
    }
  }

  ProgramMemory& memory_;
  MemoryImage& image_;
  const std::uint64_t most_pages_;
  bool is_too_much_ = false;
  std::map<std::uint64_t, Page> pages_;
};

// A list of calls, before what they lead to.
void KeepList(const Call& call, CapturingSpace& space, std::uint64_t most) {
  const std::optional<CallList> list = ListOf(call);
  if (!list) return;
  space.Keep(list->address.value, std::min(list->count * sizeof(multicall_entry), most));
}

std::uint64_t NumberAt(Space& memory, std::uint64_t address, schema::Ref field) {
  alignas(std::uint64_t) std::byte bytes[sizeof(std::uint64_t)] = {};
  if (!CopyFrom(memory, VirtualAddress{address}, field.offset, bytes, field.size).ok()) return 0;
  return schema::RecordView(bytes, kNativeOrder).Read(0, field.size);
}

// Calls visit(address, bytes, direction) for what an ioctl that is no hypercall leads to.
template <class Visit>
void ForEachRange(std::uint64_t request, std::uint64_t argument, Space& memory, Visit visit) {
  const DeviceRequest* const known = FindDeviceRequest(request);
  if (known == nullptr || known->size == 0) return;
  visit(argument, known->size, Direction::kInOut);
  for (const DeviceArray& array : known->arrays) {
    const std::uint64_t address =
        array.pointer == DeviceArray::kTrailing
            ? argument + known->trailing_at
            : NumberAt(memory, argument, {array.pointer, sizeof(std::uint64_t)});
    const std::uint64_t count = NumberAt(memory, argument, array.count);
    if (address != 0) visit(address, count * array.element_size, array.direction);
  }
}

}  // namespace

bool IsDeviceRequest(std::uint64_t request) {
  return request == kPrivcmdHypercall || request == kPrivcmdDmOp ||
         FindDeviceRequest(request) != nullptr;
}

std::optional<Call> HypercallOf(std::uint64_t request, std::uint64_t argument, Space& memory) {
  Call call;
  if (request == kPrivcmdHypercall) {
    PrivcmdHypercall frame;
    if (!CopyFrom(memory, VirtualAddress{argument}, 0, &frame, sizeof(frame)).ok()) return {};
    call.hypercall = frame.op;
    std::ranges::copy(frame.arg, call.registers.begin());
    return call;
  }
  if (request == kPrivcmdDmOp) {
    // The list of buffers is laid out as Xen's own.
    static_assert(sizeof(PrivcmdDmOpBuffer) == sizeof(xen_dm_op_buf));
    PrivcmdDmOp frame;
    if (!CopyFrom(memory, VirtualAddress{argument}, 0, &frame, sizeof(frame)).ok()) return {};
    call.hypercall = __HYPERVISOR_dm_op;
    call.registers = {frame.dom, frame.num, reinterpret_cast<std::uint64_t>(frame.ubufs)};
    return call;
  }
  return {};
}

std::uint64_t CountFilledIn(const Buffer& buffer, const void* registers, const MemoryImage& after,
                            std::int64_t result) {
  if (buffer.part->filled().kind == schema::CountKind::kNone) return buffer.count;
  // Of the structure only those fields are looked at that say how many.
  std::array<std::byte, schema::kMaxRecordSize> holder = {};
  if (!buffer.in_register) {
    const auto as_left = after.At(buffer.holder.value, holder.size());
    const bool is_in_result = buffer.part->filled().kind == schema::CountKind::kReturned;
    if (as_left.empty() && !is_in_result) return buffer.count;
    std::ranges::copy(as_left, holder.begin());
  }
  return schema::CountFilled(*buffer.part, buffer.count,
                             buffer.in_register ? registers : holder.data(), kNativeOrder, result);
}

std::optional<CallList> ListOf(const Call& call) {
  const schema::Hypercall* const hypercall = schema::Find(call.hypercall);
  if (hypercall == nullptr || !hypercall->holds_calls) return {};
  // Of longer ones the rest is not looked at.
  constexpr std::uint64_t kMostEntries = 65536;
  return CallList{VirtualAddress{call.registers[0]},
                  std::min(call.registers[1] & 0xffffffff, kMostEntries)};
}

std::optional<Call> EntryOf(VirtualAddress list, std::uint64_t entry, Space& memory) {
  multicall_entry bytes;
  std::uint64_t offset;
  if (__builtin_mul_overflow(entry, sizeof(bytes), &offset)) return {};
  if (!CopyFrom(memory, list, offset, &bytes, sizeof(bytes)).ok()) return {};
  Call call = {.hypercall = bytes.op};
  std::ranges::copy(bytes.args, call.registers.begin());
  return call;
}

void CaptureBefore(CapturedCall& call, ProgramMemory& memory, const Reading& reading,
                   std::uint64_t most) {
  CapturingSpace space(memory, call.before, most);
  const std::optional<Call> hypercall = HypercallOf(call.request, call.argument, space);
  if (!hypercall) {
    ForEachRange(call.request, call.argument, space,
                 [&](std::uint64_t address, std::uint64_t bytes, Direction direction) {
                   if (direction != Direction::kOut) space.Keep(address, std::min(bytes, most));
                 });
    space.TellMissing(call.unread);
    return;
  }
  const Caller caller = {.space = space, .vcpus = reading.vcpus, .releases = reading.releases};
  KeepList(*hypercall, space, most);
  auto keep = [&](const Buffer& buffer) {
    const bool holds_inputs = buffer.reads() || buffer.element_record != nullptr;
    if (holds_inputs) space.Keep(buffer.address.value, std::min(buffer.bytes, most));
    return true;
  };
  // What the walk reads is kept by itself.
  ForEachCall(*hypercall, space, [&](const Call& each, std::uint64_t) {
    if (!ListOf(each)) (void)schema::ForEachBuffer(each, caller, keep);
  });
  space.TellMissing(call.unread);
}

void CaptureAfter(CapturedCall& call, ProgramMemory& memory, const Reading& reading,
                  std::uint64_t most) {
  ImageSpace before(call.before);
  CapturingSpace space(memory, call.after, most);
  const std::optional<Call> hypercall = HypercallOf(call.request, call.argument, before);
  if (!hypercall) {
    ForEachRange(call.request, call.argument, before,
                 [&](std::uint64_t address, std::uint64_t bytes, Direction direction) {
                   if (direction != Direction::kIn) space.Keep(address, std::min(bytes, most));
                 });
    space.TellMissing(call.unread);
    return;
  }
  const Caller caller = {.space = before, .vcpus = reading.vcpus, .releases = reading.releases};
  KeepList(*hypercall, space, most);
  ForEachCall(*hypercall, before, [&](const Call& each, std::uint64_t entry) {
    if (ListOf(each)) return;
    std::int64_t result = call.result.value_or(-1);
    if (entry != schema::kNoIndex && result >= 0) {
      const std::uint64_t place = ListOf(*hypercall)->address.value +
                                  entry * sizeof(multicall_entry) +
                                  offsetof(multicall_entry, result);
      result = static_cast<std::int64_t>(NumberAt(space, place, {0, sizeof(std::uint64_t)}));
    }
    // Structures come before what their pointers lead to.
    auto keep = [&](const Buffer& buffer) {
      if (buffer.writes()) {
        // Of what is cut off, and of bytes without a type, as many as there are.
        const std::uint64_t size = buffer.element->size;
        const std::uint64_t count = CountFilledIn(buffer, buffer.holder_copy, call.after, result);
        const std::uint64_t filled =
            size == 0 ? buffer.bytes : std::min(buffer.bytes, count * size);
        space.Keep(buffer.address.value, std::min(filled, most));
      }
      return true;
    };
    (void)schema::ForEachBuffer(each, caller, keep);
  });
  space.TellMissing(call.unread);
}

}  // namespace xencomm::trace
