// Which paths the preloaded front takes for the machine's, and what it shows of their names.

#include <fcntl.h>
#include <glob.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <tuple>
#include <vector>

#include "hcall/devices/kept_paths.h"
#include "tests/unit/devices_front.h"

namespace xencomm {
namespace {

TEST_F(DevicesFrontTest, EveryKeptPathIsKeptAndItsNeighboursAreNot) {
  for (std::string kept : {XENCOMM_KEPT_PATHS}) {
    const bool is_open = kept.back() == '*';
    if (is_open) kept.pop_back();
    Write(Kept(kept + "/in/it"), "kept");
    EXPECT_EQ(ReadAndClose(open((kept + "/in/it").c_str(), O_RDONLY)), "kept") << kept;
    EXPECT_EQ(access(kept.c_str(), F_OK), 0) << kept;
    // A name that goes on is another; one that is shorter is, too.
    Write(Kept(kept + "qfront-test"), "more");
    EXPECT_EQ(ReadAndClose(open((kept + "qfront-test").c_str(), O_RDONLY)),
              is_open ? "more" : "No such file or directory")
        << kept;
    Write(Kept(kept.substr(0, kept.size() - 2) + "/front-test"), "less");
    EXPECT_NE(access((kept.substr(0, kept.size() - 2) + "/front-test").c_str(), F_OK), 0) << kept;
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
      {"/proc/xen/../sys/kernel/ostype", "Linux\n"},
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
      {"/dev/xen/xencomm", "No such file or directory"},
      {"/dev/xen/privcm", "No such file or directory"},
      {"/dev/xen/gntalloc", "gnt"},
      {"/dev/xen/gntallo", "No such file or directory"},
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
  Write(Kept("/run/lock/xl-lock"), "lock");
  std::filesystem::create_directories(Kept("/run/xenstored/usr"));
  for (const auto& [folder, path, text] :
       std::vector<std::tuple<const char*, const char*, std::string>>{
           {"/", "proc/xen/file", "kept"},
           {"/", ".//./proc/./xen/file", "kept"},
           {"/", "dev/xen/evtchn", "evt"},
           {"/proc", "xen/file", "kept"},
           {"/proc", "../proc/xen/file", "kept"},
           {"/usr", "../proc/xen/file", "kept"},
           {"/run", "lock/xl-lock", "lock"},
           {"/run/lock", "xl-lock", "lock"},
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

}  // namespace
}  // namespace xencomm
