// What happens in the middle of a call, at each place where it can be stopped: a guest's memory
// changes, a domain ends, a page goes. Not by threads and luck: it happens in the same thread, at a
// place that is counted out, and again at each other one.
//
// The whole hypervisor is in its pool. So a machine goes back to where a call was about to be made
// by its bytes, and two ways lead to the same state when the bytes are the same.

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "hcall/hypervisor/base/spin_lock.h"
#include "hcall/hypervisor/domain/region_registry.h"
#include "tests/unit/hypervisor_books.h"
#include "tests/unit/hypervisor_calls.h"
#include "xencomm/hypercall.h"
#include "xencomm/region_table.h"

namespace xencomm::hypervisor {
namespace {

using Locks = std::set<const SpinLock*>;

// The places at which the call under way can be stopped, counted from 0: each access to guest
// memory, each lock, each time it asks for the time, the end of each leg.
class Stops final : public SpinLock::Watcher {
 public:
  using Action = std::function<void()>;

  Stops() = default;
  ~Stops() { SpinLock::watcher = nullptr; }
  Stops(const Stops&) = delete;
  Stops& operator=(const Stops&) = delete;

  // What is done at every place in what `run` does.
  template <class Run>
  auto During(Action at_each, Run run) {
    at_each_ = std::move(at_each);
    places_ = 0;
    is_under_way_ = true;
    const auto answer = run();
    is_under_way_ = false;
    return answer;
  }
  unsigned places() const { return places_; }
  bool is_between_legs() const { return is_between_legs_; }

  void Place() {
    if (!is_under_way_) return;
    is_under_way_ = false;
    others_held_ = held_.size();
    at_each_();
    others_held_ = 0;
    is_under_way_ = true;
    ++places_;
  }
  void PlaceBetweenLegs() {
    is_between_legs_ = true;
    Place();
    is_between_legs_ = false;
  }

  // Those that are held now, and those that were wanted since the last time that this was asked.
  Locks held() const { return {held_.begin(), held_.end()}; }
  Locks TakeWanted() { return std::exchange(wanted_, {}); }
  // Of these locks nobody knows any more which was taken inside which.
  void ForgetOrder() { inside_.clear(); }

 private:
  void WantsLock(const SpinLock& lock, bool is_held) override {
    wanted_.insert(&lock);
    Place();
    for (const SpinLock* outer : std::span(held_).subspan(others_held_)) {
      inside_.insert({outer, &lock});
      EXPECT_FALSE(inside_.contains({&lock, outer})) << "two locks, each inside the other";
    }
    if (!is_held) return;
    ADD_FAILURE() << "a lock is waited for that this thread holds";
    std::abort();
  }
  void HasLock(const SpinLock& lock) override { held_.push_back(&lock); }
  void GaveLock(const SpinLock& lock) override { std::erase(held_, &lock); }

  Action at_each_;
  bool is_under_way_ = false;
  bool is_between_legs_ = false;
  unsigned places_ = 0;
  std::vector<const SpinLock*> held_;
  std::size_t others_held_ = 0;  // the first ones, by who was stopped
  Locks wanted_;
  std::set<std::pair<const SpinLock*, const SpinLock*>> inside_;
};

struct Reached {
  Access access;
  std::span<std::byte> bytes;
};

// What others do in the middle of a call: another vcpu of domain 0's, and another of kGuest's.
class Others {
 public:
  explicit Others(CallsMachine& on) : on_(on), toolstack_(Claim(0)), sibling_(Claim(kGuest)) {}

  template <class... Arguments>
  std::int64_t Call(std::uint64_t index, Arguments... arguments) {
    return on_.machine.hypervisor.Call(*toolstack_, on_.Frame(index, arguments...));
  }
  // By another vcpu of the caller's.
  template <class... Arguments>
  std::int64_t CallerCall(std::uint64_t index, Arguments... arguments) {
    return on_.machine.hypervisor.Call(CallersOther(), on_.Frame(index, arguments...));
  }
  std::int64_t Domctl(std::uint32_t cmd, std::uint16_t domain, xen_domctl_t op = {}) {
    op.cmd = cmd;
    op.interface_version = XEN_DOMCTL_INTERFACE_VERSION;
    op.domain = domain;
    return Call(__HYPERVISOR_domctl, &op);
  }

  void End(std::uint16_t id) { Domctl(XEN_DOMCTL_destroydomain, id); }
  void EndAll() {
    for (std::uint16_t id = 1; id <= kLastId; ++id) End(id);
  }
  // A piece of it.
  void BeginToEnd(std::uint16_t id) {
    xen_domctl_t op = {};
    op.cmd = XEN_DOMCTL_destroydomain;
    op.interface_version = XEN_DOMCTL_INTERFACE_VERSION;
    op.domain = id;
    HypercallFrame frame = on_.Frame(__HYPERVISOR_domctl, &op);
    on_.machine.hypervisor.Hypercall(*toolstack_, frame);
  }
  void Make(std::uint16_t id, std::uint64_t pages) {
    xen_domctl_t op =
        TestMachine::CreateRequest(id == kHvm ? XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap : 0u, 2);
    Domctl(XEN_DOMCTL_createdomain, id, op);
    op = {};
    op.u.max_vcpus.max = 2;
    Domctl(XEN_DOMCTL_max_vcpus, id, op);
    op = {};
    op.u.max_mem.max_memkb = pages << 2;
    Domctl(XEN_DOMCTL_max_mem, id, op);
  }
  void Fill(std::uint16_t id) {
    for (xen_pfn_t gfn = 0; gfn != kPagesOfEach; ++gfn) Populate(id, gfn);
  }
  // Somebody takes all the memory that there is now, and writes on it.
  void TakeMemory() {
    Make(kTaker, kAllPages);
    std::vector<xen_pfn_t> frames(kAllPages);
    xen_memory_reservation request = TestMachine::Reservation(kTaker, frames.data(), frames.size());
    HypercallFrame frame = on_.Frame(__HYPERVISOR_memory_op, XENMEM_populate_physmap, &request);
    // What waits for the call under way is not waited for here.
    std::uint64_t done;
    do {
      done = frame.arguments[0];
      on_.machine.hypervisor.Hypercall(*toolstack_, frame);
    } while (frame.continued && frame.arguments[0] != done);
    for (const xen_pfn_t mfn : frames) {
      // Where something begins; all of it would take long.
      if (mfn != 0) std::memset(on_.machine.BytesOf(mfn), 0x5a, kPageSize / 8);
    }
  }

  void Populate(std::uint16_t id, xen_pfn_t gfn) { Reserve(XENMEM_populate_physmap, id, gfn); }
  // Each page that a domain may have, by its number.
  template <class F>
  void ForEachFrame(std::uint16_t id, F visit) {
    const xen_pfn_t first = id == kPv ? TestMachineOptions().pool_begin >> kPageShift : 0;
    for (xen_pfn_t i = 0; i != (id == kPv ? kAllPages : kGfns); ++i) visit(first + i);
  }
  void GiveUpPages(std::uint16_t id) {
    ForEachFrame(id, [&](xen_pfn_t frame) { Reserve(XENMEM_decrease_reservation, id, frame); });
  }
  void Unmap(std::uint16_t id) {
    ForEachFrame(id, [&](xen_pfn_t gfn) {
      xen_remove_from_physmap request = {.domid = id, .gpfn = gfn};
      Call(__HYPERVISOR_memory_op, XENMEM_remove_from_physmap, &request);
    });
  }
  void Map(std::uint16_t id, unsigned space, xen_ulong_t index, xen_pfn_t gfn) {
    xen_add_to_physmap request = {
        .domid = id, .size = 0, .space = space, .idx = index, .gpfn = gfn};
    Call(__HYPERVISOR_memory_op, XENMEM_add_to_physmap, &request);
  }
  void Move(std::uint16_t id) {
    ForEachFrame(id, [&](xen_pfn_t gfn) { Map(id, XENMAPSPACE_gmfn, gfn, kGfns + gfn); });
    Map(id, XENMAPSPACE_shared_info, 0, 3);
    Map(id, XENMAPSPACE_grant_table, 0, 4);
  }

  void ResetPorts() {
    for (const std::uint16_t id : {std::uint16_t{0}, kGuest, kPv, kHvm}) {
      evtchn_reset request = {.dom = id};
      Call(__HYPERVISOR_event_channel_op, EVTCHNOP_reset, &request);
    }
  }
  void OpenPorts() {
    for (const std::uint16_t id : {std::uint16_t{0}, kGuest, kPv, kHvm}) {
      evtchn_alloc_unbound request = {.dom = id, .remote_dom = kGuest, .port = 0};
      Call(__HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound, &request);
    }
  }
  // Of a domain that can call, or of the caller.
  void ChangeGrantVersion(std::uint16_t id) {
    Vcpu& vcpu = id == kGuest ? *sibling_ : CallersOther();
    gnttab_get_version old = {.dom = DOMID_SELF, .pad = 0, .version = 0};
    on_.machine.hypervisor.Call(
        vcpu, on_.Frame(__HYPERVISOR_grant_table_op, GNTTABOP_get_version, &old, 1));
    gnttab_set_version request = {.version = 3 - old.version};
    on_.machine.hypervisor.Call(
        vcpu, on_.Frame(__HYPERVISOR_grant_table_op, GNTTABOP_set_version, &request, 1));
  }
  void ShrinkPagingPool(std::uint16_t id) {
    xen_domctl_t op = {};
    op.u.paging_mempool.size = 0;
    Domctl(XEN_DOMCTL_set_paging_mempool_size, id, op);
  }
  void Log(std::uint16_t id, std::uint32_t how) {
    xen_domctl_t op = {};
    op.u.shadow_op.op = how;
    op.u.shadow_op.pages = kGfns;
    Domctl(XEN_DOMCTL_shadow_op, id, op);
  }
  void LimitMemory(std::uint16_t id) {
    xen_domctl_t op = {};
    op.u.max_mem.max_memkb = 4;
    Domctl(XEN_DOMCTL_max_mem, id, op);
  }
  // What an op replaces as a whole.
  void ReplaceParts(std::uint16_t id) {
    e820_entry entry = {.addr = 0x5000, .size = 0x5000, .type = 5};
    xen_foreign_memory_map map = {};
    map.domid = id;
    map.map.nr_entries = 1;
    set_xen_guest_handle(map.map.buffer, &entry);
    Call(__HYPERVISOR_memory_op, XENMEM_set_memory_map, &map);
    unsigned numbers[2] = {};
    xen_domctl_t op = {};
    op.u.vnuma.nr_vnodes = 1;
    op.u.vnuma.nr_vcpus = 2;
    op.u.vnuma.vdistance.p = numbers;
    op.u.vnuma.vcpu_to_vnode.p = numbers;
    op.u.vnuma.vnode_to_pnode.p = numbers;
    Domctl(XEN_DOMCTL_setvnumainfo, id, op);
    Domctl(XEN_DOMCTL_set_cpu_policy, id);
    vcpu_register_runstate_memory_area none = {};
    CallerCall(__HYPERVISOR_vcpu_op, VCPUOP_register_runstate_memory_area, 1, &none);
  }
  void EndRegions() {
    for (std::uint64_t generation = 1; generation != 8; ++generation) {
      CallerCall(kXencommOp, XencommOp::kUnregister,
                 RegionHandle::Registered(RegionRegistry::IdOf(generation, 0)).value());
    }
  }
  void ShutDown(std::uint16_t id) {
    sched_remote_shutdown request = {.domain_id = id, .reason = SHUTDOWN_crash};
    Call(__HYPERVISOR_sched_op, SCHEDOP_remote_shutdown, &request);
  }
  // The calling vcpu goes and comes, while another takes its place among those that call.
  void ReleaseCaller() {
    Hypervisor& hypervisor = on_.machine.hypervisor;
    hypervisor.ReleaseVcpu(*on_.caller);
    in_its_place_ = hypervisor.ClaimVcpu(kPv, 1);
    ASSERT_EQ(hypervisor.ClaimVcpu(on_.caller == on_.guest ? kGuest : 0, 0), on_.caller);
    hypervisor.SetRawSpace(*on_.caller, on_.space);
  }
  // Another vcpu of the caller's has something written into its region.
  void WriteIntoRegion() {
    HypercallFrame frame =
        on_.Frame(__HYPERVISOR_xen_version | kRegionCall, XENVER_extraversion, spare_.value);
    frame.region = region_;
    on_.machine.hypervisor.Call(CallersOther(), frame);
  }
  // The caller's region, and room in it.
  void Know(std::uint64_t region, VirtualAddress spare) {
    region_ = region;
    spare_ = spare;
  }

  // All that can be seen of the domains, and of the machine.
  std::string Seen() {
    std::vector<xen_domctl_getdomaininfo_t> infos(kLastId);
    xen_sysctl_t list = {};
    list.cmd = XEN_SYSCTL_getdomaininfolist;
    list.interface_version = XEN_SYSCTL_INTERFACE_VERSION;
    list.u.getdomaininfolist.max_domains = kLastId;
    list.u.getdomaininfolist.buffer.p = infos.data();
    Call(__HYPERVISOR_sysctl, &list);
    std::ostringstream seen;
    bool is_taken = false;
    for (const xen_domctl_getdomaininfo_t& info :
         std::span(infos).first(list.u.getdomaininfolist.num_domains)) {
      if (info.domain == kTaker) {
        is_taken = true;
        continue;
      }
      const DomainStatistics of = Books::StatisticsOf(on_.machine.hypervisor, info.domain);
      seen << "domain " << info.domain << ": flags " << info.flags << ", " << info.tot_pages
           << " pages of " << info.max_pages << ", " << info.outstanding_pages << " claimed, "
           << of.overhead_pages << " overhead, " << of.regions << " regions, "
           << info.nr_online_vcpus << " vcpus; ";
    }
    const Statistics now = Books::StatisticsOf(on_.machine.hypervisor);
    seen << now.held_frames << " held, " << now.pinned_frames << " pinned";
    // Somebody else's share depends on what waits.
    if (!is_taken) seen << ", " << now.free_pages << " free";
    return seen.str();
  }

  // Pages that count as written, where that is logged.
  std::uint32_t Dirty(std::uint16_t id) {
    xen_domctl_t op = {};
    op.cmd = XEN_DOMCTL_shadow_op;
    op.interface_version = XEN_DOMCTL_INTERFACE_VERSION;
    op.domain = id;
    op.u.shadow_op.op = XEN_DOMCTL_SHADOW_OP_PEEK;
    op.u.shadow_op.pages = 2 * kGfns;
    Call(__HYPERVISOR_domctl, &op);
    return op.u.shadow_op.stats.dirty_count;
  }

  // When the machine has gone back.
  void Forget() { in_its_place_ = nullptr; }

  // All that there is but domain 0 goes away.
  void Finish() {
    EndAll();
    // Other domains' pages, which those live on for.
    Unmap(0);
    EndGrantMaps(on_, *toolstack_);
    for (Vcpu* vcpu : {on_.guest, sibling_, std::exchange(in_its_place_, nullptr)}) {
      if (vcpu != nullptr) on_.machine.hypervisor.ReleaseVcpu(*vcpu);
    }
    EXPECT_EQ(Books::StatisticsOf(on_.machine.hypervisor).domains, 1u);
  }

 private:
  static constexpr std::uint16_t kLastId = 31;
  static constexpr std::uint16_t kTaker = kLastId;
  static constexpr std::uint64_t kAllPages = 1024;
  static constexpr xen_pfn_t kGfns = 544;

  Vcpu& CallersOther() { return on_.caller == on_.guest ? *sibling_ : *toolstack_; }
  Vcpu* Claim(std::uint16_t id) {
    Vcpu* const vcpu = on_.machine.hypervisor.ClaimVcpu(id, 1);
    on_.machine.hypervisor.SetRawSpace(*vcpu, direct_);
    return vcpu;
  }
  void Reserve(std::uint64_t op, std::uint16_t id, xen_pfn_t frame) {
    xen_memory_reservation request = TestMachine::Reservation(id, &frame, 1);
    Call(__HYPERVISOR_memory_op, op, &request);
  }

  CallsMachine& on_;
  DirectSpace direct_;
  Vcpu* const toolstack_;
  Vcpu* const sibling_;
  Vcpu* in_its_place_ = nullptr;
  std::uint64_t region_ = 0;
  VirtualAddress spare_;
};

// What happens, step by step, for a call about a domain.
using Step = void (*)(Others& others, std::uint16_t domain);
enum class When { kNotInRegion, kAnytime, kBetweenLegs, kInRegion };
struct Event {
  const char* name;
  std::vector<Step> steps;
  bool ends_target = false;
  bool takes_memory = false;  // all that is left
  // Nobody looks at what it changes without a lock of its own.
  bool is_apart = false;
  // It is refused itself while a call uses what it would change.
  bool can_be_refused = false;
  When when = When::kNotInRegion;
};
const Event kEvents[] = {
    {.name = "the domain ends",
     .steps = {[](auto& others, auto id) { others.BeginToEnd(id); },
               [](auto& others, auto id) { others.End(id); }},
     .ends_target = true},
    {.name = "the domain begins to end",
     .steps = {[](auto& others, auto id) { others.BeginToEnd(id); }},
     .ends_target = true},
    {.name = "the domain ends, and another has its id",
     .steps = {[](auto& others, auto id) { others.BeginToEnd(id); },
               [](auto& others, auto id) { others.End(id); },
               [](auto& others, auto id) { others.Make(id, kPagesOfEach); },
               [](auto& others, auto id) { others.Fill(id); }},
     .ends_target = true},
    {.name = "all domains end, and their memory is another's",
     .steps = {[](auto& others, auto id) { others.BeginToEnd(id); },
               [](auto& others, auto) { others.EndAll(); },
               [](auto& others, auto) { others.TakeMemory(); }},
     .ends_target = true,
     .takes_memory = true,
     .when = When::kAnytime},
    {.name = "its pages are given up, and are another's",
     .steps = {[](auto& others, auto id) { others.GiveUpPages(id); },
               [](auto& others, auto) { others.TakeMemory(); }},
     .takes_memory = true,
     .when = When::kAnytime},
    {.name = "its pages are unmapped", .steps = {[](auto& others, auto id) { others.Unmap(id); }}},
    {.name = "its pages are moved",
     .steps = {[](auto& others, auto id) { others.Move(id); }},
     .when = When::kAnytime},
    {.name = "pages are populated",
     .steps = {[](auto& others, auto id) { others.Populate(id, 513); },
               [](auto& others, auto id) { others.Populate(id, 529); }}},
    {.name = "ports are reset",
     .steps = {[](auto& others, auto) { others.ResetPorts(); }},
     .is_apart = true},
    {.name = "ports are opened",
     .steps = {[](auto& others, auto) { others.OpenPorts(); }},
     .is_apart = true},
    {.name = "a grant table gets another version",
     .steps = {[](auto& others, auto id) { others.ChangeGrantVersion(id); }},
     .is_apart = true,
     .can_be_refused = true},
    {.name = "its paging pool is shrunk",
     .steps = {[](auto& others, auto id) { others.ShrinkPagingPool(id); }},
     .is_apart = true},
    {.name = "its memory is limited",
     .steps = {[](auto& others, auto id) { others.LimitMemory(id); }},
     .is_apart = true},
    {.name = "what it writes is logged",
     .steps = {[](auto& others, auto id) { others.Log(id, XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY); }},
     .when = When::kAnytime},
    {.name = "what it writes is read",
     .steps = {[](auto& others, auto id) { others.Log(id, XEN_DOMCTL_SHADOW_OP_CLEAN); }},
     .is_apart = true},
    {.name = "what it writes is logged no more",
     .steps = {[](auto& others, auto id) { others.Log(id, XEN_DOMCTL_SHADOW_OP_OFF); }}},
    {.name = "its parts are replaced",
     .steps = {[](auto& others, auto id) { others.ReplaceParts(id); }}},
    {.name = "the caller's regions end",
     .steps = {[](auto& others, auto) { others.EndRegions(); }},
     .is_apart = true},
    {.name = "the domain shuts down",
     .steps = {[](auto& others, auto id) { others.ShutDown(id); }},
     .is_apart = true},
    {.name = "the calling vcpu goes and comes",
     .steps = {[](auto& others, auto) { others.ReleaseCaller(); }},
     .when = When::kBetweenLegs},
    {.name = "the caller's region ends, and its memory is another's",
     .steps = {[](auto& others, auto) { others.EndRegions(); },
               [](auto& others, auto) { others.TakeMemory(); }},
     .takes_memory = true,
     .when = When::kInRegion},
    {.name = "another vcpu of the caller's calls",
     .steps = {[](auto& others, auto) { others.WriteIntoRegion(); }},
     .when = When::kInRegion},
};

// How a call is made.
struct CallSetup {
  enum class Space { kDirect, kStateless, kRegistered };

  Space space = Space::kDirect;
  bool by_guest = false;   // for itself
  bool is_logged = false;  // what its target, or the guest, writes
};

// What a call did, as the guest sees it.
struct Outputs {
  std::int64_t answer = 0;
  std::vector<std::byte> arguments;
  std::string console;
};

// A machine that goes back, again and again, to where a call is about to be made.
class Rewound {
 public:
  explicit Rewound(const TestMachineOptions& options) : on(options), others(on), options_(options) {
    // Room for ports stays.
    others.OpenPorts();
    Save(start_);
    SpinLock::watcher = &stops;
    Books::StatisticsOf(on.machine.hypervisor);
    control_ = *stops.TakeWanted().begin();
    others.ShrinkPagingPool(kHvm);
    common_ = stops.TakeWanted();
  }

  // Forgets all that was, but for the machine.
  void Prepare(const WorkingCall& call, const CallSetup& setup) {
    SpinLock::watcher = &stops;
    stops.ForgetOrder();
    on.Begin();
    Restore(start_);
    on.caller = setup.by_guest ? on.guest : on.control;
    target = setup.by_guest ? kGuest : call.target;
    frame_ = call.prepare(on, target);
    region_.clear();
    if (setup.space != CallSetup::Space::kDirect) {
      MoveIntoRegion(setup.space == CallSetup::Space::kRegistered);
    }
    if (setup.is_logged) others.Log(target, XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY);
    Save(prepared_);
  }
  void Rewind() {
    Restore(prepared_);
    others.Forget();
  }
  // Whether two meet in a lock of more than all calls: in another than the control and heap's.
  bool MeetIn(const Locks& one, const Locks& other) const {
    return std::ranges::any_of(
        one, [&](const SpinLock* lock) { return other.contains(lock) && !common_.contains(lock); });
  }
  // Whether nothing has happened since.
  bool IsRewound() {
    return std::ranges::all_of(prepared_.pages, [this](const State::Page& page) {
      return std::memcmp(page.place, page.bytes, kPageSize) == 0;
    });
  }

  // Makes the call; what it reaches is told before it does.
  Outputs Make(const std::function<void(const Reached&)>& reach, const Stops::Action& at_each) {
    on.space.Watch([&](unsigned, Access access, std::byte* at, std::uint64_t length) {
      stops.Place();
      reach({access, {at, length}});
      return Fault::kNone;
    });
    WatchTime();
    on.machine.on_physmap_change = [this] { stops.Place(); };
    Outputs outputs;
    outputs.answer = stops.During(at_each, [this] {
      HypercallFrame frame = frame_;
      std::int64_t answer = on.machine.hypervisor.Hypercall(*on.caller, frame);
      while (frame.continued) {
        stops.PlaceBetweenLegs();
        answer = on.machine.hypervisor.Hypercall(*on.caller, frame);
      }
      return answer;
    });
    on.space.WatchNothing();
    on.machine.meanwhile = nullptr;
    on.machine.on_physmap_change = nullptr;
    for (std::size_t at = 0; at < region_.size() * kPageSize; at += kPageSize) {
      const auto page = on.arguments().subspan(at);
      std::memcpy(page.data(), region_[at / kPageSize], std::min(page.size(), kPageSize));
    }
    outputs.arguments.assign(on.arguments().begin(), on.arguments().end());
    outputs.console = on.machine.console;
    return outputs;
  }

  std::span<std::byte> pool() {
    return {on.machine.BytesOf(options_.pool_begin >> kPageShift), options_.pool_bytes};
  }
  // As they were before the call.
  const std::vector<std::byte>& arguments() const { return prepared_.arguments; }

  // Whether no lock of more than a moment is held: where guest memory may be reached.
  bool HoldsNothing() const {
    return std::ranges::all_of(stops.held(),
                               [this](const SpinLock* lock) { return lock == control_; });
  }

  // Whether the control lock has been wanted since the last time that this was asked.
  bool HasWantedControl() { return stops.TakeWanted().contains(control_); }

  Stops stops;
  CallsMachine on;
  Others others;
  std::uint16_t target = 0;

 private:
  struct State {
    struct Page {
      std::byte* place;
      const std::byte* bytes;
    };

    std::vector<std::byte> pool;
    std::vector<Page> pages;  // of it
    std::vector<std::byte> arguments;
    std::string console;
    std::uint64_t now = 0;
  };

  void Save(State& state) {
    state.pool.assign(pool().begin(), pool().end());
    state.pages.clear();
    for (std::size_t at = 0; at != state.pool.size(); at += kPageSize) {
      const std::byte* const page = &state.pool[at];
      // One that nobody has had yet is cleared before somebody gets it.
      const bool is_new =
          page[0] == std::byte{0xa5} && std::memcmp(page, page + 1, kPageSize - 1) == 0;
      if (!is_new) state.pages.push_back({&pool()[at], page});
    }
    state.arguments.assign(on.arguments().begin(), on.arguments().end());
    state.console = on.machine.console;
    state.now = on.machine.now;
  }
  void Restore(const State& state) {
    for (const State::Page& page : state.pages) {
      std::memcpy(page.place, page.bytes, kPageSize);
    }
    std::copy(state.arguments.begin(), state.arguments.end(), on.arguments().begin());
    on.machine.console = state.console;
    on.machine.now = state.now;
  }
  // The arguments lie in memory of the caller's, at the same addresses, and in front of them the
  // table of a region; behind them is a page of room.
  void MoveIntoRegion(bool is_registered) {
    constexpr std::uint64_t kTableGfn = 20;
    const std::uint64_t pages = AlignUp(on.arguments().size(), kPageSize) >> kPageShift;
    const std::uint64_t start = reinterpret_cast<std::uint64_t>(on.arguments().data());
    const auto layout = RegionLayout::Make({start - kPageSize}, (pages + 2) << kPageShift, 12);
    LockedMemory memory = on.machine.hypervisor.LockedMemoryOf(*on.caller);
    const PhysicalAddress place = {kTableGfn << kPageShift};
    const auto table = RegionTable<LockedMemory>::Build(memory, *layout, kNativeOrder, {&place, 1});
    ASSERT_TRUE(table.ok());
    for (std::uint64_t i = 1; i != pages + 2; ++i) {
      // In reverse, so that neighbours are none.
      const std::uint64_t gfn = kTableGfn + pages + 2 - i;
      ASSERT_TRUE(table->Back(i, {gfn << kPageShift}).ok());
      if (i > pages) break;
      const std::uint64_t mfn =
          on.machine.hypervisor.FrameOf(on.caller == on.guest ? kGuest : 0, gfn);
      region_.push_back(on.machine.BytesOf(mfn));
      const auto page = on.arguments().subspan((i - 1) << kPageShift);
      std::memcpy(region_.back(), page.data(), std::min(page.size(), kPageSize));
    }
    frame_.index |= kRegionCall;
    frame_.region = table->handle().value;
    if (is_registered) {
      const std::int64_t handle = on.machine.hypervisor.Call(
          *on.caller, on.Frame(kXencommOp, XencommOp::kRegister, frame_.region, 1));
      ASSERT_GT(handle, 0);
      frame_.region = static_cast<std::uint64_t>(handle);
    }
    others.Know(frame_.region, {start + (pages << kPageShift)});
  }
  void WatchTime() {
    on.machine.meanwhile = [this] {
      WatchTime();
      stops.Place();
      // Who else asks makes no difference.
      on.machine.now = prepared_.now;
    };
  }

  const TestMachineOptions options_;
  const SpinLock* control_;
  Locks common_;
  HypercallFrame frame_;
  std::vector<std::byte*> region_;  // the arguments' pages, when they lie in one
  State start_;
  State prepared_;
};

constexpr TestMachineOptions Options(unsigned preempt_interval) {
  return {.pool_bytes = std::uint64_t{4} << 20,
          .pages = 64,
          .preempt_interval = preempt_interval,
          .dom0_scales_frequency = true};
}

class InterleavingTest : public testing::TestWithParam<WorkingCall> {
 protected:
  static void TearDownTestSuite() { machines_.clear(); }

  // One for all tests, of legs so long.
  static Rewound& Machine(unsigned preempt_interval) {
    auto& machine = machines_[preempt_interval];
    if (machine == nullptr) machine = std::make_unique<Rewound>(Options(preempt_interval));
    return *machine;
  }
  void CheckEvents(Rewound& machine, const CallSetup& setup, bool between_legs = false);

 private:
  static inline std::map<unsigned, std::unique_ptr<Rewound>> machines_;
};

// Pages of one domain, mapped by domain 0 for another, either of which may end.
HypercallFrame MapForAnother(CallsMachine& on, std::uint16_t target) {
  constexpr unsigned kPages = 2;
  auto* batch = on.Put<xen_add_to_physmap_batch>();
  batch->domid = target;
  batch->space = XENMAPSPACE_gmfn_foreign;
  batch->u.foreign_domid = kPv;
  batch->size = kPages;
  batch->idxs.p = on.PutArray<xen_ulong_t>(kPages);
  batch->gpfns.p = on.PutArray<xen_pfn_t>(kPages);
  batch->errs.p = on.PutArray<int>(kPages);
  for (unsigned i = 0; i != kPages; ++i) {
    batch->idxs.p[i] = on.pv_frames[i];
    batch->gpfns.p[i] = 512 + i;
  }
  return on.Frame(__HYPERVISOR_memory_op, XENMEM_add_to_physmap_batch, batch);
}

std::vector<WorkingCall> Calls() {
  std::vector<WorkingCall> calls = AllWorkingCalls();
  calls.push_back({.name = "memory_op.add_to_physmap_batch.for_another",
                   .hypercall = __HYPERVISOR_memory_op,
                   .op = XENMEM_add_to_physmap_batch,
                   .may = May::kControl,
                   .prepare = MapForAnother});
  return calls;
}

INSTANTIATE_TEST_SUITE_P(, InterleavingTest, testing::ValuesIn(Calls()),
                         [](const auto& each) { return NameOf(each.param); });

// Ways in which another vcpu changes the bytes that were just read.
struct Change {
  const char* name;
  std::byte (*changed)(std::byte);
};
constexpr Change kChanges[] = {
    {"all ones", [](std::byte) { return std::byte{0xff}; }},
    {"zeroes", [](std::byte) { return std::byte{}; }},
    {"one more", [](std::byte byte) { return std::byte(std::to_integer<unsigned>(byte) + 1); }},
    {"one less", [](std::byte byte) { return std::byte(std::to_integer<unsigned>(byte) - 1); }},
};

// Toolstacks' calls come one after the other: what they change has no other lock.
TEST_P(InterleavingTest, ToolstacksTakeTurns) {
  const WorkingCall& call = GetParam();
  constexpr unsigned kOfToolstacks[] = {__HYPERVISOR_domctl, __HYPERVISOR_sysctl,
                                        __HYPERVISOR_platform_op};
  if (std::ranges::find(kOfToolstacks, call.hypercall) == std::end(kOfToolstacks)) return;
  // Domains are counted without end, and each is told of as it is at its moment.
  if (call.hypercall == __HYPERVISOR_domctl && call.op == XEN_DOMCTL_getdomaininfo) return;
  Rewound& machine = Machine(1 << 20);
  machine.Prepare(call, {});
  machine.HasWantedControl();
  machine.Make([](const Reached&) {}, [] {});
  EXPECT_TRUE(machine.HasWantedControl());
}

// What a call has read is what it uses: as soon as it has read a byte the byte changes, and nothing
// becomes of it.
TEST_P(InterleavingTest, WhatItHasReadMayChange) {
  const WorkingCall& call = GetParam();
  Rewound& machine = Machine(1 << 20);
  machine.Prepare(call, {});

  std::vector<bool> read(machine.arguments().size());
  std::byte* const arguments = machine.on.arguments().data();
  const Outputs expected = machine.Make(
      [&](const Reached& reached) {
        EXPECT_TRUE(machine.HoldsNothing()) << "guest memory is reached with a lock held";
        if (reached.access == Access::kWrite) return;
        for (std::byte& byte : reached.bytes) {
          const auto at = static_cast<std::size_t>(&byte - arguments);
          if (at >= read.size()) continue;
          EXPECT_FALSE(read[at]) << "byte " << at << " of the arguments is read a second time";
          read[at] = true;
        }
      },
      [] {});
  const std::vector<std::byte> pool(machine.pool().begin(), machine.pool().end());

  for (const Change& change : kChanges) {
    SCOPED_TRACE(change.name);
    machine.Rewind();
    std::map<std::byte*, std::byte> changed;
    std::vector<std::span<std::byte>> just_read;
    const Outputs outputs = machine.Make(
        [&](const Reached& reached) {
          if (reached.access == Access::kRead) just_read.push_back(reached.bytes);
        },
        [&] {
          for (const auto& bytes : std::exchange(just_read, {})) {
            for (std::byte& byte : bytes) changed[&byte] = byte = change.changed(byte);
          }
        });
    EXPECT_EQ(outputs.answer, expected.answer);
    EXPECT_EQ(outputs.console, expected.console);
    EXPECT_EQ(std::memcmp(machine.pool().data(), pool.data(), pool.size()), 0) << "another state";
    for (std::size_t i = 0; i < outputs.arguments.size(); ++i) {
      const auto by_other = changed.find(arguments + i);
      const bool stays_changed = by_other != changed.end() &&
                                 expected.arguments[i] == machine.arguments()[i] &&
                                 outputs.arguments[i] == by_other->second;
      if (stays_changed || outputs.arguments[i] == expected.arguments[i]) continue;
      ADD_FAILURE() << "another output, at byte " << i << " of the arguments";
      break;
    }
  }
}

// What became of a call in the company of an event.
struct Ended {
  std::int64_t outcome = 0;
  std::vector<std::byte> arguments;
  std::string seen;
  std::uint32_t dirty = 0;

  friend std::ostream& operator<<(std::ostream& out, const Ended& ended) {
    return out << ended.outcome << "; " << ended.seen << ", " << ended.dirty << " dirty";
  }
};

// Calls with parts of their own, each of which comes before or behind.
bool IsOfParts(const WorkingCall& call) {
  using Op = std::pair<std::uint64_t, std::uint64_t>;
  static const std::set<Op> kOps = {
      {__HYPERVISOR_domctl, XEN_DOMCTL_destroydomain},
      {__HYPERVISOR_domctl, XEN_DOMCTL_set_paging_mempool_size},
      {__HYPERVISOR_domctl, XEN_DOMCTL_setvcpucontext},
      {__HYPERVISOR_domctl, XEN_DOMCTL_shadow_op},
      {__HYPERVISOR_event_channel_op, EVTCHNOP_reset},
      {__HYPERVISOR_memory_op, XENMEM_add_to_physmap},
      {__HYPERVISOR_memory_op, XENMEM_add_to_physmap_batch},
      {__HYPERVISOR_memory_op, XENMEM_decrease_reservation},
      {__HYPERVISOR_memory_op, XENMEM_exchange},
      {__HYPERVISOR_memory_op, XENMEM_increase_reservation},
      {__HYPERVISOR_memory_op, XENMEM_populate_physmap},
      {__HYPERVISOR_memory_op, XENMEM_set_pod_target},
      {__HYPERVISOR_mmuext_op, 0},
      {__HYPERVISOR_multicall, 0},
  };
  return kOps.contains({call.hypercall, call.op});
}

// Calls that tell who ran for how long: by samples, of which an event that asks is one more.
bool TellsTimes(const WorkingCall& call) {
  using Op = std::pair<std::uint64_t, std::uint64_t>;
  static const std::set<Op> kOps = {
      {__HYPERVISOR_domctl, XEN_DOMCTL_getdomaininfo},
      {__HYPERVISOR_platform_op, XENPF_getidletime},
      {__HYPERVISOR_sysctl, XEN_SYSCTL_getcpuinfo},
  };
  return kOps.contains({call.hypercall, call.op});
}

// Whether a call that had company ended like one that had not, before it or behind.
bool IsLikeOne(const WorkingCall& call, const CallSetup& setup, const Event& event,
               const Ended& ended, const std::vector<Ended>& serial) {
  // Nobody is there any more to be answered.
  if (setup.by_guest && event.ends_target) return true;
  const auto is_same = [&](const Ended& each) {
    if (ended.outcome != each.outcome) return false;
    // How much memory there is depends on what waits for the call.
    if (event.takes_memory) return true;
    // What nobody could note counts as written.
    return (ended.arguments == each.arguments || TellsTimes(call)) && ended.seen == each.seen &&
           ended.dirty >= each.dirty;
  };
  if (std::ranges::any_of(serial, is_same)) return true;
  const bool is_seen = std::ranges::find(serial, ended.seen, &Ended::seen) != serial.end();
  if (event.can_be_refused && is_seen &&
      std::ranges::find(serial, ended.outcome, &Ended::outcome) != serial.end()) {
    return true;
  }
  // A grant is mapped with a handle, and in a place: what there is no memory for, it says.
  if (event.takes_memory && ended.outcome == GNTST_general_error &&
      std::ranges::find(serial, GNTST_no_space, &Ended::outcome) != serial.end()) {
    return true;
  }
  // The caller's own memory went, half way.
  if (setup.by_guest && (ended.outcome == -kEFAULT || ended.outcome == GNTST_bad_virt_addr)) {
    return true;
  }
  // Ports were opened behind its back.
  if (call.hypercall == __HYPERVISOR_event_channel_op && call.op == EVTCHNOP_reset &&
      ended.outcome == -kEAGAIN) {
    return true;
  }
  // What it found was going, or gone.
  constexpr std::int64_t kRefusals[] = {-kESRCH, -kEINVAL, -kEBUSY, GNTST_bad_page};
  const bool is_refused = std::ranges::find(kRefusals, ended.outcome) != std::end(kRefusals);
  if (IsOfParts(call)) {
    // What is done of it is counted; an error that it ends with is one of theirs.
    const auto [least, most] = std::ranges::minmax(serial, {}, &Ended::outcome);
    const bool is_between = least.outcome <= ended.outcome && ended.outcome <= most.outcome;
    return is_refused || (ended.outcome >= 0 && is_between) ||
           std::ranges::find(serial, ended.outcome, &Ended::outcome) != serial.end();
  }
  return is_refused && (event.takes_memory || is_seen);
}

// All but the first, where nothing has begun; of those in long loops not all.
std::vector<unsigned> PlacesToTry(std::size_t count) {
  constexpr unsigned kEach = 12;
  std::vector<unsigned> places;
  for (unsigned place = 1; place < count; place += place < kEach ? 1 : place / 4) {
    places.push_back(place);
  }
  return places;
}

// At most so many of them, from the first to the last.
std::vector<unsigned> Some(const std::vector<unsigned>& places, std::size_t most) {
  if (places.size() <= most) return places;
  std::vector<unsigned> some;
  for (std::size_t i = 0; i != most; ++i) {
    some.push_back(places[i * (places.size() - 1) / (most - 1)]);
  }
  return some;
}

// Each event at each place: the call does not crash, nothing is lost, and it is as if the event had
// come before the call or behind it.
void InterleavingTest::CheckEvents(Rewound& machine, const CallSetup& setup, bool between_legs) {
  const WorkingCall& call = GetParam();
  machine.Prepare(call, setup);
  const bool is_direct = setup.space == CallSetup::Space::kDirect;

  const auto make = [&](const Stops::Action& at_each) {
    const Outputs outputs = machine.Make([](const Reached&) {}, at_each);
    Ended ended = {
        .outcome = outputs.answer, .arguments = outputs.arguments, .seen = "", .dirty = 0};
    if (ended.outcome >= 0 && call.result != nullptr) ended.outcome = call.result(machine.on);
    // Which frame somebody gets depends on who comes first.
    constexpr std::uint64_t kFirst = TestMachineOptions().pool_begin >> kPageShift;
    const std::span<std::byte> bytes = ended.arguments;
    for (std::size_t at = 0; at + 8 <= bytes.size(); at += 8) {
      const auto word = LoadField<std::uint64_t>(&bytes[at], kNativeOrder);
      if (word - kFirst < 1024) StoreField(&bytes[at], kFirst, kNativeOrder);
    }
    return ended;
  };
  const auto finish = [&](Ended& ended) {
    ended.dirty = machine.others.Dirty(machine.target);
    ended.seen = machine.others.Seen();
    machine.on.machine.ExpectBooksAddUp(false);
    machine.others.Finish();
    machine.on.machine.ExpectBooksAddUp();
  };

  std::vector<Locks> held;
  std::vector<unsigned> legs_end;
  machine.stops.TakeWanted();
  const Ended alone = make([&] {
    if (machine.stops.is_between_legs()) legs_end.push_back(machine.stops.places());
    held.push_back(machine.stops.held());
  });
  const Locks of_call = machine.stops.TakeWanted();
  // What leads out of the region is tested elsewhere.
  if (!is_direct && alone.outcome == -kEFAULT) return;
  const std::vector<unsigned> places = between_legs ? Some(legs_end, 4) : PlacesToTry(held.size());
  if (places.empty()) return;

  for (const Event& event : kEvents) {
    SCOPED_TRACE(event.name);
    if (event.when == When::kBetweenLegs && !between_legs) continue;
    const bool can_be = is_direct ? event.when != When::kInRegion : event.when >= When::kAnytime;
    if (!can_be) continue;
    Locks wanted;  // by the event, wherever it happens
    const auto happen = [&](std::size_t first, std::size_t end) {
      machine.stops.TakeWanted();
      for (std::size_t i = first; i != end; ++i) event.steps[i](machine.others, machine.target);
      wanted.merge(machine.stops.TakeWanted());
    };

    machine.Rewind();
    happen(0, event.steps.size());
    const bool meet = machine.MeetIn(wanted, of_call);
    if (machine.IsRewound() || (event.is_apart && !meet)) continue;

    // One behind the other, in each order.
    std::vector<Ended> serial;
    const auto make_behind = [&](std::size_t steps) {
      machine.Rewind();
      happen(0, steps);
      serial.push_back(make([] {}));
      happen(steps, event.steps.size());
      finish(serial.back());
    };
    make_behind(0);
    make_behind(event.steps.size());
    // Neither has to do with the other.
    if (!meet && !between_legs && serial[0].outcome == serial[1].outcome &&
        serial[0].arguments == serial[1].arguments) {
      continue;
    }
    for (std::size_t steps = 1; steps < event.steps.size(); ++steps) make_behind(steps);

    for (const unsigned place : places) {
      if (std::ranges::any_of(held[place], [&](auto* lock) { return wanted.contains(lock); })) {
        continue;
      }
      machine.Rewind();
      Ended ended = make([&] {
        if (machine.stops.places() == place) happen(0, event.steps.size());
      });
      finish(ended);
      if (IsLikeOne(call, setup, event, ended, serial)) continue;
      ADD_FAILURE() << "at place " << place << " of " << held.size() << ": " << ended
                    << "\none behind the other: " << testing::PrintToString(serial);
    }
  }
}

TEST_P(InterleavingTest, OthersComeBeforeOrBehind) { CheckEvents(Machine(16), {}); }

TEST_P(InterleavingTest, OthersComeBeforeOrBehindAGuestsCall) {
  if (GetParam().may == May::kControl) return;
  CheckEvents(Machine(16), {.by_guest = true});
}

TEST_P(InterleavingTest, OthersComeBeforeOrBehindEachLeg) { CheckEvents(Machine(1), {}, true); }

TEST_P(InterleavingTest, OthersComeBeforeOrBehindInARegion) {
  if (GetParam().hypercall == kXencommOp || GetParam().may == May::kControl) return;
  for (const auto space : {CallSetup::Space::kStateless, CallSetup::Space::kRegistered}) {
    CheckEvents(Machine(16), {.space = space, .by_guest = true, .is_logged = true});
  }
}

}  // namespace
}  // namespace xencomm::hypervisor
