#include "hcall/schema/print.h"

#include <cinttypes>
#include <string>

#include "hcall/schema/format.h"
#include "hcall/schema/generated/constants.h"
#include "hcall/schema/words.h"

namespace xencomm::schema {
namespace {

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
