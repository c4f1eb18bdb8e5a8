#include "hcall/transport/embedded/guest_region.h"

#include <utility>

#include "xencomm/sentence.h"

namespace xencomm::embedded {
namespace {

constexpr std::uint64_t kUserRead = x86_64::kEntryUser | x86_64::kEntryNoExecute;
constexpr std::uint64_t kUserWrite = kUserRead | x86_64::kEntryWritable;

absl::Status NoFrames(GuestKernel& kernel) {
  const std::uint64_t frames = kernel.own_frames().total();
  return absl::ResourceExhaustedError(Sentence("domain %u's %uM of memory are in use%s",
                                               kernel.id(), frames >> 8,
                                               kernel.id() == 0 ? " (option dom0)" : ""));
}

absl::Status KernelFault(const char* what, FaultInfo fault) {
  return absl::InternalError(Sentence("the guest kernel's %s: %s", what, Describe(fault.fault)));
}

absl::Status PageTableFault(GuestKernel& kernel, FaultInfo fault) {
  if (fault.fault == Fault::kNoMemory) return NoFrames(kernel);
  return KernelFault("page tables", fault);
}

}  // namespace

Result<PhysicalAddress> GuestRegion::TableFrames::Allocate() {
  const std::optional<FrameRun> frame = kernel.own_frames().TakeOne();
  if (!frame) return Fault::kNoMemory;
  owned.push_back(*frame);
  return PhysicalAddress{frame->gfn << hypervisor::kPageShift};
}

GuestRegion::Parts::Parts(GuestKernel& guest_kernel)
    : kernel(guest_kernel), source{guest_kernel, frames} {}

GuestRegion::Parts::~Parts() {
  for (const FrameRun run : frames) kernel.Recycle(run);
}

absl::StatusOr<std::unique_ptr<GuestRegion>> GuestRegion::Create(GuestKernel& kernel,
                                                                 const RegionLayout& layout,
                                                                 Options options) {
  if (layout.granule_shift() != hypervisor::kPageShift) {
    return absl::InvalidArgumentError(
        Sentence("a granule of 2^%u bytes: the guest kernel's are 2^%u", layout.granule_shift(),
                 hypervisor::kPageShift));
  }
  auto parts = std::make_unique<Parts>(kernel);
  std::vector<PhysicalAddress> table_frames;
  for (std::uint64_t i = 0; i < layout.table_granules(); ++i) {
    const Result<PhysicalAddress> frame = parts->source.Allocate();
    if (!frame.ok()) return NoFrames(kernel);
    table_frames.push_back(*frame);
  }
  const Result<Table> table = Table::Build(kernel.memory(), layout, kNativeOrder, table_frames);
  if (!table.ok()) return KernelFault("region table", table.fault());
  const Result<Tables> page_tables = Tables::Make(kernel.memory(), parts->source, options.levels);
  if (!page_tables.ok()) return PageTableFault(kernel, page_tables.fault());

  auto region = std::unique_ptr<GuestRegion>(
      new GuestRegion(std::move(parts), std::move(table_frames), *table, *page_tables));
  const absl::Status made = region->Publish(options);
  if (!made.ok()) return made;
  return region;
}

GuestRegion::GuestRegion(std::unique_ptr<Parts> parts, std::vector<PhysicalAddress> table_frames,
                         const Table& table, const Tables& page_tables)
    : parts_(std::move(parts)),
      table_frames_(std::move(table_frames)),
      table_(table),
      page_tables_(page_tables),
      handle_(RegionHandle::Stateless(table.handle())) {}

GuestRegion::~GuestRegion() {
  if (handle_.is_registered()) kernel().Call(XencommOp::kUnregister, handle_.value());
}

// What the process may see of its table, and the table's registration.
absl::Status GuestRegion::Publish(Options options) {
  for (std::uint64_t i = 0; i < table_frames_.size(); ++i) {
    const FaultInfo fault = page_tables_.Map(layout().virtual_base() + i * layout().granule_size(),
                                             table_frames_[i], layout().granule_size(), kUserRead);
    if (!fault.ok()) return PageTableFault(kernel(), fault);
  }
  if (!options.registered) return absl::OkStatus();
  const std::int64_t answer =
      kernel().Call(XencommOp::kRegister, table_.handle().value, kForReadingAndWriting);
  if (answer < 0) {
    return absl::ErrnoToStatus(static_cast<int>(-answer), "the region cannot be registered");
  }
  handle_ = RegionHandle::FromRegister(static_cast<std::uint64_t>(answer));
  return absl::OkStatus();
}

absl::Status GuestRegion::Back(std::uint64_t first, std::span<const FrameRun> runs) {
  parts_->frames.insert(parts_->frames.end(), runs.begin(), runs.end());
  if (state_.ok()) state_ = TryBack(first, runs);
  return state_;
}

absl::Status GuestRegion::TryBack(std::uint64_t first, std::span<const FrameRun> runs) {
  const unsigned shift = layout().granule_shift();
  std::uint64_t granule = first;
  for (const FrameRun run : runs) {
    const PhysicalAddress physical = {run.gfn << shift};
    for (std::uint64_t i = 0; i < run.count; ++i) {
      const FaultInfo fault = table_.Back(granule + i, physical + (i << shift));
      if (!fault.ok()) return KernelFault("region table", fault);
    }
    const FaultInfo fault = page_tables_.Map(layout().virtual_base() + (granule << shift), physical,
                                             run.count << shift, kUserWrite);
    if (!fault.ok()) return PageTableFault(kernel(), fault);
    granule += run.count;
  }
  if (!handle_.is_registered()) return absl::OkStatus();
  const std::int64_t answer =
      kernel().Call(XencommOp::kExtend, handle_.value(), first, granule - first);
  if (answer < 0) {
    return absl::ErrnoToStatus(static_cast<int>(-answer), "the region cannot be extended");
  }
  return absl::OkStatus();
}

x86_64::PagingState GuestRegion::paging() const {
  return {.cr3 = page_tables_.root().value,
          .cr4 = page_tables_.levels() == 5 ? x86_64::kCr4La57 : 0};
}

Result<PhysicalAddress> GuestRegion::PhysicalOf(VirtualAddress pointer) const {
  const RegionLayout& region = layout();
  std::uint64_t into;
  const Fault located = LocateInRegion(region.virtual_base(), region.payload_offset(),
                                       region.length(), pointer, 0, &into);
  if (located != Fault::kNone) return located;
  const Result<PhysicalAddress> base = table_.Base(into >> region.granule_shift());
  if (!base.ok()) return base.fault();
  return *base + (into & (region.granule_size() - 1));
}

Trace GuestRegion::TraceOf(VirtualAddress pointer, TracedSpace space) const {
  if (space == TracedSpace::kRegion) return table_.AsStateless().TraceOf(pointer);
  return x86_64::PageWalk(kernel().memory(), paging()).TraceOf(pointer, Access::kRead);
}

}  // namespace xencomm::embedded
