#include "hcall/tools/region_map.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "hcall/schema/count.h"
#include "hcall/schema/print.h"
#include "hcall/schema/words.h"
#include "xencomm/copy.h"
#include "xencomm/region_translation.h"

namespace xencomm::tools {
namespace {

using Kind = GranuleRun::Kind;
using Reader = TableReader<MemoryView>;

// Pointers of so many elements are followed to the picture; a list of calls can have thousands.
constexpr std::uint64_t kMaxElements = 64;
// Fields of the first element that are shown.
constexpr std::size_t kMaxFields = 64;
// What a dump says may be anything. Structures that are told apart, pointers that are followed,
// fields that are shown; the table of 16 GiB in granules of 4 KiB, and its runs that are told
// apart.
constexpr std::size_t kMaxStructures = 4096;
constexpr std::size_t kMaxPointers = std::size_t{1} << 14;
constexpr std::size_t kMaxAllFields = std::size_t{1} << 15;
constexpr std::uint64_t kMaxGranules = std::uint64_t{1} << 22;
constexpr std::size_t kMaxRuns = std::size_t{1} << 16;

// struct multicall_entry, xen/xen.h: where a call in a list has its arguments.
constexpr std::uint64_t kEntryArguments = 16;

absl::Status NoRegion(PhysicalAddress header, FaultInfo fault) {
  return absl::FailedPreconditionError(absl::StrFormat(
      "there is no region at guest-physical %#x: %s", header.value, Describe(fault.fault)));
}

void Append(const RegionLayout& layout, std::uint64_t granule, Kind kind, PhysicalAddress physical,
            std::vector<GranuleRun>& runs) {
  if (runs.size() == kMaxRuns) kind = Kind::kRest;
  if (!runs.empty()) {
    GranuleRun& last = runs.back();
    const bool continues =
        !last.has_place() || physical == last.physical + (last.count << layout.granule_shift());
    if (last.kind == Kind::kRest || (last.kind == kind && continues)) {
      ++last.count;
      return;
    }
  }
  runs.push_back({granule, 1, kind, physical});
}

// Memory that can be looked at about as often as it has words: a dump can point at the same words
// over and over.
class LimitedView final : public MemoryView {
 public:
  explicit LimitedView(MemoryView& memory)
      : memory_(memory), left_(memory.size() / sizeof(std::uint64_t) + kMaxPointers) {}

  Mapping Map(PhysicalAddress physical, std::uint64_t length, Access access) override {
    if (left_ == 0) return Fault::kNoMemory;
    --left_;
    return memory_.Map(physical, length, access);
  }
  std::uint64_t size() const override { return memory_.size(); }

  bool exhausted() const { return left_ == 0; }

 private:
  MemoryView& memory_;
  std::uint64_t left_;
};

// Follows the walk of a call and notes what it sees.
class Collector {
 public:
  Collector(Space& space, ByteOrder order, RegionMap& map)
      : space_(space), order_(order), map_(map) {}

  // Whether there is room for more.
  bool Add(const schema::Buffer& buffer) {
    if (++pointers_ > kMaxPointers || fields_ > kMaxAllFields) {
      map_.cut = true;
      return false;
    }
    if (buffer.part->is_trailing()) {
      Lengthen(buffer);
      return true;
    }
    Structure structure = {.name = schema::WordsOf(*buffer.part).path,
                           .type = schema::WordsOf(*buffer.element).name,
                           .count = buffer.count,
                           .element_size = buffer.element->size,
                           .address = buffer.address,
                           .bytes = buffer.bytes,
                           .direction = buffer.direction};
    if (buffer.entry != schema::kNoIndex) {
      structure.name = absl::StrFormat("call %u: %s", buffer.entry, structure.name);
    }
    // One that two pointers share is one.
    std::size_t index = 0;
    while (index < map_.structures.size() && (map_.structures[index].address != structure.address ||
                                              map_.structures[index].bytes != structure.bytes)) {
      ++index;
    }
    map_.cut = index == kMaxStructures;
    if (map_.cut) return false;
    if (index == map_.structures.size()) {
      AddFields(buffer, structure);
      map_.structures.push_back(structure);
    }
    AddPointer(buffer, index);
    return true;
  }

 private:
  // An array at a structure's end belongs to the structure.
  void Lengthen(const schema::Buffer& buffer) {
    for (Structure& each : map_.structures) {
      if (each.address != buffer.holder) continue;
      each.bytes = std::max(each.bytes, (buffer.address - each.address) + buffer.bytes);
    }
  }

  void AddFields(const schema::Buffer& buffer, Structure& structure) {
    if (buffer.bytes < buffer.element->size) return;
    std::vector<std::byte> bytes(buffer.element->size);
    if (!CopyFrom(space_, buffer.address, 0, bytes.data(), bytes.size()).ok()) return;
    const schema::RecordView view(bytes.data(), order_);
    if (buffer.element_record != nullptr) {
      for (const schema::Part& part : buffer.element_record->parts()) {
        if (part.direction() == schema::Direction::kIgnored || part.is_trailing()) continue;
        if (!view.Has(part, schema::Phase::kBefore)) continue;
        AddField(schema::WordsOf(part).path, part.offset, part.size(),
                 Value(part, view, *buffer.op), structure);
      }
    } else if (buffer.element->is_record()) {
      for (const schema::Member& field : schema::MembersOf(*buffer.element)) {
        const bool scalar = !field.is_array && !field.type().is_record();
        AddField(field.name, field.offset, field.size,
                 scalar ? absl::StrFormat("%u", view.Read(field.offset, field.size)) : "",
                 structure);
      }
    }
  }

  void AddField(const char* name, std::uint32_t offset, std::uint32_t size,
                const std::string& value, Structure& structure) {
    if (structure.fields.size() == kMaxFields) return;
    ++fields_;
    structure.fields.push_back({offset, size, name, value, std::nullopt});
  }

  static std::string Value(const schema::Part& part, const schema::RecordView& view,
                           const schema::Op& op) {
    if (part.is_pointer()) {
      const std::uint64_t pointer = view.Read({part.offset, sizeof(std::uint64_t)});
      return pointer == 0 ? "null" : Hex(pointer);
    }
    const schema::Member* const member = schema::WordsOf(part).member();
    if (part.type().is_record() || (member != nullptr && member->is_array)) return "";
    const std::uint64_t value = view.Read({part.offset, part.size()});
    // The number of the op itself has its constant's name.
    const schema::Ref number = op.hypercall().op_field;
    const bool in_argument = op.hypercall().op_place == schema::OpPlace::kArgument ||
                             op.hypercall().op_place == schema::OpPlace::kFirstBuffer;
    if (in_argument && schema::WordsOf(op).constant != nullptr && value == op.number &&
        part.offset == number.offset && part.size() == number.size) {
      return schema::WordsOf(op).constant;
    }
    return schema::NameValue(part, value);
  }

  // Into the structure that the pointer stands in.
  void AddPointer(const schema::Buffer& buffer, std::size_t target) {
    VirtualAddress place = buffer.holder + buffer.part->offset;
    if (buffer.in_register) {
      if (buffer.entry == schema::kNoIndex) return;  // of the call itself
      const Structure& list = map_.structures.front();
      place =
          list.address + buffer.entry * list.element_size + kEntryArguments + buffer.part->offset;
    }
    for (Structure& each : map_.structures) {
      if (place - each.address >= each.bytes) continue;
      const std::uint64_t offset = place - each.address;
      for (ShownField& field : each.fields) {
        if (field.offset != offset) continue;
        field.target = target;
        return;
      }
      const std::uint64_t element = offset / each.element_size;
      if (element >= kMaxElements) return;
      const char* const path = schema::WordsOf(*buffer.part).path;
      const std::string name =
          each.count > 1 ? absl::StrFormat("[%u].%s", element, path) : std::string(path);
      each.fields.push_back({offset, 8, name, Hex(buffer.address.value), target});
      ++fields_;
      return;
    }
  }

  Space& space_;
  const ByteOrder order_;
  RegionMap& map_;
  std::size_t pointers_ = 0;
  std::size_t fields_ = 0;
};

}  // namespace

absl::StatusOr<RegionMap> ReadRegion(MemoryView& memory, PhysicalAddress header, ByteOrder order) {
  const auto opened = OpenTable(memory, header, order);
  if (!opened.ok()) return NoRegion(header, opened.fault());
  const RegionLayout& layout = opened->layout();
  if (layout.base_count() > kMaxGranules) {
    return absl::FailedPreconditionError(
        absl::StrFormat("the region at guest-physical %#x has %u granules: expected at most %u",
                        header.value, layout.base_count(), kMaxGranules));
  }
  // A table's granules are apart from one another. One that is said to be longer than all memory is
  // the same granules over and over.
  if (layout.base_count() > memory.size() / sizeof(std::uint64_t)) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "the region at guest-physical %#x has %u granules: expected a table that fits into the "
        "image's %u bytes",
        header.value, layout.base_count(), memory.size()));
  }
  RegionMap map = {.layout = layout, .header = header};
  Reader::Cursor cursor;
  for (std::uint64_t i = 0; i < layout.base_count(); ++i) {
    const Result<PhysicalAddress> base = opened->Base(i, cursor);
    // A page form's one granule is both, and counts as payload.
    const bool table = i < layout.table_granules() && layout.base_count() > 1;
    if (base.ok()) {
      Append(layout, i, table ? Kind::kTable : Kind::kPayload, *base, map.runs);
    } else if (base.fault().fault == Fault::kNotBacked && !table) {
      Append(layout, i, Kind::kNotBacked, {}, map.runs);
    } else {
      return absl::FailedPreconditionError(
          absl::StrFormat("the table of the region at guest-physical %#x: base %u: %s",
                          header.value, i, Describe(base.fault().fault)));
    }
  }
  return map;
}

absl::Status AddCall(MemoryView& memory, ByteOrder order, const schema::Call& call,
                     RegionMap& map) {
  LimitedView limited(memory);
  MemoryView& view = limited;
  const auto opened = OpenTable(view, map.header, order);
  if (!opened.ok()) return NoRegion(map.header, opened.fault());
  SpaceOver space(StatelessRegion<MemoryView>(*opened), view);
  Collector collector(space, order, map);
  auto visit = [&](const schema::Buffer& buffer) { return collector.Add(buffer); };
  auto enter = [&](const schema::Op& op) {
    if (map.call.empty())
      map.call = absl::StrCat(schema::WordsOf(op.hypercall()).name, ".", schema::WordsOf(op).name);
    return true;
  };
  const schema::Finding finding = schema::ForEachBuffer(call, {space, order}, visit, enter);
  if (limited.exhausted()) map.cut = true;
  if (!finding.ok() && !map.cut) {
    return absl::FailedPreconditionError(schema::PrintFinding(finding));
  }
  for (Structure& each : map.structures) {
    std::stable_sort(each.fields.begin(), each.fields.end(),
                     [](const ShownField& a, const ShownField& b) { return a.offset < b.offset; });
  }
  return absl::OkStatus();
}

const char* Word(Kind kind) {
  switch (kind) {
    case Kind::kTable:
      return "table";
    case Kind::kPayload:
      return "payload";
    case Kind::kNotBacked:
      return "not backed";
    case Kind::kRest:
      return "not looked at one by one";
  }
  return "";
}

}  // namespace xencomm::tools
