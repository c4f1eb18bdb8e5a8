#include "hcall/schema/print.h"

#include <cinttypes>
#include <string>

#include "hcall/schema/count.h"
#include "hcall/schema/format.h"
#include "hcall/schema/words.h"
#include "xencomm/copy.h"

namespace xencomm::schema {
namespace {

std::string FlagNames(const PartWords& part, std::uint64_t value) {
  std::string text;
  std::uint64_t rest = value;
  for (const Constant& constant : Constants()) {
    const auto bits = static_cast<std::uint64_t>(constant.value);
    if (PrefixOf(part, constant) == 0) continue;
    if ((bits & (bits - 1)) != 0 || (rest & bits) == 0) continue;
    if (!text.empty()) text += " | ";
    text += constant.name;
    rest &= ~bits;
  }
  if (rest == 0 && !text.empty()) return text;
  return text.empty() ? Format("0x%" PRIx64, value) : text + Format(" | 0x%" PRIx64, rest);
}

// The fields of one element that have a meaning before the call, but its pointers.
void DescribeFields(const Buffer& buffer, const Caller& caller, std::string& text) {
  alignas(std::uint64_t) std::byte bytes[kMaxRecordSize];
  const std::uint32_t size = buffer.element->size;
  if (buffer.element_record == nullptr || size > sizeof(bytes) || size > buffer.bytes) return;
  if (!CopyFrom(caller.space, buffer.address, 0, bytes, size).ok()) return;
  const RecordView view(bytes, caller.order);
  for (const Part& part : buffer.element_record->parts()) {
    const Member* const member = WordsOf(part).member();
    if (part.is_buffer() || !part.reads() || !view.Has(part, Phase::kBefore)) continue;
    if (part.type().is_record() || (member != nullptr && member->is_array)) continue;
    const std::uint64_t value = view.Read(part.offset, part.size());
    text += Format("    %s = %s\n", WordsOf(part).path, NameValue(part, value).c_str());
  }
}

}  // namespace

std::string NameValue(const Part& part, std::uint64_t value) {
  const PartWords& words = WordsOf(part);
  if (words.naming == Naming::kFlags) return FlagNames(words, value);
  if (words.naming == Naming::kEnum) {
    for (const Constant& constant : Constants()) {
      if (static_cast<std::uint64_t>(constant.value) == value && PrefixOf(words, constant) != 0) {
        return constant.name;
      }
    }
  }
  if (part.type().kind == Kind::kSigned) {
    const unsigned unused = 64 - 8 * part.type().size;
    return Format("%" PRId64, static_cast<std::int64_t>(value << unused) >> unused);
  }
  return value > 0xffff ? Format("0x%" PRIx64, value) : Format("%" PRIu64, value);
}

Finding DescribeCall(const Call& call, const Caller& caller, std::string& text) {
  auto enter = [&](const Op& op) {
    text +=
        Format("%s.%s: %s\n", WordsOf(op.hypercall()).name, WordsOf(op).name, WordsOf(op).about);
    return true;
  };
  auto visit = [&](const Buffer& buffer) {
    const std::string index =
        buffer.index == kNoIndex ? "" : Format(" of element %" PRIu64, buffer.index);
    text += Format("  %s%s -> %s[%" PRIu64 "] at 0x%" PRIx64 ", %" PRIu64 " bytes, %s\n",
                   WordsOf(*buffer.part).path, index.c_str(), WordsOf(*buffer.element).name,
                   buffer.count, buffer.address.value, buffer.bytes, Word(buffer.direction));
    if (buffer.count == 1) DescribeFields(buffer, caller, text);
    return true;
  };
  return ForEachBuffer(call, caller, visit, enter);
}

const char* OpTableJson() { return words::kJson; }

std::string PrintFinding(const Finding& finding) {
  std::string text;
  if (finding.hypercall != nullptr) text += WordsOf(*finding.hypercall).name;
  if (finding.op != nullptr) text += std::string(".") + WordsOf(*finding.op).name;
  if (!text.empty()) text += ": ";
  if (finding.entry != kNoIndex) text += Format("call %" PRIu64 ": ", finding.entry);
  if (finding.part != nullptr) {
    text += WordsOf(*finding.part).path;
    if (finding.index != kNoIndex) text += Format(" of element %" PRIu64, finding.index);
    if (finding.address.value != 0) text += Format(" at 0x%" PRIx64, finding.address.value);
    if (finding.bytes != 0) text += Format(", %" PRIu64 " bytes", finding.bytes);
    text += ": ";
  }
  text += Describe(finding.problem);
  switch (finding.problem) {
    case Problem::kUnknownOp:
      text += Format(": %" PRIu64, finding.number);
      for (const RemovedOp& op : RemovedOps(*finding.hypercall)) {
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
      for (const Version& version : finding.hypercall->versions()) {
        text += Format("%s0x%x", before, version.number);
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
