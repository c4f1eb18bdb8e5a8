/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Hypercalls with all their registers. */
#ifndef XENCOMM_HYPERCALL_H
#define XENCOMM_HYPERCALL_H

#include <linux/linkage.h>
#include <linux/types.h>

#include <asm/processor.h>
#include <xen/xen.h>
#include <xen/xen-ops.h>

/*
 * In the index of a call: its pointers lead into the region whose handle is in
 * r9.  The hypercall page has no entry for such an index.
 */
#define XENCOMM_CALL		0x40000000UL

/* What Xen goes on with when it restarts a call is in these registers, too. */
struct xencomm_registers {
	u64 rax;	/* index, then result */
	u64 rdi;
	u64 rsi;
	u64 rdx;
	u64 r10;
	u64 r8;
	u64 r9;		/* region */
	u64 rbx;	/* for hypercall.S */
};

/* hypercall.S */
asmlinkage void xencomm_syscall(struct xencomm_registers *registers);
asmlinkage void xencomm_vmcall(struct xencomm_registers *registers);
asmlinkage void xencomm_vmmcall(struct xencomm_registers *registers);

/* May sleep: where the kernel is not preemptible, Xen's upcall makes it so. */
static inline void xencomm_make_call(struct xencomm_registers *registers)
{
	xen_preemptible_hcall_begin();
	if (xen_pv_domain())
		xencomm_syscall(registers);
	else if (boot_cpu_data.x86_vendor == X86_VENDOR_AMD ||
		 boot_cpu_data.x86_vendor == X86_VENDOR_HYGON)
		xencomm_vmmcall(registers);
	else
		xencomm_vmcall(registers);
	xen_preemptible_hcall_end();
}

#endif /* XENCOMM_HYPERCALL_H */
