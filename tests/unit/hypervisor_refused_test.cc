// Nothing is half done: a call that is refused has changed nothing at all, or just what it reports,
// or what real Xen leaves in the same case, which is listed here.
//
// Every working call is refused in every way that there is: an access to guest memory faults,
// memory runs out, a field says something else, its domain ends. What there was before is compared
// as a whole with what there is after.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/hypervisor_stage.h"
#include "tests/xen/refused_calls.h"
#include "xencomm/hypercall.h"

// Counted by tests/xen/check.h.
unsigned checks_passed, checks_failed;

namespace xencomm::hypervisor {
namespace {

enum class Cause : std::uint8_t {
  kRead,    // of guest memory, which faulted
  kWrite,   // the same
  kMemory,  // there was not enough
  kField,   // what the call says
  kTarget,  // what became of its domain
};

// What a refused call leaves.
enum class Leaves : std::uint8_t {
  kAll,       // all that it does when it is not refused
  kReported,  // of its list, the elements that it reports as done
  kOneMore,   // and the one that it could not report
  kSome,      // of its list, the first so many elements; it reports nothing
  kGrown,     // what it reports, and a grant table that has grown for what it could not do
  kToGoOn,    // as much as is done; made again, it comes to the same end
  kUnplaced,  // what it reports, and a chunk of pages that were exchanged and are in no place
  kOther,     // what no other call does: its own tests say what
};

// What says that Xen does so: a check that was run on real Xen (tests/xen/refused_calls.c), or
// where a call cannot be made to stop just there, the function of Xen 4.17 in which it was read.
struct Shown {
  enum class By : std::uint8_t { kRun, kSource } by;
  const char* name;
};
constexpr Shown Run(const char* check) { return {Shown::By::kRun, check}; }
constexpr Shown Source(const char* function) { return {Shown::By::kSource, function}; }

// A call whose name begins so, when it is refused for that, leaves more than nothing, because Xen
// does. The first that fits holds.
struct Remainder {
  std::string_view call;
  Cause cause;
  Leaves leaves;
  Shown shown;
};

constexpr Remainder kRemainders[] = {
    // The answer counts what is done, or the argument does.
    {"memory_op.populate_physmap", Cause::kRead, Leaves::kReported, Run("populate_physmap_read")},
    {"memory_op.populate_physmap", Cause::kMemory, Leaves::kReported,
     Run("populate_physmap_memory")},
    {"memory_op.increase_reservation", Cause::kMemory, Leaves::kReported,
     Run("increase_reservation_memory")},
    {"memory_op.decrease_reservation", Cause::kRead, Leaves::kReported,
     Run("decrease_reservation_read")},
    {"memory_op.add_to_physmap_batch", Cause::kRead, Leaves::kReported,
     Run("add_to_physmap_batch_read")},
    {"multicall.of_changes", Cause::kRead, Leaves::kReported, Run("multicall_read")},
    // A list that is longer than its memory, or elsewhere.
    {"multicall.of_changes", Cause::kField, Leaves::kReported, Run("multicall_read")},
    // The argument is read again by each leg: when it is gone, what is done is answered.
    {"memory_op.increase_reservation", Cause::kRead, Leaves::kReported,
     Run("increase_reservation_gone")},

    // It cannot be told.
    {"memory_op.populate_physmap", Cause::kWrite, Leaves::kOneMore, Run("populate_physmap_write")},
    {"memory_op.increase_reservation", Cause::kWrite, Leaves::kOneMore,
     Run("increase_reservation_write")},
    {"memory_op.add_to_physmap_batch", Cause::kWrite, Leaves::kOneMore,
     Run("add_to_physmap_batch_write")},
    {"multicall.of_changes", Cause::kWrite, Leaves::kOneMore, Run("multicall_write")},
    {"memory_op.add_to_physmap.gmfn", Cause::kField, Leaves::kSome, Run("add_to_physmap_range")},
    {"memory_op.add_to_physmap.gmfn_range", Cause::kRead, Leaves::kSome,
     Run("add_to_physmap_range_gone")},
    // Of a domain that ends, pages go one after the other.
    {"memory_op.add_to_physmap_batch", Cause::kTarget, Leaves::kOther,
     Source("xenmem_add_to_physmap_batch")},
    {"memory_op.exchange", Cause::kWrite, Leaves::kSome, Run("exchange_write")},
    {"console_io.write", Cause::kRead, Leaves::kSome, Run("console_write_read")},
    {"mmuext_op", Cause::kMemory, Leaves::kSome, Source("none: see page_types.h")},
    {"mmuext_op", Cause::kField, Leaves::kSome, Source("do_mmuext_op")},
    {"sysctl.debug_keys", Cause::kRead, Leaves::kSome, Run("debug_keys_read")},
    {"sysctl.debug_keys", Cause::kField, Leaves::kSome, Run("debug_keys_read")},
    {"domctl.scheduler_op.putinfo", Cause::kField, Leaves::kSome, Run("domain_scheduler_putinfo")},
    {"xencomm_op.extend", Cause::kField, Leaves::kSome, Source("none: see region_registry.h")},

    {"memory_op.set_pod_target.first", Cause::kRead, Leaves::kSome,
     Source("p2m_pod_set_cache_target")},
    {"memory_op.set_pod_target.first", Cause::kMemory, Leaves::kSome,
     Source("p2m_pod_set_cache_target")},

    // A table grows for a frame before it shows, for whatever reason, that it has no place.
    {"memory_op.add_to_physmap_batch", Cause::kMemory, Leaves::kGrown,
     Run("add_to_physmap_batch_grant_frame")},
    {"memory_op.add_to_physmap_batch", Cause::kField, Leaves::kGrown,
     Run("add_to_physmap_batch_grant_frame")},
    {"memory_op.add_to_physmap.grant_table", Cause::kField, Leaves::kGrown,
     Run("add_to_physmap_grant_frame")},

    {"memory_op.acquire_resource", Cause::kMemory, Leaves::kGrown, Source("acquire_resource")},

    // Results are copied out when all is done.
    {"memory_op.set_pod_target.first", Cause::kWrite, Leaves::kAll, Source("arch_memory_op")},
    {"domctl.createdomain", Cause::kWrite, Leaves::kAll, Run("createdomain_write")},
    {"domctl.shadow_op.set_allocation", Cause::kWrite, Leaves::kAll,
     Run("shadow_set_allocation_write")},
    {"domctl.setvcpuaffinity", Cause::kWrite, Leaves::kAll, Run("setvcpuaffinity_write")},
    {"domctl.setvcpuaffinity", Cause::kField, Leaves::kSome, Run("setvcpuaffinity_many_bits")},
    {"sysctl.readconsole.clear", Cause::kWrite, Leaves::kAll, Run("readconsole_clear_write")},
    {"sysctl.scheduler_op.putinfo", Cause::kWrite, Leaves::kAll, Run("scheduler_putinfo_write")},
    {"event_channel_op.alloc_unbound", Cause::kWrite, Leaves::kAll, Run("alloc_unbound_write")},
    {"event_channel_op.bind_", Cause::kWrite, Leaves::kAll, Run("bind_port_write")},
    {"event_channel_op.init_control", Cause::kWrite, Leaves::kAll, Source("do_event_channel_op")},
    {"grant_table_op.setup_table", Cause::kWrite, Leaves::kAll, Run("setup_table_write")},
    {"grant_table_op.setup_table", Cause::kField, Leaves::kAll, Run("setup_table_list")},
    // Its records are loaded when its end is missed.
    {"domctl.sethvmcontext", Cause::kField, Leaves::kAll, Run("sethvmcontext_size")},
    // A pool has given back what it could when it turns out that the rest is in use.
    {"domctl.shadow_op", Cause::kField, Leaves::kOther, Run("set_paging_mempool_size_field")},
    {"domctl.get_paging_mempool_size", Cause::kField, Leaves::kOther,
     Run("set_paging_mempool_size_field")},
    {"domctl.set_paging_mempool_size", Cause::kField, Leaves::kOther,
     Run("set_paging_mempool_size_field")},
    {"grant_table_op.set_version", Cause::kWrite, Leaves::kAll, Run("set_version_write")},
    {"grant_table_op.map_grant_ref", Cause::kWrite, Leaves::kAll, Source("gnttab_map_grant_ref")},
    // There is a handle more when it turns out that there is no such grant; or an entry has been
    // noted as one that can be in use.
    {"grant_table_op.map_grant_ref", Cause::kField, Leaves::kOther, Source("get_maptrack_handle")},
    {"grant_table_op.map_grant_ref", Cause::kMemory, Leaves::kOther, Source("get_maptrack_handle")},
    {"grant_table_op.map_grant_ref", Cause::kTarget, Leaves::kOther, Source("get_maptrack_handle")},
    {"grant_table_op.copy", Cause::kField, Leaves::kOther, Source("none: see grant_pins.h")},
    {"grant_table_op.unmap", Cause::kField, Leaves::kSome, Source("gnttab_unmap_grant_ref")},
    {"grant_table_op.swap_grant_ref", Cause::kField, Leaves::kSome,
     Source("gnttab_swap_grant_ref")},
    {"grant_table_op.unmap_grant_ref", Cause::kWrite, Leaves::kAll,
     Source("gnttab_unmap_grant_ref")},
    {"grant_table_op.unmap_and_replace", Cause::kWrite, Leaves::kAll,
     Source("gnttab_unmap_and_replace")},
    {"grant_table_op.copy", Cause::kWrite, Leaves::kAll, Source("gnttab_copy")},
    {"grant_table_op.swap_grant_ref", Cause::kWrite, Leaves::kAll, Source("gnttab_swap_grant_ref")},

    // A leg finds its argument gone: hypercall_create_continuation keeps registers, and what they
    // point at is copied in anew. How far the call came is kept where it can be found. (Of a reset
    // and of a log's end, Xen takes the rest from its own continued call only, whose number the
    // caller may say, and answers EBUSY to others.)
    {"domctl.destroydomain", Cause::kRead, Leaves::kToGoOn, Run("destroydomain_gone")},
    {"domctl.set_paging_mempool_size", Cause::kRead, Leaves::kToGoOn,
     Run("set_paging_mempool_size_gone")},
    {"domctl.shadow_op.set_allocation", Cause::kRead, Leaves::kToGoOn,
     Run("shadow_set_allocation_gone")},
    {"domctl.setvcpucontext.reset", Cause::kRead, Leaves::kToGoOn,
     Source("vcpu_destroy_pagetables")},
    {"event_channel_op.reset", Cause::kRead, Leaves::kToGoOn, Source("evtchn_reset")},
    {"domctl.shadow_op.off", Cause::kRead, Leaves::kToGoOn, Source("paging_free_log_dirty_bitmap")},

    // The pages of a chunk have been exchanged when it turns out that their place cannot be read,
    // or that the domain has died.
    {"memory_op.exchange", Cause::kRead, Leaves::kUnplaced, Run("exchange_read")},
    {"memory_op.exchange", Cause::kField, Leaves::kUnplaced, Run("exchange_read")},
    {"memory_op.exchange", Cause::kTarget, Leaves::kUnplaced, Source("memory_exchange")},
    // Marks that were cleared and not delivered: everything counts as written, where Xen forgets
    // them. A reading that nobody goes on with is found out by the next one, where Xen answers
    // EBUSY, as above.
    {"domctl.shadow_op.clean", Cause::kWrite, Leaves::kOther, Source("paging_log_dirty_op")},
    {"domctl.shadow_op.clean", Cause::kRead, Leaves::kOther, Source("paging_log_dirty_op")},
    {"domctl.shadow_op.peek", Cause::kRead, Leaves::kOther, Source("paging_log_dirty_op")},
    // Frames that an earlier leg placed, or that come first in the list, and a table that has grown
    // for them.
    {"memory_op.acquire_resource", Cause::kRead, Leaves::kOther, Source("acquire_resource")},
    {"memory_op.acquire_resource", Cause::kField, Leaves::kOther, Source("acquire_resource")},
    // A table of which a part is taken, and that nobody goes on with, is as a plain page to all but
    // those that would make another kind of table of it.
    {"mmuext_op", Cause::kRead, Leaves::kOther, Source("do_mmuext_op")},
};

// Lists, and what of them is done.

xen_memory_reservation& ReservationOf(const HypercallFrame& frame) {
  return *reinterpret_cast<xen_memory_reservation*>(frame.arguments[1]);
}
xen_memory_exchange& ExchangeOf(const HypercallFrame& frame) {
  return *reinterpret_cast<xen_memory_exchange*>(frame.arguments[1]);
}
xen_add_to_physmap& RangeOf(const HypercallFrame& frame) {
  return *reinterpret_cast<xen_add_to_physmap*>(frame.arguments[1]);
}
xen_add_to_physmap_batch& BatchOf(const HypercallFrame& frame) {
  return *reinterpret_cast<xen_add_to_physmap_batch*>(frame.arguments[1]);
}

// Of those that are given up: a chunk is one extent on either side.
std::uint64_t ExtentsOfAChunk(const xen_memory_exchange& exchange) {
  const unsigned order = std::max(exchange.in.extent_order, exchange.out.extent_order);
  return std::uint64_t{1} << (order - exchange.in.extent_order);
}

multicall_entry_t* EntriesOf(const HypercallFrame& frame) {
  return reinterpret_cast<multicall_entry_t*>(frame.arguments[0]);
}

// A result that is not there yet, in a call that was prepared.
constexpr int kUntouched = 7;

// Calls that change something each, and read nothing but their registers.
constexpr std::uint64_t kListed = 3;
HypercallFrame ListOfChanges(CallsMachine& on, std::uint16_t) {
  auto* entries = on.PutArray<multicall_entry_t>(kListed);
  using OpAndVcpu = std::pair<unsigned, unsigned>;
  for (const auto& [op, vcpu] :
       {OpAndVcpu{VCPUOP_down, 1}, OpAndVcpu{VCPUOP_down, 0}, OpAndVcpu{VCPUOP_up, 1}}) {
    *entries++ = {.op = __HYPERVISOR_vcpu_op, .result = kUntouched, .args = {op, vcpu, 0, 0, 0, 0}};
  }
  return on.Frame(__HYPERVISOR_multicall, entries - kListed, kListed);
}

std::vector<WorkingCall> AllCalls() {
  std::vector<WorkingCall> calls = AllWorkingCalls();
  calls.push_back({.name = "multicall.of_changes",
                   .hypercall = __HYPERVISOR_multicall,
                   .op = 0,
                   .may = May::kAnyone,
                   .prepare = ListOfChanges});
  return calls;
}

using Elements = std::vector<std::uint64_t>;

Elements First(std::uint64_t count) {
  Elements elements(count);
  std::iota(elements.begin(), elements.end(), 0);
  return elements;
}

// What a call says of its list: the elements that are done, and the first that it says nothing of.
struct Report {
  Elements done;
  std::uint64_t next;

  explicit Report(Elements elements) : done(std::move(elements)), next(done.size()) {}
  Report(Elements elements, std::uint64_t silent) : done(std::move(elements)), next(silent) {}
};

// Whether there is memory, for what calls say may be anything.
using IsThereFunction = std::function<bool(const void* at, std::uint64_t length)>;

Report ReportOf(const WorkingCall& call, const HypercallFrame& frame, std::int64_t outcome,
                const IsThereFunction& is_there) {
  if (call.hypercall == __HYPERVISOR_multicall) {
    std::uint64_t done = 0;
    while (done < kListed && is_there(&EntriesOf(frame)[done], sizeof(multicall_entry_t)) &&
           EntriesOf(frame)[done].result != kUntouched) {
      ++done;
    }
    return Report(First(done));
  }
  if (call.hypercall != __HYPERVISOR_memory_op ||
      !is_there(&ReservationOf(frame), sizeof(xen_memory_reservation))) {
    return Report({});
  }
  switch (call.op) {
    case XENMEM_populate_physmap:
    case XENMEM_increase_reservation:
    case XENMEM_decrease_reservation:
      return Report(First(static_cast<std::uint64_t>(outcome)));
    case XENMEM_exchange:
      return Report(First(ExchangeOf(frame).nr_exchanged));
    case XENMEM_add_to_physmap_batch: {
      const int* const errors = BatchOf(frame).errs.p;
      Elements done;
      std::uint64_t i = 0;
      for (; i < BatchOf(frame).size && is_there(&errors[i], sizeof(int)); ++i) {
        if (errors[i] == kUntouched) break;
        if (errors[i] == 0) done.push_back(i);
      }
      return {done, i};
    }
    default:
      return Report({});
  }
}

// Where the lists of such a batch lie: those that are too long lie in each other.
struct BatchLists {
  std::array<xen_ulong_t, 64> indices;
  std::array<xen_pfn_t, 64> gfns;
  std::array<int, 64> errors;
} batch_lists;

// Makes a call one about these elements of its list only. False: it has none or not so many.
bool Shorten(const WorkingCall& call, HypercallFrame& frame, const Elements& elements,
             const IsThereFunction& is_there) {
  const std::uint64_t count = elements.size();
  const auto keep = [&](auto& size) {
    if (count > size) return false;
    size = static_cast<std::remove_reference_t<decltype(size)>>(count);
    return true;
  };
  if (call.hypercall == __HYPERVISOR_console_io || call.hypercall == __HYPERVISOR_multicall) {
    return keep(frame.arguments[1]);
  }
  if (call.hypercall == __HYPERVISOR_mmuext_op) return keep(frame.arguments[1]);
  if (call.hypercall == __HYPERVISOR_grant_table_op) return keep(frame.arguments[2]);
  if (call.hypercall == kXencommOp) return keep(frame.arguments[3]);
  if (call.hypercall == __HYPERVISOR_sysctl && call.op == XEN_SYSCTL_debug_keys) {
    return keep(reinterpret_cast<xen_sysctl_t*>(frame.arguments[0])->u.debug_keys.nr_keys);
  }
  if (call.hypercall == __HYPERVISOR_domctl && call.op == XEN_DOMCTL_setvcpuaffinity) {
    // The CPUs that there are, and not what follows them in a bitmap.
    auto& request = reinterpret_cast<xen_domctl_t*>(frame.arguments[0])->u.vcpuaffinity;
    request.cpumap_hard.nr_bits = request.cpumap_soft.nr_bits = 8;
    return count == 1;
  }
  if (call.hypercall == __HYPERVISOR_domctl && call.op == XEN_DOMCTL_scheduler_op) {
    // The weight, and then the cap, which was none.
    auto& request = *reinterpret_cast<xen_domctl_t*>(frame.arguments[0]);
    if (count == 1) request.u.scheduler_op.u.credit2.cap = 0;
    return count <= 2;
  }
  if (call.hypercall != __HYPERVISOR_memory_op) return false;
  switch (call.op) {
    case XENMEM_populate_physmap:
    case XENMEM_increase_reservation:
    case XENMEM_decrease_reservation:
      return keep(ReservationOf(frame).nr_extents);
    case XENMEM_set_pod_target:
      return keep(reinterpret_cast<xen_pod_target*>(frame.arguments[1])->target_pages);
    case XENMEM_exchange: {
      xen_memory_exchange& exchange = ExchangeOf(frame);
      if (!keep(exchange.in.nr_extents)) return false;
      exchange.out.nr_extents = count << exchange.in.extent_order >> exchange.out.extent_order;
      return true;
    }
    case XENMEM_add_to_physmap:
      return RangeOf(frame).space == XENMAPSPACE_gmfn_range && keep(RangeOf(frame).size);
    case XENMEM_add_to_physmap_batch: {
      xen_add_to_physmap_batch& batch = BatchOf(frame);
      auto& [indices, gfns, errors] = batch_lists;
      if (count > indices.size()) return false;
      for (std::uint64_t i = 0; i < count; ++i) {
        const auto* const index = &batch.idxs.p[elements[i]];
        const auto* const gfn = &batch.gpfns.p[elements[i]];
        if (!is_there(index, sizeof(*index)) || !is_there(gfn, sizeof(*gfn))) return false;
        indices[i] = *index;
        gfns[i] = *gfn;
      }
      batch.idxs.p = indices.data();
      batch.gpfns.p = gfns.data();
      batch.errs.p = errors.data();
      return keep(batch.size);
    }
    default:
      return false;
  }
}

class RefusedCallTest : public testing::TestWithParam<WorkingCall> {
 protected:
  static void SetUpTestSuite() {
    whole_ = std::make_unique<Stage>(4096);
    in_legs_ = std::make_unique<Stage>(1);
  }
  static void TearDownTestSuite() {
    whole_ = nullptr;
    in_legs_ = nullptr;
    const testing::UnitTest& all = *testing::UnitTest::GetInstance();
    if (all.test_to_run_count() != all.total_test_count() || all.Failed()) return;
    for (const Remainder& each : kRemainders) {
      EXPECT_TRUE(needed_.contains(&each)) << each.call << " leaves nothing: " << each.shown.name;
    }
  }

  CallsMachine& on() { return stage_->on; }
  Hypervisor& hypervisor() { return on().machine.hypervisor; }

  // Once it was made already, the call finds there what it left.
  void Prepare(std::uint16_t target, bool again = false) {
    stage_->base.Restore();
    on().Begin();
    frame_ = GetParam().prepare(on(), target);
    if (again) {
      Make(frame_);
      on().Begin();
      frame_ = GetParam().prepare(on(), target);
    }
    Keep();
  }
  // What there is now is what was before.
  void Keep() {
    stage_->before.Take();
    arguments_.assign(on().arguments().begin(), on().arguments().end());
  }
  void GoBack() {
    stage_->before.Restore();
    RestoreArguments();
  }
  void RestoreArguments() { std::ranges::copy(arguments_, on().arguments().begin()); }

  // What the call answers when accesses to guest memory end as `fault_of` says. Of other memory
  // than the arguments' and the domains' there is none.
  template <class FaultOf>
  std::int64_t Make(const HypercallFrame& frame, FaultOf fault_of) {
    on().space.Watch([&](unsigned number, Access access, std::byte* at, std::uint64_t length) {
      return IsThere(at, length) ? fault_of(number, access) : Fault::kNotPresent;
    });
    const std::int64_t outcome = Outcome(GetParam(), on(), *on().control, frame);
    on().space.WatchNothing();
    return outcome;
  }
  std::int64_t Make(const HypercallFrame& frame) {
    return Make(frame, [](unsigned, Access) { return Fault::kNone; });
  }

  bool IsThere(const void* at, std::uint64_t length) {
    return stage_->IsThere(at, length) ||
           Contains(std::as_bytes(std::span(&batch_lists, 1)), at, length);
  }
  Touched TouchedBy(const HypercallFrame& frame) {
    on().space.Watch([&](unsigned, Access, std::byte* at, std::uint64_t length) {
      return IsThere(at, length) ? Fault::kNone : Fault::kNotPresent;
    });
    Touched touched(frame, on().space, on().arguments());
    on().space.WatchNothing();
    return touched;
  }

  // Some calls are made in order to be refused.
  std::int64_t MakeAsPrepared(const Touched& touched) {
    const std::int64_t good = Make(frame_);
    const std::int64_t answer = GetParam().answer;
    EXPECT_TRUE(good == answer || answer == kAnyAnswer || stage_ == in_legs_.get());
    stage_->done.Take();
    if (good < 0) ExpectNothingHalfDone(Cause::kField, frame_, good, touched, arguments_);
    return good;
  }

  // A refused call, made with these arguments, has changed nothing but what it may.
  void ExpectNothingHalfDone(Cause cause, const HypercallFrame& frame, std::int64_t outcome,
                             const Touched& touched, const std::vector<std::byte>& arguments) {
    for (std::size_t i = 0; i < arguments.size(); ++i) {
      if (on().arguments()[i] == arguments[i] || touched.MayWrite(i)) continue;
      ADD_FAILURE() << "guest memory that is no output changed, at " << i;
      break;
    }
    std::vector<std::string> changes = stage_->before.Changes();
    if (changes.empty()) return;
    const Remainder* const remainder = Find(cause);
    EXPECT_NE(remainder, nullptr) << testing::PrintToString(changes);
    if (remainder == nullptr) return;
    SCOPED_TRACE(remainder->shown.name);
    needed_.insert(remainder);
    const IsThereFunction is_there = [&](const void* at, auto length) {
      return IsThere(at, length);
    };
    const Report report = ReportOf(GetParam(), frame, outcome, is_there);
    stage_->after.Take();
    const std::uint32_t grants = remainder->leaves == Leaves::kGrown ? GrantFrames() : 0;
    const Elements still_there =
        remainder->leaves == Leaves::kUnplaced ? ExtentsStillThere(frame) : Elements();
    const std::vector<std::byte> left(on().arguments().begin(), on().arguments().end());
    const auto compare_with = [&](const Elements& elements) {
      stage_->before.Restore();
      // A batch is told nothing in the places that it writes, but where its lists lie in each
      // other.
      const bool is_batch = GetParam().hypercall == __HYPERVISOR_memory_op &&
                            GetParam().op == XENMEM_add_to_physmap_batch;
      std::ranges::copy(is_batch ? left : arguments, on().arguments().begin());
      HypercallFrame twin = frame;
      if (!elements.empty()) {
        ASSERT_TRUE(Shorten(GetParam(), twin, elements, is_there));
        changes = {"what is said to be done would be refused, too"};
        if (Make(twin) < 0) return;
      }
      if (remainder->leaves == Leaves::kGrown) GrowGrants(grants);
      changes = stage_->after.Changes();
    };
    Elements one_more = report.done;
    one_more.push_back(report.next);
    switch (remainder->leaves) {
      case Leaves::kAll:
        changes = stage_->done.Changes();
        break;
      case Leaves::kReported:
        compare_with(report.done);
        break;
      case Leaves::kOneMore:
        compare_with(one_more);
        break;
      case Leaves::kSome:
        for (std::uint64_t count = 1; !changes.empty() && !HasFailure(); ++count) {
          compare_with(First(count));
        }
        break;
      case Leaves::kGrown:
        compare_with(report.done);
        if (!changes.empty()) compare_with(one_more);
        break;
      case Leaves::kToGoOn:
        RestoreArguments();
        Make(frame_);
        changes = stage_->done.Changes();
        break;
      case Leaves::kUnplaced: {
        compare_with(report.done);
        if (changes.empty()) break;
        changes.clear();
        // Frames that an earlier leg gave up may be what a later one gets.
        if (stage_ == in_legs_.get()) break;
        std::ranges::copy(arguments, on().arguments().begin());
        const xen_memory_exchange& exchange = ExchangeOf(frame);
        const std::uint64_t gone = report.done.size() + ExtentsOfAChunk(exchange);
        EXPECT_THAT(still_there, testing::Each(testing::Ge(gone)));
        EXPECT_TRUE(is_report_lost_ || still_there.size() == exchange.in.nr_extents - gone);
        break;
      }
      case Leaves::kOther:
        on().machine.ExpectBooksAddUp(false);
        changes.clear();
        break;
    }
    EXPECT_THAT(changes, testing::IsEmpty());
  }
  // Those that an exchange of a PV domain's memory has not given up.
  Elements ExtentsStillThere(const HypercallFrame& frame) {
    const xen_memory_reservation& in = ExchangeOf(frame).in;
    Elements there;
    for (std::uint64_t i = 0; i < in.nr_extents; ++i) {
      if (!IsThere(&in.extent_start.p[i], sizeof(xen_pfn_t))) break;
      std::uint64_t type = in.extent_start.p[i];
      xen_domctl_t op = {};
      op.u.getpageframeinfo3.num = 1;
      op.u.getpageframeinfo3.array.p = &type;
      EXPECT_EQ(on().machine.Domctl(XEN_DOMCTL_getpageframeinfo3, in.domid, op), 0);
      if (type == XEN_DOMCTL_PFINFO_NOTAB) there.push_back(i);
    }
    return there;
  }
  std::uint32_t GrantFrames() {
    gnttab_query_size size = {};
    size.dom = GetParam().target;
    on().machine.Call(__HYPERVISOR_grant_table_op, GNTTABOP_query_size, &size, 1);
    return size.nr_frames;
  }
  void GrowGrants(std::uint32_t frames) {
    std::array<xen_pfn_t, 64> list = {};
    gnttab_setup_table setup = {};
    setup.dom = GetParam().target;
    setup.nr_frames = frames;
    setup.frame_list.p = list.data();
    on().machine.Call(__HYPERVISOR_grant_table_op, GNTTABOP_setup_table, &setup, 1);
  }
  const Remainder* Find(Cause cause) const {
    for (const Remainder& each : kRemainders) {
      if (each.cause == cause && std::string_view(GetParam().name).starts_with(each.call)) {
        return &each;
      }
    }
    return nullptr;
  }

  void ExpectNothingHalfDoneByFaults(bool again);
  void ExpectNothingHalfDoneByFields(bool again);

  // The machine in which calls run as a whole, and the one in which they stop as often as they can.
  static inline std::unique_ptr<Stage> whole_;
  static inline std::unique_ptr<Stage> in_legs_;
  static inline std::set<const Remainder*> needed_;  // so far

  Stage* stage_ = whole_.get();
  HypercallFrame frame_;
  std::vector<std::byte> arguments_;  // before
  bool is_report_lost_ = false;       // all that the call writes at its end faults, too
};

INSTANTIATE_TEST_SUITE_P(, RefusedCallTest, testing::ValuesIn(AllCalls()),
                         [](const auto& each) { return NameOf(each.param); });

void RefusedCallTest::ExpectNothingHalfDoneByFaults(bool again) {
  Prepare(GetParam().target, again);
  const Touched touched = TouchedBy(frame_);
  const std::int64_t good = MakeAsPrepared(touched);
  for (const bool stays : {false, true}) {
    is_report_lost_ = stays;
    for (unsigned n = 0;; n = Stage::Next(n)) {
      SCOPED_TRACE(testing::Message() << "access " << n << (stays ? " and all that follow" : ""));
      GoBack();
      bool was_reached = false;
      Access access = Access::kRead;
      const std::int64_t outcome = Make(frame_, [&](unsigned number, Access asked) {
        if (number < n) return Fault::kNone;
        if (number == n) {
          access = asked;
          was_reached = true;
          return Fault::kNotPresent;
        }
        // Memory that is gone, or that must not be written any more.
        return stays && (access == Access::kRead || asked == access) ? Fault::kNotPresent
                                                                     : Fault::kNone;
      });
      if (!was_reached) break;
      SCOPED_TRACE(testing::Message() << "which " << (access == Access::kWrite ? "writes" : "reads")
                                      << ", answered " << outcome);
      if (outcome == good) {
        EXPECT_THAT(stage_->done.Changes(), testing::IsEmpty()) << "is said to be done";
      } else {
        ExpectNothingHalfDone(access == Access::kWrite ? Cause::kWrite : Cause::kRead, frame_,
                              outcome, touched, arguments_);
      }
      if (HasFailure()) return;
    }
  }
}

TEST_P(RefusedCallTest, ByAFault) {
  for (const bool again : {false, true}) ExpectNothingHalfDoneByFaults(again);
}

TEST_P(RefusedCallTest, ByAFaultOfALaterLeg) {
  stage_ = in_legs_.get();
  ExpectNothingHalfDoneByFaults(true);
}

TEST_P(RefusedCallTest, ForWantOfMemory) {
  for (const bool again : {false, true}) {
    Prepare(GetParam().target, again);
    const std::int64_t good = Make(frame_);
    std::int64_t outcome = ~good;
    for (unsigned spare = 0; outcome != good; spare = Stage::Next(spare)) {
      SCOPED_TRACE(testing::Message() << spare << " pages are free");
      Prepare(GetParam().target, again);
      stage_->LeaveFree(spare);
      Keep();
      const Touched touched = TouchedBy(frame_);
      outcome = Make(frame_);
      if (outcome != good) {
        ExpectNothingHalfDone(Cause::kMemory, frame_, outcome, touched, arguments_);
      }
      if (HasFailure()) return;
    }
  }
}

void RefusedCallTest::ExpectNothingHalfDoneByFields(bool again) {
  Prepare(GetParam().target, again);
  const Touched whole = TouchedBy(frame_);
  MakeAsPrepared(whole);
  GoBack();
  const auto attempt = [&](const HypercallFrame& frame) {
    const std::vector<std::byte> arguments(on().arguments().begin(), on().arguments().end());
    Touched touched = TouchedBy(frame);
    touched.AddOutputsOf(whole);
    const std::int64_t outcome = Make(frame);
    if (outcome < 0) {
      ExpectNothingHalfDone(Cause::kField, frame, outcome, touched, arguments);
    }
    if (outcome >= 0 && !stage_->before.IsCurrent()) on().machine.ExpectBooksAddUp(false);
    GoBack();
  };
  // A pointer leads to what comes before or after it, as it is aligned.
  const auto others = [](std::uint64_t value, std::size_t size, bool is_pointer) {
    const std::uint64_t top = std::uint64_t{1} << (8 * size - 1);
    const std::uint64_t next = is_pointer ? sizeof(std::uint64_t) : 1;
    return std::array{std::uint64_t{0}, std::uint64_t{1},  value - next,
                      value + next,     ~std::uint64_t{0}, value ^ top};
  };
  for (const Place& place : whole.places()) {
    const std::uint64_t value = Load(place);
    for (const std::uint64_t other : others(value, place.size, place.is_pointer)) {
      SCOPED_TRACE(testing::Message() << place.name << " is " << other << ", not " << value);
      Store(place, other);
      attempt(frame_);
      if (HasFailure()) return;
    }
  }
  if (GetParam().hypercall == kXencommOp) {
    // The table of the caller's region, which lies in the domain's memory.
    constexpr std::uint64_t kTableGfn = 8;
    std::byte* const table = on().machine.BytesOf(hypervisor().FrameOf(0, kTableGfn));
    for (unsigned i = 0; i < 12; ++i) {
      const Place word = {table + i * sizeof(std::uint64_t), sizeof(std::uint64_t), {}};
      const std::uint64_t value = Load(word);
      for (const std::uint64_t other : others(value, word.size, false)) {
        SCOPED_TRACE(testing::Message() << "the table's word " << i << " is " << other);
        Store(word, other);
        stage_->before.Take();
        attempt(frame_);
        if (HasFailure()) return;
      }
      Store(word, value);
    }
    stage_->before.Take();
  }
  for (std::uint64_t& value : frame_.arguments) {
    const std::uint64_t right = value;
    for (const std::uint64_t other :
         others(value, sizeof(value), IsThere(reinterpret_cast<const void*>(value), 1))) {
      SCOPED_TRACE(testing::Message() << "a register is " << other << ", not " << right);
      value = other;
      attempt(frame_);
      if (HasFailure()) return;
    }
    value = right;
  }
}

TEST_P(RefusedCallTest, ByAField) {
  for (const bool again : {false, true}) ExpectNothingHalfDoneByFields(again);
}

TEST_P(RefusedCallTest, BecauseOfItsTarget) {
  stage_ = in_legs_.get();
  Prepare(GetParam().target);
  const std::int64_t good = MakeAsPrepared(TouchedBy(frame_));
  const auto attempt = [&] {
    Keep();
    const Touched touched = TouchedBy(frame_);
    const std::int64_t outcome = Make(frame_);
    if (outcome < 0 && outcome != good) {
      ExpectNothingHalfDone(Cause::kTarget, frame_, outcome, touched, arguments_);
    } else {
      on().machine.ExpectBooksAddUp(false);
    }
  };
  for (const std::uint16_t target : {std::uint16_t{0}, kNobody}) {
    SCOPED_TRACE(testing::Message() << "domain " << target);
    Prepare(target);
    attempt();
  }
  const std::uint16_t target = GetParam().target;
  if (target == 0) return;
  // It dies; it is dead, and a page of it is mapped by somebody.
  for (const bool is_dead : {false, true}) {
    SCOPED_TRACE(is_dead ? "a dead domain" : "a dying domain");
    Prepare(target);
    const std::uint64_t held = stage_->End(target, is_dead);
    attempt();
    if (held != kNoFrame) on().machine.ReleaseFrame(held);
  }
}

// The process's memory, as its page tables let it be reached.
class ProtectedSpace final : public Space {
 public:
  ProtectedSpace() { EXPECT_EQ(pipe(pipe_.data()), 0); }
  ~ProtectedSpace() {
    for (const int end : pipe_) close(end);
  }
  ProtectedSpace(const ProtectedSpace&) = delete;
  ProtectedSpace& operator=(const ProtectedSpace&) = delete;

  Mapping Resolve(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length, Access access,
                  Cursor*) override {
    const std::uint64_t at = pointer.value + offset;
    auto* const start = reinterpret_cast<std::byte*>(at);
    // The kernel says it, which copies a byte out and, of what may be written, in again.
    std::byte copy;
    if (write(pipe_[1], start, 1) != 1) return Fault::kNotPresent;
    if (read(pipe_[0], access == Access::kWrite ? start : &copy, 1) != 1) {
      EXPECT_EQ(read(pipe_[0], &copy, 1), 1);
      return Fault::kNotWritable;
    }
    return {start, std::min(length, kPageSize - at % kPageSize)};
  }

 private:
  std::array<int, 2> pipe_ = {};
};

// The embedded hypervisor leaves what Xen left, check by check.
class RefusedOnXenTest : public testing::TestWithParam<refused_call> {
 public:
  static inline TestMachine* running = nullptr;

 protected:
  void SetUp() override {
    running = &machine;
    machine.hypervisor.SetRawSpace(*machine.vcpu, space);
  }
  void TearDown() override { running = nullptr; }

  // Of the release whose headers the checks are compiled with.
  TestMachine machine{
      {.release = schema::ParseRelease(XEN_RELEASE).value(), .preempt_interval = 64}};
  ProtectedSpace space;
};

INSTANTIATE_TEST_SUITE_P(, RefusedOnXenTest,
                         testing::ValuesIn(refused_calls, refused_calls + refused_calls_count),
                         [](const auto& each) { return std::string(each.param.name); });

TEST_P(RefusedOnXenTest, LeavesTheSame) {
  checks_passed = checks_failed = 0;
  GetParam().check();
  EXPECT_GT(checks_passed, 0u);
  EXPECT_EQ(checks_failed, 0u);
  if (GetParam().name == std::string_view("console_write_read")) {
    EXPECT_THAT(machine.console,
                testing::HasSubstr("\n" + std::string(refused_console_line) + "\n"));
  }
}

TEST(RefusedOnXen, WhatIsListedAsShownWasShown) {
  std::set<std::string_view> shown;
  for (unsigned i = 0; i < refused_calls_count; ++i) shown.insert(refused_calls[i].name);
  for (const Remainder& each : kRemainders) {
    EXPECT_EQ(shown.contains(each.shown.name), each.shown.by == Shown::By::kRun) << each.call;
  }
  // What an answer that is no error leaves out is not listed.
  EXPECT_TRUE(shown.contains("populate_physmap_nowhere"));
}

}  // namespace
}  // namespace xencomm::hypervisor

namespace {

xencomm::hypervisor::TestMachine& machine() {
  return *xencomm::hypervisor::RefusedOnXenTest::running;
}

}  // namespace

long hypercall(unsigned number, std::uint64_t a, std::uint64_t b, std::uint64_t c) {
  return machine().Call(number, a, b, c);
}

// Between its first leg and those that follow.
long hypercall_with(void (*meanwhile)(), unsigned number, std::uint64_t a, std::uint64_t b) {
  xencomm::hypervisor::HypercallFrame frame = machine().Frame(number, a, b);
  long answer = machine().hypervisor.Hypercall(*machine().vcpu, frame);
  meanwhile();
  while (frame.continued) answer = machine().hypervisor.Hypercall(*machine().vcpu, frame);
  return answer;
}
