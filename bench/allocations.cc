// Allocating and freeing one hypercall buffer: the Arena beside Debian's libxencall, for sizes of
// all kinds; clearing alone, beside buffers that are cleared; and several threads, each with a
// buffer of a page.
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
#include <cstring>
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

  const auto by_arena = [&arena = *arena](std::uint64_t bytes, Contents contents) {
    return [=, &arena] {
      absl::StatusOr<void*> memory = arena.Allocate(bytes, contents);
      if (!memory.ok()) [[unlikely]]
        GiveUp("the Arena is exhausted");
      benchmark::DoNotOptimize(*memory);
      if (!arena.Free(*memory).ok()) [[unlikely]]
        GiveUp("the Arena does not free");
    };
  };
  const auto by_libxencall = [xencall](std::uint64_t bytes) {
    return [=] {
      void* memory = xencall_alloc_buffer(xencall, bytes);
      if (memory == nullptr) [[unlikely]]
        GiveUp("libxencall is exhausted");
      benchmark::DoNotOptimize(memory);
      xencall_free_buffer(xencall, memory);
    };
  };

  for (const std::uint64_t bytes : {64, 144, 1024, 4096, 8192, 65536, 131072, 262144, 1048576}) {
    rows.Add(Name("arena", bytes), by_arena(bytes, Contents::kAny));
    rows.Add(Name("arena-cleared", bytes), by_arena(bytes, Contents::kCleared));
    void* const memory = arena->Allocate(bytes).value();
    rows.Add(Name("memset", bytes), [=] {
      void* written = memory;
      std::memset(written, 0, bytes);
      benchmark::DoNotOptimize(written);
      benchmark::ClobberMemory();
    });
    rows.Add(Name("libxencall", bytes), by_libxencall(bytes));
  }
  for (const unsigned threads : {1, 2, 4}) {
    const std::string number = std::to_string(threads);
    rows.Add("allocate-threads/arena/" + number, by_arena(Arena::kPageSize, Contents::kAny),
             {.threads = threads});
    rows.Add("allocate-threads/libxencall/" + number, by_libxencall(Arena::kPageSize),
             {.threads = threads});
  }
}

}  // namespace xencomm::bench
