/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The border between the module and the audit of hcall/schema, which is C++: whether
 * a process's call may pass.
 *
 * Both sides see 64-bit numbers and pointers alone.
 */
#ifndef XENCOMM_AUDIT_H
#define XENCOMM_AUDIT_H

#ifdef __cplusplus
extern "C" {
#else
#include <linux/types.h>
#endif

struct xencomm_allowed_op {
	unsigned long hypercall;
	unsigned long op;	/* of a hypercall without ops, any number */
};

/* What may pass, whoever calls. */
struct xencomm_rules {
	unsigned long releases;	/* those that Xen may be; 0: no op is known */
	unsigned long vcpus;	/* of this domain */
	const struct xencomm_allowed_op *ops;
	unsigned long op_count;	/* 0: all that the table knows may */
};

/* A range of a process's addresses, in bytes: whole pages. */
struct xencomm_range {
	unsigned long start;
	unsigned long bytes;
};

struct xencomm_audited_call {
	unsigned long hypercall;
	unsigned long args[5];

	void *region;			/* for the functions below */
	struct xencomm_range whole;	/* table and payload */
	struct xencomm_range arguments;	/* what is registered for arguments only */
	struct xencomm_range scratch;	/* of it, for this call's copy; may be empty */
	void *scratch_memory;		/* the same, as the kernel reaches it */

	/* Of a call that is refused. */
	unsigned long problem;		/* xencomm::schema::Problem */
	unsigned long op;
	unsigned long entry;		/* of a multicall */
	unsigned long address;
};

/* audit.cc */

/* The set of a release alone; 0: the table does not know it. */
unsigned long xencomm_audit_release(unsigned long major, unsigned long minor);

/* Whether such a call wants a scratch. */
bool xencomm_audit_copies(unsigned long hypercall);

/*
 * Audits the call and makes it: Xen's answer, or
 *   -EPERM: it may not pass; -E2BIG: its structure, or its list, is too large;
 *   -EACCES: it states the interface version of another Xen.
 */
long xencomm_audit_call(struct xencomm_audited_call *call,
			const struct xencomm_rules *rules);

/* lockdown.c */

/* Where a page of the region is, which stays there; NULL: it is not backed. */
void *xencomm_audit_page(void *region, unsigned long index);

/* Makes a call that may pass. */
long xencomm_audit_pass(void *region, unsigned long hypercall,
			const unsigned long *args);

#ifdef __cplusplus
}
#endif

#endif /* XENCOMM_AUDIT_H */
