#include "hcall/machine/store/tree.h"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace xencomm::machine {

const Node* Tree::Find(std::string_view path) const {
  const auto found = places_.find(path);
  return found == places_.end() ? nullptr : &found->second.node;
}

int Tree::See(const View& view, std::string_view path, Transaction::Seen** seen) {
  Transaction& transaction = *view.transaction;
  const auto known = transaction.by_path.find(path);
  if (known != transaction.by_path.end()) {
    *seen = known->second;
    return 0;
  }
  if (!view.is_privileged() &&
      std::cmp_greater_equal(transaction.seen.size(), domains_.quotas().transaction_nodes)) {
    transaction.failed = true;
    return ENOSPC;
  }
  Transaction::Seen first{.path = std::string(path), .node = {}, .charge = {}};
  // More than xenstored counts, which bounds domain 0 by nothing.
  std::size_t size = sizeof(first) + path.size();
  if (const Node* const node = Find(path); node != nullptr) {
    first.node = *node;
    domains_.Freshen(*first.node);
    first.before = *first.node;
    size += node->Size();
  }
  if (!domains_.HasRoom(view.domain, static_cast<std::int64_t>(size))) {
    transaction.failed = true;
    return ENOSPC;
  }
  first.charge = Charge(domains_.AccountOf(view.domain), size);
  *seen = &transaction.seen.emplace_back(std::move(first));
  transaction.by_path.emplace(path, *seen);
  return 0;
}

int Tree::Read(const View& view, std::string_view path, const Node** node) {
  if (view.transaction == nullptr) {
    *node = Find(path);
  } else {
    Transaction::Seen* seen;
    const int error = See(view, path, &seen);
    if (error != 0) return error;
    *node = seen->node.has_value() ? &*seen->node : nullptr;
  }
  return *node == nullptr ? ENOENT : 0;
}

int Tree::Put(std::string_view path, Node node, bool is_limited) {
  const Charge::Account account = domains_.AccountOf(node.owner());
  const std::size_t size = path.size() + node.Size();
  auto place = places_.find(path);
  const std::int64_t now = place == places_.end() ? 0 : place->second.charge.On(account);
  if (is_limited && !domains_.HasRoom(node.owner(), static_cast<std::int64_t>(size) - now)) {
    return EIO;  // sic: so xenstored says that a domain's memory is used up
  }
  if (place == places_.end()) place = places_.emplace(path, Place{}).first;
  place->second = {std::move(node), Charge(account, size)};
  return 0;
}

int Tree::Write(const View& view, std::string_view path, Node node, bool is_limited) {
  domains_.Freshen(node);
  node.generation = domains_.NextGeneration();
  const bool fits = !is_limited || view.is_privileged() ||
                    std::cmp_less(node.Size(), domains_.quotas().node_size);
  if (view.transaction == nullptr) return fits ? Put(path, std::move(node), is_limited) : ENOSPC;

  Transaction::Seen* seen;
  int error = See(view, path, &seen);
  if (error == 0 && !fits) error = ENOSPC;
  if (error == 0) {
    const Charge::Account account = domains_.AccountOf(view.domain);
    const std::size_t size = path.size() + node.Size();
    const std::int64_t more = static_cast<std::int64_t>(size) - seen->charge.On(account);
    if (is_limited && !domains_.HasRoom(view.domain, more)) {
      error = EIO;
    } else {
      seen->charge = Charge(account, size);
      seen->node = std::move(node);
      seen->is_modified = true;
    }
  }
  // A transaction of which a part is missing must not happen.
  if (error != 0) view.transaction->failed = true;
  return error;
}

void Tree::Erase(const View& view, std::string_view path) {
  domains_.NextGeneration();
  if (view.transaction == nullptr) {
    places_.erase(places_.find(path));
    return;
  }
  Transaction::Seen& seen = *view.transaction->by_path.find(path)->second;
  seen.node.reset();
  seen.charge = {};
  seen.is_modified = true;
}

int Tree::AddEntry(const View& view, DomainId owner) {
  if (view.transaction != nullptr) {
    ++view.transaction->entries[owner];
    return 0;
  }
  Domain* const domain = domains_.FindExisting(owner);
  if (domain == nullptr) return ENOMEM;
  ++domain->entries;
  return 0;
}

void Tree::RemoveEntry(const View& view, DomainId owner) {
  if (view.transaction != nullptr) {
    --view.transaction->entries[owner];
    return;
  }
  Domain* const domain = domains_.Find(owner);
  if (domain != nullptr) --domain->entries;
}

int Tree::Commit(const View& view, const Teller& tell) {
  Transaction& transaction = *view.transaction;
  if (transaction.failed) return ENOMEM;
  for (const auto& [owner, more] : transaction.entries) {
    const Domain* const domain = domains_.FindExisting(owner);
    if (domain == nullptr) return ENOMEM;
    if (transaction.has_created && !view.is_privileged() && owner != 0 &&
        domain->entries + more >= domains_.quotas().nodes) {
      return ENOSPC;
    }
  }
  for (const Transaction::Seen& seen : transaction.seen) {
    const Node* const now = Find(seen.path);
    const bool is_same =
        now == nullptr ? !seen.before.has_value()
                       : seen.before.has_value() && seen.before->generation == now->generation;
    if (!is_same) return EAGAIN;
  }

  for (Transaction::Seen& seen : transaction.seen) {
    if (!seen.is_modified) continue;
    if (seen.node.has_value()) {
      domains_.Freshen(*seen.node);
      seen.node->generation = domains_.NextGeneration();
      Put(seen.path, std::move(*seen.node), /*is_limited=*/false);
    } else if (seen.before.has_value()) {
      places_.erase(seen.path);
    }
    if (seen.tells) tell(seen);
  }
  for (const auto& [owner, more] : transaction.entries) domains_.Find(owner)->entries += more;
  return 0;
}

}  // namespace xencomm::machine
