// A library handle that xentoolcore_restrict_all finds.
//
// A program that gives up its power over other domains asks every open handle of every Xen library
// to give it up. A drop-in that did not take part would leave a hole, so each handle registers, as
// those of the original libraries do. The two functions are libxentoolcore's (VERS_1.0), but their
// header is not installed: the structure is repeated here, from
// tools/include/xentoolcore_internal.h.
#ifndef HCALL_XENCALL_ACTIVE_HANDLE_H_
#define HCALL_XENCALL_ACTIVE_HANDLE_H_

#include <cstdint>

extern "C" {
struct Xentoolcore__Active_Handle {
  int (*restrict_callback)(Xentoolcore__Active_Handle*, std::uint16_t domid);
  struct {
    Xentoolcore__Active_Handle* le_next;
    Xentoolcore__Active_Handle** le_prev;
  } entry;
};
void xentoolcore__register_active_handle(Xentoolcore__Active_Handle*);
void xentoolcore__deregister_active_handle(Xentoolcore__Active_Handle*);
}

namespace xencomm {

// The last member of a library's handle, since another thread may restrict what is registered. It
// calls `int Handle::Restrict(std::uint16_t domid)`, which answers 0, or -1 and errno: from now on
// the handle affects `domid` only, or nothing at all.
template <class Handle>
class ActiveHandle : private Xentoolcore__Active_Handle {
 public:
  explicit ActiveHandle(Handle& handle) : Xentoolcore__Active_Handle{}, handle_(handle) {
    restrict_callback = [](Xentoolcore__Active_Handle* active, std::uint16_t domid) {
      return static_cast<ActiveHandle*>(active)->handle_.Restrict(domid);
    };
    xentoolcore__register_active_handle(this);
  }
  ActiveHandle(const ActiveHandle&) = delete;
  ActiveHandle& operator=(const ActiveHandle&) = delete;
  ~ActiveHandle() { xentoolcore__deregister_active_handle(this); }

 private:
  Handle& handle_;
};

}  // namespace xencomm

#endif  // HCALL_XENCALL_ACTIVE_HANDLE_H_
