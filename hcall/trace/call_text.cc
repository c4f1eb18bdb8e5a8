#include "hcall/trace/call_text.h"

#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "hcall/schema/generated/xen.h"
#include "nlohmann/json.hpp"

namespace xencomm::trace {
namespace {

using Kind = Value::Kind;
using Form = Value::Form;

// As the headers have them; "" of an ordinary domain.
const char* ReservedDomain(std::uint64_t domain) {
  switch (domain) {
    case DOMID_SELF:
      return "DOMID_SELF";
    case DOMID_IO:
      return "DOMID_IO";
    case DOMID_XEN:
      return "DOMID_XEN";
    case DOMID_COW:
      return "DOMID_COW";
    case DOMID_INVALID:
      return "DOMID_INVALID";
    case DOMID_IDLE:
      return "DOMID_IDLE";
    default:
      return "";
  }
}

std::string NumberText(const Value& value) {
  switch (value.form) {
    case Form::kSigned:
      return absl::StrCat(static_cast<std::int64_t>(value.number));
    case Form::kHexadecimal:
      return absl::StrFormat("0x%x", value.number);
    default:
      return absl::StrCat(value.number);
  }
}

// As a string of C.
std::string Quoted(const std::string& bytes) {
  std::string text = "\"";
  for (const char each : bytes) {
    const auto byte = static_cast<unsigned char>(each);
    switch (each) {
      case '"':
      case '\\':
        text += '\\';
        text += each;
        break;
      case '\n':
        text += "\\n";
        break;
      case '\t':
        text += "\\t";
        break;
      case '\r':
        text += "\\r";
        break;
      default:
        if (byte >= 0x20 && byte < 0x7f) {
          text += each;
        } else {
          absl::StrAppendFormat(&text, "\\x%02x", byte);
        }
    }
  }
  return text + '"';
}

struct Writer {
  const DomainNames& names;

  std::string Text(const Value& value) const {
    std::string text = Plain(value);
    if (!value.after.empty()) absl::StrAppend(&text, " => ", Plain(value.after[0]));
    return text;
  }

  std::string Plain(const Value& value) const {
    switch (value.kind) {
      case Kind::kNumber:
        return Number(value);
      case Kind::kText:
      case Kind::kBytes:
        return Quoted(value.bytes) + (value.more != 0 ? "..." : "");
      case Kind::kBits:
        return Bits(value);
      case Kind::kPointer:
        return value.number == 0 ? "NULL" : absl::StrFormat("0x%x", value.number);
      case Kind::kList: {
        std::string text = "[";
        for (const Value& each : value.elements) {
          absl::StrAppend(&text, text.size() > 1 ? ", " : "", Text(each));
        }
        if (value.more != 0) absl::StrAppend(&text, value.elements.empty() ? "..." : ", ...");
        return text + "]";
      }
      case Kind::kStruct:
        return absl::StrCat("{", Fields(value.fields), "}");
    }
    return "";
  }

  std::string Number(const Value& value) const {
    if (!value.name.empty()) return absl::StrReplaceAll(value.name, {{" | ", "|"}});
    if (value.form != Form::kDomain) return NumberText(value);
    const char* const reserved = ReservedDomain(value.number);
    if (reserved[0] != '\0') return reserved;
    const std::string name = names ? names(static_cast<std::uint16_t>(value.number)) : "";
    const std::string number = NumberText(value);
    if (name.empty()) return number;
    const std::string quoted = Quoted(name);
    return absl::StrCat(number, "<", quoted.substr(1, quoted.size() - 2), ">");
  }

  static std::string Bits(const Value& value) {
    std::string text = "{";
    for (const auto& [first, last] : value.ranges) {
      absl::StrAppend(&text, text.size() > 1 ? "," : "", first);
      if (last != first) absl::StrAppend(&text, "-", last);
    }
    if (value.more != 0) absl::StrAppend(&text, text.size() > 1 ? ",..." : "...");
    return text + "}";
  }

  std::string Fields(const std::vector<Field>& fields) const {
    std::string text;
    for (const Field& field : fields) {
      absl::StrAppend(&text, text.empty() ? "" : ", ");
      if (!field.name.empty()) absl::StrAppend(&text, field.name, "=");
      absl::StrAppend(&text, Text(field.value));
    }
    return text;
  }
};

}  // namespace

std::string ValueText(const Value& value, const DomainNames& names) {
  return Writer{names}.Text(value);
}

std::string ResultText(const DescribedCall& call) {
  if (!call.result) return "?";
  if (!call.failed()) return absl::StrCat(*call.result);
  // The least number has no opposite.
  const std::int64_t error =
      *call.result == std::numeric_limits<std::int64_t>::min() ? 0 : -*call.result;
  if (error == 0) return absl::StrCat(*call.result);
  const char* const words = error < 4096 ? strerrordesc_np(static_cast<int>(error)) : nullptr;
  return absl::StrCat("-1 ", ErrnoName(error),
                      words != nullptr ? absl::StrCat(" (", words, ")") : "");
}

namespace {

using Json = nlohmann::ordered_json;

// JSON has no bytes that are no text.
Json JsonText(const std::string& bytes) {
  Json text = bytes;
  try {
    (void)text.dump();
    return text;
  } catch (const Json::type_error&) {
    return Json{{"bytes", absl::BytesToHexString(bytes)}};
  }
}

Json ToJson(const Value& value);

Json ToJson(const std::vector<Field>& fields) {
  Json object = Json::object();
  for (const Field& field : fields) object[field.name] = ToJson(field.value);
  return object;
}

// What is cut is not taken for all of it.
Json Cut(const char* what, Json shown, std::uint64_t more) {
  if (more == 0) return shown;
  return Json{{what, std::move(shown)}, {"more", more}};
}

Json PlainJson(const Value& value) {
  switch (value.kind) {
    case Kind::kNumber: {
      Json number = value.number;
      if (value.form == Form::kSigned) number = static_cast<std::int64_t>(value.number);
      const std::string name = value.form == Form::kDomain && value.name.empty()
                                   ? ReservedDomain(value.number)
                                   : value.name;
      if (name.empty()) return number;
      return Json{{"value", number}, {"name", name}};
    }
    case Kind::kText:
      return Cut("text", JsonText(value.bytes), value.more);
    case Kind::kBytes: {
      Json bytes = {{"bytes", absl::BytesToHexString(value.bytes)}};
      if (value.more != 0) bytes["more"] = value.more;
      return bytes;
    }
    case Kind::kBits: {
      Json ranges = Json::array();
      for (const auto& [first, last] : value.ranges) ranges.push_back(Json::array({first, last}));
      Json bits = {{"bits", ranges}};
      if (value.more != 0) bits["more"] = value.more;
      return bits;
    }
    case Kind::kPointer:
      return value.number == 0 ? Json() : Json{{"pointer", value.number}};
    case Kind::kList: {
      Json list = Json::array();
      for (const Value& each : value.elements) list.push_back(ToJson(each));
      return Cut("list", std::move(list), value.more);
    }
    case Kind::kStruct:
      return ToJson(value.fields);
  }
  return {};
}

Json ToJson(const Value& value) {
  if (value.after.empty()) return PlainJson(value);
  return Json{{"before", PlainJson(value)}, {"after", PlainJson(value.after[0])}};
}

std::string LineOf(const Json& object) {
  return object.dump(-1, ' ', false, Json::error_handler_t::replace);
}

constexpr char kBold[] = "\033[1m", kRed[] = "\033[31m", kGrey[] = "\033[2m", kOff[] = "\033[0m";

}  // namespace

std::string ErrnoName(std::int64_t error) {
  const bool is_one = error > 0 && error < 4096;
  const char* const name = is_one ? strerrorname_np(static_cast<int>(error)) : nullptr;
  return name != nullptr ? name : absl::StrCat("errno ", error);
}

std::string CallText(const DescribedCall& call, const DomainNames& names, bool has_colours) {
  const auto in = [&](const char* colour, const std::string& text) {
    return has_colours ? absl::StrCat(colour, text, kOff) : text;
  };
  std::string text =
      absl::StrCat(in(kBold, call.name()), "(", Writer{names}.Fields(call.arguments), ") = ");
  absl::StrAppend(&text, call.failed() ? in(kRed, ResultText(call)) : ResultText(call));
  if (call.entries > 1) {
    absl::StrAppend(&text, in(kGrey, absl::StrFormat(" (call %d of %d in a list)", call.entry + 1,
                                                     call.entries)));
  }
  if (call.continuations != 0) {
    absl::StrAppend(&text, in(kGrey, absl::StrFormat(" (continued %d times)", call.continuations)));
  }
  if (!call.note.empty()) absl::StrAppend(&text, in(kGrey, absl::StrCat(" /* ", call.note, " */")));
  return text;
}

std::string CallJson(const CapturedCall& captured, const DescribedCall& call,
                     const DomainNames& names) {
  Json line;
  line["time"] = captured.time;
  line["process"] = captured.process;
  line["thread"] = captured.thread;
  line["program"] = JsonText(captured.program);
  line["call"] = call.name();
  // What a pointer of a register leads to has no name where it is all that there is.
  Json arguments = Json::object();
  for (const Field& field : call.arguments) {
    Json value = ToJson(field.value);
    if (!field.name.empty()) {
      arguments[field.name] = std::move(value);
    } else if (value.is_object() && !value.contains("pointer")) {
      for (auto& [name, each] : value.items()) {
        arguments[arguments.contains(name) ? "u." + name : name] = each;
      }
    } else {
      arguments[absl::StrCat(arguments.size())] = std::move(value);
    }
  }
  line["arguments"] = std::move(arguments);
  line["result"] = call.result ? Json(*call.result) : Json();
  if (call.failed() && *call.result >= -4095) line["errno"] = ErrnoName(-*call.result);
  line["duration"] = captured.duration;
  if (call.entry != schema::kNoIndex) {
    line["list"] = {{"call", call.entry}, {"of", call.entries}};
  }
  if (call.continuations != 0) line["continuations"] = call.continuations;
  if (!call.note.empty()) line["note"] = call.note;
  if (names) {
    Json known = Json::object();
    for (const std::uint16_t domain : call.domains) {
      const std::string name = names(domain);
      if (!name.empty()) known[absl::StrCat(domain)] = JsonText(name);
    }
    if (!known.empty()) line["domains"] = std::move(known);
  }
  return LineOf(line);
}

std::string EventJson(std::uint64_t time, std::int32_t process, const std::string& program,
                      const std::string& event) {
  Json line;
  line["time"] = time;
  line["process"] = process;
  line["program"] = JsonText(program);
  line["event"] = event;
  return LineOf(line);
}

}  // namespace xencomm::trace
