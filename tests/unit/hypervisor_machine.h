// A machine for tests of the embedded hypervisor: memory of the process, a domain 0 whose raw
// pointers are the process's own, and calls as a kernel makes them.
#ifndef TESTS_UNIT_HYPERVISOR_MACHINE_H_
#define TESTS_UNIT_HYPERVISOR_MACHINE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "hcall/hypervisor/base/errno.h"
#include "hcall/hypervisor/domain/grant_entry.h"
#include "hcall/hypervisor/hypervisor.h"
#include "hcall/schema/generated/types.h"
#include "tests/unit/hypervisor_books.h"
#include "xencomm/space.h"

namespace xencomm::hypervisor {

// Pointers are addresses of this process. Null faults, as a page that is not mapped would.
class DirectSpace final : public Space {
 public:
  Mapping Resolve(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length, Access,
                  Cursor*) override {
    if (pointer.value < kPageSize) return Fault::kNotPresent;
    return {reinterpret_cast<std::byte*>(pointer.value + offset), length};
  }
};

struct TestMachineOptions {
  std::uint64_t pool_bytes = std::uint64_t{64} << 20;
  // The pool's machine address. Not 0: a machine address taken for an offset shows.
  std::uint64_t pool_begin = std::uint64_t{1} << 30;
  std::uint64_t own_bytes = 0;  // of the pool, that no domain gets; 0: it is not divided
  bool pool_is_zero = false;
  schema::Releases release = schema::kBaseRelease;
  std::uint64_t pages = 256;  // of domain 0
  std::uint64_t own_pages = 0;
  unsigned cpus = 2;
  unsigned max_domains = ~0u;
  unsigned vcpus = 2;
  unsigned preempt_interval = 4096;
  std::uint64_t max_overhead_pages = 4096;
  SpaceKind space = SpaceKind::kRaw;
  ByteOrder order = kNativeOrder;
  bool privileged = true;
  bool reaches_frames = false;
  bool dom0_scales_frequency = false;
};

class TestMachine final : public Machine {
 public:
  // What the pool is full of at first.
  static constexpr unsigned char kNeverCleared = 0xa5;

  explicit TestMachine(const TestMachineOptions& options = {})
      : order(options.order),
        memory_(static_cast<std::byte*>(std::aligned_alloc(kAlignment, options.pool_bytes)),
                &std::free),
        pool_begin_(options.pool_begin) {
    // Not zero, so that memory which was not cleared shows.
    std::memset(memory_.get(), options.pool_is_zero ? 0 : kNeverCleared, options.pool_bytes);
    const MachineConfig config = {
        .memory = reinterpret_cast<std::uintptr_t>(memory_.get()) - pool_begin_,
        .pool_begin = pool_begin_,
        .pool_end = pool_begin_ + options.pool_bytes,
        .own_end = options.own_bytes != 0 ? pool_begin_ + options.own_bytes : 0,
        .pool_is_zero = options.pool_is_zero,
        .release = options.release,
        .cpus = options.cpus,
        .max_domains = options.max_domains,
        .preempt_interval = options.preempt_interval,
        .dom0_scales_frequency = options.dom0_scales_frequency,
        .max_overhead_pages = options.max_overhead_pages,
    };
    init_result = hypervisor.Init(config, *this);
    build_result = hypervisor.BuildDomain({.id = 0,
                                           .pages = options.pages,
                                           .own_pages = options.own_pages,
                                           .vcpus = options.vcpus,
                                           .order = options.order,
                                           .space = options.space,
                                           .reaches_frames = options.reaches_frames,
                                           .privileged = options.privileged});
    vcpu = hypervisor.ClaimVcpu(0, 0);
    if (vcpu != nullptr) hypervisor.SetRawSpace(*vcpu, direct);
  }

  ~TestMachine() {
    if (init_result == 0) ExpectBooksAddUp();
  }
  TestMachine(const TestMachine&) = delete;
  TestMachine& operator=(const TestMachine&) = delete;

  // While no call is under way.
  void ExpectBooksAddUp(bool looks_at_bytes = true) {
    const BooksOptions options = {.held_by_machine = held_, .looks_at_bytes = looks_at_bytes};
    for (const std::string& fault : Books::Faults(hypervisor, options)) ADD_FAILURE() << fault;
  }

  std::uint64_t NowNanoseconds() override {
    if (meanwhile) std::exchange(meanwhile, nullptr)();
    return now += 1000;
  }
  void WriteConsole(std::string_view text) override { console += text; }
  bool Discard(MachineAddress start, std::uint64_t bytes) override {
    return on_discard && on_discard(start, bytes);
  }
  void PhysmapChanged(std::uint16_t, std::uint64_t, std::uint64_t, Access) override {
    if (on_physmap_change) on_physmap_change();
  }

  void Upcall(std::uint16_t domain, unsigned upcalled) override {
    if (on_upcall) on_upcall(domain, upcalled);
  }
  void Unimplemented(std::uint64_t hypercall, std::uint64_t op) override {
    missing.push_back({hypercall, op});
  }

  template <class... Arguments>
  HypercallFrame Frame(std::uint64_t index, Arguments... arguments) {
    HypercallFrame frame;
    frame.index = index;
    std::uint64_t values[] = {Register(arguments)..., 0};
    for (unsigned i = 0; i < sizeof...(arguments); ++i) frame.arguments[i] = values[i];
    return frame;
  }

  // A call of vcpu 0 of domain 0, continued until it is done.
  template <class... Arguments>
  std::int64_t Call(std::uint64_t index, Arguments... arguments) {
    return Called(hypervisor.Call(*vcpu, Frame(index, arguments...)));
  }
  // What a call answered. One that was refused has left the books in order: looked at after the
  // first hundred, and then after every hundredth.
  std::int64_t Called(std::int64_t answer) {
    if (answer < 0 && !has_threads && (++refusals_ < 100 || refusals_ % 100 == 0) &&
        Books::IsQuiet(hypervisor)) {
      ExpectBooksAddUp(false);
    }
    return answer;
  }

  std::int64_t Domctl(std::uint32_t cmd, std::uint16_t domain, xen_domctl_t& op) {
    op.cmd = cmd;
    op.interface_version = XEN_DOMCTL_INTERFACE_VERSION;
    op.domain = domain;
    return Call(__HYPERVISOR_domctl, &op);
  }
  std::int64_t Domctl(std::uint32_t cmd, std::uint16_t domain) {
    xen_domctl_t op = {};
    return Domctl(cmd, domain, op);
  }
  std::int64_t Sysctl(std::uint32_t cmd, xen_sysctl_t& op) {
    op.cmd = cmd;
    op.interface_version = XEN_SYSCTL_INTERFACE_VERSION;
    return Call(__HYPERVISOR_sysctl, &op);
  }

  static xen_domctl_t CreateRequest(std::uint32_t flags = 0, unsigned max_vcpus = 1) {
    xen_domctl_t op = {};
    op.u.createdomain.flags = flags;
    op.u.createdomain.max_vcpus = max_vcpus;
    op.u.createdomain.max_evtchn_port = 1023;
    op.u.createdomain.max_grant_frames = -1;
    op.u.createdomain.max_maptrack_frames = -1;
    op.u.createdomain.grant_opts = 1;
    if ((flags & XEN_DOMCTL_CDF_hvm) != 0) {
      op.u.createdomain.arch.emulation_flags = XEN_X86_EMU_LAPIC;
    }
    return op;
  }
  // A domain with room for `pages` and its vcpus, or a negative errno.
  std::int64_t CreateDomain(std::uint16_t id, std::uint64_t pages, std::uint32_t flags = 0,
                            unsigned max_vcpus = 1) {
    xen_domctl_t create = CreateRequest(flags, max_vcpus);
    std::int64_t result = Domctl(XEN_DOMCTL_createdomain, id, create);
    if (result != 0) return result;
    const std::uint16_t chosen = create.domain;
    xen_domctl_t op = {};
    op.u.max_vcpus.max = max_vcpus;
    result = Domctl(XEN_DOMCTL_max_vcpus, chosen, op);
    if (result != 0) return result;
    op = {};
    op.u.max_mem.max_memkb = pages << 2;
    result = Domctl(XEN_DOMCTL_max_mem, chosen, op);
    return result != 0 ? result : chosen;
  }

  // Maps a frame of `source` at a gfn of `domain`'s, as a control domain does: what became of it.
  int MapForeign(std::uint16_t domain, std::uint64_t gfn, std::uint16_t source,
                 std::uint64_t frame) {
    std::uint64_t index = frame;
    xen_pfn_t where = gfn;
    int error = 7;
    xen_add_to_physmap_batch batch = {};
    batch.domid = domain;
    batch.space = XENMAPSPACE_gmfn_foreign;
    batch.u.foreign_domid = source;
    batch.size = 1;
    batch.idxs.p = &index;
    batch.gpfns.p = &where;
    batch.errs.p = &error;
    EXPECT_EQ(Call(__HYPERVISOR_memory_op, XENMEM_add_to_physmap_batch, &batch), 0);
    return error;
  }

  // A frame, as the machine holds it.
  std::int64_t HoldFrame(std::uint16_t domain, std::uint64_t frame, Access access,
                         std::uint64_t* mfn) {
    const std::int64_t answer = hypervisor.HoldFrame(domain, frame, access, mfn);
    if (answer == 0) ++held_;
    return answer;
  }
  void ReleaseFrame(std::uint64_t mfn) {
    --held_;
    hypervisor.ReleaseFrame(mfn);
  }

  // Frame `index` of a domain's grant table, which grows so far; null: there is none.
  std::byte* GrantFrame(std::uint16_t domain, std::uint64_t index = 0) {
    const Resource table = {.type = XENMEM_resource_grant_table,
                            .id = XENMEM_resource_grant_table_id_shared};
    std::uint64_t mfn;
    if (hypervisor.HoldResourceFrame(domain, table, index, &mfn) != 0) return nullptr;
    hypervisor.ReleaseFrame(mfn);
    return BytesOf(mfn);
  }
  // Writes grant `ref` of a domain whose table has version 1.
  void Grant(std::uint16_t domain, std::uint32_t ref, std::uint16_t grantee, std::uint64_t frame,
             int flags = GTF_permit_access) {
    constexpr std::uint32_t kOfFrame = kPageSize / sizeof(grant_entry_v1_t);
    std::byte* const entry = GrantFrame(domain, ref / kOfFrame);
    if (entry == nullptr) return;
    const GrantEntry written(entry + ref % kOfFrame * sizeof(grant_entry_v1_t), nullptr, order);
    written.Store(static_cast<std::uint16_t>(flags), grantee, frame);
  }

  static xen_memory_reservation Reservation(std::uint16_t domain, xen_pfn_t* extents,
                                            std::uint64_t count, unsigned order = 0) {
    xen_memory_reservation reservation = {};
    reservation.extent_start.p = extents;
    reservation.nr_extents = count;
    reservation.extent_order = order;
    reservation.domid = domain;
    return reservation;
  }

  std::byte* BytesOf(std::uint64_t mfn) {
    return memory_.get() + ((mfn << kPageShift) - pool_begin_);
  }

  const ByteOrder order;  // of all domains
  DirectSpace direct;
  Hypervisor hypervisor;
  Vcpu* vcpu = nullptr;
  std::int64_t init_result = 0;
  std::int64_t build_result = 0;
  std::atomic<std::uint64_t> now = 0;
  // What happens in the middle of the next call that asks for the time: what another vcpu does.
  std::function<void()> meanwhile;
  std::string console;
  std::function<bool(MachineAddress, std::uint64_t)> on_discard;
  std::function<void()> on_physmap_change;                       // with the domain's lock held
  std::function<void(std::uint16_t, unsigned)> on_upcall;        // with the events' lock held
  std::vector<std::pair<std::uint64_t, std::uint64_t>> missing;  // hypercall and op
  bool has_threads = false;                                      // that call at the same time

 private:
  static constexpr std::size_t kAlignment = std::size_t{2} << 20;

  template <class T>
  static std::uint64_t Register(T* pointer) {
    return reinterpret_cast<std::uint64_t>(pointer);
  }
  template <class T>
  requires(!std::is_pointer_v<T>) static std::uint64_t Register(T value) {
    return static_cast<std::uint64_t>(value);
  }

  std::unique_ptr<std::byte, decltype(&std::free)> memory_;
  std::uint64_t pool_begin_;
  std::atomic<std::uint64_t> held_ = 0;  // frames, by HoldFrame
  unsigned refusals_ = 0;
};

}  // namespace xencomm::hypervisor

#endif  // TESTS_UNIT_HYPERVISOR_MACHINE_H_
