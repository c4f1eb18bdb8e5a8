// What must be arranged before Xen's public headers can be read on this architecture: nothing,
// x86-64 has a branch of its own in public/xen.h.
#ifndef ARCH_X86_64_XEN_ARCH_H_
#define ARCH_X86_64_XEN_ARCH_H_

#endif  // ARCH_X86_64_XEN_ARCH_H_
