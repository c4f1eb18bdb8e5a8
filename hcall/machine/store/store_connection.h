// StoreConnection: a client of the store, by the wire protocol of Xen's public/io/xs_wire.h.
//
// Bytes go in and out as they come, in pieces of any size. Each request has one answer, in order;
// events stand between the answers. A client that breaks the protocol is ended, as xenstored does:
// its bytes make no sense any more. One that does not read is held: while much is unsent to it, no
// further request of its is looked at; events are dropped when it is an unprivileged domain that
// has used its memory up, and end a connection of domain 0's that has left 16 MiB of them.
#ifndef HCALL_MACHINE_STORE_STORE_CONNECTION_H_
#define HCALL_MACHINE_STORE_STORE_CONNECTION_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hcall/machine/store/client_stream.h"
#include "hcall/machine/store/session.h"
#include "hcall/machine/store/store.h"
#include "hcall/machine/store/store_message.h"

namespace xencomm::machine {

class StoreConnection : public Session, public ClientStream {
 public:
  // `wake` is called when there comes to be output, or the connection to be ended, by whatever
  // reason: also another client's request. It calls nothing of the store or its connections.
  StoreConnection(Store& store, DomainId domain, std::function<void()> wake);

  void Receive(std::span<const std::byte> bytes) override;
  bool wants_input() const override { return !wants_to_end_ && !IsHeld(); }
  std::string_view output() const override { return std::string_view(output_).substr(sent_); }
  void Sent(std::size_t bytes) override;
  bool wants_to_end() const override { return wants_to_end_; }

 private:
  using Message = StoreMessage;

  // A message that is not wholly sent.
  struct Unsent {
    std::uint64_t end;  // in the stream of all output
    std::string event;  // unless it is an answer, or of a kind of which each is sent
    Charge charge;
    Request request;
  };

  void Deliver(std::string_view path, std::string_view token, const Request& cause) override;
  void End() override;
  void Proceed() override;
  void Restart() override;

  void Answer(const Message& message);
  bool IsHeld() const;
  void Reply(const xsd_sockmsg& request, std::uint32_t type, std::string_view payload,
             const Request& cause);
  void Queue(const xsd_sockmsg& header, std::string_view payload, std::string event, Request cause);

  // Each answers an errno, or puts the answer's payload into `answer`, which is "OK" before.
  int Handle(const Message& message, const View& view, std::string& answer);
  int Directory(const Message& message, const View& view, std::string& answer);
  int DirectoryPart(const Message& message, const View& view, std::string& answer);
  int Read(const Message& message, const View& view, std::string& answer);
  int Write(const Message& message, const View& view);
  int GetPermissions(const Message& message, const View& view, std::string& answer);
  int SetPermissions(const Message& message, const View& view);
  int Watch(const Message& message, bool is_added);
  int StartTransaction(const View& view, std::string& answer);
  int EndTransaction(const Message& message, const View& view);
  int OfDomain(const Message& message, std::string& answer);
  int Introduce(const Message& message);
  int SetTarget(const Message& message);
  int Control(const Message& message, std::string& answer);
  int ControlQuota(const std::vector<std::string>& words, bool is_soft, std::string& answer);

  const std::function<void()> wake_;
  std::string input_;
  std::string output_;
  std::size_t sent_ = 0;           // of output_
  std::uint64_t sent_before_ = 0;  // of the stream, up to output_
  std::deque<Unsent> unsent_;
  std::set<std::string> events_;  // that are unsent: one that is the same again says nothing new
  std::vector<std::string> first_event_;  // that a watch being added is due: path and token
  bool is_proceeding_ = false;
  bool wants_to_end_ = false;
};

}  // namespace xencomm::machine

#endif  // HCALL_MACHINE_STORE_STORE_CONNECTION_H_
