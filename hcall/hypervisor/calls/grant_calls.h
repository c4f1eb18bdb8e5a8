// Ops of grant_table_op that take a list of structures, each of which tells what became of it.
//
// A call that goes on has bit 31 in its count, which Xen has for an error, and how many are done
// above it, where Xen does not look: the list's pointer stays as it is.
#ifndef HCALL_HYPERVISOR_CALLS_GRANT_CALLS_H_
#define HCALL_HYPERVISOR_CALLS_GRANT_CALLS_H_

#include <cstdint>

#include "hcall/hypervisor/calls/argument.h"
#include "hcall/hypervisor/calls/call.h"
#include "hcall/hypervisor/domain/grant_pins.h"

namespace xencomm::hypervisor {

// Of the command; above it a search notes how far it came (GNTTABOP_CMD_MASK in Xen).
inline constexpr std::uint32_t kGrantOpMask = 0xfff;

class GrantProgress {
 public:
  explicit GrantProgress(const Call& call)
      : count_(Low(call) & ~kGoesOn), done_(GoesOn(call) ? High(call) : 0) {}

  static bool IsValid(const Call& call) {
    return !GoesOn(call) || (High(call) != 0 && High(call) < (Low(call) & ~kGoesOn));
  }

  std::uint32_t count() const { return count_; }
  std::uint32_t done() const { return done_; }
  // The call goes on with number `done`.
  std::int64_t ContinueAt(Call& call, std::uint32_t done) const {
    if (done != 0) call.frame.arguments[2] = std::uint64_t{done} << 32 | kGoesOn | count_;
    return call.Continue();
  }

 private:
  static constexpr std::uint32_t kGoesOn = 0x80000000;

  static std::uint32_t Low(const Call& call) {
    return static_cast<std::uint32_t>(call.frame.arguments[2]);
  }
  static std::uint32_t High(const Call& call) {
    return static_cast<std::uint32_t>(call.frame.arguments[2] >> 32);
  }
  static bool GoesOn(const Call& call) { return (Low(call) & kGoesOn) != 0; }

  std::uint32_t count_;
  std::uint32_t done_;
};

// What a code of grant_pins.h comes to in the end.
constexpr std::int16_t GrantStatus(std::int16_t status) {
  if (status == kGrantNoHandle) return GNTST_no_space;
  return status == kGrantNoMemory ? std::int16_t{GNTST_general_error} : status;
}

// `kRun` answers a status (GNTST_*), or a code of grant_pins.h.
template <class T, std::uint64_t kOp, std::int16_t (*kRun)(Call&, T&)>
std::int64_t ForEachGrant(Call& call) {
  const GrantProgress progress(call);
  for (std::uint32_t i = progress.done(); i < progress.count(); ++i) {
    if (i != progress.done() && call.work.is_used_up()) return progress.ContinueAt(call, i);
    Argument<T> request(call, call.frame.arguments[1], i);
    if (!request.Fetch(__HYPERVISOR_grant_table_op, kOp)) return -kEFAULT;
    const std::int16_t status = kRun(call, *request);
    const bool is_short = status == kGrantNoMemory || status == kGrantNoHandle;
    if (status == kGrantChanged || (is_short && call.IsMemoryDue())) {
      return progress.ContinueAt(call, i);
    }
    request->status = GrantStatus(status);
    if (!request.Store()) return -kEFAULT;
    call.work.Done();
  }
  return 0;
}

std::int64_t MapGrants(Call& call);
std::int64_t UnmapGrants(Call& call);
std::int64_t UnmapAndReplaceGrants(Call& call);
std::int64_t CopyGrants(Call& call);
std::int64_t FlushCaches(Call& call);

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_CALLS_GRANT_CALLS_H_
