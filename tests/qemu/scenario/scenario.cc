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
    ConnectPorts();
    GiveMemory();
    GrantPages();
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

  template <class T>
  int64_t EventOp(unsigned cmd, T& argument) {
    return world_.Hypercall(__HYPERVISOR_event_channel_op, cmd,
                            world_.Handle(&argument, sizeof(argument)));
  }
  template <class T>
  T& NewCleared(uint64_t straddle = 0) {
    auto* argument = world_.New<T>(1, straddle);
    memset(argument, 0, sizeof(*argument));
    return *argument;
  }

  void TellPort(const char* step, uint16_t domain, uint32_t port) {
    auto& status = NewCleared<evtchn_status>(8);
    status.dom = domain;
    status.port = port;
    const int64_t answer = EventOp(EVTCHNOP_status, status);
    record_.Step(
        step, {Number(answer), status.status, status.vcpu,
               status.status == EVTCHNSTAT_interdomain ? uint64_t{status.u.interdomain.dom} : 0});
  }
  void TellOfPort(const char* step, unsigned cmd, uint32_t port) {
    // All of these begin with the port.
    auto& argument = NewCleared<evtchn_close>();
    argument.port = port;
    record_.Step(step, {Number(EventOp(cmd, argument))});
  }

  // Ports of the domain that was made, and of this one. Which ones this one has is the kernel's.
  void ConnectPorts() {
    auto& unbound = NewCleared<evtchn_alloc_unbound>(4);
    unbound.dom = kGuest;
    unbound.remote_dom = DOMID_SELF;
    const int64_t allocated = EventOp(EVTCHNOP_alloc_unbound, unbound);
    const uint32_t there = unbound.port;
    record_.Step("alloc_unbound", {Number(allocated), there});
    TellPort("status_unbound", kGuest, there);
    unbound.dom = 4711;
    record_.Step("alloc_unbound_nobody", {Number(EventOp(EVTCHNOP_alloc_unbound, unbound))});

    auto& bind = NewCleared<evtchn_bind_interdomain>(4);
    bind.remote_dom = kGuest;
    bind.remote_port = there;
    const int64_t bound = EventOp(EVTCHNOP_bind_interdomain, bind);
    const uint32_t here = bind.local_port;
    record_.Step("bind_interdomain", {Number(bound), here != 0});
    record_.Step("bind_interdomain_again", {Number(EventOp(EVTCHNOP_bind_interdomain, bind))});
    TellPort("status_interdomain", kGuest, there);
    TellPort("status_here", DOMID_SELF, here);
    TellOfPort("send", EVTCHNOP_send, here);
    TellOfPort("unmask", EVTCHNOP_unmask, here);

    auto& vcpu = NewCleared<evtchn_bind_vcpu>();
    vcpu.port = here;
    record_.Step("bind_vcpu", {Number(EventOp(EVTCHNOP_bind_vcpu, vcpu))});
    vcpu.vcpu = 99;
    record_.Step("bind_vcpu_absent", {Number(EventOp(EVTCHNOP_bind_vcpu, vcpu))});
    auto& priority = NewCleared<evtchn_set_priority>();
    priority.port = here;
    priority.priority = 3;
    record_.Step("set_priority", {Number(EventOp(EVTCHNOP_set_priority, priority))});
    priority.priority = 99;
    record_.Step("set_priority_beyond", {Number(EventOp(EVTCHNOP_set_priority, priority))});
    auto& array = NewCleared<evtchn_expand_array>();
    record_.Step("expand_array", {Number(EventOp(EVTCHNOP_expand_array, array))});
    auto& control = NewCleared<evtchn_init_control>();
    control.vcpu = 99;
    record_.Step("init_control_absent", {Number(EventOp(EVTCHNOP_init_control, control))});

    auto& ipi = NewCleared<evtchn_bind_ipi>();
    const int64_t made = EventOp(EVTCHNOP_bind_ipi, ipi);
    record_.Step("bind_ipi", {Number(made), ipi.port != 0});
    TellPort("status_ipi", DOMID_SELF, ipi.port);
    TellOfPort("send_ipi", EVTCHNOP_send, ipi.port);
    TellOfPort("close_ipi", EVTCHNOP_close, ipi.port);
    auto& virq = NewCleared<evtchn_bind_virq>();
    virq.virq = VIRQ_DEBUG;
    const int64_t taken = EventOp(EVTCHNOP_bind_virq, virq);
    record_.Step("bind_virq", {Number(taken), virq.port != 0});
    const uint32_t of_virq = virq.port;
    record_.Step("bind_virq_again", {Number(EventOp(EVTCHNOP_bind_virq, virq))});
    TellOfPort("close_virq", EVTCHNOP_close, of_virq);

    TellOfPort("close", EVTCHNOP_close, here);
    TellOfPort("close_again", EVTCHNOP_close, here);
    TellPort("status_left", kGuest, there);
    auto& reset = NewCleared<evtchn_reset>();
    reset.dom = kGuest;
    record_.Step("reset", {Number(EventOp(EVTCHNOP_reset, reset))});
    TellPort("status_reset", kGuest, there);
    record_.Step("event_unknown", {Number(EventOp(99, reset))});
    world_.FreeAll();
  }

  template <class T>
  int64_t GrantOp(unsigned cmd, T& argument, uint64_t count = 1) {
    return world_.Hypercall(__HYPERVISOR_grant_table_op, cmd,
                            world_.Handle(&argument, count * sizeof(argument)), count);
  }

  // Where domain 0 has its grant table, and where it maps what is granted: beyond its memory.
  static constexpr uint64_t kTableGfn = (96 << 20) >> 12;
  static constexpr uint64_t kMappedGfn = kTableGfn + 1;
  static constexpr uint32_t kRef = 9;  // that is granted
  static constexpr uint64_t kFrameBytes = 4096;

  // A page of a buffer, as the domain knows it.
  uint8_t* NewPage() {
    const auto start = reinterpret_cast<uint64_t>(world_.New<uint8_t>(2 * kFrameBytes));
    return reinterpret_cast<uint8_t*>((start + kFrameBytes - 1) & ~(kFrameBytes - 1));
  }
  uint64_t GfnOf(const void* page) { return world_.Physical(page) / kFrameBytes; }

  // A copy by the hypervisor from one frame of this domain's to another, or by grants where `flags`
  // says so: its status.
  uint64_t Copy(int flags, uint64_t source, uint64_t source_offset, uint64_t dest,
                uint64_t dest_offset, uint64_t length) {
    auto& copy = NewCleared<gnttab_copy>(24);
    copy.flags = static_cast<uint16_t>(flags);
    copy.len = static_cast<uint16_t>(length);
    copy.source.domid = (flags & GNTCOPY_source_gref) != 0 ? 0 : DOMID_SELF;
    copy.source.offset = static_cast<uint16_t>(source_offset);
    copy.dest.domid = (flags & GNTCOPY_dest_gref) != 0 ? 0 : DOMID_SELF;
    copy.dest.offset = static_cast<uint16_t>(dest_offset);
    if ((flags & GNTCOPY_source_gref) != 0) {
      copy.source.u.ref = static_cast<uint32_t>(source);
    } else {
      copy.source.u.gmfn = source;
    }
    if ((flags & GNTCOPY_dest_gref) != 0) {
      copy.dest.u.ref = static_cast<uint32_t>(dest);
    } else {
      copy.dest.u.gmfn = dest;
    }
    const int64_t answer = GrantOp(GNTTABOP_copy, copy);
    return answer != 0 ? Number(answer) : Number(copy.status);
  }
  // Writes entry kRef of the table, which only the hypervisor reaches, and reads its flags.
  template <class Entry>
  void WriteEntry(const Entry& entry) {
    auto* page = NewPage();
    memcpy(page, &entry, sizeof(entry));
    Copy(0, GfnOf(page), 0, kTableGfn, kRef * sizeof(entry), sizeof(entry));
  }
  uint64_t Flags() {
    auto* page = NewPage();
    Copy(0, kTableGfn, kRef * sizeof(grant_entry_v1_t), GfnOf(page), 0, sizeof(uint16_t));
    uint16_t flags;
    memcpy(&flags, page, sizeof(flags));
    return flags;
  }
  int64_t SetVersion(uint32_t version) {
    auto& request = NewCleared<gnttab_set_version>();
    request.version = version;
    return GrantOp(GNTTABOP_set_version, request);
  }

  // The domain grants a page to itself: whoever grants and whoever uses it are one.
  void GrantPages() {
    auto& size = NewCleared<gnttab_query_size>(8);
    size.dom = kGuest;
    const int64_t asked = GrantOp(GNTTABOP_query_size, size);
    record_.Step("query_size",
                 {Number(asked), Number(size.status), size.nr_frames, size.max_nr_frames});
    auto& place = NewCleared<xen_add_to_physmap>(8);
    place.domid = DOMID_SELF;
    place.space = XENMAPSPACE_grant_table;
    place.gpfn = kTableGfn;
    record_.Step("grant_table_placed", {Number(MemoryOp(XENMEM_add_to_physmap, place))});

    uint8_t* const granted = NewPage();
    uint8_t* const copied = NewPage();
    for (uint64_t i = 0; i < kFrameBytes; ++i) granted[i] = static_cast<uint8_t>(i * 7);
    grant_entry_v1_t entry = {};
    entry.flags = GTF_permit_access;
    entry.frame = static_cast<uint32_t>(GfnOf(granted));
    WriteEntry(entry);
    const uint64_t to = GfnOf(copied);
    record_.Step("copy_granted", {Copy(GNTCOPY_source_gref, kRef, 100, to, 50, 1000),
                                  DigestOf(reinterpret_cast<char*>(copied), kFrameBytes), Flags()});
    record_.Step("copy_refused",
                 {Copy(GNTCOPY_source_gref, kRef + 1, 0, to, 0, 8),
                  Copy(GNTCOPY_source_gref, 100000, 0, to, 0, 8),
                  Copy(GNTCOPY_source_gref, kRef, 4000, to, 0, 97),
                  Copy(GNTCOPY_source_gref, kRef, 0, to, 4090, 7), Copy(0, 0x30000, 0, to, 0, 8),
                  DigestOf(reinterpret_cast<char*>(copied), kFrameBytes)});
    record_.Step("copy_to_granted", {Copy(GNTCOPY_dest_gref, to, 50, kRef, 4000, 96),
                                     DigestOf(reinterpret_cast<char*>(granted), kFrameBytes)});

    auto& map = NewCleared<gnttab_map_grant_ref>(24);
    map.host_addr = kMappedGfn * kFrameBytes;
    map.flags = GNTMAP_host_map;
    map.ref = kRef;
    const int64_t mapped = GrantOp(GNTTABOP_map_grant_ref, map);
    const uint32_t handle = map.handle;
    record_.Step("map", {Number(mapped), Number(map.status), handle < 256, Flags()});
    memset(copied, 0, kFrameBytes);
    record_.Step("copy_of_mapped", {Copy(0, kMappedGfn, 0, to, 0, 64)});
    for (const auto& [flags, ref, domain] :
         {MapCase{GNTMAP_readonly, kRef, 0}, MapCase{GNTMAP_host_map, 100000, 0},
          MapCase{GNTMAP_host_map, kRef, 4711}, MapCase{GNTMAP_host_map, kRef, kGuest},
          MapCase{GNTMAP_host_map | GNTMAP_device_map, kRef, 0},
          MapCase{GNTMAP_host_map, kRef, 0}}) {
      map.flags = static_cast<uint32_t>(flags);
      map.ref = ref;
      map.dom = domain;
      const int64_t answer = GrantOp(GNTTABOP_map_grant_ref, map);
      record_.Step("map_refused", {Number(answer), Number(map.status)});
    }
    auto& swap = NewCleared<gnttab_swap_grant_ref>();
    swap.ref_a = kRef;
    swap.ref_b = kRef + 1;
    const int64_t swapped = GrantOp(GNTTABOP_swap_grant_ref, swap);
    record_.Step("in_use", {Number(swapped), Number(swap.status), Number(SetVersion(2))});
    auto& unmap = NewCleared<gnttab_unmap_grant_ref>(8);
    unmap.host_addr = kMappedGfn * kFrameBytes;
    unmap.handle = handle;
    const int64_t unmapped = GrantOp(GNTTABOP_unmap_grant_ref, unmap);
    record_.Step("unmap", {Number(unmapped), Number(unmap.status), Flags()});
    const int64_t again = GrantOp(GNTTABOP_unmap_grant_ref, unmap);
    record_.Step("unmap_again", {Number(again), Number(unmap.status)});

    // A part of the page, which only version 2 can say.
    record_.Step("version_2", {Number(SetVersion(2))});
    grant_entry_v2_t part = {};
    part.sub_page.hdr.flags = GTF_permit_access | GTF_sub_page;
    part.sub_page.page_off = 64;
    part.sub_page.length = 32;
    part.sub_page.frame = GfnOf(granted);
    WriteEntry(part);
    record_.Step("copy_of_part", {Copy(GNTCOPY_source_gref, kRef, 64, to, 0, 32),
                                  Copy(GNTCOPY_source_gref, kRef, 63, to, 0, 32),
                                  Copy(GNTCOPY_source_gref, kRef, 64, to, 0, 33),
                                  Copy(GNTCOPY_dest_gref, to, 0, kRef, 95, 1),
                                  DigestOf(reinterpret_cast<char*>(copied), kFrameBytes)});
    record_.Step("version_1", {Number(SetVersion(1)), Number(SetVersion(3))});
    world_.FreeAll();
  }
  struct MapCase {
    int flags;
    uint32_t ref;
    uint16_t domain;
  };

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
