/*
 * xencomm: memory that a hypercall may touch, and hypercalls.
 *
 * A hypercall's structure, and everything that it points at, is put into memory of one context. The
 * hypervisor finds it there by the pointers as they stand: nothing is copied, nothing rewritten.
 *
 *     xencomm_context *x = xencomm_open(NULL);
 *     struct xen_domctl *op = xencomm_calloc(x, 1, sizeof(*op));
 *     ...
 *     if (xencomm_call(x, __HYPERVISOR_domctl, (uintptr_t)op, 0, 0, 0, 0) < 0)
 *         fprintf(stderr, "%s\n", xencomm_error());
 *     xencomm_free(x, op);
 *     xencomm_close(x);
 *
 * A function that refuses returns NULL or -1, sets errno, has changed nothing, and leaves a
 * sentence for xencomm_error(). All functions may be called by any thread at any time. After fork,
 * the memory is not in the child: there, a context refuses everything but xencomm_close (ESTALE),
 * and the child opens one of its own.
 */
#ifndef XENCOMM_XENCOMM_H_
#define XENCOMM_XENCOMM_H_

#include <stddef.h>
#include <stdint.h>

#include "xencomm/export.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct xencomm_context xencomm_context;

/*
 * Opens a way to a hypervisor:
 *   "privcmd"         the Xen that this machine runs on, by /dev/xen/privcmd; pointers are raw
 *   "xencomm-device"  the same Xen by /dev/xen/xencomm, a kernel module's: pointers lead into a
 *                     region, or nowhere
 *   "embedded"        a hypervisor in this process, which needs no Xen; options may follow a colon:
 *                     "embedded:space=walk4,memory=512M" (xencomm run --help lists them)
 *   NULL              what the environment variable XENCOMM_TRANSPORT says, or else
 *                     "xencomm-device" where there is that device, or else "privcmd"
 * Contexts of one process that are opened alike share their memory: what one allocated, another
 * frees. EINVAL for a setting that makes no sense, ENODEV when there is no such hypervisor, EACCES.
 */
XENCOMM_API xencomm_context *xencomm_open(const char *transport);

/* Gives everything back that was allocated, when no other context shares it. NULL does nothing. */
XENCOMM_API int xencomm_close(xencomm_context *x);

/* Why this thread's last refused call was refused, in one sentence; "" when none was. The text is
 * valid until the thread's next refused call. */
XENCOMM_API const char *xencomm_error(void);

/*
 * Memory for hypercalls. Sizes are in bytes; zero is an allocation with an address of its own. What
 * is no longer than a page is aligned to the next power of two, what is longer to the page. Nothing
 * is cleared but by xencomm_calloc. ENOMEM when the region is full, or no more memory can be had or
 * locked; EINVAL when count * size passes 2^64.
 */
XENCOMM_API void *xencomm_alloc(xencomm_context *x, size_t size);
XENCOMM_API void *xencomm_alloc_array(xencomm_context *x, size_t count, size_t size);
XENCOMM_API void *xencomm_calloc(xencomm_context *x, size_t count, size_t size);

/* `alignment`: a power of two, at most 4096, or else EINVAL. */
XENCOMM_API void *xencomm_alloc_aligned(xencomm_context *x, size_t alignment, size_t size);

/* Frees what one of these gave; NULL is free already. EINVAL for anything that is not the start of
 * a live allocation, said apart: freed before, inside one, not this memory at all. */
XENCOMM_API int xencomm_free(xencomm_context *x, void *pointer);

/* Whether `count` elements of `size` bytes at `pointer` lie in one live allocation: 0, or -1 and
 * EFAULT. Zero bytes are not looked at. */
XENCOMM_API int xencomm_check(xencomm_context *x, const void *pointer, size_t count, size_t size);

/*
 * Points a guest handle (XEN_GUEST_HANDLE, XEN_GUEST_HANDLE_64) at `count` elements at `pointer`,
 * after checking that they are memory of this context: 0 or -1 as xencomm_check. A pointer of
 * another type is the compiler's to warn of, since it is assigned as it is.
 */
#define XENCOMM_SET_HANDLE(x, handle, pointer, count)               \
  (xencomm_check((x), (pointer), (count), sizeof(*(handle).p)) == 0 \
       ? ((void)((handle).p = (pointer)), 0)                        \
       : -1)

/*
 * Hypercall `op` (__HYPERVISOR_... of xen/xen.h), with unused arguments 0. The hypervisor's answer,
 * or -1 and its errno. EPERM for a hypercall that only a kernel makes.
 */
XENCOMM_API int64_t xencomm_call(xencomm_context *x, unsigned op, uint64_t arg1, uint64_t arg2,
                                 uint64_t arg3, uint64_t arg4, uint64_t arg5);

/* One entry of a table on the way from a pointer to its memory. */
struct xencomm_step {
  const char *table; /* "base", "PML5", "PML4", "PDPT", "PD", "PT" */
  uint64_t index;    /* of the entry: for a base, the granule's number */
  uint64_t address;  /* guest-physical, of the entry */
  uint64_t entry;    /* as it was read */
};

struct xencomm_translation {
  uint64_t pointer;
  uint64_t region;         /* virtual address of the region; by region only */
  uint64_t guest_physical; /* of the byte at the pointer */
  uint64_t machine;        /* of the same byte */
  unsigned steps;
  struct xencomm_step step[8];
};

/* A space: what a pointer means. */
enum xencomm_space {
  XENCOMM_SPACE_REGION, /* a place in the region, by its bases */
  XENCOMM_SPACE_WALK,   /* an address of this process, by its page tables */
};

/*
 * How the hypervisor gets from `pointer` to memory in that space: into `translation`, 0 or -1.
 * EFAULT when it leads nowhere, ENOTSUP when the transport cannot know: on real Xen the page tables
 * are out of reach.
 */
XENCOMM_API int xencomm_translate(xencomm_context *x, const void *pointer, enum xencomm_space space,
                                  struct xencomm_translation *translation);

#ifdef __cplusplus
}
#endif

#endif /* XENCOMM_XENCOMM_H_ */
