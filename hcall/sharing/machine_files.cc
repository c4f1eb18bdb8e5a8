#include "hcall/sharing/machine_files.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <utility>

#include "hcall/transport/machine/connection.h"
#include "hcall/transport/machine/page_holder.h"

namespace xencomm {
namespace {

// A device's file, and what its pages are mapped by.
struct Opened {
  std::shared_ptr<machine::Connection> connection;
  embedded::ForeignMappings* mappings;
  FileDescriptor empty;  // a file without a byte
  machine::Connection::File file;
};

absl::StatusOr<Opened> Connect(const JoinedSetting& setting) {
  // The connection that the mappings are known to, so that each call looks what became of them.
  auto mappings = machine::Connection::MappingsOfThisProcess(setting);
  if (!mappings.ok()) return mappings.status();
  auto connection = machine::Connection::OfMappings(setting);
  if (!connection.ok()) return connection.status();
  FileDescriptor empty(memfd_create("xencomm-pages", MFD_CLOEXEC));
  if (!empty.is_open()) return absl::ErrnoToStatus(errno, "room for shared pages");
  return Opened{
      *std::move(connection), *mappings, std::move(empty), {.id = 0, .fd = FileDescriptor()}};
}

absl::StatusOr<Opened> OpenDevice(const JoinedSetting& setting, xencomm_device device) {
  absl::StatusOr<Opened> opened = Connect(setting);
  if (!opened.ok()) return opened.status();
  auto file = opened->connection->OpenDevice(device, O_RDWR);
  if (!file.ok()) return file.status();
  return Opened{std::move(opened->connection), opened->mappings, std::move(opened->empty),
                *std::move(file)};
}

template <class Interface>
class MachineFile : public Interface {
 public:
  explicit MachineFile(Opened opened) : opened_(std::move(opened)) {}

  int fd() const override { return opened_.file.fd.get(); }

  int Map(std::byte* start, std::uint64_t page, std::size_t count, Access access) override {
    machine::PageHolder holder(connection(), id(), page);
    const std::vector<std::uint64_t> none(count);
    std::vector<int> errors(count);
    const int error = opened_.mappings->Fill(
        holder, 0,
        {.address = start,
         .protection = PROT_READ | (access == Access::kWrite ? PROT_WRITE : 0),
         .empty_file = opened_.empty.get()},
        none, errors);
    if (error != 0) EmptyPages(start, count);
    return error;
  }
  int Unmap(std::byte* start, std::size_t count) override {
    return opened_.mappings->Unmap(start, count);
  }
  int SetNotice(std::uint64_t byte, std::uint32_t action, std::uint32_t port) override {
    return connection().SetNotice(id(), byte, action, port);
  }

 protected:
  machine::Connection& connection() { return *opened_.connection; }
  std::uint64_t id() const { return opened_.file.id; }

 private:
  Opened opened_;
};

class MachineGrantFile final : public MachineFile<GrantFile> {
 public:
  using MachineFile::MachineFile;

  // In one message, with its first words.
  std::size_t most_at_once() const override { return machine::kMostWords - 2; }

  std::int64_t Add(std::span<const GrantRef> grants) override {
    return connection().AddGrants(id(), grants);
  }
  int Remove(std::uint64_t page, std::size_t count) override {
    return connection().RemoveGrants(id(), page, count);
  }
  int Copy(std::span<GrantCopySegment> segments) override {
    std::array<std::byte, kSharedPageSize> storage;
    for (GrantCopySegment& segment : segments) {
      // Nothing is looked at: it may be behind a page's last byte.
      if (segment.length == 0) {
        segment.status = 0;
        continue;
      }
      // What is at neither side a page of ours goes through the machine alone.
      const bool from_grant = (segment.flags & kCopyFromGrant) != 0;
      const bool to_grant = (segment.flags & kCopyToGrant) != 0;
      const std::span<std::byte> bytes = std::span(storage).first(segment.length);
      const auto ours = [&](const GrantCopySide& side) {
        return std::bit_cast<std::byte*>(side.address);
      };
      if (!from_grant) std::copy_n(ours(segment.source), bytes.size(), bytes.begin());
      const std::int64_t status = connection().CopyGrant(id(), segment, bytes);
      if (status > 0) return static_cast<int>(-status);
      segment.status = static_cast<std::int16_t>(status);
      if (status == 0 && !to_grant) std::ranges::copy(bytes, ours(segment.dest));
    }
    return 0;
  }
};

class MachineShareFile final : public MachineFile<ShareFile> {
 public:
  using MachineFile::MachineFile;

  std::int64_t Allocate(std::uint64_t where, std::uint16_t domain, bool writable,
                        std::span<std::uint32_t> refs) override {
    return connection().Share(id(), where, domain, writable, refs);
  }
  int Free(std::uint64_t page, std::size_t count) override {
    return connection().Unshare(id(), page, count);
  }
  int GrantAlso(std::uint64_t page, std::uint16_t domain, bool writable,
                std::span<std::uint32_t> refs) override {
    return connection().ShareAlso(id(), page, domain, writable, refs);
  }
  int List(std::uint64_t page, std::vector<ShareListed>* grants) override {
    return connection().ListShares(id(), page, grants);
  }
  int Revoke(std::uint32_t ref) override { return connection().RevokeShare(id(), ref); }
};

}  // namespace

absl::StatusOr<std::shared_ptr<GrantFile>> OpenMachineGrantFile(const JoinedSetting& setting) {
  absl::StatusOr<Opened> opened = OpenDevice(setting, XENCOMM_GNTDEV);
  if (!opened.ok()) return opened.status();
  return std::make_shared<MachineGrantFile>(*std::move(opened));
}

absl::StatusOr<std::shared_ptr<ShareFile>> OpenMachineShareFile(const JoinedSetting& setting) {
  absl::StatusOr<Opened> opened = OpenDevice(setting, XENCOMM_GNTALLOC);
  if (!opened.ok()) return opened.status();
  return std::make_shared<MachineShareFile>(*std::move(opened));
}

absl::StatusOr<std::shared_ptr<ShareFile>> OpenMachineShareFile(const JoinedSetting& setting,
                                                                FileDescriptor fd) {
  absl::StatusOr<Opened> opened = Connect(setting);
  if (!opened.ok()) return opened.status();
  const absl::StatusOr<std::uint64_t> id = opened->connection->Attach(fd.get());
  std::shared_ptr<MachineShareFile> file;
  if (id.ok()) {
    file = std::make_shared<MachineShareFile>(Opened{std::move(opened->connection),
                                                     opened->mappings,
                                                     std::move(opened->empty),
                                                     {.id = *id, .fd = std::move(fd)}});
    // Nothing to be freed: of another device the question is malformed.
    if (file->Free(0, 0) == -EINVAL) return file;
  } else if (id.status().code() == absl::StatusCode::kUnavailable) {
    return id.status();
  }
  return absl::InvalidArgumentError("the descriptor is not of a file of the machine's gntalloc");
}

}  // namespace xencomm
