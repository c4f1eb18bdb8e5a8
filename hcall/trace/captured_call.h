// A call of a program as it was made: the ioctl, its answer, and what it pointed at, before and
// after. That is all that is needed to show it, now or later, here or elsewhere.
#ifndef HCALL_TRACE_CAPTURED_CALL_H_
#define HCALL_TRACE_CAPTURED_CALL_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "hcall/schema/walk.h"
#include "hcall/trace/memory_image.h"

namespace xencomm::trace {

struct CapturedCall {
  std::uint64_t time = 0;      // nanoseconds since 1970, when it began
  std::uint64_t duration = 0;  // nanoseconds
  std::int32_t process = 0;
  std::int32_t thread = 0;
  std::string program;    // as the kernel calls the process
  std::string file;       // the device's path, as the kernel has it; may be empty
  std::uint64_t request;  // of the ioctl
  std::uint64_t argument;
  // How often it was continued, where that is seen: on a machine, and where the hypervisor is in
  // the program's process.
  std::uint64_t continuations = 0;
  std::optional<std::int64_t> result;  // as the kernel answers; none: the program ended in it
  MemoryImage before;                  // what the call reads
  MemoryImage after;                   // what it has written
  std::string unread;                  // why memory is missing that is there; mostly empty

  bool operator==(const CapturedCall&) const = default;
};

// How calls are to be read.
struct Reading {
  schema::Releases releases = schema::kAllReleases;  // that the hypervisor may be
  std::uint32_t vcpus = 1;                           // of the calling domain

  bool operator==(const Reading&) const = default;
};

// The memory of a program that has stopped.
class ProgramMemory {
 public:
  // How many bytes could be read, from the front.
  virtual std::uint64_t Read(std::uint64_t address, std::span<std::byte> to) = 0;

 protected:
  ~ProgramMemory() = default;
};

// Whether an ioctl is one that is shown: of a device of Xen's, as far as its number tells.
bool IsDeviceRequest(std::uint64_t request);

// The hypercall that an ioctl makes; none of another one, or when its argument cannot be read.
std::optional<schema::Call> HypercallOf(std::uint64_t request, std::uint64_t argument,
                                        Space& memory);

// Calls visit(call, entry) for a call, and for each of the calls in it, if it is a list of calls.
// Those that cannot be read are left out.
template <class Visit>
void ForEachCall(const schema::Call& call, Space& memory, Visit visit);

// What `call.request` and `call.argument` lead to. Of a buffer at most `most` bytes are kept, of
// all together a number of them; `call.unread` says so when that was not all.
void CaptureBefore(CapturedCall& call, ProgramMemory& memory, const Reading& reading,
                   std::uint64_t most);
// The same when `call.result` is known.
void CaptureAfter(CapturedCall& call, ProgramMemory& memory, const Reading& reading,
                  std::uint64_t most);

// --- Details -------------------------------------------------------------------------------------

// How many elements of a buffer hold a result, by the structure around its pointer as the call has
// left it; or by the call's registers, where the pointer stands there.
std::uint64_t CountFilledIn(const schema::Buffer& buffer, const void* registers,
                            const MemoryImage& after, std::int64_t result);

// One of a list of calls; none when it cannot be read.
std::optional<schema::Call> EntryOf(VirtualAddress list, std::uint64_t entry, Space& memory);
// Of a list of calls: where it is, how many there are at most; none of another call.
struct CallList {
  VirtualAddress address;
  std::uint64_t count;
};
std::optional<CallList> ListOf(const schema::Call& call);

template <class Visit>
void ForEachCall(const schema::Call& call, Space& memory, Visit visit) {
  visit(call, schema::kNoIndex);
  const std::optional<CallList> list = ListOf(call);
  if (!list) return;
  for (std::uint64_t entry = 0; entry < list->count; ++entry) {
    const std::optional<schema::Call> each = EntryOf(list->address, entry, memory);
    if (!each) return;
    if (!ListOf(*each)) visit(*each, entry);
  }
}

}  // namespace xencomm::trace

#endif  // HCALL_TRACE_CAPTURED_CALL_H_
