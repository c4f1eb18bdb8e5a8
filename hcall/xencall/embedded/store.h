// Store: a xenstore in this process, beside the embedded machine and as short-lived.
//
// A tree of nodes, each with a value, permissions and children, as docs/misc/xenstore.txt of Xen
// describes it. Who uses it is domain 0, which may do everything. Errors are errno values, as
// xenstored answers them. When memory runs out, std::bad_alloc is thrown and nothing has changed.
#ifndef HCALL_XENCALL_EMBEDDED_STORE_H_
#define HCALL_XENCALL_EMBEDDED_STORE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

extern "C" {
#include <xenstore.h>
}

#include "xencomm/mutex.h"

namespace xencomm {

class Store {
 public:
  using Permissions = std::vector<xs_permissions>;
  // Told of every change: the path that changed, and whether all below it went.
  using Listener = std::function<void(const std::string& path, bool removed)>;

  // With what domain 0 finds after a boot.
  Store();

  // All answer 0 or an errno. A path is absolute, or taken from domain 0's home. `transaction` is 0
  // or what Start gave.
  int Read(xs_transaction_t transaction, std::string_view path, std::string* value);
  int List(xs_transaction_t transaction, std::string_view path, std::vector<std::string>* names);
  int Write(xs_transaction_t transaction, std::string_view path, std::string_view value);
  int MakeDirectory(xs_transaction_t transaction, std::string_view path);
  int Remove(xs_transaction_t transaction, std::string_view path);
  int GetPermissions(xs_transaction_t transaction, std::string_view path, Permissions* permissions);
  int SetPermissions(xs_transaction_t transaction, std::string_view path,
                     const Permissions& permissions);

  // Changes of a transaction are seen by others when it ends; EAGAIN when others changed something
  // meanwhile.
  xs_transaction_t Start();
  int End(xs_transaction_t transaction, bool abort);

  // Domains that have a connection of their own.
  int Introduce(unsigned domain);
  int Release(unsigned domain);
  bool IsIntroduced(unsigned domain);

  // `listener` is called while the store can be used, until it is removed; it may not add or remove
  // any, nor throw: what it is told of has happened.
  void AddListener(const void* owner, Listener listener);
  void RemoveListener(const void* owner);

  // The path as the store knows it; empty when it is none.
  static std::string Resolve(std::string_view path);

 private:
  struct Node {
    std::string value;
    Permissions permissions;
  };
  using Tree = std::map<std::string, Node, std::less<>>;  // by absolute path; "/" is always there
  struct Change {
    std::string path;
    bool removed;
  };
  struct Transaction {
    Tree tree;
    std::uint64_t generation;  // of the store when it began
    std::vector<Change> changes;
  };

  // Runs one operation on the tree that `transaction` sees, and tells of what it changed.
  using Operation = std::function<int(Tree&, const std::string&, std::vector<Change>&)>;
  int Run(xs_transaction_t transaction, std::string_view path, const Operation& operation);
  void Tell(const std::vector<Change>& changes) ABSL_LOCKS_EXCLUDED(mutex_, telling_);
  static void MakeNode(const Tree& tree, const std::string& path, Tree& made,
                       std::vector<Change>& changes);

  Mutex mutex_;
  Tree tree_ ABSL_GUARDED_BY(mutex_);
  std::uint64_t generation_ ABSL_GUARDED_BY(mutex_) = 0;
  xs_transaction_t last_transaction_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<xs_transaction_t, Transaction> transactions_ ABSL_GUARDED_BY(mutex_);
  std::set<unsigned> introduced_ ABSL_GUARDED_BY(mutex_);

  Mutex telling_;
  std::map<const void*, Listener> listeners_ ABSL_GUARDED_BY(telling_);
};

}  // namespace xencomm

#endif  // HCALL_XENCALL_EMBEDDED_STORE_H_
