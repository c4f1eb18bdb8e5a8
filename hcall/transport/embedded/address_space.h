// Whose mappings ForeignMappings makes: this process's, or those of one that this process serves.
#ifndef HCALL_TRANSPORT_EMBEDDED_ADDRESS_SPACE_H_
#define HCALL_TRANSPORT_EMBEDDED_ADDRESS_SPACE_H_

#include <sys/mman.h>

#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>

namespace xencomm::embedded {

class AddressSpace {
 public:
  // As mmap, of this process's `fd`: an address, or a negative errno.
  virtual std::int64_t Map(std::uint64_t address, std::size_t length, int protection, int flags,
                           int fd, std::uint64_t offset) = 0;
  // As munmap.
  virtual void Unmap(std::uint64_t address, std::size_t length) = 0;
  // As madvise.
  virtual void Advise(std::uint64_t address, std::size_t length, int advice) = 0;
  // Its folder in /proc.
  virtual std::string proc() const = 0;

 protected:
  AddressSpace() = default;
  AddressSpace(const AddressSpace&) = delete;
  AddressSpace& operator=(const AddressSpace&) = delete;
  ~AddressSpace() = default;
};

class OwnAddressSpace final : public AddressSpace {
 public:
  static AddressSpace& Get() {
    static OwnAddressSpace own;
    return own;
  }

  std::int64_t Map(std::uint64_t address, std::size_t length, int protection, int flags, int fd,
                   std::uint64_t offset) override {
    void* const mapping = mmap(std::bit_cast<void*>(address), length, protection, flags, fd,
                               static_cast<off_t>(offset));
    return mapping == MAP_FAILED ? -errno : std::bit_cast<std::int64_t>(mapping);
  }
  void Unmap(std::uint64_t address, std::size_t length) override {
    munmap(std::bit_cast<void*>(address), length);
  }
  void Advise(std::uint64_t address, std::size_t length, int advice) override {
    madvise(std::bit_cast<void*>(address), length, advice);
  }
  std::string proc() const override { return "/proc/self"; }
};

}  // namespace xencomm::embedded

#endif  // HCALL_TRANSPORT_EMBEDDED_ADDRESS_SPACE_H_
