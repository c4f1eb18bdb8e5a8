// The event channel device.
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <xen/xen.h>

#include <xen/event_channel.h>
#include <xen/sched.h>
#include <xen/sysctl.h>

#include "tests/xen/check.h"
#include "tests/xen/devices.h"

static int open_events(void) {
  const int fd = open_device("/dev/xen/evtchn");
  CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
  return fd;
}

static int bind_unbound(int fd, uint32_t domid) { return ioctl(fd, kBindUnboundPort, &domid); }
static int bind_interdomain(int fd, uint32_t domid, uint32_t port) {
  const uint32_t remote[2] = {domid, port};
  return ioctl(fd, kBindInterdomain, remote);
}
static int bind_virq(int fd, uint32_t virq) { return ioctl(fd, kBindVirq, &virq); }
static int unbind(int fd, uint32_t port) { return ioctl(fd, kUnbind, &port); }
static int notify(int fd, uint32_t port) { return ioctl(fd, kNotify, &port); }

// What was written and what is read go two ways: what must come is waited for.
static bool reads_all(int fd, uint32_t *ports, size_t count) {
  for (size_t got = 0; got < count * 4;) {
    struct pollfd one = {.fd = fd, .events = POLLIN};
    if (poll(&one, 1, 10000) != 1) return false;
    const ssize_t bytes = read(fd, (char *)ports + got, count * 4 - got);
    if (bytes <= 0) return false;
    got += (size_t)bytes;
  }
  return true;
}
static bool reads(int fd, uint32_t port) {
  uint32_t got = 0;
  return reads_all(fd, &got, 1) && got == port;
}
static bool reads_nothing(int fd) {
  uint32_t got;
  errno = 0;
  return read(fd, &got, sizeof(got)) == -1 && errno == EAGAIN;
}
static bool enables(int fd, uint32_t port) {
  return write(fd, &port, sizeof(port)) == sizeof(port);
}
static short events_of(int fd) {
  struct pollfd one = {.fd = fd, .events = POLLIN | POLLOUT};
  return poll(&one, 1, 0) < 0 ? POLLNVAL : one.revents;
}

// What Xen knows of a port of domain 0.
static int status_of(uint32_t port) {
  evtchn_status_t status = {.dom = DOMID_SELF, .port = port};
  const long answer = hypercall(__HYPERVISOR_event_channel_op, EVTCHNOP_status, (uintptr_t)&status);
  return answer < 0 ? answer : (int)status.status;
}
// The last reference may be another process's, which is on its way.
static bool comes_to_be(uint32_t port, int wanted) {
  for (int tries = 0; tries < 5000; tries++) {
    if (status_of(port) == wanted) return true;
    usleep(1000);
  }
  return false;
}

// Two files, whose ports are bound to one another, with nothing pending.
struct pair {
  int fds[2];
  uint32_t ports[2];
};
static struct pair open_pair(void) {
  struct pair pair = {.fds = {open_events(), open_events()}};
  pair.ports[0] = bind_unbound(pair.fds[0], 0);
  CHECK((int)pair.ports[0] > 0);
  pair.ports[1] = bind_interdomain(pair.fds[1], 0, pair.ports[0]);
  CHECK((int)pair.ports[1] > 0);
  // What may have been sent before it was bound is not lost.
  CHECK(reads(pair.fds[1], pair.ports[1]) && enables(pair.fds[1], pair.ports[1]));
  CHECK(reads_nothing(pair.fds[0]) && reads_nothing(pair.fds[1]));
  return pair;
}
static void close_pair(const struct pair *pair) {
  CHECK(close(pair->fds[0]) == 0 && close(pair->fds[1]) == 0);
  CHECK(comes_to_be(pair->ports[0], EVTCHNSTAT_closed));
  CHECK(comes_to_be(pair->ports[1], EVTCHNSTAT_closed));
}

static void check_binding(void) {
  const int fd = open_events(), other = open_events();
  CHECK(events_of(fd) == POLLOUT);
  const int port = bind_unbound(fd, kNobody);  // who need not be there yet
  CHECK(port > 0 && status_of(port) == EVTCHNSTAT_unbound);
  CHECK_REFUSED(bind_interdomain(other, 0, port), EINVAL);
  CHECK_REFUSED(bind_interdomain(other, kNobody, 1), ESRCH);
  CHECK_REFUSED(bind_interdomain(other, 0, 0), EINVAL);
  CHECK_REFUSED(bind_interdomain(other, 0, 0xffffffff), EINVAL);
  CHECK(notify(fd, port) == 0);  // to nobody
  CHECK(reads_nothing(fd));
  CHECK_REFUSED(notify(other, port), ENOTCONN);
  CHECK_REFUSED(unbind(other, port), ENOTCONN);
  CHECK_REFUSED(notify(fd, 0), ENOTCONN);
  CHECK_REFUSED(notify(fd, 0xffffffff), ENOTCONN);
  CHECK_REFUSED(unbind(fd, 0), ENOTCONN);
  CHECK_REFUSED(unbind(fd, 0xffffffff), EINVAL);
  CHECK(unbind(fd, port) == 0 && status_of(port) == EVTCHNSTAT_closed);
  CHECK_REFUSED(unbind(fd, port), ENOTCONN);
  CHECK_REFUSED(notify(fd, port), ENOTCONN);

  // A domain has 16 bits.
  const int cut = bind_unbound(fd, 0x10000 | kSelf);
  CHECK(cut > 0 && unbind(fd, cut) == 0);

  CHECK_REFUSED(ioctl(fd, kBindUnboundPort, NULL), EFAULT);
  CHECK_REFUSED(ioctl(fd, kBindInterdomain, NULL), EFAULT);
  CHECK_REFUSED(ioctl(fd, kBindVirq, NULL), EFAULT);
  CHECK_REFUSED(ioctl(fd, kUnbind, NULL), EFAULT);
  CHECK_REFUSED(ioctl(fd, kNotify, NULL), EFAULT);
  CHECK_REFUSED(ioctl(fd, kRestrictDomid, NULL), EFAULT);
  CHECK_REFUSED(ioctl(fd, _IOC(_IOC_NONE, 'E', 99, 0), 0), ENOSYS);
  CHECK_REFUSED(ioctl(fd, kHypercall, 0), ENOSYS);
  CHECK(ioctl(fd, kReset, 0) == 0);
  CHECK_NO_MAPPING(mmap(NULL, kPage, PROT_READ, MAP_SHARED, fd, 0), ENODEV);
  CHECK_REFUSED(lseek(fd, 0, SEEK_SET), ESPIPE);
  CHECK(close(fd) == 0 && close(other) == 0);
}

static void check_virqs(void) {
  const int fd = open_events(), other = open_events();
  for (uint32_t virq = 0; virq < NR_VIRQS; virq++) {
    if (virq == VIRQ_ARCH_0 || virq == VIRQ_XENPMU) continue;  // a kernel's, as the machine is
    if (virq == VIRQ_DOM_EXC) continue;                        // a store's, where one runs
    if (virq == VIRQ_TIMER || virq == VIRQ_CONSOLE || virq == VIRQ_PCPU_STATE) {
      CHECK_REFUSED(bind_virq(fd, virq), EEXIST);  // dom0's kernel has it
      continue;
    }
    const int port = bind_virq(fd, virq);
    CHECK(port > 0 && status_of(port) == EVTCHNSTAT_virq);
    CHECK_REFUSED(bind_virq(other, virq), EEXIST);
    CHECK(unbind(fd, port) == 0);
  }
  CHECK_REFUSED(bind_virq(fd, NR_VIRQS), EINVAL);
  CHECK_REFUSED(bind_virq(fd, 0xffffffff), EINVAL);

  // What Xen prints is told to whoever asked for it.
  const int port = bind_virq(fd, VIRQ_CON_RING);
  char key = 'q';
  xen_sysctl_t press = {.cmd = XEN_SYSCTL_debug_keys,
                        .interface_version = XEN_SYSCTL_INTERFACE_VERSION,
                        .u.debug_keys.nr_keys = 1};
  set_xen_guest_handle(press.u.debug_keys.keys, &key);
  CHECK(port > 0 && notify(fd, port) == 0 && reads_nothing(fd));
  CHECK(hypercall(__HYPERVISOR_sysctl, (uintptr_t)&press, 0) == 0 && reads(fd, port));
  CHECK(close(fd) == 0 && comes_to_be(port, EVTCHNSTAT_closed));
  const int again = bind_virq(other, VIRQ_CON_RING);
  CHECK(again > 0 && unbind(other, again) == 0);
  CHECK(close(other) == 0);
}

// A domain's shutdown is told once, and its death.
static void check_ends_of_domains(void) {
  const int fd = open_events(), port = bind_virq(fd, VIRQ_DOM_EXC);
  if (port == -1 && errno == EEXIST) {
    CHECK(close(fd) == 0);  // to the store alone, which runs
    return;
  }
  CHECK(port > 0 && reads_nothing(fd));
  const uint16_t domain = create_domain();
  sched_remote_shutdown_t shutdown = {.domain_id = domain, .reason = SHUTDOWN_poweroff};
  CHECK(hypercall(__HYPERVISOR_sched_op, SCHEDOP_remote_shutdown, (uintptr_t)&shutdown) == 0);
  CHECK(reads(fd, port) && enables(fd, port));
  CHECK(hypercall(__HYPERVISOR_sched_op, SCHEDOP_remote_shutdown, (uintptr_t)&shutdown) == 0);
  CHECK(reads_nothing(fd));
  destroy_domain(domain);
  CHECK(reads(fd, port));
  destroy_domain(create_domain());
  CHECK(reads_nothing(fd) && enables(fd, port) && reads(fd, port));
  CHECK(close(fd) == 0);
}

static void check_delivery(void) {
  const struct pair pair = open_pair();
  const int here = pair.fds[0], there = pair.fds[1];
  const uint32_t port = pair.ports[0], peer = pair.ports[1];
  CHECK(notify(here, port) == 0);
  CHECK(events_of(there) == (POLLIN | POLLOUT) && events_of(here) == POLLOUT);
  CHECK(reads(there, peer) && reads_nothing(there) && events_of(there) == POLLOUT);

  // Disabled until its number is written; what comes meanwhile comes then, once.
  CHECK(notify(here, port) == 0 && notify(here, port) == 0);
  CHECK(reads_nothing(there) && enables(there, peer));
  CHECK(reads(there, peer) && reads_nothing(there));
  CHECK(enables(there, peer) && reads_nothing(there));
  CHECK(enables(there, peer) && reads_nothing(there));  // that is enabled already
  CHECK(notify(here, port) == 0 && reads(there, peer) && enables(there, peer));

  // The other way, and both at once.
  CHECK(notify(there, peer) == 0 && notify(here, port) == 0);
  CHECK(reads(here, port) && reads(there, peer));
  CHECK(enables(here, port) && enables(there, peer));

  // Only the file that has a port enables it.
  CHECK(notify(here, port) == 0 && reads(there, peer));
  CHECK(enables(here, peer) && enables(there, port) && enables(there, 0) &&
        enables(there, 0xffffffff));
  CHECK(notify(here, port) == 0 && reads_nothing(there));
  CHECK(enables(there, peer) && reads(there, peer) && enables(there, peer));

  // One that blocks is woken.
  CHECK(fcntl(there, F_SETFL, 0) == 0);
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) _exit(notify(here, port) != 0);
  uint32_t got = 0;
  CHECK(read(there, &got, 4) == 4 && got == peer && enables(there, peer));
  int status = -1;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  CHECK(fcntl(there, F_SETFL, O_NONBLOCK) == 0);

  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN, .data.fd = there};
  CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, there, &event) == 0);
  CHECK(epoll_wait(epoll, &event, 1, 0) == 0);
  CHECK(notify(here, port) == 0 && epoll_wait(epoll, &event, 1, -1) == 1);
  CHECK(event.data.fd == there && event.events == EPOLLIN && reads(there, peer));
  CHECK(epoll_wait(epoll, &event, 1, 0) == 0);
  CHECK(close(epoll) == 0);
  close_pair(&pair);
}

enum { kMany = 100 };

// Many ports of one file, each bound to one of another.
static void check_many_ports(void) {
  const int here = open_events(), there = open_events();
  uint32_t ports[kMany], peers[kMany], got[2 * kMany];
  for (int i = 0; i < kMany; i++) {
    ports[i] = bind_unbound(here, 0);
    peers[i] = bind_interdomain(there, 0, ports[i]);
    CHECK((int)ports[i] > 0 && (int)peers[i] > 0);
  }
  CHECK(read(there, got, sizeof(got)) == kMany * 4);
  CHECK(memcmp(got, peers, sizeof(peers)) == 0);
  CHECK(write(there, got, kMany * 4) == kMany * 4 && reads_nothing(there));

  // In the order in which they came, as many as there is room for.
  for (int i = 0; i < 4; i++) CHECK(notify(here, ports[3 - i]) == 0);
  CHECK(read(there, got, 8) == 8 && got[0] == peers[3] && got[1] == peers[2]);
  CHECK(read(there, got, 100) == 8 && got[0] == peers[1] && got[1] == peers[0]);
  // All of them enabled at once, beside others'.
  const uint32_t back[6] = {peers[0], ports[0], peers[1], 0xffffffff, peers[2], peers[3]};
  for (int i = 0; i < 4; i++) CHECK(notify(here, ports[i]) == 0);
  CHECK(reads_nothing(there) && write(there, back, sizeof(back)) == sizeof(back));
  CHECK(reads_all(there, got, 4) && reads_nothing(there));
  CHECK(write(there, got, 16) == 16 && reads_nothing(there));

  // A reset forgets what was not read. Ports stay as they are: disabled.
  for (int i = 0; i < kMany; i++) CHECK(notify(here, ports[i]) == 0);
  CHECK(events_of(there) == (POLLIN | POLLOUT));
  CHECK(ioctl(there, kReset, 0) == 0 && events_of(there) == POLLOUT && reads_nothing(there));
  CHECK(notify(here, ports[5]) == 0 && reads_nothing(there));
  CHECK(enables(there, peers[5]) && reads(there, peers[5]));
  CHECK(write(there, peers, sizeof(peers)) == sizeof(peers) && reads_nothing(there));

  // What was told stays told.
  CHECK(notify(here, ports[9]) == 0 && unbind(there, peers[9]) == 0 && reads(there, peers[9]));
  CHECK(enables(there, peers[9]) && reads_nothing(there));
  CHECK(status_of(ports[9]) == EVTCHNSTAT_unbound && notify(here, ports[9]) == 0);

  CHECK(close(here) == 0);
  for (int i = 0; i < kMany; i++) {
    CHECK(comes_to_be(ports[i], EVTCHNSTAT_closed));
    CHECK(status_of(peers[i]) == (i == 9 ? EVTCHNSTAT_closed : EVTCHNSTAT_unbound));
  }
  CHECK(notify(there, peers[0]) == 0);  // to nobody
  CHECK(close(there) == 0 && comes_to_be(peers[kMany - 1], EVTCHNSTAT_closed));
}

static void use_in_program(void *argument) {
  const struct pair *pair = argument;
  char fd[16], port[16];
  snprintf(fd, sizeof(fd), "%d", pair->fds[0]);
  snprintf(port, sizeof(port), "%u", pair->ports[0]);
  CHECK(fcntl(pair->fds[0], F_SETFD, 0) == 0);
  const pid_t child = fork();
  if (child == 0) _exit(execl("/proc/self/exe", "devices", fd, port, (char *)NULL));
  int status = -1;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void use_in_child(void *argument) {
  const struct pair *pair = argument;
  CHECK(notify(pair->fds[0], pair->ports[0]) == 0);
  CHECK(close(pair->fds[0]) == 0 && close(pair->fds[1]) == 0);
  CHECK(status_of(pair->ports[0]) == EVTCHNSTAT_interdomain);
}

// What refers to a file keeps it: copies, other processes, messages on their way.
static void check_references(void) {
  struct pair pair = open_pair();
  const int copy = dup(pair.fds[0]);
  CHECK(close(pair.fds[0]) == 0);
  CHECK(status_of(pair.ports[0]) == EVTCHNSTAT_interdomain);
  pair.fds[0] = copy;
  CHECK(notify(copy, pair.ports[0]) == 0 && reads(pair.fds[1], pair.ports[1]));
  CHECK(enables(pair.fds[1], pair.ports[1]));

  check_in_child(use_in_child, &pair);
  CHECK(reads(pair.fds[1], pair.ports[1]) && enables(pair.fds[1], pair.ports[1]));
  CHECK(status_of(pair.ports[0]) == EVTCHNSTAT_interdomain);

  check_in_child(use_in_program, &pair);
  CHECK(reads(pair.fds[1], pair.ports[1]) && enables(pair.fds[1], pair.ports[1]));
  CHECK(status_of(pair.ports[0]) == EVTCHNSTAT_interdomain);

  int sockets[2];
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0);
  char byte = 'x', control[CMSG_SPACE(sizeof(int))] = "";
  struct iovec bytes = {&byte, 1};
  struct msghdr message = {.msg_iov = &bytes,
                           .msg_iovlen = 1,
                           .msg_control = control,
                           .msg_controllen = sizeof(control)};
  struct cmsghdr *head = CMSG_FIRSTHDR(&message);
  *head = (struct cmsghdr){
      .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
  memcpy(CMSG_DATA(head), &pair.fds[0], sizeof(int));
  CHECK(sendmsg(sockets[0], &message, 0) == 1);
  CHECK(close(pair.fds[0]) == 0);
  CHECK(status_of(pair.ports[0]) == EVTCHNSTAT_interdomain);
  CHECK(recvmsg(sockets[1], &message, 0) == 1);
  memcpy(&pair.fds[0], CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
  CHECK(notify(pair.fds[0], pair.ports[0]) == 0 && reads(pair.fds[1], pair.ports[1]));
  CHECK(close(sockets[0]) == 0 && close(sockets[1]) == 0);
  close_pair(&pair);
}

static void check_restricted_file(void) {
  const struct pair pair = open_pair();
  const int fd = pair.fds[0];
  uint16_t domid = 0;
  CHECK_REFUSED(ioctl(fd, kRestrictDomid, &domid), EINVAL);
  domid = kSelf;
  CHECK_REFUSED(ioctl(fd, kRestrictDomid, &domid), EINVAL);
  domid = kNobody;
  CHECK(ioctl(fd, kRestrictDomid, &domid) == 0);
  CHECK_REFUSED(ioctl(fd, kRestrictDomid, &domid), EACCES);
  CHECK_REFUSED(ioctl(fd, kRestrictDomid, NULL), EACCES);
  CHECK_REFUSED(bind_virq(fd, VIRQ_DOM_EXC), EACCES);
  CHECK_REFUSED(bind_unbound(fd, 0), EACCES);
  CHECK_REFUSED(bind_interdomain(fd, 0, 1), EACCES);
  CHECK_REFUSED(bind_interdomain(fd, kNobody, 1), ESRCH);
  CHECK_REFUSED(ioctl(fd, kBindVirq, NULL), EACCES);
  CHECK_REFUSED(ioctl(fd, kBindUnboundPort, NULL), EACCES);
  CHECK_REFUSED(ioctl(fd, kBindInterdomain, NULL), EFAULT);
  CHECK_REFUSED(bind_unbound(fd, kNobody), EACCES);
  CHECK(notify(fd, pair.ports[0]) == 0 && reads(pair.fds[1], pair.ports[1]));
  CHECK(notify(pair.fds[1], pair.ports[1]) == 0 && reads(fd, pair.ports[0]));
  CHECK(ioctl(fd, kReset, 0) == 0 && unbind(fd, pair.ports[0]) == 0);
  CHECK(bind_unbound(pair.fds[1], 0) > 0);
  close_pair(&pair);
}

// Lengths that are no whole number of ports, and memory that is not there.
static void check_lengths(void) {
  const struct pair pair = open_pair();
  const int here = pair.fds[0], there = pair.fds[1];
  uint32_t got[2] = {0};
  char *const nowhere = pages_before_nothing(1) + kPage;
  CHECK(read(there, got, 0) == 0 && read(there, got, 3) == 0);
  CHECK(write(there, got, 0) == 0 && write(there, got, 3) == 0);
  CHECK(notify(here, pair.ports[0]) == 0);
  CHECK(read(there, got, 3) == 0 && read(there, got, 0) == 0);
  CHECK_REFUSED(read(there, nowhere, 4), EFAULT);
  CHECK(read(there, got, 7) == 4 && got[0] == pair.ports[1]);
  CHECK_REFUSED(write(there, nowhere, 4), EFAULT);
  CHECK(notify(here, pair.ports[0]) == 0 && reads_nothing(there));
  CHECK(write(there, got, 7) == 4 && reads(there, pair.ports[1]));
  static uint32_t page[kPage / 4 + 8];
  page[kPage / 4] = pair.ports[1];
  CHECK(write(there, page, sizeof(page)) == kPage);
  CHECK(notify(here, pair.ports[0]) == 0 && reads_nothing(there));
  close_pair(&pair);
}

// A port that is enabled before it was read comes once more. Where there is no room for that, as
// with Linux, the file says so until it is reset.
static void check_overflow(void) {
  const struct pair pair = open_pair();
  const int here = pair.fds[0], there = pair.fds[1];
  for (int sent = 0; sent < 2000 && (events_of(there) & POLLERR) == 0; sent++) {
    CHECK(notify(here, pair.ports[0]) == 0 && enables(there, pair.ports[1]));
  }
  if ((events_of(there) & POLLERR) != 0) {
    uint32_t got;
    CHECK(events_of(there) == POLLERR);
    CHECK_REFUSED(read(there, &got, 4), EFBIG);
    CHECK_REFUSED(read(there, &got, 4), EFBIG);
  } else {
    CHECK(reads(there, pair.ports[1]) && reads(there, pair.ports[1]));
  }
  CHECK(ioctl(there, kReset, 0) == 0 && reads_nothing(there));
  CHECK(enables(there, pair.ports[1]) && events_of(there) == POLLOUT);
  CHECK(notify(here, pair.ports[0]) == 0 && reads(there, pair.ports[1]));
  close_pair(&pair);
}

void check_events(void) {
  check_binding();
  check_virqs();
  check_ends_of_domains();
  check_delivery();
  check_many_ports();
  check_references();
  check_restricted_file();
  check_lengths();
  check_overflow();
}
