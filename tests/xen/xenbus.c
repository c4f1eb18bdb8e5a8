// /dev/xen/xenbus, by which programs reach the store through domain 0's kernel: as Linux answers it
// on real Xen, and as it is served here.
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xen/io/xs_wire.h>

#include "tests/xen/check.h"
#include "tests/xen/xenbus_device.h"

unsigned checks_passed, checks_failed;

// Whether writes are told apart, as by Linux' own device, and can be refused.
static int has_writes = 1;

static struct xenbus_device *device;

// A message, its payload written with | for a zero byte. Answers how long it is.
static size_t encode(char *message, uint32_t type, uint32_t transaction, const char *payload) {
  const struct xsd_sockmsg header = {
      .type = type, .req_id = 77, .tx_id = transaction, .len = (uint32_t)strlen(payload)};
  memcpy(message, &header, sizeof(header));
  for (uint32_t i = 0; i < header.len; i++) {
    message[sizeof(header) + i] = payload[i];
    if (payload[i] == '|') message[sizeof(header) + i] = '\0';
  }
  return sizeof(header) + header.len;
}

// What comes: "TYPE:payload" for each message, answers with a + before it when they have the
// request's number and transaction.
static const char *read_all(unsigned count, uint32_t transaction) {
  static char all[4 * XENSTORE_PAYLOAD_MAX];
  static char bytes[2 * XENSTORE_PAYLOAD_MAX];
  all[0] = '\0';
  size_t have = 0;
  for (unsigned messages = 0; messages < count;) {
    const long more = xenbus_read(device, bytes + have, sizeof(bytes) - have);
    if (more <= 0) break;
    have += (size_t)more;
    struct xsd_sockmsg header;
    while (have >= sizeof(header)) {
      memcpy(&header, bytes, sizeof(header));
      const size_t length = sizeof(header) + header.len;
      if (have < length) break;
      for (size_t i = sizeof(header); i < length; i++) bytes[i] = bytes[i] == 0 ? '|' : bytes[i];
      char *end = all + strlen(all);
      const bool is_answer = header.req_id == 77 && header.tx_id == transaction;
      sprintf(end, "%s%s%u:%.*s", end == all ? "" : " ", is_answer ? "+" : "", header.type,
              (int)header.len, bytes + sizeof(header));
      memmove(bytes, bytes + length, have - length);
      have -= length;
      messages++;
    }
  }
  return all;
}

static void check_answers(const char *is, const char *expected, const char *what, int line) {
  if (strcmp(is, expected) == 0) {
    checks_passed++;
    return;
  }
  checks_failed++;
  printf("failed: line %d: %s: %.300s, not %.300s\n", line, what, is, expected);
}

// One request, written at once: it is taken, and so many messages come.
#define ASK_IN(transaction, type, payload, count, expected)                                    \
  do {                                                                                         \
    char message_[2 * XENSTORE_PAYLOAD_MAX];                                                   \
    const size_t length_ = encode(message_, XS_##type, (transaction), (payload));              \
    CHECK(xenbus_write(device, message_, length_) == (long)length_);                           \
    check_answers(read_all((count), (transaction)), (expected), #type " " #payload, __LINE__); \
  } while (0)
#define ASK(type, payload, expected) ASK_IN(0, type, payload, 1, expected)
// One that write() refuses.
#define REFUSED(type, payload, error)                                            \
  do {                                                                           \
    char message_[2 * XENSTORE_PAYLOAD_MAX];                                     \
    const size_t length_ = encode(message_, XS_##type, 0, (payload));            \
    const long answer_ = xenbus_write(device, message_, length_);                \
    check_that(answer_ == -(error), #type " " #payload " == " #error, __LINE__); \
  } while (0)

static void check_requests(void) {
  ASK(WRITE, "/test/a|1", "+11:OK|");
  ASK(READ, "/test/a|", "+2:1");
  ASK(READ, "/test/none|", "+16:ENOENT|");
  ASK(READ, "//|", "+16:EINVAL|");
  ASK(DIRECTORY, "/test|", "+1:a|");
  ASK(GET_DOMAIN_PATH, "7|", "+10:/local/domain/7|");
  ASK(MKDIR, "here|", "+12:OK|");
  ASK(READ, "/local/domain/0/here|", "+2:");
  ASK(RM, "here|", "+13:OK|");
  ASK(INVALID, "|", "+16:ENOSYS|");
  ASK(WATCH_EVENT, "|", "+16:ENOSYS|");
}

static void check_writes(void) {
  char bytes[3 * XENSTORE_PAYLOAD_MAX];
  char *const second = bytes + encode(bytes, XS_READ, 0, "/test/a|");
  const size_t length = (size_t)(second - bytes);
  CHECK(xenbus_write(device, bytes, 0) == 0);
  // In pieces.
  for (size_t i = 0; i + 1 < length; i++) CHECK(xenbus_write(device, bytes + i, 1) == 1);
  CHECK(xenbus_write(device, second - 1, 1) == 1);
  check_answers(read_all(1, 0), "+2:1", "in pieces", __LINE__);
  // Of two at once the second is lost, and no part of it is left.
  memcpy(second, bytes, length);
  CHECK(xenbus_write(device, bytes, 2 * length) == (long)(2 * length));
  check_answers(read_all(2, 0), "+2:1", "two at once", __LINE__);
  CHECK(xenbus_write(device, bytes, length + 5) == (long)length + 5);
  check_answers(read_all(1, 0), "+2:1", "more than one", __LINE__);
  ASK(READ, "/test/a|", "+2:1");
  // With its header a message has a page at most.
  char payload[XENSTORE_PAYLOAD_MAX + 1];
  memset(payload, 'x', sizeof(payload));
  memcpy(payload, "/test/b|", 8);
  payload[XENSTORE_PAYLOAD_MAX - sizeof(struct xsd_sockmsg)] = '\0';
  ASK(WRITE, payload, "+11:OK|");
  payload[XENSTORE_PAYLOAD_MAX - sizeof(struct xsd_sockmsg)] = 'x';
  payload[XENSTORE_PAYLOAD_MAX - sizeof(struct xsd_sockmsg) + 1] = '\0';
  REFUSED(WRITE, payload, EINVAL);
  // The same in two pieces, and with the header alone. Then all is forgotten.
  const size_t all = encode(bytes, XS_WRITE, 0, payload);
  CHECK(xenbus_write(device, bytes, 10) == 10);
  CHECK(xenbus_write(device, bytes + 10, all - 10) == -EINVAL);
  ASK(READ, "/test/a|", "+2:1");
  CHECK(xenbus_write(device, bytes, 10) == 10);
  CHECK(xenbus_write(device, bytes + 10, 6) == -E2BIG);
  ASK(READ, "/test/a|", "+2:1");
  CHECK(xenbus_write(device, bytes, 16) == -E2BIG);
  CHECK(xenbus_write(device, bytes, 5000) == -EINVAL);
  ASK(READ, "/test/a|", "+2:1");
  // Read in pieces.
  CHECK(xenbus_write(device, bytes, encode(bytes, XS_READ, 0, "/test/a|")) == (long)length);
  char answer[18] = "";
  for (unsigned i = 0; i < 17; i++) CHECK(xenbus_read(device, answer + i, 1) == 1);
  CHECK(answer[0] == XS_READ && answer[16] == '1');
  CHECK(xenbus_read(device, answer, 1) == 0);
  ASK(RM, "/test/b|", "+13:OK|");
}

// A new watch: its answer and its first event come in any order.
static void check_watch(uint32_t transaction, const char *payload, const char *event, int line) {
  char message[256];
  const size_t length = encode(message, XS_WATCH, transaction, payload);
  CHECK(xenbus_write(device, message, length) == (long)length);
  const char *got = read_all(2, transaction);
  char expected[256], turned[256];
  snprintf(expected, sizeof(expected), "+4:OK| %s", event);
  snprintf(turned, sizeof(turned), "%s +4:OK|", event);
  check_answers(strcmp(got, turned) == 0 ? expected : got, expected, payload, line);
}

static void check_watches(void) {
  // The kernel answers for the store: what that refuses fails the write.
  check_watch(0, "/test|t|", "15:/test|t|", __LINE__);
  ASK(WATCH, "/test", "+16:EINVAL|");
  ASK(WATCH, "/test|t", "+16:EINVAL|");
  ASK(UNWATCH, "/test", "+16:EINVAL|");
  ASK(WATCH, "", "+16:EINVAL|");
  if (has_writes) REFUSED(WATCH, "//|t|", EINVAL);
  check_watch(9, "/test/a|u|and more|", "15:/test/a|u|", __LINE__);
  struct xenbus_device *const own = device;
  struct xenbus_device *const other = xenbus_open();
  device = other;
  ASK(WRITE, "/test/b|1", "+11:OK|");
  device = own;
  check_answers(read_all(1, 0), "15:/test/b|t|", "another's write", __LINE__);
  ASK(UNWATCH, "/test/a|u|", "+5:OK|");
  // There is no such watch.
  ASK(UNWATCH, "/test/a|u|", "+5:OK|");
  ASK(UNWATCH, "//|u|", "+5:OK|");
  device = other;
  ASK(WRITE, "/test/a|2", "+11:OK|");
  check_watch(0, "/test/c|mine|", "15:/test/c|mine|", __LINE__);
  check_watch(0, "rel|mine|", "15:rel|mine|", __LINE__);
  xenbus_close(other);
  device = own;
  check_answers(read_all(1, 0), "15:/test/a|t|", "another's write", __LINE__);
  ASK(UNWATCH, "/test|t|", "+5:OK|");
  ASK(WRITE, "/test/c|1", "+11:OK|");
}

static void check_transactions(void) {
  char bytes[64];
  CHECK(xenbus_write(device, bytes, encode(bytes, XS_TRANSACTION_START, 0, "|")) > 0);
  const char *answer = read_all(1, 0);
  CHECK(strncmp(answer, "+6:", 3) == 0);
  const uint32_t t = (uint32_t)strtoul(answer + 3, NULL, 10);
  CHECK(t != 0);
  ASK_IN(t, WRITE, "/test/t|1", 1, "+11:OK|");
  ASK_IN(t, TRANSACTION_START, "|", 1, "+16:EBUSY|");
  ASK_IN(t, TRANSACTION_END, "X|", 1, "+16:EINVAL|");
  ASK_IN(t, TRANSACTION_END, "T", 1, "+16:EINVAL|");
  // Another file's is none.
  struct xenbus_device *const own = device;
  device = xenbus_open();
  ASK_IN(t, READ, "/test/t|", 1, "+16:ENOENT|");
  ASK_IN(t, TRANSACTION_END, "T|", 1, "+16:ENOENT|");
  ASK_IN(t, INVALID, "|", 1, "+16:ENOENT|");
  CHECK(xenbus_write(device, bytes, encode(bytes, XS_TRANSACTION_START, 0, "|")) > 0);
  CHECK(strncmp(read_all(1, 0), "+6:", 3) == 0);
  xenbus_close(device);
  device = own;
  ASK(TRANSACTION_END, "X|", "+16:EINVAL|");
  ASK_IN(0, TRANSACTION_END, "T|", 1, "");  // no answer at all
  ASK(READ, "/test/t|", "+16:ENOENT|");
  ASK_IN(t, TRANSACTION_END, "T|", 1, "+7:OK|");
  ASK_IN(t, TRANSACTION_END, "T|", 1, "+16:ENOENT|");
  ASK(READ, "/test/t|", "+2:1");
}

// With an argument: over a device that carries a stream.
int main(int count, char **arguments) {
  (void)arguments;
  has_writes = count == 1;
  setvbuf(stdout, NULL, _IOLBF, 0);
  device = xenbus_open();
  check_requests();
  if (has_writes) check_writes();
  check_watches();
  check_transactions();
  ASK(RM, "/test|", "+13:OK|");
  xenbus_close(device);
  return close_checks();
}
