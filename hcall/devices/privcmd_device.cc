#include "hcall/devices/privcmd_device.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <iterator>
#include <limits>
#include <utility>

#include "hcall/schema/generated/xen.h"
#include "hcall/transport/arena_memory.h"
#include "hcall/transport/bounced_call.h"
#include "hcall/transport/machine/machine_transport.h"

namespace xencomm::devices {
namespace {

constexpr unsigned kPageShift = 12;
// Of privcmd's (drivers/xen/privcmd.c).
constexpr std::size_t kMostDmOpBuffers = 16;
constexpr std::size_t kMostDmOpBytes = 4096;
constexpr std::uint64_t kPagedOut = 0x80000000;
constexpr std::uint64_t kFailed = 0xf0000000;

constexpr std::size_t PageUp(std::size_t bytes) {
  constexpr std::size_t kRest = (std::size_t{1} << kPageShift) - 1;
  return (bytes + kRest) & ~kRest;
}

// Holds frames by a device's file, and lets them go as the connection does.
class HolderByFile final : public embedded::FrameHolder {
 public:
  HolderByFile(machine::Connection& connection, std::uint64_t file)
      : connection_(connection), file_(file) {}

  int Hold(std::uint16_t domain, std::span<const std::uint64_t> frames, Access access,
           std::span<std::uint64_t> mfns, std::span<int> errors) override {
    return connection_.HoldBy(file_, domain, frames, access, mfns, errors);
  }
  int HoldResource(const ForeignMemory::Resource& resource,
                   std::span<std::uint64_t> mfns) override {
    return connection_.HoldResourceBy(file_, resource, mfns);
  }
  std::int64_t CountResource(const ForeignMemory::Resource& resource) override {
    return connection_.CountResourceBy(file_, resource);
  }
  void Release(std::span<const std::uint64_t> mfns) override { connection_.Release(mfns); }

 private:
  machine::Connection& connection_;
  const std::uint64_t file_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<PrivcmdDevice>> PrivcmdDevice::Create(
    std::shared_ptr<machine::Connection> connection, embedded::ForeignMappings& mappings) {
  absl::StatusOr<std::shared_ptr<Client>> client =
      Client::Over(std::make_unique<machine::MachineTransport>(connection));
  if (!client.ok()) return client.status();
  FileDescriptor empty(memfd_create("xencomm-privcmd", MFD_CLOEXEC));
  if (!empty.is_open()) return absl::ErrnoToStatus(errno, "room for frames");
  return std::unique_ptr<PrivcmdDevice>(
      new PrivcmdDevice(std::move(connection), *std::move(client), mappings, std::move(empty)));
}

std::int64_t PrivcmdDevice::Ioctl(std::uint64_t file, unsigned long request, void* argument) {
  switch (request) {
    case kPrivcmdHypercall: {
      // A restricted file refuses before it looks.
      const std::int64_t reaches = Reaches(file, DOMID_INVALID);
      if (reaches != 0) return reaches;
      PrivcmdHypercall call;
      if (!Fetch(argument, &call)) return -EFAULT;
      return Hypercall(file, call);
    }
    case kPrivcmdMap:
      return -ENOSYS;  // domain 0 is translated
    case kPrivcmdMapBatchV1:
      return MapBatch(file, argument, true);
    case kPrivcmdMapBatch:
      return MapBatch(file, argument, false);
    case kPrivcmdMapResource:
      return MapResource(file, argument);
    case kPrivcmdDmOp:
      return DmOp(file, argument);
    case kPrivcmdRestrict:
      return Restrict(file, argument);
    default:
      return -ENOTTY;
  }
}

std::int64_t PrivcmdDevice::Hypercall(std::uint64_t file, const PrivcmdHypercall& call) {
  if (call.op == __HYPERVISOR_multicall) return Multicall(file, call.arg[0], call.arg[1]);
  return Bounce(file, call.op, call.arg);
}

// Entry by entry, as the hypervisor does it: one whose arguments cannot be reached fails alone.
std::int64_t PrivcmdDevice::Multicall(std::uint64_t file, std::uint64_t list, std::uint64_t count) {
  count = static_cast<std::uint32_t>(count);
  if (!CanTouch(list, count * sizeof(multicall_entry_t), Access::kWrite)) return -EFAULT;
  auto* const entries = reinterpret_cast<multicall_entry_t*>(list);
  for (std::uint64_t i = 0; i < count; ++i) {
    multicall_entry_t entry;
    if (!Fetch(&entries[i], &entry)) return -EFAULT;
    const std::int64_t result = entry.op == __HYPERVISOR_multicall
                                    ? -EINVAL
                                    : Bounce(file, entry.op, std::span(entry.args).first<5>());
    if (!Store(&entries[i].result, static_cast<unsigned long>(result))) return -EFAULT;
  }
  return 0;
}

std::int64_t PrivcmdDevice::Bounce(std::uint64_t file, std::uint64_t index,
                                   std::span<const std::uint64_t, 5> arguments) {
  schema::Call call = {.hypercall = index};
  std::ranges::copy(arguments, call.registers.begin());
  ArenaMemory bounce(client_->arena());
  schema::BouncedCall bounced(call, {.space = memory_}, bounce);
  if (bounced.out_of_memory()) return -ENOMEM;
  if (!bounced.ok()) return -schema::ErrnoOf(bounced.finding().problem);
  machine::Lane::Call made = {.file = file, .index = index};
  std::copy_n(bounced.call().registers.begin(), made.arguments.size(), made.arguments.begin());
  const std::int64_t answer = connection_->Call(made);
  bounced.CopyBack(answer);
  return answer;
}

std::int64_t PrivcmdDevice::MapBatch(std::uint64_t file, const void* argument,
                                     bool is_first_version) {
  PrivcmdMapBatch batch = {};
  std::uint64_t* tops = nullptr;
  if (is_first_version) {
    PrivcmdMapBatchV1 first;
    if (!Fetch(argument, &first)) return -EFAULT;
    batch = {.num = static_cast<std::uint32_t>(first.num),
             .dom = first.dom,
             .addr = first.addr,
             .arr = first.arr,
             .err = nullptr};
    tops = first.arr;
  } else if (!Fetch(argument, &batch)) {
    return -EFAULT;
  }
  const std::int64_t reaches = Reaches(file, batch.dom);
  if (reaches != 0) return reaches;
  const std::uint64_t count = batch.num;
  if (count == 0 || count > std::numeric_limits<std::int32_t>::max()) return -EINVAL;
  const auto array = reinterpret_cast<std::uintptr_t>(batch.arr);
  if (!CanTouch(array, count * sizeof(std::uint64_t), Access::kRead)) return -EFAULT;
  if (!is_first_version) {
    const auto place = reinterpret_cast<std::uintptr_t>(batch.err);
    if (!CanTouch(place, count * sizeof(int), Access::kWrite)) return -EFAULT;
    std::fill_n(batch.err, count, 0);
  }
  const std::vector<std::uint64_t> frames(batch.arr, batch.arr + count);
  std::vector<int> errors;
  HolderByFile holder(*connection_, file);
  const std::int64_t filled =
      Fill(batch.addr, count,
           [&](const embedded::ForeignMappings::Place& place, std::vector<int>& of_frames) {
             const int error = mappings_.Fill(holder, batch.dom, place, frames, of_frames);
             errors = of_frames;
             return error;
           });
  if (filled != 0) return filled;
  bool is_paged_out = false;
  for (std::uint64_t i = 0; i < count; ++i) {
    if (errors[i] == 0) continue;
    is_paged_out = is_paged_out || errors[i] == -ENOENT;
    if (!is_first_version) {
      batch.err[i] = errors[i];
    } else if (CanTouch(array, count * sizeof(std::uint64_t), Access::kWrite)) {
      tops[i] = frames[i] | (errors[i] == -ENOENT ? kPagedOut : kFailed);
    } else {
      return -EFAULT;
    }
  }
  return is_paged_out ? -ENOENT : 0;
}

template <class Put>
std::int64_t PrivcmdDevice::Fill(std::uint64_t address, std::uint64_t pages, const Put& put) {
  const MutexLock lock(mutex_);
  auto next = rooms_.upper_bound(address);
  if (next == rooms_.begin() || address % (1u << kPageShift) != 0) return -EINVAL;
  auto& [start, room] = *std::prev(next);
  const std::uint64_t first = (address - start) >> kPageShift;
  if (first >= room.pages || pages > room.pages - first) return -EINVAL;
  // The first call fills all of it, later ones what has been left.
  if (room.filled.empty()) {
    if (first != 0 || pages != room.pages) return -EINVAL;
  } else {
    for (std::uint64_t i = 0; i < pages; ++i) {
      if (room.filled[first + i]) return -EINVAL;
    }
  }
  std::vector<int> errors(pages);
  const int error = put({.address = reinterpret_cast<void*>(address),
                         .protection = room.protection,
                         .empty_file = empty_.get()},
                        errors);
  if (error != 0) return error;
  room.filled.resize(room.pages);
  for (std::uint64_t i = 0; i < pages; ++i) room.filled[first + i] = errors[i] == 0;
  return 0;
}

std::int64_t PrivcmdDevice::MapResource(std::uint64_t file, void* argument) {
  PrivcmdMapResource asked;
  if (!Fetch(argument, &asked)) return -EFAULT;
  const std::int64_t reaches = Reaches(file, asked.dom);
  if (reaches != 0) return reaches;
  const ForeignMemory::Resource resource = {.domain = asked.dom,
                                            .type = asked.type,
                                            .id = asked.id,
                                            .first = asked.idx,
                                            .count = asked.num};
  HolderByFile holder(*connection_, file);
  if (asked.num == 0 && asked.addr == 0) {
    const std::int64_t count = holder.CountResource(resource);
    if (count < 0) return count;
    asked.num = static_cast<std::uint64_t>(count);
    return Store(argument, asked) ? 0 : -EFAULT;
  }
  if (asked.num == 0 || asked.addr == 0) return -EINVAL;
  return Fill(asked.addr, asked.num, [&](const embedded::ForeignMappings::Place& place, auto&) {
    return mappings_.FillWithResource(holder, resource, place);
  });
}

std::int64_t PrivcmdDevice::DmOp(std::uint64_t file, const void* argument) {
  PrivcmdDmOp op;
  if (!Fetch(argument, &op)) return -EFAULT;
  const std::int64_t reaches = Reaches(file, op.dom);
  if (reaches != 0) return reaches;
  if (op.num == 0) return 0;
  if (op.num > kMostDmOpBuffers) return -E2BIG;
  std::array<PrivcmdDmOpBuffer, kMostDmOpBuffers> buffers;
  if (!CanTouch(reinterpret_cast<std::uintptr_t>(op.ubufs), op.num * sizeof(buffers[0]),
                Access::kRead)) {
    return -EFAULT;
  }
  std::copy_n(op.ubufs, op.num, buffers.begin());
  std::array<xen_dm_op_buf, kMostDmOpBuffers> passed = {};
  for (std::size_t i = 0; i < op.num; ++i) {
    if (buffers[i].size > kMostDmOpBytes) return -E2BIG;
    if (!CanTouch(reinterpret_cast<std::uintptr_t>(buffers[i].uptr), buffers[i].size,
                  Access::kWrite)) {
      return -EFAULT;
    }
    passed[i].h.p = buffers[i].uptr;
    passed[i].size = buffers[i].size;
  }
  const std::uint64_t arguments[5] = {op.dom, op.num,
                                      reinterpret_cast<std::uintptr_t>(passed.data())};
  return Bounce(file, __HYPERVISOR_dm_op, arguments);
}

std::int64_t PrivcmdDevice::Restrict(std::uint64_t file, const void* argument) {
  std::uint16_t domain;
  if (!Fetch(argument, &domain)) return -EFAULT;
  const absl::StatusOr<int> error = connection_->RestrictFile(file, domain);
  return error.ok() ? -*error : -EIO;
}

std::int64_t PrivcmdDevice::Reaches(std::uint64_t file, std::uint16_t domain) {
  const absl::StatusOr<int> error = connection_->Reaches(file, domain);
  return error.ok() ? -*error : -EIO;
}

std::int64_t PrivcmdDevice::MapRoom(void* address, std::size_t length, int protection, int flags) {
  void* const room = mmap(address, length, protection, flags, empty_.get(), 0);
  if (room == MAP_FAILED) return -errno;
  madvise(room, length, MADV_DONTFORK);
  const auto start = reinterpret_cast<std::uintptr_t>(room);
  const MutexLock lock(mutex_);
  rooms_[start] = {.pages = PageUp(length) >> kPageShift, .protection = protection, .filled = {}};
  return static_cast<std::int64_t>(start);
}

std::int64_t PrivcmdDevice::MapBuffers(void* address, std::size_t length, int protection,
                                       int flags) {
  void* const pages = mmap(address, length, protection, flags | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) return -errno;
  const auto start = reinterpret_cast<std::uintptr_t>(pages);
  const MutexLock lock(mutex_);
  buffers_[start] = PageUp(length);
  return static_cast<std::int64_t>(start);
}

int PrivcmdDevice::MayChange(void* address, std::size_t length, std::size_t new_length) {
  const auto start = reinterpret_cast<std::uintptr_t>(address);
  const MutexLock lock(mutex_);
  const auto overlaps = [&](std::uintptr_t other, std::size_t bytes) {
    return other < start + PageUp(length) && start < other + bytes;
  };
  for (const auto& [place, room] : rooms_) {
    const std::size_t bytes = room.pages << kPageShift;
    if (!overlaps(place, bytes)) continue;
    if (PageUp(new_length) > PageUp(length)) return EFAULT;
    const bool is_whole = start <= place && place + bytes <= start + PageUp(length);
    if (!is_whole || (new_length != 0 && PageUp(new_length) != PageUp(length))) return EINVAL;
  }
  for (const auto& [place, bytes] : buffers_) {
    if (overlaps(place, bytes) && PageUp(new_length) > PageUp(length)) return EFAULT;
  }
  return 0;
}

void PrivcmdDevice::Unmapped(void* address, std::size_t length) {
  const auto start = reinterpret_cast<std::uintptr_t>(address);
  const auto is_gone = [&](const auto& mapping) {
    return mapping.first >= start && mapping.first - start < length;
  };
  {
    const MutexLock lock(mutex_);
    std::erase_if(rooms_, is_gone);
    std::erase_if(buffers_, is_gone);
  }
  mappings_.Sweep();
}

}  // namespace xencomm::devices
