// Walking a call: every buffer that it points at, to any depth.
//
// The same walk serves userland (over a Space of its own memory), a kernel that checks a call
// before it makes it, and a hypervisor (over the caller's Space). It allocates nothing.
//
// Rules:
// 1. Each structure is read once, into a copy of one's own: what was counted is what is followed.
// 2. A buffer of no bytes is not visited, and its pointer not looked at. A null that has a meaning
//    is not visited either; one that has none is a finding.
// 3. What cannot be right ends the walk with a finding that names op, field, index and address.
//    Counts are the caller's and may be anything: bytes and ends are checked for overflow.
// 4. A list of calls in a list of calls is refused, as Xen does.
#ifndef HCALL_SCHEMA_WALK_H_
#define HCALL_SCHEMA_WALK_H_

#include <concepts>
#include <cstdint>

#include "hcall/schema/op.h"
#include "xencomm/address.h"
#include "xencomm/byte_order.h"
#include "xencomm/fault.h"
#include "xencomm/space.h"

namespace xencomm::schema {

struct Call {
  std::uint64_t hypercall = 0;
  Registers registers = {};
};

// Whose call it is.
struct Caller {
  Space& space;
  ByteOrder order = kNativeOrder;
  std::uint32_t vcpus = 1;  // of the calling domain: bitmaps of vcpus have no other length
  // What the hypervisor may be. A call that states an interface version is read as one of these
  // that has it; every call as the newest that is left.
  Releases releases = kAllReleases;
};

inline constexpr std::uint64_t kNoIndex = ~std::uint64_t{0};

struct Buffer {
  const Op* op = nullptr;
  const Part* part = nullptr;      // the pointer to it
  std::uint64_t entry = kNoIndex;  // of the list of calls that the call is in
  std::uint64_t index = kNoIndex;  // of the element that the pointer stands in
  // Where the structure that the pointer stands in lies, and the structure itself in a copy, in the
  // caller's order; of a register: nowhere, and the registers in the processor's order.
  VirtualAddress holder = {};
  const void* holder_copy = nullptr;
  bool in_register = false;

  VirtualAddress address = {};
  const Type* element = nullptr;
  const Record* element_record = nullptr;  // nullptr: the type says all
  std::uint64_t count = 0;                 // elements
  std::uint64_t bytes = 0;
  Direction direction = Direction::kIn;

  bool reads() const { return direction != Direction::kOut; }
  bool writes() const { return direction != Direction::kIn; }
};

enum class Problem : std::uint8_t {
  kNone,
  kUnknownHypercall,  // `number`
  kUnknownOp,         // `number`
  kUnknownVersion,    // `number`
  kUnknownVariant,    // `number` is the discriminator's
  kNull,              // and null has no meaning there
  kOverflow,          // a count whose elements are 2^64 bytes or more, or pass the last address
  kUnreadable,        // `fault`
  kTooFew,            // fewer buffers, or shorter ones, than the op needs
  kTooMany,           // `number` elements, more than the op takes
  kEndless,           // a list without an end
  kNested,            // a list of calls in a list of calls
  kStopped,           // by the visitor
  kOverlap,           // buffers that share bytes, and that this use of them cannot tell apart

  // Of the audit.
  kNotAllowed,     // an op that is not among those let through
  kOutside,        // a buffer that does not lie in the region's payload
  kArgumentsOnly,  // a buffer in granules that are for the kernel's copies
  kOutlives,       // a pointer that is kept after the call, in a region that may not be
  kUnguarded,      // a copy where the hypervisor could be told to write
};

// A few words for each.
const char* Describe(Problem problem);

// Why a walk ended; ok() when it came to the end.
struct Finding {
  Problem problem = Problem::kNone;
  const Hypercall* hypercall = nullptr;
  const Op* op = nullptr;
  const Part* part = nullptr;
  std::uint64_t entry = kNoIndex;
  std::uint64_t index = kNoIndex;
  VirtualAddress address = {};
  std::uint64_t bytes = 0;
  std::uint64_t number = 0;
  FaultInfo fault = {};

  bool ok() const { return problem == Problem::kNone; }
};

// A reference to a callable that takes a const T& and answers whether to go on. It lives as long as
// the call it is passed to.
template <class T>
class Visitor {
 public:
  Visitor() = default;  // goes on
  template <class F>
  requires(std::predicate<F&, const T&> && !std::same_as<F, Visitor>) Visitor(F& f)
      : object_(&f), call_([](void* object, const T& seen) -> bool {
          return (*static_cast<F*>(object))(seen);
        }) {}

  bool operator()(const T& seen) const { return call_ == nullptr || call_(object_, seen); }

 private:
  void* object_ = nullptr;
  bool (*call_)(void*, const T&) = nullptr;
};

using BufferVisitor = Visitor<Buffer>;
// Of each op that the walk comes to, before its buffers: a call's own, and those of the entries of
// a list of calls.
using OpVisitor = Visitor<Op>;

// A buffer is visited before those that it points at.
Finding ForEachBuffer(const Call& call, const Caller& caller, BufferVisitor visit,
                      OpVisitor enter = {});

// How many elements of a buffer hold a result after the call: at most those that there was room
// for, and all of them when it failed, as nothing then says how far it came. `holder` is the
// structure that the pointer stands in, or the registers, as it was left.
std::uint64_t CountFilled(const Part& part, std::uint64_t room, const void* holder, ByteOrder order,
                          std::int64_t result);

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_WALK_H_
