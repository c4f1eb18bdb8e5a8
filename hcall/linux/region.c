// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Regions: their tables, their pages, and what Xen is told of them.
 *
 * A region is [base, base + count pages) of a process.  It begins with its table,
 * a header and a base for each granule, in pages of the kernel's own that are
 * mapped nowhere.  Base i lies in granule (32 + 8 * i) / PAGE_SIZE, which is
 * itself named by a base before it; granule 0 Xen is told.  The payload comes
 * behind.  Both are backed as they are needed.  What is backed stays as it is
 * until the region has ended.
 *
 * In lockdown, the end of the payload is a scratch for the kernel's copies of
 * arguments: backed from the start, mapped nowhere either, and Xen's for arguments
 * only.  What Xen finds in the table when a region is registered is for any pointer,
 * so that the scratch stands there from then on alone.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include <xen/page.h>

#include "region.h"

#define REGION_MAGIC	0x58435247
#define REGION_VERSION	1
#define NO_BASE		(~0ULL)
#define MAX_LENGTH	SZ_1G

struct region_header {
	u32 magic;
	u16 version;
	u8 granule_shift;
	u8 flags;
	u64 virtual_base;
	u64 length;
	u32 base_count;
	u32 reserved;
};
static_assert(sizeof(struct region_header) == 32);

enum xencomm_op {
	OP_REGISTER,	/* header's address, access */
	OP_EXTEND,	/* handle, first granule, count, use */
	OP_UNREGISTER,	/* handle */
};

#define ACCESS_READ_WRITE	1
#define USE_ANY_POINTER		0
#define USE_ARGUMENTS_ONLY	1

/* All regions, for a resume.  A handle that ends does so under the lock, too. */
static LIST_HEAD(regions);
static DEFINE_MUTEX(regions_lock);

static long xencomm_op(enum xencomm_op op, u64 arg1, u64 arg2, u64 arg3,
		       u64 arg4)
{
	const unsigned long args[] = { op, arg1, arg2, arg3, arg4 };

	return xencomm_make_call(XENCOMM_OP, args, 0);
}

/* Guest-physical; machine address in PV. */
static u64 guest_address(struct page *page)
{
	return (u64)xen_page_to_gfn(page) << XEN_PAGE_SHIFT;
}

static unsigned long base_offset(unsigned long granule)
{
	return sizeof(struct region_header) + granule * sizeof(u64);
}

/* In which granule the base of @granule lies. */
static unsigned long base_granule(unsigned long granule)
{
	return base_offset(granule) >> PAGE_SHIFT;
}

/* The first of the payload of a region of so many. */
static unsigned long payload_granule(unsigned long count)
{
	return DIV_ROUND_UP(base_offset(count), PAGE_SIZE);
}

/* Its page of the table must be there. */
static u64 *base_of(struct xencomm_region *region, unsigned long granule)
{
	char *table = page_address(region->pages[base_granule(granule)]);

	return (u64 *)(table + offset_in_page(base_offset(granule)));
}

static void write_base(struct xencomm_region *region, unsigned long granule)
{
	*base_of(region, granule) = guest_address(region->pages[granule]);
}

/* A page of the table that names nothing. */
static int add_table_page(struct xencomm_region *region, unsigned long granule)
{
	struct page *page = alloc_page(GFP_KERNEL_ACCOUNT);

	if (!page)
		return -ENOMEM;

	memset(page_address(page), 0xff, PAGE_SIZE);
	region->pages[granule] = page;
	write_base(region, granule);
	return 0;
}

/* What of the table holds the granule's base. */
static int add_table(struct xencomm_region *region, unsigned long granule)
{
	unsigned long table = base_granule(granule);
	int rc;

	/* From the top of the tree, where granule 0 is, down to the base. */
	while (!region->pages[table]) {
		unsigned long top = table;

		while (!region->pages[base_granule(top)])
			top = base_granule(top);
		rc = add_table_page(region, top);
		if (rc)
			return rc;
	}

	return 0;
}

static int add_payload_page(struct xencomm_region *region,
			    unsigned long granule)
{
	struct page *page;
	int rc;

	rc = add_table(region, granule);
	if (rc)
		return rc;

	page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!page)
		return -ENOMEM;

	/* An audit may look at it from now on. */
	smp_store_release(&region->pages[granule], page);
	write_base(region, granule);
	return 0;
}

/* The pages of a slot of the scratch, side by side. They get no bases yet. */
static int add_slot(struct xencomm_region *region, unsigned long granule)
{
	struct page *page;
	unsigned long i;
	int rc;

	for (i = 0; i < XENCOMM_SLOT_PAGES; i++) {
		rc = add_table(region, granule + i);
		if (rc)
			return rc;
	}

	page = alloc_pages(GFP_KERNEL_ACCOUNT | __GFP_ZERO, XENCOMM_SLOT_ORDER);
	if (!page)
		return -ENOMEM;

	split_page(page, XENCOMM_SLOT_ORDER);
	for (i = 0; i < XENCOMM_SLOT_PAGES; i++)
		region->pages[granule + i] = page + i;
	return 0;
}

/* @handle names what is no region's any more, or not yet. */
static void end_handle(struct xencomm_region *region, u64 handle)
{
	/* Xen that knows no such region uses no page of it. */
	long rc = xencomm_op(OP_UNREGISTER, handle, 0, 0, 0);

	if (rc && rc != -ENOENT && rc != -ENOSYS) {
		pr_err("region %#llx does not end: %ld; its pages are lost\n",
		       handle, rc);
		region->is_stuck = true;
	}
}

static int register_region(struct xencomm_region *region)
{
	unsigned long i;
	long handle;
	int rc;

	for (i = region->scratch; i < region->count; i++)
		*base_of(region, i) = NO_BASE;

	handle = xencomm_op(OP_REGISTER, guest_address(region->pages[0]),
			    ACCESS_READ_WRITE, 0, 0);
	if (handle <= 0)
		return handle ?: -EIO;

	if (region->scratch < region->count) {
		for (i = region->scratch; i < region->count; i++)
			write_base(region, i);
		rc = xencomm_op(OP_EXTEND, handle, region->scratch,
				region->count - region->scratch,
				USE_ARGUMENTS_ONLY);
		if (rc) {
			end_handle(region, handle);
			return rc;
		}
	}

	/* Calls read it without the lock; it names what Xen has by now. */
	smp_store_release(&region->handle, handle);
	return 0;
}

static void unregister_region(struct xencomm_region *region)
{
	if (!region->handle)
		return;

	end_handle(region, region->handle);
	WRITE_ONCE(region->handle, 0);
}

struct xencomm_region *xencomm_region_create(struct mm_struct *mm)
{
	struct xencomm_region *region;

	region = kzalloc(sizeof(*region), GFP_KERNEL_ACCOUNT);
	if (!region)
		return NULL;

	mmgrab(mm);
	region->mm = mm;
	mutex_init(&region->lock);
	sema_init(&region->free_slots, XENCOMM_SLOTS);

	mutex_lock(&regions_lock);
	list_add(&region->list, &regions);
	mutex_unlock(&regions_lock);

	return region;
}

static void free_pages_of(struct xencomm_region *region, unsigned long count)
{
	unsigned long i;

	for (i = 0; i < count && !region->is_stuck; i++) {
		if (region->pages[i])
			__free_page(region->pages[i]);
		cond_resched();
	}

	kvfree(region->pages);
	region->pages = NULL;
}

void xencomm_region_destroy(struct xencomm_region *region)
{
	mutex_lock(&regions_lock);
	unregister_region(region);
	list_del(&region->list);
	mutex_unlock(&regions_lock);

	free_pages_of(region, region->count);
	mmdrop(region->mm);
	kfree(region);
}

int xencomm_region_reserve(struct xencomm_region *region, u64 base, u64 length,
			   bool has_scratch)
{
	unsigned long count = length >> PAGE_SHIFT;
	unsigned long scratch = count;
	struct region_header *header;
	unsigned long i;
	int rc;

	if (!base || !length || !PAGE_ALIGNED(base | length) ||
	    length > MAX_LENGTH || base > TASK_SIZE - length)
		return -EINVAL;

	if (has_scratch) {
		if (count <= payload_granule(count) + XENCOMM_SCRATCH_PAGES)
			return -EINVAL;
		scratch = count - XENCOMM_SCRATCH_PAGES;
	}

	mutex_lock(&region->lock);

	rc = -EBUSY;
	if (region->count)
		goto out;

	rc = -ENOMEM;
	region->pages = kvcalloc(count, sizeof(*region->pages),
				 GFP_KERNEL_ACCOUNT);
	if (!region->pages)
		goto out;

	rc = add_table_page(region, 0);
	for (i = scratch; i < count && !rc; i += XENCOMM_SLOT_PAGES)
		rc = add_slot(region, i);
	if (rc) {
		free_pages_of(region, count);
		goto out;
	}

	header = page_address(region->pages[0]);
	*header = (struct region_header) {
		.magic = REGION_MAGIC,
		.version = REGION_VERSION,
		.granule_shift = PAGE_SHIFT,
		.virtual_base = base,
		.length = length,
		.base_count = count,
	};
	region->base = base;
	region->scratch = scratch;
	/* Audits look at it without the lock. */
	smp_store_release(&region->count, count);

out:
	mutex_unlock(&region->lock);
	return rc;
}

/* The caller has the mm's mmap_lock. */
int xencomm_region_map(struct xencomm_region *region,
		       struct vm_area_struct *vma)
{
	unsigned long first = vma->vm_pgoff;
	unsigned long count = vma_pages(vma);
	unsigned long i;
	int rc;

	mutex_lock(&region->lock);

	rc = -EINVAL;
	if (first >= region->scratch || count > region->scratch - first ||
	    first < payload_granule(region->count) ||
	    vma->vm_start != region->base + (first << PAGE_SHIFT))
		goto out;

	for (i = first; i < first + count; i++) {
		rc = -EINTR;
		if (fatal_signal_pending(current))
			goto out;
		rc = region->pages[i] ? 0 : add_payload_page(region, i);
		if (rc)
			goto out;
		cond_resched();
	}

	/* Either takes in what is backed; what Xen had before is left alone. */
	if (region->handle)
		rc = xencomm_op(OP_EXTEND, region->handle, first, count,
				USE_ANY_POINTER);
	else
		rc = register_region(region);
	if (rc)
		goto out;

	rc = vm_insert_pages(vma, vma->vm_start, region->pages + first, &count);

out:
	mutex_unlock(&region->lock);
	return rc;
}

/*
 * Processes are frozen.  All old handles go, before the first new one that could
 * be the same number: it may be another host; or it is the old one, and the
 * suspend was cancelled.
 */
void xencomm_regions_resume(void)
{
	struct xencomm_region *region;

	mutex_lock(&regions_lock);

	list_for_each_entry(region, &regions, list)
		unregister_region(region);

	list_for_each_entry(region, &regions, list) {
		unsigned long i;
		int rc;

		mutex_lock(&region->lock);

		/* PV: the pages lie elsewhere now. */
		for (i = 0; i < region->count; i++)
			if (region->pages[i])
				write_base(region, i);

		/* What has none for now is given one by the next mmap. */
		rc = region->count ? register_region(region) : 0;
		if (rc)
			pr_err("region of a process lost in resume: %d\n", rc);

		mutex_unlock(&region->lock);
	}

	mutex_unlock(&regions_lock);
}
