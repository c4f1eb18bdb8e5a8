// Ops explained: what each field means, what each pointer leads to, case by case.

#include <algorithm>
#include <cinttypes>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hcall/schema/format.h"
#include "hcall/schema/generated/constants.h"
#include "hcall/schema/print.h"
#include "hcall/schema/words.h"

namespace xencomm::schema {
namespace {

constexpr std::size_t kWidth = 100;
constexpr std::string_view kIndent = "          ";  // of remarks, below a field's path

std::string Wrap(std::string_view text, std::string_view indent) {
  std::string out;
  std::string line(indent);
  while (!text.empty()) {
    const std::size_t space = text.find(' ');
    const std::string_view word = text.substr(0, space);
    if (line.size() + 1 + word.size() > kWidth && line.size() > indent.size()) {
      out += line + "\n";
      line = indent;
    }
    if (line.size() > indent.size()) line += ' ';
    line += word;
    text = space == std::string_view::npos ? std::string_view() : text.substr(space + 1);
  }
  return out + line + "\n";
}

std::string TypeText(const Field& field) {
  std::string text = field.spelling;
  if (field.is_array) text += field.count == 0 ? "[]" : Format("[%u]", field.count);
  if (field.bit_width != 0) text += Format(":%u", static_cast<unsigned>(field.bit_width));
  return text;
}

// What a field's values are called, by value: "flags XEN_DOMCTL_CDF_*: hvm 0x1, hap 0x2"; of flags
// those of one bit.
std::string NamesText(const Part& part) {
  const bool is_flags = part.naming == Naming::kFlags;
  std::vector<const Constant*> names;
  std::set<std::int64_t> values;
  for (const Constant& constant : kConstants) {
    if (PrefixOf(part, constant) == 0) continue;
    const auto value = static_cast<std::uint64_t>(constant.value);
    if (is_flags && (value == 0 || (value & (value - 1)) != 0)) continue;
    // A second name for a value is a limit: …_MAX.
    if (values.insert(constant.value).second) names.push_back(&constant);
  }
  std::sort(names.begin(), names.end(), [](const Constant* a, const Constant* b) {
    return std::llabs(a->value) < std::llabs(b->value);
  });

  const std::string_view prefixes = part.prefix;
  const bool is_one = prefixes.find(' ') == std::string_view::npos && names.size() != 1;
  std::string text = !is_flags ? "one of" : names.size() == 1 ? "flag" : "flags";
  if (is_one) text += " " + std::string(prefixes) + "*:";
  const char* before = " ";
  for (const Constant* constant : names) {
    text += before;
    text += constant->name + (is_one ? prefixes.size() : 0);
    text += is_flags || constant->value > 0xffff ? Format(" 0x%" PRIx64, constant->value)
                                                 : Format(" %" PRId64, constant->value);
    before = ", ";
  }
  return text;
}

// --- Fields in columns ---------------------------------------------------------------------------

// The lines of one record. Columns are as wide as most of its fields need.
class Lines {
 public:
  // `registers_of`: the record is the registers of this op. `op`: it is the argument of this one.
  Lines(const Record& record, const Op* registers_of, const Op* op)
      : record_(record), registers_of_(registers_of), op_(op) {
    for (const Part& part : record.parts) {
      if (part.direction != Direction::kIgnored) Widen(part.path, TypeText(part));
    }
  }
  // Of a type that has no rows.
  explicit Lines(const Type& type) : registers_of_(nullptr), op_(nullptr), has_directions_(false) {
    for (const Field& field : type.members()) Widen(field.name, schema::TypeText(field));
  }

  std::string Explain() {
    std::string last_case;
    for (const Part& part : record_.parts) {
      const std::string when = CaseText(part, record_);
      if (when != last_case) {
        Ignored();
        text_ += when.empty() ? "  always:\n" : Wrap("when " + when + ":", "  ");
      }
      last_case = when;
      if (part.direction == Direction::kIgnored) {
        ignored_ += (ignored_.empty() ? "" : ", ") + std::string(part.path);
      } else {
        Explain(part);
      }
    }
    Ignored();
    return std::move(text_);
  }

  std::string Explain(std::span<const Part>::iterator part) {
    Explain(*part);
    return std::move(text_);
  }

  std::string List(const Type& type) {
    Members(type, 0, "", 2);
    return std::move(text_);
  }

 private:
  // Longer ones stand out rather than push all the others away.
  void Widen(std::string_view path, std::string_view type) {
    constexpr std::size_t kMostPath = 44;
    constexpr std::size_t kMostType = 24;
    if (path.size() <= kMostPath) path_width_ = std::max(path_width_, path.size());
    if (type.size() <= kMostType) type_width_ = std::max(type_width_, type.size());
  }

  std::string TypeText(const Part& part) const {
    return part.field != nullptr ? schema::TypeText(*part.field) : "";
  }

  void Line(std::uint32_t offset, std::string_view path, const std::string& type,
            const char* direction, const char* note) {
    std::string line = Format("  %4u  ", offset);
    auto column = [&](std::string_view word, std::size_t width) {
      const std::size_t end = line.size() + width;
      line += word;
      line.resize(std::max(line.size(), end), ' ');
      line += "  ";
    };
    column(path, path_width_);
    if (has_directions_) column(direction, 6);
    column(type, type_width_);
    const std::string with_note = line + (note != nullptr ? note : "");
    const bool fits = note != nullptr && with_note.size() <= kWidth;
    if (fits) line = with_note;
    while (line.back() == ' ') line.pop_back();
    text_ += line + "\n";
    if (note != nullptr && !fits) text_ += Wrap(note, kIndent);
  }

  void Explain(const Part& part) {
    const char* note = part.note;
    if (IsOpField(part)) note = op_->constant;
    Line(part.offset, part.path, TypeText(part), Word(part.direction),
         part.is_buffer() ? nullptr : note);
    if (IsAlwaysNull(part)) {
      text_ += Wrap("must be null", kIndent);
    } else if (part.is_buffer()) {
      text_ += Wrap(BufferText(part), kIndent);
      if (part.null != nullptr) text_ += Wrap(std::string("null: ") + part.null, kIndent);
      if (note != nullptr) text_ += Wrap(note, kIndent);
    } else if (part.field != nullptr && part.type->is_record() && !part.field->is_array) {
      Members(*part.type, part.offset, ".", 2);
    }
    if (part.phase != Phase::kBoth) {
      text_ += Wrap(part.phase == Phase::kBefore ? "before the call" : "after the call", kIndent);
    }
    if (part.prefix != nullptr) text_ += Wrap(NamesText(part), kIndent);
  }

  // A pointer to no elements, whatever any field says.
  static bool IsAlwaysNull(const Part& part) {
    return part.is_pointer() && part.room.kind == CountKind::kNumber && part.room.scale == 0;
  }

  // The field that holds the op's number; of registers too.
  bool IsOpField(const Part& part) const {
    if (op_ == nullptr || op_->constant == nullptr || part.note != nullptr) return false;
    const Hypercall& hypercall = *op_->hypercall;
    const bool is_place = hypercall.op_place == OpPlace::kRegister ? registers_of_ != nullptr
                          : hypercall.op_place == OpPlace::kNone   ? false
                                                                   : registers_of_ == nullptr;
    return is_place && part.offset == hypercall.op_field.offset &&
           part.size == hypercall.op_field.size;
  }

  std::string BufferText(const Part& part) const {
    std::string text = std::string(part.is_trailing ? "holds " : "-> ") + part.element->name + "[" +
                       CountText(part.room, part, record_, registers_of_) + "]";
    const std::string filled = CountText(part.filled, part, record_, registers_of_);
    if (part.room.most != 0) text += ", at most " + std::to_string(part.room.most);
    if (!filled.empty()) text += ", filled: " + filled + " after the call";
    if (part.lifetime == Lifetime::kUntilReplaced) text += "; kept until replaced";
    if (part.element->kind == Kind::kVoid) text += "; left alone in another byte order";
    return text;
  }

  // Members of a structure that has no rows of its own; of an unnamed union the first: the others
  // are names for parts of it, as eax is of rax.
  void Members(const Type& type, std::uint32_t offset, const std::string& path, unsigned depth,
               bool only_first = false) {
    for (const Field& field : type.members().first(only_first ? 1 : type.field_count)) {
      const bool has_name = *field.name != '\0';
      if (has_name) {
        Line(offset + field.offset, path + field.name, schema::TypeText(field), "", nullptr);
      }
      if (!field.type->is_record() || field.is_array || depth == 0) continue;
      const std::string inner = has_name ? path + field.name + "." : path;
      Members(*field.type, offset + field.offset, inner, has_name ? depth - 1 : depth,
              !has_name && field.type->kind == Kind::kUnion);
    }
  }

  void Ignored() {
    if (!ignored_.empty()) text_ += Wrap("not looked at: " + ignored_, "        ");
    ignored_.clear();
  }

  Record record_ = {};
  const Op* registers_of_;
  const Op* op_;
  bool has_directions_ = true;
  std::size_t path_width_ = 12;
  std::size_t type_width_ = 0;
  std::string text_;
  std::string ignored_;
};

// --- An op ---------------------------------------------------------------------------------------

// ", interface version 0x15 to 0x16", of an op that not all versions have in this form.
std::string VersionText(const Op& op) {
  std::uint32_t first = 0;
  std::uint32_t last = 0;
  bool is_in_all = true;
  for (const std::uint32_t version : op.hypercall->versions) {
    is_in_all = is_in_all && op.IsIn(version);
    if (!op.IsIn(version)) continue;
    if (first == 0) first = version;
    last = version;
  }
  if (is_in_all) return "";
  return first == last ? Format(", interface version 0x%x", first)
                       : Format(", interface versions 0x%x to 0x%x", first, last);
}

std::string ExplainRegisters(const Op& op) {
  std::string text = "\nRegisters\n";
  for (std::size_t i = 0; i < op.hypercall->registers.size(); ++i) {
    const auto row = std::find_if(op.registers.parts.begin(), op.registers.parts.end(),
                                  [&](const Part& part) { return part.offset == i * 8; });
    if (row == op.registers.parts.end()) {
      text += Format("  %4zu  %s\n", i * 8, op.hypercall->registers[i]);
    } else {
      text += Lines(op.registers, &op, &op).Explain(row);
    }
  }
  return text;
}

// The op that has a structure for itself; nullptr: none, or it says nothing of it.
const Op* ArgumentOf(const Type& type) {
  for (const Hypercall& hypercall : Hypercalls()) {
    for (const Op& op : hypercall.ops) {
      if (op.own_type == &type && !op.argument.parts.empty()) return &op;
    }
  }
  return nullptr;
}

// What the pointers of a record lead to, unless that has been said: `done`.
std::string ExplainElements(const Record& record, const Record* argument,
                            std::set<const Type*>& done) {
  std::string text;
  for (const Part& part : record.parts) {
    const Type* const element = part.element;
    if (element == nullptr || part.direction == Direction::kIgnored || !element->is_record()) {
      continue;
    }
    if (part.element_record == argument || !done.insert(element).second) continue;
    text += Format("\nElements of %s: struct %s, %u bytes (%s)\n", part.path, element->name,
                   element->size, element->header);
    if (part.element_record == nullptr) {
      text += Lines(*element).List(*element);
      const Op* const op = ArgumentOf(*element);
      if (op != nullptr) {
        text += Format("  What they mean: %s.%s\n", op->hypercall->name, op->name);
      }
      continue;
    }
    text += Wrap(part.element_record->about, "  ");
    text += Lines(*part.element_record, nullptr, nullptr).Explain();
    text += ExplainElements(*part.element_record, argument, done);
  }
  return text;
}

std::string ExplainRemoved(const Hypercall& hypercall, const RemovedOp& op) {
  std::string text =
      Format("%s.%s: op %" PRIu64 " of hypercall %" PRIu64 ", which is none any more\n",
             hypercall.name, op.name, op.number, hypercall.number);
  const std::string words = *op.words != '\0' ? std::string(": \"") + op.words + "\"" : "";
  text += Wrap("The headers say that it is out of use" + words + ". Hypervisors answer it with " +
                   "-ENOSYS. Constant: " + op.constant + ".",
               "  ");
  return text;
}

}  // namespace

std::string ListHypercalls() {
  std::string text;
  for (const Hypercall& hypercall : Hypercalls()) {
    text += Format("%3" PRIu64 "  %-30s %s\n", hypercall.number, hypercall.name, hypercall.about);
  }
  return text;
}

std::string ListOps(const Hypercall& hypercall) {
  std::string text =
      Format("%s (%" PRIu64 "): %s\n", hypercall.name, hypercall.number, hypercall.about);
  for (const Op& op : hypercall.ops) {
    const std::string_view about = op.about;
    const std::size_t sentence = about.find(". ");
    text += Format("%5" PRIu64 "  %-30s ", op.number, op.name);
    text += about.substr(0, sentence == std::string_view::npos ? sentence : sentence + 1);
    text += VersionText(op) + "\n";
  }
  for (const RemovedOp& op : hypercall.removed) {
    text += Format("%5" PRIu64 "  %-30s (%s)\n", op.number, op.name,
                   *op.words != '\0' ? op.words : "Removed");
  }
  return text;
}

std::string ExplainOp(const Op& op) {
  std::string text = Format("%s.%s", op.hypercall->name, op.name);
  if (op.hypercall->op_place != OpPlace::kNone) text += Format(": op %" PRIu64 " of", op.number);
  text += Format("%s hypercall %" PRIu64, op.hypercall->op_place == OpPlace::kNone ? ":" : "",
                 op.hypercall->number);
  text += VersionText(op) + "\n" + Wrap(op.about, "  ");
  if (op.returns != nullptr) text += Wrap(std::string("Returns ") + op.returns + ".", "  ");
  text += ExplainRegisters(op);
  std::set<const Type*> done;
  if (op.argument.type != nullptr) {
    text += Format("\nstruct %s, %u bytes, %s (%s)\n", op.argument.type->name,
                   op.argument.type->size, Word(op.direction), op.argument.type->header);
    text += Lines(op.argument, nullptr, &op).Explain();
    done.insert(op.argument.type);
  }
  for (const Part& part : op.buffers) {
    text += Format("\nNext buffer: %s\n", part.path);
    std::string holds = std::string(Word(part.direction)) + " " + part.element->name + "[" +
                        CountText(part.room, part, op.argument) + "]";
    if (part.room.most != 0) holds += ", at most " + std::to_string(part.room.most);
    text += Wrap(holds, "  ");
    if (part.note != nullptr) text += Wrap(part.note, "  ");
    if (part.element->is_record()) text += Lines(*part.element).List(*part.element);
  }
  text += ExplainElements(op.argument, &op.argument, done);
  return text + ExplainElements(op.registers, &op.argument, done);
}

std::string ExplainOp(std::string_view name) {
  const std::size_t dot = name.find('.');
  if (dot == std::string_view::npos) {
    const Hypercall* hypercall = Find(name);
    return hypercall != nullptr ? ListOps(*hypercall) : "";
  }
  const Hypercall* const hypercall = Find(name.substr(0, dot));
  if (hypercall == nullptr) return "";
  const std::string_view wanted = name.substr(dot + 1);
  std::string text;
  for (const Op& op : hypercall->ops) {
    if (wanted != op.name) continue;
    if (!text.empty()) text += '\n';
    text += ExplainOp(op);
  }
  for (const RemovedOp& op : hypercall->removed) {
    if (wanted == op.name) text += ExplainRemoved(*hypercall, op);
  }
  return text;
}

}  // namespace xencomm::schema
