#include "hcall/machine/store/store_connection.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace xencomm::machine {
namespace {

// Answers that no lack of memory stands in the way of: errors' names are short.
constexpr std::size_t kAlwaysRoom = 16;

}  // namespace

StoreConnection::StoreConnection(Store& store, DomainId domain, std::function<void()> wake)
    : Session(store, domain), wake_(std::move(wake)) {}

bool StoreConnection::IsHeld() const {
  if (output().size() > kMuchUnsent) return true;
  if (domain() == 0) return false;
  const Domain* const record = store().domains().Find(domain());
  return record != nullptr && *record->outstanding >= store().domains().quotas().outstanding;
}

void StoreConnection::Receive(std::span<const std::byte> bytes) {
  if (wants_to_end_) return;
  input_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());  // bytes are bytes
  Proceed();
}

void StoreConnection::Proceed() {
  if (std::exchange(is_proceeding_, true))
    return;  // a request that is being answered let others go
  std::size_t done = 0;
  while (!wants_to_end_ && !IsHeld()) {
    Message message;
    const std::size_t rest = input_.size() - done;
    if (rest < sizeof(message.header)) break;
    std::memcpy(&message.header, input_.data() + done, sizeof(message.header));
    if (message.header.len > XENSTORE_PAYLOAD_MAX) {
      End();
      break;
    }
    if (rest - sizeof(message.header) < message.header.len) break;
    message.payload = input_.substr(done + sizeof(message.header), message.header.len);
    done += sizeof(message.header) + message.header.len;
    Answer(message);
  }
  input_.erase(0, done);
  is_proceeding_ = false;
}

void StoreConnection::Answer(const Message& message) {
  Request request;
  if (domain() != 0) {
    std::shared_ptr<int> outstanding = store().domains().FindOrMake(domain()).outstanding;
    ++*outstanding;
    int* const count = outstanding.get();
    request = Request(count, [outstanding = std::move(outstanding)](void*) { --*outstanding; });
  }
  View view = {.domain = domain(), .request = request};
  std::string answer(WithZero("OK"));
  const int error = Handle(message, view, answer);
  if (error == 0) {
    Reply(message.header, message.header.type, answer, request);
  } else {
    Reply(message.header, XS_ERROR, WithZero(NameOfError(error)), request);
  }
  if (!first_event_.empty()) {
    const std::vector<std::string> event = std::exchange(first_event_, {});
    Deliver(event[0], event[1], nullptr);
  }
}

void StoreConnection::Reply(const xsd_sockmsg& request, std::uint32_t type,
                            std::string_view payload, const Request& cause) {
  int error = 0;
  if (payload.size() > XENSTORE_PAYLOAD_MAX) {
    error = E2BIG;
  } else if (domain() != 0 && payload.size() > kAlwaysRoom &&
             !store().domains().HasRoom(domain(), static_cast<std::int64_t>(payload.size()))) {
    error = ENOMEM;
  }
  if (error != 0) {
    type = XS_ERROR;
    payload = WithZero(NameOfError(error));
  }
  Queue({.type = type,
         .req_id = request.req_id,
         .tx_id = request.tx_id,
         .len = static_cast<std::uint32_t>(payload.size())},
        payload, "", cause);
}

void StoreConnection::Deliver(std::string_view path, std::string_view token, const Request& cause) {
  std::string event(path);
  event.append(1, '\0').append(token).append(1, '\0');
  if (wants_to_end_ || event.size() > XENSTORE_PAYLOAD_MAX) return;
  const bool is_special = path.starts_with('@');
  if (!is_special && events_.contains(event)) return;
  const auto size = static_cast<std::int64_t>(sizeof(xsd_sockmsg) + event.size());
  if (domain() != 0 && !store().domains().HasRoom(domain(), size)) return;
  if (output().size() > kMostUnsent) {
    End();
    return;
  }
  const std::string payload = event;
  if (is_special) event.clear();
  Queue({.type = XS_WATCH_EVENT,
         .req_id = 0,
         .tx_id = 0,
         .len = static_cast<std::uint32_t>(payload.size())},
        payload, std::move(event), cause);
}

void StoreConnection::Queue(const xsd_sockmsg& header, std::string_view payload, std::string event,
                            Request cause) {
  if (wants_to_end_) return;
  const bool was_empty = output().empty();
  output_.append(reinterpret_cast<const char*>(&header), sizeof(header)).append(payload);
  if (!event.empty()) events_.insert(event);
  unsent_.push_back(
      {.end = sent_before_ + output_.size(),
       .event = std::move(event),
       .charge = Charge(store().domains().AccountOf(domain()), sizeof(header) + payload.size()),
       .request = std::move(cause)});
  if (was_empty) wake_();
}

void StoreConnection::Sent(std::size_t bytes) {
  sent_ += std::min(bytes, output().size());
  bool has_answered = false;
  while (!unsent_.empty() && unsent_.front().end <= sent_before_ + sent_) {
    has_answered = has_answered || unsent_.front().request != nullptr;
    events_.erase(unsent_.front().event);
    unsent_.pop_front();
  }
  // What is sent is forgotten when that is at least half, so that each byte is moved once or so.
  if (sent_ * 2 >= output_.size()) {
    output_.erase(0, sent_);
    sent_before_ += std::exchange(sent_, 0);
  }
  // What others caused, they may have waited for.
  if (has_answered) {
    store().Proceed();
  } else {
    Proceed();
  }
}

void StoreConnection::Restart() {
  input_.clear();
  sent_before_ += output_.size();
  output_.clear();
  sent_ = 0;
  unsent_.clear();
  events_.clear();
}

void StoreConnection::End() {
  if (std::exchange(wants_to_end_, true)) return;
  input_.clear();
  wake_();
}

}  // namespace xencomm::machine
