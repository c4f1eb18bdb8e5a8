#include "xencomm/mapper.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <utility>
#include <vector>

#include "hcall/sharing/foreign_mapping.h"
#include "hcall/sharing/grant_mapping.h"
#include "hcall/sharing/page_file.h"
#include "hcall/sharing/refusal.h"
#include "hcall/transport/machine/connection.h"
#include "hcall/transport/open.h"
#include "xencomm/fork_marker.h"
#include "xencomm/mutex.h"
#include "xencomm/sentence.h"

namespace xencomm {
namespace {

GrantCopySide SideOf(const CopySide& side) {
  GrantCopySide made = {};
  if (side.grant.has_value()) {
    made.foreign = {.ref = side.grant->ref, .offset = side.offset, .domid = side.grant->domain};
  } else {
    made.address = std::bit_cast<std::uint64_t>(side.memory);
  }
  return made;
}

absl::Status WrongNumberOfErrors(std::size_t errors, std::size_t wanted) {
  return absl::InvalidArgumentError(
      Sentence("%u errors: expected one for each of %u, or none", errors, wanted));
}

class DeviceMapper final : public Mapper {
 public:
  explicit DeviceMapper(std::string setting) : setting_(std::move(setting)) {}

  absl::StatusOr<ForeignMapping> MapFrames(std::uint16_t domain,
                                           std::span<const std::uint64_t> frames, Access access,
                                           std::span<int> errors) override
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<GrantMapping> MapGrants(std::span<const Grant> grants, Access access,
                                         std::span<int> errors) override
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Copy(std::span<CopySegment> segments) override ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  absl::StatusOr<std::shared_ptr<ForeignMemory>> Frames() {
    if (!marker_.in_same_process()) return InheritedError("the mapper");
    const MutexLock lock(mutex_);
    if (frames_ == nullptr) {
      auto opened = OpenForeignMemory(setting_);
      if (!opened.ok()) return opened.status();
      frames_ = *std::move(opened);
    }
    return frames_;
  }
  absl::StatusOr<std::shared_ptr<GrantFile>> Grants() {
    if (!marker_.in_same_process()) return InheritedError("the mapper");
    const MutexLock lock(mutex_);
    if (grants_ == nullptr) {
      auto opened = OpenGrantFile(setting_);
      if (!opened.ok()) return opened.status();
      grants_ = *std::move(opened);
    }
    return grants_;
  }

  const std::string setting_;
  const ForkMarker marker_;
  Mutex mutex_;
  std::shared_ptr<ForeignMemory> frames_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<GrantFile> grants_ ABSL_GUARDED_BY(mutex_);
};

absl::StatusOr<ForeignMapping> DeviceMapper::MapFrames(std::uint16_t domain,
                                                       std::span<const std::uint64_t> frames,
                                                       Access access, std::span<int> errors) {
  if (frames.empty()) return absl::InvalidArgumentError("no frame to be mapped: expected one");
  if (!errors.empty() && errors.size() != frames.size()) {
    return WrongNumberOfErrors(errors.size(), frames.size());
  }
  auto memory = Frames();
  if (!memory.ok()) return memory.status();
  std::vector<int> own(errors.empty() ? frames.size() : 0);
  const std::span<int> each = errors.empty() ? own : errors;
  // Once it is mapped nothing may fail.
  auto state = std::make_unique<ForeignMapping::State>();
  state->memory = *std::move(memory);
  ForeignMemory::Placement placement = {
      .address = nullptr,
      .protection = PROT_READ | (access == Access::kWrite ? PROT_WRITE : 0),
      .flags = MAP_SHARED};
  const int error = state->memory->Map(domain, placement, frames, each);
  if (error != 0) {
    return RefusalOf(error,
                     Sentence("%u frames of domain %u cannot be mapped", frames.size(), domain));
  }
  state->start = static_cast<std::byte*>(placement.address);
  state->pages = frames.size();
  if (errors.empty()) {
    const auto failed = std::ranges::find_if(each, [](int of_frame) { return of_frame != 0; });
    if (failed != each.end()) {
      const std::uint64_t frame = frames[static_cast<std::size_t>(failed - each.begin())];
      return RefusalOf(*failed, Sentence("frame %#x of domain %u cannot be mapped%s", frame, domain,
                                         access == Access::kWrite ? " for writing" : ""));
    }
  }
  return ForeignMapping(std::move(state));
}

absl::StatusOr<GrantMapping> DeviceMapper::MapGrants(std::span<const Grant> grants, Access access,
                                                     std::span<int> errors) {
  if (grants.empty()) return absl::InvalidArgumentError("no grant to be mapped: expected one");
  if (!errors.empty() && errors.size() != grants.size()) {
    return WrongNumberOfErrors(errors.size(), grants.size());
  }
  auto file = Grants();
  if (!file.ok()) return file.status();
  std::vector<GrantRef> refs(grants.size());
  std::ranges::transform(grants, refs.begin(), [](const Grant& grant) {
    return GrantRef{.domid = grant.domain, .ref = grant.ref};
  });
  auto state = std::make_unique<GrantMapping::State>();
  const int error = GrantedRange::Map(*std::move(file), refs, access, errors, &state->range);
  if (error != 0) {
    const Grant& failed = grants[state->range == nullptr ? 0 : state->range->failed_at()];
    return RefusalOf(error,
                     Sentence("grant %u of domain %u cannot be mapped%s", failed.ref, failed.domain,
                              access == Access::kWrite ? " for writing" : ""));
  }
  return GrantMapping(std::move(state));
}

absl::Status DeviceMapper::Copy(std::span<CopySegment> segments) {
  std::vector<GrantCopySegment> list;
  list.reserve(segments.size());
  for (const CopySegment& segment : segments) {
    list.push_back(
        {.source = SideOf(segment.from),
         .dest = SideOf(segment.to),
         .length = segment.length,
         .flags = static_cast<std::uint16_t>((segment.from.grant.has_value() ? kCopyFromGrant : 0) |
                                             (segment.to.grant.has_value() ? kCopyToGrant : 0)),
         .status = 0,
         .pad = 0});
    if (!IsPossible(list.back())) {
      return absl::InvalidArgumentError(Sentence(
          "segment %u of %u bytes, from offset %u to %u: expected a grant at one side, and "
          "bytes inside its page",
          list.size() - 1, segment.length, segment.from.offset, segment.to.offset));
    }
  }
  auto file = Grants();
  if (!file.ok()) return file.status();
  const int error = list.empty() ? 0 : (*file)->Copy(list);
  for (std::size_t i = 0; i < list.size(); ++i) segments[i].status = list[i].status;
  return error == 0 ? absl::OkStatus()
                    : RefusalOf(error, Sentence("%u copies of grants", segments.size()));
}

}  // namespace

Mapper::~Mapper() = default;

absl::StatusOr<std::shared_ptr<Mapper>> Mapper::Open(const std::string& transport) {
  // A machine that is not there is told of now; of Linux's devices not all may be had.
  const absl::StatusOr<TransportSetting> parsed = ParseTransport(transport);
  if (!parsed.ok()) return parsed.status();
  const absl::Status possible = CheckSharing(transport);
  if (!possible.ok()) return possible;
  if (const auto* const joined = std::get_if<JoinedSetting>(&*parsed)) {
    const auto connected = machine::Connection::OfMappings(*joined);
    if (!connected.ok()) return connected.status();
  }
  return std::make_shared<DeviceMapper>(transport);
}

}  // namespace xencomm
