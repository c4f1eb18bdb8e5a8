#include "hcall/sharing/foreign_mapping.h"

#include <utility>

namespace xencomm {

ForeignMapping::ForeignMapping(std::unique_ptr<State> state) : state_(std::move(state)) {}
ForeignMapping::ForeignMapping(ForeignMapping&&) noexcept = default;
ForeignMapping& ForeignMapping::operator=(ForeignMapping&&) noexcept = default;
ForeignMapping::~ForeignMapping() = default;

std::byte* ForeignMapping::data() const { return state_ == nullptr ? nullptr : state_->start; }
std::size_t ForeignMapping::pages() const { return state_ == nullptr ? 0 : state_->pages; }

}  // namespace xencomm
