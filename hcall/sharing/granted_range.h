// GrantedRange: any number of grants, mapped one after the other, by as many mappings as that
// takes.
//
// A device maps some grants at a time, and all of those or none. So a range is reserved, parts of
// it are mapped over, and a part that is refused is halved until it is known which grants it was.
#ifndef HCALL_SHARING_GRANTED_RANGE_H_
#define HCALL_SHARING_GRANTED_RANGE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "hcall/sharing/page_file.h"

namespace xencomm {

class GrantedRange {
 public:
  // Pages that one range may have: what is known of them is this process's memory.
  static constexpr std::size_t kMostPages = std::size_t{1} << 24;

  // 0 or a negative errno. Without `errors`, of the first grant that cannot be mapped: -EACCES when
  // it may not be written, -EINVAL when it cannot be mapped at all; nothing is left mapped. With
  // them, one for each grant, these are there, and it is no failure.
  static int Map(std::shared_ptr<GrantFile> file, std::span<const GrantRef> grants, Access access,
                 std::span<int> errors, std::unique_ptr<GrantedRange>* range);

  GrantedRange(const GrantedRange&) = delete;
  GrantedRange& operator=(const GrantedRange&) = delete;
  // In a forked child nothing: it has none of it.
  ~GrantedRange();

  std::byte* start() const { return start_; }
  std::size_t pages() const { return pages_; }
  // Of the first grant that could not be mapped, when Map failed.
  std::size_t failed_at() const { return failed_at_; }
  bool in_same_process() const { return file_->in_same_process(); }

  // As GrantMapping::NotifyAtUnmap: a negative errno.
  int SetNotice(std::optional<std::uint64_t> byte, std::optional<std::uint32_t> port);

 private:
  // What was added to the file at once.
  struct Part {
    std::size_t first;  // in the range
    std::size_t count;
    std::uint64_t page;  // in the file
  };

  GrantedRange(std::shared_ptr<GrantFile> file, std::size_t pages, Access access)
      : file_(std::move(file)), pages_(pages), access_(access) {}

  int Fill(std::size_t first, std::span<const GrantRef> grants, std::span<int> errors);
  int FillAtOnce(std::size_t first, std::span<const GrantRef> grants, Access access);
  void Remove(const Part& part) { file_->Remove(part.page, part.count); }

  const std::shared_ptr<GrantFile> file_;
  const std::size_t pages_;
  const Access access_;
  std::byte* start_ = nullptr;
  std::size_t failed_at_ = 0;
  std::vector<Part> parts_;
  std::optional<std::size_t> noticed_;  // the part that has a notice
};

}  // namespace xencomm

#endif  // HCALL_SHARING_GRANTED_RANGE_H_
