#include "hcall/machine/grant_files.h"

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "hcall/hypervisor/base/machine.h"
#include "hcall/schema/generated/xen.h"
#include "hcall/transport/grant_calls.h"

namespace xencomm::machine {

using hypervisor::kPageShift;

GrantFiles::~GrantFiles() {
  // What is left ends without the lock, and while all else is there still.
  absl::flat_hash_map<std::uint64_t, std::shared_ptr<Ranges>> ended;
  const MutexLock lock(mutex_);
  ended.swap(ranges_);
}

GrantFiles::Range::~Range() {
  if (!handles_.empty()) {
    const std::uint64_t byte = notice.byte();
    if (byte != ~std::uint64_t{0} && !is_read_only_) {
      owner_.kernel_.ram()
          .data()[(mfns_[byte >> kPageShift] << kPageShift) + byte % hypervisor::kPageSize] =
          std::byte{0};
    }
    Unmap();
  }
  notice.Send();
  const MutexLock lock(owner_.mutex_);
  owner_.grants_ -= grants.size();
  const auto of_client = owner_.of_client_.find(client);
  of_client->second -= grants.size();
  if (of_client->second == 0) owner_.of_client_.erase(of_client);
}

int GrantFiles::Range::Map(Access access, std::span<std::uint64_t> mfns) {
  was_mapped_ = true;
  is_read_only_ = access != Access::kWrite;
  std::vector<gnttab_map_grant_ref> list(grants.size());
  for (std::size_t i = 0; i < list.size(); ++i) {
    // Where they are: this process reaches them.
    list[i] = {.host_addr = 0,
               .flags = is_read_only_ ? static_cast<std::uint32_t>(GNTMAP_readonly) : 0,
               .ref = grants[i].ref,
               .dom = grants[i].domain,
               .status = GNTST_general_error,
               .handle = 0,
               .dev_bus_addr = 0};
  }
  const std::int64_t answer = owner_.kernel_.GrantCall(GNTTABOP_map_grant_ref, std::span(list));
  bool is_complete = answer == 0;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const std::uint64_t mfn = list[i].dev_bus_addr >> kPageShift;
    if (list[i].status == GNTST_okay) handles_.push_back(list[i].handle);
    // What is the hypervisor's own, or a kernel's, no program gets.
    is_complete =
        is_complete && list[i].status == GNTST_okay && owner_.kernel_.hypervisor().IsLent(mfn);
    mfns_.push_back(mfn);
    mfns[i] = mfn;
  }
  if (is_complete) return 0;
  Unmap();
  return -EINVAL;
}

void GrantFiles::Range::Unmap() {
  std::vector<gnttab_unmap_grant_ref> list(handles_.size());
  for (std::size_t i = 0; i < list.size(); ++i) {
    list[i] = {.host_addr = 0, .dev_bus_addr = 0, .handle = handles_[i], .status = 0};
  }
  owner_.kernel_.GrantCall(GNTTABOP_unmap_grant_ref, std::span(list));
  handles_.clear();
}

std::shared_ptr<GrantFiles::Range> GrantFiles::Find(std::uint64_t file, std::uint64_t page) {
  const auto ranges = ranges_.find(file);
  if (ranges == ranges_.end()) return nullptr;
  const auto range = ranges->second->find(page);
  return range == ranges->second->end() ? nullptr : range->second;
}

std::int64_t GrantFiles::Add(std::uint64_t file, const void* client,
                             std::span<const Grant> grants) {
  if (grants.empty()) return -EINVAL;
  const MutexLock lock(mutex_);
  if (grants.size() > kMostGrants - grants_) return -ENOMEM;
  std::size_t& of_client = of_client_[client];
  if (grants.size() > kMostOfClient - of_client) {
    if (of_client == 0) of_client_.erase(client);
    return -ENOMEM;
  }
  // The first gap, with a page to spare (gntdev_add_map).
  std::shared_ptr<Ranges>& known = ranges_[file];
  if (known == nullptr) known = std::make_shared<Ranges>();
  Ranges& ranges = *known;
  std::uint64_t page = 0;
  for (const auto& [start, range] : ranges) {
    if (page + grants.size() < start) break;
    page = start + range->grants.size();
  }
  grants_ += grants.size();
  of_client += grants.size();
  ranges.emplace(page, std::make_shared<Range>(*this, client,
                                               std::vector<Grant>(grants.begin(), grants.end())));
  return static_cast<std::int64_t>(page);
}

int GrantFiles::Remove(std::uint64_t file, std::uint64_t page, std::uint64_t count) {
  std::shared_ptr<Range> removed;  // it ends without the lock
  const MutexLock lock(mutex_);
  removed = Find(file, page);
  if (removed == nullptr || (count != 0 && removed->grants.size() != count)) {
    removed = nullptr;
    return -ENOENT;
  }
  ranges_[file]->erase(page);
  return 0;
}

int GrantFiles::SetNotice(std::uint64_t file, std::uint64_t byte, std::uint32_t action,
                          std::uint32_t port) {
  if ((action & ~(UnmapNotice::kClearsByte | UnmapNotice::kSendsEvent)) != 0) return -EINVAL;
  // Of two errors it is this one, as in Linux.
  const bool sends = (action & UnmapNotice::kSendsEvent) != 0;
  if (sends && !events_.Keep(port)) return -EINVAL;
  const auto let_go = absl::MakeCleanup([&] {
    if (sends) events_.LetGo(port);
  });
  const MutexLock lock(mutex_);
  const auto ranges = ranges_.find(file);
  if (ranges == ranges_.end()) return -ENOENT;
  const std::uint64_t page = byte >> kPageShift;
  for (const auto& [start, range] : *ranges->second) {
    if (page - start >= range->grants.size()) continue;
    if ((action & UnmapNotice::kClearsByte) != 0 && range->is_read_only()) return -EINVAL;
    return range->notice.Set(action, byte - (start << kPageShift), port);
  }
  return -ENOENT;
}

int GrantFiles::Map(std::uint64_t file, std::uint64_t page, Access access,
                    std::span<std::uint64_t> mfns, std::shared_ptr<void>* mapping) {
  const MutexLock lock(mutex_);
  const std::shared_ptr<Range> range = Find(file, page);
  if (range == nullptr || range->grants.size() != mfns.size() || range->was_mapped()) {
    return -EINVAL;
  }
  const int error = range->Map(access, mfns);
  if (error == 0) *mapping = std::make_shared<Mapping>(Mapping{ranges_[file], range});
  return error;
}

std::int64_t GrantFiles::CopyOne(const Copy& copy, std::span<const std::byte> from,
                                 std::span<std::byte> to) {
  // What is no grant goes through a page of the kernel's.
  const std::optional<embedded::FrameRun> frame = kernel_.frames().TakeOne();
  if (!frame) return ENOMEM;
  const auto give_back = absl::MakeCleanup([&] { kernel_.frames().GiveBack(*frame); });
  std::byte* const page =
      kernel_.ram().data() + kernel_.MachineOf({frame->gfn << kPageShift}).value;
  gnttab_copy op = {};
  op.len = static_cast<std::uint16_t>(from.size());
  if ((copy.flags & kCopyFromGrant) != 0) {
    op.flags |= GNTCOPY_source_gref;
    op.source.u.ref = copy.source.ref;
    op.source.domid = copy.source.domain;
    op.source.offset = copy.source_offset;
  } else {
    std::ranges::copy(from, page);
    op.source.u.gmfn = frame->gfn;
    op.source.domid = DOMID_SELF;
  }
  if ((copy.flags & kCopyToGrant) != 0) {
    op.flags |= GNTCOPY_dest_gref;
    op.dest.u.ref = copy.dest.ref;
    op.dest.domid = copy.dest.domain;
    op.dest.offset = copy.dest_offset;
  } else {
    op.dest.u.gmfn = frame->gfn;
    op.dest.domid = DOMID_SELF;
  }
  const std::int64_t answer = kernel_.GrantCall(GNTTABOP_copy, std::span(&op, 1));
  if (answer < 0) return -answer;
  if (op.status == GNTST_okay && (copy.flags & kCopyToGrant) == 0) {
    std::ranges::copy(std::span(page, to.size()), to.begin());
  }
  return op.status;
}

void GrantFiles::Closed(std::uint64_t file) {
  std::shared_ptr<Ranges> ended;
  const MutexLock lock(mutex_);
  const auto ranges = ranges_.find(file);
  if (ranges == ranges_.end()) return;
  ended = std::move(ranges->second);
  ranges_.erase(ranges);
}

}  // namespace xencomm::machine
