#include "hcall/devices/supervised/other_program.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "hcall/devices/supervised/filter.h"
#include "hcall/transport/machine/message.h"

namespace xencomm::devices {
namespace {

constexpr std::uint64_t kPageSize = 4096;
constexpr std::uint64_t kEnd = std::uint64_t{1} << 56;
// A system call is an instruction of two bytes, which a thread has behind it.
constexpr std::uint64_t kInstruction = 2;
// Of one look at a program's memory.
constexpr std::uint64_t kMostPiece = 64 << 10;

iovec Range(std::uint64_t address, std::size_t bytes) {
  return {.iov_base = std::bit_cast<void*>(address), .iov_len = bytes};
}

}  // namespace

bool ReadMemory(pid_t thread, std::uint64_t address, void* to, std::size_t bytes) {
  const iovec own = {.iov_base = to, .iov_len = bytes};
  const iovec theirs = Range(address, bytes);
  return bytes == 0 ||
         process_vm_readv(thread, &own, 1, &theirs, 1, 0) == static_cast<ssize_t>(bytes);
}

bool WriteMemory(pid_t thread, std::uint64_t address, const void* from, std::size_t bytes) {
  const iovec own = {.iov_base = const_cast<void*>(from), .iov_len = bytes};
  const iovec theirs = Range(address, bytes);
  return bytes == 0 ||
         process_vm_writev(thread, &own, 1, &theirs, 1, 0) == static_cast<ssize_t>(bytes);
}

std::optional<std::string> ReadText(pid_t thread, std::uint64_t address, std::size_t most) {
  std::string text;
  char piece[256];
  while (text.size() < most) {
    const std::uint64_t place = address + text.size();
    // No piece crosses into a page that may not be there.
    const std::size_t wanted =
        std::min({sizeof(piece), kPageSize - place % kPageSize, most - text.size()});
    if (!ReadMemory(thread, place, piece, wanted)) return std::nullopt;
    const std::size_t length = strnlen(piece, wanted);
    text.append(piece, length);
    if (length < wanted) return text;
  }
  return std::nullopt;
}

OtherProgram::OtherProgram(pid_t process, int listener, Ended ended)
    : process_(process),
      listener_(listener),
      ended_(std::move(ended)),
      pidfd_(static_cast<int>(syscall(SYS_pidfd_open, process, 0))),
      memory_(open(absl::StrCat("/proc/", process, "/mem").c_str(), O_RDONLY | O_CLOEXEC)) {}

bool OtherProgram::IsThere() const {
  // What is not mapped is an error; of memory that is no more there is nothing to read.
  char byte;
  return pidfd_.is_open() && pread(memory_.get(), &byte, 1, 0) != 0;
}

std::string OtherProgram::proc() const { return absl::StrCat("/proc/", process_); }

void OtherProgram::Begin(const seccomp_notif& notification) {
  notification_ = notification;
  thread_ = static_cast<pid_t>(notification.pid);
  state_ = State::kWaiting;
}

void OtherProgram::Finish(std::int64_t result) {
  if (state_ == State::kWaiting) {
    seccomp_notif_resp answer = {.id = notification_.id, .val = 0, .error = 0, .flags = 0};
    if (result < 0 && result >= -4095) {
      answer.error = static_cast<int>(result);
    } else {
      answer.val = result;
    }
    ioctl(listener_, SECCOMP_IOCTL_NOTIF_SEND, &answer);
    return;
  }
  GoOn(registers_.rip, static_cast<std::uint64_t>(result));
}

bool OtherProgram::MakeCallAgain() {
  if (state_ != State::kStopped) return false;
  GoOn(registers_.rip - kInstruction, static_cast<std::uint64_t>(notification_.data.nr));
  return true;
}

void OtherProgram::GoOn(std::uint64_t instruction, std::uint64_t rax) {
  for (const auto& [own, theirs] : lent_) Call(SYS_close, static_cast<std::uint64_t>(theirs));
  lent_.clear();
  if (state_ == State::kGone) return;
  registers_.rip = instruction;
  registers_.rax = rax;
  ptrace(PTRACE_SETREGS, thread_, nullptr, &registers_);
  ptrace(PTRACE_SETSIGMASK, thread_, sizeof(blocked_), &blocked_);
  // One that was killed meanwhile is waited for here, or else its parent waits for ever.
  int status;
  if (ptrace(PTRACE_DETACH, thread_, nullptr, nullptr) != 0) Await(&status);
}

int OtherProgram::Stop(int fd) {
  if (state_ == State::kStopped) return fd == -1 || lent_.contains(fd) ? 0 : -EBADF;
  if (state_ == State::kGone) return -ESRCH;
  if (ptrace(PTRACE_SEIZE, thread_, nullptr, PTRACE_O_TRACESYSGOOD) != 0) return -EPERM;
  // Later nothing can be lent: so also what a failure is undone with.
  std::set<int> files = mapped_;
  if (fd != -1) files.insert(fd);
  int error = 0;
  for (const int lent : files) {
    seccomp_notif_addfd add = {.id = notification_.id,
                               .flags = 0,
                               .srcfd = static_cast<std::uint32_t>(lent),
                               .newfd = 0,
                               .newfd_flags = O_CLOEXEC};
    const int theirs = ioctl(listener_, SECCOMP_IOCTL_NOTIF_ADDFD, &add);
    if (theirs < 0) {
      error = -ENOMEM;
      break;
    }
    lent_[lent] = theirs;
  }
  ptrace(PTRACE_INTERRUPT, thread_, nullptr, nullptr);
  // It waits until it is answered, whatever signals come, and then stops before anything else.
  seccomp_notif_resp answer = {.id = notification_.id, .val = 0, .error = 0, .flags = 0};
  ioctl(listener_, SECCOMP_IOCTL_NOTIF_SEND, &answer);
  state_ = State::kStopped;
  int status;
  if (!Await(&status) || ptrace(PTRACE_GETREGS, thread_, nullptr, &registers_) != 0) return -ESRCH;
  registers_.orig_rax = ~std::uint64_t{0};
  std::uint64_t all = ~std::uint64_t{0};
  ptrace(PTRACE_GETSIGMASK, thread_, sizeof(blocked_), &blocked_);
  ptrace(PTRACE_SETSIGMASK, thread_, sizeof(all), &all);
  return error;
}

bool OtherProgram::Await(int* status) {
  pid_t waited;
  while ((waited = waitpid(thread_, status, __WALL)) < 0 && errno == EINTR) {
  }
  if (waited == thread_ && WIFSTOPPED(*status)) return true;
  state_ = State::kGone;
  if (waited == thread_) ended_(thread_, *status);
  return false;
}

std::int64_t OtherProgram::Call(long number, std::uint64_t a, std::uint64_t b, std::uint64_t c,
                                std::uint64_t d, std::uint64_t e, std::uint64_t f) {
  if (state_ != State::kStopped) return -ESRCH;
  user_regs_struct registers = registers_;
  registers.rip -= kInstruction;
  registers.rax = static_cast<std::uint64_t>(number);
  registers.rdi = a;
  registers.rsi = b;
  registers.rdx = c;
  registers.r10 = d;
  registers.r8 = e;
  registers.r9 = f;
  ptrace(PTRACE_SETREGS, thread_, nullptr, &registers);
  // It stops before the call and behind it; for another reason only when its process is stopped.
  constexpr int kSystemCall = SIGTRAP | 0x80;
  int stops = 0;
  std::uint64_t signal = 0;
  while (stops < 2) {
    if (ptrace(PTRACE_SYSCALL, thread_, nullptr, signal) != 0 && errno != ESRCH) return -ESRCH;
    int status;
    if (!Await(&status)) return -ESRCH;
    const bool is_event = status >> 16 != 0;
    if (WSTOPSIG(status) == kSystemCall) ++stops;
    signal = is_event || WSTOPSIG(status) == kSystemCall
                 ? 0
                 : static_cast<std::uint64_t>(WSTOPSIG(status));
  }
  if (ptrace(PTRACE_GETREGS, thread_, nullptr, &registers) != 0) return -ESRCH;
  return static_cast<std::int64_t>(registers.rax);
}

FileDescriptor OtherProgram::Fetch(int fd) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return FileDescriptor();
  const FileDescriptor own(ends[0]), lent(ends[1]);
  if (Stop(lent.get()) != 0) return FileDescriptor();
  // The message lies in a page of its own.
  struct {
    msghdr header = {};
    iovec part = {};
    std::uint64_t word = 0;
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  } sent;
  const std::int64_t room = Call(SYS_mmap, 0, sizeof(sent), PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS, ~std::uint64_t{0}, 0);
  if (room < 0) return FileDescriptor();
  const auto place = static_cast<std::uint64_t>(room);
  const auto theirs = [&](const auto* of) {
    return std::bit_cast<void*>(
        place + (std::bit_cast<std::uint64_t>(of) - std::bit_cast<std::uint64_t>(&sent)));
  };
  sent.part = {.iov_base = theirs(&sent.word), .iov_len = sizeof(sent.word)};
  sent.header.msg_control = sent.control;
  sent.header.msg_controllen = sizeof(sent.control);
  cmsghdr* const beside = CMSG_FIRSTHDR(&sent.header);
  beside->cmsg_level = SOL_SOCKET;
  beside->cmsg_type = SCM_RIGHTS;
  beside->cmsg_len = CMSG_LEN(sizeof(fd));
  std::memcpy(CMSG_DATA(beside), &fd, sizeof(fd));
  sent.header.msg_control = theirs(sent.control);
  sent.header.msg_iov = static_cast<iovec*>(theirs(&sent.part));
  sent.header.msg_iovlen = 1;
  machine::Message message;
  const bool is_sent = WriteMemory(thread_, place, &sent, sizeof(sent)) &&
                       Call(SYS_sendmsg, static_cast<std::uint64_t>(lent_[lent.get()]), place,
                            MSG_DONTWAIT) == static_cast<std::int64_t>(sizeof(sent.word));
  Call(SYS_munmap, place, sizeof(sent));
  if (!is_sent || machine::Receive(own.get(), &message) != 0 || !message.fd) {
    return FileDescriptor();
  }
  return *std::exchange(message.fd, std::nullopt);
}

std::int64_t OtherProgram::ChangeFolder(int fd) {
  const int stopped = Stop(fd);
  return stopped != 0 ? stopped : Call(SYS_fchdir, static_cast<std::uint64_t>(lent_[fd]));
}

bool OtherProgram::CanTouch(std::uint64_t address, std::uint64_t bytes, Access) {
  if (bytes == 0) return true;
  if (address >= kEnd || bytes > kEnd - address) return false;
  // A byte of each page.
  constexpr std::size_t kAtOnce = 256;
  char touched[kAtOnce];
  std::uint64_t page = address;
  const std::uint64_t last = address + bytes - 1;
  while (page <= last) {
    iovec theirs[kAtOnce];
    std::size_t count = 0;
    for (; count < kAtOnce && page <= last; ++count) {
      theirs[count] = Range(page, 1);
      page = page / kPageSize * kPageSize + kPageSize;
    }
    const iovec own = {.iov_base = touched, .iov_len = count};
    if (process_vm_readv(thread_, &own, 1, theirs, count, 0) != static_cast<ssize_t>(count)) {
      return false;
    }
  }
  return true;
}

bool OtherProgram::Read(std::uint64_t address, void* to, std::uint64_t bytes) {
  return ReadMemory(thread_, address, to, bytes);
}

bool OtherProgram::Write(std::uint64_t address, const void* from, std::uint64_t bytes) {
  return WriteMemory(thread_, address, from, bytes);
}

Mapping OtherProgram::View(std::uint64_t address, std::uint64_t length, Access access,
                           Pieces& pieces) {
  if (!CanTouch(address, length, access)) return Fault::kNotPresent;
  const std::uint64_t bytes = std::min(length, kMostPiece);
  std::vector<std::byte>& piece = pieces.emplace_back(bytes);
  if (!Read(address, piece.data(), bytes)) return Fault::kNotPresent;
  return {piece.data(), bytes};
}

std::int64_t OtherProgram::Map(std::uint64_t address, std::size_t length, int protection, int flags,
                               int fd, std::uint64_t offset) {
  if (fd != -1) MayMap(fd);
  const int stopped = Stop(fd);
  if (stopped != 0) return stopped;
  const std::uint32_t theirs = fd == -1 ? ~std::uint32_t{0} : static_cast<std::uint32_t>(lent_[fd]);
  const auto map = [&](std::uint64_t where, int how) {
    return Call(SYS_mmap, where, length, static_cast<std::uint64_t>(protection),
                static_cast<std::uint64_t>(how), std::uint64_t{kOwnMapping} << 32 | theirs, offset);
  };
  if ((flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) != 0) return map(address, flags);
  // Round and round: what is taken is passed over.
  static std::uint64_t next = kRoomStart;
  constexpr int kTries = 1000;
  for (int i = 0; i < kTries && length < kRoomEnd - kRoomStart; ++i) {
    if (next + length > kRoomEnd) next = kRoomStart;
    const std::int64_t mapped = map(next, flags | MAP_FIXED_NOREPLACE);
    next += (length + kPageSize - 1) / kPageSize * kPageSize;
    if (mapped != -EEXIST) return mapped;
  }
  return -ENOMEM;
}

// munmap there would be told this process, which waits. The rooms are large enough.
void OtherProgram::Unmap(std::uint64_t address, std::size_t length) {
  Map(address, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

void OtherProgram::Advise(std::uint64_t address, std::size_t length, int advice) {
  Call(SYS_madvise, address, length, static_cast<std::uint64_t>(advice));
}

}  // namespace xencomm::devices
