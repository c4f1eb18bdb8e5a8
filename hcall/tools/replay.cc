// xencomm replay: the calls of a recording, made again.

#include <cstdint>
#include <cstdio>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "hcall/schema/words.h"
#include "hcall/tools/command.h"
#include "hcall/tools/print.h"
#include "hcall/trace/call_text.h"
#include "hcall/trace/filter.h"
#include "hcall/trace/recording.h"
#include "hcall/trace/replay.h"
#include "hcall/transport/foreign_memory.h"
#include "xencomm/client.h"

namespace xencomm::tools {
namespace {

using trace::CapturedCall;
using trace::DescribedCall;
using trace::Difference;

// The transport of the options; a machine that is made for it answers as the release that was
// recorded, if that is known and nothing else is said.
std::string TransportFor(const Arguments& arguments, const trace::Reading& recorded) {
  const std::string transport = arguments.Transport();
  const Setting parts = SplitSetting(transport);
  // A file says anything.
  const bool is_known =
      recorded.releases != 0 && recorded.releases >> schema::ReleaseNumbers().size() == 0;
  if (parts.name != "embedded" || absl::StrContains(parts.options, "release=") || !is_known) {
    return transport;
  }
  return absl::StrCat(transport, parts.options.empty() ? ":" : ",",
                      "release=", schema::ReleasesText(schema::NewestOf(recorded.releases)));
}

class Report {
 public:
  Report(const trace::Filter& filter, bool is_json) : filter_(filter), is_json_(is_json) {}

  void Add(const CapturedCall& captured, const trace::Replay::Outcome& outcome,
           const trace::Reading& reading) {
    ++calls_;
    if (!outcome.not_made.empty()) {
      for (const DescribedCall& call : Describe(captured, reading, {0, 0})) {
        if (filter_.Shows(call)) ++not_made_[{call.name(), outcome.not_made}];
      }
      return;
    }
    ++made_;
    for (std::size_t i = 0; i < outcome.differences.size(); ++i) {
      if (outcome.differences[i].empty() || !filter_.Shows(outcome.recorded[i])) continue;
      ++different_;
      Show(captured, outcome.recorded[i], outcome.answered[i], outcome.differences[i]);
    }
  }

  void ShowEnd() const {
    if (is_json_) {
      Json not_made = Json::array();
      for (const auto& [what, count] : not_made_) {
        not_made.push_back({{"call", what.first}, {"why", what.second}, {"count", count}});
      }
      PrintLine({{"made", made_}, {"different", different_}, {"not_made", std::move(not_made)}});
      return;
    }
    const auto count_of = [](std::uint64_t count) {
      return absl::StrCat(count, count == 1 ? " was" : " were");
    };
    absl::PrintF("%d call%s %s made again, %s answered otherwise.\n", made_, made_ == 1 ? "" : "s",
                 made_ == 1 ? "was" : "were", different_ == 0 ? "none was" : count_of(different_));
    for (const auto& [what, count] : not_made_) {
      absl::PrintF("Not made: %d of %s: %s.\n", count, what.first, what.second);
    }
    if (different_ != 0) {
      absl::PrintF(
          "Guests' memory and the store are not recorded: what depends on them may differ.\n");
    }
  }

  bool has_difference() const { return different_ != 0; }
  bool has_made() const { return made_ != 0; }

 private:
  void Show(const CapturedCall& captured, const DescribedCall& recorded,
            const DescribedCall& answered, const std::vector<Difference>& differences) const {
    if (is_json_) {
      Json all = Json::array();
      for (const Difference& each : differences) {
        all.push_back(
            {{"where", each.where}, {"recorded", each.recorded}, {"answered", each.answered}});
      }
      PrintLine({{"number", calls_}, {"call", recorded.name()}, {"differences", std::move(all)}});
      return;
    }
    for (const Difference& each : differences) {
      absl::PrintF("call %d (%s %d), %s: %s: recorded %s, answered %s\n", calls_,
                   absl::CHexEscape(captured.program), captured.process, recorded.name(),
                   each.where, each.recorded, each.answered);
    }
    absl::PrintF("  recorded  %s\n  answered  %s\n", CallText(recorded, {}, false),
                 CallText(answered, {}, false));
  }

  // As xencomm trace writes them, a line for each.
  static void PrintLine(const Json& json) {
    std::puts(json.dump(-1, ' ', false, Json::error_handler_t::replace).c_str());
  }

  const trace::Filter& filter_;
  const bool is_json_;
  std::uint64_t calls_ = 0;
  std::uint64_t made_ = 0;
  std::uint64_t different_ = 0;
  std::map<std::pair<std::string, std::string>, std::uint64_t> not_made_;
};

absl::StatusOr<int> Run(const Arguments& arguments) {
  if (arguments.Operand().empty()) {
    return absl::InvalidArgumentError("expected the file that xencomm trace --binary wrote");
  }
  trace::Filter filter;
  for (const std::string& expression : arguments.All("filter")) {
    const absl::Status added = filter.Add(expression);
    if (!added.ok()) return added;
  }
  auto recording = trace::RecordingReader::Open(arguments.Operand());
  if (!recording.ok()) return recording.status();
  const trace::Reading reading = recording->reading();
  const std::string transport = TransportFor(arguments, reading);
  const auto client = Client::Open(transport);
  if (!client.ok()) return client.status();
  const auto memory = OpenForeignMemory(transport);
  if (!memory.ok()) return memory.status();

  trace::Replay replay(**client, memory->get(), reading);
  Report report(filter, arguments.Has("json"));
  while (!report.has_difference() || arguments.Has("all")) {
    const auto call = recording->Next();
    if (!call.ok()) {
      report.ShowEnd();
      return call.status();
    }
    if (!call->has_value()) break;
    report.Add(**call, replay.Make(**call), reading);
  }
  report.ShowEnd();
  return report.has_difference() || !report.has_made() ? 1 : 0;
}

}  // namespace

Command ReplayCommand() {
  return {
      .name = "replay",
      .summary = "Make the calls of a recording again, and compare the answers",
      .description =
          "FILE is what xencomm trace --binary wrote, on real Xen or on a machine. Its calls are "
          "made one after another, as domain 0, and the first one that is answered otherwise is "
          "named, with each field that differs. So a trace of a host becomes a test: of this "
          "library's hypervisor, or with --xen of the host's Xen, which is changed as the calls "
          "say. Without options the machine is one "
          "of its own that answers as the release that was recorded; it may want the host's "
          "--cpus and --memory.\n\n"
          "What the other machine has numbered by itself (domains, frames, event channels, grant "
          "mappings, pools of processors) is called by the numbers that it has here. Not compared "
          "is what belongs to a machine: sizes, times, versions, counters; xencomm schema --json "
          "says of which fields (local).\n\n"
          "Guests' memory and the store are not recorded: a domain that is built anew is empty, "
          "and what its vcpus did does not happen. Calls are not made that the op table does not "
          "know, whose memory was not recorded whole, that are about a process and its mappings, "
          "or about something that was there before the recording: they are counted. The exit "
          "code is 1 when something was answered otherwise, or no call was made at all.",
      .options = {{.name = "all", .value = "", .help = "go on after a difference", .letter = 'a'},
                  {.name = "filter",
                   .value = "EXPR",
                   .help = "compare only such calls, as xencomm trace -e says; all are made",
                   .letter = 'e'},
                  {.name = "json", .value = "", .help = "for programs"}},
      .operands = {kFileValue},
      .connects = Command::Connects::kAnywhere,
      .examples = {{"What a host's xl create asked of Xen, asked of a machine like it.",
                    "xencomm replay --cpus=16 --memory=32G create.trace"}},
      .run = Run,
  };
}

}  // namespace xencomm::tools
