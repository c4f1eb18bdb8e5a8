// Quotas: what the store lets one unprivileged domain have. The values are those that
// xenstored 4.17 starts with; domain 0 may change them while the store runs (XS_CONTROL "quota
// set").
#ifndef HCALL_MACHINE_STORE_QUOTAS_H_
#define HCALL_MACHINE_STORE_QUOTAS_H_

#include <cstdint>

namespace xencomm::machine {

struct Quotas {
  int nodes = 1000;  // that a domain owns
  int watches = 128;
  int transactions = 10;
  int outstanding = 20;            // requests that are not answered and announced to the end
  int transaction_nodes = 1024;    // that one transaction reads or writes
  int memory = 2'621'440;          // bytes: nodes, copies in transactions, watches, what is unsent
  int node_size = 2048;            // bytes, by Node::Size
  int path = 2048;                 // bytes, without "/local/domain/N/"
  int permissions = 5;             // of a node
  int memory_warning = 2'097'152;  // bytes; only told

  // Not xenstored's, where nothing bounds domain 0: for all of its programs together, but for the
  // last, which is for each of its connections.
  std::int64_t domain_0_memory = std::int64_t{64} << 20;  // bytes
  int domain_0_watches = 65'536;
  int domain_0_transactions = 1000;
};

}  // namespace xencomm::machine

#endif  // HCALL_MACHINE_STORE_QUOTAS_H_
