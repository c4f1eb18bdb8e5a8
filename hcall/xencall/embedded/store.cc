#include "hcall/xencall/embedded/store.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace xencomm {
namespace {

constexpr std::string_view kHome = "/local/domain/0";
// Limits of public/io/xs_wire.h.
constexpr std::size_t kMostPath = 3072;
constexpr std::size_t kMostValue = 4096;

std::string ParentOf(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string Below(const std::string& path) { return path == "/" ? path : path + "/"; }

bool IsPathCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::strchr("-/_@", c) != nullptr;
}

}  // namespace

Store::Store() {
  const Permissions mine = {{.id = 0, .perms = XS_PERM_NONE}};
  for (const char* path :
       {"/", "/local", "/local/domain", "/local/domain/0", "/tool", "/vm", "/libxl"}) {
    tree_[path] = {"", mine};
  }
  tree_["/local/domain/0/name"] = {"Domain-0", mine};
  tree_["/local/domain/0/domid"] = {"0", mine};
  introduced_.insert(0);
}

std::string Store::Resolve(std::string_view path) {
  std::string resolved(path);
  if (path.empty()) return "";
  if (path[0] != '/') resolved = std::string(kHome) + "/" + resolved;
  const bool good = resolved.size() <= kMostPath &&
                    std::all_of(resolved.begin(), resolved.end(), IsPathCharacter) &&
                    resolved.find("//") == std::string::npos &&
                    (resolved.size() == 1 || resolved.back() != '/');
  return good ? resolved : "";
}

int Store::Run(xs_transaction_t transaction, std::string_view path, const Operation& operation) {
  const std::string resolved = Resolve(path);
  if (resolved.empty()) return EINVAL;
  std::vector<Change> changes;
  {
    const MutexLock lock(mutex_);
    if (transaction != 0) {
      const auto found = transactions_.find(transaction);
      if (found == transactions_.end()) return ENOENT;
      return operation(found->second.tree, resolved, found->second.changes);
    }
    const int error = operation(tree_, resolved, changes);
    if (error != 0) return error;
    if (!changes.empty()) ++generation_;
  }
  Tell(changes);
  return 0;
}

void Store::Tell(const std::vector<Change>& changes) {
  const MutexLock lock(telling_);
  for (const Change& change : changes) {
    for (const auto& [owner, listener] : listeners_) listener(change.path, change.removed);
  }
}

// With the nodes above it that are not there yet. A new node belongs to who its parent's does. Adds
// to `made` what the tree has to have besides, and to `changes` what will have been made.
void Store::MakeNode(const Tree& tree, const std::string& path, Tree& made,
                     std::vector<Change>& changes) {
  std::string missing = path;
  auto there = tree.find(missing);
  while (there == tree.end()) {
    made[missing] = {};
    changes.push_back({missing, false});
    missing = ParentOf(missing);
    there = tree.find(missing);
  }
  for (auto& [name, node] : made) node.permissions = there->second.permissions;
  std::reverse(changes.begin(), changes.end());  // parents first
}

int Store::Read(xs_transaction_t transaction, std::string_view path, std::string* value) {
  return Run(transaction, path, [&](Tree& tree, const std::string& at, auto&) {
    const auto node = tree.find(at);
    if (node == tree.end()) return ENOENT;
    *value = node->second.value;
    return 0;
  });
}

int Store::List(xs_transaction_t transaction, std::string_view path,
                std::vector<std::string>* names) {
  return Run(transaction, path, [&](Tree& tree, const std::string& at, auto&) {
    if (!tree.contains(at)) return ENOENT;
    const std::string below = Below(at);
    for (auto node = tree.upper_bound(below); node != tree.end() && node->first.starts_with(below);
         ++node) {
      const std::string name = node->first.substr(below.size());
      if (name.find('/') == std::string::npos) names->push_back(name);
    }
    return 0;
  });
}

int Store::Write(xs_transaction_t transaction, std::string_view path, std::string_view value) {
  if (value.size() > kMostValue) return E2BIG;
  return Run(transaction, path, [&](Tree& tree, const std::string& at, auto& changes) {
    std::string written(value);
    Tree made;
    std::vector<Change> told;
    MakeNode(tree, at, made, told);
    changes.push_back({at, false});
    tree.merge(made);
    tree.find(at)->second.value.swap(written);
    return 0;
  });
}

int Store::MakeDirectory(xs_transaction_t transaction, std::string_view path) {
  return Run(transaction, path, [&](Tree& tree, const std::string& at, auto& changes) {
    Tree made;
    std::vector<Change> told;
    MakeNode(tree, at, made, told);
    changes.insert(changes.end(), told.begin(), told.end());
    tree.merge(made);
    return 0;
  });
}

int Store::Remove(xs_transaction_t transaction, std::string_view path) {
  return Run(transaction, path, [&](Tree& tree, const std::string& at, auto& changes) {
    if (at == "/") return EINVAL;
    if (!tree.contains(at)) return tree.contains(ParentOf(at)) ? 0 : ENOENT;
    const std::string below = Below(at);
    changes.push_back({at, true});
    tree.erase(at);
    std::erase_if(tree, [&](const auto& node) { return node.first.starts_with(below); });
    return 0;
  });
}

int Store::GetPermissions(xs_transaction_t transaction, std::string_view path,
                          Permissions* permissions) {
  return Run(transaction, path, [&](Tree& tree, const std::string& at, auto&) {
    const auto node = tree.find(at);
    if (node == tree.end()) return ENOENT;
    *permissions = node->second.permissions;
    return 0;
  });
}

int Store::SetPermissions(xs_transaction_t transaction, std::string_view path,
                          const Permissions& permissions) {
  if (permissions.empty()) return EINVAL;
  return Run(transaction, path, [&](Tree& tree, const std::string& at, auto& changes) {
    const auto node = tree.find(at);
    if (node == tree.end()) return ENOENT;
    Permissions copy = permissions;
    changes.push_back({at, false});
    node->second.permissions.swap(copy);
    return 0;
  });
}

xs_transaction_t Store::Start() {
  const MutexLock lock(mutex_);
  if (++last_transaction_ == 0) ++last_transaction_;
  transactions_[last_transaction_] = {tree_, generation_, {}};
  return last_transaction_;
}

int Store::End(xs_transaction_t transaction, bool abort) {
  std::vector<Change> changes;
  {
    const MutexLock lock(mutex_);
    const auto found = transactions_.find(transaction);
    if (found == transactions_.end()) return ENOENT;
    Transaction ending = std::move(found->second);
    transactions_.erase(found);
    if (abort || ending.changes.empty()) return 0;
    if (ending.generation != generation_) return EAGAIN;
    tree_ = std::move(ending.tree);
    changes = std::move(ending.changes);
    ++generation_;
  }
  Tell(changes);
  return 0;
}

int Store::Introduce(unsigned domain) {
  const std::vector<Change> changes = {{"@introduceDomain", false}};
  {
    const MutexLock lock(mutex_);
    introduced_.insert(domain);
  }
  Tell(changes);
  return 0;
}

int Store::Release(unsigned domain) {
  const std::vector<Change> changes = {{"@releaseDomain", false}};
  {
    const MutexLock lock(mutex_);
    if (domain == 0) return EINVAL;
    if (introduced_.erase(domain) == 0) return ENOENT;
  }
  Tell(changes);
  return 0;
}

bool Store::IsIntroduced(unsigned domain) {
  const MutexLock lock(mutex_);
  return introduced_.contains(domain);
}

void Store::AddListener(const void* owner, Listener listener) {
  const MutexLock lock(telling_);
  listeners_[owner] = std::move(listener);
}

void Store::RemoveListener(const void* owner) {
  const MutexLock lock(telling_);
  listeners_.erase(owner);
}

}  // namespace xencomm
