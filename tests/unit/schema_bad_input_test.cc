// What callers get wrong, or try: each ends in a finding whose text names op and field.
#include <array>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string>

#include "gtest/gtest.h"
#include "hcall/schema/audit.h"
#include "hcall/schema/generated/xen.h"
#include "hcall/schema/print.h"
#include "hcall/schema/walk.h"
#include "tests/fuzz/random_call.h"

namespace xencomm::schema {
namespace {

class BadInput : public ::testing::Test {
 protected:
  template <class T>
  std::uint64_t New(const T& value) {
    std::byte* const place = memory_.New(sizeof(value));
    std::memcpy(place, &value, sizeof(value));
    return reinterpret_cast<std::uint64_t>(place);
  }
  template <class Handle>
  static void Set(Handle& handle, std::uint64_t address) {
    std::memcpy(&handle, &address, sizeof(address));
  }
  std::uint64_t Room() { return reinterpret_cast<std::uint64_t>(memory_.New(4096)); }

  // A structure of one of the hypercalls that hold their op's number, after `fill(structure)`.
  template <class T>
  std::uint64_t Structure(std::uint32_t cmd, std::uint32_t version, auto fill) {
    T structure = {};
    structure.cmd = cmd;
    structure.interface_version = version;
    fill(structure);
    return New(structure);
  }
  Call Domctl(std::uint32_t cmd, auto fill) {
    return {__HYPERVISOR_domctl, {Structure<xen_domctl>(cmd, XEN_DOMCTL_INTERFACE_VERSION, fill)}};
  }
  Call Sysctl(std::uint32_t cmd, auto fill) {
    return {__HYPERVISOR_sysctl, {Structure<xen_sysctl>(cmd, XEN_SYSCTL_INTERFACE_VERSION, fill)}};
  }
  Call Platform(std::uint32_t cmd, auto fill) {
    return {__HYPERVISOR_platform_op,
            {Structure<xen_platform_op>(cmd, XENPF_INTERFACE_VERSION, fill)}};
  }
  static constexpr auto kNothing = [](auto&) {};

  // The finding as text, with the memory's own addresses told as what they are.
  std::string Text(const Call& call) {
    fuzz::CallSpace space(memory_);
    auto go_on = [](const Buffer&) { return true; };
    return Relative(PrintFinding(ForEachBuffer(call, {space, kNativeOrder, 4}, go_on)));
  }
  std::string AuditText(const Call& call) {
    fuzz::CallSpace space(memory_);
    return Relative(PrintFinding(Audit(call, {space, kNativeOrder, 4}, {memory_.layout()})));
  }
  std::string Relative(std::string text) const {
    const std::size_t at = text.find("0x7");
    if (at == text.npos) return text;
    const std::size_t end = text.find_first_not_of("0123456789abcdefx", at);
    const std::uint64_t address = std::stoull(text.substr(at, end - at), nullptr, 16);
    if (address < memory_.address() || address > memory_.end()) return text;
    return text.replace(at, end - at, address == memory_.end() ? "its end" : "its memory");
  }

  fuzz::CallMemory memory_;
};

TEST_F(BadInput, CountsThatOverflow) {
  // 2^61 times eight bytes are none.
  xen_memory_reservation reservation = {};
  reservation.nr_extents = std::uint64_t{1} << 61;
  Set(reservation.extent_start, Room());
  EXPECT_EQ(Text({__HYPERVISOR_memory_op, {XENMEM_populate_physmap, New(reservation)}}),
            "memory_op.populate_physmap: extent_start at its memory: a count that passes the last "
            "address");

  // A product of two fields: (2^32 - 1)^2 times four bytes.
  const std::uint64_t room = Room();
  xen_vnuma_topology_info topology = {};
  topology.nr_vnodes = ~0u;
  Set(topology.vdistance.h, room);
  EXPECT_EQ(Text({__HYPERVISOR_memory_op, {XENMEM_get_vnumainfo, New(topology)}}),
            "memory_op.get_vnumainfo: vdistance.h at its memory: a count that passes the last "
            "address");

  // All bytes that there are, from a place that has some before it.
  EXPECT_EQ(Text({__HYPERVISOR_hypfs_op, {XEN_HYPFS_OP_read, Room(), 1, room, ~std::uint64_t{0}}}),
            "hypfs_op.read: arg3 at its memory: a count that passes the last address");
  // A list of 2^59 calls of 64 bytes: Xen takes 32 bits of the number, which are 0.
  EXPECT_EQ(Text({__HYPERVISOR_multicall, {Room(), std::uint64_t{1} << 59}}), "nothing wrong");

  // All bits that a bitmap can have fit: 2^29 bytes, but not in this memory.
  EXPECT_EQ(AuditText(Domctl(XEN_DOMCTL_setnodeaffinity,
                             [&](xen_domctl& op) {
                               op.u.nodeaffinity.nodemap.nr_bits = ~0u;
                               Set(op.u.nodeaffinity.nodemap.bitmap, room);
                             })),
            "domctl.setnodeaffinity: nodemap.bitmap at its memory, 536870912 bytes: a buffer "
            "outside the region's payload");
}

class SecondLevel : public BadInput {
 protected:
  // kexec_load of `count` segments, each of 16 bytes at `segment`.
  Call Load(std::uint32_t count, std::uint64_t segment) {
    std::array<xen_kexec_segment_t, 16> segments = {};
    for (xen_kexec_segment_t& each : segments) {
      Set(each.buf.h, segment);
      each.buf_size = 16;
    }
    xen_kexec_load_t load = {};
    load.nr_segments = count;
    Set(load.segments.h, New(segments));
    return {__HYPERVISOR_kexec_op, {KEXEC_CMD_kexec_load, New(load)}};
  }
};

TEST_F(SecondLevel, OfNoneOneAndTooMany) {
  EXPECT_EQ(Text(Load(0, 0xdead)), "nothing wrong");
  EXPECT_EQ(Text(Load(1, Room())), "nothing wrong");
  EXPECT_EQ(Text(Load(15, Room())), "nothing wrong");
  EXPECT_EQ(Text(Load(16, Room())),
            "kexec_op.kexec_load: segments.h at its memory: more elements than the op takes: 16");
  EXPECT_EQ(Text(Load(~0u, Room())),
            "kexec_op.kexec_load: segments.h at its memory: more elements than the op takes: "
            "4294967295");
}

TEST_F(SecondLevel, NamesTheElement) {
  EXPECT_EQ(AuditText(Load(3, 0xdead)),
            "kexec_op.kexec_load: buf.h of element 0 at 0xdead, 16 bytes: a buffer outside the "
            "region's payload");
  // A list that ends where memory does: the third element lies behind it.
  xen_kexec_load_t load = {};
  load.nr_segments = 3;
  const std::uint64_t list = memory_.end() - 2 * sizeof(xen_kexec_segment_t);
  std::memset(reinterpret_cast<void*>(list), 0, 2 * sizeof(xen_kexec_segment_t));
  Set(load.segments.h, list);
  EXPECT_EQ(Text({__HYPERVISOR_kexec_op, {KEXEC_CMD_kexec_load, New(load)}}),
            "kexec_op.kexec_load: segments.h of element 2 at its end, 32 bytes: a structure that "
            "cannot be read: page not present");
}

TEST_F(SecondLevel, OfADmOp) {
  const std::uint64_t list = New(std::array<xen_dm_op_buf, 2>{});
  EXPECT_EQ(Text({__HYPERVISOR_dm_op, {0, 0, list}}),
            "dm_op: bufs: fewer or shorter buffers than the op needs");
  EXPECT_EQ(Text({__HYPERVISOR_dm_op, {0, 3, list}}),
            "dm_op: bufs: more elements than the op takes: 3");
  EXPECT_EQ(Text({__HYPERVISOR_dm_op, {0, 1, list}}),
            "dm_op: h of element 0: fewer or shorter buffers than the op needs");
}

TEST_F(SecondLevel, OfAMessageInPieces) {
  std::array<xen_argo_iov, 9> pieces = {};
  const std::uint64_t address = New(xen_argo_send_addr{});
  const std::uint64_t list = New(pieces);
  EXPECT_EQ(Text({__HYPERVISOR_argo_op, {XEN_ARGO_OP_sendv, address, list, 0, 0}}),
            "nothing wrong");
  EXPECT_EQ(Text({__HYPERVISOR_argo_op, {XEN_ARGO_OP_sendv, address, list, 8, 0}}),
            "nothing wrong");
  EXPECT_EQ(Text({__HYPERVISOR_argo_op, {XEN_ARGO_OP_sendv, address, list, 9, 0}}),
            "argo_op.sendv: arg2 at its memory: more elements than the op takes: 9");
}

// The limits that Xen's own source has, each at its last good and its first bad value.
TEST_F(BadInput, MoreThanTheOpTakes) {
  const std::uint64_t room = Room();
  auto topology = [&](std::uint32_t nodes, std::uint32_t ranges) {
    return Text(Domctl(XEN_DOMCTL_setvnumainfo, [&](xen_domctl& op) {
      op.u.vnuma.nr_vnodes = nodes;
      op.u.vnuma.nr_vmemranges = ranges;
      Set(op.u.vnuma.vdistance, room);
      Set(op.u.vnuma.vnode_to_pnode, room);
      Set(op.u.vnuma.vmemrange, room);
    }));
  };
  EXPECT_EQ(topology(32, 170), "nothing wrong");
  EXPECT_EQ(topology(33, 0),
            "domctl.setvnumainfo: vdistance at its memory: more elements than the op takes: 1089");
  EXPECT_EQ(topology(1, 171),
            "domctl.setvnumainfo: vmemrange at its memory: more elements than the op takes: 171");

  // Each of these tells of one domain in a call; other ops of grant tables take a list.
  for (const unsigned op :
       {GNTTABOP_setup_table, GNTTABOP_query_size, GNTTABOP_get_status_frames}) {
    EXPECT_EQ(Text({__HYPERVISOR_grant_table_op, {op, room, 1}}), "nothing wrong") << op;
    EXPECT_NE(Text({__HYPERVISOR_grant_table_op, {op, room, 2}}).find("op takes: 2"),
              std::string::npos)
        << op;
  }
  EXPECT_EQ(Text({__HYPERVISOR_grant_table_op, {GNTTABOP_get_version, room, 2}}), "nothing wrong");

  auto poll = [&](std::uint32_t ports) {
    sched_poll argument = {};
    Set(argument.ports, room);
    argument.nr_ports = ports;
    return Text({__HYPERVISOR_sched_op, {SCHEDOP_poll, New(argument)}});
  };
  EXPECT_EQ(poll(128), "nothing wrong");
  EXPECT_EQ(poll(129), "sched_op.poll: ports at its memory: more elements than the op takes: 129");

  auto map = [&](std::uint32_t entries) {
    xen_foreign_memory_map argument = {};
    argument.map.nr_entries = entries;
    Set(argument.map.buffer, room);
    return Text({__HYPERVISOR_memory_op, {XENMEM_set_memory_map, New(argument)}});
  };
  EXPECT_EQ(map(1024), "nothing wrong");
  EXPECT_EQ(map(1025),
            "memory_op.set_memory_map: map.buffer at its memory: more elements than the op takes: "
            "1025");

  EXPECT_EQ(Text({__HYPERVISOR_set_gdt, {room, 7168}}), "nothing wrong");
  EXPECT_EQ(Text({__HYPERVISOR_set_gdt, {room, 7169}}),
            "set_gdt.set_gdt: frame_list at its memory: more elements than the op takes: 15");
}

TEST_F(BadInput, UnknownDiscriminators) {
  EXPECT_EQ(Text(Sysctl(XEN_SYSCTL_cpupool_op, [](auto& op) { op.u.cpupool_op.op = 77; })),
            "sysctl.cpupool_op: op: a value with no meaning in this op: 77");
  EXPECT_EQ(Text(Platform(XENPF_set_processor_pminfo, [](auto& op) { op.u.set_pminfo.type = 9; })),
            "platform_op.set_processor_pminfo: type: a value with no meaning in this op: 9");
  EXPECT_EQ(Text(Platform(XENPF_firmware_info, [](auto& op) { op.u.firmware_info.type = 99; })),
            "platform_op.firmware_info: type: a value with no meaning in this op: 99");
  EXPECT_EQ(Text(Platform(XENPF_efi_runtime_call,
                          [](auto& op) { op.u.efi_runtime_call.function = 0xff; })),
            "platform_op.efi_runtime_call: function: a value with no meaning in this op: 255");
  EXPECT_EQ(Text(Domctl(XEN_DOMCTL_assign_device, [](auto& op) { op.u.assign_device.dev = 7; })),
            "domctl.assign_device: dev: a value with no meaning in this op: 7");
}

TEST_F(BadInput, UnknownHypercallsOpsAndVersions) {
  EXPECT_EQ(Text({63, {}}), "unknown hypercall: 63");
  EXPECT_EQ(Text({~std::uint64_t{0}, {}}), "unknown hypercall: 18446744073709551615");
  EXPECT_EQ(Text(Domctl(9999, kNothing)), "domctl: cmd: unknown op: 9999");
  EXPECT_EQ(Text({__HYPERVISOR_memory_op, {30, 0}}), "memory_op: cmd: unknown op: 30");
  EXPECT_EQ(Text({__HYPERVISOR_xsm_op, {Structure<xen_flask_op>(99, 1, kNothing)}}),
            "xsm_op: cmd: unknown op: 99");
  EXPECT_EQ(Text({__HYPERVISOR_domctl, {Structure<xen_domctl>(1, 0x14, kNothing)}}),
            "domctl: interface_version: unknown interface version: 0x14, known are 0x15, 0x16, "
            "0x17, 0x18");
  EXPECT_EQ(Text({__HYPERVISOR_platform_op, {Structure<xen_platform_op>(17, 0, kNothing)}}),
            "platform_op: interface_version: unknown interface version: 0x0, known are 0x3000001");
  EXPECT_EQ(Text({__HYPERVISOR_xsm_op, {Structure<xen_flask_op>(1, 2, kNothing)}}),
            "xsm_op: interface_version: unknown interface version: 0x2, known are 0x1");
}

TEST_F(BadInput, NullWhereItIsNotAllowed) {
  EXPECT_EQ(Text({__HYPERVISOR_sysctl, {0}}), "sysctl: u_sysctl: null where a pointer is needed");
  EXPECT_EQ(Text({__HYPERVISOR_memory_op, {XENMEM_populate_physmap, 0}}),
            "memory_op.populate_physmap: arg: null where a pointer is needed");
  EXPECT_EQ(Text(Sysctl(XEN_SYSCTL_getdomaininfolist,
                        [](auto& op) { op.u.getdomaininfolist.max_domains = 1; })),
            "sysctl.getdomaininfolist: buffer: null where a pointer is needed");
  EXPECT_EQ(Text(Domctl(XEN_DOMCTL_getvcpucontext, kNothing)),
            "domctl.getvcpucontext: ctxt: null where a pointer is needed");
  EXPECT_EQ(Text(Platform(XENPF_efi_runtime_call,
                          [](auto& op) { op.u.efi_runtime_call.function = XEN_EFI_get_variable; })),
            "platform_op.efi_runtime_call: u.get_variable.name: null where a pointer is needed");
  EXPECT_EQ(Text({__HYPERVISOR_multicall, {0, 1}}),
            "multicall.multicall: call_list: null where a pointer is needed");
  // Where it has a meaning it is none.
  EXPECT_EQ(Text(Sysctl(XEN_SYSCTL_cputopoinfo, [](auto& op) { op.u.cputopoinfo.num_cpus = 1; })),
            "nothing wrong");
}

TEST_F(BadInput, HandlesAtTheLastByteOfMemory) {
  constexpr std::uint64_t kLast = ~std::uint64_t{0};
  auto console = [&](std::uint64_t address, std::uint32_t count) {
    return Sysctl(XEN_SYSCTL_readconsole, [=](auto& op) {
      op.u.readconsole.count = count;
      Set(op.u.readconsole.buffer, address);
    });
  };
  // One byte is there, two are not; and the region ends long before.
  EXPECT_EQ(Text(console(kLast, 1)), "nothing wrong");
  EXPECT_EQ(Text(console(kLast, 2)),
            "sysctl.readconsole: buffer at 0xffffffffffffffff: a count that passes the last "
            "address");
  EXPECT_EQ(AuditText(console(kLast, 1)),
            "sysctl.readconsole: buffer at 0xffffffffffffffff, 1 bytes: a buffer outside the "
            "region's payload");
  // The region's own last byte.
  EXPECT_EQ(AuditText(console(memory_.end() - 1, 1)), "nothing wrong");
  EXPECT_EQ(AuditText(console(memory_.end() - 1, 2)),
            "sysctl.readconsole: buffer at its memory, 2 bytes: a buffer outside the region's "
            "payload");
  EXPECT_EQ(AuditText(console(memory_.end(), 1)),
            "sysctl.readconsole: buffer at its end, 1 bytes: a buffer outside the region's "
            "payload");
  // The argument itself.
  EXPECT_EQ(Text({__HYPERVISOR_sysctl, {kLast}}),
            "sysctl: u_sysctl at 0xffffffffffffffff, 136 bytes: a structure that cannot be read: "
            "page not present");
  EXPECT_EQ(Text({__HYPERVISOR_sysctl, {memory_.end() - 1}}),
            "sysctl: u_sysctl at its end, 136 bytes: a structure that cannot be read: page not "
            "present");
}

}  // namespace
}  // namespace xencomm::schema
