// The event channel device over an embedded machine: what a client sees at its end of the socket,
// and what becomes of its ports. What Linux answers is asked by tests/xen/device_events.c.

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hcall/machine/event_calls.h"
#include "hcall/machine/event_device.h"
#include "hcall/schema/generated/xen.h"
#include "tests/unit/embedded_machine.h"

namespace xencomm::machine {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::uint16_t kNobody = 0x7abc;

class Ports {
 public:
  explicit Ports(KernelEvents& events) {
    events.Take([this](std::uint32_t port) { found_.push_back(port); });
  }
  const std::vector<std::uint32_t>& found() const { return found_; }

 private:
  std::vector<std::uint32_t> found_;
};

TEST(KernelEvents, EveryVcpusPortsAreTakenOnceAndMasked) {
  shared_info info = {};
  KernelEvents events(info);
  info.evtchn_mask[1] = 1 << 3;
  for (const std::uint32_t port : {0, 1, 63, 64, 67, 130, 4095}) {
    info.evtchn_pending[port / 64] |= std::uint64_t{1} << port % 64;
  }
  info.vcpu_info[0].evtchn_upcall_pending = 1;
  info.vcpu_info[0].evtchn_pending_sel = 0b11;
  info.vcpu_info[31].evtchn_upcall_pending = 1;
  info.vcpu_info[31].evtchn_pending_sel = std::uint64_t{1} << 63;
  EXPECT_THAT(Ports(events).found(), ElementsAre(0, 1, 63, 64, 4095)) << "67 is masked, and no "
                                                                         "selector leads to 130";
  EXPECT_EQ(info.evtchn_pending[0], 0u);
  EXPECT_EQ(info.evtchn_mask[0], 1u << 0 | 1u << 1 | std::uint64_t{1} << 63);
  EXPECT_EQ(info.evtchn_pending[1], 1u << 3);
  EXPECT_EQ(info.evtchn_mask[1], 1u << 0 | 1u << 3);
  EXPECT_EQ(info.evtchn_pending[2], 1u << 2);
  EXPECT_EQ(info.vcpu_info[0].evtchn_upcall_pending, 0);
  EXPECT_EQ(info.vcpu_info[31].evtchn_pending_sel, 0u);

  info.vcpu_info[0].evtchn_pending_sel = 0b101;
  info.evtchn_pending[0] = 1;  // which is masked now
  EXPECT_THAT(Ports(events).found(), IsEmpty()) << "without an upcall nothing is looked at";
  info.vcpu_info[0].evtchn_upcall_pending = 1;
  EXPECT_THAT(Ports(events).found(), ElementsAre(130));
  EXPECT_EQ(info.evtchn_pending[0], 1u);
}

TEST(PortQueue, PortsComeInOrderAndAtMostOnce) {
  auto queue = std::make_unique<PortQueue>();
  std::array<std::uint32_t, KernelEvents::kPorts + 1> got;
  for (int round = 0; round < 3; ++round) {
    EXPECT_TRUE(queue->empty());
    for (std::uint32_t i = 0; i < 2 * KernelEvents::kPorts; ++i) {
      queue->Add((i * 7 + 5) % KernelEvents::kPorts);
    }
    ASSERT_EQ(queue->CopyTo(got), KernelEvents::kPorts);
    for (std::uint32_t i = 0; i < KernelEvents::kPorts; ++i) {
      ASSERT_EQ(got[i], (i * 7 + 5) % KernelEvents::kPorts);
    }
    EXPECT_EQ(queue->CopyTo(std::span(got).first(3)), 3u);
    queue->DropFirst(KernelEvents::kPorts - 1);
    queue->Add(got[0]);
    queue->Add(got[KernelEvents::kPorts - 1]);
    EXPECT_EQ(queue->CopyTo(got), 2u) << "one was there, the other was not any more";
    round % 2 == 0 ? queue->Clear() : queue->DropFirst(2);
  }
}

// An open file, as a client has it.
class OpenFile {
 public:
  OpenFile(EventFiles& files, std::uint64_t id, int send_buffer = 0) : files_(files), id_(id) {
    int ends[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    if (send_buffer != 0) {
      setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof(send_buffer));
    }
    fd_.emplace(ends[0]);
    EXPECT_TRUE(files.Open(id, FileDescriptor(ends[1])).ok());
  }

  int fd() const { return fd_->get(); }
  void Close() { fd_.reset(); }

  template <class Argument>
  std::int64_t Ioctl(std::uint32_t number, Argument argument) {
    return files_.Ioctl(id_, number, std::as_bytes(std::span(&argument, 1)));
  }
  std::int64_t Ioctl(std::uint32_t number) { return files_.Ioctl(id_, number, {}); }

  std::int64_t BindVirq(std::uint32_t virq) { return Ioctl(kEventBindVirq, EventBindVirq{virq}); }
  std::int64_t BindUnbound(std::uint32_t domain) {
    return Ioctl(kEventBindUnbound, EventBindUnbound{domain});
  }
  std::int64_t BindInterdomain(std::uint32_t domain, std::uint32_t port) {
    return Ioctl(kEventBindInterdomain, EventBindInterdomain{domain, port});
  }
  std::int64_t Unbind(std::uint32_t port) { return Ioctl(kEventUnbind, EventPort{port}); }
  std::int64_t Notify(std::uint32_t port) { return Ioctl(kEventNotify, EventPort{port}); }

  // What can be read at once.
  std::vector<std::uint32_t> Read(std::size_t most = 8192) {
    std::vector<std::uint32_t> ports(most);
    const ssize_t bytes = recv(fd(), ports.data(), most * 4, MSG_DONTWAIT);
    EXPECT_TRUE(bytes % 4 == 0 || errno == EAGAIN);
    ports.resize(bytes < 0 ? 0 : static_cast<std::size_t>(bytes) / 4);
    return ports;
  }
  void Write(const std::vector<std::uint32_t>& ports) {
    EXPECT_EQ(send(fd(), ports.data(), ports.size() * 4, 0),
              static_cast<ssize_t>(ports.size() * 4));
  }
  // Written, and taken.
  void Enable(const std::vector<std::uint32_t>& ports) {
    Write(ports);
    files_.Serve();
  }

 private:
  EventFiles& files_;
  const std::uint64_t id_;
  std::optional<FileDescriptor> fd_;
};

class EventDeviceTest : public ::testing::TestWithParam<bool> {
 protected:
  // A port of domain 0, as the hypervisor knows it.
  int StatusOf(std::int64_t port) {
    evtchn_status status = {};
    status.dom = DOMID_SELF;
    status.port = static_cast<std::uint32_t>(port);
    const std::int64_t answer = machine_->kernel().EventCall(EVTCHNOP_status, status);
    return answer < 0 ? static_cast<int>(answer) : static_cast<int>(status.status);
  }
  bool HasNews() const {
    pollfd one = {.fd = files_->fd(), .events = POLLIN, .revents = 0};
    return poll(&one, 1, 0) == 1;
  }
  // Two ports that are bound to one another, with nothing pending.
  std::pair<std::uint32_t, std::uint32_t> Bind(OpenFile& here, OpenFile& there) {
    const auto port = static_cast<std::uint32_t>(here.BindUnbound(0));
    const auto peer = static_cast<std::uint32_t>(there.BindInterdomain(0, port));
    EXPECT_THAT(there.Read(), ElementsAre(peer));
    there.Enable({peer});
    return {port, peer};
  }
  // A domain's life, by hypercalls of another process.
  void MakeAndDestroyADomain() {
    const auto client =
        embedded::ClientOf(machine_, GetParam() ? SpaceOption::kXcom : SpaceOption::kDirect);
    auto op = *client->arena().New<xen_domctl>();
    *op = {};
    op->cmd = XEN_DOMCTL_createdomain;
    op->interface_version = XEN_DOMCTL_INTERFACE_VERSION;
    op->u.createdomain.max_vcpus = 1;
    op->u.createdomain.max_evtchn_port = 1023;
    op->u.createdomain.max_grant_frames = -1;
    op->u.createdomain.max_maptrack_frames = -1;
    op->u.createdomain.grant_opts = 1;
    EXPECT_EQ(Domctl(*client, op.get()), 0);
    const std::uint16_t domain = op->domain;
    *op = {};
    op->cmd = XEN_DOMCTL_destroydomain;
    op->interface_version = XEN_DOMCTL_INTERFACE_VERSION;
    op->domain = domain;
    EXPECT_EQ(Domctl(*client, op.get()), 0);
  }
  static std::int64_t Domctl(xencomm::Client& client, xen_domctl* op) {
    return client.transport().Call(__HYPERVISOR_domctl,
                                   {std::bit_cast<std::uint64_t>(op), 0, 0, 0, 0});
  }

  const std::shared_ptr<embedded::EmbeddedMachine> machine_ =
      embedded::SmallMachine(64 << 20, GetParam());
  std::unique_ptr<EventFiles> files_ = *EventFiles::Create(machine_->kernel());
  OpenFile here_{*files_, 1};
  OpenFile there_{*files_, 2};
};

INSTANTIATE_TEST_SUITE_P(, EventDeviceTest, ::testing::Bool(), [](const auto& each) {
  return std::string(each.param ? "Historical" : "Ordinary");
});

TEST_P(EventDeviceTest, BindsAndUnbindsPorts) {
  const std::int64_t port = here_.BindUnbound(kNobody);
  ASSERT_GT(port, 0);
  EXPECT_EQ(StatusOf(port), EVTCHNSTAT_unbound);
  EXPECT_EQ(there_.BindInterdomain(0, static_cast<std::uint32_t>(port)), -EINVAL);
  EXPECT_EQ(there_.BindInterdomain(kNobody, 1), -ESRCH);
  EXPECT_EQ(there_.BindInterdomain(0, 0), -EINVAL);
  const auto own = static_cast<std::uint32_t>(port);
  EXPECT_EQ(here_.Notify(own), 0) << "to nobody";
  EXPECT_EQ(there_.Notify(own), -ENOTCONN);
  EXPECT_EQ(there_.Unbind(own), -ENOTCONN);
  EXPECT_EQ(here_.Unbind(own), 0);
  EXPECT_EQ(StatusOf(port), EVTCHNSTAT_closed);
  EXPECT_EQ(here_.Unbind(own), -ENOTCONN);
  EXPECT_EQ(here_.Notify(own), -ENOTCONN);
  EXPECT_THAT(here_.Read(), IsEmpty());
}

TEST_P(EventDeviceTest, RefusesWhatIsNoPort) {
  for (const std::uint32_t port : {0u, 1u, 77u, 4095u}) {
    EXPECT_EQ(here_.Unbind(port), -ENOTCONN) << port;
    EXPECT_EQ(here_.Notify(port), -ENOTCONN) << port;
  }
  for (const std::uint32_t port : {4096u, 0x7fffffffu, 0xffffffffu}) {
    EXPECT_EQ(here_.Unbind(port), -EINVAL) << port;
    EXPECT_EQ(here_.Notify(port), -ENOTCONN) << port;
    EXPECT_EQ(here_.BindInterdomain(0, port), -EINVAL) << port;
  }
  here_.Enable({0, 1, 77, 4095, 4096, 0xffffffff});
  EXPECT_THAT(here_.Read(), IsEmpty());
}

TEST_P(EventDeviceTest, RefusesCallsThatItDoesNotKnowOrCannotRead) {
  for (const std::uint32_t number : {kEventBindVirq, kEventBindInterdomain, kEventBindUnbound,
                                     kEventUnbind, kEventNotify, kEventRestrict}) {
    EXPECT_EQ(here_.Ioctl(number), -EFAULT) << std::hex << number;
  }
  EXPECT_EQ(here_.Ioctl(kEventBindInterdomain, EventPort{1}), -EFAULT) << "half of it";
  EXPECT_EQ(here_.Ioctl(kEventReset), 0);
  EXPECT_EQ(here_.Ioctl(_IOC(_IOC_NONE, 'E', 7, 4), EventPort{1}), -ENOSYS);
  EXPECT_EQ(here_.Ioctl(0x305000), -ENOSYS);
  EXPECT_EQ(here_.Ioctl(0), -ENOSYS);
  EXPECT_EQ(files_->Ioctl(3, kEventReset, {}), -EBADF);
}

TEST_P(EventDeviceTest, AnIdNamesOneFile) {
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  const FileDescriptor client(ends[0]);
  EXPECT_EQ(files_->Open(1, FileDescriptor(ends[1])).code(), absl::StatusCode::kAlreadyExists);
  char byte;
  EXPECT_EQ(recv(client.get(), &byte, 1, 0), 0) << "it was closed";
  EXPECT_FALSE(files_->Open(3, FileDescriptor(-1)).ok());
  EXPECT_EQ(files_->Ioctl(3, kEventReset, {}), -EBADF);
  EXPECT_GT(here_.BindUnbound(0), 0);
}

TEST_P(EventDeviceTest, APortIsDisabledFromItsEventUntilItIsWritten) {
  const auto [port, peer] = Bind(here_, there_);
  EXPECT_EQ(here_.Notify(port), 0);
  EXPECT_EQ(here_.Notify(port), 0);
  EXPECT_THAT(there_.Read(), ElementsAre(peer));
  EXPECT_THAT(here_.Read(), IsEmpty());
  EXPECT_EQ(here_.Notify(port), 0);
  EXPECT_EQ(here_.Notify(port), 0);
  files_->Serve();
  EXPECT_THAT(there_.Read(), IsEmpty());
  there_.Enable({peer});
  EXPECT_THAT(there_.Read(), ElementsAre(peer)) << "what came meanwhile, once";
  there_.Enable({peer});
  there_.Enable({peer});
  EXPECT_THAT(there_.Read(), IsEmpty());
  EXPECT_EQ(here_.Notify(port), 0);
  EXPECT_THAT(there_.Read(), ElementsAre(peer));
  // The other way.
  EXPECT_EQ(there_.Notify(peer), 0);
  EXPECT_THAT(here_.Read(), ElementsAre(port));
}

TEST_P(EventDeviceTest, OnlyTheFileThatHasAPortEnablesIt) {
  const auto [port, peer] = Bind(here_, there_);
  EXPECT_EQ(here_.Notify(port), 0);
  EXPECT_THAT(there_.Read(), ElementsAre(peer));
  here_.Enable({peer});
  there_.Enable({port});
  EXPECT_EQ(here_.Notify(port), 0);
  files_->Serve();
  EXPECT_THAT(there_.Read(), IsEmpty());
}

TEST_P(EventDeviceTest, AWriteCountsBeforeTheIoctlBehindIt) {
  const auto [port, peer] = Bind(here_, there_);
  EXPECT_EQ(here_.Notify(port), 0);
  EXPECT_THAT(there_.Read(), ElementsAre(peer));
  EXPECT_EQ(here_.Notify(port), 0);
  there_.Write({peer});
  EXPECT_EQ(there_.Ioctl(kEventReset), 0);
  EXPECT_THAT(there_.Read(), ElementsAre(peer));
}

TEST_P(EventDeviceTest, ManyPortsComeInOrderAndAreEnabledAtOnce) {
  std::vector<std::uint32_t> ports, peers;
  for (int i = 0; i < 100; ++i) {
    ports.push_back(static_cast<std::uint32_t>(here_.BindUnbound(0)));
    peers.push_back(static_cast<std::uint32_t>(there_.BindInterdomain(0, ports.back())));
  }
  EXPECT_EQ(there_.Read(), peers);
  there_.Enable(peers);
  for (const int i : {70, 3, 99, 0}) EXPECT_EQ(here_.Notify(ports[i]), 0);
  EXPECT_THAT(there_.Read(1), ElementsAre(peers[70]));
  EXPECT_THAT(there_.Read(), ElementsAre(peers[3], peers[99], peers[0]));
  for (const int i : {0, 3, 70, 99}) EXPECT_EQ(here_.Notify(ports[i]), 0);
  there_.Enable({peers[0], ports[0], 0xffffffff, peers[3], peers[70], peers[99]});
  EXPECT_THAT(there_.Read(),
              testing::UnorderedElementsAre(peers[0], peers[3], peers[70], peers[99]));
}

TEST_P(EventDeviceTest, AWriteOfNoWholeNumberOfPortsIsCut) {
  const auto [port, peer] = Bind(here_, there_);
  EXPECT_EQ(here_.Notify(port), 0);
  EXPECT_THAT(there_.Read(), ElementsAre(peer));
  EXPECT_EQ(here_.Notify(port), 0);
  EXPECT_EQ(send(there_.fd(), &peer, 3, 0), 3);
  files_->Serve();
  EXPECT_THAT(there_.Read(), IsEmpty());
  const std::uint32_t more[2] = {peer, 0xffffffff};
  EXPECT_EQ(send(there_.fd(), more, 7, 0), 7);
  files_->Serve();
  EXPECT_THAT(there_.Read(), ElementsAre(peer));
  there_.Enable({peer});
  EXPECT_EQ(here_.Notify(port), 0);
  EXPECT_THAT(there_.Read(), ElementsAre(peer));
}

TEST_P(EventDeviceTest, LeavesAProgramWhatTheKernelHasNotBound) {
  for (std::uint32_t virq = 0; virq < NR_VIRQS; ++virq) {
    const std::int64_t port = here_.BindVirq(virq);
    if (virq == VIRQ_TIMER || virq == VIRQ_CONSOLE || virq == VIRQ_PCPU_STATE) {
      EXPECT_EQ(port, -EEXIST) << virq;
      continue;
    }
    ASSERT_GT(port, 0) << virq;
    EXPECT_EQ(there_.BindVirq(virq), -EEXIST);
    EXPECT_EQ(here_.Unbind(static_cast<std::uint32_t>(port)), 0);
    const std::int64_t again = there_.BindVirq(virq);
    EXPECT_EQ(again, port);
    EXPECT_EQ(there_.Notify(static_cast<std::uint32_t>(again)), 0) << "to nobody";
    EXPECT_EQ(there_.Unbind(static_cast<std::uint32_t>(again)), 0);
  }
  EXPECT_EQ(here_.BindVirq(NR_VIRQS), -EINVAL);
  EXPECT_EQ(here_.BindVirq(0xffffffff), -EINVAL);
}

TEST_P(EventDeviceTest, ADomainsEndWakesWhoeverServes) {
  const auto port = static_cast<std::uint32_t>(here_.BindVirq(VIRQ_DOM_EXC));
  files_->Serve();
  EXPECT_FALSE(HasNews());
  MakeAndDestroyADomain();
  EXPECT_TRUE(HasNews());
  EXPECT_THAT(here_.Read(), IsEmpty());
  files_->Serve();
  EXPECT_FALSE(HasNews());
  EXPECT_THAT(here_.Read(), ElementsAre(port));
  MakeAndDestroyADomain();
  EXPECT_FALSE(HasNews()) << "nobody wants to hear of it";
  here_.Enable({port});
  EXPECT_THAT(here_.Read(), ElementsAre(port));
}

TEST_P(EventDeviceTest, AResetForgetsWhatWaitsAndLeavesPortsDisabled) {
  const auto [port, peer] = Bind(here_, there_);
  EXPECT_EQ(here_.Notify(port), 0);
  EXPECT_THAT(there_.Read(), ElementsAre(peer));  // as a client does before it asks
  EXPECT_EQ(there_.Ioctl(kEventReset), 0);
  EXPECT_EQ(here_.Notify(port), 0);
  files_->Serve();
  EXPECT_THAT(there_.Read(), IsEmpty());
  there_.Enable({peer});
  EXPECT_THAT(there_.Read(), ElementsAre(peer));
}

TEST_P(EventDeviceTest, ARestrictedFileBindsPortsOfOneDomainAndKeepsWhatItHas) {
  const auto [port, peer] = Bind(here_, there_);
  const auto restrict_to = [this](std::uint16_t domain) {
    return here_.Ioctl(kEventRestrict, EventRestrict{domain});
  };
  for (const int domain : {0, DOMID_FIRST_RESERVED, DOMID_SELF, 0xffff}) {
    EXPECT_EQ(restrict_to(static_cast<std::uint16_t>(domain)), -EINVAL) << domain;
  }
  EXPECT_EQ(restrict_to(kNobody), 0);
  EXPECT_EQ(restrict_to(kNobody), -EACCES);
  EXPECT_EQ(here_.Ioctl(kEventRestrict), -EACCES);
  EXPECT_EQ(here_.BindVirq(VIRQ_DOM_EXC), -EACCES);
  EXPECT_EQ(here_.Ioctl(kEventBindVirq), -EACCES);
  EXPECT_EQ(here_.BindUnbound(0), -EACCES);
  EXPECT_EQ(here_.BindUnbound(kNobody), -EACCES);
  EXPECT_EQ(here_.BindInterdomain(0, peer), -EACCES);
  EXPECT_EQ(here_.BindInterdomain(kNobody | 0x10000, 1), -EACCES);
  EXPECT_EQ(here_.Ioctl(kEventBindInterdomain), -EFAULT);
  EXPECT_EQ(here_.BindInterdomain(kNobody, 1), -ESRCH);
  EXPECT_EQ(here_.Notify(port), 0);
  EXPECT_THAT(there_.Read(), ElementsAre(peer));
  EXPECT_EQ(there_.Notify(peer), 0);
  EXPECT_THAT(here_.Read(), ElementsAre(port));
  EXPECT_EQ(here_.Unbind(port), 0);
  EXPECT_GT(there_.BindUnbound(0), 0) << "another file is not";
}

// What has been sent can be read, whatever becomes of its port.
TEST_P(EventDeviceTest, WhatWasToldStaysTold) {
  const auto [port, peer] = Bind(here_, there_);
  EXPECT_EQ(here_.Notify(port), 0);
  EXPECT_EQ(there_.Unbind(peer), 0);
  EXPECT_EQ(StatusOf(port), EVTCHNSTAT_unbound);
  EXPECT_THAT(there_.Read(), ElementsAre(peer));
  there_.Enable({peer});
  EXPECT_EQ(StatusOf(peer), EVTCHNSTAT_closed);
}

TEST_P(EventDeviceTest, TheLastReferenceClosesAFileAndItsPorts) {
  const auto [port, peer] = Bind(here_, there_);
  const std::int64_t other = here_.BindUnbound(kNobody);
  std::optional<FileDescriptor> copy(dup(here_.fd()));
  here_.Close();
  files_->Serve();
  EXPECT_EQ(StatusOf(port), EVTCHNSTAT_interdomain);
  copy.reset();
  EXPECT_TRUE(HasNews());
  files_->Serve();
  EXPECT_EQ(StatusOf(port), EVTCHNSTAT_closed);
  EXPECT_EQ(StatusOf(other), EVTCHNSTAT_closed);
  EXPECT_EQ(StatusOf(peer), EVTCHNSTAT_unbound);
  EXPECT_EQ(here_.Notify(port), -EBADF);
  EXPECT_EQ(there_.Notify(peer), 0) << "to nobody";
  EXPECT_FALSE(HasNews());
  OpenFile again(*files_, 1);
  EXPECT_EQ(again.BindUnbound(0), port) << "the lowest that is free";
}

// As by notices of pages: the last one lets the port go.
TEST_P(EventDeviceTest, APortThatIsKeptOutlivesItsFile) {
  const auto [port, peer] = Bind(here_, there_);
  ASSERT_TRUE(files_->Keep(port));
  files_->LetGo(port);
  EXPECT_EQ(StatusOf(port), EVTCHNSTAT_interdomain) << "its file's still";
  ASSERT_TRUE(files_->Keep(port) && files_->Keep(port));
  here_.Close();
  files_->Serve();
  files_->LetGo(port);
  EXPECT_EQ(StatusOf(port), EVTCHNSTAT_interdomain);
  files_->Send(port);
  files_->Serve();
  EXPECT_THAT(there_.Read(), ElementsAre(peer));
  files_->LetGo(port);
  EXPECT_EQ(StatusOf(port), EVTCHNSTAT_closed);
  EXPECT_EQ(StatusOf(peer), EVTCHNSTAT_unbound);
  EXPECT_FALSE(files_->Keep(port));
}

TEST_P(EventDeviceTest, AClientThatLeavesWithoutReadingIsClosed) {
  const auto [port, peer] = Bind(here_, there_);
  EXPECT_EQ(here_.Notify(port), 0);
  there_.Close();
  EXPECT_EQ(here_.Notify(port), 0);
  files_->Serve();
  EXPECT_EQ(StatusOf(peer), EVTCHNSTAT_closed);
  EXPECT_EQ(StatusOf(port), EVTCHNSTAT_unbound);
  EXPECT_FALSE(HasNews());
}

TEST_P(EventDeviceTest, NothingIsLeftOfTheDevice) {
  const auto [port, peer] = Bind(here_, there_);
  files_.reset();
  EXPECT_EQ(StatusOf(port), EVTCHNSTAT_closed);
  EXPECT_EQ(StatusOf(peer), EVTCHNSTAT_closed);
  char byte;
  EXPECT_EQ(recv(here_.fd(), &byte, 1, 0), 0);
  // Nobody is told of what the kernel binds for itself now.
  evtchn_bind_virq bind = {.virq = VIRQ_DOM_EXC, .vcpu = 0, .port = 0};
  EXPECT_EQ(machine_->kernel().EventCall(EVTCHNOP_bind_virq, bind), 0);
  MakeAndDestroyADomain();
}

// More than its socket takes.
TEST_P(EventDeviceTest, WhatASocketTakesNoMoreWaitsAndNothingIsLost) {
  constexpr int kPorts = 1500;
  OpenFile slow(*files_, 3, /*send_buffer=*/1);  // as little as the kernel lets it have
  std::vector<std::uint32_t> ports, peers;
  for (int i = 0; i < kPorts; ++i) {
    ports.push_back(static_cast<std::uint32_t>(here_.BindUnbound(0)));
    peers.push_back(static_cast<std::uint32_t>(slow.BindInterdomain(0, ports.back())));
    ASSERT_GT(static_cast<std::int32_t>(peers.back()), 0) << i;
  }
  for (int round = 0; round < 3; ++round) {
    std::vector<std::uint32_t> got;
    for (int idle = 0; got.size() < peers.size() && idle < 3; ++idle) {
      const std::vector<std::uint32_t> some = slow.Read(7);
      if (!some.empty()) idle = 0;
      got.insert(got.end(), some.begin(), some.end());
      if (some.empty()) files_->Serve();
    }
    EXPECT_EQ(got, peers);
    EXPECT_THAT(slow.Read(), IsEmpty());
    EXPECT_FALSE(HasNews());
    slow.Enable(got);
    for (const std::uint32_t port : ports) EXPECT_EQ(here_.Notify(port), 0);
  }
}

TEST_P(EventDeviceTest, AResetForgetsWhatTheSocketDidNotTake) {
  OpenFile slow(*files_, 3, /*send_buffer=*/1);
  std::vector<std::uint32_t> ports;
  for (int i = 0; i < 100; ++i) {
    ports.push_back(static_cast<std::uint32_t>(here_.BindUnbound(0)));
    ASSERT_GT(slow.BindInterdomain(0, ports.back()), 0);
  }
  const std::size_t taken = slow.Read().size();
  EXPECT_LT(taken, 100u);
  EXPECT_EQ(slow.Ioctl(kEventReset), 0);
  files_->Serve();
  EXPECT_THAT(slow.Read(), IsEmpty());
  EXPECT_FALSE(HasNews());
}

// It enables what it does not read: it has it once more, and costs no more.
TEST_P(EventDeviceTest, AClientThatOnlyWritesIsNotLostAndFillsNothing) {
  OpenFile rude(*files_, 3, /*send_buffer=*/1);
  const auto port = static_cast<std::uint32_t>(here_.BindUnbound(0));
  const auto peer = static_cast<std::uint32_t>(rude.BindInterdomain(0, port));
  for (int i = 0; i < 5000; ++i) {
    rude.Enable({peer});
    ASSERT_EQ(here_.Notify(port), 0);
  }
  std::size_t got = 0;
  for (int idle = 0; idle < 3; ++idle) {
    const std::vector<std::uint32_t> some = rude.Read();
    if (!some.empty()) idle = 0;
    EXPECT_THAT(some, testing::Each(peer));
    got += some.size();
    files_->Serve();
  }
  EXPECT_GT(got, 1u);
  EXPECT_LT(got, 1000u);
  rude.Enable({peer});
  EXPECT_THAT(rude.Read(), testing::SizeIs(testing::Le(1u)));
  rude.Enable({peer});
  EXPECT_EQ(here_.Notify(port), 0);
  EXPECT_THAT(rude.Read(), ElementsAre(peer));
}

// By a hypercall of its own a program can close what a file has bound.
TEST_P(EventDeviceTest, APortThatWasClosedBehindAFilesBackIsItsNextOnes) {
  const auto port = static_cast<std::uint32_t>(here_.BindVirq(VIRQ_DOM_EXC));
  evtchn_close close = {.port = port};
  EXPECT_EQ(machine_->kernel().EventCall(EVTCHNOP_close, close), 0);
  EXPECT_EQ(there_.BindVirq(VIRQ_DOM_EXC), port);
  MakeAndDestroyADomain();
  files_->Serve();
  EXPECT_THAT(there_.Read(), ElementsAre(port));
  EXPECT_THAT(here_.Read(), IsEmpty());
  EXPECT_EQ(here_.Unbind(port), -ENOTCONN);
  here_.Close();
  files_->Serve();
  EXPECT_EQ(StatusOf(port), EVTCHNSTAT_virq);
  there_.Close();
  files_->Serve();
  EXPECT_EQ(StatusOf(port), EVTCHNSTAT_closed);
}

TEST_P(EventDeviceTest, PortsEndAndComeBack) {
  OpenFile client(*files_, 3);
  std::int64_t last = 0, answer = 0;
  while ((answer = client.BindUnbound(kNobody)) > 0) last = answer;
  EXPECT_EQ(answer, -ENOSPC);
  EXPECT_EQ(last, 4095);
  client.Close();
  files_->Serve();
  EXPECT_GT(here_.BindUnbound(kNobody), 0);
  EXPECT_EQ(StatusOf(4095), EVTCHNSTAT_closed);
}

// Two clients send an event to and fro, each in a thread of its own, beside one that serves and one
// that comes and goes.
TEST_P(EventDeviceTest, EventsGoToAndFroBetweenThreads) {
  constexpr int kRounds = 500;
  const auto [port, peer] = Bind(here_, there_);
  std::atomic<bool> is_over = false;
  std::thread serving([&] {
    while (!is_over.load()) {
      pollfd one = {.fd = files_->fd(), .events = POLLIN, .revents = 0};
      if (poll(&one, 1, 10) == 1) files_->Serve();
    }
  });
  const auto play = [](OpenFile& client, std::uint32_t own) {
    for (int i = 0; i < kRounds; ++i) {
      std::uint32_t got = 0;
      ASSERT_EQ(recv(client.fd(), &got, 4, MSG_WAITALL), 4);
      ASSERT_EQ(got, own);
      client.Write({own});
      ASSERT_EQ(client.Notify(own), 0);
    }
  };
  std::thread first([&] { play(here_, port); });
  std::thread second([&] { play(there_, peer); });
  std::thread third([&] {
    for (std::uint64_t id = 10; !is_over.load(); ++id) {
      OpenFile client(*files_, id);
      EXPECT_GT(client.BindUnbound(0), 0);
      MakeAndDestroyADomain();
    }
  });
  EXPECT_EQ(here_.Notify(port), 0);
  second.join();
  first.join();
  is_over.store(true);
  third.join();
  serving.join();
}

}  // namespace
}  // namespace xencomm::machine
