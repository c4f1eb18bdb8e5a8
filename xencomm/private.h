/*
 * What the drop-in libraries ask of libxencomm.so besides its interface. It can change with every
 * version: the symbols' node, XENCOMM_PRIVATE, says so.
 */
#ifndef XENCOMM_PRIVATE_H_
#define XENCOMM_PRIVATE_H_

#include "xencomm/xencomm.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The file descriptor that calls go through, or one that stands for it. */
XENCOMM_API int xencomm_private_fd(xencomm_context *x);

/*
 * Takes away what calls go through and what memory comes from, of this context and of all that
 * share its memory. What is opened afterwards is apart from them. 0, or -1 and errno.
 */
XENCOMM_API int xencomm_private_restrict(xencomm_context *x);

/* Whether memory of this context stays present whatever the kernel does: 1 or 0. */
XENCOMM_API int xencomm_private_never_faults(xencomm_context *x);

#ifdef __cplusplus
}
#endif

#endif /* XENCOMM_PRIVATE_H_ */
