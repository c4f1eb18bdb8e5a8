// Tree: all nodes, as everybody sees them and as each transaction does.
//
// Errors are errno values, as xenstored answers them. A node counts against its owner; what a
// transaction copies, against who runs it.
#ifndef HCALL_MACHINE_STORE_TREE_H_
#define HCALL_MACHINE_STORE_TREE_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "hcall/machine/store/domain_table.h"
#include "hcall/machine/store/node.h"
#include "hcall/machine/store/transaction.h"

namespace xencomm::machine {

// A request of an unprivileged domain, until it is answered and all have read what it caused. Null
// for others.
using Request = std::shared_ptr<void>;

// Who looks at the store. Domain 0, which the store itself acts as, may do everything.
struct View {
  DomainId domain = 0;
  Transaction* transaction = nullptr;
  Request request = nullptr;

  bool is_privileged() const { return domain == 0; }
};

class Tree {
 public:
  explicit Tree(DomainTable& domains) : domains_(domains) {}

  // As everybody sees it; or null.
  const Node* Find(std::string_view path) const;

  // ENOENT, or ENOSPC when the transaction has seen too many. The node is as it is until the next
  // change.
  int Read(const View& view, std::string_view path, const Node** node);
  // Puts a node in place of what was read there. `is_limited` holds the node and its owner to
  // quotas.
  int Write(const View& view, std::string_view path, Node node, bool is_limited);
  // Of what was read.
  void Erase(const View& view, std::string_view path);

  // Counts a node that a domain came to own, or owns no more. ENOMEM: there is no such domain.
  int AddEntry(const View& view, DomainId owner);
  void RemoveEntry(const View& view, DomainId owner);

  // Does what the transaction did, telling of changes by `tell`; or nothing: EAGAIN when others
  // were faster, ENOSPC, ENOMEM. It is not used again.
  using Teller = std::function<void(const Transaction::Seen& seen)>;
  int Commit(const View& view, const Teller& tell);

 private:
  struct Place {
    Node node;
    Charge charge;
  };

  int See(const View& view, std::string_view path, Transaction::Seen** seen);
  int Put(std::string_view path, Node node, bool is_limited);

  DomainTable& domains_;
  std::map<std::string, Place, std::less<>> places_;
};

}  // namespace xencomm::machine

#endif  // HCALL_MACHINE_STORE_TREE_H_
