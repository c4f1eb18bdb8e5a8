// Sessions of the store: their watches and transactions.

#include <algorithm>
#include <cerrno>
#include <utility>

#include "hcall/machine/store/store.h"
#include "hcall/machine/store/wire.h"

namespace xencomm::machine {

std::string_view Watch::AsSeen(std::string_view changed) const {
  if (home_length == 0) return changed;
  changed.remove_prefix(home_length);
  if (changed.starts_with('/')) changed.remove_prefix(1);
  return changed;
}

Session::Session(Store& store, DomainId domain) : store_(store), domain_(domain) {
  store_.domains_.FindOrMake(domain);
  store_.sessions_.push_back(this);
}

Session::~Session() {
  store_.ResetWatches(*this);
  store_.sessions_.remove(this);
  store_.Proceed();
}

Rights* Store::SpecialRights(std::string_view name) {
  if (name == "@introduceDomain") return &introduce_rights_;
  if (name == "@releaseDomain") return &release_rights_;
  return nullptr;
}

int Store::SetSpecialPermissions(const View& view, std::string_view name, Permissions permissions) {
  Rights* const rights = SpecialRights(name);
  if (rights == nullptr) return EINVAL;
  constexpr unsigned kAccess = kMayWrite | kMayOwn;
  if ((domains_.Granted(view.domain, *rights) & kAccess) != kAccess) return EACCES;
  rights->permissions = std::move(permissions);
  return 0;
}

bool Store::MayBeTold(DomainId domain, std::string_view path, const Node* node,
                      const Rights* before) const {
  const auto may_read = [&](const Rights& rights) {
    return (domains_.Granted(domain, rights) & kMayRead) != 0;
  };
  if (before != nullptr && may_read(*before)) return true;
  if (node == nullptr) node = tree_.Find(path);
  if (node == nullptr) return false;
  if (may_read(*node)) return true;
  const Node* const parent = tree_.Find(ParentOf(path));
  return parent != nullptr && may_read(*parent);
}

void Store::Tell(const View& view, std::string_view path, const Node* node, bool exactly,
                 const Rights* before) {
  if (view.transaction != nullptr) {
    Transaction::Seen& seen = *view.transaction->by_path.find(path)->second;
    seen.tells_exactly = exactly && (!seen.tells || seen.tells_exactly);
    seen.tells = true;
    return;
  }
  for (Session* const session : sessions_) {
    if (session->watches_.empty() || !MayBeTold(session->domain_, path, node, before)) continue;
    for (const Watch& watch : session->watches_) {
      if (exactly ? path == watch.path : IsWithin(path, watch.path)) {
        session->Deliver(watch.AsSeen(path), watch.token, view.request);
      }
    }
  }
}

void Store::TellOfDomains(std::string_view name) {
  const Rights& rights = *SpecialRights(name);
  for (Session* const session : sessions_) {
    if ((domains_.Granted(session->domain_, rights) & kMayRead) == 0) continue;
    for (const Watch& watch : session->watches_) {
      if (watch.path == name) session->Deliver(name, watch.token, nullptr);
    }
  }
}

int Store::AddWatch(Session& session, std::string_view path, std::string_view token,
                    std::string* first) {
  const bool is_special = path.starts_with('@');
  const bool is_relative = !is_special && !path.starts_with('/');
  std::string home = is_relative ? HomeOf(session.domain_) : "";
  std::string at = is_relative ? home + "/" + std::string(path) : std::string(path);
  if (is_special ? at.size() > XENSTORE_REL_PATH_MAX
                 : !IsValidPath(at, static_cast<std::size_t>(domains_.quotas().path))) {
    return EINVAL;
  }
  for (const Watch& watch : session.watches_) {
    if (watch.path == at && watch.token == token) return EEXIST;
  }
  Domain& domain = domains_.FindOrMake(session.domain_);
  const Quotas& quotas = domains_.quotas();
  const int most = session.domain_ == 0 ? quotas.domain_0_watches : quotas.watches;
  if (domain.watches > most) return E2BIG;  // sic: one more than the quota
  const std::size_t size = at.size() + token.size();
  if (!domains_.HasRoom(session.domain_, static_cast<std::int64_t>(size))) return ENOMEM;

  Watch watch = {std::move(at), std::string(token), home.size(), Charge(domain.memory, size)};
  *first = watch.AsSeen(watch.path);
  session.watches_.push_back(std::move(watch));
  ++domain.watches;
  return 0;
}

int Store::RemoveWatch(Session& session, std::string_view path, std::string_view token) {
  const std::string at = path.starts_with('/') || path.starts_with('@')
                             ? std::string(path)
                             : HomeOf(session.domain_) + "/" + std::string(path);
  const auto found =
      std::find_if(session.watches_.begin(), session.watches_.end(),
                   [&](const Watch& watch) { return watch.path == at && watch.token == token; });
  if (found == session.watches_.end()) return ENOENT;
  session.watches_.erase(found);
  --domains_.FindOrMake(session.domain_).watches;
  return 0;
}

void Store::ResetWatches(Session& session) {
  Domain* const domain = domains_.Find(session.domain_);
  if (domain != nullptr) domain->watches -= static_cast<int>(session.watches_.size());
  session.watches_.clear();
  session.transactions_.clear();
}

int Store::StartTransaction(Session& session, std::uint32_t* id) {
  auto& transactions = session.transactions_;
  const int most = session.domain_ == 0 ? domains_.quotas().domain_0_transactions
                                        : domains_.quotas().transactions;
  if (std::cmp_greater(transactions.size(), most)) return ENOSPC;  // sic: one more than the quota
  do {
    ++session.last_transaction_;
  } while (session.last_transaction_ == 0 || transactions.contains(session.last_transaction_));
  *id = session.last_transaction_;
  domains_.NextGeneration();
  transactions[*id];
  return 0;
}

int Store::FindTransaction(Session& session, std::uint32_t id, Transaction** transaction) {
  *transaction = nullptr;
  if (id == 0) return 0;
  const auto found = session.transactions_.find(id);
  if (found == session.transactions_.end()) return ENOENT;
  *transaction = &found->second;
  return 0;
}

int Store::TransactionsOf(DomainId domain) const {
  std::size_t count = 0;
  for (const Session* const session : sessions_) {
    if (session->domain_ == domain) count += session->transactions_.size();
  }
  return static_cast<int>(count);
}

int Store::EndTransaction(Session& session, std::uint32_t id, const View& view, bool commit) {
  const auto ended = session.transactions_.extract(id);
  if (!commit) return 0;
  const View outside = {.domain = view.domain, .request = view.request};
  return tree_.Commit(view, [&](const Transaction::Seen& seen) {
    Tell(outside, seen.path, nullptr, seen.tells_exactly,
         seen.before.has_value() ? &*seen.before : nullptr);
  });
}

void Store::Proceed() {
  for (Session* const session : sessions_) session->Proceed();
}

}  // namespace xencomm::machine
