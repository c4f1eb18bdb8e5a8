#include "hcall/schema/compiler/check.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hcall/schema/generated/constants.h"
#include "hcall/schema/generated/layout.h"
#include "hcall/schema/hypercalls.h"

namespace xencomm::schema::compiler {
namespace {

bool IsSame(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](unsigned char x, unsigned char y) {
    return std::tolower(x) == std::tolower(y);
  });
}

std::string Join(const std::string& path, const char* name) {
  return path.empty() ? name : name[0] == '\0' ? path : path + "." + name;
}

// --- Ops -----------------------------------------------------------------------------------------

bool IsOpNumber(const HypercallSpec& hypercall, const Constant& constant) {
  const std::string_view name = constant.name;
  if (!name.starts_with(hypercall.prefix)) return false;
  if (std::string_view(constant.scope) != (hypercall.scope != nullptr ? hypercall.scope : "")) {
    return false;
  }
  return std::none_of(hypercall.others.begin(), hypercall.others.end(),
                      [&](std::string_view other) { return name.starts_with(other); });
}

bool IsIn(const ResolvedOp& op, const Edition& edition) {
  return op.first_version <= edition.version && edition.version <= op.last_version;
}

// " of version 0x16", where there are several.
std::string OfVersion(const ResolvedHypercall& hypercall, const Edition& edition) {
  if (hypercall.editions.size() == 1) return "";
  char text[32];
  std::snprintf(text, sizeof(text), " of version 0x%x", edition.version);
  return text;
}

// The constant of a row's name and number, in one of some sets of headers.
const char* NameOf(const HypercallSpec& hypercall, const OpSpec& op, std::uint32_t headers) {
  if (hypercall.prefix == nullptr) return nullptr;
  const std::size_t length = std::string_view(hypercall.prefix).size();
  for (const Constant& constant : kConstants) {
    if ((constant.headers & headers) != 0 && IsOpNumber(hypercall, constant) &&
        static_cast<std::uint64_t>(constant.value) == op.number &&
        IsSame(std::string_view(constant.name).substr(length), op.name)) {
      return constant.name;
    }
  }
  return nullptr;
}

// Each op number of the headers has a row, and each row has the name that goes with its number.
void CheckOps(const ResolvedHypercall& hypercall, const Edition& edition, Errors& errors) {
  const HypercallSpec& spec = *hypercall.spec;
  if (spec.prefix == nullptr) return;
  const std::string version = OfVersion(hypercall, edition);
  for (const Constant& constant : kConstants) {
    if ((constant.headers & edition.bit()) == 0 || !IsOpNumber(spec, constant)) continue;
    const bool has_row =
        std::any_of(hypercall.ops.begin(), hypercall.ops.end(), [&](const ResolvedOp& op) {
          return IsIn(op, edition) && op.spec->number == static_cast<std::uint64_t>(constant.value);
        });
    if (!has_row) {
      errors.Add(spec.name, std::string("the op ") + constant.name + " (" +
                                std::to_string(constant.value) + ", " + constant.header + ")" +
                                version + " has no row");
    }
  }
  std::set<std::uint64_t> numbers;
  for (const ResolvedOp& op : hypercall.ops) {
    if (!IsIn(op, edition)) continue;
    if (NameOf(spec, *op.spec, edition.bit()) == nullptr) {
      errors.Add(op.name(), "no constant " + std::string(spec.prefix) + op.spec->name + version +
                                " has the number " + std::to_string(op.spec->number));
    }
    if (!numbers.insert(op.spec->number).second) {
      errors.Add(op.name(),
                 "another row" + version + " has the number " + std::to_string(op.spec->number));
    }
  }
}

// --- Fields --------------------------------------------------------------------------------------

using Paths = std::set<std::string, std::less<>>;

// Each field of `root` has a row, itself or as a whole with the structure around it. `type` is what
// lies in it at `path`.
void CheckFields(const std::string& where, const Type& root, const Type& type,
                 const std::string& path, const Paths& paths, std::span<const Field* const> skip,
                 Errors& errors) {
  for (const Field& field : type.members()) {
    if (std::find(skip.begin(), skip.end(), &field) != skip.end()) continue;
    // In a union it only says how large the others may become.
    if (type.kind == Kind::kUnion && std::string_view(field.name) == "pad") continue;
    const std::string inner = Join(path, field.name);
    if (field.name[0] != '\0' && paths.contains(inner)) continue;
    if (field.type->is_record() && !field.is_array) {
      CheckFields(where, root, *field.type, inner, paths, skip, errors);
      continue;
    }
    errors.Add(where, std::string(root.name) + "." + inner + " (" + field.spelling + ", " +
                          type.header + ") has no meaning");
  }
}

Paths PathsOf(const std::vector<ResolvedPart>& parts) {
  Paths paths;
  for (const ResolvedPart& part : parts) paths.insert(part.path);
  return paths;
}

// The members of the hypercall's structure that belong to single ops: of xen_domctl, u.
std::vector<const Field*> SharedUnions(const ResolvedHypercall& hypercall, const Type& type) {
  std::vector<const Field*> fields;
  for (const ResolvedOp& op : hypercall.ops) {
    if (op.spec->argument == nullptr) continue;
    const std::string_view path = op.spec->argument;
    fields.push_back(Locate(type, path.substr(0, path.find('.'))).field);
  }
  return fields;
}

void CheckFields(const ResolvedHypercall& hypercall, Errors& errors) {
  for (const ResolvedOp& op : hypercall.ops) {
    if (op.argument == nullptr) continue;
    const Paths paths = PathsOf(op.argument_parts);
    if (hypercall.type != nullptr) {
      CheckFields(op.name(), *op.argument, *op.argument, "", paths,
                  SharedUnions(hypercall, *op.argument), errors);
      if (op.own == op.argument) continue;
    }
    CheckFields(op.name(), *op.own, *op.own, "", paths, {}, errors);
  }
}

// Each member of the shared union belongs to an op.
void CheckMembers(const ResolvedHypercall& hypercall, const Edition& edition, Errors& errors) {
  if (hypercall.type == nullptr) return;
  const Type* const type = FindType(hypercall.spec->type, edition.headers);
  const std::vector<const Field*> shared = SharedUnions(hypercall, *type);
  if (shared.empty() || shared[0] == nullptr) return;
  for (const Field& member : shared[0]->type->members()) {
    const bool has_op = std::any_of(
        hypercall.ops.begin(), hypercall.ops.end(),
        [&](const ResolvedOp& op) { return IsIn(op, edition) && op.own == member.type; });
    if (!has_op && std::string_view(member.name) != "pad") {
      errors.Add(hypercall.spec->name, std::string(shared[0]->type->name) + "." + member.name +
                                           OfVersion(hypercall, edition) + " belongs to no op");
    }
  }
}

// --- Pointers ------------------------------------------------------------------------------------

void Reach(const Type* type, std::set<const Type*>& reached) {
  if (type == nullptr || !reached.insert(type).second) return;
  for (const Field& field : type->members()) Reach(field.type, reached);
}

bool HasPointer(const Type& type) {
  if (type.kind == Kind::kHandle) return true;
  const auto members = type.members();
  return std::any_of(members.begin(), members.end(),
                     [](const Field& field) { return HasPointer(*field.type); });
}

// Each structure with a pointer in it is some op's.
void CheckPointers(const ResolvedTable& table, Errors& errors) {
  std::set<const Type*> reached;
  auto reach_elements = [&](const std::vector<ResolvedPart>& parts) {
    for (const ResolvedPart& part : parts) Reach(part.element, reached);
  };
  for (const ResolvedHypercall& hypercall : table.hypercalls) {
    for (const ResolvedOp& op : hypercall.ops) {
      Reach(op.argument, reached);
      reach_elements(op.register_parts);
      reach_elements(op.argument_parts);
    }
  }
  for (const ResolvedRecord& record : table.records) reach_elements(record.parts);
  for (const Type* type : layout::kTypes) {
    if (reached.contains(type)) continue;
    for (const Field& field : type->members()) {
      if (HasPointer(*field.type)) {
        errors.Add(type->header, std::string(type->name) + "." + field.name + " (" +
                                     field.spelling +
                                     ") is a pointer, and no op has a meaning "
                                     "for it");
      }
    }
  }
  // What an element points at is in its own rows.
  auto check_elements = [&](const std::string& name, const std::vector<ResolvedPart>& parts) {
    for (const ResolvedPart& part : parts) {
      if (part.element != nullptr && !part.is_argument && part.element_record == -1 &&
          HasPointer(*part.element)) {
        errors.Add(name, part.path + " leads to " + part.element->name +
                             ", which has pointers and needs rows in records.h");
      }
    }
  };
  for (const ResolvedRecord& record : table.records) {
    CheckFields(record.spec->type, *record.type, *record.type, "", PathsOf(record.parts), {},
                errors);
    check_elements(record.spec->type, record.parts);
  }
  for (const ResolvedHypercall& hypercall : table.hypercalls) {
    for (const ResolvedOp& op : hypercall.ops) {
      check_elements(op.name(), op.argument_parts);
      check_elements(op.name(), op.register_parts);
    }
  }
}

// --- Rows against each other ---------------------------------------------------------------------

// Whether two parts are never there together: a discriminator of both, and no value in common.
bool AreDisjoint(const ResolvedPart& a, const ResolvedPart& b) {
  if ((a.row->phase == Phase::kBefore && b.row->phase == Phase::kAfter) ||
      (a.row->phase == Phase::kAfter && b.row->phase == Phase::kBefore)) {
    return true;
  }
  for (const ResolvedTest& x : a.tests) {
    for (const ResolvedTest& y : b.tests) {
      if (x.condition == nullptr || y.condition == nullptr) continue;
      if (x.field.offset != y.field.offset) continue;
      if (x.condition->is_flags != y.condition->is_flags) continue;
      if (x.condition->is_flags) {
        const bool same_bits = x.condition->values[0] == y.condition->values[0];
        if (same_bits && x.condition->is_not != y.condition->is_not) return true;
        continue;
      }
      if (x.condition->is_not && y.condition->is_not) continue;
      if (x.condition->is_not) {
        const auto values = std::span(y.condition->values).first(y.condition->count);
        if (std::none_of(values.begin(), values.end(),
                         [&](std::int64_t value) { return x.condition->Holds(value); })) {
          return true;
        }
        continue;
      }
      const auto values = std::span(x.condition->values).first(x.condition->count);
      if (std::none_of(values.begin(), values.end(),
                       [&](std::int64_t value) { return y.condition->Holds(value); })) {
        return true;
      }
    }
  }
  return false;
}

void CheckOverlaps(const std::string& name, const std::vector<ResolvedPart>& parts,
                   Errors& errors) {
  for (auto a = parts.begin(); a != parts.end(); ++a) {
    if (a->row->overlays != nullptr || a->place.field == nullptr) continue;
    if (a->place.field->bit_width != 0) continue;  // neighbours share their storage
    for (auto b = a + 1; b != parts.end(); ++b) {
      if (b->row->overlays != nullptr || AreDisjoint(*a, *b)) continue;
      if (a->offset < b->offset + b->size && b->offset < a->offset + a->size) {
        errors.Add(name, a->path + " and " + b->path +
                             " have bytes in common, and nothing says which of them is meant");
      }
    }
  }
}

bool IsName(const Row& row, const Constant& constant, std::uint32_t headers) {
  return (constant.headers & headers) != 0 &&
         PrefixOf(constant, row.prefix, row.scope, row.except) != 0;
}

// A prefix names constants, and no two of them that an enumeration could not tell apart.
void CheckNames(const std::string& name, const std::vector<ResolvedPart>& parts,
                std::uint32_t headers, Errors& errors) {
  for (const ResolvedPart& part : parts) {
    if (part.row->prefix == nullptr) continue;
    std::map<std::int64_t, const Constant*> names;
    for (const Constant& constant : kConstants) {
      if (!IsName(*part.row, constant, headers)) continue;
      const auto [place, is_new] = names.try_emplace(constant.value, &constant);
      const bool at_once = (place->second->headers & constant.headers & headers) != 0;
      if (!is_new && at_once && part.row->naming == Naming::kEnum) {
        errors.Add(name, part.path + ": " + place->second->name + " and " + constant.name +
                             " have the same value");
      }
    }
    if (names.empty())
      errors.Add(name, part.path + ": no constant begins with " + part.row->prefix);
  }
}

}  // namespace

const char* ConstantOf(const ResolvedOp& op) { return NameOf(*op.hypercall, *op.spec, op.headers); }

void Check(const ResolvedTable& table, Errors& errors) {
  for (const ResolvedHypercall& hypercall : table.hypercalls) {
    for (const Edition& edition : hypercall.editions) {
      CheckOps(hypercall, edition, errors);
      CheckMembers(hypercall, edition, errors);
    }
    CheckFields(hypercall, errors);
    for (const ResolvedOp& op : hypercall.ops) {
      CheckOverlaps(op.name(), op.argument_parts, errors);
      CheckNames(op.name(), op.argument_parts, op.headers, errors);
      CheckNames(op.name(), op.register_parts, op.headers, errors);
    }
  }
  for (const ResolvedRecord& record : table.records) {
    CheckOverlaps(record.spec->type, record.parts, errors);
    CheckNames(record.spec->type, record.parts, record.headers, errors);
  }
  CheckPointers(table, errors);
}

}  // namespace xencomm::schema::compiler
