// /dev/xen/gntalloc: for each open file the pages that it grants to other domains, and where they
// can be mapped. A page is the kernel's, and lasts until the file has given it up, or was closed,
// nobody maps it here, and no domain that it was granted to does.
//
// Beside what Linux has (drivers/xen/gntalloc.c), a file's user may say where its pages are, grant
// a page to more domains, list whom it is granted to, and take back each grant by itself; and a
// file that several processes have is one file.
#ifndef HCALL_MACHINE_SHARE_FILES_H_
#define HCALL_MACHINE_SHARE_FILES_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "hcall/machine/event_device.h"
#include "hcall/machine/own_grants.h"
#include "hcall/machine/unmap_notice.h"
#include "hcall/transport/embedded/guest_kernel.h"
#include "hcall/transport/grant_calls.h"
#include "xencomm/mutex.h"

namespace xencomm::machine {

// By any thread. Errors are negative errno values, as Linux answers them.
class ShareFiles {
 public:
  // Of all files together (gntalloc's parameter `limit`).
  static constexpr std::size_t kMostPages = 1024;
  // Of one page.
  static constexpr std::size_t kMostGrants = 64;

  // Both are borrowed: of the domain that grants.
  ShareFiles(embedded::GuestKernel& kernel, EventFiles& events)
      : kernel_(kernel), events_(events), grants_(kernel) {}
  ShareFiles(const ShareFiles&) = delete;
  ShareFiles& operator=(const ShareFiles&) = delete;
  // No mapping is left.
  ~ShareFiles();

  // Pages that are granted to `domain`, an entry of `refs` each, at the page of the file that is
  // answered: `*where`, or behind all that the file ever had. -EEXIST: there are some already.
  std::int64_t Allocate(std::uint64_t file, const std::uint64_t* where, std::uint16_t domain,
                        bool writable, std::span<std::uint32_t> refs) ABSL_LOCKS_EXCLUDED(mutex_);
  // -EINVAL: not all of them are there.
  int Free(std::uint64_t file, std::uint64_t page, std::uint64_t count) ABSL_LOCKS_EXCLUDED(mutex_);
  int SetNotice(std::uint64_t file, std::uint64_t byte, std::uint32_t action, std::uint32_t port)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // -ENOENT: there is a hole. They stay for as long as somebody has `*mapping`.
  int Map(std::uint64_t file, std::uint64_t page, std::span<std::uint64_t> mfns,
          std::shared_ptr<void>* mapping) ABSL_LOCKS_EXCLUDED(mutex_);

  // Grants pages of the file to one domain more. -EINVAL: not all of them are there.
  int GrantAlso(std::uint64_t file, std::uint64_t page, std::uint16_t domain, bool writable,
                std::span<std::uint32_t> refs) ABSL_LOCKS_EXCLUDED(mutex_);
  // The grants of a page. -EINVAL.
  int List(std::uint64_t file, std::uint64_t page, std::vector<ShareListed>* grants)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Takes one of them back. -ENOENT: the file has no such grant; -EBUSY: that domain maps it.
  int Revoke(std::uint64_t file, std::uint32_t ref) ABSL_LOCKS_EXCLUDED(mutex_);

  // Nobody has the file open any more.
  void Closed(std::uint64_t file) ABSL_LOCKS_EXCLUDED(mutex_);
  // Looks whether what was given up is used by other domains still.
  void Collect() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Held {
    embedded::FrameRun frame;
    std::vector<ShareListed> grants;
  };
  struct Page {
    Page(ShareFiles& of, embedded::FrameRun taken) : owner(of), frame(taken), notice(of.events_) {}
    Page(const Page&) = delete;
    Page& operator=(const Page&) = delete;
    ~Page();

    ShareFiles& owner;
    const embedded::FrameRun frame;
    std::vector<ShareListed> grants;
    UnmapNotice notice;
  };
  struct File {
    std::map<std::uint64_t, std::shared_ptr<Page>> pages;
    std::uint64_t next = 0;
  };
  using Pages = std::vector<std::shared_ptr<Page>>;
  // As in Linux a file is there while somebody has it open, or has any of its pages mapped.
  struct Mapping {
    std::shared_ptr<File> file;
    Pages pages;
  };

  std::byte* BytesOf(embedded::FrameRun frame);
  // `count` pages from `page` on; fewer: there is a hole.
  Pages Find(std::uint64_t file, std::uint64_t page, std::uint64_t count)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int GrantPages(const Pages& pages, std::uint16_t domain, bool writable,
                 std::span<std::uint32_t> refs) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether nobody uses it any more, and it was given back.
  bool GiveBack(Held& held) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CollectLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  embedded::GuestKernel& kernel_;
  EventFiles& events_;
  Mutex mutex_;
  OwnGrants grants_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<std::uint64_t, std::shared_ptr<File>> files_ ABSL_GUARDED_BY(mutex_);
  std::size_t pages_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<Held> given_up_ ABSL_GUARDED_BY(mutex_);  // and used by other domains
};

}  // namespace xencomm::machine

#endif  // HCALL_MACHINE_SHARE_FILES_H_
