// A xenstore under requests drawn at random, always the same: two clients of domain 0 and two
// domains, at the same few nodes. It prints what is answered, and which events come: on real Xen
// and over the store of ours the same.
//
// Left out is what makes xenstored 4.17 end; a root that belongs to a domain: it goes with that;
// and what a domain leaves to the next one of its number there: permissions of a transaction that
// is open when it ends, or of a node that its end was the last to change.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/xen/check.h"
#include "tests/xen/store.h"

enum { kSteps = 1000, kLife = 150, kClients = 4, kGuests = 2, kMost = 20 };

static struct {
  struct store_client client;
  unsigned domain;
  uint32_t transactions[kMost];
  unsigned transaction_count;
} clients[kClients];

static unsigned draw(unsigned below) {
  static uint64_t state = 1;
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (unsigned)((state >> 33) % below);
}

static const char *draw_path(void) {
  static const char *const kPaths[] = {
      "/t",      "/t/a", "/t/a/b",         "/t/a/b/c",        "/t/d", "/t/d/e",
      "/t/d/f",  "/u",   "/u/v",           "/u/v/w/x",        "rel",  "rel/x",
      "rel/x/y", "/",    "@releaseDomain", "@introduceDomain"};
  if (draw(30) == 0) return text("/local/domain/%u/rel", clients[kGuests + draw(2)].domain);
  return kPaths[draw(sizeof(kPaths) / sizeof(*kPaths))];
}

static void add_permissions(char *payload) {
  for (unsigned i = 1 + draw(5); i > 0; i--) {
    const unsigned ids[] = {0, 777, clients[2].domain, clients[3].domain};
    const char letter = "nrwb"[draw(4)];
    strcat(payload, text("%c%u|", letter, ids[draw(4)]));
  }
}

static void print_events(void) {
  for (unsigned i = 0; i < kClients; i++) {
    const char *const events = events_of(&clients[i].client);
    if (events[0] != '\0') printf("  %u: %s\n", i, events);
  }
}

// One request of any client.
static void step(unsigned number) {
  static const struct {
    uint32_t type;
    unsigned share;
  } kTypes[] = {
      {XS_READ, 12},
      {XS_WRITE, 20},
      {XS_MKDIR, 8},
      {XS_RM, 10},
      {XS_DIRECTORY, 6},
      {XS_GET_PERMS, 4},
      {XS_SET_PERMS, 12},
      {XS_WATCH, 6},
      {XS_UNWATCH, 3},
      {XS_TRANSACTION_START, 7},
      {XS_TRANSACTION_END, 11},
      {XS_RESET_WATCHES, 1},
  };
  unsigned who = draw(kClients), share = draw(100), kind = 0;
  while (share >= kTypes[kind].share) share -= kTypes[kind++].share;
  const uint32_t type = kTypes[kind].type;
  uint32_t in = 0;
  if (clients[who].transaction_count > 0 && draw(3) != 0) {
    in = clients[who].transactions[draw(clients[who].transaction_count)];
  }
  if (draw(60) == 0) in = 999;

  char payload[XENSTORE_PAYLOAD_MAX] = "";
  const char *path = draw_path();
  switch (type) {
    case XS_WRITE:
      sprintf(payload, "%s|%u", path, number);
      if (draw(15) == 0) strcat(payload, repeated('x', draw(2400)));
      break;
    case XS_SET_PERMS:
      if (strcmp(path, "/") == 0) path = "/t/a/b";
      if (path[0] == '@') who = draw(kGuests), in = 0;
      sprintf(payload, "%s|", path);
      add_permissions(payload);
      break;
    case XS_WATCH:
    case XS_UNWATCH:
      sprintf(payload, "%s|%u|", path, draw(3));
      break;
    case XS_TRANSACTION_START:
      strcpy(payload, "|");
      if (draw(8) != 0) in = 0;
      break;
    case XS_TRANSACTION_END:
      strcpy(payload, draw(5) != 0 ? "T|" : "F|");
      if (clients[who].transaction_count > 0) in = clients[who].transactions[0];
      break;
    case XS_RESET_WATCHES:
      in = 0;
      break;
    default:
      sprintf(payload, "%s|", path);
      break;
  }

  const char *const answer = ask(&clients[who].client, type, in, payload);
  printf("%u: %u %u in %u %.60s: %.200s\n", number, who, type, in, payload, answer);
  unsigned *const count = &clients[who].transaction_count;
  uint32_t *const open = clients[who].transactions;
  if (type == XS_TRANSACTION_START && answer[0] != '!' && *count < kMost) {
    open[(*count)++] = (uint32_t)strtoul(answer, NULL, 10);
  }
  if (type == XS_TRANSACTION_END && *count > 0 && open[0] == in) {
    memmove(open, open + 1, --*count * sizeof(*open));
  }
  if (type == XS_RESET_WATCHES) *count = 0;
  print_events();
}

static void make_home(unsigned domid) {
  ask(&clients[0].client, XS_MKDIR, 0, text("/local/domain/%u|", domid));
  ask(&clients[0].client, XS_SET_PERMS, 0, text("/local/domain/%u|n%u|", domid, domid));
}

// Ends a domain, and makes another of its number.
static void renew(unsigned who) {
  const unsigned id = clients[who].domain;
  for (unsigned i = 0; i < kClients; i++) {
    for (; clients[i].transaction_count > 0; clients[i].transaction_count--) {
      const uint32_t open = clients[i].transactions[clients[i].transaction_count - 1];
      ask(&clients[i].client, XS_TRANSACTION_END, open, "F|");
    }
  }
  store_disconnect(clients[who].client.peer);
  store_end_domain(id);
  for (unsigned i = 0; i < 2000; i++) {
    const char *const is = ask(&clients[0].client, XS_IS_DOMAIN_INTRODUCED, 0, text("%u|", id));
    if (strcmp(is, "F|") == 0) break;
    nanosleep(&(struct timespec){.tv_nsec = 1000 * 1000}, NULL);
  }
  printf("ended\n");
  ask(&clients[0].client, XS_WRITE, 0, "/changed|");
  clients[who].client = (struct store_client){.last_request = 0};
  clients[who].domain = store_make_domain(id);
  if (draw(2) != 0) make_home(id);
  clients[who].client.peer = store_introduce(id);
  print_events();
}

int main(void) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  for (unsigned i = 0; i < kGuests; i++) clients[i].client.peer = store_connect();
  for (unsigned i = kGuests; i < kClients; i++) {
    // Numbers that are the same everywhere.
    clients[i].domain = store_make_domain(1000 + i);
    make_home(clients[i].domain);
    clients[i].client.peer = store_introduce(clients[i].domain);
  }
  ask(&clients[0].client, XS_WATCH, 0, "@releaseDomain|r|");
  ask(&clients[1].client, XS_WATCH, 0, "@introduceDomain|i|");
  ask(&clients[0].client, XS_MKDIR, 0, "/t/a|");
  ask(&clients[0].client, XS_SET_PERMS, 0, "/t|b0|");
  ask(&clients[0].client, XS_SET_PERMS, 0, "/t/a|b0|");
  for (unsigned i = 1; i <= kSteps; i++) {
    step(i);
    if (i % kLife == 0) renew(kGuests + i / kLife % 2);
  }

  // Nothing is left for who comes next.
  for (unsigned i = kGuests; i < kClients; i++) {
    store_disconnect(clients[i].client.peer);
    store_end_domain(clients[i].domain);
    ask(&clients[0].client, XS_RM, 0, text("/local/domain/%u|", clients[i].domain));
  }
  static const char *const kMade[] = {"/t", "/u", "rel", "/changed"};
  for (unsigned i = 0; i < 4; i++) {
    ask(&clients[0].client, XS_RM, 0, text("%s|", kMade[i]));
  }
  ask(&clients[0].client, XS_WRITE, 0, "/|");
  ask(&clients[0].client, XS_SET_PERMS, 0, "@releaseDomain|n0|");
  ask(&clients[0].client, XS_SET_PERMS, 0, "@introduceDomain|n0|");
  printf("end\n");
  return 0;
}
