// The wire protocol's messages, errors and limits, by Xen's own header, which expects these two
// first.
#ifndef HCALL_MACHINE_STORE_WIRE_H_
#define HCALL_MACHINE_STORE_WIRE_H_

#include <cerrno>
#include <cstdint>

// That header:
#include <xen/io/xs_wire.h>

#endif  // HCALL_MACHINE_STORE_WIRE_H_
