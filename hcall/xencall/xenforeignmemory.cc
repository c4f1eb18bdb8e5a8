// libxenforeignmemory.so.1 over libxencomm: the functions of xenforeignmemory.h as Debian's
// libxenforeignmemory1 4.17 exports them, on real Xen and on the embedded machine.

#include <sys/mman.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

extern "C" {
#include <xenforeignmemory.h>
}

#include "hcall/transport/foreign_memory.h"
#include "hcall/xencall/active_handle.h"
#include "hcall/xencall/logger.h"
#include "xencomm/c_border.h"

using xencomm::AtBorder;
using xencomm::ForeignMemory;

struct xenforeignmemory_handle {
  explicit xenforeignmemory_handle(std::unique_ptr<ForeignMemory> opened)
      : memory(std::move(opened)) {}

  int Restrict(std::uint16_t domid) { return xenforeignmemory_restrict(this, domid); }

  const std::unique_ptr<ForeignMemory> memory;
  const xencomm::ActiveHandle<xenforeignmemory_handle> active{*this};
};

struct xenforeignmemory_resource_handle {
  void* address;
  std::size_t frames;
};

namespace {

int OrErrno(int result) {
  if (result == 0) return 0;
  errno = -result;
  return -1;
}

int ErrnoOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kPermissionDenied:
      return EACCES;
    case absl::StatusCode::kUnavailable:
      return ENODEV;
    case absl::StatusCode::kResourceExhausted:
      return ENOMEM;
    default:
      return EINVAL;
  }
}

}  // namespace

extern "C" {

xenforeignmemory_handle* xenforeignmemory_open(xentoollog_logger* logger, unsigned) {
  return AtBorder([&]() -> xenforeignmemory_handle* {
    absl::StatusOr<std::unique_ptr<ForeignMemory>> memory = xencomm::OpenForeignMemory("");
    if (!memory.ok()) {
      xencomm::Logger(logger, "xenforeignmemory")
          .Error(std::string(memory.status().message()).c_str());
      errno = ErrnoOf(memory.status());
      return nullptr;
    }
    return new xenforeignmemory_handle(*std::move(memory));
  });
}

int xenforeignmemory_close(xenforeignmemory_handle* fmem) {
  return AtBorder([&] {
    delete fmem;
    return 0;
  });
}

void* xenforeignmemory_map2(xenforeignmemory_handle* fmem, uint32_t dom, void* addr, int prot,
                            int flags, size_t pages, const xen_pfn_t arr[], int err[]) {
  return AtBorder([&]() -> void* {
    ForeignMemory::Placement placement = {addr, prot, flags};
    // Not touched before it is written: `pages` may be any number.
    const auto own_errors = err == nullptr ? std::make_unique_for_overwrite<int[]>(pages) : nullptr;
    const std::span<int> errors(err == nullptr ? own_errors.get() : err, pages);
    if (OrErrno(fmem->memory->Map(dom, placement, {arr, pages}, errors)) != 0) return nullptr;
    // Without a place to tell which frames failed, one that did fails all.
    if (err == nullptr) {
      for (const int error : errors) {
        if (error == 0) continue;
        fmem->memory->Unmap(placement.address, pages);
        errno = -error;
        return nullptr;
      }
    }
    return placement.address;
  });
}

void* xenforeignmemory_map(xenforeignmemory_handle* fmem, uint32_t dom, int prot, size_t pages,
                           const xen_pfn_t arr[], int err[]) {
  return xenforeignmemory_map2(fmem, dom, nullptr, prot, 0, pages, arr, err);
}

int xenforeignmemory_unmap(xenforeignmemory_handle* fmem, void* addr, size_t pages) {
  return AtBorder([&] { return OrErrno(fmem->memory->Unmap(addr, pages)); });
}

int xenforeignmemory_restrict(xenforeignmemory_handle* fmem, domid_t domid) {
  return AtBorder([&] { return OrErrno(fmem->memory->Restrict(domid)); });
}

xenforeignmemory_resource_handle* xenforeignmemory_map_resource(xenforeignmemory_handle* fmem,
                                                                domid_t domid, unsigned type,
                                                                unsigned id, unsigned long frame,
                                                                unsigned long nr_frames,
                                                                void** paddr, int prot, int flags) {
  return AtBorder([&]() -> xenforeignmemory_resource_handle* {
    if ((flags & ~(MAP_SHARED | MAP_PRIVATE)) != 0 || frame > UINT32_MAX) {
      errno = EINVAL;
      return nullptr;
    }
    auto handle = std::make_unique<xenforeignmemory_resource_handle>(nullptr, nr_frames);
    // No frames at no place: the original asks whether there is such a resource, and maps nothing.
    if (*paddr == nullptr && nr_frames == 0) {
      std::size_t size;
      if (OrErrno(fmem->memory->ResourceSize({domid, type, id}, &size)) != 0) return nullptr;
      return handle.release();
    }
    ForeignMemory::Placement placement = {*paddr, prot, flags};
    const ForeignMemory::Resource resource = {domid, type, id, static_cast<std::uint32_t>(frame),
                                              nr_frames};
    if (OrErrno(fmem->memory->MapResource(resource, placement)) != 0) return nullptr;
    handle->address = placement.address;
    *paddr = placement.address;
    return handle.release();
  });
}

int xenforeignmemory_unmap_resource(xenforeignmemory_handle* fmem,
                                    xenforeignmemory_resource_handle* fres) {
  return AtBorder([&] {
    const std::unique_ptr<xenforeignmemory_resource_handle> handle(fres);
    if (handle == nullptr || handle->frames == 0) return 0;
    return OrErrno(fmem->memory->UnmapResource(handle->address, handle->frames));
  });
}

int xenforeignmemory_resource_size(xenforeignmemory_handle* fmem, domid_t domid, unsigned type,
                                   unsigned id, size_t* size) {
  return AtBorder([&] { return OrErrno(fmem->memory->ResourceSize({domid, type, id}, size)); });
}

}  // extern "C"
