#include "hcall/tools/explain.h"

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
#include "hcall/schema/words.h"

namespace xencomm::schema {
namespace {

// The constant's name for a discriminator's value, when a row for the field has a prefix.
std::string ValueText(Ref field, const Record& record, std::int64_t value) {
  for (const Part& part : record.parts()) {
    const PartWords& words = WordsOf(part);
    if (part.offset != field.offset || part.size() != field.size || words.prefix == nullptr)
      continue;
    for (const Constant& constant : Constants()) {
      if (constant.value == value && PrefixOf(words, constant) != 0) return constant.name;
    }
  }
  return value > 0xffff ? Format("0x%" PRIx64, static_cast<std::uint64_t>(value))
                        : std::to_string(value);
}

// Tests that say the same are one.
bool AreInSameCase(const Part& a, const Part& b) {
  return std::ranges::equal(a.when().test_indices, b.when().test_indices);
}

// The name of the field of `record` at a place; of registers when `registers_of` is given. Where
// cases have fields of their own there, the name in the case of `beside`.
std::string NameOf(Ref field, const Record& record, const Op* registers_of = nullptr,
                   const Part* beside = nullptr) {
  if (registers_of != nullptr) {
    return RegisterNames(registers_of->hypercall())[field.offset / sizeof(std::uint64_t)];
  }
  const Part* part = nullptr;
  for (const Part& each : record.parts()) {
    if (each.offset != field.offset || each.size() != field.size) continue;
    if (part == nullptr || (beside != nullptr && AreInSameCase(each, *beside))) part = &each;
  }
  return part != nullptr ? WordsOf(*part).path : "byte " + std::to_string(field.offset);
}

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

std::string TypeText(const Member& field) {
  std::string text = field.spelling;
  if (field.is_array) text += field.count == 0 ? "[]" : Format("[%u]", field.count);
  if (field.bit_width != 0) text += Format(":%u", static_cast<unsigned>(field.bit_width));
  return text;
}

// What a field's values are called, by value: "flags XEN_DOMCTL_CDF_*: hvm 0x1, hap 0x2"; of flags
// those of one bit.
std::string NamesText(const PartWords& part, Releases releases) {
  const bool is_flags = part.naming == Naming::kFlags;
  std::vector<const Constant*> names;
  std::set<std::int64_t> values;
  for (const Constant& constant : Constants()) {
    if (PrefixOf(part, constant, releases) == 0) continue;
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
  Lines(const Record& record, Releases releases, const Op* registers_of, const Op* op)
      : record_(&record), releases_(releases), registers_of_(registers_of), op_(op) {
    for (const Part& part : record.parts()) {
      if (part.direction() != Direction::kIgnored) Widen(WordsOf(part).path, TypeText(part));
    }
  }
  // Of a type that has no rows.
  explicit Lines(const Type& type) : has_directions_(false) {
    for (const Member& field : MembersOf(type)) Widen(field.name, schema::TypeText(field));
  }

  std::string Explain() {
    std::string last_case;
    for (const Part& part : record_->parts()) {
      const std::string when = CaseText(part, *record_);
      if (when != last_case) {
        Ignored();
        text_ += when.empty() ? "  always:\n" : Wrap("when " + when + ":", "  ");
      }
      last_case = when;
      if (part.direction() == Direction::kIgnored) {
        ignored_ += (ignored_.empty() ? "" : ", ") + std::string(WordsOf(part).path);
      } else {
        Explain(part);
      }
    }
    Ignored();
    return std::move(text_);
  }

  std::string ExplainOne(const Part& part) {
    Explain(part);
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
    const Member* const member = WordsOf(part).member();
    return member != nullptr ? schema::TypeText(*member) : "";
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
    const PartWords& words = WordsOf(part);
    const char* note = words.note;
    if (IsOpField(part)) note = WordsOf(*op_).constant;
    Line(part.offset, words.path, TypeText(part), Word(part.direction()),
         part.is_buffer() ? nullptr : note);
    if (IsAlwaysNull(part)) {
      text_ += Wrap("must be null", kIndent);
    } else if (part.is_buffer()) {
      text_ += Wrap(BufferText(part), kIndent);
      if (words.null != nullptr) text_ += Wrap(std::string("null: ") + words.null, kIndent);
      if (note != nullptr) text_ += Wrap(note, kIndent);
    } else if (words.member() != nullptr && part.type().is_record() && !words.member()->is_array) {
      Members(part.type(), part.offset, ".", 2);
    }
    if (part.phase() != Phase::kBoth) {
      text_ += Wrap(part.phase() == Phase::kBefore ? "before the call" : "after the call", kIndent);
    }
    if (words.prefix != nullptr) text_ += Wrap(NamesText(words, releases_), kIndent);
  }

  // A pointer to no elements, whatever any field says.
  static bool IsAlwaysNull(const Part& part) {
    return part.is_pointer() && part.room().kind == CountKind::kNumber && part.room().scale == 0;
  }

  // The field that holds the op's number; of registers too.
  bool IsOpField(const Part& part) const {
    if (op_ == nullptr || WordsOf(*op_).constant == nullptr || WordsOf(part).note != nullptr)
      return false;
    const Hypercall& hypercall = op_->hypercall();
    const bool is_place = hypercall.op_place == OpPlace::kRegister ? registers_of_ != nullptr
                          : hypercall.op_place == OpPlace::kNone   ? false
                                                                   : registers_of_ == nullptr;
    return is_place && part.offset == hypercall.op_field.offset &&
           part.size() == hypercall.op_field.size;
  }

  std::string BufferText(const Part& part) const {
    const Amount& room = part.room();
    std::string text = std::string(part.is_trailing() ? "holds " : "-> ") +
                       WordsOf(part.element()).name + "[" +
                       CountText(room, part, *record_, registers_of_) + "]";
    const std::string filled = CountText(part.filled(), part, *record_, registers_of_);
    if (room.most != 0) text += ", at most " + std::to_string(room.most);
    if (!filled.empty()) text += ", filled: " + filled + " after the call";
    if (part.lifetime() == Lifetime::kUntilReplaced) text += "; kept until replaced";
    if (part.element().kind == Kind::kVoid) text += "; left alone in another byte order";
    return text;
  }

  // Members of a structure that has no rows of its own; of an unnamed union the first: the others
  // are names for parts of it, as eax is of rax.
  void Members(const Type& type, std::uint32_t offset, const std::string& path, unsigned depth,
               bool only_first = false) {
    const std::span<const Member> members = MembersOf(type);
    for (const Member& field : members.first(only_first ? 1 : members.size())) {
      const bool has_name = *field.name != '\0';
      if (has_name) {
        Line(offset + field.offset, path + field.name, schema::TypeText(field), "", nullptr);
      }
      if (!field.type().is_record() || field.is_array || depth == 0) continue;
      const std::string inner = has_name ? path + field.name + "." : path;
      Members(field.type(), offset + field.offset, inner, has_name ? depth - 1 : depth,
              !has_name && field.type().kind == Kind::kUnion);
    }
  }

  void Ignored() {
    if (!ignored_.empty()) text_ += Wrap("not looked at: " + ignored_, "        ");
    ignored_.clear();
  }

  const Record* record_ = nullptr;
  Releases releases_ = kAllReleases;
  const Op* registers_of_ = nullptr;
  const Op* op_ = nullptr;
  bool has_directions_ = true;
  std::size_t path_width_ = 12;
  std::size_t type_width_ = 0;
  std::string text_;
  std::string ignored_;
};

// --- An op ---------------------------------------------------------------------------------------

// ", in 4.19 to 4.21", of an op that not all releases have in this form.
std::string ReleaseText(const Op& op) {
  const auto all = static_cast<Releases>((1u << ReleaseNumbers().size()) - 1);
  return (op.releases & all) == all ? "" : ", in " + ReleasesText(op.releases);
}

std::string ExplainRegisters(const Op& op) {
  std::string text = "\nRegisters\n";
  const std::span<const Part> parts = op.registers().parts();
  for (std::size_t i = 0; i < op.hypercall().register_count; ++i) {
    const auto row = std::ranges::find(parts, i * 8, &Part::offset);
    if (row == parts.end()) {
      text += Format("  %4zu  %s\n", i * 8, RegisterNames(op.hypercall())[i]);
    } else {
      text += Lines(op.registers(), op.releases, &op, &op).ExplainOne(*row);
    }
  }
  return text;
}

// The op that has a structure for itself; nullptr: none, or it says nothing of it.
const Op* ArgumentOf(const Type& type) {
  for (const Hypercall& hypercall : Hypercalls()) {
    for (const Op& op : hypercall.ops()) {
      if (op.own_type() == &type && !op.argument().parts().empty()) return &op;
    }
  }
  return nullptr;
}

// What the pointers of a record lead to, unless that has been said: `done`.
std::string ExplainElements(const Record& record, const Op& op, std::set<const Type*>& done) {
  std::string text;
  for (const Part& part : record.parts()) {
    if (!part.is_buffer() || part.direction() == Direction::kIgnored) continue;
    const Type& element = part.element();
    const Record* const rows = part.element_record();
    if (!element.is_record() || rows == &op.argument() || !done.insert(&element).second) continue;
    const TypeWords& words = WordsOf(element);
    text += Format("\nElements of %s: struct %s, %u bytes (%s)\n", WordsOf(part).path, words.name,
                   element.size, words.header);
    if (rows == nullptr) {
      text += Lines(element).List(element);
      const Op* const meant = ArgumentOf(element);
      if (meant != nullptr) {
        text += Format("  What they mean: %s.%s\n", WordsOf(meant->hypercall()).name,
                       WordsOf(*meant).name);
      }
      continue;
    }
    text += Wrap(AboutOf(*rows), "  ");
    text += Lines(*rows, op.releases, nullptr, nullptr).Explain();
    text += ExplainElements(*rows, op, done);
  }
  return text;
}

std::string ExplainRemoved(const Hypercall& hypercall, const RemovedOp& op) {
  std::string text =
      Format("%s.%s: op %" PRIu64 " of hypercall %u, which is none any more\n",
             WordsOf(hypercall).name, op.name, op.number, unsigned{hypercall.number});
  const std::string words = *op.words != '\0' ? std::string(": \"") + op.words + "\"" : "";
  text += Wrap("The headers say that it is out of use" + words + ". Hypervisors answer it with " +
                   "-ENOSYS. Constant: " + op.constant + ".",
               "  ");
  return text;
}

}  // namespace

std::string CountText(const Amount& amount, const Part& part, const Record& record,
                      const Op* registers_of) {
  auto name = [&](Ref field) { return NameOf(field, record, registers_of, &part); };
  switch (amount.kind) {
    case CountKind::kNone:
      return "";
    case CountKind::kNumber: {
      if (!amount.a) return std::to_string(amount.scale);
      std::string text = name(amount.a);
      if (amount.b) text += " * " + name(amount.b);
      if (amount.scale != 1) text = std::to_string(amount.scale) + " * " + text;
      if (amount.per != 1) {
        text = "(" + text + " + " + std::to_string(amount.per - 1) + ") / " +
               std::to_string(amount.per);
      }
      if (amount.more != 0) text += ", and " + std::to_string(amount.more) + " more";
      return text;
    }
    case CountKind::kRange:
      return name(amount.b) + " - " + name(amount.a) + " + 1";
    case CountKind::kText:
      return "up to a zero";
    case CountKind::kUntilZero: {
      for (const Member& member : MembersOf(part.element())) {
        if (member.offset == amount.a.offset) return std::string("up to a zero ") + member.name;
      }
      return "up to a zero";
    }
    case CountKind::kInside:
      return (amount.scale != 0 ? std::to_string(amount.scale) + " + " : "") + "the " +
             std::to_string(amount.per) + " bytes at " + std::to_string(amount.at) + " in it" +
             (amount.least != 0 ? ", at least " + std::to_string(amount.least) : "");
    case CountKind::kReturned:
      return "the result";
    case CountKind::kVcpus:
      return "a bit for each vcpu, in words of 64";
  }
  return "";
}

std::string CaseText(const Part& part, const Record& record) {
  std::string text;
  for (const Index index : part.when().test_indices) {
    const Test& test = facts::kTests[index];
    if (!test.field) continue;
    if (!text.empty()) text += ", ";
    text += NameOf(test.field, record);
    text += test.is_flags ? (test.is_not ? " has not " : " has ")
            : test.is_not ? " is not "
                          : " is ";
    bool is_first = true;
    for (const std::int64_t value : test.values()) {
      if (!is_first) text += " or ";
      is_first = false;
      text += ValueText(test.field, record, value);
    }
  }
  return text;
}

std::string ListHypercalls() {
  std::string text;
  for (const Hypercall& hypercall : Hypercalls()) {
    text += Format("%3u  %-30s %s\n", unsigned{hypercall.number}, WordsOf(hypercall).name,
                   WordsOf(hypercall).about);
  }
  return text;
}

std::string ListOps(const Hypercall& hypercall) {
  std::string text = Format("%s (%u): %s\n", WordsOf(hypercall).name, unsigned{hypercall.number},
                            WordsOf(hypercall).about);
  for (const Op& op : hypercall.ops()) {
    const std::string_view about = WordsOf(op).about;
    const std::size_t sentence = about.find(". ");
    text += Format("%5u  %-30s ", unsigned{op.number}, WordsOf(op).name);
    text += about.substr(0, sentence == std::string_view::npos ? sentence : sentence + 1);
    text += ReleaseText(op) + "\n";
  }
  for (const RemovedOp& op : RemovedOps(hypercall)) {
    text += Format("%5" PRIu64 "  %-30s (%s)\n", op.number, op.name,
                   *op.words != '\0' ? op.words : "Removed");
  }
  return text;
}

std::string ExplainOp(const Op& op) {
  const Hypercall& hypercall = op.hypercall();
  const OpWords& words = WordsOf(op);
  std::string text = Format("%s.%s:", WordsOf(hypercall).name, words.name);
  if (hypercall.op_place != OpPlace::kNone) text += Format(" op %u of", unsigned{op.number});
  text += Format(" hypercall %u", unsigned{hypercall.number});
  text += ReleaseText(op) + "\n" + Wrap(words.about, "  ");
  if (words.returns != nullptr) text += Wrap(std::string("Returns ") + words.returns + ".", "  ");
  text += ExplainRegisters(op);
  std::set<const Type*> done;
  if (const Type* const type = op.argument().type()) {
    text += Format("\nstruct %s, %u bytes, %s (%s)\n", WordsOf(*type).name, type->size,
                   Word(op.direction), WordsOf(*type).header);
    text += Lines(op.argument(), op.releases, nullptr, &op).Explain();
    done.insert(type);
  }
  for (const Part& part : op.buffers()) {
    const Type& element = part.element();
    text += Format("\nNext buffer: %s\n", WordsOf(part).path);
    std::string holds = std::string(Word(part.direction())) + " " + WordsOf(element).name + "[" +
                        CountText(part.room(), part, op.argument()) + "]";
    if (part.room().most != 0) holds += ", at most " + std::to_string(part.room().most);
    text += Wrap(holds, "  ");
    if (WordsOf(part).note != nullptr) text += Wrap(WordsOf(part).note, "  ");
    if (element.is_record()) text += Lines(element).List(element);
  }
  text += ExplainElements(op.argument(), op, done);
  return text + ExplainElements(op.registers(), op, done);
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
  for (const Op& op : hypercall->ops()) {
    if (wanted != WordsOf(op).name) continue;
    if (!text.empty()) text += '\n';
    text += ExplainOp(op);
  }
  for (const RemovedOp& op : RemovedOps(*hypercall)) {
    if (wanted == op.name) text += ExplainRemoved(*hypercall, op);
  }
  return text;
}

}  // namespace xencomm::schema
