#include "hcall/devices/supervised/filter.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <initializer_list>
#include <vector>

#include "hcall/devices/supervised/path_calls.h"
#include "xencomm/sentence.h"

namespace xencomm::devices {
namespace {

// Linux 5.19; Debian 12's headers have it, older ones do not.
constexpr unsigned kWaitKillable = 1u << 5;

constexpr std::uint32_t kLowArgument(unsigned i) {
  return static_cast<std::uint32_t>(offsetof(seccomp_data, args) + i * sizeof(std::uint64_t));
}
constexpr std::uint32_t kHighArgument(unsigned i) { return kLowArgument(i) + 4; }

// Instructions, each of which leads to the next one or decides.
class Rules {
 public:
  void Load(std::uint32_t offset) { Add(BPF_LD | BPF_W | BPF_ABS, offset); }
  void Do(std::uint16_t operation, std::uint32_t value) {
    Add(static_cast<std::uint16_t>(BPF_ALU | BPF_K | operation), value);
  }
  // When the comparison holds, or does not.
  void If(std::uint16_t comparison, std::uint32_t value, std::uint32_t decision) {
    Add(static_cast<std::uint16_t>(BPF_JMP | BPF_K | comparison), value, 0, 1);
    Decide(decision);
  }
  void Unless(std::uint16_t comparison, std::uint32_t value, std::uint32_t decision) {
    Add(static_cast<std::uint16_t>(BPF_JMP | BPF_K | comparison), value, 1, 0);
    Decide(decision);
  }
  void Decide(std::uint32_t decision) { Add(BPF_RET | BPF_K, decision); }
  // `rest` decides, for this system call; what comes after it is for others.
  void ForCall(int number, const Rules& rest) {
    Add(BPF_JMP | BPF_K | BPF_JEQ, static_cast<std::uint32_t>(number), 0,
        static_cast<std::uint8_t>(rest.code_.size()));
    code_.insert(code_.end(), rest.code_.begin(), rest.code_.end());
  }

  std::vector<sock_filter>& code() { return code_; }

 private:
  void Add(std::uint16_t code, std::uint32_t k, std::uint8_t jt = 0, std::uint8_t jf = 0) {
    code_.push_back({.code = code, .jt = jt, .jf = jf, .k = k});
  }

  std::vector<sock_filter> code_;
};

constexpr std::uint32_t kAllow = SECCOMP_RET_ALLOW;
constexpr std::uint32_t kTell = SECCOMP_RET_USER_NOTIF;

// Of an address in argument `i`: in the rooms or not.
void TellOfRooms(Rules& rules, unsigned i) {
  rules.Load(kHighArgument(i));
  rules.Unless(BPF_JGE, kRoomStart >> 32, kAllow);
  rules.If(BPF_JGE, kRoomEnd >> 32, kAllow);
  rules.Decide(kTell);
}

Rules MakeRules() {
  Rules rules;
  rules.Load(offsetof(seccomp_data, arch));
  rules.Unless(BPF_JEQ, AUDIT_ARCH_X86_64, kAllow);
  rules.Load(offsetof(seccomp_data, nr));
  for (const int number : PathCallNumbers()) {
    rules.If(BPF_JEQ, static_cast<std::uint32_t>(number), kTell);
  }
  for (const int number :
       {SYS_fstat, SYS_execve, SYS_execveat, SYS_chdir, SYS_getcwd, SYS_connect, SYS_bind}) {
    rules.If(BPF_JEQ, static_cast<std::uint32_t>(number), kTell);
  }
  // privcmd's, evtchn's and gntdev's, by their letters.
  Rules ioctl;
  ioctl.Load(kLowArgument(1));
  ioctl.Do(BPF_RSH, 8);
  ioctl.Do(BPF_AND, 0xff);
  for (const char letter : {'P', 'E', 'G'}) {
    ioctl.If(BPF_JEQ, static_cast<std::uint32_t>(letter), kTell);
  }
  ioctl.Decide(kAllow);
  rules.ForCall(SYS_ioctl, ioctl);
  Rules mmap;
  mmap.Load(kHighArgument(4));
  mmap.If(BPF_JEQ, kOwnMapping, kAllow);
  mmap.Load(kLowArgument(3));
  mmap.Unless(BPF_JSET, MAP_ANONYMOUS, kTell);
  mmap.Unless(BPF_JSET, MAP_FIXED, kAllow);
  TellOfRooms(mmap, 0);
  rules.ForCall(SYS_mmap, mmap);
  for (const int number : {SYS_munmap, SYS_mremap}) {
    Rules change;
    TellOfRooms(change, 0);
    rules.ForCall(number, change);
  }
  rules.Decide(kAllow);
  return rules;
}

const char* Why(int error) {
  switch (error) {
    case EBUSY:
      return "this process has a supervisor already, as in another 'xencomm run --static'";
    case EINVAL:
      return "Linux before 5.19 has no notifications that wait";
    default:
      return strerrordesc_np(error);
  }
}

}  // namespace

absl::StatusOr<FileDescriptor> InstallFilter() {
  std::vector<sock_filter> code = std::move(MakeRules().code());
  sock_fprog program = {.len = static_cast<unsigned short>(code.size()), .filter = code.data()};
  long listener = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (listener == 0) {
    listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                       SECCOMP_FILTER_FLAG_NEW_LISTENER | kWaitKillable, &program);
  }
  if (listener >= 0) return FileDescriptor(static_cast<int>(listener));
  return absl::UnavailableError(
      Sentence("--static: system calls cannot be supervised: %s", Why(errno)));
}

}  // namespace xencomm::devices
