// The hostile program's parts. Each attacks one thing, and checks each refusal by its errno.

#ifndef TESTS_QEMU_USER_HOSTILE_H_
#define TESTS_QEMU_USER_HOSTILE_H_

#include <stdint.h>

#include "hcall/schema/generated/xen.h"
#include "tests/qemu/user/check.h"
#include "tests/qemu/user/machine.h"

namespace qemu {

using namespace xencomm::xen;

extern Checks checks;

inline constexpr uint64_t kPayload = XEN_EXTRAVERSION_LEN;  // what a call's text needs

inline int64_t Signed(uint64_t value) { return static_cast<int64_t>(value); }

inline uint64_t Physical(uint64_t address) { return SystemCall(kSysPhysical, address); }

// Descriptors and inline addresses that no kernel would make, in a domain whose pointers they are.
void ForgeDescriptors(unsigned page_shift);

// Ops and pointers that its kernel does not let a restricted process pass.
void TryTheRestriction(unsigned page_shift);

}  // namespace qemu

#endif  // TESTS_QEMU_USER_HOSTILE_H_
