// Domains: how they come and go, what they may, and how much.
#include "tests/xen/check.h"
#include "tests/xen/store.h"

// What a host has when it has booted.
static void check_domain_0(void) {
  ASK(first, DIRECTORY, "/|", "tool|local|");
  ASK(first, DIRECTORY, "/tool|", "xenstored|");
  ASK(first, DIRECTORY, "/tool/xenstored|", "");
  ASK(first, DIRECTORY, "/local|", "domain|pool|");
  ASK(first, DIRECTORY, "/local/domain|", "0|");
  ASK(first, DIRECTORY, "/local/domain/0|", "control|domid|name|");
  ASK(first, DIRECTORY, "control|", "feature-poweroff|feature-reboot|feature-suspend|");
  ASK(first, READ, "control/feature-poweroff|", "1");
  ASK(first, READ, "control/feature-reboot|", "1");
  ASK(first, READ, "control/feature-suspend|", "1");
  ASK(first, READ, "domid|", "0");
  ASK(first, READ, "name|", "Domain-0");
  ASK(first, DIRECTORY, "/local/pool|", "0|");
  ASK(first, DIRECTORY, "/local/pool/0|", "name|");
  ASK(first, READ, "/local/pool/0/name|", "Pool-0");
  static const char *const kAll[] = {
      "/",
      "/tool",
      "/tool/xenstored",
      "/local",
      "/local/domain",
      "/local/domain/0",
      "control",
      "control/feature-reboot",
      "domid",
      "name",
      "/local/pool",
      "/local/pool/0",
  };
  for (unsigned i = 0; i < sizeof(kAll) / sizeof(*kAll); i++) {
    check_text(ask(&first, XS_GET_PERMS, 0, text("%s|", kAll[i])), "n0|", kAll[i], __LINE__);
  }
}

static void check_without_domain(void) {
  ASK(first, IS_DOMAIN_INTRODUCED, "0|", "T|");
  ASK(first, IS_DOMAIN_INTRODUCED, "777|", "F|");
  ASK(first, IS_DOMAIN_INTRODUCED, "32752|", "T|");  // DOMID_SELF
  ASK(first, IS_DOMAIN_INTRODUCED, "", "!EINVAL");
  ASK(first, GET_DOMAIN_PATH, "777|", "/local/domain/777|");
  ASK(first, GET_DOMAIN_PATH, "7x|", "/local/domain/7|");
  ASK(first, GET_DOMAIN_PATH, "x|", "/local/domain/0|");
  ASK(first, GET_DOMAIN_PATH, "-1|", "/local/domain/4294967295|");
  ASK(first, GET_DOMAIN_PATH, "7", "!EINVAL");
  ASK(first, INTRODUCE, "777|1|", "!EINVAL");
  ASK(first, INTRODUCE, "777|1|0|", "!EINVAL");
  ASK(first, INTRODUCE, "777|1|1|", "!EINVAL");
  static const uint32_t kOfDomain[] = {XS_RELEASE, XS_RESUME};
  for (unsigned i = 0; i < 2; i++) {
    check_text(ask(&first, kOfDomain[i], 0, "0|"), "!EINVAL", "domain 0", __LINE__);
    check_text(ask(&first, kOfDomain[i], 0, "777|"), "!ENOENT", "no domain", __LINE__);
    check_text(ask(&first, kOfDomain[i], 0, "777"), "!EINVAL", "no number", __LINE__);
  }
  ASK(first, SET_TARGET, "777|0|", "!ENOENT");
  ASK(first, SET_TARGET, "0|777|", "!ENOENT");
  ASK(first, SET_TARGET, "0|", "!EINVAL");
}

// What a toolstack makes for a domain.
static void make_home(unsigned domid) {
  ask(&first, XS_MKDIR, 0, text("/local/domain/%u|", domid));
  ASK(first, SET_PERMS, text("/local/domain/%u|n%u|", domid, domid), "OK|");
}

static void check_rights(struct store_client *guest, unsigned id) {
  // Nothing of others, not even whether it is there.
  ASK(*guest, READ, "/tool|", "!EACCES");
  ASK(*guest, READ, "/none|", "!EACCES");
  ASK(*guest, READ, "/tool/none|", "!EACCES");
  ASK(*guest, WRITE, "/tool|1", "!EACCES");
  ASK(*guest, MKDIR, "/none|", "!EACCES");
  ASK(*guest, RM, "/tool|", "!EACCES");
  ASK(*guest, RM, "/none|", "!EACCES");
  ASK(*guest, SET_PERMS, text("/tool|n%u|", id), "!EACCES");
  ASK(*guest, DIRECTORY, "/|", "!EACCES");
  ASK(*guest, READ, "//|", "!EINVAL");
  static const uint32_t kForTools[] = {
      XS_CONTROL, XS_INTRODUCE, XS_RELEASE, XS_IS_DOMAIN_INTRODUCED, XS_RESUME, XS_SET_TARGET};
  for (unsigned i = 0; i < 6; i++) {
    check_text(ask(guest, kForTools[i], 99, "0|"), "!EACCES", "a tool's request", __LINE__);
  }
  ASK(*guest, GET_DOMAIN_PATH, "0|", "/local/domain/0|");
  // Its own.
  ASK(*guest, WRITE, "a/b|1", "OK|");
  ASK(*guest, READ, "a/b|", "1");
  ASK(first, READ, text("/local/domain/%u/a/b|", id), "1");
  ASK(first, GET_PERMS, text("/local/domain/%u/a|", id), text("n%u|", id));
  ASK(*guest, READ, "none|", "!ENOENT");
  ASK(*guest, SET_PERMS, text("a|b%u|r777|", id), "OK|");
  ASK(*guest, SET_PERMS, "a|b0|", "!EPERM");
  ASK(*guest, SET_PERMS, "a|b777|", "!ENOENT");
  ASK(*guest, RM, "a|", "OK|");

  // By an entry of its own, or by what the first one gives to all.
  ASK(first, WRITE, "/test/x|1", "OK|");
  ASK(first, SET_PERMS, text("/test|n0|r%u|", id), "OK|");
  ASK(*guest, READ, "/test|", "");
  ASK(*guest, DIRECTORY, "/test|", "x|");
  ASK(*guest, READ, "/test/x|", "!EACCES");
  ASK(*guest, READ, "/test/none|", "!ENOENT");
  ASK(*guest, WRITE, "/test/none|1", "!EACCES");
  ASK(*guest, WRITE, "/test|1", "!EACCES");
  ASK(first, SET_PERMS, text("/test|n0|w%u|r%u|", id, id), "OK|");
  ASK(*guest, READ, "/test|", "!EACCES");
  ASK(*guest, WRITE, "/test|1", "OK|");
  ASK(*guest, WRITE, "/test/none|1", "OK|");
  ASK(*guest, READ, "/test/none|", "1");
  ASK(first, GET_PERMS, "/test/none|", text("n%u|w%u|r%u|", id, id, id));
  ASK(*guest, SET_PERMS, text("/test|n%u|", id), "!EACCES");
  ASK(*guest, RM, "/test/x|", "!EACCES");
  ASK(first, SET_PERMS, "/test|b0|", "OK|");
  ASK(*guest, WRITE, "/test/y/z|1", "OK|");
  ASK(first, GET_PERMS, "/test/y/z|", text("b%u|", id));
  // All below goes with it, whoever's it is.
  ASK(first, WRITE, "/test/y/z/mine|1", "OK|");
  ASK(first, SET_PERMS, "/test/y/z/mine|n0|", "OK|");
  ASK(*guest, RM, "/test/y|", "OK|");
  ASK(first, READ, "/test/y/z/mine|", "!ENOENT");
  ASK(first, RM, "/test|", "OK|");
}

static void check_events(struct store_client *guest, unsigned id) {
  ASK(first, MKDIR, "/test/secret|", "OK|");
  ASK(first, SET_PERMS, text("/test|n0|r%u|", id), "OK|");
  // Watching is no question of rights. Hearing is: of a node, or the one above, that it may read.
  ASK(*guest, WATCH, "/test|t|", "OK|");
  ASK(*guest, WATCH, "/none|t|", "OK|");
  ASK(*guest, WATCH, "a|t|", "OK|");
  EVENTS(*guest, "/test|t| /none|t| a|t| ");
  ASK(first, WRITE, "/test|1", "OK|");
  ASK(first, WRITE, "/test/secret|1", "OK|");
  ASK(first, WRITE, "/test/secret/more|1", "OK|");
  ASK(first, WRITE, "/none|1", "OK|");
  EVENTS(*guest, "/test|t| /test/secret|t| ");
  ASK(*guest, WRITE, "a|1", "OK|");
  EVENTS(*guest, "a|t| ");
  // Also who could read it until now.
  ASK(first, SET_PERMS, "/test|n0|", "OK|");
  EVENTS(*guest, "/test|t| ");
  ASK(first, WRITE, "/test|1", "OK|");
  EVENTS(*guest, "");
  ASK(first, SET_PERMS, text("/test|n0|r%u|", id), "OK|");
  EVENTS(*guest, "/test|t| ");
  const uint32_t t = begin(&first);
  ASK_IN(t, first, SET_PERMS, "/test|n0|", "OK|");
  ASK_IN(t, first, TRANSACTION_END, "T|", "OK|");
  EVENTS(*guest, "/test|t| ");
  ASK(first, RM, "/test|", "OK|");
  ASK(first, RM, "/none|", "OK|");
  EVENTS(*guest, "");
  ASK(*guest, RM, "a|", "OK|");
  ASK(*guest, RESET_WATCHES, "|", "OK|");
  events_of(guest);
}

static void check_life(void) {
  ASK(second, WATCH, "@introduceDomain|i|", "OK|");
  ASK(second, WATCH, "@releaseDomain|r|", "OK|");
  EVENTS(second, "@introduceDomain|i| @releaseDomain|r| ");
  const unsigned a = store_make_domain(0);
  const unsigned b = store_make_domain(0);
  ASK(first, IS_DOMAIN_INTRODUCED, text("%u|", a), "F|");
  make_home(a);
  make_home(b);
  struct store_client guest = {.peer = store_introduce(a)};
  EVENTS(second, "@introduceDomain|i| ");
  ASK(first, IS_DOMAIN_INTRODUCED, text("%u|", a), "T|");
  struct store_client other = {.peer = store_introduce(b)};
  EVENTS(second, "@introduceDomain|i| ");
  check_rights(&guest, a);
  check_events(&guest, a);

  // Special watches tell whom they are told to.
  ASK(other, WATCH, "@releaseDomain|mine|", "OK|");
  ASK(guest, WATCH, "@releaseDomain|mine|", "OK|");
  EVENTS(other, "@releaseDomain|mine| ");
  events_of(&guest);
  ASK(first, SET_PERMS, text("@releaseDomain|n0|r%u|", b), "OK|");

  // A device model's domain has its target's rights, too.
  ASK(guest, WRITE, "a|1", "OK|");
  ASK(other, READ, text("/local/domain/%u/a|", a), "!EACCES");
  ASK(first, SET_TARGET, text("%u|%u|", b, a), "OK|");
  ASK(other, WRITE, text("/local/domain/%u/a|2", a), "OK|");
  ASK(guest, READ, text("/local/domain/%u/a|", b), "!EACCES");

  // Shut down: told once.
  store_shut_down(a);
  EVENTS_TO_COME(second, "@releaseDomain|r| ");
  EVENTS_TO_COME(other, "@releaseDomain|mine| ");
  EVENTS(guest, "");
  ASK(first, RESUME, text("%u|", a), "OK|");

  // On real Xen a target's record stays as long as the device model's domain: that ends first.
  store_disconnect(other.peer);
  store_end_domain(b);
  EVENTS_TO_COME(second, "@releaseDomain|r| @releaseDomain|r| ");  // the other is shut down still

  // Ended: what it owned goes, with all that is below; then watchers are told of the end.
  ASK(first, WRITE, "/test/of/a/below|1", "OK|");
  ASK(first, SET_PERMS, text("/test/of/a|n%u|", a), "OK|");
  ASK(first, WRITE, "/test/read|1", "OK|");
  ASK(first, SET_PERMS, text("/test/read|n0|r%u|", a), "OK|");
  ASK(second, WATCH, "/test|t|", "OK|");
  ASK(second, WATCH, "/test/of/a/below|b|", "OK|");
  events_of(&second);
  store_disconnect(guest.peer);
  store_end_domain(a);
  const char *events = events_to_come(&second);
  CHECK(strncmp(events, "/test/of/a/below|b| /test/of/a|t| @releaseDomain|r| ", 51) == 0);
  ASK(first, READ, "/test/of/a|", "!ENOENT");
  ASK(first, READ, text("/local/domain/%u|", a), "!ENOENT");
  ASK(first, READ, "/test/of|", "");
  ASK(first, IS_DOMAIN_INTRODUCED, text("%u|", a), "F|");
  // Another one of that number inherits nothing.
  ASK(first, GET_PERMS, "/test/read|", text("n0|r%u|", a));
  CHECK(store_make_domain(a) == a);
  make_home(a);
  guest = (struct store_client){.peer = store_introduce(a)};
  ASK(guest, READ, "/test/read|", "!EACCES");
  ASK(first, SET_PERMS, text("/test/read|n0|r%u|", a), "OK|");
  ASK(guest, READ, "/test/read|", "1");

  // Released by the tools.
  ASK(guest, WRITE, "a|1", "OK|");
  events_of(&second);
  store_disconnect(guest.peer);
  ASK(first, RELEASE, text("%u|", a), "OK|");
  EVENTS(second, "@releaseDomain|r| ");
  ASK(first, IS_DOMAIN_INTRODUCED, text("%u|", a), "F|");
  ASK(first, READ, text("/local/domain/%u|", a), "!ENOENT");
  ASK(first, RELEASE, text("%u|", a), "!ENOENT");
  store_end_domain(a);
  ASK(first, RM, "/test|", "OK|");
  ASK(second, RESET_WATCHES, "|", "OK|");
  events_of(&second);
}

void check_store_domains(void) {
  check_domain_0();
  check_without_domain();
  check_life();
}

// How often it works, up to `most`, and what it is answered then. `format` has a number in it.
static unsigned how_often(struct store_client *client, uint32_t type, const char *format,
                          unsigned most, const char *error) {
  for (unsigned i = 0; i < most; i++) {
    char payload[64];
    snprintf(payload, sizeof(payload), format, i);
    const char *answer = ask(client, type, 0, payload);
    if (answer[0] != '!') continue;
    check_text(answer, error, "beyond the quota", __LINE__);
    return i;
  }
  return most;
}

void check_store_quotas(void) {
  const unsigned id = store_make_domain(0);
  make_home(id);
  struct store_client guest = {.peer = store_introduce(id)};
  // A node's record has 24 bytes, 8 for each permission, value and children, and is below 2048.
  ASK(guest, WRITE, text("big|%s", repeated('x', 2015)), "OK|");
  ASK(guest, WRITE, text("big|%s", repeated('x', 2016)), "!ENOSPC");
  ASK(guest, READ, "big|", repeated('x', 2015));
  ASK(guest, WRITE, text("new/big|%s", repeated('x', 2016)), "!ENOSPC");
  ASK(guest, READ, "new|", "!ENOENT");
  ASK(guest, SET_PERMS, text("big|n%u|r%u|", id, id), "!ENOSPC");
  ASK(guest, GET_PERMS, "big|", text("n%u|", id));
  ASK(first, WRITE, text("/local/domain/%u/big|%s", id, repeated('x', 4000)), "OK|");
  ASK(guest, RM, "big|", "OK|");
  // Names count in what they are children of.
  ASK(guest, WRITE, text("dir/%s|1", repeated('n', 1000)), "OK|");
  ASK(guest, WRITE, text("dir/%s|1", repeated('m', 1012)), "OK|");
  ASK(guest, WRITE, "dir/o|1", "!ENOSPC");
  ASK(guest, READ, "dir/o|", "!ENOENT");
  ASK(guest, RM, "dir|", "OK|");

  const char *const some = text("p|n%u|r1|r2|r3|r4|", id);
  ASK(guest, WRITE, "p|1", "OK|");
  ASK(guest, SET_PERMS, some, "OK|");
  ASK(guest, SET_PERMS, text("%sr5|", some), "!ENOSPC");
  ASK(guest, RM, "p|", "OK|");

  CHECK(how_often(&guest, XS_WATCH, "w%u|t|", 200, "!E2BIG") == 129);
  ASK(guest, UNWATCH, "w5|t|", "OK|");
  ASK(guest, WATCH, "x|t|", "OK|");
  ASK(guest, WATCH, "y|t|", "!E2BIG");
  ASK(guest, RESET_WATCHES, "|", "OK|");
  events_of(&guest);
  CHECK(how_often(&guest, XS_TRANSACTION_START, "%u|", 20, "!ENOSPC") == 11);
  ASK(guest, RESET_WATCHES, "|", "OK|");

  // Nodes, of which its home is one; within a transaction they are counted at its end.
  ASK(guest, MKDIR, "n/0|", "OK|");
  uint32_t t = begin(&guest);
  for (unsigned i = 1; i <= 990; i++) ask(&guest, XS_MKDIR, t, text("n/%u/%u|", i / 50, i));
  ASK_IN(t, guest, TRANSACTION_END, "T|", "!ENOSPC");
  ASK(guest, DIRECTORY, "n|", "0|");
  // The home, n, and four folders with what is in them; a node's children have to fit into it.
  unsigned made = 2 + 1;
  for (unsigned i = 0; i < 4; i++) {
    for (unsigned j = 0; j < 249; j++) {
      if (ask(&guest, XS_MKDIR, 0, text("n/%u/%u|", i, j))[0] != '!') made++;
    }
    made += i > 0;
  }
  made += ask(&guest, XS_MKDIR, 0, "n/0/a|")[0] != '!';
  made += ask(&guest, XS_MKDIR, 0, "n/0/b|")[0] != '!';
  CHECK(made == 1000);
  ASK(guest, MKDIR, "n/over|", "!ENOSPC");
  ASK(guest, WRITE, "n/0/0|1", "OK|");
  ASK(guest, RM, "n/0/1|", "OK|");
  ASK(guest, MKDIR, "n/a/b|", "!ENOSPC");
  ASK(guest, READ, "n/a|", "!ENOENT");
  ASK(guest, MKDIR, "n/a|", "OK|");
  // What a transaction looks at is bounded.
  t = begin(&guest);
  unsigned seen = 0;
  while (seen < 2000 && strcmp(ask(&guest, XS_READ, t, text("s%u|", seen)), "!ENOENT") == 0) {
    seen++;
  }
  CHECK(seen == 1023);  // its home is one, too
  ASK_IN(t, guest, READ, text("s%u|", seen), "!ENOSPC");
  ASK_IN(t, guest, TRANSACTION_END, "T|", "!ENOMEM");
  CHECK(strstr(ask(&first, XS_CONTROL, 0, text("quota|%u|", id)),
               "\nnodes           :     1000\nwatches         :        0\n") != NULL);

  store_disconnect(guest.peer);
  store_end_domain(id);
  for (unsigned i = 0; i < 200; i++) {
    if (strcmp(ask(&first, XS_READ, 0, text("/local/domain/%u|", id)), "!ENOENT") == 0) break;
  }
  ASK(first, READ, text("/local/domain/%u|", id), "!ENOENT");
  CHECK(strcmp(ask(&first, XS_CONTROL, 0, text("quota|%u|", id)), "!ENOENT") == 0);
}
