#include "hcall/tools/program_file.h"

#include <elf.h>
#include <link.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace xencomm::tools {
namespace {

// Linux follows so many scripts that are each other's interpreters.
constexpr int kMostInterpreters = 5;
// And reads so much of each one's first line (BINPRM_BUF_SIZE).
constexpr std::size_t kMostLine = 256;

bool IsProgram(const std::string& path) {
  struct stat about;
  return stat(path.c_str(), &about) == 0 && S_ISREG(about.st_mode) &&
         access(path.c_str(), X_OK) == 0;
}

std::string InPath(const std::string& name) {
  if (name.find('/') != name.npos) return name;
  const char* const path = std::getenv("PATH");
  const std::vector<std::string> folders =
      absl::StrSplit(path == nullptr ? "/bin:/usr/bin" : path, ':');
  for (const std::string& folder : folders) {
    std::string file = absl::StrCat(folder.empty() ? "." : folder, "/", name);
    if (IsProgram(file)) return file;
  }
  return name;
}

// The interpreter that a script's first line names; "" of what is none.
std::string InterpreterOf(const std::string& path) {
  std::string line(kMostLine, '\0');
  std::ifstream file(path, std::ios::binary);
  file.read(line.data(), static_cast<std::streamsize>(line.size()));
  line.resize(static_cast<std::size_t>(file.gcount()));
  if (!line.starts_with("#!")) return "";
  line = line.substr(2, line.find('\n') - 2);
  const std::size_t start = line.find_first_not_of(" \t");
  if (start == line.npos) return "";
  return line.substr(start, line.find_first_of(" \t", start) - start);
}

template <class T>
bool Read(std::ifstream& file, std::uint64_t offset, T* to) {
  file.seekg(static_cast<std::streamoff>(offset));
  file.read(reinterpret_cast<char*>(to), sizeof(T));
  return file.gcount() == sizeof(T);
}

// One that asks for no loader, and is none: that has a name as a library has.
void DescribeElf(ProgramFile* program) {
  std::ifstream file(program->path, std::ios::binary);
  ElfW(Ehdr) header;
  if (!Read(file, 0, &header) || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
      header.e_phentsize != sizeof(ElfW(Phdr)) ||
      header.e_ident[EI_CLASS] != (sizeof(void*) == 8 ? ELFCLASS64 : ELFCLASS32)) {
    return;
  }
  bool has_loader = false;
  bool is_library = false;
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    ElfW(Phdr) segment;
    if (!Read(file, header.e_phoff + i * sizeof(segment), &segment)) return;
    has_loader = has_loader || segment.p_type == PT_INTERP;
    if (segment.p_type != PT_DYNAMIC) continue;
    for (std::uint64_t at = 0; at + sizeof(ElfW(Dyn)) <= segment.p_filesz;
         at += sizeof(ElfW(Dyn))) {
      ElfW(Dyn) entry;
      if (!Read(file, segment.p_offset + at, &entry) || entry.d_tag == DT_NULL) break;
      is_library = is_library || entry.d_tag == DT_SONAME;
    }
  }
  program->is_static = !has_loader && !is_library;
}

// As the kernel finds it when it starts the program: of root nothing is more than it has.
void DescribeRights(ProgramFile* program) {
  struct stat about;
  struct statvfs system;
  const char* const path = program->path.c_str();
  if (stat(path, &about) != 0 || statvfs(path, &system) != 0 || (system.f_flag & ST_NOSUID) != 0) {
    return;
  }
  // Without the group's right to run it the bit means something else.
  constexpr mode_t kSetgid = S_ISGID | S_IXGRP;
  if ((about.st_mode & S_ISUID) != 0 && about.st_uid != getuid()) {
    program->gains_rights = "setuid";
  } else if ((about.st_mode & kSetgid) == kSetgid && about.st_gid != getgid()) {
    program->gains_rights = "setgid";
  } else if (getuid() != 0 && getxattr(path, "security.capability", nullptr, 0) > 0) {
    program->gains_rights = "given capabilities";
  }
}

}  // namespace

ProgramFile FindProgram(const std::string& name) {
  ProgramFile program = {.path = InPath(name)};
  for (int i = 0; i < kMostInterpreters; ++i) {
    const std::string interpreter = InterpreterOf(program.path);
    if (interpreter.empty()) break;
    program.path = interpreter;
  }
  DescribeElf(&program);
  DescribeRights(&program);
  return program;
}

}  // namespace xencomm::tools
