#include "hcall/trace/tracee.h"

#include <elf.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "hcall/transport/file_descriptor.h"

namespace xencomm::trace {
namespace {

// Ours in a process: where it is told what to copy, and where to.
constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kCopied = 16 * kPage;
constexpr std::uint64_t kScratch = kPage + kCopied;

// The length of the instruction syscall.
constexpr std::uint64_t kInstruction = 2;

user_regs_struct* Registers(std::vector<std::byte>& bytes) {
  return reinterpret_cast<user_regs_struct*>(bytes.data());
}

}  // namespace

long Trace(int request, pid_t thread, std::uint64_t address, void* data) {
  return syscall(SYS_ptrace, request, thread, address, data);
}

std::string StatusOf(pid_t thread, const std::string& name) {
  std::ifstream status(absl::StrFormat("/proc/%d/status", thread));
  const std::string begin = name + ":\t";
  std::string line;
  while (std::getline(status, line)) {
    if (line.starts_with(begin)) return line.substr(begin.size());
  }
  return "";
}

std::optional<TracedProcess> LookUpProcess(pid_t thread) {
  TracedProcess process;
  if (!absl::SimpleAtoi(StatusOf(thread, "Tgid"), &process.id)) return {};
  // Of each namespace that it is in; the innermost is the last.
  const std::vector<std::string> own_ids = absl::StrSplit(StatusOf(thread, "NStgid"), '\t');
  if (!absl::SimpleAtoi(own_ids.back(), &process.own_id)) process.own_id = process.id;
  std::getline(std::ifstream(absl::StrFormat("/proc/%d/comm", process.id)), process.name);
  char ident[5] = {};
  std::ifstream(absl::StrFormat("/proc/%d/exe", process.id)).read(ident, sizeof(ident));
  process.is_32_bit = ident[4] == 1;  // ELFCLASS32
  return process;
}

unsigned FiltersOf(pid_t thread) {
  unsigned filters = 0;
  if (absl::SimpleAtoi(StatusOf(thread, "Seccomp_filters"), &filters)) return filters;
  // Older kernels do not count them.
  return StatusOf(thread, "Seccomp") == "0" ? 0 : 1;
}

bool WaitStatuses::WaitFor(pid_t thread, int* status) {
  const auto kept =
      std::ranges::find_if(kept_, [&](const auto& each) { return each.first == thread; });
  if (kept != kept_.end()) {
    *status = kept->second;
    kept_.erase(kept);
    return true;
  }
  for (;;) {
    const pid_t waited = waitpid(-1, status, __WALL);
    if (waited == thread) return true;
    if (waited > 0) {
      Keep(waited, *status);
    } else if (errno != EINTR) {
      return false;
    }
  }
}

pid_t WaitStatuses::Next(int* status) {
  if (!kept_.empty()) {
    const auto [thread, its_status] = kept_.front();
    kept_.pop_front();
    *status = its_status;
    return thread;
  }
  const pid_t waited = waitpid(-1, status, __WALL);
  return waited < 0 && errno == EINTR ? 0 : waited;
}

namespace {

// Where a library that is mapped at `start` has a symbol; 0: it has none.
std::uint64_t AddressIn(const std::string& path, std::uint64_t start, const char* name) {
  // The path is the program's to choose: nothing is opened that is no file of the ordinary kind.
  const FileDescriptor looked_at(open(path.c_str(), O_PATH | O_CLOEXEC));
  struct stat kind;
  if (!looked_at.is_open() || fstat(looked_at.get(), &kind) != 0 || !S_ISREG(kind.st_mode))
    return 0;
  const FileDescriptor file(
      open(absl::StrFormat("/proc/self/fd/%d", looked_at.get()).c_str(), O_RDONLY | O_CLOEXEC));
  const auto read = [&](std::uint64_t at, void* to, std::size_t size) {
    return pread(file.get(), to, size, static_cast<off_t>(at)) == static_cast<ssize_t>(size);
  };
  Elf64_Ehdr header;
  if (!read(0, &header, sizeof(header)) || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
      header.e_ident[EI_CLASS] != ELFCLASS64) {
    return 0;
  }
  std::vector<Elf64_Shdr> sections(header.e_shnum);
  if (!read(header.e_shoff, sections.data(), sections.size() * sizeof(Elf64_Shdr))) return 0;
  for (const Elf64_Shdr& symbols : sections) {
    if (symbols.sh_type != SHT_DYNSYM || symbols.sh_link >= sections.size()) continue;
    const Elf64_Shdr& strings = sections[symbols.sh_link];
    constexpr std::uint64_t kMost = 16 << 20;
    if (symbols.sh_size > kMost || strings.sh_size > kMost) return 0;
    std::vector<Elf64_Sym> all(symbols.sh_size / sizeof(Elf64_Sym));
    std::string names(strings.sh_size, '\0');
    if (!read(symbols.sh_offset, all.data(), all.size() * sizeof(Elf64_Sym)) ||
        !read(strings.sh_offset, names.data(), names.size())) {
      return 0;
    }
    for (const Elf64_Sym& symbol : all) {
      if (symbol.st_name >= names.size() || symbol.st_shndx == SHN_UNDEF) continue;
      if (std::strcmp(&names[symbol.st_name], name) == 0) return start + symbol.st_value;
    }
  }
  return 0;
}

}  // namespace

void SetAnnouncing(TracedProcess& process, bool announces) {
  if (announces) {
    process.announcers.clear();
    std::ifstream maps(absl::StrFormat("/proc/%d/maps", process.id));
    std::string line;
    while (std::getline(maps, line)) {
      unsigned long start, offset;
      int path_at = 0;
      if (std::sscanf(line.c_str(), "%lx-%*x %*s %lx %*s %*s %n", &start, &offset, &path_at) != 2 ||
          offset != 0 || path_at == 0) {
        continue;
      }
      const std::string path = line.substr(static_cast<std::size_t>(path_at));
      if (!absl::StrContains(path.substr(path.rfind('/') + 1), "xencomm")) continue;
      // As the process sees it, wherever its root is.
      const std::uint64_t address = AddressIn(absl::StrFormat("/proc/%d/root%s", process.id, path),
                                              start, "xencomm_announces");
      if (address != 0) process.announcers.push_back(address);
    }
  }
  for (std::uint64_t address : process.announcers) {
    int value = announces ? 1 : 0;
    iovec ours = {&value, sizeof(value)};
    iovec theirs = {reinterpret_cast<void*>(address), sizeof(value)};
    (void)process_vm_writev(process.id, &ours, 1, &theirs, 1, 0);
  }
}

std::uint64_t StoppedThread::Read(std::uint64_t address, std::span<std::byte> to) {
  std::uint64_t done = 0;
  while (done < to.size()) {
    const std::span<std::byte> rest = to.subspan(done);
    iovec ours = {rest.data(), rest.size()};
    iovec theirs = {reinterpret_cast<void*>(address + done), rest.size()};
    const ssize_t read = process_vm_readv(thread_.id, &ours, 1, &theirs, 1, 0);
    if (read > 0) {
      done += static_cast<std::uint64_t>(read);
      continue;
    }
    std::uint64_t copied = 0;
    if (errno != EFAULT || !IsMapped(address + done) || !CopyOut(address + done, rest, &copied)) {
      break;
    }
    done += copied;
  }
  return done;
}

// With something to read, as the process knows. Bad pointers can be many: it is asked once.
bool StoppedThread::IsMapped(std::uint64_t address) {
  if (!readable_) {
    readable_.emplace();
    std::ifstream maps(absl::StrFormat("/proc/%d/maps", thread_.id));
    std::string line;
    while (std::getline(maps, line)) {
      unsigned long start, end;
      char readable;
      if (std::sscanf(line.c_str(), "%lx-%lx %c", &start, &end, &readable) != 3) continue;
      if (readable == 'r') readable_->emplace_back(start, end);
    }
  }
  const auto next = std::ranges::upper_bound(*readable_, address, {},
                                             [](const auto& each) { return each.first; });
  return next != readable_->begin() && address < std::prev(next)->second;
}

bool StoppedThread::MapScratch() {
  if (scratch_ != 0) return true;
  if (!unread_.empty() || ended_ != 0) return false;
  if (FiltersOf(thread_.id) > own_filters_) {
    unread_ =
        "its buffers are memory of a device, and it filters its system calls: it is not made "
        "to copy them";
    return false;
  }
  if (!Begin()) return false;
  const auto made = Make(SYS_mmap, {0, kScratch, PROT_READ | PROT_WRITE,
                                    MAP_PRIVATE | MAP_ANONYMOUS, ~std::uint64_t{0}, 0});
  if (!made) return false;
  if (*made < 0) {
    unread_ = absl::StrCat("its buffers are memory of a device, and it has no room to copy them: ",
                           strerrordesc_np(static_cast<int>(-*made)));
    return false;
  }
  scratch_ = static_cast<std::uint64_t>(*made);
  return true;
}

bool StoppedThread::CopyOut(std::uint64_t address, std::span<std::byte> to, std::uint64_t* copied) {
  if (!MapScratch()) return false;
  const std::uint64_t length = std::min<std::uint64_t>(to.size(), kCopied);
  iovec lists[2] = {{reinterpret_cast<void*>(address), length},
                    {reinterpret_cast<void*>(scratch_ + kPage), length}};
  iovec ours = {lists, sizeof(lists)};
  iovec theirs = {reinterpret_cast<void*>(scratch_), sizeof(lists)};
  if (process_vm_writev(thread_.id, &ours, 1, &theirs, 1, 0) != sizeof(lists)) return false;
  const auto own_id = static_cast<std::uint64_t>(thread_.process->own_id);
  const auto made = Make(SYS_process_vm_writev, {own_id, scratch_, 1, scratch_ + sizeof(iovec), 1});
  // What it answers is the program's to change, and so are the lists: never more than was asked.
  if (!made || *made <= 0 || static_cast<std::uint64_t>(*made) > length) return false;
  ours = {to.data(), static_cast<std::size_t>(*made)};
  theirs = {lists[1].iov_base, static_cast<std::size_t>(*made)};
  if (process_vm_readv(thread_.id, &ours, 1, &theirs, 1, 0) != *made) return false;
  *copied = static_cast<std::uint64_t>(*made);
  return true;
}

// --- Calls that the thread is made to make -------------------------------------------------------

bool StoppedThread::Begin() {
  if (ended_ != 0) return false;
  if (!registers_.empty()) return true;
  std::vector<std::byte> registers(sizeof(user_regs_struct));
  if (Trace(PTRACE_GETREGS, thread_.id, 0, registers.data()) != 0) return false;
  if (Trace(PTRACE_GETSIGMASK, thread_.id, sizeof(blocked_), &blocked_) != 0) return false;
  std::uint64_t all = ~std::uint64_t{0};
  if (Trace(PTRACE_SETSIGMASK, thread_.id, sizeof(all), &all) != 0) return false;
  registers_ = std::move(registers);
  return true;
}

std::optional<std::int64_t> StoppedThread::Make(std::uint64_t number,
                                                const std::uint64_t (&arguments)[6]) {
  user_regs_struct registers = *Registers(registers_);
  registers.rdi = arguments[0];
  registers.rsi = arguments[1];
  registers.rdx = arguments[2];
  registers.r10 = arguments[3];
  registers.r8 = arguments[4];
  registers.r9 = arguments[5];
  const bool is_begun = stop_ == Stop::kEntry && !is_at_exit_;
  if (is_begun) {
    registers.orig_rax = number;  // in place of the one that begins
  } else {
    // Once more from where its own call is made; but that may be gone.
    registers.rip -= kInstruction;
    constexpr std::array<unsigned char, kInstruction> kSystemCall = {0x0f, 0x05};
    std::array<unsigned char, kInstruction> bytes = {};
    iovec ours = {bytes.data(), bytes.size()};
    iovec theirs = {reinterpret_cast<void*>(registers.rip), bytes.size()};
    (void)process_vm_readv(thread_.id, &ours, 1, &theirs, 1, 0);
    if (bytes != kSystemCall) return {};
    registers.rax = number;
    registers.orig_rax = ~std::uint64_t{0};  // there is nothing to restart
  }
  if (Trace(PTRACE_SETREGS, thread_.id, 0, &registers) != 0) return {};
  bool is_exit = false;
  do {
    if (!RunToSystemCall(&is_exit)) return {};
  } while (!is_exit);
  is_at_exit_ = true;
  if (Trace(PTRACE_GETREGS, thread_.id, 0, &registers) != 0) return {};
  return static_cast<std::int64_t>(registers.rax);
}

// To the next stop at a system call's entry or exit. False: the thread has ended.
bool StoppedThread::RunToSystemCall(bool* is_exit) {
  for (;;) {
    if (Trace(PTRACE_SYSCALL, thread_.id, 0, nullptr) != 0 && errno != ESRCH) return false;
    int status;
    if (!statuses_.WaitFor(thread_.id, &status)) return false;
    // It has ended, or another of its threads has executed a program, and it is that now.
    if (!WIFSTOPPED(status) || status >> 16 == PTRACE_EVENT_EXEC) {
      ended_ = status;
      return false;
    }
    const int signal = WSTOPSIG(status);
    if (signal == (SIGTRAP | 0x80)) {
      __ptrace_syscall_info info = {};
      if (Trace(PTRACE_GET_SYSCALL_INFO, thread_.id, sizeof(info), &info) <= 0) return false;
      *is_exit = info.op == PTRACE_SYSCALL_INFO_EXIT;
      return true;
    }
    // What cannot be blocked: it comes again when all is as it was.
    const int event = status >> 16;
    const bool is_own_fault = signal == SIGSEGV || signal == SIGBUS || signal == SIGILL ||
                              signal == SIGTRAP || signal == SIGSYS;
    if (event == 0 && is_own_fault) return false;
    if (event == 0 || (event == PTRACE_EVENT_STOP && signal != SIGTRAP)) held_signal_ = signal;
  }
}

bool StoppedThread::Restore() {
  user_regs_struct registers = *Registers(registers_);
  if (stop_ == Stop::kEntry && is_at_exit_) {
    // Its own call once more, from the instruction on.
    const std::uint64_t number = registers.orig_rax;
    registers.rip -= kInstruction;
    registers.rax = number;
    bool is_exit = true;
    if (Trace(PTRACE_SETREGS, thread_.id, 0, &registers) != 0) return false;
    while (is_exit) {
      if (!RunToSystemCall(&is_exit)) return false;
    }
  } else if (Trace(PTRACE_SETREGS, thread_.id, 0, &registers) != 0) {
    return false;
  }
  return Trace(PTRACE_SETSIGMASK, thread_.id, sizeof(blocked_), &blocked_) == 0;
}

int StoppedThread::Finish() {
  if (scratch_ != 0 && ended_ == 0) (void)Make(SYS_munmap, {scratch_, kScratch});
  if (!registers_.empty() && ended_ == 0) {
    (void)Restore();
    registers_.clear();
    if (ended_ == 0 && held_signal_ != 0) {
      (void)syscall(SYS_tgkill, thread_.process->id, thread_.id, held_signal_);
    }
  }
  return ended_;
}

}  // namespace xencomm::trace
