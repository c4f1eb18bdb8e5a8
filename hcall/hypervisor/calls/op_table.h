// The ops that a hypercall has handlers for, as data: what is called is what is listed, so that it
// can be asked which ops there are.
//
// An op without a handler is answered as a Xen answers that was built without it, or that runs on a
// machine without what it is about. Source: the hypercalls' handlers in Xen 4.17; almost always
// -ENOSYS.
#ifndef HCALL_HYPERVISOR_CALLS_OP_TABLE_H_
#define HCALL_HYPERVISOR_CALLS_OP_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "hcall/hypervisor/base/errno.h"

namespace xencomm::hypervisor {

class Call;

// What is known of an op without calling it.
struct OpAnswer {
  bool is_implemented = false;
  std::int64_t without = -kENOSYS;  // the answer of one that is not
};

// Tells the machine of an op that Xen has and that has no handler, or of the whole hypercall
// (kNoOp), once.
void NoteMissing(Call& call, std::uint64_t op);

// `OpCall` is what the hypercall's handlers take. Ops are numbered below `kSize`; all others are
// unknown.
template <class OpCall, std::size_t kSize>
class OpTable {
 public:
  using Handler = std::int64_t (*)(OpCall&);

  struct Entry {
    std::uint64_t op;
    Handler run;
    std::int64_t without = -kENOSYS;

    constexpr Entry(std::uint64_t number, Handler handler) : op(number), run(handler) {}
    // An op without a handler.
    constexpr Entry(std::uint64_t number, std::nullptr_t, std::int64_t answer)
        : op(number), run(nullptr), without(answer) {}
  };

  consteval OpTable(std::initializer_list<Entry> entries) {
    for (const Entry& each : entries) {
      Slot& slot = slots_[each.op];  // one that is out of range does not compile
      if (slot.run != nullptr) __builtin_unreachable();  // nor does one that is there twice
      slot = {each.run, static_cast<std::int16_t>(each.without)};
    }
  }

  std::int64_t Run(std::uint64_t op, OpCall& call) const {
    if (op < kSize && slots_[op].run != nullptr) [[likely]]
      return slots_[op].run(call);
    if constexpr (requires { call.call; }) {
      NoteMissing(call.call, op);
    } else {
      NoteMissing(call, op);
    }
    return op < kSize ? slots_[op].without : -kENOSYS;
  }

  OpAnswer Ask(std::uint64_t op) const {
    if (op >= kSize) return {};
    return {slots_[op].run != nullptr, slots_[op].without};
  }

 private:
  struct Slot {
    Handler run = nullptr;
    std::int16_t without = -kENOSYS;
  };

  Slot slots_[kSize] = {};
};

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_CALLS_OP_TABLE_H_
