#include "hcall/sharing/granted_range.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/cleanup/cleanup.h"

namespace xencomm {

int GrantedRange::Map(std::shared_ptr<GrantFile> file, std::span<const GrantRef> grants,
                      Access access, std::span<int> errors, std::unique_ptr<GrantedRange>* range) {
  if (grants.empty()) return -EINVAL;
  if (grants.size() > kMostPages) return -E2BIG;
  range->reset(new GrantedRange(std::move(file), grants.size(), access));
  GrantedRange& made = **range;
  made.start_ = ReservePages(grants.size());
  if (made.start_ == nullptr) return -ENOMEM;
  const std::size_t at_once = made.file_->most_at_once();
  for (std::size_t first = 0; first < grants.size(); first += at_once) {
    const std::size_t count = std::min(at_once, grants.size() - first);
    const int error = made.Fill(first, grants.subspan(first, count),
                                errors.empty() ? errors : errors.subspan(first, count));
    if (error != 0) return error;
  }
  return 0;
}

GrantedRange::~GrantedRange() {
  if (start_ == nullptr || !file_->in_same_process()) return;
  UnmapAnyway(start_, pages_, [this] { file_->Unmap(start_, pages_); });
  // Whoever is told finds all of it gone.
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    if (noticed_ != i) Remove(parts_[i]);
  }
  if (noticed_.has_value()) Remove(parts_[*noticed_]);
}

int GrantedRange::Fill(std::size_t first, std::span<const GrantRef> grants, std::span<int> errors) {
  int error = FillAtOnce(first, grants, access_);
  if (error == 0) {
    std::ranges::fill(errors, 0);
    return 0;
  }
  // Which is all that is said of a grant.
  if (error != -EINVAL) {
    failed_at_ = first;
    return error;
  }
  if (grants.size() > 1) {
    const std::size_t half = grants.size() / 2;
    error = Fill(first, grants.first(half), errors.empty() ? errors : errors.first(half));
    if (error != 0) return error;
    return Fill(first + half, grants.subspan(half), errors.empty() ? errors : errors.subspan(half));
  }
  // Whether it was because of the writing.
  if (access_ == Access::kWrite && FillAtOnce(first, grants, Access::kRead) == 0) {
    file_->Unmap(start_ + (first << kSharedPageShift), 1);
    EmptyPages(start_ + (first << kSharedPageShift), 1);
    Remove(parts_.back());
    parts_.pop_back();
    error = -EACCES;
  }
  if (errors.empty()) {
    failed_at_ = first;
    return error;
  }
  errors[0] = error;
  return 0;
}

int GrantedRange::FillAtOnce(std::size_t first, std::span<const GrantRef> grants, Access access) {
  // Once it is mapped nothing may fail.
  parts_.reserve(parts_.size() + 1);
  const std::int64_t page = file_->Add(grants);
  if (page < 0) return static_cast<int>(page);
  const Part part = {
      .first = first, .count = grants.size(), .page = static_cast<std::uint64_t>(page)};
  // A translated Linux would keep those mapped that could be.
  auto remove = absl::MakeCleanup([&] { Remove(part); });
  const int error = file_->Map(start_ + (first << kSharedPageShift), part.page, part.count, access);
  if (error != 0) return error;
  std::move(remove).Cancel();
  parts_.push_back(part);
  return 0;
}

int GrantedRange::SetNotice(std::optional<std::uint64_t> byte, std::optional<std::uint32_t> port) {
  if (byte.has_value() && *byte >= pages_ << kSharedPageShift) return -EINVAL;
  const auto set = [this](std::size_t index, std::uint64_t at, std::uint32_t action,
                          std::uint32_t to) {
    const Part& part = parts_[index];
    return file_->SetNotice((part.page << kSharedPageShift) + at - (part.first << kSharedPageShift),
                            action, to);
  };
  // Of the part that has the byte, or of any.
  const std::uint64_t page = byte.value_or(0) >> kSharedPageShift;
  const auto part = std::ranges::find_if(parts_, [&](const Part& each) {
    return !byte.has_value() || (page >= each.first && page - each.first < each.count);
  });
  const bool is_none = !byte.has_value() && !port.has_value();
  if (part == parts_.end()) return is_none ? 0 : -EINVAL;
  const auto index = static_cast<std::size_t>(part - parts_.begin());
  if (!is_none) {
    const int error =
        set(index, byte.value_or(part->first << kSharedPageShift),
            (byte.has_value() ? kNoticeClearsByte : 0) | (port.has_value() ? kNoticeSendsEvent : 0),
            port.value_or(0));
    if (error != 0) return error;
  }
  // Only then what was said before is taken back.
  if (noticed_.has_value() && (is_none || noticed_ != index)) {
    set(*noticed_, parts_[*noticed_].first << kSharedPageShift, 0, 0);
  }
  noticed_ = is_none ? std::nullopt : std::optional(index);
  return 0;
}

}  // namespace xencomm
