// From rows as they are written to parts with offsets.
//
// A path is looked for in the structure that the row is about, then in the one around it. What is
// not found is an error that names op and path; all errors are collected, so that one build shows
// them all.
//
// A hypercall is resolved against each set of headers that has an interface version of its own. An
// op that comes out the same for neighbouring versions is one op of the table.
#ifndef HCALL_SCHEMA_COMPILER_RESOLVE_H_
#define HCALL_SCHEMA_COMPILER_RESOLVE_H_

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "hcall/schema/meaning.h"
#include "hcall/schema/op.h"
#include "hcall/schema/type.h"

namespace xencomm::schema::compiler {

class Errors {
 public:
  // `where` is an op or a structure.
  void Add(const std::string& where, const std::string& what);
  bool empty() const { return messages_.empty(); }
  const std::vector<std::string>& messages() const { return messages_; }

 private:
  std::vector<std::string> messages_;
};

// A field found by its path.
struct Place {
  const Field* field = nullptr;     // nullptr: not found
  const Type* container = nullptr;  // the structure or union that holds it directly
  std::uint32_t offset = 0;         // from the start of the record
};

// `path` in a structure, through unnamed members.
Place Locate(const Type& record, std::string_view path);

// Which set of headers something is resolved against, by its index in kHeaderSets, and as which
// interface version of the hypercall.
struct Edition {
  std::size_t headers = 0;
  std::uint32_t version = 0;

  constexpr std::uint32_t bit() const { return std::uint32_t{1} << headers; }
};

// nullptr: unknown.
const Type* FindType(std::string_view name, std::size_t headers);

// A discriminator as written, with the place of its field.
struct ResolvedTest {
  Ref field;
  const Condition* condition = nullptr;  // nullptr: always holds
};

// A Part that is still to be written out.
struct ResolvedPart {
  std::string path;
  Place place;  // no field: a register
  std::uint32_t offset = 0;
  std::uint32_t size = 0;
  const Type* type = nullptr;
  Direction direction = Direction::kIgnored;
  ResolvedTest tests[2];
  const Type* element = nullptr;
  int element_record = -1;   // index into the table's records
  bool is_argument = false;  // points at the op's argument
  Amount room;
  Amount filled;
  const Row* row = nullptr;
  const char* null = nullptr;

  bool is_pointer() const { return element != nullptr && !row->is_trailing; }
  bool IsSame(const ResolvedPart& other) const;
};

// What discriminators can say, when they are read before the call.
struct ResolvedVariant {
  ResolvedTest tests[2];

  bool IsSame(const ResolvedVariant& other) const;
};

struct ResolvedOp {
  const HypercallSpec* hypercall = nullptr;
  const OpSpec* spec = nullptr;
  std::uint32_t first_version = 0;
  std::uint32_t last_version = 0;
  std::uint32_t headers = 0;       // a bit for each set that it is from
  const Type* argument = nullptr;  // nullptr: none
  const Type* own = nullptr;
  std::uint32_t own_offset = 0;
  Direction direction = Direction::kIn;
  std::vector<ResolvedPart> register_parts;
  std::vector<ResolvedPart> argument_parts;
  std::vector<ResolvedPart> buffer_parts;
  std::vector<ResolvedVariant> variants;

  std::string name() const { return std::string(hypercall->name) + "." + spec->name; }
  bool IsSame(const ResolvedOp& other) const;
};

struct ResolvedRecord {
  const RecordSpec* spec = nullptr;
  const Type* type = nullptr;
  std::uint32_t headers = 0;
  std::vector<ResolvedPart> parts;
  std::vector<ResolvedVariant> variants;
};

struct ResolvedHypercall {
  const HypercallSpec* spec = nullptr;
  const Type* type = nullptr;
  Ref op_field;
  Ref version_field;
  int pointer = -1;
  std::vector<Edition> editions;  // ascending by version
  std::uint32_t version = 0;      // of the headers that C++ includes
  std::vector<ResolvedOp> ops;    // in the order of their rows, then of versions
};

struct ResolvedTable {
  std::vector<ResolvedRecord> records;
  std::vector<ResolvedHypercall> hypercalls;
};

// What all rows of one edition are resolved with.
struct Context {
  Errors& errors;
  std::vector<ResolvedRecord>& records;  // grows by those that rows lead to
  Edition edition;
};

ResolvedOp ResolveOp(const Context& context, const HypercallSpec& hypercall, const OpSpec& spec);

// All hypercalls, in all their versions.
ResolvedTable Resolve(Errors& errors);

// The ops that the installed headers call removed.
std::vector<const RemovedConstant*> RemovedOps(const ResolvedHypercall& hypercall);

// Of parts and variants; by what they say, not where they came from.
template <class T>
bool AreSame(const std::vector<T>& a, const std::vector<T>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const T& x, const T& y) { return x.IsSame(y); });
}

}  // namespace xencomm::schema::compiler

#endif  // HCALL_SCHEMA_COMPILER_RESOLVE_H_
