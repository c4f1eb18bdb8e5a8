// gntdev and gntalloc of a machine, by a connection to it.
#ifndef HCALL_SHARING_MACHINE_FILES_H_
#define HCALL_SHARING_MACHINE_FILES_H_

#include <memory>

#include "absl/status/statusor.h"
#include "hcall/sharing/page_file.h"
#include "hcall/transport/file_descriptor.h"
#include "hcall/transport/setting.h"

namespace xencomm {

absl::StatusOr<std::shared_ptr<GrantFile>> OpenMachineGrantFile(const JoinedSetting& setting);
absl::StatusOr<std::shared_ptr<ShareFile>> OpenMachineShareFile(const JoinedSetting& setting);
// kInvalidArgument: it is another file's.
absl::StatusOr<std::shared_ptr<ShareFile>> OpenMachineShareFile(const JoinedSetting& setting,
                                                                FileDescriptor fd);

}  // namespace xencomm

#endif  // HCALL_SHARING_MACHINE_FILES_H_
