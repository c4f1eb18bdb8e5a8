// The embedded machine's memory: a sparse memfd.
//
// Its offsets are machine addresses. The hypervisor reaches all of it through one mapping; a
// process's region maps single frames of it again, at the region's own addresses.
//
// A machine that lends the file to other processes keeps the first part of its memory out of it:
// what there is in the file at those offsets is nothing. No mapping of the rest can be made to fail
// by a file that was cut short: its size is sealed.
#ifndef HCALL_TRANSPORT_EMBEDDED_RAM_FILE_H_
#define HCALL_TRANSPORT_EMBEDDED_RAM_FILE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hcall/transport/file_descriptor.h"
#include "xencomm/address.h"

namespace xencomm::embedded {

class RamFile {
 public:
  // `size` in bytes, whole pages; the first `own` of them are not in the file. It reads as zero and
  // takes host memory only where it is touched.
  static absl::StatusOr<std::unique_ptr<RamFile>> Create(std::uint64_t size, std::uint64_t own = 0);

  // Another process's file, taken over: data() is null.
  static std::unique_ptr<RamFile> OfAnother(FileDescriptor fd, std::uint64_t size);

  RamFile(const RamFile&) = delete;
  RamFile& operator=(const RamFile&) = delete;
  ~RamFile();

  std::byte* data() const { return data_; }
  std::uint64_t size() const { return size_; }
  // The file that all mappings of it are of.
  int fd() const { return fd_.get(); }

  // Maps [machine, machine + length) at `at` too, in place of what was mapped there, with mmap's
  // `protection`. kResourceExhausted when the process has no room for another mapping.
  absl::Status MapAt(std::byte* at, MachineAddress machine, std::uint64_t length, int protection);

  // The range reads as zero from now on and takes no host memory; false when that failed.
  bool Discard(MachineAddress machine, std::uint64_t length);

 private:
  RamFile(FileDescriptor fd, std::byte* data, std::uint64_t size, std::uint64_t own)
      : fd_(std::move(fd)), data_(data), size_(size), own_(own) {}

  const FileDescriptor fd_;
  std::byte* const data_;
  const std::uint64_t size_;
  const std::uint64_t own_;
};

}  // namespace xencomm::embedded

#endif  // HCALL_TRANSPORT_EMBEDDED_RAM_FILE_H_
