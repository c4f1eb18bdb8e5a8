// Regions in real Xen, as a guest's kernel uses them, and as a hostile one would: by /dev/forge
// (forge/forge.h). Xen's answers are those of public/xencomm_op.h in hcall/xen.
#include "tests/xen/regions.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <xen/version.h>

unsigned checks_passed, checks_failed;

static int forge;  // for calls alone
bool is_pvh;
bool is_control;

struct forge_call call7(uint64_t index, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e,
                        uint64_t region) {
  struct forge_call call = {index, a, b, c, d, e, region};
  CHECK(ioctl(forge, FORGE_CALL, &call) == 0);
  return call;
}
int64_t call(uint64_t index, uint64_t a, uint64_t b, uint64_t c, uint64_t region) {
  return (int64_t)call7(index, a, b, c, 0, 0, region).rax;
}
int64_t xencomm_op(uint64_t op, uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
  return (int64_t)call7(__HYPERVISOR_xencomm_op, op, a, b, c, d, 0).rax;
}
int64_t in_region(const struct region *region, unsigned number, uint64_t a, uint64_t b) {
  return call(number | XENCOMM_CALL, a, b, 0, (uint64_t)region->handle);
}

uint64_t page_address(const struct region *region, uint64_t page) {
  struct forge_page found = {.number = page};
  CHECK(ioctl(region->fd, FORGE_PAGE, &found) == 0);
  return found.address;
}
void put(const struct region *region, uint64_t at, const void *bytes, size_t size) {
  CHECK(pwrite(region->fd, bytes, size, (off_t)at) == (ssize_t)size);
}
void get(const struct region *region, uint64_t at, void *bytes, size_t size) {
  CHECK(pread(region->fd, bytes, size, (off_t)at) == (ssize_t)size);
}
void put_base(const struct region *region, uint64_t index, uint64_t base) {
  put(region, sizeof(region->header) + 8 * index, &base, sizeof(base));
}

struct region make_table(uint64_t pages) {
  struct region region = {.fd = open(FORGE_DEVICE, O_RDWR), .pages = pages};
  struct forge_allocate allocate = {.count = pages};
  CHECK(ioctl(region.fd, FORGE_ALLOCATE, &allocate) == 0);
  region.header = (struct xencomm_header){.magic = XENCOMM_REGION_MAGIC,
                                          .version = XENCOMM_REGION_VERSION,
                                          .granule_shift = 12,
                                          .virtual_base = kBase,
                                          .length = pages * kPage,
                                          .base_count = (uint32_t)pages};
  put(&region, 0, &region.header, sizeof(region.header));
  for (uint64_t i = 0; i < pages; i++) put_base(&region, i, page_address(&region, i));
  return region;
}
int64_t try_register(const struct region *region, uint64_t access) {
  return xencomm_op(XENCOMM_register, page_address(region, 0), access, 0, 0);
}
struct region make_region(uint64_t pages) {
  struct region region = make_table(pages);
  region.handle = try_register(&region, XENCOMM_READ_WRITE);
  CHECK(region.handle > 0 && (region.handle & 1) == 1);
  return region;
}
void end_table(struct region *region) {
  CHECK(ioctl(region->fd, FORGE_FREE) == 0);
  CHECK(close(region->fd) == 0);
}
void end_region(struct region *region) {
  CHECK(xencomm_op(XENCOMM_unregister, (uint64_t)region->handle, 0, 0, 0) == 0);
  end_table(region);
}

int64_t extraversion(const struct region *region, uint64_t pointer) {
  return in_region(region, __HYPERVISOR_xen_version, XENVER_extraversion, pointer);
}
bool has_extraversion(const struct region *region, uint64_t at) {
  char text[kExtraVersion];
  get(region, at, text, sizeof(text));
  return text[0] == '.';
}

// For dirty_pages.c: Xen writes one page of a region on and on, and nobody another.
static int write_for_good(void) {
  struct region region = make_region(4);
  struct forge_page pages[] = {{.number = 2}, {.number = 3}};
  for (unsigned i = 0; i < 2; i++) CHECK(ioctl(region.fd, FORGE_PAGE, &pages[i]) == 0);
  printf("written: %llu %llu\n", pages[0].pfn, pages[1].pfn);
  while (checks_failed == 0) CHECK(extraversion(&region, kBase + 2 * kPage) == 0);
  return close_checks();
}

int main(int argc, char **argv) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  forge = open(FORGE_DEVICE, O_RDWR);
  CHECK(forge >= 0);
  if (forge < 0) return close_checks();
  if (argc == 2 && strcmp(argv[1], "--write") == 0) return write_for_good();
  char kind[16] = "";
  int fd = open("/proc/xen/capabilities", O_RDONLY);
  is_control = read(fd, kind, sizeof(kind) - 1) > 0 && strncmp(kind, "control_d", 9) == 0;
  close(fd);
  fd = open("/sys/hypervisor/guest_type", O_RDONLY);
  CHECK(read(fd, kind, sizeof(kind) - 1) > 0);
  is_pvh = strncmp(kind, "PVH", 3) == 0;
  close(fd);
  printf("the domain is %s\n", is_pvh ? "PVH" : "PV");
  static const struct {
    const char *name;
    void (*check)(void);
  } kChecks[] = {
      {"probe", check_probe},
      {"pointers", check_pointers},
      {"nested", check_nested},
      {"kept pointers", check_kept_pointers},
      {"headers", check_headers},
      {"read only", check_read_only},
      {"extend", check_extend},
      {"ids", check_ids},
      {"arguments", check_arguments},
      {"arguments, read only", check_arguments_read_only},
      {"iret in a list", check_iret_in_list},
      {"multicall", check_multicall},
      {"large", check_large},
      {"many pages", check_many_pages},
      {"granules", check_granules},
      {"page form", check_page_form},
      {"balloon", check_balloon},
      {"registering at once", check_registering_at_once},
      {"ends under calls", check_ends_under_calls},
      {"ends in mid-call", check_ends_in_mid_call},
      {"Xen's frames", check_xen_frames},
  };
  for (unsigned i = 0; i < sizeof(kChecks) / sizeof(kChecks[0]); i++) {
    const unsigned failed = checks_failed;
    kChecks[i].check();
    if (checks_failed != failed) printf("failed: %s\n", kChecks[i].name);
  }
  return close_checks();
}
