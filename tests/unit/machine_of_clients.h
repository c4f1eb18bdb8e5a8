// A machine that serves clients, with what it holds open to be looked at.
#ifndef TESTS_UNIT_MACHINE_OF_CLIENTS_H_
#define TESTS_UNIT_MACHINE_OF_CLIENTS_H_

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "hcall/machine/server.h"
#include "hcall/transport/machine/connection.h"
#include "hcall/transport/machine/machine_transport.h"
#include "tests/unit/hypervisor_books.h"
#include "xencomm/client.h"

namespace xencomm::machine {

inline constexpr std::uint64_t kPage = 4096;

class MachineOfClients {
 public:
  MachineOfClients() : folder_("/tmp/xencomm-test-XXXXXX"), stop_(eventfd(0, EFD_CLOEXEC)) {
    EXPECT_NE(mkdtemp(folder_.data()), nullptr);
    auto server = Server::Start({.memory_bytes = std::uint64_t{512} << 20,
                                 .dom0_bytes = std::uint64_t{64} << 20,
                                 .cpus = 2,
                                 .vcpus = 4},
                                path());
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    free_before_ = frames().free();
    serving_ = std::thread([this] { EXPECT_TRUE(server_->Run(stop_.get()).ok()); });
  }
  MachineOfClients(const MachineOfClients&) = delete;
  MachineOfClients& operator=(const MachineOfClients&) = delete;
  ~MachineOfClients() {
    End();
    rmdir(folder_.c_str());
  }

  void End() {
    if (server_ == nullptr) return;
    eventfd_write(stop_.get(), 1);
    serving_.join();
    server_.reset();
  }

  std::string path() const { return folder_ + "/machine"; }
  embedded::EmbeddedMachine& machine() { return server_->machine(); }
  embedded::Frames& frames() { return machine().kernel().frames(); }

  std::shared_ptr<Connection> Connect(SpaceOption space = SpaceOption::kRegion) {
    auto connection = Connection::Open({.path = path(), .space = space});
    EXPECT_TRUE(connection.ok()) << connection.status();
    return connection.ok() ? *connection : nullptr;
  }
  std::shared_ptr<Client> Open(SpaceOption space = SpaceOption::kRegion) {
    return *Client::Over(std::make_unique<MachineTransport>(Connect(space)));
  }

  hypervisor::Statistics statistics() {
    return hypervisor::Books::StatisticsOf(machine().hypervisor());
  }
  // Whether all that clients made the machine hold has gone. They end in their own time; who was
  // killed before he was admitted comes and goes even later.
  void ExpectNothingHeld() {
    hypervisor::Statistics now;
    std::uint64_t free = 0;
    std::vector<std::string> faults;
    for (int i = 0; i < 2000; ++i) {
      now = statistics();
      free = frames().free();
      faults = hypervisor::Books::Faults(machine().hypervisor(), {});
      if (now.regions == 0 && now.held_frames == 0 && now.pinned_frames == 0 &&
          free == free_before_ && faults.empty()) {
        return;
      }
      usleep(1000);
    }
    EXPECT_EQ(now.regions, 0u);
    EXPECT_EQ(now.held_frames, 0u);
    EXPECT_EQ(now.pinned_frames, 0u);
    EXPECT_EQ(free, free_before_);
    for (const std::string& fault : faults) ADD_FAILURE() << fault;
  }

 private:
  std::string folder_;
  const FileDescriptor stop_;
  std::unique_ptr<Server> server_;
  std::uint64_t free_before_ = 0;
  std::thread serving_;
};

}  // namespace xencomm::machine

#endif  // TESTS_UNIT_MACHINE_OF_CLIENTS_H_
