/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* A process's call passes only if the audit of the op table passes it. */
#ifndef XENCOMM_LOCKDOWN_H
#define XENCOMM_LOCKDOWN_H

#include <linux/types.h>

#include "region.h"

/* Whether the module is locked down. It is from its start, or never. */
extern bool xencomm_lockdown;

static inline bool xencomm_is_locked_down(void)
{
	return xencomm_lockdown;
}

/*
 * @version: of Xen, as XENVER_version answers.  What follows an end, or a start that
 * failed, is nothing.
 */
int xencomm_lockdown_start(long version);
void xencomm_lockdown_end(void);

/* Another Xen, perhaps.  Processes are frozen. */
void xencomm_lockdown_resume(long version);

/* As xencomm_region_call(), or a refusal: audit.h. */
long xencomm_lockdown_call(struct xencomm_region *region,
			   unsigned long hypercall, const unsigned long *args);

#endif /* XENCOMM_LOCKDOWN_H */
