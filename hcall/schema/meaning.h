// Meaning: what no compiler can know of a hypercall's fields, as words to write rows in.
//
// A row says of one field: is it read or written, and if it points at something, at how many, for
// how long, and what null means. Rows are plain constant data, one file per hypercall (domctl.h,
// sysctl.h, memory.h …); they name fields by the paths that the headers give them, and a path that
// does not exist fails the build. Everything else is derived from them.
//
// Rules:
// 1. Every field of an op's argument has a row; the build fails on one that has none.
// 2. The direction of a handle's row is that of what it points at. The pointer itself is only read,
//    and never changed.
// 3. Counts are in elements of the handle's type, bytes for void. `Elements("n")` is how many there
//    is room for, taken from the argument as the caller wrote it; `.Filled("n")` is how many of
//    them hold a result, taken from the argument as the hypervisor left it. Without it all do.
// 4. A case's rows hold when its discriminators have one of the values. Rows of cases that can hold
//    together do not overlap.
// 5. Rows hold for every interface version that there are headers for, unless they say Since or
//    Until: only what changed from a version to the next is written twice.
#ifndef HCALL_SCHEMA_MEANING_H_
#define HCALL_SCHEMA_MEANING_H_

#include <cstdint>
#include <initializer_list>
#include <span>

#include "hcall/schema/op.h"

namespace xencomm::schema {

// How many elements a pointer points at.
struct Count {
  CountKind kind = CountKind::kNone;
  const char* a = nullptr;
  const char* b = nullptr;
  std::uint32_t scale = 1;
  std::uint32_t per = 1;
  std::uint32_t at = 0;
  std::uint32_t most = 0;
  std::uint32_t least = 0;
  std::uint32_t more = 0;

  // The op is refused with more elements.
  constexpr Count AtMost(std::uint32_t elements) const {
    Count count = *this;
    count.most = elements;
    return count;
  }
  // So many are touched, whatever the number in the buffer says.
  constexpr Count AtLeast(std::uint32_t elements) const {
    Count count = *this;
    count.least = elements;
    return count;
  }
  // So many beyond them are touched, when there are any.
  constexpr Count AndMore(std::uint32_t elements) const {
    Count count = *this;
    count.more = elements;
    return count;
  }
};

constexpr Count Exactly(std::uint32_t elements) {
  return {.kind = CountKind::kNumber, .scale = elements};
}
constexpr Count One() { return Exactly(1); }
// As many as field `a` says, or the product of two.
constexpr Count Elements(const char* a, const char* b = nullptr) {
  return {.kind = CountKind::kNumber, .a = a, .b = b};
}
// `each` elements for every one that field `a` counts.
constexpr Count Multiple(std::uint32_t each, const char* a) {
  return {.kind = CountKind::kNumber, .a = a, .scale = each};
}
// One element for every `per` that field `a` counts, the last one perhaps not full.
constexpr Count OneFor(std::uint32_t per, const char* a) {
  return {.kind = CountKind::kNumber, .a = a, .per = per};
}
// The bytes of a bitmap with as many bits as field `a` says.
constexpr Count Bits(const char* a) { return OneFor(8, a); }
// One element for each number from `first` to `last`, both included.
constexpr Count Range(const char* first, const char* last) {
  return {.kind = CountKind::kRange, .a = first, .b = last};
}
constexpr Count Text() { return {.kind = CountKind::kText}; }
constexpr Count UntilZero(const char* field) { return {.kind = CountKind::kUntilZero, .a = field}; }
constexpr Count Inside(std::uint32_t at, std::uint32_t width, std::uint32_t besides = 0) {
  return {.kind = CountKind::kInside, .scale = besides, .per = width, .at = at};
}
constexpr Count Returned() { return {.kind = CountKind::kReturned}; }
constexpr Count VcpuBits() { return {.kind = CountKind::kVcpus}; }

// The interface versions of the hypercall that something holds for, both included.
struct Versions {
  std::uint32_t since = 0;
  std::uint32_t until = ~std::uint32_t{0};

  constexpr bool Have(std::uint32_t version) const { return since <= version && version <= until; }
};

constexpr Versions Since(std::uint32_t version) { return {.since = version}; }
constexpr Versions Until(std::uint32_t version) { return {.until = version}; }

struct Row {
  const char* field;
  Direction direction;
  Count room = {};
  Count filled = {};
  const char* null = nullptr;  // what a null pointer means; nullptr: it is not allowed
  const char* note = nullptr;
  const char* prefix = nullptr;
  const char* scope = nullptr;
  const char* except = nullptr;
  Naming naming = Naming::kNone;
  Lifetime lifetime = Lifetime::kCall;
  const char* of = nullptr;  // what it points at, where the header's type does not say
  Phase phase = Phase::kBoth;
  std::uint64_t address_bits = ~std::uint64_t{0};  // of a register that holds flags too
  std::uint64_t second_null = 0;
  std::uint64_t number_bits = ~std::uint64_t{0};
  const char* overlays = nullptr;  // another name for bytes that have their row under this one
  bool is_trailing = false;
  Versions versions = {};

  constexpr Row Only(Versions which) const {
    Row row = *this;
    row.versions = which;
    return row;
  }
  constexpr Row Filled(const char* count) const { return Filled(Elements(count)); }
  constexpr Row Filled(Count count) const {
    Row row = *this;
    row.filled = count;
    return row;
  }
  constexpr Row OrNull(const char* meaning) const {
    Row row = *this;
    row.null = meaning;
    return row;
  }
  constexpr Row Note(const char* words) const {
    Row row = *this;
    row.note = words;
    return row;
  }
  // Its values are called by the constants that begin so, or with one of these words when there is
  // a space between; of those that stand in the braces of `in` (a structure or an enumeration) when
  // that is given.
  constexpr Row Enum(const char* words, const char* in = nullptr) const {
    Row row = *this;
    row.prefix = words;
    row.scope = in;
    row.naming = Naming::kEnum;
    return row;
  }
  // All but the constants that begin so.
  constexpr Row Except(const char* words) const {
    Row row = *this;
    row.except = words;
    return row;
  }
  constexpr Row Flags(const char* words) const {
    Row row = Enum(words);
    row.naming = Naming::kFlags;
    return row;
  }
  constexpr Row UntilReplaced() const {
    Row row = *this;
    row.lifetime = Lifetime::kUntilReplaced;
    return row;
  }
  // Not a pointer but the end of the structure itself, which is as long as the count says.
  constexpr Row Trailing() const {
    Row row = *this;
    row.is_trailing = true;
    return row;
  }
  // The same bytes have another meaning after the call, or before it.
  constexpr Row OnlyBefore() const {
    Row row = *this;
    row.phase = Phase::kBefore;
    return row;
  }
  constexpr Row OnlyAfter() const {
    Row row = *this;
    row.phase = Phase::kAfter;
    return row;
  }
  constexpr Row AddressBits(std::uint64_t bits) const {
    Row row = *this;
    row.address_bits = bits;
    return row;
  }
  // Of such a register: another address that leads nowhere.
  constexpr Row SecondNull(std::uint64_t address) const {
    Row row = *this;
    row.second_null = address;
    return row;
  }
  // Of a register: only its low bits are the number, since Xen takes it as an int, say.
  constexpr Row LowBits(unsigned bits) const {
    Row row = *this;
    row.number_bits = (std::uint64_t{1} << bits) - 1;
    return row;
  }
  constexpr Row Of(const char* type) const {
    Row row = *this;
    row.of = type;
    return row;
  }
};

constexpr Row In(const char* field, Count room = {}) {
  return {.field = field, .direction = Direction::kIn, .room = room};
}
constexpr Row Out(const char* field, Count room = {}) {
  return {.field = field, .direction = Direction::kOut, .room = room};
}
constexpr Row InOut(const char* field, Count room = {}) {
  return {.field = field, .direction = Direction::kInOut, .room = room};
}
constexpr Row Ignored(const char* field) {
  return {.field = field, .direction = Direction::kIgnored};
}
// Must be zero, or the call is refused.
constexpr Row Zero(const char* field) { return In(field).Note("must be zero"); }
// Another member of a union, of the same size, for the bytes that `field` has a row for.
constexpr Row Overlay(const char* other, const char* field) {
  Row row = Ignored(other);
  row.overlays = field;
  return row;
}

// `field` has one of the values; or, of a field of flags, has one of the bits in the first value.
// `is_not` negates it.
struct Condition {
  static constexpr unsigned kMaxValues = 16;

  const char* field = nullptr;
  std::int64_t values[kMaxValues] = {};
  unsigned count = 0;
  bool is_flags = false;
  bool is_not = false;

  constexpr bool Holds(std::int64_t value) const {
    if (is_flags) return ((value & values[0]) != 0) != is_not;
    for (unsigned i = 0; i < count; ++i) {
      if (values[i] == value) return !is_not;
    }
    return is_not;
  }
};

// When a case's rows hold; with And(…), when two discriminators say so.
struct When {
  Condition first = {};
  Condition second = {};

  constexpr When() = default;
  template <class... Values>
  constexpr explicit When(const char* field, Values... values)
      : first{field, {static_cast<std::int64_t>(values)...}, sizeof...(Values)} {
    static_assert(sizeof...(Values) <= Condition::kMaxValues);
  }
  template <class... Values>
  constexpr When And(const char* field, Values... values) const {
    When both = *this;
    both.second = When(field, values...).first;
    return both;
  }
};

constexpr When WhenFlag(const char* field, std::uint64_t bits) {
  When when(field, bits);
  when.first.is_flags = true;
  return when;
}

constexpr When UnlessFlag(const char* field, std::uint64_t bits) {
  When when = WhenFlag(field, bits);
  when.first.is_not = true;
  return when;
}
template <class... Values>
constexpr When Unless(const char* field, Values... values) {
  When when(field, values...);
  when.first.is_not = true;
  return when;
}

struct Case {
  When when;
  std::initializer_list<Row> rows;
  Versions versions = {};
};

// A structure that pointers stand in, wherever it is met: embedded in another (a bitmap), or as the
// element of an array. Rows of an embedded one take their direction from the row that embeds it.
struct RecordSpec {
  const char* type;
  const char* about;
  std::initializer_list<Row> rows;
  std::initializer_list<Case> cases = {};
};

struct OpSpec {
  std::uint64_t number;
  const char* name;
  // The member of the hypercall's structure that belongs to this op ("u.getdomaininfo"); or, when
  // the op number travels in a register, the type of the structure. nullptr: there is none.
  const char* argument;
  const char* about;
  std::initializer_list<Row> rows = {};  // fields of the argument
  std::initializer_list<Case> cases = {};
  std::initializer_list<Row> outer = {};  // fields around it, or registers, that differ from the
                                          // hypercall's own rows for them
  // Of dm_op: what the buffers after the first one hold. They are as long as the list says.
  std::initializer_list<Row> buffers = {};
  const char* returns = nullptr;  // what a result that is not negative says; nullptr: 0, nothing
  Versions versions = {};
};

struct HypercallSpec {
  std::uint64_t number;
  const char* name;
  const char* about;
  // The argument registers in order. One that is a pointer has a row in `registers`.
  std::initializer_list<const char*> arguments;
  std::initializer_list<Row> registers;
  OpPlace op_place;
  const char* op_field = nullptr;             // register or field with the op's number
  std::uint64_t op_mask = ~std::uint64_t{0};  // bits of it that are the number
  const char* pointer = nullptr;              // register that points at the op's argument
  const char* type = nullptr;  // of the structure that holds every op's argument, if one does
  std::initializer_list<Row> rows = {};  // its fields around them
  // The argument's interface version, and the constant that says which one a set of headers has.
  const char* version_field = nullptr;
  const char* version = nullptr;
  bool holds_calls = false;  // each element of the argument is a call of its own
  // The constants in the headers that are op numbers: they begin with `prefix`, not with one of
  // `others`, and stand inside the braces of structure `scope` when that is given.
  const char* prefix = nullptr;
  std::initializer_list<const char*> others = {};
  const char* scope = nullptr;
};

// A hypercall with its ops, each in a file of its own.
struct HypercallEntry {
  const HypercallSpec* spec;
  std::span<const OpSpec> ops;
};

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_MEANING_H_
