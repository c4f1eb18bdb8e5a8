// XenbusFile: one opening of /dev/xen/xenbus, through which a program reaches the store by way of
// domain 0's kernel: as Linux 6.1's driver takes and answers what is written.
//
// A message is complete when a write completes it, and what follows in that write is lost; header
// and payload together have at most 4096 bytes; the kernel itself answers for watches, and for
// transactions that are not this file's. Unlike Linux' it keeps a watch that is added twice as one,
// XS_RESET_WATCHES ends this file's watches alone, and output has a bound: a write waits while
// wants_input() is false. A read takes of output(), and waits while that is empty; poll never says
// that one can write.
#ifndef HCALL_MACHINE_STORE_XENBUS_FILE_H_
#define HCALL_MACHINE_STORE_XENBUS_FILE_H_

#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <string_view>

#include "hcall/machine/store/client_stream.h"
#include "hcall/machine/store/store_message.h"
#include "hcall/machine/store/xenbus.h"

namespace xencomm::machine {

class XenbusFile final : public ClientStream {
 public:
  // Requests of one file that the store has not answered.
  static constexpr int kMostAsked = 16;

  // `xenbus` is borrowed.
  explicit XenbusFile(Xenbus& xenbus) : xenbus_(xenbus) { xenbus_.files_.insert(this); }
  ~XenbusFile() override { xenbus_.Forget(*this); }

  // What write() answers: how many bytes it took, which is all, or a negative errno; -EAGAIN when a
  // write has to wait. What the store refuses of it later, by another process's answer, ends the
  // file.
  std::ptrdiff_t Write(std::span<const std::byte> bytes);

  // The same of what a stream has carried, where writes are not told apart: as a write for each
  // message, of which none is lost, and which wait here. What a write refuses ends the connection.
  void Receive(std::span<const std::byte> bytes) override;
  bool wants_input() const override {
    return !wants_to_end_ && asked_ < kMostAsked && output().size() <= kMuchUnsent;
  }

  std::string_view output() const override { return std::string_view(output_).substr(sent_); }
  void Sent(std::size_t bytes) override;
  bool wants_to_end() const override { return wants_to_end_; }

 private:
  friend class Xenbus;

  void Proceed();
  void Take(const StoreMessage& message);
  void Watch(const StoreMessage& message);
  void Reply(const xsd_sockmsg& request, std::uint32_t type, std::string_view payload);
  void ReplyError(const xsd_sockmsg& request, int error);
  void Queue(const xsd_sockmsg& header, std::string_view payload);

  // By xenbus: what a request is answered, or how a write of a watch fails; and of an event.
  void Answered(const xsd_sockmsg& request, std::uint32_t type, std::string_view payload);
  void Refused(int error);
  void Tell(std::string_view path, std::string_view token);

  Xenbus& xenbus_;
  std::set<std::uint32_t> transactions_;
  std::string partial_;
  std::string stream_;  // what Write has not been given
  std::string output_;
  std::size_t sent_ = 0;  // of output_
  int asked_ = 0;
  int refused_ = 0;  // of what is being written
  bool is_writing_ = false;
  bool is_proceeding_ = false;
  bool wants_to_end_ = false;
};

}  // namespace xencomm::machine

#endif  // HCALL_MACHINE_STORE_XENBUS_FILE_H_
