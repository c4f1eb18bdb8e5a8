// xen_version (17): what hypervisor this is. It says what the Xen says that it answers as, so that
// a toolstack finds what it was built for; who asks closer finds this library's name in the build's
// description.

#include <bit>
#include <cstring>
#include <span>
#include <string_view>

#include "hcall/hypervisor/calls/call.h"
#include "hcall/schema/generated/types.h"

namespace xencomm::hypervisor {
namespace {

constexpr std::string_view kExtraVersion = ".7";
constexpr std::string_view kChangeset = "xencomm embedded hypervisor";
constexpr std::string_view kCapabilities =
    "xen-3.0-x86_64 hvm-3.0-x86_32 hvm-3.0-x86_32p hvm-3.0-x86_64 ";
constexpr std::string_view kCommandLine = "";
// Where Xen's own addresses begin for a 64-bit PV guest (HYPERVISOR_VIRT_START,
// public/arch-x86/xen-x86_64.h).
constexpr std::uint64_t kVirtStart = 0xffff800000000000;
// Twenty bytes, as a linker's SHA-1 build id has.
constexpr std::uint8_t kBuildId[20] = {'x', 'e', 'n', 'c', 'o', 'm', 'm', ' ', 'e', 'm',
                                       'b', 'e', 'd', 'd', 'e', 'd', ' ', '4', '1', '7'};

// A text of a fixed size, filled up with zeroes.
template <std::size_t size>
std::int64_t WriteText(Call& call, std::string_view text) {
  char buffer[size] = {};
  std::memcpy(buffer, text.data(), text.size());
  const auto handle = call.Handle<char>(call.frame.arguments[1], size);
  return handle.Write(0, buffer).ok() ? 0 : -kEFAULT;
}

template <std::size_t size>
void SetText(char (&field)[size], std::string_view text) {
  static_assert(size > 1);
  std::memcpy(field, text.data(), text.size() < size ? text.size() : size - 1);
}

std::int64_t CompileInfo(Call& call) {
  Cleared<xen_compile_info> info;
  SetText(info->compiler, "gcc (Debian) " __VERSION__);
  SetText(info->compile_by, "xencomm");
  SetText(info->compile_domain, "embedded");
  const auto handle = call.Handle<char>(call.frame.arguments[1], sizeof(xen_compile_info));
  char bytes[sizeof(xen_compile_info)];
  std::memcpy(bytes, &*info, sizeof(bytes));
  return handle.Write(0, bytes).ok() ? 0 : -kEFAULT;
}

std::uint32_t FeaturesOf(const Domain& domain, schema::Releases release) {
  std::uint32_t features = 1u << XENFEAT_memory_op_vnode_supported;
  if ((release & schema::kSince4_18) != 0) {
    features |= 1u << XENFEAT_runstate_phys_area | 1u << XENFEAT_vcpu_time_phys_area;
  }
  if ((release & schema::kSince4_19) != 0) features |= 1u << XENFEAT_dm_msix_all_writes;
  if (domain.translated()) {
    features |= 1u << XENFEAT_writable_page_tables | 1u << XENFEAT_auto_translated_physmap |
                1u << XENFEAT_not_direct_mapped;
  } else {
    features |= 1u << XENFEAT_direct_mapped;
  }
  if (domain.id == 0) features |= 1u << XENFEAT_dom0;
  if (domain.hvm) {
    features |= 1u << XENFEAT_hvm_safe_pvclock | 1u << XENFEAT_hvm_callback_vector;
  } else {
    features |= 1u << XENFEAT_mmu_pt_update_preserve_ad | 1u << XENFEAT_highmem_assist |
                1u << XENFEAT_gnttab_map_avail_bits;
  }
  return features;
}

std::int64_t GetFeatures(Call& call) {
  // Two fields of 32 bits: submap_idx, read, and submap, written.
  const auto words = call.Handle<std::uint32_t>(call.frame.arguments[1], 2);
  std::uint32_t submap_idx;
  if (!words.Read(0, submap_idx).ok()) return -kEFAULT;
  if (submap_idx != 0) return -kEINVAL;
  return words.Write(1, FeaturesOf(call.domain, call.core.config.release)).ok() ? 0 : -kEFAULT;
}

// Bytes of any length, behind the number of those that there is room for (xen_varbuf,
// xen_build_id). Without a pointer, how many there are.
std::int64_t WriteSized(Call& call, std::span<const std::uint8_t> bytes) {
  const std::uint64_t pointer = call.frame.arguments[1];
  const auto size = static_cast<std::int64_t>(bytes.size());
  if (pointer == 0) return size;
  std::uint32_t len;
  const auto head = call.Handle<const std::uint32_t>(pointer, 1);
  if (!head.Read(0, len).ok()) return -kEFAULT;
  // No room at all was a mistake, before there were texts that may be empty.
  if (len == 0 && (call.core.config.release & schema::kSince4_20) == 0) return -kEINVAL;
  if (bytes.size() > len) return -kENOBUFS;
  const auto room =
      call.HandleCountedInMemory<std::uint8_t>(pointer, sizeof(xen_build_id) + bytes.size());
  return room.Write(offsetof(xen_build_id, buf), bytes).ok() ? size : -kEFAULT;
}

std::int64_t WriteSized(Call& call, std::string_view text) {
  // A text's characters are bytes.
  return WriteSized(call, {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

std::int64_t BuildId(Call& call) {
  return call.domain.privileged ? WriteSized(call, kBuildId) : -kEPERM;
}

// The release as a number of its own.
schema::ReleaseNumber NumberOf(schema::Releases release) {
  return schema::ReleaseNumbers()[static_cast<std::size_t>(std::countr_zero(release))];
}

std::int64_t Version(Call& call) {
  const schema::ReleaseNumber number = NumberOf(call.core.config.release);
  return std::int64_t{number.major} << 16 | number.minor;
}

std::int64_t ExtraVersion(Call& call) {
  return WriteText<XEN_EXTRAVERSION_LEN>(call, kExtraVersion);
}

std::int64_t Capabilities(Call& call) {
  return WriteText<XEN_CAPABILITIES_INFO_LEN>(call, kCapabilities);
}

std::int64_t Changeset(Call& call) { return WriteText<XEN_CHANGESET_INFO_LEN>(call, kChangeset); }

std::int64_t PlatformParameters(Call& call) {
  const auto handle = call.Handle<std::uint64_t>(call.frame.arguments[1], 1);
  return handle.Write(0, kVirtStart).ok() ? 0 : -kEFAULT;
}

std::int64_t PageSize(Call& call) {
  return call.frame.arguments[1] != 0 ? -kEINVAL : static_cast<std::int64_t>(kPageSize);
}

std::int64_t GuestHandleOf(Call& call) {
  const auto handle =
      call.Handle<std::uint8_t>(call.frame.arguments[1], sizeof(xen_domain_handle_t));
  return handle.Write(0, call.domain.handle).ok() ? 0 : -kEFAULT;
}

std::int64_t CommandLine(Call& call) {
  // A guest is told only that it is denied.
  if (!call.domain.privileged) return WriteText<sizeof("<denied>")>(call, "<denied>");
  return WriteText<sizeof(xen_commandline_t)>(call, kCommandLine);
}

std::int64_t ExtraVersion2(Call& call) { return WriteSized(call, kExtraVersion); }

std::int64_t Capabilities2(Call& call) { return WriteSized(call, kCapabilities); }

std::int64_t Changeset2(Call& call) { return WriteSized(call, kChangeset); }

std::int64_t CommandLine2(Call& call) {
  return call.domain.privileged ? WriteSized(call, kCommandLine) : -kEPERM;
}

constexpr OpTable<Call, XENVER_commandline2 + 1> kOps = {
    {XENVER_version, Version},
    {XENVER_extraversion, ExtraVersion},
    {XENVER_compile_info, CompileInfo},
    {XENVER_capabilities, Capabilities},
    {XENVER_changeset, Changeset},
    {XENVER_platform_parameters, PlatformParameters},
    {XENVER_get_features, GetFeatures},
    {XENVER_pagesize, PageSize},
    {XENVER_guest_handle, GuestHandleOf},
    {XENVER_commandline, CommandLine},
    {XENVER_build_id, BuildId},
    {XENVER_extraversion2, ExtraVersion2},
    {XENVER_capabilities2, Capabilities2},
    {XENVER_changeset2, Changeset2},
    {XENVER_commandline2, CommandLine2},
};

}  // namespace

OpAnswer AskXenVersion(std::uint64_t op) { return kOps.Ask(op); }

// Xen's `cmd` is an int: the register's upper half is nobody's.
std::int64_t XenVersion(Call& call) {
  const auto cmd = static_cast<std::uint32_t>(call.frame.arguments[0]);
  return call.Knows(__HYPERVISOR_xen_version, cmd) ? kOps.Run(cmd, call) : -kENOSYS;
}

}  // namespace xencomm::hypervisor
