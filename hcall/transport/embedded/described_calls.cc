#include "hcall/transport/embedded/described_calls.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "hcall/schema/audit.h"
#include "hcall/transport/collect.h"
#include "hcall/transport/embedded/described_call.h"

namespace xencomm::embedded {
std::int64_t DescribedCalls::Call(hypervisor::Vcpu& vcpu, hypervisor::HypercallFrame frame,
                                  std::uint32_t* continuations) {
  schema::Call call = {.hypercall = frame.index};
  std::copy(std::begin(frame.arguments), std::end(frame.arguments), call.registers.begin());

  // First through a space that knows the payload's ends: describing reads the process's structures
  // as they are, and may only do so when they are there.
  const schema::Finding finding =
      schema::Audit(call, {.space = payload_, .releases = machine_.setting().release},
                    {.region = region_.layout()});
  if (!finding.ok()) return -schema::ErrnoOf(finding.problem);

  std::unique_ptr<DescriptorMemory> memory = TakeMemory();
  std::int64_t answer = -EFAULT;
  {
    const schema::DescribedCall described(call, kNativeOrder, *memory, 1, inline_,
                                          machine_.setting().release);
    if (described.outcome() == schema::DescribedCall::Outcome::kDescribed) {
      std::copy_n(described.call().registers.begin(), std::size(frame.arguments), frame.arguments);
      answer = machine_.hypervisor().Call(vcpu, frame, continuations);
    } else if (described.outcome() == schema::DescribedCall::Outcome::kNoMemory) {
      answer = -ENOMEM;
    }
  }
  GiveBack(std::move(memory));
  return answer;
}

std::unique_ptr<DescriptorMemory> DescribedCalls::TakeMemory() {
  {
    const MutexLock lock(mutex_);
    if (!idle_.empty()) {
      std::unique_ptr<DescriptorMemory> memory = std::move(idle_.back());
      idle_.pop_back();
      return memory;
    }
  }
  return std::make_unique<DescriptorMemory>(machine_.kernel(), machine_.ram(), region_);
}

void DescribedCalls::GiveBack(std::unique_ptr<DescriptorMemory> memory) {
  memory->Reset();
  const MutexLock lock(mutex_);
  idle_.push_back(std::move(memory));
}

}  // namespace xencomm::embedded
