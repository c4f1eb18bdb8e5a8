// Xen's kernel devices for a program on a machine: what the front loads when the first is used.

#include "hcall/devices/devices.h"

#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstdlib>
#include <new>

#include "absl/status/statusor.h"
#include "hcall/devices/device_client.h"
#include "hcall/transport/machine/connection.h"
#include "xencomm/export.h"
#include "xencomm/process_slot.h"

namespace xencomm::devices {
namespace {

// Descriptors that stay open behind the program's back: of the connection, and of the memory.
std::array<std::atomic<int>, 2> own_descriptors = {-1, -1};

// This process on its machine.
class OwnClient final : public DeviceClient {
 public:
  OwnClient() : DeviceClient(program_) {}

 private:
  // What the environment says.
  static absl::StatusOr<JoinedSetting> Setting() {
    const char* const setting = std::getenv(XENCOMM_MACHINE_VARIABLE);
    return ParseJoinedSetting(setting == nullptr ? "" : setting);
  }
  absl::StatusOr<std::shared_ptr<machine::Connection>> OpenConnection() override {
    const absl::StatusOr<JoinedSetting> setting = Setting();
    if (!setting.ok()) return setting.status();
    auto opened = machine::Connection::OfMappings(*setting);
    if (opened.ok()) own_descriptors[0].store((*opened)->fd());
    return opened;
  }
  absl::StatusOr<embedded::ForeignMappings*> OpenMappings(
      machine::Connection& connection) override {
    const auto mappings = machine::Connection::MappingsOfThisProcess(*Setting());
    if (mappings.ok()) own_descriptors[1].store((*connection.Memory())->fd());
    return mappings;
  }

  OwnProgram program_;
};

// A forked child is a client of its own.
OwnClient& ThisProcess() {
  static ProcessSlot<OwnClient> slot;
  return slot.OfThisProcess();
}

std::uint64_t Number(void* address) { return std::bit_cast<std::uint64_t>(address); }

// What comes out of C++ comes out of C as errno, which a call that succeeds leaves as it was, as a
// system call does: Xen's libraries print it where nothing has set it.
template <class Function>
std::int64_t Guarded(const Function& function) {
  const int before = errno;
  std::int64_t result;
  try {
    result = function();
  } catch (const std::bad_alloc&) {
    result = -ENOMEM;
  }
  const bool failed = result < 0 && result >= -4095;
  errno = failed ? static_cast<int>(-result) : before;
  return failed ? -1 : result;
}

constexpr struct xencomm_devices kDevices = {
    .open =
        [](xencomm_device device, int flags) {
          return static_cast<int>(Guarded([&] { return ThisProcess().Open(device, flags); }));
        },
    .ioctl = [](int fd, const DeviceFile* file, unsigned long request, void* argument) -> long {
      return Guarded([&] { return ThisProcess().Ioctl(fd, *file, request, Number(argument)); });
    },
    .mmap =
        [](int fd, const DeviceFile* file, void* address, std::size_t length, int protection,
           int flags, off_t offset) {
          return reinterpret_cast<void*>(Guarded([&] {
            return ThisProcess().Map(fd, *file, Number(address), length, protection, flags, offset);
          }));
        },
    .may_change =
        [](void* address, std::size_t length, std::size_t new_length) {
          int error = 0;
          Guarded([&] {
            error = ThisProcess().MayChange(Number(address), length, new_length);
            return std::int64_t{0};
          });
          return error;
        },
    .unmapped =
        [](void* address, std::size_t length) {
          Guarded([&] {
            ThisProcess().Unmapped(Number(address), length);
            return std::int64_t{0};
          });
        },
    .own_from =
        [](int from) {
          int lowest = -1;
          for (const std::atomic<int>& each : own_descriptors) {
            const int own = each.load();
            if (own >= from && (lowest < 0 || own < lowest)) lowest = own;
          }
          return lowest;
        },
};

}  // namespace
}  // namespace xencomm::devices

XENCOMM_API const struct xencomm_devices* xencomm_find_devices() {
  return &xencomm::devices::kDevices;
}
