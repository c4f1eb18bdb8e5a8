// ClientStream: the store's side of a client's stream of bytes, which come and go in pieces of any
// size.
#ifndef HCALL_MACHINE_STORE_CLIENT_STREAM_H_
#define HCALL_MACHINE_STORE_CLIENT_STREAM_H_

#include <cstddef>
#include <span>
#include <string_view>

namespace xencomm::machine {

class ClientStream {
 public:
  ClientStream() = default;
  ClientStream(const ClientStream&) = delete;
  ClientStream& operator=(const ClientStream&) = delete;
  virtual ~ClientStream() = default;

  // What the client has sent. Answers what can be answered.
  virtual void Receive(std::span<const std::byte> bytes) = 0;
  // Whether to read from the client. What is received all the same is kept.
  virtual bool wants_input() const = 0;

  // What is to be sent next; valid until the next call. Sent says how much of it has been.
  virtual std::string_view output() const = 0;
  virtual void Sent(std::size_t bytes) = 0;

  // Whether the client is to be disconnected, at once. It is answered nothing any more.
  virtual bool wants_to_end() const = 0;
};

}  // namespace xencomm::machine

#endif  // HCALL_MACHINE_STORE_CLIENT_STREAM_H_
