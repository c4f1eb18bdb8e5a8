// Store: a xenstore, as xenstored 4.17 keeps one (docs/misc/xenstore.txt of Xen): nodes with
// permissions and owners, transactions, watches, and the domains that have a connection.
//
// All of it, and of its connections (store_connection.h), is called by one thread. Errors are errno
// values, 0 for none, and what fails has changed nothing; where xenstored answers strangely, so
// does this. A path may be relative: it then begins at the caller's /local/domain/N.
//
// Unlike xenstored it limits no domain's rate of writing, forgets no event because a domain took
// long to read it, and holds domain 0's clients to bounds, too: see quotas.h, store_connection.h.
// No permission passes to a later domain of the same number, and the root stays, whoever owned it.
#ifndef HCALL_MACHINE_STORE_STORE_H_
#define HCALL_MACHINE_STORE_STORE_H_

#include <cstdint>
#include <functional>
#include <list>
#include <string>
#include <string_view>

#include "hcall/machine/store/domain_table.h"
#include "hcall/machine/store/node.h"
#include "hcall/machine/store/session.h"
#include "hcall/machine/store/tree.h"

namespace xencomm::machine {

class Store {
 public:
  // With the nodes that xenstored makes. `query` is asked which domains there are.
  explicit Store(DomainQuery query);

  // Writes what domain 0's kernel and xen-init-dom0 do when a host boots.
  void BootDomain0();

  // Nodes. One that is found is as it is until the next call.
  int Read(const View& view, std::string_view path, const Node** node);
  // Makes the node, and those above it, where there is none.
  int Write(const View& view, std::string_view path, std::string_view value);
  int MakeDirectory(const View& view, std::string_view path);
  // With all below it. Nothing happens where there is none, if there is one above.
  int Remove(const View& view, std::string_view path);
  // Also of a special watch: who may watch @introduceDomain and @releaseDomain.
  int SetPermissions(const View& view, std::string_view path, Permissions permissions);

  // Watches. An event is due at once: `first` is its path.
  int AddWatch(Session& session, std::string_view path, std::string_view token, std::string* first);
  int RemoveWatch(Session& session, std::string_view path, std::string_view token);
  // With the session's transactions, as when its domain restarts.
  void ResetWatches(Session& session);

  // Transactions. Find answers ENOENT, and null for id 0.
  int StartTransaction(Session& session, std::uint32_t* id);
  int FindTransaction(Session& session, std::uint32_t id, Transaction** transaction);
  // Those of all sessions of a domain.
  int TransactionsOf(DomainId domain) const;
  // `view` has it. It is over, whatever the answer.
  int EndTransaction(Session& session, std::uint32_t id, const View& view, bool commit);

  // Domains.
  int Introduce(DomainId domain, std::uint64_t gfn, std::uint32_t port);
  int Release(DomainId domain);
  int Resume(DomainId domain);
  int SetTarget(DomainId domain, DomainId target);
  bool IsIntroduced(DomainId domain) const;
  // Introduces a domain that comes by itself, with what a toolstack gives a domain to be at home
  // in, unless one has.
  void Admit(DomainId domain);
  // To be called when a domain may have shut down or ended, as VIRQ_DOM_EXC says: watchers of
  // @releaseDomain are told, and the nodes of ended domains go.
  void CheckDomains();

  DomainTable& domains() { return domains_; }
  const DomainTable& domains() const { return domains_; }

  // Lets those go on whose requests were held back: after what a session left unread is gone.
  void Proceed();

 private:
  friend class Session;

  int Get(const View& view, const std::string& path, unsigned access, const Node** node);
  int Create(const View& view, const std::string& path, std::string_view value);
  int RemoveTree(const View& view, const std::string& path);
  int RemoveBelow(const View& view, const std::string& path, const std::string& root);
  int Chown(const View& view, const std::string& path, const Node& node, Permissions permissions);
  int SetSpecialPermissions(const View& view, std::string_view name, Permissions permissions);

  // Tells watchers of a change. `node` is what is or was there, `before` who might have seen it
  // until now; `exactly`: only those who watch this very path.
  void Tell(const View& view, std::string_view path, const Node* node, bool exactly,
            const Rights* before);
  void TellOfDomains(std::string_view name);
  bool MayBeTold(DomainId domain, std::string_view path, const Node* node,
                 const Rights* before) const;
  Rights* SpecialRights(std::string_view name);

  void RemoveDomain(DomainId domain);
  bool RemoveNodesOf(DomainId domain, const std::string& path);

  DomainTable domains_;
  Tree tree_;
  Rights introduce_rights_;
  Rights release_rights_;
  std::list<Session*> sessions_;
};

}  // namespace xencomm::machine

#endif  // HCALL_MACHINE_STORE_STORE_H_
