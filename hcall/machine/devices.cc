#include "hcall/machine/devices.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>

#include "absl/strings/str_cat.h"

namespace xencomm::machine {
namespace {

absl::Status Watch(const FileDescriptor& epoll, int fd, std::uint32_t edge = 0) {
  epoll_event watched = {.events = EPOLLIN | edge, .data = {.fd = fd}};
  if (epoll.is_open() && epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &watched) == 0) {
    return absl::OkStatus();
  }
  return absl::ErrnoToStatus(errno, "the machine's devices");
}

}  // namespace

absl::StatusOr<std::unique_ptr<Devices>> Devices::Create(embedded::EmbeddedMachine& machine,
                                                         std::string files_folder) {
  FileDescriptor epoll(epoll_create1(EPOLL_CLOEXEC));
  absl::StatusOr<std::unique_ptr<DeviceFiles>> files = DeviceFiles::Create();
  if (!files.ok()) return files.status();
  absl::StatusOr<std::unique_ptr<EventFiles>> events = EventFiles::Create(machine.kernel());
  if (!events.ok()) return events.status();
  FileDescriptor domains(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  for (const absl::Status& watched :
       {Watch(epoll, (*files)->fd()), Watch(epoll, (*events)->fd()),
        Watch(epoll, domains.get(), static_cast<std::uint32_t>(EPOLLET))}) {
    if (!watched.ok()) return watched;
  }
  auto domain0 =
      std::make_shared<DomainDevices>(machine.kernel(), *std::move(events), nullptr, nullptr);
  return std::unique_ptr<Devices>(new Devices(machine, std::move(epoll), std::move(domains),
                                              *std::move(files), std::move(domain0),
                                              std::move(files_folder)));
}

Devices::~Devices() { machine_.TellOfDomains(-1); }

bool Devices::HasEnded(std::uint16_t domain) const {
  using State = hypervisor::Hypervisor::DomainState;
  const State state = machine_.hypervisor().StateOf(domain);
  return state == State::kDying || state == State::kAbsent;
}

absl::StatusOr<std::shared_ptr<DomainDevices>> Devices::Join(
    std::shared_ptr<embedded::GuestDomain> domain) {
  embedded::GuestKernel& kernel = domain->kernel();
  const MutexLock lock(mutex_);
  const auto known = joined_.find(kernel.id());
  if (known != joined_.end()) return UseOf(kernel.id(), known->second);
  absl::StatusOr<std::unique_ptr<EventFiles>> events = EventFiles::Create(kernel);
  if (!events.ok()) return events.status();
  const absl::Status watched = Watch(epoll_, (*events)->fd());
  if (!watched.ok()) return watched;
  absl::StatusOr<std::unique_ptr<HostFiles>> files =
      HostFiles::Create(absl::StrCat(files_folder_, "-", kernel.id()), kernel);
  if (!files.ok()) return files.status();
  auto joined = std::make_unique<DomainDevices>(kernel, *std::move(events), std::move(domain),
                                                *std::move(files));
  return UseOf(kernel.id(), joined_[kernel.id()] = {.devices = std::move(joined)});
}

std::shared_ptr<DomainDevices> Devices::UseOf(std::uint16_t id, Joined& joined) {
  ++joined.users;
  return {joined.devices.get(), [this, id](DomainDevices*) { Leave(id); }};
}

void Devices::Leave(std::uint16_t id) {
  const MutexLock lock(mutex_);
  const auto joined = joined_.find(id);
  if (--joined->second.users == 0) joined_.erase(joined);
}

void Devices::EndClosedFiles() {
  const MutexLock lock(ending_);
  files_->Serve(
      [](std::uint64_t file, xencomm_device device, const std::shared_ptr<DomainDevices>& domain) {
        if (device == XENCOMM_GNTDEV) domain->grants().Closed(file);
        if (device == XENCOMM_GNTALLOC) domain->shares().Closed(file);
      });
}

void Devices::Serve() {
  epoll_event ready[16];
  const int count = epoll_wait(epoll_.get(), ready, std::size(ready), 0);
  const bool domains_ended = std::any_of(ready, ready + std::max(count, 0), [this](auto& each) {
    return each.data.fd == domains_.get();
  });
  EndClosedFiles();
  for (const std::shared_ptr<DomainDevices>& each : All()) {
    each->events().Serve();
    if (domains_ended && HasEnded(each->kernel().id())) each->EndProcesses();
  }
  Collect();
}

void Devices::Collect() {
  for (const std::shared_ptr<DomainDevices>& each : All()) each->shares().Collect();
}

std::vector<std::shared_ptr<DomainDevices>> Devices::All() {
  std::vector<std::shared_ptr<DomainDevices>> all = {domain0_};
  const MutexLock lock(mutex_);
  all.reserve(all.size() + joined_.size());
  for (auto& [id, joined] : joined_) all.push_back(UseOf(id, joined));
  return all;
}

absl::StatusOr<Devices::Opened> Devices::Open(const std::shared_ptr<DomainDevices>& domain,
                                              xencomm_device device, int access_mode) {
  absl::StatusOr<DeviceFiles::Opened> opened = files_->Open(device, access_mode, domain);
  if (!opened.ok()) return opened.status();
  if (device == XENCOMM_EVTCHN) {
    const absl::Status known = domain->events().Open(opened->id, std::move(opened->machines));
    if (!known.ok()) return known;
  }
  if (device == XENCOMM_XENBUS) {
    if (xenbus_ == nullptr) return absl::UnavailableError("the machine has no store");
    const absl::Status known =
        xenbus_->OpenXenbus(domain->kernel().id(), std::move(opened->machines));
    if (!known.ok()) return known;
  }
  return Opened{opened->id, std::move(opened->clients)};
}

std::int64_t Devices::Event(std::uint64_t id, std::uint32_t number,
                            std::span<const std::byte> argument) {
  const std::shared_ptr<DomainDevices> domain = files_->DomainOf(id, XENCOMM_EVTCHN);
  return domain == nullptr ? -EBADF : domain->events().Ioctl(id, number, argument);
}

}  // namespace xencomm::machine
