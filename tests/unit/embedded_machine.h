// An embedded machine for tests of what is in front of it: the transport and foreign memory.

#ifndef TESTS_UNIT_EMBEDDED_MACHINE_H_
#define TESTS_UNIT_EMBEDDED_MACHINE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
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
                                        SpaceOption space) {
  return *Client::Over(std::make_unique<EmbeddedTransport>(machine, space));
}

// Of a test that runs in each of them.
inline std::string SpaceName(const testing::TestParamInfo<SpaceOption>& space) {
  constexpr const char* kNames[] = {"direct",    "walk4", "walk5", "region",
                                    "stateless", "xcom",  "inline"};
  return kNames[static_cast<std::size_t>(space.param)];
}

// Where a byte lies: guest-physical, and in the machine.
struct Place {
  std::uint64_t guest_physical;
  std::uint64_t machine;
  unsigned steps;  // that led there
};
inline Place PlaceOf(Client& client, const void* pointer, TracedSpace space) {
  const absl::StatusOr<TracedPointer> traced = client.transport().TraceOf(pointer, space);
  EXPECT_TRUE(traced.ok()) << traced.status();
  if (!traced.ok()) return {};
  return {traced->trace.end.start().value, traced->machine.value, traced->trace.count};
}

}  // namespace xencomm::embedded

#endif  // TESTS_UNIT_EMBEDDED_MACHINE_H_
