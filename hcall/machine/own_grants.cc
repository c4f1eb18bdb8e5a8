#include "hcall/machine/own_grants.h"

#include <cerrno>

#include "hcall/hypervisor/base/machine.h"
#include "hcall/schema/generated/xen.h"

namespace xencomm::machine {
namespace {

using hypervisor::kPageShift;
using hypervisor::kPageSize;

constexpr std::uint32_t kReserved = 8;  // GNTTAB_NR_RESERVED_ENTRIES
constexpr std::uint32_t kOfFrame = kPageSize / sizeof(grant_entry_v1_t);

}  // namespace

OwnGrants::~OwnGrants() {
  for (const std::uint64_t mfn : frames_) kernel_.hypervisor().ReleaseFrame(mfn);
}

bool OwnGrants::HasFree() {
  if (!free_.empty()) return true;
  const hypervisor::Resource table = {.type = XENMEM_resource_grant_table,
                                      .id = XENMEM_resource_grant_table_id_shared};
  std::uint64_t mfn;
  if (kernel_.hypervisor().HoldResourceFrame(kernel_.id(), table, frames_.size(), &mfn) != 0) {
    return false;
  }
  const auto first = static_cast<std::uint32_t>(frames_.size()) * kOfFrame;
  frames_.push_back(mfn);
  // The lowest first.
  for (std::uint32_t ref = first + kOfFrame; ref-- != first;) {
    if (ref >= kReserved) free_.push_back(ref);
  }
  return true;
}

hypervisor::GrantEntry OwnGrants::EntryOf(std::uint32_t ref) const {
  std::byte* const frame = kernel_.ram().data() + (frames_[ref / kOfFrame] << kPageShift);
  return {frame + ref % kOfFrame * sizeof(grant_entry_v1_t), nullptr, kNativeOrder};
}

std::int64_t OwnGrants::Grant(std::uint16_t domain, std::uint64_t frame, bool writable) {
  if (!HasFree()) return -ENOSPC;
  const std::uint32_t ref = free_.back();
  free_.pop_back();
  EntryOf(ref).Store(static_cast<std::uint16_t>(GTF_permit_access | (writable ? 0 : GTF_readonly)),
                     domain, frame);
  return ref;
}

bool OwnGrants::Revoke(std::uint32_t ref) {
  if (!EntryOf(ref).Revoke()) return false;
  free_.push_back(ref);
  return true;
}

}  // namespace xencomm::machine
