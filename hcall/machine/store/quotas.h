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
};

// Not quotas of xenstored's, where domain 0 has none: the memory of all its programs together, in
// bytes, and transactions of each connection.
inline constexpr std::int64_t kMostMemoryOfDomain0 = std::int64_t{256} << 20;
inline constexpr int kMostTransactionsOfDomain0 = 1000;

}  // namespace xencomm::machine

#endif  // HCALL_MACHINE_STORE_QUOTAS_H_
