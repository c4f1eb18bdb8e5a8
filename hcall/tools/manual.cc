#include "hcall/tools/manual.h"

#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "hcall/schema/op.h"
#include "hcall/schema/words.h"
#include "hcall/tools/command.h"

namespace xencomm::tools {
namespace {

// Text that troff shows as it is: no escapes, no requests at a line's start.
std::string Troff(const std::string& text) {
  std::string safe = absl::StrReplaceAll(text, {{"\\", "\\e"}, {"-", "\\-"}, {"'", "\\(aq"}});
  if (absl::StartsWith(safe, ".")) safe = absl::StrCat("\\&", safe);
  return safe;
}

std::string Paragraphs(const std::string& text) {
  const std::vector<std::string> paragraphs = absl::StrSplit(text, "\n\n");
  return absl::StrJoin(paragraphs, ".PP\n", [](std::string* out, const std::string& paragraph) {
    absl::StrAppend(out, Troff(paragraph), "\n");
  });
}

std::string Header(const std::string& name, const std::string& summary) {
  return absl::StrFormat(
      ".TH %s 1 \"\" \"xencomm %s\"\n.SH NAME\n%s \\- %s\n", absl::AsciiStrToUpper(Troff(name)),
      XENCOMM_VERSION, Troff(name),
      Troff(
          absl::StrCat(std::string(1, absl::ascii_tolower(static_cast<unsigned char>(summary[0]))),
                       summary.substr(1))));
}

std::string ExitStatus(const Command& command) {
  if (command.runs_program) {
    return "That of PROGRAM; 127 when it is not found, 126 when it cannot be run, 2 for wrong "
           "usage.";
  }
  return "0 when the answer was given, 1 when it could not be, 2 for wrong usage.";
}

std::string SeeAlso(const std::string& self) {
  std::vector<std::string> pages = {"xencomm"};
  for (const Command& command : Commands()) pages.push_back(absl::StrCat("xencomm-", command.name));
  std::erase(pages, self);
  return absl::StrCat(".SH SEE ALSO\n",
                      absl::StrJoin(pages, ",\n",
                                    [](std::string* out, const std::string& page) {
                                      absl::StrAppend(out, ".BR ", Troff(page), " (1)");
                                    }),
                      "\n");
}

std::string OpNames() {
  std::vector<std::string> names;
  for (const schema::Hypercall& hypercall : schema::Hypercalls()) {
    for (const schema::Op& op : hypercall.ops()) {
      const std::string name =
          absl::StrCat(schema::WordsOf(hypercall).name, ".", schema::WordsOf(op).name);
      // One that differs between interface versions has a row for each.
      if (names.empty() || names.back() != name) names.push_back(name);
    }
  }
  return absl::StrJoin(names, " ");
}

// What a shell offers for a value or an operand: compgen's arguments.
std::string Offers(const std::string& value) {
  if (value == kFileValue) return "-f";
  return value == kOpValue || value == kNameValue ? "-W \"$ops\"" : "";
}
std::string Offers(const std::vector<std::string>& words) {
  return absl::StrFormat("-W '%s'", absl::StrJoin(words, " "));
}

// What can follow the subcommand's name.
std::string CompleteCommand(const Command& command) {
  std::string text = absl::StrFormat("    %s)\n      case $option in\n", command.name);
  std::vector<std::string> names;
  for (const Option& option : AllOptions(command)) {
    names.push_back(absl::StrCat("--", option.name, option.value.empty() ? "" : "="));
    if (option.value.empty()) continue;
    const auto* const words = std::get_if<Words>(&option.takes);
    absl::StrAppendFormat(&text, "        --%s) offers=(%s) ;;\n", option.name,
                          words != nullptr ? Offers(*words) : Offers(option.value));
  }
  const std::string operand = command.runs_program       ? "-c -f"
                              : command.operands.empty() ? ""
                                                         : Offers(command.operands[0]);
  absl::StrAppendFormat(&text, "        *) [[ $word == -* ]] && offers=(%s) || offers=(%s) ;;\n",
                        Offers(names), operand);
  return absl::StrCat(text, "      esac ;;\n");
}

std::string CommandPage(const Command& command) {
  std::string page = Header(absl::StrCat("xencomm-", command.name), command.summary);
  absl::StrAppendFormat(&page, ".SH SYNOPSIS\n.B xencomm %s\n%s\n", command.name,
                        Troff(Synopsis(command)));
  absl::StrAppend(&page, ".SH DESCRIPTION\n", Paragraphs(command.description), ".SH OPTIONS\n");
  for (const Option& option : AllOptions(command)) {
    absl::StrAppend(&page, ".TP\n.B ");
    if (option.letter != '\0') absl::StrAppendFormat(&page, "\\-%c, ", option.letter);
    absl::StrAppend(&page, "\\-\\-", Troff(option.name));
    if (!option.value.empty()) absl::StrAppend(&page, "\\fR=\\fI", option.value);
    absl::StrAppend(&page, "\n", Troff(option.help), "\n");
  }
  absl::StrAppend(&page, ".SH EXIT STATUS\n", Paragraphs(ExitStatus(command)));
  if (!command.examples.empty()) absl::StrAppend(&page, ".SH EXAMPLES\n");
  for (const Example& example : command.examples) {
    absl::StrAppend(&page, ".TP\n.B ", Troff(example.line), "\n", Troff(example.does), "\n");
  }
  return page;
}

std::string OverviewPage() {
  std::string page = Header("xencomm", "Memory that hypercalls may touch, and hypercalls");
  absl::StrAppend(&page, ".SH SYNOPSIS\n.B xencomm\nCOMMAND ...\n.SH DESCRIPTION\n",
                  Paragraphs("The command of the library that marshals what a hypercall points at. "
                             "Each subcommand has a manual page of its own, and --help."),
                  ".SH COMMANDS\n");
  for (const Command& command : Commands()) {
    absl::StrAppendFormat(&page, ".TP\n.B %s\n%s.\n", command.name, Troff(command.summary));
  }
  absl::StrAppend(
      &page, ".SH ENVIRONMENT\n.TP\n.B XENCOMM_TRANSPORT\n",
      Troff("What commands connect to when no option says it, as xencomm_open takes it: privcmd, "
            "xencomm-device, machine:PATH, embedded, embedded:OPTION=VALUE,..."),
      "\n");
  return page;
}

std::string Completion() {
  std::vector<std::string> names = {"--help", "--version"};
  std::string commands;
  for (const Command& command : Commands()) {
    names.emplace_back(command.name);
    absl::StrAppend(&commands, CompleteCommand(command));
  }
  return absl::StrFormat(R"(# bash completion for xencomm
_xencomm() {
  local ops='%s'
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} option= offers=()
  # --option=value is three words here: bash breaks words at '='.
  if [[ $word == = ]]; then
    option=$before word=
  elif [[ $before == = ]]; then
    option=${COMP_WORDS[COMP_CWORD-2]}
  elif [[ $before == --* ]]; then
    option=$before
  fi
  ((COMP_CWORD == 1)) && offers=(%s)
  ((COMP_CWORD > 1)) && case ${COMP_WORDS[1]} in
%s  esac
  COMPREPLY=($(compgen "${offers[@]}" -- "$word"))
  if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]]; then
    compopt -o nospace
  fi
}
complete -F _xencomm xencomm
)",
                         OpNames(), Offers(names), commands);
}

}  // namespace

std::string Manual(const std::string& name) {
  if (name == "completion") return Completion();
  if (name == "xencomm") return absl::StrCat(OverviewPage(), SeeAlso(name));
  for (const Command& command : Commands()) {
    if (name == command.name) return absl::StrCat(CommandPage(command), SeeAlso("xencomm-" + name));
  }
  return "";
}

}  // namespace xencomm::tools
