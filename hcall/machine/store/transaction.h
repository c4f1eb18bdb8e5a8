// Transaction: the nodes that one has seen, as it sees them, until it ends.
//
// A node is copied when it is first read or written. At the end every node that was read must have
// the generation that it had then, and the absent must be absent still: or nothing of it happens
// and the client tries again.
#ifndef HCALL_MACHINE_STORE_TRANSACTION_H_
#define HCALL_MACHINE_STORE_TRANSACTION_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "hcall/machine/store/domain_table.h"
#include "hcall/machine/store/node.h"

namespace xencomm::machine {

struct Transaction {
  struct Seen {
    std::string path;
    std::optional<Node> node;  // none: there is none, for this transaction
    Charge charge;
    std::optional<Rights> before = std::nullopt;  // of the node outside, when it was first seen
    bool is_modified = false;
    // Watchers are told at the end, of changes at this path alone, or of those above it, too.
    bool tells = false;
    bool tells_exactly = false;
  };

  std::deque<Seen> seen;  // as they were first seen: watchers are told in this order
  std::map<std::string, Seen*, std::less<>> by_path;
  std::map<DomainId, int> entries;  // by how many more nodes each domain owns
  bool has_created = false;
  bool failed = false;  // it can but end, with ENOMEM
};

}  // namespace xencomm::machine

#endif  // HCALL_MACHINE_STORE_TRANSACTION_H_
