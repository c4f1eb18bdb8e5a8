#include "hcall/machine/grant_files.h"

#include <cerrno>
#include <utility>

namespace xencomm::machine {

void GrantFiles::ForgetClosed() {
  absl::erase_if(ranges_, [this](const auto& file) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (files_.IsOpen(file.first)) return false;
    for (const auto& [page, range] : file.second) grants_ -= range.grants.size();
    return true;
  });
}

std::int64_t GrantFiles::Add(std::uint64_t file, std::vector<Grant> grants) {
  if (!files_.IsOf(file, XENCOMM_GNTDEV)) return -EBADF;
  if (grants.empty()) return -EINVAL;
  const MutexLock lock(mutex_);
  if (!ranges_.contains(file) || grants.size() > kMostGrants - grants_) ForgetClosed();
  if (grants.size() > kMostGrants - grants_) return -ENOMEM;
  // The first gap.
  Ranges& ranges = ranges_[file];
  std::uint64_t page = 0;
  for (const auto& [start, range] : ranges) {
    if (page + grants.size() <= start) break;
    page = start + range.grants.size();
  }
  grants_ += grants.size();
  ranges.emplace(page, Range{.grants = std::move(grants)});
  return static_cast<std::int64_t>(page);
}

int GrantFiles::Remove(std::uint64_t file, std::uint64_t page, std::uint64_t count) {
  const MutexLock lock(mutex_);
  const auto ranges = ranges_.find(file);
  if (ranges == ranges_.end()) return -ENOENT;
  const auto range = ranges->second.find(page);
  if (range == ranges->second.end() || range->second.grants.size() != count) return -ENOENT;
  grants_ -= count;
  ranges->second.erase(range);
  return 0;
}

int GrantFiles::Hold(std::uint64_t file, std::uint64_t page, Access access,
                     std::span<std::uint64_t> mfns) {
  const MutexLock lock(mutex_);
  const auto ranges = ranges_.find(file);
  if (ranges == ranges_.end()) return -EINVAL;
  const auto range = ranges->second.find(page);
  if (range == ranges->second.end() || range->second.grants.size() != mfns.size() ||
      std::exchange(range->second.was_mapped, true)) {
    return -EINVAL;
  }
  for (std::size_t i = 0; i < mfns.size(); ++i) {
    const Grant grant = range->second.grants[i];
    if (hypervisor_.HoldGrantedFrame(grant.domain, grant.ref, access, &mfns[i]) == 0) continue;
    for (const std::uint64_t mfn : mfns.first(i)) hypervisor_.ReleaseFrame(mfn);
    return -EINVAL;
  }
  return 0;
}

}  // namespace xencomm::machine
