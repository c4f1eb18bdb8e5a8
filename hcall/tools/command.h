// The subcommands of `xencomm` as data: what they are called, what they take, what they do.
//
// One table serves the parser, --help, the manual pages and the shell's completion (manual.h): an
// option is described once.
#ifndef HCALL_TOOLS_COMMAND_H_
#define HCALL_TOOLS_COMMAND_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hcall/transport/setting.h"
#include "xencomm/client.h"

namespace xencomm::tools {

struct Option {
  std::string name;   // without the dashes
  std::string value;  // what it takes, as people read it: "FILE"; "": nothing
  std::string help;
  std::string words = "";  // values that a shell can offer, with spaces between them
};

// The value of an option that names a file, and of one that names an op: a shell offers those.
inline constexpr char kFileValue[] = "FILE";
inline constexpr char kOpValue[] = "OP";

struct Example {
  const char* does;
  const char* line;
};

class Arguments;

struct Command {
  // Which options of the transport it takes.
  enum class Connects : std::uint8_t { kNowhere, kEmbedded, kAnywhere };

  const char* name;
  const char* synopsis;     // of the arguments
  const char* summary;      // one line
  const char* description;  // paragraphs, with an empty line between them
  std::vector<Option> options;
  Connects connects = Connects::kNowhere;
  std::vector<Example> examples = {};
  // What follows the first operand belongs to somebody else.
  bool runs_program = false;
  bool names_op = false;  // its operand is an op's name
  // The exit code. kInvalidArgument is wrong usage; whatever else is not ok failed on the way.
  absl::StatusOr<int> (*run)(const Arguments& arguments) = nullptr;
};

const Command& RunCommand();
const Command& InfoCommand();
const Command& ListCommand();
const Command& LayoutCommand();
const Command& WalkCommand();
const Command& SchemaCommand();

std::span<const Command* const> Commands();

// The command's own options, those of its transport, and --help.
std::vector<Option> AllOptions(const Command& command);

// What stands behind the subcommand's name.
class Arguments {
 public:
  // `words` begin with the subcommand's name and end with a null pointer that is not counted, as
  // main's do. kInvalidArgument with a sentence.
  static absl::StatusOr<Arguments> Parse(const Command& command, std::span<char*> words);

  bool Has(const std::string& option) const { return values_.contains(option); }
  std::optional<std::string> Get(const std::string& option) const;
  // A number, decimal or 0x…, from `least` to `most`; kInvalidArgument when it is none.
  absl::StatusOr<std::uint64_t> Number(const std::string& option, std::uint64_t otherwise,
                                       std::uint64_t least = 0,
                                       std::uint64_t most = ~std::uint64_t{0}) const;

  // A null pointer follows them.
  std::span<char*> operands() const { return operands_; }
  // kInvalidArgument when there are more operands than `most`; `what` they are.
  absl::Status AtMost(std::size_t most, const char* what) const;

  // The transport that the options name: those of the embedded machine or --xen; without any, what
  // XENCOMM_TRANSPORT says; without that, the embedded one.
  absl::StatusOr<std::string> Transport() const;
  // A client of it, for a command that has options alone.
  absl::StatusOr<std::shared_ptr<Client>> Connect() const;

  // The embedded machine that the options describe.
  absl::StatusOr<EmbeddedSetting> Embedded() const;

 private:
  std::map<std::string, std::string> values_;
  std::vector<std::string> embedded_;  // OPTION=VALUE
  std::span<char*> operands_;
};

// A number, decimal or 0x…
std::optional<std::uint64_t> ParseNumber(const std::string& word);

// Paragraphs, wrapped to `width` columns behind `indent` spaces.
std::string Wrap(const std::string& text, std::size_t indent, std::size_t width = 80);

std::string Help(const Command& command);
std::string Overview();

// Prints what failed to stderr: the exit code, 2 for wrong usage and 1 for what went wrong later.
int Refuse(const Command& command, const absl::Status& status);

}  // namespace xencomm::tools

#endif  // HCALL_TOOLS_COMMAND_H_
