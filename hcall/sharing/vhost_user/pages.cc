#include "hcall/sharing/vhost_user/pages.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <vector>

namespace xencomm::vhost_user {
namespace {

class ForeignPages final : public MappedPages {
 public:
  ForeignPages(std::shared_ptr<ForeignMemory> memory, void* start, std::size_t count)
      : MappedPages(static_cast<std::byte*>(start)), memory_(std::move(memory)), count_(count) {}
  ~ForeignPages() override { memory_->Unmap(start(), count_); }

 private:
  const std::shared_ptr<ForeignMemory> memory_;
  const std::size_t count_;
};

}  // namespace

int XenPageMapper::MapFrames(std::uint16_t domain, std::uint64_t first, std::size_t count,
                             Access access, std::unique_ptr<MappedPages>* pages) {
  if (!May(domain)) return -EPERM;
  if (count > kMostPages) return -E2BIG;
  std::vector<std::uint64_t> frames(count);
  for (std::size_t i = 0; i < count; ++i) frames[i] = first + i;
  std::vector<int> errors(count);
  ForeignMemory::Placement placement = {
      nullptr, PROT_READ | (access == Access::kWrite ? PROT_WRITE : 0), MAP_SHARED};
  const int result = frames_->Map(domain, placement, frames, errors);
  if (result != 0) return result;
  try {
    *pages = std::make_unique<ForeignPages>(frames_, placement.address, count);
  } catch (const std::bad_alloc&) {
    frames_->Unmap(placement.address, count);
    return -ENOMEM;
  }
  const auto failed = std::ranges::find_if(errors, [](int error) { return error != 0; });
  if (failed == errors.end()) return 0;
  pages->reset();
  return *failed;
}

int XenPageMapper::MapGrants(std::uint16_t domain, std::uint32_t first, std::size_t count,
                             Access access, std::unique_ptr<MappedPages>* pages) {
  if (!May(domain)) return -EPERM;
  if (count > kMostPages) return -E2BIG;
  return grants_ == nullptr ? -EOPNOTSUPP : grants_(domain, first, count, access, pages);
}

}  // namespace xencomm::vhost_user
