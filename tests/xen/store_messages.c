// The protocol itself, and what the tools ask.
#include <stdlib.h>

#include <xenstore.h>

#include "tests/xen/check.h"
#include "tests/xen/store.h"

static void send_header(struct store_peer *peer, uint32_t type, uint32_t id, uint32_t length) {
  const struct xsd_sockmsg header = {.type = type, .req_id = id, .len = length};
  store_send(peer, &header, sizeof(header));
}

static bool is_answered(struct store_peer *peer, uint32_t type, uint32_t id) {
  struct xsd_sockmsg got;
  char payload[XENSTORE_PAYLOAD_MAX];
  return store_receive(peer, &got, sizeof(got)) && got.len <= sizeof(payload) &&
         (got.len == 0 || store_receive(peer, payload, got.len)) && got.type == type &&
         got.req_id == id;
}

static void check_framing(void) {
  static const uint32_t kUnknown[] = {XS_WATCH_EVENT, XS_ERROR,   XS_SET_TARGET + 1,
                                      XS_TYPE_COUNT,  XS_INVALID, 0xffffffff};
  for (unsigned i = 0; i < sizeof(kUnknown) / sizeof(*kUnknown); i++) {
    check_text(ask(&first, kUnknown[i], 0, "|"), "!ENOSYS", "an unknown request", __LINE__);
    check_text(ask(&first, kUnknown[i], 99, ""), "!ENOSYS", "an unknown request", __LINE__);
  }

  struct store_peer *peer = store_connect();
  // In pieces, and many at once.
  const struct xsd_sockmsg header = {.type = XS_READ, .req_id = 7, .len = 2};
  char bytes[100 * (sizeof(header) + 2)];
  for (unsigned i = 0; i < 100; i++) {
    char *message = bytes + i * (sizeof(header) + 2);
    memcpy(message, &header, sizeof(header));
    message[4] = (char)i;
    memcpy(message + sizeof(header), "/", 2);
  }
  for (unsigned i = 0; i < sizeof(header) + 2; i++) store_send(peer, bytes + i, 1);
  CHECK(is_answered(peer, XS_READ, 0));
  store_send(peer, bytes, sizeof(bytes));
  for (unsigned i = 0; i < 100; i++) CHECK(is_answered(peer, XS_READ, i));
  // As long as can be.
  send_header(peer, XS_WRITE, 8, XENSTORE_PAYLOAD_MAX);
  const char *payload = repeated('a', XENSTORE_PAYLOAD_MAX);
  store_send(peer, payload, XENSTORE_PAYLOAD_MAX);
  CHECK(is_answered(peer, XS_ERROR, 8));
  // Longer.
  send_header(peer, XS_READ, 9, XENSTORE_PAYLOAD_MAX + 1);
  CHECK(!is_answered(peer, XS_ERROR, 9));
  store_disconnect(peer);
  // What a connection leaves behind is nothing.
  struct store_client third = {.peer = store_connect()};
  const uint32_t t = begin(&third);
  ASK_IN(t, third, WRITE, "/test|1", "OK|");
  ASK(third, WATCH, "/|t|", "OK|");
  store_disconnect(third.peer);
  ASK(first, READ, "/test|", "!ENOENT");
}

static void check_control(void) {
  ASK(first, CONTROL, "", "!EINVAL");
  ASK(first, CONTROL, "none|", "!EINVAL");
  ASK(first, CONTROL, "check|", "OK|");
  ASK(first, CONTROL, "check|x|", "!EINVAL");
  ASK(first, CONTROL, "log|off|", "OK|");
  ASK(first, CONTROL, "log|maybe|", "!EINVAL");
  ASK(first, CONTROL, "log|", "!EINVAL");
  ASK(first, CONTROL, "print|x|", "OK|");
  ASK(first, CONTROL, "print|", "!EINVAL");
  ASK(first, CONTROL, "memreport|", "!EINVAL");  // where nothing is traced
  ASK(first, CONTROL, "help|x|", "!EINVAL");
  CHECK(strstr(ask(&first, XS_CONTROL, 0, "help|"), "quota\t") != NULL);
  CHECK(strstr(ask(&first, XS_CONTROL, 0, "quota|"), "\nnodes            :     1000 ") != NULL);
  CHECK(strstr(ask(&first, XS_CONTROL, 0, "quota-soft|"), "\nmemory           :  2097152 ") !=
        NULL);
  ASK(first, CONTROL, "quota|set|nodes|", "!EINVAL");
  ASK(first, CONTROL, "quota|set|nodes|0|", "!EINVAL");
  ASK(first, CONTROL, "quota|set|none|1|", "!EINVAL");
  ASK(first, CONTROL, "quota|set|nodes|1001|", "OK|");
  CHECK(strstr(ask(&first, XS_CONTROL, 0, "quota|"), "\nnodes            :     1001 ") != NULL);
  ASK(first, CONTROL, "quota|set|nodes|1000|", "OK|");
  ASK(first, CONTROL, "quota|777|", "!ENOENT");
  ASK(first, CONTROL, "quota-soft|0|", "!EINVAL");
  const char *held = ask(&first, XS_CONTROL, 0, "quota|0|");
  CHECK(strncmp(held, "Domain 0:\nnodes           : ", 28) == 0);
  CHECK(strstr(held, "\noutstanding     : ") != NULL);
}

// The same by the library that programs use.
static void check_library(void) {
  struct xs_handle *xs = xs_open(0);
  CHECK(xs != NULL);
  CHECK(xs_write(xs, 0, "/test/a", "value", 5));
  unsigned length = 0;
  char *value = xs_read(xs, 0, "/test/a", &length);
  CHECK(value != NULL && length == 5 && strcmp(value, "value") == 0);
  free(value);
  CHECK(xs_read(xs, 0, "/test/none", NULL) == NULL && errno == ENOENT);
  CHECK(!xs_mkdir(xs, 0, "/test/") && errno == EINVAL);
  for (unsigned i = 0; i < 100; i++) xs_mkdir(xs, 0, text("/test/d/%s%u", repeated('n', 60), i));
  unsigned count = 0;
  char **names = xs_directory(xs, 0, "/test/d", &count);
  CHECK(names != NULL && count == 100);
  free(names);

  CHECK(xs_watch(xs, "/test/a", "token"));
  char **event = xs_read_watch(xs, &count);
  CHECK(event != NULL && strcmp(event[XS_WATCH_PATH], "/test/a") == 0);
  free(event);
  const xs_transaction_t t = xs_transaction_start(xs);
  CHECK(t != XBT_NULL);
  CHECK(xs_write(xs, t, "/test/a", "2", 1));
  CHECK(xs_transaction_end(xs, t, false));
  event = xs_read_watch(xs, &count);
  CHECK(event != NULL && strcmp(event[XS_WATCH_TOKEN], "token") == 0);
  free(event);
  CHECK(!xs_unwatch(xs, "/test/a", "none") && errno == ENOENT);
  CHECK(xs_unwatch(xs, "/test/a", "token"));
  struct xs_permissions permissions[] = {{.id = 0, .perms = XS_PERM_READ},
                                         {.id = 777, .perms = XS_PERM_WRITE}};
  CHECK(xs_set_permissions(xs, 0, "/test/a", permissions, 2));
  unsigned entries = 0;
  struct xs_permissions *read = xs_get_permissions(xs, 0, "/test/a", &entries);
  CHECK(read != NULL && entries == 2 && read[1].id == 777 && read[1].perms == XS_PERM_WRITE);
  free(read);
  char *path = xs_get_domain_path(xs, 5);
  CHECK(path != NULL && strcmp(path, "/local/domain/5") == 0);
  free(path);
  CHECK(xs_is_domain_introduced(xs, 0) && !xs_is_domain_introduced(xs, 777));
  CHECK(xs_rm(xs, 0, "/test"));
  xs_close(xs);
}

void check_store_messages(void) {
  check_framing();
  check_control();
  check_library();
}
