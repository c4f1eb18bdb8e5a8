#include "hcall/trace/replay.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <set>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "hcall/schema/count.h"
#include "hcall/schema/generated/xen.h"
#include "hcall/schema/print.h"
#include "hcall/trace/call_text.h"
#include "hcall/trace/device_requests.h"
#include "hcall/trace/request_replay.h"
#include "hcall/transport/arena_memory.h"
#include "hcall/transport/bounced_call.h"
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

// Of a call's buffers: each number of them is looked at by its name.
constexpr std::uint64_t kMostBytes = std::uint64_t{4} << 20;

// The last id that a domain can have, and so hardly has.
constexpr std::uint64_t kNobody = DOMID_FIRST_RESERVED - 1;

// Whose numbers a call's are, where they are a domain's own.
std::uint16_t DomainOf(const DescribedCall& call) {
  const std::uint16_t first = call.domains.empty() ? std::uint16_t{0} : call.domains.front();
  return first == DOMID_SELF ? std::uint16_t{0} : first;
}

// --- Numbers of another machine ------------------------------------------------------------------

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

// Puts the counterparts of what a call names in its place.
class Renumbering {
 public:
  // Borrowed.
  Renumbering(CapturedCall& call, const Counterparts& counterparts, const Reading& reading)
      : call_(call), counterparts_(counterparts), reading_(reading) {}

  // Of each described call what it names that nothing is known of; "": all is.
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
      } else if (buffer.reads() && !WordsOf(*buffer.part).is_made) {
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
      if (part.is_buffer() || !part.reads() || WordsOf(part).is_made) continue;
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

  void RenumberNumber(std::uint64_t address, std::size_t size, Local local) {
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

  // What several lead to is renumbered once.
  void Store(std::uint64_t address, std::uint64_t number, std::size_t size) {
    if (!renumbered_.insert(address).second) return;
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

// --- Memory of another program -------------------------------------------------------------------

// What a recorded call points at, as a copy that a call can be made with: where there is nothing
// to be read, zeros to be written.
class RecordedMemory final : public Space, public schema::CallerMemory {
 public:
  explicit RecordedMemory(MemoryImage image) : image_(std::move(image)) {}

  const MemoryImage& image() const { return image_; }

  void MakeRoom(std::uint64_t address, std::uint64_t bytes) {
    image_.Add(address, std::vector<std::byte>(bytes));
  }

  bool Read(std::uint64_t address, void* to, std::uint64_t bytes) override {
    const auto from = image_.At(address, bytes);
    if (from.size() < bytes) return false;
    std::ranges::copy(from, static_cast<std::byte*>(to));
    return true;
  }
  bool Write(std::uint64_t address, const void* from, std::uint64_t bytes) override {
    return image_.Write(address, {static_cast<const std::byte*>(from), bytes});
  }

 private:
  Mapping Resolve(VirtualAddress pointer, std::uint64_t offset, std::uint64_t length, Access,
                  Cursor*) override {
    std::uint64_t address;
    if (__builtin_add_overflow(pointer.value, offset, &address)) return Fault::kOverflow;
    const auto bytes = image_.At(address, length);
    if (bytes.empty()) return Fault::kNotPresent;
    return Mapping(const_cast<std::byte*>(bytes.data()), bytes.size());
  }

  MemoryImage image_;
};

// --- Comparing -----------------------------------------------------------------------------------

// As a call has left it.
const Value& Final(const Value& value) { return value.after.empty() ? value : value.after[0]; }

class Comparison {
 public:
  Comparison(const DescribedCall& recorded, Counterparts& counterparts)
      : domain_(DomainOf(recorded)), counterparts_(counterparts) {
    is_compared_ = recorded.domains.empty() || IsMade(recorded.domains.front());
  }

  void CompareResults(const DescribedCall& recorded, const DescribedCall& answered) {
    if (recorded.failed() || answered.failed() || recorded.result_local == Local::kNo) {
      if (recorded.failed() != answered.failed() ||
          (recorded.result != answered.result && recorded.result_local == Local::kNo &&
           is_compared_) ||
          (recorded.failed() && recorded.result != answered.result)) {
        Tell("result", ResultText(recorded), ResultText(answered));
      }
      return;
    }
    Value was = Value::Number(static_cast<std::uint64_t>(*recorded.result));
    was.local = recorded.result_local;
    was.is_made = recorded.result_is_made;
    is_answer_ = true;
    CompareNumbers("result", was, Value::Number(static_cast<std::uint64_t>(*answered.result)));
    is_answer_ = false;
  }

  void CompareFields(const std::string& path, const std::vector<Field>& recorded,
                     const std::vector<Field>& answered) {
    // Extents of memory are named by their first frames.
    const auto order = std::ranges::find(recorded, "extent_order", &Field::name);
    run_ = order == recorded.end() ? 1 : std::uint64_t{1} << (order->value.number & 31);
    for (const Field& field : recorded) {
      const auto other = std::ranges::find(answered, field.name, &Field::name);
      const std::string where =
          path.empty() || field.name.empty() ? path + field.name : path + "." + field.name;
      if (other != answered.end()) {
        CompareValues(where, field.value, other->value);
      } else if (field.value.local != Local::kMachine) {
        Tell(where, ValueText(Final(field.value)), "nothing");
      }
    }
  }

  std::vector<Difference> Take() { return std::move(differences_); }

 private:
  void CompareValues(const std::string& where, const Value& recorded, const Value& answered) {
    const Value& was = Final(recorded);
    const Value& is = Final(answered);
    const bool is_in_answer = is_answer_, is_in_changed = is_changed_;
    is_answer_ |= was.is_answer;
    is_changed_ |= !recorded.after.empty();
    CompareFinal(where, was, is);
    is_answer_ = is_in_answer;
    is_changed_ = is_in_changed;
  }

  void CompareFinal(const std::string& where, const Value& was, const Value& is) {
    // Nor is it known what a pointer leads to that nobody could follow.
    if (IsMachines(was) || was.kind == Value::Kind::kPointer) return;
    if (was.kind != is.kind) {
      Tell(where, ValueText(was), ValueText(is));
      return;
    }
    switch (was.kind) {
      case Value::Kind::kNumber:
        CompareNumbers(where, was, is);
        return;
      case Value::Kind::kList: {
        if (was.is_answer && !was.elements.empty() && DomainIn(was.elements[0]) != nullptr) {
          CompareDomains(where, was.elements, is.elements);
          return;
        }
        if (was.elements.size() != is.elements.size()) {
          Tell(where, absl::StrCat(was.elements.size(), " elements"),
               absl::StrCat(is.elements.size()));
        }
        const std::size_t both = std::min(was.elements.size(), is.elements.size());
        for (std::size_t i = 0; i < both; ++i) {
          CompareValues(absl::StrCat(where, "[", i, "]"), was.elements[i], is.elements[i]);
        }
        return;
      }
      case Value::Kind::kStruct:
        CompareFields(where, was.fields, is.fields);
        return;
      default:
        if (was.bytes != is.bytes || was.ranges != is.ranges || was.more != is.more) {
          Tell(where, ValueText(was), ValueText(is));
        }
    }
  }

  static bool IsMachines(const Value& value) {
    return value.local == Local::kMachine && value.local_bits == 0;
  }

  void CompareNumbers(const std::string& where, const Value& was, const Value& is) {
    if (IsMachines(was)) return;
    // What a call answers in place of a frame that it was told is none.
    const bool is_no_frame = was.local == Local::kFrame && is_changed_ && !was.is_made;
    if (was.local == Local::kNo || was.local == Local::kMachine || is_no_frame) {
      const std::uint64_t bits = was.local == Local::kMachine ? was.local_bits : 0;
      if ((was.number & ~bits) != (is.number & ~bits)) Tell(where, ValueText(was), ValueText(is));
      return;
    }
    const Counterparts::Thing thing = {was.local, domain_, was.number};
    const auto known = counterparts_.Find(thing);
    // Of what the call was only told nothing is learned.
    if (was.is_made && !Counterparts::IsEverywhere(thing) &&
        Counterparts::IsEverywhere({was.local, domain_, is.number})) {
      Tell(where, ValueText(was), ValueText(is));
    } else if (was.is_made || (is_answer_ && !known)) {
      counterparts_.Learn(thing, is.number, was.is_made,
                          was.local == Local::kFrame && was.is_made ? run_ : 1);
    } else if (const std::uint64_t expected = known.value_or(was.number); expected != is.number) {
      Tell(where,
           expected == was.number
               ? ValueText(was)
               : absl::StrFormat("%s, which is %d here", ValueText(was), expected),
           ValueText(is));
    }
  }

  // Of several domains those that the recording has made, wherever they stand in the list: the
  // others are the machine's.
  void CompareDomains(const std::string& where, const std::vector<Value>& recorded,
                      const std::vector<Value>& answered) {
    const bool was_compared = is_compared_;
    is_compared_ = true;
    for (const Value& was : recorded) {
      const std::uint64_t domain = DomainIn(was)->number;
      const auto here = counterparts_.Find({Local::kDomain, 0, domain});
      if (!here || !IsMade(domain)) continue;
      const auto other = std::ranges::find_if(answered, [&](const Value& each) {
        return DomainIn(each) != nullptr && DomainIn(each)->number == *here;
      });
      const std::string its = absl::StrFormat("%s, domain %d", where, domain);
      if (other == answered.end()) {
        Tell(its, ValueText(was), "nothing");
      } else {
        CompareFields(its, was.fields, other->fields);
      }
    }
    is_compared_ = was_compared;
  }

  // The one that a structure is about, if it is.
  static const Value* DomainIn(const Value& value) {
    for (const Field& field : value.fields) {
      if (Final(field.value).local == Local::kDomain) return &Final(field.value);
    }
    return nullptr;
  }

  bool IsMade(std::uint64_t domain) const {
    return counterparts_.IsMade({Local::kDomain, 0, domain});
  }

  void Tell(std::string where, std::string recorded, std::string answered) {
    if (!is_compared_ && where != "result") return;
    differences_.push_back({std::move(where), std::move(recorded), std::move(answered)});
  }

  const std::uint16_t domain_;
  Counterparts& counterparts_;
  bool is_compared_ = true;  // not of a domain that was there before, which is the machine's
  bool is_answer_ = false;   // what is compared: the call was not told it
  bool is_changed_ = false;  // it was told something else
  std::uint64_t run_ = 1;    // frames that one number stands for
  std::vector<Difference> differences_;
};

}  // namespace

std::vector<Difference> Compare(const DescribedCall& recorded, const DescribedCall& answered,
                                Counterparts& counterparts) {
  if (!recorded.result) return {};  // the program ended in it
  Comparison comparison(recorded, counterparts);
  comparison.CompareResults(recorded, answered);
  // What a call that failed answers says nothing.
  if (recorded.failed() == answered.failed()) {
    comparison.CompareFields("", recorded.arguments, answered.arguments);
  }
  return comparison.Take();
}

std::string Replay::FindBuffers(const Call& call, const CapturedCall& captured,
                                std::vector<Extent>& buffers) const {
  ImageSpace space(captured.before);
  const Caller caller = {.space = space, .vcpus = reading_.vcpus, .releases = reading_.releases};
  std::string why;
  std::uint64_t left = kMostBytes;
  auto visit = [&](const Buffer& buffer) {
    const std::uint64_t known = captured.before.At(buffer.address.value, buffer.bytes).size();
    if (buffer.bytes > left) {
      why = absl::StrFormat("its buffers have more than %d MiB", kMostBytes >> 20);
    } else if (buffer.reads() && known < buffer.bytes) {
      why = "not all that it reads was recorded";
    }
    if (!why.empty()) return false;
    left -= buffer.bytes;
    buffers.push_back({buffer.address.value, buffer.bytes});
    return true;
  };
  const schema::Finding finding = schema::ForEachBuffer(call, caller, visit);
  return finding.ok() || !why.empty() ? why : schema::Describe(finding.problem);
}

std::string Replay::MakeHypercall(CapturedCall& again, const std::vector<Extent>& buffers) {
  ImageSpace before(again.before);
  const Call call = *HypercallOf(again.request, again.argument, before);
  RecordedMemory memory(again.before);
  for (const Extent& each : buffers) memory.MakeRoom(each.address, each.bytes);
  ArenaMemory arena(client_.arena());
  const Caller caller = {.space = memory, .vcpus = reading_.vcpus, .releases = reading_.releases};
  schema::BouncedCall bounced(call, caller, arena, &memory);
  if (bounced.out_of_memory()) return "there is no memory for its buffers";
  if (!bounced.ok()) return schema::Describe(bounced.finding().problem);
  std::array<std::uint64_t, 5> registers;
  std::copy_n(bounced.call().registers.begin(), registers.size(), registers.begin());
  again.result = client_.CallWith(bounced.call().hypercall, registers);
  (void)bounced.CopyBack(*again.result);
  again.after = memory.image();
  return "";
}

Replay::Outcome Replay::Make(const CapturedCall& recorded) {
  Outcome outcome;
  outcome.not_made = recorded.unread;
  if (!outcome.not_made.empty()) return outcome;
  ImageSpace before(recorded.before);
  const auto call = HypercallOf(recorded.request, recorded.argument, before);
  std::vector<Extent> buffers;
  if (call) outcome.not_made = FindBuffers(*call, recorded, buffers);
  if (!outcome.not_made.empty()) return outcome;

  std::vector<DescribedCall> described = Describe(recorded, reading_, {});
  CapturedCall again = recorded;
  const std::vector<std::string> unknown =
      Renumbering(again, counterparts_, reading_).Apply(described);
  for (std::size_t i = 0; i < described.size(); ++i) {
    // That there is no such domain can be asked again.
    if (!unknown[i].empty() && described[i].result != -ESRCH) outcome.not_made = unknown[i];
  }
  if (!outcome.not_made.empty()) return outcome;
  if (call) {
    outcome.not_made = MakeHypercall(again, buffers);
  } else {
    again.result = MakeRequest(again, client_, memory_);
    const bool is_hypercall = again.request == kPrivcmdHypercall || again.request == kPrivcmdDmOp;
    if (!again.result) {
      outcome.not_made =
          is_hypercall ? "its argument cannot be read" : "it is about the process alone";
    }
  }
  if (!outcome.not_made.empty()) return outcome;
  outcome.answered = Describe(again, reading_, {});
  outcome.recorded = std::move(described);
  for (std::size_t i = 0; i < outcome.recorded.size() && i < outcome.answered.size(); ++i) {
    outcome.differences.push_back(Compare(outcome.recorded[i], outcome.answered[i], counterparts_));
  }
  return outcome;
}

}  // namespace xencomm::trace
