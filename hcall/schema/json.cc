#include "hcall/schema/json.h"

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hcall/schema/generated/constants.h"
#include "hcall/schema/generated/layout.h"
#include "hcall/schema/op.h"
#include "hcall/schema/words.h"

namespace xencomm::schema {
namespace {

// Writes JSON with two spaces of indentation a level. Begin and End pair up.
class Writer {
 public:
  void Begin(std::string_view key, char bracket) {
    Key(key);
    out_ += bracket;
    is_first_.push_back(true);
  }
  void End(char bracket) {
    const bool is_empty = is_first_.back();
    is_first_.pop_back();
    if (!is_empty) Break();
    out_ += bracket;
  }

  void Text(std::string_view key, const char* value) {
    if (value == nullptr || *value == '\0') return;
    Key(key);
    Quote(value);
  }
  template <class Number>
  void Value(std::string_view key, Number value) {
    Key(key);
    out_ += std::to_string(value);
  }
  void Flag(std::string_view key, bool value) {
    if (!value) return;
    Key(key);
    out_ += "true";
  }

  std::string str() && { return std::move(out_) + "\n"; }

 private:
  void Key(std::string_view key) {
    if (!is_first_.empty()) {
      if (!is_first_.back()) out_ += ',';
      is_first_.back() = false;
      Break();
    }
    if (key.empty()) return;
    Quote(key);
    out_ += ": ";
  }
  void Break() {
    out_ += '\n';
    out_.append(2 * is_first_.size(), ' ');
  }
  void Quote(std::string_view text) {
    out_ += '"';
    for (const char c : text) {
      if (c == '"' || c == '\\') out_ += '\\';
      out_ += c;
    }
    out_ += '"';
  }

  std::string out_;
  std::vector<bool> is_first_;
};

void WriteCount(Writer& json, std::string_view key, const Amount& amount, const Part& part,
                const Record& record, const Op* registers_of) {
  constexpr const char* kKinds[] = {"none",       "number", "range",    "text",
                                    "until_zero", "inside", "returned", "vcpus"};
  json.Begin(key, '{');
  json.Text("kind", kKinds[static_cast<int>(amount.kind)]);
  if (amount.kind == CountKind::kNumber || amount.kind == CountKind::kRange) {
    if (amount.a) json.Text("a", NameOf(amount.a, record, registers_of, &part).c_str());
    if (amount.b) json.Text("b", NameOf(amount.b, record, registers_of, &part).c_str());
  }
  if (amount.kind == CountKind::kNumber || amount.kind == CountKind::kInside) {
    json.Value("scale", amount.scale);
    json.Value("per", amount.per);
  }
  if (amount.kind == CountKind::kInside) json.Value("at", amount.at);
  if (amount.most != 0) json.Value("most", amount.most);
  if (amount.least != 0) json.Value("least", amount.least);
  if (amount.more != 0) json.Value("more", amount.more);
  json.Text("words", CountText(amount, part, record, registers_of).c_str());
  json.End('}');
}

void WritePart(Writer& json, const Part& part, const Record& record, const Op* registers_of) {
  json.Begin("", '{');
  json.Text("path", part.path);
  json.Value("offset", part.offset);
  json.Value("size", part.size);
  if (part.field != nullptr) {
    json.Text("spelling", part.field->spelling);
    if (part.field->is_array) json.Value("count", part.field->count);
    if (part.field->bit_width != 0) {
      json.Value("bit_offset", unsigned{part.field->bit_offset});
      json.Value("bit_width", unsigned{part.field->bit_width});
    }
  }
  json.Text("type", part.type->id);
  json.Text("direction", part.direction == Direction::kIgnored ? "ignored"
                         : part.direction == Direction::kInOut ? "in_out"
                                                               : Word(part.direction));
  if (part.phase != Phase::kBoth) {
    json.Text("phase", part.phase == Phase::kBefore ? "before" : "after");
  }
  if (part.tests[0].field) {
    json.Begin("when", '[');
    for (const Test& test : part.tests) {
      if (!test.field) continue;
      json.Begin("", '{');
      json.Text("field", NameOf(test.field, record).c_str());
      json.Begin("values", '[');
      for (const std::int64_t value : test.values) json.Value("", value);
      json.End(']');
      json.Flag("flags", test.is_flags);
      json.Flag("not", test.is_not);
      json.End('}');
    }
    json.End(']');
  }
  if (part.is_buffer()) {
    json.Begin("buffer", '{');
    json.Text("element", part.element->id);
    WriteCount(json, "room", part.room, part, record, registers_of);
    if (part.filled.kind != CountKind::kNone) {
      WriteCount(json, "filled", part.filled, part, record, registers_of);
    }
    json.Text("null", part.null);
    json.Text("lifetime", part.lifetime == Lifetime::kCall ? "call" : "until_replaced");
    json.Flag("trailing", part.is_trailing);
    if (part.address_bits != ~std::uint64_t{0}) json.Value("address_bits", part.address_bits);
    if (part.second_null != 0) json.Value("second_null", part.second_null);
    json.End('}');
  }
  if (part.number_bits != ~std::uint64_t{0}) json.Value("number_bits", part.number_bits);
  json.Text("note", part.note);
  if (part.prefix != nullptr) {
    json.Begin("constants", '{');
    json.Text("prefix", part.prefix);
    json.Text("scope", part.scope);
    json.Text("except", part.except);
    json.Text("kind", part.naming == Naming::kFlags ? "flags" : "enum");
    json.End('}');
  }
  json.End('}');
}

void WriteParts(Writer& json, std::string_view key, std::span<const Part> parts,
                const Record& record, const Op* registers_of) {
  json.Begin(key, '[');
  for (const Part& part : parts) WritePart(json, part, record, registers_of);
  json.End(']');
}

void WriteVersions(Writer& json, const Hypercall& hypercall, const Op* op) {
  json.Begin("versions", '[');
  for (const std::uint32_t version : hypercall.versions) {
    if (op == nullptr || op->IsIn(version)) json.Value("", version);
  }
  json.End(']');
}

void WriteOp(Writer& json, const Op& op) {
  json.Begin("", '{');
  json.Text("name", op.name);
  json.Value("number", op.number);
  const auto& versions = op.hypercall->versions;
  if (!std::all_of(versions.begin(), versions.end(), [&](auto each) { return op.IsIn(each); })) {
    WriteVersions(json, *op.hypercall, &op);
  }
  json.Text("about", op.about);
  json.Text("returns", op.returns);
  WriteParts(json, "registers", op.registers.parts, op.registers, &op);
  if (op.argument.type != nullptr) {
    json.Begin("argument", '{');
    json.Text("type", op.argument.type->id);
    json.Text("own_type", op.own_type->id);
    json.Value("own_offset", op.own_offset);
    json.Text("direction", op.direction == Direction::kInOut ? "in_out" : Word(op.direction));
    WriteParts(json, "fields", op.argument.parts, op.argument, nullptr);
    json.End('}');
  }
  if (!op.buffers.empty()) WriteParts(json, "buffers", op.buffers, op.argument, nullptr);
  json.End('}');
}

void WriteHypercall(Writer& json, const Hypercall& hypercall) {
  constexpr const char* kPlaces[] = {"none", "register", "argument", "first_buffer"};
  json.Begin("", '{');
  json.Text("name", hypercall.name);
  json.Value("number", hypercall.number);
  json.Text("about", hypercall.about);
  json.Begin("registers", '[');
  for (const char* name : hypercall.registers) json.Text("", name);
  json.End(']');
  json.Text("op_place", kPlaces[static_cast<int>(hypercall.op_place)]);
  if (hypercall.op_mask != ~std::uint64_t{0}) json.Value("op_mask", hypercall.op_mask);
  if (!hypercall.versions.empty()) WriteVersions(json, hypercall, nullptr);
  json.Flag("holds_calls", hypercall.holds_calls);
  json.Begin("ops", '[');
  for (const Op& op : hypercall.ops) WriteOp(json, op);
  json.End(']');
  if (!hypercall.removed.empty()) {
    json.Begin("removed", '[');
    for (const RemovedOp& op : hypercall.removed) {
      json.Begin("", '{');
      json.Text("name", op.name);
      json.Value("number", op.number);
      json.Text("words", op.words);
      json.End('}');
    }
    json.End(']');
  }
  json.End('}');
}

void WriteType(Writer& json, const Type& type) {
  json.Begin(type.id, '{');
  json.Text("name", type.name);
  json.Text("header", type.header);
  json.Text("kind", Word(type.kind));
  json.Value("size", type.size);
  json.Value("alignment", type.alignment);
  if (type.element != nullptr) json.Text("element", type.element->id);
  if (type.is_record()) {
    json.Begin("fields", '[');
    for (const Field& field : type.members()) {
      json.Begin("", '{');
      json.Text("name", field.name);
      json.Text("spelling", field.spelling);
      json.Value("offset", field.offset);
      json.Value("size", field.size);
      if (field.is_array) json.Value("count", field.count);
      if (field.bit_width != 0) {
        json.Value("bit_offset", unsigned{field.bit_offset});
        json.Value("bit_width", unsigned{field.bit_width});
      }
      json.Text("type", field.type->id);
      json.End('}');
    }
    json.End(']');
  }
  json.End('}');
}

// Each type after those that it needs, once.
void WriteTypeTree(Writer& json, const Type& type, std::vector<const Type*>& done) {
  for (const Type* each : done) {
    if (each == &type) return;
  }
  done.push_back(&type);
  if (type.element != nullptr) WriteTypeTree(json, *type.element, done);
  for (const Field& field : type.members()) WriteTypeTree(json, *field.type, done);
  WriteType(json, type);
}

// Names of sets of headers; the installed one has none.
void WriteHeaders(Writer& json, std::uint32_t bits) {
  json.Begin("headers", '[');
  for (std::size_t i = 0; i < std::size(layout::kHeaderSets); ++i) {
    const char* const name = layout::kHeaderSets[i].name;
    if ((bits >> i & 1) != 0) json.Text("", *name != '\0' ? name : "installed");
  }
  json.End(']');
}

}  // namespace

std::string ExportJson() {
  Writer json;
  json.Begin("", '{');
  json.Begin("hypercalls", '[');
  for (const Hypercall& hypercall : Hypercalls()) WriteHypercall(json, hypercall);
  json.End(']');

  json.Begin("records", '{');
  std::vector<const Record*> records;
  for (const Hypercall& hypercall : Hypercalls()) {
    for (const Op& op : hypercall.ops) {
      for (const auto& parts : {op.registers.parts, op.argument.parts}) {
        for (const Part& part : parts) {
          const Record* record = part.element_record;
          if (record == nullptr || record == &op.argument) continue;
          if (std::find(records.begin(), records.end(), record) != records.end()) continue;
          records.push_back(record);
          WriteParts(json, record->type->id, record->parts, *record, nullptr);
        }
      }
    }
  }
  json.End('}');

  json.Begin("types", '{');
  std::vector<const Type*> done;
  for (const Type* type : layout::kScalars) WriteTypeTree(json, *type, done);
  for (const HeaderSet& headers : layout::kHeaderSets) {
    for (const Type* type : headers.types) WriteTypeTree(json, *type, done);
  }
  json.End('}');

  json.Begin("constants", '[');
  for (const Constant& constant : kConstants) {
    json.Begin("", '{');
    json.Text("name", constant.name);
    json.Value("value", constant.value);
    json.Text("header", constant.header);
    json.Text("scope", constant.scope);
    if (std::size(layout::kHeaderSets) > 1) WriteHeaders(json, constant.headers);
    json.End('}');
  }
  json.End(']');
  json.End('}');
  return std::move(json).str();
}

}  // namespace xencomm::schema
