// From rows as they are written to parts with offsets.
//
// A path is looked for in the structure that the row is about, then in the one around it. What is
// not found is an error that names op and path; all errors are collected, so that one build shows
// them all.
#ifndef HCALL_SCHEMA_COMPILER_RESOLVE_H_
#define HCALL_SCHEMA_COMPILER_RESOLVE_H_

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

// nullptr: unknown.
const Type* FindType(std::string_view name);

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
  int element_record = -1;   // index into kRecordSpecs
  bool is_argument = false;  // points at the op's argument
  Amount room;
  Amount filled;
  const Row* row = nullptr;
  const char* null = nullptr;

  bool is_pointer() const { return element != nullptr && !row->is_trailing; }
};

// What discriminators can say, when they are read before the call.
struct ResolvedVariant {
  ResolvedTest tests[2];
};

struct ResolvedOp {
  const HypercallSpec* hypercall = nullptr;
  const OpSpec* spec = nullptr;
  const Type* argument = nullptr;  // nullptr: none
  const Type* own = nullptr;
  std::uint32_t own_offset = 0;
  Direction direction = Direction::kIn;
  std::vector<ResolvedPart> register_parts;
  std::vector<ResolvedPart> argument_parts;
  std::vector<ResolvedPart> buffer_parts;
  std::vector<ResolvedVariant> variants;

  std::string name() const { return std::string(hypercall->name) + "." + spec->name; }
};

struct ResolvedRecord {
  const RecordSpec* spec = nullptr;
  const Type* type = nullptr;
  std::vector<ResolvedPart> parts;
  std::vector<ResolvedVariant> variants;
};

struct ResolvedHypercall {
  const HypercallSpec* spec = nullptr;
  const Type* type = nullptr;
  Ref op_field;
  Ref version_field;
  int pointer = -1;
  std::vector<ResolvedOp> ops;
};

struct ResolvedTable {
  std::vector<ResolvedRecord> records;
  std::vector<ResolvedHypercall> hypercalls;
};

ResolvedTable Resolve(Errors& errors);

}  // namespace xencomm::schema::compiler

#endif  // HCALL_SCHEMA_COMPILER_RESOLVE_H_
