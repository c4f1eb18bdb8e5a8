// A libxencall.so.1 that keeps freed buffers, as Xen's newest does from 2026 on: four each of 1, 2,
// 3 and 4 pages. What is asked for is rounded up to pages, with 16 bytes in front for its size, and
// is cleared as a whole; the cache is under a mutex; larger buffers are mapped from
// /dev/xen/hypercall for each call. For comparison: what libxenctrl's calls need, without error
// messages and counts of its own work, so that it is a little faster.
#include <fcntl.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <memory>

#include "hcall/transport/privcmd_calls.h"

extern "C" {
#include <xencall.h>
}

namespace {

constexpr std::size_t kPageSize = 4096;
constexpr std::size_t kMostPages = 4;
constexpr unsigned kMostBuffers = 4;

// In front of a buffer; what follows is aligned to it.
struct alignas(16) Head {
  std::size_t pages;
};

struct Lock {
  Lock() { pthread_mutex_lock(&mutex); }
  ~Lock() { pthread_mutex_unlock(&mutex); }
  static inline pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
};

}  // namespace

struct xencall_handle {
  ~xencall_handle() {
    for (std::size_t i = 0; i < kMostPages; ++i) {
      while (kept[i] != 0) munmap(cache[i][--kept[i]], (i + 1) * kPageSize);
    }
    close(calls);
    close(buffers);
  }

  void* Take(std::size_t pages) {
    const Lock lock;
    if (pages - 1 >= kMostPages || kept[pages - 1] == 0) return nullptr;
    return cache[pages - 1][--kept[pages - 1]];
  }

  bool Keep(void* buffer, std::size_t pages) {
    const Lock lock;
    if (pages - 1 >= kMostPages || kept[pages - 1] == kMostBuffers) return false;
    cache[pages - 1][kept[pages - 1]++] = buffer;
    return true;
  }

  int Call(unsigned op, std::uint64_t a = 0, std::uint64_t b = 0, std::uint64_t c = 0,
           std::uint64_t d = 0) const {
    xencomm::PrivcmdHypercall call = {op, {a, b, c, d, 0}};
    return ioctl(calls, xencomm::kPrivcmdHypercall, &call);
  }

  int calls = open("/dev/xen/privcmd", O_RDWR | O_CLOEXEC);
  int buffers = open("/dev/xen/hypercall", O_RDWR | O_CLOEXEC);
  unsigned kept[kMostPages] = {};
  void* cache[kMostPages][kMostBuffers] = {};
};

extern "C" {

xencall_handle* xencall_open(xentoollog_logger*, unsigned) {
  auto xcall = std::make_unique<xencall_handle>();
  return xcall->calls < 0 || xcall->buffers < 0 ? nullptr : xcall.release();
}

int xencall_close(xencall_handle* xcall) {
  delete xcall;
  return 0;
}

int xencall_fd(xencall_handle* xcall) { return xcall->calls; }
int xencall_buffers_never_fault(xencall_handle*) { return 1; }

int xencall0(xencall_handle* xcall, unsigned op) { return xcall->Call(op); }
int xencall1(xencall_handle* xcall, unsigned op, uint64_t a) { return xcall->Call(op, a); }
int xencall2(xencall_handle* xcall, unsigned op, uint64_t a, uint64_t b) {
  return xcall->Call(op, a, b);
}
int xencall3(xencall_handle* xcall, unsigned op, uint64_t a, uint64_t b, uint64_t c) {
  return xcall->Call(op, a, b, c);
}
int xencall4(xencall_handle* xcall, unsigned op, uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
  return xcall->Call(op, a, b, c, d);
}
long xencall2L(xencall_handle* xcall, unsigned op, uint64_t a, uint64_t b) {
  return xcall->Call(op, a, b);
}

void* xencall_alloc_buffer_pages(xencall_handle* xcall, size_t pages) {
  void* buffer = xcall->Take(pages);
  if (buffer == nullptr) {
    buffer =
        mmap(nullptr, pages * kPageSize, PROT_READ | PROT_WRITE, MAP_SHARED, xcall->buffers, 0);
    if (buffer == MAP_FAILED) return nullptr;
  }
  std::memset(buffer, 0, pages * kPageSize);
  return buffer;
}

void xencall_free_buffer_pages(xencall_handle* xcall, void* buffer, size_t pages) {
  if (buffer != nullptr && !xcall->Keep(buffer, pages)) munmap(buffer, pages * kPageSize);
}

void* xencall_alloc_buffer(xencall_handle* xcall, size_t bytes) {
  const std::size_t pages = (bytes + sizeof(Head) + kPageSize - 1) / kPageSize;
  auto* const head = static_cast<Head*>(xencall_alloc_buffer_pages(xcall, pages));
  if (head == nullptr) return nullptr;
  head->pages = pages;
  return head + 1;
}

void xencall_free_buffer(xencall_handle* xcall, void* pointer) {
  if (pointer == nullptr) return;
  Head* const head = static_cast<Head*>(pointer) - 1;
  xencall_free_buffer_pages(xcall, head, head->pages);
}

}  // extern "C"
