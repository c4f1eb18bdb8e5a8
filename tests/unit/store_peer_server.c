// Over store_server, at the socket that XENSTORED_PATH names.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/xen/store_peer.h"

struct store_peer {
  int fd;
};

static void must(bool holds, const char *what) {
  if (holds) return;
  perror(what);
  exit(1);
}

static struct store_peer *connect_to(const char *suffix) {
  struct store_peer *peer = calloc(1, sizeof(*peer));
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof(address.sun_path), "%s%s", getenv("XENSTORED_PATH"), suffix);
  peer->fd = socket(AF_UNIX, SOCK_STREAM, 0);
  must(connect(peer->fd, (struct sockaddr *)&address, sizeof(address)) == 0, address.sun_path);
  return peer;
}

struct store_peer *store_connect(void) {
  return connect_to("");
}

void store_disconnect(struct store_peer *peer) {
  close(peer->fd);
  free(peer);
}

void store_send(struct store_peer *peer, const void *bytes, size_t length) {
  must(send(peer->fd, bytes, length, MSG_NOSIGNAL) == (ssize_t)length, "send");
}

bool store_receive(struct store_peer *peer, void *bytes, size_t length) {
  return recv(peer->fd, bytes, length, MSG_WAITALL) == (ssize_t)length;
}

// What the hypervisor does with a domain. Answers its number.
static unsigned command(struct store_peer *peer, const char *word, unsigned domid) {
  char line[64];
  store_send(peer, line, (size_t)snprintf(line, sizeof(line), "%s %u\n", word, domid));
  for (char *next = line; store_receive(peer, next, 1); next++) {
    if (*next == '\n') return (unsigned)strtoul(line, NULL, 10);
  }
  must(false, word);
  return 0;
}

static unsigned command_once(const char *word, unsigned domid) {
  struct store_peer *peer = connect_to(".domains");
  domid = command(peer, word, domid);
  store_disconnect(peer);
  return domid;
}

unsigned store_make_domain(unsigned domid) { return command_once("make", domid); }

struct store_peer *store_introduce(unsigned domid) {
  struct store_peer *peer = connect_to(".domains");
  command(peer, "introduce", domid);
  command(peer, "be", domid);
  return peer;
}

void store_shut_down(unsigned domid) { command_once("shut", domid); }

void store_end_domain(unsigned domid) { command_once("end", domid); }
