// Linux's privcmd as a test has it: the devices are there, and answer what the test says. open,
// ioctl and what else libxencomm asks of Linux for them, of the whole program, its libraries
// included. For one file of a program. Where the test says so, the device of the module xencomm is
// there, too.
#ifndef TESTS_UNIT_FAKE_PRIVCMD_H_
#define TESTS_UNIT_FAKE_PRIVCMD_H_

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include <xen/xen.h>

#include <xen/sys/privcmd.h>

#include <cerrno>
#include <cstdarg>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "hcall/linux/xencomm_device.h"

namespace xencomm::testing {

// While one lives, this is Linux. Its devices map fresh zeroed memory, each time other; but that of
// /dev/xen/xencomm maps what its file holds there.
struct FakePrivcmd {
  FakePrivcmd();
  FakePrivcmd(const FakePrivcmd&) = delete;
  FakePrivcmd& operator=(const FakePrivcmd&) = delete;
  ~FakePrivcmd();

  bool has_xencomm = false;

  // What is opened next, by path: an errno, or 0. Other files open as ever.
  std::map<std::string, std::vector<int>> open_errors;
  // What has been opened: by which flags, as which descriptor.
  struct Opened {
    int flags;
    int fd;
  };
  std::map<std::string, Opened> opened;

  // A hypercall's answer, or -1 and errno.
  std::function<long(const privcmd_hypercall_t&)> call;
  // The answer of another ioctl of these devices: 0 or an errno.
  std::function<int(unsigned long request, void* argument)> control;

  // Which file /dev/xen/xencomm was at last.
  dev_t xencomm_filesystem = 0;
  ino_t xencomm_inode = 0;

  int madvise_error = 0;
  std::vector<timespec> pauses;  // nobody waits
};

inline FakePrivcmd* fake_privcmd = nullptr;

inline FakePrivcmd::FakePrivcmd() { fake_privcmd = this; }
inline FakePrivcmd::~FakePrivcmd() { fake_privcmd = nullptr; }

// A region's place on the device, the table's included, is the same in its file.
inline int OpenFakeXencomm() {
  const int fd = memfd_create("xencomm", MFD_CLOEXEC);
  struct stat about = {};
  if (ftruncate(fd, 1 << 30) == 0 && fstat(fd, &about) == 0) {
    fake_privcmd->xencomm_filesystem = about.st_dev;
    fake_privcmd->xencomm_inode = about.st_ino;
  }
  return fd;
}

// Whether `fd` is one of the devices still: they are made of /dev/zero, and of a file.
inline bool IsFakeDevice(int fd) {
  struct stat about = {};
  if (fake_privcmd == nullptr || fstat(fd, &about) != 0) return false;
  if (S_ISCHR(about.st_mode)) return about.st_rdev == makedev(1, 5);
  return about.st_dev == fake_privcmd->xencomm_filesystem &&
         about.st_ino == fake_privcmd->xencomm_inode;
}

inline long RealSyscall(long number, long a, long b, long c, long d = 0, long e = 0, long f = 0) {
  using Syscall = long(long, ...);
  static auto* const real = reinterpret_cast<Syscall*>(dlsym(RTLD_NEXT, "syscall"));
  return real(number, a, b, c, d, e, f);
}

inline int OpenOrFake(const char* path, int flags, mode_t mode) {
  const std::string name = path;
  const bool xencomm =
      name == XENCOMM_DEVICE && fake_privcmd != nullptr && fake_privcmd->has_xencomm;
  const bool device = xencomm || name == "/dev/xen/privcmd" || name == "/dev/xen/hypercall";
  if (fake_privcmd == nullptr || (!device && !fake_privcmd->open_errors.contains(name))) {
    return openat(AT_FDCWD, path, flags, mode);
  }
  if (std::vector<int>& errors = fake_privcmd->open_errors[name]; !errors.empty()) {
    const int error = errors.front();
    errors.erase(errors.begin());
    if (error != 0) {
      errno = error;
      return -1;
    }
  }
  const int fd =
      xencomm ? OpenFakeXencomm() : openat(AT_FDCWD, device ? "/dev/zero" : path, flags, mode);
  fake_privcmd->opened[name] = {flags, fd};
  return fd;
}

inline long IoctlOrFake(int fd, unsigned long request, void* argument) {
  const bool is_of_devices = _IOC_TYPE(request) == 'P' || request == XENCOMM_IOC_RESERVE;
  if (!is_of_devices || !IsFakeDevice(fd)) {
    return RealSyscall(SYS_ioctl, fd, static_cast<long>(request), reinterpret_cast<long>(argument));
  }
  if (request == IOCTL_PRIVCMD_HYPERCALL) {
    return fake_privcmd->call(*static_cast<const privcmd_hypercall_t*>(argument));
  }
  const int error = fake_privcmd->control(request, argument);
  // Where there is no error errno means nothing.
  errno = error != 0 ? error : EIO;
  return error != 0 ? -1 : 0;
}

}  // namespace xencomm::testing

extern "C" {

int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  return xencomm::testing::OpenOrFake(path, flags, mode);
}

int ioctl(int fd, unsigned long request, ...) noexcept {
  va_list arguments;
  va_start(arguments, request);
  void* const argument = va_arg(arguments, void*);
  va_end(arguments);
  return static_cast<int>(xencomm::testing::IoctlOrFake(fd, request, argument));
}

// The library's ioctl of a hypercall, whose answer may pass 31 bits; and all else that asks so.
long syscall(long number, ...) noexcept {
  va_list arguments;
  va_start(arguments, number);
  long a[6];
  for (long& each : a) each = va_arg(arguments, long);
  va_end(arguments);
  if (number == SYS_ioctl) {
    return xencomm::testing::IoctlOrFake(static_cast<int>(a[0]), static_cast<unsigned long>(a[1]),
                                         reinterpret_cast<void*>(a[2]));
  }
  return xencomm::testing::RealSyscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int madvise(void* start, std::size_t length, int advice) noexcept {
  if (xencomm::testing::fake_privcmd != nullptr &&
      xencomm::testing::fake_privcmd->madvise_error != 0) {
    errno = xencomm::testing::fake_privcmd->madvise_error;
    return -1;
  }
  return static_cast<int>(xencomm::testing::RealSyscall(SYS_madvise, reinterpret_cast<long>(start),
                                                        static_cast<long>(length), advice));
}

int nanosleep(const timespec* pause, timespec* rest) {
  if (xencomm::testing::fake_privcmd != nullptr) {
    xencomm::testing::fake_privcmd->pauses.push_back(*pause);
    return 0;
  }
  return static_cast<int>(xencomm::testing::RealSyscall(
      SYS_nanosleep, reinterpret_cast<long>(pause), reinterpret_cast<long>(rest), 0));
}

}  // extern "C"

#endif  // TESTS_UNIT_FAKE_PRIVCMD_H_
