#include "hcall/schema/words.h"

#include <algorithm>
#include <cinttypes>
#include <cstdint>
#include <string>
#include <string_view>

#include "hcall/schema/format.h"
#include "hcall/schema/generated/constants.h"

namespace xencomm::schema {
namespace {

// The constant's name for a discriminator's value, when a row for the field has a prefix.
std::string ValueText(Ref field, const Record& record, std::int64_t value) {
  for (const Part& part : record.parts) {
    if (part.offset != field.offset || part.size != field.size || part.prefix == nullptr) continue;
    for (const Constant& constant : kConstants) {
      if (constant.value == value && PrefixOf(part, constant) != 0) return constant.name;
    }
  }
  return value > 0xffff ? Format("0x%" PRIx64, static_cast<std::uint64_t>(value))
                        : std::to_string(value);
}

const Part* PartAt(Ref field, const Record& record) {
  for (const Part& part : record.parts) {
    if (part.offset == field.offset && part.size == field.size) return &part;
  }
  return nullptr;
}

bool IsSame(const Test& a, const Test& b) {
  return a.field.offset == b.field.offset && a.field.size == b.field.size &&
         a.is_flags == b.is_flags && a.is_not == b.is_not &&
         std::equal(a.values.begin(), a.values.end(), b.values.begin(), b.values.end());
}

bool AreInSameCase(const Part& a, const Part& b) {
  return IsSame(a.tests[0], b.tests[0]) && IsSame(a.tests[1], b.tests[1]);
}

}  // namespace

const char* Word(Direction direction) {
  switch (direction) {
    case Direction::kIn:
      return "in";
    case Direction::kOut:
      return "out";
    case Direction::kInOut:
      return "in out";
    case Direction::kIgnored:
      return "";
  }
  return "";
}

const char* Word(Kind kind) {
  switch (kind) {
    case Kind::kVoid:
      return "void";
    case Kind::kUnsigned:
      return "unsigned";
    case Kind::kSigned:
      return "signed";
    case Kind::kCharacter:
      return "character";
    case Kind::kStruct:
      return "struct";
    case Kind::kUnion:
      return "union";
    case Kind::kHandle:
      return "handle";
  }
  return "";
}

std::size_t PrefixOf(const Part& part, const Constant& constant) {
  if ((constant.headers & part.headers) == 0) return 0;
  return PrefixOf(constant, part.prefix, part.scope, part.except);
}

std::string NameOf(Ref field, const Record& record, const Op* registers_of, const Part* beside) {
  if (registers_of != nullptr) {
    return registers_of->hypercall->registers[field.offset / sizeof(std::uint64_t)];
  }
  const Part* part = PartAt(field, record);
  for (const Part& each : record.parts) {
    const bool is_there = each.offset == field.offset && each.size == field.size;
    if (is_there && beside != nullptr && AreInSameCase(each, *beside)) part = &each;
  }
  return part != nullptr ? part->path : "byte " + std::to_string(field.offset);
}

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
      for (const Field& field : part.element->members()) {
        if (field.offset == amount.a.offset) return std::string("up to a zero ") + field.name;
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
  for (const Test& test : part.tests) {
    if (!test.field) continue;
    if (!text.empty()) text += ", ";
    text += NameOf(test.field, record);
    text += test.is_flags ? (test.is_not ? " has not " : " has ")
            : test.is_not ? " is not "
                          : " is ";
    bool is_first = true;
    for (const std::int64_t value : test.values) {
      if (!is_first) text += " or ";
      is_first = false;
      text += ValueText(test.field, record, value);
    }
  }
  return text;
}

}  // namespace xencomm::schema
