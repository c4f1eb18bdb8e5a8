#include "hcall/schema/print.h"

#include <algorithm>
#include <cinttypes>
#include <cstring>
#include <string>
#include <vector>

#include "hcall/schema/count.h"
#include "hcall/schema/format.h"
#include "hcall/schema/generated/constants.h"
#include "hcall/schema/words.h"
#include "xencomm/copy.h"

namespace xencomm::schema {
namespace {

// Elements of a buffer, and bytes of text, that are shown.
constexpr std::uint64_t kShownElements = 8;
constexpr std::uint64_t kShownText = 64;

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
    const Finding finding = ForEachBuffer(call, caller_, visit, enter);
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
    if (PrefixOf(part, constant) == 0) continue;
    if (bits == 0 || (bits & (bits - 1)) != 0 || (rest & bits) == 0) continue;
    if (!text.empty()) text += " | ";
    text += constant.name;
    rest &= ~bits;
  }
  if (rest == 0 && !text.empty()) return text;
  return text.empty() ? Format("0x%" PRIx64, value) : text + Format(" | 0x%" PRIx64, rest);
}

}  // namespace

std::string NameValue(const Part& part, std::uint64_t value) {
  if (part.naming == Naming::kFlags) return FlagNames(part, value);
  if (part.naming == Naming::kEnum) {
    for (const Constant& constant : kConstants) {
      if (static_cast<std::uint64_t>(constant.value) == value && PrefixOf(part, constant) != 0) {
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
