// No line of this file knows a hypercall's operation: calls are passed on, with the region handle
// that only a kernel may add.

#include "tests/qemu/kernel/system_calls.h"

#include <string.h>

#include "arch.h"
#include "hcall/hypervisor/base/errno.h"
#include "tests/qemu/kernel/frames.h"
#include "tests/qemu/kernel/region.h"
#include "tests/qemu/runtime/print.h"
#include "tests/qemu/runtime/system_call.h"
#include "xencomm/descriptor.h"

namespace qemu {
namespace {

using xencomm::PhysicalAddress;
using xencomm::hypervisor::kEBUSY;
using xencomm::hypervisor::kEFAULT;
using xencomm::hypervisor::kEINVAL;
using xencomm::hypervisor::kENOENT;
using xencomm::hypervisor::kENOSPC;
using xencomm::hypervisor::kENOSYS;

int64_t Write(const Process& process, uint64_t text, uint64_t bytes) {
  if (!process.memory.Covers(text, bytes)) return -kEFAULT;
  for (uint64_t i = 0; i < bytes; ++i) PutChar(*KernelPointer<const char>(text + i));
  return static_cast<int64_t>(bytes);
}

// As no kernel should: the program's registers as they are.
int64_t Forged(const UserContext& context) {
  return static_cast<int64_t>(
      Hypercall(context.argument(0), context.argument(1), context.argument(2), context.argument(3),
                context.argument(4), context.argument(5), context.argument(6)));
}

int64_t CallWithRegion(Process& process) {
  const UserContext& context = process.context;
  const uint64_t index = context.argument(0);
  const uint64_t arguments[] = {context.argument(1), context.argument(2), context.argument(3),
                                context.argument(4), context.argument(5)};
  if (process.restriction.exists()) return process.restriction.Hypercall(index, arguments);
  if (context.argument(6) == kNoRegion) {
    return HypercallFor(index, arguments, xencomm::RegionHandle::None());
  }
  const Region* region = process.FindRegion(context.argument(6));
  if (region == nullptr) return -kENOENT;
  return HypercallFor(index, arguments, region->handle());
}

int64_t CreateRegion(Process& process) {
  const UserContext& context = process.context;
  for (uint64_t number = 0; number < Process::kMaxRegions; ++number) {
    Region& region = process.regions[number];
    if (region.exists()) continue;
    const int64_t error = region.Create(process.memory, context.argument(0), context.argument(1),
                                        static_cast<unsigned>(context.argument(2)),
                                        static_cast<RegionKind>(context.argument(3)));
    return error != 0 ? error : static_cast<int64_t>(number);
  }
  return -kENOSPC;
}

// Descriptors as a historical kernel made them: contiguous in guest-physical memory.
int64_t Describe(const Process& process, uint64_t address, uint64_t bytes, uint64_t slot) {
  constexpr uint64_t kSlots = 8;
  constexpr uint64_t kDescriptorBytes = 16 << 10;
  static uint64_t slots[kSlots];
  const uint64_t entries = xencomm::DescriptorEntries(address, bytes);
  if (slot >= kSlots || bytes == 0 || !process.memory.Covers(address, bytes)) return -kEINVAL;
  if (xencomm::DescriptorBytes(entries) > kDescriptorBytes) return -kENOSPC;
  if (slots[slot] == 0) slots[slot] = AllocateContiguous(kDescriptorBytes);
  constexpr uint64_t kEntryPage = uint64_t{1} << xencomm::kDescriptorPageShift;
  xencomm::StoreDescriptor(KernelPointer<std::byte>(slots[slot]), static_cast<uint32_t>(entries),
                           xencomm::kNativeOrder, [&](uint64_t i) {
                             const uint64_t at =
                                 i == 0 ? address : (address & ~(kEntryPage - 1)) + i * kEntryPage;
                             PhysicalAddress physical;
                             // Covered, as was checked.
                             process.memory.Translate(at, &physical.value);
                             return physical;
                           });
  return static_cast<int64_t>(slots[slot]);
}

int64_t GiveRefusal(const Process& process, uint64_t address) {
  const Refusal refusal = process.restriction.LastRefusal();
  if (!process.memory.Covers(address, sizeof(refusal))) return -kEFAULT;
  memcpy(KernelPointer(address), &refusal, sizeof(refusal));
  return 0;
}

int64_t Poke(uint64_t guest_physical, uint64_t value) {
  if (!xencomm::Contains(0, MemorySize(), guest_physical, sizeof(value))) return -kEINVAL;
  *KernelPointer<volatile uint64_t>(guest_physical) = value;
  return 0;
}

int64_t Peek(uint64_t guest_physical) {
  if (!xencomm::Contains(0, MemorySize(), guest_physical, sizeof(uint64_t))) return -kEINVAL;
  return *KernelPointer<const volatile int64_t>(guest_physical);
}

}  // namespace

int64_t ServeSystemCall(Process& process) {
  const UserContext& context = process.context;
  const auto region_or_error = [&](auto use) -> int64_t {
    Region* region = process.FindRegion(context.argument(0));
    return region == nullptr ? -kENOENT : use(*region);
  };
  switch (context.number()) {
    case kSysWrite:
      return Write(process, context.argument(0), context.argument(1));
    case kSysMap:
      return process.memory.Map(context.argument(0), context.argument(1)) ? 0 : -kEINVAL;
    case kSysHypercall:
      return CallWithRegion(process);
    case kSysCreateRegion:
      return CreateRegion(process);
    case kSysBackRegion:
      return region_or_error([&](Region& region) {
        return region.Back(process.memory, context.argument(1), context.argument(2));
      });
    case kSysDestroyRegion:
      return region_or_error([&](Region& region) -> int64_t {
        if (process.restriction.Needs(region)) return -kEBUSY;
        region.Destroy();
        return 0;
      });
    case kSysRestrict:
      return region_or_error(
          [&](Region& region) { return process.restriction.Begin(process.memory, region); });
    case kSysRefusal:
      return GiveRefusal(process, context.argument(0));
    case kSysDescribe:
      return Describe(process, context.argument(0), context.argument(1), context.argument(2));
    case kSysForgeHypercall:
      return Forged(context);
    case kSysPhysical: {
      uint64_t physical;
      return process.memory.Translate(context.argument(0), &physical)
                 ? static_cast<int64_t>(physical)
                 : -kEFAULT;
    }
    case kSysRegionHandle:
      return region_or_error(
          [](Region& region) -> int64_t { return static_cast<int64_t>(region.handle().value()); });
    case kSysPoke:
      return Poke(context.argument(0), context.argument(1));
    case kSysPeek:
      return Peek(context.argument(0));
    default:
      return -kENOSYS;
  }
}

}  // namespace qemu
