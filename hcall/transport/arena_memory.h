// An Arena's memory for the copies of a bounced call.
#ifndef HCALL_TRANSPORT_ARENA_MEMORY_H_
#define HCALL_TRANSPORT_ARENA_MEMORY_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "hcall/transport/bounced_call.h"
#include "xencomm/arena.h"

namespace xencomm {

class ArenaMemory final : public schema::BounceMemory {
 public:
  // `arena` is borrowed.
  explicit ArenaMemory(Arena& arena) : arena_(arena) {}

  std::byte* Allocate(std::uint64_t bytes) override {
    const absl::StatusOr<void*> memory = arena_.Allocate(bytes);
    return memory.ok() ? static_cast<std::byte*>(*memory) : nullptr;
  }
  void Free(std::byte* memory) override { arena_.Free(memory).IgnoreError(); }

 private:
  Arena& arena_;
};

}  // namespace xencomm

#endif  // HCALL_TRANSPORT_ARENA_MEMORY_H_
