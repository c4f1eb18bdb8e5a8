// Words: the names and the prose of the op table, for people and for programs that print.
//
// Hosted. Everything that the table of facts (op.h) has an entry for has its words here.
#ifndef HCALL_SCHEMA_WORDS_H_
#define HCALL_SCHEMA_WORDS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "hcall/schema/op.h"

namespace xencomm::schema {

// How a number's values are called: by the constants that begin with a prefix.
enum class Naming : std::uint8_t { kNone, kEnum, kFlags };

// Why a value of one machine is not another's: what the machine is, or has come to (a size, a time,
// a version); or whose number it is, which the hypervisor or a toolstack has chosen there.
enum class Local : std::uint8_t {
  kNo,
  kMachine,
  kDomain,
  kFrame,    // of the machine's memory, or of a guest's
  kAddress,  // of memory: a frame's, and 12 bits
  kPort,     // of a domain's event channel
  kOwnPort,  // of the caller's
  kHandle,   // of a grant's mapping
  kCpupool,
  kPirq,    // of a domain's
  kServer,  // that emulates devices for a domain
  kView,    // of a domain's memory
};

// One member of a structure or a union. A member without a name is an unnamed structure or union,
// whose own members belong to the scope around it.
struct Member {
  const char* name;
  const char* spelling;  // the type as the header writes it: "uint64_aligned_t", "domid_t"
  std::uint32_t offset;  // bytes from the start of the structure that holds it
  std::uint32_t size;    // bytes of all elements
  std::uint32_t count;   // elements of an array, 1 otherwise; 0: as many as the structure is long
  Index type_index;      // of one element
  bool is_array;
  std::uint8_t bit_offset;  // of a bit-field in its storage, counted from the lowest bit
  std::uint8_t bit_width;   // 0: not a bit-field

  const Type& type() const { return facts::kTypes[type_index]; }
};

struct TypeWords {
  const char* id;      // of one type only: "xen_domctl.u", "xen_domctl_createdomain@4.19"
  const char* name;    // "xen_domctl_max_mem", "XEN_GUEST_HANDLE_64(uint8)", "uint32_t"
  const char* header;  // that declares it, as in "xen/domctl.h"; scalars have none
  std::uint32_t alignment;
  Index element_index;  // of a handle: what it points at
  Index first_member;
  std::uint16_t member_count;
  bool is_const;  // of a handle: to const, in the header's own words

  const Type* element() const { return EntryOf(facts::kTypes, element_index); }
};

struct PartWords {
  const char* path;    // from the op's own structure: "cpumap.bitmap"
  const char* note;    // or nullptr
  const char* null;    // what a null pointer means; nullptr: it is not allowed
  const char* prefix;  // of the constants that name its values; several: with spaces
  const char* scope;   // that they are declared in; nullptr: any
  const char* except;  // what others begin with; nullptr: there are none
  Naming naming;
  Local local;
  bool is_made;              // the call gives the thing its number
  bool is_or_next;           // it names the first one from there on
  std::uint64_t local_bits;  // of the machine's flags; 0: all of it
  Index member_index;

  // nullptr: a register, or a buffer of a list.
  const Member* member() const;
};

struct OpWords {
  const char* name;
  const char* constant;  // "XEN_DOMCTL_createdomain"; nullptr: the hypercall has one op
  const char* about;
  const char* returns;  // what a result that is not negative says; nullptr: 0, nothing
  Local local;          // of the result
  bool is_made;
};

// A number that was an op's and is none any more, as the headers tell.
struct RemovedOp {
  std::uint64_t number;
  const char* name;
  const char* constant;
  const char* words;  // the header's: "Removed - use dmop"; may be empty
};

struct HypercallWords {
  const char* name;
  const char* about;
  Index first_register;
  Index first_removed;
  std::uint16_t removed_count;
};

// A macro or an enumerator with an integer value.
struct Constant {
  const char* name;
  std::int64_t value;
  const char* header;
  const char* scope;  // the structure or enumeration inside whose braces it stands, or ""
  Releases releases;  // that have it so
};

// In generated/op_table_words.cc, beside the arrays of the same names in op.h.
namespace words {
extern const TypeWords kTypeWords[];
extern const Member kMembers[];
extern const PartWords kPartWords[];
extern const char* const kAbout[];
extern const OpWords kOpWords[];
extern const HypercallWords kHypercallWords[];
extern const char* const kRegisterNames[];
extern const RemovedOp kRemovedOps[];
extern const Constant kConstants[];
extern const std::size_t kConstantCount;
extern const char kJson[];
}  // namespace words

// Of an entry of the table itself, not of a copy.
inline const TypeWords& WordsOf(const Type& type) {
  return words::kTypeWords[&type - facts::kTypes];
}
inline const PartWords& WordsOf(const Part& part) {
  return words::kPartWords[&part - facts::kParts];
}
inline const OpWords& WordsOf(const Op& op) { return words::kOpWords[&op - facts::kOps]; }
inline const HypercallWords& WordsOf(const Hypercall& hypercall) {
  return words::kHypercallWords[&hypercall - facts::kHypercalls];
}
// What a structure with rows of its own is for.
inline const char* AboutOf(const Record& record) {
  return words::kAbout[&record - facts::kRecords];
}
inline std::span<const Member> MembersOf(const Type& type) {
  return {words::kMembers + WordsOf(type).first_member, WordsOf(type).member_count};
}
inline std::span<const char* const> RegisterNames(const Hypercall& hypercall) {
  return {words::kRegisterNames + WordsOf(hypercall).first_register, hypercall.register_count};
}
inline std::span<const RemovedOp> RemovedOps(const Hypercall& hypercall) {
  return {words::kRemovedOps + WordsOf(hypercall).first_removed, WordsOf(hypercall).removed_count};
}
inline std::span<const Constant> Constants() { return {words::kConstants, words::kConstantCount}; }
inline const Member* PartWords::member() const { return EntryOf(words::kMembers, member_index); }

// By name; nullptr: unknown. An op that none of the releases has is answered as another one has it.
const Hypercall* Find(std::string_view hypercall);
const Op* Find(std::string_view hypercall, std::string_view op, Releases releases = kBaseRelease);

// "4.20": the release as a set of one; none when the table does not know it.
std::optional<Releases> ParseRelease(std::string_view name);
// "4.17", "4.19 to 4.21"; "4.17 and 4.20" where there is a gap.
std::string ReleasesText(Releases releases);
// The newest of a set that is not empty.
Releases NewestOf(Releases releases);

// "in", "out", "in out", "".
const char* Word(Direction direction);

// Of a number by its type, as a header writes it, and by the type that a handle is for.
Local LocalOf(std::string_view spelling);
// Of a member of a structure without rows.
Local LocalOf(const Type& type, const Member& member);

// Of a constant that is one of those that name a part's values in some of the releases: how long
// the prefix is that they have in common. 0: it is none of them.
std::size_t PrefixOf(const PartWords& part, const Constant& constant,
                     Releases releases = kAllReleases);

}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_WORDS_H_
