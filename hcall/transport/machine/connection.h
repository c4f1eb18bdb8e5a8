// A process's connection to a machine that is a process of its own (protocol.h).
//
// It ends with its last owner, and with the machine: then every call answers -EIO, and what is
// asked for is kUnavailable. A forked child cannot use it: it makes one of its own.
#ifndef HCALL_TRANSPORT_MACHINE_CONNECTION_H_
#define HCALL_TRANSPORT_MACHINE_CONNECTION_H_

#include <semaphore.h>
#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hcall/transport/embedded/foreign_mappings.h"
#include "hcall/transport/embedded/ram_file.h"
#include "hcall/transport/file_descriptor.h"
#include "hcall/transport/grant_calls.h"
#include "hcall/transport/machine/device_names.h"
#include "hcall/transport/machine/lane.h"
#include "hcall/transport/machine/message.h"
#include "hcall/transport/machine/protocol.h"
#include "hcall/transport/setting.h"
#include "xencomm/fork_marker.h"
#include "xencomm/mutex.h"
#include "xencomm/numbers.h"
#include "xencomm/transport.h"

namespace xencomm::machine {

class Connection final : public embedded::FrameHolder {
 public:
  // kUnavailable: nothing answers at the socket. kPermissionDenied: the machine is another user's.
  // kFailedPrecondition: it is of another version, or has no such domain for processes. A
  // supervisor says which process it speaks for.
  static absl::StatusOr<std::shared_ptr<Connection>> Open(const JoinedSetting& setting,
                                                          pid_t speaks_for = 0);

  // This process's mappings of the machine's frames, by a connection that stays on until it ends:
  // whoever made them closes its handle and goes on using them. Calls by every connection look
  // first which of them are gone.
  static absl::StatusOr<embedded::ForeignMappings*> MappingsOfThisProcess(
      const JoinedSetting& setting);
  // That connection, for whoever holds frames that they map.
  static absl::StatusOr<std::shared_ptr<Connection>> OfMappings(const JoinedSetting& setting);

  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  // A hypercall; -EIO when the machine is gone. By any thread; waits when all lanes are in use.
  std::int64_t Call(const Lane::Call& call);

  // The region's range, and the pages of `length` bytes of its payload from `offset` on.
  absl::Status Reserve(std::uint64_t base, std::uint64_t length);
  absl::StatusOr<std::vector<PageRun>> Populate(std::uint64_t offset, std::uint64_t length);

  // Domains' memory, which is fetched when it is asked for first.
  absl::StatusOr<embedded::RamFile*> Memory();
  int Hold(std::uint16_t domain, std::span<const std::uint64_t> frames, Access access,
           std::span<std::uint64_t> mfns, std::span<int> errors) override {
    return HoldBy(0, domain, frames, access, mfns, errors);
  }
  int HoldResource(const ForeignMemory::Resource& resource,
                   std::span<std::uint64_t> mfns) override {
    return HoldResourceBy(0, resource, mfns);
  }
  std::int64_t CountResource(const ForeignMemory::Resource& resource) override {
    return CountResourceBy(0, resource);
  }
  // The same by a device's file, or by none: 0.
  int HoldResourceBy(std::uint64_t file, const ForeignMemory::Resource& resource,
                     std::span<std::uint64_t> mfns);
  std::int64_t CountResourceBy(std::uint64_t file, const ForeignMemory::Resource& resource);
  int HoldBy(std::uint64_t file, std::uint16_t domain, std::span<const std::uint64_t> frames,
             Access access, std::span<std::uint64_t> mfns, std::span<int> errors);
  void Release(std::span<const std::uint64_t> held) override;

  // Of files of gntdev and gntalloc. Negative errno values, where nothing else is said; pages are
  // the file's. MapPages also answers the tag that they are released by.
  int MapPages(std::uint64_t file, std::uint64_t page, Access access, std::span<std::uint64_t> mfns,
               std::uint32_t* tag);
  int SetNotice(std::uint64_t file, std::uint64_t byte, std::uint32_t action, std::uint32_t port);
  std::int64_t AddGrants(std::uint64_t file, std::span<const GrantRef> grants);
  int RemoveGrants(std::uint64_t file, std::uint64_t page, std::uint64_t count);
  // A segment with its bytes: GNTST_*, or a positive errno.
  std::int64_t CopyGrant(std::uint64_t file, const GrantCopySegment& segment,
                         std::span<std::byte> bytes);
  // `where`: ~0, behind all that there ever was.
  std::int64_t Share(std::uint64_t file, std::uint64_t where, std::uint16_t domain, bool writable,
                     std::span<std::uint32_t> refs);
  int Unshare(std::uint64_t file, std::uint64_t page, std::uint64_t count);
  int ShareAlso(std::uint64_t file, std::uint64_t page, std::uint16_t domain, bool writable,
                std::span<std::uint32_t> refs);
  int ListShares(std::uint64_t file, std::uint64_t page, std::vector<ShareListed>* grants);
  int RevokeShare(std::uint64_t file, std::uint32_t ref);

  // A device's file (device_names.h), by its number. Who has one names it once it has been
  // attached, or opened here.
  struct File {
    std::uint64_t id = 0;
    FileDescriptor fd;
  };
  absl::StatusOr<File> OpenDevice(xencomm_device device, int access_mode);
  absl::StatusOr<std::uint64_t> Attach(int fd);
  // What is answered to who asks for it by a file: an errno, or 0.
  absl::StatusOr<int> Reaches(std::uint64_t file, std::uint16_t domain);
  absl::StatusOr<int> RestrictFile(std::uint64_t file, std::uint16_t domain);

  // An ioctl of a file of /dev/xen/evtchn, its argument of at most 8 bytes: what it answers.
  std::int64_t Event(std::uint64_t file, std::uint32_t number, std::span<const std::byte> argument);

  // As Transport::TraceOf.
  absl::StatusOr<TracedPointer> TraceOf(VirtualAddress pointer, TracedSpace space);

  // Whose calls it makes.
  std::uint16_t domain() const { return domain_; }

  bool in_same_process() const { return marker_.in_same_process(); }
  // The socket's number, which a program may have closed and given to another file: then the
  // connection is gone.
  int fd() const { return socket_.get(); }
  bool is_gone() const { return is_gone_.load(std::memory_order_relaxed); }

  // No call is made from now on.
  absl::Status Restrict();

 private:
  struct Reply {
    std::vector<std::uint64_t> words;
    FileDescriptor fd;
  };

  struct Mappings;

  Connection(FileDescriptor socket, const Mappings& mappings);
  static Mappings& MappingsOf(const JoinedSetting& setting);

  absl::Status Greet(const JoinedSetting& setting, pid_t speaks_for);
  // One request and its reply. A refusal is a status with the machine's sentence.
  absl::StatusOr<Reply> Ask(Kind kind, std::span<const std::uint64_t> words, int fd = -1)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // One that is answered with a word, or (null) with none: 0 or -EIO. It needs no memory: what ends
  // mappings and files must not fail for lack of it.
  int Tell(Kind kind, std::span<const std::uint64_t> words, std::uint64_t* answer)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // One that is answered with an errno alone, as Tell.
  int AskForErrno(Kind kind, std::initializer_list<std::uint64_t> words);
  // Whether the machine has closed its end, or the program this one.
  bool IsGone();
  // Whether the socket's number is still the socket's.
  bool HasSocket() const;
  bool OpenLane(std::uint32_t lane);

  const ForkMarker marker_;
  FileDescriptor socket_;
  const std::uint64_t cookie_;  // the kernel's name of the socket
  std::uint16_t domain_ = 0;
  Lane* lanes_ = nullptr;
  Numbers taken_;
  sem_t free_lanes_;
  std::array<std::atomic<bool>, kLanes> is_open_ = {};
  std::atomic<bool> is_gone_ = false;
  Mutex mutex_;  // a request and its reply
  Message told_ ABSL_GUARDED_BY(mutex_);
  Mutex memory_mutex_;
  std::unique_ptr<embedded::RamFile> memory_ ABSL_GUARDED_BY(memory_mutex_);
  const Mappings& mappings_;
};

}  // namespace xencomm::machine

#endif  // HCALL_TRANSPORT_MACHINE_CONNECTION_H_
