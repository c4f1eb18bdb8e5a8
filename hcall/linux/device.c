// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * /dev/xen/xencomm, as xencomm_device.h has it.
 *
 * This is the border between a process and Xen.  Which region a call uses, and
 * that it uses one, is said here and nowhere else; Xen follows no pointer of such
 * a call to anything but the region's payload.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/uaccess.h>
#include <linux/version.h>

#include <xen/interface/xen.h>
#include <xen/interface/version.h>

#include "hypercall.h"
#include "lockdown.h"
#include "region.h"
#include "xencomm_device.h"

/* Xen has no more, and other hypervisors' calls that it takes lie far above. */
#define NR_HYPERCALLS	128

static long reserve(struct xencomm_region *region, const void __user *from)
{
	struct xencomm_reserve place;

	if (copy_from_user(&place, from, sizeof(place)))
		return -EFAULT;

	return xencomm_region_reserve(region, place.virtual_base, place.length,
				      xencomm_is_locked_down());
}

static long hypercall(struct xencomm_region *region, const void __user *from)
{
	struct xencomm_hypercall call;
	const unsigned long *args = (const unsigned long *)call.arg;

	if (copy_from_user(&call, from, sizeof(call)))
		return -EFAULT;

	/* Calls for kernels alone. Xen makes none of them from a multicall. */
	call.op &= ~(u64)XENCOMM_CALL;
	if ((u32)call.op == XENCOMM_OP)
		return -EPERM;
	/* The stack that iret returns by is the kernel's. */
	if (call.op >= NR_HYPERCALLS || call.op == __HYPERVISOR_iret)
		return -ENOSYS;

	if (xencomm_is_locked_down())
		return xencomm_lockdown_call(region, call.op, args);

	return xencomm_region_call(region, call.op, args);
}

static long xencomm_ioctl(struct file *file, unsigned int command,
			  unsigned long argument)
{
	struct xencomm_region *region = file->private_data;
	const void __user *from = (const void __user *)argument;

	if (current->mm != region->mm)
		return -EPERM;

	switch (command) {
	case XENCOMM_IOC_RESERVE:
		return reserve(region, from);
	case XENCOMM_IOC_HYPERCALL:
		return hypercall(region, from);
	default:
		return -ENOTTY;
	}
}

static int xencomm_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct xencomm_region *region = file->private_data;
	/* VM_DONTEXPAND keeps mremap() from more, too. */
	const unsigned long set = VM_DONTCOPY | VM_DONTEXPAND | VM_DONTDUMP;

	if (vma->vm_mm != region->mm)
		return -EPERM;
	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	if (vma->vm_flags & VM_EXEC)
		return -EACCES;

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
	vm_flags_mod(vma, set, VM_MAYEXEC);
#else
	vma->vm_flags = (vma->vm_flags | set) & ~VM_MAYEXEC;
#endif

	return xencomm_region_map(region, vma);
}

static int xencomm_open(struct inode *inode, struct file *file)
{
	if (!current->mm)
		return -EPERM;

	file->private_data = xencomm_region_create(current->mm);
	return file->private_data ? 0 : -ENOMEM;
}

/* Calls under way and mappings have the file, so there are none. */
static int xencomm_release(struct inode *inode, struct file *file)
{
	xencomm_region_destroy(file->private_data);
	return 0;
}

/* 64-bit processes alone: there is no compat_ioctl. */
static const struct file_operations xencomm_operations = {
	.owner = THIS_MODULE,
	.open = xencomm_open,
	.release = xencomm_release,
	.unlocked_ioctl = xencomm_ioctl,
	.mmap = xencomm_mmap,
};

static struct miscdevice xencomm_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "xen!xencomm",
	.fops = &xencomm_operations,
	.mode = 0600,
};

/* Not positive of Xen that has no regions: who does not know the bit does not know the call. */
static long xen_version(void)
{
	const unsigned long args[5] = { XENVER_version };

	return xencomm_make_call(__HYPERVISOR_xen_version | XENCOMM_CALL, args,
				 0);
}

static int xencomm_resumed(struct notifier_block *block, unsigned long action,
			   void *data)
{
	xencomm_lockdown_resume(xen_version());
	xencomm_regions_resume();
	return NOTIFY_OK;
}

static struct notifier_block xencomm_resume = {
	.notifier_call = xencomm_resumed,
};

static int __init xencomm_init(void)
{
	long version;
	int rc;

	if (!xen_domain())
		return -ENODEV;
	version = xen_version();
	if (version <= 0)
		return -ENODEV;

	rc = xencomm_lockdown_start(version);
	if (rc)
		return rc;

	xen_resume_notifier_register(&xencomm_resume);
	rc = misc_register(&xencomm_device);
	if (rc) {
		xen_resume_notifier_unregister(&xencomm_resume);
		xencomm_lockdown_end();
	}

	return rc;
}

static void __exit xencomm_exit(void)
{
	misc_deregister(&xencomm_device);
	xen_resume_notifier_unregister(&xencomm_resume);
	xencomm_lockdown_end();
}

module_init(xencomm_init);
module_exit(xencomm_exit);

MODULE_DESCRIPTION("Hypercalls whose pointers lead into a region");
MODULE_LICENSE("Dual MIT/GPL");
