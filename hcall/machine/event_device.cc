#include "hcall/machine/event_device.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "hcall/machine/event_calls.h"
#include "hcall/schema/generated/xen.h"

namespace xencomm::machine {
namespace {

// Ports in a message: so few that a socket takes all of them or none.
constexpr std::size_t kPortsSent = 64;
// Ports that are read at a time, and how often in a row: whoever writes more waits for others.
constexpr std::size_t kPortsRead = 1024;
constexpr int kReads = 16;

template <class Argument>
std::optional<Argument> Fetch(std::span<const std::byte> bytes) {
  Argument argument;
  if (bytes.size() < sizeof(argument)) return std::nullopt;
  std::memcpy(&argument, bytes.data(), sizeof(argument));
  return argument;
}

}  // namespace

absl::StatusOr<std::unique_ptr<EventFiles>> EventFiles::Create(embedded::GuestKernel& kernel) {
  FileDescriptor epoll(epoll_create1(EPOLL_CLOEXEC));
  FileDescriptor wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  epoll_event event = {.events = EPOLLIN, .data = {.ptr = nullptr}};
  if (!epoll.is_open() || !wake.is_open() ||
      epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wake.get(), &event) != 0) {
    return absl::ErrnoToStatus(errno, "descriptors for the event channel device");
  }
  // The page is the hypervisor's, and holds one: nothing else was ever made there.
  auto& info = *reinterpret_cast<shared_info*>(kernel.hypervisor().SharedInfoOf(kernel.id()));
  std::unique_ptr<EventFiles> files(
      new EventFiles(kernel, info, std::move(epoll), std::move(wake)));
  kernel.SetUpcallHandler(files.get());
  return files;
}

EventFiles::~EventFiles() {
  kernel_.SetUpcallHandler(nullptr);
  const MutexLock lock(mutex_);
  while (!files_.empty()) Close(*files_.begin()->second);
}

void EventFiles::Upcall() {
  // Whoever is going to look has not done so yet, and finds what was set before this.
  if (news_.exchange(News::kSome) != News::kNone) return;
  const std::uint64_t one = 1;
  // That it is full says the same.
  static_cast<void>(write(wake_.get(), &one, sizeof(one)));
}

void EventFiles::Serve() {
  const MutexLock lock(mutex_);
  TakeReady(true);
  Deliver();
}

void EventFiles::TakeReady(bool sends) {
  epoll_event ready[64];
  const int count = epoll_wait(epoll_.get(), ready, std::size(ready), 0);
  news_.exchange(News::kLooking);
  for (int i = 0; i < count; ++i) {
    auto* const file = static_cast<File*>(ready[i].data.ptr);
    if (file == nullptr) {
      std::uint64_t wakes;
      static_cast<void>(read(wake_.get(), &wakes, sizeof(wakes)));
    } else if (!TakeWritten(*file)) {
      Close(*file);
    } else if (sends && file->is_full) {
      Send(*file);
    }
  }
}

absl::Status EventFiles::Open(std::uint64_t id, FileDescriptor socket) {
  auto file = std::make_unique<File>(id, std::move(socket));
  const MutexLock lock(mutex_);
  if (files_.contains(id)) return absl::AlreadyExistsError("the file is open already");
  told_.reserve(files_.size() + 1);
  epoll_event event = {.events = EPOLLIN, .data = {.ptr = file.get()}};
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, file->socket.get(), &event) != 0) {
    return absl::ErrnoToStatus(errno, "a file of the event channel device");
  }
  files_.emplace(id, std::move(file));
  return absl::OkStatus();
}

void EventFiles::SetKernelPort(std::uint32_t port, KernelPort* handler) {
  const MutexLock lock(mutex_);
  kernel_port_ = port;
  kernel_port_handler_ = handler;
  if (handler != nullptr) Unmask(port);
}

std::int64_t EventFiles::Ioctl(std::uint64_t id, std::uint32_t number,
                               std::span<const std::byte> argument) {
  const MutexLock lock(mutex_);
  TakeReady(false);
  const auto found = files_.find(id);
  if (found == files_.end()) return -EBADF;
  news_.exchange(News::kLooking);
  TakeWritten(*found->second);  // its end is Serve's to find
  const std::int64_t answer = Answer(*found->second, number, argument);
  Deliver();
  return answer;
}

std::int64_t EventFiles::Answer(File& file, std::uint32_t number,
                                std::span<const std::byte> argument) {
  switch (number) {
    case kEventBindVirq:
      return BindVirq(file, argument);
    case kEventBindInterdomain:
      return BindInterdomain(file, argument);
    case kEventBindUnbound:
      return BindUnbound(file, argument);
    case kEventUnbind: {
      const auto request = Fetch<EventPort>(argument);
      if (!request) return -EFAULT;
      if (request->port >= KernelEvents::kPorts) return -EINVAL;
      if (!Has(file, request->port)) return -ENOTCONN;
      Unbind(request->port);
      return 0;
    }
    case kEventNotify: {
      const auto request = Fetch<EventPort>(argument);
      if (!request) return -EFAULT;
      if (!Has(file, request->port)) return -ENOTCONN;
      Send(request->port);
      return 0;
    }
    case kEventReset:
      file.waiting.Clear();
      return 0;
    case kEventRestrict:
      return Restrict(file, argument);
    default:
      return -ENOSYS;
  }
}

std::int64_t EventFiles::BindVirq(File& file, std::span<const std::byte> argument) {
  if (file.only != kAnyDomain) return -EACCES;
  const auto request = Fetch<EventBindVirq>(argument);
  if (!request) return -EFAULT;
  evtchn_bind_virq bind = {.virq = request->virq, .vcpu = 0, .port = 0};
  const std::int64_t answer = kernel_.EventCall(EVTCHNOP_bind_virq, bind);
  return Bound(file, answer, bind.port);
}

std::int64_t EventFiles::BindInterdomain(File& file, std::span<const std::byte> argument) {
  const auto request = Fetch<EventBindInterdomain>(argument);
  if (!request) return -EFAULT;
  if (file.only != kAnyDomain && file.only != request->remote_domain) return -EACCES;
  evtchn_bind_interdomain bind = {
      .remote_dom = static_cast<std::uint16_t>(request->remote_domain),
      .remote_port = request->remote_port,
      .local_port = 0,
  };
  const std::int64_t answer = kernel_.EventCall(EVTCHNOP_bind_interdomain, bind);
  return Bound(file, answer, bind.local_port);
}

std::int64_t EventFiles::BindUnbound(File& file, std::span<const std::byte> argument) {
  // Even for the domain that it is restricted to.
  if (file.only != kAnyDomain) return -EACCES;
  const auto request = Fetch<EventBindUnbound>(argument);
  if (!request) return -EFAULT;
  evtchn_alloc_unbound bind = {
      .dom = DOMID_SELF,
      .remote_dom = static_cast<std::uint16_t>(request->remote_domain),
      .port = 0,
  };
  const std::int64_t answer = kernel_.EventCall(EVTCHNOP_alloc_unbound, bind);
  return Bound(file, answer, bind.port);
}

std::int64_t EventFiles::Restrict(File& file, std::span<const std::byte> argument) {
  if (file.only != kAnyDomain) return -EACCES;
  const auto request = Fetch<EventRestrict>(argument);
  if (!request) return -EFAULT;
  if (request->domain == 0 || request->domain >= DOMID_FIRST_RESERVED) return -EINVAL;
  file.only = request->domain;
  return 0;
}

std::int64_t EventFiles::Bound(File& file, std::int64_t answer, std::uint32_t port) {
  if (answer < 0) return answer;
  // Another file's, whose port was closed by a hypercall behind its back: it is not that any more.
  owners_[port] = &file;
  Unmask(port);
  return port;
}

void EventFiles::Unmask(std::uint32_t port) {
  evtchn_unmask unmask = {.port = port};
  kernel_.EventCall(EVTCHNOP_unmask, unmask);
}

bool EventFiles::Keep(std::uint32_t port) {
  const MutexLock lock(mutex_);
  if (port >= KernelEvents::kPorts || (owners_[port] == nullptr && kept_[port] == 0)) return false;
  ++kept_[port];
  return true;
}

void EventFiles::LetGo(std::uint32_t port) {
  const MutexLock lock(mutex_);
  if (--kept_[port] == 0 && owners_[port] == nullptr) ClosePort(port);
}

void EventFiles::Send(std::uint32_t port) {
  evtchn_send send = {.port = port};
  kernel_.EventCall(EVTCHNOP_send, send);
}

void EventFiles::Unbind(std::uint32_t port) {
  owners_[port] = nullptr;
  if (kept_[port] == 0) ClosePort(port);
}

void EventFiles::ClosePort(std::uint32_t port) {
  const bool led_to_kernel = LeadsToKernel(port);
  evtchn_close close = {.port = port};
  kernel_.EventCall(EVTCHNOP_close, close);
  if (led_to_kernel) kernel_port_handler_->WasLetGo();
}

bool EventFiles::LeadsToKernel(std::uint32_t port) {
  if (kernel_port_handler_ == nullptr) return false;
  evtchn_status status = {};
  status.dom = DOMID_SELF;
  status.port = port;
  return kernel_.EventCall(EVTCHNOP_status, status) == 0 &&
         status.status == EVTCHNSTAT_interdomain && status.u.interdomain.dom == kernel_.id() &&
         status.u.interdomain.port == kernel_port_;
}

bool EventFiles::TakeWritten(File& file) {
  for (int reads = 0; reads < kReads; ++reads) {
    std::uint32_t ports[kPortsRead];
    const ssize_t bytes = recv(file.socket.get(), ports, sizeof(ports), MSG_DONTWAIT);
    if (bytes == 0) return false;
    if (bytes < 0) return errno == EAGAIN || errno == EINTR;
    for (std::size_t i = 0; i < static_cast<std::size_t>(bytes) / sizeof(ports[0]); ++i) {
      if (Has(file, ports[i])) Unmask(ports[i]);
    }
  }
  return true;
}

void EventFiles::Deliver() {
  news_.exchange(News::kNone);
  bool is_kernels = false;
  events_.Take([&](std::uint32_t port) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    File* const file = owners_[port];
    is_kernels = is_kernels || (kernel_port_handler_ != nullptr && port == kernel_port_);
    if (file == nullptr) return;
    file->waiting.Add(port);
    if (std::find(told_.begin(), told_.end(), file) == told_.end()) told_.push_back(file);
  });
  if (is_kernels) {
    kernel_port_handler_->HadEvent();
    Unmask(kernel_port_);
  }
  for (File* file : told_) Send(*file);
  told_.clear();
}

void EventFiles::Send(File& file) {
  bool is_full = false;
  while (!file.waiting.empty()) {
    std::uint32_t ports[kPortsSent];
    const std::size_t count = file.waiting.CopyTo(ports);
    // An end that is gone is Serve's to find, as is room.
    is_full =
        send(file.socket.get(), ports, count * sizeof(ports[0]), MSG_DONTWAIT | MSG_NOSIGNAL) < 0;
    if (is_full) break;
    file.waiting.DropFirst(count);
  }
  if (is_full == file.is_full) return;
  file.is_full = is_full;
  epoll_event event = {.events = is_full ? EPOLLIN | EPOLLOUT : EPOLLIN, .data = {.ptr = &file}};
  epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, file.socket.get(), &event);
}

void EventFiles::Close(File& file) {
  for (std::uint32_t port = 0; port < KernelEvents::kPorts; ++port) {
    if (owners_[port] == &file) Unbind(port);
  }
  files_.erase(file.id);
}

}  // namespace xencomm::machine
