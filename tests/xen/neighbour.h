// What two domains do with pages that one grants to the other, by one of two libraries: Debian's
// libxengnttab, and this one's C interface.
#ifndef TESTS_XEN_NEIGHBOUR_H_
#define TESTS_XEN_NEIGHBOUR_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { kPage = 4096, kNone = -1 };

// Pages for a domain, cleared: null and errno. What is unmapped is granted no more.
char *share_pages(int domid, int count, bool writable, uint32_t *refs);
bool unshare_pages(char *pages, int count);
// One, which tells of its end: a byte that is cleared, a port of the domain's that shares it.
char *share_with_notice(int domid, uint32_t *ref, int byte, uint32_t port);

// Grants of a domain as one range: null and errno. One is not mapped, or all are.
char *map_grants(int domid, int count, uint32_t *refs, bool writable);
// One, to be written, with a notice of its end. `byte` may be kNone.
char *map_with_notice(int domid, uint32_t *refs, int byte, uint32_t port);
bool unmap_grants(char *pages, int count);

// A place in memory, or in a granted page.
struct place {
  void *memory;
  uint32_t ref;
  uint16_t offset;
};
struct copy {
  struct place from, to;
  uint16_t length;
  int16_t status;
};
enum { kMostCopies = 40 };
// 0, or -1 and errno.
int copy_grants(int domid, int count, struct copy *copies);

extern const char kLibrary[];
// What is answered where a page is granted for reading.
extern const int kWritingRefused;
// What else this library can. Of four grants, the last is of a page that may
// only be read.
void check_own(int domid, uint32_t *refs);

#endif  // TESTS_XEN_NEIGHBOUR_H_
