/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * long xencomm_INSTRUCTION(u64 index, const unsigned long *args, u64 region);
 *
 * Xen changes registers of arguments, as C may.  What it goes on with when it
 * restarts a call is in them, too.
 */
#include <linux/linkage.h>

#include <asm/alternative.h>
#include <asm/cpufeatures.h>
#include <asm/unwind_hints.h>

.macro load_registers
	movq	%rdi, %rax
	movq	%rdx, %r9
	movq	0(%rsi), %rdi
	movq	16(%rsi), %rdx
	movq	24(%rsi), %r10
	movq	32(%rsi), %r8
	movq	8(%rsi), %rsi
.endm

	.text

/* PV.  rcx and r11 are the instruction's. */
SYM_FUNC_START(xencomm_syscall)
	load_registers
	syscall
	/* It comes back, with the stack as it was, which objtool cannot know. */
	UNWIND_HINT_FUNC
	RET
SYM_FUNC_END(xencomm_syscall)

/* HVM and PVH: Intel's, or AMD's. */
SYM_FUNC_START(xencomm_vmcall)
	load_registers
	ALTERNATIVE "vmcall", "vmmcall", X86_FEATURE_VMMCALL
	RET
SYM_FUNC_END(xencomm_vmcall)
