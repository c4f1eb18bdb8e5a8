/* SPDX-License-Identifier: MIT */
/*
 * /dev/xen/xencomm: hypercalls whose pointers lead into a region.
 *
 * A file has one region.  XENCOMM_IOC_RESERVE says where it lies in the process;
 * nothing is there yet.  Then
 *
 *	mmap(address, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
 *	     address - virtual_base)
 *
 * puts memory there, zeroed, page by page as much as is wanted: behind the first
 * 32 + 8 * (length / 4096) bytes of the region, rounded up to a page, where it
 * has its table, which no process sees.  Such a page stays in the region until
 * the file is closed and no mapping of it is left.  Mapped again, it holds what
 * it held.  An mmap that failed can be repeated; but what MAP_FIXED was to take
 * the place of may be gone.
 *
 * XENCOMM_IOC_HYPERCALL is IOCTL_PRIVCMD_HYPERCALL.  Every pointer of the call,
 * those found in memory included, must lead into the region; before the first
 * mmap none does.
 *
 * A module may be locked down (lockdown=1): then a call passes only if the audit of
 * the op table passes it, of the ops named in lockdown_ops=HYPERCALL:OP,... or of all
 * that the table knows; dm_op never does.  The last 16 pages of a region are the
 * kernel's, as its table is: no pointer and no register leads there.  A multicall has
 * 256 entries at most, none of which has its op in memory, as a sysctl does.
 *
 * A file serves the address space that opened it; to others, as a child after
 * fork(), all answers are EPERM.
 */
#ifndef XENCOMM_DEVICE_H_
#define XENCOMM_DEVICE_H_

#include <linux/ioctl.h>
#include <linux/types.h>

#define XENCOMM_DEVICE "/dev/xen/xencomm"

struct xencomm_reserve {
	__u64 virtual_base;	/* a multiple of 4096, not 0 */
	__u64 length;		/* a multiple of 4096, up to 1 GiB */
};

/*
 * 0, or EINVAL: there can be no such region, in lockdown none so small; EBUSY: the
 * file has one; ENOMEM; EFAULT; EPERM.
 */
#define XENCOMM_IOC_RESERVE _IOW('X', 0, struct xencomm_reserve)

/* As struct privcmd_hypercall. */
struct xencomm_hypercall {
	__u64 op;
	__u64 arg[5];
};

/*
 * Xen's answer, or EPERM: the call is for kernels alone; ENOSYS: no process can
 * make it.  In lockdown also EPERM: the audit does not pass it, or the file has no
 * region; E2BIG: its structure, or its list, is too large; EACCES: it states another
 * interface version than Xen's.
 */
#define XENCOMM_IOC_HYPERCALL                                                  \
	_IOC(_IOC_NONE, 'P', 0, sizeof(struct xencomm_hypercall))

#endif /* XENCOMM_DEVICE_H_ */
