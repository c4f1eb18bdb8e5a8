#include "hcall/devices/supervised/process_facts.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace xencomm::devices {
namespace {

// A number in a line of its status, "NAME:\tNUMBER".
std::optional<unsigned long> StatusOf(pid_t thread, const char* name, int base) {
  const FileDescriptor file(
      open(absl::StrCat("/proc/", thread, "/status").c_str(), O_RDONLY | O_CLOEXEC));
  char text[4096];
  const ssize_t length = read(file.get(), text, sizeof(text) - 1);
  if (length <= 0) return std::nullopt;
  text[length] = '\0';
  const std::string line = absl::StrCat("\n", name, ":");
  const char* const found = std::strstr(text, line.c_str());
  if (found == nullptr) return std::nullopt;
  return std::strtoul(found + line.size(), nullptr, base);
}

// What it has there; "" for nothing.
std::string NameOf(pid_t thread, int fd) {
  const std::string link = fd == AT_FDCWD ? absl::StrCat("/proc/", thread, "/cwd")
                                          : absl::StrCat("/proc/", thread, "/fd/", fd);
  char name[PATH_MAX];
  const ssize_t length = readlink(link.c_str(), name, sizeof(name));
  return std::string(name, static_cast<std::size_t>(std::max<ssize_t>(length, 0)));
}

FileDescriptor OpenProcess(pid_t process) {
  return FileDescriptor(static_cast<int>(syscall(SYS_pidfd_open, process, 0)));
}

}  // namespace

std::optional<pid_t> ProcessOf(pid_t thread) {
  // A pidfd is of a process: of its first thread.
  if (OpenProcess(thread).is_open()) return thread;
  const std::optional<unsigned long> process = StatusOf(thread, "Tgid", 10);
  return process ? std::optional(static_cast<pid_t>(*process)) : std::nullopt;
}

FileDescriptor DescriptorOf(pid_t thread, int fd) {
  const std::optional<pid_t> process = ProcessOf(thread);
  if (!process) return FileDescriptor();
  const FileDescriptor file = OpenProcess(*process);
  return FileDescriptor(static_cast<int>(syscall(SYS_pidfd_getfd, file.get(), fd, 0)));
}

bool MayLookAt(pid_t process) {
  char byte;
  const iovec own = {.iov_base = &byte, .iov_len = 1};
  const iovec nothing = {.iov_base = nullptr, .iov_len = 1};
  return process_vm_readv(process, &own, 1, &nothing, 1, 0) >= 0 || errno == EFAULT;
}

bool IsSocket(pid_t thread, int fd) { return NameOf(thread, fd).starts_with("socket:"); }

std::string FolderOf(pid_t thread, int fd) {
  std::string name = NameOf(thread, fd);
  return name.starts_with('/') ? name : "";
}

mode_t UmaskOf(pid_t thread) {
  return static_cast<mode_t>(StatusOf(thread, "Umask", 8).value_or(S_IWGRP | S_IWOTH));
}

}  // namespace xencomm::devices
