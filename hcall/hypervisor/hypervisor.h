// The embedded hypervisor: domains, their memory, and Xen's hypercalls as Xen 4.17 answers them.
//
// The same sources run in a process, in ring 0 and in real mode. Memory comes from a pool given at
// start, is charged to domains and capped; frames are scattered on purpose, so that nothing works
// by accident that needs guest-physical addresses to be machine addresses.
//
// Rules:
// 1. A vcpu makes one call at a time. Different vcpus call at the same time, from any thread.
// 2. Every answer is Xen's: a value, or a negative errno (hcall/hypervisor/base/errno.h).
// 3. A frame that a domain gives up is reused only when no call is under way that began before.
// 4. What a guest says is checked here and nowhere else: the transport passes registers through.
#ifndef HCALL_HYPERVISOR_HYPERVISOR_H_
#define HCALL_HYPERVISOR_HYPERVISOR_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "hcall/hypervisor/base/machine.h"
#include "hcall/hypervisor/calls/hypercall_frame.h"
#include "hcall/hypervisor/domain/domain_config.h"
#include "hcall/hypervisor/domain/resource.h"
#include "hcall/hypervisor/memory/domain_memory.h"
#include "xencomm/address.h"
#include "xencomm/space.h"

namespace xencomm::hypervisor {

class Core;
class Domain;
class Vcpu;

class Hypervisor {
 public:
  Hypervisor() = default;
  Hypervisor(const Hypervisor&) = delete;
  Hypervisor& operator=(const Hypervisor&) = delete;

  // `machine` is borrowed for as long as the hypervisor is used. Ending it is dropping the pool.
  // -EINVAL for a configuration that makes no sense, -ENOMEM for a pool that is too small.
  std::int64_t Init(const MachineConfig& config, Machine& machine);

  // -EEXIST, -EINVAL, -ENOMEM. Its vcpus are up.
  std::int64_t BuildDomain(const DomainConfig& config);

  // Makes this machine the kernel of a domain that a toolstack has made: it hears of upcalls, and
  // the domain may map grants in place (domain/grant_maps.h). Up to `most` of its vcpus are up
  // then, in `*vcpus`; `*pages` is its memory. -ESRCH; -EINVAL: it is ending, or has no vcpu.
  std::int64_t Adopt(std::uint16_t domain, unsigned most, unsigned* vcpus, std::uint64_t* pages);
  // Memory of a domain that nobody uses, as the domain names it, what it was given last first: no
  // page table, nothing that is mapped by others or kept for a region, and none of the pages that
  // toolstacks place below 4 GiB. How many of `frames` there are.
  std::uint64_t ListMemory(std::uint16_t domain, std::span<std::uint64_t> frames);

  // Ends a domain, whatever it is doing. What others have mapped of it stays.
  void EndDomain(std::uint16_t domain);

  // The right to make calls as a vcpu, or null when there is none, it is claimed already, or
  // kMaxCallers are. The vcpu lives until it is released, even when its domain is destroyed: calls
  // then answer -ESRCH.
  Vcpu* ClaimVcpu(std::uint16_t domain, unsigned vcpu);
  void ReleaseVcpu(Vcpu& vcpu);

  // What raw pointers of this vcpu mean: a page walk from its CR3, a process's own addresses. The
  // space is borrowed. Without one, raw pointers fault.
  void SetRawSpace(Vcpu& vcpu, Space& space);

  // One leg of a call, or all of it. Call gives the answer, and how often the call was continued;
  // Hypercall may set frame.continued.
  std::int64_t Hypercall(Vcpu& caller, HypercallFrame& frame);
  std::int64_t Call(Vcpu& caller, HypercallFrame frame, std::uint32_t* continuations = nullptr);

  // Guest-physical memory of the vcpu's domain, for the spaces of this vcpu's calls and only while
  // one of them is under way: it takes no lock, and notes what the call writes.
  DomainMemory MemoryOf(Vcpu& vcpu);
  // The same for a machine's own needs, outside calls: tables that it builds or looks at. Each
  // look-up holds the domain's lock, so not inside Machine::PhysmapChanged.
  LockedMemory LockedMemoryOf(Vcpu& vcpu);

  // The frame behind a gfn, or kNoFrame. For second stages: see Machine::PhysmapChanged.
  std::uint64_t FrameOf(std::uint16_t domain, std::uint64_t gfn);

  // The shared info page of a domain built by BuildDomain, as its kernel has it mapped while the
  // domain lives. Null: there is no such domain.
  std::byte* SharedInfoOf(std::uint16_t domain);

  // What has become of a domain. One that is dying has pages that somebody still maps.
  enum class DomainState : std::uint8_t { kAbsent, kAlive, kShutDown, kDying };
  DomainState StateOf(std::uint16_t domain);

  // A frame of `domain` for a mapping of somebody else's, as a privileged caller maps foreign
  // memory. `frame` is what a toolstack passes: a gfn of a translated domain, an mfn of a PV one.
  // It is not reused until it is released. -ESRCH, -EINVAL (no such frame), -EPERM (not writable,
  // or in memory that is the hypervisor's own).
  std::int64_t HoldFrame(std::uint16_t domain, std::uint64_t frame, Access access,
                         std::uint64_t* mfn);
  void ReleaseFrame(std::uint64_t mfn);

  // Whether a frame is in memory that others get, and not the hypervisor's own.
  bool IsLent(std::uint64_t mfn) const;

  // The same for frame `index` of a resource of `domain` (domain/resource.h), which is released as
  // any other; and how many there can be, or a negative errno. -ESRCH, -EINVAL, -ENOENT,
  // -EOPNOTSUPP.
  std::int64_t HoldResourceFrame(std::uint16_t domain, const Resource& resource,
                                 std::uint64_t index, std::uint64_t* mfn);
  std::int64_t CountResourceFrames(std::uint16_t domain, const Resource& resource);

 private:
  friend class Books;  // of tests/unit

  Core* core_ = nullptr;  // in the pool
};

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_HYPERVISOR_H_
