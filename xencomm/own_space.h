// The process's own memory as a Space: how userland walks its own call.
//
// A pointer is what it is to the process, and one that leads nowhere ends the process as it always
// does. Where a call comes from elsewhere, its own Space is used.
#ifndef XENCOMM_OWN_SPACE_H_
#define XENCOMM_OWN_SPACE_H_

#include <cstddef>
#include <cstdint>

#include "xencomm/space.h"

namespace xencomm {

class OwnSpace final : public Space {
 public:
  Mapping Resolve(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length, Access,
                  Cursor*) override {
    // The address comes from a handle in the process's own structures.
    return Mapping(reinterpret_cast<std::byte*>(pointer.value + offset), length);
  }
};

}  // namespace xencomm

#endif  // XENCOMM_OWN_SPACE_H_
