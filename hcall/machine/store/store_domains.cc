// Domains of the store: how they come and go, and what goes with them.

#include <algorithm>
#include <cerrno>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "hcall/machine/store/store.h"

namespace xencomm::machine {
namespace {

constexpr DomainId kSelf = 0x7ff0;  // DOMID_SELF

}  // namespace

int Store::Introduce(DomainId id, std::uint64_t gfn, std::uint32_t port) {
  if (port == 0) return EINVAL;
  Domain* domain = domains_.FindExisting(id);
  if (domain == nullptr) return EINVAL;
  const bool is_new = !std::exchange(domain->introduced, true);
  domain->gfn = gfn;
  domain->port = port;
  if (is_new) {
    domain->shut_down = false;
    TellOfDomains("@introduceDomain");
  }
  // Its ring begins anew. Those of domain 0 here are no ring's.
  for (Session* const session : sessions_) {
    if (id == 0 || session->domain_ != id) continue;
    ResetWatches(*session);
    session->Restart();
  }
  Proceed();
  return 0;
}

bool Store::IsIntroduced(DomainId id) const {
  const Domain* const domain = domains_.Find(id);
  return id == kSelf || (domain != nullptr && domain->introduced);
}

void Store::Admit(DomainId id) {
  Domain* const domain = domains_.FindExisting(id);
  if (domain == nullptr) return;
  if (!std::exchange(domain->introduced, true)) {
    domain->shut_down = false;
    TellOfDomains("@introduceDomain");
  }
  // As libxl makes it: the domain may look at all of it, and write below some of it.
  const std::string home = HomeOf(id);
  const Node* node;
  if (Read({}, home, &node) == 0) return;
  domain->has_own_home = true;
  const Permissions to_read = {{.domain = 0, .access = 0}, {.domain = id, .access = kMayRead}};
  const auto make = [&](const std::string& path, std::string_view value,
                        const Permissions& permissions) {
    (void)Write({}, path, value);  // as nothing limits domain 0
    (void)SetPermissions({}, path, permissions);
  };
  make(home, "", to_read);
  make(ChildOf(home, "domid"), absl::StrCat(id), to_read);
  make(ChildOf(home, "name"), absl::StrCat("Domain-", id), to_read);
  for (const char* const each : {"attr", "data", "device", "drivers", "error", "feature"}) {
    make(ChildOf(home, each), "", {{.domain = id, .access = 0}});
  }
}

int Store::Release(DomainId id) {
  if (id == 0) return EINVAL;
  const Domain* const domain = domains_.Find(id);
  if (domain == nullptr || !domain->introduced) return ENOENT;
  RemoveDomain(id);
  return 0;
}

int Store::Resume(DomainId id) {
  if (id == 0) return EINVAL;
  Domain* const domain = domains_.Find(id);
  if (domain == nullptr || !domain->introduced) return ENOENT;
  domain->shut_down = false;
  return 0;
}

int Store::SetTarget(DomainId id, DomainId target) {
  Domain* const domain = domains_.Find(id);
  const Domain* const other = domains_.Find(target);
  if (domain == nullptr || !domain->introduced || other == nullptr || !other->introduced) {
    return ENOENT;
  }
  domain->target = target;
  return 0;
}

void Store::CheckDomains() {
  bool has_shut_down = false;
  const auto check = [&](DomainId id) {
    const DomainState state = domains_.StateOf(id);
    Domain& domain = *domains_.Find(id);
    if (domain.introduced && state != DomainState::kRunning && state != DomainState::kAbsent &&
        !std::exchange(domain.shut_down, true)) {
      has_shut_down = true;
    }
    if (state != DomainState::kAbsent && !(domain.introduced && state == DomainState::kDying)) {
      return false;
    }
    if (domain.introduced) has_shut_down = false;  // its end tells watchers
    RemoveDomain(id);
    return true;
  };
  while (domains_.Any(check)) {
  }
  if (has_shut_down) TellOfDomains("@releaseDomain");
}

void Store::RemoveDomain(DomainId id) {
  for (Session* const session : sessions_) {
    if (session->domain_ != id) continue;
    ResetWatches(*session);
    session->End();
  }
  if (domains_.Find(id)->entries > 0) RemoveNodesOf(id, "/");
  // As libxl does: the next domain of this number begins anew.
  if (domains_.Find(id)->has_own_home) (void)RemoveTree({}, HomeOf(id));
  for (Rights* const rights : {&introduce_rights_, &release_rights_}) {
    Permissions& permissions = rights->permissions;
    if (permissions[0].domain == id) permissions[0].domain = 0;
    permissions.erase(
        std::remove_if(permissions.begin() + 1, permissions.end(),
                       [&](const Permission& permission) { return permission.domain == id; }),
        permissions.end());
  }
  domains_.Any([&](DomainId other) {
    Domain& domain = *domains_.Find(other);
    if (domain.target == id) domain.target.reset();
    return false;
  });
  const bool was_introduced = domains_.Find(id)->introduced;
  domains_.Remove(id);
  if (was_introduced) TellOfDomains("@releaseDomain");
}

// With all below them. Answers whether that were all.
bool Store::RemoveNodesOf(DomainId id, const std::string& path) {
  const Node& node = *tree_.Find(path);
  if (node.owner() == id) {
    if (path == "/") {  // stays
      Permissions permissions = node.permissions;
      permissions[0].domain = 0;
      (void)Chown({}, path, node, std::move(permissions));  // there is a domain 0, and no limit
    } else {
      (void)RemoveTree({}, path);  // nothing limits the store itself
      return domains_.Find(id)->entries <= 0;
    }
  }
  for (const std::string& name : node.ChildNames()) {
    if (RemoveNodesOf(id, ChildOf(path, name))) return true;
  }
  return domains_.Find(id)->entries <= 0;
}

}  // namespace xencomm::machine
