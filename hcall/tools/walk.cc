// xencomm walk: how one pointer is translated, step by step.

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
#include "xencomm/region_translation.h"
#include "xencomm/trace.h"

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

std::vector<std::string> FlagNames(const Step& step) {
  if (step.level == 0) return {};
  std::vector<std::string> names = Names(kEntryBits, step.entry);
  if (step.level == 1)
    std::replace(names.begin(), names.end(), std::string("PS"), std::string("PAT"));
  return names;
}

const char* AccessName(Access access) {
  return access == Access::kRead ? "read" : access == Access::kWrite ? "write" : "execute";
}

// A trace, and what is said around it.
struct Report {
  Trace trace;
  std::string title;
  std::string fault = {};  // in words, when there is one
  Json json = {};
};

Report WalkPages(MemoryView& memory, const x86_64::PagingState& state, VirtualAddress pointer,
                 Access access) {
  const x86_64::PageWalk<MemoryView> walk(memory, state);
  const unsigned levels = walk.rules().levels();
  const bool user = state.privilege == x86_64::Privilege::kUser;
  Report report = {
      .trace = walk.TraceOf(pointer, access),
      .title = absl::StrFormat("Page walk, %u levels from CR3 %#x: %s %s of %#x", levels, state.cr3,
                               user ? "user" : "supervisor", AccessName(access), pointer.value),
      .json = {{"space", "walk"},
               {"levels", levels},
               {"cr3", Hex(state.cr3)},
               {"privilege", user ? "user" : "supervisor"}}};
  if (report.trace.end.ok()) return report;
  const FaultInfo fault = report.trace.end.fault();
  const bool raises_page_fault = fault.fault != Fault::kNotCanonical &&
                                 fault.fault != Fault::kNoMemory &&
                                 fault.fault != Fault::kNotReadable;
  const std::vector<std::string> errors = Names(kErrorBits, fault.error_code);
  report.json["fault"] = {{"why", Describe(fault.fault)}};
  report.fault = Describe(fault.fault);
  if (fault.level != 0) {
    const char* const table = x86_64::kLevels[fault.level].name;
    report.json["fault"]["level"] = fault.level;
    report.json["fault"]["table"] = table;
    absl::StrAppendFormat(&report.fault, ", at level %u (%s)", fault.level, table);
  }
  if (raises_page_fault) {
    report.json["fault"]["error_code"] = fault.error_code;
    report.json["fault"]["error_flags"] = errors;
    absl::StrAppendFormat(
        &report.fault, "; #PF with error code %#x%s", fault.error_code,
        errors.empty() ? "" : absl::StrCat(" (", absl::StrJoin(errors, " "), ")"));
  } else if (fault.fault == Fault::kNotCanonical) {
    absl::StrAppend(&report.fault, "; #GP, not #PF");
  }
  return report;
}

absl::StatusOr<Report> WalkRegion(MemoryView& memory, PhysicalAddress header, ByteOrder order,
                                  VirtualAddress pointer, Access access) {
  const auto table = OpenTable(memory, header, order);
  if (!table.ok()) {
    return absl::FailedPreconditionError(
        absl::StrFormat("there is no region at guest-physical %#x: %s", header.value,
                        Describe(table.fault().fault)));
  }
  const RegionLayout& layout = table->layout();
  Report report = {
      .trace = StatelessRegion<MemoryView>(*table).TraceOf(pointer),
      .title = absl::StrFormat("Region at %#x, %s in granules of %s: %s of %#x",
                               layout.virtual_base().value, Bytes(layout.length()),
                               Bytes(layout.granule_size()), AccessName(access), pointer.value),
      .json = {{"space", "region"},
               {"header", Hex(header.value)},
               {"virtual_base", Hex(layout.virtual_base().value)},
               {"length", layout.length()},
               {"granule_shift", layout.granule_shift()}}};
  const std::uint64_t into = pointer - layout.virtual_base();
  if (into < layout.length()) {
    const std::uint64_t granule = into >> layout.granule_shift();
    const std::uint64_t offset = into & (layout.granule_size() - 1);
    report.json["granule"] = granule;
    report.json["offset"] = offset;
    absl::StrAppendFormat(&report.title, ", granule %u + %#x", granule, offset);
  }
  if (!report.trace.end.ok()) {
    report.fault = Describe(report.trace.end.fault().fault);
    report.json["fault"] = {{"why", report.fault}};
  }
  return report;
}

void Print(const Report& report, std::optional<MachineAddress> machine) {
  absl::PrintF("%s\n\n", report.title);
  const std::span<const Step> steps(report.trace.steps, report.trace.count);
  if (!steps.empty()) {
    absl::PrintF("%-6s %7s  %-18s  %-18s%s\n", "table", "index", "entry at", "entry",
                 steps[0].level != 0 ? "  flags" : "");
  }
  for (const Step& step : steps) {
    const std::string flags = absl::StrJoin(FlagNames(step), " ");
    absl::PrintF("%-6s %7u  0x%016x  0x%016x%s%s\n", step.table, step.index, step.address.value,
                 step.entry, flags.empty() ? "" : "  ", flags);
  }
  if (!steps.empty()) absl::PrintF("\n");
  const Segment& end = report.trace.end;
  if (!end.ok()) {
    absl::PrintF("Fault: %s\n", report.fault);
    return;
  }
  absl::PrintF("Guest-physical %#x", end.start().value);
  if (machine) absl::PrintF(", machine %#x", machine->value);
  absl::PrintF("; from there on %s of the same page\n", Bytes(end.length()));
}

void PrintAsJson(Report& report, VirtualAddress pointer, Access access,
                 std::optional<MachineAddress> machine) {
  report.json["pointer"] = Hex(pointer.value);
  report.json["access"] = AccessName(access);
  report.json["steps"] = Json::array();
  for (const Step& step : std::span(report.trace.steps, report.trace.count)) {
    Json each = {{"table", step.table},
                 {"index", step.index},
                 {"address", Hex(step.address.value)},
                 {"entry", Hex(step.entry)}};
    if (const auto flags = FlagNames(step); !flags.empty()) each["flags"] = flags;
    report.json["steps"].push_back(each);
  }
  if (report.trace.end.ok()) {
    report.json["guest_physical"] = Hex(report.trace.end.start().value);
    if (machine) report.json["machine"] = Hex(machine->value);
    report.json["bytes"] = report.trace.end.length();
  }
  PrintJson(report.json);
}

// What is walked, and from where.
struct Request {
  Access access = Access::kRead;
  unsigned levels = 4;
  x86_64::Privilege privilege = x86_64::Privilege::kUser;
  ByteOrder order = kNativeOrder;
  std::string pointer;  // "": none given
};

absl::Status WrongPointer(const std::string& word, const char* expected) {
  return absl::InvalidArgumentError(
      absl::StrFormat("'%s' is not a pointer: expected %s", word, expected));
}

void Show(const Arguments& arguments, Report& report, VirtualAddress pointer, Access access,
          std::optional<MachineAddress> machine = std::nullopt) {
  if (arguments.Has("json")) return PrintAsJson(report, pointer, access, machine);
  Print(report, machine);
}

absl::StatusOr<int> WalkImage(const Arguments& arguments, const Request& request) {
  if (arguments.Has("cr3") == arguments.Has("region")) {
    return absl::InvalidArgumentError(
        "in an image a walk begins somewhere: expected either --cr3=ADDRESS or --region=ADDRESS");
  }
  if (arguments.Has("space")) {
    return absl::InvalidArgumentError(
        "--space is for the embedded machine: expected an image without it");
  }
  const std::uint64_t cr3 = arguments.Number("cr3");
  const std::uint64_t header = arguments.Number("region");
  const std::optional<std::uint64_t> number = ParseNumber(request.pointer);
  if (!number) return WrongPointer(request.pointer, "a virtual address, decimal or 0x...");
  const VirtualAddress pointer = {*number};
  const auto image = ImageMemory::Open(*arguments.Get("image"));
  if (!image.ok()) return image.status();
  absl::StatusOr<Report> report =
      arguments.Has("region")
          ? WalkRegion(**image, {header}, request.order, pointer, request.access)
          : WalkPages(**image,
                      {.cr3 = cr3,
                       .cr4 = request.levels == 5 ? x86_64::kCr4La57 : 0,
                       .privilege = request.privilege},
                      pointer, request.access);
  if (!report.ok()) return report.status();
  Show(arguments, *report, pointer, request.access);
  return 0;
}

absl::StatusOr<int> WalkEmbedded(const Arguments& arguments, const Request& request) {
  EmbeddedSetting setting = arguments.Embedded();
  if (!arguments.Has("space")) setting.space = SpaceOption::kWalk4;
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
  absl::StatusOr<Report> report =
      setting.space == SpaceOption::kRegion
          ? WalkRegion((*process)->memory(), (*process)->header(), kNativeOrder, pointer,
                       request.access)
          : WalkPages((*process)->memory(), state, pointer, request.access);
  if (!report.ok()) return report.status();
  std::optional<MachineAddress> machine;
  if (report->trace.end.ok()) machine = (*process)->MachineOf(report->trace.end.start());
  Show(arguments, *report, pointer, request.access, machine);
  return 0;
}

absl::StatusOr<int> Run(const Arguments& arguments) {
  Request request;
  request.pointer = arguments.Operand();
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
          "shows every entry that is read: where it lies, what it holds, its flags by name; and of "
          "a fault, why it is one, with the error code that the processor would give with #PF.\n\n"
          "With --image, the tables are those in a file that holds guest-physical memory from "
          "address 0 on, as QEMU's pmemsave writes it. Without, they are those of a process on "
          "the embedded machine, which has a region of 2 MiB: POINTER is an address in it, or "
          "+OFFSET from its start; without POINTER, one into a buffer.",
      .options =
          {{"access", "ACCESS", "what is done to the memory (read)",
            Words{"read", "write", "execute"}},
           {"supervisor", "", "access as the guest's kernel, not as its user"},
           {"space", "WORD",
            "what POINTER means: an address, by page tables of so many levels, or a place in "
            "the region (walk4)",
            Words{"walk4", "walk5", "region"}},
           {"image", kFileValue, "guest-physical memory, in place of the embedded machine's"},
           {"cr3", "ADDRESS", "the image's page tables begin here", Range{}, "image"},
           {"levels", "LEVELS", "of those (4)", Words{"4", "5"}, "image"},
           {"region", "ADDRESS", "the header of a region in the image lies here", Range{}, "image"},
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
