#include "hcall/devices/privcmd_device.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
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

constexpr std::int64_t Told(std::int64_t answer) {
  return answer == machine::kRefusedByFile ? -EPERM : answer;
}

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
    std::shared_ptr<machine::Connection> connection, embedded::ForeignMappings& mappings,
    Program& program) {
  absl::StatusOr<std::shared_ptr<Client>> client =
      Client::Over(std::make_unique<machine::MachineTransport>(connection));
  if (!client.ok()) return client.status();
  FileDescriptor empty(memfd_create("xencomm-privcmd", MFD_CLOEXEC));
  if (!empty.is_open()) return absl::ErrnoToStatus(errno, "room for frames");
  return std::unique_ptr<PrivcmdDevice>(new PrivcmdDevice(std::move(connection), *std::move(client),
                                                          mappings, program, std::move(empty)));
}

std::int64_t PrivcmdDevice::Ioctl(std::uint64_t file, unsigned long request,
                                  std::uint64_t argument) {
  switch (request) {
    case kPrivcmdHypercall:
      return Hypercall(file, argument);
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

std::int64_t PrivcmdDevice::Hypercall(std::uint64_t file, std::uint64_t argument) {
  const Way way = {.file = file, .domain = DOMID_INVALID};
  PrivcmdHypercall call;
  if (!program_.Fetch(argument, &call)) return Told(AnswerHere(way, -EFAULT));
  return Told(call.op == __HYPERVISOR_multicall ? Multicall(way, call.arg[0], call.arg[1])
                                                : Bounce(way, call.op, call.arg));
}

// Entry by entry, as the hypervisor does it: one whose arguments cannot be reached fails alone.
std::int64_t PrivcmdDevice::Multicall(const Way& way, std::uint64_t list, std::uint64_t count) {
  count = static_cast<std::uint32_t>(count);
  constexpr std::uint64_t kEntry = sizeof(multicall_entry_t);
  if (count == 0) return AnswerHere(way, 0);
  if (!program_.CanTouch(list, count * kEntry, Access::kWrite)) return AnswerHere(way, -EFAULT);
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t place = list + i * kEntry;
    multicall_entry_t entry;
    if (!program_.Fetch(place, &entry)) return -EFAULT;
    const std::int64_t result = entry.op == __HYPERVISOR_multicall
                                    ? AnswerHere(way, -EINVAL)
                                    : Bounce(way, entry.op, std::span(entry.args).first<5>());
    if (result == machine::kRefusedByFile) return result;
    if (!program_.Store(place + offsetof(multicall_entry_t, result),
                        static_cast<unsigned long>(result))) {
      return -EFAULT;
    }
  }
  return 0;
}

std::int64_t PrivcmdDevice::Bounce(const Way& way, std::uint64_t index,
                                   std::span<const std::uint64_t, 5> arguments) {
  schema::Call call = {.hypercall = index};
  std::ranges::copy(arguments, call.registers.begin());
  mappings_.SweepForCall();
  ArenaMemory bounce(client_->arena());
  ProgramSpace space(program_);
  schema::BouncedCall bounced(call, {.space = space}, bounce, program_.bounced_memory());
  if (bounced.out_of_memory()) return AnswerHere(way, -ENOMEM);
  if (!bounced.ok()) return AnswerHere(way, -schema::ErrnoOf(bounced.finding().problem));
  machine::Lane::Call made = {.file = way.file, .index = index};
  std::copy_n(bounced.call().registers.begin(), made.arguments.size(), made.arguments.begin());
  const std::int64_t answer = connection_->Call(made);
  if (answer == machine::kRefusedByFile) return answer;
  return bounced.CopyBack(answer) ? answer : -EFAULT;
}

std::int64_t PrivcmdDevice::MapBatch(std::uint64_t file, std::uint64_t argument,
                                     bool is_first_version) {
  PrivcmdMapBatch batch = {};
  if (is_first_version) {
    PrivcmdMapBatchV1 first;
    if (!program_.Fetch(argument, &first)) return -EFAULT;
    batch = {.num = static_cast<std::uint32_t>(first.num),
             .dom = first.dom,
             .addr = first.addr,
             .arr = first.arr,
             .err = nullptr};
  } else if (!program_.Fetch(argument, &batch)) {
    return -EFAULT;
  }
  const std::int64_t reaches = Reaches(file, batch.dom);
  if (reaches != 0) return reaches;
  const std::uint64_t count = batch.num;
  if (count == 0 || count > std::numeric_limits<std::int32_t>::max()) return -EINVAL;
  const auto array = reinterpret_cast<std::uintptr_t>(batch.arr);
  const auto place_of_errors = reinterpret_cast<std::uintptr_t>(batch.err);
  // As much as is not there is not fetched either.
  if (!program_.CanTouch(array, count * sizeof(std::uint64_t), Access::kRead)) return -EFAULT;
  if (!is_first_version &&
      !program_.CanTouch(place_of_errors, count * sizeof(int), Access::kWrite)) {
    return -EFAULT;
  }
  std::vector<std::uint64_t> frames(count);
  std::vector<int> errors(count);
  const auto store_errors = [&] {
    return program_.Write(place_of_errors, errors.data(), count * sizeof(int));
  };
  if (!program_.Read(array, frames.data(), count * sizeof(std::uint64_t))) return -EFAULT;
  if (!is_first_version && !store_errors()) return -EFAULT;
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
  bool has_failed = false;
  for (std::uint64_t i = 0; i < count; ++i) {
    if (errors[i] == 0) continue;
    has_failed = true;
    is_paged_out = is_paged_out || errors[i] == -ENOENT;
    if (!is_first_version) continue;
    const std::uint64_t top = errors[i] == -ENOENT ? kPagedOut : kFailed;
    if (!program_.Store(array + i * sizeof(std::uint64_t), frames[i] | top)) return -EFAULT;
  }
  if (has_failed && !is_first_version && !store_errors()) return -EFAULT;
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

std::int64_t PrivcmdDevice::MapResource(std::uint64_t file, std::uint64_t argument) {
  PrivcmdMapResource asked;
  if (!program_.Fetch(argument, &asked)) return -EFAULT;
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
    return program_.Store(argument, asked) ? 0 : -EFAULT;
  }
  if (asked.num == 0 || asked.addr == 0) return -EINVAL;
  return Fill(asked.addr, asked.num, [&](const embedded::ForeignMappings::Place& place, auto&) {
    return mappings_.FillWithResource(holder, resource, place);
  });
}

std::int64_t PrivcmdDevice::DmOp(std::uint64_t file, std::uint64_t argument) {
  PrivcmdDmOp op;
  if (!program_.Fetch(argument, &op)) return -EFAULT;
  const Way way = {.file = file, .domain = op.dom};
  const auto list = reinterpret_cast<std::uintptr_t>(op.ubufs);
  const std::int64_t error = CheckBuffers(list, op.num);
  if (error != 0 || op.num == 0) return Told(AnswerHere(way, error));
  // Xen's list is the same. It is fetched once more, as any argument.
  static_assert(sizeof(PrivcmdDmOpBuffer) == sizeof(xen_dm_op_buf) &&
                offsetof(PrivcmdDmOpBuffer, size) == offsetof(xen_dm_op_buf, size));
  const std::uint64_t arguments[5] = {op.dom, op.num, list};
  return Told(Bounce(way, __HYPERVISOR_dm_op, arguments));
}

std::int64_t PrivcmdDevice::CheckBuffers(std::uint64_t list, std::uint64_t count) {
  if (count > kMostDmOpBuffers) return -E2BIG;
  std::array<PrivcmdDmOpBuffer, kMostDmOpBuffers> buffers;
  if (!program_.Read(list, buffers.data(), count * sizeof(buffers[0]))) return -EFAULT;
  for (const PrivcmdDmOpBuffer& buffer : std::span(buffers).first(count)) {
    if (buffer.size > kMostDmOpBytes) return -E2BIG;
    if (!program_.CanTouch(reinterpret_cast<std::uintptr_t>(buffer.uptr), buffer.size,
                           Access::kWrite)) {
      return -EFAULT;
    }
  }
  return 0;
}

std::int64_t PrivcmdDevice::AnswerHere(const Way& way, std::int64_t answer) {
  const std::int64_t reaches = Reaches(way.file, way.domain);
  return reaches == -EPERM ? machine::kRefusedByFile : reaches != 0 ? reaches : answer;
}

std::int64_t PrivcmdDevice::Restrict(std::uint64_t file, std::uint64_t argument) {
  std::uint16_t domain;
  if (!program_.Fetch(argument, &domain)) return -EFAULT;
  const absl::StatusOr<int> error = connection_->RestrictFile(file, domain);
  return error.ok() ? -*error : -EIO;
}

std::int64_t PrivcmdDevice::Reaches(std::uint64_t file, std::uint16_t domain) {
  const absl::StatusOr<int> error = connection_->Reaches(file, domain);
  return error.ok() ? -*error : -EIO;
}

std::int64_t PrivcmdDevice::MapRoom(std::uint64_t address, std::size_t length, int protection,
                                    int flags) {
  const std::int64_t room = program_.Map(address, length, protection, flags, empty_.get(), 0);
  if (room < 0) return room;
  const auto start = static_cast<std::uint64_t>(room);
  program_.Advise(start, length, MADV_DONTFORK);
  const MutexLock lock(mutex_);
  rooms_[start] = {.pages = PageUp(length) >> kPageShift, .protection = protection, .filled = {}};
  return room;
}

std::int64_t PrivcmdDevice::MapBuffers(std::uint64_t address, std::size_t length, int protection,
                                       int flags) {
  const std::int64_t pages =
      program_.Map(address, length, protection, flags | MAP_ANONYMOUS, -1, 0);
  if (pages < 0) return pages;
  const MutexLock lock(mutex_);
  buffers_[static_cast<std::uint64_t>(pages)] = PageUp(length);
  return pages;
}

int PrivcmdDevice::MayChange(std::uint64_t start, std::size_t length, std::size_t new_length) {
  const MutexLock lock(mutex_);
  const auto overlaps = [&](std::uint64_t other, std::size_t bytes) {
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

void PrivcmdDevice::Unmapped(std::uint64_t start, std::size_t length) {
  const auto is_gone = [&](const auto& mapping) {
    return mapping.first >= start && mapping.first - start < length;
  };
  {
    const MutexLock lock(mutex_);
    std::erase_if(rooms_, is_gone);
    std::erase_if(buffers_, is_gone);
  }
  mappings_.Sweep(start, length);
}

}  // namespace xencomm::devices
