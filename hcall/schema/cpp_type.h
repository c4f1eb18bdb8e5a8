// Swapping of Xen's structures as C++ knows them: what a GuestHandle needs of its elements.
//
// kTypeIndex says which of the table's types a structure is; its values are generated
// (generated/types.h). A structure in which only the op can say which member of a union is meant
// has none, and cannot be swapped by itself.
#ifndef HCALL_SCHEMA_CPP_TYPE_H_
#define HCALL_SCHEMA_CPP_TYPE_H_

#include "hcall/schema/op.h"
#include "hcall/schema/swap.h"

namespace xencomm::schema {

template <class T>
inline constexpr Index kTypeIndex = kAbsent;

}  // namespace xencomm::schema

// Beside the structures, so that an unqualified call finds it.
namespace xencomm::xen {

template <class T>
requires(schema::kTypeIndex<T> != schema::kAbsent) void SwapBytes(T& value) {
  schema::Swap(schema::facts::kTypes[schema::kTypeIndex<T>], &value);
}

}  // namespace xencomm::xen

#endif  // HCALL_SCHEMA_CPP_TYPE_H_
