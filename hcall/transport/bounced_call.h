// Bounce: a call whose buffers lie anywhere, made from copies that a hypercall may touch.
//
//   BouncedCall bounced(call, order, allocator);
//   if (bounced.ok()) result = Make(bounced.call()), bounced.CopyBack(result);
//
// Every buffer is copied in, outputs too, so that what the hypervisor leaves alone comes back as it
// was. CopyBack copies out by direction: of structures only the fields that the op writes, of other
// buffers all when the op writes them; of arrays the elements that the op says it filled. The
// caller's pointers are neither changed nor copied back.
//
// Buffers that share bytes share their copy, so that what one of them writes the others show, as
// they would without a bounce. Only where a pointer lies in another's data (a buffer of bytes over
// the structure that points at it) the call cannot be made from copies: kOverlap.
#ifndef HCALL_TRANSPORT_BOUNCED_CALL_H_
#define HCALL_TRANSPORT_BOUNCED_CALL_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "hcall/transport/collect.h"

namespace xencomm::schema {

// Memory that a hypercall may touch: an Arena's, say.
class BounceMemory {
 public:
  virtual ~BounceMemory() = default;
  // 8-byte aligned; nullptr: none left.
  virtual std::byte* Allocate(std::uint64_t bytes) = 0;
  virtual void Free(std::byte* memory) = 0;
};

// The memory that the caller's pointers lead into, where that is not this process's.
class CallerMemory {
 public:
  // False: it cannot be touched so, or not all of it.
  virtual bool Read(std::uint64_t address, void* to, std::uint64_t bytes) = 0;
  virtual bool Write(std::uint64_t address, const void* from, std::uint64_t bytes) = 0;

 protected:
  ~CallerMemory() = default;
};

class BouncedCall {
 public:
  // `memory` is borrowed.
  BouncedCall(const Call& call, ByteOrder order, BounceMemory& memory, std::uint32_t vcpus = 1,
              Releases releases = kAllReleases);
  // With the process's memory as `caller` sees it (CollectBuffers), or another process's, of which
  // `theirs` is borrowed.
  BouncedCall(const Call& call, const Caller& caller, BounceMemory& memory,
              CallerMemory* theirs = nullptr);
  ~BouncedCall();

  BouncedCall(const BouncedCall&) = delete;
  BouncedCall& operator=(const BouncedCall&) = delete;

  const Finding& finding() const { return finding_; }
  bool out_of_memory() const { return out_of_memory_; }
  // Whether there is a call to make.
  bool ok() const { return finding_.ok() && !out_of_memory_; }

  const Call& call() const { return call_; }
  // `result` is what the hypercall returned. False: something could not be written any more.
  bool CopyBack(std::int64_t result);

 private:
  struct Copy {
    CollectedBuffer original;
    std::byte* data;     // its part of a block
    std::byte* pointer;  // to this copy, in the copy of the structure around it; nullptr: register
    std::uint64_t bits;  // that the original pointer holds
  };

  // Between a copy and what it is of.
  bool Read(const BufferGroup& group, std::byte* to) const;
  bool Write(std::byte* to, const std::byte* from, std::uint64_t bytes) const;

  Call call_;
  ByteOrder order_;
  BounceMemory& memory_;
  CallerMemory* const theirs_;
  Finding finding_;
  bool out_of_memory_ = false;
  std::vector<std::byte*> blocks_;  // one for each group of buffers that share bytes
  std::vector<Copy> copies_;
};

}  // namespace xencomm::schema

#endif  // HCALL_TRANSPORT_BOUNCED_CALL_H_
