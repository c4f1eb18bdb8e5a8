// grant_table_op: copies inside a page, between one's own pages and granted ones.

#include "hcall/hypervisor/calls/grant_calls.h"

namespace xencomm::hypervisor {
namespace {

// The page that is copied from, or to: held from Find to the end.
class Side {
 public:
  template <class Pointer>
  Side(Call& call, const Pointer& pointer, bool is_granted, std::uint32_t pins)
      : call_(call),
        domid_(pointer.domid),
        offset_(pointer.offset),
        is_granted_(is_granted),
        number_(is_granted ? pointer.u.ref : pointer.u.gmfn),
        pins_(pins) {}
  Side(const Side&) = delete;
  Side& operator=(const Side&) = delete;
  ~Side() {
    if (!is_held_) return;
    if (is_granted_) {
      UnpinCopy(call_.core, *domain_, ref(), pins_);
    } else {
      UnpinOwnPage(call_.core, *domain_, part_.mfn, pins_);
    }
  }

  std::int16_t FindDomain() {
    domain_ = call_.FindAny(domid_);
    return domain_ == nullptr ? GNTST_bad_domain : GNTST_okay;
  }

  std::int16_t FindPage() {
    // Of others only what they grant can be named.
    if (!is_granted_ && domid_ != DOMID_SELF) return GNTST_permission_denied;
    std::int16_t status;
    if (is_granted_) {
      status = PinForCopy(call_.core, *domain_, ref(), call_.domain.id, pins_, &part_);
    } else {
      part_ = {.start = 0, .length = kPageSize};
      status = PinOwnPage(call_.core, *domain_, number_, pins_, &part_.mfn);
    }
    is_held_ = status == GNTST_okay;
    return status;
  }

  bool IsInPage(std::uint32_t length) const { return offset_ + length <= kPageSize; }
  bool IsInPart(std::uint32_t length) const {
    return Contains(part_.start, part_.length, offset_, length);
  }
  std::byte* bytes() const { return call_.core.frames.Bytes(part_.mfn) + offset_; }

 private:
  std::uint32_t ref() const { return static_cast<std::uint32_t>(number_); }

  Call& call_;
  const std::uint16_t domid_;
  const std::uint32_t offset_;  // bytes
  const bool is_granted_;
  const std::uint64_t number_;  // of the grant, or of the page
  const std::uint32_t pins_;
  Domain* domain_ = nullptr;
  GrantedPart part_;
  bool is_held_ = false;
};

std::int16_t Copy(Call& call, gnttab_copy& op) {
  if (op.len == 0 && (call.core.config.release & schema::kSince4_19) != 0) return GNTST_okay;
  Side source(call, op.source, (op.flags & GNTCOPY_source_gref) != 0, kPinRead);
  Side dest(call, op.dest, (op.flags & GNTCOPY_dest_gref) != 0, kPinWrite);
  std::int16_t status = source.FindDomain();
  if (status == GNTST_okay) status = dest.FindDomain();
  if (status == GNTST_okay) status = source.FindPage();
  if (status == GNTST_okay) status = dest.FindPage();
  if (status != GNTST_okay) return status;
  if (!source.IsInPage(op.len) || !dest.IsInPage(op.len)) return GNTST_bad_copy_arg;
  if (!source.IsInPart(op.len) || !dest.IsInPart(op.len)) return GNTST_general_error;
  // Both may be the same page.
  __builtin_memmove(dest.bytes(), source.bytes(), op.len);
  return GNTST_okay;
}

}  // namespace

std::int64_t CopyGrants(Call& call) { return ForEachGrant<gnttab_copy, GNTTABOP_copy, Copy>(call); }

}  // namespace xencomm::hypervisor
