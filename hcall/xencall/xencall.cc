// libxencall.so.1 over libxencomm: the functions of xencall.h as Debian's libxencall1 4.17 exports
// them, so that libxenctrl and its neighbours run on it unmodified.
//
// Buffers come out of the Arena. They are cleared, because callers of the original count on it, but
// only as far as was asked for.

#include <cerrno>
#include <cstdint>
#include <memory>
#include <utility>

extern "C" {
#include <xencall.h>
}

#include "hcall/xencall/active_handle.h"
#include "hcall/xencall/logger.h"
#include "xencomm/c_border.h"
#include "xencomm/private.h"
#include "xencomm/xencomm.h"

namespace {

using xencomm::AtBorder;

constexpr std::size_t kPageSize = 4096;

struct Close {
  void operator()(xencomm_context* context) const { xencomm_close(context); }
};
using Context = std::unique_ptr<xencomm_context, Close>;

}  // namespace

struct xencall_handle {
  xencall_handle(xentoollog_logger* logger, Context opened)
      : log(logger, "xencall"), context(std::move(opened)) {}

  int Restrict(std::uint16_t) { return xencomm_private_restrict(context.get()); }

  std::int64_t Call(unsigned op, std::uint64_t arg1 = 0, std::uint64_t arg2 = 0,
                    std::uint64_t arg3 = 0, std::uint64_t arg4 = 0, std::uint64_t arg5 = 0) {
    return xencomm_call(context.get(), op, arg1, arg2, arg3, arg4, arg5);
  }

  const xencomm::Logger log;
  const Context context;
  const xencomm::ActiveHandle<xencall_handle> active{*this};
};

namespace {

void Free(xencall_handle* xcall, void* pointer) {
  // There is no way to answer, and nothing was changed: said and gone on.
  const int error = errno;
  if (xencomm_free(xcall->context.get(), pointer) != 0) xcall->log.Error(xencomm_error());
  errno = error;
}

}  // namespace

extern "C" {

xencall_handle* xencall_open(xentoollog_logger* logger, unsigned) {
  return AtBorder([&]() -> xencall_handle* {
    Context context(xencomm_open(nullptr));
    if (context == nullptr) {
      const int error = errno;
      xencomm::Logger(logger, "xencall").Error(xencomm_error());
      errno = error;
      return nullptr;
    }
    return new xencall_handle(logger, std::move(context));
  });
}

int xencall_close(xencall_handle* xcall) {
  return AtBorder([&] {
    delete xcall;
    return 0;
  });
}

int xencall_fd(xencall_handle* xcall) { return xencomm_private_fd(xcall->context.get()); }

int xencall0(xencall_handle* xcall, unsigned op) { return static_cast<int>(xcall->Call(op)); }

int xencall1(xencall_handle* xcall, unsigned op, uint64_t arg1) {
  return static_cast<int>(xcall->Call(op, arg1));
}

int xencall2(xencall_handle* xcall, unsigned op, uint64_t arg1, uint64_t arg2) {
  return static_cast<int>(xcall->Call(op, arg1, arg2));
}

int xencall3(xencall_handle* xcall, unsigned op, uint64_t arg1, uint64_t arg2, uint64_t arg3) {
  return static_cast<int>(xcall->Call(op, arg1, arg2, arg3));
}

int xencall4(xencall_handle* xcall, unsigned op, uint64_t arg1, uint64_t arg2, uint64_t arg3,
             uint64_t arg4) {
  return static_cast<int>(xcall->Call(op, arg1, arg2, arg3, arg4));
}

int xencall5(xencall_handle* xcall, unsigned op, uint64_t arg1, uint64_t arg2, uint64_t arg3,
             uint64_t arg4, uint64_t arg5) {
  return static_cast<int>(xcall->Call(op, arg1, arg2, arg3, arg4, arg5));
}

long xencall2L(xencall_handle* xcall, unsigned op, uint64_t arg1, uint64_t arg2) {
  return static_cast<long>(xcall->Call(op, arg1, arg2));
}

void* xencall_alloc_buffer_pages(xencall_handle* xcall, size_t nr_pages) {
  // No pages are one page, as a buffer of no bytes is one of some: callers free what they get.
  return xencomm_calloc(xcall->context.get(), nr_pages == 0 ? 1 : nr_pages, kPageSize);
}

void xencall_free_buffer_pages(xencall_handle* xcall, void* p, size_t) { Free(xcall, p); }

void* xencall_alloc_buffer(xencall_handle* xcall, size_t size) {
  return xencomm_calloc(xcall->context.get(), 1, size);
}

void xencall_free_buffer(xencall_handle* xcall, void* p) { Free(xcall, p); }

int xencall_buffers_never_fault(xencall_handle* xcall) {
  return xencomm_private_never_faults(xcall->context.get());
}

}  // extern "C"
