#include "hcall/hypervisor/domain/resource.h"

#include "hcall/hypervisor/base/errno.h"
#include "hcall/hypervisor/domain/core.h"
#include "hcall/hypervisor/domain/domain.h"
#include "hcall/hypervisor/domain/grant_table.h"
#include "hcall/hypervisor/memory/physmap.h"
#include "hcall/schema/generated/types.h"
#include "hcall/schema/generated/xen.h"

namespace xencomm::hypervisor {

std::uint32_t FramesOf(const Core& core, const Domain& domain, const Resource& resource) {
  switch (resource.type) {
    case XENMEM_resource_grant_table:
      return resource.id == XENMEM_resource_grant_table_id_shared ? domain.max_grant_frames
             : resource.id == XENMEM_resource_grant_table_id_status
                 ? StatusFrames(domain.max_grant_frames)
                 : 0;
    case XENMEM_resource_ioreq_server: {
      // One for buffered requests, and as many as the vcpus' take.
      constexpr std::uint64_t kVcpusOfFrame = kPageSize / 32;
      return domain.hvm ? static_cast<std::uint32_t>(1 + (domain.max_vcpus + kVcpusOfFrame - 1) /
                                                             kVcpusOfFrame)
                        : 0;
    }
    case XENMEM_resource_vmtrace_buf:
      return 0;
    default:
      return (core.config.release & schema::kSince4_20) != 0
                 ? 0
                 : static_cast<std::uint32_t>(-kEOPNOTSUPP);
  }
}

std::int64_t HoldResource(Core& core, Domain& domain, const Resource& resource, std::uint64_t first,
                          std::span<std::uint64_t> mfns) {
  switch (resource.type) {
    case XENMEM_resource_grant_table:
      break;
    case XENMEM_resource_ioreq_server:
      return !domain.hvm || resource.id > 0xffff ? -kEINVAL : -kENOENT;
    case XENMEM_resource_vmtrace_buf:
      return domain.vcpu(resource.id) == nullptr ? -kENOENT : -kEINVAL;
    default:
      return -kEOPNOTSUPP;
  }
  SpinGuard guard(domain.lock);
  Physmap physmap(core, domain);
  // The last one first: the table grows for it, or for none.
  for (std::size_t i = mfns.size(); i-- != 0;) {
    const std::int64_t error = GrantFrame(domain, resource.id, first + i, &mfns[i]);
    if (error != 0) return error;
  }
  for (const std::uint64_t mfn : mfns) physmap.Keep(mfn);
  return 0;
}

}  // namespace xencomm::hypervisor
