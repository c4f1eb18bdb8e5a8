#include "bench/xencall_border.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <valgrind/callgrind.h>
#include <x86intrin.h>

#include <algorithm>
#include <cstdarg>
#include <cstddef>
#include <string_view>

#include "hcall/transport/privcmd_calls.h"

extern "C" {
#include <xencall.h>
}

namespace xencomm::bench {
namespace {

bool devices_are_null = false;
bool for_callgrind = false;

unsigned depth = 0;  // of functions of the library: some of them call others by their names
std::uint64_t entered = 0;
std::uint64_t ticks = 0;
std::uint64_t crossings = 0;

void Enter() {
  if (for_callgrind) {
    CALLGRIND_TOGGLE_COLLECT;
  } else {
    entered = __rdtsc();
  }
}

void Leave() {
  if (for_callgrind) {
    CALLGRIND_TOGGLE_COLLECT;
  } else {
    ticks += __rdtsc() - entered;
    ++crossings;
  }
}

struct Inside {
  Inside() {
    if (depth++ == 0) Enter();
  }
  ~Inside() {
    if (--depth == 0) Leave();
  }
};

// A hypercall that the library makes.
struct Outside {
  Outside() {
    if (depth != 0) Leave();
  }
  ~Outside() {
    if (depth != 0) Enter();
  }
};

template <class Function>
Function* Next(Function*, const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

std::uint64_t TicksOfNothing() {
  std::uint64_t least = ~std::uint64_t{0};
  for (unsigned i = 0; i < 1000; ++i) {
    ticks = 0;
    { const Inside nothing; }
    least = std::min(least, ticks);
  }
  ticks = crossings = 0;
  return least;
}

std::int64_t NanosecondsNow() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{1'000'000'000} * now.tv_sec + now.tv_nsec;
}

// What `real` answers to an ioctl. A null device answers hypercalls and knows no other.
template <class Real>
long Control(unsigned long request, Real real) {
  if (request == kPrivcmdHypercall) {
    const Outside hypercall;
    return devices_are_null ? 0 : real();
  }
  return real();
}

const char* NullOr(const char* path) {
  return devices_are_null && std::string_view(path).starts_with("/dev/xen/") ? "/dev/zero" : path;
}

}  // namespace

void MakeDevicesNull() { devices_are_null = true; }
void CollectForCallgrind() { for_callgrind = true; }

std::uint64_t TakeTicksInLibrary() {
  const std::uint64_t all = ticks, times = crossings;
  static const std::uint64_t nothing = TicksOfNothing();
  ticks = crossings = 0;
  return all - std::min(all, times * nothing);
}

double TicksPerNanosecond() {
  const std::int64_t begin = NanosecondsNow();
  const std::uint64_t first = __rdtsc();
  while (NanosecondsNow() - begin < 50'000'000) continue;
  return static_cast<double>(__rdtsc() - first) / static_cast<double>(NanosecondsNow() - begin);
}

}  // namespace xencomm::bench

using xencomm::bench::Control;
using xencomm::bench::Inside;
using xencomm::bench::Next;
using xencomm::bench::NullOr;

// The function of this name, of whichever library comes next, is looked up at the first call.
#define PASS_ON(result, name, parameters, arguments) \
  result name parameters {                           \
    static auto* const next = Next(&(name), #name);  \
    const Inside library;                            \
    return next arguments;                           \
  }

extern "C" {

PASS_ON(void*, xencall_alloc_buffer_pages, (xencall_handle * xcall, size_t pages), (xcall, pages))
PASS_ON(void, xencall_free_buffer_pages, (xencall_handle * xcall, void* p, size_t pages),
        (xcall, p, pages))
PASS_ON(void*, xencall_alloc_buffer, (xencall_handle * xcall, size_t bytes), (xcall, bytes))
PASS_ON(void, xencall_free_buffer, (xencall_handle * xcall, void* p), (xcall, p))
PASS_ON(int, xencall1, (xencall_handle * xcall, unsigned op, std::uint64_t a), (xcall, op, a))
PASS_ON(int, xencall2, (xencall_handle * xcall, unsigned op, std::uint64_t a, std::uint64_t b),
        (xcall, op, a, b))
PASS_ON(int, xencall3,
        (xencall_handle * xcall, unsigned op, std::uint64_t a, std::uint64_t b, std::uint64_t c),
        (xcall, op, a, b, c))
PASS_ON(int, xencall4,
        (xencall_handle * xcall, unsigned op, std::uint64_t a, std::uint64_t b, std::uint64_t c,
         std::uint64_t d),
        (xcall, op, a, b, c, d))
PASS_ON(long, xencall2L, (xencall_handle * xcall, unsigned op, std::uint64_t a, std::uint64_t b),
        (xcall, op, a, b))

// In place of the C library's. Under their names by a label, since headers may give them others,
// and with parameters in place of the dots: they come by the same registers, and cost a library that
// makes its calls by the one no more than one that makes them by the other.
int OpenOrNull(const char* path, int flags, ...) asm("open");
int IoctlOrNull(int fd, unsigned long request, void* argument) asm("ioctl");
long SyscallOrNull(long number, long a, long b, long c, long d, long e, long f) asm("syscall");

int OpenOrNull(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  return openat(AT_FDCWD, NullOr(path), flags, mode);
}

int Open64OrNull(const char* path, int flags, ...) asm("open64") __attribute__((alias("open")));

int IoctlOrNull(int fd, unsigned long request, void* argument) {
  static auto* const next = Next(&IoctlOrNull, "ioctl");
  return static_cast<int>(Control(request, [=] { return next(fd, request, argument); }));
}

// By which libxencomm makes its ioctl: a hypercall's answer may have more bits than an int.
long SyscallOrNull(long number, long a, long b, long c, long d, long e, long f) {
  static auto* const next = Next(&SyscallOrNull, "syscall");
  if (number != SYS_ioctl) [[unlikely]]
    return next(number, a, b, c, d, e, f);
  return Control(static_cast<unsigned long>(b), [=] { return next(number, a, b, c, 0, 0, 0); });
}

}  // extern "C"
