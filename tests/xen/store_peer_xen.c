// On real Xen.
#include "tests/xen/store_peer.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <xenctrl.h>
#include <xenforeignmemory.h>
#include <xenguest.h>
#include <xenstore.h>

#include <xen/grant_table.h>
#include <xen/io/xs_wire.h>

struct store_peer {
  int fd;
  struct xenstore_domain_interface *ring;  // or null
};

static const char kSocket[] = "/run/xenstored/socket";
// How often to look for an answer: it comes at once or so, but for a domain that writes too fast.
enum { kMostPokes = 5000 };
static xc_interface *xch;
static xenforeignmemory_handle *memory;
static struct xs_handle *tools;

static void must(bool holds, const char *what) {
  if (holds) return;
  perror(what);
  exit(1);
}

static void open_all(void) {
  if (xch != NULL) return;
  must((xch = xc_interface_open(NULL, NULL, 0)) != NULL, "xc_interface_open");
  must((memory = xenforeignmemory_open(NULL, 0)) != NULL, "xenforeignmemory_open");
  must((tools = xs_open(0)) != NULL, "xs_open");
}

struct store_peer *store_connect(void) {
  struct store_peer *peer = calloc(1, sizeof(*peer));
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strcpy(address.sun_path, kSocket);
  peer->fd = socket(AF_UNIX, SOCK_STREAM, 0);
  must(connect(peer->fd, (struct sockaddr *)&address, sizeof(address)) == 0, kSocket);
  return peer;
}

void store_disconnect(struct store_peer *peer) {
  if (peer->ring != NULL) {
    xenforeignmemory_unmap(memory, peer->ring, 1);
  } else {
    close(peer->fd);
  }
  free(peer);
}

unsigned store_make_domain(unsigned domid) {
  open_all();
  struct xen_domctl_createdomain config = {
      .max_vcpus = 1,
      .max_evtchn_port = 1023,
      .max_grant_frames = 4,
      .max_maptrack_frames = 4,
      .grant_opts = XEN_DOMCTL_GRANT_version(1),
  };
  uint32_t id = domid;
  must(xc_domain_create(xch, &id, &config) == 0, "xc_domain_create");
  must(xc_domain_max_vcpus(xch, id, 1) == 0, "xc_domain_max_vcpus");
  must(xc_domain_setmaxmem(xch, id, 1024) == 0, "xc_domain_setmaxmem");
  return id;
}

struct store_peer *store_introduce(unsigned domid) {
  xen_pfn_t frames[2] = {0, 1};
  must(xc_domain_populate_physmap_exact(xch, domid, 2, 0, 0, frames) == 0, "populate_physmap");
  must(xc_dom_gnttab_seed(xch, domid, false, frames[0], frames[1], 0, 0) == 0, "gnttab_seed");
  const int port = xc_evtchn_alloc_unbound(xch, domid, 0);
  must(port > 0, "xc_evtchn_alloc_unbound");
  struct store_peer *peer = calloc(1, sizeof(*peer));
  peer->ring = xenforeignmemory_map(memory, domid, PROT_READ | PROT_WRITE, 1, &frames[1], NULL);
  must(peer->ring != NULL, "xenforeignmemory_map");
  memset(peer->ring, 0, sizeof(*peer->ring));
  must(xs_introduce_domain(tools, domid, frames[1], (unsigned)port), "xs_introduce_domain");
  return peer;
}

void store_shut_down(unsigned domid) {
  must(xc_domain_shutdown(xch, domid, SHUTDOWN_poweroff) == 0, "xc_domain_shutdown");
}

void store_end_domain(unsigned domid) {
  must(xc_domain_destroy(xch, domid) == 0, "xc_domain_destroy");
}

// Xenstored looks at all rings whenever it is woken, by whomever.
static void poke(void) { free(xs_get_domain_path(tools, 0)); }

// The ring's indices are the other side's to change.
static uint32_t load(const uint32_t *index) { return __atomic_load_n(index, __ATOMIC_ACQUIRE); }
static void store(uint32_t *index, uint32_t value) {
  __atomic_store_n(index, value, __ATOMIC_RELEASE);
}

void store_send(struct store_peer *peer, const void *bytes, size_t length) {
  if (peer->ring == NULL) {
    must(send(peer->fd, bytes, length, MSG_NOSIGNAL) == (ssize_t)length, "send");
    return;
  }
  struct xenstore_domain_interface *ring = peer->ring;
  for (const char *next = bytes; length > 0; poke()) {
    const uint32_t produced = load(&ring->req_prod);
    uint32_t room = XENSTORE_RING_SIZE - (produced - load(&ring->req_cons));
    if (room > length) room = (uint32_t)length;
    for (uint32_t i = 0; i < room; i++) ring->req[MASK_XENSTORE_IDX(produced + i)] = *next++;
    store(&ring->req_prod, produced + room);
    length -= room;
  }
}

bool store_receive(struct store_peer *peer, void *bytes, size_t length) {
  if (peer->ring == NULL) {
    return recv(peer->fd, bytes, length, MSG_WAITALL) == (ssize_t)length;
  }
  struct xenstore_domain_interface *ring = peer->ring;
  unsigned pokes = 0;
  for (char *next = bytes; length > 0;) {
    const uint32_t consumed = load(&ring->rsp_cons);
    uint32_t ready = load(&ring->rsp_prod) - consumed;
    if (ready > length) ready = (uint32_t)length;
    for (uint32_t i = 0; i < ready; i++) *next++ = ring->rsp[MASK_XENSTORE_IDX(consumed + i)];
    store(&ring->rsp_cons, consumed + ready);
    length -= ready;
    if (ready == 0 && (ring->error != 0 || ++pokes == kMostPokes)) return false;
    if (ready == 0) poke();
  }
  return true;
}
