// libxenstore.so.4 over a Store in this process: the functions of xenstore.h as Debian's
// libxenstore4 4.17 exports them, for toolstack programs on the embedded machine. No daemon is
// needed, and what is written ends with the process, as the machine does.

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "hcall/xencall/active_handle.h"
#include "hcall/xencall/embedded/store.h"
#include "xencomm/c_border.h"

namespace {

using xencomm::AtBorder;
using xencomm::MutexLock;
using xencomm::Store;

// Never destroyed: handles may be closed by destructors that run later.
Store& TheStore() {
  static auto* const store = new Store;
  return *store;
}

// What a request may hold, in bytes: XENSTORE_PAYLOAD_MAX of public/io/xs_wire.h.
constexpr std::size_t kMostPayload = 4096;

bool OrErrno(int error) {
  if (error == 0) return true;
  errno = error;
  return false;
}

bool IsBelow(const char* parent, const char* child) {
  const std::size_t length = std::strlen(parent);
  if (std::strcmp(parent, "/") == 0) return child[0] == '/';
  return std::strncmp(parent, child, length) == 0 &&
         (child[length] == '\0' || child[length] == '/');
}

// Texts in one block, as callers free it: the pointers, then what they point at.
char** Block(const std::vector<std::string>& texts) {
  // One place more, so that no texts are a block, too.
  std::size_t bytes = (texts.size() + 1) * sizeof(char*);
  for (const std::string& text : texts) bytes += text.size() + 1;
  auto** const block = static_cast<char**>(std::malloc(bytes));
  if (block == nullptr) return nullptr;
  auto* at = reinterpret_cast<char*>(block + texts.size() + 1);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    block[i] = at;
    std::memcpy(at, texts[i].c_str(), texts[i].size() + 1);
    at += texts[i].size() + 1;
  }
  return block;
}

}  // namespace

struct xs_handle {
 public:
  xs_handle() {
    TheStore().AddListener(
        this, [this](const std::string& path, bool removed) { Changed(path, removed); });
  }
  xs_handle(const xs_handle&) = delete;
  xs_handle& operator=(const xs_handle&) = delete;
  ~xs_handle() {
    TheStore().RemoveListener(this);
    if (pipe_[0] < 0) return;
    close(pipe_[0]);
    close(pipe_[1]);
  }

  // It tells of no change any more, and nothing is asked through it: see OnStore.
  int Restrict(std::uint16_t) {
    restricted_.store(true, std::memory_order_relaxed);
    TheStore().RemoveListener(this);
    return 0;
  }
  bool restricted() const { return restricted_.load(std::memory_order_relaxed); }

  // Readable while there are events; -1 and errno.
  int fd() {
    const MutexLock lock(mutex_);
    return Listen() ? pipe_[0] : -1;
  }

  bool Watch(const char* path, const char* token) {
    const MutexLock lock(mutex_);
    if (!Listen()) return false;
    if (std::strlen(path) + std::strlen(token) + 2 > kMostPayload) return OrErrno(E2BIG);
    const std::string resolved = path[0] == '@' ? path : Store::Resolve(path);
    if (resolved.empty()) return OrErrno(EINVAL);
    for (const Watched& watch : watches_) {
      if (watch.given == path && watch.token == token) return OrErrno(EEXIST);
    }
    Watched watch = {path, resolved, token};
    watches_.reserve(watches_.size() + 1);
    // It fires at once, so that who watches first looks at what is there. The last that may fail.
    Push({path, token});
    watches_.push_back(std::move(watch));
    return true;
  }

  bool Unwatch(const char* path, const char* token) {
    const MutexLock lock(mutex_);
    const std::size_t removed = std::erase_if(watches_, [&](const Watched& watch) {
      return watch.given == path && watch.token == token;
    });
    return OrErrno(removed != 0 ? 0 : ENOENT);
  }

  // Null and EAGAIN when there is none and it is not to be waited for.
  char** NextEvent(bool wait) {
    const int events = fd();
    if (events < 0) return nullptr;
    for (;;) {
      {
        const MutexLock lock(mutex_);
        if (!events_.empty()) {
          char** const block = Block({events_.front().path, events_.front().token});
          // Its byte is there, and goes with it.
          char byte;
          if (block == nullptr || read(events, &byte, 1) != 1) return block;
          events_.pop_front();
          return block;
        }
      }
      if (!wait) {
        errno = EAGAIN;
        return nullptr;
      }
      pollfd ready = {.fd = events, .events = POLLIN, .revents = 0};
      if (poll(&ready, 1, -1) < 0) return nullptr;
    }
  }

 private:
  struct Watched {
    std::string given;  // as the program named it; events name paths the same way
    std::string path;
    std::string token;
  };
  struct Event {
    std::string path;
    std::string token;
  };

  // From the first use on that needs it: a program that does not watch costs no descriptor.
  bool Listen() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (pipe_[0] >= 0) return true;
    return pipe2(pipe_, O_CLOEXEC | O_NONBLOCK) == 0;
  }

  void Changed(const std::string& path, bool removed) {
    const MutexLock lock(mutex_);
    for (const Watched& watch : watches_) {
      const bool at_or_below = IsBelow(watch.path.c_str(), path.c_str());
      // What was removed took along what is watched below it.
      const bool above = removed && IsBelow(path.c_str(), watch.path.c_str());
      if (!at_or_below && !above) continue;
      try {
        Push({at_or_below ? watch.given + path.substr(watch.path.size()) : watch.given,
              watch.token});
      } catch (const std::bad_alloc&) {
        // As one that the pipe has no room for: it is lost. What it tells of has happened.
      }
    }
  }

  void Push(Event event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    events_.push_back(std::move(event));
    // A byte for each event, so that poll tells of them.
    if (write(pipe_[1], "", 1) != 1) events_.pop_back();
  }

  xencomm::Mutex mutex_;
  int pipe_[2] ABSL_GUARDED_BY(mutex_) = {-1, -1};
  std::vector<Watched> watches_ ABSL_GUARDED_BY(mutex_);
  std::deque<Event> events_ ABSL_GUARDED_BY(mutex_);
  std::atomic<bool> restricted_ = false;
  const xencomm::ActiveHandle<xs_handle> active_{*this};
};

namespace {

// What a daemon would be asked, through `h`. A restricted one answers as a socket does that has
// become /dev/null.
template <class Body>
auto OnStore(const xs_handle* h, Body body) -> decltype(body()) {
  return AtBorder([&]() -> decltype(body()) {
    if (!h->restricted()) return body();
    errno = EBADF;
    return xencomm::Failure<decltype(body())>();
  });
}

}  // namespace

extern "C" {

xs_handle* xs_open(unsigned long) {
  return AtBorder([] { return new xs_handle; });
}
xs_handle* xs_daemon_open(void) { return xs_open(0); }
xs_handle* xs_daemon_open_readonly(void) { return xs_open(XS_OPEN_READONLY); }
xs_handle* xs_domain_open(void) { return xs_open(0); }
void xs_close(xs_handle* h) {
  AtBorder([&] { delete h; });
}
void xs_daemon_close(xs_handle* h) { xs_close(h); }
void xs_daemon_destroy_postfork(xs_handle* h) { xs_close(h); }

// Where a daemon would be. There is none, and nobody is asked to go there.
const char* xs_daemon_rundir(void) {
  const char* const folder = std::getenv("XENSTORED_RUNDIR");
  return folder != nullptr ? folder : "/run/xenstored";
}
const char* xs_daemon_socket(void) {
  return AtBorder([] {
    static const auto* const path = new std::string(std::string(xs_daemon_rundir()) + "/socket");
    return path->c_str();
  });
}
const char* xs_daemon_socket_ro(void) { return xs_daemon_socket(); }

char** xs_directory(xs_handle* h, xs_transaction_t t, const char* path, unsigned* num) {
  return OnStore(h, [&]() -> char** {
    std::vector<std::string> names;
    if (!OrErrno(TheStore().List(t, path, &names))) return nullptr;
    *num = static_cast<unsigned>(names.size());
    return Block(names);
  });
}

void* xs_read(xs_handle* h, xs_transaction_t t, const char* path, unsigned* len) {
  return OnStore(h, [&]() -> void* {
    std::string value;
    if (!OrErrno(TheStore().Read(t, path, &value))) return nullptr;
    // Ended by a zero that is not counted.
    auto* const bytes = static_cast<char*>(std::malloc(value.size() + 1));
    if (bytes == nullptr) return nullptr;
    std::memcpy(bytes, value.c_str(), value.size() + 1);
    if (len != nullptr) *len = static_cast<unsigned>(value.size());
    return bytes;
  });
}

bool xs_write(xs_handle* h, xs_transaction_t t, const char* path, const void* data, unsigned len) {
  return OnStore(h, [&] {
    return OrErrno(TheStore().Write(t, path, {static_cast<const char*>(data), len}));
  });
}

bool xs_mkdir(xs_handle* h, xs_transaction_t t, const char* path) {
  return OnStore(h, [&] { return OrErrno(TheStore().MakeDirectory(t, path)); });
}

bool xs_rm(xs_handle* h, xs_transaction_t t, const char* path) {
  return OnStore(h, [&] { return OrErrno(TheStore().Remove(t, path)); });
}

bool xs_restrict(xs_handle*, unsigned) { return false; }

xs_permissions* xs_get_permissions(xs_handle* h, xs_transaction_t t, const char* path,
                                   unsigned* num) {
  return OnStore(h, [&]() -> xs_permissions* {
    Store::Permissions permissions;
    if (!OrErrno(TheStore().GetPermissions(t, path, &permissions))) return nullptr;
    const std::size_t bytes = permissions.size() * sizeof(xs_permissions);
    auto* const copy = static_cast<xs_permissions*>(std::malloc(bytes));
    if (copy == nullptr) return nullptr;
    std::memcpy(copy, permissions.data(), bytes);
    *num = static_cast<unsigned>(permissions.size());
    return copy;
  });
}

bool xs_set_permissions(xs_handle* h, xs_transaction_t t, const char* path, xs_permissions* perms,
                        unsigned num_perms) {
  // The protocol spells each by at least a letter, a digit and a zero.
  if (num_perms > kMostPayload / 3) return OrErrno(E2BIG);
  return OnStore(h, [&] {
    return OrErrno(TheStore().SetPermissions(t, path, {perms, perms + num_perms}));
  });
}

bool xs_watch(xs_handle* h, const char* path, const char* token) {
  return OnStore(h, [&] { return h->Watch(path, token); });
}
bool xs_unwatch(xs_handle* h, const char* path, const char* token) {
  return OnStore(h, [&] { return h->Unwatch(path, token); });
}
int xs_fileno(xs_handle* h) {
  return AtBorder([&] { return h->fd(); });
}
char** xs_check_watch(xs_handle* h) {
  return AtBorder([&] { return h->NextEvent(false); });
}
char** xs_read_watch(xs_handle* h, unsigned* num) {
  return AtBorder([&] {
    char** const event = h->NextEvent(true);
    if (event != nullptr) *num = 2;
    return event;
  });
}

// 0, XBT_NULL, when there is no memory for one.
xs_transaction_t xs_transaction_start(xs_handle* h) {
  return OnStore(h, [] { return TheStore().Start(); });
}
bool xs_transaction_end(xs_handle* h, xs_transaction_t t, bool abort) {
  return OnStore(h, [&] { return OrErrno(TheStore().End(t, abort)); });
}

bool xs_introduce_domain(xs_handle* h, unsigned domid, unsigned long, unsigned) {
  return OnStore(h, [&] { return OrErrno(TheStore().Introduce(domid)); });
}
bool xs_release_domain(xs_handle* h, unsigned domid) {
  return OnStore(h, [&] { return OrErrno(TheStore().Release(domid)); });
}
bool xs_resume_domain(xs_handle* h, unsigned domid) {
  return OnStore(h, [&] { return OrErrno(TheStore().IsIntroduced(domid) ? 0 : ENOENT); });
}
bool xs_set_target(xs_handle* h, unsigned domid, unsigned target) {
  return OnStore(h, [&] {
    return OrErrno(TheStore().IsIntroduced(domid) && TheStore().IsIntroduced(target) ? 0 : ENOENT);
  });
}
bool xs_is_domain_introduced(xs_handle* h, unsigned domid) {
  return OnStore(h, [&] { return TheStore().IsIntroduced(domid); });
}
char* xs_get_domain_path(xs_handle* h, unsigned domid) {
  return OnStore(h, [&] { return strdup(("/local/domain/" + std::to_string(domid)).c_str()); });
}

bool xs_path_is_subpath(const char* parent, const char* child) { return IsBelow(parent, child); }

// There is no daemon to be told anything.
char* xs_control_command(xs_handle*, const char*, void*, unsigned) {
  errno = EINVAL;
  return nullptr;
}
char* xs_debug_command(xs_handle* h, const char* cmd, void* data, unsigned len) {
  return xs_control_command(h, cmd, data, len);
}

// Where a domain listens for the wish to suspend it; -1 when it does not.
int xs_suspend_evtchn_port(int domid) {
  return AtBorder([&] {
    std::string port;
    const std::string path =
        "/local/domain/" + std::to_string(domid) + "/device/suspend/event-channel";
    if (TheStore().Read(0, path, &port) != 0) return -1;
    return static_cast<int>(std::strtol(port.c_str(), nullptr, 10));
  });
}

// Of no header that is installed, but exported by the original.
bool xs_write_all(int fd, const void* data, unsigned len) {
  const auto* at = static_cast<const char*>(data);
  while (len != 0) {
    const ssize_t done = write(fd, at, len);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return false;
    at += done;
    len -= static_cast<unsigned>(done);
  }
  return true;
}

// Permissions as the protocol spells them: a letter and a domain id each, "r5".
bool xs_strings_to_perms(xs_permissions* perms, unsigned num, const char* strings) {
  for (unsigned i = 0; i < num; ++i, strings += std::strlen(strings) + 1) {
    switch (strings[0]) {
      case 'r':
        perms[i].perms = XS_PERM_READ;
        break;
      case 'w':
        perms[i].perms = XS_PERM_WRITE;
        break;
      case 'b':
        perms[i].perms = XS_PERM_READ | XS_PERM_WRITE;
        break;
      case 'n':
        perms[i].perms = XS_PERM_NONE;
        break;
      default:
        return OrErrno(EINVAL);
    }
    char* end = nullptr;
    perms[i].id = static_cast<unsigned>(std::strtoul(strings + 1, &end, 10));
    if (end == strings + 1 || *end != '\0') return OrErrno(EINVAL);
  }
  return true;
}

}  // extern "C"
