#include "hcall/trace/domain_names.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "absl/strings/str_format.h"
#include "hcall/transport/file_descriptor.h"

extern "C" {
#include <xenstore.h>
}

namespace xencomm::trace {

StoreNames::~StoreNames() {
  if (store_ != nullptr) xs_close(store_);
}

// Whoever listens at the daemon's socket is it. Without one the store is elsewhere, and no process.
bool StoreNames::MayAsk() const {
  const FileDescriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = {}};
  std::strncpy(address.sun_path, xs_daemon_socket(), sizeof(address.sun_path) - 1);
  if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return true;
  }
  ucred daemon = {};
  socklen_t size = sizeof(daemon);
  return getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &daemon, &size) == 0 &&
         !is_traced_(daemon.pid);
}

std::string StoreNames::NameOf(std::uint16_t domain) {
  const auto now = static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch() /
                                              std::chrono::seconds(1));
  const auto [known, is_new] = known_.try_emplace(domain);
  if (!is_new && now < known->second.until) return known->second.name;
  known->second = {"", now + 2};
  if (!MayAsk()) return "";
  if (store_ == nullptr) store_ = xs_open(0);
  if (store_ == nullptr) return "";
  unsigned length = 0;
  const std::string path = absl::StrFormat("/local/domain/%d/name", domain);
  const std::unique_ptr<void, decltype(&std::free)> name(
      xs_read(store_, XBT_NULL, path.c_str(), &length), std::free);
  if (name != nullptr) known->second.name.assign(static_cast<const char*>(name.get()), length);
  return known->second.name;
}

}  // namespace xencomm::trace
