// A message of the store's protocol, and what its payload says.
#ifndef HCALL_MACHINE_STORE_STORE_MESSAGE_H_
#define HCALL_MACHINE_STORE_STORE_MESSAGE_H_

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hcall/machine/store/wire.h"

namespace xencomm::machine {

struct StoreMessage {
  xsd_sockmsg header;
  std::string payload;

  // All strings that are closed by a zero. What follows the last is nothing.
  std::vector<std::string> Strings() const;
  // The payload, when it is one such string alone.
  std::optional<std::string> OnlyString() const;
};

inline std::string_view WithZero(std::string_view text) { return {text.data(), text.size() + 1}; }

// As an XS_ERROR says it, and back.
std::string_view NameOfError(int error);
int ErrorOfName(std::string_view name);

// How much of what is meant for one client may be unsent, in bytes, before its requests wait, and
// before it is ended.
inline constexpr std::size_t kMuchUnsent = 64 << 10;
inline constexpr std::size_t kMostUnsent = 16 << 20;

}  // namespace xencomm::machine

#endif  // HCALL_MACHINE_STORE_STORE_MESSAGE_H_
