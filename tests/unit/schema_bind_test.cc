// From a row to a typed, bounded handle; and byte swapping of arguments.
#include <array>
#include <concepts>
#include <cstring>
#include <vector>

#include "gtest/gtest.h"
#include "hcall/schema/bind.h"
#include "hcall/schema/generated/rows.h"
#include "hcall/schema/op.h"
#include "hcall/schema/swap.h"
#include "hcall/schema/words.h"
#include "xencomm/own_space.h"

namespace xencomm::schema {
namespace {

constexpr ByteOrder kOther = Opposite(kNativeOrder);

// What is only read cannot be written: that is part of the handle's type.
template <class Row>
using HandleOf = typename std::remove_cvref_t<Row>::Handle;
static_assert(
    std::same_as<HandleOf<decltype(rows::sysctl::readconsole::buffer)>, GuestHandle<char>>);
static_assert(std::same_as<HandleOf<decltype(rows::sysctl::getdomaininfolist::buffer)>,
                           GuestHandle<xen_domctl_getdomaininfo>>);
static_assert(std::same_as<HandleOf<decltype(rows::memory_op::decrease_reservation::extent_start)>,
                           GuestHandle<const std::uint64_t>>);
static_assert(std::same_as<HandleOf<decltype(rows::memory_op::populate_physmap::extent_start)>,
                           GuestHandle<std::uint64_t>>);
static_assert(std::same_as<HandleOf<decltype(rows::domctl::sethvmcontext::buffer)>,
                           GuestHandle<const std::uint8_t>>);
static_assert(std::same_as<HandleOf<decltype(rows::domctl::gethvmcontext::buffer)>,
                           GuestHandle<std::uint8_t>>);
// One field, two directions: two rows.
static_assert(std::same_as<HandleOf<decltype(rows::domctl::gdbsx_guestmemio::uva_in)>,
                           GuestHandle<const std::byte>>);
static_assert(std::same_as<HandleOf<decltype(rows::domctl::gdbsx_guestmemio::uva_out)>,
                           GuestHandle<std::byte>>);

TEST(SchemaFind, AnswersRowsByNumberAndByName) {
  const Op* op = Find(__HYPERVISOR_sysctl, XEN_SYSCTL_getdomaininfolist);
  ASSERT_NE(op, nullptr);
  EXPECT_STREQ(schema::WordsOf(*op).name, "getdomaininfolist");
  EXPECT_EQ(op->own_offset, offsetof(xen_sysctl, u.getdomaininfolist));
  EXPECT_EQ(op, Find("sysctl", "getdomaininfolist"));
}

TEST(SchemaFind, IgnoresTheProgressInAMemoryOp) {
  const std::uint64_t continued = XENMEM_populate_physmap | 1234 << 6;
  EXPECT_EQ(Find(__HYPERVISOR_memory_op, continued), Find("memory_op", "populate_physmap"));
}

TEST(SchemaFind, AnswersNothingForTheUnknown) {
  EXPECT_EQ(Find(63), nullptr);
  EXPECT_EQ(Find(__HYPERVISOR_sysctl, 0xffff), nullptr);
  EXPECT_EQ(Find("sysctl", "no_such_op"), nullptr);
  EXPECT_EQ(Find("no_such_call", "physinfo"), nullptr);
}

TEST(SchemaBind, TakesPointerAndCountFromTheOpsOwnPart) {
  std::array<xen_domctl_getdomaininfo, 3> infos = {};
  xen_sysctl sysctl = {};
  sysctl.u.getdomaininfolist.max_domains = infos.size();
  set_xen_guest_handle(sysctl.u.getdomaininfolist.buffer, infos.data());
  OwnSpace space;

  const auto whole = Bind(rows::sysctl::getdomaininfolist::buffer, sysctl, space, kNativeOrder);
  const auto own = Bind(rows::sysctl::getdomaininfolist::buffer, sysctl.u.getdomaininfolist, space,
                        kNativeOrder);
  ASSERT_TRUE(whole.ok() && own.ok());
  EXPECT_EQ(whole->count(), 3u);
  EXPECT_EQ(own->count(), 3u);
  EXPECT_EQ(own->address().value, reinterpret_cast<std::uint64_t>(infos.data()));

  Cleared<xen_domctl_getdomaininfo> info;
  info->domain = 7;
  EXPECT_TRUE(own->Write(2, info).ok());
  EXPECT_EQ(infos[2].domain, 7);
  EXPECT_EQ(own->Write(3, info).fault.fault, Fault::kOutOfRange);
}

TEST(SchemaBind, GivesElementsInTheDomainsOrder) {
  std::array<xen_domctl_getdomaininfo, 1> infos = {};
  xen_sysctl_getdomaininfolist list = {};
  list.max_domains = 1;
  set_xen_guest_handle(list.buffer, infos.data());
  OwnSpace space;
  const auto handle = Bind(rows::sysctl::getdomaininfolist::buffer, list, space, kOther);
  ASSERT_TRUE(handle.ok());

  Cleared<xen_domctl_getdomaininfo> info;
  info->domain = 0x1234;
  info->cpu_time = 0x0102030405060708;
  info->handle[0] = 0xab;
  ASSERT_TRUE(handle->Write(0, info).ok());
  EXPECT_EQ(infos[0].domain, 0x3412);
  EXPECT_EQ(infos[0].cpu_time, 0x0807060504030201u);
  EXPECT_EQ(infos[0].handle[0], 0xab);
}

TEST(SchemaBind, CountsAProductAndABitmap) {
  OwnSpace space;
  xen_domctl_vnuma vnuma = {};
  vnuma.nr_vnodes = 5;
  const auto distances = Bind(rows::domctl::setvnumainfo::vdistance, vnuma, space, kNativeOrder);
  ASSERT_TRUE(distances.ok());
  EXPECT_EQ(distances->count(), 25u);

  xen_domctl_nodeaffinity affinity = {};
  for (const auto& [bits, bytes] : {std::pair(0u, 0u), {1u, 1u}, {8u, 1u}, {9u, 2u}, {64u, 8u}}) {
    affinity.nodemap.nr_bits = bits;
    const auto map =
        Bind(rows::domctl::getnodeaffinity::nodemap_bitmap, affinity, space, kNativeOrder);
    ASSERT_TRUE(map.ok());
    EXPECT_EQ(map->count(), bytes) << bits << " bits";
  }
}

TEST(SchemaBind, RefusesCountsThatOverflow) {
  OwnSpace space;
  xen_memory_reservation reservation = {};
  reservation.nr_extents = std::uint64_t{1} << 61;
  const auto& row = rows::memory_op::populate_physmap::extent_start;
  EXPECT_EQ(Bind(row, reservation, space, kNativeOrder).fault().fault, Fault::kOverflow);
  reservation.nr_extents -= 1;
  EXPECT_TRUE(Bind(row, reservation, space, kNativeOrder).ok());
}

TEST(SchemaBind, BindsTheArgumentThatARegisterPointsAt) {
  OwnSpace space;
  std::array<multicall_entry, 2> calls = {};
  const Registers registers = {reinterpret_cast<std::uint64_t>(calls.data()), calls.size()};
  const auto list = Bind(rows::multicall::multicall::call_list, registers, space, kNativeOrder);
  ASSERT_TRUE(list.ok());
  EXPECT_EQ(list->count(), 2u);
}

TEST(SchemaSwap, TurnsTheUnionMemberThatTheOpNames) {
  xen_sysctl sysctl = {};
  sysctl.cmd = XEN_SYSCTL_readconsole;
  sysctl.u.readconsole.index = 0x01020304;
  sysctl.u.readconsole.clear = 1;
  const xen_sysctl before = sysctl;
  const Op* op = Find("sysctl", "readconsole");
  ASSERT_NE(op, nullptr);

  Swap(op->argument(), &sysctl, kNativeOrder);
  EXPECT_EQ(sysctl.cmd, __builtin_bswap32(XEN_SYSCTL_readconsole));
  EXPECT_EQ(sysctl.u.readconsole.index, 0x04030201u);
  EXPECT_EQ(sysctl.u.readconsole.clear, 1);
  Swap(op->argument(), &sysctl, Opposite(kNativeOrder));
  EXPECT_EQ(std::memcmp(&sysctl, &before, sizeof(sysctl)), 0);
}

TEST(SchemaSwap, TurnsTheMemberThatTheDiscriminatorNames) {
  xen_domctl domctl = {};
  domctl.u.scheduler_op.sched_id = XEN_SCHEDULER_CREDIT;
  domctl.u.scheduler_op.cmd = XEN_DOMCTL_SCHEDOP_putinfo;
  domctl.u.scheduler_op.u.credit.weight = 0x0102;
  const Op* op = Find("domctl", "scheduler_op");
  ASSERT_NE(op, nullptr);
  xen_domctl swapped = domctl;
  Swap(op->argument(), &swapped, kNativeOrder);
  EXPECT_EQ(swapped.u.scheduler_op.u.credit.weight, 0x0201);

  domctl.u.scheduler_op.sched_id = XEN_SCHEDULER_RTDS;
  domctl.u.scheduler_op.u.rtds.period = 0x01020304;
  swapped = domctl;
  Swap(op->argument(), &swapped, kNativeOrder);
  EXPECT_EQ(swapped.u.scheduler_op.u.rtds.period, 0x04030201u);
}

// Whatever is in it: unknown discriminators leave their union alone, the second swap undoes the
// first.
TEST(SchemaSwap, TwiceChangesNothing) {
  for (const Hypercall& hypercall : Hypercalls()) {
    for (const Op& op : hypercall.ops()) {
      if (op.argument().type() == nullptr) continue;
      std::vector<unsigned char> bytes(op.argument().type()->size);
      for (unsigned seed = 0; seed < 8; ++seed) {
        for (std::size_t i = 0; i < bytes.size(); ++i) {
          bytes[i] = static_cast<unsigned char>(i % 4 == 0 ? seed : i * 37 + seed);
        }
        const std::vector<unsigned char> before = bytes;
        Swap(op.argument(), bytes.data(), kNativeOrder);
        Swap(op.argument(), bytes.data(), kOther);
        EXPECT_EQ(bytes, before) << schema::WordsOf(hypercall).name << "."
                                 << schema::WordsOf(op).name;
      }
    }
  }
}

}  // namespace
}  // namespace xencomm::schema
