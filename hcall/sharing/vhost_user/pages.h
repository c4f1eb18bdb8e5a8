// Pages of other domains, in this process: what a back-end on Xen maps a guest's memory by.
//
// The one place where the kit meets Xen. Nothing of a front-end's descriptors is used for it: those
// could be of any device, and the ioctls would mean there what they like. The back-end maps by its
// own rights, of one domain alone when it is told so.
#ifndef HCALL_SHARING_VHOST_USER_PAGES_H_
#define HCALL_SHARING_VHOST_USER_PAGES_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "hcall/transport/foreign_memory.h"
#include "xencomm/memory.h"

namespace xencomm::vhost_user {

// Pages of 4 KiB, one after the other. Unmapped when it is deleted.
class MappedPages {
 public:
  explicit MappedPages(std::byte* start) : start_(start) {}
  MappedPages(const MappedPages&) = delete;
  MappedPages& operator=(const MappedPages&) = delete;
  virtual ~MappedPages() = default;

  std::byte* start() const { return start_; }

 private:
  std::byte* const start_;
};

// Both answer 0 or a negative errno; then nothing is left mapped, whichever of the pages it was
// that could not be. `count` is at least 1. What was mapped for kWrite can be read, too. Touching
// pages that are mapped raises no signal, whatever their owner does. Several threads may ask at
// once.
class PageMapper {
 public:
  virtual ~PageMapper() = default;

  // Guest frames from `first` on. For each one there is.
  virtual int MapFrames(std::uint16_t domain, std::uint64_t first, std::size_t count, Access access,
                        std::unique_ptr<MappedPages>* pages) = 0;

  // What the domain grants by the references from `first` on. -EACCES, -EPERM or -EINVAL when one
  // of them may not be written.
  virtual int MapGrants(std::uint16_t domain, std::uint32_t first, std::size_t count, Access access,
                        std::unique_ptr<MappedPages>* pages) = 0;
};

// By Linux's devices, or those of a machine.
class XenPageMapper final : public PageMapper {
 public:
  // As PageMapper::MapGrants.
  using GrantMapper =
      std::function<int(std::uint16_t domain, std::uint32_t first, std::size_t count, Access access,
                        std::unique_ptr<MappedPages>* pages)>;

  // Pages that one mapping may have: the arrays that name them are this process's memory.
  static constexpr std::size_t kMostPages = std::size_t{1} << 24;

  // Without `grants`, none can be mapped: -EOPNOTSUPP. Of other domains than `only`: -EPERM.
  XenPageMapper(std::unique_ptr<ForeignMemory> frames, GrantMapper grants,
                std::optional<std::uint16_t> only)
      : frames_(std::move(frames)), grants_(std::move(grants)), only_(only) {}

  int MapFrames(std::uint16_t domain, std::uint64_t first, std::size_t count, Access access,
                std::unique_ptr<MappedPages>* pages) override;
  int MapGrants(std::uint16_t domain, std::uint32_t first, std::size_t count, Access access,
                std::unique_ptr<MappedPages>* pages) override;

 private:
  bool May(std::uint16_t domain) const { return !only_.has_value() || *only_ == domain; }

  // Mappings keep it: some outlive the mapper.
  const std::shared_ptr<ForeignMemory> frames_;
  const GrantMapper grants_;
  const std::optional<std::uint16_t> only_;
};

}  // namespace xencomm::vhost_user

#endif  // HCALL_SHARING_VHOST_USER_PAGES_H_
