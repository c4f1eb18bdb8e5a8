#include "hcall/sharing/vhost_user/session.h"

#include <poll.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <chrono>
#include <new>
#include <span>
#include <utility>

#include "xencomm/sentence.h"

namespace xencomm::vhost_user {
namespace {

constexpr std::uint64_t kVersion1 = std::uint64_t{1} << 32;

// For how long a ring is served in one turn, but for its last chain.
constexpr std::chrono::milliseconds kTurn(50);

absl::Status Malformed(const Message& message) {
  return absl::InvalidArgumentError(Sentence(
      "request %u with %u bytes and %u descriptors: expected those that it has",
      static_cast<std::uint32_t>(message.request), message.payload.size(), message.files.size()));
}

// As an answer says it.
int ErrnoOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
      return EINVAL;
    case absl::StatusCode::kAlreadyExists:
      return EEXIST;
    case absl::StatusCode::kNotFound:
      return ENOENT;
    case absl::StatusCode::kPermissionDenied:
      return EACCES;
    case absl::StatusCode::kResourceExhausted:
      return ENOMEM;
    case absl::StatusCode::kFailedPrecondition:
      return EBUSY;
    case absl::StatusCode::kUnimplemented:
      return EOPNOTSUPP;
    default:
      return EIO;
  }
}

// Those that are answered in any case, by other things than an errno.
bool HasOwnReply(Request request) {
  switch (request) {
    case Request::kGetFeatures:
    case Request::kGetProtocolFeatures:
    case Request::kGetVringBase:
    case Request::kGetQueueNum:
    case Request::kGetConfig:
    case Request::kGetMaxMemSlots:
      return true;
    default:
      return false;
  }
}

}  // namespace

Session::Session(FileDescriptor socket, Device& device, PageMapper* mapper, Teller teller)
    : socket_(std::move(socket)),
      device_(device),
      has_mapper_(mapper != nullptr),
      teller_(std::move(teller)),
      memory_(mapper),
      rings_(device.queues()) {
  device_.Accept(0);
}

// Rings before the memory that they are in.
Session::~Session() { rings_.clear(); }

std::uint64_t Session::OfferedFeatures() const {
  return device_.features() | Virtqueue::kIndirect | Virtqueue::kEventIndex | kVersion1 |
         kProtocolFeatures;
}

std::uint64_t Session::OfferedProtocolFeatures() const {
  return kMq | kReplyAck | kConfig | kConfigureMemSlots | (has_mapper_ ? kXenMmap : 0);
}

absl::Status Session::Turn(int stop, int timeout) {
  try {
    return WaitAndServe(stop, timeout);
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("expected more memory");
  }
}

absl::Status Session::WaitAndServe(int stop, int timeout) {
  std::vector<pollfd> files = {{.fd = stop, .events = POLLIN, .revents = 0},
                               {.fd = socket_.fd(), .events = POLLIN, .revents = 0}};
  bool has_work = false;
  for (const Ring& ring : rings_) {
    // One without is not looked at.
    const bool is_awaited = ring.kick.has_value() && !ring.is_broken;
    files.push_back({.fd = is_awaited ? ring.kick->fd() : -1, .events = POLLIN, .revents = 0});
    has_work = has_work || MayServe(ring);
  }
  if (poll(files.data(), files.size(), has_work ? 0 : timeout) < 0) {
    return errno == EINTR ? absl::OkStatus() : absl::ErrnoToStatus(errno, "waiting for messages");
  }
  if (files[0].revents != 0) return absl::AbortedError("to be stopped");
  for (std::size_t i = 0; i < rings_.size(); ++i) {
    Ring& ring = rings_[i];
    if (files[2 + i].revents == 0 || !ring.kick->Take()) continue;
    ring.is_started = true;
    ring.has_work = true;
  }
  if (files[1].revents != 0) {
    const absl::Status handled = HandleMessage();
    if (!handled.ok()) return handled;
  }
  for (std::size_t i = 0; i < rings_.size(); ++i) {
    if (MayServe(rings_[i])) Serve(static_cast<std::uint16_t>(i), rings_[i]);
  }
  if (memory_.is_torn()) {
    return absl::FailedPreconditionError(
        "the front-end has made the file of a region shorter: expected it to stay as it is");
  }
  return absl::OkStatus();
}

absl::Status Session::HandleMessage() {
  absl::StatusOr<std::optional<Message>> received = socket_.Receive();
  if (!received.ok()) return received.status();
  if (!received->has_value()) return absl::OkStatus();
  Message& message = **received;

  const Reply reply = Perform(message);
  if (reply.ok() && reply->has_value()) {
    return socket_.Send(message.request, Header::kVersion | Header::kReply, **reply);
  }
  // One who has accepted answers by this very message is answered already.
  const bool is_answered = message.needs_reply() && Has(kReplyAck) && !HasOwnReply(message.request);
  if (!reply.ok()) {
    if (!is_answered) return reply.status();
    teller_(std::string(reply.status().message()));
  }
  if (!is_answered) return absl::OkStatus();
  const std::uint64_t error = reply.ok() ? 0 : static_cast<std::uint64_t>(ErrnoOf(reply.status()));
  return socket_.Send(message.request, Header::kVersion | Header::kReply, WriteU64(error));
}

Session::Reply Session::Perform(Message& message) {
  const std::span<const std::byte> payload = message.payload;
  const auto done = [](const absl::Status& status) -> Reply {
    if (!status.ok()) return status;
    return std::optional<std::vector<std::byte>>();
  };
  switch (message.request) {
    case Request::kGetFeatures:
    case Request::kGetProtocolFeatures:
    case Request::kGetQueueNum:
    case Request::kGetMaxMemSlots:
      if (!payload.empty() || !message.files.empty()) return Malformed(message);
      return WriteU64(message.request == Request::kGetFeatures           ? OfferedFeatures()
                      : message.request == Request::kGetProtocolFeatures ? OfferedProtocolFeatures()
                      : message.request == Request::kGetQueueNum         ? device_.queues()
                                                                 : GuestMemory::kMostRegions);
    case Request::kSetFeatures:
    case Request::kSetProtocolFeatures: {
      const std::optional<std::uint64_t> accepted = ReadU64(payload);
      if (!accepted.has_value() || !message.files.empty()) return Malformed(message);
      if (message.request == Request::kSetFeatures) return done(SetFeatures(*accepted));
      if ((*accepted & ~OfferedProtocolFeatures()) != 0) {
        return absl::InvalidArgumentError(Sentence("protocol features %#x: expected some of %#x",
                                                   *accepted, OfferedProtocolFeatures()));
      }
      protocol_features_ = *accepted;
      return done(absl::OkStatus());
    }
    // The first says nothing; the second is said no more by anybody, and meant different things.
    case Request::kSetOwner:
    case Request::kResetOwner:
      return done(payload.empty() && message.files.empty() ? absl::OkStatus() : Malformed(message));
    case Request::kSetMemTable:
    case Request::kAddMemReg:
    case Request::kRemMemReg: {
      const absl::Status changed = ChangeRegions(message);
      if (changed.ok()) MapRingsAnew();
      return done(changed);
    }
    case Request::kSetVringNum:
    case Request::kSetVringBase:
    case Request::kSetVringEnable:
      return done(PerformOnRing(message));
    case Request::kSetVringAddr: {
      const std::optional<VringAddress> address = VringAddress::Read(payload);
      if (!address.has_value() || !message.files.empty()) return Malformed(message);
      return done(SetAddress(*address));
    }
    case Request::kSetVringKick:
    case Request::kSetVringCall:
    case Request::kSetVringErr:
      return done(SetFile(message));
    case Request::kGetVringBase: {
      absl::StatusOr<std::vector<std::byte>> base = GetVringBase(message);
      if (!base.ok()) return base.status();
      return *std::move(base);
    }
    case Request::kGetConfig:
      return GetConfig(message);
    case Request::kSetConfig:
      return absl::PermissionDeniedError("a change of the configuration: expected none");
  }
  return absl::UnimplementedError(Sentence("request %u: expected one of a feature that was offered",
                                           static_cast<std::uint32_t>(message.request)));
}

absl::Status Session::SetFeatures(std::uint64_t features) {
  if ((features & ~OfferedFeatures()) != 0) {
    return absl::InvalidArgumentError(
        Sentence("features %#x: expected some of %#x", features, OfferedFeatures()));
  }
  features_ = features;
  device_.Accept(features);
  // A front-end that does not know of enabling does not do it.
  if ((features & kProtocolFeatures) == 0) {
    for (Ring& ring : rings_) ring.is_enabled = true;
  }
  MapRingsAnew();  // whose features these are, too
  return absl::OkStatus();
}

absl::Status Session::ChangeRegions(Message& message) {
  if (message.request == Request::kSetMemTable) {
    const auto regions = ReadRegions(message.payload, form());
    if (!regions.has_value() || message.files.size() != regions->size()) return Malformed(message);
    return memory_.Replace(*regions, message.files);
  }
  const std::optional<MemoryRegion> region = ReadRegion(message.payload, form());
  if (!region.has_value()) return Malformed(message);
  if (message.request == Request::kAddMemReg) {
    if (message.files.size() != 1) return Malformed(message);
    return memory_.Add(*region, message.files[0]);
  }
  // Some bring a descriptor, which nobody asked for: it is closed.
  if (message.files.size() > 1) return Malformed(message);
  return memory_.Remove(*region);
}

absl::StatusOr<Session::Ring*> Session::Find(std::uint32_t index) {
  if (index < rings_.size()) return &rings_[index];
  return absl::InvalidArgumentError(Sentence("ring %u: expected one of %u", index, rings_.size()));
}

absl::Status Session::PerformOnRing(Message& message) {
  const std::optional<VringState> state = VringState::Read(message.payload);
  if (!state.has_value() || !message.files.empty()) return Malformed(message);
  const absl::StatusOr<Ring*> found = Find(state->index);
  if (!found.ok()) return found.status();
  Ring& ring = **found;
  if (message.request == Request::kSetVringEnable) {
    if (state->number > 1) return Malformed(message);
    ring.is_enabled = state->number == 1;
    return absl::OkStatus();
  }
  if (ring.is_started) {
    return absl::FailedPreconditionError(
        Sentence("ring %u: expected it to be stopped before it is changed", state->index));
  }
  if (message.request == Request::kSetVringNum) {
    if (!std::has_single_bit(state->number) || state->number > Virtqueue::kMostEntries) {
      return absl::InvalidArgumentError(
          Sentence("ring %u of %u entries: expected a power of two up to %u", state->index,
                   state->number, Virtqueue::kMostEntries));
    }
    ring.size = state->number;
  } else {
    if (state->number > 0xffff) return Malformed(message);
    ring.next = static_cast<std::uint16_t>(state->number);
  }
  ring.queue.reset();  // mapped anew when it is started
  return absl::OkStatus();
}

absl::Status Session::SetAddress(const VringAddress& address) {
  const absl::StatusOr<Ring*> found = Find(address.index);
  if (!found.ok()) return found.status();
  Ring& ring = **found;
  if (address.flags != 0) {
    return absl::InvalidArgumentError(
        Sentence("ring %u with flags %#x: expected none", address.index, address.flags));
  }
  // At once, so that the front-end is told when it cannot be.
  const std::optional<VringAddress> before = std::exchange(ring.address, address);
  const absl::Status mapped = MapRing(ring);
  if (!mapped.ok()) ring.address = before;
  return mapped;
}

absl::Status Session::SetFile(Message& message) {
  const std::optional<VringFile> about = VringFile::Read(message.payload);
  if (!about.has_value() || message.files.size() != (about->has_file ? 1 : 0)) {
    return Malformed(message);
  }
  const absl::StatusOr<Ring*> found = Find(about->index);
  if (!found.ok()) return found.status();
  Ring& ring = **found;
  std::optional<EventFile>& file = message.request == Request::kSetVringKick   ? ring.kick
                                   : message.request == Request::kSetVringCall ? ring.call
                                                                               : ring.error;
  if (!about->has_file) {
    if (message.request == Request::kSetVringKick) {
      return absl::UnimplementedError(
          Sentence("ring %u without an eventfd for kicks: expected no polling", about->index));
    }
    file.reset();
    return absl::OkStatus();
  }
  absl::StatusOr<EventFile> given = EventFile::Of(std::move(message.files[0]));
  if (!given.ok()) return given.status();
  file.emplace(*std::move(given));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::byte>> Session::GetVringBase(const Message& message) {
  const std::optional<VringState> state = VringState::Read(message.payload);
  if (!state.has_value() || !message.files.empty()) return Malformed(message);
  const absl::StatusOr<Ring*> found = Find(state->index);
  if (!found.ok()) return found.status();
  Stop(**found);
  return VringState{state->index, (*found)->next}.Write();
}

// An error is an answer without anything behind the header.
std::vector<std::byte> Session::GetConfig(const Message& message) const {
  const std::optional<ConfigRange> range = ConfigRange::Read(message.payload);
  if (!range.has_value() || !message.files.empty() || !Has(kConfig)) return {};
  std::vector<std::byte> reply = range->Write();
  // A front-end may know more fields than the device has: those are zero.
  std::vector<std::byte> config = device_.config();
  config.resize(ConfigRange::kMostBytes);
  std::copy_n(config.begin() + range->offset, range->size, reply.begin() + ConfigRange::kBytes);
  return reply;
}

absl::Status Session::MapRing(Ring& ring) {
  if (!ring.address.has_value() || ring.size == 0) {
    return absl::FailedPreconditionError("a ring: expected its size and its address first");
  }
  Virtqueue::Place place = {.size = ring.size, .descriptors = {}, .available = {}, .used = {}};
  const struct {
    std::uint64_t address, bytes;
    PhysicalAddress& guest;
  } parts[] = {
      {ring.address->descriptors, Virtqueue::DescriptorBytes(ring.size), place.descriptors},
      {ring.address->available, Virtqueue::AvailableBytes(ring.size), place.available},
      {ring.address->used, Virtqueue::UsedBytes(ring.size), place.used}};
  for (const auto& part : parts) {
    const std::optional<PhysicalAddress> guest = memory_.OfUser(part.address, part.bytes);
    if (!guest.has_value()) {
      return absl::InvalidArgumentError(
          Sentence("ring part of %u bytes at the front-end's %#x: expected it in a region",
                   part.bytes, part.address));
    }
    part.guest = *guest;
  }
  // What is mapped now goes on when it cannot be mapped anew.
  const std::uint16_t next = ring.queue != nullptr ? ring.queue->next() : ring.next;
  auto queue = Virtqueue::Map(memory_, place, next, features_);
  if (!queue.ok()) return queue.status();
  ring.queue = *std::move(queue);
  return absl::OkStatus();
}

void Session::MapRingsAnew() {
  for (std::size_t i = 0; i < rings_.size(); ++i) {
    Ring& ring = rings_[i];
    if (ring.queue == nullptr) continue;
    const absl::Status mapped = MapRing(ring);
    if (mapped.ok()) continue;
    if (ring.is_started) {
      Break(static_cast<std::uint16_t>(i), ring, mapped);
    } else {
      ring.queue.reset();
    }
  }
}

void Session::Serve(std::uint16_t index, Ring& ring) {
  if (ring.queue == nullptr) {
    const absl::Status mapped = MapRing(ring);
    if (!mapped.ok()) return Break(index, ring, mapped);
  }
  Virtqueue& queue = *ring.queue;
  const absl::StatusOr<bool> has_more = ServeChains(index, queue, ring.size);
  // Also of those before one that broke the ring.
  if (queue.ShouldSignal() && ring.call.has_value()) ring.call->Signal();
  if (!has_more.ok()) return Break(index, ring, has_more.status());
  ring.has_work = *has_more;
}

absl::StatusOr<bool> Session::ServeChains(std::uint16_t index, Virtqueue& queue,
                                          std::uint32_t most) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point end = Clock::now() + kTurn;
  queue.SuppressKicks();
  Chain chain;
  for (std::uint32_t served = 0; served < most && Clock::now() < end; ++served) {
    const absl::StatusOr<bool> next = queue.Next(&chain);
    if (!next.ok()) return next.status();
    if (!*next) break;
    const std::optional<std::uint32_t> written = device_.Serve(index, chain, memory_);
    if (!written.has_value()) {
      return absl::OutOfRangeError(
          Sentence("chain %u: expected a place in it for the answer", chain.head));
    }
    queue.Complete(chain.head, *written);
  }
  return queue.AskForKicks();
}

void Session::Break(std::uint16_t index, Ring& ring, const absl::Status& why) {
  if (ring.queue != nullptr) ring.next = ring.queue->next();
  ring.queue.reset();
  ring.is_broken = true;
  if (ring.error.has_value()) ring.error->Signal();
  teller_(Sentence("ring %u is broken: %s", index, std::string(why.message())));
}

void Session::Stop(Ring& ring) {
  if (ring.queue != nullptr) ring.next = ring.queue->next();
  ring.queue.reset();
  ring.kick.reset();
  ring.call.reset();
  ring.is_started = ring.is_broken = ring.has_work = false;
}

}  // namespace xencomm::vhost_user
