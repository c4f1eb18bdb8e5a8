#include "bench/machine.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

namespace xencomm::bench {
namespace {

std::unique_ptr<embedded::RamFile> NewRam(std::uint64_t bytes) {
  auto ram = embedded::RamFile::Create(bytes);
  Check(ram.ok(), "the machine has no memory");
  return *std::move(ram);
}

}  // namespace

void Check(bool works, const char* what) {
  if (works) return;
  std::fprintf(stderr, "bench: %s\n", what);
  std::exit(1);
}

BenchMachine::BenchMachine(std::uint64_t pages, MemoryKind kind)
    : ram_(NewRam(pages << hypervisor::kPageShift)), kind_(kind) {
  if (kind_ == MemoryKind::kThere) std::memset(ram_->data(), 0xff, ram_->size());
  const hypervisor::MachineConfig config{.memory = reinterpret_cast<std::uintptr_t>(ram_->data()),
                                         .pool_end = ram_->size(),
                                         .pool_is_zero = kind_ != MemoryKind::kThere};
  Check(hypervisor_.Init(config, *this) == 0, "the hypervisor does not start");
}

void BenchMachine::Build(const hypervisor::DomainConfig& config) {
  Check(hypervisor_.BuildDomain(config) == 0, "the hypervisor does not build a domain");
}

hypervisor::Vcpu& BenchMachine::Claim(std::uint16_t domain, unsigned vcpu) {
  hypervisor::Vcpu* const claimed = hypervisor_.ClaimVcpu(domain, vcpu);
  Check(claimed != nullptr, "a vcpu cannot be claimed");
  return *claimed;
}

bool BenchMachine::Discard(MachineAddress start, std::uint64_t bytes) {
  return kind_ == MemoryKind::kGivenBack && ram_->Discard(start, bytes);
}

}  // namespace xencomm::bench
