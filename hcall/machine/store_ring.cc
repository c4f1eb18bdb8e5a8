#include "hcall/machine/store_ring.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>

#include "hcall/hypervisor/base/machine.h"

namespace xencomm::machine {
namespace {

using Index = std::atomic_ref<XENSTORE_RING_IDX>;

static_assert(sizeof(xenstore_domain_interface) <= hypervisor::kPageSize);
static_assert(Index::is_always_lock_free);

// Of `length` bytes that begin at `index` of a ring, those before its end.
std::size_t BeforeEnd(XENSTORE_RING_IDX index, std::size_t length) {
  return std::min<std::size_t>(length, XENSTORE_RING_SIZE - MASK_XENSTORE_IDX(index));
}

}  // namespace

absl::StatusOr<std::unique_ptr<StoreRing>> StoreRing::Create() {
  FileDescriptor file(memfd_create("xencomm-xenstore", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file.is_open() || ftruncate(file.get(), hypervisor::kPageSize) != 0 ||
      fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return absl::ErrnoToStatus(errno, "a page for xenstored");
  }
  void* const page =
      mmap(nullptr, hypervisor::kPageSize, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (page == MAP_FAILED) return absl::ErrnoToStatus(errno, "a page for xenstored");
  // Bytes and words in a file that reads as zero: two empty rings.
  return std::unique_ptr<StoreRing>(
      new StoreRing(std::move(file), static_cast<xenstore_domain_interface*>(page)));
}

StoreRing::~StoreRing() { munmap(page_, hypervisor::kPageSize); }

void StoreRing::Reset() {
  const MutexLock lock(mutex_);
  ++life_;
  for (XENSTORE_RING_IDX* const index :
       {&page_->req_cons, &page_->req_prod, &page_->rsp_cons, &page_->rsp_prod}) {
    Index(*index).store(0);
  }
}

std::uint64_t StoreRing::life() const {
  const MutexLock lock(mutex_);
  return life_;
}

std::optional<std::size_t> StoreRing::Write(std::uint64_t life, std::string_view bytes) {
  const MutexLock lock(mutex_);
  const XENSTORE_RING_IDX from = Index(page_->req_cons).load();
  const XENSTORE_RING_IDX to = Index(page_->req_prod).load();
  if (life != life_ || to - from > XENSTORE_RING_SIZE) return std::nullopt;
  const std::size_t length = std::min<std::size_t>(bytes.size(), XENSTORE_RING_SIZE - (to - from));
  const std::size_t first = BeforeEnd(to, length);
  std::memcpy(page_->req + MASK_XENSTORE_IDX(to), bytes.data(), first);
  std::memcpy(page_->req, bytes.data() + first, length - first);
  Index(page_->req_prod).store(to + static_cast<XENSTORE_RING_IDX>(length));
  return length;
}

std::optional<std::size_t> StoreRing::Read(std::uint64_t life, std::span<std::byte> bytes) {
  const MutexLock lock(mutex_);
  const XENSTORE_RING_IDX from = Index(page_->rsp_cons).load();
  const XENSTORE_RING_IDX to = Index(page_->rsp_prod).load();
  if (life != life_ || to - from > XENSTORE_RING_SIZE) return std::nullopt;
  const std::size_t length = std::min<std::size_t>(bytes.size(), to - from);
  const std::size_t first = BeforeEnd(from, length);
  std::memcpy(bytes.data(), page_->rsp + MASK_XENSTORE_IDX(from), first);
  std::memcpy(bytes.data() + first, page_->rsp, length - first);
  Index(page_->rsp_cons).store(from + static_cast<XENSTORE_RING_IDX>(length));
  return length;
}

}  // namespace xencomm::machine
