// /dev/xen/gntdev: for each open file the grants that it is about to map, or has mapped, and where:
// a number of grants at an offset of the file, which one mapping takes, once.
//
// What is mapped stays so until the file has taken its offset back, or was closed, and nobody maps
// it any more, as in a Linux that is translated. Then the other side is told (unmap_notice.h).
#ifndef HCALL_MACHINE_GRANT_FILES_H_
#define HCALL_MACHINE_GRANT_FILES_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "hcall/machine/event_device.h"
#include "hcall/machine/unmap_notice.h"
#include "hcall/transport/embedded/guest_kernel.h"
#include "xencomm/memory.h"
#include "xencomm/mutex.h"

namespace xencomm::machine {

// By any thread. Errors are negative errno values, as Linux answers them.
class GrantFiles {
 public:
  // Of all files together, and of what one client has added.
  static constexpr std::size_t kMostGrants = std::size_t{1} << 20;
  static constexpr std::size_t kMostOfClient = std::size_t{1} << 17;

  // One entry of a domain's grant table.
  struct Grant {
    std::uint16_t domain;
    std::uint32_t ref;
  };

  // Both are borrowed: of the domain that maps.
  GrantFiles(embedded::GuestKernel& kernel, EventFiles& events)
      : kernel_(kernel), events_(events) {}
  GrantFiles(const GrantFiles&) = delete;
  GrantFiles& operator=(const GrantFiles&) = delete;
  // No mapping is left.
  ~GrantFiles();

  // The page of the file at which they can be mapped. A client is told from others by its pointer
  // alone; what it has added counts for as long as it can be mapped, whether or not it has ended.
  std::int64_t Add(std::uint64_t file, const void* client, std::span<const Grant> grants)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // -ENOENT: there are not so many at that page; 0: however many. What is mapped stays.
  int Remove(std::uint64_t file, std::uint64_t page, std::uint64_t count)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // For what lies at a byte of the file. -ENOENT: nothing does; -EINVAL.
  int SetNotice(std::uint64_t file, std::uint64_t byte, std::uint32_t action, std::uint32_t port)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Maps all grants at that page, as many as there are mfns, or none of them. They are mapped for
  // as long as somebody has `*mapping`.
  int Map(std::uint64_t file, std::uint64_t page, Access access, std::span<std::uint64_t> mfns,
          std::shared_ptr<void>* mapping) ABSL_LOCKS_EXCLUDED(mutex_);
  // Copies inside a page, from or to a grant or both (kCopyFromGrant, kCopyToGrant); the other side
  // are `from`, or `to`, of the same length, at most a page. GNTST_*, or a positive errno.
  struct Copy {
    std::uint16_t flags;
    Grant source;
    std::uint16_t source_offset;
    Grant dest;
    std::uint16_t dest_offset;
  };
  std::int64_t CopyOne(const Copy& copy, std::span<const std::byte> from, std::span<std::byte> to);

  // Nobody has the file open any more.
  void Closed(std::uint64_t file) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  // Grants at an offset, until nobody needs them: the file, or a mapping.
  class Range {
   public:
    Range(GrantFiles& owner, const void* added_by, std::vector<Grant> list)
        : client(added_by), grants(std::move(list)), notice(owner.events_), owner_(owner) {}
    Range(const Range&) = delete;
    Range& operator=(const Range&) = delete;
    ~Range();

    // Once, with the lock held.
    int Map(Access access, std::span<std::uint64_t> mfns);
    bool was_mapped() const { return was_mapped_; }
    bool is_read_only() const { return is_read_only_; }

    const void* const client;
    const std::vector<Grant> grants;
    UnmapNotice notice;

   private:
    void Unmap();

    GrantFiles& owner_;
    bool was_mapped_ = false;
    bool is_read_only_ = false;
    std::vector<std::uint32_t> handles_;
    std::vector<std::uint64_t> mfns_;
  };
  using Ranges = std::map<std::uint64_t, std::shared_ptr<Range>>;  // by their first page
  // As in Linux a file is there while somebody has it open, or has any of its ranges mapped.
  struct Mapping {
    std::shared_ptr<Ranges> file;
    std::shared_ptr<Range> range;
  };

  // Null: there is none that begins at that page.
  std::shared_ptr<Range> Find(std::uint64_t file, std::uint64_t page)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  embedded::GuestKernel& kernel_;
  EventFiles& events_;
  Mutex mutex_;
  absl::flat_hash_map<std::uint64_t, std::shared_ptr<Ranges>> ranges_ ABSL_GUARDED_BY(mutex_);
  std::size_t grants_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::flat_hash_map<const void*, std::size_t> of_client_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace xencomm::machine

#endif  // HCALL_MACHINE_GRANT_FILES_H_
