// DomainTable: the domains that the store knows, and what each holds of it.
//
// A domain has a record from when it is introduced, or from when a permission first names it, until
// it is released or the hypervisor has it no more. Generations number the store's changes: a
// permission that is older than a domain's record was for an earlier domain of that number.
#ifndef HCALL_MACHINE_STORE_DOMAIN_TABLE_H_
#define HCALL_MACHINE_STORE_DOMAIN_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "hcall/machine/store/node.h"
#include "hcall/machine/store/quotas.h"

namespace xencomm::machine {

// What the hypervisor says of a domain; one that crashed is shut down. It is asked of any number
// that a client names.
enum class DomainState { kAbsent, kRunning, kShutDown, kDying };
using DomainQuery = std::function<DomainState(DomainId domain)>;

// Bytes of the store that a domain answers for, until this ends. It may outlive the domain.
class Charge {
 public:
  using Account = std::shared_ptr<std::int64_t>;

  Charge() = default;
  Charge(Account account, std::size_t bytes)
      : account_(std::move(account)), bytes_(static_cast<std::int64_t>(bytes)) {
    if (account_ != nullptr) *account_ += bytes_;
  }
  Charge(Charge&& other) noexcept { swap(other); }
  Charge& operator=(Charge&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Charge() {
    if (account_ != nullptr) *account_ -= bytes_;
  }

  // What of it is on this account.
  std::int64_t On(const Account& account) const { return account_ == account ? bytes_ : 0; }

 private:
  void swap(Charge& other) noexcept {
    account_.swap(other.account_);
    std::swap(bytes_, other.bytes_);
  }

  Account account_;
  std::int64_t bytes_ = 0;
};

struct Domain {
  bool introduced = false;
  bool shut_down = false;     // and watchers were told
  bool has_own_home = false;  // no toolstack's: it goes with the domain
  std::uint64_t generation = 0;
  int entries = 0;  // nodes that it owns
  int watches = 0;
  std::optional<DomainId> target;  // whose rights it has besides: a device model's domain
  std::uint64_t gfn = 0;           // of its ring, as it was introduced
  std::uint32_t port = 0;
  Charge::Account memory = std::make_shared<std::int64_t>(0);
  std::shared_ptr<int> outstanding = std::make_shared<int>(0);
};

class DomainTable {
 public:
  // With domain 0, which is never asked for.
  explicit DomainTable(DomainQuery query);

  Quotas& quotas() { return quotas_; }
  const Quotas& quotas() const { return quotas_; }

  std::uint64_t generation() const { return generation_; }
  std::uint64_t NextGeneration() { return ++generation_; }

  DomainState StateOf(DomainId domain) const;
  Domain* Find(DomainId domain);
  const Domain* Find(DomainId domain) const;
  // Makes a record for a domain that the hypervisor has; or null.
  Domain* FindExisting(DomainId domain);
  Domain& FindOrMake(DomainId domain);
  // What was permitted before is older than the next one of that number.
  void Remove(DomainId domain) {
    domains_.erase(domain);
    NextGeneration();
  }
  // Calls `visit` with every domain's number, the newest first as a rule, until it answers true.
  bool Any(const std::function<bool(DomainId)>& visit) const;

  // Whether a permission of that generation that names the domain is meant for it.
  bool Covers(DomainId domain, std::uint64_t generation) const;
  // Marks the permissions that are for nobody now.
  void Freshen(Rights& rights) const;
  // What the domain may do.
  unsigned Granted(DomainId domain, const Rights& rights) const;

  Charge::Account AccountOf(DomainId domain) const;
  // Whether a domain can have that many bytes more, which may be a negative number.
  bool HasRoom(DomainId domain, std::int64_t bytes) const;

 private:
  DomainQuery query_;
  Quotas quotas_;
  std::uint64_t generation_ = 0;
  std::map<DomainId, Domain> domains_;
};

}  // namespace xencomm::machine

#endif  // HCALL_MACHINE_STORE_DOMAIN_TABLE_H_
