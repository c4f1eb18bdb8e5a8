#include "hcall/machine/share_files.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "hcall/hypervisor/base/machine.h"

namespace xencomm::machine {

using hypervisor::kPageShift;
using hypervisor::kPageSize;

ShareFiles::~ShareFiles() {
  // What is left ends without the lock, and while all else is there still.
  absl::flat_hash_map<std::uint64_t, std::shared_ptr<File>> ended;
  const MutexLock lock(mutex_);
  ended.swap(files_);
}

ShareFiles::Page::~Page() {
  const std::uint64_t byte = notice.byte();
  if (byte != ~std::uint64_t{0}) owner.BytesOf(frame)[byte % kPageSize] = std::byte{0};
  notice.Send();
  const MutexLock lock(owner.mutex_);
  Held held = {.frame = frame, .grants = std::move(grants)};
  if (!owner.GiveBack(held)) owner.given_up_.push_back(std::move(held));
}

std::byte* ShareFiles::BytesOf(embedded::FrameRun frame) {
  return kernel_.ram().data() + kernel_.MachineOf({frame.gfn << kPageShift}).value;
}

bool ShareFiles::GiveBack(Held& held) {
  std::erase_if(held.grants, [this](const ShareListed& grant) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return grants_.Revoke(grant.ref);
  });
  if (!held.grants.empty()) return false;
  kernel_.Recycle(held.frame);
  --pages_;
  return true;
}

void ShareFiles::CollectLocked() {
  std::erase_if(given_up_,
                [this](Held& held) ABSL_NO_THREAD_SAFETY_ANALYSIS { return GiveBack(held); });
}

void ShareFiles::Collect() {
  const MutexLock lock(mutex_);
  CollectLocked();
}

ShareFiles::Pages ShareFiles::Find(std::uint64_t file, std::uint64_t page, std::uint64_t count) {
  Pages found;
  const auto of_file = files_.find(file);
  if (of_file == files_.end()) return found;
  auto next = of_file->second->pages.find(page);
  while (found.size() < count && next != of_file->second->pages.end() &&
         next->first == page + found.size()) {
    found.push_back(next->second);
    ++next;
  }
  return found;
}

int ShareFiles::GrantPages(const Pages& pages, std::uint16_t domain, bool writable,
                           std::span<std::uint32_t> refs) {
  int error = 0;
  std::size_t granted = 0;
  for (; granted < pages.size() && error == 0; ++granted) {
    Page& page = *pages[granted];
    std::int64_t ref = -ENOSPC;
    if (page.grants.size() < kMostGrants) ref = grants_.Grant(domain, page.frame.gfn, writable);
    if (ref < 0) {
      error = static_cast<int>(ref);
      break;
    }
    refs[granted] = static_cast<std::uint32_t>(ref);
    page.grants.push_back({.ref = refs[granted],
                           .domid = domain,
                           .flags = static_cast<std::uint16_t>(writable ? kShareWritable : 0)});
  }
  if (error == 0) return 0;
  // Nobody has been told of those that there were.
  for (std::size_t i = 0; i < granted; ++i) {
    if (grants_.Revoke(refs[i])) pages[i]->grants.pop_back();
  }
  return error;
}

std::int64_t ShareFiles::Allocate(std::uint64_t file, const std::uint64_t* where,
                                  std::uint16_t domain, bool writable,
                                  std::span<std::uint32_t> refs) {
  Pages made;  // what fails ends without the lock
  const MutexLock lock(mutex_);
  CollectLocked();
  if (refs.size() > kMostPages - pages_) return -ENOSPC;
  std::shared_ptr<File>& known = files_[file];
  if (known == nullptr) known = std::make_shared<File>();
  File& of_file = *known;
  const std::uint64_t first = where != nullptr ? *where : of_file.next;
  const std::uint64_t end = first + refs.size();
  if (end < first || end >= std::uint64_t{1} << (63 - kPageShift)) return -EINVAL;
  const auto behind = of_file.pages.lower_bound(first);
  if (behind != of_file.pages.end() && behind->first < end) return -EEXIST;
  for (std::size_t i = 0; i < refs.size(); ++i) {
    const std::optional<embedded::FrameRun> frame = kernel_.frames().TakeOne();
    if (!frame) return -ENOMEM;
    ++pages_;
    made.push_back(std::make_shared<Page>(*this, *frame));
    std::memset(BytesOf(*frame), 0, kPageSize);
  }
  const int error = GrantPages(made, domain, writable, refs);
  if (error != 0) return error;
  for (std::size_t i = 0; i < made.size(); ++i) of_file.pages[first + i] = made[i];
  of_file.next = std::max(of_file.next, end);
  return static_cast<std::int64_t>(first);
}

int ShareFiles::Free(std::uint64_t file, std::uint64_t page, std::uint64_t count) {
  Pages freed;
  const MutexLock lock(mutex_);
  if (count == 0 || count > kMostPages) return -EINVAL;
  freed = Find(file, page, count);
  if (freed.size() != count) return -EINVAL;
  for (std::uint64_t i = 0; i < count; ++i) files_[file]->pages.erase(page + i);
  return 0;
}

int ShareFiles::SetNotice(std::uint64_t file, std::uint64_t byte, std::uint32_t action,
                          std::uint32_t port) {
  const MutexLock lock(mutex_);
  const Pages pages = Find(file, byte >> kPageShift, 1);
  return pages.empty() ? -ENOENT : pages[0]->notice.Set(action, byte % kPageSize, port);
}

int ShareFiles::Map(std::uint64_t file, std::uint64_t page, std::span<std::uint64_t> mfns,
                    std::shared_ptr<void>* mapping) {
  const MutexLock lock(mutex_);
  Pages pages = Find(file, page, mfns.size());
  if (pages.size() != mfns.size()) return -ENOENT;
  for (std::size_t i = 0; i < mfns.size(); ++i) {
    mfns[i] = kernel_.MachineOf({pages[i]->frame.gfn << kPageShift}).value >> kPageShift;
  }
  *mapping = std::make_shared<Mapping>(Mapping{files_[file], std::move(pages)});
  return 0;
}

int ShareFiles::GrantAlso(std::uint64_t file, std::uint64_t page, std::uint16_t domain,
                          bool writable, std::span<std::uint32_t> refs) {
  const MutexLock lock(mutex_);
  const Pages pages = Find(file, page, refs.size());
  if (pages.empty() || pages.size() != refs.size()) return -EINVAL;
  return GrantPages(pages, domain, writable, refs);
}

int ShareFiles::List(std::uint64_t file, std::uint64_t page, std::vector<ShareListed>* grants) {
  const MutexLock lock(mutex_);
  const Pages pages = Find(file, page, 1);
  if (pages.empty()) return -EINVAL;
  *grants = pages[0]->grants;
  return 0;
}

int ShareFiles::Revoke(std::uint64_t file, std::uint32_t ref) {
  const MutexLock lock(mutex_);
  const auto of_file = files_.find(file);
  if (of_file == files_.end()) return -ENOENT;
  for (const auto& [index, page] : of_file->second->pages) {
    const auto grant = std::ranges::find(page->grants, ref, &ShareListed::ref);
    if (grant == page->grants.end()) continue;
    if (!grants_.Revoke(ref)) return -EBUSY;
    page->grants.erase(grant);
    return 0;
  }
  return -ENOENT;
}

void ShareFiles::Closed(std::uint64_t file) {
  std::shared_ptr<File> ended;
  const MutexLock lock(mutex_);
  const auto of_file = files_.find(file);
  if (of_file == files_.end()) return;
  ended = std::move(of_file->second);
  files_.erase(of_file);
}

}  // namespace xencomm::machine
