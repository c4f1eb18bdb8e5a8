// What a guest grants, in a back-end: a XenPageMapper's grants, by gntdev.
#ifndef HCALL_SHARING_VHOST_USER_GRANTED_PAGES_H_
#define HCALL_SHARING_VHOST_USER_GRANTED_PAGES_H_

#include <string>

#include "absl/status/statusor.h"
#include "hcall/sharing/vhost_user/pages.h"

namespace xencomm::vhost_user {

// By a setting as xencomm_open takes it; the device is opened now. -EACCES: a grant that may not be
// written; -EINVAL: there is none.
absl::StatusOr<XenPageMapper::GrantMapper> OpenGrantMapper(const std::string& setting);

}  // namespace xencomm::vhost_user

#endif  // HCALL_SHARING_VHOST_USER_GRANTED_PAGES_H_
