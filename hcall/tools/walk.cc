// xencomm walk: the way of one pointer to its memory, step by step.

#include <algorithm>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "arch/x86_64/page_walk.h"
#include "hcall/tools/command.h"
#include "hcall/tools/embedded_process.h"
#include "hcall/tools/memory_view.h"
#include "hcall/tools/print.h"
#include "xencomm/region_space.h"

namespace xencomm::tools {
namespace {

struct BitName {
  std::uint64_t bit;
  const char* name;
};
// Intel SDM, volume 3, tables 4-14 to 4-20. Bit 7 is PAT in a PT.
constexpr BitName kEntryBits[] = {
    {x86_64::kEntryPresent, "P"},
    {x86_64::kEntryWritable, "RW"},
    {x86_64::kEntryUser, "US"},
    {1 << 3, "PWT"},
    {1 << 4, "PCD"},
    {x86_64::kEntryAccessed, "A"},
    {x86_64::kEntryDirty, "D"},
    {x86_64::kEntryLargePage, "PS"},
    {1 << 8, "G"},
    {x86_64::kEntryNoExecute, "NX"},
};
// Section 4.7.
constexpr BitName kErrorBits[] = {
    {x86_64::kErrorPresent, "P"},     {x86_64::kErrorWrite, "W/R"}, {x86_64::kErrorUser, "U/S"},
    {x86_64::kErrorReserved, "RSVD"}, {x86_64::kErrorFetch, "I/D"}, {x86_64::kErrorKey, "PK"},
};

std::vector<std::string> Names(std::span<const BitName> bits, std::uint64_t value) {
  std::vector<std::string> names;
  for (const BitName& each : bits) {
    if ((value & each.bit) != 0) names.emplace_back(each.name);
  }
  return names;
}

std::vector<std::string> EntryNames(const x86_64::Step& step) {
  std::vector<std::string> names = Names(kEntryBits, step.entry);
  if (step.level == 1)
    std::replace(names.begin(), names.end(), std::string("PS"), std::string("PAT"));
  return names;
}

const char* AccessName(Access access) {
  return access == Access::kRead ? "read" : access == Access::kWrite ? "write" : "execute";
}

// One step of a way: what was read where.
struct Step {
  std::string table;
  std::uint64_t index;
  PhysicalAddress address;
  std::uint64_t value;
  std::vector<std::string> flags;
};

// A way, whichever it was.
struct Way {
  std::string title = {};
  Json json = {};
  std::vector<Step> steps = {};
  Segment end = Fault::kNone;
  std::string fault = {};  // in words, when there is one
};

Way WalkPages(MemoryView& memory, const x86_64::PagingState& state, VirtualAddress pointer,
              Access access) {
  const x86_64::PageWalk<MemoryView> walk(memory, state);
  const x86_64::Trace trace = walk.TraceWalk(pointer, access);
  const unsigned levels = walk.rules().levels();
  const bool user = state.privilege == x86_64::Privilege::kUser;
  Way way = {.end = trace.page};
  way.title = absl::StrFormat("Page walk, %u levels from CR3 %#x: %s %s of %#x", levels, state.cr3,
                              user ? "user" : "supervisor", AccessName(access), pointer.value);
  way.json = {{"way", "walk"},
              {"levels", levels},
              {"cr3", Hex(state.cr3)},
              {"privilege", user ? "user" : "supervisor"}};
  for (unsigned i = 0; i < trace.count; ++i) {
    const x86_64::Step& step = trace.steps[i];
    way.steps.push_back(
        {x86_64::kLevels[step.level].name, step.index, step.place(), step.entry, EntryNames(step)});
  }
  if (trace.page.ok()) return way;
  const FaultInfo fault = trace.page.fault();
  const bool raises_page_fault = fault.fault != Fault::kNotCanonical &&
                                 fault.fault != Fault::kNoMemory &&
                                 fault.fault != Fault::kNotReadable;
  const std::vector<std::string> errors = Names(kErrorBits, fault.error_code);
  way.json["fault"] = {{"why", Describe(fault.fault)}};
  way.fault = Describe(fault.fault);
  if (fault.level != 0) {
    const char* const table = x86_64::kLevels[fault.level].name;
    way.json["fault"]["level"] = fault.level;
    way.json["fault"]["table"] = table;
    absl::StrAppendFormat(&way.fault, ", at level %u (%s)", fault.level, table);
  }
  if (raises_page_fault) {
    way.json["fault"]["error_code"] = fault.error_code;
    way.json["fault"]["error_flags"] = errors;
    absl::StrAppendFormat(
        &way.fault, "; #PF with error code %#x%s", fault.error_code,
        errors.empty() ? "" : absl::StrCat(" (", absl::StrJoin(errors, " "), ")"));
  } else if (fault.fault == Fault::kNotCanonical) {
    absl::StrAppend(&way.fault, "; #GP, not #PF");
  }
  return way;
}

absl::StatusOr<Way> WalkRegion(MemoryView& memory, PhysicalAddress header, ByteOrder order,
                               VirtualAddress pointer, Access access) {
  const auto opened = OpenTable(memory, header, order);
  if (!opened.ok()) {
    return absl::FailedPreconditionError(
        absl::StrFormat("there is no region at guest-physical %#x: %s", header.value,
                        Describe(opened.fault().fault)));
  }
  const RegionLayout& layout = opened->layout();
  WordsRead words(memory, order);
  const StatelessRegion<WordsRead> region(TableReader<WordsRead>(words, layout, header, order));
  StatelessRegion<WordsRead>::Cursor cursor;
  Way way = {.end = region.Translate(pointer, 0, ~std::uint64_t{0}, access, cursor)};
  way.title = absl::StrFormat("Region at %#x, %s in granules of %s: %s of %#x",
                              layout.virtual_base().value, Bytes(layout.length()),
                              Bytes(layout.granule_size()), AccessName(access), pointer.value);
  way.json = {{"way", "region"},
              {"header", Hex(header.value)},
              {"virtual_base", Hex(layout.virtual_base().value)},
              {"length", layout.length()},
              {"granule_shift", layout.granule_shift()}};
  const std::uint64_t into = pointer - layout.virtual_base();
  if (into < layout.length()) {
    const std::uint64_t granule = into >> layout.granule_shift();
    way.json["granule"] = granule;
    way.json["offset"] = into & (layout.granule_size() - 1);
    absl::StrAppendFormat(&way.title, ", granule %u + %#x", granule,
                          into & (layout.granule_size() - 1));
    // The bases that were read, the last of them the granule's own.
    std::vector<std::uint64_t> chain;
    for (std::uint64_t i = granule; i != 0; i = layout.BaseGranule(i)) chain.push_back(i);
    std::reverse(chain.begin(), chain.end());
    for (std::size_t i = 0; i < words.words().size() && i < chain.size(); ++i) {
      way.steps.push_back(
          {"bases", chain[i], words.words()[i].address, words.words()[i].value, {}});
    }
  }
  if (!way.end.ok()) {
    way.fault = Describe(way.end.fault().fault);
    way.json["fault"] = {{"why", way.fault}};
  }
  return way;
}

void Print(const Way& way, std::optional<MachineAddress> machine) {
  absl::PrintF("%s\n\n", way.title);
  const bool pages = way.json["way"] == "walk";
  if (!way.steps.empty()) {
    absl::PrintF("%-6s %7s  %-18s  %-18s%s\n", "table", "index", "entry at", "entry",
                 pages ? "  flags" : "");
  }
  for (const Step& step : way.steps) {
    const std::string flags = absl::StrJoin(step.flags, " ");
    absl::PrintF("%-6s %7u  0x%016x  0x%016x%s%s\n", step.table, step.index, step.address.value,
                 step.value, flags.empty() ? "" : "  ", flags);
  }
  if (!way.steps.empty()) absl::PrintF("\n");
  if (!way.end.ok()) {
    absl::PrintF("Fault: %s\n", way.fault);
    return;
  }
  absl::PrintF("Guest-physical %#x", way.end.start().value);
  if (machine) absl::PrintF(", machine %#x", machine->value);
  absl::PrintF("; from there on %s of the same page\n", Bytes(way.end.length()));
}

void PrintAsJson(Way& way, VirtualAddress pointer, Access access,
                 std::optional<MachineAddress> machine) {
  way.json["pointer"] = Hex(pointer.value);
  way.json["access"] = AccessName(access);
  way.json["steps"] = Json::array();
  for (const Step& step : way.steps) {
    Json each = {{"table", step.table},
                 {"index", step.index},
                 {"address", Hex(step.address.value)},
                 {"entry", Hex(step.value)}};
    if (!step.flags.empty()) each["flags"] = step.flags;
    way.json["steps"].push_back(each);
  }
  if (way.end.ok()) {
    way.json["guest_physical"] = Hex(way.end.start().value);
    if (machine) way.json["machine"] = Hex(machine->value);
    way.json["bytes"] = way.end.length();
  }
  PrintJson(way.json);
}

// What is walked, and from where.
struct Request {
  Access access = Access::kRead;
  std::optional<std::string> by;
  unsigned levels = 4;
  x86_64::Privilege privilege = x86_64::Privilege::kUser;
  ByteOrder order = kNativeOrder;
  std::string pointer;  // "": none given
};

absl::Status WrongPointer(const std::string& word, const char* expected) {
  return absl::InvalidArgumentError(
      absl::StrFormat("'%s' is not a pointer: expected %s", word, expected));
}

void Show(const Arguments& arguments, Way& way, VirtualAddress pointer, Access access,
          std::optional<MachineAddress> machine = std::nullopt) {
  if (arguments.Has("json")) return PrintAsJson(way, pointer, access, machine);
  Print(way, machine);
}

absl::StatusOr<int> WalkImage(const Arguments& arguments, const Request& request) {
  if (arguments.Has("cr3") == arguments.Has("region")) {
    return absl::InvalidArgumentError(
        "in an image a walk begins somewhere: expected either --cr3=ADDRESS or --region=ADDRESS");
  }
  if (request.by) {
    return absl::InvalidArgumentError(
        "--by is for the embedded machine: expected an image without it");
  }
  const std::uint64_t cr3 = arguments.Number("cr3");
  const std::uint64_t header = arguments.Number("region");
  const std::optional<std::uint64_t> number = ParseNumber(request.pointer);
  if (!number) return WrongPointer(request.pointer, "a virtual address, decimal or 0x...");
  const VirtualAddress pointer = {*number};
  const auto image = ImageMemory::Open(*arguments.Get("image"));
  if (!image.ok()) return image.status();
  absl::StatusOr<Way> way =
      arguments.Has("region")
          ? WalkRegion(**image, {header}, request.order, pointer, request.access)
          : WalkPages(**image,
                      {.cr3 = cr3,
                       .cr4 = request.levels == 5 ? x86_64::kCr4La57 : 0,
                       .privilege = request.privilege},
                      pointer, request.access);
  if (!way.ok()) return way.status();
  Show(arguments, *way, pointer, request.access);
  return 0;
}

absl::StatusOr<int> WalkEmbedded(const Arguments& arguments, const Request& request) {
  EmbeddedSetting setting = arguments.Embedded();
  if (request.levels == 5) setting.reach = Reach::kWalk5;
  const bool relative = absl::StartsWith(request.pointer, "+");
  const std::optional<std::uint64_t> number =
      ParseNumber(relative ? request.pointer.substr(1) : request.pointer);
  if (!number && !request.pointer.empty()) {
    return WrongPointer(request.pointer, "an address or +OFFSET into the region");
  }
  const auto process = EmbeddedProcess::Start(setting, std::uint64_t{2} << 20);
  if (!process.ok()) return process.status();
  // Somewhere in the middle of a buffer of a few pages.
  const absl::StatusOr<void*> buffer = (*process)->arena().Allocate(5 * Arena::kPageSize);
  if (!buffer.ok()) return buffer.status();
  const embedded::GuestRegion& region = (*process)->region();
  VirtualAddress pointer = {std::bit_cast<std::uintptr_t>(*buffer) + 3 * Arena::kPageSize + 0x10};
  if (number)
    pointer = relative ? region.layout().virtual_base() + *number : VirtualAddress{*number};

  x86_64::PagingState state = region.paging();
  state.privilege = request.privilege;
  absl::StatusOr<Way> way = request.by == "region"
                                ? WalkRegion((*process)->memory(), (*process)->header(),
                                             kNativeOrder, pointer, request.access)
                                : WalkPages((*process)->memory(), state, pointer, request.access);
  if (!way.ok()) return way.status();
  std::optional<MachineAddress> machine;
  if (way->end.ok()) machine = (*process)->MachineOf(way->end.start());
  Show(arguments, *way, pointer, request.access, machine);
  return 0;
}

absl::StatusOr<int> Run(const Arguments& arguments) {
  Request request;
  request.pointer = arguments.Operand();
  request.by = arguments.Get("by");
  const std::string access = arguments.Get("access").value_or("read");
  request.access = access == "read"    ? Access::kRead
                   : access == "write" ? Access::kWrite
                                       : Access::kExecute;
  request.levels = static_cast<unsigned>(arguments.Number("levels", 4));
  if (arguments.Has("supervisor")) request.privilege = x86_64::Privilege::kSupervisor;
  if (arguments.Has("big-endian")) request.order = ByteOrder::kBig;
  return arguments.Has("image") ? WalkImage(arguments, request) : WalkEmbedded(arguments, request);
}

}  // namespace

Command WalkCommand() {
  return {
      .name = "walk",
      .summary = "Show how one pointer is translated, step by step",
      .description =
          "Walks the page tables, or a region's bases, from POINTER to guest-physical memory, and "
          "shows every entry on the way: where it lies, what it holds, its flags by name; and "
          "where the way ends in a fault, why, with the error code that the processor would give "
          "with #PF.\n\n"
          "With --image, the tables are those in a file that holds guest-physical memory from "
          "address 0 on, as QEMU's pmemsave writes it. Without, they are those of a process on "
          "the embedded machine, which has a region of 2 MiB: POINTER is an address in it, or "
          "+OFFSET from its start; without POINTER, one into a buffer.",
      .options = {{"access", "ACCESS", "what is done to the memory (read)",
                   Words{"read", "write", "execute"}},
                  {"supervisor", "", "access as the guest's kernel, not as its user"},
                  {"levels", "LEVELS", "of the page tables (4)", Words{"4", "5"}},
                  {"by", "WAY", "through the process's page tables or its region (walk)",
                   Words{"walk", "region"}},
                  {"image", kFileValue,
                   "guest-physical memory, in place of the embedded machine's"},
                  {"cr3", "ADDRESS", "the image's page tables begin here", Range{}, "image"},
                  {"region", "ADDRESS", "the header of a region in the image lies here", Range{},
                   "image"},
                  {"big-endian", "", "the region is a big-endian domain's", {}, "image"},
                  {"json", "", "for programs; addresses are strings"}},
      .operands = {"POINTER"},
      .connects = Command::Connects::kEmbedded,
      .examples = {{"A pointer into a buffer, through the guest's page tables.", "xencomm walk"},
                   {"A write to the region's table, which the process may only read.",
                    "xencomm walk --access=write +0x20"},
                   {"A pointer through the tables that a memory dump holds.",
                    "xencomm walk --image=memory.bin --cr3=0x1000 0x7f0000001234"}},
      .run = Run,
  };
}

}  // namespace xencomm::tools
