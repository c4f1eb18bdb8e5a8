// One thread that is traced, and its process: what ptrace knows and does of them. Linux, x86-64.
#ifndef HCALL_TRACE_TRACEE_H_
#define HCALL_TRACE_TRACEE_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "hcall/trace/captured_call.h"

namespace xencomm::trace {

// What the threads of a process share.
struct TracedProcess {
  pid_t id = 0;
  pid_t own_id = 0;  // as it knows itself, in a namespace of processes
  std::string name;
  bool is_32_bit = false;
  // Where it is told to announce its calls (hcall/transport/announce.h).
  std::vector<std::uint64_t> announcers;
};

// ptrace(), whose requests glibc has as an enumeration.
long Trace(int request, pid_t thread, std::uint64_t address, void* data);

// What /proc says of a thread by a name ("State"); "": nothing, or there is no such thread.
std::string StatusOf(pid_t thread, const std::string& name);

// Tells the libraries in it that make calls without the kernel to announce them, or to stop that.
void SetAnnouncing(TracedProcess& process, bool announces);

// How many filters of system calls (seccomp) a thread is under: each has its own.
unsigned FiltersOf(pid_t thread);

// Wait statuses of traced threads. Who waits for one gets those of others, too: the first thread of
// a process that ends is not heard of before they are taken. They are kept for whoever asks next.
class WaitStatuses {
 public:
  // False: there is no such thread.
  bool WaitFor(pid_t thread, int* status);
  // Of any thread; 0: a signal came, -1: nobody is left.
  pid_t Next(int* status);
  void Keep(pid_t thread, int status) { kept_.emplace_back(thread, status); }

 private:
  std::deque<std::pair<pid_t, int>> kept_;
};

// As /proc tells of a thread's process; none: there is no such thread any more.
std::optional<TracedProcess> LookUpProcess(pid_t thread);

struct TracedThread {
  pid_t id = 0;
  TracedProcess* process = nullptr;
  bool is_shown = true;
  std::optional<CapturedCall> call;  // that it is in
  // It has announced so many calls one inside the other, of which that is the outermost; 0: a
  // system call is the call.
  unsigned announced = 0;
  bool is_announcing = false;  // that it begins
  std::uint64_t began = 0;     // of the call, by a clock that only goes forward
};

// A thread that has stopped at a system call, and what can be done with it until it goes on: its
// memory is read, and it is made to make system calls.
//
// Memory of a device is not to be had from outside: Linux copies it for nobody but its owner, and
// libxencall keeps its buffers there (/dev/xen/hypercall). So the thread copies it to pages of
// ours, by process_vm_writev to itself, before its own call begins or after it has ended. Signals
// wait meanwhile, and wrong pointers fail. The pages come and go with each stop: between stops the
// program may use any address, and have children.
class StoppedThread final : public ProgramMemory {
 public:
  enum class Stop : std::uint8_t {
    kEntry,  // a system call begins
    kExit,   // it has ended
  };

  // `own_filters`: how many filters it has that are not its own. `statuses` is borrowed.
  StoppedThread(TracedThread& thread, Stop stop, unsigned own_filters, WaitStatuses& statuses)
      : thread_(thread), stop_(stop), own_filters_(own_filters), statuses_(statuses) {}
  StoppedThread(const StoppedThread&) = delete;
  StoppedThread& operator=(const StoppedThread&) = delete;

  std::uint64_t Read(std::uint64_t address, std::span<std::byte> to) override;
  // Why something could not be read that is there; "": all could be.
  const std::string& unread() const { return unread_; }

  // Puts everything back as it was; to be called before the thread goes on. The thread's wait
  // status when it is not any more what it was, since it has ended or is another program now: that
  // is to be handled then. 0: all is well.
  int Finish();

 private:
  bool IsMapped(std::uint64_t address);
  bool CopyOut(std::uint64_t address, std::span<std::byte> to, std::uint64_t* copied);
  bool MapScratch();
  bool Begin();
  // The result; none: the thread is gone.
  std::optional<std::int64_t> Make(std::uint64_t number, const std::uint64_t (&arguments)[6]);
  bool RunToSystemCall(bool* is_exit);
  bool Restore();

  TracedThread& thread_;
  const Stop stop_;
  const unsigned own_filters_;
  WaitStatuses& statuses_;
  std::string unread_;
  // Where it has memory that it may read, from here to there, in order; none: it was not asked yet.
  std::optional<std::vector<std::pair<std::uint64_t, std::uint64_t>>> readable_;
  std::uint64_t scratch_ = 0;         // our pages in it; 0: none
  std::vector<std::byte> registers_;  // as they were, once something is made
  std::uint64_t blocked_ = 0;         // signals, as they were
  bool is_at_exit_ = false;           // of a call of ours
  int ended_ = 0;
  int held_signal_ = 0;  // that could not be blocked
};

}  // namespace xencomm::trace

#endif  // HCALL_TRACE_TRACEE_H_
