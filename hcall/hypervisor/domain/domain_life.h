// How a domain begins and ends.
//
//   created ── max_vcpus, memory, unpause ──> alive ── kill ──> dying ── all given back ──> dead
//
// A dead domain stays in the table while somebody maps a page of it or may call as one of its
// vcpus. Everything here runs with the control lock held.
#ifndef HCALL_HYPERVISOR_DOMAIN_DOMAIN_LIFE_H_
#define HCALL_HYPERVISOR_DOMAIN_DOMAIN_LIFE_H_

#include <array>
#include <cstdint>

#include "hcall/hypervisor/base/work.h"
#include "hcall/hypervisor/domain/domain.h"

namespace xencomm::hypervisor {

class Core;

struct DomainTraits {
  std::uint16_t id = 0;
  ByteOrder order = kNativeOrder;
  SpaceKind space = SpaceKind::kRaw;
  bool privileged = false;
  bool hvm = false;
  bool translated = false;
  bool built = false;
  bool reaches_frames = false;
  std::uint32_t options = 0;
  std::uint32_t ssidref = 0;
  std::uint32_t emulation_flags = 0;
  std::uint64_t altp2m_mode = 0;
  unsigned max_vcpus = 1;
  std::uint32_t max_event_port = 0x7fffffff;
  std::uint32_t max_grant_frames = 64;
  std::uint32_t max_grant_version = 2;
  std::uint32_t max_maptrack_frames = 1024;
  std::uint64_t paging_pages = 0;  // set aside for its paging from the start
  std::array<std::uint8_t, 16> handle = {};
};

// A paused domain without memory and vcpus. -EEXIST, -ENOMEM.
std::int64_t CreateDomain(Core& core, const DomainTraits& traits, Domain** domain);

// All vcpus that it may have. -ENOMEM; those that were made stay.
std::int64_t CreateVcpus(Core& core, Domain& domain);

// Gives back what the leg has work for; true when nothing is left and the domain is dead. How far
// it came is kept in the domain: whoever calls next goes on.
bool KillDomain(Core& core, Domain& domain, Work& work);

// As a domain's shutdown; with the control lock held.
void ShutDown(Core& core, Domain& domain, std::uint32_t reason);
// Shuts down whoever has a watchdog that is due. Whoever asks how domains are calls it first:
// nothing ticks here, as in Schedule. With the control lock held.
void ExpireWatchdogs(Core& core);

// Ends a mapping of frame `mfn`, which Physmap::Hold began.
void ReleaseMapping(Core& core, std::uint64_t mfn);

// Forgets a dead domain that nobody uses any more.
void ForgetDomain(Core& core, Domain& domain);

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_DOMAIN_DOMAIN_LIFE_H_
