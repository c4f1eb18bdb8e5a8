#include "hcall/machine/store/xenbus_file.h"

#include <cerrno>
#include <cstring>
#include <utility>

namespace xencomm::machine {

XenbusFile::XenbusFile(Store& store, std::function<void()> wake)
    : StoreConnection(store, 0, std::move(wake)) {}

std::ptrdiff_t XenbusFile::Write(std::span<const std::byte> bytes) {
  if (!wants_input()) return -EAGAIN;
  if (bytes.size() > XENSTORE_PAYLOAD_MAX - partial_.size()) {
    partial_.clear();
    return -EINVAL;
  }
  partial_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());  // bytes are bytes
  const auto taken = static_cast<std::ptrdiff_t>(bytes.size());
  Message message;
  if (bytes.empty() || partial_.size() < sizeof(message.header)) return taken;
  std::memcpy(&message.header, partial_.data(), sizeof(message.header));
  if (message.header.len > XENSTORE_PAYLOAD_MAX - sizeof(message.header)) {
    partial_.clear();
    return -E2BIG;
  }
  if (partial_.size() - sizeof(message.header) < message.header.len) return taken;
  message.payload = partial_.substr(sizeof(message.header), message.header.len);
  partial_.clear();
  const int error = Take(message);
  return error == 0 ? taken : -error;
}

void XenbusFile::Receive(std::span<const std::byte> bytes) {
  stream_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());  // bytes are bytes
  Proceed();
}

// A header by itself, then what it says that follows.
void XenbusFile::Proceed() {
  if (std::exchange(is_proceeding_, true)) return;
  std::size_t done = 0;
  while (wants_input() && done < stream_.size()) {
    xsd_sockmsg header;
    std::size_t wanted = sizeof(header);
    if (partial_.size() >= sizeof(header)) {
      std::memcpy(&header, partial_.data(), sizeof(header));
      wanted += header.len;
    }
    const std::string_view piece = std::string_view(stream_).substr(done, wanted - partial_.size());
    if (Write(std::as_bytes(std::span(piece))) < 0) End();
    done += piece.size();
  }
  stream_.erase(0, done);
  is_proceeding_ = false;
}

int XenbusFile::Take(const Message& message) {
  const xsd_sockmsg& header = message.header;
  if (header.type == XS_WATCH || header.type == XS_UNWATCH) return Watch(message);
  Transaction* transaction;
  if (header.type != XS_TRANSACTION_START &&
      store().FindTransaction(*this, header.tx_id, &transaction) != 0) {
    ReplyError(header, ENOENT);
    return 0;
  }
  const std::optional<std::string> commit = message.OnlyString();
  if (header.type == XS_TRANSACTION_END && commit != "T" && commit != "F") {
    ReplyError(header, EINVAL);
    return 0;
  }
  // The kernel knows no such transaction, and loses the answer.
  if (header.type == XS_TRANSACTION_END && header.tx_id == 0) return 0;
  Answer(message);
  return 0;
}

int XenbusFile::Watch(const Message& message) {
  const std::vector<std::string> strings = message.Strings();
  if (strings.size() < 2) {
    ReplyError(message.header, EINVAL);
    return 0;
  }
  const std::string& path = strings[0];
  const std::string& token = strings[1];
  std::string first = path;
  const bool is_added = message.header.type == XS_WATCH;
  const int error = is_added ? store().AddWatch(*this, path, token, &first)
                             : store().RemoveWatch(*this, path, token);
  if (is_added && error != 0 && error != EEXIST) return error;
  ReplyOk(message.header);
  if (is_added) Deliver(first, token, nullptr);
  return 0;
}

}  // namespace xencomm::machine
