#include "hcall/transport/embedded/guest_domain.h"

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "xencomm/sentence.h"

namespace xencomm::embedded {

absl::StatusOr<std::unique_ptr<GuestDomain>> GuestDomain::Adopt(hypervisor::Hypervisor& hypervisor,
                                                                RamFile& ram, std::uint16_t id) {
  // As many as a process's threads are served by.
  constexpr unsigned kMostVcpus = 4;
  unsigned vcpus = 0;
  std::uint64_t pages = 0;
  const std::int64_t answer = hypervisor.Adopt(id, kMostVcpus, &vcpus, &pages);
  if (answer == -ESRCH) return absl::NotFoundError(Sentence("there is no domain %u", id));
  if (answer < 0) {
    return absl::FailedPreconditionError(
        Sentence("domain %u cannot have processes here: it is ending, or has no vcpu", id));
  }
  auto domain = std::unique_ptr<GuestDomain>(new GuestDomain(hypervisor, id));
  const absl::Status claimed = domain->vcpus_.Claim(vcpus);
  if (!claimed.ok()) return claimed;
  std::vector<std::uint64_t> frames(pages / 2);
  frames.resize(hypervisor.ListMemory(id, frames));
  if (frames.empty()) {
    return absl::FailedPreconditionError(
        Sentence("domain %u has no memory for processes: expected at least two pages", id));
  }
  domain->kernel_ =
      std::make_unique<GuestKernel>(id, hypervisor, ram, domain->vcpus_, std::move(frames));
  return domain;
}

GuestDomain::~GuestDomain() {
  kernel_.reset();
  vcpus_.Release();
}

}  // namespace xencomm::embedded
