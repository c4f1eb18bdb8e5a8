#include "hcall/sharing/vhost_user/granted_pages.h"

#include <cerrno>
#include <limits>
#include <utility>
#include <vector>

#include "hcall/sharing/granted_range.h"
#include "hcall/sharing/page_file.h"

namespace xencomm::vhost_user {
namespace {

class GrantedPages final : public MappedPages {
 public:
  explicit GrantedPages(std::unique_ptr<GrantedRange> range)
      : MappedPages(range->start()), range_(std::move(range)) {}

 private:
  const std::unique_ptr<GrantedRange> range_;
};

}  // namespace

absl::StatusOr<XenPageMapper::GrantMapper> OpenGrantMapper(const std::string& setting) {
  auto opened = OpenGrantFile(setting);
  if (!opened.ok()) return opened.status();
  return [file = *std::move(opened)](std::uint16_t domain, std::uint32_t first, std::size_t count,
                                     Access access, std::unique_ptr<MappedPages>* pages) {
    if (count - 1 > std::numeric_limits<std::uint32_t>::max() - first) return -EINVAL;
    std::vector<GrantRef> grants(count);
    for (std::size_t i = 0; i < count; ++i) {
      grants[i] = {.domid = domain, .ref = first + static_cast<std::uint32_t>(i)};
    }
    std::unique_ptr<GrantedRange> range;
    const int error = GrantedRange::Map(file, grants, access, {}, &range);
    if (error != 0) return error;
    *pages = std::make_unique<GrantedPages>(std::move(range));
    return 0;
  };
}

}  // namespace xencomm::vhost_user
