// A client of a machine, as the machine's process has it: a process of a domain, and all that it
// made the machine hold. When the client ends, however it does, so does all of that.
//
// What the client says is checked here, and what it may hold is limited: a client that means harm
// can keep its own threads here busy, and no more.
#ifndef HCALL_MACHINE_CLIENT_SESSION_H_
#define HCALL_MACHINE_CLIENT_SESSION_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hcall/machine/devices.h"
#include "hcall/transport/embedded/embedded_machine.h"
#include "hcall/transport/embedded/guest_process.h"
#include "hcall/transport/file_descriptor.h"
#include "hcall/transport/machine/lane.h"
#include "hcall/transport/machine/message.h"
#include "hcall/transport/machine/protocol.h"
#include "xencomm/mutex.h"

namespace xencomm::machine {

class ClientSession : private DomainProcess {
 public:
  // Pages of other domains that one client has mapped at a time.
  static constexpr std::uint64_t kMostHeld = std::uint64_t{1} << 20;
  // Of a region, in bytes.
  static constexpr std::uint64_t kMostRegion = std::uint64_t{2} << 30;

  // Devices' files that one client has named.
  static constexpr std::size_t kMostFiles = 1024;

  // Both are borrowed.
  ClientSession(embedded::EmbeddedMachine& machine, Devices& devices, FileDescriptor socket);
  ClientSession(const ClientSession&) = delete;
  ClientSession& operator=(const ClientSession&) = delete;
  ~ClientSession();

  // Serves the client until it has ended, or Stop was called. Once.
  void Run();
  // By any thread: Run returns soon.
  void Stop();

 private:
  struct Reply {
    std::vector<std::uint64_t> words = {};
    int fd = -1;  // borrowed, or:
    FileDescriptor own_fd = FileDescriptor();
  };
  using Words = std::span<const std::uint64_t>;

  void DomainEnded() override;
  // Whether the client may be one: of this user, or root.
  bool Admits();
  // Until there is a message, or the end: false.
  bool WaitForMessage();
  // 0, or a negative errno: then nothing more can be said to the client.
  int Answer(const Message& request);

  absl::StatusOr<Reply> Handle(Kind kind, const Message& request);
  absl::StatusOr<Reply> Hello(Words words);
  absl::StatusOr<Reply> OpenLane(Words words);
  absl::StatusOr<Reply> Reserve(Words words);
  absl::StatusOr<Reply> Populate(Words words);
  absl::StatusOr<Reply> Trace(Words words);
  absl::StatusOr<Reply> OpenDevice(Words words);
  absl::StatusOr<Reply> Attach(const Message& request);
  absl::StatusOr<Reply> Event(Words words);
  absl::StatusOr<Reply> Reaches(Words words);
  absl::StatusOr<Reply> RestrictFile(Words words);
  absl::StatusOr<Reply> Hold(Words words);
  absl::StatusOr<Reply> HoldResource(Words words);
  absl::StatusOr<Reply> CountResource(Words words);
  absl::StatusOr<Reply> Release(Words words);
  absl::StatusOr<Reply> MapPages(Words words);
  absl::StatusOr<Reply> SetNotice(Words words);
  absl::StatusOr<Reply> AddGrants(Words words);
  absl::StatusOr<Reply> RemoveGrants(Words words);
  absl::StatusOr<Reply> CopyGrant(Words words);
  absl::StatusOr<Reply> Share(Words words);
  absl::StatusOr<Reply> Unshare(Words words);
  absl::StatusOr<Reply> ShareAlso(Words words);
  absl::StatusOr<Reply> ListShares(Words words);
  absl::StatusOr<Reply> RevokeShare(Words words);

  // Whose processes the client is one of, and a domain that was made for it.
  absl::Status JoinDomain(std::uint64_t domain);
  // Whose device a file of this client is: null, if it is none of that device.
  std::shared_ptr<DomainDevices> DevicesOf(std::uint64_t file, xencomm_device device)
      ABSL_LOCKS_EXCLUDED(files_mutex_);

  // The resource that a request's first words name; false: none that the client may ask for.
  bool ResourceOf(Words words, ForeignMemory::Resource* resource);

  // Whether the client has shown that it has this file.
  bool Has(std::uint64_t file) ABSL_LOCKS_EXCLUDED(files_mutex_);
  bool Add(std::uint64_t file) ABSL_LOCKS_EXCLUDED(files_mutex_);

  std::int64_t MakeCall(const Lane::Call& call, std::uint32_t* continuations);
  void Serve(Lane& lane);
  void End();

  embedded::EmbeddedMachine& machine_;
  Devices& devices_;
  const FileDescriptor socket_;
  const FileDescriptor peer_;  // a pidfd, where one can be had
  // From its hello on.
  std::shared_ptr<embedded::GuestDomain> domain_;  // null: domain 0
  std::shared_ptr<DomainDevices> own_devices_;
  std::optional<embedded::GuestProcess> process_;
  std::optional<FileDescriptor> supervised_;  // a pidfd of the program, where the peer is another
  std::string program_;                       // its name then; its threads here have it, too
  std::optional<FileDescriptor> lanes_file_;
  Lane* lanes_ = nullptr;
  std::array<std::thread, kLanes> threads_;
  std::atomic<bool> stopping_ = false;
  std::atomic<bool> restricted_ = false;
  std::uint64_t populated_ = 0;                             // bytes of the region's payload
  absl::flat_hash_map<std::uint64_t, std::uint32_t> held_;  // by mfn, how often
  std::uint64_t held_pages_ = 0;
  // What it maps of grants and of pages that it grants, by their tags: until none of their pages is
  // mapped any more.
  struct Mapped {
    std::shared_ptr<DomainDevices> devices;
    std::shared_ptr<void> mapping;
    std::size_t pages;
  };
  absl::flat_hash_map<std::uint32_t, Mapped> mapped_;
  std::uint32_t last_tag_ = 0;
  Mutex files_mutex_;
  absl::flat_hash_set<std::uint64_t> files_ ABSL_GUARDED_BY(files_mutex_);
};

}  // namespace xencomm::machine

#endif  // HCALL_MACHINE_CLIENT_SESSION_H_
