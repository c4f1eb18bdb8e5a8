#include "hcall/sharing/vhost_user/guest_memory.h"

#include <algorithm>
#include <cerrno>

#include "xencomm/sentence.h"

namespace xencomm::vhost_user {
namespace {

bool MayNot(int error) { return error == -EACCES || error == -EPERM || error == -EROFS; }

absl::Status NotMapped(const MemoryRegion& region, int error) {
  return absl::ErrnoToStatus(-error, Sentence("mapping the region of %#x bytes at %#x of domain %u",
                                              region.size, region.guest_address, region.domain));
}

// `pages` of `region` that hold the byte at `address` and those after it.
int MapPages(PageMapper& mapper, const MemoryRegion& region, std::uint64_t address,
             std::uint64_t count, Access access, std::unique_ptr<MappedPages>* pages) {
  // What Check has seen: the domain has 16 bits, and a reference 32.
  const auto domain = static_cast<std::uint16_t>(region.domain);
  const std::uint64_t first = MemoryRegion::Page(address);
  return region.kind() == MemoryRegion::Kind::kForeign
             ? mapper.MapFrames(domain, first, count, access, pages)
             : mapper.MapGrants(domain, static_cast<std::uint32_t>(first), count, access, pages);
}

}  // namespace

// A region, mapped if it is one that is kept.
class GuestMemory::Region {
 public:
  static absl::StatusOr<std::shared_ptr<const Region>> OfFile(const MemoryRegion& about,
                                                              const FileDescriptor& file) {
    auto mapped = SharedFile::Map(file.get(), about.mmap_offset, about.size);
    if (!mapped.ok()) return mapped.status();
    auto region = std::make_shared<Region>(about);
    region->file_ = *std::move(mapped);
    region->start_ = region->file_->start();
    return region;
  }

  static absl::StatusOr<std::shared_ptr<const Region>> OfPages(const MemoryRegion& about,
                                                               PageMapper& mapper) {
    auto region = std::make_shared<Region>(about);
    if (about.is_no_advance()) return region;
    const std::uint64_t count = MemoryRegion::Pages(about.guest_address, about.size);
    int result =
        MapPages(mapper, about, about.guest_address, count, Access::kWrite, &region->pages_);
    // What a driver only reads from, it may have granted for reading: its descriptors.
    if (MayNot(result) || result == -EINVAL) {
      region->is_writable_ = false;
      result = MapPages(mapper, about, about.guest_address, count, Access::kRead, &region->pages_);
    }
    if (result != 0) return NotMapped(about, result);
    region->start_ = region->pages_->start() + about.guest_address % kPageBytes;
    return region;
  }

  explicit Region(const MemoryRegion& about) : about_(about) {}

  const MemoryRegion& about() const { return about_; }
  bool is_kept() const { return start_ != nullptr; }
  bool is_torn() const { return file_ != nullptr && file_->is_torn(); }

  // Of one that is kept: its bytes from an offset on that lies in it.
  Mapping At(std::uint64_t offset, std::uint64_t length, Access access) const {
    if (access == Access::kWrite && !is_writable_) return Fault::kNotWritable;
    if (is_torn()) return Fault::kNoMemory;  // zeros would be taken for what the guest wrote
    return {start_ + offset, length};
  }

 private:
  const MemoryRegion about_;
  std::unique_ptr<SharedFile> file_;
  std::unique_ptr<MappedPages> pages_;
  std::byte* start_ = nullptr;
  bool is_writable_ = true;
};

namespace {

bool AreDisjoint(std::uint64_t a, std::uint64_t a_size, std::uint64_t b, std::uint64_t b_size) {
  return a < b ? b - a >= a_size : a - b >= b_size;
}

// Whether a region can be beside another one.
absl::Status CheckBeside(const MemoryRegion& one, const MemoryRegion& other) {
  constexpr auto kPlain = MemoryRegion::Kind::kPlain;
  if (!AreDisjoint(one.guest_address, one.size, other.guest_address, other.size)) {
    return absl::AlreadyExistsError(
        Sentence("regions of %#x bytes at %#x and of %#x bytes at %#x: expected none that overlap",
                 one.size, one.guest_address, other.size, other.guest_address));
  }
  if (one.kind() == kPlain && other.kind() == kPlain &&
      !AreDisjoint(one.user_address, one.size, other.user_address, other.size)) {
    return absl::AlreadyExistsError(Sentence(
        "regions of %#x bytes at the front-end's %#x and of %#x bytes at %#x: expected none "
        "that overlap",
        one.size, one.user_address, other.size, other.user_address));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::shared_ptr<const GuestMemory::Region>> GuestMemory::Map(
    const MemoryRegion& region, const FileDescriptor& file) const {
  if (region.kind() == MemoryRegion::Kind::kPlain) return Region::OfFile(region, file);
  if (mapper_ == nullptr) {
    return absl::UnimplementedError("expected plain memory: nothing of Xen is reached from here");
  }
  return Region::OfPages(region, *mapper_);
}

absl::Status GuestMemory::Replace(std::span<const MemoryRegion> regions,
                                  std::span<const FileDescriptor> files) {
  if (files.size() != regions.size() || regions.size() > kMostRegions) {
    return absl::InvalidArgumentError(
        Sentence("%u regions and %u descriptors: expected one for each of at most %u regions",
                 regions.size(), files.size(), kMostRegions));
  }
  // All are looked at before one is mapped.
  for (std::size_t i = 0; i < regions.size(); ++i) {
    const absl::Status checked = regions[i].Check();
    if (!checked.ok()) return checked;
    for (std::size_t j = 0; j < i; ++j) {
      const absl::Status beside = CheckBeside(regions[i], regions[j]);
      if (!beside.ok()) return beside;
    }
  }
  Regions mapped;
  for (std::size_t i = 0; i < regions.size(); ++i) {
    auto region = Map(regions[i], files[i]);
    if (!region.ok()) return region.status();
    mapped.push_back(*std::move(region));
  }
  Set(std::move(mapped));
  return absl::OkStatus();
}

absl::Status GuestMemory::Add(const MemoryRegion& region, const FileDescriptor& file) {
  const absl::Status checked = region.Check();
  if (!checked.ok()) return checked;
  Regions changed = *regions();
  if (changed.size() >= kMostRegions) {
    return absl::ResourceExhaustedError(Sentence("expected at most %u regions", kMostRegions));
  }
  for (const auto& other : changed) {
    const absl::Status beside = CheckBeside(region, other->about());
    if (!beside.ok()) return beside;
  }
  auto mapped = Map(region, file);
  if (!mapped.ok()) return mapped.status();
  changed.push_back(*std::move(mapped));
  Set(std::move(changed));
  return absl::OkStatus();
}

absl::Status GuestMemory::Remove(const MemoryRegion& region) {
  Regions changed = *regions();
  const auto removed = std::erase_if(changed, [&region](const auto& each) {
    return each->about().guest_address == region.guest_address &&
           each->about().size == region.size && each->about().user_address == region.user_address;
  });
  if (removed == 0) {
    return absl::NotFoundError(
        Sentence("region of %#x bytes at %#x, the front-end's %#x: expected one that was added",
                 region.size, region.guest_address, region.user_address));
  }
  Set(std::move(changed));
  return absl::OkStatus();
}

void GuestMemory::Clear() { Set({}); }

std::shared_ptr<const GuestMemory::Regions> GuestMemory::regions() const {
  MutexLock lock(mutex_);
  return regions_;
}

void GuestMemory::Set(Regions regions) {
  std::ranges::sort(regions, {}, [](const auto& each) { return each->about().guest_address; });
  std::shared_ptr<const Regions> next = std::make_shared<Regions>(std::move(regions));
  MutexLock lock(mutex_);
  regions_.swap(next);  // and what was is unmapped behind the lock, or by who still uses it
}

GuestMemory::Accessor GuestMemory::BeginAccess() const { return {regions(), mapper_}; }

std::optional<PhysicalAddress> GuestMemory::OfUser(std::uint64_t address,
                                                   std::uint64_t length) const {
  const std::shared_ptr<const Regions> all = regions();
  bool is_any_foreign = false;
  for (const auto& each : *all) {
    const MemoryRegion& about = each->about();
    if (Contains(about.user_address, about.size, address, length)) {
      return PhysicalAddress{about.guest_address + (address - about.user_address)};
    }
    is_any_foreign = is_any_foreign || about.kind() != MemoryRegion::Kind::kPlain;
  }
  return is_any_foreign ? std::optional(PhysicalAddress{address}) : std::nullopt;
}

bool GuestMemory::is_torn() const {
  const std::shared_ptr<const Regions> all = regions();
  return std::ranges::any_of(*all, [](const auto& each) { return each->is_torn(); });
}

Mapping GuestMemory::Accessor::Map(PhysicalAddress physical, std::uint64_t length, Access access) {
  // The last one that begins at the address or before.
  const auto after = std::ranges::upper_bound(
      *regions_, physical.value, {}, [](const auto& each) { return each->about().guest_address; });
  if (after == regions_->begin()) return Fault::kNoMemory;
  const Region& region = **std::prev(after);
  const std::uint64_t offset = physical.value - region.about().guest_address;
  if (offset >= region.about().size) return Fault::kNoMemory;
  length = std::min(length, region.about().size - offset);
  if (region.is_kept()) return region.At(offset, length, access);

  const std::uint64_t within = physical.value % kPageBytes;
  length = std::min(length, kMostRun * kPageBytes - within);
  const std::uint64_t count = MemoryRegion::Pages(physical.value, length);
  if (count > kMostPages - pages_) return Fault::kNoMemory;
  std::unique_ptr<MappedPages> pages;
  const int result = MapPages(*mapper_, region.about(), physical.value, count, access, &pages);
  if (result != 0) {
    if (!MayNot(result)) return Fault::kNoMemory;
    return access == Access::kWrite ? Fault::kNotWritable : Fault::kNotReadable;
  }
  std::byte* const start = pages->start() + within;
  mapped_.push_back(std::move(pages));
  pages_ += count;
  return {start, length};
}

}  // namespace xencomm::vhost_user
