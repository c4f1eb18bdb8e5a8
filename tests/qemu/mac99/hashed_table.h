// The 970's hashed page table (PowerPC 970FX User's Manual, chapter 4; Power ISA v2.07 Book III-S,
// 5.7.7), 4 KiB pages in 256 MiB segments:
//
//   effective address ── SLB ──> VSID | 28 bits ── hash ──> group of 8 entries ──> machine page
//
// Nothing can be found in it by effective address but by searching: this is the translation that a
// hypervisor cannot walk on a guest's behalf.

#ifndef TESTS_QEMU_MAC99_HASHED_TABLE_H_
#define TESTS_QEMU_MAC99_HASHED_TABLE_H_

#include <stdint.h>

namespace qemu {

// What the guest sees at `guest`, in machine terms; false where nothing is.
bool GuestToMachine(uint64_t guest, uint64_t* machine);

namespace hashed_table {

// Page protection for keys as the kernel sets them in its SLB entries (Kp = 1, Ks = 0).
inline constexpr uint64_t kSupervisorOnly = 0;
inline constexpr uint64_t kUserReadOnly = 1;  // the supervisor writes
inline constexpr uint64_t kUserReadWrite = 2;

// Clears the table and points SDR1 at it. Translation must be off.
void Start();

// Enters one page: `page` and `machine` multiples of 4 KiB. False when both groups are full.
bool Enter(uint64_t vsid, uint64_t page, uint64_t machine, uint64_t protection);

}  // namespace hashed_table
}  // namespace qemu

#endif  // TESTS_QEMU_MAC99_HASHED_TABLE_H_
