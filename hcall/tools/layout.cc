// xencomm layout: a region and what is in it, drawn.

#include <cstdio>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "hcall/schema/op.h"
#include "hcall/schema/words.h"
#include "hcall/tools/command.h"
#include "hcall/tools/embedded_process.h"
#include "hcall/tools/example_call.h"
#include "hcall/tools/memory_view.h"
#include "hcall/tools/print.h"
#include "hcall/tools/region_map.h"

namespace xencomm::tools {
namespace {

// Arrays at two levels, in structures of few fields.
constexpr char kDefaultOp[] = "platform_op.set_processor_pminfo";

absl::StatusOr<const schema::Op*> FindOp(const std::string& name) {
  const std::size_t dot = name.find('.');
  const schema::Op* op = nullptr;
  if (dot != std::string::npos) {
    op = schema::Find(name.substr(0, dot), name.substr(dot + 1));
  } else if (const schema::Hypercall* const hypercall = schema::Find(name)) {
    if (hypercall->op_place == schema::OpPlace::kNone) op = &hypercall->ops()[0];
  }
  if (op != nullptr) return op;
  return absl::InvalidArgumentError(absl::StrFormat(
      "--op=%s: expected HYPERCALL.OP as xencomm schema lists them, like sysctl.physinfo", name));
}

// The call of `op` whose argument a dump holds at `argument`.
absl::StatusOr<schema::Call> CallOf(const schema::Op& op, std::uint64_t argument) {
  const schema::Hypercall& hypercall = op.hypercall();
  if (hypercall.op_place != schema::OpPlace::kArgument) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "--op=%s.%s: of a dump, expected an op whose argument says all, as those of domctl, "
        "sysctl and platform_op",
        schema::WordsOf(hypercall).name, schema::WordsOf(op).name));
  }
  schema::Call call = {.hypercall = hypercall.number};
  call.registers[static_cast<std::size_t>(hypercall.pointer)] = argument;
  return call;
}

absl::StatusOr<RegionMap> MapOfImage(const Arguments& arguments, const schema::Op* op) {
  if (!arguments.Has("region")) {
    return absl::InvalidArgumentError(
        "--image without a place in it: expected --region=ADDRESS, where the header lies");
  }
  if (arguments.Has("op") != arguments.Has("argument")) {
    return absl::InvalidArgumentError(
        "in an image the op's structure lies somewhere: expected --op and --argument together");
  }
  const ByteOrder order = arguments.Has("big-endian") ? ByteOrder::kBig : kNativeOrder;
  const auto image = ImageMemory::Open(*arguments.Get("image"));
  if (!image.ok()) return image.status();
  absl::StatusOr<RegionMap> map = ReadRegion(**image, {arguments.Number("region")}, order);
  if (!map.ok() || !arguments.Has("op")) return map;
  const absl::StatusOr<schema::Call> call = CallOf(*op, arguments.Number("argument"));
  if (!call.ok()) return call.status();
  const absl::Status added = AddCall(**image, order, *call, *map);
  if (!added.ok()) return added;
  return map;
}

absl::StatusOr<RegionMap> MapOfExample(const Arguments& arguments, const schema::Op& op) {
  const auto process = EmbeddedProcess::Start(arguments.Embedded(),
                                              arguments.Number("pages", 512) * Arena::kPageSize);
  if (!process.ok()) return process.status();
  const absl::StatusOr<schema::Call> call =
      ExampleCall(op, arguments.Number("elements", 600), (*process)->arena());
  if (absl::IsResourceExhausted(call.status())) {
    return absl::ResourceExhaustedError(absl::StrCat(
        std::string(call.status().message()), ": expected fewer --elements or more --pages"));
  }
  if (!call.ok()) return call.status();
  absl::StatusOr<RegionMap> map =
      ReadRegion((*process)->memory(), (*process)->header(), kNativeOrder);
  if (!map.ok()) return map;
  const absl::Status added = AddCall((*process)->memory(), kNativeOrder, *call, *map);
  if (!added.ok()) return added;
  return map;
}

absl::Status Write(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  if (file) return absl::OkStatus();
  return absl::UnavailableError(absl::StrFormat("'%s' cannot be written", path));
}

absl::StatusOr<int> Run(const Arguments& arguments) {
  const absl::StatusOr<const schema::Op*> op = FindOp(arguments.Get("op").value_or(kDefaultOp));
  if (!op.ok()) return op.status();
  const absl::StatusOr<RegionMap> map =
      arguments.Has("image") ? MapOfImage(arguments, *op) : MapOfExample(arguments, **op);
  if (!map.ok()) return map.status();
  if (arguments.Has("svg")) {
    const absl::Status written = Write(*arguments.Get("svg"), RegionPicture(*map));
    if (!written.ok()) return written;
  }
  if (arguments.Has("json")) {
    PrintJson(RegionJson(*map));
  } else if (!arguments.Has("svg")) {
    std::fputs(RegionText(*map).c_str(), stdout);
  }
  return 0;
}

}  // namespace

Command LayoutCommand() {
  return {
      .name = "layout",
      .summary = "Draw a region, and what a hypercall has in it",
      .description =
          "Shows a region's table and granules, where in guest-physical memory they lie, the "
          "structures in them and where their pointers lead.\n\n"
          "Without --image, the region is one of a process on the embedded machine, in which a "
          "call of OP is laid out by an Arena: every pointer of it set, by what the op table "
          "says. Its table is read back from the machine's memory as the guest kernel wrote it. "
          "The call is not made.\n\n"
          "With --image, it is one in a file that holds guest-physical memory from address 0 on, "
          "as QEMU's pmemsave writes it.",
      .options = {{"op", kOpValue,
                   absl::StrFormat("the op, as xencomm schema lists them (%s)", kDefaultOp)},
                  {"elements", "COUNT", "of each buffer whose length the caller chooses (600)",
                   Range{1, 1 << 20}},
                  {"pages", "COUNT", "of the region's payload (512)",
                   Range{1, Arena::kMaxSize / Arena::kPageSize}},
                  {"image", kFileValue,
                   "guest-physical memory, in place of the embedded machine's"},
                  {"region", "ADDRESS", "the header of the region in the image lies here", Range{},
                   "image"},
                  {"argument", "POINTER", "the structure of OP lies here in the image's region",
                   Range{}, "image"},
                  {"big-endian", "", "the image is a big-endian domain's", {}, "image"},
                  {"svg", kFileValue, "draw a picture into FILE, and print no text"},
                  {"json", "", "for programs; addresses are strings"}},
      .connects = Command::Connects::kEmbedded,
      .examples = {{"An array of structures that point at arrays, as a picture.",
                    "xencomm layout --svg=region.svg"},
                   {"A list of domains that fills 21 granules.",
                    "xencomm layout --op=sysctl.getdomaininfolist"}},
      .run = Run,
  };
}

}  // namespace xencomm::tools
