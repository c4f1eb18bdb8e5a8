// multicall (13): many calls in one.
//
// Entries are read one at a time, each once, and only their results are written. A call in an entry
// that stops half way leaves its continuation in the entry (op and arguments, as Xen does: a
// toolstack that sends memory_op this way finds the progress in the entry's op afterwards), and the
// list goes on from there: Xen moves the list's pointer on and counts down. A descriptor's pointer
// has no sum with an offset, so in an XCOM domain both stay, and how many entries are done is kept
// in the count's upper half, which Xen does not look at.

#include "hcall/hypervisor/calls/call.h"
#include "hcall/hypervisor/calls/hypercall_table.h"
#include "hcall/schema/generated/xen.h"
#include "xencomm/hypercall.h"

namespace xencomm::hypervisor {
namespace {

constexpr unsigned kEntryWords = sizeof(multicall_entry_t) / sizeof(std::uint64_t);
constexpr unsigned kOpWord = offsetof(multicall_entry_t, op) / sizeof(std::uint64_t);
constexpr unsigned kResultWord = offsetof(multicall_entry_t, result) / sizeof(std::uint64_t);
constexpr unsigned kArgumentsWord = offsetof(multicall_entry_t, args) / sizeof(std::uint64_t);
static_assert(kEntryWords == 8 && sizeof(multicall_entry_t::args) == 6 * sizeof(std::uint64_t));

// On x86 the index in an entry is taken as 32 bits: Xen's dispatcher compares it as such.
HypercallFrame FrameOfEntry(const std::uint64_t (&words)[kEntryWords]) {
  HypercallFrame frame;
  frame.index = words[kOpWord] & ~kRegionCall;
  for (unsigned i = 0; i < 5; ++i) frame.arguments[i] = words[kArgumentsWord + i];
  return frame;
}

// A list may be a process's, which can change it until it is read here: no kernel answers for it.
std::int64_t RunEntry(Call& inner, std::uint64_t index) {
  if (IsForKernels(index)) return -kEPERM;
  if ((index & kRegionCall) != 0) return -kENOSYS;
  return inner.UnlessMemoryIsDue(RunHandler(inner));
}

}  // namespace

std::int64_t Multicall(Call& call) {
  if (call.vcpu.in_multicall) return -kEINVAL;
  const std::uint64_t list = call.frame.arguments[0];
  const auto count = static_cast<std::uint32_t>(call.frame.arguments[1]);
  const bool by_descriptor = call.domain.space == SpaceKind::kXcom;
  const auto first_entry =
      static_cast<std::uint32_t>(by_descriptor ? call.frame.arguments[1] >> 32 : 0);
  if (first_entry > count) return -kEINVAL;
  const auto entries =
      call.Handle<std::uint64_t>(list, static_cast<std::uint64_t>(count) * kEntryWords);

  call.vcpu.in_multicall = true;
  std::int64_t answer = 0;
  std::uint32_t done = first_entry;
  bool stopped = false;
  while (done < count && answer == 0) {
    if (done != first_entry && call.ShouldPreempt()) {
      stopped = true;
      break;
    }
    const std::uint64_t first = std::uint64_t{done} * kEntryWords;
    std::uint64_t words[kEntryWords];
    if (!entries.Read(first, words).ok()) {
      answer = -kEFAULT;
      break;
    }
    HypercallFrame frame = FrameOfEntry(words);
    // The space stays the outer call's: its region covers what the entries point at. Registers that
    // stand in memory are memory.
    Call inner(call.core, call.vcpu, {call.space, call.space}, frame, call.work);
    inner.keeps_pointers = call.keeps_pointers;
    const std::int64_t result = RunEntry(inner, words[kOpWord]);
    words[kResultWord] = static_cast<std::uint64_t>(result);

    if (frame.continued) {
      words[kOpWord] = frame.index;
      for (unsigned i = 0; i < 5; ++i) words[kArgumentsWord + i] = frame.arguments[i];
      if (!entries.Write(first, words).ok()) {
        answer = -kEFAULT;
        break;
      }
      stopped = true;
      break;
    }
    if (!entries.Write(first + kResultWord, words[kResultWord]).ok()) {
      answer = -kEFAULT;
      break;
    }
    ++done;
  }
  call.vcpu.in_multicall = false;
  if (!stopped) return answer;
  if (by_descriptor) {
    return call.ContinueWith(__HYPERVISOR_multicall, list, std::uint64_t{done} << 32 | count);
  }
  return call.ContinueWith(__HYPERVISOR_multicall,
                           list + std::uint64_t{done} * sizeof(multicall_entry_t), count - done);
}

}  // namespace xencomm::hypervisor
