#include "hcall/sharing/page_file.h"

#include <sys/mman.h>

#include <cerrno>
#include <utility>
#include <variant>

#include "hcall/sharing/linux_files.h"
#include "hcall/sharing/machine_files.h"
#include "hcall/transport/open.h"

namespace xencomm {
namespace {

// By one of two, as the setting says.
template <class File>
absl::StatusOr<std::shared_ptr<File>> By(const std::string& setting, const auto& of_linux,
                                         const auto& of_machine) {
  const absl::StatusOr<TransportSetting> parsed = ParseTransport(setting);
  if (!parsed.ok()) return parsed.status();
  if (const auto* const joined = std::get_if<JoinedSetting>(&*parsed)) return of_machine(*joined);
  if (std::holds_alternative<EmbeddedSetting>(*parsed)) return CheckSharing(setting);
  return of_linux();
}

}  // namespace

std::byte* ReservePages(std::size_t count) {
  void* const range = mmap(nullptr, count << kSharedPageShift, PROT_NONE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return range == MAP_FAILED ? nullptr : static_cast<std::byte*>(range);
}

void EmptyPages(std::byte* start, std::size_t count) {
  mmap(start, count << kSharedPageShift, PROT_NONE,
       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

void UnmapPages(std::byte* start, std::size_t count) { munmap(start, count << kSharedPageShift); }

absl::Status CheckSharing(const std::string& setting) {
  const absl::StatusOr<TransportSetting> parsed = ParseTransport(setting);
  if (!parsed.ok()) return parsed.status();
  if (!std::holds_alternative<EmbeddedSetting>(*parsed)) return absl::OkStatus();
  return absl::UnimplementedError(
      "an embedded machine is this process's alone, with nobody to share memory with: expected "
      "privcmd, xencomm-device or machine:PATH");
}

absl::StatusOr<std::shared_ptr<GrantFile>> OpenGrantFile(const std::string& setting) {
  return By<GrantFile>(setting, OpenLinuxGrantFile, OpenMachineGrantFile);
}

absl::StatusOr<std::shared_ptr<ShareFile>> OpenShareFile(const std::string& setting) {
  return By<ShareFile>(
      setting, [] { return OpenLinuxShareFile(); },
      [](const JoinedSetting& joined) { return OpenMachineShareFile(joined); });
}

absl::StatusOr<std::shared_ptr<ShareFile>> OpenShareFile(const std::string& setting, int fd) {
  FileDescriptor own(fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!own.is_open()) return absl::InvalidArgumentError("there is no such descriptor");
  return By<ShareFile>(
      setting, [&] { return OpenLinuxShareFile(std::move(own)); },
      [&](const JoinedSetting& joined) { return OpenMachineShareFile(joined, std::move(own)); });
}

}  // namespace xencomm
