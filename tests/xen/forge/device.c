// SPDX-License-Identifier: GPL-2.0 OR MIT
/* /dev/forge, as forge.h has it. */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include <asm/cpufeature.h>
#include <xen/page.h>
#include <xen/xen.h>
#include <xen/xen-ops.h>

#include "forge.h"

/* registers.S */
struct forge_registers {
	struct forge_call call;
	u64 rbx;	/* for it alone */
};
asmlinkage void forge_syscall(struct forge_registers *registers);
asmlinkage void forge_vmcall(struct forge_registers *registers);
asmlinkage void forge_vmmcall(struct forge_registers *registers);

struct forge {
	struct mutex lock;	/* for the rest */
	unsigned long count;
	struct page **pages;
	void *bytes;	/* of the pages, in a row */
};

static void free_pages_of(struct forge *forge)
{
	vunmap(forge->bytes);
	forge->bytes = NULL;
	while (forge->count) {
		struct page *page = forge->pages[--forge->count];

		if (page)
			__free_page(page);
	}
	kvfree(forge->pages);
	forge->pages = NULL;
}

static long allocate(struct forge *forge, struct forge_allocate *request)
{
	unsigned long i;

	if (forge->count)
		return -EBUSY;
	if (!request->count || request->count > totalram_pages() ||
	    request->order >= MAX_ORDER || request->count % (1UL << request->order))
		return -EINVAL;

	forge->pages = kvcalloc(request->count, sizeof(*forge->pages),
				GFP_KERNEL);
	if (!forge->pages)
		return -ENOMEM;

	forge->count = request->count;
	for (i = 0; i < forge->count; i++) {
		if (!(i % (1UL << request->order))) {
			struct page *row = alloc_pages(GFP_KERNEL | __GFP_ZERO,
						       request->order);

			if (!row)
				goto no_memory;
			split_page(row, request->order);
			forge->pages[i] = row;
		} else {
			forge->pages[i] = forge->pages[i - 1] + 1;
		}
	}
	forge->bytes = vmap(forge->pages, forge->count, VM_MAP, PAGE_KERNEL);
	if (!forge->bytes)
		goto no_memory;

	request->virtual_address = (unsigned long)forge->bytes;
	return 0;

no_memory:
	free_pages_of(forge);
	return -ENOMEM;
}

static long show_page(struct forge *forge, struct forge_page *request)
{
	struct page *page;

	if (request->number >= forge->count)
		return -EINVAL;

	page = forge->pages[request->number];
	request->address = (u64)xen_page_to_gfn(page) << XEN_PAGE_SHIFT;
	request->virtual_address = (unsigned long)page_address(page);
	request->pfn = page_to_pfn(page);
	return 0;
}

/* Without the lock: tests race calls. */
static long make_call(struct forge_call __user *user)
{
	struct forge_registers registers = {};

	if (copy_from_user(&registers.call, user, sizeof(*user)))
		return -EFAULT;

	xen_preemptible_hcall_begin();
	if (xen_pv_domain())
		forge_syscall(&registers);
	else if (boot_cpu_has(X86_FEATURE_VMMCALL))
		forge_vmmcall(&registers);
	else
		forge_vmcall(&registers);
	xen_preemptible_hcall_end();

	return copy_to_user(user, &registers.call, sizeof(*user)) ? -EFAULT : 0;
}

static long forge_ioctl(struct file *file, unsigned int command,
			unsigned long argument)
{
	struct forge *forge = file->private_data;
	void __user *user = (void __user *)argument;
	union {
		struct forge_allocate allocate;
		struct forge_page page;
	} request;
	size_t size = _IOC_SIZE(command);
	long rc = 0;

	if (command == FORGE_CALL)
		return make_call(user);
	if (command != FORGE_ALLOCATE && command != FORGE_PAGE &&
	    command != FORGE_FREE)
		return -ENOTTY;
	if (copy_from_user(&request, user, size))
		return -EFAULT;

	mutex_lock(&forge->lock);
	if (command == FORGE_ALLOCATE)
		rc = allocate(forge, &request.allocate);
	else if (command == FORGE_PAGE)
		rc = show_page(forge, &request.page);
	else
		free_pages_of(forge);
	mutex_unlock(&forge->lock);

	return !rc && copy_to_user(user, &request, size) ? -EFAULT : rc;
}

static ssize_t forge_read(struct file *file, char __user *to, size_t size,
			  loff_t *position)
{
	struct forge *forge = file->private_data;
	ssize_t done;

	mutex_lock(&forge->lock);
	done = simple_read_from_buffer(to, size, position, forge->bytes,
				       forge->count << PAGE_SHIFT);
	mutex_unlock(&forge->lock);
	return done;
}

static ssize_t forge_write(struct file *file, const char __user *from,
			   size_t size, loff_t *position)
{
	struct forge *forge = file->private_data;
	ssize_t done;

	mutex_lock(&forge->lock);
	done = simple_write_to_buffer(forge->bytes, forge->count << PAGE_SHIFT,
				      position, from, size);
	mutex_unlock(&forge->lock);
	return done;
}

static int forge_open(struct inode *inode, struct file *file)
{
	struct forge *forge = kzalloc(sizeof(*forge), GFP_KERNEL);

	if (!forge)
		return -ENOMEM;
	mutex_init(&forge->lock);
	file->private_data = forge;
	return 0;
}

/* Pages that were not freed before are left to Xen. */
static int forge_release(struct inode *inode, struct file *file)
{
	kfree(file->private_data);
	return 0;
}

static const struct file_operations forge_operations = {
	.owner = THIS_MODULE,
	.open = forge_open,
	.release = forge_release,
	.read = forge_read,
	.write = forge_write,
	.llseek = default_llseek,
	.unlocked_ioctl = forge_ioctl,
};

static struct miscdevice forge_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "forge",
	.fops = &forge_operations,
	.mode = 0600,
};

module_misc_device(forge_device);

MODULE_DESCRIPTION("For tests: hypercalls as a hostile kernel makes them");
MODULE_LICENSE("Dual MIT/GPL");
