// Clients of a store, who write payloads with | for a zero byte.
#ifndef TESTS_UNIT_STORE_CLIENT_H_
#define TESTS_UNIT_STORE_CLIENT_H_

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hcall/machine/store/store.h"
#include "hcall/machine/store/store_connection.h"

namespace xencomm::machine {

// The domains that there are.
struct FakeHypervisor {
  std::map<DomainId, DomainState> domains;

  DomainQuery query() {
    return [this](DomainId id) {
      const auto found = domains.find(id);
      return found == domains.end() ? DomainState::kAbsent : found->second;
    };
  }
};

inline std::string WithBars(std::string text) {
  std::replace(text.begin(), text.end(), '\0', '|');
  return text;
}

inline std::string WithZeros(std::string text) {
  std::replace(text.begin(), text.end(), '|', '\0');
  return text;
}

inline std::string Encode(std::uint32_t type, std::string payload, std::uint32_t transaction = 0,
                          std::uint32_t id = 0) {
  const xsd_sockmsg header = {.type = type,
                              .req_id = id,
                              .tx_id = transaction,
                              .len = static_cast<std::uint32_t>(payload.size())};
  std::string message(sizeof(header), '\0');
  std::memcpy(message.data(), &header, sizeof(header));
  return message + WithZeros(std::move(payload));
}

struct Answered {
  xsd_sockmsg header;
  std::string payload;  // with bars
};

// All that a connection has to send, which must be whole messages.
inline std::vector<Answered> Decode(std::string_view bytes) {
  std::vector<Answered> messages;
  while (!bytes.empty()) {
    Answered message;
    std::memcpy(&message.header, bytes.data(), sizeof(message.header));
    message.payload =
        WithBars(std::string(bytes.substr(sizeof(message.header), message.header.len)));
    bytes.remove_prefix(sizeof(message.header) + message.header.len);
    messages.push_back(std::move(message));
  }
  return messages;
}

class StoreClient {
 public:
  explicit StoreClient(Store& store, DomainId domain = 0)
      : connection(store, domain, [this] { ++wakes; }) {}

  // What is answered: a payload, or an error's name behind a !. Events are kept.
  std::string Ask(std::uint32_t type, const std::string& payload, std::uint32_t transaction = 0) {
    Send(Encode(type, payload, transaction, ++last_id_));
    std::string answer = "nothing";
    for (Answered& message : Take()) {
      if (message.header.type == XS_WATCH_EVENT) {
        events_ += message.payload + " ";
        continue;
      }
      if (answer != "nothing") return "two answers";
      if (message.header.req_id != last_id_ || message.header.tx_id != transaction) return "whose?";
      const bool is_error = message.header.type == XS_ERROR;
      if (is_error) message.payload.pop_back();
      answer = (is_error ? "!" : "") + message.payload;
    }
    return answer;
  }
  // "path|token| " for each since the last time.
  std::string Events() {
    for (const Answered& message : Take()) events_ += message.payload + " ";
    return std::exchange(events_, "");
  }

  void Send(std::string_view bytes) { connection.Receive(std::as_bytes(std::span(bytes))); }
  // Reads all, as long as there comes more.
  std::vector<Answered> Take() {
    std::vector<Answered> taken;
    while (!connection.output().empty()) {
      const std::string output(connection.output());
      connection.Sent(output.size());
      for (Answered& message : Decode(output)) taken.push_back(std::move(message));
    }
    return taken;
  }

  int wakes = 0;
  StoreConnection connection;

 private:
  std::uint32_t last_id_ = 0;
  std::string events_;
};

}  // namespace xencomm::machine

#endif  // TESTS_UNIT_STORE_CLIENT_H_
