// The system calls that take paths, as a table: which arguments are what, so that a supervisor can
// make them in a program's place when a path leads into the machine's files.
#ifndef HCALL_DEVICES_SUPERVISED_PATH_CALLS_H_
#define HCALL_DEVICES_SUPERVISED_PATH_CALLS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace xencomm::devices {

struct Parameter {
  enum class Kind : std::uint8_t {
    kValue,
    kMode,      // of a file that is made: without what the program's umask takes
    kFolder,    // a descriptor, or AT_FDCWD: what the next path is in
    kPath,      // a text, of a file
    kTarget,    // of a link: an absolute path
    kText,      // that ends with a 0
    kIn,        // `bytes`; null: none
    kInSized,   // as many as the next argument says
    kOut,       // `bytes`
    kOutSized,  // as many as the next argument says, of which the answer is how many are written
    kFile,      // a descriptor
  };
  Kind kind = Kind::kValue;
  std::uint16_t bytes = 0;
};

struct PathCall {
  int number;
  Parameter parameters[6] = {};
  // What else is done about it.
  enum class Special : std::uint8_t {
    kNone,
    kOpens,
    kOpensByHow,
    kCreates,
    kStatus,
    kStatx,
    kLink
  };
  Special special = Special::kNone;
};

// Null: it takes none.
const PathCall* FindPathCall(int number);
std::vector<int> PathCallNumbers();

}  // namespace xencomm::devices

#endif  // HCALL_DEVICES_SUPERVISED_PATH_CALLS_H_
