#include "hcall/machine/session.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <limits>
#include <new>
#include <system_error>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "hcall/hypervisor/base/machine.h"
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

Session::~Session() {
  End();
  if (lanes_ != nullptr) munmap(lanes_, kLanesBytes);
}

void Session::Run() {
  const auto end = absl::MakeCleanup([this] {
    End();
    shutdown(socket_.get(), SHUT_RDWR);
  });
  if (!Admits()) return;
  // A child that was forked has the socket, too, and does not keep the client alive by it.
  const FileDescriptor process(
      static_cast<int>(syscall(SYS_pidfd_open, PeerOf(socket_.get()).pid, 0)));
  Message request;
  while (WaitForMessage(process.get())) {
    if (Receive(socket_.get(), &request) != 0 || Answer(request) != 0) return;
  }
}

void Session::Stop() {
  stopping_.store(true);
  shutdown(socket_.get(), SHUT_RDWR);
}

bool Session::Admits() {
  const ucred peer = PeerOf(socket_.get());
  if (peer.uid == geteuid() || peer.uid == 0) return true;
  SendRefusal(socket_.get(), EACCES,
              Sentence("this machine is user %u's: user %u may not use it", geteuid(), peer.uid));
  return false;
}

bool Session::WaitForMessage(int process) {
  pollfd files[] = {{.fd = socket_.get(), .events = POLLIN, .revents = 0},
                    {.fd = process, .events = POLLIN, .revents = 0}};
  while (!stopping_.load()) {
    if (poll(files, std::size(files), -1) < 0 && errno != EINTR) return false;
    // What it said before it ended was said.
    if (files[0].revents != 0) return true;
    if (files[1].revents != 0) return false;
  }
  return false;
}

int Session::Answer(const Message& request) try {
  const auto kind = static_cast<Kind>(request.kind);
  const bool greets = kind == Kind::kHello;
  absl::StatusOr<Reply> reply = greets == process_.has_value()
                                    ? Malformed("a request before or behind its time")
                                    : Handle(kind, request.words);
  if (reply.ok()) return Send(socket_.get(), 0, reply->words, reply->fd);
  const int sent =
      SendRefusal(socket_.get(), ErrnoOf(reply.status()), std::string(reply.status().message()));
  // Who is refused at the door is not talked to any longer.
  return process_.has_value() ? sent : -EPROTO;
} catch (const std::bad_alloc&) {
  return SendRefusal(socket_.get(), ENOMEM, "the machine's process is out of memory");
} catch (const std::system_error&) {
  return SendRefusal(socket_.get(), ENOMEM, "the machine's process can have no more threads");
}

absl::StatusOr<Session::Reply> Session::Handle(Kind kind, Words words) {
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
    case Kind::kHold:
      return Hold(words);
    case Kind::kRelease:
      return Release(words);
    case Kind::kTrace:
      return Trace(words);
    case Kind::kRestrict:
      restricted_.store(true);
      return Reply{};
  }
  return Malformed("a request of an unknown kind");
}

absl::StatusOr<Session::Reply> Session::Hello(Words words) {
  if (words.size() != 3 || words[0] != kMagic) return Malformed("a greeting");
  if (words[1] != kVersion) {
    return absl::FailedPreconditionError(
        Sentence("the machine speaks version %u, its client %u: expected both of one release",
                 kVersion, words[1]));
  }
  if (!IsServed(words[2])) return Malformed("a space");
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
  process_.emplace(machine_, static_cast<SpaceOption>(words[2]));
  return Reply{.words = {machine_.setting().memory_bytes}, .fd = lanes_file_->get()};
}

absl::StatusOr<Session::Reply> Session::OpenLane(Words words) {
  if (words.size() != 1 || words[0] >= kLanes) return Malformed("a lane");
  std::thread& thread = threads_[words[0]];
  if (!thread.joinable()) {
    thread = std::thread([this, &lane = lanes_[words[0]]] { Serve(lane); });
  }
  return Reply{};
}

absl::StatusOr<Session::Reply> Session::Reserve(Words words) {
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

absl::StatusOr<Session::Reply> Session::Populate(Words words) {
  if (words.size() != 2 || !process_->has_region()) return Malformed("memory for a region");
  const RegionLayout& layout = process_->region().layout();
  const std::uint64_t room = layout.length() - layout.payload_offset();
  const auto [offset, length] = std::pair(words[0], words[1]);
  if (offset != populated_ || length == 0 || length > kMostPopulated || length > room - offset ||
      !IsAligned(length, kPageSize)) {
    return Malformed("memory for a region");
  }
  // No client takes from all others.
  const std::uint64_t most = machine_.kernel().frames().total() / 4 * kPageSize;
  if (length > most - std::min(most, offset)) {
    return absl::ResourceExhaustedError(
        Sentence("a quarter of domain 0's memory, %uM, is one client's at most", most >> 20));
  }
  const absl::StatusOr<std::vector<embedded::FrameRun>> frames =
      process_->TakeFrames(offset, length);
  if (!frames.ok()) return frames.status();
  Reply reply;
  for (const embedded::FrameRun run : *frames) {
    for (const embedded::MachineRun part : machine_.kernel().MachineRunsOf(run)) {
      reply.words.push_back(part.start.value >> kPageShift);
      reply.words.push_back(part.pages);
    }
  }
  const absl::Status backed =
      process_->region().Back((layout.payload_offset() + offset) >> kPageShift, *frames);
  if (!backed.ok()) return backed;
  populated_ += length;
  return reply;
}

absl::StatusOr<Session::Reply> Session::Trace(Words words) {
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

absl::StatusOr<Session::Reply> Session::Hold(Words words) {
  if (words.size() < 2 || words[0] > std::numeric_limits<std::uint16_t>::max() || words[1] > 1) {
    return Malformed("frames to be mapped");
  }
  const Words frames = words.subspan(2);
  if (frames.size() > kMostWords / 2) return Malformed("frames to be mapped");
  if (frames.size() > kMostHeld - held_pages_) {
    return absl::ResourceExhaustedError(
        Sentence("one client maps at most %u pages at a time", kMostHeld));
  }
  Reply reply;
  reply.words.resize(frames.size() * 2, hypervisor::kNoFrame);
  held_.reserve(held_.size() + frames.size());
  const Access access = words[1] != 0 ? Access::kWrite : Access::kRead;
  for (std::size_t i = 0; i < frames.size(); ++i) {
    std::uint64_t& mfn = reply.words[2 * i];
    const std::int64_t error = machine_.hypervisor().HoldFrame(static_cast<std::uint16_t>(words[0]),
                                                               frames[i], access, &mfn);
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

absl::StatusOr<Session::Reply> Session::Release(Words words) {
  for (const std::uint64_t mfn : words) {
    const auto held = held_.find(mfn);
    if (held == held_.end()) return Malformed("frames to be released");
    if (--held->second == 0) held_.erase(held);
    --held_pages_;
    machine_.hypervisor().ReleaseFrame(mfn);
  }
  return Reply{};
}

void Session::Serve(Lane& lane) {
  Lane::Call call;
  while (!stopping_.load(std::memory_order_relaxed)) {
    if (!lane.Next(&call)) continue;
    std::int64_t answer = -EPERM;
    try {
      if (!restricted_.load(std::memory_order_relaxed)) {
        answer = process_->Call(call.index, call.arguments);
      }
    } catch (const std::bad_alloc&) {
      answer = -ENOMEM;
    }
    lane.Answer(answer);
  }
}

void Session::End() {
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
  held_pages_ = 0;
  if (process_ && process_->has_region()) process_->EndRegion();
}

}  // namespace xencomm::machine
