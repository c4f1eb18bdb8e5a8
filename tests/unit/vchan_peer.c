// One end of a vchan: a stream of bytes that the other can check.
//
//     vchan_peer server|client DOMAIN PATH send|receive BYTES RING
//
// Says "open" when it is, and then what came of it. RING are the bytes of each of the rings.
#include <libxenvchan.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static unsigned char byte_at(uint64_t place) {
  return (unsigned char)(place * 0x9e3779b97f4a7c15u >> 56);
}

// Whoever is to connect may be there first; what an earlier one left in the store is of no use.
static struct libxenvchan *connect_to(int domain, const char *path) {
  struct libxenvchan *channel = NULL;
  for (int tries = 0; tries < 300 && channel == NULL; tries++) {
    channel = libxenvchan_client_init(NULL, domain, path);
    if (channel == NULL) usleep(20000);
  }
  return channel;
}

static int lost(const char *what, struct libxenvchan *channel) {
  printf("%s, open %d\n", what, libxenvchan_is_open(channel));
  return 3;
}

static int send_all(struct libxenvchan *channel, uint64_t total) {
  static unsigned char bytes[100000];
  char received;
  for (uint64_t done = 0; done < total;) {
    size_t count = 1 + (size_t)(done * 2654435761u >> 7) % sizeof(bytes);
    if (count > total - done) count = (size_t)(total - done);
    for (size_t i = 0; i < count; i++) bytes[i] = byte_at(done + i);
    const int sent = libxenvchan_write(channel, bytes, count);
    if (sent <= 0) return lost("not sent", channel);
    done += (unsigned)sent;
  }
  // The end of this one would end what the other has not read yet.
  return libxenvchan_read(channel, &received, 1) == 1 ? 0 : lost("not received", channel);
}

static int receive_all(struct libxenvchan *channel, uint64_t total) {
  static unsigned char bytes[100000];
  for (uint64_t done = 0; done < total;) {
    size_t count = sizeof(bytes);
    if (count > total - done) count = (size_t)(total - done);
    const int got = libxenvchan_read(channel, bytes, count);
    if (got <= 0) return lost("not received", channel);
    for (int i = 0; i < got; i++, done++) {
      if (bytes[i] == byte_at(done)) continue;
      printf("another byte at %llu\n", (unsigned long long)done);
      return 4;
    }
  }
  return libxenvchan_write(channel, "", 1) == 1 ? 0 : lost("not sent", channel);
}

int main(int count, char **words) {
  if (count != 7) return 1;
  const bool serves = strcmp(words[1], "server") == 0;
  const int domain = atoi(words[2]);
  const uint64_t total = strtoull(words[5], NULL, 0);
  const size_t ring = strtoul(words[6], NULL, 0);
  struct libxenvchan *channel = serves ? libxenvchan_server_init(NULL, domain, words[3], ring, ring)
                                       : connect_to(domain, words[3]);
  if (channel == NULL) {
    perror("no channel");
    return 2;
  }
  channel->blocking = -1;  // one bit, with a sign
  if (serves) puts("there");
  fflush(stdout);
  while (libxenvchan_is_open(channel) == 2) libxenvchan_wait(channel);
  puts("open");
  fflush(stdout);
  const int code =
      strcmp(words[4], "send") == 0 ? send_all(channel, total) : receive_all(channel, total);
  if (code == 0) puts("all");
  libxenvchan_close(channel);
  return code;
}
