#include "hcall/machine/client_session.h"

#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <new>
#include <system_error>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "hcall/hypervisor/base/machine.h"
#include "xencomm/hypercall.h"
#include "xencomm/sentence.h"

namespace xencomm::machine {
namespace {

using hypervisor::kPageShift;
using hypervisor::kPageSize;

constexpr std::size_t kLanesBytes = kLanes * sizeof(Lane);

absl::Status Malformed(const char* what) {
  return absl::InvalidArgumentError(
      Sentence("%s: it is not what a client of this machine says", what));
}

ucred PeerOf(int socket) {
  ucred peer = {.pid = 0, .uid = ~uid_t{0}, .gid = ~gid_t{0}};
  socklen_t length = sizeof(peer);
  getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length);
  return peer;
}

FileDescriptor OpenProcess(pid_t process) {
  return FileDescriptor(static_cast<int>(syscall(SYS_pidfd_open, process, 0)));
}

// Of the peer; before Linux 6.5 of whoever has its id by now.
FileDescriptor ProcessAt(int socket) {
#ifndef SO_PEERPIDFD
  constexpr int SO_PEERPIDFD = 77;
#endif
  int fd = -1;
  socklen_t length = sizeof(fd);
  if (getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &fd, &length) == 0) return FileDescriptor(fd);
  return OpenProcess(PeerOf(socket).pid);
}

// Whether a process was started by another, or by one that was, and so on. That is what a
// supervisor's are.
bool IsBelow(pid_t process, pid_t ancestor) {
  while (process > 1 && process != ancestor) {
    std::ifstream stat(absl::StrCat("/proc/", process, "/stat"));
    std::string line;
    std::getline(stat, line);
    // Behind the name, which may hold whatever it likes: a state and the parent.
    const std::size_t name_end = line.rfind(") ");
    if (name_end == line.npos || line.size() < name_end + 4) return false;
    process = static_cast<pid_t>(std::strtol(line.c_str() + name_end + 4, nullptr, 10));
  }
  return process > 1;
}

// As the kernel calls it, in at most 15 bytes. What is not printable is a program's joke.
std::string ProgramOf(pid_t process) {
  std::string name = "?";
  std::ifstream comm(absl::StrCat("/proc/", process, "/comm"));
  std::getline(comm, name);
  absl::c_replace_if(
      name, [](char c) { return !absl::ascii_isprint(c); }, '?');
  return name.substr(0, 15);
}

bool IsServed(std::uint64_t space) {
  return space == static_cast<std::uint64_t>(SpaceOption::kRegion) ||
         space == static_cast<std::uint64_t>(SpaceOption::kStateless) ||
         space == static_cast<std::uint64_t>(SpaceOption::kWalk4) ||
         space == static_cast<std::uint64_t>(SpaceOption::kWalk5);
}

int ErrnoOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
      return EINVAL;
    case absl::StatusCode::kFailedPrecondition:
      return EPROTO;
    case absl::StatusCode::kAlreadyExists:
      return EBUSY;
    case absl::StatusCode::kPermissionDenied:
      return EACCES;
    case absl::StatusCode::kOutOfRange:
      return ERANGE;
    default:
      return ENOMEM;
  }
}

}  // namespace

ClientSession::ClientSession(embedded::EmbeddedMachine& machine, Devices& devices,
                             FileDescriptor socket)
    : machine_(machine),
      devices_(devices),
      socket_(std::move(socket)),
      peer_(ProcessAt(socket_.get())) {}

ClientSession::~ClientSession() {
  End();
  if (lanes_ != nullptr) munmap(lanes_, kLanesBytes);
}

void ClientSession::Run() {
  const auto end = absl::MakeCleanup([this] {
    End();
    shutdown(socket_.get(), SHUT_RDWR);
  });
  if (!Admits()) return;
  Message request;
  while (WaitForMessage()) {
    if (Receive(socket_.get(), &request) != 0 || Answer(request) != 0) return;
  }
}

void ClientSession::Stop() {
  stopping_.store(true);
  shutdown(socket_.get(), SHUT_RDWR);
}

bool ClientSession::Admits() {
  const ucred peer = PeerOf(socket_.get());
  if (peer.uid == geteuid() || peer.uid == 0) return true;
  SendRefusal(socket_.get(), EACCES,
              Sentence("this machine is user %u's: user %u may not use it", geteuid(), peer.uid));
  return false;
}

// What it has mapped is let go of when it has ended: until then it may write there.
void ClientSession::DomainEnded() {
  // Who has left is none of the domain's processes any more, though Run may not know it yet.
  pollfd file = {.fd = socket_.get(), .events = POLLRDHUP, .revents = 0};
  const bool has_left = poll(&file, 1, 0) == 1;
  const int process = (supervised_ ? *supervised_ : peer_).get();
  if (has_left || syscall(SYS_pidfd_send_signal, process, SIGKILL, nullptr, 0) != 0) Stop();
}

// A child that was forked has the socket, too, and does not keep the client alive by it.
bool ClientSession::WaitForMessage() {
  pollfd files[] = {{.fd = socket_.get(), .events = POLLIN, .revents = 0},
                    {.fd = peer_.get(), .events = POLLIN, .revents = 0}};
  while (!stopping_.load()) {
    if (poll(files, std::size(files), -1) < 0 && errno != EINTR) return false;
    // What it said before it ended was said.
    if (files[0].revents != 0) return true;
    if (files[1].revents != 0) return false;
  }
  return false;
}

int ClientSession::Answer(const Message& request) try {
  const auto kind = static_cast<Kind>(request.kind);
  const bool greets = kind == Kind::kHello;
  absl::StatusOr<Reply> reply = greets == process_.has_value()
                                    ? Malformed("a request before or behind its time")
                                    : Handle(kind, request);
  if (reply.ok()) {
    return Send(socket_.get(), 0, reply->words,
                reply->own_fd.is_open() ? reply->own_fd.get() : reply->fd);
  }
  const int sent =
      SendRefusal(socket_.get(), ErrnoOf(reply.status()), std::string(reply.status().message()));
  // Who is refused at the door is not talked to any longer.
  return process_.has_value() ? sent : -EPROTO;
} catch (const std::bad_alloc&) {
  return SendRefusal(socket_.get(), ENOMEM, "the machine's process is out of memory");
} catch (const std::system_error&) {
  return SendRefusal(socket_.get(), ENOMEM, "the machine's process can have no more threads");
}

absl::StatusOr<ClientSession::Reply> ClientSession::Handle(Kind kind, const Message& request) {
  const Words words = request.words;
  switch (kind) {
    case Kind::kHello:
      return Hello(words);
    case Kind::kLane:
      return OpenLane(words);
    case Kind::kMemory:
      return Reply{.words = {machine_.ram().size()}, .fd = machine_.ram().fd()};
    case Kind::kReserve:
      return Reserve(words);
    case Kind::kPopulate:
      return Populate(words);
    case Kind::kOpen:
      return OpenDevice(words);
    case Kind::kAttach:
      return Attach(request);
    case Kind::kEvent:
      return Event(words);
    case Kind::kReaches:
      return Reaches(words);
    case Kind::kRestrictFile:
      return RestrictFile(words);
    case Kind::kHold:
      return Hold(words);
    case Kind::kHoldResource:
      return HoldResource(words);
    case Kind::kCountResource:
      return CountResource(words);
    case Kind::kRelease:
      return Release(words);
    case Kind::kMapPages:
      return MapPages(words);
    case Kind::kSetNotice:
      return SetNotice(words);
    case Kind::kAddGrants:
      return AddGrants(words);
    case Kind::kRemoveGrants:
      return RemoveGrants(words);
    case Kind::kCopyGrant:
      return CopyGrant(words);
    case Kind::kShare:
      return Share(words);
    case Kind::kUnshare:
      return Unshare(words);
    case Kind::kShareAlso:
      return ShareAlso(words);
    case Kind::kListShares:
      return ListShares(words);
    case Kind::kRevokeShare:
      return RevokeShare(words);
    case Kind::kTrace:
      return Trace(words);
    case Kind::kRestrict:
      restricted_.store(true);
      return Reply{};
  }
  return Malformed("a request of an unknown kind");
}

absl::StatusOr<ClientSession::Reply> ClientSession::Hello(Words words) {
  if (words.size() < 2 || words[0] != kMagic) return Malformed("a greeting");
  if (words[1] != kVersion) {
    return absl::FailedPreconditionError(
        Sentence("the machine speaks version %u, its client %u: expected both of one release",
                 kVersion, words[1]));
  }
  if (words.size() != 5 || !IsServed(words[2])) return Malformed("a greeting");
  const auto supervised = static_cast<pid_t>(words[3]);
  if (supervised != 0) {
    // Whoever it is from here on: nobody else's process is ended for a client's word.
    FileDescriptor process = OpenProcess(supervised);
    if (IsBelow(supervised, PeerOf(socket_.get()).pid)) supervised_.emplace(std::move(process));
  }
  const absl::Status joined = JoinDomain(words[4]);
  if (!joined.ok()) return joined;
  FileDescriptor file(memfd_create("xencomm-lanes", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file.is_open() || ftruncate(file.get(), kLanesBytes) != 0 ||
      fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return absl::ResourceExhaustedError("the machine has no memory for another client's lanes");
  }
  void* const lanes = mmap(nullptr, kLanesBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (lanes == MAP_FAILED) {
    return absl::ResourceExhaustedError("the machine has no room for another client's lanes");
  }
  lanes_ = static_cast<Lane*>(lanes);
  lanes_file_.emplace(std::move(file));
  process_.emplace(machine_, own_devices_->kernel(), static_cast<SpaceOption>(words[2]));
  program_ = ProgramOf(supervised != 0 ? supervised : PeerOf(socket_.get()).pid);
  return Reply{.words = {machine_.setting().memory_bytes, own_devices_->kernel().id()},
               .fd = lanes_file_->get()};
}

absl::Status ClientSession::JoinDomain(std::uint64_t domain) {
  if (domain == 0) {
    own_devices_ = devices_.domain0();
    return absl::OkStatus();
  }
  if ((domain & kNewDomain) == 0 && domain > std::numeric_limits<std::uint16_t>::max()) {
    return Malformed("a domain");
  }
  absl::StatusOr<std::shared_ptr<embedded::GuestDomain>> joined =
      (domain & kNewDomain) != 0 ? machine_.MakeDomain(domain & ~kNewDomain)
                                 : machine_.Join(static_cast<std::uint16_t>(domain));
  if (!joined.ok()) return joined.status();
  domain_ = *std::move(joined);
  absl::StatusOr<std::shared_ptr<DomainDevices>> devices = devices_.Join(domain_);
  if (!devices.ok()) return devices.status();
  own_devices_ = *std::move(devices);
  own_devices_->Add(*this);
  // What ends from now on is told of.
  if (devices_.HasEnded(own_devices_->kernel().id())) {
    return absl::FailedPreconditionError(
        Sentence("domain %u cannot have processes here: it is ending", domain));
  }
  return absl::OkStatus();
}

std::shared_ptr<DomainDevices> ClientSession::DevicesOf(std::uint64_t file, xencomm_device device) {
  return Has(file) ? devices_.files().DomainOf(file, device) : nullptr;
}

absl::StatusOr<ClientSession::Reply> ClientSession::OpenLane(Words words) {
  if (words.size() != 1 || words[0] >= kLanes) return Malformed("a lane");
  std::thread& thread = threads_[words[0]];
  if (!thread.joinable()) {
    thread = std::thread([this, &lane = lanes_[words[0]]] { Serve(lane); });
  }
  return Reply{};
}

absl::StatusOr<ClientSession::Reply> ClientSession::Reserve(Words words) {
  if (words.size() != 2) return Malformed("a region");
  if (process_->has_region()) return absl::AlreadyExistsError("the client has its region already");
  const Result<RegionLayout> layout = RegionLayout::Make({words[0]}, words[1], kPageShift);
  if (!layout.ok() || layout->length() > kMostRegion) {
    return absl::InvalidArgumentError(
        Sentence("a region of %u bytes at %#x: expected at most %uM "
                 "in whole pages",
                 words[1], words[0], kMostRegion >> 20));
  }
  const absl::Status made = process_->MakeRegion(*layout);
  if (!made.ok()) return made;
  return Reply{};
}

absl::StatusOr<ClientSession::Reply> ClientSession::Populate(Words words) {
  if (words.size() != 2 || !process_->has_region()) return Malformed("memory for a region");
  const RegionLayout& layout = process_->region().layout();
  const std::uint64_t room = layout.length() - layout.payload_offset();
  const auto [offset, length] = std::pair(words[0], words[1]);
  if (offset != populated_ || length == 0 || length > kMostPopulated || length > room - offset ||
      !IsAligned(length, kPageSize)) {
    return Malformed("memory for a region");
  }
  // No client takes from all others.
  embedded::GuestKernel& kernel = process_->kernel();
  const std::uint64_t most = kernel.frames().total() / 4 * kPageSize;
  if (length > most - std::min(most, offset)) {
    return absl::ResourceExhaustedError(Sentence(
        "a quarter of domain %u's memory, %uM, is one client's at most", kernel.id(), most >> 20));
  }
  const absl::StatusOr<std::vector<embedded::FrameRun>> frames =
      process_->TakeFrames(offset, length);
  if (!frames.ok()) return frames.status();
  // From here on they are the region's, whether or not it can have them.
  populated_ += length;
  const absl::Status backed =
      process_->region().Back((layout.payload_offset() + offset) >> kPageShift, *frames);
  if (!backed.ok()) return backed;
  Reply reply;
  for (const embedded::FrameRun run : *frames) {
    for (const embedded::MachineRun part : kernel.MachineRunsOf(run)) {
      reply.words.push_back(part.start.value >> kPageShift);
      reply.words.push_back(part.pages);
    }
  }
  return reply;
}

absl::StatusOr<ClientSession::Reply> ClientSession::Trace(Words words) {
  if (words.size() != 2 || words[1] > static_cast<std::uint64_t>(TracedSpace::kWalk) ||
      !process_->has_region()) {
    return Malformed("a pointer to be traced");
  }
  const absl::StatusOr<TracedPointer> found =
      process_->TraceOf({words[0]}, static_cast<TracedSpace>(words[1]));
  if (!found.ok()) return found.status();
  const Segment& end = found->trace.end;
  const Traced traced = {.region = found->region.value,
                         .machine = found->machine.value,
                         .start = end.start().value,
                         .length = end.length()};
  Reply reply;
  const auto append = [&reply](const auto& part) {
    const auto words_of_it = std::bit_cast<std::array<std::uint64_t, sizeof(part) / 8>>(part);
    reply.words.insert(reply.words.end(), words_of_it.begin(), words_of_it.end());
  };
  append(traced);
  for (const Step& step : std::span(found->trace.steps).first(found->trace.count)) {
    TracedStep told = {.level = step.level,
                       .index = step.index,
                       .address = step.address.value,
                       .entry = step.entry};
    std::strncpy(told.table, step.table, sizeof(told.table) - 1);
    append(told);
  }
  return reply;
}

bool ClientSession::Has(std::uint64_t file) {
  const MutexLock lock(files_mutex_);
  return files_.contains(file);
}

bool ClientSession::Add(std::uint64_t file) {
  const MutexLock lock(files_mutex_);
  if (files_.size() >= kMostFiles) {
    // Those that were closed meanwhile mean nothing any more.
    absl::erase_if(files_, [this](std::uint64_t id) { return !devices_.files().IsOpen(id); });
  }
  return files_.contains(file) || (files_.size() < kMostFiles && files_.insert(file).second);
}

absl::StatusOr<ClientSession::Reply> ClientSession::OpenDevice(Words words) {
  if (words.size() != 2 || words[0] > XENCOMM_GNTALLOC || words[1] > O_ACCMODE) {
    return Malformed("a device");
  }
  absl::StatusOr<Devices::Opened> opened = devices_.Open(
      own_devices_, static_cast<xencomm_device>(words[0]), static_cast<int>(words[1]));
  if (!opened.ok()) return opened.status();
  if (!Add(opened->id)) {
    return absl::ResourceExhaustedError(
        Sentence("one client has at most %u devices open", kMostFiles));
  }
  return Reply{.words = {opened->id}, .own_fd = std::move(opened->clients)};
}

absl::StatusOr<ClientSession::Reply> ClientSession::Attach(const Message& request) {
  if (!request.fd) return Malformed("a device's file");
  const std::optional<std::uint64_t> file = devices_.files().Identify(request.fd->get());
  if (!file) return Malformed("a device's file");
  if (!Add(*file)) {
    return absl::ResourceExhaustedError(
        Sentence("one client has at most %u devices open", kMostFiles));
  }
  return Reply{.words = {*file}};
}

absl::StatusOr<ClientSession::Reply> ClientSession::Event(Words words) {
  if (words.size() != 4 || words[1] > std::numeric_limits<std::uint32_t>::max() ||
      words[2] > sizeof(words[3]) || !Has(words[0])) {
    return Malformed("an event channel device's ioctl");
  }
  const auto argument = std::as_bytes(words.subspan(3, 1)).first(words[2]);
  const std::int64_t answer =
      devices_.Event(words[0], static_cast<std::uint32_t>(words[1]), argument);
  return Reply{.words = {static_cast<std::uint64_t>(answer)}};
}

absl::StatusOr<ClientSession::Reply> ClientSession::Reaches(Words words) {
  if (words.size() != 2 || words[1] > std::numeric_limits<std::uint16_t>::max() || !Has(words[0])) {
    return Malformed("a file and a domain");
  }
  const int error = devices_.files().MayReach(words[0], static_cast<std::uint16_t>(words[1]));
  return Reply{.words = {static_cast<std::uint64_t>(-error)}};
}

absl::StatusOr<ClientSession::Reply> ClientSession::RestrictFile(Words words) {
  if (words.size() != 2 || words[1] > std::numeric_limits<std::uint16_t>::max() || !Has(words[0])) {
    return Malformed("a file to be restricted");
  }
  const int error = devices_.files().Restrict(words[0], static_cast<std::uint16_t>(words[1]));
  return Reply{.words = {static_cast<std::uint64_t>(-error)}};
}

absl::StatusOr<ClientSession::Reply> ClientSession::Hold(Words words) {
  if (words.size() < 3 || words[1] > std::numeric_limits<std::uint16_t>::max() || words[2] > 1 ||
      (words[0] != 0 && !Has(words[0]))) {
    return Malformed("frames to be mapped");
  }
  const auto domain = static_cast<std::uint16_t>(words[1]);
  if (words[0] != 0 && devices_.files().MayReach(words[0], domain) != 0) {
    return absl::PermissionDeniedError("the file is restricted to another domain");
  }
  const Access access = words[2] != 0 ? Access::kWrite : Access::kRead;
  const Words frames = words.subspan(3);
  if (frames.size() > kMostWords / 2) return Malformed("frames to be mapped");
  if (frames.size() > kMostHeld - held_pages_) {
    return absl::ResourceExhaustedError(
        Sentence("one client maps at most %u pages at a time", kMostHeld));
  }
  Reply reply;
  reply.words.resize(frames.size() * 2, hypervisor::kNoFrame);
  held_.reserve(held_.size() + frames.size());
  for (std::size_t i = 0; i < frames.size(); ++i) {
    std::uint64_t& mfn = reply.words[2 * i];
    // Domain 0 alone may.
    const std::int64_t error =
        domain_ != nullptr ? -EPERM
                           : machine_.hypervisor().HoldFrame(domain, frames[i], access, &mfn);
    reply.words[2 * i + 1] = static_cast<std::uint64_t>(-error);
    if (error != 0) {
      mfn = hypervisor::kNoFrame;
      continue;
    }
    ++held_[mfn];
    ++held_pages_;
  }
  return reply;
}

bool ClientSession::ResourceOf(Words words, ForeignMemory::Resource* resource) {
  if (words.size() < 4 || words[1] > std::numeric_limits<std::uint16_t>::max() ||
      words[2] > std::numeric_limits<std::uint32_t>::max() ||
      words[3] > std::numeric_limits<std::uint32_t>::max()) {
    return false;
  }
  *resource = {.domain = static_cast<std::uint16_t>(words[1]),
               .type = static_cast<std::uint32_t>(words[2]),
               .id = static_cast<std::uint32_t>(words[3])};
  return words[0] == 0 ||
         (Has(words[0]) && devices_.files().MayReach(words[0], resource->domain) == 0);
}

absl::StatusOr<ClientSession::Reply> ClientSession::HoldResource(Words words) {
  ForeignMemory::Resource resource;
  if (words.size() != 6 || !ResourceOf(words, &resource) ||
      words[4] > std::numeric_limits<std::uint32_t>::max() || words[5] == 0 ||
      words[5] >= kMostWords) {
    return Malformed("a resource to be mapped");
  }
  resource.first = static_cast<std::uint32_t>(words[4]);
  resource.count = words[5];
  if (resource.count > kMostHeld - held_pages_) {
    return absl::ResourceExhaustedError(
        Sentence("one client maps at most %u pages at a time", kMostHeld));
  }
  Reply reply;
  reply.words.resize(resource.count + 1);
  held_.reserve(held_.size() + resource.count);
  const std::span<std::uint64_t> mfns = std::span(reply.words).subspan(1);
  // Domain 0 alone may.
  const int error =
      domain_ != nullptr ? -EPERM : machine_.frame_holder().HoldResource(resource, mfns);
  reply.words[0] = static_cast<std::uint64_t>(-error);
  if (error != 0) return reply;
  for (const std::uint64_t mfn : mfns) ++held_[mfn];
  held_pages_ += resource.count;
  return reply;
}

absl::StatusOr<ClientSession::Reply> ClientSession::CountResource(Words words) {
  ForeignMemory::Resource resource;
  if (words.size() != 4 || !ResourceOf(words, &resource)) return Malformed("a resource");
  const std::int64_t count =
      domain_ != nullptr ? -EPERM : machine_.frame_holder().CountResource(resource);
  return Reply{.words = {static_cast<std::uint64_t>(count)}};
}

namespace {

constexpr std::uint64_t kMostU32 = std::numeric_limits<std::uint32_t>::max();
constexpr std::uint64_t kMostU16 = std::numeric_limits<std::uint16_t>::max();

// A positive errno, for a reply.
std::uint64_t ErrnoWord(std::int64_t error) { return static_cast<std::uint64_t>(-error); }

// Entries of a grant table, behind what is answered.
std::vector<std::uint64_t> WithRefs(std::uint64_t answer, std::span<const std::uint32_t> refs) {
  std::vector<std::uint64_t> words = {answer};
  words.insert(words.end(), refs.begin(), refs.end());
  return words;
}

}  // namespace

absl::StatusOr<ClientSession::Reply> ClientSession::MapPages(Words words) {
  if (words.size() != 4 || words[2] > 1 || words[3] == 0 || words[3] > kMostWords - 2) {
    return Malformed("pages to be mapped");
  }
  const std::shared_ptr<DomainDevices> grants = DevicesOf(words[0], XENCOMM_GNTDEV);
  const std::shared_ptr<DomainDevices> shares = DevicesOf(words[0], XENCOMM_GNTALLOC);
  if (grants == nullptr && shares == nullptr) return Malformed("pages to be mapped");
  const std::uint64_t count = words[3];
  if (count > kMostHeld - held_pages_) {
    return absl::ResourceExhaustedError(
        Sentence("one client maps at most %u pages at a time", kMostHeld));
  }
  Reply reply;
  reply.words.resize(count + 2);
  const std::span<std::uint64_t> mfns = std::span(reply.words).subspan(2);
  std::shared_ptr<void> mapping;
  const int error =
      grants != nullptr
          ? grants->grants().Map(words[0], words[1], words[2] != 0 ? Access::kWrite : Access::kRead,
                                 mfns, &mapping)
          : shares->shares().Map(words[0], words[1], mfns, &mapping);
  reply.words[0] = ErrnoWord(error);
  if (error != 0) return reply;
  do {
    last_tag_ = (last_tag_ + 1) & ((1u << embedded::HeldFrame::kTagBits) - 1);
  } while (last_tag_ == 0 || mapped_.contains(last_tag_));
  mapped_[last_tag_] = {.devices = grants != nullptr ? grants : shares,
                        .mapping = std::move(mapping),
                        .pages = count};
  held_pages_ += count;
  reply.words[1] = last_tag_;
  return reply;
}

absl::StatusOr<ClientSession::Reply> ClientSession::SetNotice(Words words) {
  if (words.size() != 4 || words[2] > kMostU32 || words[3] > kMostU32) return Malformed("a notice");
  const auto action = static_cast<std::uint32_t>(words[2]);
  const auto port = static_cast<std::uint32_t>(words[3]);
  if (const auto grants = DevicesOf(words[0], XENCOMM_GNTDEV)) {
    return Reply{
        .words = {ErrnoWord(grants->grants().SetNotice(words[0], words[1], action, port))}};
  }
  if (const auto shares = DevicesOf(words[0], XENCOMM_GNTALLOC)) {
    return Reply{
        .words = {ErrnoWord(shares->shares().SetNotice(words[0], words[1], action, port))}};
  }
  return Malformed("a notice");
}

absl::StatusOr<ClientSession::Reply> ClientSession::AddGrants(Words words) {
  const auto devices = words.size() < 2 ? nullptr : DevicesOf(words[0], XENCOMM_GNTDEV);
  if (devices == nullptr) return Malformed("grants to be mapped");
  std::vector<GrantFiles::Grant> grants;
  grants.reserve(words.size() - 1);
  for (const std::uint64_t word : words.subspan(1)) {
    // Of a domain's 32 bits Linux takes 16.
    grants.push_back({.domain = static_cast<std::uint16_t>(word >> 32),
                      .ref = static_cast<std::uint32_t>(word)});
  }
  std::int64_t page = devices->grants().Add(words[0], this, grants);
  if (page == -ENOMEM) {
    // What has been closed makes room.
    devices_.EndClosedFiles();
    page = devices->grants().Add(words[0], this, grants);
  }
  return Reply{.words = {static_cast<std::uint64_t>(page)}};
}

absl::StatusOr<ClientSession::Reply> ClientSession::RemoveGrants(Words words) {
  const auto devices = words.size() != 3 ? nullptr : DevicesOf(words[0], XENCOMM_GNTDEV);
  if (devices == nullptr) return Malformed("grants that are mapped");
  return Reply{.words = {ErrnoWord(devices->grants().Remove(words[0], words[1], words[2]))}};
}

absl::StatusOr<ClientSession::Reply> ClientSession::CopyGrant(Words words) {
  constexpr std::size_t kHead = 7;
  const auto devices = words.size() < kHead ? nullptr : DevicesOf(words[0], XENCOMM_GNTDEV);
  if (devices == nullptr || words[1] > (kCopyFromGrant | kCopyToGrant) || words[1] == 0 ||
      words[6] > kPageSize || words[3] >= kPageSize || words[5] >= kPageSize ||
      (words.size() - kHead) * sizeof(words[0]) < words[6]) {
    return Malformed("a copy of a grant");
  }
  Reply reply;
  reply.words.resize(1 + (words[6] + sizeof(std::uint64_t) - 1) / sizeof(std::uint64_t));
  const GrantFiles::Copy copy = {
      .flags = static_cast<std::uint16_t>(words[1]),
      .source = {.domain = static_cast<std::uint16_t>(words[2] >> 32),
                 .ref = static_cast<std::uint32_t>(words[2])},
      .source_offset = static_cast<std::uint16_t>(words[3]),
      .dest = {.domain = static_cast<std::uint16_t>(words[4] >> 32),
               .ref = static_cast<std::uint32_t>(words[4])},
      .dest_offset = static_cast<std::uint16_t>(words[5]),
  };
  const std::int64_t status = devices->grants().CopyOne(
      copy, std::as_bytes(words.subspan(kHead)).first(words[6]),
      std::as_writable_bytes(std::span(reply.words).subspan(1)).first(words[6]));
  reply.words[0] = static_cast<std::uint64_t>(status);
  return reply;
}

absl::StatusOr<ClientSession::Reply> ClientSession::Share(Words words) {
  const auto devices = words.size() != 5 ? nullptr : DevicesOf(words[0], XENCOMM_GNTALLOC);
  if (devices == nullptr || words[2] > kMostU16 || words[3] > 1 ||
      words[4] > ShareFiles::kMostPages) {
    return Malformed("pages to be granted");
  }
  std::vector<std::uint32_t> refs(words[4]);
  const std::uint64_t where = words[1];
  const auto allocate = [&] {
    return devices->shares().Allocate(words[0], where == ~std::uint64_t{0} ? nullptr : &where,
                                      static_cast<std::uint16_t>(words[2]), words[3] != 0, refs);
  };
  std::int64_t page = allocate();
  if (page == -ENOSPC || page == -ENOMEM) {
    // What has been closed makes room.
    devices_.EndClosedFiles();
    page = allocate();
  }
  return Reply{.words = WithRefs(static_cast<std::uint64_t>(page), refs)};
}

absl::StatusOr<ClientSession::Reply> ClientSession::Unshare(Words words) {
  const auto devices = words.size() != 3 ? nullptr : DevicesOf(words[0], XENCOMM_GNTALLOC);
  if (devices == nullptr) return Malformed("pages that are granted");
  return Reply{.words = {ErrnoWord(devices->shares().Free(words[0], words[1], words[2]))}};
}

absl::StatusOr<ClientSession::Reply> ClientSession::ShareAlso(Words words) {
  const auto devices = words.size() != 5 ? nullptr : DevicesOf(words[0], XENCOMM_GNTALLOC);
  if (devices == nullptr || words[2] > kMostU16 || words[3] > 1 ||
      words[4] > ShareFiles::kMostPages) {
    return Malformed("pages to be granted");
  }
  std::vector<std::uint32_t> refs(words[4]);
  const int error = devices->shares().GrantAlso(
      words[0], words[1], static_cast<std::uint16_t>(words[2]), words[3] != 0, refs);
  return Reply{.words = WithRefs(ErrnoWord(error), refs)};
}

absl::StatusOr<ClientSession::Reply> ClientSession::ListShares(Words words) {
  const auto devices = words.size() != 2 ? nullptr : DevicesOf(words[0], XENCOMM_GNTALLOC);
  if (devices == nullptr) return Malformed("a page that is granted");
  std::vector<ShareListed> grants;
  const int error = devices->shares().List(words[0], words[1], &grants);
  Reply reply = {.words = {ErrnoWord(error)}};
  for (const ShareListed& grant : grants) {
    reply.words.push_back(std::bit_cast<std::uint64_t>(grant));
  }
  return reply;
}

absl::StatusOr<ClientSession::Reply> ClientSession::RevokeShare(Words words) {
  const auto devices = words.size() != 2 ? nullptr : DevicesOf(words[0], XENCOMM_GNTALLOC);
  if (devices == nullptr || words[1] > kMostU32) return Malformed("a grant");
  const int error = devices->shares().Revoke(words[0], static_cast<std::uint32_t>(words[1]));
  return Reply{.words = {ErrnoWord(error)}};
}

absl::StatusOr<ClientSession::Reply> ClientSession::Release(Words words) {
  bool has_ended = false;
  for (const std::uint64_t word : words) {
    const embedded::HeldFrame frame = embedded::HeldFrame::FromWord(word);
    if (frame.tag() != 0) {
      const auto mapped = mapped_.find(frame.tag());
      if (mapped == mapped_.end()) return Malformed("pages to be released");
      --held_pages_;
      if (--mapped->second.pages == 0) {
        mapped_.erase(mapped);
        has_ended = true;
      }
      continue;
    }
    const auto held = held_.find(frame.mfn());
    if (held == held_.end()) return Malformed("frames to be released");
    if (--held->second == 0) held_.erase(held);
    --held_pages_;
    machine_.hypervisor().ReleaseFrame(frame.mfn());
  }
  if (has_ended) devices_.Collect();
  return Reply{};
}

std::int64_t ClientSession::MakeCall(const Lane::Call& call, std::uint32_t* continuations) {
  if (restricted_.load(std::memory_order_relaxed)) return -EPERM;
  if (call.file != 0) {
    if (!Has(call.file)) return -EBADF;
    // To a program there are Xen's hypercalls, and no others.
    if ((call.index & kRegionCall) != 0 || IsForKernels(call.index)) return -ENOSYS;
    const int error = devices_.files().MayCall(call.file, call.index, call.arguments[0]);
    if (error != 0) return error == -EPERM ? kRefusedByFile : error;
  }
  return process_->Call(call.index, call.arguments, continuations);
}

void ClientSession::Serve(Lane& lane) {
  pthread_setname_np(pthread_self(), program_.c_str());
  Lane::Call call;
  bool is_busy = false;
  while (!stopping_.load(std::memory_order_relaxed)) {
    if (!lane.Next(&call, &is_busy)) continue;
    Lane::Answered answered;
    try {
      answered.answer = MakeCall(call, &answered.continuations);
    } catch (const std::bad_alloc&) {
      answered.answer = -ENOMEM;
    }
    lane.Answer(answered);
  }
}

void ClientSession::End() {
  stopping_.store(true);
  for (std::thread& thread : threads_) {
    if (!thread.joinable()) continue;
    lanes_[&thread - threads_.data()].Close();
    thread.join();
  }
  for (const auto& [mfn, count] : held_) {
    for (std::uint32_t i = 0; i < count; ++i) machine_.hypervisor().ReleaseFrame(mfn);
  }
  held_.clear();
  mapped_.clear();
  held_pages_ = 0;
  if (process_ && process_->has_region()) process_->EndRegion();
  // A domain that was made for the client ends now, not when the next client comes.
  process_.reset();
  if (own_devices_ != nullptr) own_devices_->Remove(*this);
  own_devices_.reset();
  domain_.reset();
}

}  // namespace xencomm::machine
