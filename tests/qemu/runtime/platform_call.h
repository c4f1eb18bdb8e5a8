// The calls between kernel and hypervisor that are the test machine's own: console, end, and what a
// machine's translation needs of its hypervisor. Their numbers lie above Xen's hypercalls (xen.h: 0
// to 63). Assembly reads this file too.

#ifndef TESTS_QEMU_RUNTIME_PLATFORM_CALL_H_
#define TESTS_QEMU_RUNTIME_PLATFORM_CALL_H_

// Hypercall indices whose bits above the lowest twelve are these.
#define PLATFORM_CALLS 0x1000

// (character): prints it.
#define PLATFORM_PUT_CHAR 0x1000
// (pass): ends the machine with the closing line.
#define PLATFORM_EXIT 0x1001
// (vector, pc, state, address): the kernel cannot go on.
#define PLATFORM_CRASH 0x1002

// mac99, where the hashed page table belongs to the hypervisor:
// (vsid, virtual address, guest-physical address, PP bits): enters one 4 KiB page.
#define PLATFORM_ENTER_PAGE 0x1010

// powernv9, where the partition table belongs to the hypervisor:
// (guest-physical address of the process table): installs it.
#define PLATFORM_SET_PROCESS_TABLE 0x1011

#endif  // TESTS_QEMU_RUNTIME_PLATFORM_CALL_H_
