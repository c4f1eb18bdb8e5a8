// grant_table_op (20): dispatch, and a domain's grant table as toolstacks and the domain itself see
// it.

#include "hcall/hypervisor/calls/grant_calls.h"
#include "hcall/hypervisor/domain/grant_table.h"
#include "hcall/schema/generated/rows.h"

namespace xencomm::hypervisor {
namespace {

namespace rows = schema::rows::grant_table_op;

// As the domain knows a frame: a PV one by its machine frame, another one by where it mapped it.
std::uint64_t FrameForDomain(const Core& core, const Domain& domain, std::uint64_t mfn) {
  return domain.translated() ? core.frames.Of(mfn).gfn : mfn;
}

// The domain that a call is about; or null, with the reason in `*status`.
Domain* Target(Call& call, std::uint16_t id, std::int16_t* status) {
  Domain* target = call.FindAny(id);
  *status = target == nullptr         ? GNTST_bad_domain
            : !call.Controls(*target) ? GNTST_permission_denied
                                      : GNTST_okay;
  return *status == GNTST_okay ? target : nullptr;
}

std::int64_t SetupTable(Call& call) {
  Argument<gnttab_setup_table> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_grant_table_op, GNTTABOP_setup_table)) return -kEFAULT;
  const auto list = request.Bind(rows::setup_table::frame_list);
  Domain* target = Target(call, request->dom, &request->status);
  if (target != nullptr) {
    std::uint64_t frames[GrantTable::kMaxFrames];
    {
      SpinGuard guard(target->lock);
      GrantTable* table = GrantTableOf(*target);
      if (table == nullptr || !GrowGrantTable(*target, *table, request->nr_frames)) {
        request->status = GNTST_general_error;
      } else {
        for (std::uint32_t i = 0; i < request->nr_frames; ++i) {
          frames[i] = FrameForDomain(call.core, *target, table->frames[i]);
        }
      }
    }
    if (request->status == GNTST_general_error && call.IsMemoryDue()) return -kENOMEM;
    if (request->status == GNTST_okay &&
        !list.Write(0, std::span<const std::uint64_t>(frames, request->nr_frames)).ok()) {
      request->status = GNTST_bad_virt_addr;
    }
  }
  return request.Store() ? 0 : -kEFAULT;
}

std::int64_t StatusFramesOp(Call& call) {
  Argument<gnttab_get_status_frames> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_grant_table_op, GNTTABOP_get_status_frames)) return -kEFAULT;
  const auto list = request.Bind(rows::get_status_frames::frame_list);
  Domain* target = Target(call, request->dom, &request->status);
  if (target != nullptr) {
    std::uint64_t frames[GrantTable::kMaxStatusFrames];
    {
      SpinGuard guard(target->lock);
      const GrantTable* table = GrantTableOf(*target);
      if (table == nullptr || request->nr_frames > table->nr_status_frames) {
        request->status = GNTST_general_error;
      } else {
        for (std::uint32_t i = 0; i < request->nr_frames; ++i) {
          frames[i] = FrameForDomain(call.core, *target, table->status_frames[i]);
        }
      }
    }
    if (request->status == GNTST_okay &&
        !list.Write(0, std::span<const std::uint64_t>(frames, request->nr_frames)).ok()) {
      request->status = GNTST_bad_virt_addr;
    }
  }
  return request.Store() ? 0 : -kEFAULT;
}

std::int64_t QuerySize(Call& call) {
  Argument<gnttab_query_size> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_grant_table_op, GNTTABOP_query_size)) return -kEFAULT;
  Domain* target = Target(call, request->dom, &request->status);
  if (target != nullptr) {
    SpinGuard guard(target->lock);
    const GrantTable* table = GrantTableOf(*target);
    request->nr_frames = table == nullptr ? 0 : table->nr_frames;
    request->max_nr_frames = target->max_grant_frames;
  }
  return request.Store() ? 0 : -kEFAULT;
}

std::int64_t GetVersion(Call& call) {
  Argument<gnttab_get_version> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_grant_table_op, GNTTABOP_get_version)) return -kEFAULT;
  Domain* target = call.FindAny(request->dom);
  if (target == nullptr) return -kESRCH;
  if (!call.Controls(*target)) return -kEPERM;
  {
    SpinGuard guard(target->lock);
    const GrantTable* table = GrantTableOf(*target);
    request->version = table == nullptr ? 1 : table->version;
  }
  return request.Store() ? 0 : -kEFAULT;
}

// Of the caller's own table.
std::int64_t SetVersion(Call& call) {
  Argument<gnttab_set_version> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_grant_table_op, GNTTABOP_set_version)) return -kEFAULT;
  std::int64_t answer = 0;
  {
    SpinGuard guard(call.domain.lock);
    GrantTable* table = GrantTableOf(call.domain);
    if (table == nullptr) return -kENOMEM;
    if (request->version != 1 && request->version != 2) {
      answer = -kEINVAL;
    } else if (request->version > call.domain.max_grant_version) {
      answer = -kENOSYS;
    } else if (request->version != table->version) {
      answer = ChangeGrantVersion(call.core, call.domain, *table, request->version);
    }
    answer = call.UnlessMemoryIsDue(answer);
    if (call.frame.continued) return answer;
    request->version = table->version;
  }
  return request.Store() ? answer : -kEFAULT;
}

std::int16_t SwapGrants(Call& call, gnttab_swap_grant_ref& request) {
  SpinGuard guard(call.domain.lock);
  GrantTable* table = GrantTableOf(call.domain);
  if (table == nullptr) return call.domain.dying() ? GNTST_general_error : kGrantNoMemory;
  const std::uint32_t refs[2] = {request.ref_a, request.ref_b};
  for (const std::uint32_t ref : refs) {
    if (ref >= EntriesOf(*table)) return GNTST_bad_gntref;
  }
  if (refs[0] == refs[1]) return GNTST_okay;
  for (const std::uint32_t ref : refs) {
    if (ActiveGrantOf(*table, ref).pins != 0) return GNTST_eagain;
  }
  GrantEntry::Swap(EntryOf(call.core, call.domain, *table, refs[0]),
                   EntryOf(call.core, call.domain, *table, refs[1]));
  return GNTST_okay;
}

// An op that takes one structure only.
template <std::int64_t (*kRun)(Call&)>
std::int64_t OfOne(Call& call) {
  return static_cast<std::uint32_t>(call.frame.arguments[2]) != 1 ? -kEINVAL : kRun(call);
}

constexpr OpTable<Call, GNTTABOP_cache_flush + 1> kOps = {
    {GNTTABOP_map_grant_ref, MapGrants},
    {GNTTABOP_unmap_grant_ref, UnmapGrants},
    {GNTTABOP_setup_table, OfOne<SetupTable>},
    {GNTTABOP_copy, CopyGrants},
    {GNTTABOP_query_size, OfOne<QuerySize>},
    {GNTTABOP_unmap_and_replace, UnmapAndReplaceGrants},
    {GNTTABOP_set_version, SetVersion},
    {GNTTABOP_get_status_frames, OfOne<StatusFramesOp>},
    {GNTTABOP_get_version, GetVersion},
    {GNTTABOP_swap_grant_ref,
     ForEachGrant<gnttab_swap_grant_ref, GNTTABOP_swap_grant_ref, SwapGrants>},
    {GNTTABOP_cache_flush, FlushCaches},
};

}  // namespace

OpAnswer AskGrantTableOp(std::uint64_t op) { return kOps.Ask(op); }

std::int64_t GrantTableOp(Call& call) {
  const auto command = static_cast<std::uint32_t>(call.frame.arguments[0]);
  const std::uint32_t op = command & kGrantOpMask;
  // Xen's count is an int, and only a search goes on in the command (FlushCaches).
  if (!GrantProgress::IsValid(call)) return -kEINVAL;
  if (op != command && op != GNTTABOP_cache_flush) return -kEINVAL;
  return kOps.Run(op, call);
}

}  // namespace xencomm::hypervisor
