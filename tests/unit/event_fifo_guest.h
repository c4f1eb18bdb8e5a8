// A guest's kernel in the FIFO ABI of event channels, as public/event_channel.h has it: what it
// shares with the hypervisor, and how it takes its events.
#ifndef TESTS_UNIT_EVENT_FIFO_GUEST_H_
#define TESTS_UNIT_EVENT_FIFO_GUEST_H_

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/hypervisor_machine.h"

namespace xencomm::hypervisor {

class FifoGuest {
 public:
  static constexpr std::uint32_t kPending = 1u << 31, kMasked = 1u << 30, kLinked = 1u << 29;
  static constexpr std::uint32_t kBusy = 1u << 28, kLink = (1u << 17) - 1;
  static constexpr std::uint32_t kWordsPerPage = 1024;
  // Where its pages are: control blocks in the first, words in those that follow.
  static constexpr std::uint64_t kControlGfn = 20, kArrayGfn = 21;
  static constexpr std::uint32_t kBlockBytes = 128;  // from one control block to the next
  static constexpr unsigned kBlocks = 32;

  FifoGuest(TestMachine& machine, std::uint16_t id, ByteOrder order, unsigned vcpus = 4,
            std::uint64_t pages = 64)
      : machine_(machine), id_(id), order_(order) {
    EXPECT_EQ(
        machine.hypervisor.BuildDomain(
            {.id = id, .pages = pages, .vcpus = vcpus, .order = order, .space = SpaceKind::kRaw}),
        0);
    vcpu = machine.hypervisor.ClaimVcpu(id, 0);
    machine.hypervisor.SetRawSpace(*vcpu, machine.direct);
  }

  template <class T>
  std::int64_t Op(std::uint64_t op, T& argument) {
    Reorder(argument);
    const std::int64_t answer = machine_.Called(machine_.hypervisor.Call(
        *vcpu, machine_.Frame(__HYPERVISOR_event_channel_op, op, &argument)));
    Reorder(argument);
    return answer;
  }
  std::int64_t InitControl(std::uint32_t of, std::uint64_t gfn, std::uint32_t offset) {
    evtchn_init_control request = {};
    request.control_gfn = gfn;
    request.offset = offset;
    request.vcpu = of;
    const std::int64_t answer = Op(EVTCHNOP_init_control, request);
    EXPECT_EQ(request.link_bits, answer == 0 ? 17 : 0);
    return answer;
  }
  std::int64_t InitControl(std::uint32_t of) {
    return InitControl(of, kControlGfn, of % kBlocks * kBlockBytes);
  }
  std::int64_t ExpandArray(std::uint64_t gfn) {
    evtchn_expand_array request = {.array_gfn = gfn};
    return Op(EVTCHNOP_expand_array, request);
  }
  // Control blocks of its first vcpus, and a page of words.
  void Share(unsigned vcpus = 2) {
    for (unsigned i = 0; i < vcpus; ++i) ASSERT_EQ(InitControl(i), 0);
    ASSERT_EQ(ExpandArray(kArrayGfn), 0);
  }
  std::int64_t SetPriority(std::uint32_t port, std::uint32_t priority) {
    evtchn_set_priority request = {.port = port, .priority = priority};
    return Op(EVTCHNOP_set_priority, request);
  }
  // A port, or a negative errno.
  std::int64_t BindIpi(std::uint32_t to) {
    evtchn_bind_ipi request = {.vcpu = to, .port = 0};
    const std::int64_t answer = Op(EVTCHNOP_bind_ipi, request);
    return answer == 0 ? std::int64_t{request.port} : answer;
  }
  std::uint32_t NewIpi(std::uint32_t to = 0) {
    const std::int64_t port = BindIpi(to);
    EXPECT_GT(port, 0);
    return static_cast<std::uint32_t>(port);
  }
  // Two ports of its own that are connected: the first one sends to the second.
  std::array<std::uint32_t, 2> NewPair() {
    evtchn_alloc_unbound offer = {.dom = DOMID_SELF, .remote_dom = DOMID_SELF, .port = 0};
    EXPECT_EQ(Op(EVTCHNOP_alloc_unbound, offer), 0);
    evtchn_bind_interdomain bind = {
        .remote_dom = DOMID_SELF, .remote_port = offer.port, .local_port = 0};
    EXPECT_EQ(Op(EVTCHNOP_bind_interdomain, bind), 0);
    return {bind.local_port, offer.port};
  }
  std::int64_t Send(std::uint32_t port) {
    evtchn_send request = {.port = port};
    return Op(EVTCHNOP_send, request);
  }
  std::int64_t Unmask(std::uint32_t port) {
    evtchn_unmask request = {.port = port};
    return Op(EVTCHNOP_unmask, request);
  }
  std::int64_t Close(std::uint32_t port) {
    evtchn_close request = {.port = port};
    return Op(EVTCHNOP_close, request);
  }
  std::int64_t BindVcpu(std::uint32_t port, std::uint32_t to) {
    evtchn_bind_vcpu request = {.port = port, .vcpu = to};
    return Op(EVTCHNOP_bind_vcpu, request);
  }
  std::int64_t Reset() {
    evtchn_reset request = {.dom = DOMID_SELF};
    return Op(EVTCHNOP_reset, request);
  }

  std::byte* Page(std::uint64_t gfn) {
    return machine_.BytesOf(machine_.hypervisor.FrameOf(id_, gfn));
  }

  // What is shared, in this processor's order.
  std::uint32_t Word(std::uint32_t port) { return InOrder(At(port).load(), order_); }
  void SetWord(std::uint32_t port, std::uint32_t value) { At(port).store(InOrder(value, order_)); }
  void Mask(std::uint32_t port) { At(port).fetch_or(InOrder(kMasked, order_)); }
  std::uint32_t Ready(unsigned of) { return InOrder(Block(of, 0).load(), order_); }
  std::uint32_t Head(unsigned of, unsigned priority) {
    return InOrder(Block(of, 2 + priority).load(), order_);
  }
  bool IsCalled(unsigned of) { return Info().vcpu_info[of].evtchn_upcall_pending != 0; }
  shared_info_t& Info() {
    return *reinterpret_cast<shared_info_t*>(machine_.hypervisor.SharedInfoOf(id_));
  }

  // Takes a vcpu's events, as a kernel does: in their order, those that are not masked.
  std::vector<std::uint32_t> Take(unsigned of) {
    std::vector<std::uint32_t> taken;
    if (of < XEN_LEGACY_MAX_VCPUS) {
      std::atomic_ref(Info().vcpu_info[of].evtchn_upcall_pending).exchange(0);
    }
    std::uint32_t ready = 0;
    for (;;) {
      ready |= InOrder(Block(of, 0).exchange(0), order_);
      if (ready == 0) return taken;
      const auto priority = static_cast<unsigned>(std::countr_zero(ready));
      std::uint32_t& head = heads_[{of, priority}];
      if (head == 0) head = Head(of, priority);
      const std::uint32_t port = head;
      head = Unlink(port);
      if (head == 0) ready &= ready - 1;
      if ((Word(port) & (kPending | kMasked)) == kPending) {
        At(port).fetch_and(~InOrder(kPending, order_));
        taken.push_back(port);
      }
    }
  }

  Vcpu* vcpu = nullptr;

 private:
  template <class T>
  void Reorder(T& argument) {
    if (order_ != kNativeOrder) SwapBytes(argument);
  }

  // Of the first pages of words; they follow one another in the machine, too.
  std::atomic_ref<std::uint32_t> At(std::uint32_t port) {
    auto* words = reinterpret_cast<std::uint32_t*>(Page(kArrayGfn + port / kWordsPerPage));
    return std::atomic_ref(words[port % kWordsPerPage]);
  }
  std::atomic_ref<std::uint32_t> Block(unsigned of, unsigned index) {
    auto* words = reinterpret_cast<std::uint32_t*>(Page(kControlGfn) + of % kBlocks * kBlockBytes);
    return std::atomic_ref(words[index]);
  }
  // Takes a word off its queue: what comes behind it, or 0.
  std::uint32_t Unlink(std::uint32_t port) {
    std::atomic_ref<std::uint32_t> word = At(port);
    std::uint32_t seen = word.load();
    while (!word.compare_exchange_weak(seen, seen & ~InOrder(kLinked | kLink, order_))) {
    }
    return InOrder(seen, order_) & kLink;
  }

  TestMachine& machine_;
  const std::uint16_t id_;
  const ByteOrder order_;
  // What it has read of a queue and not come to yet, by vcpu and priority.
  std::map<std::pair<unsigned, unsigned>, std::uint32_t> heads_;
};

}  // namespace xencomm::hypervisor

#endif  // TESTS_UNIT_EVENT_FIFO_GUEST_H_
