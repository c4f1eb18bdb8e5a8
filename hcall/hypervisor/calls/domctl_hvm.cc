// domctl: the saved state of an HVM domain's hardware.
//
// A list of records, each with a descriptor in front; the first is the header, the last one has no
// contents (public/hvm/save.h). What the records are about, domain/hvm_records.h knows.

#include <cstring>

#include "hcall/hypervisor/base/cpu_policy.h"
#include "hcall/hypervisor/calls/domctl.h"
#include "hcall/hypervisor/domain/hvm_records.h"
#include "hcall/schema/generated/rows.h"

namespace xencomm::hypervisor {
namespace {

namespace rows = schema::rows::domctl;

constexpr std::uint32_t kHeaderBytes = 24;
constexpr std::uint32_t kFileMagic = 0x54381286;
constexpr std::uint32_t kFileVersion = 1;
constexpr std::uint32_t kDescriptorBytes = 8;
// 32 KiB for each of the vcpus that an HVM domain can have. What gethvmcontext gives is less.
constexpr std::uint32_t kMostContextBytes = 4 << 20;

using Contents = std::span<const std::uint8_t>;

unsigned InstancesOf(const Domain& domain, const RecordKind& kind) {
  return kind.of_vcpu() ? domain.max_vcpus : kind.count;
}

// Calls emit(type, instance, contents) for each record that is saved, until one answers false.
template <class Emit>
bool ForEachRecord(const Core& core, const Domain& domain, Emit emit) {
  std::uint8_t contents[kMostRecordBytes] = {};
  StoreField(contents, kFileMagic, domain.order);
  StoreField(contents + 4, kFileVersion, domain.order);
  StoreField(contents + 8, ~std::uint64_t{0}, domain.order);  // of no known changeset
  StoreField(contents + 16, HostLeaves()[1].a, domain.order);
  StoreField(contents + 20, domain.tsc_khz, domain.order);
  if (!emit(kHeaderRecord, 0u, Contents(contents, kHeaderBytes))) return false;
  for (const RecordKind& kind : RecordKinds()) {
    for (unsigned i = 0; i < InstancesOf(domain, kind); ++i) {
      const std::uint32_t bytes = SaveRecord(core, domain, kind, i, contents);
      if (bytes != 0 && !emit(kind.type, i, Contents(contents, bytes))) return false;
    }
  }
  return emit(kEndRecord, 0u, Contents());
}

// Of all that Xen could save, also of devices that are not there: what it wants room for.
std::uint32_t MostBytes(const Core& core, const Domain& domain) {
  unsigned vcpus = 0;
  while (vcpus < domain.max_vcpus && domain.vcpu(vcpus) != nullptr) ++vcpus;
  std::uint32_t bytes = 2 * kDescriptorBytes + kHeaderBytes;
  for (const RecordKind& kind : RecordKinds()) {
    bytes += (kDescriptorBytes + kind.Bytes(core)) * (kind.of_vcpu() ? vcpus : kind.count);
  }
  return bytes;
}

// A list that somebody gave, from one record to the next.
class GivenList {
 public:
  GivenList(Contents bytes, ByteOrder order) : bytes_(bytes), order_(order) {}

  // The next one; false where there is no descriptor any more.
  bool Next(GivenRecord* record) {
    if (bytes_.size() - at_ < kDescriptorBytes) return false;
    const std::uint8_t* const descriptor = &bytes_[at_];
    at_ += kDescriptorBytes;
    record->type = LoadField<std::uint16_t>(descriptor, order_);
    record->instance = LoadField<std::uint16_t>(descriptor + 2, order_);
    record->length = LoadField<std::uint32_t>(descriptor + 4, order_);
    const std::size_t left = bytes_.size() - at_;
    record->contents = bytes_.subspan(at_, record->length < left ? record->length : left);
    at_ += record->contents.size();
    return true;
  }

 private:
  Contents bytes_;
  ByteOrder order_;
  std::size_t at_ = 0;
};

// What is loaded has a place to lie: the domain's records, and those of each vcpu that is named.
bool MakeRoom(Domain& domain, GivenList list) {
  if (HvmStateOf(domain) == nullptr) return false;
  GivenRecord record;
  while (list.Next(&record)) {
    const RecordKind* kind = RecordKindOf(record.type);
    if (kind == nullptr || !kind->of_vcpu()) continue;
    Vcpu* vcpu = domain.vcpu(record.instance);
    if (vcpu != nullptr && HvmVcpuOf(*vcpu) == nullptr) return false;
  }
  return true;
}

// The header, which comes first; and the rate of a guest's TSC out of it, in kHz, or 0.
std::int64_t ReadHeader(const Domain& domain, GivenList& list, std::uint32_t* tsc_khz) {
  GivenRecord header;
  if (!list.Next(&header) || header.type != kHeaderRecord || header.length != kHeaderBytes ||
      header.is_cut()) {
    return -kENODATA;
  }
  const std::uint8_t* const contents = header.contents.data();
  if (LoadField<std::uint32_t>(contents, domain.order) != kFileMagic) return -kEINVAL;
  if (LoadField<std::uint32_t>(contents + 4, domain.order) != kFileVersion) return -kEINVAL;
  *tsc_khz = LoadField<std::uint32_t>(contents + 20, domain.order);
  return 0;
}

// One record after the other, up to the end; what comes behind it is nobody's. The first one that
// is refused ends it, and what is loaded by then stays.
template <class Each>
std::int64_t ForEachGiven(GivenList& list, Each each) {
  GivenRecord record;
  while (list.Next(&record)) {
    if (record.type == kEndRecord) return 0;
    const std::int64_t answer = each(record);
    if (answer != 0) return answer;
  }
  return -kENODATA;
}

std::int64_t LoadContext(Core& core, Domain& domain, Contents bytes) {
  GivenList list(bytes, domain.order);
  std::uint32_t tsc_khz = 0;
  const std::int64_t begun = ReadHeader(domain, list, &tsc_khz);
  if (begun != 0) return begun;
  if ((core.config.release & schema::kSince4_19) != 0) {
    GivenList again = list;
    const std::int64_t sane = ForEachGiven(
        again, [&](const GivenRecord& record) { return CheckRecord(core, domain, record); });
    if (sane != 0) return sane;
  }
  if (!MakeRoom(domain, list)) return -kENOMEM;
  if (tsc_khz != 0) domain.tsc_khz = tsc_khz;
  // Only those whose registers are there come up again.
  for (unsigned i = 0; i < domain.max_vcpus; ++i) {
    if (Vcpu* vcpu = domain.vcpu(i)) vcpu->online.store(false);
  }
  return ForEachGiven(list,
                      [&](const GivenRecord& record) { return LoadRecord(core, domain, record); });
}

}  // namespace

std::int64_t GetHvmContextOp(DomctlCall& op) {
  xen_domctl_hvmcontext& request = op.argument->u.hvmcontext;
  Domain& target = *op.target;
  op.copy_back = true;
  if (!target.hvm) return -kEINVAL;
  const auto buffer = op.argument.Bind(rows::gethvmcontext::buffer);
  const std::uint32_t most = MostBytes(op.call.core, target);
  if (buffer.is_null()) {
    request.size = most;
    return 0;
  }
  if (request.size < most) return -kENOSPC;
  std::uint32_t at = 0;
  const bool written = ForEachRecord(
      op.call.core, target, [&](std::uint16_t type, unsigned instance, Contents contents) {
        const auto length = static_cast<std::uint32_t>(contents.size());
        std::uint8_t descriptor[kDescriptorBytes];
        StoreField(descriptor, type, target.order);
        StoreField(descriptor + 2, static_cast<std::uint16_t>(instance), target.order);
        StoreField(descriptor + 4, length, target.order);
        const bool ok = buffer.Write(at, Contents(descriptor)).ok() &&
                        buffer.Write(at + kDescriptorBytes, contents).ok();
        at += kDescriptorBytes + length;
        return ok;
      });
  request.size = at;
  return written ? 0 : -kEFAULT;
}

std::int64_t GetHvmContextPartialOp(DomctlCall& op) {
  xen_domctl_hvmcontext_partial& request = op.argument->u.hvmcontext_partial;
  const Domain& target = *op.target;
  op.copy_back = true;
  if (!target.hvm) return -kEINVAL;
  const RecordKind* const kind = RecordKindOf(request.type);
  if (kind == nullptr) return -kEINVAL;
  if (kind->of_vcpu() && target.vcpu(request.instance) == nullptr) return -kENOENT;
  std::uint8_t contents[kMostRecordBytes];
  const std::uint32_t bytes = SaveRecord(op.call.core, target, *kind, request.instance, contents);
  if (bytes == 0) return kind->of_vcpu() ? -kENODATA : -kENOENT;
  const auto buffer = op.argument.Bind(rows::gethvmcontext_partial::buffer);
  if (!buffer.is_null()) {
    if (request.bufsz < bytes) return -kENOBUFS;
    if (!buffer.Write(0, Contents(contents, bytes)).ok()) return -kEFAULT;
  }
  request.bufsz = bytes;
  return 0;
}

std::int64_t SetHvmContextOp(DomctlCall& op) {
  const xen_domctl_hvmcontext& request = op.argument->u.hvmcontext;
  Domain& target = *op.target;
  if (&target == &op.call.domain || !target.hvm) return -kEINVAL;
  if (request.size > kMostContextBytes) return -kENOMEM;
  auto* const incoming = target.overhead.New<std::uint8_t>(request.size);
  if (incoming == nullptr) return -kENOMEM;
  const auto buffer = op.argument.Bind(rows::sethvmcontext::buffer);
  const std::span<std::uint8_t> bytes(incoming, request.size);
  const std::int64_t answer =
      buffer.Read(0, bytes).ok() ? LoadContext(op.call.core, target, bytes) : -kEFAULT;
  target.overhead.Delete(incoming, request.size);
  return answer;
}

}  // namespace xencomm::hypervisor
