// Files of gntdev and gntalloc as this process has them: of /dev/xen, or of a machine.
//
// Pages are known by their number in the file. Functions answer as Linux does: a negative errno, or
// 0 or a result. By any thread, and in the process that opened the file.
#ifndef HCALL_SHARING_PAGE_FILE_H_
#define HCALL_SHARING_PAGE_FILE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "hcall/transport/grant_calls.h"
#include "xencomm/fork_marker.h"
#include "xencomm/memory.h"

namespace xencomm {

inline constexpr unsigned kSharedPageShift = 12;
inline constexpr std::size_t kSharedPageSize = std::size_t{1} << kSharedPageShift;

// Addresses that are this process's, and cannot be touched: null when there is no room.
std::byte* ReservePages(std::size_t count);
// They are so again, whatever was there.
void EmptyPages(std::byte* start, std::size_t count);

void UnmapPages(std::byte* start, std::size_t count);

// `unmap` of them; without memory for that, at least they are no longer mapped here, and who keeps
// books of mappings finds that out.
template <class Unmap>
void UnmapAnyway(std::byte* start, std::size_t count, const Unmap& unmap) {
  try {
    unmap();
  } catch (const std::bad_alloc&) {
    UnmapPages(start, count);
  }
}

class PageFile {
 public:
  PageFile() = default;
  PageFile(const PageFile&) = delete;
  PageFile& operator=(const PageFile&) = delete;
  virtual ~PageFile() = default;

  virtual int fd() const = 0;
  bool in_same_process() const { return marker_.in_same_process(); }

  // Maps pages of the file over pages that are reserved, which they stay if that fails. Not in a
  // forked child.
  virtual int Map(std::byte* start, std::uint64_t page, std::size_t count, Access access) = 0;
  // All of a range, of which some may be reserved only.
  virtual int Unmap(std::byte* start, std::size_t count) = 0;
  // `byte` of the file, UnmapNotify's action.
  virtual int SetNotice(std::uint64_t byte, std::uint32_t action, std::uint32_t port) = 0;

 private:
  const ForkMarker marker_;
};

inline constexpr std::uint32_t kNoticeClearsByte = 1;
inline constexpr std::uint32_t kNoticeSendsEvent = 2;

// gntdev. What Add has added one Map takes, once; Remove takes it back, and what is mapped stays.
class GrantFile : public PageFile {
 public:
  // So many grants are added at once.
  virtual std::size_t most_at_once() const = 0;
  // Their first page.
  virtual std::int64_t Add(std::span<const GrantRef> grants) = 0;
  virtual int Remove(std::uint64_t page, std::size_t count) = 0;
  // Sets each one's status. Each IsPossible.
  virtual int Copy(std::span<GrantCopySegment> segments) = 0;
};

// gntalloc. -EOPNOTSUPP: Linux cannot.
class ShareFile : public PageFile {
 public:
  static constexpr std::uint64_t kAnywhere = ~std::uint64_t{0};

  // Their first page.
  virtual std::int64_t Allocate(std::uint64_t where, std::uint16_t domain, bool writable,
                                std::span<std::uint32_t> refs) = 0;
  virtual int Free(std::uint64_t page, std::size_t count) = 0;
  virtual int GrantAlso(std::uint64_t page, std::uint16_t domain, bool writable,
                        std::span<std::uint32_t> refs) = 0;
  virtual int List(std::uint64_t page, std::vector<ShareListed>* grants) = 0;
  virtual int Revoke(std::uint32_t ref) = 0;
};

// By a setting as xencomm_open takes it.
absl::StatusOr<std::shared_ptr<GrantFile>> OpenGrantFile(const std::string& setting);
absl::StatusOr<std::shared_ptr<ShareFile>> OpenShareFile(const std::string& setting);
// The file of a descriptor, which stays the caller's.
absl::StatusOr<std::shared_ptr<ShareFile>> OpenShareFile(const std::string& setting, int fd);

// kUnimplemented, with a sentence, for a setting by which no other domain's memory is reached.
absl::Status CheckSharing(const std::string& setting);

}  // namespace xencomm

#endif  // HCALL_SHARING_PAGE_FILE_H_
