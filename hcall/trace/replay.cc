#include "hcall/trace/replay.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "absl/strings/str_format.h"
#include "hcall/trace/renumbering.h"
#include "hcall/trace/request_replay.h"
#include "hcall/transport/arena_memory.h"
#include "hcall/transport/bounced_call.h"
#include "hcall/transport/privcmd_calls.h"

namespace xencomm::trace {
namespace {

using schema::Buffer;
using schema::Call;
using schema::Caller;

// Of a call's buffers: each number of them is looked at by its name.
constexpr std::uint64_t kMostBytes = std::uint64_t{4} << 20;

// What a recorded call points at, as a copy that a call can be made with: where there is nothing
// to be read, zeros to be written.
class RecordedMemory final : public Space, public schema::CallerMemory {
 public:
  explicit RecordedMemory(MemoryImage image) : image_(std::move(image)) {}

  const MemoryImage& image() const { return image_; }

  void MakeRoom(std::uint64_t address, std::uint64_t bytes) {
    image_.Add(address, std::vector<std::byte>(bytes));
  }

  bool Read(std::uint64_t address, void* to, std::uint64_t bytes) override {
    const auto from = image_.At(address, bytes);
    if (from.size() < bytes) return false;
    std::ranges::copy(from, static_cast<std::byte*>(to));
    return true;
  }
  bool Write(std::uint64_t address, const void* from, std::uint64_t bytes) override {
    return image_.Write(address, {static_cast<const std::byte*>(from), bytes});
  }

 private:
  Mapping Resolve(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length, Access,
                  Cursor*) override {
    std::uint64_t address;
    if (__builtin_add_overflow(pointer.value, offset, &address)) return Fault::kOverflow;
    const auto bytes = image_.At(address, length);
    if (bytes.empty()) return Fault::kNotPresent;
    return Mapping(const_cast<std::byte*>(bytes.data()), bytes.size());
  }

  MemoryImage image_;
};

}  // namespace

std::string Replay::FindBuffers(const Call& call, const CapturedCall& captured,
                                std::vector<Extent>& buffers) const {
  ImageSpace space(captured.before);
  const Caller caller = {.space = space, .vcpus = reading_.vcpus, .releases = reading_.releases};
  std::string why;
  std::uint64_t left = kMostBytes;
  auto visit = [&](const Buffer& buffer) {
    const std::uint64_t known = captured.before.At(buffer.address.value, buffer.bytes).size();
    if (buffer.bytes > left) {
      why = absl::StrFormat("its buffers have more than %d MiB", kMostBytes >> 20);
    } else if (buffer.reads() && known < buffer.bytes) {
      why = "not all that it reads was recorded";
    }
    if (!why.empty()) return false;
    left -= buffer.bytes;
    buffers.push_back({buffer.address.value, buffer.bytes});
    return true;
  };
  const schema::Finding finding = schema::ForEachBuffer(call, caller, visit);
  return finding.ok() || !why.empty() ? why : schema::Describe(finding.problem);
}

std::string Replay::MakeHypercall(CapturedCall& again, const std::vector<Extent>& buffers) {
  ImageSpace before(again.before);
  const Call call = *HypercallOf(again.request, again.argument, before);
  RecordedMemory memory(again.before);
  for (const Extent& each : buffers) memory.MakeRoom(each.address, each.bytes);
  ArenaMemory arena(client_.arena());
  const Caller caller = {.space = memory, .vcpus = reading_.vcpus, .releases = reading_.releases};
  schema::BouncedCall bounced(call, caller, arena, &memory);
  if (bounced.out_of_memory()) return "there is no memory for its buffers";
  if (!bounced.ok()) return schema::Describe(bounced.finding().problem);
  std::array<std::uint64_t, 5> registers;
  std::copy_n(bounced.call().registers.begin(), registers.size(), registers.begin());
  again.result = client_.CallWith(bounced.call().hypercall, registers);
  (void)bounced.CopyBack(*again.result);
  again.after = memory.image();
  return "";
}

Replay::Outcome Replay::Make(const CapturedCall& recorded) {
  Outcome outcome;
  outcome.not_made = recorded.unread;
  if (!outcome.not_made.empty()) return outcome;
  ImageSpace before(recorded.before);
  const auto call = HypercallOf(recorded.request, recorded.argument, before);
  std::vector<Extent> buffers;
  if (call) outcome.not_made = FindBuffers(*call, recorded, buffers);
  if (!outcome.not_made.empty()) return outcome;

  std::vector<DescribedCall> described = Describe(recorded, reading_, {});
  CapturedCall again = recorded;
  const std::vector<std::string> unknown = Renumber(again, described, counterparts_, reading_);
  for (std::size_t i = 0; i < described.size(); ++i) {
    // That there is no such domain can be asked again.
    if (!unknown[i].empty() && described[i].result != -ESRCH) outcome.not_made = unknown[i];
  }
  if (!outcome.not_made.empty()) return outcome;
  if (call) {
    outcome.not_made = MakeHypercall(again, buffers);
  } else {
    again.result = MakeRequest(again, client_, memory_);
    const bool is_hypercall = again.request == kPrivcmdHypercall || again.request == kPrivcmdDmOp;
    if (!again.result) {
      outcome.not_made =
          is_hypercall ? "its argument cannot be read" : "it is about the process alone";
    }
  }
  if (!outcome.not_made.empty()) return outcome;
  outcome.answered = Describe(again, reading_, {});
  outcome.recorded = std::move(described);
  for (std::size_t i = 0; i < outcome.recorded.size() && i < outcome.answered.size(); ++i) {
    outcome.differences.push_back(Compare(outcome.recorded[i], outcome.answered[i], counterparts_));
  }
  return outcome;
}

}  // namespace xencomm::trace
