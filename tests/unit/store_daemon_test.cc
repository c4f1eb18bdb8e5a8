// A daemon that takes domain 0's xenstore ring over: what the machine says to it for those who have
// /dev/xen/xenbus open, and what becomes of them when it makes no sense or ends.

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hcall/machine/event_calls.h"
#include "hcall/machine/store_ring.h"
#include "tests/unit/machine_of_clients.h"
#include "tests/unit/store_client.h"

namespace xencomm::machine {
namespace {

using ::testing::ElementsAre;

constexpr int kSoon = 5000;  // milliseconds in which what must come comes

// All messages of a stream until there are `count`, or its end, or none came for long.
std::vector<Answered> ReadMessages(int fd, std::size_t count) {
  std::string bytes;
  for (;;) {
    std::size_t whole = 0, messages = 0;
    xsd_sockmsg header;
    while (bytes.size() - whole >= sizeof(header)) {
      std::memcpy(&header, bytes.data() + whole, sizeof(header));
      if (bytes.size() - whole - sizeof(header) < header.len) break;
      whole += sizeof(header) + header.len;
      ++messages;
    }
    pollfd ready = {.fd = fd, .events = POLLIN, .revents = 0};
    char more[4096];
    ssize_t length = 0;
    if (messages < count && poll(&ready, 1, kSoon) == 1) length = read(fd, more, sizeof(more));
    if (length <= 0) return Decode(std::string_view(bytes).substr(0, whole));
    bytes.append(more, static_cast<std::size_t>(length));
  }
}

std::vector<std::string> Texts(const std::vector<Answered>& messages) {
  std::vector<std::string> texts;
  for (const Answered& message : messages) {
    texts.push_back(std::to_string(message.header.type) + ":" + message.payload);
  }
  return texts;
}

// As xenstored finds its place on a host.
class FakeDaemon {
 public:
  explicit FakeDaemon(MachineOfClients& machine) : connection_(machine.Connect()) {
    const std::string files = Server::FilesOf(machine.path()) + "/proc/xen/";
    std::ifstream(files + "xsd_port") >> kernel_port_;
    const FileDescriptor page(open((files + "xsd_kva").c_str(), O_RDWR | O_CLOEXEC));
    page_ = static_cast<xenstore_domain_interface*>(
        mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, page.get(), 0));
    EXPECT_NE(static_cast<void*>(page_), MAP_FAILED);
    auto events = connection_->OpenDevice(XENCOMM_EVTCHN, O_RDWR);
    EXPECT_TRUE(events.ok()) << events.status();
    events_.emplace(*std::move(events));
    const EventBindInterdomain bind = {.remote_domain = 0, .remote_port = kernel_port_};
    const std::int64_t port =
        connection_->Event(events_->id, kEventBindInterdomain, std::as_bytes(std::span(&bind, 1)));
    EXPECT_GT(port, 0);
    port_ = static_cast<std::uint32_t>(port);
    Notify();
  }
  ~FakeDaemon() { munmap(page_, kPage); }

  xenstore_domain_interface& page() { return *page_; }

  void Notify() {
    const EventPort port = {.port = port_};
    EXPECT_EQ(connection_->Event(events_->id, kEventNotify, std::as_bytes(std::span(&port, 1))), 0);
  }

  // The next requests, as many as are wanted; less when no more come soon.
  std::vector<Answered> Take(std::size_t count) {
    std::vector<Answered> messages;
    for (int i = 0; i < kSoon && messages.size() < count; ++i) {
      const XENSTORE_RING_IDX to = __atomic_load_n(&page_->req_prod, __ATOMIC_ACQUIRE);
      while (taken_ != to) asked_.push_back(page_->req[MASK_XENSTORE_IDX(taken_++)]);
      if (page_->req_cons != taken_) {
        __atomic_store_n(&page_->req_cons, taken_, __ATOMIC_RELEASE);
        Notify();
      }
      xsd_sockmsg header;
      while (asked_.size() >= sizeof(header) && messages.size() < count) {
        std::memcpy(&header, asked_.data(), sizeof(header));
        if (asked_.size() < sizeof(header) + header.len) break;
        messages.push_back({header, WithBars(asked_.substr(sizeof(header), header.len))});
        asked_.erase(0, sizeof(header) + header.len);
      }
      if (messages.size() < count) usleep(1000);
    }
    return messages;
  }

  void Say(std::string_view bytes) {
    for (const char byte : bytes) {
      for (int i = 0;
           i < kSoon && page_->rsp_prod - __atomic_load_n(&page_->rsp_cons, __ATOMIC_ACQUIRE) ==
                            XENSTORE_RING_SIZE;
           ++i) {
        Notify();
        usleep(1000);
      }
      page_->rsp[MASK_XENSTORE_IDX(page_->rsp_prod)] = byte;
      __atomic_store_n(&page_->rsp_prod, page_->rsp_prod + 1, __ATOMIC_RELEASE);
    }
    Notify();
  }
  void Answer(const Answered& request, const std::string& payload) {
    Say(Encode(request.header.type, payload, request.header.tx_id, request.header.req_id));
  }
  // What the kernel itself asks when it meets a daemon; before it the watches that there are.
  void MeetKernel(std::size_t watches = 0) {
    for (const Answered& request : Take(watches + 3)) Answer(request, "OK|");
  }

 private:
  std::shared_ptr<Connection> connection_;
  std::uint32_t kernel_port_ = 0;
  std::uint32_t port_ = 0;
  xenstore_domain_interface* page_ = nullptr;
  std::optional<Connection::File> events_;
  XENSTORE_RING_IDX taken_ = 0;
  std::string asked_;
};

class StoreDaemonTest : public testing::Test {
 protected:
  FileDescriptor OpenXenbus() {
    auto file = connection->OpenDevice(XENCOMM_XENBUS, O_RDWR);
    EXPECT_TRUE(file.ok()) << file.status();
    return std::move(file->fd);
  }
  FileDescriptor ConnectToSocket() {
    FileDescriptor client(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    (Server::FilesOf(machine.path()) + "/run/xenstored/socket")
        .copy(address.sun_path, sizeof(address.sun_path) - 1);
    if (connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
      return FileDescriptor();
    }
    return client;
  }
  static void Write(const FileDescriptor& file, const std::string& bytes) {
    EXPECT_EQ(write(file.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  }
  static std::vector<std::string> Ask(const FileDescriptor& file, const std::string& request,
                                      std::size_t answers = 1) {
    Write(file, request);
    return Texts(ReadMessages(file.get(), answers));
  }

  MachineOfClients machine;
  std::shared_ptr<Connection> connection = machine.Connect();
};

TEST_F(StoreDaemonTest, TakesThePlaceOfTheMachinesStore) {
  const FileDescriptor device = OpenXenbus();
  const FileDescriptor client = ConnectToSocket();
  EXPECT_THAT(Ask(client, Encode(XS_READ, "name|")), ElementsAre("2:Domain-0"));
  EXPECT_THAT(Ask(device, Encode(XS_WATCH, "/a|token|"), 2), ElementsAre("4:OK|", "15:/a|token|"));

  FakeDaemon daemon(machine);
  const std::vector<Answered> met = daemon.Take(4);
  EXPECT_THAT(Texts(met),
              ElementsAre("4:/a|1|", "11:control/feature-poweroff|1", "11:control/feature-reboot|1",
                          "11:control/feature-suspend|1"));
  for (const Answered& request : met) daemon.Answer(request, "OK|");
  daemon.Say(Encode(XS_WATCH_EVENT, "/a/b|1|"));
  EXPECT_THAT(Texts(ReadMessages(device.get(), 1)), ElementsAre("15:/a/b|token|"));
  // Who spoke to the machine's own store is disconnected, and nobody else finds it.
  pollfd ended = {.fd = client.get(), .events = POLLIN, .revents = 0};
  char byte;
  EXPECT_EQ(poll(&ended, 1, kSoon), 1);
  EXPECT_EQ(recv(client.get(), &byte, 1, MSG_DONTWAIT), 0);
  EXPECT_FALSE(ConnectToSocket().is_open());

  // Numbers are the kernel's, and its own again in the answer.
  const FileDescriptor other = OpenXenbus();
  Write(device, Encode(XS_READ, "/a|", 0, 77));
  Write(other, Encode(XS_READ, "/b|", 0, 77));
  const std::vector<Answered> asked = daemon.Take(2);
  ASSERT_EQ(asked.size(), 2u);
  EXPECT_NE(asked[0].header.req_id, asked[1].header.req_id);
  daemon.Answer(asked[1], asked[1].payload == "/a|" ? "of a" : "of b");
  daemon.Answer(asked[0], asked[0].payload == "/a|" ? "of a" : "of b");
  for (const auto& [file, value] : {std::pair(&device, "2:of a"), std::pair(&other, "2:of b")}) {
    const std::vector<Answered> got = ReadMessages(file->get(), 1);
    EXPECT_THAT(Texts(got), ElementsAre(value));
    EXPECT_EQ(got[0].header.req_id, 77u);
  }
}

TEST_F(StoreDaemonTest, WhatAFileLeavesIsEndedAtTheDaemon) {
  FakeDaemon daemon(machine);
  daemon.MeetKernel();
  {
    const FileDescriptor file = OpenXenbus();
    Write(file, Encode(XS_TRANSACTION_START, "|"));
    daemon.Answer(daemon.Take(1).at(0), "17|");
    EXPECT_THAT(Texts(ReadMessages(file.get(), 1)), ElementsAre("6:17|"));
    const FileDescriptor other = OpenXenbus();
    EXPECT_THAT(Ask(other, Encode(XS_READ, "/a|", 17)), ElementsAre("16:ENOENT|"));
    Write(file, Encode(XS_WATCH, "/a|t|"));
    daemon.Answer(daemon.Take(1).at(0), "OK|");
    EXPECT_THAT(Texts(ReadMessages(file.get(), 1)), ElementsAre("4:OK|"));
    // One that begins after the file has gone.
    Write(file, Encode(XS_TRANSACTION_START, "|"));
    const std::vector<Answered> start = daemon.Take(1);
    ASSERT_EQ(start.size(), 1u);
    EXPECT_THAT(Ask(other, Encode(XS_READ, "/a|", 18)), ElementsAre("16:ENOENT|"));
    shutdown(file.get(), SHUT_RDWR);
    const std::vector<Answered> left = daemon.Take(2);
    EXPECT_THAT(Texts(left), ElementsAre("5:/a|1|", "7:F|"));
    EXPECT_EQ(left.at(1).header.tx_id, 17u);
    daemon.Answer(start[0], "18|");
  }
  const std::vector<Answered> last = daemon.Take(1);
  EXPECT_THAT(Texts(last), ElementsAre("7:F|"));
  EXPECT_EQ(last.at(0).header.tx_id, 18u);
}

TEST_F(StoreDaemonTest, RequestsFailWhileThereIsNoneAndTheNextOneKnowsTheWatches) {
  const FileDescriptor file = OpenXenbus();
  {
    FakeDaemon daemon(machine);
    daemon.MeetKernel();
    Write(file, Encode(XS_WATCH, "/a|t|"));
    daemon.Answer(daemon.Take(1).at(0), "OK|");
    EXPECT_THAT(Texts(ReadMessages(file.get(), 1)), ElementsAre("4:OK|"));
    Write(file, Encode(XS_TRANSACTION_START, "|"));
    daemon.Answer(daemon.Take(1).at(0), "17|");
    EXPECT_THAT(Texts(ReadMessages(file.get(), 1)), ElementsAre("6:17|"));
    Write(file, Encode(XS_READ, "/a|") + Encode(XS_WATCH, "/b|t|"));
    EXPECT_EQ(daemon.Take(2).size(), 2u);
  }
  EXPECT_THAT(Texts(ReadMessages(file.get(), 2)), ElementsAre("16:EIO|", "16:EIO|"));
  EXPECT_THAT(Ask(file, Encode(XS_READ, "/a|")), ElementsAre("16:EIO|"));
  EXPECT_THAT(Ask(file, Encode(XS_WATCH, "/c|t|")), ElementsAre("16:EIO|"));
  EXPECT_THAT(Ask(file, Encode(XS_READ, "/a|", 17)), ElementsAre("16:ENOENT|"));

  FakeDaemon daemon(machine);
  const std::vector<Answered> met = daemon.Take(4);
  EXPECT_THAT(met.at(0).payload, "/a|1|");
  for (const Answered& request : met) daemon.Answer(request, "OK|");
  Write(file, Encode(XS_READ, "/a|"));
  daemon.Answer(daemon.Take(1).at(0), "new");
  EXPECT_THAT(Texts(ReadMessages(file.get(), 1)), ElementsAre("2:new"));
}

TEST_F(StoreDaemonTest, MessagesOfAnyLengthGoThroughTheRing) {
  FakeDaemon daemon(machine);
  daemon.MeetKernel();
  const FileDescriptor file = OpenXenbus();
  const std::string value(4000, 'x');
  for (int i = 0; i < 5; ++i) {
    Write(file, Encode(XS_WRITE, "/a|" + value));
    const std::vector<Answered> asked = daemon.Take(1);
    EXPECT_THAT(Texts(asked), ElementsAre("11:/a|" + value));
    daemon.Say(Encode(XS_READ, value + std::string(96, 'y'), 0, asked.at(0).header.req_id));
    EXPECT_THAT(Texts(ReadMessages(file.get(), 1)),
                ElementsAre("2:" + value + std::string(96, 'y')));
  }
}

// Each is not spoken to any more, until another one comes.
TEST_F(StoreDaemonTest, WhatMakesNoSenseIsNotListenedTo) {
  const FileDescriptor file = OpenXenbus();
  for (int kind = 0; kind < 5; ++kind) {
    FakeDaemon daemon(machine);
    daemon.MeetKernel();
    Write(file, Encode(XS_READ, "/a|"));
    const std::vector<Answered> asked = daemon.Take(1);
    ASSERT_EQ(asked.size(), 1u) << kind;
    xenstore_domain_interface& page = daemon.page();
    switch (kind) {
      case 0:
        page.rsp_prod = page.rsp_cons + XENSTORE_RING_SIZE + 1;
        break;
      case 1:
        page.rsp_cons = page.rsp_prod + 1;
        break;
      case 2:
        page.req_cons = page.req_prod + 1;
        break;
      case 3:
        page.req_prod = page.req_cons + 0x80000000;
        break;
      default: {
        const xsd_sockmsg header = {
            .type = XS_READ, .req_id = asked[0].header.req_id, .tx_id = 0, .len = 4097};
        daemon.Say({reinterpret_cast<const char*>(&header), sizeof(header)});
      }
    }
    daemon.Notify();
    EXPECT_THAT(Texts(ReadMessages(file.get(), 1)), ElementsAre("16:EIO|")) << kind;
    daemon.Notify();
    EXPECT_THAT(Ask(file, Encode(XS_READ, "/a|")), ElementsAre("16:EIO|")) << kind;
  }
  // Answers to nothing, and events of no watch.
  FakeDaemon daemon(machine);
  daemon.MeetKernel();
  daemon.Say(Encode(XS_READ, "x", 0, 12345) + Encode(XS_WATCH_EVENT, "/a|77|") +
             Encode(XS_WATCH_EVENT, "/a|none|") + Encode(XS_WATCH_EVENT, "") +
             Encode(XS_ERROR, "", 0, 12345));
  Write(file, Encode(XS_WATCH, "/a|t|"));
  daemon.Answer(daemon.Take(1).at(0), "OK|");
  EXPECT_THAT(Texts(ReadMessages(file.get(), 1)), ElementsAre("4:OK|"));
}

TEST(StoreRingTest, StaysInItsPageAndInItsLife) {
  const auto made = StoreRing::Create();
  ASSERT_TRUE(made.ok()) << made.status();
  StoreRing& ring = **made;
  auto* const page = static_cast<xenstore_domain_interface*>(
      mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd(), 0));
  const std::uint64_t life = ring.life();
  const std::string bytes(3000, 'r');
  std::byte taken[2048];
  // From everywhere in the ring, and where indices wrap.
  for (const XENSTORE_RING_IDX at : {0u, 1u, 1000u, 1023u, ~0u - 10}) {
    page->req_cons = page->req_prod = page->rsp_cons = at;
    page->rsp_prod = at + XENSTORE_RING_SIZE;
    std::memset(page->req, 0, sizeof(page->req));
    std::memset(page->rsp, 's', sizeof(page->rsp));
    EXPECT_EQ(ring.Write(life, bytes), XENSTORE_RING_SIZE);
    EXPECT_EQ(ring.Write(life, bytes), 0u);
    EXPECT_EQ(page->req_prod, at + XENSTORE_RING_SIZE);
    EXPECT_EQ(std::string(page->req, sizeof(page->req)), std::string(1024, 'r'));
    EXPECT_EQ(ring.Read(life, taken), XENSTORE_RING_SIZE);
    EXPECT_EQ(taken[0], std::byte{'s'});
    EXPECT_EQ(taken[1023], std::byte{'s'});
    EXPECT_EQ(ring.Read(life, taken), 0u);
  }
  page->rsp_prod = page->rsp_cons + XENSTORE_RING_SIZE + 1;
  EXPECT_EQ(ring.Read(life, taken), std::nullopt);
  page->req_cons = page->req_prod + 1;
  EXPECT_EQ(ring.Write(life, bytes), std::nullopt);
  ring.Reset();
  EXPECT_EQ(ring.Read(life, taken), std::nullopt);
  EXPECT_EQ(ring.Write(life, bytes), std::nullopt);
  EXPECT_EQ(page->req_prod, 0u);
  EXPECT_EQ(ring.Write(ring.life(), "abc"), 3u);
  EXPECT_EQ(ring.Read(ring.life(), taken), 0u);
  EXPECT_NE(ftruncate(ring.fd(), 0), 0);
  munmap(page, kPage);
}

}  // namespace
}  // namespace xencomm::machine
