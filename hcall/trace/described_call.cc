#include "hcall/trace/described_call.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <string_view>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "hcall/schema/count.h"
#include "hcall/schema/generated/xen.h"
#include "hcall/schema/print.h"
#include "hcall/schema/words.h"
#include "hcall/trace/device_requests.h"
#include "hcall/trace/typed_value.h"
#include "xencomm/copy.h"

namespace xencomm::trace {
namespace {

using schema::Buffer;
using schema::Call;
using schema::Direction;
using schema::Hypercall;
using schema::Kind;
using schema::Member;
using schema::Op;
using schema::Part;
using schema::Phase;
using schema::Record;
using schema::RecordView;
using schema::Type;
using Form = Value::Form;

// --- Fields of a record --------------------------------------------------------------------------

// Into the structures that its path names: "in.extent_start".
void AddField(std::vector<Field>& fields, std::string_view path, Value value) {
  const std::size_t dot = path.find('.');
  if (dot == path.npos || dot == 0) {
    fields.push_back({std::string(dot == 0 ? path.substr(1) : path), std::move(value)});
    return;
  }
  const std::string_view outer = path.substr(0, dot);
  auto found = std::ranges::find(fields, outer, &Field::name);
  if (found == fields.end() || found->value.kind != Value::Kind::kStruct) {
    fields.push_back({std::string(outer), Value::Of(Value::Kind::kStruct)});
    found = std::prev(fields.end());
  }
  AddField(found->value.fields, path.substr(dot + 1), std::move(value));
}

// What an in-out value was, and what became of it.
Value Changed(Value before, Value after) {
  if (before == after) return before;
  after.is_answer = true;
  before.after.push_back(std::move(after));
  return before;
}

class Describer {
 public:
  Describer(const CapturedCall& call, const Reading& reading, const Amounts& amounts)
      : captured_(call), reading_(reading), amounts_(amounts), before_(call.before) {}

  std::vector<DescribedCall> Describe() {
    const std::optional<Call> hypercall =
        HypercallOf(captured_.request, captured_.argument, before_);
    if (!hypercall) {
      calls_.push_back(DescribeRequest());
      return std::move(calls_);
    }
    const std::optional<CallList> list = ListOf(*hypercall);
    ForEachCall(*hypercall, before_, [&](const Call& call, std::uint64_t entry) {
      std::optional<std::int64_t> result = captured_.result;
      if (entry != schema::kNoIndex) {
        result = ResultOf(*list, entry);
      } else if (list && list->count != 0) {
        return;  // each call in it is shown as itself
      }
      calls_.push_back(DescribeHypercall(call, result));
      calls_.back().entry = entry;
      calls_.back().entries = list ? list->count : 0;
      calls_.back().continuations = captured_.continuations;
    });
    // A list of which nothing can be read.
    if (calls_.empty()) calls_.push_back(DescribeHypercall(*hypercall, captured_.result));
    return std::move(calls_);
  }

 private:
  // Where a pointer stands: the pointer's part and the structure around it; 0: a register.
  using Place = std::tuple<const Part*, std::uint64_t, std::uint64_t>;

  std::optional<std::int64_t> ResultOf(const CallList& list, std::uint64_t entry) const {
    if (captured_.result.value_or(-1) < 0) return captured_.result;
    const std::uint64_t address =
        list.address.value + entry * sizeof(multicall_entry) + offsetof(multicall_entry, result);
    const Bytes bytes = captured_.after.At(address, sizeof(std::int64_t));
    if (bytes.size() < sizeof(std::int64_t)) return {};
    std::int64_t result;
    std::memcpy(&result, bytes.data(), sizeof(result));
    return result;
  }

  // --- Hypercalls ---

  DescribedCall DescribeHypercall(const Call& call, std::optional<std::int64_t> result) {
    described_ = {};
    described_.is_hypercall = true;
    described_.result = result;
    buffers_.clear();
    op_ = nullptr;
    const schema::Caller caller = {
        .space = before_, .vcpus = reading_.vcpus, .releases = reading_.releases};
    auto enter = [&](const Op& op) {
      if (op_ == nullptr) op_ = &op;
      return true;
    };
    auto visit = [&](const Buffer& buffer) {
      const bool has_index = buffer.in_register && buffer.index != schema::kNoIndex;
      buffers_.emplace(Place{buffer.part, buffer.in_register ? 0 : buffer.holder.value,
                             has_index ? buffer.index : 0},
                       buffer);
      return true;
    };
    const schema::Finding finding = schema::ForEachBuffer(call, caller, visit, enter);
    const Hypercall* const hypercall = schema::Find(call.hypercall);
    if (hypercall == nullptr) {
      described_.group = absl::StrFormat("hypercall_%d", call.hypercall);
      AddRegisters(call, 5, nullptr);
    } else {
      described_.group = WordsOf(*hypercall).name;
      // The walk enters the op even where its argument turns out to be unreadable.
      if (op_ != nullptr && hypercall->op_place != schema::OpPlace::kNone) {
        described_.op = WordsOf(*op_).name;
      }
      if (op_ == nullptr) {
        AddRegisters(call, hypercall->register_count, hypercall);
      } else {
        described_.result_local = WordsOf(*op_).local;
        described_.result_is_made = WordsOf(*op_).is_made;
        DescribeOp(call, *hypercall);
      }
    }
    if (!finding.ok()) described_.note = schema::PrintFinding(finding);
    if (!captured_.unread.empty()) described_.note = captured_.unread;
    return std::move(described_);
  }

  // As they are: what is not known is not interpreted.
  void AddRegisters(const Call& call, std::size_t count, const Hypercall* hypercall) {
    for (std::size_t i = 0; i < count; ++i) {
      described_.arguments.push_back({hypercall == nullptr ? "" : RegisterNames(*hypercall)[i],
                                      Value::Number(call.registers[i], Form::kHexadecimal)});
    }
  }

  void DescribeOp(const Call& call, const Hypercall& hypercall) {
    const Op& op = *op_;
    registers_ = call.registers;
    for (const Part& part : op.registers().parts()) registers_[part.offset / 8] &= NumberBits(part);
    const Bytes registers(reinterpret_cast<const std::byte*>(registers_.data()),
                          sizeof(registers_));
    for (const Part& part : op.registers().parts()) {
      if (part.direction() == Direction::kIgnored) continue;
      if (hypercall.op_place == schema::OpPlace::kRegister &&
          part.offset == hypercall.op_field.offset) {
        const std::uint64_t more = registers_[part.offset / 8] & ~hypercall.op_mask;
        if (more != 0) {
          const auto shift = static_cast<unsigned>(__builtin_ctzll(~hypercall.op_mask));
          described_.arguments.push_back({"start_extent", Value::Number(more >> shift)});
        }
        continue;
      }
      const std::uint64_t own = registers_[part.offset / 8];
      if (!part.is_buffer()) {
        Value value = PartOf(part, registers.subspan(part.offset, part.size()));
        NoteDomain(value);
        described_.arguments.push_back({WordsOf(part).path, std::move(value)});
        continue;
      }
      const auto found = buffers_.find({&part, 0, 0});
      if (found == buffers_.end()) {
        described_.arguments.push_back(
            {WordsOf(part).path, Value::Of(Value::Kind::kPointer, own & part.address_bits())});
        continue;
      }
      if (hypercall.op_place == schema::OpPlace::kFirstBuffer) {
        DescribeListed(found->second);
        continue;
      }
      Value value = DescribeBuffer(found->second);
      const bool is_argument =
          hypercall.pointer == part.offset / 8 && value.kind != Value::Kind::kPointer;
      described_.arguments.push_back({is_argument ? "" : WordsOf(part).path, std::move(value)});
    }
  }

  static std::uint64_t NumberBits(const Part& part) { return part.number_bits(); }

  // The buffers of a dm_op: the argument, and what lies beside it.
  void DescribeListed(const Buffer& list) {
    for (std::uint64_t i = 0; i < list.count; ++i) {
      const std::uint64_t holder = list.address.value + i * list.element->size;
      for (const auto& [place, buffer] : buffers_) {
        if (buffer.in_register || buffer.holder.value != holder) continue;
        if (i == 0) {
          described_.arguments.push_back({"", DescribeBuffer(buffer)});
        } else {
          described_.arguments.push_back({WordsOf(*buffer.part).path, DescribeBuffer(buffer)});
        }
      }
    }
  }

  // --- Buffers ---

  Value DescribeBuffer(const Buffer& buffer) {
    Value value = DescribeContents(buffer);
    value.is_answer = buffer.direction == Direction::kOut;
    return value;
  }

  Value DescribeContents(const Buffer& buffer) {
    const std::uint64_t size = buffer.element->size;
    const bool has_answer = described_.result.has_value();
    std::uint64_t filled = buffer.count;
    if (buffer.writes() && has_answer) {
      filled = CountFilledIn(buffer, registers_.data(), captured_.after, *described_.result);
    }
    if (buffer.element_record != nullptr && size != 0) {
      return DescribeElements(buffer, buffer.reads() ? buffer.count : filled);
    }
    const auto bytes_in = [&](const MemoryImage& image, std::uint64_t count) {
      return image.At(buffer.address.value, size == 0 ? buffer.bytes : count * size);
    };
    const Value pointer = Value::Of(Value::Kind::kPointer, buffer.address.value);
    Value before = pointer;
    if (buffer.reads()) {
      const Bytes bytes = bytes_in(captured_.before, buffer.count);
      if (!bytes.empty()) before = Contents(buffer, bytes, buffer.count);
    }
    if (!buffer.writes()) return before;
    const bool failed = !has_answer || *described_.result < 0;
    if (failed && buffer.direction == Direction::kOut) return pointer;
    if (!has_answer) return before;
    const Bytes bytes = bytes_in(captured_.after, filled);
    if (bytes.empty() && filled != 0) return before;
    Value after = Contents(buffer, bytes, filled);
    if (buffer.direction == Direction::kOut) return after;
    return Changed(std::move(before), std::move(after));
  }

  // `count` elements of which `bytes` are known.
  Value Contents(const Buffer& buffer, Bytes bytes, std::uint64_t count) const {
    const Part& part = *buffer.part;
    const Type& element = *buffer.element;
    if (IsBitmap(part)) {
      const schema::Ref bits = part.room().a;
      std::uint64_t all = bytes.size() * 8;
      const Bytes holder = captured_.before.At(buffer.holder.value, schema::kMaxRecordSize);
      if (part.room().kind == schema::CountKind::kNumber && !buffer.in_register && bits &&
          holder.size() >= bits.offset + bits.size &&
          part.filled().kind == schema::CountKind::kNone) {
        all = RecordView(holder.data(), kNativeOrder).Read(bits);
      }
      Value map = BitsOf(bytes, all, amounts_);
      MarkAs(part, map);
      return map;
    }
    Value value = ArrayOf(bytes, element, SpellingOf(part), WordsOf(part).path, amounts_);
    MarkAs(part, value);
    if (value.kind == Value::Kind::kList) {
      value.more = count - value.elements.size();
      const bool is_one = part.room().kind == schema::CountKind::kNumber && !part.room().a &&
                          part.room().scale == 1;
      if (is_one && value.elements.size() == 1) return std::move(value.elements[0]);
    } else if (element.size == 1) {
      value.more += count - std::min(count, bytes.size());
    }
    return value;
  }

  static bool IsBitmap(const Part& part) {
    return part.element().size == 1 && part.element().kind == Kind::kUnsigned &&
           (part.room().kind == schema::CountKind::kVcpus ||
            (part.room().kind == schema::CountKind::kNumber && part.room().per == 8));
  }

  Value DescribeElements(const Buffer& buffer, std::uint64_t count) {
    const Part& part = *buffer.part;
    const bool is_argument = buffer.element_record == &op_->argument();
    const bool is_one = is_argument || (part.room().kind == schema::CountKind::kNumber &&
                                        !part.room().a && part.room().scale == 1);
    Value list = Value::Of(Value::Kind::kList);
    for (std::uint64_t i = 0; i < count && (is_one || i < amounts_.elements); ++i) {
      const std::uint64_t address = buffer.address.value + i * buffer.element->size;
      // A structure may be cut off at its end, but the rest of a list may not be known at all.
      const std::uint64_t room =
          std::min<std::uint64_t>(buffer.element->size, buffer.bytes - i * buffer.element->size);
      std::optional<Value> each =
          DescribeRecord(*buffer.element_record, address, room, buffer.writes());
      if (!each) break;
      list.elements.push_back(*std::move(each));
    }
    if (list.elements.empty() && count != 0 && (is_one || amounts_.elements != 0)) {
      return Value::Of(Value::Kind::kPointer, buffer.address.value);
    }
    if (is_one && list.elements.size() == 1) return std::move(list.elements[0]);
    list.more = count - list.elements.size();
    if (WordsOf(part).local == schema::Local::kMachine) list.local = schema::Local::kMachine;
    return list;
  }

  // The structure at an address; none: it is not known.
  std::optional<Value> DescribeRecord(const Record& record, std::uint64_t address,
                                      std::uint64_t room, bool is_written) {
    // Whole copies, of which what is not known is zero: tests look at fields wherever they are.
    const std::size_t size = record.type()->size;
    std::vector<std::byte> before(size), after(size);
    const auto copy = [&](const MemoryImage& image, std::vector<std::byte>& to) {
      const Bytes bytes = image.At(address, std::min<std::uint64_t>(room, size));
      std::ranges::copy(bytes, to.begin());
      return bytes.size();
    };
    const std::size_t had = copy(captured_.before, before);
    const std::size_t left = is_written ? copy(captured_.after, after) : 0;
    if (had == 0 && left == 0) return {};
    const bool failed = described_.result.value_or(-1) < 0;
    const Hypercall& hypercall = op_->hypercall();
    const bool is_argument = &record == &op_->argument();
    const RecordView then(before.data(), kNativeOrder), now(after.data(), kNativeOrder);
    Value value = Value::Of(Value::Kind::kStruct);
    for (const Part& part : record.parts()) {
      if (part.direction() == Direction::kIgnored) continue;
      const schema::PartWords& words = WordsOf(part);
      const auto is = [&](schema::Ref field) {
        return field && part.offset == field.offset && part.size() == field.size;
      };
      if (is_argument &&
          (is(hypercall.version_field) ||
           (hypercall.op_place != schema::OpPlace::kRegister && is(hypercall.op_field)))) {
        continue;
      }
      if (IsPadding(words.path)) continue;
      // An op's own field of a name that all ops have stands in the union.
      const bool is_taken = is_argument && part.offset >= op_->own_offset &&
                            std::ranges::find(value.fields, std::string_view(words.path),
                                              &Field::name) != value.fields.end();
      const std::string path = is_taken ? absl::StrCat("u.", words.path) : words.path;
      if (part.is_buffer()) {
        if (!then.Has(part, Phase::kBefore)) continue;
        AddField(value.fields, path, DescribePointer(part, address, then));
        continue;
      }
      const bool was =
          part.reads() && part.offset + part.size() <= had && then.Has(part, Phase::kBefore);
      // What a failed call leaves in a field that it answers in is no answer.
      const bool is_answer = part.writes() && part.offset + part.size() <= left &&
                             now.Has(part, Phase::kAfter) && (!failed || part.reads());
      const auto at = [&](const std::vector<std::byte>& bytes) {
        return PartOf(part, Bytes(bytes).subspan(part.offset, part.size()));
      };
      if (was) NoteDomain(at(before));
      if (was && is_answer) {
        AddField(value.fields, path, Changed(at(before), at(after)));
      } else if (was) {
        AddField(value.fields, path, at(before));
      } else if (is_answer) {
        Value answer = at(after);
        answer.is_answer = true;
        AddField(value.fields, path, std::move(answer));
      }
    }
    return value;
  }

  Value DescribePointer(const Part& part, std::uint64_t holder, const RecordView& then) {
    const auto found = buffers_.find({&part, holder, 0});
    if (found != buffers_.end()) return DescribeBuffer(found->second);
    if (part.is_trailing()) return Value::Of(Value::Kind::kList);
    return Value::Of(Value::Kind::kPointer,
                     then.Read(part.offset, sizeof(std::uint64_t)) & part.address_bits());
  }

  // --- Parts ---

  static std::string_view SpellingOf(const Part& part) {
    const Member* const member = WordsOf(part).member();
    return member != nullptr ? member->spelling : WordsOf(part.type()).name;
  }

  Value PartOf(const Part& part, Bytes bytes) const {
    Value value = PlainPartOf(part, bytes);
    MarkAs(part, value);
    return value;
  }

  Value PlainPartOf(const Part& part, Bytes bytes) const {
    const Member* const member = WordsOf(part).member();
    const Type& type = part.type();
    if ((member != nullptr && member->is_array) || type.size != bytes.size()) {
      if (type.kind == Kind::kCharacter) return NameOf(bytes, amounts_);
      return ArrayOf(bytes, type, SpellingOf(part), WordsOf(part).path, amounts_);
    }
    if (type.is_record()) return StructOf(bytes, type, amounts_);
    if (member != nullptr && member->bit_width != 0) {
      const std::uint64_t storage = RecordView(bytes.data(), kNativeOrder).Read(0, bytes.size());
      return Value::Number(storage >> member->bit_offset &
                           ~std::uint64_t{0} >> (64 - member->bit_width));
    }
    return ScalarOf(bytes, type.kind, SpellingOf(part), WordsOf(part).path);
  }

  void NoteDomain(const Value& value) {
    if (value.form == Form::kDomain) {
      described_.domains.push_back(static_cast<std::uint16_t>(value.number));
    }
  }

  // --- The devices' other requests ---

  DescribedCall DescribeRequest() {
    described_ = {};
    described_.result = captured_.result;
    const DeviceRequest* const request = FindDeviceRequest(captured_.request);
    if (request == nullptr) {
      described_.group = captured_.file.substr(captured_.file.rfind('/') + 1);
      // A file can be called anything.
      const bool is_name = described_.group.find_first_not_of(
                               "abcdefghijklmnopqrstuvwxyz0123456789_-") == described_.group.npos;
      if (described_.group.empty() || !is_name) described_.group = "privcmd";
      described_.op = IsDeviceRequest(captured_.request)
                          ? "hypercall"
                          : absl::StrFormat("ioctl_0x%x", captured_.request);
      described_.arguments.push_back({"", Value::Of(Value::Kind::kPointer, captured_.argument)});
      described_.note = IsDeviceRequest(captured_.request) ? "its argument cannot be read"
                                                           : "a request that is not known";
      return std::move(described_);
    }
    described_.group = request->device;
    described_.op = request->name;
    described_.result_is_made = request->makes_port;
    if (request->makes_port) described_.result_local = schema::Local::kOwnPort;
    // gntalloc has one with gntdev's number.
    const std::size_t slash = captured_.file.rfind('/');
    const std::string device = captured_.file.substr(slash + 1);
    if (slash != captured_.file.npos && device == "gntalloc") described_.group = device;
    if (request->size == 0) return std::move(described_);

    Value value = Value::Of(Value::Kind::kStruct);
    const Bytes before = captured_.before.At(captured_.argument, request->size);
    const Bytes after = captured_.after.At(captured_.argument, request->size);
    if (before.size() < request->size) {
      described_.arguments.push_back({"", Value::Of(Value::Kind::kPointer, captured_.argument)});
      described_.note = "its argument cannot be read";
      return std::move(described_);
    }
    AddDeviceFields(request->fields, before, after, value.fields);
    for (const DeviceArray& array : request->arrays) {
      const std::uint64_t count = RecordView(before.data(), kNativeOrder).Read(array.count);
      const std::uint64_t address =
          array.pointer == DeviceArray::kTrailing
              ? captured_.argument + request->trailing_at
              : RecordView(before.data(), kNativeOrder).Read(array.pointer, 8);
      value.fields.push_back({array.name, DeviceArrayOf(array, address, count)});
    }
    described_.arguments.push_back({"", std::move(value)});
    return std::move(described_);
  }

  void AddDeviceFields(std::span<const DeviceField> fields, Bytes before, Bytes after,
                       std::vector<Field>& into, const DeviceArray* array = nullptr) {
    for (const DeviceField& field : fields) {
      if (array != nullptr && !Has(*array, field, before)) continue;
      const bool is_answer = field.direction == Direction::kOut;
      if (is_answer && described_.result.value_or(-1) < 0) continue;
      const Bytes from = is_answer ? after : before;
      if (from.size() < field.offset + field.size) continue;
      Value value = DeviceValue(field, from.subspan(field.offset, field.size));
      value.is_answer = is_answer;
      const bool has_changed = field.direction == Direction::kInOut &&
                               described_.result.value_or(-1) >= 0 &&
                               after.size() >= field.offset + field.size;
      if (has_changed) {
        value =
            Changed(std::move(value), DeviceValue(field, after.subspan(field.offset, field.size)));
      }
      if (value.form == Form::kDomain) NoteDomain(value);
      AddField(into, field.name, std::move(value));
    }
  }

  static Value DeviceValue(const DeviceField& field, Bytes bytes) {
    const bool is_signed =
        field.form == DeviceField::Form::kSigned || field.form == DeviceField::Form::kError;
    Value value = ScalarOf(bytes, is_signed ? Kind::kSigned : Kind::kUnsigned, "", "");
    SetLocal(LocalOf(field), false, value);
    if (field.form == DeviceField::Form::kAddress) value.form = Form::kHexadecimal;
    const auto error = static_cast<std::int64_t>(value.number);
    if (field.form == DeviceField::Form::kError && error < 0 && error > -4096) {
      const char* const name = strerrorname_np(static_cast<int>(-error));
      if (name != nullptr) value.name = std::string("-") + name;
    }
    return value;
  }

  Value DeviceArrayOf(const DeviceArray& array, std::uint64_t address, std::uint64_t count) {
    const Value pointer = Value::Of(Value::Kind::kPointer, address);
    if (address == 0) return pointer;
    const auto list_in = [&](const MemoryImage& image, const MemoryImage& answers) {
      Value list = Value::Of(Value::Kind::kList);
      const Bytes bytes = image.At(address, count * array.element_size);
      const Bytes answered = answers.At(address, count * array.element_size);
      for (std::uint64_t at = 0; at + array.element_size <= bytes.size();
           at += array.element_size) {
        if (list.elements.size() == amounts_.elements) break;
        const Bytes each = bytes.subspan(at, array.element_size);
        if (array.element[0].name[0] == '\0') {
          list.elements.push_back(DeviceValue(array.element[0], each));
          continue;
        }
        const Bytes its_answer = at + array.element_size <= answered.size()
                                     ? answered.subspan(at, array.element_size)
                                     : Bytes();
        Value element = Value::Of(Value::Kind::kStruct);
        AddDeviceFields(array.element, each, its_answer, element.fields, &array);
        list.elements.push_back(std::move(element));
      }
      list.more = count - list.elements.size();
      return list;
    };
    const bool has_names = array.element[0].name[0] != '\0';
    if (array.direction == Direction::kIn || (has_names && array.direction == Direction::kInOut)) {
      Value list = list_in(captured_.before, captured_.after);
      return list.elements.empty() && count != 0 ? pointer : list;
    }
    Value after = list_in(captured_.after, captured_.after);
    const bool is_known = !after.elements.empty() || count == 0;
    if (array.direction == Direction::kOut) return is_known ? after : pointer;
    Value before = list_in(captured_.before, captured_.before);
    return is_known ? Changed(std::move(before), std::move(after)) : before;
  }

  const CapturedCall& captured_;
  const Reading& reading_;
  const Amounts& amounts_;
  ImageSpace before_;
  std::vector<DescribedCall> calls_;

  // Of the call that is being described.
  DescribedCall described_;
  const Op* op_ = nullptr;
  schema::Registers registers_ = {};
  std::map<Place, Buffer> buffers_;
};

}  // namespace

std::uint16_t DomainOf(const DescribedCall& call) {
  const std::uint16_t first = call.domains.empty() ? std::uint16_t{0} : call.domains.front();
  return first == DOMID_SELF ? std::uint16_t{0} : first;
}

std::vector<DescribedCall> Describe(const CapturedCall& call, const Reading& reading,
                                    const Amounts& amounts) {
  return Describer(call, reading, amounts).Describe();
}

}  // namespace xencomm::trace
