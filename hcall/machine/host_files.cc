#include "hcall/machine/host_files.h"

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "hcall/schema/generated/xen.h"
#include "xencomm/sentence.h"

namespace xencomm::machine {
namespace {

namespace fs = std::filesystem;

// Made by Debian's packages or by the kernel before any program of a toolstack runs.
constexpr const char* kFolders[] = {
    "/dev/xen",         "/proc/xen",        "/sys/hypervisor",    "/sys/bus/xen/devices",
    "/run/xen",         "/run/lock",        "/run/libvirt",       "/sys/bus/xen-backend/devices",
    "/var/lib/xen",     "/var/log/xen",     "/var/lib/xen/dump",  "/var/lib/xenstored",
    "/var/lib/libvirt", "/var/log/libvirt", "/var/cache/libvirt", "/etc/libvirt/libxl",
    "/run/xenstored",
};
constexpr const char* kFoldersOfOthers[] = {"/dev/xen", "/proc/xen", "/sys/hypervisor"};
// Which tells a machine's folder from any other.
constexpr const char* kCapabilities = "/proc/xen/capabilities";
// What is a device to whoever opens it is a plain file to whoever lists the folder.
constexpr const char* kPlaceholders[] = {
    "/dev/xen/privcmd", "/dev/xen/hypercall", "/dev/xen/evtchn",   "/dev/xen/xenbus",
    "/dev/xen/gntdev",  "/dev/xen/gntalloc",  "/proc/xen/privcmd", "/proc/xen/xenbus",
};
constexpr const char* kPlaceholdersOfDomain0[] = {"/proc/xen/xsd_kva", "/proc/xen/xsd_port"};

// What xen-init-dom0 leaves for libxl of domain 0's configuration: without it `xl list -l` fails.
constexpr const char* kDomain0 =
    "/var/lib/xen/userdata-d.0.00000000-0000-0000-0000-000000000000.libxl-json";
constexpr const char* kDomain0Configuration =
    R"({"c_info": {"type": "pv", "name": "Domain-0"}, "b_info": {"type.pv": {}}})"
    "\n";

std::string TextOf(std::span<const char> text) {
  return std::string(text.data(), strnlen(text.data(), text.size()));
}

}  // namespace

absl::StatusOr<std::unique_ptr<HostFiles>> HostFiles::Create(const std::string& folder,
                                                             embedded::GuestKernel& kernel) {
  std::error_code error;
  // What a machine that was killed left there; nothing of anybody else's.
  if (fs::exists(folder + kCapabilities, error)) fs::remove_all(folder, error);
  if (mkdir(folder.c_str(), S_IRWXU) != 0) {
    return absl::UnavailableError(
        Sentence("the folder %s cannot be made: %s", folder, strerrordesc_np(errno)));
  }
  auto files = std::unique_ptr<HostFiles>(new HostFiles(folder));
  const bool is_domain0 = kernel.id() == 0;
  const std::span<const char* const> folders =
      is_domain0 ? std::span<const char* const>(kFolders) : kFoldersOfOthers;
  for (const char* each : folders) {
    if (!fs::create_directories(absl::StrCat(folder, each), error) && error) {
      return absl::UnavailableError(
          Sentence("the folder %s%s cannot be made: %s", folder, each, error.message()));
    }
  }
  std::vector<const char*> empty(std::begin(kPlaceholders), std::end(kPlaceholders));
  if (is_domain0) {
    empty.insert(empty.end(), std::begin(kPlaceholdersOfDomain0), std::end(kPlaceholdersOfDomain0));
  }
  for (const char* each : empty) {
    const absl::Status written = files->Write(each, "");
    if (!written.ok()) return written;
  }
  const absl::Status described = files->Describe(kernel);
  if (!described.ok()) return described;
  return files;
}

HostFiles::~HostFiles() {
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

absl::Status HostFiles::Write(std::string_view path, std::string_view contents) {
  const fs::path place = folder_ + std::string(path);
  std::error_code error;
  fs::create_directories(place.parent_path(), error);
  std::ofstream file(place, std::ios::binary | std::ios::trunc);
  file << contents;
  if (file.flush()) return absl::OkStatus();
  return absl::UnavailableError(Sentence("%s cannot be written: %s (is the disk full?)",
                                         place.string(), strerrordesc_np(errno)));
}

absl::Status HostFiles::Link(std::string_view path, int fd) {
  const fs::path place = folder_ + std::string(path);
  std::error_code error;
  fs::remove(place, error);
  fs::create_symlink(absl::StrCat("/proc/", getpid(), "/fd/", fd), place, error);
  if (!error) return absl::OkStatus();
  return absl::UnavailableError(Sentence("%s cannot be made: %s", place.string(), error.message()));
}

// As drivers/xen/sys-hypervisor.c and xenfs do.
absl::Status HostFiles::Describe(embedded::GuestKernel& kernel) {
  std::array<char, sizeof(xen_commandline_t)> text;
  const auto ask = [&](std::uint64_t op, std::span<char> answer) {
    std::memset(answer.data(), 0, answer.size());
    return kernel.CallWith(__HYPERVISOR_xen_version, op, std::as_writable_bytes(answer));
  };
  const auto line = [&](std::uint64_t op, std::size_t size) {
    const std::span<char> answer = std::span(text).first(size);
    return ask(op, answer) < 0 ? std::string() : TextOf(answer) + "\n";
  };
  const std::int64_t version = kernel.CallWith(__HYPERVISOR_xen_version, XENVER_version, {});
  xen_compile_info_t compiled = {};
  kernel.CallWith(__HYPERVISOR_xen_version, XENVER_compile_info,
                  std::as_writable_bytes(std::span(&compiled, 1)));
  xen_platform_parameters_t platform = {};
  kernel.CallWith(__HYPERVISOR_xen_version, XENVER_platform_parameters,
                  std::as_writable_bytes(std::span(&platform, 1)));
  std::string features;
  for (std::uint32_t word = XENFEAT_NR_SUBMAPS; word-- > 0;) {
    xen_feature_info_t info = {.submap_idx = word, .submap = 0};
    kernel.CallWith(__HYPERVISOR_xen_version, XENVER_get_features,
                    std::as_writable_bytes(std::span(&info, 1)));
    absl::StrAppendFormat(&features, "%08x", info.submap);
  }
  std::vector<std::pair<const char*, std::string>> shown = {
      {kCapabilities, kernel.id() == 0 ? "control_d\n" : ""},
      {"/sys/hypervisor/type", "xen\n"},
      {"/sys/hypervisor/guest_type", "PVH\n"},
      {"/sys/hypervisor/uuid", "00000000-0000-0000-0000-000000000000\n"},
      {"/sys/hypervisor/version/major", absl::StrCat(version >> 16, "\n")},
      {"/sys/hypervisor/version/minor", absl::StrCat(version & 0xffff, "\n")},
      {"/sys/hypervisor/version/extra", line(XENVER_extraversion, sizeof(xen_extraversion_t))},
      {"/sys/hypervisor/compilation/compiler", TextOf(compiled.compiler) + "\n"},
      {"/sys/hypervisor/compilation/compiled_by", TextOf(compiled.compile_by) + "\n"},
      {"/sys/hypervisor/compilation/compile_date", TextOf(compiled.compile_date) + "\n"},
      {"/sys/hypervisor/properties/capabilities",
       line(XENVER_capabilities, sizeof(xen_capabilities_info_t))},
      {"/sys/hypervisor/properties/changeset",
       line(XENVER_changeset, sizeof(xen_changeset_info_t))},
      {"/sys/hypervisor/properties/features", features + "\n"},
      {"/sys/hypervisor/properties/pagesize", absl::StrCat(hypervisor::kPageSize, "\n")},
      {"/sys/hypervisor/properties/virtual_start",
       absl::StrFormat("%x\n", static_cast<std::uint64_t>(platform.virt_start))},
  };
  if (kernel.id() == 0) shown.emplace_back(kDomain0, kDomain0Configuration);
  for (const auto& [path, contents] : shown) {
    const absl::Status written = Write(path, contents);
    if (!written.ok()) return written;
  }
  return absl::OkStatus();
}

}  // namespace xencomm::machine
