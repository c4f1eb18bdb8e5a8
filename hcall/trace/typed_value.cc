#include "hcall/trace/typed_value.h"

#include <algorithm>
#include <cctype>
#include <string>
#include <utility>

#include "absl/strings/str_format.h"
#include "hcall/schema/count.h"
#include "hcall/schema/print.h"
#include "hcall/schema/words.h"

namespace xencomm::trace {
namespace {

using schema::Hypercall;
using schema::Kind;
using schema::Local;
using schema::Member;
using schema::Op;
using schema::Part;
using schema::RecordView;
using schema::Type;
using Form = Value::Form;

std::string Characters(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Frames, addresses and bits: those whose digits mean something in hexadecimal alone.
bool IsHexadecimal(std::string_view name) {
  name = name.substr(name.rfind('.') + 1);
  for (const std::string_view count : {"nr_", "num_", "max_", "min_"}) {
    if (name.starts_with(count)) return false;
  }
  for (const std::string_view part :
       {"mfn", "gfn", "pfn", "frame", "addr", "flags", "mask", "caps", "hw_cap", "cr3"}) {
    if (name.find(part) != name.npos) return true;
  }
  return name == "va" || name == "val" || name == "ptr";
}

// The rows of a structure that is the argument of an op elsewhere: names for its numbers.
const Part* PartIn(const Type& type, std::uint64_t offset, std::uint64_t size) {
  for (const Hypercall& hypercall : schema::Hypercalls()) {
    for (const Op& op : hypercall.ops()) {
      if (op.own_type() != &type) continue;
      for (const Part& part : op.argument().parts()) {
        if (part.offset == op.own_offset + offset && part.size() == size && !part.is_buffer()) {
          return &part;
        }
      }
    }
  }
  return nullptr;
}

Value RawOf(Bytes bytes, const Amounts& amounts) {
  Value value = Value::Of(Value::Kind::kBytes);
  const std::size_t shown = std::min(bytes.size(), amounts.bytes);
  value.bytes = Characters(bytes.first(shown));
  value.more = bytes.size() - shown;
  return value;
}

// Without the zeros at its end.
Value TextOf(Bytes bytes, const Amounts& amounts) {
  while (!bytes.empty() && bytes.back() == std::byte{0}) bytes = bytes.first(bytes.size() - 1);
  Value value = RawOf(bytes, amounts);
  value.kind = Value::Kind::kText;
  return value;
}

Value UuidOf(Bytes bytes) {
  Value value = Value::Of(Value::Kind::kText);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) value.bytes += '-';
    absl::StrAppendFormat(&value.bytes, "%02x", std::to_integer<unsigned>(bytes[i]));
  }
  return value;
}

// By the constants that its row is about.
void NameNumber(const Part& part, Value& value) {
  if (value.kind != Value::Kind::kNumber || value.form == Form::kDomain) return;
  if (WordsOf(part).naming == schema::Naming::kNone) return;
  std::string name = schema::NameValue(part, value.number);
  if (std::isalpha(static_cast<unsigned char>(name[0])) != 0) value.name = std::move(name);
}

// What its bytes are, whichever member is meant: one that is as wide as all, without a structure.
const Member* WholeOf(const Type& type) {
  for (const Member& member : MembersOf(type)) {
    if (member.size == type.size && !member.is_array && !member.type().is_record()) return &member;
  }
  return nullptr;
}

void AddMembers(Bytes bytes, const Type& type, const Amounts& amounts, std::vector<Field>& fields) {
  for (const Member& member : MembersOf(type)) {
    const std::string_view name = member.name;
    if (IsPadding(name)) continue;
    if (member.offset + member.size > bytes.size()) return;
    const Bytes its = bytes.subspan(member.offset, member.size);
    const Type& of = member.type();
    if (name.empty() && of.kind == Kind::kStruct) {
      AddMembers(its, of, amounts, fields);
    } else if (of.kind == Kind::kUnion && !member.is_array) {
      // Which of them, nobody says: where it is a number of several names, that.
      const Member* const whole = WholeOf(of);
      const std::string_view its_name = name.empty() && whole != nullptr ? whole->name : name;
      fields.push_back(
          {std::string(its_name), whole != nullptr
                                      ? ScalarOf(its, whole->type().kind, whole->spelling, its_name)
                                      : RawOf(its, amounts)});
    } else if (member.bit_width != 0) {
      const std::uint64_t storage = RecordView(its.data(), kNativeOrder).Read(0, its.size());
      const std::uint64_t mask = ~std::uint64_t{0} >> (64 - member.bit_width);
      fields.push_back({std::string(name), Value::Number(storage >> member.bit_offset & mask)});
    } else if (member.is_array && of.kind == Kind::kCharacter) {
      fields.push_back({std::string(name), NameOf(its, amounts)});
    } else if (member.is_array) {
      Value value = ArrayOf(its, of, member.spelling, name, amounts);
      SetLocal(LocalOf(type, member), false, value);
      fields.push_back({std::string(name), std::move(value)});
    } else if (of.is_record()) {
      fields.push_back({std::string(name), StructOf(its, of, amounts)});
    } else {
      Value value = ScalarOf(its, of.kind, member.spelling, name);
      if (const Part* const part = PartIn(type, member.offset, member.size)) {
        MarkAs(*part, value);
      }
      fields.push_back({std::string(name), std::move(value)});
    }
  }
}

}  // namespace

Value ScalarOf(Bytes bytes, Kind kind, std::string_view spelling, std::string_view name) {
  const std::uint64_t number = RecordView(bytes.data(), kNativeOrder).Read(0, bytes.size());
  if (kind == Kind::kHandle) return Value::Of(Value::Kind::kPointer, number);
  const Local local = schema::LocalOf(spelling);
  if (kind == Kind::kSigned && local == Local::kNo) {
    const unsigned unused = 64 - 8 * static_cast<unsigned>(bytes.size());
    return Value::Number(
        static_cast<std::uint64_t>(static_cast<std::int64_t>(number << unused) >> unused),
        Form::kSigned);
  }
  Value value = Value::Number(number, IsHexadecimal(name) ? Form::kHexadecimal : Form::kPlain);
  SetLocal(local, false, value);
  return value;
}

void SetLocal(Local local, bool is_made, Value& value) {
  if (local == Local::kNo) return;
  if (value.kind == Value::Kind::kList && local != Local::kMachine) {
    for (Value& each : value.elements) SetLocal(local, is_made, each);
    return;
  }
  value.local = local;
  value.is_made = is_made;
  if (local == Local::kDomain) value.form = Form::kDomain;
  if (local == Local::kFrame || local == Local::kAddress) value.form = Form::kHexadecimal;
}

void MarkAs(const Part& part, Value& value) {
  const schema::PartWords& words = WordsOf(part);
  SetLocal(words.local, words.is_made, value);
  value.local_bits = words.local_bits;
  for (Value& each : value.elements) NameNumber(part, each);
  NameNumber(part, value);
}

Value NameOf(Bytes bytes, const Amounts& amounts) {
  const auto end = std::ranges::find(bytes, std::byte{0});
  return TextOf(bytes.first(static_cast<std::size_t>(end - bytes.begin())), amounts);
}

Value BitsOf(Bytes bytes, std::uint64_t all, const Amounts& amounts) {
  Value value = Value::Of(Value::Kind::kBits);
  const std::uint64_t known = std::min<std::uint64_t>(bytes.size() * 8, all);
  for (std::uint64_t bit = 0; bit < known; ++bit) {
    if ((std::to_integer<unsigned>(bytes[bit / 8]) >> bit % 8 & 1) == 0) continue;
    if (!value.ranges.empty() && value.ranges.back().second + 1 == bit) {
      value.ranges.back().second = bit;
    } else if (value.ranges.size() == amounts.elements) {
      value.more = all - bit;
      return value;
    } else {
      value.ranges.emplace_back(bit, bit);
    }
  }
  value.more = all - known;
  return value;
}

Value ArrayOf(Bytes bytes, const Type& type, std::string_view spelling, std::string_view name,
              const Amounts& amounts) {
  if (type.kind == Kind::kCharacter) return TextOf(bytes, amounts);
  if (spelling == "xen_domain_handle_t" && bytes.size() == 16) return UuidOf(bytes);
  if (type.size <= 1) return RawOf(bytes, amounts);
  Value value = Value::Of(Value::Kind::kList);
  const std::size_t count = bytes.size() / type.size;
  const std::size_t shown = std::min(count, amounts.elements);
  for (std::size_t i = 0; i < shown; ++i) {
    const Bytes each = bytes.subspan(i * type.size, type.size);
    value.elements.push_back(type.is_record() ? StructOf(each, type, amounts)
                                              : ScalarOf(each, type.kind, spelling, name));
  }
  value.more = count - shown;
  return value;
}

bool IsPadding(std::string_view name) {
  return name.starts_with("pad") || name.starts_with("_") || name == "reserved";
}

Value StructOf(Bytes bytes, const Type& type, const Amounts& amounts) {
  if (type.kind == Kind::kUnion || bytes.size() < type.size) return RawOf(bytes, amounts);
  Value value = Value::Of(Value::Kind::kStruct);
  AddMembers(bytes, type, amounts, value.fields);
  return value;
}

}  // namespace xencomm::trace
