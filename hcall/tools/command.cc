#include "hcall/tools/command.h"

#include <getopt.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "hcall/transport/open.h"

namespace xencomm::tools {

// The row of each subcommand, in its own file: RunCommand(), InfoCommand() and so on.
Command XENCOMM_COMMANDS;

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
    if (connects != Command::Connects::kAnywhere && name == "space") continue;
    const std::string_view takes = each.takes;
    const bool is_range = takes.find(" to ") != takes.npos;
    // "1 to 64" or "64M to 64G"
    const bool is_count = is_range && absl::ascii_isdigit(takes.back());
    const char* const value = is_count ? "COUNT" : is_range ? "SIZE" : "WORD";
    if (is_range) {
      options.push_back({name, value, absl::StrCat(each.help, "; ", each.takes)});
    } else {
      options.push_back({name, value, each.help, Words(absl::StrSplit(each.takes, ", "))});
    }
  }
  if (connects == Command::Connects::kAnywhere) {
    options.push_back({"machine", kFileValue, "the machine that runs at this socket"});
    options.push_back(
        {"xen", "", "the Xen that this machine runs on, not the embedded hypervisor"});
  }
  return options;
}

std::string Spelled(const Option& option) {
  return absl::StrCat("--", option.name, option.value.empty() ? "" : "=", option.value);
}

// With its letter, as --help lists it.
std::string Listed(const Option& option) {
  return option.letter == '\0' ? Spelled(option)
                               : absl::StrFormat("-%c, %s", option.letter, Spelled(option));
}

// What its value must be, as far as the table says; else "".
std::string Expected(const Option& option) {
  if (const auto* const words = std::get_if<Words>(&option.takes)) {
    return absl::StrJoin(*words, ", ");
  }
  const auto* const range = std::get_if<Range>(&option.takes);
  if (range == nullptr) return "";
  return range->most == Range().most ? "a number, decimal or 0x..."
                                     : absl::StrCat(range->least, " to ", range->most);
}

bool Takes(const Option& option, const std::string& value) {
  if (const auto* const words = std::get_if<Words>(&option.takes)) {
    return absl::c_linear_search(*words, value);
  }
  const auto* const range = std::get_if<Range>(&option.takes);
  if (range == nullptr) return true;
  const std::optional<std::uint64_t> number = ParseNumber(value);
  return number && *number >= range->least && *number <= range->most;
}

template <class... Parts>
absl::Status Wrong(const absl::FormatSpec<Parts...>& format, const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrFormat(format, parts...));
}

}  // namespace

const std::vector<Command>& Commands() {
  static const auto* const kCommands = new std::vector<Command>{XENCOMM_COMMANDS};
  return *kCommands;
}

std::vector<Option> AllOptions(const Command& command) {
  std::vector<Option> options = command.options;
  absl::c_move(TransportOptions(command.connects), std::back_inserter(options));
  for (Option& each : options) {
    const std::string expected = Expected(each);
    if (!expected.empty()) absl::StrAppend(&each.help, "; ", expected);
  }
  options.push_back({.name = "help", .value = "", .help = "this text", .letter = 'h'});
  return options;
}

std::string Synopsis(const Command& command) {
  std::string text = "[OPTION...]";
  if (command.runs_program) absl::StrAppend(&text, " [--] PROGRAM [ARGUMENT...]");
  for (const char* operand : command.operands) absl::StrAppend(&text, " [", operand, "]");
  return text;
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
    if (value >= kFirstOption) return options[static_cast<std::size_t>(value - kFirstOption)];
    return *absl::c_find_if(options, [&](const Option& each) { return each.letter == value; });
  };

  Arguments arguments;
  opterr = 0;
  // '+': what follows the first operand is not looked at. ':': a missing value is told apart.
  std::string letters = command.runs_program ? "+:" : ":";
  for (const Option& each : options) {
    if (each.letter == '\0') continue;
    absl::StrAppend(&letters, std::string(1, each.letter), each.value.empty() ? "" : ":");
  }
  for (;;) {
    const int next = getopt_long(static_cast<int>(words.size()), words.data(), letters.c_str(),
                                 known.data(), nullptr);
    if (next == -1) break;
    if (next == ':') {
      return Wrong("--%s wants a value: expected %s", of(optopt).name, Spelled(of(optopt)));
    }
    if (next == '?' && optopt >= kFirstOption) {
      return Wrong("--%s takes no value", of(optopt).name);
    }
    if (next == '?') {
      // A letter, which can stand among others; or else the word that was looked at last.
      const std::string word = optopt != 0 ? std::string{'-', static_cast<char>(optopt)}
                                           : words[static_cast<std::size_t>(optind) - 1];
      return Wrong("there is no option '%s': expected one of --%s", word,
                   absl::StrJoin(options, ", --", [](std::string* out, const Option& each) {
                     absl::StrAppend(out, each.name);
                   }));
    }
    const Option& option = of(next);
    const std::string value = optarg == nullptr ? "" : optarg;
    if (!Takes(option, value)) {
      return Wrong("--%s=%s: expected %s", option.name, value, Expected(option));
    }
    arguments.values_[option.name].push_back(value);
  }
  arguments.operands_ = words.subspan(static_cast<std::size_t>(optind));
  if (arguments.Has("help")) return arguments;
  const absl::Status checked = arguments.Check(command);
  if (!checked.ok()) return checked;
  return arguments;
}

absl::Status Arguments::Check(const Command& command) {
  for (const Option& each : command.options) {
    if (each.with == nullptr || !Has(each.name) || Has(each.with)) continue;
    return Wrong("--%s: expected --%s with it", each.name, each.with);
  }
  const auto instead = absl::c_find_if(command.instead_of_program,
                                       [&](const std::string& option) { return Has(option); });
  if (instead != command.instead_of_program.end()) {
    if (operands_.empty()) return CheckConnection();
    return Wrong("'%s': expected no PROGRAM with --%s", operands_[0], *instead);
  }
  if (command.runs_program && operands_.empty()) {
    return Wrong(
        "expected a PROGRAM to run%s",
        command.instead_of_program.empty()
            ? ""
            : absl::StrCat(", or --", absl::StrJoin(command.instead_of_program, ", or --")));
  }
  if (!command.runs_program && operands_.size() > command.operands.size()) {
    return Wrong("'%s' is one argument too many: expected %s", operands_[command.operands.size()],
                 Synopsis(command));
  }
  return CheckConnection();
}

absl::Status Arguments::CheckConnection() {
  for (const EmbeddedOption& each : EmbeddedOptions()) {
    if (!Has(each.name)) continue;
    absl::StrAppend(&embedded_, embedded_.empty() ? "" : ",", each.name, "=", *Get(each.name));
  }
  const char* const elsewhere = Has("xen") ? "xen" : "machine";
  // How a program's own calls reach their arguments is its choice on every machine.
  const bool is_of_calls =
      Has("machine") && embedded_ == absl::StrCat("space=", Get("space").value_or(""));
  if (Has(elsewhere) && !embedded_.empty() && !is_of_calls) {
    return Wrong("--%s is for the embedded hypervisor: expected it without --%s", embedded_,
                 elsewhere);
  }
  if (Has("xen") && Has("machine")) return Wrong("--machine: expected it without --xen");
  if (Has("machine")) {
    const absl::StatusOr<JoinedSetting> joined =
        ParseJoinedSetting(SplitSetting(OnMachine(*Get("machine"))).options);
    if (!joined.ok()) return Wrong("--%s", joined.status().message());
  }
  const absl::StatusOr<EmbeddedSetting> setting = ParseEmbeddedSetting(embedded_);
  if (!setting.ok()) return Wrong("--%s", setting.status().message());
  setting_ = *setting;
  return absl::OkStatus();
}

std::optional<std::string> Arguments::Get(const std::string& option) const {
  const auto found = values_.find(option);
  return found == values_.end() ? std::nullopt : std::optional(found->second.back());
}

Words Arguments::All(const std::string& option) const {
  const auto found = values_.find(option);
  return found == values_.end() ? Words() : found->second;
}

std::uint64_t Arguments::Number(const std::string& option, std::uint64_t otherwise) const {
  return Has(option) ? *ParseNumber(*Get(option)) : otherwise;
}

std::string Arguments::Operand() const { return operands_.empty() ? "" : operands_[0]; }

std::string Arguments::Transport() const {
  if (Has("xen")) return SettingForXen();
  if (Has("machine")) return OnMachine(*Get("machine"));
  if (!embedded_.empty()) return absl::StrCat("embedded:", embedded_);
  const char* const environment = std::getenv("XENCOMM_TRANSPORT");
  return environment == nullptr || environment[0] == '\0' ? "embedded" : environment;
}

absl::StatusOr<std::optional<MachineSetting>> Arguments::MachineToStart() const {
  const Setting parts = SplitSetting(Transport());
  if (parts.name != "embedded") return std::optional<MachineSetting>();
  const absl::StatusOr<EmbeddedSetting> setting = ParseEmbeddedSetting(parts.options);
  if (!setting.ok()) return setting.status();
  if (setting->space == SpaceOption::kDirect || IsHistorical(setting->space)) {
    return std::optional<MachineSetting>();
  }
  return std::optional(setting->machine);
}

std::string Arguments::OnMachine(const std::string& socket) const {
  return absl::StrCat("machine:", socket,
                      Has("space") ? absl::StrCat(",space=", *Get("space")) : "");
}

std::optional<std::uint64_t> ParseNumber(const std::string& word) {
  std::uint64_t number = 0;
  const bool is_number = absl::StartsWith(word, "0x") ? absl::SimpleHexAtoi(word, &number)
                                                      : absl::SimpleAtoi(word, &number);
  return is_number ? std::optional(number) : std::nullopt;
}

std::string Wrap(const std::string& text, std::size_t indent) {
  std::string wrapped;
  const std::vector<std::string> paragraphs = absl::StrSplit(text, "\n\n");
  for (const std::string& paragraph : paragraphs) {
    if (!wrapped.empty()) absl::StrAppend(&wrapped, "\n");
    std::string line(indent, ' ');
    const std::vector<std::string> words =
        absl::StrSplit(paragraph, absl::ByAnyChar(" \n"), absl::SkipEmpty());
    for (const std::string& word : words) {
      if (line.size() > indent && line.size() + 1 + word.size() > 80) {
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
                      Synopsis(command), command.summary, Wrap(command.description, 0));
  const std::vector<Option> options = AllOptions(command);
  std::size_t column = 0;
  for (const Option& option : options) column = std::max(column, Listed(option).size() + 4);
  for (const Option& option : options) {
    std::string lines = Wrap(option.help, column);
    const std::string listed = Listed(option);
    lines.replace(2, listed.size(), listed);
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
  for (const Command& command : Commands()) {
    absl::StrAppendFormat(&text, "  %-16s %s\n", command.name, command.summary);
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
