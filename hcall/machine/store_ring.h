// The page by which domain 0's kernel and a xenstored speak to each other: two rings of bytes
// (public/io/xs_wire.h, struct xenstore_domain_interface). Both sides have it mapped, and so may
// any client.
//
// Rules:
// 1. Indices are read once each for a step, and looked at before they are used; bytes are copied out
//    before anybody looks at them. Whatever the other side writes, a step ends and stays in the page.
// 2. The page has lives: each Reset begins one, with empty rings. A step is for the life that its
//    caller knows of, so nothing of an earlier one gets into a later one.
#ifndef HCALL_MACHINE_STORE_RING_H_
#define HCALL_MACHINE_STORE_RING_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "hcall/machine/store/wire.h"
#include "hcall/transport/file_descriptor.h"
#include "xencomm/mutex.h"

namespace xencomm::machine {

// By any thread.
class StoreRing {
 public:
  static absl::StatusOr<std::unique_ptr<StoreRing>> Create();

  StoreRing(const StoreRing&) = delete;
  StoreRing& operator=(const StoreRing&) = delete;
  ~StoreRing();

  // A file of this page alone, whose size stays.
  int fd() const { return file_.get(); }

  void Reset() ABSL_LOCKS_EXCLUDED(mutex_);
  std::uint64_t life() const ABSL_LOCKS_EXCLUDED(mutex_);

  // Requests to the daemon, and what it says: how many bytes there was room for, or were there.
  // None: the life is over, or the indices make no sense.
  std::optional<std::size_t> Write(std::uint64_t life, std::string_view bytes)
      ABSL_LOCKS_EXCLUDED(mutex_);
  std::optional<std::size_t> Read(std::uint64_t life, std::span<std::byte> bytes)
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  StoreRing(FileDescriptor file, xenstore_domain_interface* page)
      : file_(std::move(file)), page_(page) {}

  const FileDescriptor file_;
  mutable Mutex mutex_;
  xenstore_domain_interface* const page_ ABSL_PT_GUARDED_BY(mutex_);
  std::uint64_t life_ ABSL_GUARDED_BY(mutex_) = 1;
};

}  // namespace xencomm::machine

#endif  // HCALL_MACHINE_STORE_RING_H_
