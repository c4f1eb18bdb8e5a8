// Allocating and freeing one hypercall buffer: the Arena beside Debian's libxencall.
//
// libxencall opens /dev/xen/privcmd before it gives out buffers. Its buffers do not depend on what
// it opened: without /dev/xen/hypercall they are anonymous, locked memory, as here. So the two
// names are answered in this program: the first by /dev/null, the second as missing. What is
// measured is the library's own code as Debian ships it, its cache of single pages, its clearing,
// and the kernel's work for mmap and munmap. Memory of /dev/xen/hypercall, which a real Xen would
// give, is not measured.
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "bench/rows.h"
#include "xencomm/arena.h"
#include "xencomm/locked_backing.h"

extern "C" {
#include <xencall.h>

// In place of the C library's open, for libxencall. Under its name by a label, since the headers
// may have given the name to open64.
int OpenForLibxencall(const char* path, int flags, ...) asm("open");

int OpenForLibxencall(const char* path, int flags, ...) {
  std::va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  const std::string name = path;
  if (name == "/dev/xen/hypercall") {
    errno = ENOENT;
    return -1;
  }
  if (name == "/dev/xen/privcmd") path = "/dev/null";
  return static_cast<int>(syscall(SYS_openat, AT_FDCWD, path, flags, mode));
}
}

namespace xencomm::bench {
namespace {

std::string Name(const char* what, std::uint64_t bytes) {
  return std::string("allocate/") + what + "/" + std::to_string(bytes);
}

[[noreturn]] void GiveUp(const char* what) {
  std::fprintf(stderr, "bench: %s\n", what);
  std::exit(1);
}

}  // namespace

void AddAllocations(Rows& rows) {
  static const std::unique_ptr<Arena> arena = [] {
    auto created =
        Arena::Create(std::make_unique<LockedBacking>(LockedBacking::Locking::kPreferred));
    if (!created.ok()) GiveUp("an Arena cannot be created");
    return *std::move(created);
  }();
  xencall_handle* const xencall = xencall_open(nullptr, 0);
  if (xencall == nullptr) GiveUp("libxencall cannot be opened");

  for (const std::uint64_t bytes : {64, 144, 4096, 8192, 65536, 262144, 1048576}) {
    for (const Contents contents : {Contents::kAny, Contents::kCleared}) {
      const auto turn = [=, &arena = *arena] {
        const absl::StatusOr<void*> memory = arena.Allocate(bytes, contents);
        if (!memory.ok()) [[unlikely]]
          GiveUp("the Arena is exhausted");
        benchmark::DoNotOptimize(*memory);
        if (!arena.Free(*memory).ok()) [[unlikely]]
          GiveUp("the Arena does not free");
      };
      rows.Add(Name(contents == Contents::kAny ? "arena" : "arena-cleared", bytes), turn);
    }
    rows.Add(Name("libxencall", bytes), [=] {
      void* const memory = xencall_alloc_buffer(xencall, bytes);
      if (memory == nullptr) [[unlikely]]
        GiveUp("libxencall is exhausted");
      benchmark::DoNotOptimize(memory);
      xencall_free_buffer(xencall, memory);
    });
  }
}

}  // namespace xencomm::bench
