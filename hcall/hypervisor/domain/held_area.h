// HeldArea: guest memory that is written after the call that named it, until another area takes its
// place (runstate areas).
//
// The pointer means something only during that call. What it leads to is resolved then, and the
// frames behind it are pinned, so that they stay where the guest has them.
#ifndef HCALL_HYPERVISOR_DOMAIN_HELD_AREA_H_
#define HCALL_HYPERVISOR_DOMAIN_HELD_AREA_H_

#include <cstddef>
#include <cstdint>

#include "hcall/hypervisor/base/machine.h"
#include "xencomm/address.h"
#include "xencomm/space.h"

namespace xencomm::hypervisor {

class DomainPages;
class Physmap;
class Pool;

class HeldArea {
 public:
  // `bytes` at a pointer into a space of the domain's calls, at most a page, which become those at
  // `from`; null gives the area up. -EFAULT (not the domain's memory, or not writable), -EBUSY
  // (pinned too often), -EINVAL (the domain is dying): the old area stays then.
  std::int64_t Replace(Pool& pool, DomainPages& domain, Space& space, VirtualAddress pointer,
                       const void* from, std::uint64_t bytes);

  // Gives the area up, with the domain's lock held.
  void Release(Physmap& physmap);

 private:
  friend class Books;  // of tests/unit

  // An area that crosses the end of a page has two parts.
  struct Part {
    std::uint64_t mfn = kNoFrame;
    std::byte* bytes = nullptr;
    std::uint64_t length = 0;
  };

  Part parts_[2];
};

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_DOMAIN_HELD_AREA_H_
