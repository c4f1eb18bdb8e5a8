/*
 * xencomm: the op table. What a hypercall points at, in words, before it is made; whether it may be
 * made; and hypercalls whose structures lie anywhere.
 *
 *     const xencomm_hypercall call = {__HYPERVISOR_sysctl, {(uintptr_t)&sysctl}};
 *     char *words = xencomm_describe(&call, NULL);
 *     puts(words);
 *     free(words);
 *
 * A call is read as the program made it: its structures are followed in the program's own memory,
 * so that a pointer in them that leads nowhere ends the program. `release` is the Xen that the call
 * is for ("4.20"), NULL any that the table knows (4.17 and later): a domctl, a sysctl and a
 * platform_op state their interface version themselves. The whole table is share/xencomm/
 * op_table.json.
 *
 * Functions refuse as those of xencomm.h do: NULL or -1, errno, and a sentence for xencomm_error().
 * EINVAL: no such release, or a call that the table does not know or finds a mistake in; then the
 * sentence names op, field and address.
 */
#ifndef XENCOMM_OP_TABLE_H_
#define XENCOMM_OP_TABLE_H_

#include <stddef.h>
#include <stdint.h>

#include "xencomm/export.h"
#include "xencomm/xencomm.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A hypercall: __HYPERVISOR_... of xen/xen.h, and its argument registers, unused ones 0. */
typedef struct xencomm_hypercall {
  uint64_t number;
  uint64_t arguments[5];
} xencomm_hypercall;

/* What a pointer leads to. Texts live as long as the library. */
typedef struct xencomm_buffer {
  const char *hypercall; /* "sysctl" */
  const char *op;        /* "readconsole" */
  const char *field;     /* the pointer's: "buffer"; a register's name of the argument itself */
  const char *type;      /* of an element, as Xen's headers call it: "uint8_t" */
  void *address;
  uint64_t count; /* elements */
  uint64_t bytes; /* of all elements */
  int reads;      /* the hypervisor reads it */
  int writes;     /* the hypervisor writes it */
  int is_kept;    /* the hypervisor keeps the pointer after the call, until it is replaced */
  uint64_t entry; /* of a multicall, that the call stands in; XENCOMM_NONE: it stands alone */
  uint64_t index; /* of the element that the pointer stands in; XENCOMM_NONE: of the structure */
} xencomm_buffer;
#define XENCOMM_NONE UINT64_MAX

/* Calls `visit` with each buffer, one before those that it points at, as long as it answers 0. Its
 * other answer is this function's; 0 when all were visited. */
XENCOMM_API int xencomm_for_each_buffer(const xencomm_hypercall *call, const char *release,
                                        int (*visit)(void *context, const xencomm_buffer *buffer),
                                        void *context);

/* The call in words: its op, the fields of its structures, what they point at. To be freed with
 * free(). */
XENCOMM_API char *xencomm_describe(const xencomm_hypercall *call, const char *release);

typedef struct xencomm_range {
  const void *start;
  uint64_t bytes;
} xencomm_range;

/* An op that may be made: its hypercall's number, and its own (XEN_SYSCTL_... of xen/sysctl.h). */
typedef struct xencomm_allowed_op {
  uint64_t hypercall;
  uint64_t op;
} xencomm_allowed_op;

/* Whether all that the call points at lies in the ranges, each buffer in one, and its op, those of
 * a multicall's entries too, is among the allowed: 0, or -1 and EPERM. `allowed` NULL: every op. */
XENCOMM_API int xencomm_audit(const xencomm_hypercall *call, const char *release,
                              const xencomm_range *ranges, size_t range_count,
                              const xencomm_allowed_op *allowed, size_t allowed_count);

/* Makes a call whose structures lie anywhere in the program: copied into memory of the context, and
 * what the hypervisor wrote copied back. Answers as xencomm_call. */
XENCOMM_API int64_t xencomm_call_anywhere(xencomm_context *x, const xencomm_hypercall *call,
                                          const char *release);

#ifdef __cplusplus
}

#include <cstdlib>
#include <string>

namespace xencomm {

/* The same for C++: `visit` takes a const xencomm_buffer&, and answers whether to go on. */
template <class Visitor>
int ForEachBuffer(const xencomm_hypercall &call, Visitor visit, const char *release = nullptr) {
  const auto thunk = [](void *context, const xencomm_buffer *buffer) -> int {
    return (*static_cast<Visitor *>(context))(*buffer) ? 0 : 1;
  };
  return xencomm_for_each_buffer(&call, release, thunk, &visit);
}

/* Empty when the call cannot be described: see xencomm_error(). */
inline std::string Describe(const xencomm_hypercall &call, const char *release = nullptr) {
  char *const words = xencomm_describe(&call, release);
  const std::string text = words == nullptr ? "" : words;
  std::free(words);
  return text;
}

} /* namespace xencomm */
#endif

#endif /* XENCOMM_OP_TABLE_H_ */
