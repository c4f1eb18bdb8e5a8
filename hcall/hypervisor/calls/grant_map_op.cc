// grant_table_op: pages that are granted are mapped, and mappings end.

#include "hcall/hypervisor/calls/grant_calls.h"
#include "hcall/hypervisor/domain/grant_maps.h"

namespace xencomm::hypervisor {
namespace {

std::int16_t Map(Call& call, gnttab_map_grant_ref& op) {
  GrantMapRequest request = {
      .flags = op.flags, .granter = op.dom, .ref = op.ref, .host_address = op.host_addr};
  const std::int16_t status = MapGrant(call.core, call.domain, request);
  if (status != GNTST_okay) return status;
  op.host_addr = request.host_address;
  op.handle = request.handle;
  op.dev_bus_addr = request.bus_address;
  return GNTST_okay;
}

std::int16_t Unmap(Call& call, gnttab_unmap_grant_ref& op) {
  return UnmapGrant(
      call.core, call.domain,
      {.handle = op.handle, .host_address = op.host_addr, .bus_address = op.dev_bus_addr});
}

std::int16_t UnmapAndReplace(Call& call, gnttab_unmap_and_replace& op) {
  return UnmapGrant(
      call.core, call.domain,
      {.handle = op.handle, .host_address = op.host_addr, .new_address = op.new_addr});
}

}  // namespace

std::int64_t MapGrants(Call& call) {
  return ForEachGrant<gnttab_map_grant_ref, GNTTABOP_map_grant_ref, Map>(call);
}

std::int64_t UnmapGrants(Call& call) {
  return ForEachGrant<gnttab_unmap_grant_ref, GNTTABOP_unmap_grant_ref, Unmap>(call);
}

std::int64_t UnmapAndReplaceGrants(Call& call) {
  return ForEachGrant<gnttab_unmap_and_replace, GNTTABOP_unmap_and_replace, UnmapAndReplace>(call);
}

}  // namespace xencomm::hypervisor
