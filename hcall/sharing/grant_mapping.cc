#include "hcall/sharing/grant_mapping.h"

#include <utility>

#include "hcall/sharing/refusal.h"

namespace xencomm {

GrantMapping::GrantMapping(std::unique_ptr<State> state) : state_(std::move(state)) {}
GrantMapping::GrantMapping(GrantMapping&&) noexcept = default;
GrantMapping& GrantMapping::operator=(GrantMapping&&) noexcept = default;
GrantMapping::~GrantMapping() = default;

std::byte* GrantMapping::data() const {
  return state_ == nullptr ? nullptr : state_->range->start();
}
std::size_t GrantMapping::pages() const { return state_ == nullptr ? 0 : state_->range->pages(); }

absl::Status GrantMapping::NotifyAtUnmap(std::optional<std::uint64_t> byte,
                                         std::optional<std::uint32_t> port) {
  if (state_ == nullptr) return absl::InvalidArgumentError("the mapping was moved elsewhere");
  if (!state_->range->in_same_process()) return InheritedError("the mapping");
  const int error = state_->range->SetNotice(byte, port);
  return error == 0 ? absl::OkStatus() : RefusalOf(error, "a notice of the mapping's end");
}

}  // namespace xencomm
