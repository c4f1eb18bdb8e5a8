#include "hcall/machine/store_daemon.h"

#include <sys/eventfd.h>

#include <array>
#include <cerrno>
#include <span>

#include "hcall/schema/generated/xen.h"

namespace xencomm::machine {
namespace {

// Steps in a row, so that none who goes on and on is listened to alone.
constexpr int kSteps = 64;

}  // namespace

absl::StatusOr<std::unique_ptr<StoreDaemon>> StoreDaemon::Create(embedded::GuestKernel& kernel,
                                                                 Devices& devices) {
  absl::StatusOr<std::unique_ptr<StoreRing>> ring = StoreRing::Create();
  if (!ring.ok()) return ring.status();
  FileDescriptor rung(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!rung.is_open()) return absl::ErrnoToStatus(errno, "the kernel's side of the store");
  evtchn_alloc_unbound bind = {.dom = DOMID_SELF, .remote_dom = DOMID_SELF, .port = 0};
  const std::int64_t answer = kernel.EventCall(EVTCHNOP_alloc_unbound, bind);
  if (answer < 0) {
    return absl::ErrnoToStatus(static_cast<int>(-answer), "domain 0's kernel has no store's port");
  }
  std::unique_ptr<StoreDaemon> daemon(
      new StoreDaemon(kernel, devices, *std::move(ring), std::move(rung), bind.port));
  devices.SetKernelPort(bind.port, daemon.get());
  return daemon;
}

StoreDaemon::~StoreDaemon() { devices_.SetKernelPort(0, nullptr); }

void StoreDaemon::HadEvent() { eventfd_write(rung_.get(), 1); }

void StoreDaemon::WasLetGo() {
  // Before another one can bind the port.
  ring_->Reset();
  eventfd_write(rung_.get(), 1);
}

bool StoreDaemon::IsBound() {
  evtchn_status status = {};
  status.dom = DOMID_SELF;
  status.port = port_;
  return kernel_.EventCall(EVTCHNOP_status, status) == 0 && status.status == EVTCHNSTAT_interdomain;
}

bool StoreDaemon::Look(Xenbus& xenbus) {
  eventfd_t count;
  if (eventfd_read(rung_.get(), &count) != 0) return false;
  const bool is_bound = IsBound();
  if (served_ && (!is_bound || served_ != ring_->life())) {
    // A hypercall may have closed the port behind the device's back.
    if (served_ == ring_->life()) ring_->Reset();
    Lose(xenbus);
  }
  if (served_ || !is_bound || ring_->life() == senseless_) return false;
  served_ = ring_->life();
  return true;
}

bool StoreDaemon::Carry(Xenbus& xenbus) {
  std::array<std::byte, XENSTORE_RING_SIZE> bytes;
  bool has_moved = false;
  for (int step = 0; served_ && step < kSteps; ++step) {
    const std::optional<std::size_t> read = ring_->Read(*served_, bytes);
    const std::optional<std::size_t> written = ring_->Write(*served_, xenbus.output());
    if (!read || !written || !xenbus.Receive(std::span(bytes).first(*read))) {
      senseless_ = *served_;
      Lose(xenbus);
      return true;
    }
    xenbus.Sent(*written);
    if (*read == 0 && *written == 0) break;
    has_moved = true;
  }
  if (has_moved) {
    evtchn_send send = {.port = port_};
    kernel_.EventCall(EVTCHNOP_send, send);
  }
  return has_moved;
}

void StoreDaemon::Lose(Xenbus& xenbus) {
  served_.reset();
  xenbus.Disconnect();
}

}  // namespace xencomm::machine
