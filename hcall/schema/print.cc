#include "hcall/schema/print.h"

#include <algorithm>
#include <cinttypes>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "hcall/schema/count.h"
#include "hcall/schema/generated/constants.h"
#include "hcall/schema/words.h"
#include "xencomm/copy.h"

namespace xencomm::schema {
namespace {

// Elements of a buffer, and bytes of text, that are shown.
constexpr std::uint64_t kShownElements = 8;
constexpr std::uint64_t kShownText = 64;

[[gnu::format(printf, 1, 2)]] std::string Format(const char* format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  const int length = std::vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  return std::string(
      text,
      length < 0 ? 0 : std::min<std::size_t>(sizeof(text) - 1, static_cast<unsigned>(length)));
}

std::string Wrap(std::string_view text, std::string_view indent) {
  constexpr std::size_t kWidth = 96;
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

// --- An op explained -----------------------------------------------------------------------------

std::string TypeText(const Part& part) {
  if (part.field == nullptr) return "register";
  std::string text = part.field->spelling;
  if (part.field->is_array) {
    text += part.field->count == 0 ? "[]" : "[" + std::to_string(part.field->count) + "]";
  }
  return text;
}

// What a field's values are called: "flags XEN_DOMCTL_CDF_*: hvm 0x1, hap 0x2"; of flags those of
// one bit.
std::string NamesText(const Part& part) {
  const bool is_flags = part.naming == Naming::kFlags;
  std::string text = std::string(is_flags ? "flags " : "one of ") + part.prefix + "*";
  const char* before = ": ";
  std::set<std::uint64_t> done;
  for (const Constant& constant : kConstants) {
    if (!IsNamedBy(part, constant)) continue;
    const auto value = static_cast<std::uint64_t>(constant.value);
    if (is_flags && (value == 0 || (value & (value - 1)) != 0)) continue;
    // A second name for a value is a limit: …_MAX.
    if (!done.insert(value).second) continue;
    text += before;
    text += constant.name + std::strlen(part.prefix);
    text += is_flags || value > 0xffff ? Format(" 0x%" PRIx64, value) : Format(" %" PRIu64, value);
    before = ", ";
  }
  return text;
}

std::string ExplainPart(const Part& part, const Record& record, const Op* registers_of) {
  std::string text = Format("  %4u  %-34s %-36s %s", part.offset, part.path, TypeText(part).c_str(),
                            Word(part.direction));
  while (text.back() == ' ') text.pop_back();
  text += "\n";
  const std::string_view indent = "          ";
  if (part.is_buffer() && part.direction != Direction::kIgnored) {
    std::string buffer = std::string(part.is_trailing ? "holds " : "-> ") + part.element->name +
                         "[" + CountText(part.room, part, record, registers_of) + "]";
    const std::string filled = CountText(part.filled, part, record, registers_of);
    if (part.room.most != 0) buffer += ", at most " + std::to_string(part.room.most);
    if (!filled.empty()) buffer += ", filled: " + filled + " after the call";
    if (part.lifetime == Lifetime::kUntilReplaced) buffer += "; kept until replaced";
    if (part.element->size == 1 && part.element->kind != Kind::kCharacter) {
      buffer += "; not turned for another byte order";
    }
    text += Wrap(buffer, indent);
    if (part.null != nullptr) text += Wrap(std::string("null: ") + part.null, indent);
  }
  if (part.phase != Phase::kBoth) {
    text += Wrap(part.phase == Phase::kBefore ? "before the call" : "after the call", indent);
  }
  if (part.note != nullptr) text += Wrap(part.note, indent);
  if (part.prefix != nullptr) text += Wrap(NamesText(part), indent);
  return text;
}

std::string ExplainRecord(const Record& record, const Op* registers_of) {
  std::string text;
  std::string last_case;
  for (const Part& part : record.parts) {
    const std::string when = CaseText(part, record);
    if (when != last_case && !when.empty()) text += Wrap("when " + when + ":", "  ");
    last_case = when;
    text += ExplainPart(part, record, registers_of);
  }
  return text;
}

// --- A call as text ------------------------------------------------------------------------------

class Printer {
 public:
  Printer(const Caller& caller, std::optional<std::int64_t> result)
      : caller_(caller), result_(result) {}

  std::string Print(const Call& call) {
    auto enter = [&](const Op& op) {
      out_ += Format("%s.%s", op.hypercall->name, op.name);
      if (result_.has_value() && depth_++ == 0) out_ += Format(" = %" PRId64, *result_);
      out_ += "\n";
      return true;
    };
    auto visit = [&](const Buffer& buffer) {
      PrintBuffer(buffer);
      return true;
    };
    const Finding finding = ForEachBuffer(call, caller_, visit, WalkOrder::kParentsFirst, enter);
    if (!finding.ok()) out_ += "  " + PrintFinding(finding) + "\n";
    return out_;
  }

 private:
  bool IsShown(const Part& part, const RecordView& view) const {
    if (!view.Has(part, result_.has_value() ? Phase::kAfter : Phase::kBefore)) return false;
    if (part.direction == Direction::kIgnored) return false;
    return result_.has_value() || part.reads() || part.is_buffer();
  }

  void PrintBuffer(const Buffer& buffer) {
    out_ += Format("  %s", buffer.part->path);
    if (buffer.entry != kNoIndex) out_ += Format(" of call %" PRIu64, buffer.entry);
    if (buffer.index != kNoIndex) out_ += Format(" of element %" PRIu64, buffer.index);
    out_ += Format(": %s %s[%" PRIu64 "] at 0x%" PRIx64 "\n", Word(buffer.direction),
                   buffer.element->name, buffer.count, buffer.address.value);
    if (!buffer.reads() && !result_.has_value()) return;  // nothing in it yet

    const std::uint64_t size = buffer.element->size;
    if (buffer.element->kind == Kind::kCharacter) return PrintText(buffer);
    std::uint64_t shown = buffer.count < kShownElements ? buffer.count : kShownElements;
    if (size == 1) shown = buffer.count < kShownText ? buffer.count : kShownText;
    std::vector<std::byte> bytes(static_cast<std::size_t>(shown * size));
    if (!CopyFrom(caller_.space, buffer.address, 0, bytes.data(), bytes.size()).ok()) {
      out_ += "    (cannot be read)\n";
      return;
    }
    if (buffer.element_record == nullptr && !buffer.element->is_record()) {
      PrintNumbers(bytes, *buffer.element, shown);
    } else {
      for (std::uint64_t i = 0; i < shown; ++i) {
        if (buffer.count > 1) out_ += Format("    [%" PRIu64 "]\n", i);
        PrintElement(buffer, bytes.data() + i * size);
      }
    }
    if (shown < buffer.count) out_ += Format("    … %" PRIu64 " more\n", buffer.count - shown);
  }

  void PrintElement(const Buffer& buffer, const std::byte* bytes) {
    const RecordView view(bytes, caller_.order);
    if (buffer.element_record == nullptr) {
      for (const Field& field : buffer.element->members()) PrintField(field, field.name, bytes);
      return;
    }
    for (const Part& part : buffer.element_record->parts) {
      if (!IsShown(part, view)) continue;
      if (part.is_trailing) continue;
      if (part.is_pointer()) {
        const std::uint64_t address = view.Read({part.offset, sizeof(std::uint64_t)});
        out_ += Format("    %s = 0x%" PRIx64 "\n", part.path, address);
      } else if (part.field->is_array || part.type->is_record()) {
        PrintField(*part.field, part.path, bytes + part.offset - part.field->offset);
      } else {
        const std::uint64_t value = view.Read({part.offset, part.size});
        const bool is_number = buffer.element_record == &buffer.op->argument &&
                               buffer.op->hypercall->op_place != OpPlace::kRegister &&
                               part.offset == buffer.op->hypercall->op_field.offset &&
                               part.size == buffer.op->hypercall->op_field.size;
        out_ +=
            Format("    %s = %s\n", part.path,
                   is_number && buffer.op->constant != nullptr ? buffer.op->constant
                                                               : NameValue(part, value).c_str());
      }
    }
  }

  // A field that has no row of its own. `record` is what directly holds it.
  void PrintField(const Field& field, const std::string& path, const std::byte* record) {
    const std::byte* bytes = record + field.offset;
    if (field.type->kind == Kind::kStruct) {
      const std::uint32_t shown =
          field.count < kShownElements ? field.count : static_cast<std::uint32_t>(kShownElements);
      for (std::uint32_t i = 0; i < shown; ++i) {
        const std::string step = field.is_array ? path + "[" + std::to_string(i) + "]" : path;
        for (const Field& inner : field.type->members()) {
          PrintField(inner, step + "." + inner.name, bytes + i * field.type->size);
        }
      }
      return;
    }
    if (field.type->kind == Kind::kUnion) {
      if (field.type->common != nullptr) PrintField(*field.type->common, path, bytes);
      return;
    }
    if (field.type->kind == Kind::kCharacter && field.is_array) {
      const auto* text = reinterpret_cast<const char*>(bytes);
      out_ += Format("    %s = \"%.*s\"\n", path.c_str(),
                     static_cast<int>(::strnlen(text, field.size)), text);
      return;
    }
    const RecordView view(bytes, caller_.order);
    out_ += Format("    %s =", path.c_str());
    const std::uint32_t shown = field.count < 16 ? field.count : 16;
    for (std::uint32_t i = 0; i < shown; ++i) {
      const std::uint64_t value = view.Read({i * field.type->size, field.type->size});
      out_ += Format(field.is_array && field.type->size == 1 ? " %02" PRIx64 : " %" PRIu64, value);
    }
    out_ += shown < field.count ? " …\n" : "\n";
  }

  void PrintNumbers(const std::vector<std::byte>& bytes, const Type& type, std::uint64_t count) {
    const std::uint32_t size = type.size;
    const RecordView view(bytes.data(), caller_.order);
    out_ += "   ";
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::uint64_t value = view.Read({i * size, size});
      out_ += size == 1 ? Format(" %02" PRIx64, value) : Format(" 0x%" PRIx64, value);
    }
    out_ += "\n";
  }

  void PrintText(const Buffer& buffer) {
    std::string text(
        static_cast<std::size_t>(buffer.count < kShownText ? buffer.count : kShownText), '\0');
    if (!CopyFrom(caller_.space, buffer.address, 0, text.data(), text.size()).ok()) return;
    out_ += "    \"";
    for (const char c : text) {
      if (c == '\0') break;
      out_ += c >= ' ' && c < 127 ? std::string(1, c)
                                  : Format("\\x%02x", static_cast<unsigned char>(c));
    }
    out_ += buffer.count > kShownText ? "…\"\n" : "\"\n";
  }

  const Caller& caller_;
  std::optional<std::int64_t> result_;
  std::string out_;
  int depth_ = 0;
};

std::string FlagNames(const Part& part, std::uint64_t value) {
  std::string text;
  std::uint64_t rest = value;
  for (const Constant& constant : kConstants) {
    const auto bits = static_cast<std::uint64_t>(constant.value);
    if (!IsNamedBy(part, constant)) continue;
    if (bits == 0 || (bits & (bits - 1)) != 0 || (rest & bits) == 0) continue;
    if (!text.empty()) text += " | ";
    text += constant.name;
    rest &= ~bits;
  }
  if (rest == 0 && !text.empty()) return text;
  return text.empty() ? Format("0x%" PRIx64, value) : text + Format(" | 0x%" PRIx64, rest);
}

}  // namespace

namespace {

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

// The header's words, made fit to stand behind a semicolon.
std::string ExplainRemoved(const Hypercall& hypercall, const RemovedOp& op) {
  std::string text = Format("%s.%s (%" PRIu64 ", %" PRIu64 ") is no op any more.\n", hypercall.name,
                            op.name, hypercall.number, op.number);
  const std::string words = *op.words != '\0' ? std::string(": \"") + op.words + "\"" : "";
  text += Wrap(std::string("The headers say of ") + op.constant + ", number " +
                   std::to_string(op.number) + ", that it is out of use" + words +
                   ". A hypervisor of this version answers it with ENOSYS.",
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
    text +=
        Format("%5" PRIu64 "  %-30s %s%s\n", op.number, op.name, op.about, VersionText(op).c_str());
  }
  for (const RemovedOp& op : hypercall.removed) {
    text += Format("%5" PRIu64 "  %-30s (%s)\n", op.number, op.name,
                   *op.words != '\0' ? op.words : "Removed");
  }
  return text;
}

std::string ExplainOp(const Op& op) {
  std::string text = Format("%s.%s (%" PRIu64 ", %" PRIu64 ")%s\n", op.hypercall->name, op.name,
                            op.hypercall->number, op.number, VersionText(op).c_str());
  text += Wrap(op.about, "  ");
  if (op.returns != nullptr) text += Wrap(std::string("Returns ") + op.returns + ".", "  ");
  text += "\nRegisters\n";
  for (std::size_t i = 0; i < op.hypercall->registers.size(); ++i) {
    bool has_row = false;
    for (const Part& part : op.registers.parts) has_row |= part.offset == i * 8;
    if (!has_row) {
      text += Format("  %4zu  %s\n", i * 8, op.hypercall->registers[i]);
    }
  }
  text += ExplainRecord(op.registers, &op);
  if (op.argument.type != nullptr) {
    text += Format("\nstruct %s, %u bytes, %s (%s)\n", op.argument.type->name,
                   op.argument.type->size, Word(op.direction), op.argument.type->header);
    text += ExplainRecord(op.argument, nullptr);
  }
  for (const Part& part : op.buffers) {
    text += Format("\nNext buffer: %s\n", part.path);
    text += Wrap(std::string(Word(part.direction)) + " " + part.element->name + "[" +
                     CountText(part.room, part, op.argument) + "]",
                 "  ");
  }
  for (const Part& part : op.argument.parts) {
    if (part.element_record == nullptr) continue;
    text += Format("\nElements of %s: struct %s, %u bytes. %s\n", part.path,
                   part.element_record->type->name, part.element_record->type->size,
                   part.element_record->about);
    text += ExplainRecord(*part.element_record, nullptr);
  }
  return text;
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

std::string NameValue(const Part& part, std::uint64_t value) {
  if (part.naming == Naming::kFlags) return FlagNames(part, value);
  if (part.naming == Naming::kEnum) {
    for (const Constant& constant : kConstants) {
      if (static_cast<std::uint64_t>(constant.value) == value && IsNamedBy(part, constant)) {
        return constant.name;
      }
    }
  }
  if (part.type != nullptr && part.type->kind == Kind::kSigned) {
    const unsigned unused = 64 - 8 * part.type->size;
    return Format("%" PRId64, static_cast<std::int64_t>(value << unused) >> unused);
  }
  return value > 0xffff ? Format("0x%" PRIx64, value) : Format("%" PRIu64, value);
}

std::string PrintCall(const Call& call, const Caller& caller, std::optional<std::int64_t> result) {
  return Printer(caller, result).Print(call);
}

std::string PrintFinding(const Finding& finding) {
  std::string text;
  if (finding.hypercall != nullptr) text += finding.hypercall->name;
  if (finding.op != nullptr) text += std::string(".") + finding.op->name;
  if (!text.empty()) text += ": ";
  if (finding.entry != kNoIndex) text += Format("call %" PRIu64 ": ", finding.entry);
  if (finding.part != nullptr) {
    text += finding.part->path;
    if (finding.index != kNoIndex) text += Format(" of element %" PRIu64, finding.index);
    if (finding.address.value != 0) text += Format(" at 0x%" PRIx64, finding.address.value);
    if (finding.bytes != 0) text += Format(", %" PRIu64 " bytes", finding.bytes);
    text += ": ";
  }
  text += Describe(finding.problem);
  switch (finding.problem) {
    case Problem::kUnknownOp:
      text += Format(": %" PRIu64, finding.number);
      for (const RemovedOp& op : finding.hypercall->removed) {
        if (op.number == finding.number) text += Format(" (%s, which was removed)", op.constant);
      }
      break;
    case Problem::kUnknownHypercall:
    case Problem::kUnknownVariant:
    case Problem::kTooMany:
      text += Format(": %" PRIu64, finding.number);
      break;
    case Problem::kUnknownVersion: {
      text += Format(": 0x%" PRIx64, finding.number);
      const char* before = ", known are ";
      for (const std::uint32_t version : finding.hypercall->versions) {
        text += Format("%s0x%x", before, version);
        before = ", ";
      }
      break;
    }
    case Problem::kUnreadable:
      text += std::string(": ") + xencomm::Describe(finding.fault.fault);
      break;
    default:
      break;
  }
  return text;
}

}  // namespace xencomm::schema
