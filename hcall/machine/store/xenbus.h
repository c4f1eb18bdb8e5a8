// Xenbus: domain 0's kernel as a client of the store, for all who have /dev/xen/xenbus open
// (xenbus_file.h): one connection that many share, as Linux 6.1's driver shares it.
//
// A file's request gets a number of the kernel's, its watch a token, and by these answers and
// events find back to it. Transactions are the store's own: a file may use those that it began.
// What a closed file leaves is ended at the store.
//
// The store is at the other end of two streams of bytes, and can go and come again. While there is
// none requests are answered EIO, as are those that it left unanswered; transactions have ended
// with it, and watches are set again at the next one, which tells of each once, as when it is new.
// (Linux waits for an answer, and has watches of the store that there was.)
#ifndef HCALL_MACHINE_STORE_XENBUS_H_
#define HCALL_MACHINE_STORE_XENBUS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>

#include "hcall/machine/store/store_connection.h"
#include "hcall/machine/store/store_message.h"

namespace xencomm::machine {

class XenbusFile;

class Xenbus {
 public:
  // `carry` is called when there comes to be output. What it receives of the store may make more.
  explicit Xenbus(std::function<void()> carry) : carry_(std::move(carry)) {}
  Xenbus(const Xenbus&) = delete;
  Xenbus& operator=(const Xenbus&) = delete;

  // There is a store, which has heard nothing yet.
  void Connect();
  // There is none any more.
  void Disconnect();
  bool is_connected() const { return is_connected_; }

  // What is to be said to the store next; valid until the next call.
  std::string_view output() const { return std::string_view(output_).substr(sent_); }
  void Sent(std::size_t bytes);
  // What the store has said. False: that makes no sense, and nothing more will.
  bool Receive(std::span<const std::byte> bytes);

  // Carries between it and a store in this process until neither has more to say.
  void ExchangeWith(StoreConnection& store);

  // A request of the kernel itself; what is answered interests nobody.
  void Ask(std::uint32_t type, std::uint32_t transaction, std::string_view payload);

 private:
  friend class XenbusFile;

  // What the store is asked, for whom, and which number and transaction that said; without a file
  // when it is closed, or the kernel asks. A watch's token stands beside.
  struct Asked {
    XenbusFile* file = nullptr;
    xsd_sockmsg header = {};
    std::uint32_t watch = 0;
  };
  struct Watch {
    XenbusFile* file;
    std::string path;
    std::string token;
  };

  // For files.
  void Ask(Asked asked, std::string_view payload);
  void AddWatch(XenbusFile& file, const xsd_sockmsg& header, const std::string& path,
                const std::string& token);
  void RemoveWatch(XenbusFile& file, const xsd_sockmsg& header, const std::string& path,
                   const std::string& token);
  // Ends what the file has at the store.
  void Reset(XenbusFile& file);
  void Forget(XenbusFile& file);  // that is closed

  void SetWatch(std::uint32_t id, Asked asked);
  void Handle(const StoreMessage& message);
  void HandleAnswer(const Asked& asked, const StoreMessage& message);
  void HandleEvent(const StoreMessage& message);

  const std::function<void()> carry_;
  bool is_connected_ = false;
  bool is_exchanging_ = false;
  std::string input_;
  std::string output_;
  std::size_t sent_ = 0;  // of output_
  std::uint32_t last_number_ = 0;
  std::uint32_t last_watch_ = 0;
  std::set<XenbusFile*> files_;
  std::map<std::uint32_t, Asked> asked_;    // by the kernel's number
  std::map<std::uint32_t, Watch> watches_;  // by the kernel's token
};

}  // namespace xencomm::machine

#endif  // HCALL_MACHINE_STORE_XENBUS_H_
