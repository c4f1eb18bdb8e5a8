// Domains built by libxenguest, as xl builds them: a PV and a PVH one, of a kernel that is made
// here and does nothing. And what a toolstack maps of their grant tables.
#include "tests/xen/toolstack.h"

#include <elf.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <xen/elfnote.h>
#include <xen/grant_table.h>
#include <xen/memory.h>
#include <xenforeignmemory.h>

#include "tests/xen/check.h"

enum {
  kMegabytes = 16,
  kStorePort = 5,
  kConsolePort = 6,
};

// The kernel: a page of code, and a page for stubs.
static const uint64_t kVirtualBase = 0xffffffff80000000, kPlace = 0x100000;
enum { kTextBytes = 8192, kNotesBytes = 1024 };

struct kernel {
  Elf64_Ehdr head;
  Elf64_Phdr segments[2];
  unsigned char notes[kNotesBytes];
  _Alignas(4096) unsigned char text[kTextBytes];
};

static void add_note(struct kernel *kernel, unsigned type, const void *value, unsigned bytes) {
  Elf64_Phdr *const notes = &kernel->segments[1];
  unsigned char *at = kernel->notes + notes->p_filesz;
  const Elf64_Nhdr head = {.n_namesz = 4, .n_descsz = bytes, .n_type = type};
  memcpy(at, &head, sizeof(head));
  memcpy(at + sizeof(head), "Xen", 4);
  memcpy(at + sizeof(head) + 4, value, bytes);
  notes->p_filesz += sizeof(head) + 4 + (bytes + 3) / 4 * 4;
}
static void add_number(struct kernel *kernel, unsigned type, uint64_t value) {
  add_note(kernel, type, &value, sizeof(value));
}
static void add_text(struct kernel *kernel, unsigned type, const char *text) {
  add_note(kernel, type, text, (unsigned)strlen(text) + 1);
}

static struct kernel *make_kernel(void) {
  struct kernel *const kernel = aligned_alloc(4096, sizeof(*kernel));
  memset(kernel, 0, sizeof(*kernel));
  kernel->head = (Elf64_Ehdr){
      .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
      .e_type = ET_EXEC,
      .e_machine = EM_X86_64,
      .e_version = EV_CURRENT,
      .e_entry = kVirtualBase + kPlace,
      .e_phoff = offsetof(struct kernel, segments),
      .e_ehsize = sizeof(Elf64_Ehdr),
      .e_phentsize = sizeof(Elf64_Phdr),
      .e_phnum = 2,
      .e_shentsize = sizeof(Elf64_Shdr),
  };
  kernel->segments[0] = (Elf64_Phdr){.p_type = PT_LOAD,
                                     .p_flags = PF_R | PF_W | PF_X,
                                     .p_offset = offsetof(struct kernel, text),
                                     .p_vaddr = kVirtualBase + kPlace,
                                     .p_paddr = kPlace,
                                     .p_filesz = kTextBytes,
                                     .p_memsz = kTextBytes,
                                     .p_align = 4096};
  kernel->segments[1] =
      (Elf64_Phdr){.p_type = PT_NOTE, .p_offset = offsetof(struct kernel, notes), .p_align = 4};
  memset(kernel->text, 0xf4, kTextBytes);  // hlt
  add_text(kernel, XEN_ELFNOTE_GUEST_OS, "nothing");
  add_text(kernel, XEN_ELFNOTE_GUEST_VERSION, "1");
  add_text(kernel, XEN_ELFNOTE_XEN_VERSION, "xen-3.0");
  add_number(kernel, XEN_ELFNOTE_VIRT_BASE, kVirtualBase);
  add_number(kernel, XEN_ELFNOTE_PADDR_OFFSET, 0);
  add_number(kernel, XEN_ELFNOTE_ENTRY, kVirtualBase + kPlace);
  add_number(kernel, XEN_ELFNOTE_HYPERCALL_PAGE, kVirtualBase + kPlace + 4096);
  add_text(kernel, XEN_ELFNOTE_PAE_MODE, "yes");
  add_text(kernel, XEN_ELFNOTE_LOADER, "generic");
  const uint32_t entry = kPlace;
  add_note(kernel, XEN_ELFNOTE_PHYS32_ENTRY, &entry, sizeof(entry));
  kernel->segments[1].p_memsz = kernel->segments[1].p_filesz;
  return kernel;
}

// Built as libxl builds it; the caller releases the image.
static struct xc_dom_image *build(uint32_t domid, bool is_pvh, const struct kernel *kernel) {
  struct xc_dom_image *const dom = xc_dom_allocate(xch, "some words", NULL);
  CHECK(dom != NULL);
  if (dom == NULL) return NULL;
  dom->flags = 0;
  dom->console_evtchn = kConsolePort;
  dom->xenstore_evtchn = kStorePort;
  dom->max_vcpus = 2;
  if (is_pvh) {
    dom->container_type = XC_DOM_HVM_CONTAINER;
    dom->device_model = false;
    dom->target_pages = kMegabytes << 8;
    dom->mmio_size = 0x4000000;
    dom->mmio_start = (1ull << 32) - dom->mmio_size;
    dom->lowmem_end = (uint64_t)kMegabytes << 20;
  }
  CHECK(xc_dom_kernel_mem(dom, kernel, sizeof(*kernel)) == 0);
  CHECK(xc_dom_boot_xen_init(dom, xch, domid) == 0);
  CHECK(xc_dom_parse_image(dom) == 0);
  CHECK(xc_dom_mem_init(dom, kMegabytes) == 0);
  CHECK(xc_dom_boot_mem_init(dom) == 0);
  CHECK(xc_dom_build_image(dom) == 0);
  CHECK(xc_dom_boot_image(dom) == 0);
  CHECK(xc_dom_gnttab_init(dom) == 0);
  return dom;
}

static uint32_t create(bool is_pvh) {
  const uint32_t domid = create_domain(is_pvh ? XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap : 0, 2);
  CHECK(xc_domain_max_vcpus(xch, domid, 2) == 0);
  CHECK(xc_domain_setmaxmem(xch, domid, (kMegabytes << 10) + 1024) == 0);
  return domid;
}

// Whether a page's first bytes, and its last stubs', are those of a page of hypercalls.
static bool is_hypercall_page(const unsigned char *page, bool is_pvh) {
  static const unsigned char kPv[] = {0x51, 0x41, 0x53, 0xb8, 0,    0,    0,
                                      0,    0x0f, 0x05, 0x41, 0x5b, 0x59, 0xc3};
  static const unsigned char kPvIret[] = {0x51, 0x41, 0x53, 0x50, 0xb8, 0, 0, 0, 0, 0x0f, 0x05};
  static const unsigned char kHvm[] = {0xb8, 0, 0, 0, 0, 0x0f, 0x01, 0xd9, 0xc3};
  static const unsigned char kHvmIret[] = {0x0f, 0x0b};
  for (unsigned i = 0; i < 128; i++) {
    unsigned char stub[32];
    const bool is_iret = i == __HYPERVISOR_iret;
    const unsigned char *const code = is_pvh ? is_iret ? kHvmIret : kHvm : is_iret ? kPvIret : kPv;
    const unsigned size = is_pvh    ? is_iret ? sizeof(kHvmIret) : sizeof(kHvm)
                             : is_iret ? sizeof(kPvIret)
                                    : sizeof(kPv);
    memset(stub, 0xcc, sizeof(stub));
    memcpy(stub, code, size);
    unsigned char *const number = memchr(stub, 0xb8, size);
    if (number != NULL) number[1] = (unsigned char)i;
    if (memcmp(page + 32 * i, stub, sizeof(stub)) != 0) return false;
  }
  return true;
}

// The grants that the builder gave to domain 0: console, store.
static void check_grants(uint32_t domid, const struct xc_dom_image *dom) {
  xenforeignmemory_handle *const memory = xenforeignmemory_open(NULL, 0);
  CHECK(memory != NULL);
  void *address = NULL;
  xenforeignmemory_resource_handle *resource = xenforeignmemory_map_resource(
      memory, domid, XENMEM_resource_grant_table, XENMEM_resource_grant_table_id_shared, 0, 1,
      &address, PROT_READ | PROT_WRITE, 0);
  CHECK(resource != NULL);
  if (resource != NULL) {
    const grant_entry_v1_t *const grants = address;
    CHECK(grants[GNTTAB_RESERVED_CONSOLE].flags == GTF_permit_access);
    CHECK(grants[GNTTAB_RESERVED_CONSOLE].domid == 0);
    CHECK(grants[GNTTAB_RESERVED_CONSOLE].frame == dom->console_pfn ||
          dom->container_type == XC_DOM_PV_CONTAINER);
    CHECK(grants[GNTTAB_RESERVED_XENSTORE].flags == GTF_permit_access);
    CHECK(grants[2].flags == 0);
    CHECK(xenforeignmemory_unmap_resource(memory, resource) == 0);
  }
  xenforeignmemory_close(memory);
}

static void check_pv(const struct kernel *kernel) {
  const uint32_t domid = create(false);
  struct xc_dom_image *const dom = build(domid, false, kernel);
  if (dom == NULL) return;
  CHECK(strcmp(dom->guest_type, "xen-3.0-x86_64") == 0);

  // Every page that the builder made a table of is one; the root is pinned.
  const unsigned tables = (unsigned)dom->pgtables_seg.pages;
  xen_pfn_t *const types = calloc(tables + 2, sizeof(*types));
  for (unsigned i = 0; i < tables; i++) types[i] = dom->pv_p2m[dom->pgtables_seg.pfn + i];
  const xen_pfn_t code = dom->pv_p2m[kPlace >> 12], stubs = dom->pv_p2m[(kPlace >> 12) + 1];
  types[tables] = code;
  types[tables + 1] = stubs;
  CHECK(tables >= 4 && xc_get_pfn_type_batch(xch, domid, tables + 2, types) == 0);
  CHECK(types[0] == (XEN_DOMCTL_PFINFO_L4TAB | XEN_DOMCTL_PFINFO_LPINTAB));
  for (unsigned i = 1; i < tables; i++) {
    CHECK(types[i] == XEN_DOMCTL_PFINFO_L1TAB || types[i] == XEN_DOMCTL_PFINFO_L2TAB ||
          types[i] == XEN_DOMCTL_PFINFO_L3TAB);
  }
  CHECK(types[tables] == XEN_DOMCTL_PFINFO_NOTAB && types[tables + 1] == XEN_DOMCTL_PFINFO_NOTAB);
  free(types);

  const unsigned char *page = xc_map_foreign_range(xch, domid, 4096, PROT_READ, stubs);
  CHECK(page != NULL && is_hypercall_page(page, false));
  if (page != NULL) munmap((void *)page, 4096);
  // Where there is no memory of its own, or a table, there are no stubs.
  struct xen_domctl domctl = {.cmd = XEN_DOMCTL_hypercall_init, .domain = (domid_t)domid};
  domctl.u.hypercall_init.gmfn = 0x7ffffff;
  CHECK_REFUSED(xc_domctl(xch, &domctl), EINVAL);
  domctl.u.hypercall_init.gmfn = dom->pv_p2m[dom->pgtables_seg.pfn];
  CHECK_REFUSED(xc_domctl(xch, &domctl), EPERM);
  domctl.u.hypercall_init.gmfn = code;
  CHECK(xc_domctl(xch, &domctl) == 0);

  xc_domaininfo_t info;
  CHECK(find_domain(domid, &info));
  CHECK(info.nr_online_vcpus == 1 && info.tot_pages == kMegabytes << 8);
  vcpu_guest_context_any_t context;
  CHECK(xc_vcpu_getcontext(xch, domid, 0, &context) == 0);
  CHECK(context.x64.user_regs.rip == kVirtualBase + kPlace);
  CHECK(context.x64.ctrlreg[3] == dom->pv_p2m[dom->pgtables_seg.pfn] << 12);
  check_grants(domid, dom);

  // Without its pin the root is a table for the vcpu that uses it.
  struct mmuext_op unpin = {.cmd = MMUEXT_UNPIN_TABLE,
                            .arg1.mfn = dom->pv_p2m[dom->pgtables_seg.pfn]};
  CHECK(xc_mmuext_op(xch, &unpin, 1, domid) == 0);
  xen_pfn_t root = unpin.arg1.mfn;
  CHECK(xc_get_pfn_type_batch(xch, domid, 1, &root) == 0 && root == XEN_DOMCTL_PFINFO_L4TAB);
  xc_dom_release(dom);
  CHECK(xc_domain_destroy(xch, domid) == 0);
  CHECK(!find_domain(domid, &info));
}

static void check_pvh(const struct kernel *kernel) {
  const uint32_t domid = create(true);
  struct xc_dom_image *const dom = build(domid, true, kernel);
  if (dom == NULL) return;
  CHECK(strcmp(dom->guest_type, "hvm-3.0-x86_32") == 0);
  uint64_t value = 0;
  CHECK(xc_hvm_param_get(xch, domid, HVM_PARAM_STORE_PFN, &value) == 0);
  CHECK(value == dom->xenstore_pfn && value != 0);
  CHECK(xc_hvm_param_get(xch, domid, HVM_PARAM_CONSOLE_PFN, &value) == 0);
  CHECK(value == dom->console_pfn && value != 0);
  const uint32_t *start =
      xc_map_foreign_range(xch, domid, 4096, PROT_READ, dom->start_info_seg.pfn);
  CHECK(start != NULL && start[0] == 0x336ec578);  // XEN_HVM_START_MAGIC_VALUE
  if (start != NULL) munmap((void *)start, 4096);
  struct xen_domctl domctl = {.cmd = XEN_DOMCTL_hypercall_init, .domain = (domid_t)domid};
  domctl.u.hypercall_init.gmfn = (kPlace >> 12) + 1;
  CHECK(xc_domctl(xch, &domctl) == 0);
  const unsigned char *page = xc_map_foreign_range(xch, domid, 4096, PROT_READ, (kPlace >> 12) + 1);
  CHECK(page != NULL && is_hypercall_page(page, true));
  if (page != NULL) munmap((void *)page, 4096);
  domctl.u.hypercall_init.gmfn = 0x7ffffff;
  CHECK_REFUSED(xc_domctl(xch, &domctl), EINVAL);

  xc_domaininfo_t info;
  CHECK(find_domain(domid, &info) && info.nr_online_vcpus == 1);
  check_grants(domid, dom);
  xc_dom_release(dom);
  CHECK(xc_domain_destroy(xch, domid) == 0);
  CHECK(!find_domain(domid, &info));
}

struct mapping {
  unsigned type, id;
  unsigned long first, count;
  int error;
};

static void check_mappings(xenforeignmemory_handle *memory, uint32_t domid,
                           const struct mapping *rows, unsigned count) {
  for (unsigned i = 0; i < count; i++) {
    const struct mapping *const row = &rows[i];
    void *address = NULL;
    errno = 0;
    xenforeignmemory_resource_handle *const resource =
        xenforeignmemory_map_resource(memory, domid, row->type, row->id, row->first, row->count,
                                      &address, PROT_READ | PROT_WRITE, 0);
    if ((resource != NULL) != (row->error == 0) || (resource == NULL && errno != row->error)) {
      printf("mapping %u: errno %d\n", i, errno);
    }
    CHECK(row->error == 0 ? resource != NULL : resource == NULL && errno == row->error);
    if (resource == NULL) continue;
    for (unsigned long page = 0; page < row->count; page++) {
      ((volatile unsigned char *)address)[page * 4096 + 4095] = (unsigned char)(row->first + page);
    }
    CHECK(xenforeignmemory_unmap_resource(memory, resource) == 0);
  }
}

static void check_resources(uint32_t flags) {
  enum { kShared = XENMEM_resource_grant_table_id_shared };
  enum { kStatus = XENMEM_resource_grant_table_id_status, kType = XENMEM_resource_grant_table };
  const uint32_t domid =
      create_domain_with_pages(flags, 1, 8, NULL);  // at most 32 frames of grants
  xenforeignmemory_handle *const memory = xenforeignmemory_open(NULL, 0);
  CHECK(memory != NULL);
  size_t size = 0;
  CHECK(xenforeignmemory_resource_size(memory, domid, kType, kShared, &size) == 0);
  CHECK(size == 32 * 4096);
  CHECK(xenforeignmemory_resource_size(memory, domid, kType, kStatus, &size) == 0);
  CHECK(size == 4 * 4096);
  CHECK_REFUSED(xenforeignmemory_resource_size(memory, domid, kType, 2, &size), EINVAL);
  CHECK_REFUSED(xenforeignmemory_resource_size(memory, kNobody, kType, kShared, &size), ESRCH);
  CHECK_REFUSED(xenforeignmemory_resource_size(memory, 0, kType, kShared, &size), EPERM);
  CHECK_REFUSED(
      xenforeignmemory_resource_size(memory, domid, XENMEM_resource_vmtrace_buf, 0, &size), EINVAL);

  const bool is_hvm = flags != 0;
  const struct mapping rows[] = {
      {kType, kShared, 0, 1, 0},
      {kType, kShared, 31, 1, 0},
      {kType, kShared, 0, 32, 0},
      {kType, kShared, 32, 1, EINVAL},
      {kType, kShared, 31, 2, EINVAL},
      {kType, kShared, 0xffffffff, 1, EINVAL},
      {kType, kStatus, 0, 1, EINVAL},  // of a table of version 1
      {kType, 2, 0, 1, EINVAL},
      {XENMEM_resource_ioreq_server, 0, 0, 1, is_hvm ? ENOENT : EINVAL},
      {XENMEM_resource_ioreq_server, 0x10000, 0, 1, EINVAL},
      {XENMEM_resource_vmtrace_buf, 0, 0, 1, EINVAL},
      {77, 0, 0, 1, kMinor == 17 ? EOPNOTSUPP : EINVAL},
  };
  check_mappings(memory, domid, rows, sizeof(rows) / sizeof(rows[0]));
  const struct mapping of_nobody = {kType, kShared, 0, 1, ESRCH};
  check_mappings(memory, kNobody, &of_nobody, 1);
  const struct mapping of_oneself = {kType, kShared, 0, 1, EPERM};
  check_mappings(memory, 0, &of_oneself, 1);

  // All of them are the domain's, and the same ones as before.
  void *address = NULL;
  xenforeignmemory_resource_handle *const resource =
      xenforeignmemory_map_resource(memory, domid, kType, kShared, 0, 32, &address, PROT_READ, 0);
  CHECK(resource != NULL);
  for (unsigned page = 0; resource != NULL && page < 32; page++) {
    CHECK(((const unsigned char *)address)[page * 4096 + 4095] == page);
  }
  // What is mapped stays when the domain has gone.
  CHECK(xc_domain_destroy(xch, domid) == 0);
  CHECK(resource == NULL || ((const unsigned char *)address)[5 * 4096 + 4095] == 5);
  if (resource != NULL) CHECK(xenforeignmemory_unmap_resource(memory, resource) == 0);
  xenforeignmemory_close(memory);
}

void check_builder(void) {
  struct kernel *const kernel = make_kernel();
  check_pv(kernel);
  check_pvh(kernel);
  free(kernel);
  check_resources(0);
  check_resources(XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap);
}
