// An Arena for tests, over memory of which a test sees what is asked of it.
#ifndef TESTS_UNIT_FAKE_BACKING_H_
#define TESTS_UNIT_FAKE_BACKING_H_

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstdint>
#include <functional>
#include <memory>

#include "xencomm/arena.h"

namespace xencomm::testing {

inline constexpr std::uint64_t kPage = Arena::kPageSize;

// Plain memory that counts what is asked of it, and has less than it promised when told so.
class FakeBacking final : public Backing {
 public:
  struct Calls {
    int populate = 0;
    int release = 0;
    std::uint64_t limit = ~std::uint64_t{0};  // bytes that Populate gives
    std::function<void()> before_populate = [] {};
  };

  explicit FakeBacking(Calls* calls, std::uint64_t payload_offset = 0)
      : calls_(calls), payload_offset_(payload_offset) {}

  absl::StatusOr<Reservation> Reserve(std::uint64_t payload_size) override {
    size_ = payload_offset_ + payload_size;
    base_ = mmap(nullptr, size_, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base_ == MAP_FAILED) return absl::ResourceExhaustedError("no address space");
    return Reservation{static_cast<std::byte*>(base_), payload_offset_, payload_size,
                       ByteOrder::kBig};
  }

  absl::Status Populate(std::uint64_t offset, std::uint64_t length) override {
    calls_->before_populate();
    ++calls_->populate;
    EXPECT_EQ(offset, populated_);
    if (offset + length > calls_->limit) return absl::ResourceExhaustedError("the fake is empty");
    populated_ += length;
    return absl::OkStatus();
  }

  void Release() override {
    ++calls_->release;
    munmap(base_, size_);
  }

 private:
  Calls* calls_;
  std::uint64_t payload_offset_;
  std::uint64_t populated_ = 0;
  std::uint64_t size_ = 0;
  void* base_ = nullptr;
};

class ArenaTest : public ::testing::Test {
 protected:
  std::unique_ptr<Arena> Make(std::uint64_t size = 64 << 20, std::uint64_t payload_offset = 0) {
    return *Arena::Create(std::make_unique<FakeBacking>(&calls_, payload_offset), size);
  }

  FakeBacking::Calls calls_;
};

}  // namespace xencomm::testing

#endif  // TESTS_UNIT_FAKE_BACKING_H_
