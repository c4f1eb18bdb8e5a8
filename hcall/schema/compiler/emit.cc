#include "hcall/schema/compiler/emit.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "hcall/schema/compiler/check.h"
#include "hcall/schema/compiler/literals.h"

namespace xencomm::schema::compiler {
namespace {

// The values that tests compare with, each list once.
class ValueLists {
 public:
  std::string NameOf(const Condition& condition) {
    const std::vector<std::int64_t> values(condition.values, condition.values + condition.count);
    const auto [place, is_new] = names_.try_emplace(values);
    if (is_new) {
      place->second = "kValues" + std::to_string(names_.size());
      out_ << "constexpr std::int64_t " << place->second << "[] = {";
      for (std::size_t i = 0; i < values.size(); ++i) out_ << (i == 0 ? "" : ", ") << values[i];
      out_ << "};\n";
    }
    return place->second;
  }
  std::string str() const { return out_.str(); }

 private:
  std::map<std::vector<std::int64_t>, std::string> names_;
  std::ostringstream out_;
};

std::string TestText(const ResolvedTest& test, ValueLists& values) {
  if (test.condition == nullptr) return "{}";
  std::ostringstream out;
  out << "{" << Text(test.field) << ", " << values.NameOf(*test.condition)
      << (test.condition->is_flags ? ", true" : ", false")
      << (test.condition->is_not ? ", true}" : "}");
  return out.str();
}

class TableWriter {
 public:
  explicit TableWriter(const ResolvedTable& table) : table_(table) {}

  std::string Write() {
    for (std::size_t i = 0; i < table_.records.size(); ++i) {
      const std::string name = "kRecord" + std::to_string(i);
      WriteParts(name + "Parts", table_.records[i].parts, table_.records[i].headers, nullptr);
      WriteVariants(name + "Variants", table_.records[i].variants);
    }
    for (std::size_t h = 0; h < table_.hypercalls.size(); ++h) WriteHypercall(h);
    std::ostringstream file;
    file << kNotice << "\n#include <cstdint>\n#include <span>\n#include <string_view>\n\n"
         << "#include \"hcall/schema/generated/layout.h\"\n#include \"hcall/schema/op.h\"\n\n"
         << "namespace xencomm::schema {\nnamespace {\n\n"
         << "extern const Hypercall kHypercalls[" << table_.hypercalls.size() << "];\n"
         << "extern const Record kRecords[" << table_.records.size() << "];\n";
    for (std::size_t h = 0; h < table_.hypercalls.size(); ++h) {
      file << "extern const Op kHypercall" << h << "Ops[" << table_.hypercalls[h].ops.size()
           << "];\n";
    }
    file << "\n"
         << values_.str() << "\n"
         << out_.str() << RecordArray() << HypercallArray() << "}  // namespace\n\n"
         << "std::span<const Hypercall> Hypercalls() { return kHypercalls; }\n"
         << "std::span<const std::uint8_t> HypercallsByNumber();\n"
         << "std::span<const std::uint8_t> HypercallsByNumber() { return kByNumber; }\n\n"
         << "}  // namespace xencomm::schema\n";
    return file.str();
  }

 private:
  // `argument` is the C++ name of the op's argument record, for the register that points at it.
  void WriteParts(const std::string& name, const std::vector<ResolvedPart>& parts,
                  std::uint32_t headers, const char* argument) {
    if (parts.empty()) return;
    std::ostringstream body;
    for (const ResolvedPart& part : parts) {
      if (part.row->overlays != nullptr) continue;
      body << "    {.path = " << Quoted(part.path.c_str()) << ", .field = ";
      if (part.place.field == nullptr) {
        body << "nullptr";
      } else {
        body << "&layout::" << part.place.container->id << "_fields["
             << part.place.field - part.place.container->fields << "]";
      }
      body << ", .offset = " << part.offset << ", .size = " << part.size
           << ", .type = " << Address(part.type) << ", .direction = " << Name(part.direction);
      if (part.tests[0].condition != nullptr) {
        body << ", .tests = {" << TestText(part.tests[0], values_) << ", "
             << TestText(part.tests[1], values_) << "}";
      }
      if (part.element != nullptr) {
        body << ", .element = " << Address(part.element);
        if (part.is_argument) {
          body << ", .element_record = " << argument;
        } else if (part.element_record != -1) {
          body << ", .element_record = &kRecords[" << part.element_record << "]";
        }
        body << ", .room = " << Text(part.room) << ", .filled = " << Text(part.filled);
        if (part.null != nullptr) body << ", .null = " << Quoted(part.null);
        if (part.row->lifetime == Lifetime::kUntilReplaced) {
          body << ", .lifetime = Lifetime::kUntilReplaced";
        }
        if (part.row->address_bits != ~std::uint64_t{0}) {
          body << ", .address_bits = " << part.row->address_bits << "u";
        }
        if (part.row->second_null != 0) body << ", .second_null = " << part.row->second_null;
        if (part.row->is_trailing) body << ", .is_trailing = true";
      }
      if (part.row->number_bits != ~std::uint64_t{0}) {
        body << ", .number_bits = " << part.row->number_bits << "u";
      }
      if (part.row->phase == Phase::kBefore) body << ", .phase = Phase::kBefore";
      if (part.row->phase == Phase::kAfter) body << ", .phase = Phase::kAfter";
      if (part.row->note != nullptr) body << ", .note = " << Quoted(part.row->note);
      if (part.row->prefix != nullptr) {
        body << ", .prefix = " << Quoted(part.row->prefix)
             << ", .scope = " << Quoted(part.row->scope)
             << ", .except = " << Quoted(part.row->except)
             << ", .naming = " << Name(part.row->naming);
        if (headers != 1) body << ", .headers = " << headers;
      }
      body << "},\n";
    }
    out_ << "constexpr Part " << name << "[] = {\n" << body.str() << "};\n";
  }

  void WriteVariants(const std::string& name, const std::vector<ResolvedVariant>& variants) {
    if (variants.empty()) return;
    std::ostringstream body;
    for (const ResolvedVariant& variant : variants) {
      body << "    {{" << TestText(variant.tests[0], values_) << ", "
           << TestText(variant.tests[1], values_) << "}},\n";
    }
    out_ << "constexpr Variant " << name << "[] = {\n" << body.str() << "};\n";
  }

  template <class T>
  static std::string Span(const std::vector<T>& parts, const std::string& name) {
    return parts.empty() ? "{}" : name;
  }

  static std::string RecordTail(const std::vector<ResolvedPart>& parts,
                                const std::vector<ResolvedVariant>& variants,
                                const std::string& name) {
    const bool has_pointers = std::any_of(parts.begin(), parts.end(), [](const ResolvedPart& part) {
      return part.element != nullptr && part.direction != Direction::kIgnored;
    });
    return ", .variants = " + Span(variants, name) +
           ", .has_pointers = " + (has_pointers ? "true" : "false");
  }

  void WriteHypercall(std::size_t h) {
    const ResolvedHypercall& hypercall = table_.hypercalls[h];
    const std::string prefix = "kHypercall" + std::to_string(h);
    std::ostringstream ops;
    for (std::size_t i = 0; i < hypercall.ops.size(); ++i) {
      const ResolvedOp& op = hypercall.ops[i];
      const std::string name = prefix + "Op" + std::to_string(i);
      out_ << "\n// " << op.name() << "\n";
      const std::uint32_t headers = op.headers;
      const std::string argument = "&" + prefix + "Ops[" + std::to_string(i) + "].argument";
      WriteParts(name + "Registers", op.register_parts, headers, argument.c_str());
      WriteParts(name + "Argument", op.argument_parts, headers, nullptr);
      WriteVariants(name + "Variants", op.variants);
      WriteParts(name + "Buffers", op.buffer_parts, headers, nullptr);
      ops << "    {.number = " << op.spec->number;
      if (hypercall.editions.size() > 1) {
        ops << ", .first_version = " << op.first_version << ", .last_version = " << op.last_version;
      }
      ops << ", .name = " << Quoted(op.spec->name) << ", .constant = " << Quoted(ConstantOf(op))
          << ", .about = " << Quoted(op.spec->about) << ", .returns = " << Quoted(op.spec->returns)
          << ",\n     .hypercall = &kHypercalls[" << h
          << "],\n     .registers = {.parts = " << Span(op.register_parts, name + "Registers")
          << "},\n     .argument = {.type = " << Address(op.argument)
          << ", .about = " << Quoted(op.spec->about)
          << ", .parts = " << Span(op.argument_parts, name + "Argument")
          << RecordTail(op.argument_parts, op.variants, name + "Variants")
          << "},\n     .own_offset = " << op.own_offset << ", .own_type = " << Address(op.own)
          << ", .direction = " << Name(op.direction)
          << ",\n     .buffers = " << Span(op.buffer_parts, name + "Buffers") << "},\n";
    }
    out_ << "\nconstexpr Op " << prefix << "Ops[] = {\n" << ops.str() << "};\n";
    if (hypercall.spec->arguments.size() != 0) {
      out_ << "constexpr const char* " << prefix << "Registers[] = {";
      for (const char* name : hypercall.spec->arguments) out_ << Quoted(name) << ", ";
      out_ << "};\n";
    }
    if (hypercall.spec->version != nullptr) {
      out_ << "constexpr std::uint32_t " << prefix << "Versions[] = {";
      for (const Edition& edition : hypercall.editions) out_ << edition.version << ", ";
      out_ << "};\n";
    }
    out_ << "constexpr std::uint16_t " << prefix << "ByNumber[] = {";
    for (const std::size_t i : ByNumber(hypercall.ops)) out_ << i << ", ";
    out_ << "};\n";
    const std::vector<const RemovedConstant*> removed = RemovedOps(hypercall);
    if (removed.empty()) return;
    const std::size_t length = std::string_view(hypercall.spec->prefix).size();
    out_ << "constexpr RemovedOp " << prefix << "Removed[] = {\n";
    for (const RemovedConstant* each : removed) {
      out_ << "    {" << each->value << ", " << Quoted(each->name + length) << ", "
           << Quoted(each->name) << ", " << Quoted(each->words) << "},\n";
    }
    out_ << "};\n";
  }

  // Of a register that is an int, less than all of it is looked at.
  static std::uint64_t OpMask(const HypercallSpec& spec) {
    if (spec.op_place != OpPlace::kRegister) return spec.op_mask;
    for (const Row& row : spec.registers) {
      if (std::string_view(row.field) == spec.op_field) return spec.op_mask & row.number_bits;
    }
    return spec.op_mask;
  }

  // Indices of ops, ascending by number; forms of one op ascend by version already.
  static std::vector<std::size_t> ByNumber(const std::vector<ResolvedOp>& ops) {
    std::vector<std::size_t> order(ops.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return ops[a].spec->number < ops[b].spec->number;
    });
    return order;
  }

  std::string RecordArray() {
    std::ostringstream out;
    out << "\nconstexpr Record kRecords[] = {\n";
    for (std::size_t i = 0; i < table_.records.size(); ++i) {
      out << "    {.type = " << Address(table_.records[i].type)
          << ", .about = " << Quoted(table_.records[i].spec->about) << ", .parts = kRecord" << i
          << "Parts"
          << RecordTail(table_.records[i].parts, table_.records[i].variants,
                        "kRecord" + std::to_string(i) + "Variants")
          << "},\n";
    }
    out << "};\n";
    return out.str();
  }

  std::string HypercallArray() {
    std::ostringstream out;
    out << "\nconstexpr Hypercall kHypercalls[] = {\n";
    for (std::size_t h = 0; h < table_.hypercalls.size(); ++h) {
      const ResolvedHypercall& hypercall = table_.hypercalls[h];
      const std::string prefix = "kHypercall" + std::to_string(h);
      out << "    {.number = " << hypercall.spec->number
          << ", .name = " << Quoted(hypercall.spec->name)
          << ", .about = " << Quoted(hypercall.spec->about) << ",\n     .registers = "
          << (hypercall.spec->arguments.size() == 0 ? "{}" : prefix + "Registers")
          << ", .ops = " << prefix << "Ops, .op_place = " << Name(hypercall.spec->op_place)
          << ",\n     .op_field = " << Text(hypercall.op_field)
          << ", .op_mask = " << OpMask(*hypercall.spec) << "u, .pointer = " << hypercall.pointer
          << ", .type = " << Address(hypercall.type)
          << ",\n     .version_field = " << Text(hypercall.version_field)
          << ", .versions = " << (hypercall.spec->version == nullptr ? "{}" : prefix + "Versions")
          << ", .version = " << hypercall.version
          << ", .holds_calls = " << (hypercall.spec->holds_calls ? "true" : "false")
          << ",\n     .by_number = " << prefix
          << "ByNumber, .removed = " << (RemovedOps(hypercall).empty() ? "{}" : prefix + "Removed")
          << "},\n";
    }
    out << "};\n\n" << NumberArray();
    return out.str();
  }

  // Of each hypercall number: 1 and its place in the table, or 0.
  std::string NumberArray() {
    std::vector<std::size_t> places;
    for (std::size_t h = 0; h < table_.hypercalls.size(); ++h) {
      const std::uint64_t number = table_.hypercalls[h].spec->number;
      if (places.size() <= number) places.resize(number + 1);
      places[number] = h + 1;
    }
    std::ostringstream out;
    out << "constexpr std::uint8_t kByNumber[] = {";
    for (const std::size_t place : places) out << place << ", ";
    out << "};\n\n";
    return out.str();
  }

  const ResolvedTable& table_;
  ValueLists values_;
  std::ostringstream out_;
};

}  // namespace

std::string EmitTable(const ResolvedTable& table) { return TableWriter(table).Write(); }

}  // namespace xencomm::schema::compiler
