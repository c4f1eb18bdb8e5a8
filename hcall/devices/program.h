// A program that uses devices: its memory as the kernel sees it, where what cannot be touched is a
// fault and not a signal, and its mappings.
#ifndef HCALL_DEVICES_PROGRAM_H_
#define HCALL_DEVICES_PROGRAM_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "hcall/transport/bounced_call.h"
#include "hcall/transport/embedded/address_space.h"
#include "xencomm/space.h"

namespace xencomm::devices {

// Copies of another process's memory, for as long as one call looks at them.
using Pieces = std::deque<std::vector<std::byte>>;

class Program : public embedded::AddressSpace {
 public:
  // Whether all of [address, address + bytes) can be touched in this way. Of another process, what
  // can be read may still refuse to be written, which is then found when it is. What a thread
  // unmaps meanwhile ends this process if it is its own, as it would without us.
  virtual bool CanTouch(std::uint64_t address, std::uint64_t bytes, Access access) = 0;
  // False: not all of it can be.
  virtual bool Read(std::uint64_t address, void* to, std::uint64_t bytes) = 0;
  virtual bool Write(std::uint64_t address, const void* from, std::uint64_t bytes) = 0;
  // How a bounced call copies; null: as any memory of this process, once it was looked at.
  virtual schema::CallerMemory* bounced_memory() = 0;
  // The bytes there, of which there are at most `length` in one run.
  virtual Mapping View(std::uint64_t address, std::uint64_t length, Access access,
                       Pieces& pieces) = 0;

  // One object that an ioctl's argument leads to.
  template <class T>
  bool Fetch(std::uint64_t from, T* to) {
    return Read(from, to, sizeof(T));
  }
  template <class T>
  bool Store(std::uint64_t to, const T& from) {
    return Write(to, &from, sizeof(T));
  }

 protected:
  ~Program() = default;
};

// For the walk of one call (hcall/schema/walk.h).
class ProgramSpace final : public Space {
 public:
  explicit ProgramSpace(Program& program) : program_(program) {}

  Mapping Resolve(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length, Access access,
                  Cursor*) override {
    std::uint64_t address;
    if (__builtin_add_overflow(pointer.value, offset, &address)) return Fault::kNotPresent;
    return program_.View(address, length, access, pieces_);
  }

 private:
  Program& program_;
  Pieces pieces_;
};

// This process.
class OwnProgram final : public Program {
 public:
  bool CanTouch(std::uint64_t address, std::uint64_t bytes, Access access) override;
  bool Read(std::uint64_t address, void* to, std::uint64_t bytes) override;
  bool Write(std::uint64_t address, const void* from, std::uint64_t bytes) override;
  schema::CallerMemory* bounced_memory() override { return nullptr; }
  Mapping View(std::uint64_t address, std::uint64_t length, Access access, Pieces&) override;

  std::int64_t Map(std::uint64_t address, std::size_t length, int protection, int flags, int fd,
                   std::uint64_t offset) override {
    return mappings_.Map(address, length, protection, flags, fd, offset);
  }
  void Unmap(std::uint64_t address, std::size_t length) override {
    mappings_.Unmap(address, length);
  }
  void Advise(std::uint64_t address, std::size_t length, int advice) override {
    mappings_.Advise(address, length, advice);
  }
  std::string proc() const override { return mappings_.proc(); }

 private:
  embedded::AddressSpace& mappings_ = embedded::OwnAddressSpace::Get();
};

}  // namespace xencomm::devices

#endif  // HCALL_DEVICES_PROGRAM_H_
