// The table as a whole: every hypercall against each set of headers that has a version of its own,
// and what comes out the same for neighbouring versions made one.
#include <algorithm>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>

#include "hcall/schema/compiler/resolve.h"
#include "hcall/schema/generated/constants.h"
#include "hcall/schema/generated/layout.h"
#include "hcall/schema/generated/removed.h"
#include "hcall/schema/hypercalls.h"

namespace xencomm::schema::compiler {
namespace {

// The value of a constant in one set of headers.
std::optional<std::uint32_t> Value(std::string_view name, std::size_t headers) {
  for (const Constant& constant : kConstants) {
    if (name == constant.name && (constant.headers >> headers & 1) != 0) {
      return static_cast<std::uint32_t>(constant.value);
    }
  }
  return std::nullopt;
}

// Every version of the hypercall that there are headers for, each from the first set that has it. A
// hypercall without versions is the installed headers' alone.
std::vector<Edition> EditionsOf(const HypercallSpec& spec, Errors& errors) {
  if (spec.version == nullptr) return {Edition{}};
  std::vector<Edition> editions;
  for (std::size_t i = 0; i < std::size(layout::kHeaderSets); ++i) {
    const std::optional<std::uint32_t> version = Value(spec.version, i);
    if (!version.has_value()) {
      errors.Add(spec.name, std::string("no constant is called ") + spec.version);
      continue;
    }
    const bool is_known = std::any_of(editions.begin(), editions.end(), [&](const Edition& each) {
      return each.version == *version;
    });
    if (!is_known) editions.push_back({i, *version});
  }
  std::sort(editions.begin(), editions.end(),
            [](const Edition& a, const Edition& b) { return a.version < b.version; });
  return editions;
}

// The forms that an op has had, one for each run of versions in which it is the same.
std::vector<ResolvedOp> ResolveForms(Errors& errors, ResolvedTable& table,
                                     const ResolvedHypercall& hypercall, const OpSpec& spec) {
  std::vector<ResolvedOp> forms;
  bool is_next = false;  // to the version before
  for (const Edition& edition : hypercall.editions) {
    if (!spec.versions.Have(edition.version)) {
      is_next = false;
      continue;
    }
    ResolvedOp op = ResolveOp({errors, table.records, edition}, *hypercall.spec, spec);
    if (is_next && forms.back().IsSame(op)) {
      // Types of the installed headers are those that C++ knows.
      if (edition.headers == 0) {
        op.first_version = forms.back().first_version;
        op.headers |= forms.back().headers;
        forms.back() = op;
      } else {
        forms.back().last_version = edition.version;
        forms.back().headers |= edition.bit();
      }
    } else {
      forms.push_back(op);
    }
    is_next = true;
  }
  return forms;
}

void ResolveShape(Errors& errors, ResolvedHypercall& hypercall) {
  const HypercallSpec& spec = *hypercall.spec;
  auto find_register = [&](std::string_view name) {
    const auto place = std::find(spec.arguments.begin(), spec.arguments.end(), name);
    if (place == spec.arguments.end()) {
      errors.Add(spec.name, "no register is called " + std::string(name));
    }
    return static_cast<std::uint32_t>(place - spec.arguments.begin());
  };
  if (spec.pointer != nullptr) hypercall.pointer = static_cast<int>(find_register(spec.pointer));
  if (spec.op_place == OpPlace::kRegister)
    hypercall.op_field = {find_register(spec.op_field) * 8, 8};
  if (spec.type == nullptr) return;
  // What the versions are told apart by has to be found without knowing the version.
  for (const Edition& edition : hypercall.editions) {
    const Type* const type = FindType(spec.type, edition.headers);
    if (type == nullptr) {
      errors.Add(spec.name, std::string("no type is called ") + spec.type);
      continue;
    }
    if (type->size > kMaxRecordSize) {
      errors.Add(spec.name, "holds its op's number and is larger than kMaxRecordSize");
    }
    auto find_field = [&](const char* name) {
      if (name == nullptr) return Ref{};
      const Place place = Locate(*type, name);
      if (place.field == nullptr) {
        errors.Add(spec.name, std::string("struct ") + spec.type + " has no field " + name);
        return Ref{};
      }
      return Ref{place.offset, place.field->size};
    };
    const Ref op_field =
        spec.op_place == OpPlace::kRegister ? hypercall.op_field : find_field(spec.op_field);
    const Ref version_field = find_field(spec.version_field);
    const bool is_first = hypercall.type == nullptr;
    if (!is_first &&
        (type->size != hypercall.type->size || op_field.offset != hypercall.op_field.offset ||
         version_field.offset != hypercall.version_field.offset)) {
      errors.Add(spec.name, std::string(spec.type) +
                                " has another size, or its version at another "
                                "place, in version " +
                                std::to_string(edition.version));
    }
    if (is_first || edition.headers == 0) hypercall.type = type;
    hypercall.op_field = op_field;
    hypercall.version_field = version_field;
  }
}

}  // namespace

std::vector<const RemovedConstant*> RemovedOps(const ResolvedHypercall& hypercall) {
  std::vector<const RemovedConstant*> removed;
  const HypercallSpec& spec = *hypercall.spec;
  if (spec.prefix == nullptr) return removed;
  for (const RemovedConstant& each : kRemovedConstants) {
    if ((each.headers & Edition{}.bit()) == 0) continue;
    if (std::string_view(each.name).starts_with(spec.prefix)) removed.push_back(&each);
  }
  return removed;
}

ResolvedTable Resolve(Errors& errors) {
  ResolvedTable table;
  for (const HypercallEntry& entry : kHypercallEntries) {
    ResolvedHypercall hypercall;
    hypercall.spec = entry.spec;
    hypercall.editions = EditionsOf(*entry.spec, errors);
    for (const Edition& edition : hypercall.editions) {
      if (edition.headers == 0) hypercall.version = edition.version;
    }
    ResolveShape(errors, hypercall);
    for (const OpSpec& spec : entry.ops) {
      for (ResolvedOp& op : ResolveForms(errors, table, hypercall, spec)) {
        hypercall.ops.push_back(op);
      }
    }
    table.hypercalls.push_back(hypercall);
  }

  auto check_size = [&](const std::string& name, const Type* type,
                        const std::vector<ResolvedPart>& parts) {
    if (parts.size() > kMaxParts) errors.Add(name, "has more rows than kMaxParts");
    bool has_pointers = false;
    for (const ResolvedPart& part : parts) has_pointers |= part.is_pointer();
    if (has_pointers && type != nullptr && type->size > kMaxRecordSize) {
      errors.Add(name, "holds pointers and is larger than kMaxRecordSize");
    }
  };
  for (const ResolvedHypercall& hypercall : table.hypercalls) {
    for (const ResolvedOp& op : hypercall.ops) {
      check_size(op.name(), op.argument, op.argument_parts);
    }
  }
  for (const ResolvedRecord& record : table.records) {
    check_size(record.spec->type, record.type, record.parts);
  }
  for (const RecordSpec& spec : kRecordSpecs) {
    if (FindType(spec.type, 0) == nullptr) errors.Add(spec.type, "no type is called so");
  }
  return table;
}

bool ResolvedPart::IsSame(const ResolvedPart& other) const {
  auto same_ref = [](Ref a, Ref b) { return a.offset == b.offset && a.size == b.size; };
  auto same_amount = [&](const Amount& a, const Amount& b) {
    return a.kind == b.kind && same_ref(a.a, b.a) && same_ref(a.b, b.b) && a.scale == b.scale &&
           a.per == b.per && a.at == b.at && a.most == b.most && a.least == b.least &&
           a.more == b.more;
  };
  auto same_test = [&](const ResolvedTest& a, const ResolvedTest& b) {
    return a.condition == b.condition && same_ref(a.field, b.field);
  };
  auto same_field = [](const Field* a, const Field* b) {
    if (a == nullptr || b == nullptr) return a == b;
    return a->count == b->count && a->is_array == b->is_array && a->bit_offset == b->bit_offset &&
           a->bit_width == b->bit_width;
  };
  // What points at the op's argument is compared as a whole: see ResolvedOp::IsSame.
  const bool same_element = is_argument ? other.is_argument : element == other.element;
  return path == other.path && same_field(place.field, other.place.field) &&
         offset == other.offset && size == other.size && type == other.type &&
         direction == other.direction && same_test(tests[0], other.tests[0]) &&
         same_test(tests[1], other.tests[1]) && same_element &&
         element_record == other.element_record && same_amount(room, other.room) &&
         same_amount(filled, other.filled) && row == other.row;
}

bool ResolvedVariant::IsSame(const ResolvedVariant& other) const {
  for (std::size_t i = 0; i < std::size(tests); ++i) {
    if (tests[i].condition != other.tests[i].condition) return false;
    if (tests[i].field.offset != other.tests[i].field.offset) return false;
  }
  return true;
}

// Whether its argument is laid out the same. The structure around the op's own part may differ in
// what belongs to other ops.
bool ResolvedOp::IsSame(const ResolvedOp& other) const {
  const bool is_whole = own == argument;
  if ((argument == nullptr) != (other.argument == nullptr)) return false;
  if (argument != nullptr && argument->size != other.argument->size) return false;
  if (is_whole != (other.own == other.argument) || (!is_whole && own != other.own)) return false;
  return own_offset == other.own_offset && AreSame(register_parts, other.register_parts) &&
         AreSame(argument_parts, other.argument_parts) &&
         AreSame(buffer_parts, other.buffer_parts) && AreSame(variants, other.variants);
}

}  // namespace xencomm::schema::compiler
