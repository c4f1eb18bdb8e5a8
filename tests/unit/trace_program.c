// A program that asks Xen's devices, where there are none: every answer is ENOTTY; or the one that
// DEVICE names. What it was answered it prints, so that a run under a tracer can be compared with
// one without.
//
//   trace_program WHAT [ARGUMENT...]
//
// calls: one call after another, for domains 1 to 5; threads, fork, exec, thread-exec: by others;
// leave: by a child that goes on alone; wild, wild-list: pointers that lead nowhere; device: a
// buffer that only its owner can read; copies: the same, and how many pages it has then; signals:
// the same under a storm of them; filtered: the same by one who may not make the system calls that
// copy it; stand: until its standard input ends, while a thread makes calls; many N: N calls;
// contained PROGRAM...: becomes that, below a filter as in a container; balloon: one that takes
// long.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <xenctrl.h>

#include <xen/domctl.h>
#include <xen/memory.h>

struct hypercall {
  uint64_t op, arg[5];
};
#define PRIVCMD_HYPERCALL 0x305000

static int file;
static const char *self;

static int call(uint64_t op, uint64_t first, uint64_t second, uint64_t third) {
  struct hypercall hypercall = {op, {first, second, third}};
  errno = 0;
  return ioctl(file, PRIVCMD_HYPERCALL, &hypercall);
}

static int pause_domain(int domain) {
  struct xen_domctl domctl = {
      .cmd = XEN_DOMCTL_pausedomain,
      .interface_version = XEN_DOMCTL_INTERFACE_VERSION,
      .domain = (domid_t)domain,
  };
  return call(__HYPERVISOR_domctl, (uint64_t)&domctl, 0, 0);
}

// To Xen's console: from anywhere.
static int write_console(uint64_t address, uint64_t length) {
  return call(__HYPERVISOR_console_io, 0, length, address);
}

static void print(const char *what, int result) {
  printf("%s: %d, errno %d\n", what, result, errno);
}

static void calls(int from, int to) {
  for (int domain = from; domain <= to; ++domain) print("pausedomain", pause_domain(domain));
}

static void *of_a_thread(void *domain) {
  for (int i = 0; i < 50; ++i) {
    if (pause_domain((int)(intptr_t)domain) != -1 || (errno != ENOTTY && errno != ESRCH)) abort();
  }
  return NULL;
}

static void *of_a_sleeper(void *unused) {
  (void)unused;
  for (;;) pause();
  return NULL;
}

static void threads(void) {
  pthread_t all[4];
  for (intptr_t i = 0; i < 4; ++i) pthread_create(&all[i], NULL, of_a_thread, (void *)(10 + i));
  for (int i = 0; i < 4; ++i) pthread_join(all[i], NULL);
}

static void *of_another_program(void *unused) {
  (void)unused;
  calls(8, 8);
  execl(self, self, "calls", NULL);
  return NULL;
}

// One of several threads, and not the first, becomes another program: the others are gone.
static void exec_by_thread(void) {
  pthread_t all[2];
  pthread_create(&all[0], NULL, of_a_sleeper, NULL);
  usleep(10000);
  pthread_create(&all[1], NULL, of_another_program, NULL);
  pthread_join(all[1], NULL);
}

static void wait_for(pid_t child) {
  int status;
  waitpid(child, &status, 0);
  printf("child: %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
}

static void start(const char *what, pid_t child) {
  if (child == 0) {
    execl(self, self, what, NULL);
    _exit(9);
  }
  wait_for(child);
}

// A page of the kernel's that is mapped into everybody, and that nobody else can read: as the
// memory of /dev/xen/hypercall. Of its words one that does not change while we look.
static uint64_t device_memory(void) {
  FILE *const maps = fopen("/proc/self/maps", "r");
  char line[256];
  unsigned long start = 0;
  while (fgets(line, sizeof(line), maps) != NULL) {
    if (strstr(line, "[vvar]") != NULL) sscanf(line, "%lx", &start);
  }
  fclose(maps);
  return start;
}

static void print_bytes(const char *what, uint64_t address, int count) {
  printf("%s: ", what);
  for (int i = 0; i < count; ++i) printf("%02x", ((const unsigned char *)address)[i]);
  printf("\n");
}

// Inline: who was started by vfork has not returned.
static inline __attribute__((always_inline)) void write_by_child(uint64_t address, pid_t child) {
  if (child == 0) _exit(write_console(address, 8) == -1 && errno == ENOTTY ? 5 : 6);
  wait_for(child);
}

static void device(void) {
  const uint64_t memory = device_memory();
  if (memory == 0) {
    printf("skipped: there is no such memory\n");
    return;
  }
  // What differs from one reading to another is not asked for.
  unsigned char first[4096], differs[4096] = {0};
  memcpy(first, (const void *)memory, sizeof(first));
  for (int reading = 0; reading < 20; ++reading) {
    usleep(10000);
    for (int i = 0; i < 4096; ++i) differs[i] |= first[i] != ((const unsigned char *)memory)[i];
  }
  int best = 0;
  for (int i = 4096 - 8; i >= 0; --i) {
    const int is_same = memcmp(&differs[i], "\0\0\0\0\0\0\0", 8) == 0;
    if (is_same && memcmp(&first[i], "\0\0\0\0\0\0\0", 8) != 0) best = i;
  }
  print_bytes("bytes", memory + (uint64_t)best, 8);
  print("write", write_console(memory + (uint64_t)best, 8));
  print("write", write_console(memory + (uint64_t)best, 8));
  write_by_child(memory + (uint64_t)best, fork());
  write_by_child(memory + (uint64_t)best, vfork());
}

static volatile sig_atomic_t signals_seen;
static void count_signal(int number) {
  (void)number;
  ++signals_seen;
}

static void signals(void) {
  const uint64_t memory = device_memory();
  struct sigaction action = {.sa_handler = count_signal};
  sigaction(SIGALRM, &action, NULL);
  const struct itimerval often = {{0, 300}, {0, 300}};
  setitimer(ITIMER_REAL, &often, NULL);
  int wrong = 0;
  for (int i = 0; i < 300; ++i) {
    if (write_console(memory, 16) != -1 || errno != ENOTTY) ++wrong;
  }
  const struct itimerval none = {{0, 0}, {0, 0}};
  setitimer(ITIMER_REAL, &none, NULL);
  sigset_t blocked;
  sigprocmask(SIG_BLOCK, NULL, &blocked);
  printf("wrong: %d, some signals: %d, blocked: %d\n", wrong, signals_seen > 0,
         sigismember(&blocked, SIGALRM) + sigismember(&blocked, SIGUSR1));
}

// Who makes the system call of this number is killed.
static void forbid(uint32_t number) {
  struct sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
  };
  struct sock_fprog filter = {.len = 4, .filter = program};
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) abort();
}

static void filtered(void) {
  forbid(SYS_process_vm_writev);
  print("write", write_console(device_memory(), 8));
  print("pausedomain", pause_domain(1));
}

// Domain 0's, given up: a long call.
static void balloon(void) {
  enum { kFrames = 6000 };
  xen_pfn_t *const frames = calloc(kFrames, sizeof(*frames));
  for (xen_pfn_t i = 0; i < kFrames; ++i) frames[i] = 0x4000 + i;
  struct xen_memory_reservation memory = {.nr_extents = kFrames, .domid = DOMID_SELF};
  set_xen_guest_handle_raw(memory.extent_start, frames);
  print("decrease",
        call(__HYPERVISOR_memory_op, XENMEM_decrease_reservation, (uint64_t)&memory, 0));
  free(frames);
}

static void *end_soon(void *other_program) {
  usleep(5000);
  if (other_program != NULL) execl(self, self, "calls", NULL);
  _exit(7);
}

// The first thread is in the midst of a call, maybe of the tracer's, when another ends them all.
static void end_by_thread(void *other_program) {
  pthread_t other;
  const uint64_t memory = device_memory();
  pthread_create(&other, NULL, end_soon, other_program);
  for (;;) write_console(memory, 8);
}

static void *filtered_thread(void *unused) {
  (void)unused;
  filtered();
  return NULL;
}

// A filter is the thread's that has it.
static void filter_by_thread(void) {
  pthread_t other;
  write_console(device_memory(), 8);
  pthread_create(&other, NULL, filtered_thread, NULL);
  pthread_join(other, NULL);
  write_console(device_memory(), 8);
}

static void wild(void) {
  void *const none = mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const uint64_t all[] = {0,
                          1,
                          0x10,
                          (uint64_t)none,
                          0x7ffffffff000,
                          0x8000000000000000,
                          0xffffffffffffffff,
                          0xfffffffffffff000};
  for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); ++i) {
    print("domctl", call(__HYPERVISOR_domctl, all[i], 0, 0));
    print("write", write_console(all[i], 4096));
    print("write", write_console(all[i], ~UINT64_C(0)));
    errno = 0;
    print("itself", ioctl(file, PRIVCMD_HYPERCALL, all[i]));
  }
  errno = 0;
  print("no file", ioctl(-1, PRIVCMD_HYPERCALL, &all));
}

// A list of calls, each with a pointer that leads nowhere, of one who has many mappings.
static void wild_list(void) {
  enum { kEntries = 900, kPages = 32768 };
  char *const pages = mmap(NULL, kPages * 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (int i = 0; i < kPages; i += 2) mprotect(pages + i * 4096, 4096, PROT_NONE);
  struct multicall_entry *const entries = calloc(kEntries, sizeof(*entries));
  for (uint64_t i = 0; i < kEntries; ++i) {
    entries[i].op = __HYPERVISOR_console_io;
    entries[i].args[1] = 8;
    entries[i].args[2] = 0x1000000 + 0x2000 * i;
  }
  print("list", call(__HYPERVISOR_multicall, (uint64_t)entries, kEntries, 0));
  free(entries);
}

// A daemon, which asks until it is answered otherwise.
static void leave_one_behind(void) {
  if (fork() != 0) return;
  for (int i = 0; i < 5000 && pause_domain(1) == -1 && errno == ENOTTY; ++i) usleep(2000);
  print("left", -1);
  _exit(0);
}

static void *until_the_end(void *unused) {
  (void)unused;
  for (;;) {
    write_console(device_memory(), 16);
    usleep(2000);
  }
  return NULL;
}

static int mappings(void) {
  FILE *const maps = fopen("/proc/self/maps", "r");
  int lines = 0;
  for (int c; (c = getc(maps)) != EOF;) lines += c == '\n';
  fclose(maps);
  return lines;
}

static long mapped_pages(void) {
  FILE *const all = fopen("/proc/self/statm", "r");
  long pages = 0;
  if (fscanf(all, "%ld", &pages) != 1) abort();
  fclose(all);
  return pages;
}

// Whoever copies for a tracer has no more memory afterwards than before.
static void copies(void) {
  const uint64_t memory = device_memory();
  const long before = mapped_pages();
  print("write", write_console(memory, 8));
  printf("%ld pages more\n", mapped_pages() - before);
}

static void stand(void) {
  pthread_t other;
  pthread_create(&other, NULL, until_the_end, NULL);
  usleep(20000);
  printf("ready\n");
  fflush(stdout);
  // A sleep that goes on where it was interrupted, a read and a poll that begin anew.
  char byte;
  for (;;) {
    struct pollfd in = {.fd = 0, .events = POLLIN};
    const int polled = poll(&in, 1, -1);
    if (polled != 1) printf("poll: %d, errno %d\n", polled, errno);
    const ssize_t got = read(0, &byte, 1);
    if (got < 0) printf("read: errno %d\n", errno);
    if (got <= 0) break;
    printf("%d mappings\n", mappings());
    fflush(stdout);
  }
}

int main(int argc, char **argv) {
  const char *const what = argc > 1 ? argv[1] : "";
  self = argv[0];
  setvbuf(stdout, NULL, _IOLBF, 0);
  const char *const path = getenv("DEVICE");
  file = open(path != NULL ? path : "/dev/null", O_RDWR);
  if (strcmp(what, "calls") == 0) {
    calls(1, 5);
  } else if (strcmp(what, "user") == 0) {
    printf("user %d\n", (int)geteuid());
    calls(1, 1);
  } else if (strcmp(what, "threads") == 0) {
    threads();
  } else if (strcmp(what, "fork") == 0) {
    calls(1, 1);
    const pid_t child = fork();
    if (child == 0) {
      calls(2, 2);
      _exit(4);
    }
    wait_for(child);
    start("calls", vfork());
  } else if (strcmp(what, "exec") == 0) {
    calls(7, 7);
    execl(self, self, "calls", NULL);
  } else if (strcmp(what, "balloon") == 0) {
    balloon();
  } else if (strcmp(what, "thread-exit") == 0) {
    end_by_thread(NULL);
  } else if (strcmp(what, "thread-exec-in-call") == 0) {
    end_by_thread(&file);
  } else if (strcmp(what, "thread-filtered") == 0) {
    filter_by_thread();
  } else if (strcmp(what, "thread-exec") == 0) {
    exec_by_thread();
  } else if (strcmp(what, "wild") == 0) {
    wild();
  } else if (strcmp(what, "wild-list") == 0) {
    wild_list();
  } else if (strcmp(what, "leave") == 0) {
    leave_one_behind();
  } else if (strcmp(what, "device") == 0) {
    device();
  } else if (strcmp(what, "copies") == 0) {
    copies();
  } else if (strcmp(what, "signals") == 0) {
    signals();
  } else if (strcmp(what, "filtered") == 0) {
    filtered();
  } else if (strcmp(what, "stand") == 0) {
    stand();
  } else if (strcmp(what, "killed") == 0) {
    calls(1, 1);
    raise(SIGUSR1);
  } else if (strcmp(what, "contained") == 0 && argc > 2) {
    forbid(SYS_reboot);
    execv(argv[2], &argv[2]);
  } else if (strcmp(what, "many") == 0 && argc > 2) {
    for (int i = 0; i < atoi(argv[2]); ++i) pause_domain(1);
  } else {
    return 2;
  }
  return 3;
}
