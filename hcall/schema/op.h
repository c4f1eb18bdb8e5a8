// The op table: every hypercall, every op, every field of its argument, in every release of Xen
// that the repository knows.
//
// `Find` answers an op's row; all else that this library knows of ops is derived from it. Here are
// the facts that a kernel or a hypervisor needs to follow, audit and swap a call. They are constant
// data without a constructor, a string or an address in it (places in other arrays are indices),
// and work in a process, in ring 0 and in real mode. Names and prose are another table: words.h.
//
// The table is made at build time by compiler/, from the layout of each release (releases/) and the
// meaning written by hand (rows/).
//
// Offsets are in bytes from the start of the record that a part belongs to. An op has two records:
// its registers, 8 bytes each, and the argument that one of them points at.
#ifndef HCALL_SCHEMA_OP_H_
#define HCALL_SCHEMA_OP_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "xencomm/language.h"

namespace xencomm::schema {

// The argument registers of a hypercall, in order.
using Registers = std::array<std::uint64_t, 6>;

// --- Releases ------------------------------------------------------------------------------------

// A set of Xen's releases: bit n is the n-th that the table knows, the oldest is bit 0.
using Releases = std::uint8_t;

inline constexpr Releases kAllReleases = 0xff;
// The one whose structures C++ has (xen.h): 4.17. It is the oldest.
inline constexpr Releases kBaseRelease = 1;

struct ReleaseNumber {
  std::uint8_t major;
  std::uint8_t minor;
};

// --- The arrays ----------------------------------------------------------------------------------

using Index = std::uint16_t;
inline constexpr Index kAbsent = 0xffff;

struct Type;
struct Field;
struct Amount;
struct Test;
struct BufferForm;
struct PartForm;
struct Part;
struct Variant;
struct Record;
struct Move;
struct Op;
struct Version;
struct Hypercall;

// In generated/op_table_facts.cc.
namespace facts {
extern const ReleaseNumber kReleases[];
extern const Type kTypes[];
extern const Field kFields[];
extern const Amount kAmounts[];  // the first is of no buffer
extern const std::int64_t kValues[];
extern const Test kTests[];  // the first holds always
extern const BufferForm kBuffers[];
extern const PartForm kForms[];
extern const Part kParts[];
extern const Variant kVariants[];
extern const Record kRecords[];
extern const Move kMoves[];
extern const Op kOps[];
extern const Version kVersions[];
extern const Hypercall kHypercalls[];
extern const std::uint8_t kReleaseCount;
extern const std::uint8_t kHypercallCount;
// Of each hypercall's number: 1 and its place, or 0.
extern const std::uint8_t kByNumber[64];
}  // namespace facts

// An entry that may be absent.
template <class T>
constexpr const T* EntryOf(const T* array, Index index) {
  return index == kAbsent ? nullptr : array + index;
}

// --- Types ---------------------------------------------------------------------------------------

enum class Kind : std::uint8_t {
  kVoid,
  kUnsigned,
  kSigned,
  kCharacter,  // char: one byte of text
  kStruct,
  kUnion,
  kHandle,  // XEN_GUEST_HANDLE, XEN_GUEST_HANDLE_64: a guest pointer of 64 bits
};

// A member of a structure with integers of more than one byte in it; of a union, the one member
// whose integers include those of all others. Other members are words: MembersOf.
struct Field {
  std::uint16_t offset;
  std::uint16_t count;  // elements of an array, 1 otherwise
  Index type_index;

  constexpr const Type& type() const;
};

struct Type {
  std::uint32_t size;
  Index first_field;
  std::uint16_t field_count;
  Kind kind;

  // What has to be swapped of it. Of a union whose meaningful member only the op can name: nothing.
  constexpr std::span<const Field> fields() const {
    return {facts::kFields + first_field, field_count};
  }
  constexpr bool is_number() const {
    return kind == Kind::kUnsigned || kind == Kind::kSigned || kind == Kind::kHandle;
  }
  constexpr bool is_record() const { return kind == Kind::kStruct || kind == Kind::kUnion; }
};

constexpr const Type& Field::type() const { return facts::kTypes[type_index]; }

// --- Parts of a record ---------------------------------------------------------------------------

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

// How a number is counted.
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

// A number somewhere in a record; size 0: none.
struct Ref {
  std::uint32_t offset = 0;
  std::uint32_t size = 0;

  constexpr explicit operator bool() const { return size != 0; }
};

struct Amount {
  CountKind kind = CountKind::kNone;
  std::uint8_t more = 0;  // of kNumber: so many besides, unless there are none
  std::uint16_t per = 1;
  Ref a = {};
  Ref b = {};
  std::uint32_t scale = 1;
  std::uint32_t most = 0;   // elements that the op takes at most; 0: there is no such limit
  std::uint16_t least = 0;  // of kInside: so many at least
  std::uint16_t at = 0;
};

// A discriminator and the values of it for which a part is there. Without a field, it always holds.
struct Test {
  Ref field;
  Index first_value;
  std::uint8_t value_count;
  bool is_flags : 1;  // holds when the field has one of the bits of the only value
  bool is_not : 1;    // negated

  constexpr std::span<const std::int64_t> values() const {
    return {facts::kValues + first_value, value_count};
  }
  constexpr bool Holds(std::int64_t value) const {
    if (is_flags) return ((value & values()[0]) != 0) != is_not;
    for (const std::int64_t each : values()) {
      if (each == value) return !is_not;
    }
    return is_not;
  }
};

// What a discriminator can say: both tests hold.
struct Variant {
  Index test_indices[2];

  constexpr const Test& test(std::size_t i) const { return facts::kTests[test_indices[i]]; }
};

// Of a part that leads to a buffer: what is there.
struct BufferForm {
  Index element;
  Index record;  // kAbsent: the type of the elements says all
  Index room;
  Index filled;
  std::uint8_t address_flags;  // low bits of a register that are flags, no address
  std::uint8_t second_null;    // an address that leads nowhere, as null does; 0: there is none
  bool may_be_null;            // null has a meaning
  Lifetime lifetime;
};

// What parts of several records have in common.
struct PartForm {
  std::uint16_t size;
  Index type;
  Variant when;
  Index buffer;  // kAbsent: it leads to none
  std::uint8_t number_bits;
  Direction direction : 2;
  Phase phase : 2;
  bool is_trailing : 1;
};

// One field of a record, or a register.
struct Part {
  std::uint16_t offset;
  Index form_index;

  constexpr const PartForm& form() const { return facts::kForms[form_index]; }
  constexpr std::uint32_t size() const { return form().size; }  // of all elements of an array
  constexpr const Type& type() const { return facts::kTypes[form().type]; }  // of one element
  // Of a buffer: of its contents.
  constexpr Direction direction() const { return form().direction; }
  constexpr Phase phase() const { return form().phase; }
  // It is there when both hold.
  constexpr const Variant& when() const { return form().when; }
  constexpr bool is_conditional() const {
    return when().test_indices[0] != 0 || phase() != Phase::kBoth;
  }
  // Of a register with a number: the bits of it that are the number.
  constexpr std::uint64_t number_bits() const {
    return ~std::uint64_t{0} >> (64 - form().number_bits);
  }

  constexpr bool is_buffer() const { return form().buffer != kAbsent; }
  // Not behind a pointer, but the end of the record itself.
  constexpr bool is_trailing() const { return form().is_trailing; }
  constexpr bool is_pointer() const { return is_buffer() && !is_trailing(); }
  constexpr bool reads() const {
    return direction() == Direction::kIn || direction() == Direction::kInOut;
  }
  constexpr bool writes() const {
    return direction() == Direction::kOut || direction() == Direction::kInOut;
  }

  // How many elements a buffer has room for, by the argument before the call, and how many of them
  // hold a result, by the argument after it; kNone: all.
  constexpr const Amount& room() const { return facts::kAmounts[is_buffer() ? buffer().room : 0]; }
  constexpr const Amount& filled() const {
    return facts::kAmounts[is_buffer() ? buffer().filled : 0];
  }

  // Of a buffer alone.
  constexpr const BufferForm& buffer() const { return facts::kBuffers[form().buffer]; }
  constexpr const Type& element() const { return facts::kTypes[buffer().element]; }
  // The rows of an element, when pointers or unions stand in it; nullptr: its type says all.
  constexpr const Record* element_record() const;
  constexpr bool may_be_null() const { return buffer().may_be_null; }
  constexpr Lifetime lifetime() const { return buffer().lifetime; }
  constexpr std::uint64_t address_bits() const { return ~std::uint64_t{buffer().address_flags}; }
  constexpr std::uint64_t second_null() const { return buffer().second_null; }
};

// No record has more: the compiler of the table sees to it.
inline constexpr unsigned kMaxParts = 128;

// No record that has to be looked into is larger, in bytes.
inline constexpr unsigned kMaxRecordSize = 256;

struct Record {
  Index type_index;  // kAbsent: registers, or no argument at all
  Index first_part;
  Index first_variant;
  std::uint8_t part_count;
  std::uint8_t variant_count : 7;
  bool has_pointers : 1;

  constexpr const Type* type() const { return EntryOf(facts::kTypes, type_index); }
  constexpr std::span<const Part> parts() const { return {facts::kParts + first_part, part_count}; }
  // All that discriminators can say before the call. When there are any, one of them holds, or the
  // op is not known.
  constexpr std::span<const Variant> variants() const {
    return {facts::kVariants + first_variant, variant_count};
  }
};

constexpr const Record* Part::element_record() const {
  return EntryOf(facts::kRecords, buffer().record);
}

// The pointer of a record that has one; the first of several.
constexpr const Part* BufferOf(const Record& record) {
  for (const Part& part : record.parts()) {
    if (part.is_buffer()) return &part;
  }
  return nullptr;
}

// --- Ops -----------------------------------------------------------------------------------------

// Bytes of the argument that have another place in the base release's structure.
struct Move {
  std::uint16_t here;
  std::uint16_t base;
  std::uint16_t size;
};

// One op, as some releases have it. One that changed from a release to the next has a row for each
// form; one that did not has a single row for both.
struct Op {
  std::uint16_t number;
  Releases releases;
  std::uint8_t hypercall_index;
  Index registers_index;
  Index argument_index;
  // The op's own part of the argument (xen_domctl's u.getdomaininfo); all of it when ops do not
  // share a structure.
  std::uint16_t own_offset;
  Index own_type_index;
  Index first_buffer;
  Index first_move;
  std::uint8_t buffer_count;
  std::uint8_t move_count : 5;
  Direction direction : 2;  // of the argument as a whole
  bool is_stable : 1;       // its interface version is 0 in every release

  constexpr const Hypercall& hypercall() const;
  constexpr const Record& registers() const { return facts::kRecords[registers_index]; }
  constexpr const Record& argument() const { return facts::kRecords[argument_index]; }
  constexpr const Type* own_type() const { return EntryOf(facts::kTypes, own_type_index); }
  // Of kFirstBuffer: what the second buffer holds, and so on.
  constexpr std::span<const Part> buffers() const {
    return {facts::kParts + first_buffer, buffer_count};
  }
  // Where the base release has the fields of this form; empty: where they are.
  constexpr std::span<const Move> moves() const { return {facts::kMoves + first_move, move_count}; }
};

// Where a hypercall keeps the number of its op.
enum class OpPlace : std::uint8_t {
  kNone,
  kRegister,
  kArgument,
  // The register points at a list of buffers, the first of which holds the argument (dm_op).
  kFirstBuffer,
};

// An interface version, and the releases that have it.
struct Version {
  std::uint32_t number;
  Releases releases;
};

struct Hypercall {
  std::uint64_t op_mask;  // bits of op_field that are the number
  std::uint8_t number;
  OpPlace op_place;
  bool holds_calls;     // each element of the argument is a call of its own
  std::int8_t pointer;  // register of the argument, or -1
  std::uint8_t register_count;
  std::uint8_t version_count;
  Index first_version;
  Index first_op;
  std::uint16_t op_count;
  Ref op_field;       // in the registers or in the argument
  Ref version_field;  // in the argument
  Index type_index;   // of the argument, when all ops share one

  // Ascending by number, then by release.
  constexpr std::span<const Op> ops() const { return {facts::kOps + first_op, op_count}; }
  constexpr const Type* type() const { return EntryOf(facts::kTypes, type_index); }
  // That there are rows for, ascending; of a hypercall without versions none.
  constexpr std::span<const Version> versions() const {
    return {facts::kVersions + first_version, version_count};
  }
  // The releases with an interface version; none: unknown.
  constexpr Releases ReleasesOf(std::uint64_t version) const {
    for (const Version& each : versions()) {
      if (each.number == version) return each.releases;
    }
    return 0;
  }
};

constexpr const Hypercall& Op::hypercall() const { return facts::kHypercalls[hypercall_index]; }

inline std::span<const Hypercall> Hypercalls() {
  return {facts::kHypercalls, facts::kHypercallCount};
}
inline std::span<const ReleaseNumber> ReleaseNumbers() {
  return {facts::kReleases, facts::kReleaseCount};
}

// All forms of an op, the oldest first. `op` may have bits outside the hypercall's op_mask.
std::span<const Op> FormsOf(const Hypercall& hypercall, std::uint64_t op);
// The form of the newest release among some; nullptr: none of them has the op.
constexpr const Op* NewestOf(std::span<const Op> forms, Releases releases) {
  const Op* newest = nullptr;
  for (const Op& form : forms) {
    if ((form.releases & releases) != 0) newest = &form;
  }
  return newest;
}
// Which of some releases take a call that states an interface version: those that have it, and all
// when the op is stable and 0 is stated; those that have it and not the stable op refuse the op.
// None: -EACCES.
constexpr Releases ReleasesThatTake(const Hypercall& hypercall, std::span<const Op> forms,
                                    std::uint64_t version, Releases releases) {
  const Op* const op = NewestOf(forms, releases);
  const bool is_stable = op != nullptr && op->is_stable;
  if (is_stable && version == 0) return releases;
  const Releases others = is_stable ? releases & ~op->releases : releases;
  return others & hypercall.ReleasesOf(version);
}

// nullptr: unknown. `op` may have bits outside the hypercall's op_mask. Of several forms the one of
// the newest release among `releases`.
const Hypercall* Find(std::uint64_t hypercall);
const Op* Find(std::uint64_t hypercall, std::uint64_t op, Releases releases = kBaseRelease);
const Op* Find(const Hypercall& hypercall, std::uint64_t op, Releases releases);

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_OP_H_
