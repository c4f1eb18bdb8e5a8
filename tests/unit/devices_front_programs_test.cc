// Programs that a program on the machine starts, and real ones.

#include <dirent.h>
#include <fcntl.h>
#include <glob.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utime.h>
#include <wordexp.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "tests/unit/devices_front.h"

namespace xencomm {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

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
  EXPECT_THAT(print({"LD_PRELOAD=" + std::string(kFront).substr(0, 4)}),
              testing::UnorderedElementsAre(preload + ":" + std::string(kFront).substr(0, 4),
                                            machine, files));
  // Of two, the dynamic linker takes the last one.
  EXPECT_THAT(print({machine, preload, "LD_PRELOAD=/nowhere/x.so", files}),
              ElementsAre(machine, preload, preload + ":/nowhere/x.so", files));
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

TEST_F(DevicesFrontTest, WhatIsSoughtElsewhereIsNotSoughtHere) {
  Write(Kept("/run/xl"), "#!/bin/sh\necho started\n");
  ASSERT_EQ(chmod("/run/xl", 0700), 0);
  const std::string before = std::filesystem::current_path();
  ASSERT_EQ(chdir("/run"), 0);
  char name[] = "xl";
  char* const arguments[] = {name, nullptr};
  pid_t pid;
  // In the folders of PATH.
  EXPECT_EQ(posix_spawnp(&pid, name, nullptr, nullptr, arguments, environ), ENOENT);
  std::string output;
  Child([&] { execvp(name, arguments); }, &output);
  EXPECT_EQ(output, "");
  // In the folder that the program will be in.
  posix_spawn_file_actions_t actions;
  ASSERT_EQ(posix_spawn_file_actions_init(&actions), 0);
  EXPECT_EQ(posix_spawn_file_actions_addchdir_np(&actions, "/etc"), 0);
  EXPECT_EQ(posix_spawn_file_actions_addopen(&actions, 9, name, O_RDONLY, 0), 0);
  EXPECT_EQ(posix_spawn(&pid, kShell, &actions, nullptr, kArguments, environ), ENOENT);
  EXPECT_EQ(posix_spawn_file_actions_destroy(&actions), 0);
  ASSERT_EQ(chdir(before.c_str()), 0);
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
  char command[] =
      "cat <&7; cat <&8; cat <&9; cat capabilities; ls -l /proc/self/fd | grep -c socket";
  char* const arguments[] = {kShell, kDashC, command, nullptr};
  pid_t pid;
  int status;
  ASSERT_EQ(posix_spawn(&pid, kShell, &actions, nullptr, arguments, environ), 0);
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(Read(Kept("/proc/xen/out")), "keptevtxencontrol_d\n2\n");
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
  EXPECT_EQ(Output("echo 123 > /dev/xen/evtchn && cat /dev/xen/evtchn"), "evt");
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
  EXPECT_EQ(Bare(command, {preload, machine, files + std::string(5000, '/')}), nothing);
  EXPECT_EQ(Bare("cat /proc/xen/file", {preload, machine, files}), "kept");
  EXPECT_EQ(Bare("cd /proc/xen; /bin/pwd", {preload, machine, files + "//"}), "/proc/xen\n");
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
}  // namespace xencomm
