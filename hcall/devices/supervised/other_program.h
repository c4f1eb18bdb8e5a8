// A program that is another process, of which a supervisor has been told a system call: its memory
// by process_vm_readv and its like; and its mappings by system calls that its own thread makes,
// when it has been answered and before it goes on (ptrace).
#ifndef HCALL_DEVICES_SUPERVISED_OTHER_PROGRAM_H_
#define HCALL_DEVICES_SUPERVISED_OTHER_PROGRAM_H_

#include <linux/seccomp.h>
#include <sys/types.h>
#include <sys/user.h>

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "hcall/devices/program.h"
#include "hcall/transport/file_descriptor.h"

namespace xencomm::devices {

// Of any thread of any process, at most `most` bytes; nothing when it cannot be read, or has no
// end.
std::optional<std::string> ReadText(pid_t thread, std::uint64_t address, std::size_t most);
bool ReadMemory(pid_t thread, std::uint64_t address, void* to, std::size_t bytes);
bool WriteMemory(pid_t thread, std::uint64_t address, const void* from, std::size_t bytes);

class OtherProgram final : public Program, public schema::CallerMemory {
 public:
  // `ended` hears of a thread that ended while it was traced, with its status as waitpid gives it.
  using Ended = std::function<void(pid_t thread, int status)>;

  // `listener`, of the notifications, is borrowed.
  OtherProgram(pid_t process, int listener, Ended ended);
  OtherProgram(const OtherProgram&) = delete;
  OtherProgram& operator=(const OtherProgram&) = delete;

  // False once the process has ended or has become another program.
  bool IsThere() const;
  // Readable when the process has ended.
  int pidfd() const { return pidfd_.get(); }

  // All that is asked in between is for this notification, which is answered at the end by a result
  // or a negative errno.
  void Begin(const seccomp_notif& notification);
  void Finish(std::int64_t result);
  // A copy of the thread's descriptor, which it sends; it stops for that. One that is not open when
  // it cannot.
  FileDescriptor Fetch(int fd);
  // If it has stopped, it goes on by its call once more, and this notification is at its end.
  bool MakeCallAgain();

  // This process's descriptor may be mapped from now on. To a thread that is stopped nothing can be
  // lent any more: what one notification maps beside its first file is to be known before.
  void MayMap(int fd) { mapped_.insert(fd); }

  // The thread's folder becomes the one behind `fd`: 0 or a negative errno.
  std::int64_t ChangeFolder(int fd);

  bool CanTouch(std::uint64_t address, std::uint64_t bytes, Access access) override;
  bool Read(std::uint64_t address, void* to, std::uint64_t bytes) override;
  bool Write(std::uint64_t address, const void* from, std::uint64_t bytes) override;
  schema::CallerMemory* bounced_memory() override { return this; }
  Mapping View(std::uint64_t address, std::uint64_t length, Access access, Pieces& pieces) override;

  // Where the program did not say where, it is in the rooms (filter.h).
  std::int64_t Map(std::uint64_t address, std::size_t length, int protection, int flags, int fd,
                   std::uint64_t offset) override;
  void Unmap(std::uint64_t address, std::size_t length) override;
  void Advise(std::uint64_t address, std::size_t length, int advice) override;
  std::string proc() const override;

 private:
  enum class State : std::uint8_t { kWaiting, kStopped, kGone };

  // The thread stops behind its system call, with copies of these descriptors: 0 or a negative
  // errno.
  int Stop(int fd);
  // From this instruction on, with this in rax.
  void GoOn(std::uint64_t instruction, std::uint64_t rax);
  // Until the thread stops; false: it has ended.
  bool Await(int* status);
  // A system call of the stopped thread.
  std::int64_t Call(long number, std::uint64_t a = 0, std::uint64_t b = 0, std::uint64_t c = 0,
                    std::uint64_t d = 0, std::uint64_t e = 0, std::uint64_t f = 0);

  const pid_t process_;
  const int listener_;
  const Ended ended_;
  const FileDescriptor pidfd_;
  // Its memory, as it was when it was seen first: which ends when it becomes another program.
  const FileDescriptor memory_;

  seccomp_notif notification_ = {};
  pid_t thread_ = 0;
  State state_ = State::kWaiting;
  user_regs_struct registers_ = {};  // of the stopped thread, as it goes on with them
  std::uint64_t blocked_ = 0;        // its signals
  std::map<int, int> lent_;  // descriptors of this process, and what they are in the thread's
  std::set<int> mapped_;     // descriptors that are or may be mapped
};

}  // namespace xencomm::devices

#endif  // HCALL_DEVICES_SUPERVISED_OTHER_PROGRAM_H_
