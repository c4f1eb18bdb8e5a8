// A client of the store under test, and checks of what it is answered.
//
// Payloads are written with | for a zero byte. An error's name stands behind a !.
#ifndef TESTS_XEN_STORE_H_
#define TESTS_XEN_STORE_H_

#include <stdint.h>

#include <xen/io/xs_wire.h>

#include "tests/xen/store_peer.h"

struct store_client {
  struct store_peer *peer;
  uint32_t last_request;
  char events[1 << 16];  // that came since they were last looked at, each followed by a space
};

// Domain 0 twice: at two connections.
extern struct store_client first, second;

// Texts, of which the last few can be in use.
const char *text(const char *format, ...) __attribute__((format(printf, 1, 2)));
const char *repeated(char c, unsigned count);

// What one request is answered. For good answers to be kept it is copied.
const char *ask(struct store_client *client, uint32_t type, uint32_t transaction,
                const char *payload);
// Which events came, as "path|token| ", in order; after a request that all before it precede.
const char *events_of(struct store_client *client);
// The same, waiting a while for there to be some: of what the hypervisor tells the store.
const char *events_to_come(struct store_client *client);

void check_text(const char *is, const char *expected, const char *what, int line);

#define ASK(client, type, payload, expected) \
  check_text(ask(&(client), XS_##type, 0, (payload)), (expected), #type " " #payload, __LINE__)
#define ASK_IN(transaction, client, type, payload, expected)                                      \
  check_text(ask(&(client), XS_##type, (transaction), (payload)), (expected), #type " " #payload, \
             __LINE__)
#define EVENTS(client, expected) \
  check_text(events_of(&(client)), (expected), "events of " #client, __LINE__)
#define EVENTS_TO_COME(client, expected) \
  check_text(events_to_come(&(client)), (expected), "events of " #client, __LINE__)

// The number of a new transaction.
uint32_t begin(struct store_client *client);

// Parts of the program.
void check_store_nodes(void);
void check_store_watches(void);
void check_store_transactions(void);
void check_store_messages(void);
void check_store_domains(void);
void check_store_quotas(void);

#endif  // TESTS_XEN_STORE_H_
