#include "hcall/devices/supervised/supervisor.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <iterator>
#include <map>
#include <memory>
#include <new>
#include <utility>

#include "hcall/devices/device_client.h"
#include "hcall/devices/supervised/descriptors.h"
#include "hcall/devices/supervised/filter.h"
#include "hcall/devices/supervised/other_program.h"
#include "hcall/devices/supervised/path_service.h"
#include "hcall/devices/supervised/process_facts.h"
#include "hcall/transport/embedded/foreign_mappings.h"
#include "hcall/transport/machine/message.h"

namespace xencomm::devices {
namespace {

// Linux 6.6: who is answered runs on the processor of who answers.
constexpr unsigned long kSetFlags = SECCOMP_IOW(4, std::uint64_t);
constexpr std::uint64_t kWakeHere = 1;

// One that is supervised, on its machine.
class OtherClient final : public DeviceClient {
 public:
  OtherClient(const JoinedSetting& machine, pid_t process, int listener,
              const OtherProgram::Ended& ended)
      : DeviceClient(program_),
        machine_(machine),
        process_(process),
        program_(process, listener, ended) {}

  pid_t process() const { return process_; }
  OtherProgram& program() { return program_; }
  // Frames that it has unmapped, untold.
  void Sweep() {
    if (mappings_ != nullptr) mappings_->Sweep();
  }

 private:
  absl::StatusOr<std::shared_ptr<machine::Connection>> OpenConnection() override {
    return machine::Connection::Open(machine_, process_);
  }
  absl::StatusOr<embedded::ForeignMappings*> OpenMappings(
      machine::Connection& connection) override {
    const absl::StatusOr<embedded::RamFile*> memory = connection.Memory();
    if (!memory.ok()) return memory.status();
    program_.MayMap((*memory)->fd());
    mappings_ = std::make_unique<embedded::ForeignMappings>(
        connection, **memory, embedded::ProcessMaps::Source::kBest, program_);
    return mappings_.get();
  }

  const JoinedSetting machine_;
  const pid_t process_;
  OtherProgram program_;
  std::unique_ptr<embedded::ForeignMappings> mappings_;
};

class Supervisor {
 public:
  // `told` hears how `program` ended.
  Supervisor(const JoinedSetting& machine, const std::string& files, FileDescriptor listener,
             pid_t program, std::function<void(int status)> told)
      : machine_(machine),
        listener_(std::move(listener)),
        descriptors_(listener_.get(),
                     [this](pid_t ended, int status) { NoteEnded(ended, status); }),
        paths_(files, listener_.get(), descriptors_),
        program_(program),
        told_(std::move(told)) {}

  // Until nobody is left.
  void Run();

 private:
  // Of what epoll tells; a process by its number.
  enum Source : std::uint64_t { kListener = 0, kChildren = ~std::uint64_t{0} };

  // False: there is nobody any more.
  bool Receive();
  void Handle(const seccomp_notif& call);
  bool Serve(const seccomp_notif& call);
  bool ServeIoctl(const seccomp_notif& call);
  bool ServeMap(const seccomp_notif& call);
  bool ServeChange(const seccomp_notif& call);
  bool ServeOpen(const seccomp_notif& call, const PathService::Place& place, std::uint64_t flags);
  bool ServeFolder(const seccomp_notif& call);
  void Answer(const seccomp_notif& call, std::int64_t result, std::uint32_t flags = 0);
  // Its process's client, or null when that is gone.
  OtherClient* ClientOf(const seccomp_notif& call);
  // By its client: an answer to all that `work` asks of the program meanwhile.
  template <class Work>
  bool ByClient(const seccomp_notif& call, const Work& work);
  // What others may have unmapped without a word is looked after.
  void Sweep();
  // `call` unmaps what is looked after when its thread makes its next call, or soon.
  void NoteChange(const seccomp_notif& call, const OtherClient& client);
  void SweepChanged(pid_t thread);
  // `how` as waitpid's: with 0, until there is nobody.
  void TakeEnded(int how);
  void NoteEnded(pid_t process, int status);

  const JoinedSetting machine_;
  const FileDescriptor listener_;
  Descriptors descriptors_;
  PathService paths_;
  const pid_t program_;
  const std::function<void(int)> told_;
  FileDescriptor epoll_{epoll_create1(EPOLL_CLOEXEC)};
  std::map<pid_t, std::unique_ptr<OtherClient>> clients_;
  bool to_sweep_ = false;
  std::map<pid_t, pid_t> changing_;  // threads, each with its process
};

void Supervisor::Run() {
  sigset_t children;
  sigemptyset(&children);
  sigaddset(&children, SIGCHLD);
  sigprocmask(SIG_BLOCK, &children, nullptr);
  const FileDescriptor ended(signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK));
  const auto watch = [this](int fd, std::uint64_t source) {
    epoll_event event = {.events = EPOLLIN, .data = {.u64 = source}};
    epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
  };
  watch(listener_.get(), kListener);
  watch(ended.get(), kChildren);
  ioctl(listener_.get(), kSetFlags, kWakeHere);
  TakeEnded(WNOHANG);
  for (;;) {
    constexpr int kSoon = 20;  // milliseconds
    epoll_event events[16];
    const int count = epoll_wait(epoll_.get(), events, std::size(events), to_sweep_ ? kSoon : -1);
    if (count == 0) Sweep();
    for (int i = 0; i < count; ++i) {
      switch (events[i].data.u64) {
        case kListener:
          if ((events[i].events & EPOLLIN) != 0) {
            if (!Receive()) return;
          } else if ((events[i].events & EPOLLHUP) != 0) {
            // All are on their way to their ends.
            TakeEnded(0);
            return;
          }
          break;
        case kChildren: {
          signalfd_siginfo signal;
          while (read(ended.get(), &signal, sizeof(signal)) > 0) {
          }
          TakeEnded(WNOHANG);
          break;
        }
        default:
          clients_.erase(static_cast<pid_t>(events[i].data.u64));
      }
    }
  }
}

void Supervisor::TakeEnded(int how) {
  int status;
  pid_t process;
  while ((process = waitpid(-1, &status, how | __WALL)) > 0) NoteEnded(process, status);
}

void Supervisor::NoteEnded(pid_t process, int status) {
  if (process == program_) told_(status);
}

bool Supervisor::Receive() {
  seccomp_notif call = {};
  if (ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_RECV, &call) != 0) {
    // Who asked may have been killed meanwhile.
    return errno == ENOENT || errno == EINTR || errno == EAGAIN;
  }
  try {
    SweepChanged(static_cast<pid_t>(call.pid));
    Handle(call);
  } catch (const std::bad_alloc&) {
    Answer(call, -ENOMEM);
  }
  to_sweep_ = to_sweep_ || descriptors_.HasSent();
  return true;
}

void Supervisor::Handle(const seccomp_notif& call) {
  if (!Serve(call)) Answer(call, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE);
}

void Supervisor::Answer(const seccomp_notif& call, std::int64_t result, std::uint32_t flags) {
  seccomp_notif_resp answer = {.id = call.id, .val = 0, .error = 0, .flags = flags};
  if (result < 0) {
    answer.error = static_cast<int>(result);
  } else {
    answer.val = result;
  }
  ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_SEND, &answer);
}

bool Supervisor::Serve(const seccomp_notif& call) {
  switch (call.data.nr) {
    case SYS_ioctl:
      return ServeIoctl(call);
    case SYS_mmap:
      return ServeMap(call);
    case SYS_munmap:
    case SYS_mremap:
      return ServeChange(call);
    case SYS_chdir:
      return ServeFolder(call);
    case SYS_execve:
    case SYS_execveat:
      to_sweep_ = true;
      return false;
    default:
      break;
  }
  const PathService::Served served = paths_.Serve(call);
  if (served.opens) return ServeOpen(call, served.place, served.flags);
  if (served.is_served && !served.is_answered) Answer(call, served.result);
  return served.is_served;
}

OtherClient* Supervisor::ClientOf(const seccomp_notif& call) {
  const auto thread = static_cast<pid_t>(call.pid);
  const std::optional<pid_t> process = ProcessOf(thread);
  if (!process) return nullptr;
  auto found = clients_.find(*process);
  if (found != clients_.end() && found->second->program().IsThere()) return found->second.get();
  if (found != clients_.end()) clients_.erase(found);
  auto client =
      std::make_unique<OtherClient>(machine_, *process, listener_.get(),
                                    [this](pid_t ended, int status) { NoteEnded(ended, status); });
  epoll_event event = {.events = EPOLLIN, .data = {.u64 = static_cast<std::uint64_t>(*process)}};
  if (!client->program().IsThere() ||
      ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_ID_VALID, &call.id) != 0 ||
      epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, client->program().pidfd(), &event) != 0) {
    return nullptr;
  }
  return (clients_[*process] = std::move(client)).get();
}

template <class Work>
bool Supervisor::ByClient(const seccomp_notif& call, const Work& work) {
  OtherClient* const client = ClientOf(call);
  if (client == nullptr) return false;
  client->program().Begin(call);
  std::int64_t result;
  try {
    result = work(*client);
  } catch (const std::bad_alloc&) {
    result = -ENOMEM;
  }
  client->program().Finish(result);
  return true;
}

bool Supervisor::ServeIoctl(const seccomp_notif& call) {
  const FileDescriptor fd = descriptors_.SocketOf(call, static_cast<int>(call.data.args[0]));
  const DeviceFile file = xencomm_device_file_of(fd.get());
  if (file.device == XENCOMM_NO_DEVICE) return false;
  return ByClient(call, [&](OtherClient& client) {
    return client.Ioctl(fd.get(), file, static_cast<std::uint32_t>(call.data.args[1]),
                        call.data.args[2]);
  });
}

bool Supervisor::ServeMap(const seccomp_notif& call) {
  const __u64* const a = call.data.args;
  const auto flags = static_cast<int>(a[3]);
  if ((flags & MAP_ANONYMOUS) == 0) {
    const FileDescriptor fd = descriptors_.SocketOf(call, static_cast<int>(a[4]));
    const DeviceFile file = xencomm_device_file_of(fd.get());
    if (file.device != XENCOMM_NO_DEVICE) {
      return ByClient(call, [&](OtherClient& client) {
        if ((flags & MAP_FIXED) != 0) client.Unmapped(a[0], a[1]);
        return client.Map(fd.get(), file, a[0], a[1], static_cast<int>(a[2]), flags,
                          static_cast<off_t>(a[5]));
      });
    }
  }
  // In the place of what may have been a device's.
  OtherClient* const client = (flags & MAP_FIXED) != 0 ? ClientOf(call) : nullptr;
  if (client == nullptr) return false;
  client->Unmapped(a[0], a[1]);
  NoteChange(call, *client);
  return false;
}

bool Supervisor::ServeChange(const seccomp_notif& call) {
  const __u64* const a = call.data.args;
  OtherClient* const client = ClientOf(call);
  if (client == nullptr) return false;
  const std::size_t new_length = call.data.nr == SYS_mremap ? a[2] : 0;
  const int refused = client->MayChange(a[0], a[1], new_length);
  if (refused != 0) {
    Answer(call, -refused);
    return true;
  }
  client->Unmapped(a[0], a[1]);
  NoteChange(call, *client);
  return false;
}

bool Supervisor::ServeOpen(const seccomp_notif& call, const PathService::Place& place,
                           std::uint64_t flags) {
  const auto how = static_cast<int>(flags);
  if ((how & O_DIRECTORY) != 0 || (how & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL)) {
    Answer(call, (how & O_DIRECTORY) != 0 ? -ENOTDIR : -EEXIST);
    return true;
  }
  OtherClient* const client = ClientOf(call);
  if (client == nullptr) return false;
  const std::int64_t fd = client->Open(place.device, how | O_CLOEXEC);
  if (fd < 0) {
    Answer(call, fd);
    return true;
  }
  paths_.Give(call, FileDescriptor(static_cast<int>(fd)), how);
  return true;
}

bool Supervisor::ServeFolder(const seccomp_notif& call) {
  const std::optional<PathService::Place> place = paths_.PlaceOf(call, AT_FDCWD, call.data.args[0]);
  if (!place || !place->is_served) return false;
  const FileDescriptor folder(open(place->path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.is_open()) {
    Answer(call, -errno);
    return true;
  }
  return ByClient(call,
                  [&](OtherClient& client) { return client.program().ChangeFolder(folder.get()); });
}

void Supervisor::NoteChange(const seccomp_notif& call, const OtherClient& client) {
  to_sweep_ = true;
  changing_[static_cast<pid_t>(call.pid)] = client.process();
}

void Supervisor::SweepChanged(pid_t thread) {
  const auto changed = changing_.extract(thread);
  if (changed.empty()) return;
  const auto client = clients_.find(changed.mapped());
  if (client != clients_.end()) client->second->Sweep();
}

void Supervisor::Sweep() {
  changing_.clear();
  descriptors_.Sweep();
  to_sweep_ = descriptors_.HasSent();
  std::erase_if(clients_, [](const auto& each) { return !each.second->program().IsThere(); });
  for (const auto& [process, client] : clients_) client->Sweep();
}

// What the supervisor's process says to the one that started it.
struct Told {
  enum class Kind : std::uint8_t { kStarted, kEnded, kRefused } kind;
  pid_t program = 0;
  int status = 0;
  char sentence[500] = {};
};

void Tell(int socket, const Told& told) {
  static_cast<void>(send(socket, &told, sizeof(told), MSG_NOSIGNAL));
}

// The process of the program: supervised from here on.
[[noreturn]] void BecomeProgram(int socket, const std::function<int()>& execute) {
  const absl::StatusOr<FileDescriptor> listener = InstallFilter();
  if (!listener.ok()) {
    machine::SendRefusal(socket, EPERM, std::string(listener.status().message()));
    _exit(1);
  }
  machine::Send(socket, 0, {}, listener->get());
  close(listener->get());
  close(socket);
  _exit(execute());
}

// The supervisor's process.
void Supervise(const JoinedSetting& machine, const std::string& files, int parent,
               const std::function<int()>& execute) {
  // Whoever loses its parent stays below this process, which may look at it for that (Yama).
  prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return;
  const pid_t self = getpid();
  const pid_t program = fork();
  if (program < 0) return;
  if (program == 0) {
    if (machine.domain != 0) EndWithParent(self);
    close(parent);
    BecomeProgram(ends[1], execute);
  }
  close(ends[1]);
  // It ends when the program does, however that comes about.
  for (const int signal : {SIGINT, SIGQUIT, SIGTERM, SIGHUP}) std::signal(signal, SIG_IGN);
  umask(0);
  Told told = {.kind = Told::Kind::kRefused, .program = program};
  machine::Message message;
  const bool has_answered = machine::Receive(ends[0], &message) == 0;
  std::string sentence(has_answered ? machine::SentenceOf(message) : "");
  FileDescriptor listener =
      message.fd ? *std::exchange(message.fd, std::nullopt) : FileDescriptor();
  const bool may_look = MayLookAt(program);
  if (listener.is_open() && !may_look) {
    sentence =
        "--static: this process may not look at the processes that it starts: expected the right "
        "to ptrace, as a container has it with CAP_SYS_PTRACE";
    kill(program, SIGKILL);
  }
  if (!listener.is_open() || !may_look) {
    sentence.copy(told.sentence, sizeof(told.sentence) - 1);
    Tell(parent, told);
    return;
  }
  told.kind = Told::Kind::kStarted;
  Tell(parent, told);
  Supervisor(machine, files, std::move(listener), program, [&](int status) {
    Tell(parent, {.kind = Told::Kind::kEnded, .program = program, .status = status});
    // Nobody who reads what the program wrote waits for those that it left behind.
    const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) dup2(null, fd);
  }).Run();
}

}  // namespace

void EndWithParent(pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) std::raise(SIGKILL);  // before that was said
}

absl::StatusOr<int> RunSupervised(const JoinedSetting& machine, const std::string& files,
                                  const std::function<int()>& execute) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return absl::ErrnoToStatus(errno, "a socket to the supervisor");
  }
  const pid_t self = getpid();
  const pid_t supervisor = fork();
  if (supervisor < 0) return absl::ErrnoToStatus(errno, "the supervisor's process");
  if (supervisor == 0) {
    // A domain's end is that of its processes: who waits for them is one
    // (machine/domain_devices.h).
    if (machine.domain != 0) EndWithParent(self);
    close(ends[0]);
    Supervise(machine, files, ends[1], execute);
    _exit(0);
  }
  close(ends[1]);
  const FileDescriptor socket(ends[0]);
  // A terminal's signals reach the program by themselves; what is sent to this process is passed
  // on.
  static pid_t program = 0;
  for (const int terminals : {SIGINT, SIGQUIT}) std::signal(terminals, SIG_IGN);
  Told told;
  for (;;) {
    const ssize_t length = recv(socket.get(), &told, sizeof(told), 0);
    if (length < 0 && errno == EINTR) continue;
    if (length != sizeof(told)) return absl::UnavailableError("the supervisor's process has ended");
    if (told.kind == Told::Kind::kRefused) {
      return absl::UnavailableError(told.sentence[0] == '\0' ? "no process can be supervised"
                                                             : told.sentence);
    }
    if (told.kind == Told::Kind::kEnded) break;
    program = told.program;
    for (const int passed : {SIGTERM, SIGHUP}) {
      std::signal(passed, [](int number) { kill(program, number); });
    }
  }
  const int status = told.status;
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace xencomm::devices
