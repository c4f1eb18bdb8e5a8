#include "hcall/trace/renumbering.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <utility>

#include "absl/strings/str_format.h"
#include "hcall/schema/count.h"
#include "hcall/schema/generated/xen.h"
#include "hcall/schema/words.h"
#include "hcall/trace/device_requests.h"
#include "hcall/transport/privcmd_calls.h"

namespace xencomm::trace {
namespace {

using schema::Buffer;
using schema::Call;
using schema::Caller;
using schema::Local;
using schema::Member;
using schema::Op;
using schema::Part;
using schema::Phase;
using schema::RecordView;
using schema::Type;

// The last id that a domain can have, and so hardly has.
constexpr std::uint64_t kNobody = DOMID_FIRST_RESERVED - 1;

// What it is that was there before the recording; "": nobody can tell.
const char* WordOf(Local kind) {
  switch (kind) {
    case Local::kDomain:
      return "domain";
    case Local::kPort:
    case Local::kOwnPort:
      return "port";
    case Local::kHandle:
      return "grant mapping";
    case Local::kCpupool:
      return "cpupool";
    case Local::kPirq:
      return "pirq";
    case Local::kServer:
      return "ioreq server";
    case Local::kView:
      return "view";
    default:
      return "";
  }
}

class Renumbering {
 public:
  // Borrowed.
  Renumbering(CapturedCall& call, const Counterparts& counterparts, const Reading& reading)
      : call_(call), counterparts_(counterparts), reading_(reading) {}

  std::vector<std::string> Apply(const std::vector<DescribedCall>& described) {
    std::vector<std::string> unknown(described.size());
    ImageSpace space(call_.before);
    const auto hypercall = HypercallOf(call_.request, call_.argument, space);
    if (!hypercall) {
      domain_ = DomainOf(described.front());
      if (const auto* const request = FindDeviceRequest(call_.request)) RenumberRequest(*request);
      unknown.front() = std::move(unknown_);
      return unknown;
    }
    const auto list = ListOf(*hypercall);
    auto its = described.begin();  // in the order of the list
    ForEachCall(*hypercall, space, [&](const Call& each, std::uint64_t entry) {
      if (ListOf(each)) return;
      its = std::find_if(its, described.end(),
                         [&](const DescribedCall& call) { return call.entry == entry; });
      if (its == described.end()) return;
      domain_ = DomainOf(*its);
      RenumberCall(each, entry == schema::kNoIndex
                             ? 0
                             : list->address.value + entry * sizeof(multicall_entry));
      unknown[static_cast<std::size_t>(its - described.begin())] = std::move(unknown_);
      unknown_.clear();
    });
    return unknown;
  }

 private:
  // `entry`: where it stands in a list; 0: it is the ioctl's.
  void RenumberCall(const Call& call, std::uint64_t entry) {
    ImageSpace space(call_.before);
    const Caller caller = {.space = space, .vcpus = reading_.vcpus, .releases = reading_.releases};
    const Op* op = nullptr;
    auto enter = [&](const Op& entered) {
      op = &entered;
      return true;
    };
    auto visit = [&](const Buffer& buffer) {
      RenumberBuffer(buffer);
      return true;
    };
    if (!schema::ForEachBuffer(call, caller, visit, enter).ok() || op == nullptr) return;
    for (const Part& part : op->registers().parts()) {
      if (!part.is_buffer()) RenumberRegister(part, call, entry);
    }
  }

  void RenumberRegister(const Part& part, const Call& call, std::uint64_t entry) {
    const std::size_t index = part.offset / sizeof(std::uint64_t);
    const std::uint64_t bits = part.number_bits();
    const std::uint64_t number = call.registers[index];
    const std::uint64_t other =
        (number & ~bits) | (CounterpartOf(LocalOf(part), number & bits) & bits);
    if (other == number) return;
    if (entry != 0) {
      Store(entry + offsetof(multicall_entry, args) + index * sizeof(other), other, sizeof(other));
    } else if (call_.request == kPrivcmdDmOp) {
      Store(call_.argument + offsetof(PrivcmdDmOp, dom), other, sizeof(PrivcmdDmOp::dom));
    } else {
      Store(call_.argument + offsetof(PrivcmdHypercall, arg) + index * sizeof(other), other,
            sizeof(other));
    }
  }

  void RenumberBuffer(const Buffer& buffer) {
    const std::uint64_t size = buffer.element->size;
    if (size == 0) return;
    // A structure may be cut off at its end.
    for (std::uint64_t at = 0; at < buffer.bytes; at += size) {
      const std::uint64_t address = buffer.address.value + at;
      if (buffer.element_record != nullptr) {
        RenumberRecord(*buffer.element_record, address);
      } else if (buffer.reads()) {
        RenumberValue(address, *buffer.element, LocalOf(*buffer.part));
      }
    }
  }

  void RenumberRecord(const schema::Record& record, std::uint64_t address) {
    const auto bytes = call_.before.At(address, record.type()->size);
    std::vector<std::byte> copy(record.type()->size);  // what is not known is zero
    std::ranges::copy(bytes, copy.begin());
    const RecordView view(copy.data(), kNativeOrder);
    for (const Part& part : record.parts()) {
      if (part.is_buffer() || !part.reads()) continue;
      if (!view.Has(part, Phase::kBefore)) continue;
      const Member* const member = WordsOf(part).member();
      if (member != nullptr && member->bit_width != 0) continue;
      may_be_unknown_ = WordsOf(part).is_or_next;
      const std::uint64_t size = part.type().size;
      for (std::uint64_t at = 0; at + size <= part.size() && size != 0; at += size) {
        RenumberValue(address + part.offset + at, part.type(), LocalOf(part));
      }
      may_be_unknown_ = false;
    }
  }

  void RenumberRequest(const DeviceRequest& request) {
    const auto bytes = call_.before.At(call_.argument, request.size);
    if (bytes.size() < request.size) return;
    const std::vector<std::byte> copy(bytes.begin(), bytes.end());
    const RecordView view(copy.data(), kNativeOrder);
    RenumberFields(request.fields, call_.argument);
    for (const DeviceArray& array : request.arrays) {
      const std::uint64_t start = array.pointer == DeviceArray::kTrailing
                                      ? call_.argument + request.trailing_at
                                      : view.Read(array.pointer, sizeof(std::uint64_t));
      const std::uint64_t count = view.Read(array.count);
      for (std::uint64_t i = 0; i < count; ++i) {
        const std::uint64_t element = start + i * array.element_size;
        if (call_.before.At(element, 1).empty()) break;
        RenumberFields(array.element, element, &array);
      }
    }
  }

  void RenumberFields(std::span<const DeviceField> fields, std::uint64_t address,
                      const DeviceArray* array = nullptr) {
    for (const DeviceField& field : fields) {
      const auto element = call_.before.At(address, array == nullptr ? 0 : array->element_size);
      if (array != nullptr && !Has(*array, field, element)) continue;
      if (field.direction == schema::Direction::kOut) continue;
      RenumberNumber(address + field.offset, field.size, trace::LocalOf(field));
    }
  }

  // A number, or a structure of which the types of its members say all.
  void RenumberValue(std::uint64_t address, const Type& type, Local local) {
    if (type.kind == schema::Kind::kStruct) {
      for (const Member& member : MembersOf(type)) {
        const std::uint64_t size = member.type().size;
        if (member.bit_width != 0) continue;
        for (std::uint64_t at = 0; at + size <= member.size && size != 0; at += size) {
          RenumberValue(address + member.offset + at, member.type(), schema::LocalOf(type, member));
        }
      }
      return;
    }
    if (type.is_record() || type.kind == schema::Kind::kHandle || local == Local::kNo) return;
    RenumberNumber(address, type.size, local);
  }

  // What several lead to is renumbered once.
  void RenumberNumber(std::uint64_t address, std::size_t size, Local local) {
    if (!renumbered_.insert(address).second) return;
    const auto bytes = call_.before.At(address, size);
    if (bytes.size() < size) return;
    const std::uint64_t number = RecordView(bytes.data(), kNativeOrder).Read(0, size);
    const std::uint64_t other = CounterpartOf(local, number);
    if (other != number) Store(address, other, size);
  }

  static Local LocalOf(const Part& part) {
    const schema::PartWords& words = WordsOf(part);
    if (words.local != Local::kNo) return words.is_made ? Local::kNo : words.local;
    return words.member() == nullptr ? Local::kNo : schema::LocalOf(words.member()->spelling);
  }

  std::uint64_t CounterpartOf(Local local, std::uint64_t number) {
    if (local == Local::kNo || local == Local::kMachine) return number;
    const auto known = counterparts_.Find({local, domain_, number});
    if (known || may_be_unknown_ || WordOf(local)[0] == '\0') return known.value_or(number);
    if (unknown_.empty()) {
      unknown_ = absl::StrFormat("%s %d was there before the recording", WordOf(local), number);
    }
    // Not somebody else's here.
    return local == Local::kDomain ? kNobody : number;
  }

  void Store(std::uint64_t address, std::uint64_t number, std::size_t size) {
    call_.before.Write(address, std::as_bytes(std::span(&number, 1)).first(size));
  }

  CapturedCall& call_;
  const Counterparts& counterparts_;
  const Reading& reading_;
  std::uint16_t domain_ = 0;     // that the numbers of the call are of
  bool may_be_unknown_ = false;  // it is, or what comes after it
  std::string unknown_;          // the first thing in the call
  std::set<std::uint64_t> renumbered_;
};

}  // namespace

std::vector<std::string> Renumber(CapturedCall& call, const std::vector<DescribedCall>& described,
                                  const Counterparts& counterparts, const Reading& reading) {
  return Renumbering(call, counterparts, reading).Apply(described);
}

}  // namespace xencomm::trace
