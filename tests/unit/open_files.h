// What this process has, for tests of what is left of it: descriptors, and mappings of a file.
#ifndef TESTS_UNIT_OPEN_FILES_H_
#define TESTS_UNIT_OPEN_FILES_H_

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

namespace xencomm {

inline std::size_t OpenFiles() {
  return static_cast<std::size_t>(
      std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}));
}

// Mappings of files with that in their name.
inline std::size_t MappingsOf(std::string_view name) {
  std::ifstream maps("/proc/self/maps");
  std::size_t count = 0;
  for (std::string line; std::getline(maps, line);) count += line.find(name) != line.npos;
  return count;
}

}  // namespace xencomm

#endif  // TESTS_UNIT_OPEN_FILES_H_
