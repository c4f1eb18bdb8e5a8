// Every function that our libraries show to C, when memory runs out at any step of it, and when it
// is asked for absurd amounts: it answers, by errno, and no exception crosses.
// C_BORDER_MAPS names the version scripts, from which the functions are known.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "hcall/schema/generated/xen.h"
#include "tests/unit/failing_memory.h"
#include "xencomm/op_table.h"
#include "xencomm/private.h"
#include "xencomm/sharing.h"
#include "xencomm/xencomm.h"

extern "C" {
#include <xencall.h>
#include <xenforeignmemory.h>
#include <xenstore.h>
#include <xentoollog.h>

// Exported by the original without a header.
bool xs_write_all(int fd, const void* data, unsigned len);
bool xs_strings_to_perms(xs_permissions* perms, unsigned num, const char* strings);
}

namespace {

using xencomm::allocations_left;
using xencomm::ran_out;
using xencomm::Unlimited;
using namespace xencomm::xen;

constexpr std::size_t kHuge[] = {std::numeric_limits<std::size_t>::max(),
                                 std::numeric_limits<std::size_t>::max() >> 1,
                                 (std::size_t{1} << 52) + 1,
                                 std::size_t{1} << 52,
                                 std::size_t{1} << 40,
                                 std::size_t{1} << 32,
                                 std::size_t{1} << 29};

// What the functions are called on.
struct Open {
  xencomm_context* x = xencomm_open(nullptr);
  xencall_handle* xcall = xencall_open(nullptr, 0);
  xenforeignmemory_handle* fmem = xenforeignmemory_open(nullptr, 0);
  xs_handle* xs = xs_open(0);

  Open() = default;
  Open(const Open&) = delete;
  Open& operator=(const Open&) = delete;
  ~Open() {
    xs_close(xs);
    xenforeignmemory_close(fmem);
    xencall_close(xcall);
    xencomm_close(x);
  }
};

// A case calls its function once, in a way that succeeds, and says whether it did; what it took is
// given back, without a function of this list where that could fail. A case of absurd amounts
// expects every one to be refused.
struct Case {
  std::function<bool(Open&)> call;
  std::function<void(Open&)> absurd = [](Open&) {};
};

void ExpectRefused(bool failed, std::size_t amount) {
  EXPECT_TRUE(failed) << "of " << amount;
  EXPECT_TRUE(errno == ENOMEM || errno == EINVAL || errno == EFAULT || errno == E2BIG)
      << "errno " << errno << " of " << amount;
  errno = 0;
}

// Calls `refused(amount)` for each absurd amount.
std::function<void(Open&)> Huge(std::function<bool(Open&, std::size_t)> refused) {
  return [refused](Open& open) {
    for (const std::size_t amount : kHuge) ExpectRefused(refused(open, amount), amount);
  };
}

bool FreeAll(Open& open, void* memory) {
  if (memory == nullptr) return false;
  EXPECT_EQ(xencomm_free(open.x, memory), 0);
  return true;
}
template <class T>
bool FreeBlock(T* block) {
  std::free(block);
  return block != nullptr;
}

// A call that points at something.
struct VersionCall {
  char text[XEN_EXTRAVERSION_LEN] = {};
  xencomm_hypercall call = {__HYPERVISOR_xen_version,
                            {XENVER_extraversion, reinterpret_cast<std::uint64_t>(text)}};
};

constexpr char kWatched[] = "/local/domain/0/name";
constexpr char kToken[] = "a token of some length";

void MakeEvent(Open& open) {
  const Unlimited unlimited;
  EXPECT_TRUE(xs_watch(open.xs, kWatched, kToken));
  EXPECT_TRUE(xs_unwatch(open.xs, kWatched, kToken));
}

constexpr unsigned kVersion = __HYPERVISOR_xen_version;
constexpr xen_pfn_t kFrame = 100;

const std::map<std::string, Case>& Cases() {
  static const auto* const kCases = new std::map<std::string, Case>{
      {"xencomm_open", {[](Open&) {
         xencomm_context* const x = xencomm_open("embedded:memory=256M,dom0=64M,space=walk4");
         return x != nullptr && xencomm_close(x) == 0;
       }}},
      {"xencomm_close", {[](Open&) { return xencomm_close(xencomm_open(nullptr)) == 0; }}},
      {"xencomm_error", {[](Open&) { return xencomm_error() != nullptr; }}},
      {"xencomm_alloc",
       {[](Open& open) { return FreeAll(open, xencomm_alloc(open.x, 40000)); },
        Huge([](Open& open, std::size_t n) { return xencomm_alloc(open.x, n) == nullptr; })}},
      {"xencomm_alloc_aligned",
       {[](Open& open) { return FreeAll(open, xencomm_alloc_aligned(open.x, 64, 10)); },
        Huge([](Open& open, std::size_t n) {
          return xencomm_alloc_aligned(open.x, n, 1) == nullptr &&
                 xencomm_alloc_aligned(open.x, 1, n) == nullptr;
        })}},
      {"xencomm_alloc_array",
       {[](Open& open) { return FreeAll(open, xencomm_alloc_array(open.x, 30, 1000)); },
        Huge([](Open& open, std::size_t n) {
          return xencomm_alloc_array(open.x, n, 2) == nullptr &&
                 xencomm_alloc_array(open.x, 2, n) == nullptr &&
                 xencomm_alloc_array(open.x, n, n) == nullptr;
        })}},
      {"xencomm_calloc",
       {[](Open& open) { return FreeAll(open, xencomm_calloc(open.x, 30, 1000)); },
        Huge([](Open& open, std::size_t n) {
          return xencomm_calloc(open.x, n, 2) == nullptr && xencomm_calloc(open.x, n, n) == nullptr;
        })}},
      {"xencomm_free",
       {[](Open& open) {
          // Also what is refused, with a sentence.
          void* const memory = xencomm_alloc(open.x, 10);
          if (memory == nullptr) return false;
          EXPECT_EQ(xencomm_free(open.x, &open), -1);
          return xencomm_free(open.x, memory) == 0;
        },
        [](Open& open) {
          ExpectRefused(xencomm_free(open.x, reinterpret_cast<void*>(~std::uintptr_t{0})) == -1, 0);
        }}},
      {"xencomm_check",
       {[](Open& open) { return xencomm_check(open.x, &open, 0, 1) == 0; },
        Huge([](Open& open, std::size_t n) {
          void* const memory = xencomm_alloc(open.x, 10);
          const bool refused = xencomm_check(open.x, memory, n, 2) == -1 &&
                               xencomm_check(open.x, memory, 1, n) == -1 &&
                               xencomm_check(open.x, memory, n, n) == -1;
          const int error = errno;
          xencomm_free(open.x, memory);
          errno = error;
          return refused;
        })}},
      {"xencomm_call",
       {[](Open& open) {
          xencomm_call(open.x, 999, 0, 0, 0, 0, 0);  // refused with a sentence
          return xencomm_call(open.x, kVersion, XENVER_version, 0, 0, 0, 0) > 0;
        },
        Huge([](Open& open, std::size_t n) {
          return xencomm_call(open.x, kVersion, XENVER_extraversion, n, n, n, n) == -1;
        })}},
      {"xencomm_translate", {[](Open& open) {
         void* const memory = xencomm_alloc(open.x, 10);
         if (memory == nullptr) return false;
         xencomm_translation translation;
         const int result = xencomm_translate(open.x, memory, XENCOMM_SPACE_WALK, &translation);
         return FreeAll(open, memory) && result == 0;
       }}},
      {"xencomm_for_each_buffer", {[](Open&) {
         VersionCall call;
         const auto visit = [](void*, const xencomm_buffer*) { return 0; };
         return xencomm_for_each_buffer(&call.call, nullptr, visit, nullptr) == 0;
       }}},
      {"xencomm_describe", {[](Open&) {
         VersionCall call;
         return FreeBlock(xencomm_describe(&call.call, nullptr));
       }}},
      {"xencomm_audit", {[](Open&) {
         VersionCall call;
         const xencomm_range range = {call.text, sizeof(call.text)};
         const xencomm_allowed_op allowed = {kVersion, XENVER_extraversion};
         return xencomm_audit(&call.call, nullptr, &range, 1, &allowed, 1) == 0;
       }}},
      {"xencomm_call_anywhere", {[](Open& open) {
         VersionCall call;
         return xencomm_call_anywhere(open.x, &call.call, nullptr) == 0;
       }}},
      {"xencomm_private_fd", {[](Open& open) { return xencomm_private_fd(open.x) >= -1; }}},
      {"xencomm_private_restrict", {[](Open&) {
         xencomm_context* x = nullptr;
         {
           const Unlimited unlimited;
           x = xencomm_open("embedded:memory=256M,dom0=64M,space=walk4");
         }
         const bool restricted = xencomm_private_restrict(x) == 0;
         const Unlimited unlimited;
         return xencomm_call(x, kVersion, 0, 0, 0, 0, 0) == -1 && errno == ENOTTY &&
                xencomm_close(x) == 0 && restricted;
       }}},
      {"xencomm_private_never_faults",
       {[](Open& open) { return xencomm_private_never_faults(open.x) == 1; }}},

      {"xencall_open", {[](Open&) {
         xencall_handle* const xcall = xencall_open(nullptr, 0);
         return xcall != nullptr && xencall_close(xcall) == 0;
       }}},
      {"xencall_close", {[](Open&) { return xencall_close(xencall_open(nullptr, 0)) == 0; }}},
      {"xencall_fd", {[](Open& open) { return xencall_fd(open.xcall) >= -1; }}},
      {"xencall0", {[](Open& open) { return xencall0(open.xcall, 999) == -1 && errno == ENOSYS; }}},
      {"xencall1", {[](Open& open) { return xencall1(open.xcall, kVersion, 0) > 0; }}},
      {"xencall2", {[](Open& open) { return xencall2(open.xcall, kVersion, 0, 0) > 0; }}},
      {"xencall2L", {[](Open& open) { return xencall2L(open.xcall, kVersion, 0, 0) > 0; }}},
      {"xencall3", {[](Open& open) { return xencall3(open.xcall, kVersion, 0, 0, 0) > 0; }}},
      {"xencall4", {[](Open& open) { return xencall4(open.xcall, kVersion, 0, 0, 0, 0) > 0; }}},
      {"xencall5", {[](Open& open) { return xencall5(open.xcall, kVersion, 0, 0, 0, 0, 0) > 0; }}},
      {"xencall_alloc_buffer",
       {[](Open& open) {
          void* const buffer = xencall_alloc_buffer(open.xcall, 50000);
          xencall_free_buffer(open.xcall, buffer);
          return buffer != nullptr;
        },
        Huge([](Open& open, std::size_t n) {
          return xencall_alloc_buffer(open.xcall, n) == nullptr;
        })}},
      {"xencall_alloc_buffer_pages",
       {[](Open& open) {
          void* const buffer = xencall_alloc_buffer_pages(open.xcall, 70);
          xencall_free_buffer_pages(open.xcall, buffer, 70);
          return buffer != nullptr;
        },
        Huge([](Open& open, std::size_t n) {
          return xencall_alloc_buffer_pages(open.xcall, n) == nullptr;
        })}},
      {"xencall_free_buffer",
       {[](Open& open) {
          void* const buffer = xencall_alloc_buffer(open.xcall, 10);
          xencall_free_buffer(open.xcall, buffer);
          return buffer != nullptr;
        },
        [](Open& open) { xencall_free_buffer(open.xcall, nullptr); }}},
      {"xencall_free_buffer_pages",
       {[](Open& open) {
          void* const buffer = xencall_alloc_buffer_pages(open.xcall, 1);
          xencall_free_buffer_pages(open.xcall, buffer, 1);
          return buffer != nullptr;
        },
        [](Open& open) {
          for (const std::size_t n : kHuge) {
            xencall_free_buffer_pages(open.xcall, nullptr, n);
            xencall_free_buffer_pages(open.xcall, xencall_alloc_buffer_pages(open.xcall, 1), n);
          }
        }}},
      {"xencall_buffers_never_fault",
       {[](Open& open) { return xencall_buffers_never_fault(open.xcall) == 1; }}},

      {"xenforeignmemory_open", {[](Open&) {
         xenforeignmemory_handle* const fmem = xenforeignmemory_open(nullptr, 0);
         return fmem != nullptr && xenforeignmemory_close(fmem) == 0;
       }}},
      {"xenforeignmemory_close",
       {[](Open&) { return xenforeignmemory_close(xenforeignmemory_open(nullptr, 0)) == 0; }}},
      {"xenforeignmemory_map",
       {[](Open& open) {
          void* const mapped = xenforeignmemory_map(open.fmem, 0, PROT_READ, 1, &kFrame, nullptr);
          return mapped != nullptr && xenforeignmemory_unmap(open.fmem, mapped, 1) == 0;
        },
        Huge([](Open& open, std::size_t n) {
          int error = 0;
          return xenforeignmemory_map(open.fmem, 0, PROT_READ, n, &kFrame, nullptr) == nullptr &&
                 xenforeignmemory_map(open.fmem, 0, PROT_READ, n, nullptr, nullptr) == nullptr &&
                 xenforeignmemory_map(open.fmem, 0, PROT_READ, 1, nullptr, &error) == nullptr &&
                 xenforeignmemory_map(open.fmem, 0, PROT_READ, 0, nullptr, nullptr) == nullptr;
        })}},
      {"xenforeignmemory_map2",
       {[](Open& open) {
          const xen_pfn_t frames[] = {kFrame, xen_pfn_t{1} << 40, kFrame + 1};
          int errors[3];
          void* const mapped =
              xenforeignmemory_map2(open.fmem, 0, nullptr, PROT_READ, 0, 3, frames, errors);
          return mapped != nullptr && xenforeignmemory_unmap(open.fmem, mapped, 3) == 0;
        },
        Huge([](Open& open, std::size_t n) {
          // At the last page, and over the end of all addresses.
          void* const end = reinterpret_cast<void*>(~std::uintptr_t{4095});
          const xen_pfn_t frames[2] = {kFrame, kFrame};
          return xenforeignmemory_map2(open.fmem, 0, nullptr, PROT_READ, 0, n, &kFrame, nullptr) ==
                     nullptr &&
                 xenforeignmemory_map2(open.fmem, 0, end, PROT_READ, MAP_FIXED, 1, frames,
                                       nullptr) == nullptr &&
                 xenforeignmemory_map2(open.fmem, 0, end, PROT_READ, MAP_FIXED, 2, frames,
                                       nullptr) == nullptr;
        })}},
      {"xenforeignmemory_unmap",
       {[](Open& open) {
          void* const mapped = xenforeignmemory_map(open.fmem, 0, PROT_READ, 1, &kFrame, nullptr);
          return mapped != nullptr && xenforeignmemory_unmap(open.fmem, mapped, 1) == 0;
        },
        Huge([](Open& open, std::size_t n) {
          void* const end = reinterpret_cast<void*>(~std::uintptr_t{4095});
          return xenforeignmemory_unmap(open.fmem, end, n) == -1 &&
                 xenforeignmemory_unmap(open.fmem, nullptr, 0) == -1;
        })}},
      {"xenforeignmemory_restrict", {[](Open&) {
         xenforeignmemory_handle* const fmem = xenforeignmemory_open(nullptr, 0);
         return fmem != nullptr && xenforeignmemory_restrict(fmem, 5) == 0 &&
                xenforeignmemory_close(fmem) == 0;
       }}},
      // The embedded machine has no resources, and says so.
      {"xenforeignmemory_map_resource",
       {[](Open& open) {
          void* address = nullptr;
          return xenforeignmemory_map_resource(open.fmem, 0, 0, 0, 0, 1, &address, PROT_READ, 0) ==
                     nullptr &&
                 errno == EPERM;  // domain 0's own
        },
        [](Open& open) {
          for (const std::size_t n : kHuge) {
            void* address = nullptr;
            EXPECT_EQ(
                xenforeignmemory_map_resource(open.fmem, 0, 0, 0, n, n, &address, PROT_READ, 0),
                nullptr);
            EXPECT_EQ(
                xenforeignmemory_map_resource(open.fmem, 0, 0, 0, 0, 0, &address, PROT_READ, 0),
                nullptr);
          }
        }}},
      {"xenforeignmemory_unmap_resource",
       {[](Open& open) { return xenforeignmemory_unmap_resource(open.fmem, nullptr) == 0; }}},
      {"xenforeignmemory_resource_size", {[](Open& open) {
         std::size_t size = 0;
         return xenforeignmemory_resource_size(open.fmem, 0, 0, 0, &size) == -1 && errno == EPERM;
       }}},

      // An embedded machine has nobody to share with, and says so.
      {"xencomm_mapper_open",
       {[](Open&) { return xencomm_mapper_open(nullptr) == nullptr && errno == ENOTSUP; }}},
      {"xencomm_share_open",
       {[](Open&) { return xencomm_share_open(nullptr) == nullptr && errno == ENOTSUP; }}},
      {"xencomm_share_of_fd",
       {[](Open&) { return xencomm_share_of_fd(nullptr, 0) == nullptr && errno == ENOTSUP; }}},
      {"xencomm_mapper_close", {[](Open&) { return xencomm_mapper_close(nullptr) == 0; }}},
      {"xencomm_share_close", {[](Open&) { return xencomm_share_close(nullptr) == 0; }}},
      {"xencomm_unmap", {[](Open&) { return xencomm_unmap(nullptr) == 0; }}},

      {"xs_open", {[](Open&) {
         xs_handle* const xs = xs_open(0);
         xs_close(xs);
         return xs != nullptr;
       }}},
      {"xs_daemon_open", {[](Open&) {
         xs_handle* const xs = xs_daemon_open();
         xs_close(xs);
         return xs != nullptr;
       }}},
      {"xs_daemon_open_readonly", {[](Open&) {
         xs_handle* const xs = xs_daemon_open_readonly();
         xs_close(xs);
         return xs != nullptr;
       }}},
      {"xs_domain_open", {[](Open&) {
         xs_handle* const xs = xs_domain_open();
         xs_close(xs);
         return xs != nullptr;
       }}},
      {"xs_close", {[](Open&) { return xs_close(nullptr), true; }}},
      {"xs_daemon_close", {[](Open&) { return xs_daemon_close(xs_open(0)), true; }}},
      {"xs_daemon_destroy_postfork",
       {[](Open&) { return xs_daemon_destroy_postfork(xs_open(0)), true; }}},
      {"xs_daemon_rundir", {[](Open&) { return xs_daemon_rundir() != nullptr; }}},
      {"xs_daemon_socket", {[](Open&) { return xs_daemon_socket() != nullptr; }}},
      {"xs_daemon_socket_ro", {[](Open&) { return xs_daemon_socket_ro() != nullptr; }}},
      {"xs_directory", {[](Open& open) {
         unsigned count = 0;
         return FreeBlock(xs_directory(open.xs, 0, "/local/domain/0", &count)) && count >= 2;
       }}},
      {"xs_read",
       {[](Open& open) { return FreeBlock(xs_read(open.xs, 0, "/local/domain/0/name", nullptr)); },
        [](Open& open) {
          const std::string path(1 << 20, 'x');
          ExpectRefused(xs_read(open.xs, 0, path.c_str(), nullptr) == nullptr, path.size());
        }}},
      {"xs_write",
       {[](Open& open) {
          // All of it or nothing: also of the nodes above it.
          constexpr char kPath[] = "/c_border/a/long/enough/path";
          const bool written = xs_write(open.xs, 0, kPath, "value", 5);
          const Unlimited unlimited;
          EXPECT_EQ(written, FreeBlock(xs_read(open.xs, 0, kPath, nullptr)));
          EXPECT_EQ(written, FreeBlock(xs_read(open.xs, 0, "/c_border", nullptr)));
          xs_rm(open.xs, 0, "/c_border");
          return written;
        },
        [](Open& open) {
          for (const unsigned n : {~0u, 1u << 31, 4097u}) {
            ExpectRefused(!xs_write(open.xs, 0, "/c_border", "", n), n);
          }
        }}},
      {"xs_mkdir", {[](Open& open) {
         const bool made = xs_mkdir(open.xs, 0, "/c_border/another/long/enough/path");
         const Unlimited unlimited;
         EXPECT_EQ(made, FreeBlock(xs_read(open.xs, 0, "/c_border", nullptr)));
         xs_rm(open.xs, 0, "/c_border");
         return made;
       }}},
      {"xs_rm", {[](Open& open) {
         constexpr char kPath[] = "/c_border_to_be_removed";
         {
           const Unlimited unlimited;
           EXPECT_TRUE(xs_mkdir(open.xs, 0, "/c_border_to_be_removed/child"));
         }
         const bool removed = xs_rm(open.xs, 0, kPath);
         const Unlimited unlimited;
         EXPECT_EQ(removed, !FreeBlock(xs_read(open.xs, 0, kPath, nullptr)));
         return removed;
       }}},
      {"xs_restrict", {[](Open& open) { return !xs_restrict(open.xs, 5); }}},
      {"xs_get_permissions", {[](Open& open) {
         unsigned count = 0;
         return FreeBlock(xs_get_permissions(open.xs, 0, "/local/domain/0/name", &count));
       }}},
      {"xs_set_permissions",
       {[](Open& open) {
          xs_permissions permissions[2] = {{0, XS_PERM_NONE}, {5, XS_PERM_READ}};
          return xs_set_permissions(open.xs, 0, "/local/domain/0/name", permissions, 2);
        },
        [](Open& open) {
          xs_permissions permission = {0, XS_PERM_NONE};
          for (const unsigned n : {~0u, 1u << 31, 1u << 20, 4096u}) {
            ExpectRefused(!xs_set_permissions(open.xs, 0, "/tool", &permission, n), n);
          }
          ExpectRefused(!xs_set_permissions(open.xs, 0, "/tool", nullptr, 0), 0);
        }}},
      {"xs_watch",
       {[](Open& open) {
          const bool watched = xs_watch(open.xs, kWatched, kToken);
          const Unlimited unlimited;
          EXPECT_EQ(watched, xs_unwatch(open.xs, kWatched, kToken));
          EXPECT_EQ(watched, FreeBlock(xs_check_watch(open.xs)));
          return watched;
        },
        [](Open& open) {
          const std::string token(1 << 20, 'x');
          ExpectRefused(!xs_watch(open.xs, "/tool", token.c_str()), token.size());
        }}},
      {"xs_unwatch",
       {[](Open& open) { return !xs_unwatch(open.xs, "/nothing", "") && errno == ENOENT; }}},
      {"xs_fileno", {[](Open& open) { return xs_fileno(open.xs) >= 0; }}},
      // An event that could not be told stays.
      {"xs_check_watch", {[](Open& open) {
         MakeEvent(open);
         const bool told = FreeBlock(xs_check_watch(open.xs));
         const Unlimited unlimited;
         EXPECT_EQ(!told, FreeBlock(xs_check_watch(open.xs)));
         return told;
       }}},
      {"xs_read_watch", {[](Open& open) {
         MakeEvent(open);
         unsigned count = 0;
         const bool told = FreeBlock(xs_read_watch(open.xs, &count));
         const Unlimited unlimited;
         EXPECT_EQ(!told, FreeBlock(xs_check_watch(open.xs)));
         return told && count == 2;
       }}},
      {"xs_transaction_start", {[](Open& open) {
         const xs_transaction_t t = xs_transaction_start(open.xs);
         const Unlimited unlimited;
         return t != XBT_NULL && xs_transaction_end(open.xs, t, true);
       }}},
      {"xs_transaction_end", {[](Open& open) {
         xs_transaction_t t = XBT_NULL;
         {
           const Unlimited unlimited;
           t = xs_transaction_start(open.xs);
           EXPECT_TRUE(xs_mkdir(open.xs, t, "/c_border"));
         }
         const bool ended = xs_transaction_end(open.xs, t, false);
         const Unlimited unlimited;
         EXPECT_EQ(ended, FreeBlock(xs_read(open.xs, 0, "/c_border", nullptr)));
         xs_rm(open.xs, 0, "/c_border");
         return ended;
       }}},
      {"xs_introduce_domain", {[](Open& open) {
         const bool introduced = xs_introduce_domain(open.xs, 77, 1, 1);
         const Unlimited unlimited;
         EXPECT_EQ(introduced, xs_is_domain_introduced(open.xs, 77));
         xs_release_domain(open.xs, 77);
         return introduced;
       }}},
      {"xs_release_domain", {[](Open& open) {
         {
           const Unlimited unlimited;
           EXPECT_TRUE(xs_introduce_domain(open.xs, 77, 1, 1));
         }
         const bool released = xs_release_domain(open.xs, 77);
         EXPECT_EQ(released, !xs_is_domain_introduced(open.xs, 77));
         return released;
       }}},
      {"xs_resume_domain", {[](Open& open) { return xs_resume_domain(open.xs, 0); }}},
      {"xs_set_target", {[](Open& open) { return xs_set_target(open.xs, 0, 0); }}},
      {"xs_is_domain_introduced", {[](Open& open) { return xs_is_domain_introduced(open.xs, 0); }}},
      {"xs_get_domain_path",
       {[](Open& open) { return FreeBlock(xs_get_domain_path(open.xs, ~0u)); }}},
      {"xs_path_is_subpath", {[](Open&) { return xs_path_is_subpath("/a", "/a/b"); }}},
      {"xs_control_command",
       {[](Open& open) { return xs_control_command(open.xs, "", nullptr, 0) == nullptr; }}},
      {"xs_debug_command",
       {[](Open& open) { return xs_debug_command(open.xs, "", nullptr, 0) == nullptr; }}},
      {"xs_suspend_evtchn_port", {[](Open&) { return xs_suspend_evtchn_port(77) == -1; }}},
      {"xs_write_all",
       {[](Open&) { return xs_write_all(-1, "", 0) && !xs_write_all(-1, "a", 1); }}},
      {"xs_strings_to_perms", {[](Open&) {
         xs_permissions permission;
         return xs_strings_to_perms(&permission, 1, "r5") &&
                !xs_strings_to_perms(nullptr, 1, "x") && xs_strings_to_perms(nullptr, 0, nullptr);
       }}},
  };
  return *kCases;
}

// The names that version scripts show to C, apart from those that they show to C++.
std::set<std::string> Exported() {
  std::set<std::string> names;
  std::istringstream paths(C_BORDER_MAPS);
  for (std::string path; std::getline(paths, path, ':');) {
    std::ifstream script(path);
    EXPECT_TRUE(script.good()) << path;
    std::string line;
    unsigned depth = 0;
    bool shown = false;
    while (std::getline(script, line)) {
      line.erase(0, line.find_first_not_of(' '));
      if (line.empty() || line[0] == '#') continue;
      if (line.back() == '{') ++depth;
      if (line[0] == '}') --depth;
      if (line == "global:") shown = true;
      if (line == "local:" || depth == 0) shown = false;
      if (depth == 1 && shown && line.back() == ';' && line[0] != '}') {
        names.insert(line.substr(0, line.size() - 1));
      }
    }
  }
  return names;
}

class CBorderCalls : public testing::Test {
 protected:
  static void SetUpTestSuite() { setenv("XENCOMM_TRANSPORT", "embedded:memory=256M,dom0=64M", 1); }
  void TearDown() override { allocations_left = -1; }
};

class CBorder : public CBorderCalls, public testing::WithParamInterface<std::string> {
 protected:
  const Case& tested() { return Cases().at(GetParam()); }
};

std::vector<std::string> Names() {
  std::vector<std::string> names;
  for (const auto& [name, tested] : Cases()) names.push_back(name);
  return names;
}
INSTANTIATE_TEST_SUITE_P(, CBorder, testing::ValuesIn(Names()),
                         [](const auto& tested) { return tested.param; });

// Those that are called on a mapper, a mapping or a share: in sharing_test memory ends for them.
constexpr const char* kOfSharing[] = {
    "xencomm_copy_grants",    "xencomm_map_frames",    "xencomm_map_grants",
    "xencomm_mapping_data",   "xencomm_mapping_pages", "xencomm_notify_at_unmap",
    "xencomm_share_allocate", "xencomm_share_also",    "xencomm_share_fd",
    "xencomm_share_free",     "xencomm_share_list",    "xencomm_share_map",
    "xencomm_share_notify",   "xencomm_share_offset",  "xencomm_share_revoke",
    "xencomm_share_unmap",
};

TEST(CBorderCases, AreOfAllThatIsExported) {
  std::vector<std::string> names = Names();
  names.insert(names.end(), std::begin(kOfSharing), std::end(kOfSharing));
  names.emplace_back("xencomm_announces");  // no function: a tracer sets it
  EXPECT_THAT(Exported(), testing::UnorderedElementsAreArray(names));
}

TEST_P(CBorder, AnswersWhenMemoryRunsOutAtAnyStep) {
  Open open;
  ASSERT_TRUE(tested().call(open)) << "errno " << errno;
  for (long step = 0;; ++step) {
    ASSERT_LT(step, 10000);
    allocations_left = step;
    ran_out = false;
    errno = 0;
    bool succeeded = false;
    bool threw = false;
    try {
      succeeded = tested().call(open);
    } catch (...) {
      threw = true;
    }
    const int error = errno;
    allocations_left = -1;
    ASSERT_FALSE(threw) << "an exception crossed, of allocation " << step;
    if (!ran_out) {
      EXPECT_TRUE(succeeded) << "errno " << error;
      break;
    }
    EXPECT_TRUE(succeeded || error == ENOMEM) << "errno " << error << ", of allocation " << step;
    // Nothing was left half done: the next time it succeeds.
    ASSERT_TRUE(tested().call(open)) << "errno " << errno << ", after allocation " << step;
  }
}

TEST_F(CBorderCalls, WhatACallAnsweredIsToldWithoutMemoryForASentence) {
  Open open;
  allocations_left = 0;
  errno = 0;
  const std::int64_t answer = xencomm_call(open.x, 999, 0, 0, 0, 0, 0);
  const int error = errno;
  const int same = xencall0(open.xcall, 999);
  const int same_error = errno;
  allocations_left = -1;
  EXPECT_EQ(answer, -1);
  EXPECT_EQ(error, ENOSYS);
  EXPECT_EQ(same, -1);
  EXPECT_EQ(same_error, ENOSYS);
}

// Memory runs out for the watch and for its first event, which is not each time made anew.
TEST_F(CBorderCalls, AWatchThatFailedIsNotThere) {
  Open open;
  for (int watch = 0; watch < 40; ++watch) {
    const std::string token = std::to_string(watch);
    for (long step = 0;; ++step) {
      allocations_left = step;
      const bool watched = xs_watch(open.xs, kWatched, token.c_str());
      allocations_left = -1;
      if (watched) break;
      ASSERT_FALSE(xs_unwatch(open.xs, kWatched, token.c_str())) << watch << ", " << step;
    }
  }
  for (int watch = 0; watch < 40; ++watch) {
    EXPECT_TRUE(xs_unwatch(open.xs, kWatched, std::to_string(watch).c_str()));
    EXPECT_TRUE(FreeBlock(xs_check_watch(open.xs)));
  }
}

TEST_P(CBorder, RefusesAbsurdAmounts) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer takes more address space than the limit leaves";
#endif
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    Open open;
    // Room for what succeeds: another Arena and its books.
    std::ifstream statm("/proc/self/statm");
    rlim_t pages = 0;
    statm >> pages;
    const rlim_t limit = pages * 4096 + (rlim_t{640} << 20);
    const rlimit memory = {limit, limit};
    if (setrlimit(RLIMIT_AS, &memory) != 0) _exit(2);
    tested().absurd(open);
    std::fflush(nullptr);
    _exit(testing::Test::HasFailure() || !tested().call(open) ? 1 : 0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

}  // namespace
