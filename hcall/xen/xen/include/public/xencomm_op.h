/* SPDX-License-Identifier: MIT */
/*
 * Regions: memory that a guest's kernel registers for the arguments of its
 * hypercalls.
 *
 * A hypercall that names a region takes every guest pointer, those found in
 * memory included, as an address in that region, and finds the byte behind it
 * without a page table.  Design: docs/designs/regions.md.
 */

#ifndef __XEN_PUBLIC_XENCOMM_OP_H__
#define __XEN_PUBLIC_XENCOMM_OP_H__

#include "xen.h"

#define __HYPERVISOR_xencomm_op __HYPERVISOR_arch_7

/*
 * Set in the index of a hypercall (not in a sub-op, and not in an entry of a
 * multicall): the pointers of this call lead into a region.  Which one, the
 * register behind the fifth argument says (x86-64: r9) by the region's handle.
 * Entries of a multicall use the region of the multicall.  64-bit callers only.
 */
#define XENCOMM_CALL 0x40000000

/*
 * A region begins with this header, and `base_count' bases behind it: the guest
 * physical address (PV: machine address) of each granule, or XENCOMM_NO_BASE.
 * The granules that hold the bases are found by the bases before them; granule
 * 0 is where the header is.  The payload begins with the first granule that
 * holds no base; where there is one granule only, behind its base.
 */
struct xencomm_header {
    uint32_t magic;          /* XENCOMM_REGION_MAGIC */
    uint16_t version;        /* XENCOMM_REGION_VERSION */
    uint8_t  granule_shift;  /* bytes behind one base: 12 ... 30 */
    uint8_t  flags;          /* 0 */
    uint64_t virtual_base;   /* a multiple of the granule */
    uint64_t length;         /* bytes, table included: a multiple of it, too */
    uint32_t base_count;     /* length >> granule_shift */
    uint32_t reserved;       /* 0 */
};
typedef struct xencomm_header xencomm_header_t;

#define XENCOMM_REGION_MAGIC   0x58435247
#define XENCOMM_REGION_VERSION 1
#define XENCOMM_NO_BASE        (~(uint64_t)0)

/*
 * xencomm_op: cmd, and up to four arguments, all in registers.  Not in a
 * multicall.
 *
 * XENCOMM_register(address, access, 0): checks the region whose header lies at
 * a guest physical address (PV: machine address), takes a reference to each page
 * of it, and returns its handle, which is positive and never names another
 * region.  What the guest writes into the table afterwards changes nothing.
 *   -EINVAL: not a region, or no such access; -E2BIG: too many pages; -EFAULT: a
 *   base that names no memory of the guest's that is fit for the access; -EBUSY:
 *   more pages than the domain has; -ENOSPC: too many regions; -ENOMEM; -ENOENT:
 *   nothing to go on with.
 *
 * XENCOMM_extend(handle, first, count, use): takes in granules that were given a
 * base since.  Those that are in already stay as they are; after a refusal,
 * those before it are in.
 *   -ENOENT: no such region; -EINVAL: not of the payload, no such use, or the
 *   header is another now; -EEXIST: in for another use; and as above.
 *
 * XENCOMM_unregister(handle): drops the references, when no call uses the region
 * any more.
 *   -ENOENT: no such region.
 */
#define XENCOMM_register   0
#define XENCOMM_extend     1
#define XENCOMM_unregister 2

/* Access. */
#define XENCOMM_READ       0
#define XENCOMM_READ_WRITE 1

/*
 * Use.  A granule for arguments only is reached by a pointer in a register of the
 * call, and by sums with it as far as such granules go; by no pointer that stood
 * in memory, or in an entry of a multicall.  A register whose value lies in one is
 * taken for a pointer.
 */
#define XENCOMM_ANY_POINTER    0
#define XENCOMM_ARGUMENTS_ONLY 1

#endif /* __XEN_PUBLIC_XENCOMM_OP_H__ */

/*
 * Local variables:
 * mode: C
 * c-file-style: "BSD"
 * c-basic-offset: 4
 * tab-width: 4
 * indent-tabs-mode: nil
 * End:
 */
