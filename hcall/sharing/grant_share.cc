#include "xencomm/grant_share.h"

#include <algorithm>
#include <cerrno>
#include <map>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "hcall/sharing/page_file.h"
#include "hcall/sharing/refusal.h"
#include "xencomm/mutex.h"
#include "xencomm/sentence.h"

namespace xencomm {
namespace {

absl::Status CheckCount(std::size_t count) {
  // What is counted in bytes, and in 32 bits for Linux.
  constexpr std::size_t kMost = std::size_t{1} << 20;
  if (count != 0 && count <= kMost) return absl::OkStatus();
  return absl::InvalidArgumentError(Sentence("%u pages: expected 1 to %u", count, kMost));
}

// What only a machine's file can.
absl::Status RefusalOfWish(int error, const std::string& what) {
  if (error != -EOPNOTSUPP) return RefusalOf(error, what);
  return absl::UnimplementedError(Sentence("%s: Linux's gntalloc cannot", what));
}

}  // namespace

struct GrantShare::State {
  explicit State(std::shared_ptr<ShareFile> opened) : file(std::move(opened)) {}
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    if (!file->in_same_process()) return;
    const MutexLock lock(mutex);
    for (const auto& each : mapped) {
      UnmapAnyway(each.first, each.second.count,
                  [&] { file->Unmap(each.first, each.second.count); });
    }
    for (const auto& [page, count] : allocated) file->Free(page, count);
  }

  using Runs = std::map<std::uint64_t, std::size_t>;  // by their first page
  struct Mapping {
    std::uint64_t page;
    std::size_t count;
  };

  absl::StatusOr<SharedPages> Allocate(std::uint64_t where, std::uint16_t domain, std::size_t count,
                                       Access access);
  // Pages that were freed are not freed once more: others may have their numbers then.
  // `spare` is a run that may be made of it.
  void Forget(std::uint64_t page, std::size_t count, Runs spare)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);

  const std::shared_ptr<ShareFile> file;
  Mutex mutex;
  std::map<std::byte*, Mapping> mapped ABSL_GUARDED_BY(mutex);
  Runs allocated ABSL_GUARDED_BY(mutex);
};

absl::StatusOr<SharedPages> GrantShare::State::Allocate(std::uint64_t where, std::uint16_t domain,
                                                        std::size_t count, Access access) {
  const absl::Status checked = CheckCount(count);
  if (!checked.ok()) return checked;
  if (!file->in_same_process()) return InheritedError("the share");
  SharedPages pages = {.page = 0, .refs = std::vector<std::uint32_t>(count)};
  const MutexLock lock(mutex);
  // A place for it first: what is allocated must not be forgotten.
  Runs place = {{0, count}};
  const std::int64_t page = file->Allocate(where, domain, access == Access::kWrite, pages.refs);
  if (page < 0) {
    const int error = static_cast<int>(page);
    if (where == ShareFile::kAnywhere) {
      return RefusalOf(error, Sentence("%u pages for domain %u", count, domain));
    }
    return RefusalOfWish(error,
                         Sentence("%u pages for domain %u at page %u", count, domain, where));
  }
  pages.page = static_cast<std::uint64_t>(page);
  auto node = place.extract(place.begin());
  node.key() = pages.page;
  allocated.insert(std::move(node));
  return pages;
}

void GrantShare::State::Forget(std::uint64_t page, std::size_t count, Runs spare) {
  const std::uint64_t end = page + count;
  auto run = allocated.upper_bound(page);
  if (run != allocated.begin()) --run;
  while (run != allocated.end() && run->first < end) {
    const std::uint64_t first = run->first, behind = run->first + run->second;
    if (behind <= page) {
      ++run;
      continue;
    }
    if (first < page) {
      run->second = page - first;
      ++run;
    } else {
      run = allocated.erase(run);
    }
    if (behind > end) {
      auto node = spare.extract(spare.begin());
      node.key() = end;
      node.mapped() = behind - end;
      allocated.insert(std::move(node));
    }
  }
}

GrantShare::GrantShare(std::unique_ptr<State> state) : state_(std::move(state)) {}
GrantShare::GrantShare(GrantShare&&) noexcept = default;
GrantShare& GrantShare::operator=(GrantShare&&) noexcept = default;
GrantShare::~GrantShare() = default;

absl::StatusOr<GrantShare> GrantShare::Open(const std::string& transport) {
  auto file = OpenShareFile(transport);
  if (!file.ok()) return file.status();
  return GrantShare(std::make_unique<State>(*std::move(file)));
}

absl::StatusOr<GrantShare> GrantShare::FromDescriptor(const std::string& transport, int fd) {
  auto file = OpenShareFile(transport, fd);
  if (!file.ok()) return file.status();
  return GrantShare(std::make_unique<State>(*std::move(file)));
}

int GrantShare::fd() const { return state_->file->fd(); }

absl::StatusOr<SharedPages> GrantShare::Allocate(std::uint16_t domain, std::size_t count,
                                                 Access access) {
  return state_->Allocate(ShareFile::kAnywhere, domain, count, access);
}

absl::StatusOr<SharedPages> GrantShare::AllocateAt(std::uint64_t page, std::uint16_t domain,
                                                   std::size_t count, Access access) {
  if (page == ShareFile::kAnywhere) {
    return absl::InvalidArgumentError(Sentence("page %u: expected one that a file can have", page));
  }
  return state_->Allocate(page, domain, count, access);
}

absl::Status GrantShare::Free(std::uint64_t page, std::size_t count) {
  const absl::Status checked = CheckCount(count);
  if (!checked.ok()) return checked;
  if (!state_->file->in_same_process()) return InheritedError("the share");
  const MutexLock lock(state_->mutex);
  State::Runs spare = {{0, 0}};
  const int error = state_->file->Free(page, count);
  if (error != 0) return RefusalOf(error, Sentence("%u pages at page %u to be freed", count, page));
  state_->Forget(page, count, std::move(spare));
  return absl::OkStatus();
}

absl::StatusOr<std::byte*> GrantShare::Map(std::uint64_t page, std::size_t count, Access access) {
  const absl::Status checked = CheckCount(count);
  if (!checked.ok()) return checked;
  if (!state_->file->in_same_process()) return InheritedError("the share");
  const MutexLock lock(state_->mutex);
  // A place for it first: what is mapped must not be forgotten.
  std::map<std::byte*, State::Mapping> place = {{nullptr, {page, count}}};
  std::byte* const start = ReservePages(count);
  if (start == nullptr) return absl::ResourceExhaustedError("no addresses are left");
  auto unreserve = absl::MakeCleanup(
      [&] { UnmapAnyway(start, count, [&] { state_->file->Unmap(start, count); }); });
  const int error = state_->file->Map(start, page, count, access);
  if (error == 0) {
    std::move(unreserve).Cancel();
    auto node = place.extract(place.begin());
    node.key() = start;
    state_->mapped.insert(std::move(node));
    return start;
  }
  return RefusalOf(error, Sentence("%u pages at page %u to be mapped", count, page));
}

absl::Status GrantShare::Unmap(std::byte* start) {
  if (!state_->file->in_same_process()) return InheritedError("the share");
  const MutexLock lock(state_->mutex);
  const auto mapping = state_->mapped.find(start);
  if (mapping == state_->mapped.end()) {
    return absl::InvalidArgumentError(
        Sentence("%p: expected where a mapping of this share begins", start));
  }
  const int error = state_->file->Unmap(start, mapping->second.count);
  if (error != 0) return RefusalOf(error, Sentence("the mapping at %p", start));
  state_->mapped.erase(mapping);
  return absl::OkStatus();
}

absl::StatusOr<std::uint64_t> GrantShare::OffsetOf(const void* address) const {
  const MutexLock lock(state_->mutex);
  auto* const byte = static_cast<std::byte*>(const_cast<void*>(address));
  auto mapping = state_->mapped.upper_bound(byte);
  if (mapping != state_->mapped.begin()) {
    --mapping;
    const auto inside = static_cast<std::uint64_t>(byte - mapping->first);
    if (inside < mapping->second.count << kSharedPageShift) {
      return (mapping->second.page << kSharedPageShift) + inside;
    }
  }
  return absl::InvalidArgumentError(
      Sentence("%p: expected an address in a mapping of this share", address));
}

absl::StatusOr<std::vector<std::uint32_t>> GrantShare::GrantAlso(std::uint64_t page,
                                                                 std::uint16_t domain,
                                                                 std::size_t count, Access access) {
  const absl::Status checked = CheckCount(count);
  if (!checked.ok()) return checked;
  if (!state_->file->in_same_process()) return InheritedError("the share");
  std::vector<std::uint32_t> refs(count);
  const int error = state_->file->GrantAlso(page, domain, access == Access::kWrite, refs);
  if (error == 0) return refs;
  return RefusalOfWish(error,
                       Sentence("%u pages at page %u for domain %u, too", count, page, domain));
}

absl::StatusOr<std::vector<SharedGrant>> GrantShare::List(std::uint64_t page) const {
  if (!state_->file->in_same_process()) return InheritedError("the share");
  std::vector<ShareListed> grants;
  const int error = state_->file->List(page, &grants);
  if (error != 0) return RefusalOfWish(error, Sentence("the grants of page %u", page));
  std::vector<SharedGrant> list;
  list.reserve(grants.size());
  for (const ShareListed& grant : grants) {
    list.push_back({{.domain = grant.domid, .ref = grant.ref},
                    (grant.flags & kShareWritable) != 0 ? Access::kWrite : Access::kRead});
  }
  return list;
}

absl::Status GrantShare::Revoke(std::uint32_t ref) {
  if (!state_->file->in_same_process()) return InheritedError("the share");
  const int error = state_->file->Revoke(ref);
  return error == 0 ? absl::OkStatus()
                    : RefusalOfWish(error, Sentence("grant %u to be taken back", ref));
}

absl::Status GrantShare::NotifyAtUnmap(std::uint64_t page, std::optional<std::uint16_t> byte,
                                       std::optional<std::uint32_t> port) {
  if (!state_->file->in_same_process()) return InheritedError("the share");
  if (byte.value_or(0) >= kSharedPageSize) {
    return absl::InvalidArgumentError(Sentence("byte %u: expected one in a page", *byte));
  }
  const int error = state_->file->SetNotice(
      (page << kSharedPageShift) + byte.value_or(0),
      (byte.has_value() ? kNoticeClearsByte : 0) | (port.has_value() ? kNoticeSendsEvent : 0),
      port.value_or(0));
  return error == 0 ? absl::OkStatus() : RefusalOf(error, Sentence("a notice of page %u", page));
}

}  // namespace xencomm
