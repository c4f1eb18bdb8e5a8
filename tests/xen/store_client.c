#include "tests/xen/store.h"

#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#include "tests/xen/check.h"

unsigned checks_passed, checks_failed;

enum { kLongest = 3 * XENSTORE_PAYLOAD_MAX };

static char *next_text(void) {
  static char texts[8][kLongest];
  static unsigned next;
  return texts[next++ % 8];
}

const char *text(const char *format, ...) {
  char *made = next_text();
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(made, kLongest, format, arguments);
  va_end(arguments);
  return made;
}

const char *repeated(char c, unsigned count) {
  char *made = next_text();
  memset(made, c, count);
  made[count] = '\0';
  return made;
}

static void swap_bytes(char *bytes, size_t length, char from, char to) {
  for (size_t i = 0; i < length; i++) {
    if (bytes[i] == from) bytes[i] = to;
  }
}

const char *ask(struct store_client *client, uint32_t type, uint32_t transaction,
                const char *payload) {
  static char message[sizeof(struct xsd_sockmsg) + XENSTORE_PAYLOAD_MAX];
  static char answer[1 + XENSTORE_PAYLOAD_MAX + 1];
  struct xsd_sockmsg header = {
      .type = type,
      .req_id = ++client->last_request,
      .tx_id = transaction,
      .len = (uint32_t)strlen(payload),
  };
  if (header.len > XENSTORE_PAYLOAD_MAX) return "too long to be asked";
  memcpy(message, &header, sizeof(header));
  memcpy(message + sizeof(header), payload, header.len);
  swap_bytes(message + sizeof(header), header.len, '|', '\0');
  store_send(client->peer, message, sizeof(header) + header.len);

  for (;;) {
    struct xsd_sockmsg got;
    if (!store_receive(client->peer, &got, sizeof(got))) return "ended";
    if (got.len > XENSTORE_PAYLOAD_MAX) return "an answer that is too long";
    answer[0] = '!';
    if (got.len > 0 && !store_receive(client->peer, answer + 1, got.len)) return "ended";
    swap_bytes(answer + 1, got.len, '\0', '|');
    answer[1 + got.len] = '\0';
    if (got.type == XS_WATCH_EVENT) {
      if (strlen(client->events) + got.len + 2 > sizeof(client->events)) return "too many events";
      strcat(strcat(client->events, answer + 1), " ");
      continue;
    }
    if (got.req_id != header.req_id || got.tx_id != transaction) return "another's answer";
    if (got.type == XS_ERROR) {
      answer[got.len] = '\0';  // without its zero
      return answer;
    }
    return got.type == type ? answer + 1 : "an answer of another kind";
  }
}

const char *events_of(struct store_client *client) {
  static char events[sizeof(client->events)];
  ask(client, XS_GET_DOMAIN_PATH, 0, "0|");
  strcpy(events, client->events);
  client->events[0] = '\0';
  return events;
}

const char *events_to_come(struct store_client *client) {
  for (int i = 0; i < 200; i++) {
    const char *events = events_of(client);
    if (events[0] != '\0') return events;
    nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
  }
  return "";
}

void check_text(const char *is, const char *expected, const char *what, int line) {
  if (strcmp(is, expected) == 0) {
    checks_passed++;
    return;
  }
  checks_failed++;
  printf("failed: line %d: %.300s: %.300s, not %.300s\n", line, what, is, expected);
}

uint32_t begin(struct store_client *client) {
  return (uint32_t)strtoul(ask(client, XS_TRANSACTION_START, 0, "|"), NULL, 10);
}
