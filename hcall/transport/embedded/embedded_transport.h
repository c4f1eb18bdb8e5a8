// The transport to the embedded machine, for a process of its domain 0.
#ifndef HCALL_TRANSPORT_EMBEDDED_EMBEDDED_TRANSPORT_H_
#define HCALL_TRANSPORT_EMBEDDED_EMBEDDED_TRANSPORT_H_

#include <array>
#include <bit>
#include <memory>
#include <utility>

#include "hcall/transport/announced_call.h"
#include "hcall/transport/embedded/embedded_machine.h"
#include "hcall/transport/embedded/guest_process.h"
#include "hcall/transport/embedded/region_backing.h"
#include "hcall/transport/file_descriptor.h"
#include "hcall/transport/setting.h"
#include "hcall/transport/watched_call.h"
#include "xencomm/transport.h"

namespace xencomm::embedded {

class EmbeddedTransport final : public Transport {
 public:
  // `fd` stands for the device that calls go through elsewhere.
  EmbeddedTransport(std::shared_ptr<EmbeddedMachine> machine, SpaceOption space,
                    FileDescriptor fd = FileDescriptor())
      : machine_(std::move(machine)), process_(*machine_, space), fd_(std::move(fd)) {}

  absl::StatusOr<std::unique_ptr<Backing>> MakeBacking() override {
    return std::make_unique<RegionBacking>(process_);
  }
  std::int64_t Call(std::uint64_t op, const std::array<std::uint64_t, 5>& arguments) override {
    return Announced(op, arguments, [&](std::uint32_t* continuations) {
      return schema::Watched(op, arguments,
                             [&] { return process_.Call(op, arguments, continuations); });
    });
  }
  absl::StatusOr<TracedPointer> TraceOf(const void* pointer, TracedSpace space) override {
    return process_.TraceOf({std::bit_cast<std::uintptr_t>(pointer)}, space);
  }
  int fd() const override { return fd_.get(); }
  int Restrict() override { return fd_.BecomeNull(); }
  bool knows_regions() override { return machine_->kernel().KnowsRegions(); }
  bool never_faults() const override { return true; }

  // The Arena's, to look at, while the Arena lives.
  const GuestRegion& region() const { return process_.region(); }

 private:
  const std::shared_ptr<EmbeddedMachine> machine_;
  GuestProcess process_;
  FileDescriptor fd_;
};

}  // namespace xencomm::embedded

#endif  // HCALL_TRANSPORT_EMBEDDED_EMBEDDED_TRANSPORT_H_
