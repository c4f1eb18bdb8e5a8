// A process that its kernel lets make a few named calls only, and no longer trusts.

#include <string.h>

#include "arch.h"
#include "hcall/hypervisor/base/errno.h"
#include "tests/qemu/user/hostile.h"
#include "tests/qemu/user/worlds.h"
#include "xencomm/hypercall.h"

namespace qemu {
namespace {

using xencomm::RegionLayout;
using xencomm::hypervisor::kEBUSY;
using xencomm::hypervisor::kEFAULT;
using xencomm::hypervisor::kEPERM;

constexpr uint64_t kNone = ~uint64_t{0};

// What the last call was refused for.
void ExpectRefusal(const char* check, uint64_t hypercall, uint64_t op, uint64_t field,
                   uint64_t entry, uint64_t index, uint64_t address) {
  Refusal refusal;
  SystemCall(kSysRefusal, reinterpret_cast<uint64_t>(&refusal));
  const bool as_expected = refusal.hypercall == hypercall && refusal.op == op &&
                           refusal.field == field && refusal.entry == entry &&
                           refusal.index == index &&
                           (address == kNone || refusal.address == address);
  if (!as_expected) {
    Print("hostile: refused ", Hex{refusal.hypercall}, " ", Hex{refusal.op}, " field ",
          Hex{refusal.field}, " entry ", Hex{refusal.entry}, " index ", Hex{refusal.index},
          " address ", Hex{refusal.address}, "\n");
  }
  checks.Expect(check, as_expected);
}

template <class Handle>
void SetHandle(Handle& handle, uint64_t address) {
  memcpy(&handle, &address, sizeof(address));
}

class Restricted {
 public:
  Restricted(RegionWorld& world, const RegionLayout& layout, uint64_t handle)
      : world_(world),
        handle_(handle),
        table_(layout.virtual_base().value + xencomm::BaseOffset(2)),
        end_(layout.virtual_base().value + layout.length()),
        granule_(layout.granule_size()) {}

  void TryAllowedOps() {
    auto* text = world_.New<char>(kPayload);
    checks.ExpectEqual("AllowedOpIsServed",
                       Call(__HYPERVISOR_xen_version, XENVER_extraversion, Address(text)), 0);
    checks.Expect("AllowedOpHasItsAnswer", text[0] == '.');

    auto* infos = world_.New<xen_domctl_getdomaininfo_t>(2);
    xen_sysctl& list = NewList(Address(infos), 2);
    checks.ExpectEqual("AllowedSysctlIsServed", Call(__HYPERVISOR_sysctl, Address(&list)), 0);
    checks.Expect("AllowedSysctlHasItsAnswer",
                  list.u.getdomaininfolist.num_domains == 1 && infos[0].domain == 0);
    uint64_t handle;
    memcpy(&handle, &list.u.getdomaininfolist.buffer, sizeof(handle));
    checks.Expect("HandleIsTheProgramsOwn", handle == Address(infos));

    // Its kernel passed on a copy, where this program reads the op and cannot write it.
    const uint64_t scratch = end_ - granule_;
    checks.Expect("CopyIsInTheScratch",
                  *reinterpret_cast<const uint32_t*>(scratch) == XEN_SYSCTL_getdomaininfolist);
  }

  void TryOtherOps() {
    auto* text = world_.New<char>(XEN_CAPABILITIES_INFO_LEN);
    checks.ExpectEqual("OtherCommandIsRefused",
                       Call(__HYPERVISOR_xen_version, XENVER_capabilities, Address(text)), -kEPERM);
    ExpectRefusal("OtherCommandIsNamed", __HYPERVISOR_xen_version, XENVER_capabilities, kNone,
                  kNone, kNone, kNone);
    checks.Expect("RefusedBufferIsUntouched", static_cast<uint8_t>(text[0]) == World::kUntouched);

    auto* destroy = world_.New<xen_domctl>();
    memset(destroy, 0, sizeof(*destroy));
    destroy->cmd = XEN_DOMCTL_destroydomain;
    destroy->interface_version = XEN_DOMCTL_INTERFACE_VERSION;
    checks.ExpectEqual("DomctlIsRefused", Call(__HYPERVISOR_domctl, Address(destroy)), -kEPERM);
    ExpectRefusal("DomctlIsNamed", __HYPERVISOR_domctl, XEN_DOMCTL_destroydomain, kNone, kNone,
                  kNone, kNone);

    checks.ExpectEqual("UnknownHypercallIsRefused", Call(61, 0), -kEPERM);
    checks.ExpectEqual("RegionsAreTheKernelsToRegister", Call(xencomm::kXencommOp, 0), -kEPERM);
  }

  void TryPointers() {
    checks.ExpectEqual("BufferInTheTableIsRefused", List(table_, 1), -kEPERM);
    ExpectRefusal("BufferInTheTableIsNamed", __HYPERVISOR_sysctl, XEN_SYSCTL_getdomaininfolist,
                  offsetof(xen_sysctl, u.getdomaininfolist.buffer), kNone, kNone, table_);
    const uint64_t across = end_ - sizeof(xen_domctl_getdomaininfo_t) + 8;
    checks.ExpectEqual("BufferAcrossTheEndIsRefused", List(across, 1), -kEPERM);
    ExpectRefusal("BufferAcrossTheEndIsNamed", __HYPERVISOR_sysctl, XEN_SYSCTL_getdomaininfolist,
                  offsetof(xen_sysctl, u.getdomaininfolist.buffer), kNone, kNone, across);
    checks.ExpectEqual("CountThatWrapsIsRefused", List(kNone - 7, ~uint32_t{0}), -kEPERM);
    checks.ExpectEqual("OwnStackIsRefused", List(Address(&across), 1), -kEPERM);
    checks.ExpectEqual("NullArgumentIsRefused", Call(__HYPERVISOR_sysctl, 0), -kEPERM);
    xen_sysctl& old = NewList(0, 0);
    old.interface_version = 1;
    checks.ExpectEqual("UnknownVersionIsRefused", Call(__HYPERVISOR_sysctl, Address(&old)),
                       -kEPERM);
  }

  // Calls in a list are looked at one by one, and refused together.
  void TryLists() {
    auto* extents = world_.New<xen_pfn_t>(1);
    auto* reservation = world_.New<xen_memory_reservation>();
    memset(reservation, 0, sizeof(*reservation));
    SetHandle(reservation->extent_start, Address(extents));
    reservation->domid = DOMID_SELF;
    auto* domain = world_.New<xen_memory_domain>();
    memset(domain, 0, sizeof(*domain));
    domain->domid = DOMID_SELF;
    auto* entries = world_.New<multicall_entry_t>(3);
    memset(entries, 0, 3 * sizeof(*entries));
    for (unsigned i = 0; i < 3; ++i) {
      entries[i].op = __HYPERVISOR_memory_op;
      entries[i].args[0] = XENMEM_current_reservation;
      entries[i].args[1] = Address(domain);
    }
    checks.ExpectEqual("AllowedListIsServed", CallList(entries, 3), 0);
    checks.Expect("AllowedListHasItsAnswers",
                  entries[0].result != 0 && entries[2].result == entries[0].result);

    entries[1].args[0] = XENMEM_decrease_reservation;
    entries[1].args[1] = Address(reservation);
    reservation->nr_extents = 2;
    SetHandle(reservation->extent_start, end_ - sizeof(xen_pfn_t));
    checks.ExpectEqual("ListWithABadPointerIsRefused", CallList(entries, 3), -kEPERM);
    ExpectRefusal("BadPointerInAListIsNamed", __HYPERVISOR_memory_op, XENMEM_decrease_reservation,
                  offsetof(xen_memory_reservation, extent_start), 1, kNone,
                  end_ - sizeof(xen_pfn_t));
    entries[1].args[0] = XENMEM_populate_physmap;
    checks.ExpectEqual("ListWithAnotherOpIsRefused", CallList(entries, 3), -kEPERM);
    ExpectRefusal("OtherOpInAListIsNamed", __HYPERVISOR_memory_op, XENMEM_populate_physmap, kNone,
                  1, kNone, kNone);
    // Allowed by itself; in a list its op could change under way.
    entries[1].op = __HYPERVISOR_sysctl;
    entries[1].args[0] = Address(&NewList(0, 0));
    checks.ExpectEqual("ListWithASysctlIsRefused", CallList(entries, 3), -kEPERM);
    entries[1].op = xencomm::kXencommOp;
    entries[1].args[0] = static_cast<uint64_t>(xencomm::XencommOp::kUnregister);
    checks.ExpectEqual("ListWithAKernelsCallIsRefused", CallList(entries, 3), -kEPERM);
  }

  // The copies that its kernel passes on are nobody's to write, by whatever pointer.
  void TryTheCopies() {
    const uint64_t scratch = end_ - granule_;
    auto* entries = world_.New<multicall_entry_t>(2);
    const auto list = [&](uint64_t output) {
      memset(entries, 0, 2 * sizeof(*entries));
      entries[0] = {__HYPERVISOR_xen_version, 0, {XENVER_extraversion, output}};
      entries[1] = {__HYPERVISOR_xen_version, 0, {XENVER_version}};
    };
    list(Address(world_.New<char>(kPayload)));
    checks.ExpectEqual("ListWithAnOutputIsServed", CallList(entries, 1), 0);
    for (const uint64_t output : {scratch + sizeof(multicall_entry_t), scratch, scratch - 8}) {
      list(output);
      checks.ExpectEqual("OutputOverTheCopyIsRefused", CallList(entries, 1), -kEPERM);
      ExpectRefusal("OutputOverTheCopyIsNamed", __HYPERVISOR_xen_version, XENVER_extraversion, 8, 0,
                    kNone, output);
      checks.ExpectEqual("RegisterToTheCopyIsRefused",
                         Call(__HYPERVISOR_xen_version, XENVER_extraversion, output), -kEPERM);
      checks.ExpectEqual("BufferOverTheCopyIsRefused", List(output, 1), -kEPERM);
      // The hypervisor does not rely on the audit: a pointer from memory faults there.
      list(output);
      checks.ExpectEqual(
          "ForgedListIsServed",
          Signed(SystemCall(kSysForgeHypercall, arch::kRegionOptIn | __HYPERVISOR_multicall,
                            Address(entries), 2, 0, 0, 0, handle_)),
          0);
      checks.ExpectEqual("ItsOutputOverTheCopyFaults", Signed(entries[0].result), -kEFAULT);
      checks.Expect("ItsOtherCallIsServed", entries[1].result == (4 << 16 | 17));
    }
    checks.ExpectEqual("ListInTheCopiesIsRefused",
                       CallList(reinterpret_cast<multicall_entry_t*>(scratch), 1), -kEPERM);
  }

 private:
  static uint64_t Address(const void* pointer) { return reinterpret_cast<uint64_t>(pointer); }

  int64_t Call(uint64_t index, uint64_t a1, uint64_t a2 = 0) {
    return world_.Hypercall(index, a1, a2, 0);
  }
  int64_t CallList(const multicall_entry_t* entries, uint64_t count) {
    return Call(__HYPERVISOR_multicall, Address(entries), count);
  }

  xen_sysctl& NewList(uint64_t buffer, uint32_t count) {
    auto* list = world_.New<xen_sysctl>();
    memset(list, 0, sizeof(*list));
    list->cmd = XEN_SYSCTL_getdomaininfolist;
    list->interface_version = XEN_SYSCTL_INTERFACE_VERSION;
    list->u.getdomaininfolist.max_domains = count;
    SetHandle(list->u.getdomaininfolist.buffer, buffer);
    return *list;
  }
  int64_t List(uint64_t buffer, uint32_t count) {
    return Call(__HYPERVISOR_sysctl, Address(&NewList(buffer, count)));
  }

  RegionWorld& world_;
  uint64_t handle_;
  uint64_t table_;
  uint64_t end_;
  uint64_t granule_;
};

}  // namespace

void TryTheRestriction(unsigned page_shift) {
  constexpr uint64_t kGranules = 8;
  constexpr uint64_t kAddress = 0x2c000000;
  const auto layout = RegionLayout::Make({kAddress}, kGranules << page_shift, page_shift);
  const uint64_t number =
      SystemCall(kSysCreateRegion, kAddress, layout->length(), page_shift, kRegionRegistered);
  checks.ExpectEqual("RestrictedRegionIsBacked",
                     Signed(SystemCall(kSysBackRegion, number, 1, kGranules - 2)), 0);
  checks.ExpectEqual("ProcessIsRestricted", Signed(SystemCall(kSysRestrict, number)), 0);
  checks.ExpectEqual("RestrictingTwiceIsRefused", Signed(SystemCall(kSysRestrict, number)),
                     -kEPERM);
  RegionWorld world(number, *layout);
  Restricted restricted(world, *layout, SystemCall(kSysRegionHandle, number));
  restricted.TryAllowedOps();
  restricted.TryOtherOps();
  restricted.TryPointers();
  restricted.TryLists();
  restricted.TryTheCopies();
  checks.ExpectEqual("ItsRegionStays", Signed(SystemCall(kSysDestroyRegion, number)), -kEBUSY);
}

}  // namespace qemu
