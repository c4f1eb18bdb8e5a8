// What must be arranged before Xen's public headers can be read on this architecture.
//
// public/xen.h knows x86 and Arm only. A 64-bit PowerPC has the integer types, the sizes and the
// alignments of x86-64, so it borrows that branch: every offset is then equal, which the generated
// assertions of the op table prove. Standard headers come before this one, or they would see the
// macro too; hcall/schema/xen.h includes them first and gives the macro back afterwards.
#ifndef ARCH_POWERPC_XEN_ARCH_H_
#define ARCH_POWERPC_XEN_ARCH_H_

static_assert(sizeof(long) == 8 && sizeof(void*) == 8, "the ABI of x86-64 wants LP64");

#define __x86_64__ 1
#define XENCOMM_XEN_ARCH_BORROWED 1

#endif  // ARCH_POWERPC_XEN_ARCH_H_
