// A store whose clients, and domains, do what the fuzzer says: whole requests, most of them about
// the same few nodes, and bytes of any kind in any pieces.
#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "hcall/machine/store/store.h"
#include "hcall/machine/store/store_connection.h"
#include "hcall/machine/store/xenbus_file.h"
#include "tests/fuzz/guest.h"

namespace xencomm::fuzz {
namespace {

using namespace machine;

constexpr DomainId kDomains[] = {0, 0, 7, 8, 9};

// What a domain has.
struct Owned {
  int nodes = 0;
  std::int64_t memory = 0;
};
constexpr int kMemory = 2000;
constexpr int kAnswers = 200;  // bytes, that there is always room for

// A client, and the requests of its that are not answered.
struct Client {
  Client(Store& of, DomainId domain, bool& introduced)
      : store(of), connection(of, domain, [] {}), has_introduced(introduced) {}

  void Send(std::string_view bytes) {
    if (connection.wants_to_end()) return;
    const Owned before = Held();
    sent.append(bytes);
    // Requests as a reader of the protocol sees them.
    while (sent.size() >= sizeof(xsd_sockmsg)) {
      xsd_sockmsg header;
      std::memcpy(&header, sent.data(), sizeof(header));
      if (header.len > XENSTORE_PAYLOAD_MAX) {
        is_broken = true;
        break;
      }
      if (sent.size() < sizeof(header) + header.len) break;
      sent.erase(0, sizeof(header) + header.len);
      unanswered.push_back(header);
      // A domain's ring begins anew by this: what it was asked or answered is forgotten.
      if (header.type == XS_INTRODUCE) has_introduced = true;
    }
    connection.Receive(std::as_bytes(std::span(bytes)));
    if (connection.domain() == 0) return;
    // By its own doing a domain comes to have no more than it may, but for what it is answered.
    const Owned after = Held();
    FUZZ_CHECK(after.nodes <= std::max(before.nodes, store.domains().quotas().nodes));
    FUZZ_CHECK(after.memory <= std::max<std::int64_t>(before.memory, kMemory) + kAnswers);
  }

  Owned Held() const {
    const Domain* const domain = store.domains().Find(connection.domain());
    return domain == nullptr ? Owned{} : Owned{domain->entries, *domain->memory};
  }

  void Take(std::size_t most) {
    const std::string_view output = connection.output().substr(0, most);
    got.append(output);
    connection.Sent(output.size());
    if (has_introduced && connection.domain() != 0) return;
    while (got.size() >= sizeof(xsd_sockmsg)) {
      xsd_sockmsg header;
      std::memcpy(&header, got.data(), sizeof(header));
      FUZZ_CHECK(header.len <= XENSTORE_PAYLOAD_MAX);
      if (got.size() < sizeof(header) + header.len) break;
      got.erase(0, sizeof(header) + header.len);
      if (header.type == XS_WATCH_EVENT) continue;
      FUZZ_CHECK(!unanswered.empty());
      const xsd_sockmsg& asked = unanswered.front();
      FUZZ_CHECK(header.req_id == asked.req_id && header.tx_id == asked.tx_id);
      FUZZ_CHECK(header.type == asked.type || header.type == XS_ERROR);
      unanswered.pop_front();
    }
  }

  Store& store;
  StoreConnection connection;
  std::string sent, got;  // the rest of each, that is no whole message
  std::deque<xsd_sockmsg> unanswered;
  bool is_broken = false;  // by what cannot be understood
  bool& has_introduced;
};

std::string PathOf(FuzzedDataProvider& data) {
  static const char* const kPaths[] = {"/",
                                       "/x",
                                       "/x/y",
                                       "/x/y/z",
                                       "/x/w",
                                       "a",
                                       "a/b",
                                       "a/b/c",
                                       "/t",
                                       "/x/",
                                       "//",
                                       "",
                                       "@releaseDomain",
                                       "@introduceDomain",
                                       "/local/domain/7",
                                       "/local/domain/8/a"};
  return data.PickValueInArray(kPaths);
}

std::string PermissionOf(FuzzedDataProvider& data) {
  return std::string(1, "nrwbx"[data.ConsumeIntegralInRange(0, 4)]) +
         std::to_string(data.PickValueInArray({0, 7, 8, 9, 10}));
}

std::string RequestOf(FuzzedDataProvider& data) {
  const auto type = data.ConsumeIntegralInRange<std::uint32_t>(0, XS_TYPE_COUNT);
  const std::string zero(1, '\0');
  std::string payload = PathOf(data) + zero;
  switch (type) {
    case XS_WRITE:
      payload += data.ConsumeRandomLengthString(200);
      break;
    case XS_SET_PERMS:
      for (int count = data.ConsumeIntegralInRange(0, 6); count > 0; --count) {
        payload += PermissionOf(data) + zero;
      }
      break;
    case XS_WATCH:
    case XS_UNWATCH:
    case XS_DIRECTORY_PART:
      payload += std::to_string(data.ConsumeIntegralInRange(0, 5)) + zero;
      break;
    case XS_TRANSACTION_END:
      payload = (data.ConsumeBool() ? "T" : "F") + zero;
      break;
    case XS_CONTROL:
      payload = data.PickValueInArray({"check", "help", "quota", "quota-soft", "none"}) + zero;
      if (data.ConsumeBool()) payload += "7" + zero;
      break;
    case XS_INTRODUCE:
    case XS_RELEASE:
    case XS_RESUME:
    case XS_SET_TARGET:
    case XS_IS_DOMAIN_INTRODUCED:
    case XS_GET_DOMAIN_PATH:
      payload = std::to_string(data.PickValueInArray({0, 7, 8, 9, 10})) + zero;
      if (type == XS_SET_TARGET || type == XS_INTRODUCE) payload += "8" + zero;
      if (type == XS_INTRODUCE) payload += "1" + zero;
      break;
    default:
      break;
  }
  if (data.ConsumeIntegralInRange(0, 15) == 0) payload = data.ConsumeRandomLengthString(5000);
  const xsd_sockmsg header = {.type = type,
                              .req_id = data.ConsumeIntegral<std::uint8_t>(),
                              .tx_id = data.ConsumeIntegralInRange<std::uint32_t>(0, 4),
                              .len = static_cast<std::uint32_t>(payload.size())};
  std::string message(sizeof(header), '\0');
  std::memcpy(message.data(), &header, sizeof(header));
  return message + payload;
}

// What nodes there are: each where its parent names it, once; by what each domain owns of them.
void Visit(Store& store, const std::string& path, std::map<DomainId, Owned>& owned) {
  const Node* node;
  FUZZ_CHECK(store.Read({}, path, &node) == 0);
  FUZZ_CHECK(!node->permissions.empty());
  Owned& by = owned[node->owner()];
  ++by.nodes;
  by.memory += static_cast<std::int64_t>(path.size() + node->Size());
  const std::vector<std::string> names = node->ChildNames();
  FUZZ_CHECK(std::set<std::string>(names.begin(), names.end()).size() == names.size());
  for (const std::string& name : names) Visit(store, ChildOf(path, name), owned);
}

// With no client, what domains hold is their nodes.
void CheckBooks(Store& store, bool has_clients) {
  std::map<DomainId, Owned> owned;
  Visit(store, "/", owned);
  for (const auto& [id, of_domain] : owned) {
    const Domain* const domain = store.domains().Find(id);
    FUZZ_CHECK(domain != nullptr && domain->entries == of_domain.nodes);
    FUZZ_CHECK(*domain->memory >= of_domain.memory);
  }
  for (const DomainId id : {0u, 7u, 8u, 9u, 10u}) {
    const Domain* const domain = store.domains().Find(id);
    if (domain == nullptr) continue;
    FUZZ_CHECK(domain->entries == owned[id].nodes);
    FUZZ_CHECK(domain->watches >= 0 && *domain->outstanding >= 0);
    if (id != 0) {
      FUZZ_CHECK(domain->watches <= store.domains().quotas().watches + 1);
      FUZZ_CHECK(*domain->outstanding <= store.domains().quotas().outstanding + 1);
    }
    if (has_clients) continue;
    FUZZ_CHECK(*domain->memory == owned[id].memory);
    FUZZ_CHECK(domain->watches == 0 && *domain->outstanding == 0);
  }
}

void Run(FuzzedDataProvider& data) {
  std::map<DomainId, DomainState> domains;
  for (const DomainId id : {7u, 8u, 9u, 10u}) domains[id] = DomainState::kRunning;
  Store store([&](DomainId id) {
    const auto found = domains.find(id);
    return found == domains.end() ? DomainState::kAbsent : found->second;
  });
  // Small, or nothing would meet them.
  store.domains().quotas() = {.nodes = 6,
                              .watches = 2,
                              .transactions = 1,
                              .outstanding = 3,
                              .transaction_nodes = 8,
                              .memory = kMemory,
                              .node_size = 150,
                              .path = 20,
                              .permissions = 3};
  for (const DomainId id : {7u, 8u}) (void)store.Introduce(id, 1, 1);
  bool has_introduced = false;
  std::vector<std::unique_ptr<Client>> clients;
  for (const DomainId id : kDomains)
    clients.push_back(std::make_unique<Client>(store, id, has_introduced));

  auto kernel = std::make_unique<StoreConnection>(store, 0, [] {});
  Xenbus xenbus([&] { xenbus.ExchangeWith(*kernel); });
  xenbus.Connect();
  auto file = std::make_unique<XenbusFile>(xenbus);
  const auto write = [&](const std::string& bytes) {
    xenbus.ExchangeWith(*kernel);
    const std::ptrdiff_t taken = file->Write(std::as_bytes(std::span(bytes)));
    FUZZ_CHECK(taken < 0 || taken == static_cast<std::ptrdiff_t>(bytes.size()));
    // Whole messages, each within bounds.
    std::string_view output = file->output();
    while (!output.empty()) {
      xsd_sockmsg header;
      FUZZ_CHECK(output.size() >= sizeof(header));
      std::memcpy(&header, output.data(), sizeof(header));
      FUZZ_CHECK(header.len <= XENSTORE_PAYLOAD_MAX);
      FUZZ_CHECK(output.size() - sizeof(header) >= header.len);
      if (header.type == XS_INTRODUCE) has_introduced = true;
      output.remove_prefix(sizeof(header) + header.len);
    }
    file->Sent(file->output().size());
  };

  while (data.remaining_bytes() > 0) {
    std::unique_ptr<Client>& client =
        clients[data.ConsumeIntegralInRange<std::size_t>(0, clients.size() - 1)];
    switch (data.ConsumeIntegralInRange(0, 17)) {
      case 0:
        client->Send(data.ConsumeRandomLengthString(40));
        break;
      case 1: {  // in two pieces
        const std::string request = RequestOf(data);
        const auto size = data.ConsumeIntegralInRange<std::size_t>(0, request.size());
        client->Send(request.substr(0, size));
        client->Send(request.substr(size));
        break;
      }
      case 2:
      case 3:
        client->Take(data.ConsumeIntegralInRange<std::size_t>(0, 100));
        break;
      case 4:
        client->Take(~std::size_t{0});
        break;
      case 5: {
        const DomainId id = client->connection.domain();
        client.reset();
        client = std::make_unique<Client>(store, id, has_introduced);
        break;
      }
      case 6: {
        const auto id = data.PickValueInArray<DomainId>({7, 8, 9, 10});
        const auto state = data.ConsumeIntegralInRange(0, 3);
        domains[id] = static_cast<DomainState>(state);
        store.CheckDomains();
        break;
      }
      case 7:
        write(RequestOf(data));
        break;
      case 8:
        write(data.ConsumeRandomLengthString(40));
        break;
      default:
        client->Send(RequestOf(data));
        break;
    }
    CheckBooks(store, /*has_clients=*/true);
  }

  // In the end each request is answered, when all read; but of who was ended.
  for (bool has_output = true; has_output;) {
    xenbus.ExchangeWith(*kernel);
    has_output = !file->output().empty();
    file->Sent(file->output().size());
    for (const auto& client : clients) {
      has_output = has_output || !client->connection.output().empty();
      client->Take(~std::size_t{0});
    }
  }
  for (const auto& client : clients) {
    if (has_introduced && client->connection.domain() != 0) continue;
    if (client->is_broken) FUZZ_CHECK(client->connection.wants_to_end());
    if (!client->connection.wants_to_end()) FUZZ_CHECK(client->unanswered.empty());
  }
  clients.clear();
  file.reset();
  kernel.reset();
  CheckBooks(store, /*has_clients=*/false);
}

}  // namespace
}  // namespace xencomm::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  FuzzedDataProvider data(bytes, size);
  xencomm::fuzz::Run(data);
  return 0;
}
