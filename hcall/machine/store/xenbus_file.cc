#include "hcall/machine/store/xenbus_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

namespace xencomm::machine {

std::ptrdiff_t XenbusFile::Write(std::span<const std::byte> bytes) {
  if (!wants_input()) return -EAGAIN;
  if (bytes.size() > XENSTORE_PAYLOAD_MAX - partial_.size()) {
    partial_.clear();
    return -EINVAL;
  }
  partial_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());  // bytes are bytes
  const auto taken = static_cast<std::ptrdiff_t>(bytes.size());
  StoreMessage message;
  if (bytes.empty() || partial_.size() < sizeof(message.header)) return taken;
  std::memcpy(&message.header, partial_.data(), sizeof(message.header));
  if (message.header.len > XENSTORE_PAYLOAD_MAX - sizeof(message.header)) {
    partial_.clear();
    return -E2BIG;
  }
  if (partial_.size() - sizeof(message.header) < message.header.len) return taken;
  message.payload = partial_.substr(sizeof(message.header), message.header.len);
  partial_.clear();
  refused_ = 0;
  is_writing_ = true;
  Take(message);
  is_writing_ = false;
  return refused_ == 0 ? taken : -refused_;
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
    if (Write(std::as_bytes(std::span(piece))) < 0) wants_to_end_ = true;
    done += piece.size();
  }
  stream_.erase(0, done);
  is_proceeding_ = false;
}

void XenbusFile::Sent(std::size_t bytes) {
  sent_ += std::min(bytes, output().size());
  if (sent_ * 2 >= output_.size()) output_.erase(0, std::exchange(sent_, 0));
  Proceed();
}

void XenbusFile::Take(const StoreMessage& message) {
  const xsd_sockmsg& header = message.header;
  if (header.type == XS_WATCH || header.type == XS_UNWATCH) {
    Watch(message);
    return;
  }
  if (header.type == XS_RESET_WATCHES) {
    xenbus_.Reset(*this);
    Reply(header, header.type, WithZero("OK"));
    return;
  }
  if (header.type != XS_TRANSACTION_START && header.tx_id != 0 &&
      !transactions_.contains(header.tx_id)) {
    ReplyError(header, ENOENT);
    return;
  }
  if (header.type == XS_TRANSACTION_END) {
    const std::optional<std::string> commit = message.OnlyString();
    if (commit != "T" && commit != "F") {
      ReplyError(header, EINVAL);
      return;
    }
    // The kernel knows no such transaction, and loses the answer.
    if (header.tx_id == 0) return;
  }
  ++asked_;
  xenbus_.Ask({.file = this, .header = header}, message.payload);
}

void XenbusFile::Watch(const StoreMessage& message) {
  const std::vector<std::string> strings = message.Strings();
  if (strings.size() < 2) {
    ReplyError(message.header, EINVAL);
    return;
  }
  ++asked_;
  if (message.header.type == XS_WATCH) {
    xenbus_.AddWatch(*this, message.header, strings[0], strings[1]);
  } else {
    xenbus_.RemoveWatch(*this, message.header, strings[0], strings[1]);
  }
}

void XenbusFile::Answered(const xsd_sockmsg& request, std::uint32_t type,
                          std::string_view payload) {
  --asked_;
  Reply(request, type, payload);
  Proceed();
}

void XenbusFile::Refused(int error) {
  --asked_;
  if (is_writing_) {
    refused_ = error;
  } else {
    wants_to_end_ = true;
  }
}

void XenbusFile::Tell(std::string_view path, std::string_view token) {
  std::string event(path);
  event.append(1, '\0').append(token).append(1, '\0');
  if (event.size() > XENSTORE_PAYLOAD_MAX) return;
  if (output().size() > kMostUnsent) wants_to_end_ = true;
  Queue({.type = XS_WATCH_EVENT, .req_id = 0, .tx_id = 0, .len = 0}, event);
}

void XenbusFile::ReplyError(const xsd_sockmsg& request, int error) {
  Reply(request, XS_ERROR, WithZero(NameOfError(error)));
}

void XenbusFile::Reply(const xsd_sockmsg& request, std::uint32_t type, std::string_view payload) {
  Queue({.type = type, .req_id = request.req_id, .tx_id = request.tx_id, .len = 0}, payload);
}

void XenbusFile::Queue(const xsd_sockmsg& header, std::string_view payload) {
  if (wants_to_end_) return;
  xsd_sockmsg whole = header;
  whole.len = static_cast<std::uint32_t>(payload.size());
  output_.append(reinterpret_cast<const char*>(&whole), sizeof(whole)).append(payload);
}

}  // namespace xencomm::machine
