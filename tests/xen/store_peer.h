// A client of a xenstore, byte by byte: at domain 0's socket, or as a domain that has none but its
// ring. On real Xen the domain is a real one whose ring domain 0 has mapped, too
// (store_peer_xen.c); over a store of ours, what there is instead (store_peer_server.c).
#ifndef TESTS_XEN_STORE_PEER_H_
#define TESTS_XEN_STORE_PEER_H_

#include <stdbool.h>
#include <stddef.h>

struct store_peer;

// All end the program when they cannot be done.
struct store_peer *store_connect(void);
void store_disconnect(struct store_peer *peer);

// A domain, not introduced yet: of this number, or of any that is free for 0.
unsigned store_make_domain(unsigned domid);
// Introduces it, and is it from then on.
struct store_peer *store_introduce(unsigned domid);
void store_shut_down(unsigned domid);
void store_end_domain(unsigned domid);

// Sends all of it.
void store_send(struct store_peer *peer, const void *bytes, size_t length);
// Waits for that many bytes, not 0. False when the store ended the connection.
bool store_receive(struct store_peer *peer, void *bytes, size_t length);

#endif  // TESTS_XEN_STORE_PEER_H_
