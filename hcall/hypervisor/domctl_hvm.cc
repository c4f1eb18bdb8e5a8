// domctl: the saved state of an HVM domain's hardware.
//
// A domain that was never given one has a header and, for each vcpu that is up, a processor as it
// comes out of reset. What sethvmcontext gave is kept and handed out again.

#include <cstring>

#include "hcall/hypervisor/domctl.h"
#include "hcall/hypervisor/hvm_context.h"
#include "hcall/schema/generated/rows.h"

namespace xencomm::hypervisor {
namespace {

namespace rows = schema::rows::domctl;

// Record types and their sizes in bytes, and places in them (public/arch-x86/hvm/save.h).
constexpr std::uint16_t kEnd = 0;
constexpr std::uint16_t kHeader = 1;
constexpr std::uint16_t kCpu = 2;
constexpr std::uint16_t kLastRecord = 20;
constexpr std::uint32_t kHeaderBytes = 24;
constexpr std::uint32_t kCpuBytes = 1032;
constexpr std::uint32_t kCpuRflags = 648;
constexpr std::uint32_t kCpuCr0 = 656;
constexpr std::uint32_t kFileMagic = 0x54381286;
constexpr std::uint32_t kFileVersion = 1;
constexpr std::uint32_t kDescriptorBytes = 8;

// Reset values (Intel SDM volume 3, table 10-1): rflags has its fixed bit, CR0 has ET, CD and NW.
constexpr std::uint64_t kResetRflags = 0x2;
constexpr std::uint64_t kResetCr0 = 0x60000010;

class Writer {
 public:
  Writer(std::uint8_t* to, ByteOrder order) : to_(to), order_(order) {}

  // The contents of the record, zeroed.
  std::uint8_t* Record(std::uint16_t type, unsigned instance, std::uint32_t bytes) {
    StoreField(to_ + at_, type, order_);
    StoreField(to_ + at_ + 2, static_cast<std::uint16_t>(instance), order_);
    StoreField(to_ + at_ + 4, bytes, order_);
    std::uint8_t* contents = to_ + at_ + kDescriptorBytes;
    std::memset(contents, 0, bytes);
    at_ += kDescriptorBytes + bytes;
    return contents;
  }
  std::uint32_t bytes() const { return at_; }

 private:
  std::uint8_t* to_;
  ByteOrder order_;
  std::uint32_t at_ = 0;
};

std::uint32_t InitialBytes(const Domain& domain) {
  std::uint32_t vcpus = 0;
  for (unsigned i = 0; i < domain.max_vcpus; ++i) {
    if (domain.vcpu(i) != nullptr && domain.vcpu(i)->online) ++vcpus;
  }
  return kDescriptorBytes + kHeaderBytes + vcpus * (kDescriptorBytes + kCpuBytes) +
         kDescriptorBytes;
}

void WriteInitial(const Domain& domain, std::uint8_t* to) {
  Writer writer(to, domain.order);
  std::uint8_t* header = writer.Record(kHeader, 0, kHeaderBytes);
  StoreField(header, kFileMagic, domain.order);
  StoreField(header + 4, kFileVersion, domain.order);
  StoreField(header + 20, kCpuKilohertz, domain.order);
  for (unsigned i = 0; i < domain.max_vcpus; ++i) {
    if (domain.vcpu(i) == nullptr || !domain.vcpu(i)->online) continue;
    std::uint8_t* cpu = writer.Record(kCpu, i, kCpuBytes);
    StoreField(cpu + kCpuRflags, kResetRflags, domain.order);
    StoreField(cpu + kCpuCr0, kResetCr0, domain.order);
  }
  writer.Record(kEnd, 0, 0);
}

// Whether the bytes are a list of known records that begins with a header and ends with an end.
bool IsWellFormed(const Domain& domain, const std::uint8_t* from, std::uint32_t bytes) {
  std::uint32_t at = 0;
  bool first = true;
  while (bytes - at >= kDescriptorBytes) {
    const auto type = LoadField<std::uint16_t>(from + at, domain.order);
    const auto instance = LoadField<std::uint16_t>(from + at + 2, domain.order);
    const auto length = LoadField<std::uint32_t>(from + at + 4, domain.order);
    at += kDescriptorBytes;
    if (length > bytes - at || type > kLastRecord) return false;
    if (first) {
      if (type != kHeader || length != kHeaderBytes ||
          LoadField<std::uint32_t>(from + at, domain.order) != kFileMagic ||
          LoadField<std::uint32_t>(from + at + 4, domain.order) != kFileVersion) {
        return false;
      }
    } else if (type == kEnd) {
      return true;
    } else if (type == kCpu && (length != kCpuBytes || domain.vcpu(instance) == nullptr)) {
      return false;
    }
    first = false;
    at += length;
  }
  return false;
}

}  // namespace

HvmState* HvmStateOf(Domain& domain) {
  if (domain.hvm_state == nullptr) domain.hvm_state = domain.overhead.New<HvmState>();
  return domain.hvm_state;
}

std::int64_t GetHvmContextOp(DomctlCall& op) {
  xen_domctl_hvmcontext& request = op.argument->u.hvmcontext;
  Domain& target = *op.target;
  op.copy_back = true;
  if (&target == &op.call.domain || !target.hvm) return -kEINVAL;
  HvmState* state = HvmStateOf(target);
  if (state == nullptr) return -kENOMEM;
  const auto buffer = op.argument.Bind(rows::gethvmcontext::buffer);
  if (!buffer.ok()) return -kEFAULT;
  const std::uint32_t bytes =
      state->context_bytes != 0 ? state->context_bytes : InitialBytes(target);
  if (bytes > HvmState::kMaxContextBytes) return -kENOMEM;
  if (buffer->is_null()) {
    request.size = bytes;
    return 0;
  }
  if (request.size < bytes) return -kENOSPC;
  if (state->context_bytes == 0) WriteInitial(target, state->context);
  request.size = bytes;
  return buffer->Write(0, std::span<const std::uint8_t>(state->context).first(bytes)).ok()
             ? 0
             : -kEFAULT;
}

std::int64_t SetHvmContextOp(DomctlCall& op) {
  const xen_domctl_hvmcontext& request = op.argument->u.hvmcontext;
  Domain& target = *op.target;
  if (&target == &op.call.domain || !target.hvm) return -kEINVAL;
  if (request.size > HvmState::kMaxContextBytes) return -kENOMEM;
  HvmState* state = HvmStateOf(target);
  HvmState* incoming = target.overhead.New<HvmState>();
  if (state == nullptr || incoming == nullptr) {
    target.overhead.Delete(incoming);
    return -kENOMEM;
  }
  const auto buffer = op.argument.Bind(rows::sethvmcontext::buffer);
  std::int64_t answer = 0;
  if (!buffer.ok() || !buffer->Read(0, std::span(incoming->context).first(request.size)).ok()) {
    answer = -kEFAULT;
  } else if (!IsWellFormed(target, incoming->context, request.size)) {
    answer = -kEINVAL;
  } else {
    std::memcpy(state->context, incoming->context, request.size);
    state->context_bytes = request.size;
    for (unsigned i = 0; i < target.max_vcpus; ++i) {
      if (target.vcpu(i) != nullptr) target.vcpu(i)->initialised = true;
    }
  }
  target.overhead.Delete(incoming);
  return answer;
}

}  // namespace xencomm::hypervisor
