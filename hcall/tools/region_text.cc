// A region for people who read text, and for programs.

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

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

// The structures that begin or go on in granules [first, end), which are asked for in rising order.
class Holders {
 public:
  explicit Holders(const RegionMap& map) : map_(map), shift_(map.layout.granule_shift()) {
    for (std::size_t i = 0; i < map.structures.size(); ++i) {
      if (map.structures[i].bytes != 0) starts_.emplace(FirstOf(i), i);
    }
  }

  std::string Held(std::uint64_t first, std::uint64_t end) {
    while (!starts_.empty() && starts_.begin()->first < end) {
      const std::size_t index = starts_.begin()->second;
      const Structure& each = map_.structures[index];
      held_.insert(index);
      ends_.emplace((map_.OffsetOf(each) + each.bytes - 1) >> shift_, index);
      starts_.erase(starts_.begin());
    }
    while (!ends_.empty() && ends_.begin()->first < first) {
      held_.erase(ends_.begin()->second);
      ends_.erase(ends_.begin());
    }
    std::string names;
    std::size_t named = 0;
    for (const std::size_t index : held_) {
      if (named == kMostNames) break;
      absl::StrAppend(&names, named == 0 ? "" : "; ", FirstOf(index) < first ? "... " : "",
                      map_.structures[index].name);
      ++named;
    }
    if (named < held_.size()) absl::StrAppend(&names, "; and ", held_.size() - named, " more");
    return names;
  }

 private:
  static constexpr std::size_t kMostNames = 16;

  std::uint64_t FirstOf(std::size_t index) const {
    return map_.OffsetOf(map_.structures[index]) >> shift_;
  }

  const RegionMap& map_;
  const unsigned shift_;
  std::multimap<std::uint64_t, std::size_t> starts_;  // by first granule: those still to come
  std::multimap<std::uint64_t, std::size_t> ends_;    // by last granule: those that are held
  std::set<std::size_t> held_;                        // by the call's order
};

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
  Holders holders(map);
  for (const GranuleRun& run : map.runs) {
    const std::string held = run.kind == Kind::kPayload ? holders.Held(run.first, run.end()) : "";
    const std::string what = held.empty() ? Word(run.kind) : held;
    const bool joins = !lines.empty() && held.empty() && lines.back().what == what;
    if (joins) {
      lines.back().count += run.count;
      ++lines.back().places;
    } else {
      lines.push_back(
          {run.first, run.count, 1, run.has_place() ? Hex(run.physical.value) : "", what});
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
  if (const GranuleRun& last = map.runs.back(); last.kind == Kind::kRest) {
    absl::StrAppendFormat(&text,
                          "\nThe granules from %u on lie in more places than are told apart: %u.\n",
                          last.first, map.runs.size() - 1);
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
    if (run.has_place()) each["guest_physical"] = Hex(run.physical.value);
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
