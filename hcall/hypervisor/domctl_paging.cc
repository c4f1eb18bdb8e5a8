// domctl: the types of a domain's pages, what it has written, and the memory behind its paging.

#include <cstring>

#include "hcall/hypervisor/domctl.h"
#include "hcall/hypervisor/paging_pool.h"
#include "hcall/schema/generated/rows.h"

namespace xencomm::hypervisor {
namespace {

namespace rows = schema::rows::domctl;

// Pages whose bits are gathered before they are written to the guest.
constexpr std::uint64_t kChunkPages = 4096;
constexpr std::uint64_t kChunkBytes = kChunkPages / 8;

// The dirty bits of pages [first, first + kChunkPages). With the domain's lock held.
void CollectDirty(Domain& domain, std::uint64_t first, bool clear,
                  std::uint8_t (&bits)[kChunkBytes]) {
  std::memset(bits, 0, sizeof(bits));
  for (std::uint64_t i = 0; i < kChunkPages && first + i < domain.p2m.end(); ++i) {
    if (!domain.p2m.TestDirty(first + i, clear)) continue;
    bits[i / 8] = static_cast<std::uint8_t>(bits[i / 8] | 1u << i % 8);
  }
}

std::int64_t ReadDirty(DomctlCall& op, bool clean) {
  xen_domctl_shadow_op& request = op.argument->u.shadow_op;
  if ((request.mode & ~std::uint32_t{XEN_DOMCTL_SHADOW_LOGDIRTY_FINAL}) != 0) return -kEINVAL;
  const auto bitmap = op.argument.Bind(rows::shadow_op::dirty_bitmap);
  if (!bitmap.ok()) return -kEFAULT;
  Domain& target = *op.target;
  std::uint64_t end = target.log_dirty ? target.p2m.end() : 0;
  if (end > request.pages) end = request.pages;

  std::uint32_t dirty = 0;
  std::uint64_t done = 0;
  for (; done < end; done += kChunkPages) {
    std::uint8_t bits[kChunkBytes];
    {
      SpinGuard guard(target.lock);
      CollectDirty(target, done, clean, bits);
    }
    const std::uint64_t pages = end - done < kChunkPages ? end - done : kChunkPages;
    for (std::uint64_t i = 0; i < pages; ++i) dirty += bits[i / 8] >> i % 8 & 1;
    if (bitmap->is_null()) continue;
    if (!bitmap->Write(done / 8, std::span<const std::uint8_t>(bits).first((pages + 7) / 8)).ok()) {
      return -kEFAULT;
    }
  }
  if (!bitmap->is_null()) {
    const std::uint64_t written = (end + 7) / 8;
    if (!bitmap->Clear(written, bitmap->count() - written).ok()) return -kEFAULT;
  }
  request.stats.fault_count = 0;
  request.stats.dirty_count = dirty;
  return 0;
}

std::int64_t EnableLogDirty(Domain& domain) {
  // A PV domain's would take shadow page tables.
  if (!domain.translated()) return -kEOPNOTSUPP;
  if (domain.log_dirty) return -kEINVAL;
  // What was written until now does not count.
  std::uint8_t bits[kChunkBytes];
  SpinGuard guard(domain.lock);
  domain.log_dirty = true;
  for (std::uint64_t first = 0; first < domain.p2m.end(); first += kChunkPages) {
    CollectDirty(domain, first, true, bits);
  }
  return 0;
}

constexpr std::uint32_t Megabytes(std::uint64_t pages) {
  return static_cast<std::uint32_t>((pages + 255) / 256);
}

// What the memory of a second stage is for.
std::int64_t HapOp(Domain& target, DomctlCall& op) {
  xen_domctl_shadow_op& request = op.argument->u.shadow_op;
  switch (request.op) {
    case XEN_DOMCTL_SHADOW_OP_OFF: {
      SpinGuard guard(target.lock);
      target.log_dirty = false;
      return 0;
    }
    case XEN_DOMCTL_SHADOW_OP_GET_ALLOCATION:
      request.mb = Megabytes(target.paging_pool.pages());
      return 0;
    case XEN_DOMCTL_SHADOW_OP_SET_ALLOCATION: {
      const std::int64_t answer =
          target.paging_pool.Resize(op.call.core, target, std::uint64_t{request.mb} << 8);
      request.mb = Megabytes(target.paging_pool.pages());
      return answer;
    }
    default:
      return -kEINVAL;
  }
}

}  // namespace

std::int64_t GetPageFrameInfoOp(DomctlCall& op) {
  constexpr std::uint64_t kMost = 1024;
  const std::uint64_t count = op.argument->u.getpageframeinfo3.num;
  if (count > kMost) return -kE2BIG;
  const auto frames = op.argument.Bind(rows::getpageframeinfo3::array);
  if (!frames.ok()) return -kEFAULT;
  for (std::uint64_t i = 0; i < count; ++i) {
    std::uint64_t frame;
    if (!frames->Read(i, frame).ok()) return -kEFAULT;
    const P2mEntry entry = op.target->p2m.Load(frame);
    const std::uint64_t type = entry.type() == P2mType::kRam || entry.type() == P2mType::kReadOnly
                                   ? std::uint64_t{XEN_DOMCTL_PFINFO_NOTAB}
                                   : std::uint64_t{XEN_DOMCTL_PFINFO_XTAB};
    if (!frames->Write(i, type).ok()) return -kEFAULT;
  }
  return 0;
}

std::int64_t ShadowOp(DomctlCall& op) {
  xen_domctl_shadow_op& request = op.argument->u.shadow_op;
  Domain& target = *op.target;
  if (&target == &op.call.domain) return -kEINVAL;
  if (target.dying()) return 0;
  if (target.vcpu(0) == nullptr) return -kEINVAL;
  op.copy_back = true;

  switch (request.op) {
    case XEN_DOMCTL_SHADOW_OP_ENABLE:
      if ((request.mode & XEN_DOMCTL_SHADOW_ENABLE_LOG_DIRTY) == 0) return -kEINVAL;
      return EnableLogDirty(target);
    case XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY:
      return EnableLogDirty(target);
    case XEN_DOMCTL_SHADOW_OP_CLEAN:
      return ReadDirty(op, true);
    case XEN_DOMCTL_SHADOW_OP_PEEK:
      return ReadDirty(op, false);
    default:
      return target.translated() ? HapOp(target, op) : -kEINVAL;
  }
}

std::int64_t PagingMempoolOp(DomctlCall& op) {
  xen_domctl_paging_mempool& request = op.argument->u.paging_mempool;
  if (!op.target->hvm) return -kEOPNOTSUPP;
  if (op.argument->cmd == XEN_DOMCTL_get_paging_mempool_size) {
    request.size = op.target->paging_pool.pages() << kPageShift;
    op.copy_back = true;
    return 0;
  }
  const std::uint64_t pages = request.size >> kPageShift;
  if (!IsAligned(request.size, kPageSize) || pages > ~std::uint32_t{0}) return -kEINVAL;
  return op.target->paging_pool.Resize(op.call.core, *op.target, pages);
}

}  // namespace xencomm::hypervisor
