// The transport to a machine that is a process of its own, for a process of its domain 0.
//
// The payload of the Arena's region is the machine's memory, mapped here at the region's addresses;
// its table is in memory that no client gets, and so is all that the hypervisor knows.
#ifndef HCALL_TRANSPORT_MACHINE_MACHINE_TRANSPORT_H_
#define HCALL_TRANSPORT_MACHINE_MACHINE_TRANSPORT_H_

#include <array>
#include <bit>
#include <memory>
#include <utility>

#include "hcall/transport/file_descriptor.h"
#include "hcall/transport/machine/connection.h"
#include "xencomm/transport.h"

namespace xencomm::machine {

class MachineTransport final : public Transport {
 public:
  // `fd` stands for the device that calls go through elsewhere.
  explicit MachineTransport(std::shared_ptr<Connection> connection,
                            FileDescriptor fd = FileDescriptor())
      : connection_(std::move(connection)), fd_(std::move(fd)) {}

  absl::StatusOr<std::unique_ptr<Backing>> MakeBacking() override;
  std::int64_t Call(std::uint64_t op, const std::array<std::uint64_t, 5>& arguments) override {
    return connection_->Call({.file = 0, .index = op, .arguments = arguments});
  }
  absl::StatusOr<TracedPointer> TraceOf(const void* pointer, TracedSpace space) override {
    return connection_->TraceOf({std::bit_cast<std::uintptr_t>(pointer)}, space);
  }
  int fd() const override { return fd_.get(); }
  int Restrict() override;
  bool knows_regions() override { return true; }
  bool never_faults() const override { return true; }

 private:
  const std::shared_ptr<Connection> connection_;
  FileDescriptor fd_;
};

}  // namespace xencomm::machine

#endif  // HCALL_TRANSPORT_MACHINE_MACHINE_TRANSPORT_H_
