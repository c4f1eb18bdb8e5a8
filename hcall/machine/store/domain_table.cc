#include "hcall/machine/store/domain_table.h"

#include <algorithm>

namespace xencomm::machine {

DomainTable::DomainTable(DomainQuery query) : query_(std::move(query)) {
  FindOrMake(0).introduced = true;
}

DomainState DomainTable::StateOf(DomainId domain) const {
  return domain == 0 ? DomainState::kRunning : query_(domain);
}

const Domain* DomainTable::Find(DomainId domain) const {
  const auto found = domains_.find(domain);
  return found == domains_.end() ? nullptr : &found->second;
}

Domain* DomainTable::Find(DomainId domain) {
  return const_cast<Domain*>(std::as_const(*this).Find(domain));  // the table is not constant
}

Domain* DomainTable::FindExisting(DomainId domain) {
  Domain* const found = Find(domain);
  if (found != nullptr || StateOf(domain) == DomainState::kAbsent) return found;
  return &FindOrMake(domain);
}

Domain& DomainTable::FindOrMake(DomainId domain) {
  const auto [place, made] = domains_.try_emplace(domain);
  if (made) place->second.generation = generation_;
  return place->second;
}

bool DomainTable::Any(const std::function<bool(DomainId)>& visit) const {
  return std::any_of(domains_.rbegin(), domains_.rend(),
                     [&](const auto& domain) { return visit(domain.first); });
}

bool DomainTable::Covers(DomainId domain, std::uint64_t generation) const {
  const Domain* const found = Find(domain);
  return found != nullptr && found->generation <= generation;
}

void DomainTable::Freshen(Rights& rights) const {
  for (std::size_t i = 1; i < rights.permissions.size(); ++i) {
    Permission& permission = rights.permissions[i];
    if (!Covers(permission.domain, rights.generation)) permission.ignored = true;
  }
}

unsigned DomainTable::Granted(DomainId domain, const Rights& rights) const {
  const Permissions& permissions = rights.permissions;
  const Domain* const record = Find(domain);
  const auto is_for = [&](DomainId id) {
    return id == domain || (record != nullptr && record->target == id);
  };
  if (domain == 0 || is_for(permissions[0].domain)) return kMayAll;
  for (std::size_t i = 1; i < permissions.size(); ++i) {
    const Permission& permission = permissions[i];
    if (is_for(permission.domain) && !permission.ignored &&
        Covers(permission.domain, rights.generation)) {
      return permission.access;
    }
  }
  return permissions[0].access;
}

Charge::Account DomainTable::AccountOf(DomainId domain) const {
  const Domain* const record = Find(domain);
  return record == nullptr ? nullptr : record->memory;
}

bool DomainTable::HasRoom(DomainId domain, std::int64_t bytes) const {
  const Domain* const record = Find(domain);
  if (record == nullptr) return true;
  const std::int64_t most = domain == 0 ? quotas_.domain_0_memory : quotas_.memory;
  return *record->memory + bytes < most;
}

}  // namespace xencomm::machine
