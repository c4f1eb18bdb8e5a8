#include "hcall/machine/store/store.h"

#include <cerrno>
#include <limits>
#include <utility>
#include <vector>

namespace xencomm::machine {
namespace {

// What is so is said to all alike, whatever they may know of the node.
bool IsOfCaller(int error) { return error == ENOSPC || error == ENOMEM; }

std::string Absolute(DomainId domain, std::string_view path) {
  if (path.starts_with('/') || path.starts_with('@')) return std::string(path);
  return HomeOf(domain).append("/").append(path);
}

}  // namespace

Store::Store(DomainQuery query) : domains_(std::move(query)), tree_(domains_) {
  // Those of special watches are never too old for a domain.
  introduce_rights_.permissions = {Permission{}};
  introduce_rights_.generation = std::numeric_limits<std::uint64_t>::max();
  release_rights_ = introduce_rights_;

  Node root;
  root.permissions = {Permission{}};
  (void)tree_.Write({}, "/", std::move(root), /*is_limited=*/false);  // nothing can be in the way
  (void)tree_.AddEntry({}, 0);
  (void)MakeDirectory({}, "/tool/xenstored");
}

void Store::BootDomain0() {
  // By its kernel, then by xen-init-dom0.
  for (const auto& [path, value] : std::vector<std::pair<const char*, const char*>>{
           {"control/feature-poweroff", "1"},
           {"control/feature-reboot", "1"},
           {"control/feature-suspend", "1"},
           {"domid", "0"},
           {"name", "Domain-0"},
           {"/local/pool/0/name", "Pool-0"},
       }) {
    (void)Write({}, path, value);  // as nothing limits domain 0 yet
  }
}

int Store::Get(const View& view, const std::string& path, unsigned access, const Node** node) {
  if (!IsValidPath(path, static_cast<std::size_t>(domains_.quotas().path))) return EINVAL;
  int error = tree_.Read(view, path, node);
  if (error == 0 && (domains_.Granted(view.domain, **node) & access) != access) error = EACCES;
  if (error == 0 || IsOfCaller(error)) return error;

  // Who may not do this in the nearest node above learns nothing about what there is.
  std::string above = path;
  const Node* nearest;
  int above_error;
  do {
    above = ParentOf(above);
    above_error = tree_.Read(view, above, &nearest);
    if (IsOfCaller(above_error)) return above_error;
  } while (above_error != 0 && above != "/");
  return above_error == 0 && (domains_.Granted(view.domain, *nearest) & access) != 0 ? error
                                                                                     : EACCES;
}

int Store::Read(const View& view, std::string_view path, const Node** node) {
  return Get(view, Absolute(view.domain, path), kMayRead, node);
}

// Below the nearest node that there is. Each new one has its parent's permissions, and belongs to
// the domain that makes it, unless that is privileged.
int Store::Create(const View& view, const std::string& path, std::string_view value) {
  struct Made {
    std::string path;
    Node node;
  };
  std::vector<Made> made;  // upwards; the last one was there already
  made.push_back({path, {}});
  for (;;) {
    std::string above = ParentOf(made.back().path);
    const Node* node;
    const int error = tree_.Read(view, above, &node);
    if (error != 0 && (error != ENOENT || above == "/")) return error;
    made.push_back({std::move(above), {}});
    if (error != 0) continue;
    made.back().node = *node;
    break;
  }
  domains_.Freshen(made.back().node);
  Rights rights = made.back().node;
  if (!view.is_privileged()) rights.permissions[0].domain = view.domain;
  for (std::size_t i = 0; i + 1 < made.size(); ++i) {
    static_cast<Rights&>(made[i].node) = rights;
    made[i + 1].node.AddChild(NameOf(made[i].path));
  }
  made[0].node.value = value;

  if (view.transaction != nullptr) view.transaction->has_created = true;
  const Domain* const domain = domains_.Find(view.domain);
  for (std::size_t i = 0; i < made.size(); ++i) {
    const bool is_new = i + 1 < made.size();
    int error = 0;
    if (is_new && !view.is_privileged() && domain != nullptr &&
        domain->entries >= domains_.quotas().nodes) {
      error = ENOSPC;
    }
    if (error == 0) error = tree_.Write(view, made[i].path, std::move(made[i].node), true);
    if (error == 0 && is_new) {
      error = tree_.AddEntry(view, rights.owner());
      if (error != 0) tree_.Erase(view, made[i].path);
    }
    if (error == 0) continue;
    for (std::size_t j = 0; j < i; ++j) {
      tree_.Erase(view, made[j].path);
      tree_.RemoveEntry(view, rights.owner());
    }
    if (i > 0 && view.transaction != nullptr) view.transaction->failed = true;
    return error;
  }
  return 0;
}

int Store::Write(const View& view, std::string_view path, std::string_view value) {
  const std::string at = Absolute(view.domain, path);
  const Node* node;
  int error = Get(view, at, kMayWrite, &node);
  if (error == ENOENT) {
    error = Create(view, at, value);
  } else if (error == 0) {
    Node written = *node;
    written.value = value;
    error = tree_.Write(view, at, std::move(written), /*is_limited=*/true);
  }
  if (error == 0) Tell(view, at, nullptr, /*exactly=*/false, nullptr);
  return error;
}

int Store::MakeDirectory(const View& view, std::string_view path) {
  const std::string at = Absolute(view.domain, path);
  const Node* node;
  int error = Get(view, at, kMayWrite, &node);
  if (error != ENOENT) return error;
  error = Create(view, at, "");
  if (error == 0) Tell(view, at, nullptr, /*exactly=*/false, nullptr);
  return error;
}

int Store::Remove(const View& view, std::string_view path) {
  const std::string at = Absolute(view.domain, path);
  const Node* node;
  const int error = Get(view, at, kMayWrite, &node);
  if (error == ENOENT) return tree_.Read(view, ParentOf(at), &node);
  if (error != 0) return error;
  return at == "/" ? EINVAL : RemoveTree(view, at);
}

int Store::RemoveTree(const View& view, const std::string& path) {
  const std::string above = ParentOf(path);
  const Node* node;
  int error = tree_.Read(view, above, &node);
  if (error != 0) return IsOfCaller(error) ? error : EINVAL;
  error = RemoveBelow(view, path, path);
  if (error != 0) return error;
  error = tree_.Read(view, above, &node);
  if (error != 0) return EIO;
  Node parent = *node;
  // A transaction may see this node from before, and the one above from after others removed it.
  if (!parent.RemoveChild(NameOf(path))) return EIO;
  return tree_.Write(view, above, std::move(parent), /*is_limited=*/false) == 0 ? 0 : EIO;
}

// Children first. Who watches above hears of `root` alone.
int Store::RemoveBelow(const View& view, const std::string& path, const std::string& root) {
  const Node* node;
  // A transaction that has seen too much to go on has failed by that.
  if (tree_.Read(view, path, &node) != 0) return EIO;
  for (const std::string& name : node->ChildNames()) {
    const int error = RemoveBelow(view, ChildOf(path, name), root);
    if (error != 0) return error;
  }
  Tell(view, path, node, /*exactly=*/path != root, nullptr);
  const DomainId owner = node->owner();
  tree_.Erase(view, path);
  tree_.RemoveEntry(view, owner);
  return 0;
}

int Store::SetPermissions(const View& view, std::string_view path, Permissions permissions) {
  if (!view.is_privileged() &&
      std::cmp_greater(permissions.size(), domains_.quotas().permissions)) {
    return ENOSPC;
  }
  for (Permission& permission : permissions) {
    permission.ignored = domains_.FindExisting(permission.domain) == nullptr;
  }
  if (permissions[0].ignored) return ENOENT;
  if (path.starts_with('@')) return SetSpecialPermissions(view, path, std::move(permissions));

  const std::string at = Absolute(view.domain, path);
  const Node* node;
  const int error = Get(view, at, kMayWrite | kMayOwn, &node);
  if (error != 0) return error;
  if (!view.is_privileged() && permissions[0].domain != node->owner()) return EPERM;
  return Chown(view, at, *node, std::move(permissions));
}

int Store::Chown(const View& view, const std::string& path, const Node& node,
                 Permissions permissions) {
  Rights before = node;
  domains_.Freshen(before);
  Node written = node;
  written.permissions = std::move(permissions);
  written.generation = domains_.generation();  // that of the new permissions
  const DomainId owner = written.owner();
  int error = tree_.AddEntry(view, owner);
  if (error != 0) return error;
  error = tree_.Write(view, path, std::move(written), /*is_limited=*/true);
  tree_.RemoveEntry(view, error == 0 ? before.owner() : owner);
  if (error == 0) Tell(view, path, nullptr, /*exactly=*/false, &before);
  return error;
}

}  // namespace xencomm::machine
