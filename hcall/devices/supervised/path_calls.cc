#include "hcall/devices/supervised/path_calls.h"

#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <utime.h>

namespace xencomm::devices {
namespace {

using Kind = Parameter::Kind;
using Special = PathCall::Special;

constexpr Parameter kValue{Kind::kValue};
constexpr Parameter kMode{Kind::kMode};
constexpr Parameter kFolder{Kind::kFolder};
constexpr Parameter kPath{Kind::kPath};
constexpr Parameter kTarget{Kind::kTarget};
constexpr Parameter kText{Kind::kText};
constexpr Parameter kInSized{Kind::kInSized};
constexpr Parameter kOutSized{Kind::kOutSized};
constexpr Parameter kFile{Kind::kFile};
template <class T>
constexpr Parameter kIn{Kind::kIn, sizeof(T)};
template <class T>
constexpr Parameter kOut{Kind::kOut, sizeof(T)};

// Linux 6.6.
constexpr int kFchmodat2 = 452;

constexpr PathCall kCalls[] = {
    {SYS_open, {kPath, kValue, kMode}, Special::kOpens},
    {SYS_openat, {kFolder, kPath, kValue, kMode}, Special::kOpens},
    {SYS_openat2, {kFolder, kPath, kValue, kValue}, Special::kOpensByHow},
    {SYS_creat, {kPath, kMode}, Special::kCreates},
    {SYS_stat, {kPath, kOut<struct stat>}, Special::kStatus},
    {SYS_lstat, {kPath, kOut<struct stat>}, Special::kStatus},
    {SYS_newfstatat, {kFolder, kPath, kOut<struct stat>, kValue}, Special::kStatus},
    {SYS_statx, {kFolder, kPath, kValue, kValue, kOut<struct statx>}, Special::kStatx},
    {SYS_statfs, {kPath, kOut<struct statfs>}},
    {SYS_access, {kPath, kValue}},
    {SYS_faccessat, {kFolder, kPath, kValue}},
    {SYS_faccessat2, {kFolder, kPath, kValue, kValue}},
    {SYS_readlink, {kPath, kOutSized, kValue}, Special::kLink},
    {SYS_readlinkat, {kFolder, kPath, kOutSized, kValue}, Special::kLink},
    {SYS_mkdir, {kPath, kMode}},
    {SYS_mkdirat, {kFolder, kPath, kMode}},
    {SYS_mknod, {kPath, kMode, kValue}},
    {SYS_mknodat, {kFolder, kPath, kMode, kValue}},
    {SYS_rmdir, {kPath}},
    {SYS_unlink, {kPath}},
    {SYS_unlinkat, {kFolder, kPath, kValue}},
    {SYS_rename, {kPath, kPath}},
    {SYS_renameat, {kFolder, kPath, kFolder, kPath}},
    {SYS_renameat2, {kFolder, kPath, kFolder, kPath, kValue}},
    {SYS_link, {kPath, kPath}},
    {SYS_linkat, {kFolder, kPath, kFolder, kPath, kValue}},
    {SYS_symlink, {kTarget, kPath}},
    {SYS_symlinkat, {kTarget, kFolder, kPath}},
    {SYS_chmod, {kPath, kValue}},
    {SYS_fchmodat, {kFolder, kPath, kValue}},
    {kFchmodat2, {kFolder, kPath, kValue, kValue}},
    {SYS_chown, {kPath, kValue, kValue}},
    {SYS_lchown, {kPath, kValue, kValue}},
    {SYS_fchownat, {kFolder, kPath, kValue, kValue, kValue}},
    {SYS_truncate, {kPath, kValue}},
    {SYS_utime, {kPath, kIn<utimbuf>}},
    {SYS_utimes, {kPath, kIn<timeval[2]>}},
    {SYS_futimesat, {kFolder, kPath, kIn<timeval[2]>}},
    {SYS_utimensat, {kFolder, kPath, kIn<timespec[2]>, kValue}},
    {SYS_getxattr, {kPath, kText, kOutSized, kValue}},
    {SYS_lgetxattr, {kPath, kText, kOutSized, kValue}},
    {SYS_listxattr, {kPath, kOutSized, kValue}},
    {SYS_llistxattr, {kPath, kOutSized, kValue}},
    {SYS_setxattr, {kPath, kText, kInSized, kValue, kValue}},
    {SYS_lsetxattr, {kPath, kText, kInSized, kValue, kValue}},
    {SYS_removexattr, {kPath, kText}},
    {SYS_lremovexattr, {kPath, kText}},
    {SYS_inotify_add_watch, {kFile, kPath, kValue}},
};

}  // namespace

const PathCall* FindPathCall(int number) {
  for (const PathCall& call : kCalls) {
    if (call.number == number) return &call;
  }
  return nullptr;
}

std::vector<int> PathCallNumbers() {
  std::vector<int> numbers;
  for (const PathCall& call : kCalls) numbers.push_back(call.number);
  return numbers;
}

}  // namespace xencomm::devices
