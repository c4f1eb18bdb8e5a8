#include "hcall/schema/compiler/resolve.h"

#include <algorithm>
#include <initializer_list>
#include <iterator>

#include "hcall/schema/generated/layout.h"
#include "hcall/schema/hypercalls.h"

namespace xencomm::schema::compiler {
namespace {

// Whether a row for a structure as a whole says enough: no pointer in it, and no union whose
// meaningful member only the op can name.
bool IsPlain(const Type& type) {
  if (type.kind == Kind::kHandle) return false;
  if (type.kind == Kind::kUnion && type.common == nullptr) return false;
  for (const Field& field : type.members()) {
    if (!IsPlain(*field.type)) return false;
  }
  return true;
}

// Where the paths of some rows are looked for.
class Scope {
 public:
  // Fields of `type`, which lies `base` bytes into the record; then those of `outer`, the record.
  Scope(const Context& context, std::string where, const Type& type, std::uint32_t base = 0,
        const Type* outer = nullptr)
      : context_(context), where_(std::move(where)), type_(&type), base_(base), outer_(outer) {}

  // Registers, by their names.
  Scope(const Context& context, std::string where, std::initializer_list<const char*> registers)
      : context_(context), where_(std::move(where)), registers_(registers) {}

  const Context& context() const { return context_; }
  bool Has(const Versions& versions) const { return versions.Have(context_.edition.version); }

  ResolvedPart Find(const Row& row) const {
    ResolvedPart part;
    part.path = row.field;
    part.row = &row;
    part.direction = row.direction;
    part.null = row.null;
    if (type_ == nullptr) {
      const Ref ref = Find(row.field);
      part.offset = ref.offset;
      part.size = ref.size;
      part.type = &layout::u64;
      return part;
    }
    part.place = Locate(*type_, row.field);
    if (part.place.field == nullptr) {
      Fail(std::string("struct ") + type_->name + " has no field " + row.field);
      part.type = &layout::u8;
      return part;
    }
    part.offset = base_ + part.place.offset;
    part.size = part.place.field->size;
    part.type = part.place.field->type;
    return part;
  }

  Ref Find(const char* path) const {
    if (path == nullptr) return {};
    std::uint32_t index = 0;
    for (const char* name : registers_) {
      if (std::string_view(name) == path) return {index * 8, 8};
      ++index;
    }
    for (const auto& [type, base] : {std::pair(type_, base_), std::pair(outer_, 0u)}) {
      if (type == nullptr) continue;
      const Place place = Locate(*type, path);
      if (place.field != nullptr) return {base + place.offset, place.field->size};
    }
    Fail(std::string("nothing is called ") + path);
    return {};
  }

  Amount Find(const Count& count) const {
    return {count.kind, Find(count.a), Find(count.b), count.scale, count.per,
            count.at,   count.most,    count.least,   count.more};
  }

  ResolvedTest Find(const Condition& condition) const {
    if (condition.field == nullptr) return {};
    return {Find(condition.field), &condition};
  }

  void Fail(const std::string& what) const { context_.errors.Add(where_, what); }

  Scope Inside(const ResolvedPart& part) const {
    return Scope(context_, where_ + ": " + part.path, *part.type, part.offset);
  }
  Scope Element(const ResolvedPart& part) const {
    return Scope(context_, where_ + ": " + part.path, *part.element);
  }

 private:
  const Context& context_;
  std::string where_;
  const Type* type_ = nullptr;
  std::uint32_t base_ = 0;
  const Type* outer_ = nullptr;
  std::initializer_list<const char*> registers_;
};

void AddRow(const Scope& scope, const Row& row, const When* when, std::vector<ResolvedPart>& parts);

const RecordSpec* FindRecordSpec(const Type& type) {
  for (const RecordSpec& each : kRecordSpecs) {
    if (std::string_view(type.name) == each.type) return &each;
  }
  return nullptr;
}

// The index of a structure's rows among the table's records, or -1.
int RecordIndex(const Context& context, const Type& type);

// The rows of a structure with pointers that is embedded in another one: a bitmap, a name.
void AddEmbedded(const Scope& scope, const ResolvedPart& outer, const RecordSpec& spec,
                 std::vector<ResolvedPart>& parts) {
  std::vector<ResolvedPart> inside;
  const Scope inner = scope.Inside(outer);
  for (const Row& row : spec.rows) AddRow(inner, row, nullptr, inside);
  for (ResolvedPart& part : inside) {
    part.path = outer.path + "." + part.path;
    if (part.is_pointer()) part.direction = outer.direction;
    if (outer.direction == Direction::kIgnored) part.direction = Direction::kIgnored;
    if (outer.null != nullptr && part.is_pointer()) part.null = outer.null;
    part.tests[0] = outer.tests[0];
    part.tests[1] = outer.tests[1];
    parts.push_back(part);
  }
}

void AddRow(const Scope& scope, const Row& row, const When* when,
            std::vector<ResolvedPart>& parts) {
  if (!scope.Has(row.versions)) return;
  ResolvedPart part = scope.Find(row);
  if (when != nullptr) {
    part.tests[0] = scope.Find(when->first);
    part.tests[1] = scope.Find(when->second);
  }
  const bool has_count = row.room.kind != CountKind::kNone;
  const RecordSpec* const embedded =
      part.type->is_record() && !has_count ? FindRecordSpec(*part.type) : nullptr;
  if (embedded != nullptr) return AddEmbedded(scope, part, *embedded, parts);

  const bool ignored = row.direction == Direction::kIgnored;
  if (!has_count) {
    if (part.type->kind == Kind::kHandle && !ignored) {
      scope.Fail(part.path + " is a pointer, its row needs a count");
    } else if (!IsPlain(*part.type) && !ignored) {
      scope.Fail(part.path +
                 " holds a pointer or a union of unlike members: each of its fields "
                 "needs a row");
    }
    return parts.push_back(part);
  }
  part.element = row.of != nullptr ? FindType(row.of, scope.context().edition.headers)
                 : row.is_trailing ? part.type
                                   : part.type->element;
  if (part.element == nullptr) {
    scope.Fail(part.path + (row.of != nullptr ? std::string(": no type is called ") + row.of
                                              : " is no pointer, but has a count"));
    return parts.push_back(part);
  }
  part.element_record = RecordIndex(scope.context(), *part.element);
  // A list that ends with a zero names a field of its elements.
  part.room = row.room.kind == CountKind::kUntilZero ? scope.Element(part).Find(row.room)
                                                     : scope.Find(row.room);
  part.filled = scope.Find(row.filled);
  parts.push_back(part);
}

bool Mentions(std::initializer_list<Row> rows, std::string_view field) {
  for (const Row& row : rows) {
    if (field == row.field) return true;
  }
  return false;
}

template <class Spec>
void AddRows(const Scope& scope, const Spec& spec, std::vector<ResolvedPart>& parts) {
  for (const Row& row : spec.rows) AddRow(scope, row, nullptr, parts);
  for (const Case& each : spec.cases) {
    if (!scope.Has(each.versions)) continue;
    for (const Row& row : each.rows) AddRow(scope, row, &each.when, parts);
  }
}

// Whether a field is a discriminator that the caller sets: not one that the hypervisor answers.
bool IsGiven(Ref field, const std::vector<ResolvedPart>& parts) {
  for (const ResolvedPart& part : parts) {
    if (part.offset == field.offset && part.direction == Direction::kOut) return false;
  }
  return true;
}

// The cases that tell what an op is. Those of flags, and those for all other values, tell nothing.
template <class Spec>
std::vector<ResolvedVariant> Variants(const Scope& scope, const Spec& spec,
                                      const std::vector<ResolvedPart>& parts) {
  std::vector<ResolvedVariant> variants;
  for (const Case& each : spec.cases) {
    if (each.when.first.is_flags || each.when.first.is_not || !scope.Has(each.versions)) continue;
    const ResolvedVariant variant = {{scope.Find(each.when.first), scope.Find(each.when.second)}};
    if (IsGiven(variant.tests[0].field, parts)) variants.push_back(variant);
  }
  // With a case for all other values, there is always one.
  for (const Case& each : spec.cases) {
    if (each.when.first.is_not && !each.when.first.is_flags && variants.size() == 1) return {};
  }
  return variants;
}

int RecordIndex(const Context& context, const Type& type) {
  ResolvedRecord record;
  record.spec = FindRecordSpec(type);
  if (record.spec == nullptr) return -1;
  record.type = &type;
  const Scope scope(context, record.spec->type, type);
  AddRows(scope, *record.spec, record.parts);
  record.variants = Variants(scope, *record.spec, record.parts);
  int index = 0;
  for (ResolvedRecord& each : context.records) {
    if (each.type == &type && AreSame(each.parts, record.parts) &&
        AreSame(each.variants, record.variants)) {
      each.headers |= context.edition.bit();
      return index;
    }
    ++index;
  }
  record.headers = context.edition.bit();
  context.records.push_back(record);
  return index;
}

void AddArgument(const Context& context, ResolvedOp& op) {
  Errors& errors = context.errors;
  const HypercallSpec& hypercall = *op.hypercall;
  const char* name = hypercall.type != nullptr ? hypercall.type : op.spec->argument;
  if (name == nullptr) return;
  op.argument = FindType(name, context.edition.headers);
  if (op.argument == nullptr)
    return errors.Add(op.name(), std::string("no type is called ") + name);
  op.own = op.argument;
  if (hypercall.type != nullptr && op.spec->argument != nullptr) {
    const Place place = Locate(*op.argument, op.spec->argument);
    if (place.field == nullptr) {
      return errors.Add(op.name(),
                        std::string("struct ") + name + " has no field " + op.spec->argument);
    }
    op.own = place.field->type;
    op.own_offset = place.offset;
  }
  if (hypercall.type != nullptr) {
    const Scope outer(context, op.name(), *op.argument);
    for (const Row& row : op.spec->outer) AddRow(outer, row, nullptr, op.argument_parts);
    for (const Row& row : hypercall.rows) {
      if (!Mentions(op.spec->outer, row.field)) AddRow(outer, row, nullptr, op.argument_parts);
    }
    std::stable_sort(
        op.argument_parts.begin(), op.argument_parts.end(),
        [](const ResolvedPart& a, const ResolvedPart& b) { return a.offset < b.offset; });
  }
  const Scope own(context, op.name(), *op.own, op.own_offset, op.argument);
  AddRows(own, *op.spec, op.argument_parts);
  op.variants = Variants(own, *op.spec, op.argument_parts);

  // Of the argument as a whole: read when any field is read, written when any is written. A pointer
  // in it is read, whatever is done to what it points at.
  bool in = false;
  bool out = false;
  for (const ResolvedPart& part : op.argument_parts) {
    if (part.row->is_trailing) continue;  // lies behind it
    const Direction direction = part.is_pointer() && part.direction != Direction::kIgnored
                                    ? Direction::kIn
                                    : part.direction;
    in |= direction == Direction::kIn || direction == Direction::kInOut;
    out |= direction == Direction::kOut || direction == Direction::kInOut;
  }
  op.direction = in && out ? Direction::kInOut : out ? Direction::kOut : Direction::kIn;
}

void AddRegister(const Scope& scope, const Row& row, ResolvedOp& op) {
  const HypercallSpec& hypercall = *op.hypercall;
  const bool is_argument = hypercall.op_place != OpPlace::kFirstBuffer &&
                           hypercall.pointer != nullptr && row.of == nullptr &&
                           std::string_view(hypercall.pointer) == row.field;
  if (!is_argument) return AddRow(scope, row, nullptr, op.register_parts);
  if (op.argument == nullptr) return;  // this op has none
  ResolvedPart part = scope.Find(row);
  part.element = op.argument;
  part.is_argument = true;
  part.direction = op.direction;
  part.room = row.room.kind == CountKind::kUntilZero ? scope.Element(part).Find(row.room)
                                                     : scope.Find(row.room);
  part.filled = scope.Find(row.filled);
  op.register_parts.push_back(part);
}

void AddRegisters(const Context& context, ResolvedOp& op) {
  const Scope scope(context, op.name(), op.hypercall->arguments);
  // Where ops share a structure, `outer` is about its fields; else about the registers.
  const bool has_own = op.hypercall->type == nullptr;
  if (has_own) {
    for (const Row& row : op.spec->outer) AddRegister(scope, row, op);
  }
  for (const Row& row : op.hypercall->registers) {
    if (!has_own || !Mentions(op.spec->outer, row.field)) AddRegister(scope, row, op);
  }
}

// What further buffers of a list hold: their rows count in fields of the argument.
void AddBuffers(const Context& context, ResolvedOp& op) {
  if (op.spec->buffers.size() == 0 || op.own == nullptr) return;
  const Scope scope(context, op.name(), *op.own, op.own_offset, op.argument);
  for (const Row& row : op.spec->buffers) {
    ResolvedPart part;
    part.path = row.field;
    part.row = &row;
    part.direction = row.direction;
    part.type = &layout::u64;
    part.element = row.of != nullptr ? FindType(row.of, context.edition.headers) : &layout::nothing;
    if (part.element == nullptr) {
      scope.Fail(part.path + ": no type is called " + row.of);
      continue;
    }
    part.room = scope.Find(row.room);
    part.filled = scope.Find(row.filled);
    op.buffer_parts.push_back(part);
  }
}

}  // namespace

void Errors::Add(const std::string& where, const std::string& what) {
  messages_.push_back(where + ": " + what);
}

Place Locate(const Type& record, std::string_view path) {
  const std::size_t dot = path.find('.');
  const std::string_view step = path.substr(0, dot);
  for (const Field& field : record.members()) {
    const std::string_view name = field.name;
    Place inner;
    if (name.empty()) {
      inner = Locate(*field.type, path);
    } else if (name == step && dot == std::string_view::npos) {
      return {&field, &record, field.offset};
    } else if (name == step) {
      inner = Locate(*field.type, path.substr(dot + 1));
    }
    if (inner.field != nullptr) return {inner.field, inner.container, field.offset + inner.offset};
  }
  return {};
}

const Type* FindType(std::string_view name, std::size_t headers) {
  for (const Type* type : layout::kHeaderSets[headers].types) {
    if (name == type->name) return type;
  }
  for (const Type* type : layout::kScalars) {
    if (name == type->name) return type;
  }
  return nullptr;
}

ResolvedOp ResolveOp(const Context& context, const HypercallSpec& hypercall, const OpSpec& spec) {
  ResolvedOp op;
  op.hypercall = &hypercall;
  op.spec = &spec;
  op.first_version = op.last_version = context.edition.version;
  op.headers = context.edition.bit();
  AddArgument(context, op);
  AddRegisters(context, op);
  AddBuffers(context, op);
  return op;
}

}  // namespace xencomm::schema::compiler
