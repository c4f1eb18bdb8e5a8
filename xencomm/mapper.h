// Mapper: a way to other domains' memory, frames by right of a toolstack and pages by their grants.
//
//   auto mapper = xencomm::Mapper::Open("machine:/run/xencomm");
//   const xencomm::Grant ring[] = {{5, 8}, {5, 12}, {7, 3}};
//   auto mapped = (*mapper)->MapGrants(ring, xencomm::Access::kWrite);
//   (*mapped).data()[0] = ...
//
// All functions may be called by any thread. After fork a mapper refuses (kFailedPrecondition), and
// the child opens one of its own.
#ifndef XENCOMM_MAPPER_H_
#define XENCOMM_MAPPER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "xencomm/export.h"
#include "xencomm/foreign_mapping.h"
#include "xencomm/grant.h"
#include "xencomm/grant_mapping.h"
#include "xencomm/language.h"
#include "xencomm/memory.h"

namespace xencomm {

// One side of a copy: memory of this process, or a part of a granted page.
struct CopySide {
  static CopySide Of(void* memory) { return {.memory = memory, .grant = {}, .offset = 0}; }
  static CopySide Of(const Grant& grant, std::uint16_t offset) {
    return {.memory = nullptr, .grant = grant, .offset = offset};
  }

  void* memory = nullptr;
  std::optional<Grant> grant;
  std::uint16_t offset = 0;  // in the grant's page
};

// A grant at one side at least, and what is of a grant is in its page.
struct CopySegment {
  CopySide from;
  CopySide to;
  std::uint16_t length = 0;  // bytes
  std::int16_t status = 0;   // what Xen answered: GNTST_okay, 0, or another (xen/grant_table.h)
};

class XENCOMM_API Mapper {
 public:
  // As xencomm_open: "privcmd" and "xencomm-device", the devices in /dev/xen, each opened when it
  // is needed first; "machine:PATH[,domain=ID]", that domain's on a machine; an empty setting means
  // the environment's, or the default. kUnimplemented: an embedded machine has no other processes.
  static absl::StatusOr<std::shared_ptr<Mapper>> Open(const std::string& transport = "");

  Mapper(const Mapper&) = delete;
  Mapper& operator=(const Mapper&) = delete;
  virtual ~Mapper();

  // Both map for reading, or for reading and writing. Without `errors` it is all or nothing, and
  // the sentence names the first that failed. With them, one for each, a mapping comes back also
  // when some, or all, could not be mapped: errors[i] is 0 or a negative errno.

  // `frames` (gfns; mfns of a PV domain) of `domain`. -ESRCH: no such domain; -EINVAL: no such
  // frame; -EPERM: not writable.
  virtual absl::StatusOr<ForeignMapping> MapFrames(std::uint16_t domain,
                                                   std::span<const std::uint64_t> frames,
                                                   Access access, std::span<int> errors = {}) = 0;

  // -EACCES: it is granted for reading; -EINVAL: there is no such grant.
  virtual absl::StatusOr<GrantMapping> MapGrants(std::span<const Grant> grants, Access access,
                                                 std::span<int> errors = {}) = 0;

  // Copies one segment after the other, and says of each what became of it; by Xen itself, without
  // a mapping. A segment that cannot be meant is refused before any copy: kInvalidArgument.
  virtual absl::Status Copy(std::span<CopySegment> segments) = 0;

 protected:
  Mapper() = default;
};

}  // namespace xencomm

#endif  // XENCOMM_MAPPER_H_
