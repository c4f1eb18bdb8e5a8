#include "hcall/trace/device_requests.h"

#include <algorithm>
#include <cstddef>

#include "hcall/machine/event_calls.h"
#include "hcall/schema/count.h"
#include "hcall/transport/grant_calls.h"
#include "hcall/transport/privcmd_calls.h"

namespace xencomm::trace {
namespace {

using Form = DeviceField::Form;
using schema::Direction;
using enum schema::Direction;

// The structure of one field.
#define FIELD(type, member, ...) \
  { #member, offsetof(type, member), sizeof(type::member), __VA_ARGS__ }
#define COUNT(type, member) \
  { offsetof(type, member), sizeof(type::member) }

// --- privcmd ---

struct MapEntry {
  std::uint64_t va, mfn, npages;
};
constexpr DeviceField kMapEntry[] = {FIELD(MapEntry, va, Form::kAddress),
                                     FIELD(MapEntry, mfn, Form::kFrame), FIELD(MapEntry, npages)};
constexpr DeviceField kMap[] = {FIELD(PrivcmdMap, dom, Form::kDomain)};
constexpr DeviceArray kMapArrays[] = {
    {"entry", offsetof(PrivcmdMap, entry), COUNT(PrivcmdMap, num), sizeof(MapEntry), kMapEntry}};

constexpr DeviceField kFrame[] = {{"", 0, 8, Form::kFrame}};
constexpr DeviceField kError[] = {{"", 0, 4, Form::kError}};
constexpr DeviceField kBatch[] = {FIELD(PrivcmdMapBatch, num),
                                  FIELD(PrivcmdMapBatch, dom, Form::kDomain),
                                  FIELD(PrivcmdMapBatch, addr, Form::kAddress)};
constexpr DeviceArray kBatchArrays[] = {
    {"arr", offsetof(PrivcmdMapBatch, arr), COUNT(PrivcmdMapBatch, num), 8, kFrame},
    {"err", offsetof(PrivcmdMapBatch, err), COUNT(PrivcmdMapBatch, num), 4, kError, kOut}};
constexpr DeviceArray kBatchV1Arrays[] = {
    {"arr", offsetof(PrivcmdMapBatchV1, arr), COUNT(PrivcmdMapBatchV1, num), 8, kFrame, kInOut}};
constexpr DeviceField kResource[] = {FIELD(PrivcmdMapResource, dom, Form::kDomain),
                                     FIELD(PrivcmdMapResource, type),
                                     FIELD(PrivcmdMapResource, id),
                                     FIELD(PrivcmdMapResource, idx),
                                     FIELD(PrivcmdMapResource, num, Form::kNumber, kInOut),
                                     FIELD(PrivcmdMapResource, addr, Form::kAddress)};
constexpr DeviceField kDomainOnly[] = {{"dom", 0, 2, Form::kDomain}};

// --- gntdev and gntalloc ---

constexpr DeviceField kRef[] = {FIELD(GrantRef, domid, Form::kDomain), FIELD(GrantRef, ref)};
constexpr DeviceField kGrantMapFields[] = {FIELD(GrantMap, count),
                                           FIELD(GrantMap, index, Form::kAddress, kOut)};
constexpr DeviceArray kGrantMapArrays[] = {
    {"refs", DeviceArray::kTrailing, COUNT(GrantMap, count), sizeof(GrantRef), kRef}};
constexpr DeviceField kUnmapFields[] = {FIELD(GrantUnmap, index, Form::kAddress),
                                        FIELD(GrantUnmap, count)};
constexpr DeviceField kOffsetFields[] = {FIELD(GrantOffset, vaddr, Form::kAddress),
                                         FIELD(GrantOffset, offset, Form::kAddress, kOut),
                                         FIELD(GrantOffset, count, Form::kNumber, kOut)};
constexpr DeviceField kMostGrants[] = {{"count", 0, 4}};
constexpr DeviceField kNotifyFields[] = {FIELD(UnmapNotify, index, Form::kAddress),
                                         FIELD(UnmapNotify, action),
                                         FIELD(UnmapNotify, port, Form::kPort)};
// A side is of a grant or an address of the program.
#define SIDE(side, flag)                                                                             \
  {#side ".ref", offsetof(GrantCopySegment, side.foreign.ref), 4, Form::kNumber, kIn, flag},         \
      {#side ".offset",                                                                              \
       offsetof(GrantCopySegment, side.foreign.offset),                                              \
       2,                                                                                            \
       Form::kNumber,                                                                                \
       kIn,                                                                                          \
       flag},                                                                                        \
      {#side ".domid", offsetof(GrantCopySegment, side.foreign.domid), 2, Form::kDomain, kIn, flag}, \
  {                                                                                                  \
#side ".virt", offsetof(GrantCopySegment, side.address), 8, Form::kAddress, kIn, 0, flag         \
  }
constexpr DeviceField kSegment[] = {SIDE(source, kCopyFromGrant), SIDE(dest, kCopyToGrant),
                                    FIELD(GrantCopySegment, length), FIELD(GrantCopySegment, flags),
                                    FIELD(GrantCopySegment, status, Form::kSigned, kOut)};
#undef SIDE
constexpr DeviceField kCopyFields[] = {FIELD(GrantCopy, count)};
constexpr DeviceArray kCopyArrays[] = {{"segments", offsetof(GrantCopy, segments),
                                        COUNT(GrantCopy, count), sizeof(GrantCopySegment), kSegment,
                                        kInOut, COUNT(GrantCopySegment, flags)}};
constexpr DeviceField kNumber[] = {{"", 0, 4}};
constexpr DeviceField kAllocateFields[] = {FIELD(ShareAllocate, domid, Form::kDomain),
                                           FIELD(ShareAllocate, flags), FIELD(ShareAllocate, count),
                                           FIELD(ShareAllocate, index, Form::kAddress, kOut)};
constexpr DeviceArray kAllocateArrays[] = {
    {"gref_ids", DeviceArray::kTrailing, COUNT(ShareAllocate, count), 4, kNumber, kOut}};
constexpr DeviceField kFreeFields[] = {FIELD(ShareFree, index, Form::kAddress),
                                       FIELD(ShareFree, count)};

// --- evtchn ---

constexpr DeviceField kVirq[] = {FIELD(machine::EventBindVirq, virq)};
constexpr DeviceField kInterdomain[] = {
    FIELD(machine::EventBindInterdomain, remote_domain, Form::kDomain),
    FIELD(machine::EventBindInterdomain, remote_port, Form::kPort)};
constexpr DeviceField kUnbound[] = {FIELD(machine::EventBindUnbound, remote_domain, Form::kDomain)};
constexpr DeviceField kPort[] = {FIELD(machine::EventPort, port, Form::kPort)};

#undef FIELD
#undef COUNT

constexpr std::uint64_t kSetMostGrants = _IOC(_IOC_NONE, 'G', 3, 4);
// What libraries ask to see whether the device says so of what it does not know.
constexpr std::uint64_t kUnimplemented = _IOC(_IOC_NONE, 'P', 0xff, 0);

constexpr DeviceRequest kRequests[] = {
    {kPrivcmdMap, "privcmd", "mmap", sizeof(PrivcmdMap), 0, kMap, kMapArrays},
    {kPrivcmdMapBatchV1, "privcmd", "mmapbatch", sizeof(PrivcmdMapBatchV1), 0, kBatch,
     kBatchV1Arrays},
    {kPrivcmdMapBatch, "privcmd", "mmapbatch_v2", sizeof(PrivcmdMapBatch), 0, kBatch, kBatchArrays},
    {kPrivcmdRestrict, "privcmd", "restrict", 2, 0, kDomainOnly},
    {kPrivcmdMapResource, "privcmd", "mmap_resource", sizeof(PrivcmdMapResource), 0, kResource},
    {kUnimplemented, "privcmd", "unimplemented", 0},
    {kGrantMap, "gntdev", "map_grant_ref", sizeof(GrantMap), sizeof(GrantMap), kGrantMapFields,
     kGrantMapArrays},
    {kGrantUnmap, "gntdev", "unmap_grant_ref", sizeof(GrantUnmap), 0, kUnmapFields},
    {kGrantOffset, "gntdev", "get_offset_for_vaddr", sizeof(GrantOffset), 0, kOffsetFields},
    {kSetMostGrants, "gntdev", "set_max_grants", 4, 0, kMostGrants},
    {kUnmapNotify, "gntdev", "set_unmap_notify", sizeof(UnmapNotify), 0, kNotifyFields},
    {kGrantCopy, "gntdev", "grant_copy", sizeof(GrantCopy), 0, kCopyFields, kCopyArrays},
    {kShareAllocate, "gntalloc", "alloc_gref", sizeof(ShareAllocate), sizeof(ShareAllocate),
     kAllocateFields, kAllocateArrays},
    {kShareFree, "gntalloc", "dealloc_gref", sizeof(ShareFree), 0, kFreeFields},
    {machine::kEventBindVirq, "evtchn", "bind_virq", 4, 0, kVirq, {}, true},
    {machine::kEventBindInterdomain, "evtchn", "bind_interdomain", 8, 0, kInterdomain, {}, true},
    {machine::kEventBindUnbound, "evtchn", "bind_unbound_port", 4, 0, kUnbound, {}, true},
    {machine::kEventUnbind, "evtchn", "unbind", 4, 0, kPort},
    {machine::kEventNotify, "evtchn", "notify", 4, 0, kPort},
    {machine::kEventReset, "evtchn", "reset", 0},
    {machine::kEventRestrict, "evtchn", "restrict_domid", 2, 0, kDomainOnly},
};

}  // namespace

std::span<const DeviceRequest> DeviceRequests() { return kRequests; }

bool Has(const DeviceArray& array, const DeviceField& field, std::span<const std::byte> element) {
  if (!array.flags || element.size() < array.element_size) return true;
  const std::uint64_t flags = schema::RecordView(element.data(), kNativeOrder).Read(array.flags);
  return (flags & field.with_flag) == field.with_flag && (flags & field.without_flag) == 0;
}

schema::Local LocalOf(const DeviceField& field) {
  switch (field.form) {
    case Form::kDomain:
      return schema::Local::kDomain;
    case Form::kFrame:
      return schema::Local::kFrame;
    case Form::kPort:
      return schema::Local::kPort;
    default:
      return schema::Local::kNo;
  }
}

const DeviceRequest* FindDeviceRequest(std::uint64_t request) {
  const auto found = std::ranges::find(kRequests, request, &DeviceRequest::request);
  return found == std::end(kRequests) ? nullptr : found;
}

}  // namespace xencomm::trace
