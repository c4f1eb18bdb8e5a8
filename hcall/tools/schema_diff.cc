#include "hcall/tools/schema_diff.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "hcall/schema/words.h"
#include "hcall/tools/explain.h"

namespace xencomm::tools {
namespace {

using schema::Hypercall;
using schema::Op;
using schema::Part;
using schema::Releases;
using schema::WordsOf;

// What is there twice, before and after. Without one of the two it is new, or gone.
template <class T>
struct Pair {
  std::optional<T> from;
  std::optional<T> to;

  const char* change() const { return !from ? "new" : !to ? "gone" : "changed"; }
};

Json VersionIn(const Hypercall& hypercall, Releases release) {
  for (const schema::Version& version : hypercall.versions()) {
    if ((version.releases & release) != 0) return version.number;
  }
  return nullptr;
}

// What a field is, in words that differ where it does.
std::string ShapeOf(const Part& part, const schema::Record& record) {
  const schema::Member* const member = WordsOf(part).member();
  std::string shape =
      absl::StrFormat("%s at %u, %u bytes", member != nullptr ? member->spelling : "register",
                      part.offset, part.size());
  if (part.direction() != schema::Direction::kIgnored) {
    absl::StrAppend(&shape, ", ", schema::Word(part.direction()));
  }
  if (part.is_buffer()) {
    absl::StrAppend(&shape, ", ", WordsOf(part.element()).name, "[",
                    schema::CountText(part.room(), part, record), "]");
  }
  return shape;
}

// A field in two cases is two.
std::map<std::string, std::string> FieldsOf(const Op& op) {
  std::map<std::string, std::string> fields;
  for (const Part& part : op.argument().parts()) {
    const std::string when = schema::CaseText(part, op.argument());
    const std::string name = absl::StrCat(WordsOf(part).path, when.empty() ? "" : " when ", when);
    fields[name] = ShapeOf(part, op.argument());
  }
  return fields;
}

template <class T>
Json Changes(const std::map<std::string, Pair<T>>& pairs) {
  Json changes = Json::array();
  for (const auto& [name, pair] : pairs) {
    if (pair.from == pair.to) continue;
    Json change = {{"name", name}, {"change", pair.change()}};
    if (pair.from) change["from"] = *pair.from;
    if (pair.to) change["to"] = *pair.to;
    changes.push_back(change);
  }
  return changes;
}

Json FieldChanges(const Op& from, const Op& to) {
  std::map<std::string, Pair<std::string>> fields;
  for (const auto& [name, shape] : FieldsOf(from)) fields[name].from = shape;
  for (const auto& [name, shape] : FieldsOf(to)) fields[name].to = shape;
  return Changes(fields);
}

Json OpChanges(const Hypercall& hypercall, Releases from, Releases to) {
  std::map<std::uint16_t, Pair<const Op*>> ops;
  for (const Op& op : hypercall.ops()) {
    if ((op.releases & from) != 0) ops[op.number].from = &op;
    if ((op.releases & to) != 0) ops[op.number].to = &op;
  }
  Json changes = Json::array();
  for (const auto& [number, op] : ops) {
    if (op.from == op.to) continue;
    const schema::OpWords& words = WordsOf(op.to ? **op.to : **op.from);
    Json change = {{"name", words.name}, {"number", number}, {"change", op.change()}};
    if (op.from && op.to) {
      change["fields"] = FieldChanges(**op.from, **op.to);
    } else {
      change["about"] = words.about;
    }
    changes.push_back(change);
  }
  return changes;
}

}  // namespace

Json DiffReleases(Releases from, Releases to) {
  Json hypercalls = Json::array();
  for (const Hypercall& hypercall : schema::Hypercalls()) {
    Json change = {{"name", WordsOf(hypercall).name}};
    const Json before = VersionIn(hypercall, from);
    const Json after = VersionIn(hypercall, to);
    if (before != after) change["version"] = {{"from", before}, {"to", after}};
    const Json ops = OpChanges(hypercall, from, to);
    if (!ops.empty()) change["ops"] = ops;
    if (change.size() > 1) hypercalls.push_back(change);
  }
  std::map<std::string, Pair<std::int64_t>> constants;
  for (const schema::Constant& constant : schema::Constants()) {
    if ((constant.releases & from) != 0) constants[constant.name].from = constant.value;
    if ((constant.releases & to) != 0) constants[constant.name].to = constant.value;
  }
  return {{"from", schema::ReleasesText(from)},
          {"to", schema::ReleasesText(to)},
          {"hypercalls", hypercalls},
          {"constants", Changes(constants)}};
}

namespace {

// "+ name", "- name", "  name", as diff does.
std::string Mark(const Json& change) {
  const std::string kind = change["change"];
  return absl::StrCat(kind == "new"    ? "+ "
                      : kind == "gone" ? "- "
                                       : "  ",
                      std::string(change["name"]));
}

std::string Value(const Json& value) {
  if (value.is_string()) return value;
  return absl::StrFormat("0x%x", value.get<std::int64_t>());
}

std::string FromTo(const Json& change) {
  if (!change.contains("to")) return Value(change["from"]);
  if (!change.contains("from")) return Value(change["to"]);
  return absl::StrCat(Value(change["from"]), " -> ", Value(change["to"]));
}

}  // namespace

std::string DiffText(const Json& diff) {
  std::string text;
  for (const Json& hypercall : diff["hypercalls"]) {
    absl::StrAppend(&text, std::string(hypercall["name"]));
    if (hypercall.contains("version")) {
      absl::StrAppend(&text, ": interface version ", FromTo(hypercall["version"]));
    }
    text += '\n';
    for (const Json& op : hypercall.value("ops", Json::array())) {
      absl::StrAppend(&text, "  ", Mark(op), " (", op["number"].get<unsigned>(), ")");
      if (op.contains("about")) absl::StrAppend(&text, ": ", std::string(op["about"]));
      text += '\n';
      for (const Json& field : op.value("fields", Json::array())) {
        absl::StrAppend(&text, "      ", Mark(field), ": ", FromTo(field), "\n");
      }
    }
  }
  if (!diff["constants"].empty()) text += "constants\n";
  for (const Json& constant : diff["constants"]) {
    absl::StrAppend(&text, "  ", Mark(constant), ": ", FromTo(constant), "\n");
  }
  if (text.empty()) text = "nothing changed\n";
  return text;
}

}  // namespace xencomm::tools
