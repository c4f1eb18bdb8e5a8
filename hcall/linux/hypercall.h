/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Hypercalls, whose pointers may lead into a region. */
#ifndef XENCOMM_HYPERCALL_H
#define XENCOMM_HYPERCALL_H

#include <linux/linkage.h>
#include <linux/types.h>

#include <xen/xen.h>
#include <xen/xen-ops.h>

/*
 * In the index of a call: its pointers lead into the region whose handle is in
 * r9.  The hypercall page has no entry for such an index.
 */
#define XENCOMM_CALL		0x40000000UL

/* hypercall.S */
asmlinkage long xencomm_syscall(u64 index, const unsigned long *args,
				u64 region);
asmlinkage long xencomm_vmcall(u64 index, const unsigned long *args,
			       u64 region);

/*
 * With five arguments. May sleep: where the kernel is not preemptible, Xen's upcall
 * makes it so.
 */
static inline long xencomm_make_call(u64 index, const unsigned long *args,
				     u64 region)
{
	long rc;

	xen_preemptible_hcall_begin();
	if (xen_pv_domain())
		rc = xencomm_syscall(index, args, region);
	else
		rc = xencomm_vmcall(index, args, region);
	xen_preemptible_hcall_end();

	return rc;
}

#endif /* XENCOMM_HYPERCALL_H */
