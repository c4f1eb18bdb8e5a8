// A guest's memory with calls in it, for tests of what looks at calls from outside.
#ifndef TESTS_UNIT_SCHEMA_GUEST_H_
#define TESTS_UNIT_SCHEMA_GUEST_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <vector>

#include "gtest/gtest.h"
#include "hcall/schema/generated/xen.h"
#include "hcall/schema/walk.h"
#include "xencomm/space.h"

namespace xencomm::schema {

// Guest memory from kBase on; everything else faults.
class Guest final : public Space {
 public:
  static constexpr std::uint64_t kBase = 0x10000;

  Mapping Resolve(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length, Access,
                  Cursor*) override {
    std::uint64_t address;
    if (__builtin_add_overflow(pointer.value, offset, &address)) return Fault::kOverflow;
    if (!Contains(kBase, memory_.size(), address, 1)) return Fault::kNotPresent;
    const std::uint64_t rest = kBase + memory_.size() - address;
    return Mapping(memory_.data() + (address - kBase), length < rest ? length : rest);
  }

  // Room for `count` of T; its address.
  template <class T>
  std::uint64_t New(const T* values, std::size_t count) {
    next_ = AlignUp(next_, 16);
    const std::uint64_t address = kBase + next_;
    std::memcpy(memory_.data() + next_, values, count * sizeof(T));
    next_ += count * sizeof(T);
    return address;
  }
  template <class T>
  std::uint64_t New(const T& value) {
    return New(&value, 1);
  }
  std::uint64_t Room(std::size_t bytes) {
    next_ = AlignUp(next_, 16);
    const std::uint64_t address = kBase + next_;
    next_ += bytes;
    return address;
  }
  template <class T>
  T At(std::uint64_t address) const {
    T value;
    std::memcpy(&value, memory_.data() + (address - kBase), sizeof(T));
    return value;
  }
  std::uint64_t end() const { return kBase + memory_.size(); }

 private:
  std::vector<std::byte> memory_ = std::vector<std::byte>(1 << 18);
  std::uint64_t next_ = 0;
};

template <class Handle>
void Set(Handle& handle, std::uint64_t address) {
  std::memcpy(&handle, &address, sizeof(address));
}

class GuestCalls : public ::testing::Test {
 protected:
  static Call MakeCall(std::uint64_t hypercall, std::initializer_list<std::uint64_t> arguments) {
    Call call = {.hypercall = hypercall};
    std::copy(arguments.begin(), arguments.end(), call.registers.begin());
    return call;
  }

  std::uint64_t Sysctl(std::uint32_t cmd, auto fill) {
    xen_sysctl sysctl = {};
    sysctl.cmd = cmd;
    sysctl.interface_version = XEN_SYSCTL_INTERFACE_VERSION;
    fill(sysctl.u);
    return guest_.New(sysctl);
  }
  std::uint64_t Domctl(std::uint32_t cmd, auto fill) {
    xen_domctl domctl = {};
    domctl.cmd = cmd;
    domctl.interface_version = XEN_DOMCTL_INTERFACE_VERSION;
    fill(domctl.u);
    return guest_.New(domctl);
  }

  Guest guest_;
};

}  // namespace xencomm::schema

#endif  // TESTS_UNIT_SCHEMA_GUEST_H_
