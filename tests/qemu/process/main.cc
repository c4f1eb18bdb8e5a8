// The scenario in a process.
//
//   process                          every space, by itself
//   process serve ORDER SPACE FILE   hypervisor and kernel for a domain of that byte order
//   process use SPACE FILE           the user program of such a domain
//
// The last two talk over standard input and output, and share the domain's memory by FILE. What the
// user program has to say goes to standard error then.

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "tests/qemu/process/kernel.h"
#include "tests/qemu/process/remote.h"
#include "tests/qemu/scenario/scenario.h"

namespace qemu {

namespace {

std::FILE* text = stdout;

}  // namespace

void PutChar(char c) { std::fputc(c, text); }

namespace {

struct Named {
  const char* name;
  ProcessSpace space;
};
constexpr Named kSpaces[] = {
    {"registered", ProcessSpace::kRegistered},
    {"stateless", ProcessSpace::kStateless},
    {"raw", ProcessSpace::kRaw},
    {"descriptors", ProcessSpace::kDescriptors},
    {"inline", ProcessSpace::kInline},
};

ProcessSpace SpaceOf(const char* name) {
  for (const Named& named : kSpaces) {
    if (std::strcmp(named.name, name) == 0) return named.space;
  }
  Require(false, name);
  return {};
}

template <class AnyKernel>
class ProcessWorld final : public World {
 public:
  explicit ProcessWorld(AnyKernel& kernel)
      : World(reinterpret_cast<void*>(kBuffers + kernel.payload_offset()),
              kBufferBytes - kernel.payload_offset(), kPage),
        kernel_(kernel) {}

  std::uint64_t Handle(const void* buffer, std::uint64_t bytes) override {
    return kernel_.Handle(reinterpret_cast<std::uint64_t>(buffer), bytes);
  }
  std::int64_t Hypercall(std::uint64_t index, std::uint64_t a1, std::uint64_t a2,
                         std::uint64_t a3) override {
    return kernel_.Hypercall(index, a1, a2, a3);
  }
  std::uint64_t Physical(const void* byte) override {
    return kernel_.GuestPhysical(reinterpret_cast<std::uint64_t>(byte) - kBuffers);
  }

 private:
  AnyKernel& kernel_;
};

std::byte* MapMachine(int file) {
  void* memory =
      mmap(nullptr, kMachineBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file, 0);
  Require(memory != MAP_FAILED, "the machine's memory");
  return static_cast<std::byte*>(memory);
}

// Maps the scattered pages of the buffers where the user program has them.
template <class AnyKernel>
void MapBuffers(AnyKernel& kernel, int file) {
  for (std::uint64_t offset = 0; offset < kBufferBytes; offset += kPage) {
    void* at = reinterpret_cast<void*>(kBuffers + offset);
    Require(mmap(at, kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file,
                 static_cast<off_t>(kernel.FileOffset(offset))) == at,
            "a page of the buffers");
  }
}

template <class AnyKernel>
void RunIn(const char* name, AnyKernel& kernel, int file) {
  MapBuffers(kernel, file);
  ProcessWorld world(kernel);
  Record record(name);
  RunScenario(world, record);
}

int RunAll() {
  for (const Named& named : kSpaces) {
    const int file = memfd_create("machine", MFD_CLOEXEC);
    Require(file >= 0 && ftruncate(file, kMachineBytes) == 0, "a file of memory");
    std::byte* memory = MapMachine(file);
    Kernel kernel(memory, named.space, xencomm::kNativeOrder);
    RunIn(named.name, kernel, file);
    munmap(memory, kMachineBytes);
    close(file);
  }
  Print("DONE PASS\n");
  return 0;
}

int ServeOther(const char* order, const char* space, const char* path) {
  const int file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
  Require(file >= 0 && ftruncate(file, kMachineBytes) == 0, path);
  Kernel kernel(
      MapMachine(file), SpaceOf(space),
      std::strcmp(order, "big") == 0 ? xencomm::ByteOrder::kBig : xencomm::ByteOrder::kLittle);
  Serve(kernel);
  return 0;
}

int UseOther(const char* space, const char* path) {
  text = stderr;
  RemoteKernel kernel;
  // The first answer comes when the other process has made the file.
  kernel.payload_offset();
  const int file = open(path, O_RDWR);
  Require(file >= 0, path);
  RunIn(space, kernel, file);
  Print("DONE PASS\n");
  return 0;
}

int Main(int argc, char** argv) {
  if (argc == 5 && std::strcmp(argv[1], "serve") == 0) {
    return ServeOther(argv[2], argv[3], argv[4]);
  }
  if (argc == 4 && std::strcmp(argv[1], "use") == 0) return UseOther(argv[2], argv[3]);
  return RunAll();
}

}  // namespace
}  // namespace qemu

int main(int argc, char** argv) { return qemu::Main(argc, argv); }
