// Byte swapping by the table: a domain of the other order is served by the same handlers.
//
// An argument is swapped once when it was read and once before it is written back. Swapping twice
// changes nothing, so that what the hypervisor leaves alone comes back as it was.
//
// Buffers are swapped element by element, by GuestHandle with SwapBytes (cpp_type.h); arguments
// field by field, as some need a look at a discriminator.
//
// Not swapped:
// 1. Bytes (void, char, uint8_t): bitmaps have bit n in byte n / 8 in either order, and what lies
//    in a buffer of bytes is in whatever order its writer chose.
// 2. Bits inside a number: they are counted from its lowest one in either order, which is not how
//    compilers for big-endian machines lay out bit-fields. Of all rows only the flags of
//    xen_processor_cx's structure, set_processor_pminfo, are bit-fields.
// 3. Unions whose discriminator has no value that the table knows.
#ifndef HCALL_SCHEMA_SWAP_H_
#define HCALL_SCHEMA_SWAP_H_

#include "hcall/schema/op.h"
#include "xencomm/byte_order.h"

namespace xencomm::schema {

// All integers of one value of a type without discriminators.
void Swap(const Type& type, void* value);

// All integers of a record, of unions those that their discriminators name. `order` is the order in
// which the record is now; the call is yet to be made.
void Swap(const Record& record, void* bytes, ByteOrder order);

// One field of a record alone, at `field`; it is there (RecordView::Has) or not, the caller knows.
void SwapPart(const Part& part, void* field);

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_SWAP_H_
