/*
 * xencomm: other domains' memory. Their frames, as a toolstack maps them; pages that they grant to
 * this domain; and pages that this domain grants to them.
 *
 *     xencomm_mapper *m = xencomm_mapper_open(NULL);
 *     const struct xencomm_grant ring[] = {{5, 8}, {5, 12}, {7, 3}};
 *     xencomm_mapping *ours = xencomm_map_grants(m, 3, ring, XENCOMM_WRITABLE, NULL);
 *     char *bytes = xencomm_mapping_data(ours);
 *
 * Settings are those of xencomm_open, but for "embedded", which has nobody to share with (ENOTSUP):
 * "privcmd" and "xencomm-device" stand for the devices in /dev/xen, and "machine:PATH[,domain=ID]"
 * for that domain's on a machine. Functions refuse as those of xencomm.h do: NULL or -1, errno, and
 * a sentence for xencomm_error(). All may be called by any thread at any time. After fork none of
 * this is in the child: what it has from its parent it only closes, and everything else refuses
 * (ESTALE).
 *
 * Pages are of 4096 bytes.
 */
#ifndef XENCOMM_SHARING_H_
#define XENCOMM_SHARING_H_

#include <stddef.h>
#include <stdint.h>

#include "xencomm/export.h"
#include "xencomm/xencomm.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct xencomm_mapper xencomm_mapper;
typedef struct xencomm_mapping xencomm_mapping;
typedef struct xencomm_share xencomm_share;

/* An entry of a domain's grant table: who lends the page, or to whom it is lent. */
struct xencomm_grant {
  uint16_t domain;
  uint32_t ref;
};

/* How pages are mapped, or granted: without it, for reading. */
#define XENCOMM_WRITABLE 1u

/* ENODEV when there is no such machine, EACCES when it is another user's. */
XENCOMM_API xencomm_mapper *xencomm_mapper_open(const char *transport);

/* Mappings stay. NULL does nothing. */
XENCOMM_API int xencomm_mapper_close(xencomm_mapper *m);

/*
 * Maps `count` frames of a domain (gfns; mfns of a PV domain), or grants, one after the other.
 * Without `errors` it is all or nothing, and the sentence names the first that failed. With it, of
 * as many elements, a mapping comes back also when some, or all, could not be mapped: errors[i] is
 * 0 or a positive errno, and touching page i then raises SIGBUS or SIGSEGV; a frame of real Xen's
 * may show bytes 0xff instead, in a domain that is translated (PVH). Of frames: ESRCH (no such
 * domain), EINVAL (no such frame; of a PV domain also EPERM), EPERM (not writable); of grants:
 * EACCES (granted for reading), EINVAL (no such grant).
 */
XENCOMM_API xencomm_mapping *xencomm_map_frames(xencomm_mapper *m, uint16_t domain, size_t count,
                                                const uint64_t *frames, unsigned flags,
                                                int *errors);
XENCOMM_API xencomm_mapping *xencomm_map_grants(xencomm_mapper *m, size_t count,
                                                const struct xencomm_grant *grants, unsigned flags,
                                                int *errors);

XENCOMM_API void *xencomm_mapping_data(const xencomm_mapping *mapping);
XENCOMM_API size_t xencomm_mapping_pages(const xencomm_mapping *mapping);
/* NULL does nothing. */
XENCOMM_API int xencomm_unmap(xencomm_mapping *mapping);

/*
 * When the mapping of grants ends, and be it with this process, the byte at offset `byte` becomes
 * 0, and then an event is sent by `port` of /dev/xen/evtchn's; XENCOMM_UNSET is none of it. In place
 * of what was said before. EINVAL: no byte that may be written, no such port, or a mapping of
 * frames.
 */
#define XENCOMM_UNSET (-1)
XENCOMM_API int xencomm_notify_at_unmap(xencomm_mapping *mapping, int64_t byte, int64_t port);

/* One side of a copy: `memory`, or if that is NULL a part of a granted page. */
struct xencomm_copy_side {
  void *memory;
  struct xencomm_grant grant;
  uint16_t offset; /* in the page */
};
struct xencomm_copy {
  struct xencomm_copy_side from, to;
  uint16_t length; /* bytes */
  int16_t status;  /* what Xen answered: 0, or another GNTST_... of xen/grant_table.h */
};
/* Copies one after the other, without a mapping, and says of each what became of it. EINVAL, before
 * any copy: one without a grant, or with bytes outside a granted page. */
XENCOMM_API int xencomm_copy_grants(xencomm_mapper *m, size_t count, struct xencomm_copy *copies);

/*
 * A file of gntalloc: pages of this domain's that are granted to others, known by their number in
 * the file. They work from when they are allocated, mapped or not. Closing unmaps what was mapped
 * and frees what was allocated by this share; a page goes when it is freed, or its file is closed
 * by all who have it, and nobody maps it.
 *
 * Processes share a file by its descriptor, through fork or a socket: each opens a share of it.
 * Linux has no numbers that the caller chooses, and one grant of a page: ENOTSUP.
 */
XENCOMM_API xencomm_share *xencomm_share_open(const char *transport);
/* The descriptor stays the caller's. EINVAL: it is another file's. */
XENCOMM_API xencomm_share *xencomm_share_of_fd(const char *transport, int fd);
/* Closed with the share. */
XENCOMM_API int xencomm_share_fd(const xencomm_share *share);
/* NULL does nothing. */
XENCOMM_API int xencomm_share_close(xencomm_share *share);

/* `count` cleared pages, granted to `domain`, with an entry of `refs` each: the first one's number.
 * `page`: where, if nothing is there already (EEXIST); XENCOMM_UNSET: behind all that the file had.
 */
XENCOMM_API int64_t xencomm_share_allocate(xencomm_share *share, int64_t page, uint16_t domain,
                                           size_t count, unsigned flags, uint32_t *refs);
/* Any run of pages. What is mapped stays until it is unmapped. */
XENCOMM_API int xencomm_share_free(xencomm_share *share, uint64_t page, size_t count);
/* Any run of pages; XENCOMM_WRITABLE is for this mapping. */
XENCOMM_API void *xencomm_share_map(xencomm_share *share, uint64_t page, size_t count,
                                    unsigned flags);
/* What xencomm_share_map gave. */
XENCOMM_API int xencomm_share_unmap(xencomm_share *share, void *data);
/* Where in the file an address of a mapping is, in bytes. */
XENCOMM_API int64_t xencomm_share_offset(const xencomm_share *share, const void *address);
/* Grants these pages to one domain more. */
XENCOMM_API int xencomm_share_also(xencomm_share *share, uint64_t page, uint16_t domain,
                                   size_t count, unsigned flags, uint32_t *refs);
/* How many grants a page has, and up to `count` of them, oldest first. */
XENCOMM_API int xencomm_share_list(const xencomm_share *share, uint64_t page, size_t count,
                                   struct xencomm_grant *grants);
/* Takes one of them back. EBUSY: it is mapped. */
XENCOMM_API int xencomm_share_revoke(xencomm_share *share, uint32_t ref);
/* As xencomm_notify_at_unmap, of a page that is no longer mapped, and freed; `byte` is in it. */
XENCOMM_API int xencomm_share_notify(xencomm_share *share, uint64_t page, int64_t byte,
                                     int64_t port);

#ifdef __cplusplus
}
#endif

#endif /* XENCOMM_SHARING_H_ */
