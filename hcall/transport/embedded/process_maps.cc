#include "hcall/transport/embedded/process_maps.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <new>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace xencomm::embedded {
namespace {

// struct procmap_query of linux/fs.h, which Debian 12's headers do not have yet.
struct MapQuery {
  std::uint64_t size;
  std::uint64_t query_flags;
  std::uint64_t query_addr;
  std::uint64_t vma_start;
  std::uint64_t vma_end;
  std::uint64_t vma_flags;
  std::uint64_t vma_page_size;
  std::uint64_t vma_offset;
  std::uint64_t inode;
  std::uint32_t dev_major;
  std::uint32_t dev_minor;
  std::uint32_t vma_name_size;
  std::uint32_t build_id_size;
  std::uint64_t vma_name_addr;
  std::uint64_t build_id_addr;
};
constexpr unsigned long kMapQuery = _IOWR('f', 17, MapQuery);
constexpr std::uint64_t kShared = 0x08;
constexpr std::uint64_t kCoveringOrNext = 0x10;
constexpr std::uint64_t kFileBacked = 0x20;

// "START-END FLAGS OFFSET MAJOR:MINOR INODE", all but the last in base 16, and a name. There are as
// many as the process has mappings, and each look reads them all: scanf would take most of it.
bool ReadLine(std::string_view line, ProcessMaps::Area* area, dev_t* device, ino_t* inode) {
  const auto take = [&line]<class Number>(Number* number, int base, char after) {
    const char* const end = line.data() + line.size();
    const auto [behind, error] = std::from_chars(line.data(), end, *number, base);
    if (error != std::errc() || behind == end || *behind != after) return false;
    line.remove_prefix(static_cast<std::size_t>(behind + 1 - line.data()));
    return true;
  };
  constexpr std::size_t kFlags = sizeof("rwxp ") - 1;
  if (!take(&area->start, 16, '-') || !take(&area->end, 16, ' ') || line.size() < kFlags) {
    return false;
  }
  line.remove_prefix(kFlags);
  unsigned major, minor;
  if (!take(&area->offset, 16, ' ') || !take(&major, 16, ':') || !take(&minor, 16, ' ') ||
      !take(inode, 10, ' ')) {
    return false;
  }
  *device = makedev(major, minor);
  return true;
}

}  // namespace

ProcessMaps::ProcessMaps(int fd, Source source, std::string proc)
    : source_(source), proc_(std::move(proc)) {
  struct stat about = {};
  if (fstat(fd, &about) != 0) return;
  device_ = about.st_dev;
  inode_ = about.st_ino;
}

ProcessMaps::~ProcessMaps() {
  if (IsOpen()) close(maps_);
}

bool ProcessMaps::IsOpen() const {
  struct stat about = {};
  return maps_ >= 0 && fstat(maps_, &about) == 0 && about.st_dev == maps_device_ &&
         about.st_ino == maps_inode_;
}

bool ProcessMaps::Open() try {
  // Opened once: after a chroot there is no /proc. A program that closes descriptors which it did
  // not open may have given this number to another file, so IsOpen compares the inode.
  if (IsOpen()) return true;
  maps_ = open((proc_ + "/maps").c_str(), O_RDONLY | O_CLOEXEC);
  struct stat about = {};
  if (maps_ < 0 || fstat(maps_, &about) != 0) return false;
  maps_device_ = about.st_dev;
  maps_inode_ = about.st_ino;
  return true;
} catch (const std::bad_alloc&) {
  return false;
}

bool ProcessMaps::Look() {
  if (!Open()) return false;
  if (source_ == Source::kBest) {
    MapQuery query = {};
    query.size = sizeof(query);
    query.query_flags = kCoveringOrNext;
    if (ioctl(maps_, kMapQuery, &query) == 0) return true;
    source_ = Source::kText;
  }
  return Read(maps_, seen_);
}

ProcessMaps::Area ProcessMaps::AtOrBehind(std::uintptr_t address) const {
  if (source_ == Source::kText) {
    const auto found =
        std::upper_bound(seen_.begin(), seen_.end(), address,
                         [](std::uintptr_t wanted, const Area& area) { return wanted < area.end; });
    return found == seen_.end() ? Area{} : *found;
  }
  MapQuery query = {};
  query.size = sizeof(query);
  query.query_flags = kCoveringOrNext | kFileBacked | kShared;
  query.query_addr = address;
  // Other files' areas may lie before it.
  while (ioctl(maps_, kMapQuery, &query) == 0) {
    if (query.inode == inode_ && makedev(query.dev_major, query.dev_minor) == device_) {
      return {query.vma_start, query.vma_end, query.vma_offset};
    }
    query.query_addr = query.vma_end;
  }
  return {};
}

bool ProcessMaps::List(Areas& areas) try {
  if (!Look()) return false;
  if (source_ == Source::kText) {
    areas = seen_;
    return true;
  }
  areas.clear();
  for (Area area = AtOrBehind(0); area.start != Area{}.start; area = AtOrBehind(area.end)) {
    areas.push_back(area);
  }
  return true;
} catch (const std::bad_alloc&) {
  return false;
}

bool ProcessMaps::ListWithFlags(Areas& areas) const try {
  const int fd = open((proc_ + "/smaps").c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool read = Read(fd, areas);
  close(fd);
  return read;
} catch (const std::bad_alloc&) {
  return false;
}

// The lines of maps, and of smaps, which has more of them.
bool ProcessMaps::Read(int fd, Areas& areas) const try {
  std::string text;
  if (lseek(fd, 0, SEEK_SET) != 0) return false;
  char piece[1 << 14];
  ssize_t length;
  while ((length = read(fd, piece, sizeof(piece))) > 0) {
    text.append(piece, static_cast<std::size_t>(length));
  }
  if (length < 0) return false;

  areas.clear();
  bool ours = false;
  std::size_t end_of_line;
  for (std::size_t at = 0; (end_of_line = text.find('\n', at)) != text.npos; at = end_of_line + 1) {
    const std::string_view line = std::string_view(text).substr(at, end_of_line - at);
    Area area;
    dev_t device;
    ino_t inode;
    if (ReadLine(line, &area, &device, &inode)) {
      ours = inode == inode_ && device == device_;
      if (ours) areas.push_back(area);
    } else if (ours && line.starts_with("VmFlags:")) {
      areas.back().in_dumps = line.find(" dd") == line.npos;
    }
  }
  return true;
} catch (const std::bad_alloc&) {
  return false;
}

}  // namespace xencomm::embedded
