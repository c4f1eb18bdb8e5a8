// A file of captured calls: all that was read and written, to be looked at later, or made again.
//
// Format, little-endian: the magic "XENTRACE", u32 version (1), u32 releases (a mask of those that
// the op table knows, the oldest, 4.17, is bit 0; all bits: not known), u32 vcpus of the calling
// domain, u32 0. Then a record for each call: u64 length of what follows, and
//
//   u64 time      nanoseconds since 1970      u64 duration   nanoseconds
//   u32 process   u32 thread                  text program   text file
//   u64 request   u64 argument                u64 has_result (0 or 1)   s64 result
//   u64 continuations
//   text unread   image before                image after
//
// text: u32 length, bytes. image: u32 count, and for each piece: u64 address, u64 length, bytes.
#ifndef HCALL_TRACE_RECORDING_H_
#define HCALL_TRACE_RECORDING_H_

#include <cstdio>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hcall/trace/captured_call.h"

namespace xencomm::trace {

class RecordingWriter {
 public:
  // `file` is borrowed.
  RecordingWriter(std::FILE* file, const Reading& reading);

  absl::Status Write(const CapturedCall& call);

 private:
  std::FILE* const file_;
};

class RecordingReader {
 public:
  // kNotFound, kInvalidArgument: the file, or what is wrong with it.
  static absl::StatusOr<RecordingReader> Open(const std::string& path);

  const Reading& reading() const { return reading_; }
  // None at the end. kDataLoss: the file ends within a call, or is damaged.
  absl::StatusOr<std::optional<CapturedCall>> Next();

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };

  RecordingReader(std::string path, std::FILE* file) : path_(std::move(path)), file_(file) {}

  std::string path_;
  std::unique_ptr<std::FILE, Close> file_;
  std::uint64_t rest_ = 0;  // bytes of the file behind what was read
  Reading reading_;
};

}  // namespace xencomm::trace

#endif  // HCALL_TRACE_RECORDING_H_
