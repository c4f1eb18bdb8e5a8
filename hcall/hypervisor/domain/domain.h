// Domain and Vcpu: what the hypervisor knows of a guest.
//
// Both live in pages of the pool that are charged to the domain. A call that found a domain may use
// it until the call ends: a destroyed domain's pages wait for quiescence (memory/quiescence.h).
// What is written under the domain's lock says so; what is read without it is atomic.
#ifndef HCALL_HYPERVISOR_DOMAIN_DOMAIN_H_
#define HCALL_HYPERVISOR_DOMAIN_DOMAIN_H_

#include <array>
#include <atomic>
#include <cstdint>

#include "hcall/hypervisor/base/cpu_mask.h"
#include "hcall/hypervisor/domain/domain_config.h"
#include "hcall/hypervisor/domain/grant_maps.h"
#include "hcall/hypervisor/domain/held_area.h"
#include "hcall/hypervisor/memory/domain_pages.h"
#include "hcall/hypervisor/memory/quiescence.h"
#include "xencomm/space.h"

namespace xencomm::hypervisor {

class Domain;
class RegionRegistry;
struct EventChannels;
struct GrantTable;
struct HvmState;
struct HvmVcpu;
struct MemoryMap;
struct Vnuma;
struct CpuPolicy;

// Of those virtual interrupts that each vcpu has for itself. Source: public/xen.h.
inline constexpr unsigned kVcpuVirqs = 4;

// What a vcpu did since it was made, by RUNSTATE_* (public/vcpu.h), in nanoseconds. Schedule writes
// it, under its lock (domain/schedule.h).
struct VcpuTimes {
  std::atomic<unsigned> state = 3;  // RUNSTATE_offline
  std::atomic<std::uint64_t> spent[4] = {};
  std::uint64_t entered = 0;  // this state
  std::uint64_t sampled = 0;
};

class Vcpu {
 public:
  Domain* domain = nullptr;
  unsigned id = 0;
  std::atomic<unsigned> processor = 0;  // Schedule's to say
  VcpuTimes times;

  // Down until it is brought up with a context: VPF_down in Xen.
  std::atomic<bool> online = false;
  bool initialised = false;
  CpuMask hard_affinity = {};
  CpuMask soft_affinity = {};
  // A PV one's page tables, the kernel's and its programs', which it uses (memory/page_types.h).
  std::uint64_t roots[2] = {kNoFrame, kNoFrame};
  // What setvcpucontext gave a PV vcpu, 2^kContextOrder pages of the domain; of an HVM vcpu, what
  // its hardware holds.
  std::byte* context = nullptr;
  HvmVcpu* hvm = nullptr;

  HeldArea runstate_area;  // under the domain's lock, as the next
  HeldArea time_area;

  // Of its own virtual interrupts, by PortOfVirq (domain/event_channel.h); under the events' lock.
  std::uint32_t virq_ports[kVcpuVirqs] = {};

  // Only of a vcpu that makes calls here.
  CallerSlot* slot = nullptr;
  Space* raw_space = nullptr;
  bool in_multicall = false;
  unsigned short_legs = 0;  // in a row, that were continued because memory was due (calls/call.h)
};

// The legs that a call may wait for memory: about a second.
inline constexpr unsigned kMostShortLegs = 1u << 20;

// Of the pages that hold a struct vcpu_guest_context.
inline constexpr unsigned kContextOrder = 1;

class Domain : public DomainPages {
 public:
  ByteOrder order = kNativeOrder;
  SpaceKind space = SpaceKind::kRaw;
  bool privileged = false;
  bool hvm = false;
  std::atomic<bool> reaches_frames =
      false;                  // whoever calls for it reaches all domains' (grant_maps.h)
  std::uint32_t options = 0;  // XEN_DOMCTL_CDF_*
  std::uint32_t ssidref = 0;
  std::uint32_t emulation_flags = 0;
  std::uint64_t altp2m_mode = 0;  // XEN_DOMCTL_ALTP2M_*

  std::atomic<int> controller_pauses = 0;
  std::atomic<bool> creation_finished = false;  // was unpaused once
  bool debugger_attached = false;
  bool shut_down = false;
  static constexpr std::uint32_t kNoShutdownCode = ~std::uint32_t{0};
  std::uint32_t shutdown_code = kNoShutdownCode;
  std::array<std::uint8_t, 16> handle = {};
  std::uint32_t max_event_port = 0;
  std::uint32_t max_grant_frames = 64;
  std::uint32_t max_grant_version = 2;
  std::uint32_t max_maptrack_frames = 1024;
  std::uint16_t sched_weight = 256;
  std::uint16_t sched_cap = 0;
  std::int64_t time_offset_seconds = 0;
  std::uint32_t suspend_port = 0;
  std::uint32_t tsc_mode = 0;
  std::uint32_t tsc_incarnation = 1;
  std::uint32_t tsc_khz = kCpuKilohertz;
  std::uint64_t shared_info_mfn = kNoFrame;

  // Of its pages those that are at no gfn, to be populated on demand; under the control lock.
  std::uint64_t pod_cache_pages = 0;

  // Each shuts the domain down when it is due; under the control lock.
  struct Watchdog {
    static constexpr std::uint64_t kNever = ~std::uint64_t{0};
    bool in_use = false;
    std::uint64_t due = kNever;  // in nanoseconds
  };
  Watchdog watchdogs[2];

  // How far the end of the domain came, leg by leg; under the control lock.
  struct Ending {
    std::uint32_t next_port = 1;
    std::uint32_t next_handle = 0;  // of its grant maps
    std::uint64_t next_gfn = 0;
  } ending;

  unsigned max_vcpus = 0;
  Vcpu** vcpus = nullptr;      // max_vcpus places; a vcpu appears once and stays
  unsigned claimed_vcpus = 0;  // under the control lock

  // Parts that only some ops need, made when the first of them comes. What an op replaces as a
  // whole (memory map, topology, policy) never changes once it stands here: who found it may use it
  // until the call ends.
  std::atomic<RegionRegistry*> regions = nullptr;
  EventChannels* event_channels = nullptr;  // under the events' lock
  GrantTable* grants = nullptr;             // under the domain's lock, as the next
  GrantMaps grant_maps;
  HvmState* hvm_state = nullptr;
  std::atomic<MemoryMap*> memory_map = nullptr;
  std::atomic<Vnuma*> vnuma = nullptr;
  CpuPolicy* cpu_policy = nullptr;  // under the control lock

  // Xen keeps eight bits of the reason, and the first reason that it is given: before the shutdown,
  // or with it. With the control lock held, as the next.
  void SetShutdownReason(std::uint32_t reason) {
    if (shutdown_code == kNoShutdownCode) shutdown_code = static_cast<std::uint8_t>(reason);
  }

  Vcpu* vcpu(std::uint64_t vcpu_id) const {
    return vcpu_id < max_vcpus ? std::atomic_ref<Vcpu*>(vcpus[vcpu_id]).load() : nullptr;
  }
};

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_DOMAIN_DOMAIN_H_
