#include "hcall/trace/filter.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "absl/algorithm/container.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "hcall/schema/words.h"
#include "hcall/trace/device_requests.h"

namespace xencomm::trace {
namespace {

constexpr char kAllHypercalls[] = "hypercall";

const std::set<std::string>& Names() {
  static const auto* const kNames = [] {
    auto* const names = new std::set<std::string>{kAllHypercalls, "failed"};
    for (const schema::Hypercall& hypercall : schema::Hypercalls()) {
      const std::string group = WordsOf(hypercall).name;
      names->insert(group);
      if (hypercall.op_place == schema::OpPlace::kNone) continue;
      for (const schema::Op& op : hypercall.ops()) {
        names->insert(absl::StrCat(group, ".", WordsOf(op).name));
      }
    }
    for (const DeviceRequest& request : DeviceRequests()) {
      names->insert(request.device);
      names->insert(absl::StrCat(request.device, ".", request.name));
    }
    return names;
  }();
  return *kNames;
}

// How many characters have to be changed, put in or left out to make one of the other.
std::size_t Distance(const std::string& one, const std::string& other) {
  std::vector<std::size_t> row(other.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < one.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < other.size(); ++j) {
      const std::size_t replaced = diagonal + (one[i] == other[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({row[j] + 1, diagonal + 1, replaced});
    }
  }
  return row.back();
}

// A whole name, or an op of any group: "populate_physmp" is memory_op.populate_physmap.
std::string Nearest(const std::string& word) {
  std::string nearest;
  std::size_t least = ~std::size_t{0};
  for (const std::string& name : Names()) {
    std::size_t distance = Distance(word, name);
    if (!absl::StrContains(word, '.')) {
      const std::string op = name.substr(name.find('.') + 1);
      distance = std::min(distance, Distance(word, op) + 1);
    }
    if (distance < least) {
      least = distance;
      nearest = name;
    }
  }
  return nearest;
}

}  // namespace

absl::Status Filter::Add(const std::string& expression) {
  Expression added;
  absl::string_view words = expression;
  added.is_not = absl::ConsumePrefix(&words, "!");
  const std::vector<std::string> all = absl::StrSplit(words, ',');
  for (const std::string& word : all) {
    absl::string_view rest = word;
    std::uint32_t domain;
    if (absl::ConsumePrefix(&rest, "dom=")) {
      if (!absl::SimpleAtoi(rest, &domain) || domain > 0xffff) {
        return absl::InvalidArgumentError(absl::StrFormat(
            "-e %s: '%s' is no domain: expected an id, 0 to 65535", expression, rest));
      }
      added.domains.push_back(static_cast<std::uint16_t>(domain));
    } else if (word == "failed") {
      added.failed = true;
    } else if (Names().contains(word)) {
      added.names.push_back(word);
    } else {
      return absl::InvalidArgumentError(absl::StrFormat(
          "-e %s: '%s' names no call: the nearest name is %s", expression, word, Nearest(word)));
    }
  }
  expressions_.push_back(std::move(added));
  return absl::OkStatus();
}

bool Filter::Shows(const DescribedCall& call) const {
  const auto has = [&](const std::string& name) {
    return name == call.group || name == call.name() ||
           (name == kAllHypercalls && call.is_hypercall);
  };
  // Of several expressions with names, one is enough; of all else, each is asked.
  bool is_named = true, was_named = false;
  for (const Expression& each : expressions_) {
    const bool names = absl::c_any_of(each.names, has);
    const bool domains =
        each.domains.empty() || absl::c_any_of(each.domains, [&](std::uint16_t domain) {
          return absl::c_linear_search(call.domains, domain);
        });
    const bool rest = domains && (!each.failed || call.failed());
    if (each.is_not) {
      if ((each.names.empty() || names) && rest) return false;
      continue;
    }
    if (!rest) return false;
    if (each.names.empty()) continue;
    is_named = false;
    was_named |= names;
  }
  return is_named || was_named;
}

}  // namespace xencomm::trace
