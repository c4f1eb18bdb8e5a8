// The C API (xencomm/xencomm.h): contexts over clients, and refusals as errno and a sentence.

#include <bit>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <string>
#include <utility>

#include "hcall/transport/c_border.h"
#include "xencomm/private.h"
#include "xencomm/sentence.h"
#include "xencomm/xencomm.h"

namespace xencomm {

std::string& LastError() {
  thread_local std::string error;
  return error;
}

namespace {

int ErrnoOf(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kResourceExhausted:
      return ENOMEM;
    case absl::StatusCode::kFailedPrecondition:
      return ESTALE;
    case absl::StatusCode::kPermissionDenied:
      return EACCES;
    case absl::StatusCode::kUnavailable:
      return ENODEV;
    case absl::StatusCode::kUnimplemented:
      return ENOTSUP;
    case absl::StatusCode::kAlreadyExists:
      return EEXIST;
    case absl::StatusCode::kAborted:
      return EBUSY;
    case absl::StatusCode::kOutOfRange:
      return EFAULT;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
      return EINVAL;
    default:
      return EIO;
  }
}

}  // namespace

int Refuse(int error, std::string sentence) {
  LastError() = std::move(sentence);
  errno = error;
  return -1;
}

int Refuse(const absl::Status& status) {
  return Refuse(ErrnoOf(status.code()), std::string(status.message()));
}

std::int64_t RefusalOf(unsigned hypercall, std::int64_t answer) {
  const int error = static_cast<int>(-answer);
  // The call was made: what it answered is told also where there is no memory for the sentence.
  Guarded([&] {
    const char* const name = strerrorname_np(error);
    return Refuse(error, Sentence("hypercall %u answered %s (%s)", hypercall,
                                  name == nullptr ? std::to_string(-error).c_str() : name,
                                  strerrordesc_np(error)));
  });
  errno = error;
  return -1;
}

namespace {

void* PointerOrRefuse(const absl::StatusOr<void*>& memory) {
  if (memory.ok()) return *memory;
  Refuse(memory.status());
  return nullptr;
}

}  // namespace
}  // namespace xencomm

using xencomm::Contents;
using xencomm::Guarded;
using xencomm::PointerOrRefuse;
using xencomm::Refuse;
using xencomm::Sentence;

xencomm_context* xencomm_open(const char* transport) {
  return Guarded([&]() -> xencomm_context* {
    auto client = xencomm::Client::Open(transport == nullptr ? "" : transport);
    if (!client.ok()) {
      Refuse(client.status());
      return nullptr;
    }
    return new xencomm_context{*std::move(client)};
  });
}

int xencomm_close(xencomm_context* x) {
  return Guarded([&] {
    delete x;
    return 0;
  });
}

const char* xencomm_error(void) { return xencomm::LastError().c_str(); }

void* xencomm_alloc(xencomm_context* x, size_t size) {
  return Guarded([&] { return PointerOrRefuse(x->client->arena().Allocate(size)); });
}

void* xencomm_alloc_array(xencomm_context* x, size_t count, size_t size) {
  return Guarded([&] { return PointerOrRefuse(x->client->arena().AllocateArray(count, size)); });
}

void* xencomm_calloc(xencomm_context* x, size_t count, size_t size) {
  return Guarded([&] {
    return PointerOrRefuse(x->client->arena().AllocateArray(count, size, Contents::kCleared));
  });
}

void* xencomm_alloc_aligned(xencomm_context* x, size_t alignment, size_t size) {
  return Guarded([&] {
    return PointerOrRefuse(x->client->arena().Allocate(size, Contents::kAny, alignment));
  });
}

int xencomm_free(xencomm_context* x, void* pointer) {
  return Guarded([&] {
    const absl::Status status = x->client->arena().Free(pointer);
    return status.ok() ? 0 : Refuse(status);
  });
}

int xencomm_check(xencomm_context* x, const void* pointer, size_t count, size_t size) {
  return Guarded([&] {
    std::size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
      return Refuse(EFAULT,
                    Sentence("%u elements of %u bytes: the product passes 2^64", count, size));
    }
    const absl::Status status = x->client->arena().Check(pointer, bytes);
    if (status.ok()) return 0;
    const bool inherited = status.code() == absl::StatusCode::kFailedPrecondition;
    return Refuse(inherited ? ESTALE : EFAULT, std::string(status.message()));
  });
}

std::int64_t xencomm_call(xencomm_context* x, unsigned op, uint64_t arg1, uint64_t arg2,
                          uint64_t arg3, uint64_t arg4, uint64_t arg5) {
  return Guarded([&]() -> std::int64_t {
    return xencomm::AnswerOf(op, x->client->CallWith(op, {arg1, arg2, arg3, arg4, arg5}));
  });
}

int xencomm_translate(xencomm_context* x, const void* pointer, enum xencomm_space space,
                      struct xencomm_translation* translation) {
  return Guarded([&] {
    const absl::Status checked = x->client->arena().Check(pointer, 1);
    if (!checked.ok()) return Refuse(checked);
    const absl::StatusOr<xencomm::TracedPointer> traced = x->client->transport().TraceOf(
        pointer,
        space == XENCOMM_SPACE_WALK ? xencomm::TracedSpace::kWalk : xencomm::TracedSpace::kRegion);
    if (!traced.ok()) return Refuse(traced.status());
    const xencomm::Trace& trace = traced->trace;
    *translation = {.pointer = std::bit_cast<std::uintptr_t>(pointer),
                    .region = traced->region.value,
                    .guest_physical = trace.end.start().value,
                    .machine = traced->machine.value,
                    .steps = trace.count,
                    .step = {}};
    for (unsigned i = 0; i < trace.count; ++i) {
      const xencomm::Step& step = trace.steps[i];
      translation->step[i] = {step.table, step.index, step.address.value, step.entry};
    }
    return 0;
  });
}
static_assert(std::size(xencomm_translation{}.step) == xencomm::Trace::kMaxSteps);

int xencomm_private_fd(xencomm_context* x) { return x->client->transport().fd(); }

int xencomm_private_restrict(xencomm_context* x) {
  return Guarded([&] {
    const int result = x->client->Restrict();
    return result == 0 ? 0 : Refuse(-result, "a device cannot be taken away");
  });
}

int xencomm_private_never_faults(xencomm_context* x) {
  return x->client->transport().never_faults() ? 1 : 0;
}
