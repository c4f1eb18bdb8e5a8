// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Lockdown: what the audit of the op table does not pass, no process can have Xen do.
 *
 * The audit reads a process's memory by the region's own pages, as Xen does.  What
 * the process changes afterwards is no matter where Xen follows it to the region
 * alone.  Where it says what the call is, the audit and Xen get a copy, in a scratch
 * of the region: pages that no process maps, and that Xen has for arguments only, so
 * that no pointer of a process leads there.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bitops.h>
#include <linux/cpumask.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/nospec.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "audit.h"
#include "lockdown.h"
#include "region.h"

bool xencomm_lockdown;
module_param_named(lockdown, xencomm_lockdown, bool, 0444);
MODULE_PARM_DESC(lockdown, "Let through what the audit of the op table passes, alone");

static char *lockdown_ops;
module_param(lockdown_ops, charp, 0444);
MODULE_PARM_DESC(lockdown_ops,
		 "Of these the following alone: HYPERCALL:OP,... by number (all known)");

static struct xencomm_rules rules;

static bool names_ops(void)
{
	return lockdown_ops && *lockdown_ops;
}

static int parse_op(char *text, struct xencomm_allowed_op *op)
{
	char *number = strsep(&text, ":");

	if (!text || kstrtoul(strim(number), 0, &op->hypercall) ||
	    kstrtoul(strim(text), 0, &op->op))
		return -EINVAL;

	return 0;
}

static int parse_ops(void)
{
	struct xencomm_allowed_op *ops;
	unsigned long count = 1;
	char *copy, *rest, *each;
	int rc = 0;

	if (!names_ops())
		return 0;

	for (each = lockdown_ops; (each = strchr(each, ',')); each++)
		count++;
	ops = kcalloc(count, sizeof(*ops), GFP_KERNEL);
	copy = kstrdup(lockdown_ops, GFP_KERNEL);
	if (!ops || !copy)
		rc = -ENOMEM;

	rest = copy;
	for (count = 0; !rc && (each = strsep(&rest, ",")); count++) {
		rc = parse_op(each, &ops[count]);
		if (rc)
			pr_err("lockdown_ops: HYPERCALL:OP is wanted at %lu\n",
			       count);
	}

	kfree(copy);
	if (rc) {
		kfree(ops);
		return rc;
	}

	rules.ops = ops;
	rules.op_count = count;
	return 0;
}

/* Of a release that the table does not know, no call passes. */
static void set_release(long version)
{
	unsigned long major = version >> 16, minor = version & 0xffff;

	rules.releases = xencomm_audit_release(major, minor);
	if (!rules.releases)
		pr_err("lockdown: unknown release %lu.%lu of Xen\n", major,
		       minor);
}

int xencomm_lockdown_start(long version)
{
	if (!xencomm_is_locked_down()) {
		if (!names_ops())
			return 0;
		pr_err("lockdown_ops is nothing without lockdown\n");
		return -EINVAL;
	}

	set_release(version);
	if (!rules.releases)
		return -ENODEV;

	rules.vcpus = num_possible_cpus();
	return parse_ops();
}

void xencomm_lockdown_end(void)
{
	kfree(rules.ops);
}

void xencomm_lockdown_resume(long version)
{
	if (xencomm_is_locked_down())
		set_release(version);
}

void *xencomm_audit_page(void *data, unsigned long index)
{
	struct xencomm_region *region = data;
	struct page *page;

	if (index >= region->count)
		return NULL;
	index = array_index_nospec(index, region->count);

	/* With what it held when it came in. */
	page = smp_load_acquire(&region->pages[index]);
	return page ? page_address(page) : NULL;
}

long xencomm_audit_pass(void *region, unsigned long hypercall,
			const unsigned long *args)
{
	return xencomm_region_call(region, hypercall, args);
}

static struct xencomm_range pages_of(const struct xencomm_region *region,
				     unsigned long first, unsigned long count)
{
	return (struct xencomm_range) {
		.start = region->base + (first << PAGE_SHIFT),
		.bytes = count << PAGE_SHIFT,
	};
}

/* A slot of the scratch for one call. */
static int take_slot(struct xencomm_region *region)
{
	unsigned long slot;

	if (down_killable(&region->free_slots))
		return -EINTR;

	/* There is one. */
	do
		slot = find_first_zero_bit(&region->used_slots, XENCOMM_SLOTS);
	while (slot >= XENCOMM_SLOTS ||
	       test_and_set_bit_lock(slot, &region->used_slots));

	return slot;
}

static void give_slot(struct xencomm_region *region, int slot)
{
	clear_bit_unlock(slot, &region->used_slots);
	up(&region->free_slots);
}

static void use_slot(struct xencomm_audited_call *call,
		     struct xencomm_region *region, int slot)
{
	unsigned long first = region->scratch + slot * XENCOMM_SLOT_PAGES;

	call->scratch = pages_of(region, first, XENCOMM_SLOT_PAGES);
	/* They lie side by side. */
	call->scratch_memory = page_address(region->pages[first]);
}

long xencomm_lockdown_call(struct xencomm_region *region,
			   unsigned long hypercall, const unsigned long *args)
{
	/* When there are any, the region's place and its scratch are there. */
	unsigned long count = smp_load_acquire(&region->count);
	struct xencomm_audited_call call = { .hypercall = hypercall };
	int slot = -1;
	long rc;
	int i;

	if (!count)
		return -EPERM;

	call.region = region;
	call.whole = pages_of(region, 0, count);
	call.arguments = pages_of(region, region->scratch,
				  count - region->scratch);
	for (i = 0; i < ARRAY_SIZE(call.args); i++) {
		/* Xen takes such a value for a pointer, whatever it is to be. */
		if (args[i] - call.arguments.start < call.arguments.bytes)
			return -EPERM;
		call.args[i] = args[i];
	}

	if (xencomm_audit_copies(hypercall)) {
		slot = take_slot(region);
		if (slot < 0)
			return slot;
		use_slot(&call, region, slot);
	}

	rc = xencomm_audit_call(&call, &rules);
	if (call.problem)
		pr_debug_ratelimited("call %lu refused: problem %lu, op %lu, entry %ld, address %#lx\n",
				     hypercall, call.problem, call.op,
				     (long)call.entry, call.address);

	if (slot >= 0)
		give_slot(region, slot);

	return rc;
}
