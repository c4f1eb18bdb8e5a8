/* A program that is linked statically, and its threads, children and successors: devices by what
 * any C library has. Ends with 0 when all went well.
 *
 *     static_client threads | events | pass | steady | traced | hostile | destroy | hold HOW
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <xen/xen.h>

#include <xen/domctl.h>

enum { kPage = 4096 };
enum { kHypercall = 0x305000, kMapResource = 0x205007, kBindUnbound = 0x44502 };
enum { kBindInterdomain = 0x84501, kNotify = 0x44504, kGrantTable = 1 };

struct hypercall {
  uint64_t op, arguments[5];
};
struct resource {
  uint16_t domain;
  uint32_t type, id, first;
  uint64_t count, address;
};

#define NEED(what)                                            \
  do {                                                        \
    if (!(what)) {                                            \
      fprintf(stderr, "line %d: %s (%m)\n", __LINE__, #what); \
      exit(1);                                                \
    }                                                         \
  } while (0)

static int privcmd;

static int version(int fd) {
  struct hypercall call = {.op = __HYPERVISOR_xen_version};
  return ioctl(fd, kHypercall, &call) >> 16;
}

/* Of a domain that whoever needs it first has made. */
enum { kDomain = 7, kFrames = 4 };
static void need_domain(void) {
  struct xen_domctl create = {.cmd = XEN_DOMCTL_createdomain,
                              .interface_version = XEN_DOMCTL_INTERFACE_VERSION,
                              .domain = kDomain,
                              .u.createdomain = {
                                  .flags = XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap,
                                  .max_vcpus = 1,
                                  .max_evtchn_port = 1023,
                                  .max_grant_frames = kFrames,
                                  .max_maptrack_frames = 1024,
                                  .grant_opts = XEN_DOMCTL_GRANT_version(1),
                                  .arch.emulation_flags = XEN_X86_EMU_LAPIC,
                              }};
  struct hypercall call = {__HYPERVISOR_domctl, {(uintptr_t)&create}};
  NEED(ioctl(privcmd, kHypercall, &call) == 0 || errno == EEXIST);
}

static uint32_t *map_grants(uint64_t pages) {
  void *place = mmap(NULL, pages * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, privcmd, 0);
  NEED(place != MAP_FAILED);
  struct resource grants = {kDomain, kGrantTable, 0, 0, pages, (uintptr_t)place};
  NEED(ioctl(privcmd, kMapResource, &grants) == 0);
  return place;
}

/* A signal comes soon after the last one was handled, or later: calls get on, however slow they
 * are. It may come while another device is asked, whose answer it does not get. */
static volatile sig_atomic_t signals, strange;
static int evtchn;
static dev_t evtchns;
static void ask_for_signal(void) {
  const struct itimerval soon = {.it_value.tv_usec = 100 << (signals % 6)};
  setitimer(ITIMER_REAL, &soon, NULL);
}
static void count_signal(int number) {
  (void)number;
  const int before = errno;
  struct stat status;
  signals++;
  if (fstat(evtchn, &status) != 0 || status.st_rdev != evtchns) strange++;
  ask_for_signal();
  errno = before;
}

static void *work(void *unused) {
  for (int i = 0; i < 500; i++) {
    NEED(version(privcmd) == 4);
    if (i % 20 != 0) continue;
    uint32_t *grants = map_grants(2);
    grants[kPage / 4]++;
    NEED(munmap(grants, 2 * kPage) == 0);
  }
  return unused;
}

static int lowest_free(void) {
  const int fd = dup(privcmd);
  close(fd);
  return fd;
}

/* No call is lost to a signal, or gets another thread's answer. */
static int threads(void) {
  evtchn = open("/dev/xen/evtchn", O_RDWR);
  struct stat status_of_it;
  NEED(evtchn >= 0 && fstat(evtchn, &status_of_it) == 0);
  evtchns = status_of_it.st_rdev;
  const int before = lowest_free();
  struct sigaction action = {.sa_handler = count_signal, .sa_flags = SA_RESTART};
  sigaction(SIGALRM, &action, NULL);
  ask_for_signal();
  pthread_t others[3];
  for (int i = 0; i < 3; i++) NEED(pthread_create(&others[i], NULL, work, NULL) == 0);
  work(NULL);
  for (int i = 0; i < 3; i++) NEED(pthread_join(others[i], NULL) == 0);
  NEED(signals > 10 && strange == 0);
  NEED(lowest_free() == before);
  const pid_t child = fork();
  if (child == 0) {
    work(NULL);
    _exit(0);
  }
  int status;
  while (waitpid(child, &status, 0) < 0) {
  }
  return status;
}

static int events(void) {
  const int here = open("/dev/xen/evtchn", O_RDWR), there = open("/dev/xen/evtchn", O_RDWR);
  NEED(here >= 0 && there >= 0);
  struct stat status;
  NEED(fstat(here, &status) == 0 && S_ISCHR(status.st_mode));
  const uint32_t self = 0;
  const uint32_t port = (uint32_t)ioctl(here, kBindUnbound, &self);
  const uint32_t remote[2] = {0, port};
  const uint32_t peer = (uint32_t)ioctl(there, kBindInterdomain, remote);
  NEED((int)port > 0 && (int)peer > 0);
  for (int i = 0; i < 3; i++) {
    if (i > 0) NEED(ioctl(here, kNotify, &port) == 0); /* binding has sent the first */
    struct pollfd one = {.fd = there, .events = POLLIN};
    uint32_t got;
    NEED(poll(&one, 1, 5000) == 1 && read(there, &got, 4) == 4 && got == peer);
    NEED(write(there, &got, 4) == 4);
  }
  return 0;
}

/* A descriptor goes to a child over a socket, and to another program by its number. */
static int pass(const char *self) {
  int ends[2];
  NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
  const pid_t child = fork();
  char byte = 'x';
  struct iovec data = {&byte, 1};
  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
  } control = {0};
  struct msghdr message = {.msg_iov = &data,
                           .msg_iovlen = 1,
                           .msg_control = &control,
                           .msg_controllen = sizeof(control)};
  if (child == 0) {
    close(privcmd);
    NEED(recvmsg(ends[1], &message, 0) == 1);
    int fd;
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
    NEED(version(fd) == 4);
    char number[12];
    sprintf(number, "%d", fd);
    execl(self, self, "inherited", number, (char *)NULL);
    _exit(1);
  }
  control.header = (struct cmsghdr){
      .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
  memcpy(CMSG_DATA(&control.header), &privcmd, sizeof(privcmd));
  NEED(sendmsg(ends[0], &message, 0) == 1);
  int status;
  NEED(waitpid(child, &status, 0) == child);
  return status;
}

/* A program that is traced already has no frames mapped into it. */
static int traced(void) {
  const pid_t child = fork();
  if (child == 0) {
    NEED(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
    void *place = mmap(NULL, kPage, PROT_READ, MAP_SHARED, privcmd, 0);
    NEED(place == MAP_FAILED && errno == EPERM && version(privcmd) == 4);
    _exit(0);
  }
  int status;
  NEED(waitpid(child, &status, 0) == child);
  return status;
}

#define ANY(list) list[(size_t)rand() % (sizeof(list) / sizeof((list)[0]))]

/* Calls with whatever in them, all of which a supervisor is told of, and lives on. None changes a
 * file, whatever path comes about. */
static int hostile(void) {
  const int buffers = open("/dev/xen/hypercall", O_RDWR), events = open("/dev/xen/evtchn", O_RDWR);
  NEED(buffers >= 0 && events >= 0);
  static char place[kPage];
  char *const border =
      mmap(NULL, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  NEED(munmap(border + kPage, kPage) == 0);
  memset(border, '/', kPage);
  char *const room = mmap(NULL, 4 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, privcmd, 0);
  NEED(room != MAP_FAILED);
  const long pointers[] = {0,
                           8,
                           -1,
                           (long)0xffff800000000000,
                           (long)place,
                           (long)"/var/lib/xen/none",
                           (long)"",
                           (long)"/proc/xen/capabilities",
                           (long)border,
                           (long)border + kPage - 3,
                           (long)room,
                           (long)room + kPage,
                           0x680000000000,
                           0x68fffffff000};
  const long numbers[] = {0,        1,        2,       -1,      AT_FDCWD, kPage, 1L << 31,
                          1L << 62, LONG_MIN, privcmd, buffers, events,   40,    999};
  const long requests[] = {kHypercall,   0x105002,     0x185003,       0x205004,
                           0x105005,     0x25006,      kMapResource,   0x44500,
                           kBindUnbound, 0x84501,      kNotify,        0x4505,
                           0x24506,      _IO('E', 99), _IO('P', 0xff), _IOC(3, 'P', 0, 16383)};
  const long calls[] = {SYS_ioctl,     SYS_ioctl,    SYS_ioctl,      SYS_mmap,       SYS_munmap,
                        SYS_mremap,    SYS_stat,     SYS_newfstatat, SYS_statx,      SYS_fstat,
                        SYS_access,    SYS_readlink, SYS_getxattr,   SYS_readlinkat, SYS_statfs,
                        SYS_listxattr, SYS_getcwd,   SYS_connect,    SYS_faccessat};
  for (int i = 0; i < 20000; i++) {
    const long call = ANY(calls);
    long a[6];
    for (int j = 0; j < 6; j++) a[j] = rand() % 2 ? ANY(pointers) : ANY(numbers);
    if (call == SYS_ioctl) {
      /* Never the one that others of this program use, and restriction ends. */
      a[0] = rand() % 2 ? open("/dev/xen/privcmd", O_RDWR) : events;
      a[1] = ANY(requests);
      if (rand() % 4) a[2] = (long)place;
      for (int j = 0; j < 48; j += 8) {
        const long word = rand() % 2 ? ANY(pointers) : ANY(numbers);
        memcpy(place + j, &word, sizeof(word));
      }
    }
    if (call == SYS_mmap) {
      a[1] &= 0xffff;
      a[3] &= ~MAP_FIXED;
    }
    if (call == SYS_munmap || call == SYS_mremap) {
      a[0] = rand() % 2 ? (long)room : 0x680000000000;
      a[3] = 0;
    }
    syscall(call, a[0], a[1], a[2], a[3], a[4], a[5]);
    if (call == SYS_ioctl && a[0] != events) close((int)a[0]);
  }
  return version(privcmd) != 4;
}

/* How many mappings this process has. */
static int count_mappings(void) {
  FILE *maps = fopen("/proc/self/maps", "r");
  NEED(maps != NULL);
  int count = 0;
  for (int byte; (byte = fgetc(maps)) != EOF;) count += byte == '\n';
  fclose(maps);
  return count;
}

/* Whoever serves its calls leaves nothing behind. */
static int steady(void) {
  struct stat status;
  NEED(version(privcmd) == 4 && count_mappings() > 0);
  const int mappings = count_mappings(), free_descriptor = lowest_free();
  for (int i = 0; i < 30; i++) {
    NEED(version(privcmd) == 4);
    NEED(fstat(privcmd, &status) == 0 && S_ISCHR(status.st_mode));
    NEED(ioctl(0, kHypercall, NULL) < 0 && fstat(0, &status) == 0 && !S_ISSOCK(status.st_mode));
    NEED(version(-1) < 0 && errno == EBADF);
  }
  /* A socket is a socket. */
  int ends[2];
  NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
  for (int i = 0; i < 3; i++) {
    NEED(fstat(ends[0], &status) == 0 && S_ISSOCK(status.st_mode));
    NEED(ioctl(ends[1], kHypercall, NULL) < 0 && errno == ENOTTY);
    NEED(mmap(NULL, kPage, PROT_READ, MAP_SHARED, ends[1], 0) == MAP_FAILED && errno == ENODEV);
  }
  NEED(close(ends[0]) == 0 && close(ends[1]) == 0);
  return count_mappings() != mappings || lowest_free() != free_descriptor;
}

static int destroy(void) {
  struct xen_domctl destroy = {.cmd = XEN_DOMCTL_destroydomain,
                               .interface_version = XEN_DOMCTL_INTERFACE_VERSION,
                               .domain = kDomain};
  struct hypercall call = {__HYPERVISOR_domctl, {(uintptr_t)&destroy}};
  return ioctl(privcmd, kHypercall, &call) != 0;
}

__attribute__((noreturn)) static void say_and_wait(const char *text) {
  puts(text);
  fflush(stdout);
  for (;;) pause();
}

/* Frames, until it is told to let them go. */
__attribute__((noreturn)) static void hold(const char *self, const char *how) {
  uint32_t *grants = map_grants(kFrames);
  puts("held");
  fflush(stdout);
  getchar();
  if (strcmp(how, "unmap") == 0) NEED(munmap(grants, kFrames * kPage) == 0);
  if (strcmp(how, "replace") == 0) {
    NEED(mmap(grants, kFrames * kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
         grants);
  }
  if (strcmp(how, "execute") == 0) execl(self, self, "wait", (char *)NULL);
  if (strcmp(how, "end") == 0) exit(0);
  say_and_wait("done");
}

int main(int count, char **words) {
  NEED(count > 1);
  if (strcmp(words[1], "inherited") == 0) return version(atoi(words[2])) != 4;
  if (strcmp(words[1], "wait") == 0) say_and_wait("done");
  privcmd = open("/dev/xen/privcmd", O_RDWR);
  NEED(privcmd >= 0);
  if (strcmp(words[1], "destroy") == 0) return destroy();
  need_domain();
  if (strcmp(words[1], "threads") == 0) return threads() != 0;
  if (strcmp(words[1], "events") == 0) return events();
  if (strcmp(words[1], "pass") == 0) return pass(words[0]) != 0;
  if (strcmp(words[1], "steady") == 0) return steady();
  if (strcmp(words[1], "hostile") == 0) return hostile();
  if (strcmp(words[1], "traced") == 0) return traced() != 0;
  if (count == 3) hold(words[0], words[2]);
  return 1;
}
