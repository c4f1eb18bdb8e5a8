#include "hcall/tools/command.h"

#include <getopt.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"

namespace xencomm::tools {
namespace {

// getopt's values for options: beyond every character, which are those of short ones.
constexpr int kFirstOption = 0x1000;

// The transport's options, in a form that all commands share.
std::vector<Option> TransportOptions(Command::Connects connects) {
  std::vector<Option> options;
  if (connects == Command::Connects::kNowhere) return options;
  for (const EmbeddedOption& each : EmbeddedOptions()) {
    const std::string name = each.name;
    // Where nothing but the embedded machine is looked at, no call is made.
    if (connects == Command::Connects::kEmbedded && name == "space") continue;
    const std::string takes = each.takes;
    const bool is_range = absl::StrContains(takes, " to ");
    options.push_back({name, is_range ? "SIZE" : "WORD", absl::StrCat(each.help, "; ", takes),
                       is_range ? "" : absl::StrReplaceAll(takes, {{", ", " "}})});
    if (name == "cpus" || name == "vcpus") options.back().value = "COUNT";
  }
  if (connects == Command::Connects::kAnywhere) {
    options.push_back(
        {"xen", "", "the Xen that this machine runs on, not the embedded hypervisor"});
  }
  return options;
}

bool IsEmbedded(const std::string& name) {
  const std::vector<EmbeddedOption> all = EmbeddedOptions();
  return std::any_of(all.begin(), all.end(),
                     [&](const EmbeddedOption& each) { return name == each.name; });
}

std::string Spelled(const Option& option) {
  return absl::StrCat("--", option.name, option.value.empty() ? "" : "=", option.value);
}

std::string ExpectedOptions(const std::vector<Option>& options) {
  return absl::StrJoin(options, ", ", [](std::string* out, const Option& option) {
    absl::StrAppend(out, "--", option.name);
  });
}

}  // namespace

std::span<const Command* const> Commands() {
  static const Command* const kCommands[] = {&RunCommand(),    &InfoCommand(), &ListCommand(),
                                             &LayoutCommand(), &WalkCommand(), &SchemaCommand()};
  return kCommands;
}

std::vector<Option> AllOptions(const Command& command) {
  std::vector<Option> options = command.options;
  for (Option& each : TransportOptions(command.connects)) options.push_back(std::move(each));
  options.push_back({"help", "", "this text"});
  return options;
}

absl::StatusOr<Arguments> Arguments::Parse(const Command& command, std::span<char*> words) {
  const std::vector<Option> options = AllOptions(command);
  std::vector<option> known;
  for (const Option& each : options) {
    const int takes = each.value.empty() ? no_argument : required_argument;
    known.push_back(
        {each.name.c_str(), takes, nullptr, kFirstOption + static_cast<int>(known.size())});
  }
  known.push_back({});
  const auto of = [&](int value) -> const Option& {
    return options[static_cast<std::size_t>(value - kFirstOption)];
  };

  Arguments arguments;
  opterr = 0;
  const int count = static_cast<int>(words.size());
  // '+': what follows the first operand is not looked at. ':': a missing value is told apart.
  const char* const letters = command.runs_program ? "+:h" : ":h";
  for (;;) {
    const int next = getopt_long(count, words.data(), letters, known.data(), nullptr);
    if (next == -1) break;
    if (next == 'h') {
      arguments.values_["help"] = "";
    } else if (next == ':') {
      return absl::InvalidArgumentError(
          absl::StrFormat("--%s wants a value: expected %s", of(optopt).name, Spelled(of(optopt))));
    } else if (next != '?') {
      const Option& option = of(next);
      const std::string value = optarg == nullptr ? "" : optarg;
      arguments.values_[option.name] = value;
      if (IsEmbedded(option.name)) {
        arguments.embedded_.push_back(absl::StrCat(option.name, "=", value));
      }
    } else if (optopt >= kFirstOption) {
      return absl::InvalidArgumentError(absl::StrFormat("--%s takes no value", of(optopt).name));
    } else {
      // A letter, which can stand among others; or else the word that was looked at last.
      const std::string word = optopt != 0 ? std::string{'-', static_cast<char>(optopt)}
                                           : words[static_cast<std::size_t>(optind) - 1];
      return absl::InvalidArgumentError(absl::StrFormat(
          "there is no option '%s': expected one of %s", word, ExpectedOptions(options)));
    }
  }
  arguments.operands_ = words.subspan(static_cast<std::size_t>(optind));
  return arguments;
}

std::optional<std::string> Arguments::Get(const std::string& option) const {
  const auto found = values_.find(option);
  return found == values_.end() ? std::nullopt : std::optional(found->second);
}

absl::StatusOr<std::uint64_t> Arguments::Number(const std::string& option, std::uint64_t otherwise,
                                                std::uint64_t least, std::uint64_t most) const {
  const std::optional<std::string> word = Get(option);
  if (!word) return otherwise;
  const std::optional<std::uint64_t> number = ParseNumber(*word);
  if (number && *number >= least && *number <= most) return *number;
  if (least == 0 && most == ~std::uint64_t{0}) {
    return absl::InvalidArgumentError(
        absl::StrFormat("--%s=%s: expected a number, decimal or 0x...", option, *word));
  }
  return absl::InvalidArgumentError(
      absl::StrFormat("--%s=%s: expected a number from %u to %u", option, *word, least, most));
}

absl::Status Arguments::AtMost(std::size_t most, const char* what) const {
  if (operands_.size() <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("'%s' is one argument too many: expected %s", operands_[most], what));
}

absl::StatusOr<std::string> Arguments::Transport() const {
  if (Has("xen")) {
    if (embedded_.empty()) return "privcmd";
    return absl::InvalidArgumentError(absl::StrFormat(
        "--%s is for the embedded hypervisor: expected it without --xen", embedded_[0]));
  }
  const char* const environment = std::getenv("XENCOMM_TRANSPORT");
  if (embedded_.empty() && environment != nullptr && environment[0] != '\0') return environment;
  const absl::StatusOr<EmbeddedSetting> checked = Embedded();
  if (!checked.ok()) return checked.status();
  if (embedded_.empty()) return "embedded";
  return absl::StrCat("embedded:", absl::StrJoin(embedded_, ","));
}

absl::StatusOr<std::shared_ptr<Client>> Arguments::Connect() const {
  const absl::Status few = AtMost(0, "options alone");
  if (!few.ok()) return few;
  const absl::StatusOr<std::string> transport = Transport();
  if (!transport.ok()) return transport.status();
  return Client::Open(*transport);
}

absl::StatusOr<EmbeddedSetting> Arguments::Embedded() const {
  absl::StatusOr<EmbeddedSetting> setting = ParseEmbeddedSetting(absl::StrJoin(embedded_, ","));
  if (setting.ok()) return setting;
  return absl::InvalidArgumentError(absl::StrCat("--", setting.status().message()));
}

std::optional<std::uint64_t> ParseNumber(const std::string& word) {
  const bool is_hex = absl::StartsWith(word, "0x");
  const char* const begin = word.data() + (is_hex ? 2 : 0);
  const char* const end = word.data() + word.size();
  std::uint64_t number = 0;
  const auto [rest, error] = std::from_chars(begin, end, number, is_hex ? 16 : 10);
  if (error != std::errc() || rest != end) return std::nullopt;
  return number;
}

std::string Wrap(const std::string& text, std::size_t indent, std::size_t width) {
  std::string wrapped;
  const std::vector<std::string> paragraphs = absl::StrSplit(text, "\n\n");
  for (const std::string& paragraph : paragraphs) {
    if (!wrapped.empty()) absl::StrAppend(&wrapped, "\n");
    std::string line(indent, ' ');
    const std::vector<std::string> words =
        absl::StrSplit(paragraph, absl::ByAnyChar(" \n"), absl::SkipEmpty());
    for (const std::string& word : words) {
      if (line.size() > indent && line.size() + 1 + word.size() > width) {
        absl::StrAppend(&wrapped, line, "\n");
        line.assign(indent, ' ');
      }
      absl::StrAppend(&line, line.size() > indent ? " " : "", word);
    }
    absl::StrAppend(&wrapped, line, "\n");
  }
  return wrapped;
}

std::string Help(const Command& command) {
  std::string text =
      absl::StrFormat("Usage: xencomm %s %s\n\n%s.\n\n%s\nOptions:\n", command.name,
                      command.synopsis, command.summary, Wrap(command.description, 0));
  const std::vector<Option> options = AllOptions(command);
  std::size_t column = 0;
  for (const Option& option : options) column = std::max(column, Spelled(option).size() + 4);
  for (const Option& option : options) {
    std::string lines = Wrap(option.help, column);
    const std::string spelled = Spelled(option);
    lines.replace(2, spelled.size(), spelled);
    absl::StrAppend(&text, lines);
  }
  absl::StrAppend(&text, command.examples.empty() ? "" : "\nExamples:\n");
  for (const Example& example : command.examples) {
    absl::StrAppend(&text, "  ", example.line, "\n");
    absl::StrAppend(&text, Wrap(example.does, 6));
  }
  return text;
}

std::string Overview() {
  std::string text = "Usage: xencomm COMMAND ...\n\nCommands:\n";
  for (const Command* command : Commands()) {
    absl::StrAppendFormat(&text, "  %-8s %s\n", command->name, command->summary);
  }
  absl::StrAppend(&text, "\nxencomm COMMAND --help says more.\n");
  return text;
}

int Refuse(const Command& command, const absl::Status& status) {
  const bool usage = absl::IsInvalidArgument(status);
  const std::string sentence(status.message());
  absl::FPrintF(stderr, "xencomm %s: %s%s\n", command.name, sentence,
                usage ? absl::StrCat(" (see xencomm ", command.name, " --help)") : "");
  return usage ? 2 : 1;
}

}  // namespace xencomm::tools
