// Node: what the store has at a path. Here are also the rules of permissions and of paths.
//
// The first permission names the owner, who may do everything, and says what domains may that are
// not listed; the others are each for one domain. A path is absolute: it begins with a slash, has
// no slash at its end and no two in a row, and otherwise letters, digits and -_@ alone.
#ifndef HCALL_MACHINE_STORE_NODE_H_
#define HCALL_MACHINE_STORE_NODE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace xencomm::machine {

using DomainId = std::uint32_t;

// What may be done; as libxenstore's XS_PERM_READ, XS_PERM_WRITE, XS_PERM_OWNER.
inline constexpr unsigned kMayRead = 1;
inline constexpr unsigned kMayWrite = 2;
inline constexpr unsigned kMayOwn = 8;
inline constexpr unsigned kMayAll = kMayRead | kMayWrite | kMayOwn;

struct Permission {
  DomainId domain = 0;
  unsigned access = 0;
  // The domain did not exist when this was written, or has ended since: another one that comes to
  // have its number inherits nothing.
  bool ignored = false;
};
using Permissions = std::vector<Permission>;

// As on the wire: a letter, then the number, as "b7". Nothing for what is no permission. A number
// is what strtol takes, cut to 32 bits, as xenstored does.
std::optional<Permission> ParsePermission(const std::string& text);
std::string ToString(const Permission& permission);

struct Rights {
  Permissions permissions;       // the owner's at least
  std::uint64_t generation = 0;  // of the node's last change

  DomainId owner() const { return permissions[0].domain; }
};

struct Node : Rights {
  // Children by name, each closed by a zero, in the order in which they came.
  std::string children;
  std::string value;

  // What it counts against quotas, in bytes: the record that xenstored would keep.
  std::size_t Size() const { return 24 + 8 * permissions.size() + value.size() + children.size(); }
  std::vector<std::string> ChildNames() const;
  void AddChild(std::string_view name);
  bool RemoveChild(std::string_view name);  // whether there was one
};

std::string ParentOf(std::string_view path);  // of "/": "/"
std::string_view NameOf(std::string_view path);
std::string ChildOf(std::string_view path, std::string_view name);
// Whether `path` is `above`, or lies anywhere below it.
bool IsWithin(std::string_view path, std::string_view above);
// `most` bytes, besides what leads to a domain's own nodes.
bool IsValidPath(std::string_view path, std::size_t most);
// Where a domain's relative paths begin.
std::string HomeOf(DomainId domain);

}  // namespace xencomm::machine

#endif  // HCALL_MACHINE_STORE_NODE_H_
