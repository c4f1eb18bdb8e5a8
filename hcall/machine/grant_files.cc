#include "hcall/machine/grant_files.h"

#include <cerrno>
#include <utility>

namespace xencomm::machine {

void GrantFiles::Forget(const Range& range) {
  grants_ -= range.grants.size();
  const auto client = of_client_.find(range.client);
  client->second -= range.grants.size();
  if (client->second == 0) of_client_.erase(client);
}

bool GrantFiles::HasRoom(const void* client, std::size_t count) {
  const auto found = of_client_.find(client);
  const std::size_t added = found == of_client_.end() ? 0 : found->second;
  return count <= kMostGrants - grants_ && count <= kMostOfClient - added;
}

void GrantFiles::ForgetClosed() {
  absl::erase_if(ranges_, [this](const auto& file) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (files_.IsOpen(file.first)) return false;
    for (const auto& [page, range] : file.second) Forget(range);
    return true;
  });
}

std::int64_t GrantFiles::Add(std::uint64_t file, const void* client, std::vector<Grant> grants) {
  if (!files_.IsOf(file, XENCOMM_GNTDEV)) return -EBADF;
  if (grants.empty()) return -EINVAL;
  const MutexLock lock(mutex_);
  if (!ranges_.contains(file) || !HasRoom(client, grants.size())) ForgetClosed();
  if (!HasRoom(client, grants.size())) return -ENOMEM;
  // The first gap.
  Ranges& ranges = ranges_[file];
  std::uint64_t page = 0;
  for (const auto& [start, range] : ranges) {
    if (page + grants.size() <= start) break;
    page = start + range.grants.size();
  }
  grants_ += grants.size();
  of_client_[client] += grants.size();
  ranges.emplace(page, Range{.client = client, .grants = std::move(grants)});
  return static_cast<std::int64_t>(page);
}

int GrantFiles::Remove(std::uint64_t file, std::uint64_t page, std::uint64_t count) {
  const MutexLock lock(mutex_);
  const auto ranges = ranges_.find(file);
  if (ranges == ranges_.end()) return -ENOENT;
  const auto range = ranges->second.find(page);
  if (range == ranges->second.end() || range->second.grants.size() != count) return -ENOENT;
  Forget(range->second);
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
