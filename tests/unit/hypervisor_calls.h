// A working call of every op that the hypervisor implements, and the machine in which it works.
// What a test says about all ops, it says by these: of an op that is new, a call is missing, and
// that fails (hypervisor_calls_test.cc).
#ifndef TESTS_UNIT_HYPERVISOR_CALLS_H_
#define TESTS_UNIT_HYPERVISOR_CALLS_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <ostream>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/hypervisor_machine.h"

namespace xencomm::hypervisor {

// The domains that a call may be about. All of them but domain 0 can be ended.
inline constexpr std::uint16_t kGuest = 2;    // unprivileged, and runs: it can call
inline constexpr std::uint16_t kPv = 3;       // made by domain 0, as what follows; paused
inline constexpr std::uint16_t kHvm = 4;      // with hap
inline constexpr std::uint16_t kNew = 7;      // there when a call's `prepare` makes it
inline constexpr std::uint16_t kNobody = 99;  // there is none
inline constexpr std::uint64_t kPagesOfEach = 32;

// Pointers are addresses of this process, and each access of a call can be stopped at.
class WatchedSpace final : public Space {
 public:
  // Looks at an access before it happens: the fault that it ends in, or Fault::kNone.
  using Watcher =
      std::function<Fault(unsigned number, Access access, std::byte* at, std::uint64_t length)>;

  Mapping Resolve(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length, Access access,
                  Cursor* cursor) override {
    const Fault fault = Watch(pointer, offset, length, access);
    if (fault != Fault::kNone) return fault;
    return direct_.Map(pointer, offset, length, access, cursor);
  }

  // Accesses are numbered from 0.
  void Watch(Watcher watcher) {
    watcher_ = std::move(watcher);
    accesses_ = 0;
  }
  void WatchNothing() { watcher_ = nullptr; }
  unsigned accesses() const { return accesses_; }

 private:
  Fault Watch(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length, Access access) {
    const unsigned number = accesses_++;
    if (!watcher_) return Fault::kNone;
    return watcher_(number, access, reinterpret_cast<std::byte*>(pointer.value + offset), length);
  }

  DirectSpace direct_;
  Watcher watcher_;
  unsigned accesses_ = 0;
};

// Domain 0 and the three others, each with kPagesOfEach pages at gfn 0 and up, and the memory in
// which arguments lie.
class CallsMachine {
 public:
  static constexpr TestMachineOptions kOptions = {.pool_bytes = std::uint64_t{8} << 20,
                                                  .dom0_scales_frequency = true};

  explicit CallsMachine(const TestMachineOptions& options = kOptions);

  // A domain as kPv and kHvm are: the frames of its pages, as it names them.
  std::array<xen_pfn_t, kPagesOfEach> MakeDomain(std::uint16_t id, std::uint32_t flags);

  // Room for an argument, until the next Begin(). What lies between its fields is zero.
  template <class T>
  T* Put(const T& value = {}) {
    T* const place = reinterpret_cast<T*>(Room(sizeof(T)));
    std::memcpy(static_cast<void*>(place), &value, sizeof(T));
    __builtin_clear_padding(place);
    return place;
  }
  template <class T>
  T* PutArray(std::size_t count) {
    return reinterpret_cast<T*>(Room(sizeof(T) * count));
  }
  // Begins anew with all arguments zero.
  void Begin() {
    arguments_.fill(std::byte{});
    used_ = 0;
  }
  std::span<std::byte> arguments() { return std::span(arguments_).first(used_); }
  // What was put first.
  template <class T>
  const T& First() {
    return *reinterpret_cast<const T*>(arguments_.data());
  }

  xen_domctl_t* PutDomctl(std::uint32_t cmd, std::uint16_t domain);
  xen_sysctl_t* PutSysctl(std::uint32_t cmd);
  template <class... Arguments>
  HypercallFrame Frame(std::uint64_t index, Arguments... arguments) {
    return machine.Frame(index, arguments...);
  }

  TestMachine machine;
  Vcpu* control = machine.vcpu;  // of domain 0
  Vcpu* guest = nullptr;         // of kGuest
  // Who will make the next call: what is a caller's own, its ports and regions, is made ready for
  // it, and it is whom DOMID_SELF names. Who calls as another says so before the call is prepared.
  Vcpu* caller = control;
  WatchedSpace space;  // of both
  // The machine frames of a domain's pages, by gfn: what names a page of the PV one.
  std::array<xen_pfn_t, kPagesOfEach> pv_frames = {};

 private:
  std::byte* Room(std::size_t bytes);

  alignas(4096) std::array<std::byte, std::size_t{64} << 10> arguments_ = {};
  std::size_t used_ = 0;
};

// Who may make a call, by Xen's dummy policy (xsm/dummy.h of Xen 4.17).
enum class May : std::uint8_t {
  kNotSaid,
  kAnyone,   // the call names no domain, or nothing of one that is a secret
  kTarget,   // XSM_TARGET: a domain for itself, domain 0 for all
  kControl,  // XSM_PRIV and the like: domain 0, even for itself
};

struct WorkingCall {
  const char* name;  // of the row: "domctl.max_mem", "event_channel_op.send.masked" …
  std::uint64_t hypercall;
  std::uint64_t op;
  May may;
  // Writes the arguments, and does before what must have been done: `target` is the domain that the
  // call is to be about, when it is about one. It is made by `caller`: `control` or `guest`, which
  // see the same memory, so that the same arguments serve both. The call can be prepared, and made,
  // again and again in one machine.
  HypercallFrame (*prepare)(CallsMachine& on, std::uint16_t target);
  // The target that domain 0 makes the call for.
  std::uint16_t target = kHvm;
  // In good times; for kAnyAnswer anything that is not negative.
  std::int64_t answer = 0;
  // What an unprivileged domain is answered that may not make it; and where the target is a PV
  // domain, of which something else is wrong, too.
  std::int64_t refusal = -kEPERM;
  std::int64_t pv_refusal = refusal;
  // What a control domain is answered when there is no such domain, and what another one is. Where
  // Xen looks ids up by rcu_lock_domain_by_id, DOMID_SELF is no such domain.
  std::int64_t absent = -kESRCH;
  std::int64_t absent_refusal = absent;
  // What an unprivileged domain is answered of one that ends.
  std::int64_t dying_refusal = refusal;
  // Whether a control domain can make it for itself by DOMID_SELF. What others may make always can.
  bool takes_self = false;
  // Where the call's result lies besides in its answer (a grant op's status, an error of a batch),
  // as it stands in the arguments after the call. nullptr: nowhere.
  std::int64_t (*result)(CallsMachine& on) = nullptr;
  // What kGuest is answered that makes it for itself (an HVM call of a domain that is none cannot
  // be made).
  std::int64_t own_answer = answer;
  // And by its id, which to mmuext_op is no other domain's.
  std::int64_t own_answer_by_id = own_answer;
};

inline constexpr std::int64_t kAnyAnswer = std::int64_t{1} << 40;

// What a call wrote: it need not be aligned where it lies.
template <class T>
std::vector<T> CopyOf(const void* start, std::size_t count) {
  std::vector<T> copy(count);
  std::copy_n(static_cast<const std::byte*>(start), count * sizeof(T),
              std::as_writable_bytes(std::span(copy)).begin());
  return copy;
}

// The grants that working calls of a domain have mapped until now are mapped no more.
void EndGrantMaps(CallsMachine& on, Vcpu& of);

// By hypercall; both together are all.
std::span<const WorkingCall> WorkingControlCalls();  // domctl, sysctl, platform_op
std::span<const WorkingCall> WorkingGuestCalls();    // all others
std::vector<WorkingCall> AllWorkingCalls();
// For the name of a test: without dots.
std::string NameOf(const WorkingCall& call);
void PrintTo(const WorkingCall& call, std::ostream* out);

// What became of a call, continued until it is done: its answer, or its result where that lies
// elsewhere and the answer is no error. What it reads without having written it is the filler, or
// what a call before left.
std::int64_t Outcome(const WorkingCall& call, CallsMachine& on, Vcpu& caller,
                     const HypercallFrame& frame, std::uint64_t filler = 0xa5a5a5a5a5a5a5a5);

}  // namespace xencomm::hypervisor

#endif  // TESTS_UNIT_HYPERVISOR_CALLS_H_
