// What Linux knows of a mapping of this process, for tests of what maps memory.
#ifndef TESTS_UNIT_PROCESS_MAPPING_H_
#define TESTS_UNIT_PROCESS_MAPPING_H_

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>

namespace xencomm::testing {

// As /proc/PID/smaps has it; all empty where nothing is mapped.
struct ProcessMapping {
  std::string access;  // "rw-s": and shared or private
  std::string file;
  std::string flags;  // VmFlags, each with a space before and behind
  unsigned long locked_kilobytes = 0;

  bool Has(const char* flag) const { return flags.find(flag) != std::string::npos; }
  // No memory, but an address range that is the program's: nothing else comes to lie there.
  bool is_reserved() const { return access == "---p" && file.empty(); }
};

inline ProcessMapping MappingAt(const void* address) {
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  ProcessMapping mapping;
  std::ifstream maps("/proc/self/smaps");
  bool inside = false;
  for (std::string line; std::getline(maps, line);) {
    unsigned long begin = 0;
    unsigned long end = 0;
    char access[8] = {};
    char file[256] = {};
    if (std::sscanf(line.c_str(), "%lx-%lx %7s %*x %*s %*u %255s", &begin, &end, access, file) >=
        3) {
      if (inside) break;
      inside = begin <= at && at < end;
      if (!inside) continue;
      mapping.access = access;
      mapping.file = file;
    } else if (inside && line.starts_with("VmFlags:")) {
      mapping.flags = line.substr(8) + " ";
    } else if (inside) {
      std::sscanf(line.c_str(), "Locked: %lu kB", &mapping.locked_kilobytes);
    }
  }
  return mapping;
}

// Without any allocation: a sanitizer's runtime may put what the test allocates where something was
// unmapped just before.
inline bool IsMapped(const void* address) {
  const auto page_size = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto page = reinterpret_cast<std::uintptr_t>(address) & ~(page_size - 1);
  unsigned char resident = 0;
  return mincore(reinterpret_cast<void*>(page), page_size, &resident) == 0;
}

inline bool IsReserved(const void* address) { return MappingAt(address).is_reserved(); }

}  // namespace xencomm::testing

#endif  // TESTS_UNIT_PROCESS_MAPPING_H_
