// A xenstore, by what it answers to each request: xenstored on real Xen, and the store of ours.
//
// The same program runs on both, and a check that only one of them passes is a bug of the other, or
// of the check. What the requests mean: docs/misc/xenstore.txt of Xen.
#include "tests/xen/store.h"

#include "tests/xen/check.h"

struct store_client first, second;

int main(void) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  first.peer = store_connect();
  second.peer = store_connect();
  check_store_nodes();
  check_store_watches();
  check_store_transactions();
  check_store_messages();
  check_store_domains();
  check_store_quotas();
  store_disconnect(first.peer);
  store_disconnect(second.peer);
  return close_checks();
}
