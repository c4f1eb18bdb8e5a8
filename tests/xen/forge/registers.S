/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * void forge_INSTRUCTION(struct forge_registers *registers);
 *
 * All registers that C may change are in use or changed, so that rbx keeps the
 * pointer, and the structure rbx.
 */
#include <linux/linkage.h>

#include <asm/unwind_hints.h>

.macro load_registers
	movq	%rbx, 56(%rdi)
	movq	%rdi, %rbx
	movq	0(%rbx), %rax
	movq	8(%rbx), %rdi
	movq	16(%rbx), %rsi
	movq	24(%rbx), %rdx
	movq	32(%rbx), %r10
	movq	40(%rbx), %r8
	movq	48(%rbx), %r9
.endm

.macro store_registers
	movq	%rax, 0(%rbx)
	movq	%rdi, 8(%rbx)
	movq	%rsi, 16(%rbx)
	movq	%rdx, 24(%rbx)
	movq	%r10, 32(%rbx)
	movq	%r8, 40(%rbx)
	movq	%r9, 48(%rbx)
	movq	56(%rbx), %rbx
.endm

	.text

/* PV.  rcx and r11 are the instruction's. */
SYM_FUNC_START(forge_syscall)
	load_registers
	syscall
	/* It comes back, with the stack as it was, which objtool cannot know. */
	UNWIND_HINT_FUNC
	store_registers
	RET
SYM_FUNC_END(forge_syscall)

/* HVM and PVH, Intel. */
SYM_FUNC_START(forge_vmcall)
	load_registers
	vmcall
	store_registers
	RET
SYM_FUNC_END(forge_vmcall)

/* HVM and PVH, AMD. */
SYM_FUNC_START(forge_vmmcall)
	load_registers
	vmmcall
	store_registers
	RET
SYM_FUNC_END(forge_vmmcall)
