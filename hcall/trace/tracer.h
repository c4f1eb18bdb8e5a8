// Watches programs make their hypercalls, from outside: by ptrace, as a debugger does. Whatever the
// program is made of and whatever library it uses, it asks Linux's devices by ioctl in the end.
//
// Programs that are started here get a filter of system calls (seccomp), so that only those ioctls
// stop them. It stays with them, and without a tracer those fail: they are traced until they end.
// Programs that are attached to stop at every system call, until they are let go of.
#ifndef HCALL_TRACE_TRACER_H_
#define HCALL_TRACE_TRACER_H_

#include <sys/types.h>
#include <unistd.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "hcall/trace/captured_call.h"
#include "hcall/trace/tracee.h"

namespace xencomm::trace {

class Tracer {
 public:
  struct Options {
    bool follows = false;  // threads, children, and what they execute
    Reading reading = {};
    std::uint64_t most = 0;  // bytes of a buffer that are kept
  };
  // Who is told, while the thread in question stands still or has ended.
  struct Listener {
    std::function<void(CapturedCall&)> call;
    // "attached", "killed by SIGSEGV" and the like, of a process.
    std::function<void(const TracedProcess&, const std::string&)> event;
  };

  Tracer(const Options& options, Listener listener)
      : options_(options), listener_(std::move(listener)) {}
  Tracer(const Tracer&) = delete;
  Tracer& operator=(const Tracer&) = delete;

  // One or the other: a program, or processes that run. Errors say in a sentence what was wrong.
  absl::Status Start(char** program);
  absl::Status Attach(pid_t process);

  // Until all have ended, or `is_over` is true when a signal came: then those that are left are let
  // go of. Of who was started here, all calls fail from then on. A started program has ended so: a
  // wait status.
  int Run(const std::function<bool()>& is_over);

  pid_t started() const { return started_; }
  bool Traces(pid_t process) const { return processes_.contains(process); }

 private:
  TracedThread* Add(pid_t id);
  void Forget(pid_t id, int status);
  void Handle(pid_t id, int status);
  void HandleEvent(TracedThread& thread, int event, int signal);
  void HandleSystemCall(TracedThread& thread);
  void BeginCall(TracedThread& thread, std::uint64_t request, std::uint64_t argument,
                 const std::string& path);
  void EndCall(TracedThread& thread, StoppedThread::Stop stop, std::int64_t result);
  void HandleAnnouncement(TracedThread& thread, std::uint64_t request, std::uint64_t argument);
  void Tell(TracedThread& thread);
  void Resume(const TracedThread& thread, int signal = 0);
  void DetachAll();
  void Detach(TracedThread& thread, int status);
  bool IsTheirs(const TracedThread& thread, std::uint64_t request, std::uint64_t file,
                std::string* path) const;

  const Options options_;
  const Listener listener_;
  std::map<pid_t, std::unique_ptr<TracedProcess>> processes_;
  std::map<pid_t, std::unique_ptr<TracedThread>> threads_;
  WaitStatuses statuses_;
  pid_t started_ = 0;
  int started_status_ = 0;
  bool is_leaving_ = false;
  // That a traced program has of us, or of whoever started this: those are not its own.
  unsigned own_filters_ = FiltersOf(getpid());
  // Whether system calls stop by it: not where a supervisor gets to know of them before.
  bool stops_by_filter_ = false;
};

}  // namespace xencomm::trace

#endif  // HCALL_TRACE_TRACER_H_
