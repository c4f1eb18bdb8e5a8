// GrantMapping: pages that other domains grant, mapped into this process one after the other: any
// grants, of several domains, as one range.
//
// A Mapper makes them (mapper.h). Unmapped when it ends; after fork it is not in the child.
#ifndef XENCOMM_GRANT_MAPPING_H_
#define XENCOMM_GRANT_MAPPING_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "xencomm/export.h"
#include "xencomm/language.h"

namespace xencomm {

class XENCOMM_API GrantMapping {
 public:
  struct XENCOMM_HIDDEN State;

  explicit GrantMapping(std::unique_ptr<State> state);
  GrantMapping(GrantMapping&&) noexcept;
  GrantMapping& operator=(GrantMapping&&) noexcept;
  ~GrantMapping();

  // Null once it was moved from. Touching a page that could not be mapped raises SIGSEGV.
  std::byte* data() const;
  std::size_t pages() const;

  // When the mapping ends, and be it with this process, the byte at that offset becomes 0, and then
  // an event is sent by that port of /dev/xen/evtchn's. In place of what was said before; without
  // both, nothing happens. kInvalidArgument: a byte outside, of a page that is not mapped or that
  // is mapped for reading, or a port that nobody has bound.
  absl::Status NotifyAtUnmap(std::optional<std::uint64_t> byte, std::optional<std::uint32_t> port);

 private:
  std::unique_ptr<State> state_;
};

}  // namespace xencomm

#endif  // XENCOMM_GRANT_MAPPING_H_
