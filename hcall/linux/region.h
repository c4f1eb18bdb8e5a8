/* SPDX-License-Identifier: GPL-2.0 OR MIT */
#ifndef XENCOMM_REGION_H
#define XENCOMM_REGION_H

#include <linux/list.h>
#include <linux/mm_types.h>
#include <linux/mutex.h>
#include <linux/semaphore.h>
#include <linux/types.h>

#include "hypercall.h"

/* Hypercall 55, the kernel's own: registers regions and ends them. */
#define XENCOMM_OP	55

/*
 * In lockdown, the last granules of a region are a scratch for copies of arguments,
 * in slots for one call each.
 */
#define XENCOMM_SLOTS		4
#define XENCOMM_SLOT_ORDER	2
#define XENCOMM_SLOT_PAGES	(1UL << XENCOMM_SLOT_ORDER)
#define XENCOMM_SCRATCH_PAGES	(XENCOMM_SLOTS * XENCOMM_SLOT_PAGES)

/* The memory that the hypercalls of one file can point into. */
struct xencomm_region {
	struct list_head list;
	struct mm_struct *mm;	/* the only one that may use it */
	u64 handle;		/* Xen's name for it; 0: none */

	/* For what follows.  Calls do without it. */
	struct mutex lock;
	unsigned long base;	/* address in mm */
	unsigned long count;	/* of granules, which are pages; 0: no place yet */
	struct page **pages;	/* of each granule, table first; NULL: not backed */
	bool is_stuck;		/* Xen may use the pages for good */

	/* The first granule that no process maps; `count': there is none. */
	unsigned long scratch;
	struct semaphore free_slots;
	unsigned long used_slots;	/* a bit each */
};

struct xencomm_region *xencomm_region_create(struct mm_struct *mm);
void xencomm_region_destroy(struct xencomm_region *region);

/* Gives it its place, for good, and a scratch if it is to have one.  Checks the numbers. */
int xencomm_region_reserve(struct xencomm_region *region, u64 base, u64 length,
			   bool has_scratch);

/* Backs what @vma maps, lets Xen know, and maps it.  Checks the place. */
int xencomm_region_map(struct xencomm_region *region,
		       struct vm_area_struct *vma);

/* Makes a call whose pointers lead into it: five arguments, and Xen's answer. */
static inline long xencomm_region_call(const struct xencomm_region *region,
				       unsigned long hypercall,
				       const unsigned long *args)
{
	return xencomm_make_call(hypercall | XENCOMM_CALL, args,
				 READ_ONCE(region->handle));
}

/* After a suspend no handle means anything. */
void xencomm_regions_resume(void);

#endif /* XENCOMM_REGION_H */
