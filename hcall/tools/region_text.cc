// A region for people who read text, and for programs.

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "hcall/schema/words.h"
#include "hcall/tools/region_map.h"

namespace xencomm::tools {
namespace {

using Kind = GranuleRun::Kind;

// Granules first … last, as people write it.
std::string Numbers(std::uint64_t first, std::uint64_t count) {
  return count == 1 ? absl::StrFormat("%u", first)
                    : absl::StrFormat("%u-%u", first, first + count - 1);
}

// The structures that begin or go on in granules [first, end).
std::string Held(const RegionMap& map, std::uint64_t first, std::uint64_t end) {
  const unsigned shift = map.layout.granule_shift();
  std::string held;
  for (const Structure& each : map.structures) {
    const std::uint64_t offset = map.OffsetOf(each);
    if (each.bytes == 0 || offset >> shift >= end || (offset + each.bytes - 1) >> shift < first) {
      continue;
    }
    absl::StrAppend(&held, held.empty() ? "" : "; ", offset >> shift < first ? "... " : "",
                    each.name);
  }
  return held;
}

struct Line {
  std::uint64_t first = 0;
  std::uint64_t count = 0;
  std::uint64_t places = 0;
  std::string where;
  std::string what;
};

// Runs of one kind with nothing in them are one line.
std::vector<Line> Lines(const RegionMap& map) {
  std::vector<Line> lines;
  for (const GranuleRun& run : map.runs) {
    const std::string held = run.kind == Kind::kPayload ? Held(map, run.first, run.end()) : "";
    const std::string what = held.empty() ? Word(run.kind) : held;
    const bool joins = !lines.empty() && held.empty() && lines.back().what == what;
    if (joins) {
      lines.back().count += run.count;
      ++lines.back().places;
    } else {
      lines.push_back({run.first, run.count, 1,
                       run.kind == Kind::kNotBacked ? "" : Hex(run.physical.value), what});
    }
  }
  return lines;
}

void PrintStructure(const RegionMap& map, const Structure& structure, std::string& text) {
  absl::StrAppendFormat(&text, "\n%s: %s[%u], %s at +%#x, %s\n", structure.name, structure.type,
                        structure.count, Bytes(structure.bytes), map.OffsetOf(structure),
                        schema::Word(structure.direction));
  for (const ShownField& field : structure.fields) {
    if (field.target) {
      const Structure& target = map.structures[*field.target];
      absl::StrAppendFormat(&text, "  %5u  %s -> +%#x\n", field.offset, field.name,
                            map.OffsetOf(target));
    } else if (!field.value.empty()) {
      absl::StrAppendFormat(&text, "  %5u  %s = %s\n", field.offset, field.name, field.value);
    } else {
      absl::StrAppendFormat(&text, "  %5u  %s\n", field.offset, field.name);
    }
  }
}

}  // namespace

std::string RegionText(const RegionMap& map) {
  const RegionLayout& layout = map.layout;
  std::string text =
      absl::StrFormat("Region at %#x: %s, %u granules of %s, header at guest-physical %#x\n",
                      layout.virtual_base().value, Bytes(layout.length()), layout.base_count(),
                      Bytes(layout.granule_size()), map.header.value);
  if (!map.call.empty()) absl::StrAppend(&text, "In it: ", map.call, "\n");
  absl::StrAppendFormat(&text, "\n%-11s  %-12s  %-18s  %s\n", "granules", "offset",
                        "guest-physical", "what is there");
  for (const Line& line : Lines(map)) {
    const std::string where = line.places == 1     ? line.where
                              : line.where.empty() ? ""
                                                   : absl::StrFormat("%u places", line.places);
    absl::StrAppendFormat(&text, "%-11s  +%-#11x  %-18s  %s\n", Numbers(line.first, line.count),
                          line.first << layout.granule_shift(), where, line.what);
  }
  for (const Structure& each : map.structures) PrintStructure(map, each, text);
  if (map.cut) absl::StrAppend(&text, "\nThere are more structures.\n");
  return text;
}

Json RegionJson(const RegionMap& map) {
  const RegionLayout& layout = map.layout;
  Json json = {
      {"virtual_base", Hex(layout.virtual_base().value)}, {"length", layout.length()},
      {"granule_shift", layout.granule_shift()},          {"header", Hex(map.header.value)},
      {"payload_offset", layout.payload_offset()},        {"granules", Json::array()}};
  for (const GranuleRun& run : map.runs) {
    Json each = {{"first", run.first}, {"count", run.count}, {"kind", Word(run.kind)}};
    if (run.kind != Kind::kNotBacked) each["guest_physical"] = Hex(run.physical.value);
    json["granules"].push_back(each);
  }
  if (map.call.empty()) return json;
  json["op"] = map.call;
  json["structures"] = Json::array();
  for (const Structure& each : map.structures) {
    Json structure = {{"name", each.name},
                      {"type", each.type},
                      {"count", each.count},
                      {"address", Hex(each.address.value)},
                      {"offset", map.OffsetOf(each)},
                      {"bytes", each.bytes},
                      {"direction", schema::Word(each.direction)},
                      {"fields", Json::array()}};
    for (const ShownField& field : each.fields) {
      Json shown = {{"offset", field.offset}, {"name", field.name}};
      if (!field.value.empty()) shown["value"] = field.value;
      if (field.target) shown["points_to"] = *field.target;
      structure["fields"].push_back(shown);
    }
    json["structures"].push_back(structure);
  }
  if (map.cut) json["cut"] = true;
  return json;
}

}  // namespace xencomm::tools
