/* The paths that are a machine's own: the front leads them into the folder of its files.
 *
 * A file keeps its path in that folder: /proc/xen/xsd_port is FOLDER/proc/xen/xsd_port. /var/run
 * and /var/lock are /run and /run/lock there, as they are on Debian. Who makes the folder makes the
 * folders above these, too, and a plain file for each device, so that listings show them.
 */
#ifndef HCALL_DEVICES_KEPT_PATHS_H_
#define HCALL_DEVICES_KEPT_PATHS_H_

/* Each with all that is in it; one that ends in a star also with all whose name goes on. */
/* clang-format off */
#define XENCOMM_KEPT_PATHS                                                 \
  "/dev/xen", "/proc/xen",                                                 \
  "/sys/hypervisor", "/sys/bus/xen", "/sys/bus/xen-backend",               \
  "/run/xen", "/run/xen-*", "/run/xend*", "/run/xenstored*",               \
  "/run/xenconsole*", "/run/xenwatchdog*", "/run/xl*", "/run/libxl*",      \
  "/run/lock/xen-*", "/run/lock/xend*", "/run/lock/xenconsole*",           \
  "/run/lock/xl*", "/run/lock/libxl*",                                     \
  "/var/lib/xen", "/var/lib/xenstored", "/var/log/xen", "/var/cache/xen",  \
  "/run/libvirt*", "/run/virt*", "/etc/libvirt/libxl",                     \
  "/etc/libvirt/nwfilter", "/etc/libvirt/secrets", "/etc/libvirt/storage", \
  "/var/lib/libvirt", "/var/log/libvirt", "/var/cache/libvirt"
/* clang-format on */

#endif /* HCALL_DEVICES_KEPT_PATHS_H_ */
