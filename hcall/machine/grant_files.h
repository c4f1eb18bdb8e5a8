// /dev/xen/gntdev: for each open file the grants that it is about to map, or has mapped, and where:
// a number of grants at an offset of the file, which one mapping takes, once.
#ifndef HCALL_MACHINE_GRANT_FILES_H_
#define HCALL_MACHINE_GRANT_FILES_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "hcall/hypervisor/hypervisor.h"
#include "hcall/machine/device_files.h"
#include "xencomm/mutex.h"

namespace xencomm::machine {

// By any thread. Errors are negative errno values, as Linux answers them.
class GrantFiles {
 public:
  // Of all files together, and of what one client has added.
  static constexpr std::size_t kMostGrants = std::size_t{1} << 20;
  static constexpr std::size_t kMostOfClient = std::size_t{1} << 17;

  // One entry of a domain's grant table.
  struct Grant {
    std::uint16_t domain;
    std::uint32_t ref;
  };

  // Both are borrowed.
  GrantFiles(hypervisor::Hypervisor& hypervisor, const DeviceFiles& files)
      : hypervisor_(hypervisor), files_(files) {}

  // The page of the file at which they can be mapped. A client is told from others by its pointer
  // alone; what it has added counts until the file is closed, whether or not it has ended.
  std::int64_t Add(std::uint64_t file, const void* client, std::vector<Grant> grants)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // -ENOENT: there are not so many at that page. What is mapped stays.
  int Remove(std::uint64_t file, std::uint64_t page, std::uint64_t count)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Holds the frames of all grants at that page, as many as there are mfns, or of none.
  int Hold(std::uint64_t file, std::uint64_t page, Access access, std::span<std::uint64_t> mfns)
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Range {
    const void* client;
    std::vector<Grant> grants;
    bool was_mapped = false;
  };
  using Ranges = std::map<std::uint64_t, Range>;  // by their first page

  // The range counts no more.
  void Forget(const Range& range) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool HasRoom(const void* client, std::size_t count) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ForgetClosed() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  hypervisor::Hypervisor& hypervisor_;
  const DeviceFiles& files_;
  Mutex mutex_;
  absl::flat_hash_map<std::uint64_t, Ranges> ranges_ ABSL_GUARDED_BY(mutex_);
  std::size_t grants_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::flat_hash_map<const void*, std::size_t> of_client_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace xencomm::machine

#endif  // HCALL_MACHINE_GRANT_FILES_H_
