// What a region holds and where it lies: read from the region's own table, in guest-physical
// memory, and from a call whose structures are in it.
#ifndef HCALL_TOOLS_REGION_MAP_H_
#define HCALL_TOOLS_REGION_MAP_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "hcall/schema/walk.h"
#include "hcall/tools/memory_view.h"
#include "hcall/tools/print.h"
#include "xencomm/region.h"

namespace xencomm::tools {

// Granules that follow one another in the region and in guest-physical memory.
struct GranuleRun {
  // kRest: more than anybody looks at one by one, whatever they are; the last of a region.
  enum class Kind : std::uint8_t { kTable, kPayload, kNotBacked, kRest };

  std::uint64_t first = 0;
  std::uint64_t count = 0;
  Kind kind = Kind::kPayload;
  PhysicalAddress physical = {};  // of the table and the payload

  std::uint64_t end() const { return first + count; }
  bool has_place() const { return kind == Kind::kTable || kind == Kind::kPayload; }
};

// A field, or a pointer, of a structure.
struct ShownField {
  std::uint64_t offset = 0;  // from the structure's start, elements before it included
  std::uint32_t size = 0;
  std::string name;
  std::string value;
  std::optional<std::size_t> target;  // a pointer: the structure it leads to
};

// One buffer of the call: elements of one type, behind one pointer.
struct Structure {
  std::string name;  // of the pointer to it: "u.set_pminfo.power.states"
  std::string type;
  std::uint64_t count = 0;
  std::uint32_t element_size = 0;
  VirtualAddress address = {};
  std::uint64_t bytes = 0;
  schema::Direction direction = schema::Direction::kIn;
  std::vector<ShownField> fields = {};  // of the first element, and the pointers of all
};

struct RegionMap {
  RegionLayout layout;
  PhysicalAddress header;
  std::vector<GranuleRun> runs = {};  // all of the region, in order
  std::string call = "";              // "platform_op.set_processor_pminfo"; "": none was looked at
  std::vector<Structure> structures = {};  // by the call's order: the op's own is the first
  bool cut = false;                        // there were more, which nobody looked at

  std::uint64_t OffsetOf(const Structure& structure) const {
    return structure.address - layout.virtual_base();
  }
};

// Reads the table whose header lies at `header`, as the hypervisor would.
absl::StatusOr<RegionMap> ReadRegion(MemoryView& memory, PhysicalAddress header, ByteOrder order);

// Adds the structures of `call`, read through the region.
absl::Status AddCall(MemoryView& memory, ByteOrder order, const schema::Call& call, RegionMap& map);

const char* Word(GranuleRun::Kind kind);

// For people, for programs, and as a picture (SVG).
std::string RegionText(const RegionMap& map);
Json RegionJson(const RegionMap& map);
std::string RegionPicture(const RegionMap& map);

}  // namespace xencomm::tools

#endif  // HCALL_TOOLS_REGION_MAP_H_
