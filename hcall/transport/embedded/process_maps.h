// What Linux has mapped into a process from one file, shared, and where.
//
// Mappings are asked for by the PROCMAP_QUERY ioctl where the kernel has it (Linux 6.11), or else
// found in the text of /proc/PID/maps, which takes time in all that the process has mapped. Where
// there is no /proc, nothing is known.
#ifndef HCALL_TRANSPORT_EMBEDDED_PROCESS_MAPS_H_
#define HCALL_TRANSPORT_EMBEDDED_PROCESS_MAPS_H_

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace xencomm::embedded {

class ProcessMaps {
 public:
  enum class Source : std::uint8_t { kBest, kText };

  // Bytes [start, end) of the process are those of the file from `offset` on.
  struct Area {
    std::uintptr_t start = UINTPTR_MAX;
    std::uintptr_t end = UINTPTR_MAX;
    std::uint64_t offset = 0;
    bool in_dumps = true;  // MADV_DONTDUMP has not been said; known to ListWithFlags only

    bool Contains(std::uintptr_t address) const { return start <= address && address < end; }
    std::uint64_t OffsetOf(std::uintptr_t address) const { return offset + (address - start); }
  };
  using Areas = std::vector<Area>;  // by address

  // Of the file behind `fd`, which is borrowed for this call only. Of another process it tells
  // until that ends or becomes another program: nothing is mapped then.
  explicit ProcessMaps(int fd, Source source = Source::kBest, std::string proc = "/proc/self");
  ProcessMaps(const ProcessMaps&) = delete;
  ProcessMaps& operator=(const ProcessMaps&) = delete;
  ~ProcessMaps();

  // From now on AtOrBehind tells of how it is now, or later. False: nothing can be known.
  bool Look();
  // The area that holds `address`, or else the first one behind it, which may be none.
  Area AtOrBehind(std::uintptr_t address) const;

  // All areas; false when they cannot be known. With flags it takes time in the pages that are
  // there.
  bool List(Areas& areas);
  bool ListWithFlags(Areas& areas) const;

 private:
  bool Open();
  bool IsOpen() const;
  bool Read(int fd, Areas& areas) const;

  dev_t device_ = 0;
  ino_t inode_ = 0;
  Source source_;
  const std::string proc_;
  int maps_ = -1;  // /proc/self/maps or another's, from its first use on; and which file that is
  dev_t maps_device_ = 0;
  ino_t maps_inode_ = 0;
  Areas seen_;  // by the text
};

}  // namespace xencomm::embedded

#endif  // HCALL_TRANSPORT_EMBEDDED_PROCESS_MAPS_H_
