// The calls between a user program and the kernel: numbers and meanings, for both sides. Answers
// are 0 or positive, or a negative errno.

#ifndef TESTS_QEMU_RUNTIME_SYSTEM_CALL_H_
#define TESTS_QEMU_RUNTIME_SYSTEM_CALL_H_

#include <stdint.h>

namespace qemu {

enum SystemCallNumber : uint64_t {
  // (text, bytes): to the console.
  kSysWrite,
  // (pass): ends the process.
  kSysExit,
  // (): lets the other processes run.
  kSysYield,
  // (address, bytes): backs a page-aligned range of the process with cleared memory.
  kSysMap,
  // (index, a1…a5, region): a hypercall. `region` is the process's own number of a region that it
  // created, or kNoRegion; the kernel puts the region handle into the call.
  kSysHypercall,
};

inline constexpr uint64_t kNoRegion = ~uint64_t{0};

}  // namespace qemu

#endif  // TESTS_QEMU_RUNTIME_SYSTEM_CALL_H_
