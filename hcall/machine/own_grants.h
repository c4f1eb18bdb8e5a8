// A kernel's own grant table, for what its processes grant to other domains.
//
// The table has version 1. Of its entries the first eight are toolstacks'; the others are handed
// out here. One that is taken back while the other domain uses it is kept until that has ended.
#ifndef HCALL_MACHINE_OWN_GRANTS_H_
#define HCALL_MACHINE_OWN_GRANTS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "hcall/hypervisor/domain/grant_entry.h"
#include "hcall/transport/embedded/guest_kernel.h"

namespace xencomm::machine {

// One thread at a time.
class OwnGrants {
 public:
  // Borrowed.
  explicit OwnGrants(embedded::GuestKernel& kernel) : kernel_(kernel) {}
  OwnGrants(const OwnGrants&) = delete;
  OwnGrants& operator=(const OwnGrants&) = delete;
  // The frames of the table are the hypervisor's.
  ~OwnGrants();

  // Grants a page of the kernel's, as it knows its frames, to a domain: the entry, or a negative
  // errno. -ENOSPC: the table is full.
  std::int64_t Grant(std::uint16_t domain, std::uint64_t frame, bool writable);
  // False: the other domain uses it, and it stays.
  bool Revoke(std::uint32_t ref);

 private:
  // Whether there is an entry that nobody has, after growing the table.
  bool HasFree();
  hypervisor::GrantEntry EntryOf(std::uint32_t ref) const;

  embedded::GuestKernel& kernel_;
  std::vector<std::uint64_t> frames_;  // mfns
  std::vector<std::uint32_t> free_;    // entries
};

}  // namespace xencomm::machine

#endif  // HCALL_MACHINE_OWN_GRANTS_H_
