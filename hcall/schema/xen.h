// Xen's public headers: the one place that includes them.
//
// The toolstack's view (__XEN_TOOLS__), in the interface version that this view implies. What is
// included here is what the op table covers: every header that declares a hypercall.
#ifndef HCALL_SCHEMA_XEN_H_
#define HCALL_SCHEMA_XEN_H_

// Standard headers first: xen_arch.h may define a macro that they must not see.
#include <cstddef>
#include <cstdint>

#if defined(__x86_64__)
#include "arch/x86_64/xen_arch.h"
#elif defined(__powerpc64__)
#include "arch/powerpc/xen_arch.h"
#else
#error "no arch/<this architecture>/xen_arch.h"
#endif

#ifndef __XEN_TOOLS__
#define __XEN_TOOLS__ 1
#endif

// clang-format off: xen.h comes first, the others rely on it.
#include <xen/xen.h>

#include <xen/arch-x86/xen-mca.h>
#include <xen/argo.h>
#include <xen/callback.h>
#include <xen/domctl.h>
#include <xen/event_channel.h>
#include <xen/grant_table.h>
#include <xen/hvm/dm_op.h>
#include <xen/hvm/hvm_op.h>
#include <xen/hvm/params.h>
#include <xen/hypfs.h>
#include <xen/kexec.h>
#include <xen/memory.h>
#include <xen/nmi.h>
#include <xen/physdev.h>
#include <xen/platform.h>
#include <xen/pmu.h>
#include <xen/sched.h>
#include <xen/sysctl.h>
#include <xen/tmem.h>
#include <xen/vcpu.h>
#include <xen/version.h>
#include <xen/xenoprof.h>
#include <xen/xsm/flask_op.h>
// clang-format on

#ifdef XENCOMM_XEN_ARCH_BORROWED
#undef __x86_64__
#undef XENCOMM_XEN_ARCH_BORROWED
#endif

#endif  // HCALL_SCHEMA_XEN_H_
