/* Which devices of Linux a machine has, and how their files are named.
 *
 * A device's descriptor is one end of a connection of stream sockets, whose other end is the
 * machine's. Of what can be read and written (evtchn, xenbus) it is the end that has connected; of
 * the others the one that listens, for which read() answers EINVAL, as it does for them.
 * The name that is connected to says what it is: an abstract one, XENCOMM_DEVICE_NAMES and the
 * device's name, then "/", the file's number, "/", its access mode as open's flags say it, and
 * more. So the kernel itself does read, write, poll, dup, fork, and sends descriptors to others.
 */
#ifndef HCALL_TRANSPORT_MACHINE_DEVICE_NAMES_H_
#define HCALL_TRANSPORT_MACHINE_DEVICE_NAMES_H_

/* Behind the byte 0 with which abstract names begin. */
#define XENCOMM_DEVICE_NAMES "xencomm/"

/* In this order their names: privcmd, hypercall, evtchn, xenbus, gntdev, gntalloc. */
enum xencomm_device {
  XENCOMM_NO_DEVICE = -1,
  XENCOMM_PRIVCMD,
  XENCOMM_HYPERCALL,
  XENCOMM_EVTCHN,
  XENCOMM_XENBUS,
  XENCOMM_GNTDEV,
  XENCOMM_GNTALLOC,
};

#endif /* HCALL_TRANSPORT_MACHINE_DEVICE_NAMES_H_ */
