// Holds the pages at one offset of a file of gntdev or gntalloc, for whoever maps them.
#ifndef HCALL_TRANSPORT_MACHINE_PAGE_HOLDER_H_
#define HCALL_TRANSPORT_MACHINE_PAGE_HOLDER_H_

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <span>

#include "hcall/transport/embedded/foreign_mappings.h"
#include "hcall/transport/machine/connection.h"

namespace xencomm::machine {

class PageHolder final : public embedded::FrameHolder {
 public:
  // The connection is borrowed; `file` is attached to it.
  PageHolder(Connection& connection, std::uint64_t file, std::uint64_t page)
      : connection_(connection), file_(file), page_(page) {}

  // What the frames are the file knows: of those that are asked for only the number counts.
  int Hold(std::uint16_t, std::span<const std::uint64_t>, Access access,
           std::span<std::uint64_t> mfns, std::span<int> errors) override {
    std::ranges::fill(errors, 0);
    return connection_.MapPages(file_, page_, access, mfns, &tag_);
  }
  int HoldResource(const ForeignMemory::Resource&, std::span<std::uint64_t>) override {
    return -EINVAL;
  }
  std::int64_t CountResource(const ForeignMemory::Resource&) override { return -EINVAL; }
  std::uint32_t tag() const override { return tag_; }
  void Release(std::span<const std::uint64_t> held) override { connection_.Release(held); }

 private:
  Connection& connection_;
  const std::uint64_t file_;
  const std::uint64_t page_;
  std::uint32_t tag_ = 0;
};

}  // namespace xencomm::machine

#endif  // HCALL_TRANSPORT_MACHINE_PAGE_HOLDER_H_
