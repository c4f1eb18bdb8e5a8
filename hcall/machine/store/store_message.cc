#include "hcall/machine/store/store_message.h"

#include <cerrno>

namespace xencomm::machine {

std::vector<std::string> StoreMessage::Strings() const {
  std::vector<std::string> strings;
  std::size_t at = 0;
  for (std::size_t end; (end = payload.find('\0', at)) != std::string::npos; at = end + 1) {
    strings.push_back(payload.substr(at, end - at));
  }
  return strings;
}

std::optional<std::string> StoreMessage::OnlyString() const {
  if (payload.empty() || payload.find('\0') != payload.size() - 1) return std::nullopt;
  return payload.substr(0, payload.size() - 1);
}

std::string_view NameOfError(int error) {
  for (const auto& known : xsd_errors) {
    if (known.errnum == error) return known.errstring;
  }
  return "EINVAL";  // as xenstored says what has no name
}

int ErrorOfName(std::string_view name) {
  for (const auto& known : xsd_errors) {
    if (known.errstring == name) return known.errnum;
  }
  return EINVAL;
}

}  // namespace xencomm::machine
