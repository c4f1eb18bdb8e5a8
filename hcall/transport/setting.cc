#include "hcall/transport/setting.h"

#include <charconv>
#include <functional>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "hcall/schema/words.h"
#include "xencomm/address.h"
#include "xencomm/sentence.h"

namespace xencomm {
namespace {

struct SpaceWord {
  const char* name;
  SpaceOption space;
};
constexpr SpaceWord kSpaceWords[] = {
    {"direct", SpaceOption::kDirect},       {"walk4", SpaceOption::kWalk4},
    {"walk5", SpaceOption::kWalk5},         {"region", SpaceOption::kRegion},
    {"stateless", SpaceOption::kStateless}, {"xcom", SpaceOption::kXcom},
    {"inline", SpaceOption::kInline},
};

std::string SpaceNames() {
  return absl::StrJoin(kSpaceWords, ", ", [](std::string* out, const SpaceWord& word) {
    absl::StrAppend(out, word.name);
  });
}

bool ParseSpace(const std::string& value, EmbeddedSetting& setting) {
  for (const SpaceWord& word : kSpaceWords) {
    if (value == word.name) {
      setting.space = word.space;
      setting.machine.xcom = IsHistorical(word.space);
      return true;
    }
  }
  return false;
}

// A number of bytes with an optional K, M or G, within [least, most], in whole pages.
std::optional<std::uint64_t> ParseBytes(const std::string& value, std::uint64_t least,
                                        std::uint64_t most) {
  std::uint64_t number = 0;
  const char* const end = value.data() + value.size();
  const auto [rest, error] = std::from_chars(value.data(), end, number);
  if (error != std::errc()) return std::nullopt;
  unsigned shift = 0;
  if (rest != end) {
    constexpr std::string_view kSuffixes = "KMG";
    const std::size_t suffix = kSuffixes.find(*rest);
    if (suffix == std::string_view::npos || rest + 1 != end) return std::nullopt;
    shift = 10 * (static_cast<unsigned>(suffix) + 1);
  }
  if (number > most >> shift || number << shift < least || !IsAligned(number << shift, 4096)) {
    return std::nullopt;
  }
  return number << shift;
}

bool ParseCount(const std::string& value, unsigned most, unsigned& count) {
  unsigned number = 0;
  const char* const end = value.data() + value.size();
  const auto [rest, error] = std::from_chars(value.data(), end, number);
  if (error != std::errc() || rest != end || number == 0 || number > most) return false;
  count = number;
  return true;
}

struct Option : EmbeddedOption {
  std::function<bool(const std::string&, EmbeddedSetting&)> parse;
};

std::string ReleaseNames() {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < schema::ReleaseNumbers().size(); ++i) {
    names.push_back(schema::ReleasesText(static_cast<schema::Releases>(1 << i)));
  }
  return absl::StrJoin(names, ", ");
}

const std::vector<Option>& Options() {
  static const auto* const kReleases = new std::string(ReleaseNames());
  static const auto* const kSpaces = new std::string(SpaceNames());
  static const auto* const kOptions = new std::vector<Option>{
      {{"space", kSpaces->c_str(), "how the hypervisor reaches arguments (region)"}, ParseSpace},
      {{"release", kReleases->c_str(), "the release of Xen that it answers as (4.17)"},
       [](const std::string& value, EmbeddedSetting& setting) {
         const std::optional<schema::Releases> release = schema::ParseRelease(value);
         if (release) setting.machine.release = *release;
         return release.has_value();
       }},
      {{"memory", "64M to 64G", "the machine's memory (8G)"},
       [](const std::string& value, EmbeddedSetting& setting) {
         const auto bytes = ParseBytes(value, std::uint64_t{64} << 20, std::uint64_t{64} << 30);
         if (bytes) setting.machine.memory_bytes = *bytes;
         return bytes.has_value();
       }},
      {{"dom0", "16M to 16G", "domain 0's share of it (1152M)"},
       [](const std::string& value, EmbeddedSetting& setting) {
         const auto bytes = ParseBytes(value, std::uint64_t{16} << 20, std::uint64_t{16} << 30);
         if (bytes) setting.machine.dom0_bytes = *bytes;
         return bytes.has_value();
       }},
      {{"cpus", "1 to 64", "the machine's processors (4)"},
       [](const std::string& value, EmbeddedSetting& setting) {
         return ParseCount(value, 64, setting.machine.cpus);
       }},
      {{"vcpus", "1 to 64", "domain 0's vcpus: as many calls at a time (16)"},
       [](const std::string& value, EmbeddedSetting& setting) {
         return ParseCount(value, 64, setting.machine.vcpus);
       }},
      {{"max-domains", "1 to 32751", "domains besides domain 0, at a time (32751)"},
       [](const std::string& value, EmbeddedSetting& setting) {
         return ParseCount(value, kMostDomains, setting.machine.max_domains);
       }},
      {{"console", "on, off", "the hypervisor's messages on stderr (off)"},
       [](const std::string& value, EmbeddedSetting& setting) {
         setting.machine.console = value == "on";
         return value == "on" || value == "off";
       }},
  };
  return *kOptions;
}

}  // namespace

Setting SplitSetting(const std::string& setting) {
  const std::size_t colon = setting.find(':');
  if (colon == std::string::npos) return {setting, ""};
  return {setting.substr(0, colon), setting.substr(colon + 1)};
}

absl::StatusOr<EmbeddedSetting> ParseEmbeddedSetting(const std::string& options) {
  EmbeddedSetting setting;
  if (options.empty()) return setting;
  const std::vector<std::string> words = absl::StrSplit(options, ',');
  for (const std::string& word : words) {
    const std::size_t equals = word.find('=');
    const std::string name = word.substr(0, equals);
    const Option* found = nullptr;
    for (const Option& option : Options()) {
      if (name == option.name) found = &option;
    }
    if (found == nullptr || equals == std::string::npos) {
      return absl::InvalidArgumentError(Sentence(
          "'%s' is no option of the embedded hypervisor: expected OPTION=VALUE with one of %s",
          word, absl::StrJoin(Options(), ", ", [](std::string* out, const Option& option) {
            absl::StrAppend(out, option.name);
          })));
    }
    const std::string value = word.substr(equals + 1);
    if (!found->parse(value, setting)) {
      return absl::InvalidArgumentError(Sentence("%s=%s: expected %s", name, value, found->takes));
    }
  }
  if (setting.machine.dom0_bytes > setting.machine.memory_bytes / 4 * 3) {
    return absl::InvalidArgumentError(
        Sentence("dom0=%uM: expected at most three quarters of the machine's memory=%uM",
                 setting.machine.dom0_bytes >> 20, setting.machine.memory_bytes >> 20));
  }
  return setting;
}

absl::StatusOr<JoinedSetting> ParseJoinedSetting(const std::string& options) {
  // A path may have commas.
  const std::size_t domain = options.rfind(",domain=");
  if (domain != std::string::npos) {
    const std::string value = options.substr(domain + std::string_view(",domain=").size());
    std::uint32_t id = 0;
    if (!absl::SimpleAtoi(value, &id) || id >= kMostDomains + 1) {
      return absl::InvalidArgumentError(
          Sentence("domain=%s: expected the id of a domain, at most %u", value, kMostDomains));
    }
    absl::StatusOr<JoinedSetting> rest = ParseJoinedSetting(options.substr(0, domain));
    if (rest.ok()) rest->domain = id;
    return rest;
  }
  const std::size_t comma = options.rfind(",space=");
  JoinedSetting joined = {.path = options.substr(0, comma)};
  if (joined.path.empty()) {
    return absl::InvalidArgumentError("machine: expected the path of a machine's socket behind it");
  }
  if (comma == std::string::npos) return joined;
  const std::string value = options.substr(comma + std::string_view(",space=").size());
  EmbeddedSetting setting;
  if (!ParseSpace(value, setting)) {
    return absl::InvalidArgumentError(Sentence("space=%s: expected %s", value, SpaceNames()));
  }
  if (setting.space == SpaceOption::kDirect || setting.machine.xcom) {
    return absl::InvalidArgumentError(Sentence(
        "space=%s: a machine of another process reaches arguments by region, stateless, walk4 or "
        "walk5",
        value));
  }
  joined.space = setting.space;
  return joined;
}

std::vector<EmbeddedOption> EmbeddedOptions() { return {Options().begin(), Options().end()}; }

}  // namespace xencomm
