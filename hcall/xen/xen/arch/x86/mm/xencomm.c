/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Regions of guest memory for hypercall arguments (public/xencomm_op.h).
 *
 * A region is looked up, checked and referenced when it is registered.  A call
 * with one then finds a guest byte by a range check and two loads, whatever the
 * guest's page tables and the p2m say by then.
 *
 * What holds the pieces together:
 *
 * - Each page of a region is referenced, with PGT_writable_page if the region is
 *   for writing, from when it is taken in until the region has ended.  It may
 *   leave the physmap meanwhile (ballooning); it stays the domain's.
 *
 * - A vcpu uses a region between xencomm_enter() and xencomm_leave().  Neither
 *   takes a lock or a reference.  Instead, a region that ends is first hidden,
 *   and then its domain's other vcpus are paused once: whoever found it before
 *   has left it by then, or waits in mid-call (a wait queue), which its
 *   xencomm_call shows.
 *
 * - The list of a domain's regions, and each region's progress, are under
 *   xencomm_domain's lock.  It is held for one leg of a preemptible call; who
 *   finds it held is continued.
 */

#include <xen/domain_page.h>
#include <xen/event.h>
#include <xen/guest_access.h>
#include <xen/hypercall.h>
#include <xen/mm.h>
#include <xen/nospec.h>
#include <xen/random.h>
#include <xen/sched.h>

#include <asm/p2m.h>
#include <asm/paging.h>
#include <asm/xencomm.h>

#include "mm-locks.h"

/*
 * What a region knows of a page: where the direct map has it, and what it is
 * there for.  0: it is not backed.
 */
typedef unsigned long xencomm_page_t;
#define PAGE_READ      1UL  /* by any pointer */
#define PAGE_WRITE     2UL  /* by any pointer */
#define ARGUMENT_READ  4UL  /* by pointers to arguments only */
#define ARGUMENT_WRITE 8UL  /* by pointers to arguments only */
#define PAGE_SHARED    16UL /* with the table, which no pointer reaches */

#define PAGES_PER_LEAF (PAGE_SIZE / sizeof(xencomm_page_t))

/* Of one region, 1GiB. */
#define MAX_PAGES      (1UL << 18)
/* Of a domain.  A leaf is a page of the Xen heap. */
#define MAX_LEAVES     1024
#define SLOT_BITS      10
#define MAX_REGIONS    (1U << SLOT_BITS)

/* A handle is an id, and bit 0. An id is a slot, and a generation of this many bits. */
#define GENERATION_BITS 50

struct xencomm_region {
    /* For page_at(). */
    unsigned long start;          /* guest address */
    unsigned long end;            /* bytes from there */
    unsigned long payload;        /* bytes from there */
    bool has_arguments;           /* some granule is for arguments only */

    bool writable;
    enum {
        REGION_begins,            /* is being registered */
        REGION_lives,             /* is found by calls */
        REGION_ends,
    } state;
    bool is_quiet;                /* it ends, and no vcpu uses it */
    int error;                    /* for which it ends, if it never lived */
    unsigned int slot;
    uint64_t handle;
    paddr_t address;              /* of its header */
    struct xencomm_header header; /* as it was when it began */
    unsigned long nr_pages;       /* referenced */
    unsigned long next;           /* page, of what is in progress */

    unsigned int nr_leaves;
    xencomm_page_t *leaves[];
};

struct xencomm_domain {
    spinlock_t lock;
    unsigned int nr_leaves;
    struct xencomm_region *regions[MAX_REGIONS];
    /* For xencomm_enter(), without the lock: those that live, or no_region. */
    const struct xencomm_region *live[MAX_REGIONS];
};

/* In place of each leaf without a page.  Never written. */
static xencomm_page_t __aligned(PAGE_SIZE) no_pages[PAGES_PER_LEAF];

/* For a call without a region of its domain's: every pointer leads nowhere. */
static const struct xencomm_region no_region = { .leaves = { no_pages } };

/* How many regions this host has had. */
static uint64_t generation;
static DEFINE_SPINLOCK(generation_lock);

/*
 * Guest access.
 */

/*
 * The page at @offset from a region's start.  Those of the table are not backed,
 * and what lies outside is taken for the first of them.
 */
static always_inline xencomm_page_t page_at(const struct xencomm_region *r,
                                            unsigned long offset)
{
    offset = array_index_nospec(offset, r->end);

    return ACCESS_ONCE(r->leaves[offset / (PAGE_SIZE * PAGES_PER_LEAF)]
                                [(offset >> PAGE_SHIFT) % PAGES_PER_LEAF]);
}

static always_inline char *byte_in(xencomm_page_t page, unsigned long addr)
{
    return (char *)(page & PAGE_MASK) + (addr & ~PAGE_MASK);
}

/*
 * Mostly a few words.  Each byte is read once: nothing of the guest's is looked
 * at before it was copied.
 */
static always_inline void copy_bytes(void *to, const void *from, unsigned int n)
{
    unsigned long count = n / sizeof(unsigned long);

    asm volatile ( "rep movsq"
                   : "+c" (count), "+D" (to), "+S" (from) :: "memory" );
    count = n % sizeof(unsigned long);
    if ( count )
        asm volatile ( "rep movsb"
                       : "+c" (count), "+D" (to), "+S" (from) :: "memory" );
}

/* After, not before the guest's memory was written: marks are taken away. */
static always_inline void mark_dirty(struct domain *d, xencomm_page_t page)
{
    if ( unlikely(paging_mode_log_dirty(d)) )
        paging_mark_dirty(d, _mfn(virt_to_mfn(page & PAGE_MASK)));
}

/* Whether @addr is what xencomm_enter() made of a register. */
static bool is_alias(const struct xencomm_call *call, unsigned long addr)
{
    return call->alias && addr - call->alias < call->region->end;
}

enum direction { TO_GUEST, FROM_GUEST, CLEAR };

/* What lies in several pages, in a page that is not for all pointers, or nowhere. */
static noinline unsigned int reach(unsigned long addr, void *own,
                                   unsigned int n, enum direction direction)
{
    struct vcpu *curr = current;
    const struct xencomm_call *call = &curr->arch.xencomm;
    const struct xencomm_region *r = call->region;
    unsigned long start = r->start;
    unsigned long right = direction == FROM_GUEST ? PAGE_READ : PAGE_WRITE;

    if ( is_alias(call, addr) )
    {
        start = call->alias;
        right = direction == FROM_GUEST ? ARGUMENT_READ : ARGUMENT_WRITE;
    }

    while ( n )
    {
        unsigned long offset = addr - start;
        xencomm_page_t page = page_at(r, offset);
        unsigned int count = PAGE_SIZE - (addr & ~PAGE_MASK);

        if ( (page & PAGE_SHARED) && offset >= r->payload && offset < r->end )
            page |= r->writable ? PAGE_READ | PAGE_WRITE : PAGE_READ;

        if ( !(page & right) )
        {
            if ( direction == FROM_GUEST )
                memset(own, 0, n);
            break;
        }

        count = min(count, n);
        if ( direction == FROM_GUEST )
            copy_bytes(own, byte_in(page, addr), count);
        else
        {
            if ( direction == TO_GUEST )
                copy_bytes(byte_in(page, addr), own, count);
            else
                memset(byte_in(page, addr), 0, count);
            mark_dirty(curr->domain, page);
        }

        addr += count;
        own += count;
        n -= count;
    }

    return n;
}

/* Nearly all that is copied is a few bytes in one page. */
static always_inline bool is_in_page(unsigned long addr, unsigned int n)
{
    return (addr & ~PAGE_MASK) + n <= PAGE_SIZE;
}

unsigned int xencomm_copy_to_guest(void *to, const void *from, unsigned int n)
{
    struct vcpu *curr = current;
    const struct xencomm_region *r = curr->arch.xencomm.region;
    unsigned long addr = (unsigned long)to;
    xencomm_page_t page = page_at(r, addr - r->start);

    if ( unlikely(!(page & PAGE_WRITE)) || unlikely(!is_in_page(addr, n)) )
        return reach(addr, (void *)from, n, TO_GUEST);

    copy_bytes(byte_in(page, addr), from, n);
    mark_dirty(curr->domain, page);

    return 0;
}

unsigned int xencomm_copy_from_guest(void *to, const void *from, unsigned int n)
{
    const struct xencomm_region *r = current->arch.xencomm.region;
    unsigned long addr = (unsigned long)from;
    xencomm_page_t page = page_at(r, addr - r->start);

    if ( unlikely(!(page & PAGE_READ)) || unlikely(!is_in_page(addr, n)) )
        return reach(addr, to, n, FROM_GUEST);

    copy_bytes(to, byte_in(page, addr), n);

    return 0;
}

unsigned int xencomm_clear_guest(void *to, unsigned int n)
{
    return reach((unsigned long)to, NULL, n, CLEAR);
}

/*
 * Entry and exit of a call.
 */

/*
 * Pointers to granules for arguments only come in registers.  What handlers get
 * in their place leads nowhere else, and is hard to guess: so these pointers, and
 * sums with them, are told from what a guest puts into its memory.  For a PV guest
 * they are addresses that its kernel may use, as handlers check.
 */
static noinline void replace_arguments(struct xencomm_call *call,
                                       struct cpu_user_regs *regs)
{
    const struct xencomm_region *r = call->region;
    uint64_t *args[] = { &regs->rdi, &regs->rsi, &regs->rdx, &regs->r10,
                         &regs->r8 };
    unsigned long first, random;
    unsigned int i;

    first = is_pv_vcpu(current) ? HYPERVISOR_VIRT_END : 1UL << 63;
    random = (unsigned long)get_random() << 32 | get_random();
    call->alias = first + ((random % ((-first - r->end) >> PAGE_SHIFT)) <<
                           PAGE_SHIFT);

    for ( i = 0; i < ARRAY_SIZE(args); i++ )
        if ( page_at(r, *args[i] - r->start) & ARGUMENT_READ )
            *args[i] += call->alias - r->start;
}

/* Those that a call goes on with, if it is restarted, among them. */
static noinline void restore_arguments(const struct xencomm_call *call,
                                       struct cpu_user_regs *regs)
{
    uint64_t *args[] = { &regs->rdi, &regs->rsi, &regs->rdx, &regs->r10,
                         &regs->r8 };
    unsigned int i;

    for ( i = 0; i < ARRAY_SIZE(args); i++ )
        if ( is_alias(call, *args[i]) )
            *args[i] -= call->alias - call->region->start;
}

unsigned long xencomm_enter(struct vcpu *v, struct cpu_user_regs *regs)
{
    struct xencomm_call *call = &v->arch.xencomm;
    const struct xencomm_domain *xd = v->domain->arch.xencomm;
    const struct xencomm_region *r = &no_region;

    if ( likely(xd) )
        r = ACCESS_ONCE(xd->live[(regs->r9 >> 1) % MAX_REGIONS]);
    if ( unlikely(r->handle != regs->r9) )
        r = &no_region;

    regs->rax &= ~(unsigned long)XENCOMM_CALL;
    call->region = r;
    call->alias = 0;
    if ( unlikely(r->has_arguments) && regs->rax != __HYPERVISOR_xencomm_op )
        replace_arguments(call, regs);

    /* The region is the one that was looked for, or none. */
    block_speculation();

    return regs->rax;
}

void xencomm_leave(struct vcpu *v, struct cpu_user_regs *regs)
{
    struct xencomm_call *call = &v->arch.xencomm;

    if ( unlikely(call->alias) )
        restore_arguments(call, regs);
    call->region = NULL;

    if ( v->hcall_preempted )
        regs->rax |= XENCOMM_CALL;
}

/*
 * The guest's tables.
 */

/* The word of the guest's at @addr, which is a multiple of 8. */
static int read_word(struct domain *d, paddr_t addr, uint64_t *word)
{
    p2m_type_t t;
    struct page_info *page = get_page_from_gfn(d, PFN_DOWN(addr), &t, 0);
    const char *bytes;

    if ( !page )
        return -EFAULT;
    if ( !p2m_is_ram(t) )
    {
        put_page(page);
        return -EFAULT;
    }

    bytes = __map_domain_page(page);
    *word = read_atomic((const uint64_t *)(bytes + (addr & ~PAGE_MASK)));
    unmap_domain_page(bytes);
    put_page(page);

    return 0;
}

/* What a base is worth: 0, -ENXIO when there is none, or -EFAULT. */
static int check_base(const struct xencomm_header *h, uint64_t base)
{
    if ( base == XENCOMM_NO_BASE )
        return -ENXIO;

    return base & ((1UL << h->granule_shift) - 1) ||
           base >> paddr_bits ? -EFAULT : 0;
}

static unsigned long base_offset(unsigned long granule)
{
    return sizeof(struct xencomm_header) + granule * sizeof(uint64_t);
}

/* Where granules of payload begin, in bytes from the region's start. */
static unsigned long payload_offset(const struct xencomm_header *h)
{
    unsigned long table = base_offset(h->base_count);

    return h->base_count == 1 ? table
                              : ROUNDUP(table, 1UL << h->granule_shift);
}

/*
 * The base of granule i lies in granule (32 + 8 * i) >> shift, whose own base
 * lies in one before that, and so on to granule 0: each step down is to a number
 * of nine bits less or fewer, so four are enough for 32.
 */
#define MAX_BASES 4

/* Pages of bases that are looked at, each with a reference, by steps from 0. */
struct bases {
    struct {
        unsigned long number;  /* of the table's page */
        struct page_info *page;
        const char *bytes;     /* NULL: none */
    } at[MAX_BASES];
};

static void put_bases(struct bases *bases, unsigned int step)
{
    if ( !bases->at[step].bytes )
        return;
    unmap_domain_page(bases->at[step].bytes);
    put_page(bases->at[step].page);
    bases->at[step].bytes = NULL;
}

/* Has page @number of the table, which lies at @address, looked at. */
static int look_at(struct domain *d, struct bases *bases, unsigned int step,
                   unsigned long number, paddr_t address)
{
    p2m_type_t t;
    struct page_info *page;

    put_bases(bases, step);

    page = get_page_from_gfn(d, PFN_DOWN(address), &t, 0);
    if ( !page )
        return -EFAULT;
    if ( !p2m_is_ram(t) )
    {
        put_page(page);
        return -EFAULT;
    }

    bases->at[step].number = number;
    bases->at[step].page = page;
    bases->at[step].bytes = __map_domain_page(page);

    return 0;
}

static bool is_looked_at(const struct bases *bases, unsigned int step,
                         unsigned long granule)
{
    return bases->at[step].bytes &&
           bases->at[step].number == PFN_DOWN(base_offset(granule));
}

/* The base of @granule, as check_base() has it. */
static int get_base(struct domain *d, const struct xencomm_region *r,
                    unsigned long granule, struct bases *bases, uint64_t *base)
{
    const struct xencomm_header *h = &r->header;
    unsigned long chain[MAX_BASES];
    unsigned int step = 0;
    int rc;

    /* Back from the granule to a page that is looked at, or to granule 0. */
    for ( chain[0] = granule; !is_looked_at(bases, step, chain[step]); step++ )
    {
        unsigned long lower = base_offset(chain[step]) >> h->granule_shift;

        if ( !lower )
        {
            rc = look_at(d, bases, step, PFN_DOWN(base_offset(chain[step])),
                         r->address + base_offset(chain[step]));
            if ( rc )
                return rc;
            break;
        }
        if ( step + 1 == MAX_BASES )
            return -EFAULT;
        chain[step + 1] = lower;
    }

    for ( ; ; step-- )
    {
        unsigned long offset = base_offset(chain[step]);

        *base = read_atomic((const uint64_t *)(bases->at[step].bytes +
                                               (offset & ~PAGE_MASK)));
        rc = check_base(h, *base);
        if ( rc || !step )
            return rc;

        offset = base_offset(chain[step - 1]);
        rc = look_at(d, bases, step - 1, PFN_DOWN(offset),
                     *base + (offset & ((1UL << h->granule_shift) - 1)));
        if ( rc )
            return rc;
    }
}

/* The header at @address, checked.  -EINVAL: it is none. */
static int get_header(struct domain *d, paddr_t address,
                      struct xencomm_header *h)
{
    /* With the first base, which must lead back to the header. */
    union {
        uint64_t words[5];
        struct xencomm_header header;
    } head;
    unsigned int i;

    BUILD_BUG_ON(sizeof(*h) != 4 * sizeof(uint64_t));

    if ( address & ~PAGE_MASK || address >> paddr_bits )
        return -EINVAL;
    for ( i = 0; i < ARRAY_SIZE(head.words); i++ )
        if ( read_word(d, address + i * sizeof(uint64_t), &head.words[i]) )
            return -EINVAL;

    *h = head.header;
    if ( h->magic != XENCOMM_REGION_MAGIC ||
         h->version != XENCOMM_REGION_VERSION || h->flags || h->reserved ||
         h->granule_shift < PAGE_SHIFT || h->granule_shift > 30 )
        return -EINVAL;

    /* One mask for all that is a multiple of the granule. */
    if ( (h->virtual_base | h->length | address) &
         ((1UL << h->granule_shift) - 1) )
        return -EINVAL;
    if ( !h->length || h->virtual_base + h->length - 1 < h->virtual_base ||
         h->length >> h->granule_shift != h->base_count ||
         head.words[4] != address )
        return -EINVAL;

    return 0;
}

/*
 * References to pages.
 */

/* A part of the p2m that leads to frames in a row. */
struct run {
    unsigned long gfn;
    unsigned long mfn;
    unsigned long count;
};

/*
 * The frame of the guest's at @gfn, if it is ordinary memory, fit for the
 * region's access.  For a translated domain the p2m is locked.
 */
static int find_frame(struct domain *d, const struct xencomm_region *r,
                      unsigned long gfn, struct run *run, mfn_t *mfn)
{
#ifdef CONFIG_HVM
    if ( paging_mode_translate(d) )
    {
        if ( gfn - run->gfn >= run->count )
        {
            p2m_type_t t;
            p2m_access_t a;
            unsigned int order;
            unsigned long offset;
            mfn_t first = p2m_get_gfn_type_access(p2m_get_hostp2m(d),
                                                  _gfn(gfn), &t, &a, 0, &order,
                                                  false);

            if ( t != p2m_ram_rw && t != p2m_ram_logdirty &&
                 (r->writable || t != p2m_ram_ro) )
                return -EFAULT;
            if ( a != p2m_access_rwx && a != p2m_access_rw &&
                 (r->writable || (a != p2m_access_r && a != p2m_access_rx)) )
                return -EFAULT;

            offset = gfn & ((1UL << order) - 1);
            run->gfn = gfn - offset;
            run->mfn = mfn_x(first) - offset;
            run->count = 1UL << order;
        }
        *mfn = _mfn(run->mfn + (gfn - run->gfn));
    }
    else
#endif
        *mfn = _mfn(gfn);

    return mfn_valid(*mfn) ? 0 : -EFAULT;
}

static int hold_page(struct domain *d, struct xencomm_region *r, mfn_t mfn,
                     xencomm_page_t *word, unsigned long rights)
{
    struct page_info *page = mfn_to_page(mfn);

    /* The direct map of a PV guest's tables does not reach farther. */
    if ( mfn_x(mfn) > PFN_DOWN(__pa(HYPERVISOR_VIRT_END - 1)) )
        return -EFAULT;

    if ( r->writable ? !get_page_and_type(page, d, PGT_writable_page)
                     : !get_page(page, d) )
        return -EFAULT;

    /*
     * Xen's own pages are not for regions, though a guest may use some of them.
     * What a page is may change until it is referenced.
     */
    if ( is_special_page(page) )
    {
        if ( r->writable )
            put_page_and_type(page);
        else
            put_page(page);
        return -EFAULT;
    }

    ACCESS_ONCE(*word) = (unsigned long)mfn_to_virt(mfn_x(mfn)) | rights;
    r->nr_pages++;

    return 0;
}

static void drop_page(struct xencomm_region *r, xencomm_page_t *word)
{
    struct page_info *page = virt_to_page((void *)(*word & PAGE_MASK));

    *word = 0;
    r->nr_pages--;
    if ( r->writable )
        put_page_and_type(page);
    else
        put_page(page);
}

static xencomm_page_t *leaf_for(struct xencomm_domain *xd,
                                struct xencomm_region *r, unsigned long page)
{
    xencomm_page_t **leaf = &r->leaves[page / PAGES_PER_LEAF];

    if ( *leaf == no_pages )
    {
        xencomm_page_t *fresh;

        if ( xd->nr_leaves == MAX_LEAVES || !(fresh = alloc_xenheap_page()) )
            return NULL;
        clear_page(fresh);
        smp_wmb();
        ACCESS_ONCE(*leaf) = fresh;
        xd->nr_leaves++;
    }

    return *leaf;
}

/* Granules that are backed now, from page *@next of the region up to page @end. */
static int take_in(struct domain *d, struct xencomm_region *r,
                   unsigned long *next, unsigned long end, unsigned int use)
{
    struct xencomm_domain *xd = d->arch.xencomm;
    unsigned int order = r->header.granule_shift - PAGE_SHIFT;
    unsigned long rights = use == XENCOMM_ARGUMENTS_ONLY
                           ? ARGUMENT_READ | (r->writable ? ARGUMENT_WRITE : 0)
                           : PAGE_READ | (r->writable ? PAGE_WRITE : 0);
    struct bases bases = {};
    struct run run = {};
    unsigned int step, work = 0, skipped = 0;
    int rc = 0;

    while ( *next < end )
    {
        unsigned long granule = *next >> order;
        unsigned long in_granule = *next & ((1UL << order) - 1);
        unsigned long gfn, count = min(end - *next, (1UL << order) - in_granule);
        uint64_t base;

        rc = get_base(d, r, granule, &bases, &base);
        if ( rc == -ENXIO )
        {
            /* No base; or no page of bases: then up to the next page's first. */
            unsigned long offset = base_offset(granule);

            if ( !is_looked_at(&bases, 0, granule) )
                granule += (PAGE_SIZE - (offset & ~PAGE_MASK)) /
                           sizeof(uint64_t);
            else
                granule++;
            *next = min(granule << order, end);
            rc = 0;
            if ( !(++work % 512) && *next < end && hypercall_preempt_check() )
            {
                rc = -ERESTART;
                break;
            }
            continue;
        }
        if ( rc )
            break;

        /*
         * A part of a granule at a time, short enough for the p2m's lock and for
         * interrupts to be looked at in between.
         */
        gfn = PFN_DOWN(base) + in_granule;
        count = min(count, 64UL);
#ifdef CONFIG_HVM
        if ( paging_mode_translate(d) )
            p2m_read_lock(p2m_get_hostp2m(d));
#endif
        /* What was found out under the lock, the last time, may be wrong now. */
        run.count = 0;
        for ( ; ; )
        {
            for ( ; count; count--, gfn++, ++*next )
            {
                xencomm_page_t *leaf = leaf_for(xd, r, *next), *word;
                unsigned long page_rights;
                mfn_t mfn;

                if ( !leaf )
                {
                    rc = -ENOMEM;
                    break;
                }
                word = &leaf[*next % PAGES_PER_LEAF];
                /* The payload has this page in the page form alone. */
                page_rights = *next || use == XENCOMM_ARGUMENTS_ONLY ? rights
                                                                     : PAGE_SHARED;
                if ( *word )
                {
                    if ( (*word & ~PAGE_MASK) == page_rights )
                    {
                        skipped++;
                        continue;
                    }
                    rc = -EEXIST;
                    break;
                }
                /* One page could be the base of every granule. */
                if ( r->nr_pages >= domain_tot_pages(d) )
                {
                    rc = -EBUSY;
                    break;
                }
                if ( (rc = find_frame(d, r, gfn, &run, &mfn)) ||
                     (rc = hold_page(d, r, mfn, word, page_rights)) )
                    break;
                work++;
            }

            /* Small granules: as many as stand in the page of bases. */
            granule = *next >> order;
            if ( rc || order || *next >= end || (work + skipped) % 64 == 0 ||
                 !is_looked_at(&bases, 0, granule) ||
                 get_base(d, r, granule, &bases, &base) )
                break;
            gfn = PFN_DOWN(base);
            count = 1;
        }
#ifdef CONFIG_HVM
        if ( paging_mode_translate(d) )
            p2m_read_unlock(p2m_get_hostp2m(d));
#endif
        if ( rc )
            break;

        /* Where nothing was taken in, a granule in part would be begun anew. */
        if ( *next < end &&
             (work >= 64 ||
              (skipped >= 512 && !(*next & ((1UL << order) - 1)))) &&
             hypercall_preempt_check() )
        {
            rc = -ERESTART;
            break;
        }
    }

    for ( step = 0; step < MAX_BASES; step++ )
        put_bases(&bases, step);

    return rc;
}

/*
 * Regions of a domain.
 */

static struct xencomm_domain *xencomm_domain(struct domain *d)
{
    struct xencomm_domain *xd = d->arch.xencomm;

    if ( !xd && (xd = xzalloc(struct xencomm_domain)) )
    {
        unsigned int i;

        spin_lock_init(&xd->lock);
        for ( i = 0; i < MAX_REGIONS; i++ )
            xd->live[i] = &no_region;
        if ( cmpxchg(&d->arch.xencomm, NULL, xd) )
        {
            xfree(xd);
            xd = d->arch.xencomm;
        }
    }

    return xd;
}

/* The region with this very handle, in any state; or NULL. */
static struct xencomm_region *region_of(struct xencomm_domain *xd,
                                        uint64_t handle)
{
    struct xencomm_region *r = xd->regions[(handle >> 1) % MAX_REGIONS];

    return r && r->handle == handle ? r : NULL;
}

/* A region with nothing in it yet. */
static int begin_region(struct domain *d, paddr_t address, unsigned long access,
                        struct xencomm_region **new)
{
    struct xencomm_domain *xd = d->arch.xencomm;
    struct xencomm_header h;
    struct xencomm_region *r;
    unsigned long pages;
    unsigned int slot, i;
    uint64_t id;

    if ( access > XENCOMM_READ_WRITE || get_header(d, address, &h) )
        return -EINVAL;
    pages = h.length >> PAGE_SHIFT;
    if ( pages > MAX_PAGES )
        return -E2BIG;

    for ( slot = 0; slot < MAX_REGIONS && xd->regions[slot]; )
        slot++;
    if ( slot == MAX_REGIONS )
        return -ENOSPC;

    spin_lock(&generation_lock);
    /* Of another host's handles, after a migration, none is likely to be one. */
    if ( !generation )
        generation = (uint64_t)get_random() << 16;
    id = ++generation;
    spin_unlock(&generation_lock);
    if ( id >> GENERATION_BITS )
        return -ENOSPC;

    r = xzalloc_flex_struct(struct xencomm_region, leaves,
                            DIV_ROUND_UP(pages, PAGES_PER_LEAF));
    if ( !r )
        return -ENOMEM;

    r->start = h.virtual_base;
    r->payload = payload_offset(&h);
    r->end = h.length;
    r->writable = access == XENCOMM_READ_WRITE;
    r->state = REGION_begins;
    r->slot = slot;
    r->handle = (id << SLOT_BITS | slot) << 1 | 1;
    r->address = address;
    r->header = h;
    /* A lone granule is table and payload. */
    r->next = PFN_DOWN(r->payload);
    r->nr_leaves = DIV_ROUND_UP(pages, PAGES_PER_LEAF);
    for ( i = 0; i < r->nr_leaves; i++ )
        r->leaves[i] = no_pages;

    xd->regions[slot] = r;
    *new = r;

    return 0;
}

/* Goes on with letting go of a region that no vcpu uses. */
static int release_region(struct xencomm_domain *xd, struct xencomm_region *r)
{
    unsigned int work = 0;

    for ( ; r->nr_pages; r->next++ )
    {
        xencomm_page_t *leaf = r->leaves[r->next / PAGES_PER_LEAF];
        xencomm_page_t *word = &leaf[r->next % PAGES_PER_LEAF];

        ASSERT(r->next < r->end >> PAGE_SHIFT);

        if ( leaf == no_pages )
            r->next |= PAGES_PER_LEAF - 1;
        else if ( *word )
            drop_page(r, word);
        else
            continue;

        if ( !(++work % 64) && hypercall_preempt_check() )
        {
            r->next++;
            return -ERESTART;
        }
    }

    while ( r->nr_leaves )
    {
        xencomm_page_t *leaf = r->leaves[--r->nr_leaves];

        if ( leaf != no_pages )
        {
            free_xenheap_page(leaf);
            xd->nr_leaves--;
        }
    }
    xd->regions[r->slot] = NULL;
    xfree(r);

    return 0;
}

/* Has it end, for @error if it never lived.  From now on no call finds it. */
static void end_region(struct xencomm_domain *xd, struct xencomm_region *r,
                       int error)
{
    ACCESS_ONCE(xd->live[r->slot]) = &no_region;

    /* No vcpu can use one that never lived. */
    r->is_quiet = r->state == REGION_begins;
    r->error = error;
    r->next = 0;
    r->state = REGION_ends;
}

static long xencomm_register(struct domain *d, paddr_t address,
                             unsigned long access, unsigned long *resumed)
{
    struct xencomm_domain *xd = xencomm_domain(d);
    struct xencomm_region *r = NULL;
    long rc = 0;

    if ( !xd )
        return -ENOMEM;

    if ( !spin_trylock(&xd->lock) )
        return -ERESTART;

    if ( !*resumed )
    {
        rc = begin_region(d, address, access, &r);
        if ( rc )
            goto out;
        *resumed = r->handle;
    }
    else
    {
        r = region_of(xd, *resumed);
        if ( !r || r->address != address ||
             r->state == REGION_lives ||
             (r->state == REGION_ends && !r->error) )
        {
            rc = -ENOENT;
            goto out;
        }
    }

    if ( r->state == REGION_begins )
    {
        struct xencomm_header h;

        if ( get_header(d, address, &h) || memcmp(&h, &r->header, sizeof(h)) )
            rc = -EINVAL;
        else
            rc = take_in(d, r, &r->next, r->end >> PAGE_SHIFT,
                         XENCOMM_ANY_POINTER);
        if ( rc == -ERESTART )
            goto out;
        if ( !rc )
        {
            r->state = REGION_lives;
            smp_wmb();
            ACCESS_ONCE(xd->live[r->slot]) = r;
            rc = r->handle;
            goto out;
        }
        end_region(xd, r, rc);
    }

    rc = r->error;
    if ( release_region(xd, r) )
        rc = -ERESTART;

 out:
    spin_unlock(&xd->lock);

    return rc;
}

static int xencomm_extend(struct domain *d, uint64_t handle,
                          unsigned long *first, unsigned long *count,
                          unsigned long use)
{
    struct xencomm_domain *xd = d->arch.xencomm;
    struct xencomm_region *r;
    struct xencomm_header h;
    unsigned int order;
    unsigned long next, end;
    int rc;

    if ( use > XENCOMM_ARGUMENTS_ONLY )
        return -EINVAL;
    if ( !xd )
        return -ENOENT;

    if ( !spin_trylock(&xd->lock) )
        return -ERESTART;

    rc = -ENOENT;
    r = region_of(xd, handle);
    if ( !r || r->state != REGION_lives )
        goto out;

    rc = -EINVAL;
    order = r->header.granule_shift - PAGE_SHIFT;
    if ( *first > r->header.base_count ||
         *count > r->header.base_count - *first ||
         *first < PFN_DOWN(r->payload) >> order ||
         get_header(d, r->address, &h) || memcmp(&h, &r->header, sizeof(h)) )
        goto out;

    /* Before a call can find such a granule. */
    if ( use == XENCOMM_ARGUMENTS_ONLY && *count )
    {
        r->has_arguments = true;
        smp_wmb();
    }

    next = *first << order;
    end = (*first + *count) << order;
    rc = take_in(d, r, &next, end, use);
    if ( rc == -ERESTART )
    {
        *first = next >> order;
        *count = (end >> order) - *first;
    }

 out:
    spin_unlock(&xd->lock);

    return rc;
}

/* Whether another vcpu is in a call with it. */
static bool is_used(const struct domain *d, const struct xencomm_region *r)
{
    const struct vcpu *v;

    for_each_vcpu ( d, v )
        if ( v != current && v->arch.xencomm.region == r )
            return true;

    return false;
}

/*
 * Whether no vcpu uses a region that was hidden before.  The other vcpus are
 * stopped for a moment: none of them is in a call then, but for one that waits
 * inside it.
 */
static int quiesce(struct domain *d, const struct xencomm_region *r)
{
    int rc = domain_pause_except_self(d);

    if ( rc )
        return rc;

    if ( is_used(d, r) )
        rc = -ERESTART;

    domain_unpause_except_self(d);

    return rc;
}

static long xencomm_unregister(struct domain *d, uint64_t handle)
{
    struct xencomm_domain *xd = d->arch.xencomm;
    struct xencomm_region *r;
    long rc = -ENOENT;

    if ( !xd )
        return rc;

    if ( !spin_trylock(&xd->lock) )
        return -ERESTART;

    r = region_of(xd, handle);
    if ( !r || r->state == REGION_begins ||
         (r->state == REGION_ends && r->error) )
        goto out;

    if ( r->state == REGION_lives )
        end_region(xd, r, 0);

    if ( !r->is_quiet )
    {
        /* A vcpu that is to stop may be waiting for the lock. */
        spin_unlock(&xd->lock);
        rc = quiesce(d, r);
        if ( rc )
            return rc;
        if ( !spin_trylock(&xd->lock) )
            return -ERESTART;

        /* It may be gone by now. */
        rc = -ENOENT;
        r = region_of(xd, handle);
        if ( !r )
            goto out;
        r->is_quiet = true;
    }

    ASSERT(!is_used(d, r));
    rc = release_region(xd, r);

 out:
    spin_unlock(&xd->lock);

    return rc;
}

long do_xencomm_op(unsigned int cmd, unsigned long arg1, unsigned long arg2,
                   unsigned long arg3, unsigned long arg4)
{
    struct vcpu *curr = current;
    struct domain *d = curr->domain;
    long rc;

    /* A kernel's multicall may be a process's, which can change it. */
    if ( curr->mc_state.flags & MCSF_in_multicall )
        return -EPERM;

    /* No pointers here; and this call may end the region that it came with. */
    if ( curr->arch.xencomm.region )
        curr->arch.xencomm.region = &no_region;

    switch ( cmd )
    {
    case XENCOMM_register:
        rc = xencomm_register(d, arg1, arg2, &arg3);
        break;

    case XENCOMM_extend:
        rc = xencomm_extend(d, arg1, &arg2, &arg3, arg4);
        break;

    case XENCOMM_unregister:
        rc = xencomm_unregister(d, arg1);
        break;

    default:
        return -ENOSYS;
    }

    if ( rc == -ERESTART )
        rc = hypercall_create_continuation(__HYPERVISOR_xencomm_op, "illll",
                                           cmd, arg1, arg2, arg3, arg4);

    return rc;
}

int xencomm_relinquish(struct domain *d)
{
    struct xencomm_domain *xd = d->arch.xencomm;
    unsigned int i;

    if ( !xd )
        return 0;

    /* Nobody else is left, and no vcpu goes on. */
    for ( i = 0; i < MAX_REGIONS; i++ )
    {
        struct xencomm_region *r = xd->regions[i];

        if ( !r )
            continue;
        if ( r->state != REGION_ends )
            end_region(xd, r, 0);
        if ( release_region(xd, r) || hypercall_preempt_check() )
            return -ERESTART;
    }

    d->arch.xencomm = NULL;
    xfree(xd);

    return 0;
}

/*
 * Local variables:
 * mode: C
 * c-file-style: "BSD"
 * c-basic-offset: 4
 * tab-width: 4
 * indent-tabs-mode: nil
 * End:
 */
