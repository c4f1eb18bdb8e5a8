// Layout: what the compiler knows of Xen's structures, as data.
//
// The rows are generated from the public headers at build time (generate.py writes
// generated/layout.h); here are the words they are written in. Offsets and sizes are in bytes and
// those of x86-64's ABI, which all targets share.
#ifndef HCALL_SCHEMA_TYPE_H_
#define HCALL_SCHEMA_TYPE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace xencomm::schema {

enum class Kind : std::uint8_t {
  kVoid,
  kUnsigned,
  kSigned,
  kCharacter,  // char: one byte of text
  kStruct,
  kUnion,
  kHandle,  // XEN_GUEST_HANDLE, XEN_GUEST_HANDLE_64: a guest pointer of 64 bits
};

struct Type;

// One member of a structure or a union. A member without a name is an unnamed structure or union,
// whose own members belong to the scope around it.
struct Field {
  const char* name;
  const char* spelling;  // the type as the header writes it: "uint64_aligned_t", "domid_t"
  std::uint32_t offset;  // from the start of the structure that holds it
  std::uint32_t size;    // of all elements
  std::uint32_t count;   // elements of an array, 1 otherwise; 0 for a flexible array
  const Type* type;      // of one element
  bool is_array = false;
  std::uint8_t bit_offset = 0;  // of a bit-field in its storage, counted from the lowest bit
  std::uint8_t bit_width = 0;   // 0: not a bit-field
};

struct Type {
  const char* id;           // of one type only: "u_of_xen_domctl"
  const char* name;         // "xen_domctl_max_mem", "XEN_GUEST_HANDLE_64(uint8)", "uint32_t"
  const char* header = "";  // that declares it, as in "xen/domctl.h"; scalars have none
  Kind kind;
  std::uint32_t size;
  std::uint32_t alignment;
  const Field* fields = nullptr;  // of a structure or a union
  std::uint32_t field_count = 0;
  const Type* element = nullptr;  // of a handle: what it points at
  bool is_const = false;          // of a handle: to const, in the header's own words
  // Of a union: the member whose integers include those of all others, so that swapping it swaps
  // the union; nullptr when that depends on which member is meant.
  const Field* common = nullptr;

  constexpr std::span<const Field> members() const { return {fields, field_count}; }
  constexpr bool is_record() const { return kind == Kind::kStruct || kind == Kind::kUnion; }
};

// A macro or an enumerator with an integer value.
struct Constant {
  const char* name;
  std::int64_t value;
  const char* header;
  const char* scope;          // the structure or enumeration inside whose braces it stands, or ""
  std::uint32_t headers = 1;  // bit n: header set n has it
};

// Of a constant that begins with one of `prefixes` (words with a space between them): how long that
// one is. 0: with none of them, with `except`, or not declared in `scope`; both may be null.
constexpr std::size_t PrefixOf(const Constant& constant, std::string_view prefixes,
                               const char* scope, const char* except) {
  const std::string_view name = constant.name;
  if (scope != nullptr && constant.scope != std::string_view(scope)) return 0;
  if (except != nullptr && name.starts_with(except)) return 0;
  while (!prefixes.empty()) {
    const std::size_t end = std::min(prefixes.find(' '), prefixes.size());
    if (name.starts_with(prefixes.substr(0, end))) return end;
    prefixes.remove_prefix(std::min(end + 1, prefixes.size()));
  }
  return 0;
}

// A number that a comment in a header says is out of use.
struct RemovedConstant {
  const char* name;
  std::int64_t value;
  const char* words;  // the comment's own: "Removed", "Obsolete - use set_cpu_policy", or ""
  std::uint32_t headers;
};

// The headers of one release. The first set is the installed one, which has no name and which C++
// includes; others are data only.
struct HeaderSet {
  const char* name;
  std::span<const Type* const> types;  // that have a name of their own
};

namespace layout {

inline constexpr Type nothing = {
    .id = "nothing", .name = "void", .kind = Kind::kVoid, .size = 1, .alignment = 1};
inline constexpr Type character = {
    .id = "character", .name = "char", .kind = Kind::kCharacter, .size = 1, .alignment = 1};
inline constexpr Type u8 = {
    .id = "u8", .name = "uint8_t", .kind = Kind::kUnsigned, .size = 1, .alignment = 1};
inline constexpr Type u16 = {
    .id = "u16", .name = "uint16_t", .kind = Kind::kUnsigned, .size = 2, .alignment = 2};
inline constexpr Type u32 = {
    .id = "u32", .name = "uint32_t", .kind = Kind::kUnsigned, .size = 4, .alignment = 4};
inline constexpr Type u64 = {
    .id = "u64", .name = "uint64_t", .kind = Kind::kUnsigned, .size = 8, .alignment = 8};
inline constexpr Type s8 = {
    .id = "s8", .name = "int8_t", .kind = Kind::kSigned, .size = 1, .alignment = 1};
inline constexpr Type s16 = {
    .id = "s16", .name = "int16_t", .kind = Kind::kSigned, .size = 2, .alignment = 2};
inline constexpr Type s32 = {
    .id = "s32", .name = "int32_t", .kind = Kind::kSigned, .size = 4, .alignment = 4};
inline constexpr Type s64 = {
    .id = "s64", .name = "int64_t", .kind = Kind::kSigned, .size = 8, .alignment = 8};

inline constexpr const Type* kScalars[] = {&nothing, &character, &u8,  &u16, &u32,
                                           &u64,     &s8,        &s16, &s32, &s64};

}  // namespace layout
}  // namespace xencomm::schema

#endif  // HCALL_SCHEMA_TYPE_H_
