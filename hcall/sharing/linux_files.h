// /dev/xen/gntdev and /dev/xen/gntalloc, by their ioctls.
#ifndef HCALL_SHARING_LINUX_FILES_H_
#define HCALL_SHARING_LINUX_FILES_H_

#include <memory>

#include "absl/status/statusor.h"
#include "hcall/sharing/page_file.h"
#include "hcall/transport/file_descriptor.h"

namespace xencomm {

absl::StatusOr<std::shared_ptr<GrantFile>> OpenLinuxGrantFile();
absl::StatusOr<std::shared_ptr<ShareFile>> OpenLinuxShareFile();
// kInvalidArgument: it is another file's.
absl::StatusOr<std::shared_ptr<ShareFile>> OpenLinuxShareFile(FileDescriptor fd);

}  // namespace xencomm

#endif  // HCALL_SHARING_LINUX_FILES_H_
