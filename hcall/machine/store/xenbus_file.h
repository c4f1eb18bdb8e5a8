// XenbusFile: one opening of /dev/xen/xenbus, through which a program reaches the store by way of
// domain 0's kernel: as Linux 6.1's driver takes and answers what is written.
//
// What it adds to a connection: a message is complete when a write completes it, and what follows
// in that write is lost; header and payload together have at most 4096 bytes; the kernel itself
// answers for watches, and for transactions that are not this file's. Unlike Linux' it keeps a
// watch that is added twice as one, XS_RESET_WATCHES ends this file's watches alone, and output has
// a bound: a write waits while wants_input() is false. A read takes of output(), and waits while
// that is empty; poll never says that one can write.
#ifndef HCALL_MACHINE_STORE_XENBUS_FILE_H_
#define HCALL_MACHINE_STORE_XENBUS_FILE_H_

#include <cstddef>
#include <functional>
#include <span>
#include <string>

#include "hcall/machine/store/store_connection.h"

namespace xencomm::machine {

class XenbusFile : public StoreConnection {
 public:
  XenbusFile(Store& store, std::function<void()> wake);

  // What write() answers: how many bytes it took, which is all, or a negative errno; -EAGAIN when a
  // write has to wait.
  std::ptrdiff_t Write(std::span<const std::byte> bytes);

  // The same of what a stream has carried, where writes are not told apart: as a write for each
  // message, of which none is lost, and which wait here. What a write refuses ends the connection.
  void Receive(std::span<const std::byte> bytes) override;

 private:
  void Proceed() override;
  int Take(const Message& message);
  int Watch(const Message& message);

  std::string partial_;
  std::string stream_;  // what Write has not been given
  bool is_proceeding_ = false;
};

}  // namespace xencomm::machine

#endif  // HCALL_MACHINE_STORE_XENBUS_FILE_H_
