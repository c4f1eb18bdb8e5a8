// Messages of the protocol over a socket: words, and a descriptor beside them.
#ifndef HCALL_TRANSPORT_MACHINE_MESSAGE_H_
#define HCALL_TRANSPORT_MACHINE_MESSAGE_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "hcall/transport/file_descriptor.h"

namespace xencomm::machine {

struct Message {
  std::uint64_t kind = 0;  // of a request its Kind; of a reply 0, or an errno
  std::vector<std::uint64_t> words;
  std::optional<FileDescriptor> fd;
};

// 0 or a negative errno. At most kMostWords words; `fd` is borrowed, -1 is none.
int Send(int socket, std::uint64_t kind, std::span<const std::uint64_t> words, int fd = -1);
// A refusal: the words are a sentence.
int SendRefusal(int socket, int error, std::string_view sentence);
std::string_view SentenceOf(const Message& refusal);

// 0, or a negative errno: -ECONNRESET when the other side has closed, -EPROTO for what is no
// message. What else is sent beside it is closed.
int Receive(int socket, Message* message);

}  // namespace xencomm::machine

#endif  // HCALL_TRANSPORT_MACHINE_MESSAGE_H_
