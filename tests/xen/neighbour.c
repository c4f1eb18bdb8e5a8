// Pages that one domain grants to another: a program in each, over the same library.
//
//     PROGRAM lend DOMID     grants pages to that domain, until the borrower wants no more
//     PROGRAM borrow DOMID   checks what becomes of the pages that the other grants
//
// The store tells the borrower of the first page and of an event channel; in that page it says what
// it wants.
#include "tests/xen/neighbour.h"

#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xenevtchn.h>
#include <xenstore.h>

#include "tests/xen/check.h"

unsigned checks_passed, checks_failed;

// What the borrower wants. Pages are known by their set; a set's are all granted together.
enum want {
  kShare = 1,      // a set of pages, of which each begins with its number
  kShareReadOnly,  // as kShare
  kShareNoticed,   // one page, which tells of its end
  kUnshare,        // a set
  kCountMarks,     // pages of a set that begin with their number behind kMark
  kFillWith,       // all bytes of a set's first page
  kByteAt,         // of a set's first page
  kWasTold,        // whether an event came, or comes soon
  kWasNotTold,
  kEnd
};
enum { kMark = 0x5a000000, kMost = 64, kMostSets = 16 };

// The page that both have.
struct talk {
  _Atomic uint32_t wanted, answered;  // counted
  uint32_t want, set, number, answer;
  uint32_t refs[kMost];
};

static xenevtchn_handle *events;
static xenevtchn_port_or_error_t port;

static bool was_told(int milliseconds) {
  struct pollfd one = {.fd = xenevtchn_fd(events), .events = POLLIN};
  if (poll(&one, 1, milliseconds) != 1) return false;
  const xenevtchn_port_or_error_t got = xenevtchn_pending(events);
  return got == port && xenevtchn_unmask(events, (evtchn_port_t)got) == 0;
}

static struct {
  char *pages;
  int count;
} sets[kMostSets];

static uint32_t answer(struct talk *talk, int domid) {
  const uint32_t set = talk->set % kMostSets, number = talk->number;
  uint32_t *words = (uint32_t *)sets[set].pages, count = 0;
  switch (talk->want) {
    case kShare:
    case kShareReadOnly:
      sets[set].count = (int)number;
      sets[set].pages = share_pages(domid, (int)number, talk->want == kShare, talk->refs);
      if (sets[set].pages == NULL) return (uint32_t)-errno;
      for (uint32_t i = 0; i < number; i++) *(uint32_t *)(sets[set].pages + i * kPage) = i;
      return 0;
    case kShareNoticed:
      sets[set].count = 1;
      sets[set].pages = share_with_notice(domid, talk->refs, (int)number, (uint32_t)port);
      if (sets[set].pages == NULL) return (uint32_t)-errno;
      memset(sets[set].pages, 1, kPage);
      return 0;
    case kUnshare:
      return unshare_pages(sets[set].pages, sets[set].count) ? 0 : (uint32_t)-errno;
    case kCountMarks:
      for (uint32_t i = 0; i < number; i++) count += words[i * kPage / 4] == kMark + i;
      return count;
    case kFillWith:
      memset(words, (int)number, kPage);
      return 0;
    case kByteAt:
      return (uint8_t)sets[set].pages[number];
    case kWasTold:
      return was_told(10000);
    case kWasNotTold:
      return !was_told(50);
    default:
      return 0;
  }
}

static int lend(int domid, const char *node) {
  uint32_t ref;
  struct talk *talk = (struct talk *)share_pages(domid, 1, true, &ref);
  port = xenevtchn_bind_unbound_port(events, (uint32_t)domid);
  struct xs_handle *store = xs_open(0);
  CHECK(talk != NULL && port > 0 && store != NULL);
  if (checks_failed != 0) return close_checks();
  char text[64];
  snprintf(text, sizeof(text), "%u %d", ref, port);
  // The other may read it.
  char *own = xs_read(store, XBT_NULL, "domid", NULL);
  CHECK(own != NULL);
  struct xs_permissions permissions[] = {
      {.id = own == NULL ? 0 : (unsigned)atoi(own), .perms = XS_PERM_NONE},
      {.id = (unsigned)domid, .perms = XS_PERM_READ}};
  CHECK(xs_write(store, XBT_NULL, node, text, (unsigned)strlen(text)) &&
        xs_set_permissions(store, XBT_NULL, node, permissions, 2));
  free(own);
  xs_close(store);
  if (checks_failed != 0) return close_checks();
  uint32_t answered = 0;
  do {
    while (talk->wanted == answered) usleep(1000);
    talk->answer = answer(talk, domid);
    talk->answered = ++answered;
  } while (talk->want != kEnd);
  return close_checks();
}

static struct talk *talk;
static int lender;

static uint32_t ask(enum want want, uint32_t set, uint32_t number) {
  talk->want = want;
  talk->set = set;
  talk->number = number;
  const uint32_t wanted = ++talk->wanted;
  for (int tries = 0; talk->answered != wanted; tries++) {
    if (tries == 20000) {
      CHECK(!"an answer");
      exit(close_checks());
    }
    usleep(1000);
  }
  return talk->answer;
}

// As many pages of a new set.
static void ask_for(enum want want, uint32_t set, uint32_t number, uint32_t *refs) {
  CHECK(ask(want, set, number) == 0);
  for (uint32_t i = 0; i < number; i++) refs[i] = talk->refs[i];
}

#define CHECK_NOT_MAPPED(mapping, expected_errno)                                   \
  do {                                                                              \
    errno = 0;                                                                      \
    check_that((mapping) == NULL && errno == (expected_errno), #mapping, __LINE__); \
  } while (0)

enum { kScattered, kReadOnly, kNoticed, kLent, kGone, kLater };

static void check_mapped(void) {
  uint32_t refs[kMost];
  ask_for(kShare, kScattered, kMost, refs);
  char *one = map_grants(lender, 1, refs + 5, false);
  CHECK(one != NULL && *(uint32_t *)one == 5 && one[4] == 0);
  CHECK(unmap_grants(one, 1));
  // In another order, and one of them twice.
  uint32_t some[kMost];
  for (uint32_t i = 0; i < kMost; i++) some[i] = refs[i * 7 % kMost];
  some[9] = some[8];
  char *all = map_grants(lender, kMost, some, true);
  CHECK(all != NULL);
  for (uint32_t i = 0; i < kMost; i++) {
    CHECK(*(uint32_t *)(all + i * kPage) == (i == 9 ? 8 : i) * 7 % kMost);
  }
  for (uint32_t i = 0; i < kMost; i++) {
    if (i != 9) *(uint32_t *)(all + i * kPage) = kMark + i * 7 % kMost;
  }
  CHECK(*(uint32_t *)(all + 9 * kPage) == *(uint32_t *)(all + 8 * kPage));
  // Nobody has written to the one that is not among them.
  CHECK(ask(kCountMarks, kScattered, kMost) == kMost - 1);
  CHECK(ask(kFillWith, kScattered, 'f') == 0 && all[0] == 'f' && all[kPage - 1] == 'f');
  CHECK(unmap_grants(all, kMost));

  uint32_t read_only[2];
  ask_for(kShareReadOnly, kReadOnly, 2, read_only);
  one = map_grants(lender, 2, read_only, false);
  CHECK(one != NULL && *(uint32_t *)(one + kPage) == 1 && unmap_grants(one, 2));
  CHECK_NOT_MAPPED(map_grants(lender, 2, read_only, true), kWritingRefused);
  uint32_t mixed[] = {refs[0], refs[1], read_only[0], refs[2]};
  CHECK_NOT_MAPPED(map_grants(lender, 4, mixed, true), kWritingRefused);
  const uint32_t wrong[] = {1 << 20, UINT32_MAX};
  for (int i = 0; i < 2; i++) {
    mixed[2] = wrong[i];
    CHECK_NOT_MAPPED(map_grants(lender, 4, mixed, true), EINVAL);
    CHECK_NOT_MAPPED(map_grants(lender, 1, mixed + 2, false), EINVAL);
  }
  CHECK_NOT_MAPPED(map_grants(0x7abc, 1, refs, false), EINVAL);
  // And that left nothing behind.
  one = map_grants(lender, 2, refs, true);
  CHECK(one != NULL && one[0] == 'f' && *(uint32_t *)(one + kPage) == kMark + 1);
  CHECK(unmap_grants(one, 2));

  uint32_t few[4] = {refs[1], refs[2], refs[3], read_only[1]};
  check_own(lender, few);
}

static void check_copied(void) {
  uint32_t refs[3], read_only[1];
  ask_for(kShare, kLent, 3, refs);
  ask_for(kShareReadOnly, kLater, 1, read_only);
  static char ours[3 * kPage];
  for (int i = 0; i < 3 * kPage; i++) ours[i] = (char)(i * 7 + i / kPage);
  struct copy copies[kMostCopies] = {
      {.from = {.memory = ours + 100}, .to = {.ref = refs[0]}, 4096},
      {.from = {.ref = refs[0], .offset = 96}, .to = {.ref = refs[1], .offset = 1}, 4000},
      {.from = {.ref = refs[1], .offset = 4001}, .to = {.memory = ours + 2 * kPage - 3}, 95},
      {.from = {.memory = ours}, .to = {.ref = refs[2], .offset = 4096}, 0},
  };
  CHECK(copy_grants(lender, 4, copies) == 0);
  for (int i = 0; i < 4; i++) CHECK(copies[i].status == 0);
  char *all = map_grants(lender, 3, refs, true);
  CHECK(all != NULL && memcmp(all, ours + 100, 4096) == 0);
  CHECK(memcmp(all + kPage + 1, all + 96, 4000) == 0 && all[kPage + 4001] == 0);
  for (int i = 0; i < 95; i++) CHECK(ours[2 * kPage - 3 + i] == 0);
  // More than Linux makes at a time, over what is mapped.
  for (int i = 0; i < kMostCopies; i++) {
    ours[i] = (char)(i + 1);
    copies[i] = (struct copy){.from = {.memory = ours + i},
                              .to = {.ref = refs[i % 2], .offset = (uint16_t)(i * 100)},
                              .length = 1};
  }
  CHECK(copy_grants(lender, kMostCopies, copies) == 0);
  for (int i = 0; i < kMostCopies; i++) {
    CHECK(copies[i].status == 0 && all[i % 2 * kPage + i * 100] == i + 1);
  }
  CHECK(unmap_grants(all, 3));
  // What Xen refuses is said of each, and the others are made.
  struct copy bad[] = {
      {.from = {.memory = ours}, .to = {.ref = 1 << 20}, 10},
      {.from = {.memory = ours}, .to = {.ref = read_only[0]}, 10},
      {.from = {.ref = read_only[0]}, .to = {.memory = ours + kPage}, 10},
      {.from = {.memory = ours}, .to = {.ref = refs[2], .offset = 8}, 10},
  };
  CHECK(copy_grants(lender, 4, bad) == 0);
  CHECK(bad[0].status == -3 && bad[1].status == -1 && bad[2].status == 0 && bad[3].status == 0);
  CHECK(ask(kByteAt, kLent, 0) == 1);
  struct copy beyond = {.from = {.ref = refs[0], .offset = 4095}, .to = {.memory = ours}, 2};
  CHECK_REFUSED(copy_grants(lender, 1, &beyond), EINVAL);
  beyond = (struct copy){.from = {.memory = ours}, .to = {.memory = ours + 100}, 10};
  CHECK_REFUSED(copy_grants(lender, 1, &beyond), EINVAL);
}

// What was mapped goes in a while: Linux looks for it every second.
static bool have_gone(uint32_t *refs) {
  for (int tries = 0; tries < 500; tries++) {
    char *both = map_grants(lender, 2, refs, false);
    if (both == NULL) return errno == EINVAL;
    if (!unmap_grants(both, 2)) return false;
    usleep(20000);
  }
  return false;
}

static void check_revoked(void) {
  uint32_t refs[2];
  ask_for(kShare, kGone, 2, refs);
  CHECK(ask(kUnshare, kGone, 0) == 0);
  CHECK_NOT_MAPPED(map_grants(lender, 1, refs, false), EINVAL);
  // It stays for whoever has it, and only for those.
  ask_for(kShare, kGone, 2, refs);
  char *both = map_grants(lender, 2, refs, true);
  CHECK(both != NULL && ask(kUnshare, kGone, 0) == 0);
  both[kPage + 8] = 'x';
  CHECK(*(uint32_t *)(both + kPage) == 1 && both[kPage + 8] == 'x');
  CHECK(unmap_grants(both, 2));
  CHECK(have_gone(refs));
}

static void check_noticed(void) {
  uint32_t ref;
  ask_for(kShare, kNoticed, 1, &ref);
  CHECK(ask(kFillWith, kNoticed, 1) == 0);
  char *page = map_with_notice(lender, &ref, kNone, (uint32_t)port);
  CHECK(page != NULL && ask(kWasNotTold, 0, 0) && unmap_grants(page, 1) && ask(kWasTold, 0, 0));
  CHECK(ask(kByteAt, kNoticed, 77) == 1);
  page = map_with_notice(lender, &ref, 77, (uint32_t)port);
  CHECK(page != NULL && ask(kWasNotTold, 0, 0) && ask(kByteAt, kNoticed, 77) == 1);
  CHECK(unmap_grants(page, 1) && ask(kWasTold, 0, 0) && ask(kByteAt, kNoticed, 77) == 0);
  CHECK(ask(kByteAt, kNoticed, 76) == 1 && ask(kByteAt, kNoticed, 78) == 1);
  CHECK_NOT_MAPPED(map_with_notice(lender, &ref, kNone, 1000000), EINVAL);

  // A page that tells of its end itself. What the lender's port sends arrives here.
  CHECK(ask(kShareNoticed, kLater, 99) == 0);
  ref = talk->refs[0];
  page = map_grants(lender, 1, &ref, false);
  CHECK(page != NULL && page[99] == 1 && !was_told(50));
  CHECK(ask(kUnshare, kLater, 0) == 0 && was_told(10000));
  CHECK(page != NULL && page[98] == 1 && page[99] == 0 && unmap_grants(page, 1));
}

// Of a process that holds a page and is killed. Ports are known to all of a domain's.
static int hold_and_die(int domid, uint32_t ref, uint32_t through) {
  if (map_with_notice(domid, &ref, 55, through) == NULL) return 1;
  raise(SIGKILL);
  return 2;
}

static void check_death(void) {
  uint32_t ref;
  ask_for(kShare, kNoticed, 1, &ref);
  CHECK(ask(kFillWith, kNoticed, 1) == 0 && ask(kWasNotTold, 0, 0));
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    char words[3][16];
    const uint32_t numbers[3] = {(uint32_t)lender, ref, (uint32_t)port};
    for (int i = 0; i < 3; i++) snprintf(words[i], sizeof(words[i]), "%u", numbers[i]);
    // Another program's: it has nothing of this one's.
    execl("/proc/self/exe", "holder", "hold", words[0], words[1], words[2], NULL);
    _exit(3);
  }
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  CHECK(ask(kWasTold, 0, 0) && ask(kByteAt, kNoticed, 55) == 0);
  CHECK(ask(kByteAt, kNoticed, 54) == 1 && ask(kByteAt, kNoticed, 56) == 1);
}

static int borrow(int domid, const char *node) {
  struct xs_handle *store = xs_open(0);
  CHECK(store != NULL);
  char path[128], *text = NULL;
  snprintf(path, sizeof(path), "/local/domain/%d/%s", domid, node);
  for (int tries = 0; text == NULL && tries < 500; tries++) {
    text = xs_read(store, XBT_NULL, path, NULL);
    if (text == NULL) usleep(20000);
  }
  uint32_t ref = 0;
  unsigned remote = 0;
  CHECK(text != NULL && sscanf(text, "%u %u", &ref, &remote) == 2);
  xs_close(store);
  lender = domid;
  talk = (struct talk *)map_grants(domid, 1, &ref, true);
  port = xenevtchn_bind_interdomain(events, (uint32_t)domid, remote);
  CHECK(talk != NULL && port > 0);
  if (checks_failed != 0) return close_checks();
  was_told(100);  // what binding it left
  ask(kWasNotTold, 0, 0);
  check_mapped();
  check_copied();
  check_revoked();
  check_noticed();
  check_death();
  ask(kEnd, 0, 0);
  return close_checks();
}

int main(int count, char **words) {
  const char *task = count > 2 ? words[1] : "";
  const int domid = count > 2 ? atoi(words[2]) : 0;
  if (strcmp(task, "hold") == 0 && count == 5) {
    return hold_and_die(domid, (uint32_t)strtoul(words[3], NULL, 0),
                        (uint32_t)strtoul(words[4], NULL, 0));
  }
  alarm(60);  // should the other be gone
  events = xenevtchn_open(NULL, 0);
  CHECK(events != NULL);
  char node[64];
  snprintf(node, sizeof(node), "data/%s", kLibrary);
  if (strcmp(task, "lend") == 0) return lend(domid, node);
  if (strcmp(task, "borrow") == 0) return borrow(domid, node);
  return 1;
}
