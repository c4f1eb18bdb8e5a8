#include "hcall/transport/machine/connection.h"

#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <map>
#include <utility>

#include "hcall/transport/announced_call.h"
#include "hcall/transport/machine/message.h"
#include "hcall/transport/watched_call.h"
#include "xencomm/process_slot.h"
#include "xencomm/sentence.h"

namespace xencomm::machine {
namespace {

absl::Status Gone() { return absl::UnavailableError("the machine's process has ended"); }

// Of a socket, by which no other ever goes; 0: it is none.
std::uint64_t CookieOf(int fd) {
  std::uint64_t cookie = 0;
  socklen_t length = sizeof(cookie);
  return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length) == 0 ? cookie : 0;
}

// A step's name stays.
const char* NameOfTable(std::string_view told) {
  for (const char* name : {"base", "PML5", "PML4", "PDPT", "PD", "PT"}) {
    if (told.substr(0, told.find('\0')) == name) return name;
  }
  return "table";
}

// Its number as that of a status, its sentence as it is.
absl::Status RefusalOf(const Message& reply) {
  const auto error = static_cast<int>(reply.kind);
  const std::string sentence(SentenceOf(reply));
  switch (error) {
    case EACCES:
      return absl::PermissionDeniedError(sentence);
    case EPROTO:
      return absl::FailedPreconditionError(sentence);
    case ERANGE:
      return absl::OutOfRangeError(sentence);
    default:
      return absl::Status(absl::ErrnoToStatusCode(error), sentence);
  }
}

}  // namespace

absl::StatusOr<std::shared_ptr<Connection>> Connection::Open(const JoinedSetting& setting,
                                                             pid_t speaks_for) {
  const std::string& path = setting.path;
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(
        Sentence("machine:%s: expected the path of a machine's socket, of at most %u bytes", path,
                 sizeof(address.sun_path) - 1));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  FileDescriptor socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!socket.is_open()) return absl::ErrnoToStatus(errno, "a socket to the machine");
  if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return absl::UnavailableError(
        Sentence("no machine answers at %s (%s): expected one started by 'xencomm machine "
                 "--socket=%s'",
                 path, strerrordesc_np(errno), path));
  }
  auto connection = std::shared_ptr<Connection>(
      new Connection(FileDescriptor::Aside(std::move(socket)), MappingsOf(setting)));
  const absl::Status greeted = connection->Greet(setting, speaks_for);
  if (!greeted.ok()) return greeted;
  return connection;
}

// Of one machine's frames in this process.
struct Connection::Mappings {
  Mutex mutex;
  std::shared_ptr<Connection> connection ABSL_GUARDED_BY(mutex);
  std::atomic<embedded::ForeignMappings*> made = nullptr;
};

Connection::Mappings& Connection::MappingsOf(const JoinedSetting& setting) {
  // Which machine, and of which domain's calls.
  using Key = std::pair<std::string, std::uint64_t>;
  struct All {
    Mutex mutex;
    std::map<Key, Mappings> by_machine ABSL_GUARDED_BY(mutex);
  };
  static ProcessSlot<All> slot;
  All& all = slot.OfThisProcess();
  const MutexLock lock(all.mutex);
  return all.by_machine[Key(setting.path, setting.domain)];
}

absl::StatusOr<std::shared_ptr<Connection>> Connection::OfMappings(const JoinedSetting& setting) {
  Mappings& mappings = MappingsOf(setting);
  const MutexLock lock(mappings.mutex);
  if (mappings.connection == nullptr) {
    absl::StatusOr<std::shared_ptr<Connection>> opened = Open(setting);
    if (!opened.ok()) return opened.status();
    mappings.connection = *std::move(opened);
  }
  return mappings.connection;
}

absl::StatusOr<embedded::ForeignMappings*> Connection::MappingsOfThisProcess(
    const JoinedSetting& setting) {
  const absl::StatusOr<std::shared_ptr<Connection>> connection = OfMappings(setting);
  if (!connection.ok()) return connection.status();
  const absl::StatusOr<embedded::RamFile*> memory = (*connection)->Memory();
  if (!memory.ok()) return memory.status();
  Mappings& mappings = MappingsOf(setting);
  const MutexLock lock(mappings.mutex);
  embedded::ForeignMappings* made = mappings.made.load(std::memory_order_relaxed);
  if (made == nullptr) {
    // Never destroyed, as what it knows of is not unmapped.
    made = new embedded::ForeignMappings(**connection, **memory);
    mappings.made.store(made);
  }
  return made;
}

Connection::Connection(FileDescriptor socket, const Mappings& mappings)
    : socket_(std::move(socket)), cookie_(CookieOf(socket_.get())), mappings_(mappings) {
  sem_init(&free_lanes_, /*pshared=*/0, kLanes);
  told_.words.reserve(kMostWords);
}

Connection::~Connection() {
  // A forked child has none of the lanes' memory.
  if (lanes_ != nullptr && marker_.in_same_process()) munmap(lanes_, kLanes * sizeof(Lane));
  sem_destroy(&free_lanes_);
  if (!HasSocket()) socket_.Release();
}

bool Connection::HasSocket() const { return CookieOf(socket_.get()) == cookie_; }

absl::Status Connection::Greet(const JoinedSetting& setting, pid_t speaks_for) {
  ucred machine = {};
  socklen_t length = sizeof(machine);
  if (getsockopt(socket_.get(), SOL_SOCKET, SO_PEERCRED, &machine, &length) != 0) {
    return absl::ErrnoToStatus(errno, "whose the machine is");
  }
  const uid_t own = geteuid();
  if (machine.uid != own && machine.uid != 0 && own != 0) {
    return absl::PermissionDeniedError(
        Sentence("the machine at %s is run by user %u: expected user %u or root", setting.path,
                 machine.uid, own));
  }
  const std::uint64_t hello[] = {kMagic, kVersion, static_cast<std::uint64_t>(setting.space),
                                 static_cast<std::uint64_t>(speaks_for), setting.domain};
  absl::StatusOr<Reply> reply = Ask(Kind::kHello, hello);
  if (!reply.ok()) return reply.status();
  if (reply->words.size() != 2)
    return absl::FailedPreconditionError("the machine greets otherwise");
  domain_ = static_cast<std::uint16_t>(reply->words[1]);
  if (!reply->fd.is_open()) return absl::FailedPreconditionError("the machine gives no lanes");
  void* const lanes =
      mmap(nullptr, kLanes * sizeof(Lane), PROT_READ | PROT_WRITE, MAP_SHARED, reply->fd.get(), 0);
  if (lanes == MAP_FAILED) return absl::ErrnoToStatus(errno, "the lanes of a machine");
  madvise(lanes, kLanes * sizeof(Lane), MADV_DONTFORK);
  // Words in a file that reads as zero: what a new Lane is.
  lanes_ = static_cast<Lane*>(lanes);
  return absl::OkStatus();
}

absl::StatusOr<Connection::Reply> Connection::Ask(Kind kind, std::span<const std::uint64_t> words,
                                                  int fd) {
  if (!marker_.in_same_process()) {
    return absl::FailedPreconditionError("the connection to the machine is the parent process's");
  }
  Message reply;
  // Once it is asked for, nothing may fail before it is taken: the next one's would be this one.
  reply.words.reserve(kMostWords);
  int error;
  {
    const MutexLock lock(mutex_);
    if (!HasSocket()) {
      is_gone_.store(true, std::memory_order_relaxed);
      return absl::UnavailableError("the program has closed its connection to the machine");
    }
    error = Send(socket_.get(), static_cast<std::uint64_t>(kind), words, fd);
    if (error == 0) error = machine::Receive(socket_.get(), &reply);
  }
  if (error == -ECONNRESET) {
    is_gone_.store(true, std::memory_order_relaxed);
    return Gone();
  }
  if (error != 0) return absl::ErrnoToStatus(-error, "a request to the machine");
  if (reply.kind != 0) return RefusalOf(reply);
  return Reply{std::move(reply.words),
               reply.fd ? *std::exchange(reply.fd, std::nullopt) : FileDescriptor()};
}

bool Connection::IsGone() {
  char byte;
  // What is there to be read is a reply that another thread waits for.
  if (!HasSocket() || recv(socket_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0) {
    is_gone_.store(true, std::memory_order_relaxed);
  }
  return is_gone_.load(std::memory_order_relaxed);
}

bool Connection::OpenLane(std::uint32_t lane) {
  const std::uint64_t words[] = {lane};
  if (!Ask(Kind::kLane, words).ok()) return false;
  is_open_[lane].store(true, std::memory_order_relaxed);
  return true;
}

std::int64_t Connection::Call(const Lane::Call& call) {
  if (!marker_.in_same_process()) return -ESTALE;
  if (is_gone_.load(std::memory_order_relaxed)) return -EIO;
  if (auto* const mappings = mappings_.made.load()) mappings->SweepForCall();
  // A signal's handler may end the wait early.
  while (sem_wait(&free_lanes_) == -1 && errno == EINTR) {
  }
  // The semaphore counts those that are free, so the lowest is one of these.
  const std::uint32_t lane = taken_.Take();
  std::int64_t answer = -EIO;
  if (is_open_[lane].load(std::memory_order_relaxed) || OpenLane(lane)) {
    answer = Announced(call.index, call.arguments, [&](std::uint32_t* continuations) {
      return schema::Watched(call.index, call.arguments, [&]() -> std::int64_t {
        Lane::Answered made;
        if (!lanes_[lane].Make(call, &made, [this] { return IsGone(); })) return -EIO;
        *continuations = made.continuations;
        return made.answer;
      });
    });
  }
  taken_.GiveBack(lane);
  sem_post(&free_lanes_);
  return answer;
}

absl::Status Connection::Reserve(std::uint64_t base, std::uint64_t length) {
  const std::uint64_t words[] = {base, length};
  return Ask(Kind::kReserve, words).status();
}

absl::StatusOr<std::vector<PageRun>> Connection::Populate(std::uint64_t offset,
                                                          std::uint64_t length) {
  const std::uint64_t words[] = {offset, length};
  absl::StatusOr<Reply> reply = Ask(Kind::kPopulate, words);
  if (!reply.ok()) return reply.status();
  std::vector<PageRun> runs(reply->words.size() / 2);
  for (std::size_t i = 0; i < runs.size(); ++i) {
    runs[i] = {reply->words[2 * i], reply->words[2 * i + 1]};
  }
  return runs;
}

absl::StatusOr<embedded::RamFile*> Connection::Memory() {
  const MutexLock lock(memory_mutex_);
  if (memory_ == nullptr) {
    absl::StatusOr<Reply> reply = Ask(Kind::kMemory, {});
    if (!reply.ok()) return reply.status();
    if (!reply->fd.is_open() || reply->words.size() != 1) {
      return absl::FailedPreconditionError("the machine gives no memory");
    }
    memory_ =
        embedded::RamFile::OfAnother(FileDescriptor::Aside(std::move(reply->fd)), reply->words[0]);
  }
  return memory_.get();
}

absl::StatusOr<TracedPointer> Connection::TraceOf(VirtualAddress pointer, TracedSpace space) {
  const std::uint64_t words[] = {pointer.value, static_cast<std::uint64_t>(space)};
  const absl::StatusOr<Reply> reply = Ask(Kind::kTrace, words);
  if (!reply.ok()) return reply.status();
  std::span<const std::uint64_t> rest = reply->words;
  const auto take = [&rest]<class Part>(Part* part) {
    std::array<std::uint64_t, sizeof(Part) / sizeof(std::uint64_t)> told_words;
    if (rest.size() < told_words.size()) return false;
    std::ranges::copy(rest.first(told_words.size()), told_words.begin());
    *part = std::bit_cast<Part>(told_words);
    rest = rest.subspan(told_words.size());
    return true;
  };
  Traced told;
  if (!take(&told)) return absl::FailedPreconditionError("the machine traces no pointer");
  TracedPointer traced = {.trace = {}, .region = {told.region}, .machine = {told.machine}};
  TracedStep step;
  while (traced.trace.count < Trace::kMaxSteps && take(&step)) {
    traced.trace({.table = NameOfTable({step.table, sizeof(step.table)}),
                  .level = static_cast<std::uint8_t>(step.level),
                  .index = step.index,
                  .address = {step.address},
                  .entry = step.entry});
  }
  traced.trace.end = Segment(PhysicalAddress{told.start}, told.length);
  return traced;
}

absl::StatusOr<Connection::File> Connection::OpenDevice(xencomm_device device, int access_mode) {
  const std::uint64_t words[] = {static_cast<std::uint64_t>(device),
                                 static_cast<std::uint64_t>(access_mode)};
  absl::StatusOr<Reply> reply = Ask(Kind::kOpen, words);
  if (!reply.ok()) return reply.status();
  if (reply->words.size() != 1 || !reply->fd.is_open()) {
    return absl::FailedPreconditionError("the machine opens no device");
  }
  return File{reply->words[0], std::move(reply->fd)};
}

absl::StatusOr<std::uint64_t> Connection::Attach(int fd) {
  const absl::StatusOr<Reply> reply = Ask(Kind::kAttach, {}, fd);
  if (!reply.ok()) return reply.status();
  if (reply->words.size() != 1) return absl::FailedPreconditionError("the machine names no file");
  return reply->words[0];
}

std::int64_t Connection::Event(std::uint64_t file, std::uint32_t number,
                               std::span<const std::byte> argument) {
  std::uint64_t words[] = {file, number, argument.size(), 0};
  std::memcpy(&words[3], argument.data(), argument.size());
  const absl::StatusOr<Reply> reply = Ask(Kind::kEvent, words);
  if (!reply.ok() || reply->words.size() != 1) return -EIO;
  return static_cast<std::int64_t>(reply->words[0]);
}

absl::StatusOr<int> Connection::Reaches(std::uint64_t file, std::uint16_t domain) {
  const std::uint64_t words[] = {file, domain};
  const absl::StatusOr<Reply> reply = Ask(Kind::kReaches, words);
  if (!reply.ok()) return reply.status();
  return reply->words.empty() ? 0 : static_cast<int>(reply->words[0]);
}

absl::StatusOr<int> Connection::RestrictFile(std::uint64_t file, std::uint16_t domain) {
  const std::uint64_t words[] = {file, domain};
  const absl::StatusOr<Reply> reply = Ask(Kind::kRestrictFile, words);
  if (!reply.ok()) return reply.status();
  return reply->words.empty() ? 0 : static_cast<int>(reply->words[0]);
}

absl::Status Connection::Restrict() { return Ask(Kind::kRestrict, {}).status(); }

int Connection::HoldBy(std::uint64_t file, std::uint16_t domain,
                       std::span<const std::uint64_t> frames, Access access,
                       std::span<std::uint64_t> mfns, std::span<int> errors) {
  constexpr std::size_t kAtOnce = kMostWords / 2;
  std::vector<std::uint64_t> words;
  for (std::size_t done = 0; done < frames.size();) {
    const std::size_t count = std::min(kAtOnce - 3, frames.size() - done);
    words.assign({file, domain, access == Access::kWrite});
    words.insert(words.end(), frames.begin() + static_cast<std::ptrdiff_t>(done),
                 frames.begin() + static_cast<std::ptrdiff_t>(done + count));
    absl::StatusOr<Reply> reply = Ask(Kind::kHold, words);
    if (!reply.ok() || reply->words.size() != 2 * count) {
      // What was held is known by its frame, and released by who asked.
      return reply.status().code() == absl::StatusCode::kResourceExhausted ? -ENOMEM : -EIO;
    }
    for (std::size_t i = 0; i < count; ++i, ++done) {
      mfns[done] = reply->words[2 * i];
      errors[done] = -static_cast<int>(reply->words[2 * i + 1]);
    }
  }
  return 0;
}

int Connection::HoldResourceBy(std::uint64_t file, const ForeignMemory::Resource& resource,
                               std::span<std::uint64_t> mfns) {
  const std::uint64_t words[] = {file,        resource.domain, resource.type,
                                 resource.id, resource.first,  mfns.size()};
  const absl::StatusOr<Reply> reply = Ask(Kind::kHoldResource, words);
  if (!reply.ok()) return -EIO;
  if (reply->words.size() != mfns.size() + 1) return -EIO;
  const auto error = static_cast<int>(reply->words[0]);
  if (error == 0) std::ranges::copy(std::span(reply->words).subspan(1), mfns.begin());
  return -error;
}

std::int64_t Connection::CountResourceBy(std::uint64_t file,
                                         const ForeignMemory::Resource& resource) {
  const std::uint64_t words[] = {file, resource.domain, resource.type, resource.id};
  const absl::StatusOr<Reply> reply = Ask(Kind::kCountResource, words);
  if (!reply.ok() || reply->words.size() != 1) return -EIO;
  return static_cast<std::int64_t>(reply->words[0]);
}

int Connection::MapPages(std::uint64_t file, std::uint64_t page, Access access,
                         std::span<std::uint64_t> mfns, std::uint32_t* tag) {
  if (mfns.size() > kMostWords - 2) return -EINVAL;
  const std::uint64_t words[] = {file, page, access == Access::kWrite, mfns.size()};
  const absl::StatusOr<Reply> reply = Ask(Kind::kMapPages, words);
  if (reply.status().code() == absl::StatusCode::kResourceExhausted) return -ENOMEM;
  if (!reply.ok() || reply->words.size() != mfns.size() + 2) return -EIO;
  const auto error = static_cast<int>(reply->words[0]);
  if (error != 0) return -error;
  *tag = static_cast<std::uint32_t>(reply->words[1]);
  std::ranges::copy(std::span(reply->words).subspan(2), mfns.begin());
  return 0;
}

int Connection::Tell(Kind kind, std::span<const std::uint64_t> words, std::uint64_t* answer) {
  if (!marker_.in_same_process()) return -EIO;
  const MutexLock lock(mutex_);
  if (!HasSocket()) {
    is_gone_.store(true, std::memory_order_relaxed);
    return -EIO;
  }
  int error = Send(socket_.get(), static_cast<std::uint64_t>(kind), words);
  if (error == 0) error = machine::Receive(socket_.get(), &told_);
  if (error == -ECONNRESET) is_gone_.store(true, std::memory_order_relaxed);
  if (error != 0 || told_.kind != 0) return -EIO;
  if (answer == nullptr) return 0;
  if (told_.words.size() != 1) return -EIO;
  *answer = told_.words[0];
  return 0;
}

int Connection::AskForErrno(Kind kind, std::initializer_list<std::uint64_t> words) {
  std::uint64_t error;
  const int refused = Tell(kind, std::span(words.begin(), words.size()), &error);
  return refused != 0 ? refused : -static_cast<int>(error);
}

int Connection::SetNotice(std::uint64_t file, std::uint64_t byte, std::uint32_t action,
                          std::uint32_t port) {
  return AskForErrno(Kind::kSetNotice, {file, byte, action, port});
}

std::int64_t Connection::AddGrants(std::uint64_t file, std::span<const GrantRef> grants) {
  // In one message, and their frames in one answer.
  if (grants.size() > kMostWords - 2) return -ENOMEM;
  std::vector<std::uint64_t> words = {file};
  for (const GrantRef& grant : grants) {
    words.push_back(std::uint64_t{grant.domid} << 32 | grant.ref);
  }
  const absl::StatusOr<Reply> reply = Ask(Kind::kAddGrants, words);
  if (!reply.ok() || reply->words.size() != 1) return -EIO;
  return static_cast<std::int64_t>(reply->words[0]);
}

int Connection::RemoveGrants(std::uint64_t file, std::uint64_t page, std::uint64_t count) {
  return AskForErrno(Kind::kRemoveGrants, {file, page, count});
}

std::int64_t Connection::CopyGrant(std::uint64_t file, const GrantCopySegment& segment,
                                   std::span<std::byte> bytes) {
  constexpr std::size_t kHead = 7;
  const auto side = [](const GrantCopySide& from, bool is_grant) {
    return is_grant ? std::uint64_t{from.foreign.domid} << 32 | from.foreign.ref : 0;
  };
  const bool from_grant = (segment.flags & kCopyFromGrant) != 0;
  const bool to_grant = (segment.flags & kCopyToGrant) != 0;
  const std::size_t size = (bytes.size() + sizeof(std::uint64_t) - 1) / sizeof(std::uint64_t);
  std::vector<std::uint64_t> words(kHead + size);
  words[0] = file;
  words[1] = segment.flags & (kCopyFromGrant | kCopyToGrant);
  words[2] = side(segment.source, from_grant);
  words[3] = from_grant ? segment.source.foreign.offset : 0;
  words[4] = side(segment.dest, to_grant);
  words[5] = to_grant ? segment.dest.foreign.offset : 0;
  words[6] = bytes.size();
  std::memcpy(words.data() + kHead, bytes.data(), bytes.size());
  const absl::StatusOr<Reply> reply = Ask(Kind::kCopyGrant, words);
  if (!reply.ok() || reply->words.size() != 1 + size) return EIO;
  if (!to_grant) std::memcpy(bytes.data(), reply->words.data() + 1, bytes.size());
  return static_cast<std::int64_t>(reply->words[0]);
}

std::int64_t Connection::Share(std::uint64_t file, std::uint64_t where, std::uint16_t domain,
                               bool writable, std::span<std::uint32_t> refs) {
  if (refs.size() > kMostWords - 1) return -ENOSPC;
  const std::uint64_t words[] = {file, where, domain, writable, refs.size()};
  const absl::StatusOr<Reply> reply = Ask(Kind::kShare, words);
  if (!reply.ok() || reply->words.size() != 1 + refs.size()) return -EIO;
  for (std::size_t i = 0; i < refs.size(); ++i) {
    refs[i] = static_cast<std::uint32_t>(reply->words[1 + i]);
  }
  return static_cast<std::int64_t>(reply->words[0]);
}

int Connection::Unshare(std::uint64_t file, std::uint64_t page, std::uint64_t count) {
  return AskForErrno(Kind::kUnshare, {file, page, count});
}

int Connection::ShareAlso(std::uint64_t file, std::uint64_t page, std::uint16_t domain,
                          bool writable, std::span<std::uint32_t> refs) {
  if (refs.size() > kMostWords - 1) return -EINVAL;
  const std::uint64_t words[] = {file, page, domain, writable, refs.size()};
  const absl::StatusOr<Reply> reply = Ask(Kind::kShareAlso, words);
  if (!reply.ok() || reply->words.size() != 1 + refs.size()) return -EIO;
  for (std::size_t i = 0; i < refs.size(); ++i) {
    refs[i] = static_cast<std::uint32_t>(reply->words[1 + i]);
  }
  return -static_cast<int>(reply->words[0]);
}

int Connection::ListShares(std::uint64_t file, std::uint64_t page,
                           std::vector<ShareListed>* grants) {
  const std::uint64_t words[] = {file, page};
  const absl::StatusOr<Reply> reply = Ask(Kind::kListShares, words);
  if (!reply.ok() || reply->words.empty()) return -EIO;
  for (const std::uint64_t word : std::span(reply->words).subspan(1)) {
    grants->push_back(std::bit_cast<ShareListed>(word));
  }
  return -static_cast<int>(reply->words[0]);
}

int Connection::RevokeShare(std::uint64_t file, std::uint32_t ref) {
  return AskForErrno(Kind::kRevokeShare, {file, ref});
}

void Connection::Release(std::span<const std::uint64_t> held) {
  Tell(Kind::kRelease, held, nullptr);
}

}  // namespace xencomm::machine
