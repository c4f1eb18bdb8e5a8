// Every function of the C library that leads to a file, by each of its names: it leads to the
// machine's.

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/openat2.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "tests/unit/devices_front.h"

namespace xencomm {
namespace {

using ::testing::ElementsAre;

// An attribute that is not there; what counts is that the file was.
long Found(long result) { return result >= 0 || errno != ENOENT ? 0 : -1; }

// Functions of a file that is there.
std::vector<Call> CallsOfFile() {
  std::vector<Call> calls;
  const auto add = [&](std::initializer_list<const char*> names, auto run) {
    for (const char* name : names) calls.push_back({name, run});
  };
  add({"open", "open64", "__open", "__open64", "__open_2", "__open64_2"}, [](auto name, auto path) {
    return Close(Named<int(const char*, int)>(name)(path, O_RDONLY));
  });
  add({"openat", "openat64", "__openat_2", "__openat64_2"}, [](auto name, auto path) {
    return Close(Named<int(int, const char*, int)>(name)(-1, path, O_RDONLY));
  });
  add({"fopen", "fopen64"}, [](auto name, auto path) {
    FILE* const stream = Named<FILE*(const char*, const char*)>(name)(path, "r");
    return stream == nullptr ? -1L : fclose(stream);
  });
  add({"freopen", "freopen64"}, [](auto name, auto path) {
    FILE* const stream =
        Named<FILE*(const char*, const char*, FILE*)>(name)(path, "r", fopen("/dev/null", "r"));
    return stream == nullptr ? -1L : fclose(stream);
  });
  add({"access", "eaccess", "euidaccess"},
      [](auto name, auto path) -> long { return Named<int(const char*, int)>(name)(path, R_OK); });
  add({"faccessat"}, [](auto name, auto path) -> long {
    return Named<int(int, const char*, int, int)>(name)(-1, path, R_OK, 0);
  });
  add({"chmod", "lchmod"}, [](auto name, auto path) -> long {
    return Named<int(const char*, mode_t)>(name)(path, 0600);
  });
  add({"fchmodat"}, [](auto name, auto path) -> long {
    return Named<int(int, const char*, mode_t, int)>(name)(-1, path, 0600, 0);
  });
  add({"chown", "lchown"}, [](auto name, auto path) -> long {
    return Named<int(const char*, uid_t, gid_t)>(name)(path, getuid(), getgid());
  });
  add({"fchownat"}, [](auto name, auto path) -> long {
    return Named<int(int, const char*, uid_t, gid_t, int)>(name)(-1, path, getuid(), getgid(), 0);
  });
  add({"utime", "utimes", "lutimes"}, [](auto name, auto path) -> long {
    return Named<int(const char*, const void*)>(name)(path, nullptr);
  });
  add({"futimesat"}, [](auto name, auto path) -> long {
    return Named<int(int, const char*, const void*)>(name)(-1, path, nullptr);
  });
  add({"utimensat"}, [](auto name, auto path) -> long {
    return Named<int(int, const char*, const void*, int)>(name)(-1, path, nullptr, 0);
  });
  add({"truncate", "truncate64"},
      [](auto name, auto path) -> long { return Named<int(const char*, off_t)>(name)(path, 4); });
  add({"statfs", "statfs64", "__statfs"}, [](auto name, auto path) -> long {
    struct statfs status;
    return Named<int(const char*, void*)>(name)(path, &status);
  });
  add({"statvfs", "statvfs64"}, [](auto name, auto path) -> long {
    struct statvfs status;
    return Named<int(const char*, void*)>(name)(path, &status);
  });
  add({"stat", "stat64", "lstat", "lstat64"}, [](auto name, auto path) -> long {
    struct stat status;
    return Named<int(const char*, void*)>(name)(path, &status);
  });
  add({"fstatat", "fstatat64"}, [](auto name, auto path) -> long {
    struct stat status;
    return Named<int(int, const char*, void*, int)>(name)(-1, path, &status, 0);
  });
  add({"__xstat", "__xstat64", "__lxstat", "__lxstat64"}, [](auto name, auto path) -> long {
    struct stat status;
    return Named<int(int, const char*, void*)>(name)(1, path, &status);
  });
  add({"__fxstatat", "__fxstatat64"}, [](auto name, auto path) -> long {
    struct stat status;
    return Named<int(int, int, const char*, void*, int)>(name)(1, -1, path, &status, 0);
  });
  add({"statx"}, [](auto name, auto path) -> long {
    struct statx status;
    return Named<int(int, const char*, int, unsigned, void*)>(name)(-1, path, 0, STATX_BASIC_STATS,
                                                                    &status);
  });
  add({"pathconf"}, [](auto name, auto path) {
    // The answer of 127 comes for any path: the length of a link's text.
    return Named<long(const char*, int)>(name)(path, _PC_LINK_MAX);
  });
  add({"ftok"}, [](auto name, auto path) -> long {
    return Named<key_t(const char*, int)>(name)(path, 1) == -1 ? -1 : 0;
  });
  add({"inotify_add_watch"}, [](auto name, auto path) -> long {
    const int fd = inotify_init();
    const int result = Named<int(int, const char*, std::uint32_t)>(name)(fd, path, IN_OPEN);
    const int why = errno;
    close(fd);
    errno = why;
    return result;
  });
  add({"setxattr", "lsetxattr"}, [](auto name, auto path) {
    return Found(Named<int(const char*, const char*, const void*, std::size_t, int)>(name)(
        path, "user.x", "y", 1, XATTR_REPLACE));
  });
  add({"getxattr", "lgetxattr"}, [](auto name, auto path) {
    return Found(Named<ssize_t(const char*, const char*, void*, std::size_t)>(name)(path, "user.x",
                                                                                    nullptr, 0));
  });
  add({"listxattr", "llistxattr"}, [](auto name, auto path) {
    return Found(Named<ssize_t(const char*, char*, std::size_t)>(name)(path, nullptr, 0));
  });
  add({"removexattr", "lremovexattr"}, [](auto name, auto path) {
    return Found(Named<int(const char*, const char*)>(name)(path, "user.x"));
  });
  add({"realpath"}, [](auto name, auto path) -> long {
    char resolved[PATH_MAX];
    return Named<char*(const char*, char*)>(name)(path, resolved) == nullptr ? -1 : 0;
  });
  add({"__realpath_chk"}, [](auto name, auto path) -> long {
    char resolved[PATH_MAX];
    return Named<char*(const char*, char*, std::size_t)>(name)(path, resolved, PATH_MAX) == nullptr
               ? -1
               : 0;
  });
  add({"canonicalize_file_name"}, [](auto name, auto path) -> long {
    char* const resolved = Named<char*(const char*)>(name)(path);
    free(resolved);
    return resolved == nullptr ? -1 : 0;
  });
  add({"syscall"}, [](auto, auto path) {
    const open_how how = {.flags = O_RDONLY, .mode = 0, .resolve = 0};
    struct statx status;
    if (syscall(SYS_statx, -1, path, 0, STATX_BASIC_STATS, &status) != 0) return -1L;
    if (Close(static_cast<int>(syscall(SYS_openat2, -1, path, &how, sizeof(how)))) != 0) return -1L;
    return Close(static_cast<int>(syscall(SYS_openat, -1, path, O_RDONLY)));
  });
#ifdef SYS_open
  add({"syscall"},
      [](auto, auto path) { return Close(static_cast<int>(syscall(SYS_open, path, O_RDONLY))); });
#endif
  return calls;
}

TEST_F(DevicesFrontTest, EveryFunctionOfAFileFindsAKeptOne) {
  for (const Call& call : CallsOfFile()) {
    errno = E2BIG;
    EXPECT_GE(call.run(call.name, "/proc/xen/file"), 0)
        << call.name << ": " << std::strerror(errno);
    EXPECT_EQ(call.run(call.name, "/proc/xen/none"), -1) << call.name;
    EXPECT_EQ(errno, ENOENT) << call.name;
    // And what is not kept.
    EXPECT_GE(call.run(call.name, Kept("/proc/xen/file").c_str()), 0) << call.name;
    EXPECT_EQ(call.run(call.name, "/nowhere/file"), -1) << call.name;
    EXPECT_EQ(errno, ENOENT) << call.name;
  }
}

TEST_F(DevicesFrontTest, EveryFunctionOfAFolderFindsAKeptOne) {
  std::vector<Call> calls;
  for (const char* name : {"scandir", "scandir64"}) {
    calls.push_back({name, [](auto named, auto path) -> long {
                       dirent** list;
                       return Named<int(const char*, dirent***, void*, void*)>(named)(
                           path, &list, nullptr, nullptr);
                     }});
  }
  for (const char* name : {"scandirat", "scandirat64"}) {
    calls.push_back({name, [](auto named, auto path) -> long {
                       dirent** list;
                       return Named<int(int, const char*, dirent***, void*, void*)>(named)(
                           -1, path, &list, nullptr, nullptr);
                     }});
  }
  calls.push_back({"opendir", [](auto, auto path) -> long {
                     DIR* const folder = opendir(path);
                     return folder == nullptr ? -1 : closedir(folder);
                   }});
  calls.push_back({"chdir", [](auto, auto path) -> long {
                     const int before = open(".", O_PATH);
                     const int result = chdir(path);
                     const int why = errno;
                     EXPECT_EQ(fchdir(before), 0);
                     close(before);
                     errno = why;
                     return result;
                   }});
  for (const char* name : {"ftw", "ftw64"}) {
    calls.push_back({name, [](auto named, auto path) -> long {
                       return Named<decltype(ftw)>(named)(
                           path, [](auto, auto, auto) { return 0; }, 4);
                     }});
  }
  for (const char* name : {"nftw", "nftw64"}) {
    calls.push_back({name, [](auto named, auto path) -> long {
                       return Named<decltype(nftw)>(named)(
                           path, [](auto, auto, auto, auto) { return 0; }, 4, FTW_PHYS);
                     }});
  }
  for (const Call& call : calls) {
    EXPECT_GE(call.run(call.name, "/proc/xen"), 0) << call.name << ": " << std::strerror(errno);
    EXPECT_EQ(call.run(call.name, "/proc/xen/none"), -1) << call.name;
    EXPECT_EQ(errno, ENOENT) << call.name;
  }
}

TEST_F(DevicesFrontTest, EveryFunctionThatMakesAFileMakesItInTheMachinesFolder) {
  const std::vector<Call> calls = {
      {"mkdir", [](auto, auto path) -> long { return mkdir(path, 0700); }},
      {"mkdirat", [](auto, auto path) -> long { return mkdirat(-1, path, 0700); }},
      {"mkfifo", [](auto, auto path) -> long { return mkfifo(path, 0600); }},
      {"mkfifoat", [](auto, auto path) -> long { return mkfifoat(-1, path, 0600); }},
      {"mknod", [](auto, auto path) -> long { return mknod(path, S_IFIFO | 0600, 0); }},
      {"mknodat", [](auto, auto path) -> long { return mknodat(-1, path, S_IFIFO | 0600, 0); }},
      {"__xmknod",
       [](auto name, auto path) -> long {
         dev_t device = 0;
         return Named<int(int, const char*, mode_t, dev_t*)>(name)(0, path, S_IFIFO | 0600,
                                                                   &device);
       }},
      {"__xmknodat",
       [](auto name, auto path) -> long {
         dev_t device = 0;
         return Named<int(int, int, const char*, mode_t, dev_t*)>(name)(0, -1, path, S_IFIFO | 0600,
                                                                        &device);
       }},
      {"creat", [](auto, auto path) { return Close(creat(path, 0600)); }},
      {"creat64",
       [](auto name, auto path) {
         return Close(Named<int(const char*, mode_t)>(name)(path, 0600));
       }},
      {"open", [](auto, auto path) { return Close(open(path, O_CREAT | O_EXCL | O_RDWR, 0600)); }},
      {"openat",
       [](auto, auto path) { return Close(openat(-1, path, O_CREAT | O_EXCL | O_RDWR, 0600)); }},
      {"fopen",
       [](auto, auto path) -> long {
         FILE* const stream = fopen(path, "wx");
         return stream == nullptr ? -1 : fclose(stream);
       }},
      {"link", [](auto, auto path) -> long { return link("/proc/xen/file", path); }},
      {"linkat", [](auto, auto path) -> long { return linkat(-1, "/proc/xen/file", -1, path, 0); }},
      {"symlink", [](auto, auto path) -> long { return symlink("/proc/xen/file", path); }},
      {"symlinkat", [](auto, auto path) -> long { return symlinkat("/proc/xen/file", -1, path); }},
      {"rename", [](auto, auto path) -> long { return rename("/proc/xen/other", path); }},
      {"renameat",
       [](auto, auto path) -> long { return renameat(-1, "/proc/xen/other", -1, path); }},
      {"renameat2",
       [](auto, auto path) -> long {
         return renameat2(-1, "/proc/xen/other", -1, path, RENAME_NOREPLACE);
       }},
      {"bind",
       [](auto, auto path) -> long {
         sockaddr_un name = {};
         name.sun_family = AF_UNIX;
         snprintf(name.sun_path, sizeof(name.sun_path), "%s", path);
         const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
         const int result = bind(fd, reinterpret_cast<sockaddr*>(&name), sizeof(name));
         close(fd);
         return result;
       }},
  };
  for (const Call& call : calls) {
    Write(Kept("/proc/xen/other"), "moved");
    EXPECT_EQ(call.run(call.name, "/proc/xen/new"), 0) << call.name << ": " << std::strerror(errno);
    struct stat status;
    EXPECT_EQ(lstat(Kept("/proc/xen/new").c_str(), &status), 0) << call.name;
    EXPECT_EQ(remove(Kept("/proc/xen/new").c_str()), 0) << call.name;
  }
}

TEST_F(DevicesFrontTest, AFileOfNoNameHasItsMode) {
  const int fd = open("/proc/xen", O_TMPFILE | O_RDWR, 0640);
  struct stat status;
  if (fd < 0) {
    EXPECT_EQ(errno, EOPNOTSUPP);
  } else {
    EXPECT_EQ(fstat(fd, &status), 0);
    EXPECT_EQ(status.st_mode, S_IFREG | 0640U);
    close(fd);
  }
}

TEST_F(DevicesFrontTest, EveryFunctionThatRemovesAFileRemovesItFromTheMachinesFolder) {
  const std::vector<Call> calls = {
      {"rmdir", [](auto, auto path) -> long { return rmdir(path); }},
      {"unlink", [](auto, auto path) -> long { return unlink(path); }},
      {"unlinkat", [](auto, auto path) -> long { return unlinkat(-1, path, 0); }},
      {"remove", [](auto, auto path) -> long { return remove(path); }},
  };
  for (const Call& call : calls) {
    const std::string kept = Kept("/proc/xen/old");
    if (call.name == std::string("rmdir")) {
      mkdir(kept.c_str(), 0700);
    } else {
      Write(kept, "");
    }
    EXPECT_EQ(call.run(call.name, "/proc/xen/old"), 0) << call.name;
    EXPECT_FALSE(std::filesystem::exists(kept)) << call.name;
  }
}

TEST_F(DevicesFrontTest, TemporaryFilesAreMadeInTheMachinesFolder) {
  struct Template {
    const char* name;
    std::string suffix;
    std::function<int(const char* name, char* path)> make;
  };
  const auto one = [](auto name, char* path) { return Named<int(char*)>(name)(path); };
  const auto two = [](int number) {
    return [number](auto name, char* path) { return Named<int(char*, int)>(name)(path, number); };
  };
  const auto three = [](auto name, char* path) {
    return Named<int(char*, int, int)>(name)(path, 4, O_CLOEXEC);
  };
  for (const Template& made : std::vector<Template>{
           {"mkstemp", "", one},
           {"mkstemp64", "", one},
           {"mkostemp", "", two(O_CLOEXEC)},
           {"mkostemp64", "", two(O_CLOEXEC)},
           {"mkstemps", ".txt", two(4)},
           {"mkstemps64", ".txt", two(4)},
           {"mkostemps", ".txt", three},
           {"mkostemps64", ".txt", three},
           {"mkdtemp", "",
            [](auto name, char*path) {
              EXPECT_EQ(Named<char*(char*)>(name)(path), path);
              return open(path, O_DIRECTORY);
            }},
           {"mktemp", "",
            [](auto name, char*path) {
              EXPECT_EQ(Named<char*(char*)>(name)(path), path);
              return open(path, O_CREAT | O_EXCL, 0600);
            }},
       }) {
    std::string path = "/proc//xen/./new-XXXXXX" + made.suffix;
    const std::string before = path;
    const int fd = made.make(made.name, path.data());
    EXPECT_GE(fd, 0) << made.name;
    EXPECT_EQ(Close(fd), 0);
    EXPECT_NE(path, before) << made.name;
    const std::size_t letters = path.size() - made.suffix.size() - 6;
    EXPECT_EQ(path.substr(0, letters), before.substr(0, letters)) << made.name;
    EXPECT_EQ(path.substr(letters + 6), made.suffix) << made.name;
    EXPECT_TRUE(std::filesystem::exists(Kept("/proc/xen/new-" + path.substr(letters))))
        << made.name;
  }
}

TEST_F(DevicesFrontTest, ATemplateThatIsNoneIsRefused) {
  for (std::string path : {"/proc/xen/new-XXXXX", "/proc/xen", "/XXXXXX", "XX", ""}) {
    const std::string before = path;
    errno = 0;
    if (path != "/XXXXXX") {
      EXPECT_EQ(mkstemp(path.data()), -1) << before;
      EXPECT_EQ(errno, EINVAL) << before;
    }
    for (const int suffix : {-1, 1, 9, 100, INT_MAX}) {
      EXPECT_EQ(mkstemps(path.data(), suffix), -1) << before << suffix;
      EXPECT_EQ(errno, EINVAL);
    }
    EXPECT_EQ(path, before);
  }
  std::string none = "/proc/xen/none/XXXXXX";
  EXPECT_EQ(mkdtemp(none.data()), nullptr);
  EXPECT_EQ(errno, ENOENT);
  EXPECT_EQ(*mktemp(none.data()), '\0');
}

// Each function of a path in a folder.
TEST_F(DevicesFrontTest, EveryFunctionInAFolderLeadsIntoTheMachinesFiles) {
  const int proc = open("/proc", O_RDONLY | O_DIRECTORY);
  struct stat status;
  struct statx extended;
  char link[64];
  dirent** list;
  const auto run = Kept("/run");
  for (const std::function<long()>& call : std::vector<std::function<long()>>{
           [&] { return faccessat(proc, "xen/file", R_OK, 0); },
           [&] { return fchmodat(proc, "xen/file", 0600, 0); },
           [&] { return fchownat(proc, "xen/file", getuid(), getgid(), 0); },
           [&] { return futimesat(proc, "xen/file", nullptr); },
           [&] { return utimensat(proc, "xen/file", nullptr, 0); },
           [&] { return fstatat(proc, "xen/file", &status, 0); },
           [&] { return statx(proc, "xen/file", 0, STATX_BASIC_STATS, &extended); },
           [&] { return Close(openat(proc, "xen/file", O_RDONLY)); },
           [&] {
             return Close(Named<int(int, const char*, int)>("__openat_2")(proc, "xen/file", 0));
           },
           [&] { return mkdirat(proc, "xen/a", 0700); },
           [&] { return mkfifoat(proc, "xen/b", 0700); },
           [&] { return mknodat(proc, "xen/c", S_IFIFO | 0700, 0); },
           [&] { return linkat(proc, "xen/file", proc, "xen/d", 0); },
           [&] { return symlinkat("xen/file", proc, "xen/e"); },
           [&] { return readlinkat(proc, "xen/e", link, sizeof(link)) == 8 ? 0 : -1; },
           [&] { return renameat(proc, "xen/d", proc, "xen/f"); },
           [&] { return renameat2(proc, "xen/f", proc, "xen/g", 0); },
           [&] { return unlinkat(proc, "xen/g", 0); },
           [&] { return scandirat(proc, "xen", &list, nullptr, nullptr) > 0 ? 0 : -1; },
       }) {
    static int number = 0;
    errno = 0;
    EXPECT_EQ(call(), 0) << number << ": " << std::strerror(errno);
    ++number;
  }
  EXPECT_EQ(std::string(link, 8), "xen/file");
  Write(Kept("/var/lib/xen/script"), "#!/bin/sh\necho started\n");
  ASSERT_EQ(chmod("/var/lib/xen/script", 0700), 0);
  const int lib = open("/var/lib", O_RDONLY | O_DIRECTORY);
  const std::string program = "import os\nos.chdir('/var/lib')\nos.execv('xen/script', ['x'])\n";
  EXPECT_EQ(Output("/usr/bin/python3 -c \"" + program + "\""), "started\n");
  close(lib);
  close(proc);
}

TEST_F(DevicesFrontTest, WhatTheDevicesHaveOpenIsNotTheProgramsToClose) {
  const auto is_open = [](int fd) { return fcntl(fd, F_GETFD) >= 0; };
  const auto open_all = [] {
    for (int fd = 500; fd < 506; ++fd) ASSERT_EQ(dup2(0, fd), fd);
  };
  const auto open_ones = [&is_open] {
    std::vector<int> found;
    for (int fd = 498; fd < 520; ++fd) {
      if (is_open(fd)) found.push_back(fd);
    }
    return found;
  };
  open_all();
  Fake().own[0] = 501;
  Fake().own[1] = 504;
  for (const int own : Fake().own) {
    for (const auto& refused : std::vector<std::pair<std::function<long()>, int>>{
             {[own] { return close(own); }, EBADF},
             {[own] { return syscall(SYS_close, own); }, EBADF},
             {[own] { return dup2(0, own); }, EBUSY},
             {[own] { return syscall(SYS_dup2, 0, own); }, EBUSY},
             {[own] { return dup3(0, own, 0); }, EBUSY},
             {[own] { return syscall(SYS_dup3, 0, own, 0); }, EBUSY}}) {
      errno = 0;
      EXPECT_EQ(refused.first(), -1);
      EXPECT_EQ(errno, refused.second);
    }
  }
  EXPECT_EQ(close(500), 0);
  EXPECT_THAT(open_ones(), ElementsAre(501, 502, 503, 504, 505));
  EXPECT_EQ(close_range(501, 501, 0), 0);
  EXPECT_EQ(close_range(500, 502, 0), 0);
  EXPECT_THAT(open_ones(), ElementsAre(501, 503, 504, 505));
  EXPECT_EQ(syscall(SYS_close_range, 504, 505, 0), 0);
  EXPECT_THAT(open_ones(), ElementsAre(501, 503, 504));
  EXPECT_EQ(close_range(498, ~0U, 0), 0);
  EXPECT_THAT(open_ones(), ElementsAre(501, 504));
  errno = 0;
  EXPECT_EQ(close_range(504, 501, 0), -1);
  EXPECT_EQ(errno, EINVAL);
  Fake().own[0] = Fake().own[1] = 0;
  open_all();
  Fake().own[0] = 501;
  Fake().own[1] = 504;
  closefrom(500);
  EXPECT_THAT(open_ones(), ElementsAre(501, 504));
  Fake().own[0] = Fake().own[1] = 0;
  closefrom(500);
  EXPECT_THAT(open_ones(), ElementsAre());
}

}  // namespace
}  // namespace xencomm
