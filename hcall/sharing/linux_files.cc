#include "hcall/sharing/linux_files.h"

#include <sys/ioctl.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "xencomm/sentence.h"

namespace xencomm {
namespace {

int Answer(int result) { return result == 0 ? 0 : -errno; }

// A list behind an ioctl's argument, both in one block.
template <class Head, class Element>
class Listed {
 public:
  Listed(const Head& head, std::size_t count) : bytes_(sizeof(Head) + count * sizeof(Element)) {
    std::memcpy(bytes_.data(), &head, sizeof(head));
  }

  void* data() { return bytes_.data(); }
  Head head() const {
    Head head;
    std::memcpy(&head, bytes_.data(), sizeof(head));
    return head;
  }
  void* list() { return bytes_.data() + sizeof(Head); }

 private:
  std::vector<std::byte> bytes_;
};

// What both devices have.
template <class Interface>
class LinuxFile : public Interface {
 public:
  explicit LinuxFile(FileDescriptor fd) : fd_(std::move(fd)) {}

  int fd() const override { return fd_.get(); }

  int Map(std::byte* start, std::uint64_t page, std::size_t count, Access access) override {
    const std::size_t bytes = count << kSharedPageShift;
    const int protection = PROT_READ | (access == Access::kWrite ? PROT_WRITE : 0);
    if (mmap(start, bytes, protection, MAP_SHARED | MAP_FIXED, fd_.get(),
             static_cast<off_t>(page << kSharedPageShift)) != MAP_FAILED) {
      // As of a machine; and a child that ends would tell of an unmapping.
      if (madvise(start, bytes, MADV_DONTFORK) == 0) return 0;
    }
    const int error = errno;
    // A failed mmap with MAP_FIXED may have taken away what was there.
    EmptyPages(start, count);
    return -error;
  }
  int Unmap(std::byte* start, std::size_t count) override {
    return Answer(munmap(start, count << kSharedPageShift));
  }
  int SetNotice(std::uint64_t byte, std::uint32_t action, std::uint32_t port) override {
    UnmapNotify notify = {.index = byte, .action = action, .port = port};
    return Ask(kUnmapNotify, &notify);
  }

 protected:
  int Ask(unsigned long request, void* argument) const {
    return Answer(ioctl(fd_.get(), request, argument));
  }

 private:
  const FileDescriptor fd_;
};

class LinuxGrantFile final : public LinuxFile<GrantFile> {
 public:
  using LinuxFile::LinuxFile;

  // Of one mapping (drivers/xen/gntdev.c, its parameter `limit`); before Linux 5.12, of a file.
  std::size_t most_at_once() const override { return std::size_t{64} << 10; }

  std::int64_t Add(std::span<const GrantRef> grants) override {
    Listed<GrantMap, GrantRef> map(
        {.count = static_cast<std::uint32_t>(grants.size()), .pad = 0, .index = 0}, grants.size());
    std::memcpy(map.list(), grants.data(), grants.size_bytes());
    const int error = Ask(kGrantMap, map.data());
    return error != 0 ? error : static_cast<std::int64_t>(map.head().index >> kSharedPageShift);
  }
  int Remove(std::uint64_t page, std::size_t count) override {
    GrantUnmap unmap = {
        .index = page << kSharedPageShift, .count = static_cast<std::uint32_t>(count), .pad = 0};
    return Ask(kGrantUnmap, &unmap);
  }
  int Copy(std::span<GrantCopySegment> segments) override {
    GrantCopy copy = {.count = static_cast<std::uint32_t>(segments.size()),
                      .pad = 0,
                      .segments = reinterpret_cast<std::uint64_t>(segments.data())};
    return Ask(kGrantCopy, &copy);
  }
};

class LinuxShareFile final : public LinuxFile<ShareFile> {
 public:
  using LinuxFile::LinuxFile;

  std::int64_t Allocate(std::uint64_t where, std::uint16_t domain, bool writable,
                        std::span<std::uint32_t> refs) override {
    if (where != kAnywhere) return -EOPNOTSUPP;
    Listed<ShareAllocate, std::uint32_t> share(
        {.domid = domain,
         .flags = static_cast<std::uint16_t>(writable ? kShareWritable : 0),
         .count = static_cast<std::uint32_t>(refs.size()),
         .index = 0},
        refs.size());
    const int error = Ask(kShareAllocate, share.data());
    if (error != 0) return error;
    std::memcpy(refs.data(), share.list(), refs.size_bytes());
    return static_cast<std::int64_t>(share.head().index >> kSharedPageShift);
  }
  int Free(std::uint64_t page, std::size_t count) override {
    ShareFree gone = {
        .index = page << kSharedPageShift, .count = static_cast<std::uint32_t>(count), .pad = 0};
    return Ask(kShareFree, &gone);
  }
  int GrantAlso(std::uint64_t, std::uint16_t, bool, std::span<std::uint32_t>) override {
    return -EOPNOTSUPP;
  }
  int List(std::uint64_t, std::vector<ShareListed>*) override { return -EOPNOTSUPP; }
  int Revoke(std::uint32_t) override { return -EOPNOTSUPP; }
};

absl::StatusOr<FileDescriptor> OpenDevice(const char* path) {
  FileDescriptor fd(open(path, O_RDWR | O_CLOEXEC));
  if (fd.is_open()) return fd;
  const int error = errno;
  const std::string sentence = Sentence("%s cannot be opened: %s", path, strerrordesc_np(error));
  return error == EACCES || error == EPERM ? absl::PermissionDeniedError(sentence)
                                           : absl::UnavailableError(sentence);
}

}  // namespace

absl::StatusOr<std::shared_ptr<GrantFile>> OpenLinuxGrantFile() {
  absl::StatusOr<FileDescriptor> fd = OpenDevice("/dev/xen/gntdev");
  if (!fd.ok()) return fd.status();
  return std::make_shared<LinuxGrantFile>(*std::move(fd));
}

absl::StatusOr<std::shared_ptr<ShareFile>> OpenLinuxShareFile() {
  absl::StatusOr<FileDescriptor> fd = OpenDevice("/dev/xen/gntalloc");
  if (!fd.ok()) return fd.status();
  return std::make_shared<LinuxShareFile>(*std::move(fd));
}

absl::StatusOr<std::shared_ptr<ShareFile>> OpenLinuxShareFile(FileDescriptor fd) {
  auto file = std::make_shared<LinuxShareFile>(std::move(fd));
  // Nothing to be freed: another file does not know the question.
  if (file->Free(0, 0) == -EINVAL) return file;
  return absl::InvalidArgumentError("the descriptor is not of a file of /dev/xen/gntalloc");
}

}  // namespace xencomm
