#include "hcall/machine/store/xenbus.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "hcall/machine/store/xenbus_file.h"

namespace xencomm::machine {
namespace {

// The number behind the last one that is not in use.
template <class Map>
std::uint32_t Next(std::uint32_t& last, const Map& in_use) {
  do {
    ++last;
  } while (last == 0 || in_use.contains(last));
  return last;
}

std::string TokenOf(std::uint32_t watch) { return absl::StrCat(absl::Hex(watch)); }

}  // namespace

void Xenbus::Connect() {
  is_connected_ = true;
  std::vector<std::uint32_t> ids;
  for (const auto& [id, watch] : watches_) ids.push_back(id);
  // What is answered can be that there is no such watch.
  for (const std::uint32_t id : ids) SetWatch(id, {});
}

void Xenbus::Disconnect() {
  is_connected_ = false;
  input_.clear();
  output_.clear();
  sent_ = 0;
  for (XenbusFile* const file : files_) file->transactions_.clear();
  // Those that are answered ask again, and are answered at once.
  for (const auto& [number, asked] : std::exchange(asked_, {})) {
    if (asked.file == nullptr) continue;
    if (asked.header.type == XS_WATCH) watches_.erase(asked.watch);
    asked.file->Answered(asked.header, XS_ERROR, WithZero(NameOfError(EIO)));
  }
}

void Xenbus::Sent(std::size_t bytes) {
  sent_ += std::min(bytes, output().size());
  if (sent_ * 2 >= output_.size()) output_.erase(0, std::exchange(sent_, 0));
}

bool Xenbus::Receive(std::span<const std::byte> bytes) {
  input_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());  // bytes are bytes
  std::size_t done = 0;
  StoreMessage message;
  while (input_.size() - done >= sizeof(message.header)) {
    std::memcpy(&message.header, input_.data() + done, sizeof(message.header));
    if (message.header.len > XENSTORE_PAYLOAD_MAX) return false;
    if (input_.size() - done - sizeof(message.header) < message.header.len) break;
    message.payload = input_.substr(done + sizeof(message.header), message.header.len);
    done += sizeof(message.header) + message.header.len;
    Handle(message);
  }
  input_.erase(0, done);
  return true;
}

void Xenbus::ExchangeWith(StoreConnection& store) {
  // What is received makes files ask for more, which comes here again.
  if (std::exchange(is_exchanging_, true)) return;
  while (!output().empty() || !store.output().empty()) {
    const std::string requests(output());
    Sent(requests.size());
    store.Receive(std::as_bytes(std::span(requests)));
    const std::string answers(store.output());
    store.Sent(answers.size());
    Receive(std::as_bytes(std::span(answers)));  // which are the protocol's
  }
  is_exchanging_ = false;
}

void Xenbus::Ask(std::uint32_t type, std::uint32_t transaction, std::string_view payload) {
  Ask({.file = nullptr, .header = {.type = type, .req_id = 0, .tx_id = transaction, .len = 0}},
      payload);
}

void Xenbus::Ask(Asked asked, std::string_view payload) {
  if (!is_connected_) {
    if (asked.file != nullptr) {
      asked.file->Answered(asked.header, XS_ERROR, WithZero(NameOfError(EIO)));
    }
    return;
  }
  xsd_sockmsg header = asked.header;
  header.req_id = Next(last_number_, asked_);
  // The kernel's watches are in no transaction, whatever a program wrote.
  if (header.type == XS_WATCH || header.type == XS_UNWATCH) header.tx_id = 0;
  header.len = static_cast<std::uint32_t>(payload.size());
  asked_.emplace(header.req_id, asked);
  output_.append(reinterpret_cast<const char*>(&header), sizeof(header)).append(payload);
  carry_();
}

void Xenbus::AddWatch(XenbusFile& file, const xsd_sockmsg& header, const std::string& path,
                      const std::string& token) {
  const auto same = std::ranges::find_if(watches_, [&](const auto& each) {
    return each.second.file == &file && each.second.path == path && each.second.token == token;
  });
  const Asked asked = {.file = &file, .header = header};
  if (same != watches_.end()) {
    file.Answered(header, XS_WATCH, WithZero("OK"));
    file.Tell(path, token);
  } else if (is_connected_) {
    const std::uint32_t id = Next(last_watch_, watches_);
    watches_.emplace(id, Watch{&file, path, token});
    SetWatch(id, asked);
  } else {
    Ask(asked, "");
  }
}

void Xenbus::SetWatch(std::uint32_t id, Asked asked) {
  std::string payload = watches_.at(id).path;
  payload.append(1, '\0').append(TokenOf(id)).append(1, '\0');
  asked.header.type = XS_WATCH;
  asked.watch = id;
  Ask(asked, payload);
}

void Xenbus::RemoveWatch(XenbusFile& file, const xsd_sockmsg& header, const std::string& path,
                         const std::string& token) {
  const auto found = std::ranges::find_if(watches_, [&](const auto& each) {
    return each.second.file == &file && each.second.path == path && each.second.token == token;
  });
  if (found == watches_.end()) {
    file.Answered(header, XS_UNWATCH, WithZero("OK"));
    return;
  }
  std::string payload = path;
  payload.append(1, '\0').append(TokenOf(found->first)).append(1, '\0');
  watches_.erase(found);
  Ask({.file = &file, .header = header}, payload);
}

void Xenbus::Reset(XenbusFile& file) {
  std::vector<std::string> unwatched;
  for (const auto& [id, watch] : watches_) {
    if (watch.file != &file) continue;
    unwatched.push_back(watch.path);
    unwatched.back().append(1, '\0').append(TokenOf(id)).append(1, '\0');
  }
  std::erase_if(watches_, [&](const auto& each) { return each.second.file == &file; });
  for (const std::string& payload : unwatched) Ask(XS_UNWATCH, 0, payload);
  for (const std::uint32_t id : std::exchange(file.transactions_, {})) {
    Ask(XS_TRANSACTION_END, id, WithZero("F"));
  }
}

void Xenbus::Forget(XenbusFile& file) {
  files_.erase(&file);
  for (auto& [number, asked] : asked_) {
    if (asked.file == &file) asked.file = nullptr;
  }
  Reset(file);
}

void Xenbus::Handle(const StoreMessage& message) {
  if (message.header.type == XS_WATCH_EVENT) {
    HandleEvent(message);
    return;
  }
  const auto found = asked_.find(message.header.req_id);
  if (found == asked_.end()) return;
  const Asked asked = found->second;
  asked_.erase(found);
  HandleAnswer(asked, message);
}

void Xenbus::HandleAnswer(const Asked& asked, const StoreMessage& message) {
  XenbusFile* const file = asked.file;
  const bool is_error = message.header.type == XS_ERROR;
  switch (asked.header.type) {
    case XS_WATCH: {
      const int error = is_error ? ErrorOfName(message.OnlyString().value_or("")) : 0;
      if (error != 0 && error != EEXIST) {
        watches_.erase(asked.watch);
        if (file != nullptr) file->Refused(error);
        return;
      }
      if (file != nullptr) file->Answered(asked.header, XS_WATCH, WithZero("OK"));
      return;
    }
    case XS_UNWATCH:
      if (file != nullptr) file->Answered(asked.header, XS_UNWATCH, WithZero("OK"));
      return;
    case XS_TRANSACTION_START:
      if (!is_error) {
        std::uint32_t id = 0;
        const char* const text = message.payload.data();
        std::from_chars(text, text + message.payload.size(), id);
        // It was closed meanwhile.
        if (file == nullptr) Ask(XS_TRANSACTION_END, id, WithZero("F"));
        if (file != nullptr) file->transactions_.insert(id);
      }
      break;
    case XS_TRANSACTION_END:
      if (file != nullptr) file->transactions_.erase(asked.header.tx_id);
      break;
    default:
      break;
  }
  if (file != nullptr) file->Answered(asked.header, message.header.type, message.payload);
}

void Xenbus::HandleEvent(const StoreMessage& message) {
  const std::vector<std::string> strings = message.Strings();
  if (strings.size() < 2) return;
  std::uint32_t id = 0;
  std::from_chars(strings[1].data(), strings[1].data() + strings[1].size(), id, 16);
  const auto found = watches_.find(id);
  if (found != watches_.end()) found->second.file->Tell(strings[0], found->second.token);
}

}  // namespace xencomm::machine
