// What /dev/xen/gntdev and /dev/xen/gntalloc have in common, as a program on a machine has them:
// pages at offsets of a file, mapped out of the machine's memory. What there is at which offset is
// kept by the machine, and for how long.
//
// A forked child has none of its parent's mappings.
#ifndef HCALL_DEVICES_PAGE_DEVICE_H_
#define HCALL_DEVICES_PAGE_DEVICE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "hcall/devices/program.h"
#include "hcall/transport/embedded/foreign_mappings.h"
#include "hcall/transport/file_descriptor.h"
#include "hcall/transport/machine/connection.h"
#include "xencomm/mutex.h"

namespace xencomm::devices {

// All functions answer as the system call does in the kernel: a negative errno, or a result.
class PageDevice {
 public:
  PageDevice(const PageDevice&) = delete;
  PageDevice& operator=(const PageDevice&) = delete;

  // An address, or a negative errno.
  std::int64_t Map(std::uint64_t file, std::uint64_t address, std::size_t length, int protection,
                   int flags, std::uint64_t offset) ABSL_LOCKS_EXCLUDED(mutex_);
  // Whatever was at these addresses is gone.
  void Unmapped(std::uint64_t start, std::size_t length) ABSL_LOCKS_EXCLUDED(mutex_);

 protected:
  static constexpr unsigned kPageShift = 12;

  // `empty`: a file without a byte. All else is borrowed: the program, whose `mappings` are.
  PageDevice(std::shared_ptr<machine::Connection> connection, embedded::ForeignMappings& mappings,
             Program& program, FileDescriptor empty)
      : connection_(std::move(connection)),
        mappings_(mappings),
        program_(program),
        empty_(std::move(empty)) {}
  ~PageDevice() = default;

  static absl::StatusOr<FileDescriptor> EmptyFile();

  // Whether so many pages can be mapped like that at all: 0, or a negative errno.
  virtual int MayMap(std::size_t pages, int protection, bool is_shared) const = 0;

  // GET_OFFSET_FOR_VADDR: of any address of a mapping, what was mapped.
  std::int64_t OffsetOf(std::uint64_t argument) ABSL_LOCKS_EXCLUDED(mutex_);
  // SET_UNMAP_NOTIFY.
  std::int64_t SetNotice(std::uint64_t file, std::uint64_t argument);

  machine::Connection& connection() { return *connection_; }
  Program& program() { return program_; }

 private:
  // What is left of a mapping, to its end; the offset and the pages are those of all of it.
  struct Mapped {
    std::uint64_t end;
    std::uint64_t offset;
    std::uint32_t pages;
  };

  const std::shared_ptr<machine::Connection> connection_;
  embedded::ForeignMappings& mappings_;
  Program& program_;
  const FileDescriptor empty_;
  Mutex mutex_;
  std::map<std::uint64_t, Mapped> mapped_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace xencomm::devices

#endif  // HCALL_DEVICES_PAGE_DEVICE_H_
