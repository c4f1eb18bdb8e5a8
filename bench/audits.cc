// Audits of calls, as a kernel makes them before it passes a program's call on: what looking up an
// op and following its pointers costs, in the process's own memory.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "bench/rows.h"
#include "hcall/schema/audit.h"
#include "hcall/schema/generated/xen.h"
#include "xencomm/own_space.h"

namespace xencomm::bench {
namespace {

// The program's region: all of its memory that a call needs, behind a granule of table.
struct alignas(4096) Program {
  std::byte table[4096];
  xen_sysctl physinfo = {};
  xen_sysctl list = {};
  xen_domctl affinity = {};
  xen_memory_reservation reservation = {};
  multicall_entry entries[4] = {};
  xen_domctl_getdomaininfo infos[8];
  std::uint8_t hard[8];
  std::uint8_t soft[8];
  std::uint64_t extents[16];
};

std::uint64_t Address(const void* pointer) { return reinterpret_cast<std::uint64_t>(pointer); }

Program& TheProgram() {
  static Program program;
  program.physinfo.cmd = XEN_SYSCTL_physinfo;
  program.physinfo.interface_version = XEN_SYSCTL_INTERFACE_VERSION;
  program.list.cmd = XEN_SYSCTL_getdomaininfolist;
  program.list.interface_version = XEN_SYSCTL_INTERFACE_VERSION;
  program.list.u.getdomaininfolist.max_domains = 8;
  program.list.u.getdomaininfolist.buffer.p = program.infos;
  program.affinity.cmd = XEN_DOMCTL_getvcpuaffinity;
  program.affinity.interface_version = XEN_DOMCTL_INTERFACE_VERSION;
  program.affinity.u.vcpuaffinity.flags = XEN_VCPUAFFINITY_HARD | XEN_VCPUAFFINITY_SOFT;
  program.affinity.u.vcpuaffinity.cpumap_hard.bitmap.p = program.hard;
  program.affinity.u.vcpuaffinity.cpumap_hard.nr_bits = 64;
  program.affinity.u.vcpuaffinity.cpumap_soft.bitmap.p = program.soft;
  program.affinity.u.vcpuaffinity.cpumap_soft.nr_bits = 64;
  program.reservation.nr_extents = 16;
  program.reservation.extent_start.p = program.extents;
  for (multicall_entry& entry : program.entries) {
    entry.op = __HYPERVISOR_memory_op;
    entry.args[0] = XENMEM_populate_physmap;
    entry.args[1] = Address(&program.reservation);
  }
  return program;
}

void AddAudit(Rows& rows, const std::string& name, const schema::Call& call) {
  static OwnSpace space;
  // A structure's size is a multiple of its alignment.
  static const RegionLayout region =
      *RegionLayout::Make({Address(&TheProgram())}, sizeof(Program), 12);
  const auto turn = [call] { return schema::Audit(call, {space}, {.region = region}); };
  if (!turn().ok()) {
    std::fprintf(stderr, "bench: the audit of %s does not pass it\n", name.c_str());
    std::exit(1);
  }
  rows.Add("audit/" + name, [turn] {
    auto finding = turn();
    benchmark::DoNotOptimize(finding);
  });
}

}  // namespace

void AddAudits(Rows& rows) {
  Program& program = TheProgram();
  AddAudit(rows, "sysctl.physinfo", {__HYPERVISOR_sysctl, {Address(&program.physinfo)}});
  AddAudit(rows, "sysctl.getdomaininfolist", {__HYPERVISOR_sysctl, {Address(&program.list)}});
  AddAudit(rows, "domctl.getvcpuaffinity", {__HYPERVISOR_domctl, {Address(&program.affinity)}});
  AddAudit(rows, "memory_op.populate_physmap",
           {__HYPERVISOR_memory_op, {XENMEM_populate_physmap, Address(&program.reservation)}});
  AddAudit(rows, "multicall of 4", {__HYPERVISOR_multicall, {Address(program.entries), 4}});
}

}  // namespace xencomm::bench
