// The scenario: hypercalls with nested pointers, from xen_version to a multicall over a thousand
// pages, each answer recorded. It is the same in a process and on every machine, and so must be the
// record.

#ifndef TESTS_QEMU_SCENARIO_SCENARIO_H_
#define TESTS_QEMU_SCENARIO_SCENARIO_H_

#include "tests/qemu/scenario/record.h"
#include "tests/qemu/scenario/world.h"

namespace qemu {

// Bytes that a world needs.
inline constexpr uint64_t kScenarioBytes = 6 << 20;

// Leaves the hypervisor as it was: it can be run again.
void RunScenario(World& world, Record& record);

}  // namespace qemu

#endif  // TESTS_QEMU_SCENARIO_SCENARIO_H_
