// The preloaded front, over a fake library of the devices and a folder of files: every function of
// the C library that leads to either, by each of its names. The program starts itself anew with the
// front in front of it.

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/openat2.h>
#include <spawn.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>
#include <wordexp.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "hcall/devices/kept_paths.h"
#include "tests/unit/fake_devices.h"

namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// FRONT: the preload library, beside the fake one.
constexpr char kFront[] = FRONT;
constexpr char kDevices[] = FAKE_DEVICES;
constexpr char kMachine[] = "/nowhere/machine";

// A function by its name, as the dynamic linker finds it for a program.
template <typename Function>
Function* Named(const char* name) {
  void* const function = dlsym(RTLD_DEFAULT, name);
  if (function == nullptr) ADD_FAILURE() << "no " << name;
  return reinterpret_cast<Function*>(function);
}

std::string Files() { return getenv(XENCOMM_FILES_VARIABLE); }
// Where the machine keeps a path's file: the tests' own way to it.
std::string Kept(const std::string& path) { return Files() + path; }

void Write(const std::string& file, const std::string& text) {
  std::filesystem::create_directories(std::filesystem::path(file).parent_path());
  std::ofstream(file) << text;
}
std::string Read(const std::string& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}
std::string ReadAll(int fd) {
  std::string text(64, '\0');
  const ssize_t length = read(fd, text.data(), text.size());
  text.resize(length < 0 ? 0 : static_cast<std::size_t>(length));
  return text;
}
std::string ReadAndClose(int fd) {
  std::string text = fd < 0 ? std::strerror(errno) : ReadAll(fd);
  if (fd >= 0) close(fd);
  return text;
}
// What a shell's command prints.
std::string Output(const std::string& command) {
  FILE* const stream = popen(command.c_str(), "r");
  std::string text;
  for (int byte; (byte = getc(stream)) != EOF;) text += static_cast<char>(byte);
  EXPECT_EQ(pclose(stream), 0) << command;
  return text;
}

// How a child ends that runs `start`; what it prints is in `output`.
int Child(const std::function<void()>& start, std::string* output) {
  int ends[2];
  EXPECT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDOUT_FILENO);
    dup2(ends[1], STDERR_FILENO);
    start();
    _exit(99);
  }
  close(ends[1]);
  output->clear();
  for (std::string more; !(more = ReadAll(ends[0])).empty();) *output += more;
  close(ends[0]);
  int status;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return status;
}

fake_state& Fake() {
  static fake_state* const fake = [] {
    close(open("/dev/xen/privcmd", O_RDWR));  // which loads it
    void* const library = dlopen(kDevices, RTLD_NOW);
    return reinterpret_cast<fake_state* (*)()>(dlsym(library, "fake_devices"))();
  }();
  return *fake;
}

class DevicesFrontTest : public testing::Test {
 protected:
  DevicesFrontTest() {
    for (const char* device : {"/dev/xen/privcmd", "/dev/xen/hypercall", "/dev/xen/evtchn",
                               "/dev/xen/xenbus", "/proc/xen/privcmd", "/proc/xen/xenbus"}) {
      Write(Kept(device), "plain");
    }
    Write(Kept("/proc/xen/capabilities"), "control_d\n");
    Write(Kept("/proc/xen/file"), "kept");
    for (const char* folder : {"/run/lock", "/var/lib/xen"}) {
      std::filesystem::create_directories(Kept(folder));
    }
    const int opened = Fake().opened;
    const std::string machine = Fake().machine;
    Fake() = {};
    Fake().opened = opened;
    snprintf(Fake().machine, sizeof(Fake().machine), "%s", machine.c_str());
  }
  ~DevicesFrontTest() override {
    for (const auto& entry : std::filesystem::directory_iterator(Files())) {
      std::filesystem::remove_all(entry);
    }
  }
};

struct Call {
  const char* name;
  std::function<long(const char* name, const char* path)> run;
};

long Close(int fd) { return fd < 0 ? -1 : close(fd); }
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

TEST_F(DevicesFrontTest, EveryKeptPathIsKeptAndItsNeighboursAreNot) {
  for (std::string kept : {XENCOMM_KEPT_PATHS}) {
    const bool is_open = kept.back() == '*';
    if (is_open) kept.pop_back();
    Write(Kept(kept + "/in/it"), "kept");
    EXPECT_EQ(ReadAndClose(open((kept + "/in/it").c_str(), O_RDONLY)), "kept") << kept;
    EXPECT_EQ(access(kept.c_str(), F_OK), 0) << kept;
    // A name that goes on is another; one that is shorter is, too.
    Write(Kept(kept + "-front-test"), "more");
    EXPECT_EQ(ReadAndClose(open((kept + "-front-test").c_str(), O_RDONLY)),
              is_open ? "more" : "No such file or directory")
        << kept;
    Write(Kept(kept.substr(0, kept.size() - 1) + "/front-test"), "less");
    EXPECT_NE(access((kept.substr(0, kept.size() - 1) + "/front-test").c_str(), F_OK), 0) << kept;
  }
  Write(Kept("/front-test"), "root");
  EXPECT_NE(access("/front-test", F_OK), 0);
  EXPECT_EQ(access(("/nowhere/.." + Kept("/proc/xen/file")).c_str(), F_OK), -1);
}

TEST_F(DevicesFrontTest, APathIsReadAsTheKernelReadsIt) {
  Write(Kept("/run/xen/file"), "run");
  Write(Kept("/run/lock/xl"), "lock");
  mkdir(Kept("/proc/xen/folder").c_str(), 0700);
  const std::vector<std::pair<const char*, const char*>> same = {
      {"//proc///xen//file", "kept"},
      {"/./proc/./xen/./file", "kept"},
      {"/proc/xen/../xen/file", "kept"},
      {"/proc/xen/folder/../file", "kept"},
      {"/../proc/xen/file", "kept"},
      {"/usr/../proc/xen/file", "kept"},
      {"/var/run/xen/file", "run"},
      {"/var/./run//xen/file", "run"},
      {"/var/lock/xl", "lock"},
      {"/run/lock/xl", "lock"},
      {"/proc/xen/file/", "Not a directory"},
      {"/proc/xen/file/.", "Not a directory"},
      {"/proc/xen/folder/", "Is a directory"},
      {"/proc/xen/folder/..", "Is a directory"},
      {"/proc/xen/.file", "No such file or directory"},
      {"/proc/xen/..file", "No such file or directory"},
      {"/proc/.xen/file", "No such file or directory"},
      {"proc/xen/file", "No such file or directory"},
      {"", "No such file or directory"},
      {"/dev/xen/privcmd", "pri"},
      {"/dev//xen/../xen/./privcmd", "pri"},
      {"/dev/xen/hypercall", "hyp"},
      {"/dev/xen/evtchn", "evt"},
      {"/dev/xen/xenbus", "xen"},
      {"/proc/xen/privcmd", "pri"},
      {"/proc/xen/xenbus", "xen"},
      {"/proc/xen/evtchn", "No such file or directory"},
      {"/dev/xen/privcmd/", "Not a directory"},
      {"/dev/xen/privcmd/.", "Not a directory"},
      {"/dev/xen/privcmd2", "No such file or directory"},
      {"/dev/xen/privcm", "No such file or directory"},
      {"/dev/xen/gntdev", "No such file or directory"},
  };
  for (const auto& [path, text] : same) {
    const int fd = open(path, O_RDONLY | O_NOFOLLOW);
    std::string read = ReadAndClose(fd);
    if (fd >= 0 && read.empty()) read = "Is a directory";
    EXPECT_EQ(read, text) << path;
  }
}

TEST_F(DevicesFrontTest, APathThatIsTooLongIsRefused) {
  for (const std::size_t length : {PATH_MAX - 1, PATH_MAX, PATH_MAX + 1, 100 * PATH_MAX}) {
    std::string path = "/proc/xen/";
    while (path.size() < length) path += path.size() % 2 == 0 ? "a" : "/";
    EXPECT_EQ(open(path.c_str(), O_RDONLY), -1);
    EXPECT_EQ(errno, ENAMETOOLONG) << length;
    // Long as it is, the kernel reads it.
    std::string slashes = "/proc/xen/" + std::string(length - 14, '/') + "file";
    ASSERT_EQ(slashes.size(), length);
    EXPECT_EQ(access(slashes.c_str(), F_OK), length < PATH_MAX ? 0 : -1) << length;
  }
  std::string full = "/proc/xen/";
  while (full.size() < PATH_MAX - 1 - Files().size()) {
    full += full.size() % 2 == 0 ? "a" : "/";
  }
  EXPECT_EQ(access(full.c_str(), F_OK), -1);
  EXPECT_EQ(errno, ENOENT);
  EXPECT_EQ(access((full + "a").c_str(), F_OK), -1);
  EXPECT_EQ(errno, ENAMETOOLONG);
}

TEST_F(DevicesFrontTest, ANullPathIsTheKernelsToRefuse) {
  const char* volatile null = nullptr;
  EXPECT_EQ(Named<int(const char*, int)>("open")(null, O_RDONLY), -1);
  EXPECT_EQ(errno, EFAULT);
  struct stat status;
  EXPECT_EQ(Named<int(const char*, struct stat*)>("stat")(null, &status), -1);
  EXPECT_EQ(errno, EFAULT);
  EXPECT_EQ(Named<int(const char*, const char*)>("rename")(null, "/proc/xen/file"), -1);
  EXPECT_EQ(errno, EFAULT);
  EXPECT_EQ(Named<int(int, const void*, socklen_t)>("connect")(-1, null, 110), -1);
}

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

// What a process in this folder makes of a path.
std::string OpenedIn(const std::string& folder, const char* path) {
  std::string text;
  Child(
      [&] {
        if (chdir(folder.c_str()) != 0) return;
        const std::string read = ReadAndClose(open(path, O_RDONLY));
        if (write(STDOUT_FILENO, read.data(), read.size()) < 0) return;
        _exit(0);
      },
      &text);
  const int at = open(folder.c_str(), O_RDONLY | O_DIRECTORY);
  EXPECT_EQ(ReadAndClose(openat(at, path, O_RDONLY)), text) << folder << " " << path;
  EXPECT_EQ(ReadAndClose(static_cast<int>(syscall(SYS_openat, at, path, O_RDONLY))), text);
  close(at);
  return text;
}

TEST_F(DevicesFrontTest, ARelativePathLeadsIntoTheMachinesFilesAndOut) {
  const std::string none = "No such file or directory";
  Write(Kept("/dev/evtchn"), "other");
  Write(Kept("/proc/xen/evtchn"), "no device");
  Write(Kept("/run/xenstored/lib/file"), "deep");
  std::filesystem::create_directories(Kept("/run/xenstored/usr"));
  for (const auto& [folder, path, text] :
       std::vector<std::tuple<const char*, const char*, std::string>>{
           {"/", "proc/xen/file", "kept"},
           {"/", ".//./proc/./xen/file", "kept"},
           {"/", "dev/xen/evtchn", "evt"},
           {"/proc", "xen/file", "kept"},
           {"/proc", "../proc/xen/file", "kept"},
           {"/usr", "../proc/xen/file", "kept"},
           {"/proc", "xenon/file", none},
           {"/proc", "file", none},
           {"/dev/xen", "evtchn", "evt"},
           {"/dev/xen", "./evtchn", "evt"},
           {"/dev/xen", "../xen/evtchn", "evt"},
           {"/proc/xen", "xenbus", "xen"},
           {"/proc/xen", "evtchn", "no device"},
           {"/proc/xen", "file", "kept"},
           {"/run/xenstored", "lib/file", "deep"},
           {"/run/xenstored/usr", "../lib/file", "deep"},
           {"/run/xenstored/usr", "../../../proc/xen/file", "kept"},
           {"/run/xenstored", "../../etc/hostname", Read("/etc/hostname")},
           {"/proc/xen", "../../nowhere", none},
           {"/proc/xen", "", none},
       }) {
    EXPECT_EQ(OpenedIn(folder, path), text) << folder << " " << path;
  }
  EXPECT_EQ(OpenedIn(Kept("/dev"), "evtchn"), "other");
  EXPECT_EQ(openat(-1, "evtchn", O_RDONLY), -1);
  EXPECT_EQ(errno, EBADF);
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
  const std::string longest = names + "xenbus/";
  for (const auto& [name, device] : std::vector<std::pair<std::string, int>>{
           {names + "privcmd/front-test", XENCOMM_PRIVCMD},
           {names + "xenbus/front-test", XENCOMM_XENBUS},
           {longest + std::string(108 - longest.size(), '1'), XENCOMM_XENBUS},
           {names + "privcmd", XENCOMM_NO_DEVICE},
           {names + "privcmd2/1", XENCOMM_NO_DEVICE},
           {names + "priv/1", XENCOMM_NO_DEVICE},
           {names + "gntdev/1", XENCOMM_NO_DEVICE},
           {names, XENCOMM_NO_DEVICE},
           {zero + "xencommprivcmd/1", XENCOMM_NO_DEVICE},
           {zero + "x", XENCOMM_NO_DEVICE},
           {zero + "other/privcmd/1", XENCOMM_NO_DEVICE},
       }) {
    const int fd = ConnectedTo(name);
    Fake().asked = 0;
    Fake().device = XENCOMM_NO_DEVICE;
    EXPECT_EQ(ioctl(fd, 0x305000UL, nullptr), device == XENCOMM_NO_DEVICE ? -1 : 42) << name;
    EXPECT_EQ(Fake().device, device) << name;
    close(fd);
  }
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
  EXPECT_EQ(mremap(target, 4096, 1UL << 60, 0), MAP_FAILED);
  EXPECT_THAT(gone(), ElementsAre());
  munmap(target, 3 * 4096);
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

TEST_F(DevicesFrontTest, TheDevicesOwnCallsAreTheCLibrarys) {
  close(open("/dev/xen/privcmd", O_RDWR));
  EXPECT_EQ(Fake().outside, ENOENT);
  EXPECT_EQ(Fake().unmapped, 0);
}

TEST_F(DevicesFrontTest, ALinkIsShownAsItIsSeenFromOutside) {
  ASSERT_EQ(symlink("/proc/xen/file", "/proc/xen/link"), 0);
  ASSERT_EQ(symlink("file", "/proc/xen/relative"), 0);
  ASSERT_EQ(symlink("/nowhere", "/proc/xen/elsewhere"), 0);
  EXPECT_EQ(ReadAndClose(open("/proc/xen/link", O_RDONLY)), "kept");
  EXPECT_EQ(ReadAndClose(open("/proc/xen/relative", O_RDONLY)), "kept");
  const auto links = {std::make_pair("/proc/xen/link", std::string("/proc/xen/file")),
                      std::make_pair("/proc/xen/relative", std::string("file")),
                      std::make_pair("/proc/xen/elsewhere", std::string("/nowhere"))};
  for (const auto& [link, text] : links) {
    for (const std::size_t size : {std::size_t{64}, std::size_t{4}, text.size()}) {
      char buffer[64];
      const auto read = [&](ssize_t length) {
        return length < 0 ? "failed" : std::string(buffer, static_cast<std::size_t>(length));
      };
      const std::string shown = text.substr(0, size);
      EXPECT_EQ(read(readlink(link, buffer, size)), shown);
      EXPECT_EQ(read(readlinkat(-1, link, buffer, size)), shown);
      EXPECT_EQ(read(Named<ssize_t(const char*, char*, std::size_t, std::size_t)>("__readlink_chk")(
                    link, buffer, size, sizeof(buffer))),
                shown);
      EXPECT_EQ(read(Named<ssize_t(int, const char*, char*, std::size_t, std::size_t)>(
                    "__readlinkat_chk")(-1, link, buffer, size, sizeof(buffer))),
                shown);
    }
  }
  char buffer[PATH_MAX];
  for (const char* path : {"/proc/xen/link", "/proc/xen/relative", "/proc/../proc/xen//file"}) {
    EXPECT_STREQ(realpath(path, buffer), "/proc/xen/file");
    char* const name = canonicalize_file_name(path);
    EXPECT_STREQ(name, "/proc/xen/file");
    free(name);
  }
  // The folder itself is no file of the machine's.
  EXPECT_EQ(realpath(Files().c_str(), buffer), Files());
  EXPECT_EQ(realpath((Files() + "/proc").c_str(), buffer), Files() + "/proc");
  EXPECT_EQ(readlink("/proc/xen/none", buffer, 10), -1);
  EXPECT_EQ(errno, ENOENT);

  const std::string before = std::filesystem::current_path();
  ASSERT_EQ(chdir("/proc/xen"), 0);
  EXPECT_STREQ(getcwd(buffer, sizeof(buffer)), "/proc/xen");
  EXPECT_STREQ(Named<char*(char*, std::size_t, std::size_t)>("__getcwd_chk")(buffer, sizeof(buffer),
                                                                             sizeof(buffer)),
               "/proc/xen");
  ASSERT_EQ(chdir(before.c_str()), 0);
  EXPECT_EQ(getcwd(buffer, sizeof(buffer)), before);
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

TEST_F(DevicesFrontTest, APatternFindsKeptFilesUnderTheirNames) {
  Write(Kept("/var/lib/xen/userdata-1"), "");
  Write(Kept("/var/lib/xen/userdata-2"), "");
  for (const char* name : {"glob", "glob64"}) {
    glob_t found = {};
    const auto seek = Named<int(const char*, int, void*, glob_t*)>(name);
    EXPECT_EQ(seek("/var/lib/xen/userdata-*", 0, nullptr, &found), 0);
    ASSERT_EQ(found.gl_pathc, 2U);
    EXPECT_STREQ(found.gl_pathv[1], "/var/lib/xen/userdata-2");
    EXPECT_EQ(seek("/dev/xen/privcm?", GLOB_APPEND, nullptr, &found), 0);
    ASSERT_EQ(found.gl_pathc, 3U);
    EXPECT_STREQ(found.gl_pathv[2], "/dev/xen/privcmd");
    EXPECT_EQ(found.gl_flags & GLOB_ALTDIRFUNC, 0);
    globfree(&found);
    found = {};
    EXPECT_EQ(seek("/et[c]/pass*d", GLOB_MARK, nullptr, &found), 0);
    EXPECT_STREQ(found.gl_pathv[0], "/etc/passwd");
    globfree(&found);
    found = {};
    EXPECT_EQ(seek("/proc/xe?/none*", 0, nullptr, &found), GLOB_NOMATCH);
  }
}

TEST_F(DevicesFrontTest, SocketsAreFoundByTheirNames) {
  const auto name_of = [](const std::string& path) {
    sockaddr_un name = {};
    name.sun_family = AF_UNIX;
    EXPECT_LT(path.size(), sizeof(name.sun_path) + 1);
    path.copy(name.sun_path, sizeof(name.sun_path));
    return name;
  };
  // As long as an address can be, in a folder whose name makes it longer.
  const std::string deep = "/run/xenstored/" + std::string(40, 'd');
  for (const std::string& path :
       {std::string("/run/xenstored/socket"), deep + "/" + std::string(108 - deep.size() - 1, 's'),
        deep + "/s"}) {
    std::filesystem::create_directories(Kept(path.substr(0, path.rfind('/'))));
    const sockaddr_un name = name_of(path);
    const auto address = reinterpret_cast<const sockaddr*>(&name);
    const int server = socket(AF_UNIX, SOCK_STREAM, 0);
    EXPECT_EQ(bind(server, address, sizeof(name)), 0) << std::strerror(errno);
    EXPECT_EQ(listen(server, 1), 0);
    struct stat status;
    EXPECT_EQ(lstat(Kept(path).c_str(), &status), 0);
    EXPECT_TRUE(S_ISSOCK(status.st_mode));
    for (const char* named : {"connect", "__connect"}) {
      const int client = socket(AF_UNIX, SOCK_STREAM, 0);
      const int next = dup(client);
      close(next);
      EXPECT_EQ(Named<int(int, const sockaddr*, socklen_t)>(named)(client, address, sizeof(name)),
                0)
          << std::strerror(errno);
      EXPECT_EQ(dup(client), next) << "a descriptor was left open";
      close(next);
      const int accepted = accept(server, nullptr, nullptr);
      EXPECT_GE(accepted, 0);
      close(accepted);
      close(client);
    }
    close(server);
    EXPECT_EQ(unlink(path.c_str()), 0);
    const int client = socket(AF_UNIX, SOCK_STREAM, 0);
    EXPECT_EQ(connect(client, address, sizeof(name)), -1);
    EXPECT_EQ(errno, ENOENT);
    close(client);
  }
  // A name of no path.
  const int client = socket(AF_UNIX, SOCK_STREAM, 0);
  const sockaddr_un none = name_of("/run/xenstored/" + std::string(50, 'n') + "/socket");
  EXPECT_EQ(connect(client, reinterpret_cast<const sockaddr*>(&none), sizeof(none)), -1);
  EXPECT_EQ(errno, ENOENT);
  for (const socklen_t length : {0U, 1U, 2U, 111U, 1U << 20}) {
    EXPECT_EQ(connect(client, reinterpret_cast<const sockaddr*>(&none), length), -1) << length;
    EXPECT_EQ(errno, EINVAL) << length;
  }
  close(client);
}

char kShell[] = "/bin/sh";
char kDashC[] = "-c";
char kCommand[] = "cat /proc/xen/capabilities; cat /dev/xen/evtchn; echo ${MARK-none}";
char* const kArguments[] = {kShell, kDashC, kCommand, nullptr};
char kMark[] = "MARK=mark";

TEST_F(DevicesFrontTest, AProgramIsOnTheMachineWhateverItsEnvironment) {
  char other_preload[] = "LD_PRELOAD=/nowhere/other.so";
  char* const empty[] = {nullptr};
  char* const marked[] = {kMark, nullptr};
  char* const preloads[] = {other_preload, kMark, nullptr};
  using Start = std::function<void(char* const* environment)>;
  const auto spawn = [](auto by, const char* file) {
    return [by, file](char* const* environment) {
      pid_t pid;
      int status;
      if (by(&pid, file, nullptr, nullptr, kArguments, environment) != 0) return;
      waitpid(pid, &status, 0);
      _exit(WEXITSTATUS(status));
    };
  };
  const std::vector<std::pair<const char*, Start>> starts = {
      {"execve", [](auto environment) { execve(kShell, kArguments, environment); }},
      {"execv",
       [](auto environment) {
         environ = const_cast<char**>(environment);
         execv(kShell, kArguments);
       }},
      {"execvp",
       [](auto environment) {
         environ = const_cast<char**>(environment);
         execvp("sh", kArguments);
       }},
      {"execvpe", [](auto environment) { execvpe("sh", kArguments, environment); }},
      {"execl",
       [](auto environment) {
         environ = const_cast<char**>(environment);
         execl(kShell, kShell, kDashC, kCommand, nullptr);
       }},
      {"execlp",
       [](auto environment) {
         environ = const_cast<char**>(environment);
         execlp("sh", kShell, kDashC, kCommand, nullptr);
       }},
      {"execle",
       [](auto environment) { execle(kShell, kShell, kDashC, kCommand, nullptr, environment); }},
      {"fexecve",
       [](auto environment) {
         fexecve(open(kShell, O_RDONLY | O_CLOEXEC), kArguments, environment);
       }},
      {"execveat", [](auto environment) { execveat(-1, kShell, kArguments, environment, 0); }},
      {"vfork",
       [](auto environment) {
         int status;
         const pid_t pid = vfork();
         if (pid == 0) {
           execve(kShell, kArguments, environment);
           _exit(1);
         }
         waitpid(pid, &status, 0);
         _exit(WEXITSTATUS(status));
       }},
      {"posix_spawn", spawn(posix_spawn, kShell)},
      {"posix_spawnp", spawn(posix_spawnp, "sh")},
      {"system",
       [](auto environment) {
         environ = const_cast<char**>(environment);
         _exit(system(kCommand));
       }},
      {"popen",
       [](auto environment) {
         environ = const_cast<char**>(environment);
         _exit(pclose(popen(kCommand, "w")));
       }},
  };
  for (const auto& [name, start] : starts) {
    const auto run = [&, start = start](char* const* environment) {
      std::string output;
      EXPECT_EQ(Child([&] { start(environment); }, &output), 0) << name;
      return output;
    };
    EXPECT_EQ(run(empty), "control_d\nevtnone\n") << name;
    EXPECT_EQ(run(marked), "control_d\nevtmark\n") << name;
    EXPECT_EQ(run(environ), "control_d\nevtnone\n") << name;
    // Its own library stays, which the dynamic linker misses aloud.
    EXPECT_THAT(run(preloads), AllOf(HasSubstr("/nowhere/other.so"), HasSubstr("\ncontrol_d\n"),
                                     HasSubstr("\nevtmark\n")))
        << name;
  }
  std::string output;
  EXPECT_EQ(Child([] { execve(kShell, kArguments, nullptr); }, &output), 0);
  EXPECT_EQ(output, "control_d\nevtnone\n");
  EXPECT_EQ(Child(
                [] {
                  clearenv();
                  wordexp_t words;
                  if (wordexp("$(cat /proc/xen/capabilities)", &words, 0) == 0)
                    puts(words.we_wordv[0]);
                  exit(0);
                },
                &output),
            0);
  EXPECT_EQ(output, "control_d\n");
}

TEST_F(DevicesFrontTest, AnEnvironmentIsOnlyGivenWhatItLacks) {
  const auto print = [](std::vector<std::string> settings) {
    std::vector<char*> environment;
    for (std::string& setting : settings) environment.push_back(setting.data());
    environment.push_back(nullptr);
    char program[] = "/usr/bin/env";
    char* const arguments[] = {program, nullptr};
    std::string output;
    Child([&] { execve(program, arguments, environment.data()); }, &output);
    std::vector<std::string> lines;
    std::istringstream stream(output);
    for (std::string line; std::getline(stream, line);) {
      if (line.find("ERROR") == std::string::npos) lines.push_back(line);
    }
    return lines;
  };
  const std::string preload = std::string("LD_PRELOAD=") + kFront;
  const std::string machine = std::string(XENCOMM_MACHINE_VARIABLE "=") + kMachine;
  const std::string files = XENCOMM_FILES_VARIABLE "=" + Files();
  const std::string other = XENCOMM_MACHINE_VARIABLE "=/another";
  EXPECT_THAT(print({}), testing::UnorderedElementsAre(preload, machine, files));
  EXPECT_THAT(print({preload, machine, files}), ElementsAre(preload, machine, files));
  EXPECT_THAT(print({preload + ":/nowhere/x.so", machine, files}),
              ElementsAre(preload + ":/nowhere/x.so", machine, files));
  EXPECT_THAT(print({machine, "LD_PRELOAD=/nowhere/x.so " + std::string(kFront), files}),
              ElementsAre(machine, "LD_PRELOAD=/nowhere/x.so " + std::string(kFront), files));
  EXPECT_THAT(print({"LD_PRELOAD=" + std::string(kFront) + "x"}),
              testing::UnorderedElementsAre(preload + ":" + kFront + "x", machine, files));
  EXPECT_THAT(print({"LD_PRELOAD="}), testing::UnorderedElementsAre(preload + ":", machine, files));
  EXPECT_THAT(print({"LD_PRELOADS=1"}),
              testing::UnorderedElementsAre("LD_PRELOADS=1", preload, machine, files));
  // Another machine's program stays there.
  EXPECT_THAT(print({other, files}), testing::UnorderedElementsAre(other, files, preload));
}

TEST_F(DevicesFrontTest, AKeptProgramStarts) {
  Write(Kept("/var/lib/xen/script"), "#!/bin/sh\necho started by $1\n");
  ASSERT_EQ(chmod("/var/lib/xen/script", 0700), 0);
  EXPECT_EQ(Output("/var/lib/xen/script test"), "started by test\n");
  char path[] = "/var/lib/xen/script";
  char name[] = "name";
  char* const arguments[] = {path, name, nullptr};
  for (const auto by : {posix_spawn, posix_spawnp}) {
    std::string output;
    Child(
        [&] {
          pid_t pid;
          int status;
          if (by(&pid, path, nullptr, nullptr, arguments, environ) != 0) return;
          waitpid(pid, &status, 0);
        },
        &output);
    EXPECT_EQ(output, "started by name\n");
  }
}

TEST_F(DevicesFrontTest, ASpawnsActionsOpenFilesAndDevices) {
  posix_spawn_file_actions_t actions;
  ASSERT_EQ(posix_spawn_file_actions_init(&actions), 0);
  const int next = dup(0);
  close(next);
  errno = E2BIG;
  EXPECT_EQ(posix_spawn_file_actions_addopen(&actions, 7, "/proc/xen/file", O_RDONLY, 0), 0);
  EXPECT_EQ(posix_spawn_file_actions_addopen(&actions, 8, "/dev/xen/evtchn", O_RDWR, 0), 0);
  EXPECT_EQ(posix_spawn_file_actions_addopen(&actions, 9, "/dev/xen/xenbus", O_RDWR, 0), 0);
  EXPECT_EQ(
      posix_spawn_file_actions_addopen(&actions, 1, "/proc/xen/out", O_WRONLY | O_CREAT, 0600), 0);
  EXPECT_EQ(posix_spawn_file_actions_addchdir_np(&actions, "/proc/xen"), 0);
  EXPECT_EQ(errno, E2BIG);
  char command[] = "cat <&7; cat <&8; cat <&9; cat capabilities; ls /proc/self/fd | wc -l";
  char* const arguments[] = {kShell, kDashC, command, nullptr};
  pid_t pid;
  int status;
  ASSERT_EQ(posix_spawn(&pid, kShell, &actions, nullptr, arguments, environ), 0);
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
  EXPECT_THAT(Read(Kept("/proc/xen/out")), testing::StartsWith("keptevtxencontrol_d\n"));
  EXPECT_EQ(posix_spawn_file_actions_destroy(&actions), 0);
  EXPECT_EQ(dup(0), next) << "a descriptor was left open";
  close(next);

  // As many as fit, and none is lost.
  ASSERT_EQ(posix_spawn_file_actions_init(&actions), 0);
  int added = 0;
  while (added < 100 &&
         posix_spawn_file_actions_addopen(&actions, 9, "/dev/xen/xenbus", O_RDWR, 0) == 0) {
    ++added;
  }
  EXPECT_EQ(added, 16);
  Fake().fails = EBUSY;
  EXPECT_EQ(posix_spawn_file_actions_destroy(&actions), 0);
  ASSERT_EQ(posix_spawn_file_actions_init(&actions), 0);
  EXPECT_EQ(posix_spawn_file_actions_addopen(&actions, 9, "/dev/xen/xenbus", O_RDWR, 0), EBUSY);
  EXPECT_EQ(posix_spawn_file_actions_addopen(&actions, -1, "/dev/xen/xenbus", O_RDWR, 0), EBADF);
  EXPECT_EQ(posix_spawn_file_actions_destroy(&actions), 0);
  EXPECT_EQ(dup(0), next) << "a descriptor was left open";
  close(next);
}

TEST_F(DevicesFrontTest, AnInheritedDescriptorIsADeviceInAnotherProgram) {
  const int fd = open("/dev/xen/evtchn", O_RDWR);
  EXPECT_EQ(Output("bash -c 'stat -c %F - <&" + std::to_string(fd) + "'"),
            "character special file\n");
  close(fd);
}

TEST_F(DevicesFrontTest, TheDevicesFindTheMachineInAClearedEnvironment) {
  std::string output;
  EXPECT_EQ(Child(
                [] {
                  // A program that has used none yet.
                  char program[] = "/proc/self/exe";
                  char only[] = "--print-machine";
                  char* const arguments[] = {program, only, nullptr};
                  execv(program, arguments);
                },
                &output),
            0);
  EXPECT_EQ(output, kMachine);
}

TEST_F(DevicesFrontTest, RealProgramsSeeTheMachine) {
  EXPECT_EQ(Output("cat /proc/xen/capabilities"), "control_d\n");
  EXPECT_EQ(Output("cat < /proc/xen/file"), "kept");
  EXPECT_EQ(Output("echo more > /var/run/xen-new; cat /run/xen-new; rm /run/xen-new"), "more\n");
  EXPECT_FALSE(std::filesystem::exists(Kept("/run/xen-new")));
  EXPECT_EQ(Output("ls /dev/xen"), "evtchn\nhypercall\nprivcmd\nxenbus\n");
  EXPECT_THAT(Output("ls -l /dev/xen/privcmd"), testing::StartsWith("crw"));
  EXPECT_EQ(Output("find /dev/xen -type c | wc -l"), "4\n");
  EXPECT_EQ(Output("find /proc/xen -type f | wc -l"), "4\n");
  EXPECT_EQ(Output("stat -c '%F' /dev/xen/evtchn /proc/xen"),
            "character special file\ndirectory\n");
  EXPECT_EQ(Output("cp /proc/xen/file /proc/xen/copy && cat /proc/xen/copy"), "kept");
  EXPECT_EQ(
      Output("mkdir -p /run/xen/a/b; cp /proc/xen/file /run/xen/a/b; "
             "cp -r /run/xen /var/lib/xen && cat /var/lib/xen/xen/a/b/file && rm -r /run/xen"),
      "kept");
  EXPECT_EQ(Output("mkdir -p /var/lib/xen/a/b && cd /var/lib/xen/a && pwd && /bin/pwd && "
                   "cd ../../.. && pwd && /bin/pwd"),
            "/var/lib/xen/a\n/var/lib/xen/a\n/var\n/var\n");
  EXPECT_TRUE(std::filesystem::exists(Kept("/var/lib/xen/a/b")));
  EXPECT_EQ(Output("test -c /dev/xen/privcmd && test -r /dev/xen/privcmd && echo yes"), "yes\n");
  EXPECT_EQ(Output("realpath /dev/xen/privcmd"), "/dev/xen/privcmd\n");
  EXPECT_EQ(Output("env -i /bin/sh -c 'cat /proc/xen/capabilities'"), "control_d\n");
  EXPECT_EQ(Output("cat /dev/xen/xenbus"), "xen");
  EXPECT_EQ(Output("echo x > /dev/xen/evtchn && cat /dev/xen/evtchn"), "evt");
  EXPECT_EQ(Output("sh -c 'exec 3<>/dev/xen/evtchn; cat <&3'"), "evt");
  EXPECT_EQ(Output("mktemp -p /var/lib/xen x-XXXXXX | cut -c 1-14"), "/var/lib/xen/x\n");
}

TEST_F(DevicesFrontTest, PythonSeesTheMachine) {
  const auto python = [](const std::string& lines) {
    Write(Kept("/program.py"), lines);
    return Output("/usr/bin/python3 " + Kept("/program.py"));
  };
  EXPECT_EQ(python("import os, glob, stat, subprocess\n"
                   "print(open('/proc/xen/capabilities').read().strip())\n"
                   "print(sorted(os.listdir('/dev/xen')))\n"
                   "print(stat.S_ISCHR(os.stat('/dev/xen/evtchn').st_mode))\n"
                   "print(sorted(e.name for e in os.scandir('/proc/xen') if e.is_file()))\n"
                   "print(glob.glob('/proc/xen/cap*'))\n"
                   "print(os.path.realpath('/proc/xen/../xen/file'))\n"),
            "control_d\n['evtchn', 'hypercall', 'privcmd', 'xenbus']\nTrue\n"
            "['capabilities', 'file', 'privcmd', 'xenbus']\n['/proc/xen/capabilities']\n"
            "/proc/xen/file\n");
  EXPECT_EQ(python("import os, subprocess, fcntl\n"
                   "fd = os.open('/dev/xen/evtchn', os.O_RDWR)\n"
                   "print(fcntl.ioctl(fd, 0x44500, 0))\n"
                   "print(open('/dev/xen/privcmd', 'rb', buffering=0).read(3))\n"
                   "print(subprocess.check_output(['cat', '/proc/xen/file'], env={}))\n"),
            "42\nb'pri'\nb'kept'\n");
}

// A program that is started by the kernel alone: nothing is put into its environment.
std::string Bare(const std::string& command, const std::vector<std::string>& settings) {
  std::string output;
  std::vector<std::string> words = {"/bin/sh", "-c", command};
  std::vector<std::string> copies = settings;
  Child(
      [&] {
        std::vector<char*> arguments, environment;
        for (std::string& word : words) arguments.push_back(word.data());
        for (std::string& setting : copies) environment.push_back(setting.data());
        arguments.push_back(nullptr);
        environment.push_back(nullptr);
        syscall(SYS_execve, kShell, arguments.data(), environment.data());
      },
      &output);
  return output;
}

TEST_F(DevicesFrontTest, WithoutTheVariablesItDoesNothing) {
  const std::string preload = std::string("LD_PRELOAD=") + kFront;
  const std::string machine = std::string(XENCOMM_MACHINE_VARIABLE "=") + kMachine;
  const std::string files = XENCOMM_FILES_VARIABLE "=" + Files();
  const std::string command =
      "cat /proc/xen/file; env -i /usr/bin/env; readlink " + Kept("/proc/xen/link") + "; echo";
  ASSERT_EQ(symlink(Kept("/proc/xen/file").c_str(), Kept("/proc/xen/link").c_str()), 0);
  const std::string nothing =
      "cat: /proc/xen/file: No such file or directory\n" + Kept("/proc/xen/file") + "\n\n";
  EXPECT_EQ(Bare(command, {preload}), nothing);
  EXPECT_EQ(Bare(command, {preload, machine}), nothing);
  EXPECT_EQ(Bare(command, {preload, files}), nothing);
  EXPECT_EQ(Bare(command, {preload, files, XENCOMM_MACHINE_VARIABLE "="}), nothing);
  EXPECT_EQ(Bare(command, {preload, machine, XENCOMM_FILES_VARIABLE "="}), nothing);
  EXPECT_EQ(Bare("cat /proc/xen/file", {preload, machine, files}), "kept");
  EXPECT_EQ(Bare("cat /proc/xen/file", {preload, machine, files + "//"}), "kept");
}

TEST_F(DevicesFrontTest, WithoutTheirLibraryThereAreNoDevices) {
  const std::string alone = Files() + "/alone.so";
  std::filesystem::copy_file(kFront, alone);
  const std::string output =
      Bare("exec cat /dev/xen/privcmd /dev/xen/privcmd",
           {"LD_PRELOAD=" + alone, std::string(XENCOMM_MACHINE_VARIABLE "=") + kMachine,
            XENCOMM_FILES_VARIABLE "=" + Files()});
  EXPECT_THAT(output, HasSubstr("cat: /dev/xen/privcmd: No such device"));
  // One sentence, not two.
  const std::string sentence = "xencomm: Xen's devices are not served: " + Files();
  ASSERT_THAT(output, HasSubstr(sentence));
  EXPECT_EQ(output.find(sentence, output.find(sentence) + 1), std::string::npos);
}

}  // namespace

// Starts itself with the front and an empty folder of files.
int main(int argc, char** argv) {
  if (argc == 2 && std::string(argv[1]) == "--print-machine") {
    clearenv();
    close(open("/dev/xen/privcmd", O_RDWR));
    void* const library = dlopen(kDevices, RTLD_NOW);
    fputs(reinterpret_cast<fake_state* (*)()>(dlsym(library, "fake_devices"))()->machine, stdout);
    return 0;
  }
  const char* const preloaded = getenv("LD_PRELOAD");
  if (preloaded == nullptr || preloaded != std::string(kFront)) {
    std::string folder = std::filesystem::temp_directory_path() / "xencomm-front-XXXXXX";
    if (mkdtemp(folder.data()) == nullptr) return 1;
    setenv("LD_PRELOAD", kFront, 1);
    setenv(XENCOMM_MACHINE_VARIABLE, kMachine, 1);
    setenv(XENCOMM_FILES_VARIABLE, std::filesystem::canonical(folder).c_str(), 1);
    setenv("LC_ALL", "C", 1);
    execv("/proc/self/exe", argv);
    return 1;
  }
  testing::InitGoogleTest(&argc, argv);
  const int result = RUN_ALL_TESTS();
  std::filesystem::remove_all(Files());
  return result;
}
