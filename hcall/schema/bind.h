// Bind: from a row to a typed, bounded handle, as a hypervisor's handler wants it.
//
//   const Result<GuestHandle<xen_domctl_getdomaininfo>> buffer =
//       Bind(rows::sysctl::getdomaininfolist::buffer, list, space, order);
//
// The row knows the element's type, where the pointer stands in the argument, how many elements
// there is room for, and the direction: what is only read binds to GuestHandle<const T>, and to
// write it does not compile. `rows` is generated: rows::<hypercall>::<op>::<field>, with '_' for
// the dots of a path, and _in, _out or _in_out at its end where the direction depends on the case.
//
// Rules:
// 1. The argument is a copy of one's own, in the processor's byte order (swap.h): a guest could
//    change its own between the count and the pointer.
// 2. Counts are checked for overflow: kOverflow, when the elements would be 2^64 bytes or more.
// 3. Null is not refused here. What it means is the op's to say: see Part::may_be_null.
#ifndef HCALL_SCHEMA_BIND_H_
#define HCALL_SCHEMA_BIND_H_

#include <cstdint>
#include <type_traits>

#include "hcall/schema/count.h"
#include "hcall/schema/op.h"
#include "xencomm/address.h"
#include "xencomm/byte_order.h"
#include "xencomm/fault.h"
#include "xencomm/guest_handle.h"
#include "xencomm/space.h"

namespace xencomm::schema {

// A buffer of one op. `Argument` is the structure of the hypercall (xen_sysctl), `Own` the op's own
// part of it (xen_sysctl_readconsole), `own_offset` bytes into it; of a register both are
// Registers.
template <class Argument, class Own, class Element, Direction kDirection>
struct BufferRow {
  static_assert(kDirection != Direction::kIgnored);
  using Handle =
      GuestHandle<std::conditional_t<kDirection == Direction::kIn, const Element, Element>>;

  std::uint32_t offset;  // of the pointer in the argument; of a trailing array, its own
  std::uint32_t own_offset;
  bool is_trailing;
  Amount room;
  Amount filled;
};

// A field that the base release's structure lacks, in the argument of the releases that have it.
struct FieldRow {
  Releases releases;
  Ref field;
};

// A handle to the buffer of `row` that `argument`, or the op's own part of it, points at.
template <class Argument, class Own, class Element, Direction kDirection, class Given>
requires(std::is_same_v<Given, Argument> || std::is_same_v<Given, Own>)
    Result<typename BufferRow<Argument, Own, Element, kDirection>::Handle> Bind(
        const BufferRow<Argument, Own, Element, kDirection>& row, const Given& argument,
        Space& space, ByteOrder order) {
  const RecordView view(&argument, kNativeOrder,
                        std::is_same_v<Given, Argument> ? 0 : row.own_offset);
  const Result<std::uint64_t> count = Evaluate(row.room, view);
  if (!count.ok()) return count.fault();
  const VirtualAddress pointer = {view.Read(row.offset, sizeof(std::uint64_t))};
  return BufferRow<Argument, Own, Element, kDirection>::Handle::Make(space, pointer, *count, order);
}

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_BIND_H_
