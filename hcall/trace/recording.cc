#include "hcall/trace/recording.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace xencomm::trace {
namespace {

constexpr std::string_view kMagic = "XENTRACE";
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kHeader = 24;

// Numbers in the file's order, whatever this machine's is.
void Add32(std::string& to, std::uint32_t number) {
  for (int i = 0; i < 4; ++i) to += static_cast<char>(number >> 8 * i);
}
void Add64(std::string& to, std::uint64_t number) {
  Add32(to, static_cast<std::uint32_t>(number));
  Add32(to, static_cast<std::uint32_t>(number >> 32));
}
void AddText(std::string& to, const std::string& text) {
  Add32(to, static_cast<std::uint32_t>(text.size()));
  to += text;
}
void AddImage(std::string& to, const MemoryImage& image) {
  Add32(to, static_cast<std::uint32_t>(image.pieces().size()));
  for (const auto& [address, bytes] : image.pieces()) {
    Add64(to, address);
    Add64(to, bytes.size());
    to.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
}

// Takes parts off the front of a record; what is not there makes it not ok.
class Parts {
 public:
  explicit Parts(std::string_view bytes) : bytes_(bytes) {}

  bool ok() const { return ok_; }
  bool is_empty() const { return bytes_.empty(); }

  std::string_view Take(std::uint64_t length) {
    if (length > bytes_.size()) {
      ok_ = false;
      length = 0;
    }
    const std::string_view taken = bytes_.substr(0, length);
    bytes_.remove_prefix(length);
    return taken;
  }
  std::uint64_t Number(std::size_t size) {
    std::uint64_t number = 0;
    const std::string_view bytes = Take(size);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      number |= std::uint64_t{static_cast<unsigned char>(bytes[i])} << 8 * i;
    }
    return number;
  }
  std::uint32_t Take32() { return static_cast<std::uint32_t>(Number(4)); }
  std::uint64_t Take64() { return Number(8); }
  std::string Text() { return std::string(Take(Take32())); }
  void Image(MemoryImage& image) {
    const std::uint32_t count = Take32();
    for (std::uint32_t i = 0; i < count && ok_; ++i) {
      const std::uint64_t address = Take64();
      const std::string_view bytes = Take(Take64());
      image.Add(address, std::as_bytes(std::span(bytes)));
    }
  }

 private:
  std::string_view bytes_;
  bool ok_ = true;
};

absl::Status CannotBeRead(const std::string& path, const char* why) {
  return absl::NotFoundError(absl::StrFormat("'%s' cannot be read: %s", path, why));
}

}  // namespace

RecordingWriter::RecordingWriter(std::FILE* file, const Reading& reading) : file_(file) {
  std::string header(kMagic);
  Add32(header, kVersion);
  Add32(header, reading.releases);
  Add32(header, reading.vcpus);
  Add32(header, 0);
  (void)std::fwrite(header.data(), 1, header.size(), file_);
}

absl::Status RecordingWriter::Write(const CapturedCall& call) {
  std::string record;
  Add64(record, call.time);
  Add64(record, call.duration);
  Add32(record, static_cast<std::uint32_t>(call.process));
  Add32(record, static_cast<std::uint32_t>(call.thread));
  AddText(record, call.program);
  AddText(record, call.file);
  Add64(record, call.request);
  Add64(record, call.argument);
  Add64(record, call.result ? 1 : 0);
  Add64(record, static_cast<std::uint64_t>(call.result.value_or(0)));
  Add64(record, call.continuations);
  AddText(record, call.unread);
  AddImage(record, call.before);
  AddImage(record, call.after);
  std::string length;
  Add64(length, record.size());
  if (std::fwrite(length.data(), 1, length.size(), file_) != length.size() ||
      std::fwrite(record.data(), 1, record.size(), file_) != record.size() ||
      std::fflush(file_) != 0) {
    return absl::DataLossError(
        absl::StrCat("the trace cannot be written: ", strerrordesc_np(errno)));
  }
  return absl::OkStatus();
}

absl::StatusOr<RecordingReader> RecordingReader::Open(const std::string& path) {
  RecordingReader reader(path, std::fopen(path.c_str(), "re"));
  if (reader.file_ == nullptr) return CannotBeRead(path, strerrordesc_np(errno));
  struct stat status;
  if (fstat(fileno(reader.file_.get()), &status) != 0 || !S_ISREG(status.st_mode)) {
    return CannotBeRead(path, "expected a regular file");
  }
  std::string header(kHeader, '\0');
  if (std::fread(header.data(), 1, kHeader, reader.file_.get()) != kHeader) {
    return CannotBeRead(path, "expected a trace that --binary wrote");
  }
  Parts parts(header);
  if (parts.Take(kMagic.size()) != kMagic) {
    return CannotBeRead(path, "expected a trace that --binary wrote");
  }
  const std::uint32_t version = parts.Take32();
  if (version != kVersion) {
    return CannotBeRead(
        path, absl::StrFormat("it is of version %d: expected %d", version, kVersion).c_str());
  }
  reader.reading_.releases = static_cast<schema::Releases>(parts.Take32());
  reader.reading_.vcpus = parts.Take32();
  reader.rest_ = static_cast<std::uint64_t>(status.st_size) - kHeader;
  return reader;
}

absl::StatusOr<std::optional<CapturedCall>> RecordingReader::Next() {
  if (rest_ == 0) return std::optional<CapturedCall>();
  const auto damaged = [&](const char* how) {
    rest_ = 0;
    return absl::DataLossError(absl::StrFormat("'%s' %s", path_, how));
  };
  std::string length(8, '\0');
  if (rest_ < 8 || std::fread(length.data(), 1, 8, file_.get()) != 8) {
    return damaged("ends within a call");
  }
  rest_ -= 8;
  const std::uint64_t size = Parts(length).Take64();
  if (size > rest_) return damaged("ends within a call");
  std::string record(size, '\0');
  if (std::fread(record.data(), 1, size, file_.get()) != size) return damaged("ends within a call");
  rest_ -= size;

  Parts parts(record);
  CapturedCall call;
  call.time = parts.Take64();
  call.duration = parts.Take64();
  call.process = static_cast<std::int32_t>(parts.Take32());
  call.thread = static_cast<std::int32_t>(parts.Take32());
  call.program = parts.Text();
  call.file = parts.Text();
  call.request = parts.Take64();
  call.argument = parts.Take64();
  const bool has_result = parts.Take64() != 0;
  const auto result = static_cast<std::int64_t>(parts.Take64());
  if (has_result) call.result = result;
  call.continuations = parts.Take64();
  call.unread = parts.Text();
  parts.Image(call.before);
  parts.Image(call.after);
  if (!parts.ok() || !parts.is_empty()) return damaged("is damaged: a call is not as long as said");
  return std::optional(std::move(call));
}

}  // namespace xencomm::trace
