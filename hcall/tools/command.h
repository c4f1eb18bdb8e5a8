// The subcommands of `xencomm` as data: what they are called, what they take, what they do.
//
// One table serves the parser, --help, the manual pages and the shell's completion (manual.h): an
// option is described once. A new subcommand is a file with the function that gives its row, and
// its name in meson.build's list.
//
// Why getopt_long and no library with subcommands: all six were tried with CLI11. With it the
// table, the parser, the manual and the subcommands came to 1647 lines, without it to 1629: help
// of 80 columns, manual pages, completion and sentences that say what was expected are written here
// either way. The nine sources compiled in 51 seconds in place of 25, and the stripped command grew
// by 220 KB, 8 %. It would be less right, too, in 2.1 (Debian 12) as in 2.7: "--image= 5" has the
// value 5, 010 is 8, and an argument "[a,b]" of `run`'s PROGRAM becomes two. CLI11's
// prefix_command() keeps that one whole, but takes an unknown option for PROGRAM, and "--" is
// refused by 2.1 and part of the program by 2.7. Abseil's flags are one set for a whole program,
// without subcommands.
#ifndef HCALL_TOOLS_COMMAND_H_
#define HCALL_TOOLS_COMMAND_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hcall/transport/setting.h"
#include "xencomm/client.h"

namespace xencomm::tools {

using Words = std::vector<std::string>;
struct Range {
  std::uint64_t least = 0;
  std::uint64_t most = ~std::uint64_t{0};
};

struct Option {
  std::string name;   // without the dashes
  std::string value;  // what it takes, as people read it: "FILE"; "": nothing
  std::string help;
  std::variant<std::monostate, Words, Range> takes = {};  // one of the words; a number
  const char* with = nullptr;                             // the option that it needs beside it
  char letter = '\0';                                     // "-e" is the same, if it has one
};

// Values and operands for which a shell offers files, ops, and ops again.
inline constexpr char kFileValue[] = "FILE";
inline constexpr char kOpValue[] = "OP";
inline constexpr char kNameValue[] = "NAME";

struct Example {
  const char* does;
  const char* line;
};

class Arguments;

struct Command {
  // Which options of the transport it takes.
  // kMachine: those of a machine that it starts; kEmbedded: of one that it looks at by itself.
  enum class Connects : std::uint8_t { kNowhere, kMachine, kEmbedded, kAnywhere };

  const char* name;
  const char* summary;      // one line
  const char* description;  // paragraphs, with an empty line between them
  std::vector<Option> options = {};
  std::vector<const char*> operands = {};  // each can be left out
  bool runs_program = false;               // its operands are a program and what belongs to that
  Words instead_of_program = {};           // options with which there is none
  Connects connects = Connects::kNowhere;
  std::vector<Example> examples = {};
  // The exit code. kInvalidArgument is wrong usage; whatever else is not ok failed on the way.
  absl::StatusOr<int> (*run)(const Arguments& arguments) = nullptr;
};

// As meson.build lists them.
const std::vector<Command>& Commands();

// The command's own options, those of its transport, and --help; with what they take in `help`.
std::vector<Option> AllOptions(const Command& command);

// "[OPTION...] [POINTER]"
std::string Synopsis(const Command& command);

// What stands behind the subcommand's name.
class Arguments {
 public:
  // `words` begin with the subcommand's name and end with a null pointer that is not counted, as
  // main's do. kInvalidArgument with a sentence for whatever the table does not allow.
  static absl::StatusOr<Arguments> Parse(const Command& command, std::span<char*> words);

  bool Has(const std::string& option) const { return values_.contains(option); }
  // Of one that was given more than once the last.
  std::optional<std::string> Get(const std::string& option) const;
  // All of them, in order; "" of each when it takes no value.
  Words All(const std::string& option) const;
  // Of an option that takes numbers alone.
  std::uint64_t Number(const std::string& option, std::uint64_t otherwise = 0) const;
  // The first; "" when there is none.
  std::string Operand() const;
  // A null pointer follows them.
  std::span<char*> operands() const { return operands_; }

  // The transport that the options name: those of the embedded machine, --machine or --xen; without
  // any, what XENCOMM_TRANSPORT says; without that, the embedded one.
  std::string Transport() const;
  // The machine that Transport() describes, if that can be a process of its own.
  absl::StatusOr<std::optional<MachineSetting>> MachineToStart() const;
  // The transport to one, in the space that the options say.
  std::string OnMachine(const std::string& socket) const;
  absl::StatusOr<std::shared_ptr<Client>> Connect() const { return Client::Open(Transport()); }
  // The embedded machine that the options describe.
  const EmbeddedSetting& Embedded() const { return setting_; }

 private:
  // What no option shows by itself; kInvalidArgument.
  absl::Status Check(const Command& command);
  absl::Status CheckConnection();

  std::map<std::string, Words> values_;
  std::string embedded_;  // OPTION=VALUE,...
  EmbeddedSetting setting_;
  std::span<char*> operands_;
};

// A number, decimal or 0x…
std::optional<std::uint64_t> ParseNumber(const std::string& word);

// Paragraphs, wrapped to 80 columns behind `indent` spaces.
std::string Wrap(const std::string& text, std::size_t indent);

std::string Help(const Command& command);
std::string Overview();

// Prints what failed to stderr: the exit code, 2 for wrong usage and 1 for what went wrong later.
int Refuse(const Command& command, const absl::Status& status);

}  // namespace xencomm::tools

#endif  // HCALL_TOOLS_COMMAND_H_
