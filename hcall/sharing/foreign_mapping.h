// What a ForeignMapping is made of.
#ifndef HCALL_SHARING_FOREIGN_MAPPING_H_
#define HCALL_SHARING_FOREIGN_MAPPING_H_

#include <cstddef>
#include <memory>

#include "hcall/sharing/page_file.h"
#include "hcall/transport/foreign_memory.h"
#include "xencomm/foreign_mapping.h"
#include "xencomm/fork_marker.h"

namespace xencomm {

struct ForeignMapping::State {
  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    if (start == nullptr || !marker.in_same_process()) return;
    UnmapAnyway(start, pages, [this] { memory->Unmap(start, pages); });
  }

  const ForkMarker marker;
  std::shared_ptr<ForeignMemory> memory;
  std::byte* start = nullptr;
  std::size_t pages = 0;
};

}  // namespace xencomm

#endif  // HCALL_SHARING_FOREIGN_MAPPING_H_
