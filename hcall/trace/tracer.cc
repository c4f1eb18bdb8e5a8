#include "hcall/trace/tracer.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <optional>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "hcall/transport/announce.h"
#include "hcall/transport/file_descriptor.h"

namespace xencomm::trace {
namespace {

namespace fs = std::filesystem;

// The letters of Xen's devices: privcmd, gntdev and gntalloc, evtchn.
constexpr std::uint8_t kLetters[] = {'P', 'G', 'E'};

constexpr unsigned kOptions = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC;
constexpr unsigned kFollowing = PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK;

template <class Clock>
std::uint64_t Now() {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now().time_since_epoch())
          .count());
}

// Stops this thread at an ioctl with one of the letters, at seccomp(), and at no other system
// call.
bool FilterSystemCalls() {
  constexpr auto at = [](std::size_t offset) { return static_cast<std::uint32_t>(offset); };
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at(offsetof(seccomp_data, arch))),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 9),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at(offsetof(seccomp_data, nr))),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_seccomp, 6, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 6),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at(offsetof(seccomp_data, args[1]))),
      BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xff00),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kLetters[0] << 8, 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kLetters[1] << 8, 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kLetters[2] << 8, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  sock_fprog filter = {.len = std::size(program), .filter = program};
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0) return true;
  // Who may not filter others' rights filters those who can gain none.
  return errno == EACCES && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

bool IsZombie(pid_t thread) { return absl::StartsWith(StatusOf(thread, "State"), "Z"); }

absl::Status CannotAttach(pid_t process, int error) {
  if (error == ESRCH) {
    return absl::NotFoundError(absl::StrFormat("there is no process %d", process));
  }
  int tracer = 0;
  if (absl::SimpleAtoi(StatusOf(process, "TracerPid"), &tracer) && tracer != 0) {
    return absl::FailedPreconditionError(
        absl::StrFormat("process %d is traced already, by process %d", process, tracer));
  }
  return absl::PermissionDeniedError(absl::StrFormat(
      "process %d may not be traced (%s): expected one of this user's, or to be root", process,
      strerrordesc_np(error)));
}

}  // namespace

// --- Beginning -----------------------------------------------------------------------------------

TracedThread* Tracer::Add(pid_t id) {
  auto& thread = threads_[id];
  if (thread != nullptr) return thread.get();
  thread = std::make_unique<TracedThread>();
  thread->id = id;
  const std::optional<TracedProcess> found = LookUpProcess(id);
  const pid_t process = found ? found->id : id;
  auto& shared = processes_[process];
  const bool is_new = shared == nullptr;
  if (is_new) {
    shared = std::make_unique<TracedProcess>(found.value_or(TracedProcess()));
    shared->id = process;
  }
  thread->process = shared.get();
  thread->is_shown = options_.follows || started_ == 0 || id == started_;
  if (is_new && found && thread->is_shown && id != started_) listener_.event(*shared, "attached");
  return thread.get();
}

absl::Status Tracer::Start(char** program) {
  int ready[2], failed[2];
  if (pipe2(ready, O_CLOEXEC) != 0 || pipe2(failed, O_CLOEXEC) != 0) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no pipe can be had: ", strerrordesc_np(errno)));
  }
  const FileDescriptor ready_read(ready[0]), failed_read(failed[0]);
  std::optional<FileDescriptor> ready_write(ready[1]), failed_write(failed[1]);
  const pid_t child = fork();
  if (child < 0) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no process can be had: ", strerrordesc_np(errno)));
  }
  if (child == 0) {
    ready_write.reset();
    char seized;
    if (read(ready_read.get(), &seized, 1) != 1) _exit(127);
    int error = 0;
    if (!FilterSystemCalls()) {
      error = -errno;
    } else {
      // Whether that is seen decides how all others are watched.
      xencomm_announce(XENCOMM_ANNOUNCED_END, nullptr);
      setenv(XENCOMM_TRACED_VARIABLE, "1", 1);
      execvp(program[0], program);
      error = errno;
    }
    (void)!write(failed_write->get(), &error, sizeof(error));
    _exit(error == ENOENT ? 127 : 126);
  }
  failed_write.reset();
  started_ = child;
  ++own_filters_;
  const std::uint64_t options = kOptions | kFollowing | PTRACE_O_TRACESECCOMP | PTRACE_O_EXITKILL;
  if (Trace(PTRACE_SEIZE, child, 0, reinterpret_cast<void*>(options)) != 0) {
    const int error = errno;
    ready_write.reset();
    (void)waitpid(child, nullptr, 0);
    return CannotAttach(child, error);
  }
  Add(child);
  if (write(ready_write->get(), "", 1) != 1) return absl::InternalError("the program is gone");
  // It stops on its way to the program, which has to be gone on with.
  for (;;) {
    int status;
    const pid_t waited = waitpid(child, &status, __WALL);
    if (waited < 0 && errno == EINTR) continue;
    const bool has_begun =
        waited == child && WIFSTOPPED(status) && status >> 16 == PTRACE_EVENT_EXEC;
    if (has_begun || waited < 0) {
      statuses_.Keep(child, status);
      return absl::OkStatus();
    }
    if (!WIFSTOPPED(status)) {
      int error = 0;
      if (read(failed_read.get(), &error, sizeof(error)) != sizeof(error)) error = 0;
      threads_.clear();
      if (error < 0) {
        return absl::PermissionDeniedError(
            absl::StrCat("system calls cannot be filtered (seccomp): ", strerrordesc_np(-error)));
      }
      return error == ENOENT ? absl::NotFoundError(absl::StrFormat(
                                   "'%s' cannot be run: %s", program[0], strerrordesc_np(error)))
                             : absl::PermissionDeniedError(absl::StrFormat(
                                   "'%s' cannot be run: %s", program[0], strerrordesc_np(error)));
    }
    stops_by_filter_ |= status >> 16 == PTRACE_EVENT_SECCOMP;
    Resume(*threads_[child],
           status >> 16 == 0 && WSTOPSIG(status) != (SIGTRAP | 0x80) ? WSTOPSIG(status) : 0);
  }
}

absl::Status Tracer::Attach(pid_t process) {
  const std::uint64_t options = kOptions | (options_.follows ? kFollowing : 0);
  const auto seize = [&](pid_t thread) {
    if (threads_.contains(thread)) return 0;
    if (Trace(PTRACE_SEIZE, thread, 0, reinterpret_cast<void*>(options)) != 0 ||
        Trace(PTRACE_INTERRUPT, thread, 0, nullptr) != 0) {
      return errno;
    }
    Add(thread);
    return 0;
  };
  const int error = seize(process);
  if (error != 0) return CannotAttach(process, error);
  SetAnnouncing(*threads_[process]->process, true);
  if (!options_.follows) return absl::OkStatus();
  // Its other threads, and those that they start meanwhile.
  for (std::size_t known = 0; known != threads_.size();) {
    known = threads_.size();
    std::error_code gone;
    for (const auto& task :
         fs::directory_iterator(absl::StrFormat("/proc/%d/task", process), gone)) {
      pid_t thread = 0;
      if (absl::SimpleAtoi(task.path().filename().string(), &thread)) (void)seize(thread);
    }
  }
  return absl::OkStatus();
}

// --- Going on ------------------------------------------------------------------------------------

int Tracer::Run(const std::function<bool()>& is_over) {
  while (!threads_.empty() && !is_over()) {
    int status;
    const pid_t id = statuses_.Next(&status);
    if (id < 0) break;  // there is nobody left
    if (id > 0) Handle(id, status);
  }
  if (!threads_.empty()) DetachAll();
  return started_status_;
}

void Tracer::Resume(const TracedThread& thread, int signal) {
  // Every stop takes back that one was asked for.
  if (is_leaving_) (void)Trace(PTRACE_INTERRUPT, thread.id, 0, nullptr);
  // A call's end is wanted, too.
  const bool by_filter = stops_by_filter_ && !thread.call;
  (void)Trace(by_filter ? PTRACE_CONT : PTRACE_SYSCALL, thread.id, 0,
              reinterpret_cast<void*>(static_cast<std::uint64_t>(signal)));
}

void Tracer::Forget(pid_t id, int status) {
  const auto found = threads_.find(id);
  if (found == threads_.end()) return;
  TracedThread& thread = *found->second;
  if (thread.call) Tell(thread);
  TracedProcess* const process = thread.process;
  const bool is_shown = thread.is_shown && id == process->id;
  threads_.erase(found);
  if (is_shown) {
    if (WIFSIGNALED(status)) {
      const char* const name = sigabbrev_np(WTERMSIG(status));
      listener_.event(*process, name != nullptr
                                    ? absl::StrCat("killed by SIG", name)
                                    : absl::StrCat("killed by signal ", WTERMSIG(status)));
    } else {
      listener_.event(*process, absl::StrCat("exited with ", WEXITSTATUS(status)));
    }
  }
  if (id == started_) started_status_ = status;
  for (const auto& [other, its] : threads_) {
    if (its->process == process) return;
  }
  processes_.erase(process->id);
}

void Tracer::Handle(pid_t id, int status) {
  if (!WIFSTOPPED(status)) {
    Forget(id, status);
    return;
  }
  TracedThread& thread = *Add(id);
  const int signal = WSTOPSIG(status);
  const int event = status >> 16;
  if (event != 0) {
    HandleEvent(thread, event, signal);
  } else if (signal == (SIGTRAP | 0x80)) {
    HandleSystemCall(thread);
  } else {
    Resume(thread, signal);
  }
}

void Tracer::HandleEvent(TracedThread& thread, int event, int signal) {
  switch (event) {
    case PTRACE_EVENT_SECCOMP:
      if (!thread.call) {
        HandleSystemCall(thread);
        return;
      }
      break;
    case PTRACE_EVENT_EXEC: {
      // Whichever thread it was, it is the process's first now, and all others are gone.
      const pid_t process = thread.id;
      std::vector<pid_t> gone;
      for (const auto& [id, each] : threads_) {
        if (each->process == thread.process && id != process) gone.push_back(id);
      }
      for (const pid_t each : gone) {
        if (threads_[each]->call) Tell(*threads_[each]);
        threads_.erase(each);
      }
      if (thread.call) Tell(thread);
      thread.announced = 0;
      if (const auto now = LookUpProcess(process)) *thread.process = *now;
      if (thread.is_shown && thread.process->is_32_bit) {
        listener_.event(*thread.process, "is a program of 32 bits now: its calls are not shown");
      }
      break;
    }
    case PTRACE_EVENT_STOP:
      // Stopped as by ^Z: until somebody wakes it.
      if (signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU) {
        (void)Trace(PTRACE_LISTEN, thread.id, 0, nullptr);
        return;
      }
      break;
    case PTRACE_EVENT_FORK:
    case PTRACE_EVENT_VFORK:
    case PTRACE_EVENT_CLONE: {
      unsigned long child = 0;
      if (Trace(PTRACE_GETEVENTMSG, thread.id, 0, &child) != 0) break;
      TracedProcess& process = *Add(static_cast<pid_t>(child))->process;
      process.announcers = thread.process->announcers;
      break;
    }
    default:
      break;
  }
  Resume(thread);
}

bool Tracer::IsTheirs(const TracedThread& thread, std::uint64_t request, std::uint64_t file,
                      std::string* path) const {
  const auto letter = static_cast<std::uint8_t>(request >> 8);
  if (!absl::c_linear_search(kLetters, letter)) return false;
  std::error_code error;
  *path = fs::read_symlink(
              absl::StrFormat("/proc/%d/fd/%d", thread.id, static_cast<std::int32_t>(file)), error)
              .string();
  // A number that is known is theirs wherever the device is; another one where it is called so.
  return IsDeviceRequest(request) || absl::StrContains(*path, "/xen/");
}

void Tracer::HandleSystemCall(TracedThread& thread) {
  __ptrace_syscall_info info = {};
  if (Trace(PTRACE_GET_SYSCALL_INFO, thread.id, sizeof(info), &info) <= 0) {
    Resume(thread);
    return;
  }
  if (info.op == PTRACE_SYSCALL_INFO_EXIT) {
    if (thread.call && thread.announced == 0) {
      EndCall(thread, StoppedThread::Stop::kExit, info.exit.rval);
    } else {
      if (std::exchange(thread.is_announcing, false))
        thread.began = Now<std::chrono::steady_clock>();
      Resume(thread);
    }
    return;
  }
  const auto& [number, arguments] = info.entry;
  // The kernel looks at 32 bits of a request.
  const std::uint64_t request = arguments[1] & 0xffffffff;
  if (info.arch != AUDIT_ARCH_X86_64) {
    Resume(thread);
    return;
  }
  // From now on a supervisor of theirs is told of system calls, and not a filter of ours.
  if (number == SYS_seccomp && (arguments[1] & SECCOMP_FILTER_FLAG_NEW_LISTENER) != 0) {
    stops_by_filter_ = false;
  }
  if (number == SYS_ioctl && static_cast<std::int32_t>(arguments[0]) == XENCOMM_ANNOUNCED) {
    HandleAnnouncement(thread, request, arguments[2]);
    return;
  }
  std::string path;
  if (number == SYS_ioctl && thread.is_shown && !thread.call &&
      IsTheirs(thread, request, arguments[0], &path)) {
    BeginCall(thread, request, arguments[2], path);
  } else {
    Resume(thread);
  }
}

// --- Calls ---------------------------------------------------------------------------------------

void Tracer::BeginCall(TracedThread& thread, std::uint64_t request, std::uint64_t argument,
                       const std::string& path) {
  CapturedCall call;
  call.process = thread.process->id;
  call.thread = thread.id;
  call.program = thread.process->name;
  call.file = path;
  call.request = request;
  call.argument = argument;
  StoppedThread stopped(thread, StoppedThread::Stop::kEntry, own_filters_, statuses_);
  CaptureBefore(call, stopped, options_.reading, options_.most);
  if (call.unread.empty()) call.unread = stopped.unread();
  const int ended = stopped.Finish();
  call.time = Now<std::chrono::system_clock>();
  thread.call = std::move(call);
  if (ended != 0) {
    Handle(thread.id, ended);
    return;
  }
  thread.began = Now<std::chrono::steady_clock>();
  Resume(thread);
}

// Of a call that no system call carries.
void Tracer::HandleAnnouncement(TracedThread& thread, std::uint64_t request,
                                std::uint64_t argument) {
  if (!thread.is_shown) {
    Resume(thread);
    return;
  }
  if (request != XENCOMM_ANNOUNCED_END) {
    if (thread.announced++ == 0 && !thread.call && IsDeviceRequest(request)) {
      thread.is_announcing = true;
      BeginCall(thread, request, argument, "");
    } else {
      Resume(thread);
    }
    return;
  }
  if (thread.announced != 0) --thread.announced;
  if (!thread.call) {
    Resume(thread);
    return;
  }
  // It lies on the program's stack, which anybody can read.
  xencomm_announced_end end = {};
  iovec ours = {&end, sizeof(end)};
  iovec theirs = {reinterpret_cast<void*>(argument), sizeof(end)};
  (void)process_vm_readv(thread.id, &ours, 1, &theirs, 1, 0);
  thread.call->continuations += end.continuations;
  if (thread.announced != 0) {
    Resume(thread);
    return;
  }
  EndCall(thread, StoppedThread::Stop::kEntry, end.result);
}

void Tracer::EndCall(TracedThread& thread, StoppedThread::Stop stop, std::int64_t result) {
  CapturedCall& call = *thread.call;
  call.duration = Now<std::chrono::steady_clock>() - thread.began;
  call.result = result;
  StoppedThread stopped(thread, stop, own_filters_, statuses_);
  CaptureAfter(call, stopped, options_.reading, options_.most);
  if (call.unread.empty()) call.unread = stopped.unread();
  const int ended = stopped.Finish();
  Tell(thread);
  if (ended != 0) {
    Handle(thread.id, ended);
  } else {
    Resume(thread);
  }
}

void Tracer::Tell(TracedThread& thread) {
  listener_.call(*thread.call);
  thread.call.reset();
}

// --- The end -------------------------------------------------------------------------------------

void Tracer::DetachAll() {
  is_leaving_ = true;
  // The first thread of a process may have ended long ago, and is heard of when all others have.
  std::erase_if(threads_, [](const auto& each) {
    return Trace(PTRACE_INTERRUPT, each.first, 0, nullptr) != 0 && IsZombie(each.first);
  });
  while (!threads_.empty()) {
    int status;
    const pid_t id = statuses_.Next(&status);
    if (id < 0) break;
    if (id == 0) continue;
    if (!WIFSTOPPED(status)) {
      Forget(id, status);
    } else {
      Detach(*Add(id), status);
    }
  }
  processes_.clear();
}

// Once it has stopped as it was asked to, or as by ^Z, which it stays.
void Tracer::Detach(TracedThread& thread, int status) {
  if (status >> 16 != PTRACE_EVENT_STOP) {
    // It goes on, to where it is asked to stop; a child may come of it.
    Handle(thread.id, status);
    return;
  }
  SetAnnouncing(*thread.process, false);
  if (thread.call) Tell(thread);  // it is not seen how that ends
  (void)Trace(PTRACE_DETACH, thread.id, 0, nullptr);
  TracedProcess& process = *thread.process;
  const bool is_first = thread.id == process.id;
  const bool is_shown = thread.is_shown;
  threads_.erase(thread.id);
  if (!is_first) return;
  if (started_ != 0) {
    // There is nobody any more whom the filter could ask.
    listener_.event(process, "runs on alone: its system calls to Xen's devices fail from now on");
  } else if (is_shown) {
    listener_.event(process, "detached");
  }
}

}  // namespace xencomm::trace
