// The op table: every hypercall, every op, every field of its argument, with layout and meaning
// joined.
//
// `Find` answers an op's row; all else that this library knows of ops is derived from it. The table
// is constant data without a constructor: it works in a process, in ring 0 and in real mode. It is
// made at build time, from the layout in Xen's headers (generate.py) and the meaning written by
// hand (domctl.h, sysctl.h …), by the program in compiler/.
//
// Offsets are in bytes from the start of the record that a part belongs to. An op has two records:
// its registers, 8 bytes each, and the argument that one of them points at.
#ifndef HCALL_SCHEMA_OP_H_
#define HCALL_SCHEMA_OP_H_

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "hcall/schema/type.h"

namespace xencomm::schema {

// The argument registers of a hypercall, in order.
using Registers = std::array<std::uint64_t, 6>;

enum class Direction : std::uint8_t {
  kIn,       // the hypervisor reads it
  kOut,      // it writes it
  kInOut,    // it reads it, then writes it
  kIgnored,  // padding, or a field with no meaning in this op: neither
};

enum class Lifetime : std::uint8_t {
  kCall,           // a pointer is used before the call returns, and never after
  kUntilReplaced,  // the hypervisor keeps it, until another call takes its place
};

// When a field has the meaning that a part says.
enum class Phase : std::uint8_t { kBoth, kBefore, kAfter };

// How a number is counted; see the functions in meaning.h for each.
enum class CountKind : std::uint8_t {
  kNone,       // not a buffer
  kNumber,     // ceil(scale * a * b / per); a field that is absent counts as 1
  kRange,      // b - a + 1, and none when b is less
  kText,       // characters up to and including a zero one
  kUntilZero,  // structures up to and including one whose field `a` is zero
  kInside,     // `scale` and the number that stands in the buffer, at byte `at`, `per` bytes wide
  kReturned,   // what the hypercall returned, when not negative
  kVcpus,      // one bit for each vcpu of the calling domain, in whole bytes
};

// How a number's values are called: by the constants that begin with a prefix.
enum class Naming : std::uint8_t { kNone, kEnum, kFlags };

// A number somewhere in a record; size 0: none.
struct Ref {
  std::uint32_t offset = 0;
  std::uint32_t size = 0;

  constexpr explicit operator bool() const { return size != 0; }
};

struct Amount {
  CountKind kind = CountKind::kNone;
  Ref a = {};
  Ref b = {};
  std::uint32_t scale = 1;
  std::uint32_t per = 1;
  std::uint32_t at = 0;
  std::uint32_t most = 0;   // elements that the op takes at most; 0: there is no such limit
  std::uint32_t least = 0;  // of kInside: so many at least
  std::uint32_t more = 0;   // of kNumber: so many besides, unless there are none
};

// A discriminator and the values of it for which a part is there.
struct Test {
  Ref field = {};
  std::span<const std::int64_t> values = {};
  bool is_flags = false;  // holds when the field has one of the bits of the only value
  bool is_not = false;    // negated

  constexpr bool Holds(std::int64_t value) const {
    if (is_flags) return ((value & values[0]) != 0) != is_not;
    for (const std::int64_t each : values) {
      if (each == value) return !is_not;
    }
    return is_not;
  }
};

struct Record;

// One field of a record, or a register.
struct Part {
  const char* path;    // from the op's own structure: "cpumap.bitmap"
  const Field* field;  // nullptr: a register
  std::uint32_t offset;
  std::uint32_t size;   // of all elements of an array
  const Type* type;     // of one element
  Direction direction;  // of a buffer: of what it holds
  // A field is there when both tests hold; without a field, a test always does.
  Test tests[2] = {};

  // Of a buffer: what its elements are, nullptr when this is none.
  const Type* element = nullptr;
  // The rows of an element, when pointers or unions stand in it.
  const Record* element_record = nullptr;
  Amount room = {};    // how many elements there is room for, by the argument before the call
  Amount filled = {};  // how many of them hold a result, by the argument after it;
                       // kNone: all
  const char* null = nullptr;  // what a null pointer means; nullptr: it is not allowed
  Lifetime lifetime = Lifetime::kCall;
  Phase phase = Phase::kBoth;
  std::uint64_t address_bits = ~std::uint64_t{0};  // the others are flags
  std::uint64_t second_null = 0;  // an address that leads nowhere, as null does; 0: there is none
  // Of a register with a number: the bits of it that are the number.
  std::uint64_t number_bits = ~std::uint64_t{0};
  bool is_trailing = false;  // not behind a pointer, but the end of the record itself

  // For people.
  const char* note = nullptr;
  const char* prefix = nullptr;  // of the constants that name its values; several: with spaces
  const char* scope = nullptr;   // that they are declared in; nullptr: any
  const char* except = nullptr;  // what others begin with; nullptr: there are none
  Naming naming = Naming::kNone;
  std::uint32_t headers = 1;  // the sets of headers whose constants these are, a bit each

  constexpr bool is_buffer() const { return element != nullptr; }
  constexpr bool is_pointer() const { return is_buffer() && !is_trailing; }
  constexpr bool reads() const {
    return direction == Direction::kIn || direction == Direction::kInOut;
  }
  constexpr bool writes() const {
    return direction == Direction::kOut || direction == Direction::kInOut;
  }
};

// No record has more: the compiler of the table sees to it.
inline constexpr unsigned kMaxParts = 128;

// No record that has to be looked into is larger, in bytes.
inline constexpr unsigned kMaxRecordSize = 256;

// What a discriminator can say: both tests hold.
struct Variant {
  Test tests[2] = {};
};

struct Record {
  const Type* type = nullptr;  // nullptr: registers, or no argument at all
  const char* about = nullptr;
  std::span<const Part> parts = {};
  // All that discriminators can say before the call. When there are any, one of them holds, or the
  // op is not known.
  std::span<const Variant> variants = {};
  bool has_pointers = false;
};

// The pointer of a record that has one; the first of several.
constexpr const Part* BufferOf(const Record& record) {
  for (const Part& part : record.parts) {
    if (part.is_buffer()) return &part;
  }
  return nullptr;
}

struct Hypercall;

// One op, as some interface versions have it. One that changed from a version to the next has a row
// for each form; one that did not has a single row for both.
struct Op {
  std::uint64_t number;
  // The versions that the row holds for, both included; of a hypercall without versions all.
  std::uint32_t first_version = 0;
  std::uint32_t last_version = ~std::uint32_t{0};
  const char* name;
  const char* constant;  // "XEN_DOMCTL_createdomain"; nullptr: the hypercall has one op
  const char* about;
  const char* returns;  // what a result that is not negative says; nullptr: 0, nothing
  const Hypercall* hypercall;
  Record registers;
  Record argument;
  // The op's own part of the argument (xen_domctl's u.getdomaininfo); all of it when ops do not
  // share a structure.
  std::uint32_t own_offset;
  const Type* own_type;
  Direction direction;                 // of the argument as a whole
  std::span<const Part> buffers = {};  // of kFirstBuffer: what the second buffer holds, and so on

  constexpr bool IsIn(std::uint32_t version) const {
    return first_version <= version && version <= last_version;
  }
};

// A number that was an op's and is none any more, as the headers tell.
struct RemovedOp {
  std::uint64_t number;
  const char* name;
  const char* constant;
  const char* words;  // the header's: "Removed - use dmop"; may be empty
};

// Where a hypercall keeps the number of its op.
enum class OpPlace : std::uint8_t {
  kNone,
  kRegister,
  kArgument,
  // The register points at a list of buffers, the first of which holds the argument (dm_op).
  kFirstBuffer,
};

struct Hypercall {
  std::uint64_t number;
  const char* name;
  const char* about;
  std::span<const char* const> registers;  // their names
  std::span<const Op> ops;
  OpPlace op_place;
  Ref op_field;                             // in the registers or in the argument
  std::uint64_t op_mask;                    // bits of it that are the number
  int pointer;                              // register of the argument, or -1
  const Type* type;                         // of the argument, when all ops share one
  Ref version_field;                        // in the argument
  std::span<const std::uint32_t> versions;  // that there are rows for, ascending
  std::uint32_t version;  // of the headers that C++ includes; 0: the hypercall has no versions
  bool holds_calls;       // each element of the argument is a call of its own
  std::span<const std::uint16_t> by_number;  // indices into ops, ascending by number and version
  std::span<const RemovedOp> removed;
};

std::span<const Hypercall> Hypercalls();

// nullptr: unknown. `op` may have bits outside the hypercall's op_mask. Without `version`, the row
// of the version that C++ includes (Hypercall::version).
const Hypercall* Find(std::uint64_t hypercall);
const Op* Find(std::uint64_t hypercall, std::uint64_t op);
const Op* Find(const Hypercall& hypercall, std::uint64_t op, std::uint32_t version);

// By name. An op that this version does not have is answered as another one has it.
const Hypercall* Find(std::string_view hypercall);
const Op* Find(std::string_view hypercall, std::string_view op);

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_OP_H_
