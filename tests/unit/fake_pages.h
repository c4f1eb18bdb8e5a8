// A domain's memory as a back-end on Xen would map it, without Xen: a memfd, its frames and grants.
//
// It knows what is mapped and forgets nothing, refuses what was revoked or may not be written, and
// can be made to fail at any of its mappings.
#ifndef TESTS_UNIT_FAKE_PAGES_H_
#define TESTS_UNIT_FAKE_PAGES_H_

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "hcall/sharing/vhost_user/pages.h"
#include "hcall/transport/file_descriptor.h"
#include "xencomm/mutex.h"

namespace xencomm::vhost_user {

class FakePages final : public PageMapper {
 public:
  static constexpr std::uint16_t kDomain = 7;
  static constexpr std::size_t kPage = 4096;

  struct Grant {
    std::uint64_t frame;
    bool is_writable = true;
  };

  explicit FakePages(std::size_t frames)
      : frames_(frames), file_(memfd_create("domain", MFD_CLOEXEC)) {
    if (ftruncate(file_.get(), static_cast<off_t>(frames * kPage)) != 0) std::abort();
    void* const all =
        mmap(nullptr, frames * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(), 0);
    if (all == MAP_FAILED) std::abort();
    bytes_ = {static_cast<std::byte*>(all), frames * kPage};
  }
  ~FakePages() override { munmap(bytes_.data(), bytes_.size()); }

  // The domain's own view.
  std::span<std::byte> bytes() const { return bytes_; }
  // What a front-end would share of it.
  int fd() const { return file_.get(); }

  void Give(std::uint32_t reference, const Grant& grant) {
    MutexLock lock(mutex_);
    grants_.insert_or_assign(reference, grant);
  }
  // What is mapped of it stays.
  void Revoke(std::uint32_t reference) {
    MutexLock lock(mutex_);
    grants_.erase(reference);
  }

  long mapped_pages() const { return mapped_pages_.load(); }
  long mappings_made() const { return mappings_made_.load(); }
  // The most that was mapped at a time since.
  void ForgetPeak() { peak_pages_.store(mapped_pages()); }
  long peak_pages() const { return peak_pages_.load(); }
  // After so many more, mappings fail; -1: none does.
  void FailAfter(long mappings) { left_.store(mappings); }

  int MapFrames(std::uint16_t domain, std::uint64_t first, std::size_t count, Access access,
                std::unique_ptr<MappedPages>* pages) override {
    if (domain != kDomain) return -ESRCH;
    if (count > frames_ || first > frames_ - count) return -EINVAL;
    std::vector<std::uint64_t> frames(count);
    for (std::size_t i = 0; i < count; ++i) frames[i] = first + i;
    return Map(frames, access, pages);
  }

  int MapGrants(std::uint16_t domain, std::uint32_t first, std::size_t count, Access access,
                std::unique_ptr<MappedPages>* pages) override {
    if (domain != kDomain) return -ESRCH;
    std::vector<std::uint64_t> frames;
    {
      MutexLock lock(mutex_);
      for (std::uint64_t reference = first; reference < first + count; ++reference) {
        const auto found = grants_.find(static_cast<std::uint32_t>(reference));
        if (reference > 0xffffffff || found == grants_.end()) return -EINVAL;
        if (access == Access::kWrite && !found->second.is_writable) return -EACCES;
        frames.push_back(found->second.frame);
      }
    }
    return Map(frames, access, pages);
  }

 private:
  class Pages final : public MappedPages {
   public:
    Pages(FakePages& owner, std::byte* start, std::size_t count)
        : MappedPages(start), owner_(owner), count_(count) {}
    ~Pages() override {
      if (munmap(start(), count_ * kPage) != 0) std::abort();
      owner_.mapped_pages_ -= static_cast<long>(count_);
    }

   private:
    FakePages& owner_;
    const std::size_t count_;
  };

  int Map(std::span<const std::uint64_t> frames, Access access,
          std::unique_ptr<MappedPages>* pages) {
    if (left_.load() == 0) return -ENOMEM;
    if (left_.load() > 0) --left_;
    const std::size_t bytes = frames.size() * kPage;
    void* const range = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (range == MAP_FAILED) return -ENOMEM;
    auto* const start = static_cast<std::byte*>(range);
    const int protection = PROT_READ | (access == Access::kWrite ? PROT_WRITE : 0);
    for (std::size_t i = 0; i < frames.size(); ++i) {
      if (mmap(start + i * kPage, kPage, protection, MAP_SHARED | MAP_FIXED, file_.get(),
               static_cast<off_t>(frames[i] * kPage)) == MAP_FAILED) {
        munmap(range, bytes);
        return -ENOMEM;
      }
    }
    ++mappings_made_;
    const long now = mapped_pages_ += static_cast<long>(frames.size());
    if (now > peak_pages_.load()) peak_pages_.store(now);
    *pages = std::make_unique<Pages>(*this, start, frames.size());
    return 0;
  }

  const std::size_t frames_;
  const FileDescriptor file_;
  std::span<std::byte> bytes_;
  Mutex mutex_;
  std::map<std::uint32_t, Grant> grants_ ABSL_GUARDED_BY(mutex_);
  std::atomic<long> mapped_pages_ = 0, mappings_made_ = 0, peak_pages_ = 0, left_ = -1;
};

}  // namespace xencomm::vhost_user

#endif  // TESTS_UNIT_FAKE_PAGES_H_
