// domctl: the types of a domain's pages, and the memory behind its paging. What it has written:
// domctl_log_dirty.cc.

#include <iterator>
#include <span>

#include "hcall/hypervisor/calls/domctl.h"
#include "hcall/hypervisor/memory/page_types.h"
#include "hcall/hypervisor/memory/paging_pool.h"
#include "hcall/schema/generated/rows.h"

namespace xencomm::hypervisor {
namespace {

namespace rows = schema::rows::domctl;

constexpr std::uint32_t Megabytes(std::uint64_t pages) {
  return static_cast<std::uint32_t>((pages + 255) / 256);
}

constexpr std::uint64_t TypeOf(P2mEntry page) {
  const bool is_memory = page.type() == P2mType::kRam || page.type() == P2mType::kReadOnly;
  return is_memory ? XEN_DOMCTL_PFINFO_NOTAB : XEN_DOMCTL_PFINFO_XTAB;
}

// Of a PV domain's page, which may be a table; with the domain's lock held.
std::uint64_t TypeOfPv(const FrameTable& frames, const PageTypes& types, P2mEntry page) {
  const std::uint64_t type = TypeOf(page);
  if (type != XEN_DOMCTL_PFINFO_NOTAB || !PageTypes::IsTable(frames.Of(page.mfn()))) return type;
  static_assert(static_cast<unsigned>(PageType::kL4) << XEN_DOMCTL_PFINFO_LTAB_SHIFT ==
                XEN_DOMCTL_PFINFO_L4TAB);
  const auto level = static_cast<std::uint64_t>(types.TypeOf(page.mfn()));
  return level << XEN_DOMCTL_PFINFO_LTAB_SHIFT |
         (types.IsPinned(page.mfn()) ? XEN_DOMCTL_PFINFO_LPINTAB : 0);
}

// In place of their numbers.
void FindTypes(DomctlCall& op, std::span<std::uint64_t> frames) {
  Domain& domain = *op.target;
  if (domain.translated()) {
    for (std::uint64_t& frame : frames) frame = TypeOf(domain.p2m.Load(frame));
    return;
  }
  const PageTypes types(op.call.core, domain);
  SpinGuard guard(domain.lock);
  for (std::uint64_t& frame : frames) {
    frame = TypeOfPv(op.call.core.frames, types, domain.p2m.Load(frame));
  }
}

// The size of the domain's pool, or as near to it as this leg comes. A call that goes on is the
// same call again: the pool itself tells how far it came. Of what is in use nothing can be given
// back: the second stage's tables, about which Xen is silent, and a page for each vcpu.
std::int64_t ResizePool(DomctlCall& op, std::uint64_t pages) {
  Domain& target = *op.target;
  PagingPool& pool = target.paging_pool;
  unsigned vcpus = 0;
  while (target.vcpu(vcpus) != nullptr) ++vcpus;
  const std::uint64_t in_use = target.p2m.pages() + vcpus;
  const bool is_short = pages < in_use;
  if (is_short) pages = in_use < pool.pages() ? in_use : pool.pages();
  switch (pool.Resize(op.call.core, target.id, pages, op.call.work)) {
    case PagingPool::Outcome::kDone:
      return is_short && vcpus != 0 ? -kENOMEM : 0;
    case PagingPool::Outcome::kStopped:
      return op.call.Continue();
    default:
      return -kENOMEM;
  }
}

}  // namespace

std::int64_t GetPageFrameInfoOp(DomctlCall& op) {
  constexpr std::uint64_t kMost = 1024;
  const std::uint64_t count = op.argument->u.getpageframeinfo3.num;
  if (count > kMost) return -kE2BIG;
  const auto frames = op.argument.Bind(rows::getpageframeinfo3::array);
  // Some at a time, and fewer than a page has: of pages that the guest has twice in its list, what
  // is written for one is what is read for the other.
  std::uint64_t block[256];
  for (std::uint64_t done = 0; done < count;) {
    const std::uint64_t left = count - done;
    const std::span wanted =
        std::span(block).first(left < std::size(block) ? left : std::size(block));
    const CopyResult read = frames.Read(done, wanted);
    const std::span there = wanted.first(read.bytes / sizeof(block[0]));
    FindTypes(op, there);
    if (!frames.Write(done, there).ok() || !read.ok()) return -kEFAULT;
    done += there.size();
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
      return EnableLogDirty(op);
    case XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY:
      return EnableLogDirty(op);
    case XEN_DOMCTL_SHADOW_OP_CLEAN:
    case XEN_DOMCTL_SHADOW_OP_PEEK:
      return ReadDirty(op);
    default:
      break;
  }
  // What the memory of a second stage is for.
  if (!target.translated()) return -kEINVAL;
  switch (request.op) {
    case XEN_DOMCTL_SHADOW_OP_OFF:
      return target.dirty_log.End(op.call.work) ? 0 : op.call.Continue();
    case XEN_DOMCTL_SHADOW_OP_GET_ALLOCATION:
      request.mb = Megabytes(target.paging_pool.pages());
      return 0;
    case XEN_DOMCTL_SHADOW_OP_SET_ALLOCATION: {
      const std::int64_t answer = ResizePool(op, std::uint64_t{request.mb} << 8);
      request.mb = Megabytes(target.paging_pool.pages());
      return answer;
    }
    default:
      return -kEINVAL;
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
  // It has given its pool back, or is about to.
  if (op.target->dying()) return -kEINVAL;
  return ResizePool(op, pages);
}

}  // namespace xencomm::hypervisor
