// GrantShare: pages of this domain's that are granted to others, as a file of Linux's gntalloc.
//
//   auto share = xencomm::GrantShare::Open();
//   auto pages = (*share).Allocate(5, 2, xencomm::Access::kWrite);   // tells domain 5 the refs
//   std::byte* at = *(*share).Map(pages->page, 2, xencomm::Access::kWrite);
//
// Pages are known by their number in the file. They work from when they are allocated, mapped or
// not, and go when they have been freed, or the file is closed by all who have it, nobody maps them
// here, and no domain that they are granted to does.
//
// A file may be had by several processes, through fork or a socket: each makes a GrantShare of its
// descriptor, and maps by the pages' numbers. When a GrantShare ends, what it mapped is unmapped
// and what it allocated is freed; in a forked child its parent's does nothing but close the
// descriptor.
//
// Linux has no numbers that the caller chooses, and one grant of a page: kUnimplemented.
#ifndef XENCOMM_GRANT_SHARE_H_
#define XENCOMM_GRANT_SHARE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "xencomm/export.h"
#include "xencomm/grant.h"
#include "xencomm/language.h"
#include "xencomm/memory.h"

namespace xencomm {

// Pages that were allocated together.
struct SharedPages {
  std::uint64_t page = 0;           // the first one's number
  std::vector<std::uint32_t> refs;  // of each
};

// One of a page's grants.
struct SharedGrant {
  Grant grant;  // to that domain
  Access access = Access::kRead;

  friend bool operator==(const SharedGrant&, const SharedGrant&) = default;
};

// By any thread.
class XENCOMM_API GrantShare {
 public:
  struct XENCOMM_HIDDEN State;

  // A file of its own. As Mapper::Open.
  static absl::StatusOr<GrantShare> Open(const std::string& transport = "");
  // The file behind a descriptor that another one's fd() gave. The descriptor stays the caller's.
  static absl::StatusOr<GrantShare> FromDescriptor(const std::string& transport, int fd);

  explicit GrantShare(std::unique_ptr<State> state);
  GrantShare(GrantShare&&) noexcept;
  GrantShare& operator=(GrantShare&&) noexcept;
  ~GrantShare();

  // To be given to another process; closed with this.
  int fd() const;

  // Cleared pages, granted to `domain`, at numbers behind all that the file had.
  absl::StatusOr<SharedPages> Allocate(std::uint16_t domain, std::size_t count, Access access);
  // At the number that the caller says. kAlreadyExists: one of them is taken.
  absl::StatusOr<SharedPages> AllocateAt(std::uint64_t page, std::uint16_t domain,
                                         std::size_t count, Access access);
  // Any run of pages. What is mapped stays until it is unmapped. kInvalidArgument: not all of them
  // are there.
  absl::Status Free(std::uint64_t page, std::size_t count);

  // Any run of pages, also of several allocations. kNotFound: not all of them are there.
  absl::StatusOr<std::byte*> Map(std::uint64_t page, std::size_t count, Access access);
  // What Map gave. kInvalidArgument: it did not.
  absl::Status Unmap(std::byte* start);
  // Where in the file an address is, in bytes. kInvalidArgument: in nothing that this has mapped.
  absl::StatusOr<std::uint64_t> OffsetOf(const void* address) const;

  // Grants these pages to one domain more: an entry each. kInvalidArgument: not all are there.
  absl::StatusOr<std::vector<std::uint32_t>> GrantAlso(std::uint64_t page, std::uint16_t domain,
                                                       std::size_t count, Access access);
  // All grants of a page. kInvalidArgument: it is not there.
  absl::StatusOr<std::vector<SharedGrant>> List(std::uint64_t page) const;
  // Takes one of them back. kAborted: it is mapped; kNotFound: this file has no such grant.
  absl::Status Revoke(std::uint32_t ref);

  // When the page is mapped no more, and freed, its byte at `byte`, or nothing, becomes 0, and an
  // event is sent by that port. As GrantMapping::NotifyAtUnmap.
  absl::Status NotifyAtUnmap(std::uint64_t page, std::optional<std::uint16_t> byte,
                             std::optional<std::uint32_t> port);

 private:
  std::unique_ptr<State> state_;
};

}  // namespace xencomm

#endif  // XENCOMM_GRANT_SHARE_H_
