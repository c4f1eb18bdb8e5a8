// ForeignMapping: frames of another domain, mapped into this process one after the other.
//
// A Mapper makes them (mapper.h). Unmapped when it ends; after fork it is not in the child.
#ifndef XENCOMM_FOREIGN_MAPPING_H_
#define XENCOMM_FOREIGN_MAPPING_H_

#include <cstddef>
#include <memory>

#include "xencomm/export.h"
#include "xencomm/language.h"

namespace xencomm {

class XENCOMM_API ForeignMapping {
 public:
  struct XENCOMM_HIDDEN State;

  explicit ForeignMapping(std::unique_ptr<State> state);
  ForeignMapping(ForeignMapping&&) noexcept;
  ForeignMapping& operator=(ForeignMapping&&) noexcept;
  ~ForeignMapping();

  // Null once it was moved from. Touching a frame that could not be mapped raises SIGBUS or
  // SIGSEGV; in a translated domain of real Xen's it may show bytes 0xff.
  std::byte* data() const;
  std::size_t pages() const;

 private:
  std::unique_ptr<State> state_;
};

}  // namespace xencomm

#endif  // XENCOMM_FOREIGN_MAPPING_H_
