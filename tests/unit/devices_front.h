// What the tests of the preloaded front share: a program that starts itself anew with the front in
// front of it, over a fake library of the devices and a folder of files.
#ifndef TESTS_UNIT_DEVICES_FRONT_H_
#define TESTS_UNIT_DEVICES_FRONT_H_

#include <dlfcn.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>

#include "tests/unit/fake_devices.h"

namespace xencomm {

// FRONT: the preload library, beside the fake one.
inline constexpr char kFront[] = FRONT;
inline constexpr char kDevices[] = FAKE_DEVICES;
inline constexpr char kMachine[] = "/nowhere/machine";

// A function by its name, as the dynamic linker finds it for a program.
template <typename Function>
Function* Named(const char* name) {
  void* const function = dlsym(RTLD_DEFAULT, name);
  if (function == nullptr) ADD_FAILURE() << "no " << name;
  return reinterpret_cast<Function*>(function);
}

inline std::string Files() { return getenv(XENCOMM_FILES_VARIABLE); }
// Where the machine keeps a path's file: the tests' own way to it.
inline std::string Kept(const std::string& path) { return Files() + path; }

inline void Write(const std::string& file, const std::string& text) {
  std::filesystem::create_directories(std::filesystem::path(file).parent_path());
  std::ofstream(file) << text;
}
inline std::string Read(const std::string& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}
inline std::string ReadAll(int fd) {
  std::string text(64, '\0');
  const ssize_t length = read(fd, text.data(), text.size());
  text.resize(length < 0 ? 0 : static_cast<std::size_t>(length));
  return text;
}
inline std::string ReadAndClose(int fd) {
  std::string text = fd < 0 ? std::strerror(errno) : ReadAll(fd);
  if (fd >= 0) close(fd);
  return text;
}
// What a shell's command prints.
inline std::string Output(const std::string& command) {
  FILE* const stream = popen(command.c_str(), "r");
  std::string text;
  for (int byte; (byte = getc(stream)) != EOF;) text += static_cast<char>(byte);
  EXPECT_EQ(pclose(stream), 0) << command;
  return text;
}

// How a child ends that runs `start`; what it prints is in `output`.
inline int Child(const std::function<void()>& start, std::string* output) {
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

inline fake_state& Fake() {
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

inline long Close(int fd) { return fd < 0 ? -1 : close(fd); }

}  // namespace xencomm

#endif  // TESTS_UNIT_DEVICES_FRONT_H_
