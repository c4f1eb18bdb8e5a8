// Devices, through the preloaded front: opened, asked for their status, controlled and mapped.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/devices_front.h"

namespace xencomm {
namespace {

using ::testing::ElementsAre;

TEST_F(DevicesFrontTest, ErrnoStaysWhenAllIsWell) {
  const int fd = open("/dev/xen/evtchn", O_RDWR);
  struct stat status;
  struct statx extended;
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  for (const std::function<bool()>& call : std::vector<std::function<bool()>>{
           [&] { return Close(open("/proc/xen/file", O_RDONLY)) == 0; },
           [&] { return stat("/dev/xen/privcmd", &status) == 0; },
           [&] { return fstat(fd, &status) == 0; }, [&] { return fstat(pair[0], &status) == 0; },
           [&] { return statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &extended) == 0; },
           [&] { return mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0) != MAP_FAILED; },
           [&] {
             void* const page = mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
             return munmap(page, 4096) == 0;
           },
           [&] {
             char link[PATH_MAX];
             return readlink("/proc/self/cwd", link, sizeof(link)) > 0;
           }}) {
    errno = E2BIG;
    EXPECT_TRUE(call());
    EXPECT_EQ(errno, E2BIG);
  }
  for (const int open : {fd, pair[0], pair[1]}) close(open);
}

// Each way to open a device.
std::vector<Call> OpeningCalls() {
  std::vector<Call> calls;
  for (const char* name : {"open", "open64", "__open", "__open64", "__open_2", "__open64_2"}) {
    calls.push_back({name, [](auto named, auto path) -> long {
                       return Named<int(const char*, int)>(named)(path, O_RDWR | O_CLOEXEC);
                     }});
  }
  for (const char* name : {"openat", "openat64", "__openat_2", "__openat64_2"}) {
    calls.push_back({name, [](auto named, auto path) -> long {
                       return Named<int(int, const char*, int)>(named)(-1, path,
                                                                       O_RDWR | O_CLOEXEC);
                     }});
  }
  for (const char* name : {"fopen", "fopen64"}) {
    calls.push_back({name, [](auto named, auto path) -> long {
                       FILE* const stream =
                           Named<FILE*(const char*, const char*)>(named)(path, "r+e");
                       return stream == nullptr ? -1 : dup(fileno(stream));
                     }});
  }
  for (const char* name : {"freopen", "freopen64"}) {
    calls.push_back({name, [](auto named, auto path) -> long {
                       FILE* const stream = Named<FILE*(const char*, const char*, FILE*)>(named)(
                           path, "r+e", fopen("/dev/null", "r"));
                       return stream == nullptr ? -1 : dup(fileno(stream));
                     }});
  }
  calls.push_back({"syscall openat", [](auto, auto path) {
                     return syscall(SYS_openat, -1, path, O_RDWR | O_CLOEXEC);
                   }});
  calls.push_back({"syscall openat2", [](auto, auto path) {
                     const open_how how = {.flags = O_RDWR | O_CLOEXEC, .mode = 0, .resolve = 0};
                     return syscall(SYS_openat2, -1, path, &how, sizeof(how));
                   }});
#ifdef SYS_open
  calls.push_back({"syscall open",
                   [](auto, auto path) { return syscall(SYS_open, path, O_RDWR | O_CLOEXEC); }});
#endif
  return calls;
}

TEST_F(DevicesFrontTest, EveryFunctionThatOpensOpensADevice) {
  for (const Call& call : OpeningCalls()) {
    Fake().device = XENCOMM_NO_DEVICE;
    const int fd = static_cast<int>(call.run(call.name, "/dev/xen/evtchn"));
    EXPECT_EQ(Fake().device, XENCOMM_EVTCHN) << call.name;
    EXPECT_EQ(Fake().flags, O_RDWR | O_CLOEXEC) << call.name;
    EXPECT_EQ(ReadAndClose(fd), "evt") << call.name;
    // What the machine says is what the program hears.
    Fake().fails = EBUSY;
    EXPECT_EQ(call.run(call.name, "/dev/xen/evtchn"), -1) << call.name;
    EXPECT_EQ(errno, EBUSY) << call.name;
  }
  for (const char* name : {"creat", "creat64"}) {
    const int fd = Named<int(const char*, mode_t)>(name)("/dev/xen/xenbus", 0600);
    EXPECT_EQ(Fake().flags & O_ACCMODE, O_WRONLY);
    EXPECT_EQ(ReadAndClose(fd), "xen") << name;
  }
  EXPECT_EQ(Read(Kept("/dev/xen/xenbus")), "plain");
}

TEST_F(DevicesFrontTest, ADeviceIsOpenedAsItsFlagsSay) {
  EXPECT_EQ(open("/dev/xen/privcmd", O_RDWR | O_DIRECTORY), -1);
  EXPECT_EQ(errno, ENOTDIR);
  EXPECT_EQ(open("/dev/xen/privcmd", O_RDWR | O_CREAT | O_EXCL, 0600), -1);
  EXPECT_EQ(errno, EEXIST);
  EXPECT_EQ(fopen("/dev/xen/privcmd", "wx"), nullptr);
  EXPECT_EQ(errno, EEXIST);
  const int opened = Fake().opened;
  // A place, nothing more.
  const int place = open("/dev/xen/privcmd", O_PATH);
  EXPECT_GE(place, 0);
  EXPECT_EQ(Close(place), 0);
  EXPECT_EQ(Fake().opened, opened);
  EXPECT_EQ(ReadAndClose(open("/dev/xen/privcmd", O_RDWR | O_CREAT | O_TRUNC, 0600)), "pri");
  for (const auto& [mode, flags] : std::vector<std::pair<const char*, int>>{
           {"r", O_RDONLY}, {"w", O_WRONLY}, {"a", O_WRONLY}, {"r+", O_RDWR}, {"w+b", O_RDWR}}) {
    FILE* const stream = fopen("/dev/xen/privcmd", mode);
    ASSERT_NE(stream, nullptr) << mode;
    EXPECT_EQ(Fake().flags & (O_ACCMODE | O_CLOEXEC), flags) << mode;
    fclose(stream);
  }
}

TEST_F(DevicesFrontTest, ADescriptorOfAReopenedStreamIsItsOldOne) {
  FILE* const stream = fopen("/dev/null", "r");
  const int fd = fileno(stream);
  ASSERT_EQ(freopen("/dev/xen/privcmd", "r+", stream), stream);
  EXPECT_EQ(fileno(stream), fd);
  EXPECT_EQ(fcntl(fd, F_GETFD), 0);
  EXPECT_EQ(getc(stream), 'p');
  // The descriptor that was opened first is closed: the next one has its number.
  EXPECT_EQ(dup(fd), fd + 1);
  close(fd + 1);
  fclose(stream);
}

TEST_F(DevicesFrontTest, BoundsOfAnOpenStayTheKernels) {
  open_how how = {.flags = O_RDONLY, .mode = 0, .resolve = RESOLVE_IN_ROOT};
  const int root = open(Files().c_str(), O_PATH);
  const int fd =
      static_cast<int>(syscall(SYS_openat2, root, "/dev/xen/privcmd", &how, sizeof(how)));
  EXPECT_EQ(ReadAndClose(fd), "plain");
  how.resolve = RESOLVE_BENEATH;
  EXPECT_EQ(syscall(SYS_openat2, root, "/dev/xen/privcmd", &how, sizeof(how)), -1);
  EXPECT_EQ(errno, EXDEV);
  how.resolve = 0;
  EXPECT_EQ(syscall(SYS_openat2, root, "/dev/xen/privcmd", &how, 8), -1);
  EXPECT_EQ(errno, EINVAL);
  how.flags = O_PATH;
  const int opened = Fake().opened;
  EXPECT_EQ(
      Close(static_cast<int>(syscall(SYS_openat2, root, "/dev/xen/privcmd", &how, sizeof(how)))),
      0);
  EXPECT_EQ(Fake().opened, opened);
  close(root);
}

TEST_F(DevicesFrontTest, EveryStatusShowsANodeAsACharacterDevice) {
  using Status = std::function<int(const char* name, const char* path, struct stat* status)>;
  const Status by_path = [](auto name, auto path, auto status) {
    return Named<int(const char*, void*)>(name)(path, status);
  };
  const Status at = [](auto name, auto path, auto status) {
    return Named<int(int, const char*, void*, int)>(name)(-1, path, status, 0);
  };
  const Status old = [](auto name, auto path, auto status) {
    return Named<int(int, const char*, void*)>(name)(1, path, status);
  };
  const Status old_at = [](auto name, auto path, auto status) {
    return Named<int(int, int, const char*, void*, int)>(name)(1, -1, path, status, 0);
  };
  const Status extended = [](auto, auto path, auto status) {
    struct statx wide;
    const int result = statx(-1, path, 0, STATX_BASIC_STATS, &wide);
    status->st_mode = wide.stx_mode;
    status->st_size = static_cast<off_t>(wide.stx_size);
    status->st_blocks = static_cast<blkcnt_t>(wide.stx_blocks);
    status->st_rdev = makedev(wide.stx_rdev_major, wide.stx_rdev_minor);
    return result;
  };
  const std::vector<std::pair<const char*, Status>> all = {
      {"stat", by_path},       {"stat64", by_path}, {"lstat", by_path},  {"lstat64", by_path},
      {"fstatat", at},         {"fstatat64", at},   {"__xstat", old},    {"__xstat64", old},
      {"__lxstat", old},       {"__lxstat64", old}, {"statx", extended}, {"__fxstatat", old_at},
      {"__fxstatat64", old_at}};
  ASSERT_EQ(chmod("/dev/xen/evtchn", 0640), 0);
  for (const auto& [name, call] : all) {
    struct stat status = {};
    EXPECT_EQ(call(name, "/dev/xen/evtchn", &status), 0) << name;
    EXPECT_EQ(status.st_mode, S_IFCHR | 0640U) << name;
    EXPECT_EQ(major(status.st_rdev), 10U) << name;
    EXPECT_EQ(status.st_size, 0) << name;
    EXPECT_EQ(status.st_blocks, 0) << name;
    struct stat other = {};
    EXPECT_EQ(call(name, "/dev/xen/privcmd", &other), 0) << name;
    EXPECT_NE(minor(other.st_rdev), minor(status.st_rdev)) << name;
    // Linux has plain files there.
    EXPECT_EQ(call(name, "/proc/xen/privcmd", &other), 0) << name;
    EXPECT_TRUE(S_ISREG(other.st_mode)) << name;
    EXPECT_EQ(call(name, "/dev/xen", &other), 0) << name;
    EXPECT_TRUE(S_ISDIR(other.st_mode)) << name;
  }
}

TEST_F(DevicesFrontTest, EveryStatusShowsADevicesDescriptorAsACharacterDevice) {
  using Status = std::function<int(int fd, struct stat* status)>;
  std::vector<std::pair<std::string, Status>> all;
  for (const char* name : {"fstat", "fstat64"}) {
    all.emplace_back(
        name, [name](int fd, auto status) { return Named<int(int, void*)>(name)(fd, status); });
  }
  for (const char* name : {"__fxstat", "__fxstat64"}) {
    all.emplace_back(name, [name](int fd, auto status) {
      return Named<int(int, int, void*)>(name)(1, fd, status);
    });
  }
  for (const char* name : {"fstatat", "fstatat64"}) {
    all.emplace_back(name, [name](int fd, auto status) {
      return Named<int(int, const char*, void*, int)>(name)(fd, "", status, AT_EMPTY_PATH);
    });
  }
  all.emplace_back("statx", [](int fd, auto status) {
    struct statx wide;
    const int result = statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &wide);
    status->st_mode = wide.stx_mode;
    status->st_rdev = makedev(wide.stx_rdev_major, wide.stx_rdev_minor);
    status->st_ino = wide.stx_ino;
    return result;
  });
  const int fd = open("/dev/xen/hypercall", O_RDWR);
  const int copy = dup(fd);
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  struct stat node;
  ASSERT_EQ(stat("/dev/xen/hypercall", &node), 0);
  for (const auto& [name, call] : all) {
    struct stat status = {};
    EXPECT_EQ(call(copy, &status), 0) << name;
    EXPECT_EQ(status.st_mode, node.st_mode) << name;
    EXPECT_EQ(status.st_rdev, node.st_rdev) << name;
    EXPECT_EQ(status.st_ino, node.st_ino) << name;
    EXPECT_EQ(call(pair[0], &status), 0) << name;
    EXPECT_TRUE(S_ISSOCK(status.st_mode)) << name;
    EXPECT_EQ(call(STDIN_FILENO, &status), 0) << name;
    EXPECT_EQ(call(-1, &status), -1) << name;
    EXPECT_EQ(errno, EBADF) << name;
  }
  for (const int open : {fd, copy, pair[0], pair[1]}) close(open);
}

TEST_F(DevicesFrontTest, AnUnknownVersionOfAStatusIsRefused) {
  struct stat status;
  for (const int version : {-1, 2, 3}) {
    EXPECT_EQ(Named<int(int, const char*, void*)>("__xstat")(version, "/", &status), -1);
    EXPECT_EQ(errno, EINVAL);
    EXPECT_EQ(Named<int(int, const char*, void*)>("__lxstat")(version, "/", &status), -1);
    EXPECT_EQ(Named<int(int, int, void*)>("__fxstat")(version, 0, &status), -1);
  }
  EXPECT_EQ(Named<int(int, const char*, void*)>("__xstat")(0, "/", &status), 0);
  dev_t device = 0;
  EXPECT_EQ(Named<int(int, const char*, mode_t, dev_t*)>("__xmknod")(1, "/proc/xen/new", S_IFIFO,
                                                                     &device),
            -1);
  EXPECT_EQ(errno, EINVAL);
}

TEST_F(DevicesFrontTest, AnIoctlReachesItsDevice) {
  const int fd = open("/dev/xen/evtchn", O_RDWR);
  const int copy = dup(fd);
  int argument = 0;
  for (const unsigned long request : {0x305000UL, 0x44500UL, 0x50ffUL}) {
    Fake().asked = 0;
    EXPECT_EQ(ioctl(copy, request, &argument), 42) << request;
    EXPECT_EQ(Fake().asked, 1);
    EXPECT_EQ(Fake().fd, copy);
    EXPECT_EQ(Fake().device, XENCOMM_EVTCHN);
    EXPECT_EQ(Fake().request, request);
    EXPECT_EQ(Fake().argument, &argument);
  }
  EXPECT_EQ(syscall(SYS_ioctl, fd, 0x305000UL, &argument), 42);
  // A number with bit 31, as an int.
  EXPECT_EQ(ioctl(fd, static_cast<unsigned long>(static_cast<int>(0xc0185004)), &argument), 42);
  EXPECT_EQ(Fake().request, 0xc0185004UL);
  close(fd);
  close(copy);
}

// As Linux's: less than one port is nothing, and a page is the most.
TEST_F(DevicesFrontTest, EventChannelsAreReadAndWrittenAsWholePorts) {
  Fake();
  const int device = open("/dev/xen/evtchn", O_RDWR | O_NONBLOCK);
  char bytes[8192] = "0123456";
  EXPECT_EQ(write(device, bytes, 3), 0);
  EXPECT_EQ(write(device, bytes, 7), 4);
  EXPECT_EQ(write(device, bytes, sizeof(bytes)), 4096);
  EXPECT_EQ(write(device, bytes, 0), 0);
  EXPECT_EQ(read(device, bytes, 3), 0) << "though there are three";
  EXPECT_EQ(read(device, bytes, 7), 3) << "asked for four";
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  EXPECT_EQ(write(pair[0], bytes, 3), 3);
  EXPECT_EQ(read(pair[1], bytes, 3), 3);
  for (const int fd : {device, pair[0], pair[1]}) close(fd);
}

TEST_F(DevicesFrontTest, WhatTheDevicesRefuseOfTheirMappingsIsRefused) {
  char* const pages =
      static_cast<char*>(mmap(nullptr, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  const int device = open("/dev/xen/privcmd", O_RDWR);
  Fake().refuses_changes = EFAULT;
  EXPECT_EQ(mremap(pages, 8192, 3 * 4096, MREMAP_MAYMOVE), MAP_FAILED);
  EXPECT_EQ(errno, EFAULT);
  Fake().refuses_changes = EINVAL;
  EXPECT_EQ(munmap(pages, 4096), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(pages[0], 0) << "is there still";
  EXPECT_EQ(munmap(pages, 8192), 0);
  close(device);
}

TEST_F(DevicesFrontTest, AnIoctlOfAnythingElseIsTheKernels) {
  Fake();
  const int device = open("/dev/xen/evtchn", O_RDWR);
  Fake().asked = 0;
  int waiting = 0;
  EXPECT_EQ(ioctl(device, FIONREAD, &waiting), 0);
  EXPECT_EQ(waiting, 3);
  EXPECT_EQ(isatty(device), 0);
  EXPECT_EQ(errno, ENOTTY);
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  EXPECT_EQ(ioctl(pair[0], 0x305000UL, nullptr), -1);
  EXPECT_EQ(errno, ENOTTY);
  EXPECT_EQ(ioctl(-1, 0x305000UL, nullptr), -1);
  EXPECT_EQ(errno, EBADF);
  EXPECT_EQ(Fake().asked, 0);
  for (const int fd : {device, pair[0], pair[1]}) close(fd);
}

// A socket that is connected to this name.
int ConnectedTo(const std::string& path) {
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  path.copy(name.sun_path, sizeof(name.sun_path));
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  const int listening = socket(AF_UNIX, SOCK_STREAM, 0);
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  EXPECT_EQ(bind(listening, reinterpret_cast<sockaddr*>(&name), size), 0);
  EXPECT_EQ(listen(listening, 1), 0);
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&name), size), 0);
  close(listening);
  return fd;
}

TEST_F(DevicesFrontTest, ASocketIsADeviceByItsPeersNameAlone) {
  const std::string zero(1, '\0');
  Fake();
  const std::string names = zero + XENCOMM_DEVICE_NAMES;
  const std::string longest = names + "xenbus/1/2/";
  const std::string before = std::filesystem::current_path();
  std::filesystem::create_directories(Files() + "/axencomm/privcmd/1/2");
  ASSERT_EQ(chdir(Files().c_str()), 0);
  for (const auto& [name, device] : std::vector<std::pair<std::string, int>>{
           {names + "privcmd/1/2/front-test", XENCOMM_PRIVCMD},
           {names + "xenbus/1/2/front-test", XENCOMM_XENBUS},
           {longest + std::string(108 - longest.size(), '1'), XENCOMM_XENBUS},
           {names + "gntdev/1/2/front-test", XENCOMM_GNTDEV},
           {names + "privcmd/front-test", XENCOMM_NO_DEVICE},
           {names + "privcmd/1", XENCOMM_NO_DEVICE},
           {names + "privcmd//2/1", XENCOMM_NO_DEVICE},
           {names + "privcmd/1-2/2/1", XENCOMM_NO_DEVICE},
           {names + "privcmd", XENCOMM_NO_DEVICE},
           {names + "privcmd2/1/2/1", XENCOMM_NO_DEVICE},
           {names + "priv/1/2/1", XENCOMM_NO_DEVICE},
           {names + "gntalloc/1/2/1", XENCOMM_GNTALLOC},
           {names + "gntallocs/1/2/1", XENCOMM_NO_DEVICE},
           {names, XENCOMM_NO_DEVICE},
           {zero + "xencommprivcmd/1/2/1", XENCOMM_NO_DEVICE},
           {zero + "x", XENCOMM_NO_DEVICE},
           {zero + "other/privcmd/1/2/1", XENCOMM_NO_DEVICE},
           {"axencomm/privcmd/1/2/1", XENCOMM_NO_DEVICE},  // a path
       }) {
    const int fd = ConnectedTo(name);
    Fake().asked = 0;
    Fake().device = XENCOMM_NO_DEVICE;
    EXPECT_EQ(ioctl(fd, 0x305000UL, nullptr), device == XENCOMM_NO_DEVICE ? -1 : 42) << name;
    EXPECT_EQ(Fake().device, device) << name;
    close(fd);
  }
  ASSERT_EQ(chdir(before.c_str()), 0);
}

TEST_F(DevicesFrontTest, AMappingOfADeviceIsItsOwn) {
  const int fd = open("/dev/xen/privcmd", O_RDWR);
  for (const char* name : {"mmap", "mmap64"}) {
    Fake().mapped = 0;
    const auto map = Named<void*(void*, std::size_t, int, int, int, off_t)>(name);
    void* const mapping = map(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 4096);
    ASSERT_NE(mapping, MAP_FAILED);
    EXPECT_EQ(Fake().mapped, 1);
    EXPECT_EQ(Fake().fd, fd);
    EXPECT_EQ(Fake().device, XENCOMM_PRIVCMD);
    EXPECT_EQ(Fake().length, 8192U);
    EXPECT_EQ(Fake().protection, PROT_READ | PROT_WRITE);
    EXPECT_EQ(Fake().map_flags, MAP_SHARED);
    EXPECT_EQ(Fake().offset, 4096);
    munmap(mapping, 8192);
  }
  // What the kernel refuses of any file, and what is no device.
  Fake().mapped = 0;
  EXPECT_EQ(mmap(nullptr, 0, PROT_READ, MAP_SHARED, fd, 0), MAP_FAILED);
  EXPECT_EQ(errno, EINVAL);
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  for (const int other : {pair[0], open("/", O_RDONLY)}) {
    EXPECT_EQ(mmap(nullptr, 4096, PROT_READ, MAP_SHARED, other, 0), MAP_FAILED);
    EXPECT_EQ(errno, ENODEV);
    close(other);
  }
  EXPECT_EQ(Fake().mapped, 0);
  void* const by_number =
      reinterpret_cast<void*>(syscall(SYS_mmap, nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0));
  EXPECT_NE(by_number, MAP_FAILED);
  EXPECT_EQ(Fake().mapped, 1);
  EXPECT_EQ(syscall(SYS_munmap, by_number, 4096), 0);
  close(pair[1]);
  close(fd);
}

TEST_F(DevicesFrontTest, TheDevicesHearOfEveryMappingThatGoes) {
  const auto map = [](void* address, std::size_t pages, int flags) {
    return static_cast<char*>(
        mmap(address, pages * 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0));
  };
  const auto gone = [] {
    std::vector<std::pair<char*, std::size_t>> all;
    for (int i = 0; i < Fake().unmapped; ++i) {
      all.emplace_back(static_cast<char*>(Fake().gone[i].address), Fake().gone[i].length / 4096);
    }
    Fake().unmapped = 0;
    return all;
  };
  using Gone = std::pair<char*, std::size_t>;
  Fake();
  gone();
  char* const pages = map(nullptr, 8, 0);
  EXPECT_THAT(gone(), ElementsAre());
  errno = E2BIG;
  EXPECT_EQ(munmap(pages + 7 * 4096, 4096), 0);
  EXPECT_EQ(errno, E2BIG);
  EXPECT_THAT(gone(), ElementsAre(Gone(pages + 7 * 4096, 1)));
  EXPECT_EQ(munmap(pages + 1, 4096), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_THAT(gone(), ElementsAre());
  EXPECT_EQ(map(pages, 1, MAP_FIXED), pages);
  EXPECT_THAT(gone(), ElementsAre(Gone(pages, 1)));
  EXPECT_EQ(map(pages, 1, MAP_FIXED_NOREPLACE), MAP_FAILED);
  EXPECT_EQ(errno, EEXIST);
  EXPECT_THAT(gone(), ElementsAre());
  // Smaller, in place; to another place; and over something there.
  EXPECT_EQ(mremap(pages, 7 * 4096, 4 * 4096, 0), pages);
  EXPECT_THAT(gone(), ElementsAre(Gone(pages + 4 * 4096, 3)));
  EXPECT_EQ(mremap(pages, 4 * 4096, 3 * 4096 - 1, 0), pages);
  EXPECT_THAT(gone(), ElementsAre(Gone(pages + 3 * 4096, 1)));
  EXPECT_EQ(mremap(pages, 3 * 4096, 3 * 4096, 0), pages);
  EXPECT_THAT(gone(), ElementsAre());
  char* const target = map(nullptr, 3, 0);
  EXPECT_EQ(mremap(pages, 2 * 4096, 3 * 4096, MREMAP_MAYMOVE | MREMAP_FIXED, target), target);
  EXPECT_THAT(gone(), ElementsAre(Gone(pages, 2), Gone(target, 3)));
  // To a place of the kernel's choice, since the next page is taken.
  char* const moved = static_cast<char*>(mremap(target, 4096, 4 * 4096, MREMAP_MAYMOVE));
  EXPECT_NE(moved, target);
  EXPECT_THAT(gone(), ElementsAre(Gone(target, 1)));
  munmap(moved, 4 * 4096);
  gone();
  EXPECT_EQ(mremap(target + 4096, 4096, 1UL << 60, 0), MAP_FAILED);
  EXPECT_THAT(gone(), ElementsAre());
  munmap(target + 4096, 2 * 4096);
}

TEST_F(DevicesFrontTest, TheDevicesHearOfAMappingsEndBeforeThereIsAnotherInItsPlace) {
  const int fd = open("/dev/xen/privcmd", O_RDWR);
  const auto change = [&] {
    for (int i = 0; i < 20000; ++i) {
      munmap(mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0), 4096);
    }
  };
  std::thread other(change);
  change();
  other.join();
  EXPECT_EQ(Fake().conflicts, 0);
  close(fd);
}

TEST_F(DevicesFrontTest, AForkWhileMappingsChangeLeavesTheChildFree) {
  Fake();
  std::atomic<bool> done = false;
  std::thread other([&] {
    while (!done) {
      void* const page = mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      munmap(page, 4096);
    }
  });
  for (int i = 0; i < 200; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      void* const page = mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      _exit(munmap(page, 4096));
    }
    int status;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_EQ(status, 0);
  }
  done = true;
  other.join();
}

TEST_F(DevicesFrontTest, AThreadIsNotCancelledInsideTheDevices) {
  Fake();
  int state = 0;
  std::thread thread([&] {
    pthread_cancel(pthread_self());  // at the next point where it can be
    const int fd = open("/dev/xen/evtchn", O_RDWR);
    Fake().asked = 0;
    ioctl(fd, 0x44500UL, nullptr);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    close(fd);
  });
  thread.join();
  EXPECT_EQ(Fake().asked, 1);
  EXPECT_EQ(state, PTHREAD_CANCEL_ENABLE);
}

TEST_F(DevicesFrontTest, TheDevicesOwnCallsAreTheCLibrarys) {
  close(open("/dev/xen/privcmd", O_RDWR));
  EXPECT_EQ(Fake().outside, ENOENT);
  EXPECT_EQ(Fake().unmapped, 0);
}

TEST_F(DevicesFrontTest, FortifiedFunctionsStillEndAProgramThatIsWrong) {
  char buffer[8];
  EXPECT_DEATH(Named<int(const char*, int)>("__open_2")("/dev/xen/privcmd", O_RDWR | O_CREAT), "");
  EXPECT_DEATH(
      Named<int(int, const char*, int)>("__openat_2")(-1, "/proc/xen/file", O_RDWR | O_CREAT), "");
  EXPECT_DEATH(Named<ssize_t(const char*, char*, std::size_t, std::size_t)>("__readlink_chk")(
                   "/proc/xen/file", buffer, 9, 8),
               "");
  EXPECT_DEATH(
      Named<char*(const char*, char*, std::size_t)>("__realpath_chk")("/proc/xen/file", buffer, 8),
      "");
}

}  // namespace
}  // namespace xencomm
