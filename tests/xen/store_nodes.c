// Nodes, paths, permissions, as domain 0 sees them; watches; transactions.
#include <string.h>

#include "tests/xen/check.h"
#include "tests/xen/store.h"

static void check_paths(void) {
  // But for a path without its zero: to that xenstored 4.17 answers what it answered before.
  static const char *const kBad[] = {
      "|",       "/none/|",  "//none|",         "/no//ne|", "/no ne|",
      "/no.ne|", "/no\tne|", "@releaseDomain|", "@none|",   "none/|",
  };
  for (unsigned i = 0; i < sizeof(kBad) / sizeof(*kBad); i++) {
    check_text(ask(&first, XS_READ, 0, kBad[i]), "!EINVAL", kBad[i], __LINE__);
    check_text(ask(&first, XS_MKDIR, 0, kBad[i]), "!EINVAL", kBad[i], __LINE__);
  }
  ASK(first, READ, "/none|", "!ENOENT");
  ASK(first, READ, "none|", "!ENOENT");
  ASK(first, READ, "/none/below|", "!ENOENT");
  ASK(first, READ, "/No-n_e@9|", "!ENOENT");
  ASK(first, READ, "/|", "");
  ASK(first, GET_PERMS, "/|", "n0|");
  ASK(first, GET_PERMS, "/none|", "!ENOENT");
  ASK(first, GET_PERMS, "@releaseDomain|", "!EINVAL");
  ASK(first, DIRECTORY, "/none|", "!ENOENT");
  ASK(first, DIRECTORY, "/tool/xenstored|", "");
  // 2048 bytes, of which what leads to a domain's nodes is none.
  ASK(first, READ, text("/%s|", repeated('a', 2047)), "!ENOENT");
  ASK(first, READ, text("/%s|", repeated('a', 2048)), "!EINVAL");
  ASK(first, READ, text("/local/domain/7/%s|", repeated('a', 2048)), "!ENOENT");
  ASK(first, READ, text("/local/domain/7/%s|", repeated('a', 2049)), "!EINVAL");
  ASK(first, READ, text("/local/domain/12345/%s|", repeated('a', 2048)), "!ENOENT");
  ASK(first, READ, text("/local/domain/123456/%s|", repeated('a', 2028)), "!EINVAL");
  ASK(first, READ, text("/local/domain/123456/%s|", repeated('a', 2027)), "!ENOENT");
  ASK(first, READ, text("/local/domain/7x/%s|", repeated('a', 2031)), "!ENOENT");
  ASK(first, READ, text("/local/domain/7x/%s|", repeated('a', 2032)), "!EINVAL");
  ASK(first, READ, text("/local/domain/%s|", repeated('7', 2034)), "!ENOENT");
  ASK(first, READ, text("/local/domain/%s|", repeated('7', 2035)), "!EINVAL");
  ASK(first, READ, text("%s|", repeated('a', 2048)), "!ENOENT");
  ASK(first, READ, text("%s|", repeated('a', 2049)), "!EINVAL");
}

static void check_values(void) {
  ASK(first, WRITE, "/test/a|value", "OK|");
  ASK(second, READ, "/test/a|", "value");
  ASK(first, WRITE, "/test/a|va|lue|", "OK|");
  ASK(first, READ, "/test/a|", "va|lue|");
  ASK(first, WRITE, "/test/a|", "OK|");
  ASK(first, READ, "/test/a|", "");
  ASK(first, WRITE, "/test/a", "!EINVAL");
  ASK(first, WRITE, "", "!EINVAL");
  ASK(first, READ, "/test|", "");
  const char *long_value = repeated('x', XENSTORE_PAYLOAD_MAX - 8);
  ASK(first, WRITE, text("/test/a|%s", long_value), "OK|");
  ASK(first, READ, "/test/a|", long_value);

  ASK(first, WRITE, "here|1", "OK|");
  ASK(first, READ, "/local/domain/0/here|", "1");
  ASK(first, RM, "here|", "OK|");
  ASK(first, READ, "here|", "!ENOENT");
}

static void check_children(void) {
  ASK(first, MKDIR, "/test/d/z|", "OK|");
  ASK(first, MKDIR, "/test/d/b/c|", "OK|");
  ASK(first, WRITE, "/test/d/a|1", "OK|");
  ASK(first, DIRECTORY, "/test/d|", "z|b|a|");
  ASK(first, MKDIR, "/test/d/a|", "OK|");
  ASK(first, READ, "/test/d/a|", "1");
  ASK(first, RM, "/test/d/b|", "OK|");
  ASK(first, READ, "/test/d/b/c|", "!ENOENT");
  ASK(first, MKDIR, "/test/d/b|", "OK|");
  ASK(first, DIRECTORY, "/test/d|", "z|a|b|");
  ASK(first, DIRECTORY, "/test/d/b|", "");
  ASK(first, RM, "/test/d/none|", "OK|");
  ASK(first, RM, "/test/d/none/none|", "!ENOENT");
  ASK(first, RM, "/|", "!EINVAL");
  ASK(first, RM, "/test/d|", "OK|");
  ASK(first, DIRECTORY, "/test/d|", "!ENOENT");

  // As much as a message holds, and more, which is listed in parts.
  for (unsigned i = 0; i < 64; i++) {
    ask(&first, XS_MKDIR, 0, text("/test/full/%03u%s|", i, repeated('n', 60)));
  }
  CHECK(strlen(ask(&first, XS_DIRECTORY, 0, "/test/full|")) == XENSTORE_PAYLOAD_MAX);
  ASK(first, MKDIR, "/test/full/n|", "OK|");
  ASK(first, DIRECTORY, "/test/full|", "!E2BIG");
  for (unsigned i = 0; i < 100; i++) {
    ask(&first, XS_MKDIR, 0, text("/test/many/%03u%s|", i, repeated('n', 50)));
  }
  ASK(first, DIRECTORY, "/test/many|", "!E2BIG");
  unsigned parts = 0, names = 0, offset = 0;
  for (bool is_last = false; !is_last && parts < 10; parts++) {
    const char *part = ask(&first, XS_DIRECTORY_PART, 0, text("/test/many|%u|", offset));
    CHECK(strlen(part) <= XENSTORE_PAYLOAD_MAX);
    part = strchr(part, '|');  // the generation
    if (part == NULL) break;
    is_last = strlen(part) < 2 || part[strlen(part) - 2] == '|';
    offset += (unsigned)strlen(part + 1) - is_last;
    for (part++; strchr(part, '|') != NULL; part = strchr(part, '|') + 1) names += *part != '|';
  }
  CHECK(parts == 2 && names == 100 && offset == 100 * 54);
  ASK(first, DIRECTORY_PART, "/test/many|", "!EINVAL");
  ASK(first, DIRECTORY_PART, "/test/many|0|0|", "!EINVAL");
  ASK(first, DIRECTORY_PART, "/test/none|0|", "!ENOENT");
  const char *end = ask(&first, XS_DIRECTORY_PART, 0, "/test/many|5400|");
  CHECK(strchr(end, '|') != NULL && strcmp(strchr(end, '|'), "||") == 0);
  end = ask(&first, XS_DIRECTORY_PART, 0, "/test/many|-1|");
  CHECK(strchr(end, '|') != NULL && strcmp(strchr(end, '|'), "||") == 0);
  ASK(first, RM, "/test/many|", "OK|");
}

static void check_permissions(void) {
  ASK(first, WRITE, "/test/p|1", "OK|");
  ASK(first, GET_PERMS, "/test/p|", "n0|");
  // There are no such domains: the owner has to be one.
  ASK(first, SET_PERMS, "/test/p|b0|r777|w778|b779|n780|", "OK|");
  ASK(first, GET_PERMS, "/test/p|", "b0|r777|w778|b779|n780|");
  ASK(first, SET_PERMS, "/test/p|b777|", "!ENOENT");
  ASK(first, SET_PERMS, "/test/p|", "!EINVAL");
  ASK(first, SET_PERMS, "/test/p|x0|", "!EINVAL");
  ASK(first, SET_PERMS, "/test/p|r|", "!EINVAL");
  ASK(first, SET_PERMS, "/test/p|0|", "!EINVAL");
  ASK(first, SET_PERMS, "/test/p|r0x|", "!EINVAL");
  ASK(first, SET_PERMS, "/test/p|r0|x0|", "!EINVAL");
  ASK(first, SET_PERMS, "/test/p|r0|r1 |", "!EINVAL");
  ASK(first, SET_PERMS, "/test/none|r0|", "!ENOENT");
  ASK(first, SET_PERMS, "//|r0|", "!EINVAL");
  ASK(first, SET_PERMS, "/test/p|r0|r-1|r0x10|r 12|r+7|r0|", "OK|");
  ASK(first, GET_PERMS, "/test/p|", "r0|r-1|r16|r12|r7|r0|");
  // What follows the last zero is nothing.
  ASK(first, SET_PERMS, "/test/p|w0|x", "OK|");
  ASK(first, GET_PERMS, "/test/p|", "w0|");
  // Inherited.
  ASK(first, SET_PERMS, "/test/p|r0|w777|", "OK|");
  ASK(first, MKDIR, "/test/p/below/below|", "OK|");
  ASK(first, GET_PERMS, "/test/p/below|", "r0|w777|");
  ASK(first, GET_PERMS, "/test/p/below/below|", "r0|w777|");
}

void check_store_nodes(void) {
  check_paths();
  check_values();
  check_children();
  check_permissions();
  ASK(first, RM, "/test|", "OK|");
}

void check_store_watches(void) {
  ASK(first, MKDIR, "/test|", "OK|");
  ASK(second, WATCH, "/test|t|", "OK|");
  EVENTS(second, "/test|t| ");
  ASK(second, WATCH, "/test|t|", "!EEXIST");
  ASK(second, WATCH, "/test|u|", "OK|");
  ASK(second, WATCH, "/test/none|t|", "OK|");
  EVENTS(second, "/test|u| /test/none|t| ");
  ASK(second, WATCH, "/test/|t|", "!EINVAL");
  ASK(second, WATCH, "/test|", "!EINVAL");
  ASK(second, WATCH, "/test|v|w|", "!EINVAL");
  ASK(second, WATCH, "/test|v|w", "OK|");
  EVENTS(second, "/test|v| ");
  ASK(second, UNWATCH, "/test|v|", "OK|");
  ASK(second, UNWATCH, "/test|v|", "!ENOENT");
  ASK(second, UNWATCH, "/test|", "!EINVAL");
  ASK(second, UNWATCH, "//|v|", "!ENOENT");

  // One event for what is made, and for what is not changed.
  ASK(first, WRITE, "/test/a/b/c|1", "OK|");
  EVENTS(second, "/test/a/b/c|t| /test/a/b/c|u| ");
  ASK(first, WRITE, "/test/a/b/c|1", "OK|");
  EVENTS(second, "/test/a/b/c|t| /test/a/b/c|u| ");
  ASK(first, MKDIR, "/test/a/b|", "OK|");
  ASK(first, RM, "/test/a/none|", "OK|");
  ASK(first, READ, "/test/a|", "");
  ASK(first, WRITE, "/testa|1", "OK|");
  ASK(first, RM, "/testa|", "OK|");
  EVENTS(second, "");
  ASK(first, SET_PERMS, "/test/a|r0|", "OK|");
  EVENTS(second, "/test/a|t| /test/a|u| ");
  ASK(first, WRITE, "/test/none|1", "OK|");
  EVENTS(second, "/test/none|t| /test/none|u| ");  // two watches' are one event
  ASK(second, RESET_WATCHES, "|", "OK|");
  ASK(first, WRITE, "/test/none|1", "OK|");
  EVENTS(second, "");

  // What goes with its parent is told to who watches itself, children first.
  ASK(first, MKDIR, "/test/a/b/d|", "OK|");
  ASK(first, MKDIR, "/test/a/e|", "OK|");
  const char *const watched[] = {"/test",       "/test/a",   "/test/a/b",
                                 "/test/a/b/d", "/test/a/e", "/test/a/b/none"};
  for (unsigned i = 0; i < 6; i++) ask(&second, XS_WATCH, 0, text("%s|%u|", watched[i], i));
  events_of(&second);
  ASK(first, RM, "/test/a|", "OK|");
  EVENTS(second, "/test/a/b/d|3| /test/a/b|2| /test/a/e|4| /test/a|0| /test/a|1| ");
  ASK(second, RESET_WATCHES, "", "OK|");

  // A relative watch has relative events.
  ASK(second, WATCH, "rel|t|", "OK|");
  ASK(second, WATCH, "/local/domain/0/rel|u|", "OK|");
  EVENTS(second, "rel|t| /local/domain/0/rel|u| ");
  ASK(first, WRITE, "rel/x|1", "OK|");
  EVENTS(second, "rel/x|t| /local/domain/0/rel/x|u| ");
  ASK(second, WATCH, "rel|u|", "!EEXIST");
  ASK(second, UNWATCH, "rel|u|", "OK|");
  ASK(first, RM, "rel|", "OK|");
  EVENTS(second, "rel|t| ");
  ASK(second, RESET_WATCHES, "|", "OK|");

  // The event comes behind the answer that it follows from, but for one's own change.
  ASK(first, WATCH, "/test|mine|", "OK|");
  EVENTS(first, "/test|mine| ");
  ASK(first, WRITE, "/test/a|1", "OK|");
  check_text(first.events, "/test/a|mine| ", "the event before the answer", __LINE__);
  EVENTS(first, "/test/a|mine| ");
  ASK(first, UNWATCH, "/test|mine|", "OK|");

  // Everything, and special watches, of which there need not be one.
  ASK(second, WATCH, "/|all|", "OK|");
  ASK(second, WATCH, "@none|t|", "OK|");
  ASK(second, WATCH, text("@%s|t|", repeated('n', 2047)), "OK|");
  ASK(second, WATCH, text("@%s|t|", repeated('n', 2048)), "!EINVAL");
  EVENTS(second, text("/|all| @none|t| @%s|t| ", repeated('n', 2047)));
  ASK(first, RM, "/test|", "OK|");
  EVENTS(second, "/test|all| ");
  // An event that would be too long is none.
  ASK(second, WATCH, text("/n|%s|", repeated('t', 4080)), "OK|");
  ASK(first, WRITE, text("/n/%s|", repeated('n', 100)), "OK|");
  EVENTS(second, text("/n|%s| /n/%s|all| ", repeated('t', 4080), repeated('n', 100)));
  ASK(first, RM, "/n|", "OK|");
  events_of(&second);
  ASK(second, RESET_WATCHES, "|", "OK|");
}

void check_store_transactions(void) {
  ASK(first, WRITE, "/test/a|1", "OK|");
  ASK(second, WATCH, "/test|t|", "OK|");
  events_of(&second);

  const uint32_t t = begin(&first);
  CHECK(t != 0);
  ASK_IN(t, first, TRANSACTION_START, "|", "!EBUSY");
  ASK_IN(t + 100, first, TRANSACTION_START, "|", "!ENOENT");
  ASK_IN(t + 100, first, READ, "/test/a|", "!ENOENT");
  ASK_IN(t + 100, first, WATCH, "/test|x|", "OK|");
  ASK_IN(t + 100, first, UNWATCH, "/test|x|", "OK|");
  events_of(&first);
  ASK_IN(t, second, READ, "/test/a|", "!ENOENT");
  ASK_IN(t, first, TRANSACTION_END, "X|", "!EINVAL");
  ASK_IN(t, first, TRANSACTION_END, "T", "!EINVAL");
  ASK(first, TRANSACTION_END, "T|", "!ENOENT");
  // Seen inside alone, until the end.
  ASK_IN(t, first, WRITE, "/test/b/c|2", "OK|");
  ASK_IN(t, first, WRITE, "/test/a|3", "OK|");
  ASK_IN(t, first, DIRECTORY, "/test|", "a|b|");
  ASK_IN(t, first, READ, "/test/a|", "3");
  ASK(first, READ, "/test/a|", "1");
  ASK(first, READ, "/test/b|", "!ENOENT");
  EVENTS(second, "");
  ASK_IN(t, first, TRANSACTION_END, "T|", "OK|");
  ASK_IN(t, first, TRANSACTION_END, "T|", "!ENOENT");
  ASK(second, READ, "/test/a|", "3");
  EVENTS(second, "/test/b/c|t| /test/a|t| ");

  // Aborted.
  uint32_t u = begin(&first);
  CHECK(u == t + 1);
  ASK_IN(u, first, RM, "/test|", "OK|");
  ASK_IN(u, first, READ, "/test/a|", "!ENOENT");
  ASK_IN(u, first, TRANSACTION_END, "F|", "OK|");
  ASK(first, READ, "/test/a|", "3");
  EVENTS(second, "");

  // What was read has changed meanwhile: it, its children, its absence.
  const char *const reads[] = {"/test/a", "/test", "/test/none"};
  const char *const changes[] = {"/test/a|4", "/test/new|1", "/test/none|1"};
  const uint32_t kinds[] = {XS_READ, XS_DIRECTORY, XS_READ};
  for (unsigned i = 0; i < 3; i++) {
    u = begin(&first);
    ask(&first, kinds[i], u, text("%s|", reads[i]));
    ask(&second, XS_WRITE, 0, changes[i]);
    ASK_IN(u, first, WRITE, "/test/x|1", "OK|");
    ASK_IN(u, first, TRANSACTION_END, "T|", "!EAGAIN");
    ASK_IN(u, first, TRANSACTION_END, "T|", "!ENOENT");
    ASK(first, READ, "/test/x|", "!ENOENT");
  }
  events_of(&second);
  // Also when nothing was written.
  u = begin(&first);
  ASK_IN(u, first, READ, "/test/a|", "4");
  ASK(second, WRITE, "/test/a|4", "OK|");
  ASK_IN(u, first, TRANSACTION_END, "T|", "!EAGAIN");
  // A node that is elsewhere changed is no matter, nor is one deeper in what was listed.
  u = begin(&first);
  ASK_IN(u, first, READ, "/test/a|", "4");
  ASK_IN(u, first, DIRECTORY, "/test|", "a|b|new|none|");
  ASK(second, WRITE, "/test/b/c|5", "OK|");
  ASK_IN(u, first, TRANSACTION_END, "T|", "OK|");
  // Two that make nodes in one folder.
  u = begin(&first);
  const uint32_t v = begin(&second);
  ASK_IN(u, first, WRITE, "/test/u|1", "OK|");
  ASK_IN(v, second, WRITE, "/test/v|1", "OK|");
  ASK_IN(u, first, TRANSACTION_END, "T|", "OK|");
  ASK_IN(v, second, TRANSACTION_END, "T|", "!EAGAIN");
  events_of(&second);

  // Made and removed again: nothing was.
  u = begin(&first);
  ASK_IN(u, first, WRITE, "/test/w|1", "OK|");
  ASK_IN(u, first, RM, "/test/w|", "OK|");
  ASK_IN(u, first, TRANSACTION_END, "T|", "OK|");
  EVENTS(second, "");
  // Removed and made again. Watchers hear of nodes as they were first looked at.
  u = begin(&first);
  ASK_IN(u, first, RM, "/test/b|", "OK|");
  ASK_IN(u, first, WRITE, "/test/b|6", "OK|");
  ASK_IN(u, first, SET_PERMS, "/test/a|r0|", "OK|");
  ASK_IN(u, first, GET_PERMS, "/test/a|", "r0|");
  ASK_IN(u, first, TRANSACTION_END, "T|", "OK|");
  EVENTS(second, "/test/b|t| /test/a|t| ");
  ASK(first, READ, "/test/b/c|", "!ENOENT");
  // A tree that goes.
  ASK(first, WRITE, "/test/d/e/f|1", "OK|");
  ASK(second, WATCH, "/test/d/e/f|f|", "OK|");
  ASK(second, WATCH, "/test/d/e|e|", "OK|");
  events_of(&second);
  u = begin(&first);
  ASK_IN(u, first, RM, "/test/d|", "OK|");
  ASK_IN(u, first, TRANSACTION_END, "T|", "OK|");
  EVENTS(second, "/test/d|t| /test/d/e|e| /test/d/e/f|f| ");
  // What was written first is told to who watches above, too.
  ASK(first, WRITE, "/test/d/e|1", "OK|");
  events_of(&second);
  u = begin(&first);
  ASK_IN(u, first, WRITE, "/test/d/e|2", "OK|");
  ASK_IN(u, first, RM, "/test/d|", "OK|");
  ASK_IN(u, first, TRANSACTION_END, "T|", "OK|");
  EVENTS(second, "/test/d/e|t| /test/d/e|e| /test/d|t| ");
  // Half of it from before others removed it, half from after.
  ASK(first, WRITE, "/test/g/h|1", "OK|");
  u = begin(&first);
  ASK_IN(u, first, READ, "/test/g/h|", "1");
  ASK(second, RM, "/test/g|", "OK|");
  ASK(second, MKDIR, "/test/g|", "OK|");
  ASK_IN(u, first, RM, "/test/g/h|", "!EIO");
  ASK_IN(u, first, TRANSACTION_END, "T|", "!EAGAIN");
  events_of(&second);
  // Watches and all transactions at once.
  u = begin(&first);
  ASK_IN(u, first, RESET_WATCHES, "|", "OK|");
  ASK_IN(u, first, TRANSACTION_END, "T|", "!ENOENT");
  ASK(second, RESET_WATCHES, "|", "OK|");
  ASK(first, RM, "/test|", "OK|");
}
