// sysctl: patches of the running hypervisor. There is nothing that one could be of, so none is ever
// loaded; each is refused as Xen refuses what was made for another build.

#include <array>
#include <cstring>
#include <initializer_list>
#include <span>

#include "hcall/hypervisor/calls/sysctl.h"
#include "hcall/schema/generated/rows.h"

namespace xencomm::hypervisor {
namespace {

namespace rows = schema::rows::sysctl::livepatch_op;

constexpr std::size_t kHeaderSize = 64;

// Also for patches that are not there, it must be a name.
std::int64_t CheckName(const xen_livepatch_name& name, const auto& buffer) {
  if (name.size == 0 || name.size > XEN_LIVEPATCH_NAME_SIZE) return -kEINVAL;
  if (name.pad[0] != 0 || name.pad[1] != 0 || name.pad[2] != 0) return -kEINVAL;
  char text[XEN_LIVEPATCH_NAME_SIZE];
  if (!buffer.Read(0, std::span(text).first(name.size)).ok()) return -kEFAULT;
  return text[name.size - 1] == '\0' ? 0 : -kEINVAL;
}

// Of an ELF file: version 1, System V's or FreeBSD's, relocatable, without segments, and with names
// of sections; 64 bits, little-endian, x86-64. And so on, to the build that it is for.
std::int64_t CheckHeader(std::span<const std::uint8_t, kHeaderSize> header) {
  const auto has = [header](std::size_t at, std::initializer_list<std::uint8_t> bytes) {
    return std::memcmp(&header[at], bytes.begin(), bytes.size()) == 0;
  };
  if (!has(0, {0x7f, 'E', 'L', 'F'})) return -kEINVAL;
  if (!has(6, {1, 0, 0}) && !has(6, {1, 9, 0})) return -kEOPNOTSUPP;
  if (!has(16, {1, 0}) || !has(20, {1, 0, 0, 0}) || !has(56, {0, 0})) return -kEOPNOTSUPP;
  if (has(62, {0, 0})) return -kEINVAL;
  return has(4, {2, 1}) && has(18, {62, 0}) ? -kEINVAL : -kEOPNOTSUPP;
}

std::int64_t Upload(SysctlCall& op) {
  constexpr std::uint64_t kMaxSize = 2 << 20;  // LIVEPATCH_MAX_SIZE
  const xen_sysctl_livepatch_upload& upload = op.argument->u.livepatch.u.upload;
  if (CheckName(upload.name, op.argument.Bind(rows::u_upload_name_name)) != 0) return -kEINVAL;
  if (upload.size == 0 || upload.size > kMaxSize) return -kEINVAL;
  const auto payload = op.argument.Bind(rows::u_upload_payload);
  std::array<std::uint8_t, kHeaderSize> header = {};
  const std::size_t length = upload.size < kHeaderSize ? upload.size : kHeaderSize;
  if (!payload.Read(0, std::span(header).first(length)).ok()) return -kEFAULT;
  std::uint8_t last;
  if (!payload.Read(upload.size - 1, last).ok()) return -kEFAULT;
  return length == kHeaderSize ? CheckHeader(header) : -kEINVAL;
}

std::int64_t List(SysctlCall& op) {
  constexpr std::uint32_t kMost = 1024;
  xen_sysctl_livepatch_list& list = op.argument->u.livepatch.u.list;
  if (list.nr > kMost) return -kE2BIG;
  if (list.pad != 0) return -kEINVAL;
  list.version = 1;  // as long as none came or went
  list.nr = 0;
  list.name_total_size = 0;
  list.metadata_total_size = 0;
  return 0;
}

std::int64_t Run(SysctlCall& op) {
  const xen_sysctl_livepatch_op& request = op.argument->u.livepatch;
  if (request.pad != 0) return -kEINVAL;
  std::int64_t error = -kEOPNOTSUPP;
  switch (request.cmd) {
    case XEN_SYSCTL_LIVEPATCH_UPLOAD:
      return Upload(op);
    case XEN_SYSCTL_LIVEPATCH_LIST:
      return List(op);
    case XEN_SYSCTL_LIVEPATCH_GET:
      error = CheckName(request.u.get.name, op.argument.Bind(rows::u_get_name_name));
      break;
    case XEN_SYSCTL_LIVEPATCH_ACTION:
      if (request.u.action.pad != 0) return -kEINVAL;
      error = CheckName(request.u.action.name, op.argument.Bind(rows::u_action_name_name));
      break;
  }
  return error != 0 ? error : -kENOENT;
}

}  // namespace

std::int64_t LivePatch(SysctlCall& op) {
  const std::int64_t answer = Run(op);
  op.copy_back_always = answer != -kEOPNOTSUPP;
  return answer;
}

}  // namespace xencomm::hypervisor
