// Starts a test of the preloaded front with the front in front of it, and an empty folder of files.

#include <dlfcn.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "tests/unit/devices_front.h"

using xencomm::Files;
using xencomm::kDevices;
using xencomm::kFront;
using xencomm::kMachine;

// Before all libraries start, as a sanitizer does: the C library has no environment yet.
static void OpenEarly() { close(open("/", O_RDONLY)); }
__attribute__((section(".preinit_array"), used)) static void (*const open_early)() = OpenEarly;

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
    setenv("PATH", "/usr/bin:/bin", 1);
    execv("/proc/self/exe", argv);
    return 1;
  }
  umask(022);
  testing::InitGoogleTest(&argc, argv);
  const int result = RUN_ALL_TESTS();
  std::filesystem::remove_all(Files());
  return result;
}
