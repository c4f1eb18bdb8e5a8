// The files of the host that a machine stands for: what Linux' kernel would show of Xen, and the
// folders that toolstacks and daemons write. Each machine has its own, in one folder, where a file
// keeps the path that programs know it by: programs are led there (hcall/devices).
#ifndef HCALL_MACHINE_HOST_FILES_H_
#define HCALL_MACHINE_HOST_FILES_H_

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hcall/transport/embedded/guest_kernel.h"

namespace xencomm::machine {

class HostFiles {
 public:
  // In `folder`, which is made for this user alone; what a machine left there is removed. `kernel`
  // is asked what Xen says of itself; another's than domain 0's has what is no toolstack's.
  static absl::StatusOr<std::unique_ptr<HostFiles>> Create(const std::string& folder,
                                                           embedded::GuestKernel& kernel);

  HostFiles(const HostFiles&) = delete;
  HostFiles& operator=(const HostFiles&) = delete;
  // Nothing is left.
  ~HostFiles();

  // `path` is the one that programs know, absolute; the folders above it are made.
  absl::Status Write(std::string_view path, std::string_view contents);
  // Leads to a file that this process has open, for as long as it has.
  absl::Status Link(std::string_view path, int fd);

 private:
  explicit HostFiles(std::string folder) : folder_(std::move(folder)) {}

  absl::Status Describe(embedded::GuestKernel& kernel);

  const std::string folder_;
};

}  // namespace xencomm::machine

#endif  // HCALL_MACHINE_HOST_FILES_H_
