#include "tests/qemu/scenario/scenario.h"

#include <string.h>

#include "hcall/schema/generated/xen.h"

namespace qemu {
namespace {

using namespace xencomm::xen;

constexpr uint64_t kProcessors = 4;      // of the machine, wherever it is
constexpr uint16_t kGuest = 7;           // the domain that is made and ended
constexpr uint64_t kGuestPages = 3000;   // its limit
constexpr uint64_t kMulticalls = 60000;  // 64 bytes each

class Scenario {
 public:
  Scenario(World& world, Record& record) : world_(world), record_(record) {}

  void Run() {
    AskVersion();
    AskMachine();
    AskPlatform();
    MakeDomain();
    BindVcpus();
    GiveMemory();
    ListDomains();
    CallManyInOne();
    Refusals();
    EndDomain();
    record_.End();
  }

 private:
  // Every handle is a pointer of 64 bits, whatever it points at.
  template <class Handle>
  void SetHandle(Handle& handle, const void* buffer, uint64_t bytes) {
    const uint64_t pointer = world_.Handle(buffer, bytes);
    static_assert(sizeof(handle) == sizeof(pointer));
    memcpy(&handle, &pointer, sizeof(pointer));
  }

  template <class Handle>
  static uint64_t Bits(const Handle& handle) {
    uint64_t bits;
    static_assert(sizeof(handle) == sizeof(bits));
    memcpy(&bits, &handle, sizeof(bits));
    return bits;
  }

  template <class T>
  static bool IsUntouched(const T* buffer, uint64_t count) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(buffer);
    for (uint64_t i = 0; i < count * sizeof(T); ++i) {
      if (bytes[i] != World::kUntouched) return false;
    }
    return true;
  }

  int64_t Version(unsigned cmd, void* argument, uint64_t bytes) {
    const uint64_t pointer = argument == nullptr ? 0 : world_.Handle(argument, bytes);
    return world_.Hypercall(__HYPERVISOR_xen_version, cmd, pointer);
  }

  int64_t Domctl(xen_domctl& op) {
    op.interface_version = XEN_DOMCTL_INTERFACE_VERSION;
    return world_.Hypercall(__HYPERVISOR_domctl, world_.Handle(&op, sizeof(op)));
  }

  int64_t Sysctl(xen_sysctl& op) {
    op.interface_version = XEN_SYSCTL_INTERFACE_VERSION;
    return world_.Hypercall(__HYPERVISOR_sysctl, world_.Handle(&op, sizeof(op)));
  }

  template <class T>
  int64_t MemoryOp(unsigned cmd, T& argument) {
    return world_.Hypercall(__HYPERVISOR_memory_op, cmd,
                            world_.Handle(&argument, sizeof(argument)));
  }

  // `straddle` bytes of the structure lie in one page, the rest in the next.
  xen_domctl& NewDomctl(uint32_t cmd, uint64_t straddle = 0) {
    auto* op = world_.New<xen_domctl>(1, straddle);
    memset(op, 0, sizeof(*op));
    op->cmd = cmd;
    op->domain = kGuest;
    return *op;
  }

  xen_sysctl& NewSysctl(uint32_t cmd, uint64_t straddle = 0) {
    auto* op = world_.New<xen_sysctl>(1, straddle);
    memset(op, 0, sizeof(*op));
    op->cmd = cmd;
    return *op;
  }

  template <size_t size>
  void AskText(const char* step, unsigned cmd) {
    // One byte of the text in the first page, the others in the next.
    auto* text = world_.New<char>(size + 8, 1);
    const int64_t answer = Version(cmd, text, size);
    record_.Step(step, {Number(answer), DigestOf(text, size), IsUntouched(text + size, 8)});
  }

  void AskVersion() {
    record_.Step("version", {Number(Version(XENVER_version, nullptr, 0))});
    AskText<XEN_EXTRAVERSION_LEN>("extraversion", XENVER_extraversion);
    AskText<XEN_CAPABILITIES_INFO_LEN>("capabilities", XENVER_capabilities);
    AskText<XEN_CHANGESET_INFO_LEN>("changeset", XENVER_changeset);
    AskText<sizeof(xen_domain_handle_t)>("guest_handle", XENVER_guest_handle);
    AskText<1024>("commandline", XENVER_commandline);

    auto* start = world_.New<char>(sizeof(uint64_t), 3);
    uint64_t value;
    const int64_t answer = Version(XENVER_platform_parameters, start, sizeof(value));
    memcpy(&value, start, sizeof(value));
    record_.Step("platform_parameters", {Number(answer), value});

    auto* features = world_.New<xen_feature_info>(1, 4);
    features->submap_idx = 0;
    const int64_t known = Version(XENVER_get_features, features, sizeof(*features));
    record_.Step("get_features", {Number(known), features->submap_idx, features->submap});
    features->submap_idx = 1;
    record_.Step("get_features_beyond",
                 {Number(Version(XENVER_get_features, features, sizeof(*features)))});

    record_.Step("pagesize", {Number(Version(XENVER_pagesize, nullptr, 0))});
    record_.Step("build_id_size", {Number(Version(XENVER_build_id, nullptr, 0))});
    auto* id = world_.New<xen_build_id>(16, 8);
    id->len = 2;
    record_.Step("build_id_short", {Number(Version(XENVER_build_id, id, 16 * sizeof(*id)))});
    id->len = 40;
    const int64_t bytes = Version(XENVER_build_id, id, 16 * sizeof(*id));
    record_.Step("build_id", {Number(bytes), DigestOf(reinterpret_cast<const char*>(id->buf), 20)});
    record_.Step("version_unknown", {Number(Version(99, id, sizeof(*id)))});
    world_.FreeAll();
  }

  void AskMachine() {
    xen_sysctl& scheduler = NewSysctl(XEN_SYSCTL_sched_id, 8);
    const int64_t answer = Sysctl(scheduler);
    record_.Step("sched_id", {Number(answer), scheduler.u.sched_id.sched_id});

    xen_sysctl& machine = NewSysctl(XEN_SYSCTL_physinfo, 24);
    const int64_t known = Sysctl(machine);
    const xen_sysctl_physinfo& info = machine.u.physinfo;
    record_.Step(
        "physinfo",
        {Number(known), info.threads_per_core, info.cores_per_socket, info.nr_cpus, info.max_cpu_id,
         info.nr_nodes, info.max_node_id, info.cpu_khz, info.capabilities, info.arch_capabilities,
         info.scrub_pages, info.outstanding_pages, info.hw_cap[0], info.hw_cap[7]});

    constexpr uint32_t kRoom = 600;
    auto* processors = world_.New<xen_sysctl_cpuinfo_t>(kRoom, 8);
    xen_sysctl& list = NewSysctl(XEN_SYSCTL_getcpuinfo, 16);
    list.u.getcpuinfo.max_cpus = kRoom;
    SetHandle(list.u.getcpuinfo.info, processors, kRoom * sizeof(*processors));
    const uint64_t handle = Bits(list.u.getcpuinfo.info);
    const int64_t listed = Sysctl(list);
    record_.Step("getcpuinfo", {Number(listed), list.u.getcpuinfo.nr_cpus, processors[0].idletime,
                                IsUntouched(processors + kProcessors, kRoom - kProcessors),
                                Bits(list.u.getcpuinfo.info) == handle});
    world_.FreeAll();
  }

  // platform_op, with a bitmap and an array behind the argument, each across a page's end.
  void AskPlatform() {
    auto* op = world_.New<xen_platform_op>(1, 24);
    memset(op, 0, sizeof(*op));
    op->cmd = XENPF_getidletime;
    op->interface_version = XENPF_INTERFACE_VERSION;
    auto* map = world_.New<uint8_t>(2, 1);
    auto* times = world_.New<uint64_t>(kProcessors, 16);
    map[0] = 0xfe;
    map[1] = 0xff;
    xenpf_getidletime& idle = op->u.getidletime;
    idle.cpumap_nr_cpus = 16;
    SetHandle(idle.cpumap_bitmap, map, 2);
    SetHandle(idle.idletime, times, kProcessors * sizeof(*times));
    const uint64_t handle = Bits(idle.idletime);
    const int64_t answer =
        world_.Hypercall(__HYPERVISOR_platform_op, world_.Handle(op, sizeof(*op)));
    record_.Step("getidletime", {Number(answer), map[0], map[1], times[0], times[1], times[2],
                                 times[3], idle.now, Bits(idle.idletime) == handle});
    op->interface_version = 1;
    record_.Step(
        "platform_op_other_version",
        {Number(world_.Hypercall(__HYPERVISOR_platform_op, world_.Handle(op, sizeof(*op))))});
    world_.FreeAll();
  }

  // Bitmaps that stand in a structure that the argument holds.
  void BindVcpus() {
    auto* hard = world_.New<uint8_t>(9, 1);
    auto* soft = world_.New<uint8_t>(9, 1);
    for (const uint32_t cmd : {XEN_DOMCTL_setvcpuaffinity, XEN_DOMCTL_getvcpuaffinity}) {
      if (cmd == XEN_DOMCTL_setvcpuaffinity) memset(hard, 0, 9), memset(soft, 0xff, 9);
      hard[0] = 0x06;
      xen_domctl& bind = NewDomctl(cmd, 32);
      xen_domctl_vcpuaffinity& affinity = bind.u.vcpuaffinity;
      affinity.vcpu = 1;
      affinity.flags = XEN_VCPUAFFINITY_HARD | XEN_VCPUAFFINITY_SOFT;
      affinity.cpumap_hard.nr_bits = 65;
      affinity.cpumap_soft.nr_bits = 65;
      SetHandle(affinity.cpumap_hard.bitmap, hard, 9);
      SetHandle(affinity.cpumap_soft.bitmap, soft, 9);
      const int64_t answer = Domctl(bind);
      record_.Step("vcpuaffinity", {cmd, Number(answer), affinity.flags,
                                    DigestOf(reinterpret_cast<const char*>(hard), 9),
                                    DigestOf(reinterpret_cast<const char*>(soft), 9)});
    }
    world_.FreeAll();
  }

  void MakeDomain() {
    xen_domctl& make = NewDomctl(XEN_DOMCTL_createdomain, 40);
    xen_domctl_createdomain& config = make.u.createdomain;
    config.flags = XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap;
    config.max_vcpus = 4;
    config.max_evtchn_port = 1023;
    config.max_grant_frames = 64;
    config.max_maptrack_frames = 1024;
    config.grant_opts = XEN_DOMCTL_GRANT_version(2);
    config.arch.emulation_flags = XEN_X86_EMU_LAPIC;
    for (uint8_t i = 0; i < sizeof(config.handle); ++i) {
      config.handle[i] = static_cast<uint8_t>(0x40 + i);
    }
    const int64_t made = Domctl(make);
    record_.Step("createdomain", {Number(made), make.domain});
    record_.Step("createdomain_again", {Number(Domctl(make))});
    config.flags = ~0u;
    record_.Step("createdomain_unknown_flags", {Number(Domctl(make))});

    xen_domctl& vcpus = NewDomctl(XEN_DOMCTL_max_vcpus, 16);
    vcpus.u.max_vcpus.max = 4;
    record_.Step("max_vcpus", {Number(Domctl(vcpus))});
    vcpus.u.max_vcpus.max = 5;
    record_.Step("max_vcpus_more", {Number(Domctl(vcpus))});

    xen_domctl& limit = NewDomctl(XEN_DOMCTL_max_mem, 24);
    limit.u.max_mem.max_memkb = kGuestPages * 4;
    record_.Step("max_mem", {Number(Domctl(limit))});
    Describe("getdomaininfo_new");
    world_.FreeAll();
  }

  void Describe(const char* step) {
    xen_domctl& ask = NewDomctl(XEN_DOMCTL_getdomaininfo, 56);
    const int64_t answer = Domctl(ask);
    record_.Step(step, {Number(answer), ask.domain, DigestOfInfo(ask.u.getdomaininfo),
                        ask.u.getdomaininfo.flags, ask.u.getdomaininfo.tot_pages});
  }

  // All fields that do not name machine frames or time.
  static uint64_t DigestOfInfo(const xen_domctl_getdomaininfo& info) {
    Digest digest;
    for (const uint64_t field :
         {uint64_t{info.domain}, uint64_t{info.pad1}, uint64_t{info.flags},
          uint64_t{info.tot_pages}, uint64_t{info.max_pages}, uint64_t{info.outstanding_pages},
          uint64_t{info.shr_pages}, uint64_t{info.paged_pages}, uint64_t{info.nr_online_vcpus},
          uint64_t{info.max_vcpu_id}, uint64_t{info.ssidref}, uint64_t{info.cpupool},
          uint64_t{info.gpaddr_bits}, uint64_t{info.arch_config.emulation_flags},
          uint64_t{info.arch_config.misc_flags}}) {
      digest.Add(field);
    }
    for (const uint8_t byte : info.handle) digest.Add(byte);
    for (const uint8_t byte : info.pad2) digest.Add(byte);
    return digest.value();
  }

  uint64_t PagesOf(unsigned cmd) {
    auto* domain = world_.New<xen_memory_domain>();
    memset(domain, 0, sizeof(*domain));
    domain->domid = kGuest;
    return Number(MemoryOp(cmd, *domain));
  }

  // A memory_op over the extents [first, first + count) of `list`.
  int64_t Reserve(unsigned cmd, xen_pfn_t* list, uint64_t count, unsigned order = 0) {
    auto* reservation = world_.New<xen_memory_reservation>(1, 8);
    memset(reservation, 0, sizeof(*reservation));
    SetHandle(reservation->extent_start, list, count * sizeof(*list));
    const uint64_t handle = Bits(reservation->extent_start);
    reservation->nr_extents = count;
    reservation->extent_order = order;
    reservation->domid = kGuest;
    const int64_t answer = MemoryOp(cmd, *reservation);
    handles_kept_ = handles_kept_ && Bits(reservation->extent_start) == handle &&
                    reservation->nr_extents == count;
    return answer;
  }

  void GiveMemory() {
    // Element i straddles nothing, but the list begins four elements before a page's end.
    constexpr uint64_t kExtents = 2500;
    auto* list = world_.New<xen_pfn_t>(kExtents, 32);
    for (uint64_t i = 0; i < kExtents; ++i) list[i] = i * 2;
    record_.Step("populate_physmap", {Number(Reserve(XENMEM_populate_physmap, list, kExtents))});
    Digest after;
    for (uint64_t i = 0; i < kExtents; ++i) after.Add(list[i]);
    record_.Step("reservation",
                 {PagesOf(XENMEM_current_reservation), PagesOf(XENMEM_maximum_reservation),
                  PagesOf(XENMEM_maximum_gpfn), after.value()});

    // The limit ends it half way: what was done stays and is reported.
    for (uint64_t i = 0; i < kExtents; ++i) list[i] = 100000 + i;
    record_.Step("populate_beyond_limit", {Number(Reserve(XENMEM_populate_physmap, list, kExtents)),
                                           PagesOf(XENMEM_current_reservation)});
    record_.Step("decrease_reservation", {Number(Reserve(XENMEM_decrease_reservation, list, 500)),
                                          PagesOf(XENMEM_current_reservation)});
    record_.Step("decrease_absent", {Number(Reserve(XENMEM_decrease_reservation, list, 500))});
    list[0] = 0x40000;
    record_.Step("populate_order_4", {Number(Reserve(XENMEM_populate_physmap, list, 1, 4)),
                                      PagesOf(XENMEM_current_reservation)});
    record_.Step("populate_huge_order", {Number(Reserve(XENMEM_populate_physmap, list, 1, 40))});
    record_.Step("populate_none", {Number(Reserve(XENMEM_populate_physmap, list, 0))});

    constexpr uint64_t kFrames = 300;
    auto* frames = world_.New<xen_pfn_t>(kFrames, 800);
    for (uint64_t i = 0; i < kFrames; ++i) frames[i] = i;
    xen_domctl& types = NewDomctl(XEN_DOMCTL_getpageframeinfo3, 16);
    types.u.getpageframeinfo3.num = kFrames;
    SetHandle(types.u.getpageframeinfo3.array, frames, kFrames * sizeof(*frames));
    const int64_t known = Domctl(types);
    Digest kinds;
    for (uint64_t i = 0; i < kFrames; ++i) kinds.Add(frames[i]);
    record_.Step("getpageframeinfo3", {Number(known), frames[0], frames[1], kinds.value()});
    record_.Step("handles_kept", {handles_kept_});
    world_.FreeAll();
  }

  void ListDomains() {
    constexpr uint32_t kRoom = 1000;
    auto* infos = world_.New<xen_domctl_getdomaininfo_t>(kRoom, 64);
    xen_sysctl& list = NewSysctl(XEN_SYSCTL_getdomaininfolist, 24);
    list.u.getdomaininfolist.first_domain = 1;
    list.u.getdomaininfolist.max_domains = kRoom;
    SetHandle(list.u.getdomaininfolist.buffer, infos, kRoom * sizeof(*infos));
    const int64_t answer = Sysctl(list);
    record_.Step("getdomaininfolist", {Number(answer), list.u.getdomaininfolist.num_domains,
                                       DigestOfInfo(infos[0]), IsUntouched(infos + 1, kRoom - 1)});
    list.u.getdomaininfolist.max_domains = 0;
    record_.Step("getdomaininfolist_none",
                 {Number(Sysctl(list)), list.u.getdomaininfolist.num_domains});
    world_.FreeAll();

    for (const uint32_t cmd : {XEN_DOMCTL_pausedomain, XEN_DOMCTL_unpausedomain,
                               XEN_DOMCTL_unpausedomain, XEN_DOMCTL_unpausedomain}) {
      record_.Step("pause", {cmd, Number(Domctl(NewDomctl(cmd)))});
      Describe("getdomaininfo");
    }
    world_.FreeAll();
  }

  // One list over a thousand pages, read and written everywhere.
  void CallManyInOne() {
    auto* entries = world_.New<multicall_entry_t>(kMulticalls, 24);
    for (uint64_t i = 0; i < kMulticalls; ++i) {
      entries[i].op = i % 7 == 6 ? 61 : __HYPERVISOR_xen_version;
      entries[i].args[0] = i % 5 == 4 ? XENVER_pagesize : XENVER_version;
      entries[i].args[1] = 0;
    }
    const int64_t answer =
        world_.Hypercall(__HYPERVISOR_multicall,
                         world_.Handle(entries, kMulticalls * sizeof(*entries)), kMulticalls);
    Digest results;
    for (uint64_t i = 0; i < kMulticalls; ++i) {
      results.Add(entries[i].result);
      results.Add(entries[i].op);
      results.Add(entries[i].args[5]);
    }
    record_.Step("multicall", {Number(answer), results.value()});
    record_.Step("multicall_none",
                 {Number(world_.Hypercall(__HYPERVISOR_multicall,
                                          world_.Handle(entries, sizeof(*entries)), 0))});
    world_.FreeAll();
  }

  void Refusals() {
    xen_domctl& stale = NewDomctl(XEN_DOMCTL_pausedomain);
    stale.interface_version = 1;
    record_.Step(
        "domctl_other_version",
        {Number(world_.Hypercall(__HYPERVISOR_domctl, world_.Handle(&stale, sizeof(stale))))});
    record_.Step("domctl_unknown", {Number(Domctl(NewDomctl(9999)))});
    xen_domctl& nobody = NewDomctl(XEN_DOMCTL_pausedomain);
    nobody.domain = 4711;
    record_.Step("domctl_nobody", {Number(Domctl(nobody))});
    record_.Step("sysctl_unknown", {Number(Sysctl(NewSysctl(9999)))});
    record_.Step("unknown_hypercall", {Number(world_.Hypercall(61, 0))});
    record_.Step("domctl_null", {Number(world_.Hypercall(__HYPERVISOR_domctl, 0))});
    record_.Step("extraversion_null",
                 {Number(world_.Hypercall(__HYPERVISOR_xen_version, XENVER_extraversion, 0))});

    // A nested array that is not there, behind an argument that is.
    xen_sysctl& list = NewSysctl(XEN_SYSCTL_getdomaininfolist);
    list.u.getdomaininfolist.first_domain = 0;
    list.u.getdomaininfolist.max_domains = 1;
    record_.Step("getdomaininfolist_null",
                 {Number(Sysctl(list)), list.u.getdomaininfolist.num_domains});
    world_.FreeAll();
  }

  void EndDomain() {
    xen_domctl& end = NewDomctl(XEN_DOMCTL_destroydomain);
    int64_t answer;
    do {
      answer = Domctl(end);
    } while (answer == -85);  // -ERESTART (public/errno.h)
    record_.Step("destroydomain", {Number(answer)});
    record_.Step("destroydomain_again", {Number(Domctl(end))});
    record_.Step("getdomaininfo_ended", {Number(Domctl(NewDomctl(XEN_DOMCTL_getdomaininfo)))});
    world_.FreeAll();
  }

  static uint64_t Number(int64_t answer) { return static_cast<uint64_t>(answer); }

  World& world_;
  Record& record_;
  bool handles_kept_ = true;
};

}  // namespace

void RunScenario(World& world, Record& record) { Scenario(world, record).Run(); }

}  // namespace qemu
