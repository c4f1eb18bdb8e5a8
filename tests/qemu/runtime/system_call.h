// The calls between a user program and the kernel: numbers and arguments, for both sides. Answers
// are 0 or positive, or a negative errno (hcall/hypervisor/base/errno.h has the numbers).

#ifndef TESTS_QEMU_RUNTIME_SYSTEM_CALL_H_
#define TESTS_QEMU_RUNTIME_SYSTEM_CALL_H_

#include <stdint.h>

namespace qemu {

enum SystemCallNumber : uint64_t {
  // (text, bytes): to the console.
  kSysWrite,
  // (pass): ends the process; its regions end with it.
  kSysExit,
  // (): lets the other process run.
  kSysYield,
  // (address, bytes): backs a page-aligned range of the process with cleared memory.
  kSysMap,

  // (index, a1…a5, region): a hypercall. `region` is the process's own number of a region that it
  // created, or kNoRegion; the kernel puts the region handle into the call, and the bit that opts
  // into it.
  kSysHypercall,

  // (address, bytes, granule shift, RegionKind): reserves the range for a region and builds its
  // table. The table is mapped read-only, the payload not at all yet. Answers the region's number.
  kSysCreateRegion,
  // (region, first granule, granules): backs granules of the payload with cleared memory.
  kSysBackRegion,
  // (region): ends it. Its memory stays mapped.
  kSysDestroyRegion,
  // (region): from now on the process makes no hypercalls but those that the kernel names
  // (kernel/restriction.cc), and with this region alone. Its last granule, which must not be backed
  // yet, becomes the kernel's: read-only. Cannot be undone.
  kSysRestrict,
  // (Refusal*): why the last hypercall of a restricted process was refused.
  kSysRefusal,

  // (address, bytes, slot): answers the guest-physical address of a descriptor ('XCOM') of the
  // range, which stays until the next call with the same slot, 0 to 7.
  kSysDescribe,

  // What no kernel would offer, for tests of the hypervisor against a kernel gone wrong:
  // (index, a1…a5, region handle): a hypercall, with the region handle as the program gives it.
  kSysForgeHypercall,
  // (address): the guest-physical address behind it.
  kSysPhysical,
  // (region): its region handle.
  kSysRegionHandle,
  // (guest-physical address, value): writes a doubleword. Tables included.
  kSysPoke,
  // (guest-physical address): reads one.
  kSysPeek,
};

enum RegionKind : uint64_t {
  kRegionRegistered,      // checked and held by the hypervisor, for reading and writing
  kRegionRegisteredRead,  // for reading only
  kRegionStateless,       // its table is read in every call
  kRegionPage,            // one granule, writable header and all, stateless: trusts the program
};

// What an audit found. Texts end with a zero; they are empty, and numbers ~0, where there is none.
struct Refusal {
  uint64_t hypercall;
  uint64_t op;     // of the hypercall, by its number
  uint64_t field;  // the pointer, by its offset in the structure or the registers
  uint64_t entry;  // of a list of calls
  uint64_t index;  // of the element that the pointer stands in
  uint64_t address;
};

inline constexpr uint64_t kNoRegion = ~uint64_t{0};

}  // namespace qemu

#endif  // TESTS_QEMU_RUNTIME_SYSTEM_CALL_H_
