/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Regions of guest memory for hypercall arguments.  Public interface and rules:
 * public/xencomm_op.h.
 */

#ifndef __ASM_X86_XENCOMM_H__
#define __ASM_X86_XENCOMM_H__

#include <xen/types.h>
#include <public/xencomm_op.h>

struct cpu_user_regs;
struct domain;
struct vcpu;
struct xencomm_region;

/* The hypercall that a vcpu makes. */
struct xencomm_call {
    /* Where the call's pointers lead; NULL: nowhere special. */
    const struct xencomm_region *region;
    /* Where the region seems to lie for pointers to arguments; 0: nowhere. */
    unsigned long alias;
};

/*
 * Hooks of the hypercall entry points, for a call whose index (regs->rax) has
 * XENCOMM_CALL.  xencomm_enter() takes it away, and answers the index;
 * xencomm_leave() puts it back for a call that is going to be restarted.
 */
unsigned long xencomm_enter(struct vcpu *v, struct cpu_user_regs *regs);
void xencomm_leave(struct vcpu *v, struct cpu_user_regs *regs);

/*
 * Guest access for a call with a region, by the current vcpu.  All return the
 * number of bytes that were not reached.
 */
unsigned int xencomm_copy_to_guest(void *to, const void *from, unsigned int n);
unsigned int xencomm_copy_from_guest(void *to, const void *from,
                                     unsigned int n);
unsigned int xencomm_clear_guest(void *to, unsigned int n);

/* Ends all regions of a dying domain.  0 or -ERESTART. */
int xencomm_relinquish(struct domain *d);

#endif /* __ASM_X86_XENCOMM_H__ */

/*
 * Local variables:
 * mode: C
 * c-file-style: "BSD"
 * c-basic-offset: 4
 * tab-width: 4
 * indent-tabs-mode: nil
 * End:
 */
