// mmuext_op (26): page tables are pinned and unpinned, by the toolstack that builds or saves a PV
// domain. What else there is of it is a PV guest's own, and answered as a PVH domain 0 is.
//
// A list of ops, in order, until one fails. A call that goes on has bit 31 in its count, where Xen
// has it; how many ops are done is in the register's upper half, which Xen does not look at, so
// that the list's pointer stays as it is. When all is done but for tables that are still to be
// taken apart, the call goes on without a list: its last argument has the domain, and above it what
// is answered in the end.

#include "hcall/hypervisor/calls/call.h"
#include "hcall/hypervisor/memory/page_types.h"
#include "hcall/schema/generated/types.h"
#include "hcall/schema/generated/xen.h"

namespace xencomm::hypervisor {
namespace {

constexpr std::uint32_t kGoesOn = 0x80000000;  // MMU_UPDATE_PREEMPTED in Xen
constexpr std::uint64_t kOp = 0;
constexpr std::uint64_t kCount = 1;
constexpr std::uint64_t kDone = 2;
constexpr std::uint64_t kForeign = 3;

// A mmuext_op, whose unions are a frame number here.
struct Op {
  std::uint32_t cmd;
  std::uint32_t padding;
  std::uint64_t mfn;
  std::uint64_t second;
};
static_assert(sizeof(Op) == sizeof(mmuext_op_t));

void SwapBytes(Op& op) {
  xencomm::SwapBytes(op.cmd);
  xencomm::SwapBytes(op.mfn);
}

std::int64_t RunOp(Call& call, PageTypes& types, const Op& op) {
  switch (op.cmd) {
    case MMUEXT_PIN_L1_TABLE:
    case MMUEXT_PIN_L2_TABLE:
    case MMUEXT_PIN_L3_TABLE:
    case MMUEXT_PIN_L4_TABLE: {
      static_assert(MMUEXT_PIN_L4_TABLE - MMUEXT_PIN_L1_TABLE == 3);
      const auto level = static_cast<std::uint8_t>(op.cmd - MMUEXT_PIN_L1_TABLE);
      const auto type = static_cast<PageType>(static_cast<std::uint8_t>(PageType::kL1) + level);
      const std::int64_t answer = types.Pin(op.mfn, type, call.work);
      return answer == -kENOMEM && call.IsMemoryDue() ? PageTypes::kStopped : answer;
    }
    case MMUEXT_UNPIN_TABLE:
      return types.Unpin(op.mfn, call.work);
    default:
      return -kEOPNOTSUPP;
  }
}

}  // namespace

std::int64_t MmuextOp(Call& call) {
  std::uint64_t(&registers)[5] = call.frame.arguments;
  const auto count_register = static_cast<std::uint32_t>(registers[kCount]);
  const bool goes_on = (count_register & kGoesOn) != 0;
  const std::uint32_t count = count_register & ~kGoesOn;
  const auto foreign = static_cast<std::uint32_t>(registers[kForeign]);
  const auto id = static_cast<std::uint16_t>(foreign);

  // Not its own by its number, in Xen.
  Domain* target = id == call.domain.id ? nullptr : call.FindAny(id);
  if (goes_on && count == 0 && registers[kOp] == 0) {
    if (target != nullptr && !PageTypes(call.core, *target).Finish(call.work)) {
      return call.Continue();
    }
    return -static_cast<std::int64_t>(foreign >> 16);
  }
  std::uint32_t done = goes_on ? static_cast<std::uint32_t>(registers[kCount] >> 32) : 0;
  if (done > count) return -kEINVAL;
  if (target == nullptr) return -kESRCH;
  if (!call.Controls(*target)) return -kEPERM;
  if (target->translated()) return -kEINVAL;

  PageTypes types(call.core, *target);
  const auto list = call.Handle<const Op>(registers[kOp], count);
  std::int64_t answer = 0;
  const std::uint32_t first = done;
  while (done != count && answer == 0) {
    Op op;
    if (done != first && (call.work.is_used_up() || call.ShouldPreempt())) {
      answer = PageTypes::kStopped;
    } else if (!list.Read(done, op).ok()) {
      answer = -kEFAULT;
    } else {
      answer = RunOp(call, types, op);
      if (answer == 0) ++done;
    }
  }
  const bool is_finished = types.Finish(call.work);
  const auto done_handle = call.Handle<std::uint32_t>(registers[kDone], 1);
  if (!done_handle.is_null()) static_cast<void>(done_handle.Write(0, done));
  if (answer == PageTypes::kStopped) {
    registers[kCount] = std::uint64_t{done} << 32 | count | kGoesOn;
    return call.Continue();
  }
  if (is_finished) return answer;
  registers[kCount] = kGoesOn;
  registers[kForeign] = static_cast<std::uint64_t>(-answer) << 16 | target->id;
  return call.ContinueWith(__HYPERVISOR_mmuext_op, 0, kGoesOn);
}

}  // namespace xencomm::hypervisor
