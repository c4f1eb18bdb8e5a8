// Numbers for people and for programs.
#ifndef HCALL_TOOLS_PRINT_H_
#define HCALL_TOOLS_PRINT_H_

#include <cstdint>
#include <cstdio>
#include <string>

#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"

namespace xencomm::tools {

using Json = nlohmann::ordered_json;

// JSON's numbers hold 53 bits in many programs: addresses are strings.
inline std::string Hex(std::uint64_t number) { return absl::StrFormat("0x%x", number); }

// "64 KiB", "2 MiB", "144 bytes".
inline std::string Bytes(std::uint64_t bytes) {
  static constexpr const char* kUnits[] = {"KiB", "MiB", "GiB"};
  for (int i = 2; i >= 0; --i) {
    const unsigned shift = 10 * static_cast<unsigned>(i + 1);
    if (bytes >> shift != 0 && bytes % (std::uint64_t{1} << shift) == 0) {
      return absl::StrFormat("%u %s", bytes >> shift, kUnits[i]);
    }
  }
  return absl::StrFormat("%u byte%s", bytes, bytes == 1 ? "" : "s");
}

inline void PrintJson(const Json& json) {
  // What is not UTF-8 in a hypervisor's strings is replaced.
  std::puts(json.dump(2, ' ', false, Json::error_handler_t::replace).c_str());
}

}  // namespace xencomm::tools

#endif  // HCALL_TOOLS_PRINT_H_
