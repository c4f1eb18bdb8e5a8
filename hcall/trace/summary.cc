#include "hcall/trace/summary.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "nlohmann/json.hpp"

namespace xencomm::trace {
namespace {

template <class Rows>
auto ByDuration(const Rows& rows) {
  std::vector<std::pair<std::string, typename Rows::mapped_type>> sorted(rows.begin(), rows.end());
  std::ranges::stable_sort(sorted, std::greater<>(),
                           [](const auto& row) { return row.second.duration; });
  return sorted;
}

}  // namespace

void Summary::Add(const DescribedCall& call, std::uint64_t duration) {
  Row& row = rows_[call.name()];
  // Of a list each has its share.
  row.duration += call.entries > 1 ? duration / call.entries : duration;
  ++row.calls;
  row.errors += call.failed() ? 1 : 0;
}

std::string Summary::Table() const {
  Row all;
  for (const auto& [name, row] : rows_) {
    all.duration += row.duration;
    all.calls += row.calls;
    all.errors += row.errors;
  }
  const auto line = [&](const Row& row, const std::string& name) {
    const double share = all.duration == 0 ? 0
                                           : 100.0 * static_cast<double>(row.duration) /
                                                 static_cast<double>(all.duration);
    const std::uint64_t each = row.calls == 0 ? 0 : row.duration / row.calls / 1000;
    return absl::StrFormat("%6.2f %11.6f %11d %9d %9s %s\n", share,
                           static_cast<double>(row.duration) / 1e9, each, row.calls,
                           row.errors == 0 ? "" : absl::StrCat(row.errors), name);
  };
  const std::string rule = "------ ----------- ----------- --------- --------- ----------------\n";
  std::string text =
      absl::StrCat("% time     seconds  usecs/call     calls    errors hypercall\n", rule);
  for (const auto& [name, row] : ByDuration(rows_)) absl::StrAppend(&text, line(row, name));
  return absl::StrCat(text, rule, line(all, "total"));
}

std::string Summary::Json() const {
  std::string text;
  for (const auto& [name, row] : ByDuration(rows_)) {
    absl::StrAppend(&text,
                    nlohmann::ordered_json{{"call", name},
                                           {"calls", row.calls},
                                           {"errors", row.errors},
                                           {"duration", row.duration}}
                        .dump(),
                    "\n");
  }
  return text;
}

}  // namespace xencomm::trace
