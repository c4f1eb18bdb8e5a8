// memory_op (12): what its ops share.
//
// The low six bits of the command are the op, the rest how far a call came that was continued.
#ifndef HCALL_HYPERVISOR_CALLS_MEMORY_OP_H_
#define HCALL_HYPERVISOR_CALLS_MEMORY_OP_H_

#include <cstdint>

#include "hcall/hypervisor/calls/argument.h"
#include "hcall/hypervisor/calls/call.h"

namespace xencomm::hypervisor {

// From public/memory.h's description of the command (MEMOP_EXTENT_SHIFT in Xen).
inline constexpr unsigned kMemoryOpBits = 6;
inline constexpr std::uint64_t kMemoryOpMask = (1u << kMemoryOpBits) - 1;

// The largest extent a caller may ask for: 2^18 pages for a control domain, 2^9 for others.
unsigned MaxExtentOrder(const Domain& caller);

// Leaves the call to be continued after `done` pieces of op `op`.
std::int64_t ContinueMemoryOp(Call& call, std::uint64_t op, std::uint64_t done);

// increase_reservation, decrease_reservation, populate_physmap: how many extents are done, whatever
// was wrong with the next one.
std::int64_t ChangeReservation(Call& call, std::uint64_t op, std::uint64_t start);

// exchange.cc
std::int64_t Exchange(Call& call);

// physmap_op.cc
std::int64_t AddToPhysmap(Call& call, std::uint64_t start);
std::int64_t AddToPhysmapBatch(Call& call, std::uint64_t start);
std::int64_t RemoveFromPhysmap(Call& call);

// resource_op.cc
std::int64_t AcquireResource(Call& call, std::uint64_t start);

// memory_map_op.cc
std::int64_t SetMemoryMap(Call& call);
std::int64_t GetMemoryMap(Call& call);
std::int64_t GetMachineMemoryMap(Call& call);
std::int64_t GetMachphysMapping(Call& call);
std::int64_t GetMachphysList(Call& call, std::uint64_t op);
std::int64_t GetVnuma(Call& call);

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_CALLS_MEMORY_OP_H_
