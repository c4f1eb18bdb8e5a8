// What the cost of a call, and of a region, depends on.
//
// Each has a machine of its own, of which one thing is large and all others are as small as can be.
// The call describes one domain, of one vcpu; it is made by the last vcpu of the last domain, and
// argument and result lie in the last granule of the region that was registered last.
#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bench/machine.h"
#include "bench/rows.h"
#include "hcall/schema/generated/xen.h"
#include "xencomm/hypercall.h"
#include "xencomm/region_table.h"

namespace xencomm::bench {
namespace {

using hypervisor::kPageShift;
using hypervisor::kPageSize;

constexpr std::uint64_t kMachinePages = std::uint64_t{1} << 20;
constexpr std::uint64_t kKiB = 1 << 10, kMiB = 1 << 20, kGiB = 1 << 30;
constexpr std::uint64_t kSmallest = 64 * kKiB;
constexpr std::uint64_t kForWriting = 1;
constexpr VirtualAddress kBase{0x3c00'0000'0000};
// Above it a row's turns take too long to count their instructions.
constexpr std::uint64_t kMostCounted = 16 * kMiB;

// A domain with the table of a region, which lies from gfn 1 on: at address 0 it would have no
// handle.
class RegionOwner {
 public:
  RegionOwner(BenchMachine& machine, std::uint16_t id, std::uint64_t bytes, unsigned vcpus = 1)
      : hypervisor_(machine.hypervisor()),
        layout_(Must(RegionLayout::Make(kBase, bytes, kPageShift), "no region is so long")) {
    machine.Build(
        {.id = id, .pages = (bytes >> kPageShift) + 1, .vcpus = vcpus, .privileged = true});
    vcpu_ = &machine.Claim(id, 0);
    memory_.emplace(hypervisor_.LockedMemoryOf(*vcpu_));
    std::vector<PhysicalAddress> frames(layout_.table_granules());
    for (std::uint64_t i = 0; i < frames.size(); ++i) frames[i] = Place(i);
    table_.emplace(
        Must(Table::Build(*memory_, layout_, kNativeOrder, frames), "no region's table"));
    Back();
  }
  RegionOwner(const RegionOwner&) = delete;
  RegionOwner& operator=(const RegionOwner&) = delete;

  hypervisor::Vcpu& vcpu() const { return *vcpu_; }
  const RegionLayout& layout() const { return layout_; }
  std::uint64_t header() const { return table_->handle().value; }

  // The region handle. The same table can be registered any number of times.
  std::uint64_t Register() const {
    const std::int64_t handle = RegionOp(XencommOp::kRegister, header(), kForWriting);
    Check(handle > 0, "a region cannot be registered");
    return static_cast<std::uint64_t>(handle);
  }
  // By all that was backed since.
  bool Extend(std::uint64_t handle) const {
    return RegionOp(XencommOp::kExtend, handle, first(), last() - first() + 1) == 0;
  }
  bool Unregister(std::uint64_t handle) const {
    return RegionOp(XencommOp::kUnregister, handle) == 0;
  }

  void Back() const {
    ForEachBase([](std::uint64_t granule) { return Place(granule).value; });
  }
  void Unback() const {
    ForEachBase([](std::uint64_t) { return kNotBackedBase; });
  }

  // Its last granule.
  std::byte* page() const { return memory_->Map(Place(last()), kPageSize, Access::kWrite).start(); }
  VirtualAddress page_pointer() const { return kBase + (last() << kPageShift); }

  void ReleaseVcpu() {
    hypervisor_.ReleaseVcpu(*vcpu_);
    vcpu_ = nullptr;
  }

 private:
  using Table = RegionTable<hypervisor::LockedMemory>;

  static PhysicalAddress Place(std::uint64_t granule) { return {(granule + 1) << kPageShift}; }
  std::uint64_t first() const { return layout_.table_granules(); }
  std::uint64_t last() const { return layout_.base_count() - 1; }

  // As a kernel writes its own table: page by page.
  template <class BaseOfGranule>
  void ForEachBase(BaseOfGranule base) const {
    for (std::uint64_t granule = first(); granule <= last();) {
      const std::uint64_t offset = BaseOffset(granule);
      const Mapping run =
          memory_->Map(Place(0) + offset, kPageSize - (offset & (kPageSize - 1)), Access::kWrite);
      for (std::uint64_t done = 0; done < run.length() && granule <= last();
           done += sizeof(std::uint64_t)) {
        StoreSharedField(run.start() + done, base(granule++), kNativeOrder);
      }
    }
  }

  template <class... Arguments>
  std::int64_t RegionOp(XencommOp op, Arguments... arguments) const {
    return hypervisor_.Call(
        *vcpu_, {.index = kXencommOp, .arguments = {static_cast<std::uint64_t>(op), arguments...}});
  }

  hypervisor::Hypervisor& hypervisor_;
  const RegionLayout layout_;
  hypervisor::Vcpu* vcpu_ = nullptr;
  std::optional<hypervisor::LockedMemory> memory_;
  std::optional<Table> table_;
};

struct Size {
  std::uint64_t region_bytes = kSmallest;
  unsigned regions = 1;  // in each domain
  unsigned domains = 1;
  unsigned vcpus = 1;  // of each domain; of the last one as many as can have claimed to call
};

class Scaled {
 public:
  explicit Scaled(const Size& size) : machine_(kMachinePages) {
    for (unsigned id = 0; id < size.domains; ++id) {
      if (id != 0) owners_.back().ReleaseVcpu();
      owners_.emplace_back(machine_, static_cast<std::uint16_t>(id), size.region_bytes, size.vcpus);
      for (unsigned i = 0; i < size.regions; ++i) handle_ = owner().Register();
    }
    vcpu_ = &owner().vcpu();
    for (unsigned i = 1; i < std::min(size.vcpus, hypervisor::kMaxCallers); ++i) {
      vcpu_ = &machine_.Claim(static_cast<std::uint16_t>(size.domains - 1), i);
    }
    described_ = static_cast<std::uint16_t>(size.domains);
    machine_.Build({.id = described_, .pages = 1});
    op_ = reinterpret_cast<xen_sysctl*>(owner().page());
    Prepare(XEN_SYSCTL_getdomaininfolist);
  }

  // Describes the domain behind all others.
  bool Call(std::uint64_t region) {
    return machine_.hypervisor().Call(*vcpu_, {.index = __HYPERVISOR_sysctl,
                                               .arguments = {owner().page_pointer().value},
                                               .region = region}) == 0;
  }
  bool Worked() const { return op_->u.getdomaininfolist.num_domains == 1; }

  std::uint64_t FreePages() {
    Prepare(XEN_SYSCTL_physinfo);
    Check(Call(handle_), "the machine cannot be asked");
    return op_->u.physinfo.free_pages;
  }

  RegionOwner& owner() { return owners_.back(); }
  std::uint64_t handle() const { return handle_; }

 private:
  void Prepare(std::uint32_t cmd) {
    constexpr std::uint64_t kList = kPageSize / 2;  // behind the argument
    *op_ = {};
    op_->cmd = cmd;
    op_->interface_version = XEN_SYSCTL_INTERFACE_VERSION;
    if (cmd != XEN_SYSCTL_getdomaininfolist) return;
    op_->u.getdomaininfolist.first_domain = described_;
    op_->u.getdomaininfolist.max_domains = 1;
    op_->u.getdomaininfolist.buffer.p =
        reinterpret_cast<xen_domctl_getdomaininfo*>((owner().page_pointer() + kList).value);
  }

  BenchMachine machine_;
  std::deque<RegionOwner> owners_;
  hypervisor::Vcpu* vcpu_ = nullptr;  // of the last one
  std::uint64_t handle_ = 0;
  std::uint16_t described_ = 0;
  xen_sysctl* op_ = nullptr;
};

// As long as the rows.
Scaled& NewMachine(const Size& size) {
  static std::deque<Scaled> machines;
  return machines.emplace_back(size);
}

void AddCall(Rows& rows, const std::string& axis, std::uint64_t value, const Size& size) {
  Scaled& machine = NewMachine(size);
  const auto add = [&](const char* way, std::uint64_t region) {
    const std::string row = "scale/" + axis + "/" + std::to_string(value) + "/" + way;
    Check(machine.Call(region) && machine.Worked(), (row + " does not work").c_str());
    rows.Add(row, [&machine, region] {
      bool worked = machine.Call(region);
      benchmark::DoNotOptimize(worked);
    });
  };
  add("registered", machine.handle());
  if (axis == "region-bytes") add("stateless", machine.owner().header());
}

// What it costs in memory for each page of it: of the hypervisor's, and of the table, which the
// guest keeps.
std::map<std::string, double> BytesPerPage(Scaled& machine) {
  const RegionLayout& layout = machine.owner().layout();
  const std::uint64_t before = machine.FreePages();
  const std::uint64_t handle = machine.owner().Register();
  const std::uint64_t taken = before - machine.FreePages();
  Check(machine.owner().Unregister(handle), "a region cannot be unregistered");
  const auto pages = static_cast<double>(layout.length() >> kPageShift);
  const auto table = static_cast<double>(layout.table_granules());
  return {{"bytes_per_page", static_cast<double>(taken) * kPageSize / pages},
          {"table_bytes_per_page", table * kPageSize / pages}};
}

// Creating and ending a region.
void AddLife(Rows& rows, const std::string& name, Scaled& machine, const RowOptions& options) {
  const RegionOwner& owner = machine.owner();
  rows.Add(
      name,
      [&owner] { Check(owner.Unregister(owner.Register()), "a region cannot be unregistered"); },
      options);
}

void AddRegion(Rows& rows, std::uint64_t bytes) {
  Scaled& machine = NewMachine({.region_bytes = bytes});
  const RegionOwner& owner = machine.owner();
  const std::string size = std::to_string(bytes);
  const bool counted = bytes <= kMostCounted;
  AddLife(rows, "region/register+unregister/" + size, machine,
          {.counted = counted, .facts = BytesPerPage(machine)});
  // Registered with nothing but its table, and then grown to all of it.
  rows.Add("region/register+extend+unregister/" + size,
           [&owner] {
             owner.Unback();
             const std::uint64_t handle = owner.Register();
             owner.Back();
             Check(owner.Extend(handle) && owner.Unregister(handle), "a region does not grow");
           },
           {.counted = counted});
}

}  // namespace

void AddScale(Rows& rows) {
  for (const std::uint64_t bytes : {kSmallest, kMiB, 16 * kMiB, 256 * kMiB, kGiB}) {
    AddCall(rows, "region-bytes", bytes, {.region_bytes = bytes});
  }
  for (const unsigned regions : {1u, 64u, 4096u}) {
    AddCall(rows, "regions", regions, {.regions = regions});
  }
  AddCall(rows, "regions-over-domains", 10'000, {.regions = 10, .domains = 1000});
  // The caller, the one that it describes, and others.
  for (const unsigned domains : {2u, 100u, 10'000u}) {
    AddCall(rows, "domains", domains, {.domains = domains - 1});
  }
  for (const unsigned vcpus : {1u, 16u, 128u}) AddCall(rows, "vcpus", vcpus, {.vcpus = vcpus});
  for (const std::uint64_t bytes : {kSmallest, kMiB, 16 * kMiB, kGiB}) AddRegion(rows, bytes);
  // The last that a domain can have.
  constexpr unsigned kOthers = 4095;
  AddLife(rows,
          "region/register+unregister beside " + std::to_string(kOthers) + "/" +
              std::to_string(kSmallest),
          NewMachine({.regions = kOthers}), {});
}

}  // namespace xencomm::bench
