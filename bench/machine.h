// A machine for benchmarks of whole calls: the embedded hypervisor over a sparse file, without
// devices. A benchmark whose machine cannot be set up is none: it ends with a sentence.
#ifndef BENCH_MACHINE_H_
#define BENCH_MACHINE_H_

#include <cstdint>
#include <memory>

#include "hcall/hypervisor/hypervisor.h"
#include "hcall/transport/embedded/ram_file.h"
#include "xencomm/fault.h"

namespace xencomm::bench {

// Ends the program unless `works`; `what` goes on from "bench: ".
void Check(bool works, const char* what);

template <class T>
const T& Must(const Result<T>& result, const char* what) {
  Check(result.ok(), what);
  return *result;
}

class BenchMachine final : public hypervisor::Machine {
 public:
  enum class MemoryKind : std::uint8_t {
    kSparse,    // costs nothing until it is touched, and stays then
    kThere,     // all of it from the start: no row meets a page for the first time
    kGivenBack  // to the host, where a superpage of it is free: for more than the host has
  };

  explicit BenchMachine(std::uint64_t pages, MemoryKind kind = MemoryKind::kSparse);
  BenchMachine(const BenchMachine&) = delete;
  BenchMachine& operator=(const BenchMachine&) = delete;

  hypervisor::Hypervisor& hypervisor() { return hypervisor_; }
  embedded::RamFile& ram() { return *ram_; }

  void Build(const hypervisor::DomainConfig& config);
  hypervisor::Vcpu& Claim(std::uint16_t domain, unsigned vcpu);

  bool Discard(MachineAddress start, std::uint64_t bytes) override;

 private:
  const std::unique_ptr<embedded::RamFile> ram_;
  const MemoryKind kind_;
  hypervisor::Hypervisor hypervisor_;
};

}  // namespace xencomm::bench

#endif  // BENCH_MACHINE_H_
