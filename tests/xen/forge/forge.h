/* SPDX-License-Identifier: MIT */
/*
 * /dev/forge, for tests: whatever a guest's kernel could do to Xen, a program
 * can.  It protects nobody from anything.
 *
 * FORGE_ALLOCATE gives a file its pages, zeroed; pread() and pwrite() reach their
 * bytes, as of one file.  They are never freed, as Xen may use them, unless
 * FORGE_FREE says that it does not.
 */
#ifndef FORGE_H_
#define FORGE_H_

#include <linux/ioctl.h>
#include <linux/types.h>

#define FORGE_DEVICE "/dev/forge"

/* The hypercall with these registers, which are then as they are after it. */
struct forge_call {
	__u64 rax;	/* index, then result */
	__u64 rdi;
	__u64 rsi;
	__u64 rdx;
	__u64 r10;
	__u64 r8;
	__u64 r9;
};
#define FORGE_CALL _IOWR('F', 0, struct forge_call)

struct forge_allocate {
	__u64 count;		/* of pages, a multiple of 2^order */
	__u64 order;		/* that many are in a row in physical memory */
	__u64 virtual_address;	/* answer: the kernel's, of all in a row */
};
#define FORGE_ALLOCATE _IOWR('F', 1, struct forge_allocate)

struct forge_page {
	__u64 number;		/* of those allocated, from 0 */
	__u64 address;		/* answer: guest-physical; PV: machine */
	__u64 virtual_address;	/* answer: the kernel's, in its direct map */
	__u64 pfn;		/* answer: its number for the guest */
};
#define FORGE_PAGE _IOWR('F', 2, struct forge_page)

#define FORGE_FREE _IO('F', 3)

#endif /* FORGE_H_ */
