// Descriptors and inline addresses as a kernel gone wrong would pass them.

#include <string.h>

#include "hcall/hypervisor/base/errno.h"
#include "tests/qemu/user/hostile.h"
#include "xencomm/byte_order.h"
#include "xencomm/descriptor.h"

namespace qemu {
namespace {

using xencomm::DescriptorBytes;
using xencomm::InlineAddress;
using xencomm::kDescriptorInvalid;
using xencomm::kDescriptorMagic;
using xencomm::kInlineFlag;
using xencomm::kNativeOrder;
using xencomm::hypervisor::kEFAULT;

constexpr uint64_t kMemory = 0x20000000;
constexpr uint64_t kEntryPage = uint64_t{1} << xencomm::kDescriptorPageShift;
constexpr uint64_t kOutside = uint64_t{1} << 40;  // no domain has so much

// Writes a text to a pointer of this domain's kind.
int64_t WriteTo(uint64_t pointer) {
  return Signed(SystemCall(kSysHypercall, __HYPERVISOR_xen_version, XENVER_extraversion, pointer, 0,
                           0, 0, kNoRegion));
}

// A descriptor in this program's own memory, of two entries: the text begins four bytes before the
// end of the first one's page.
class Forger {
 public:
  Forger(uint64_t descriptor, uint64_t first, uint64_t second)
      : at_(descriptor), first_(first), second_(second) {
    Reset();
  }

  void Reset() {
    SetMagic(kDescriptorMagic);
    SetCount(2);
    SetEntry(0, Physical(first_) + kEntryPage - kBefore);
    SetEntry(1, Physical(second_));
    memset(reinterpret_cast<void*>(first_), 0xa5, kEntryPage);
    memset(reinterpret_cast<void*>(second_), 0xa5, kEntryPage);
  }
  void SetMagic(uint32_t magic) { xencomm::StoreField(bytes(), magic, kNativeOrder); }
  void SetCount(uint32_t count) { xencomm::StoreField(bytes() + 4, count, kNativeOrder); }
  void SetEntry(uint64_t index, uint64_t address) {
    xencomm::StoreField(bytes() + DescriptorBytes(index), address, kNativeOrder);
  }

  uint64_t pointer() const { return Physical(at_); }
  std::byte* bytes() const { return reinterpret_cast<std::byte*>(at_); }

  bool IsServed() {
    const int64_t answer = WriteTo(pointer());
    return answer == 0 && *Text() == '.' && Second()[kPayload - kBefore] == 0xa5;
  }
  // A text that cannot be delivered in full is not begun.
  void ExpectRefused(const char* name) {
    checks.ExpectEqual(name, WriteTo(pointer()), -kEFAULT);
    Reset();
    checks.Expect("GoodDescriptorIsStillServed", IsServed());
    Reset();
  }

  static constexpr uint64_t kBefore = 4;

 private:
  const char* Text() const { return reinterpret_cast<const char*>(first_ + kEntryPage - kBefore); }
  const uint8_t* Second() const { return reinterpret_cast<const uint8_t*>(second_); }

  uint64_t at_;
  uint64_t first_;
  uint64_t second_;
};

void ForgeHeads(Forger& forger) {
  checks.Expect("OwnDescriptorIsServed", forger.IsServed());
  forger.SetMagic(__builtin_bswap32(kDescriptorMagic));
  forger.ExpectRefused("MagicOfTheOtherOrderIsRefused");
  forger.SetMagic(kDescriptorMagic + 1);
  forger.ExpectRefused("OtherMagicIsRefused");
  forger.SetCount(0);
  forger.ExpectRefused("NoEntriesAreRefused");
  forger.SetCount(1);
  forger.ExpectRefused("TooFewEntriesAreRefused");
  // More than the range needs are not looked at, however many they say they are.
  forger.SetCount(~uint32_t{0});
  checks.Expect("EntriesBehindTheRangeAreNotLookedAt", forger.IsServed());
  forger.Reset();

  checks.ExpectEqual("UnalignedDescriptorIsRefused", WriteTo(forger.pointer() + 4), -kEFAULT);
  checks.ExpectEqual("DescriptorOutsideTheDomainIsRefused", WriteTo(kOutside), -kEFAULT);
  checks.ExpectEqual("DescriptorThatWrapsIsRefused", WriteTo(kInlineFlag - 8), -kEFAULT);
  checks.ExpectEqual("VirtualAddressIsNoDescriptor", WriteTo(kMemory + 0x800), -kEFAULT);
}

void ForgeEntries(Forger& forger) {
  forger.SetEntry(0, kDescriptorInvalid);
  forger.ExpectRefused("InvalidFirstEntryIsRefused");
  forger.SetEntry(1, kDescriptorInvalid);
  forger.ExpectRefused("InvalidSecondEntryIsRefused");
  forger.SetEntry(1, 8);
  forger.ExpectRefused("MisalignedEntryIsRefused");
  forger.SetEntry(0, kOutside + kEntryPage - Forger::kBefore);
  forger.ExpectRefused("FirstEntryOutsideTheDomainIsRefused");
  forger.SetEntry(1, kOutside);
  forger.ExpectRefused("SecondEntryOutsideTheDomainIsRefused");
  forger.SetEntry(1, ~uint64_t{0} << xencomm::kDescriptorPageShift);
  forger.ExpectRefused("EntryAt2To64IsRefused");
}

// The text is written over the very descriptor that says where it goes.
void AimAtTheDescriptor(Forger& forger) {
  forger.SetEntry(0, forger.pointer());
  forger.SetEntry(1, forger.pointer());
  const int64_t answer = WriteTo(forger.pointer());
  checks.Expect("OutputOverItsDescriptorHarmsNobody", answer == 0 || answer == -kEFAULT);
  forger.Reset();
  checks.Expect("GoodDescriptorIsServedAfterIt", forger.IsServed());
  forger.Reset();
}

void ForgeInlines(uint64_t page) {
  auto* text = reinterpret_cast<char*>(page);
  memset(text, 0xa5, kPayload);
  checks.ExpectEqual("InlineAddressIsServed", WriteTo(InlineAddress({Physical(page)}).value), 0);
  checks.Expect("InlineAddressHasItsAnswer", text[0] == '.');
  checks.ExpectEqual("InlineOutsideTheDomainIsRefused", WriteTo(InlineAddress({kOutside}).value),
                     -kEFAULT);
  checks.ExpectEqual("InlineAcrossItsLastAddressIsRefused", WriteTo(~uint64_t{0} - 7), -kEFAULT);
  checks.ExpectEqual("InlineVirtualAddressIsRefused", WriteTo(kInlineFlag | uint64_t{1} << 62),
                     -kEFAULT);
}

// A nested pointer is a descriptor as well.
void NestForgeries(Forger& forger, uint64_t argument) {
  auto* list = reinterpret_cast<xen_sysctl*>(argument);
  const auto nest = [&](uint64_t pointer) {
    memset(list, 0, sizeof(*list));
    list->cmd = XEN_SYSCTL_getdomaininfolist;
    list->interface_version = XEN_SYSCTL_INTERFACE_VERSION;
    list->u.getdomaininfolist.max_domains = 1;
    memcpy(&list->u.getdomaininfolist.buffer, &pointer, sizeof(pointer));
    return Signed(SystemCall(kSysHypercall, __HYPERVISOR_sysctl,
                             InlineAddress({Physical(argument)}).value, 0, 0, 0, 0, kNoRegion));
  };
  checks.ExpectEqual("NestedDescriptorIsServed", nest(forger.pointer()), 0);
  forger.SetCount(1);
  checks.ExpectEqual("NestedDescriptorTooShortIsRefused", nest(forger.pointer()), -kEFAULT);
  forger.Reset();
  checks.ExpectEqual("NestedPointerIsRefused", nest(argument), -kEFAULT);
  checks.ExpectEqual("NestedNullIsRefused", nest(0), -kEFAULT);
}

}  // namespace

void ForgeDescriptors(unsigned page_shift) {
  const uint64_t page = uint64_t{1} << page_shift;
  checks.ExpectEqual("HostileMemoryIsMapped", Signed(SystemCall(kSysMap, kMemory, 4 * page)), 0);
  Forger forger(kMemory, kMemory + page, kMemory + 2 * page);
  ForgeHeads(forger);
  ForgeEntries(forger);
  AimAtTheDescriptor(forger);
  ForgeInlines(kMemory + 3 * page);
  NestForgeries(forger, kMemory + 3 * page + 512);
}

}  // namespace qemu
