#include "hcall/machine/store/node.h"

#include <algorithm>
#include <cstdlib>

namespace xencomm::machine {
namespace {

constexpr std::string_view kHomes = "/local/domain/";

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

bool IsPathCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || IsDigit(c) ||
         std::string_view("-/_@").find(c) != std::string_view::npos;
}

// Of "/local/domain/N/", with which the path begins; else 0.
std::size_t HomeLength(std::string_view path) {
  if (!path.starts_with(kHomes)) return 0;
  const std::string_view rest = path.substr(kHomes.size());
  const auto end = std::find_if_not(rest.begin(), rest.end(), IsDigit);
  const auto digits = static_cast<std::size_t>(end - rest.begin());
  if (digits < 1 || digits > 5 || end == rest.end() || *end != '/') return 0;
  return kHomes.size() + digits + 1;
}

}  // namespace

std::optional<Permission> ParsePermission(const std::string& text) {
  Permission permission;
  switch (text.empty() ? '\0' : text[0]) {
    case 'n':
      permission.access = 0;
      break;
    case 'r':
      permission.access = kMayRead;
      break;
    case 'w':
      permission.access = kMayWrite;
      break;
    case 'b':
      permission.access = kMayRead | kMayWrite;
      break;
    default:
      return std::nullopt;
  }
  const char* const number = text.c_str() + 1;
  char* end;
  permission.domain = static_cast<DomainId>(std::strtol(number, &end, 0));
  if (*number == '\0' || *end != '\0') return std::nullopt;
  return permission;
}

std::string ToString(const Permission& permission) {
  // A number above 2^31 is a negative one to clients.
  return "nrwb"[permission.access] + std::to_string(static_cast<std::int32_t>(permission.domain));
}

std::vector<std::string> Node::ChildNames() const {
  std::vector<std::string> names;
  for (std::size_t at = 0; at < children.size(); at += names.back().size() + 1) {
    names.emplace_back(children.c_str() + at);
  }
  return names;
}

void Node::AddChild(std::string_view name) { children.append(name).push_back('\0'); }

bool Node::RemoveChild(std::string_view name) {
  for (std::size_t at = 0; at < children.size();) {
    const std::string_view child = children.c_str() + at;
    if (child == name) {
      children.erase(at, name.size() + 1);
      return true;
    }
    at += child.size() + 1;
  }
  return false;
}

std::string ParentOf(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == 0 ? "/" : std::string(path.substr(0, slash));
}

std::string_view NameOf(std::string_view path) { return path.substr(path.rfind('/') + 1); }

std::string ChildOf(std::string_view path, std::string_view name) {
  std::string child(path == "/" ? "" : path);
  child.append("/").append(name);
  return child;
}

bool IsWithin(std::string_view path, std::string_view above) {
  if (above == "/") return true;
  return path.starts_with(above) && (path.size() == above.size() || path[above.size()] == '/');
}

bool IsValidPath(std::string_view path, std::size_t most) {
  return path.starts_with('/') && (path.size() == 1 || !path.ends_with('/')) &&
         path.find("//") == std::string_view::npos && path.size() <= HomeLength(path) + most &&
         std::all_of(path.begin(), path.end(), IsPathCharacter);
}

std::string HomeOf(DomainId domain) { return std::string(kHomes) + std::to_string(domain); }

}  // namespace xencomm::machine
