// Guest-physical memory to look at: an image in a file, or domain 0's of the embedded machine. Both
// are a Memory (xencomm/memory.h), so the library's own walks run over them.
#ifndef HCALL_TOOLS_MEMORY_VIEW_H_
#define HCALL_TOOLS_MEMORY_VIEW_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "hcall/hypervisor/memory/domain_memory.h"
#include "xencomm/memory.h"

namespace xencomm::tools {

class MemoryView {
 public:
  virtual ~MemoryView() = default;
  virtual Mapping Map(PhysicalAddress physical, std::uint64_t length, Access access) = 0;
  // Bytes that there are at most.
  virtual std::uint64_t size() const = 0;
};
static_assert(Memory<MemoryView>);

class DomainView final : public MemoryView {
 public:
  explicit DomainView(hypervisor::LockedMemory& memory) : memory_(memory) {}
  Mapping Map(PhysicalAddress physical, std::uint64_t length, Access access) override {
    return memory_.Map(physical, length, access);
  }
  std::uint64_t size() const override { return ~std::uint64_t{0}; }

 private:
  hypervisor::LockedMemory& memory_;
};

// Byte N of the file is what lies at guest-physical address N. It is only read.
class ImageMemory final : public MemoryView {
 public:
  // kNotFound and the like with a sentence.
  static absl::StatusOr<std::unique_ptr<ImageMemory>> Open(const std::string& path);

  ImageMemory(const ImageMemory&) = delete;
  ImageMemory& operator=(const ImageMemory&) = delete;
  ~ImageMemory() override;

  Mapping Map(PhysicalAddress physical, std::uint64_t length, Access access) override;
  std::uint64_t size() const override { return size_; }

 private:
  ImageMemory(std::byte* data, std::uint64_t size) : data_(data), size_(size) {}

  std::byte* const data_;
  const std::uint64_t size_;
};

}  // namespace xencomm::tools

#endif  // HCALL_TOOLS_MEMORY_VIEW_H_
