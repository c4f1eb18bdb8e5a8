// An embedded machine for tests of what is in front of it: the transport and foreign memory.

#ifndef TESTS_UNIT_EMBEDDED_MACHINE_H_
#define TESTS_UNIT_EMBEDDED_MACHINE_H_

#include <cstdint>
#include <memory>
#include <utility>

#include <gtest/gtest.h>

#include "hcall/transport/embedded/embedded_transport.h"
#include "xencomm/client.h"

namespace xencomm::embedded {

inline constexpr std::uint64_t kPage = 4096;

inline std::shared_ptr<EmbeddedMachine> SmallMachine(std::uint64_t dom0_bytes = 64 << 20,
                                                     bool xcom = false) {
  return *EmbeddedMachine::Create({.memory_bytes = std::uint64_t{512} << 20,
                                   .dom0_bytes = dom0_bytes,
                                   .cpus = 2,
                                   .vcpus = 4,
                                   .xcom = xcom});
}

inline std::shared_ptr<Client> ClientOf(const std::shared_ptr<EmbeddedMachine>& machine,
                                        Reach reach) {
  return *Client::Over(std::make_unique<EmbeddedTransport>(machine, reach));
}

inline xencomm_translation Translated(Client& client, const void* pointer, xencomm_way way) {
  xencomm_translation translation = {};
  const absl::Status status = client.transport().Translate(pointer, way, translation);
  EXPECT_TRUE(status.ok()) << status;
  return translation;
}

}  // namespace xencomm::embedded

#endif  // TESTS_UNIT_EMBEDDED_MACHINE_H_
