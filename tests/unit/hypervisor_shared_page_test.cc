// What the hypervisor writes into pages that it shares with a domain, and where a domain asked it
// to: after each op all of the page is as a model says, byte by byte, in both byte orders. The
// places are counted out by hand from public/xen.h, vcpu.h and grant_table.h.

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/fuzz/random_call.h"
#include "tests/unit/hypervisor_machine.h"

namespace xencomm::hypervisor {
namespace {

using fuzz::Random;

// A page as it has to be.
class PageModel {
 public:
  explicit PageModel(ByteOrder order) : order_(order) {}

  template <class T>
  void Store(std::size_t at, T value) {
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      const std::size_t place = order_ == ByteOrder::kLittle ? i : sizeof(T) - 1 - i;
      bytes_[at + place] = static_cast<std::uint8_t>(std::uint64_t{value} >> 8 * i);
    }
  }
  // Of an array of 64-bit words.
  bool Bit(std::size_t at, std::size_t bit) const {
    return (bytes_[PlaceOf(at, bit)] >> bit % 8 & 1) != 0;
  }
  void SetBit(std::size_t at, std::size_t bit, bool is_set) {
    std::uint8_t& byte = bytes_[PlaceOf(at, bit)];
    const auto mask = static_cast<std::uint8_t>(1 << bit % 8);
    byte = static_cast<std::uint8_t>(is_set ? byte | mask : byte & ~mask);
  }
  std::uint8_t& operator[](std::size_t at) { return bytes_[at]; }

  // Where something else is, in a sentence.
  std::string Compare(const std::byte* page) const {
    for (std::size_t i = 0; i < bytes_.size(); ++i) {
      const auto byte = std::to_integer<unsigned>(page[i]);
      if (byte != bytes_[i]) {
        return "byte " + std::to_string(i) + " is " + std::to_string(byte) + " and not " +
               std::to_string(bytes_[i]);
      }
    }
    return "";
  }

 private:
  std::size_t PlaceOf(std::size_t at, std::size_t bit) const {
    const std::size_t byte = bit % 64 / 8;
    return at + bit / 64 * 8 + (order_ == ByteOrder::kLittle ? byte : 7 - byte);
  }

  ByteOrder order_;
  std::array<std::uint8_t, kPageSize> bytes_ = {};
};

class HypervisorSharedPageTest : public testing::TestWithParam<ByteOrder> {
 protected:
  static constexpr unsigned kVcpus = 40;        // more than have a place in the shared info page
  static constexpr std::uint64_t kPlace = 100;  // a gfn

  // A domain of the order in question, that controls nobody.
  Vcpu* Build(std::uint16_t id) {
    EXPECT_EQ(machine.hypervisor.BuildDomain({.id = id,
                                              .pages = 32,
                                              .vcpus = kVcpus,
                                              .order = GetParam(),
                                              .space = SpaceKind::kRaw}),
              0);
    Vcpu* const vcpu = machine.hypervisor.ClaimVcpu(id, 0);
    machine.hypervisor.SetRawSpace(*vcpu, machine.direct);
    return vcpu;
  }
  // One of the hypervisor's pages of that domain.
  std::byte* Place(std::uint16_t id, unsigned space, std::uint64_t index, std::uint64_t gfn) {
    xen_add_to_physmap add = {.domid = id, .size = 0, .space = space, .idx = index, .gpfn = gfn};
    EXPECT_EQ(machine.Call(__HYPERVISOR_memory_op, XENMEM_add_to_physmap, &add), 0);
    return machine.BytesOf(machine.hypervisor.FrameOf(id, gfn));
  }
  // A call with a structure in its caller's order.
  template <class T>
  std::int64_t CallWith(Vcpu& vcpu, std::uint64_t index, std::uint64_t op, T& argument,
                        std::uint64_t third) {
    Reorder(argument);
    const bool is_last = index != __HYPERVISOR_vcpu_op;
    const std::int64_t answer =
        machine.hypervisor.Call(vcpu, is_last ? machine.Frame(index, op, &argument, third)
                                              : machine.Frame(index, op, third, &argument));
    Reorder(argument);
    return answer;
  }
  template <class T>
  static void Reorder(T& argument) {
    if (GetParam() != kNativeOrder) SwapBytes(argument);
  }
  // What its union holds depends on the state, and is not looked at here.
  static void Reorder(evtchn_status& argument) {
    Reorder(argument.dom);
    Reorder(argument.port);
    Reorder(argument.status);
    Reorder(argument.vcpu);
  }

  TestMachine machine;
};

INSTANTIATE_TEST_SUITE_P(, HypervisorSharedPageTest,
                         testing::Values(ByteOrder::kLittle, ByteOrder::kBig),
                         [](const auto& each) {
                           return each.param == ByteOrder::kBig ? "BigEndian" : "LittleEndian";
                         });

// Two domains' ports as Xen's two-level ABI has them, and what the domains do to their own pages.
class HypervisorEventPageTest : public HypervisorSharedPageTest {
 protected:
  // struct shared_info: 32 struct vcpu_info of 64 bytes, then a bit for each of 4096 ports, twice.
  static constexpr std::size_t kVcpuInfoBytes = 64;
  static constexpr unsigned kPlaces = 32;
  static constexpr std::size_t kUpcallPending = 0;
  static constexpr std::size_t kPendingSelector = 8;
  static constexpr std::size_t kPending = 2048;
  static constexpr std::size_t kMask = 2560;
  static constexpr std::uint32_t kPorts = 4096;
  static constexpr std::uint32_t kAllVirqs = 24;

  enum class State { kFree, kReserved, kUnbound, kInterdomain, kIpi, kVirq };
  struct ModelPort {
    State state = State::kFree;
    unsigned side = 0;  // whose the other end is
    std::uint32_t port = 0;
    std::uint32_t vcpu = 0;
    std::uint32_t virq = 0;
  };
  struct Side {
    std::uint16_t id;
    Vcpu* vcpu;
    std::byte* bytes;
    PageModel page{GetParam()};
    std::vector<ModelPort> ports = std::vector<ModelPort>(kPorts);
    std::uint32_t valid = 64;
  };

  void SetUp() override {
    for (const std::uint16_t id : {std::uint16_t{1}, std::uint16_t{2}}) {
      Vcpu* const vcpu = Build(id);
      sides.push_back({id, vcpu, Place(id, XENMAPSPACE_shared_info, 0, kPlace)});
      sides.back().ports[0].state = State::kReserved;
    }
  }

  template <class T>
  std::int64_t Op(Side& side, std::uint64_t op, T& argument) {
    return CallWith(*side.vcpu, __HYPERVISOR_event_channel_op, op, argument, 0);
  }

  // The model's part of each op: what it is to answer.

  Side& side() { return sides[here_]; }
  Side& other() { return sides[there_]; }
  static bool IsUsable(const ModelPort* row) {
    return row != nullptr && row->state != State::kFree && row->state != State::kReserved;
  }
  static bool IsGlobal(std::uint32_t virq) {
    return virq != VIRQ_TIMER && virq != VIRQ_DEBUG && virq != VIRQ_XENPMU;
  }
  ModelPort* Find(Side& side, std::uint32_t port) {
    return port < side.valid ? &side.ports[port] : nullptr;
  }
  std::int64_t NewPort(Side& side) {
    for (std::uint32_t port = 0; port < kPorts; ++port) {
      if (side.ports[port].state != State::kFree) continue;
      if (port == side.valid) side.valid += 64;
      return port;
    }
    return -kENOSPC;
  }
  void Notify(Side& side, std::uint32_t port) {
    const std::uint32_t vcpu = side.ports[port].vcpu;
    if (vcpu >= kPlaces) return;
    const std::size_t info = vcpu * kVcpuInfoBytes;
    if (side.page.Bit(info + kPendingSelector, port / 64)) return;
    side.page.SetBit(info + kPendingSelector, port / 64, true);
    side.page[info + kUpcallPending] |= 1;
  }
  void Signal(Side& side, std::uint32_t port) {
    if (side.page.Bit(kPending, port)) return;
    side.page.SetBit(kPending, port, true);
    if (!side.page.Bit(kMask, port)) Notify(side, port);
  }
  void Free(Side& side, std::uint32_t port) {
    ModelPort& row = side.ports[port];
    if (!IsUsable(&row)) return;
    side.page.SetBit(kPending, port, false);
    if (row.state == State::kInterdomain) {
      ModelPort& other_end = sides[row.side].ports[row.port];
      other_end.state = State::kUnbound;
      other_end.side = SideOf(side);
    }
    row = {};
  }
  unsigned SideOf(const Side& side) const { return static_cast<unsigned>(&side - sides.data()); }

  // The ops: each changes the model, is made, and answers what it was to answer.

  void Check(const char* name, std::int64_t answer, std::int64_t expected) {
    what = name + std::string(" of domain ") + std::to_string(side().id) + ", port " +
           std::to_string(port_) + ", vcpu " + std::to_string(vcpu_);
    EXPECT_EQ(answer, expected) << what;
    ++ways[name + std::string(expected < 0 ? ", refused" : "")];
  }
  // Of one that answers a new port_, which is to be `local`.
  void CheckNew(const char* name, std::int64_t answer, const std::uint32_t& told,
                std::int64_t local) {
    Check(name, answer, std::min<std::int64_t>(local, 0));
    EXPECT_TRUE(local < 0 || told == local) << what;
  }
  void AllocUnbound() {
    evtchn_alloc_unbound request = {.dom = DOMID_SELF, .remote_dom = other().id, .port = kPorts};
    const std::int64_t local = NewPort(side());
    if (local >= 0) side().ports[static_cast<std::size_t>(local)] = {State::kUnbound, there_};
    CheckNew("alloc_unbound", Op(side(), EVTCHNOP_alloc_unbound, request), request.port, local);
  }
  void BindInterdomain() {
    evtchn_bind_interdomain request = {
        .remote_dom = other().id, .remote_port = port_, .local_port = kPorts};
    std::int64_t local = NewPort(side());
    ModelPort* const row = Find(other(), port_);
    if (local >= 0 && (row == nullptr || row->state != State::kUnbound || row->side != here_)) {
      local = -kEINVAL;
    }
    if (local >= 0) {
      const auto mine = static_cast<std::uint32_t>(local);
      side().ports[mine] = {State::kInterdomain, there_, port_};
      *row = {State::kInterdomain, here_, mine, row->vcpu};
      Signal(side(), mine);
    }
    CheckNew("bind_interdomain", Op(side(), EVTCHNOP_bind_interdomain, request), request.local_port,
             local);
  }
  void BindIpi() {
    evtchn_bind_ipi request = {.vcpu = vcpu_, .port = kPorts};
    const std::int64_t local = vcpu_ < kVcpus ? NewPort(side()) : -kENOENT;
    if (local >= 0) side().ports[static_cast<std::size_t>(local)] = {State::kIpi, 0, 0, vcpu_};
    CheckNew("bind_ipi", Op(side(), EVTCHNOP_bind_ipi, request), request.port, local);
  }
  void BindVirq() {
    static constexpr std::uint32_t kVirqs[] = {VIRQ_TIMER,  VIRQ_DEBUG,  VIRQ_CONSOLE,
                                               VIRQ_XENPMU, VIRQ_ARCH_7, kAllVirqs};
    const std::uint32_t virq = kVirqs[random.Below(std::size(kVirqs))];
    evtchn_bind_virq request = {.virq = virq, .vcpu = vcpu_, .port = kPorts};
    // One for each vcpu_, or one for all.
    const auto is_same = [&](const ModelPort& each) {
      return each.state == State::kVirq && each.virq == virq &&
             (IsGlobal(virq) || each.vcpu == vcpu_);
    };
    const bool is_there = std::any_of(side().ports.begin(), side().ports.end(), is_same);
    const std::int64_t local = virq >= kAllVirqs || (IsGlobal(virq) && vcpu_ != 0) ? -kEINVAL
                               : vcpu_ >= kVcpus                                   ? -kENOENT
                               : is_there                                          ? -kEEXIST
                                          : NewPort(side());
    if (local >= 0) {
      side().ports[static_cast<std::size_t>(local)] = {State::kVirq, 0, 0, vcpu_, virq};
    }
    CheckNew("bind_virq", Op(side(), EVTCHNOP_bind_virq, request), request.port, local);
  }
  void Close() {
    evtchn_close request = {.port = port_};
    const bool is_open = IsUsable(Find(side(), port_));
    if (is_open) Free(side(), port_);
    Check("close", Op(side(), EVTCHNOP_close, request), is_open ? 0 : -kEINVAL);
  }
  void Send() {
    evtchn_send request = {.port = port_};
    const ModelPort* const row = Find(side(), port_);
    const bool is_sent = IsUsable(row) && row->state != State::kVirq;
    if (is_sent && row->state == State::kInterdomain) Signal(sides[row->side], row->port);
    if (is_sent && row->state == State::kIpi) Signal(side(), port_);
    Check("send", Op(side(), EVTCHNOP_send, request), is_sent ? 0 : -kEINVAL);
  }
  void Unmask() {
    evtchn_unmask request = {.port = port_};
    const ModelPort* const row = Find(side(), port_);
    if (IsUsable(row)) {
      const bool was_masked = side().page.Bit(kMask, port_);
      side().page.SetBit(kMask, port_, false);
      if (was_masked && side().page.Bit(kPending, port_)) Notify(side(), port_);
    }
    Check("unmask", Op(side(), EVTCHNOP_unmask, request), row != nullptr ? 0 : -kEINVAL);
  }
  void BindVcpu() {
    evtchn_bind_vcpu request = {.port = port_, .vcpu = vcpu_};
    ModelPort* const row = Find(side(), port_);
    const bool can_move = IsUsable(row) && row->state != State::kIpi &&
                          (row->state != State::kVirq || IsGlobal(row->virq));
    const std::int64_t expected = vcpu_ >= kVcpus ? -kENOENT : can_move ? 0 : -kEINVAL;
    if (expected == 0) row->vcpu = vcpu_;
    Check("bind_vcpu", Op(side(), EVTCHNOP_bind_vcpu, request), expected);
  }
  void Reset() {
    if (!random.OneIn(40)) return;
    evtchn_reset request = {.dom = DOMID_SELF};
    for (std::uint32_t each = 1; each < side().valid; ++each) Free(side(), each);
    Check("reset", Op(side(), EVTCHNOP_reset, request), 0);
  }
  void Status() {
    static constexpr std::uint32_t kStates[] = {EVTCHNSTAT_closed,  EVTCHNSTAT_closed,
                                                EVTCHNSTAT_unbound, EVTCHNSTAT_interdomain,
                                                EVTCHNSTAT_ipi,     EVTCHNSTAT_virq};
    evtchn_status request = {};
    request.dom = DOMID_SELF;
    request.port = port_;
    const ModelPort* const row = Find(side(), port_);
    Check("status", Op(side(), EVTCHNOP_status, request), row != nullptr ? 0 : -kEINVAL);
    if (row == nullptr) return;
    EXPECT_EQ(request.status, kStates[static_cast<unsigned>(row->state)]) << what;
    EXPECT_EQ(request.vcpu, row->vcpu) << what;
  }

  void Step() {
    using Page = HypervisorEventPageTest;
    static constexpr void (Page::*kOps[])() = {&Page::AllocUnbound, &Page::BindInterdomain,
                                               &Page::BindIpi,      &Page::BindVirq,
                                               &Page::Close,        &Page::Send,
                                               &Page::Send,         &Page::Send,
                                               &Page::Unmask,       &Page::Unmask,
                                               &Page::BindVcpu,     &Page::Reset,
                                               &Page::Status,       &Page::Touch,
                                               &Page::Touch};
    here_ = static_cast<unsigned>(random.Below(2));
    there_ = static_cast<unsigned>(random.Below(2));
    port_ = AnyPort();
    vcpu_ = random.OneIn(3) ? 0 : static_cast<std::uint32_t>(random.Below(kVcpus + 2));
    (this->*kOps[random.Below(std::size(kOps))])();
    for (const Side& each : sides) {
      ASSERT_EQ(each.page.Compare(each.bytes), "") << "of domain " << each.id << " after " << what;
    }
  }
  // What the domain itself does to its page.
  void Touch() {
    what = "a store of its own";
    PageModel& page = side().page;
    const std::size_t at = port_ % kPorts;
    const std::size_t info = vcpu_ % kPlaces * kVcpuInfoBytes;
    switch (random.Below(6)) {
      case 0:
      case 1:
        page.SetBit(kMask, at, random.OneIn(2));
        break;
      case 2:
      case 3:
        page.SetBit(kPending, at, random.OneIn(8));
        break;
      case 4:
        page.SetBit(info + kPendingSelector, at / 64, random.OneIn(8));
        break;
      default:
        // upcall_pending, upcall_mask, anything of the time and the wall clock's or of the arch's.
        static constexpr std::size_t kElsewhere[] = {0, 1, 2, 7, 16, 32, 63};
        page[random.OneIn(4) ? 3072 + random.Below(1024)
                             : info + kElsewhere[random.Below(std::size(kElsewhere))]] =
            static_cast<std::uint8_t>(random.OneIn(2) ? random.Next() : 0);
    }
    for (std::size_t i = 0; i < kPageSize; ++i) side().bytes[i] = std::byte{page[i]};
  }

  std::uint32_t AnyPort() {
    static constexpr std::uint32_t kEnds[] = {
        0,      1,          2,          63,         64,          65,          127,
        128,    203,        204,        kPorts / 2, kPorts - 65, kPorts - 64, kPorts - 1,
        kPorts, kPorts + 1, 0x7fffffff, 0x80000000, 0xffffffff};
    return random.OneIn(3) ? static_cast<std::uint32_t>(random.Below(kPorts))
                           : kEnds[random.Below(std::size(kEnds))];
  }
  std::vector<Side> sides;
  Random random{7};
  // What the step at hand is about.
  unsigned here_ = 0;   // who calls
  unsigned there_ = 0;  // and whom it names
  std::uint32_t port_ = 0;
  std::uint32_t vcpu_ = 0;
  std::string what;
  std::map<std::string, unsigned> ways;
};

INSTANTIATE_TEST_SUITE_P(, HypervisorEventPageTest,
                         testing::Values(ByteOrder::kLittle, ByteOrder::kBig),
                         [](const auto& each) {
                           return each.param == ByteOrder::kBig ? "BigEndian" : "LittleEndian";
                         });

TEST_P(HypervisorEventPageTest, AllOfItIsAsXenLeavesIt) {
  // All ports, so that the last one is in use, too.
  for (Side& side : sides) {
    for (std::uint32_t port = 1; port < kPorts; ++port) {
      evtchn_bind_ipi request = {.vcpu = port % kVcpus, .port = 0};
      ASSERT_EQ(Op(side, EVTCHNOP_bind_ipi, request), 0);
      ASSERT_EQ(request.port, port);
      side.ports[port] = {State::kIpi, 0, 0, port % kVcpus};
    }
    side.valid = kPorts;
    evtchn_bind_ipi request = {};
    ASSERT_EQ(Op(side, EVTCHNOP_bind_ipi, request), -kENOSPC);
  }
  for (unsigned i = 0; i < 30000 && !HasFailure(); ++i) Step();
  for (const char* way :
       {"alloc_unbound", "alloc_unbound, refused", "bind_interdomain", "bind_interdomain, refused",
        "bind_ipi", "bind_ipi, refused", "bind_virq", "bind_virq, refused", "close",
        "close, refused", "send", "send, refused", "unmask", "unmask, refused", "bind_vcpu",
        "bind_vcpu, refused", "status", "reset"}) {
    EXPECT_NE(ways[way], 0u) << way;
  }
}

// struct vcpu_runstate_info: an int, four bytes of nothing, then when and how long.
TEST_P(HypervisorSharedPageTest, ARunstateAreaIsWrittenAtEveryPlace) {
  constexpr std::size_t kBytes = 48;
  Vcpu* const vcpu = Build(1);
  std::byte* const first = machine.BytesOf(machine.hypervisor.FrameOf(1, 7));
  ASSERT_EQ(machine.BytesOf(machine.hypervisor.FrameOf(1, 8)), first + kPageSize);
  ASSERT_EQ(machine.hypervisor.Call(*vcpu, machine.Frame(__HYPERVISOR_vcpu_op, VCPUOP_down, 2)), 0);
  PageModel pages[] = {PageModel(GetParam()), PageModel(GetParam())};
  for (PageModel& page : pages) {
    for (std::size_t i = 0; i < kPageSize; ++i) page[i] = 0xee;
  }
  std::memset(first, 0xee, 2 * kPageSize);
  const auto byte = [&](std::size_t at) -> std::uint8_t& {
    return pages[at / kPageSize][at % kPageSize];
  };
  for (std::size_t at = 0; at < kPageSize; ++at) {
    // One that calls, one that does not, and one that is down.
    constexpr unsigned kStates[] = {RUNSTATE_running, RUNSTATE_blocked, RUNSTATE_offline};
    const auto who = static_cast<unsigned>(at % 3);
    const std::size_t state = kStates[who];
    vcpu_runstate_info before = {};
    ASSERT_EQ(CallWith(*vcpu, __HYPERVISOR_vcpu_op, VCPUOP_get_runstate_info, before, who), 0);
    const std::uint64_t asked = machine.now;
    vcpu_register_runstate_memory_area request = {};
    request.addr.p = reinterpret_cast<std::uint64_t>(first + at);
    ASSERT_EQ(
        CallWith(*vcpu, __HYPERVISOR_vcpu_op, VCPUOP_register_runstate_memory_area, request, who),
        0);
    PageModel area(GetParam());
    area.Store(0, kStates[who]);
    area.Store(8, before.state_entry_time);
    before.time[state] += machine.now - asked;
    for (std::size_t i = 0; i < 4; ++i) area.Store(16 + 8 * i, before.time[i]);
    for (std::size_t i = 0; i < kBytes; ++i) byte(at + i) = area[i];
    for (std::size_t page = 0; page < 2; ++page) {
      ASSERT_EQ(pages[page].Compare(first + page * kPageSize), "") << "page " << page << ", " << at;
    }
    for (std::size_t i = 0; i < kBytes; ++i) {
      byte(at + i) = 0xee;
      first[at + i] = std::byte{0xee};
    }
  }
}

// Grants of version 1 are 8 bytes: flags, domain, frame. Those of version 2 are 16: flags and
// domain, and the frame at 8; the bits that tell of use are apart, 2 bytes for each.
TEST_P(HypervisorSharedPageTest, AChangeOfVersionLeavesTheReservedGrantsAndNothingElse) {
  constexpr unsigned kFrames = 9;  // and two of status
  constexpr unsigned kReserved = 8;
  constexpr std::uint16_t kInUse = GTF_reading | GTF_writing;
  Vcpu* const vcpu = Build(1);
  std::vector<std::byte*> frames;
  for (unsigned i = 0; i < kFrames; ++i) {
    frames.push_back(Place(1, XENMAPSPACE_grant_table, i, kPlace + i));
  }
  const auto set_version = [&](std::uint32_t wanted, std::int64_t answer) {
    gnttab_set_version version = {.version = wanted};
    ASSERT_EQ(CallWith(*vcpu, __HYPERVISOR_grant_table_op, GNTTABOP_set_version, version, 1),
              answer);
    EXPECT_EQ(version.version, answer == 0 ? wanted : 3 - wanted);
  };
  Random random(11);
  unsigned refused = 0;
  for (unsigned round = 0; round < 200; ++round) {
    struct Grant {
      std::uint16_t flags;
      std::uint16_t domain;
      std::uint64_t frame;
    } grants[kReserved];
    const auto fill = [&](const std::vector<std::byte*>& pages) {
      for (std::byte* const page : pages) random.Fill(page, kPageSize);
    };
    const auto any = [&](bool is_second) {
      // Often one that version 1 can say.
      const std::uint64_t type = random.OneIn(20) ? random.Below(4) : random.Below(2);
      const auto flags = static_cast<std::uint16_t>((random.Next() & 0xfffc) | type);
      const std::uint64_t most = is_second && random.OneIn(20) ? ~std::uint64_t{0} : 0xffffffff;
      return Grant{flags, static_cast<std::uint16_t>(random.Next()), random.Next() & most};
    };
    fill(frames);
    PageModel first(GetParam());
    for (std::size_t i = 0; i < kPageSize; ++i)
      first[i] = std::to_integer<std::uint8_t>(frames[0][i]);
    for (unsigned i = 0; i < kReserved; ++i) {
      grants[i] = any(false);
      first.Store(8 * i, grants[i].flags);
      first.Store(8 * i + 2, grants[i].domain);
      first.Store(8 * i + 4, static_cast<std::uint32_t>(grants[i].frame));
    }
    for (std::size_t i = 0; i < kPageSize; ++i) frames[0][i] = std::byte{first[i]};
    set_version(2, 0);

    std::vector<std::byte*> status;
    for (unsigned i = 0; i < 2; ++i) {
      status.push_back(Place(1, XENMAPSPACE_grant_table, XENMAPIDX_grant_table_status | i,
                             kPlace + kFrames + i));
    }
    PageModel zero(GetParam());
    PageModel second(GetParam());
    PageModel in_use(GetParam());
    for (unsigned i = 0; i < kReserved; ++i) {
      second.Store(16 * i, static_cast<std::uint16_t>(grants[i].flags & ~kInUse));
      second.Store(16 * i + 2, grants[i].domain);
      second.Store(16 * i + 8, grants[i].frame);
      in_use.Store(2 * i, static_cast<std::uint16_t>(grants[i].flags & kInUse));
    }
    ASSERT_EQ(second.Compare(frames[0]), "") << round;
    ASSERT_EQ(in_use.Compare(status[0]), "") << round;
    ASSERT_EQ(zero.Compare(status[1]), "") << round;
    for (unsigned i = 1; i < kFrames; ++i) ASSERT_EQ(zero.Compare(frames[i]), "") << round;

    // And back, other grants.
    fill(frames);
    fill(status);
    bool is_sayable = true;
    PageModel before(GetParam());
    PageModel states(GetParam());
    for (std::size_t i = 0; i < kPageSize; ++i) {
      before[i] = std::to_integer<std::uint8_t>(frames[0][i]);
      states[i] = std::to_integer<std::uint8_t>(status[0][i]);
    }
    PageModel after(GetParam());
    for (unsigned i = 0; i < kReserved; ++i) {
      const Grant grant = any(true);
      const auto state = static_cast<std::uint16_t>(random.Next());
      before.Store(16 * i, grant.flags);
      before.Store(16 * i + 2, grant.domain);
      before.Store(16 * i + 8, grant.frame);
      states.Store(2 * i, state);
      const int type = grant.flags & GTF_type_mask;
      const bool is_long = grant.frame > 0xffffffff;
      is_sayable = is_sayable && type != GTF_transitive && (type != GTF_permit_access || !is_long);
      if (type != GTF_permit_access) continue;
      after.Store(8 * i, static_cast<std::uint16_t>(grant.flags | state));
      after.Store(8 * i + 2, grant.domain);
      after.Store(8 * i + 4, static_cast<std::uint32_t>(grant.frame));
    }
    for (std::size_t i = 0; i < kPageSize; ++i) {
      frames[0][i] = std::byte{before[i]};
      status[0][i] = std::byte{states[i]};
    }
    const std::vector<std::byte> last(frames[8], frames[8] + kPageSize);
    if (!is_sayable) {
      ++refused;
      set_version(1, -kERANGE);
      ASSERT_EQ(before.Compare(frames[0]), "") << round;
      ASSERT_EQ(states.Compare(status[0]), "") << round;
      ASSERT_EQ(std::memcmp(frames[8], last.data(), kPageSize), 0) << round;
      std::memset(frames[0], 0, kPageSize);
      after = PageModel(GetParam());
    }
    set_version(1, 0);
    ASSERT_EQ(after.Compare(frames[0]), "") << round;
    for (unsigned i = 1; i < kFrames; ++i) ASSERT_EQ(zero.Compare(frames[i]), "") << round;
  }
  EXPECT_GT(refused, 20u);
  EXPECT_LT(refused, 180u);
}

}  // namespace
}  // namespace xencomm::hypervisor
