#include "xencomm/client.h"

#include <cerrno>
#include <map>

#include "xencomm/mutex.h"

namespace xencomm {
namespace {

// The clients of this process by their settings. Never destroyed, since contexts may be closed by
// destructors that run later.
struct Clients {
  Mutex mutex;
  std::map<std::string, std::weak_ptr<Client>> by_setting ABSL_GUARDED_BY(mutex);
};

// After fork the child starts anew: what it inherited belongs to the parent, and the parent's lock
// may have been held by a thread that is not here.
Clients& ClientsOfThisProcess() {
  struct Slot {
    ForkMarker marker;
    Clients clients;
  };
  static std::atomic<Slot*> current{new Slot};
  Slot* slot = current.load(std::memory_order_acquire);
  if (!slot->marker.in_same_process()) {
    auto* const fresh = new Slot;
    if (current.compare_exchange_strong(slot, fresh, std::memory_order_acq_rel)) {
      slot = fresh;
    } else {
      delete fresh;
    }
  }
  return slot->clients;
}

}  // namespace

absl::StatusOr<std::shared_ptr<Client>> Client::Open(const std::string& transport) {
  const std::string setting = transport.empty() ? DefaultTransport() : transport;
  Clients& clients = ClientsOfThisProcess();
  const MutexLock lock(clients.mutex);
  std::weak_ptr<Client>& known = clients.by_setting[setting];
  if (std::shared_ptr<Client> client = known.lock()) return client;

  absl::StatusOr<std::unique_ptr<Transport>> opened = OpenTransport(setting);
  if (!opened.ok()) return opened.status();
  absl::StatusOr<std::shared_ptr<Client>> client = Over(*std::move(opened));
  if (client.ok()) known = *client;
  return client;
}

absl::StatusOr<std::shared_ptr<Client>> Client::Over(std::unique_ptr<Transport> transport) {
  absl::StatusOr<std::unique_ptr<Backing>> backing = transport->MakeBacking();
  if (!backing.ok()) return backing.status();
  absl::StatusOr<std::unique_ptr<Arena>> arena = Arena::Create(*std::move(backing));
  if (!arena.ok()) return arena.status();
  return std::shared_ptr<Client>(new Client(std::move(transport), *std::move(arena)));
}

std::int64_t Client::CallWith(std::uint64_t op, const std::array<std::uint64_t, 5>& arguments) {
  if (restricted_.load(std::memory_order_relaxed)) [[unlikely]]
    return -ENOTTY;
  if (!arena_->in_same_process()) return -ESTALE;
  return transport_->Call(op, arguments);
}

int Client::Restrict() {
  Clients& clients = ClientsOfThisProcess();
  {
    const MutexLock lock(clients.mutex);
    std::erase_if(clients.by_setting,
                  [this](const auto& known) { return known.second.lock().get() == this; });
  }
  restricted_.store(true, std::memory_order_relaxed);
  arena_->GrowNoMore();
  return transport_->Restrict();
}

}  // namespace xencomm
