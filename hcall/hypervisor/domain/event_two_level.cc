#include "hcall/hypervisor/domain/event_two_level.h"

#include "hcall/hypervisor/domain/core.h"
#include "hcall/hypervisor/domain/domain.h"
#include "hcall/hypervisor/domain/event_channel.h"
#include "hcall/schema/generated/types.h"

namespace xencomm::hypervisor {
namespace {

constexpr std::size_t InfoOf(std::uint32_t vcpu) {
  return offsetof(shared_info_t, vcpu_info) + vcpu * sizeof(vcpu_info_t);
}

std::byte* SharedInfo(Core& core, const Domain& domain, std::size_t offset) {
  return core.frames.Bytes(domain.shared_info_mfn) + offset;
}

std::uint8_t* UpcallOf(Core& core, const Domain& domain, std::uint32_t vcpu) {
  return reinterpret_cast<std::uint8_t*>(
      SharedInfo(core, domain, InfoOf(vcpu) + offsetof(vcpu_info_t, evtchn_upcall_pending)));
}

}  // namespace

void RaiseUpcall(Core& core, const Domain& domain, std::uint32_t vcpu) {
  if (vcpu >= XEN_LEGACY_MAX_VCPUS) return;
  const std::uint8_t was = __atomic_fetch_or(UpcallOf(core, domain, vcpu), 1, __ATOMIC_RELEASE);
  if (was == 0 && domain.built) core.machine.Upcall(domain.id, vcpu);
}

bool HasUpcall(Core& core, const Domain& domain, std::uint32_t vcpu) {
  return vcpu < XEN_LEGACY_MAX_VCPUS &&
         __atomic_load_n(UpcallOf(core, domain, vcpu), __ATOMIC_RELAXED) != 0;
}

TwoLevelEvents::Word TwoLevelEvents::PendingOf(std::uint32_t port) const {
  return {SharedInfo(core_, domain_, offsetof(shared_info_t, evtchn_pending)), port / Word::kBits,
          domain_.order};
}

TwoLevelEvents::Word TwoLevelEvents::MaskOf(std::uint32_t port) const {
  return {SharedInfo(core_, domain_, offsetof(shared_info_t, evtchn_mask)), port / Word::kBits,
          domain_.order};
}

// Selects the port's word for its vcpu and makes an upcall pending, unless that was selected
// already.
void TwoLevelEvents::Notify(std::uint32_t port, const Port& row) const {
  if (row.vcpu >= XEN_LEGACY_MAX_VCPUS) return;
  const Word selector(
      SharedInfo(core_, domain_, InfoOf(row.vcpu) + offsetof(vcpu_info_t, evtchn_pending_sel)),
      domain_.order);
  if (!selector.Set(port / Word::kBits)) RaiseUpcall(core_, domain_, row.vcpu);
}

void TwoLevelEvents::SetPending(std::uint32_t port, const Port& row) const {
  if (port >= kPorts) return;
  // Each step is seen before the next one is taken.
  if (PendingOf(port).Set(port % Word::kBits)) return;
  if (!MaskOf(port).Has(port % Word::kBits)) Notify(port, row);
}

void TwoLevelEvents::Unmask(std::uint32_t port, const Port& row) const {
  if (port >= kPorts) return;
  if (MaskOf(port).Clear(port % Word::kBits) && IsPending(port)) Notify(port, row);
}

void TwoLevelEvents::ClearPending(std::uint32_t port) const {
  if (port < kPorts) PendingOf(port).Clear(port % Word::kBits);
}

bool TwoLevelEvents::IsPending(std::uint32_t port) const {
  return port < kPorts && PendingOf(port).Has(port % Word::kBits);
}

}  // namespace xencomm::hypervisor
