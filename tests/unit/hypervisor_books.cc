#include "tests/unit/hypervisor_books.h"

#include <array>
#include <bit>
#include <cstring>
#include <map>
#include <set>
#include <sstream>
#include <utility>

#include "hcall/hypervisor/base/cpu_policy.h"
#include "hcall/hypervisor/domain/core.h"
#include "hcall/hypervisor/domain/event_channel.h"
#include "hcall/hypervisor/domain/grant_maps.h"
#include "hcall/hypervisor/domain/grant_table.h"
#include "hcall/hypervisor/domain/hvm_context.h"
#include "hcall/hypervisor/domain/memory_map.h"
#include "hcall/hypervisor/domain/region_registry.h"
#include "hcall/hypervisor/domain/vnuma.h"
#include "hcall/hypervisor/hypervisor.h"
#include "hcall/hypervisor/memory/page_types.h"

namespace xencomm::hypervisor {

namespace {

// Whether a frame can be pinned and held.
bool HasMemory(FrameUse use) {
  return use == FrameUse::kMemory || use == FrameUse::kShared || use == FrameUse::kGivenUp;
}

}  // namespace

class Books::Counting {
 public:
  Counting(const Core& core, const BooksOptions& options)
      : core_(core), options_(options), rows_(core.frames.count()) {}

  std::vector<std::string> Faults() {
    Claim(core_.frames.MfnOf(0), core_.frames.count() - core_.total_pages, "the hypervisor itself");
    CountHeaps();
    ForEachDomain([&](const Domain& domain) { CountDomain(domain); });
    CountDomainTable();
    ComparePins();
    CompareFrames();
    CompareCounts();
    return std::move(faults_);
  }

  std::vector<bool> FreeFrames() {
    CountHeaps();
    std::vector<bool> free(rows_.size());
    for (std::size_t i = 0; i < rows_.size(); ++i) free[i] = rows_[i].is_free;
    return free;
  }
  // Valid once all frames were counted.
  const char* UserOf(std::uint32_t frame) const {
    const char* const user = rows_[frame].claimed;
    return user == nullptr ? "nobody's" : user;
  }
  std::vector<FrameRow> Frames() {
    Faults();
    std::vector<FrameRow> frames(rows_.begin(), rows_.end());
    for (std::uint32_t i = 0; i < frames.size(); ++i) {
      frames[i].owner = OwnerOf(core_.frames.MfnOf(i));
      frames[i].gfn = core_.frames.At(i).gfn;
      if (frames[i].claimed == nullptr) frames[i].claimed = "nobody";
    }
    return frames;
  }

 private:
  struct Row : FrameRow {
    std::uint64_t pins = 0;        // of regions and areas
    std::uint64_t holds = 0;       // of other domains' p2ms, and of page tables
    std::uint64_t type_count = 0;  // entries and pins that want it to be what it is
  };

  struct Hex {
    std::uint64_t number;
    friend std::ostream& operator<<(std::ostream& out, Hex hex) {
      return out << "0x" << std::hex << hex.number << std::dec;
    }
  };
  // A sentence of these parts.
  template <class... Parts>
  void Fault(const Parts&... parts) {
    // The first ones tell what happened.
    if (faults_.size() == 20) return;
    std::ostringstream sentence;
    (sentence << ... << parts);
    faults_.push_back(sentence.str());
  }
  template <class Visitor>
  void ForEachDomain(Visitor visit) {
    for (const Domain* domain = core_.domains.FindFrom(0); domain != nullptr;
         domain = core_.domains.FindFrom(domain->id + 1u)) {
      visit(*domain);
    }
  }

  bool Has(std::uint64_t mfn, const char* whose) {
    if (core_.frames.Has(mfn)) return true;
    Fault(whose, ": there is no frame ", Hex{mfn});
    return false;
  }
  void Claim(std::uint64_t mfn, std::uint64_t pages, const char* whose) {
    for (std::uint64_t i = 0; i < pages; ++i) {
      if (!Has(mfn + i, whose)) return;
      Row& row = RowOf(mfn + i);
      if (row.claimed != nullptr) {
        Fault("frame ", Hex{mfn + i}, " belongs to ", row.claimed, " and to ", whose);
      }
      row.claimed = whose;
    }
  }
  Row& RowOf(std::uint64_t mfn) { return rows_[core_.frames.IndexOf(mfn)]; }
  FrameOwner OwnerOf(std::uint64_t mfn) const {
    return core_.frames.Of(mfn).owner.load(std::memory_order_relaxed);
  }

  // Of the heap.

  void ClaimFree(std::uint64_t mfn, std::uint64_t pages, bool dirty, const char* whose) {
    Claim(mfn, pages, whose);
    free_ += pages;
    for (std::uint64_t i = 0; i < pages && core_.frames.Has(mfn + i); ++i) {
      Row& row = RowOf(mfn + i);
      row.is_free = true;
      row.is_dirty = dirty;
      row.order = static_cast<unsigned>(std::countr_zero(pages));
      if (!dirty && options_.looks_at_bytes && !IsZero(mfn + i)) {
        Fault("frame ", Hex{mfn + i}, " of ", whose, " counts as zero and is not");
      }
    }
  }
  bool IsZero(std::uint64_t mfn) const {
    const std::byte* bytes = core_.frames.Bytes(mfn);
    return bytes[0] == std::byte{0} && std::memcmp(bytes, bytes + 1, kPageSize - 1) == 0;
  }
  void CountHeaps() {
    CountHeap(core_.heap);
    if (core_.has_own_) CountHeap(core_.own_heap_);
  }
  void CountHeap(const FrameHeap& heap) {
    const std::uint64_t free_before = free_;
    const FrameTable& frames = core_.frames;
    for (unsigned zone = 0; zone < FrameHeap::kZones; ++zone) {
      for (unsigned order = 0; order < FrameHeap::kOrders; ++order) {
        std::uint32_t previous = kNoIndex;
        for (std::uint32_t at = heap.zones_[zone].heads[order]; at != kNoIndex;
             at = frames.At(at).next) {
          const std::uint64_t mfn = frames.MfnOf(at);
          const Frame& frame = frames.At(at);
          if (frame.free_order != order + 1 || FrameHeap::ZoneOf(mfn) != zone ||
              !IsAligned(mfn, std::uint64_t{1} << order) || frame.previous != previous) {
            Fault("free block ", Hex{mfn}, " is on the list of zone ", zone, ", order ", order);
            return;
          }
          ClaimFree(mfn, std::uint64_t{1} << order, frame.dirty, "the heap");
          previous = at;
        }
        const bool has_some = heap.zones_[zone].heads[order] != kNoIndex;
        if (has_some != ((heap.zones_[zone].orders >> order & 1) != 0)) {
          Fault("zone ", zone, ", order ", order, ": the bit is not what the list is");
        }
      }
    }
    for (const FrameHeap::OpenBlock& block : heap.open_) {
      for (unsigned run = 0; run < 16; ++run) {
        if ((block.runs >> run & 1) == 0) continue;
        ClaimFree(block.mfn + run * FrameHeap::kRunPages, FrameHeap::kRunPages, block.dirty,
                  "an open block");
      }
    }
    for (unsigned page = 0; page < FrameHeap::kRunPages; ++page) {
      if ((heap.run_free_ >> page & 1) == 0) continue;
      ClaimFree(heap.run_ + page, 1, false, "the run at hand");
    }
    std::uint64_t waiting = 0;
    std::uint64_t stamp = 0;
    std::uint32_t last = kNoIndex;
    for (std::uint32_t at = heap.waiting_head_; at != kNoIndex; at = frames.At(at).next) {
      const Frame& frame = frames.At(at);
      ClaimFree(frames.MfnOf(at), std::uint64_t{1} << frame.previous, true, "what waits");
      if (frame.gfn < stamp) Fault("what waits is not sorted at frame ", Hex{frames.MfnOf(at)});
      stamp = frame.gfn;
      last = at;
      ++waiting;
    }
    if (last != heap.waiting_tail_ || waiting != heap.waiting_.load()) {
      Fault(waiting, " blocks wait and ", heap.waiting_.load(), " are counted");
    }
    if (free_ - free_before != heap.free_pages()) {
      Fault(free_ - free_before, " pages are free and ", heap.free_pages(), " are counted");
    }
  }

  // Of domains.

  void ClaimOverhead(std::uint64_t mfn, unsigned order, const char* whose,
                     FrameUse use = FrameUse::kOverhead) {
    Claim(mfn, std::uint64_t{1} << order, whose);
    overhead_ += std::uint64_t{1} << order;
    if (core_.frames.Has(mfn) && OwnerOf(mfn) != FrameOwner{domain_->id, use}) {
      Fault("frame ", Hex{mfn}, " is of domain ", domain_->id, ", ", whose, ", and is not its own");
    }
  }
  template <class T>
  void ClaimNew(const T* objects, const char* whose, std::uint64_t count = 1) {
    if (objects == nullptr) return;
    ClaimOverhead(core_.frames.MfnOfPointer(objects), OrderOf(count * sizeof(T)), whose);
  }

  void CountDomain(const Domain& domain) {
    domain_ = &domain;
    overhead_ = 0;
    grants_placed_.clear();
    Claim(core_.frames.MfnOfPointer(&domain), std::uint64_t{1} << OrderOf(sizeof(Domain)),
          "a domain itself");
    CountMemory(domain);
    if (domain.translated()) CountP2m(domain);
    CountVcpus(domain);
    ClaimOverhead(domain.shared_info_mfn, 0, "shared info", FrameUse::kShared);
    CountRegions(domain);
    CountPorts(domain);
    if (domain.grants != nullptr) CountGrants(domain, *domain.grants);
    CountGrantMaps(domain, domain.grant_maps);
    ClaimNew(domain.hvm_state, "HVM state");
    ClaimNew(domain.memory_map.load(), "the memory map");
    if (const Vnuma* vnuma = domain.vnuma.load()) {
      ClaimNew(vnuma, "the topology");
      ClaimNew(vnuma->vcpu_to_vnode, "the topology's vcpus", vnuma->nr_vcpus);
    }
    ClaimNew(domain.cpu_policy, "the CPU policy");
    CountDirtyLog(domain.dirty_log);
    if (overhead_ != domain.overhead.used()) {
      Fault("domain ", domain.id, " has ", overhead_, " overhead pages and is charged for ",
            domain.overhead.used());
    }
    CountPagingPool(domain);
    if (IsLocked(domain.lock)) Fault("domain ", domain.id, " is locked");
    if (domain.dying() && domain.outstanding_pages != 0) {
      Fault("domain ", domain.id, " is dying and claims memory");
    }
    outstanding_ += domain.outstanding_pages;
    ++domains_;
  }

  void CountGrants(const Domain& domain, const GrantTable& table) {
    ClaimNew(&table, "the grant table");
    for (std::uint32_t i = 0; i < table.nr_frames; ++i) {
      ClaimOverhead(table.frames[i], 0, "grants", FrameUse::kShared);
    }
    for (std::uint32_t i = 0; i < table.nr_status_frames; ++i) {
      ClaimOverhead(table.status_frames[i], 0, "grants' status", FrameUse::kShared);
    }
    std::uint32_t in_use = 0;
    std::uint32_t part_uses = 0;
    for (std::uint32_t ref = 0; ref < GrantTable::kMaxEntries; ++ref) {
      const ActiveGrant* const page = table.active[ref / GrantTable::kActivePerPage];
      if (page == nullptr) continue;
      if (ref % GrantTable::kActivePerPage == 0) {
        ClaimNew(page, "grants in use", GrantTable::kActivePerPage);
      }
      const ActiveGrant& active = page[ref % GrantTable::kActivePerPage];
      pins_of_grants_[{domain.id, ref}].counted = active;
      if (active.pins == 0) continue;
      if (ref >= EntriesOf(table)) Fault("domain ", domain.id, " has no grant ", ref, " in use");
      if (ref >= kReservedGrants) ++in_use;
      if (active.is_part) ++part_uses;
    }
    if (in_use != table.in_use || part_uses != table.part_uses) {
      Fault("domain ", domain.id, ": ", in_use, " grants are in use, and ", part_uses,
            " parts; counted are ", table.in_use, " and ", table.part_uses);
    }
  }
  void CountGrantMaps(const Domain& domain, const GrantMaps& maps) {
    ClaimNew(maps.frames, "grant maps", GrantMaps::kMaxFrames);
    std::uint32_t free = 0;
    std::map<Placed, std::uint64_t> placed;
    for (std::uint32_t handle = 0; handle < maps.count; ++handle) {
      const GrantMapping& mapping = GrantMappingOf(core_, maps, handle);
      if (handle % GrantMaps::kOfFrame == 0) {
        ClaimNew(&mapping, "a frame of grant maps", GrantMaps::kOfFrame);
      }
      if (mapping.flags == 0) {
        ++free;
        continue;
      }
      const std::uint64_t mfn = core_.frames.MfnOf(mapping.frame);
      const bool is_read_only = (mapping.flags & GNTMAP_readonly) != 0;
      std::uint32_t pins = 0;
      if ((mapping.flags & (GNTMAP_host_map | GrantMapping::kReached)) != 0) {
        pins += is_read_only ? kPinRead : kPinWrite;
      }
      if ((mapping.flags & GNTMAP_device_map) != 0) {
        pins += is_read_only ? kPinDeviceRead : kPinDeviceWrite;
      }
      if ((mapping.flags & GNTMAP_host_map) != 0) ++placed[{mfn, !is_read_only}];
      PinsOfGrant& of_grant = pins_of_grants_[{mapping.granter, mapping.ref}];
      of_grant.pins += pins;
      of_grant.mfn = mfn;
      of_grant.grantee = domain.id;
      const Domain* granter = core_.domains.Find(mapping.granter);
      if (granter == nullptr) Fault("handle ", handle, " is of a domain that is gone");
      const auto count = static_cast<unsigned>(std::popcount(pins));
      RowOf(mfn).holds += count;
      if (granter != nullptr && !granter->translated() && !is_read_only) {
        RowOf(mfn).type_count += count;
      }
    }
    if (domain.dying()) return;
    if (placed != grants_placed_) {
      Fault("domain ", domain.id, " has other grants mapped (", placed.size(), ") than are in its ",
            "p2m (", grants_placed_.size(), ')');
    }
    std::uint32_t listed = 0;
    std::uint32_t at = maps.first_free;
    while (at != GrantMaps::kNone && listed <= free) {
      ++listed;
      if (at == maps.last_free) break;
      at = GrantMappingOf(core_, maps, at).next;
    }
    if (listed != free) {
      Fault("domain ", domain.id, " has ", free, " handles free, ", listed, " are in the list");
    }
  }
  void ComparePins() {
    for (const auto& [grant, pins] : pins_of_grants_) {
      const bool is_same =
          pins.pins == pins.counted.pins &&
          (pins.pins == 0 || (pins.mfn == pins.counted.mfn &&
                              pins.grantee == pins.counted.grantee && !pins.counted.is_part));
      if (is_same) continue;
      Fault("grant ", grant.second, " of domain ", grant.first, " is mapped as ", Hex{pins.pins},
            " by domain ", pins.grantee, ", ", Hex{pins.counted.pins}, " are counted of ",
            pins.counted.grantee);
    }
  }

  void CountMemory(const Domain& domain) {
    std::uint64_t pages = 0;
    std::uint32_t previous = kNoIndex;
    for (std::uint32_t at = domain.first_page; at != kNoIndex; at = core_.frames.At(at).next) {
      const Frame& frame = core_.frames.At(at);
      const std::uint64_t mfn = core_.frames.MfnOf(at);
      Claim(mfn, 1, "a domain's memory");
      const FrameOwner owner = OwnerOf(mfn);
      if (owner.domain != domain.id || frame.previous != previous ||
          (owner.use != FrameUse::kMemory && owner.use != FrameUse::kGivenUp)) {
        Fault("frame ", Hex{mfn}, " is on the list of domain ", domain.id);
        return;
      }
      if (domain.translated() && frame.gfn != kNoFrame && domain.p2m.Load(frame.gfn).mfn() != mfn) {
        Fault("frame ", Hex{mfn}, " of domain ", domain.id, " is not at gfn ", Hex{frame.gfn});
      }
      CountReferences(domain, mfn);
      previous = at;
      ++pages;
    }
    if (domain.last_page != previous) Fault("domain ", domain.id, ": the list has another end");
    // What was given up and is still mapped by others counts, too, when its domain has ended.
    for (std::uint32_t i = 0; i < core_.frames.count(); ++i) {
      const std::uint64_t mfn = core_.frames.MfnOf(i);
      if (OwnerOf(mfn) != FrameOwner{domain.id, FrameUse::kGivenUp}) continue;
      if (core_.frames.At(i).holds == 0) Fault("nobody holds frame ", Hex{mfn});
      if (core_.frames.At(i).previous != i) continue;  // on the list
      Claim(mfn, 1, "what a domain gave up");
      ++pages;
    }
    if (pages != domain.tot_pages) {
      Fault("domain ", domain.id, " has ", pages, " pages and tot_pages is ",
            domain.tot_pages.load());
    }
  }

  // What a page table refers to.
  void CountReferences(const Domain& domain, std::uint64_t mfn) {
    const TypeWord type = core_.frames.Of(mfn).type;
    if (!PageTypes::IsTable(core_.frames.Of(mfn))) return;
    const auto* refs =
        reinterpret_cast<const TableRefs*>(core_.frames.Bytes(core_.frames.MfnOf(type.value())));
    ClaimNew(refs, "a page table's references");
    ++RowOf(mfn).holds;
    if (refs->is_pinned) {
      ++RowOf(mfn).holds;
      ++RowOf(mfn).type_count;
    }
    for (std::uint32_t i = 0; i < refs->taken; ++i) {
      if (refs->frames[i] == kNoIndex) continue;
      Row& row = rows_[refs->frames[i]];
      ++row.holds;
      const bool is_writable = (refs->writable[i / 8] >> i % 8 & 1) != 0;
      if (type.type() != PageType::kL1 || is_writable) ++row.type_count;
    }
    if (refs->taken != TableRefs::kEntries && refs->count != 0) {
      Fault("table ", Hex{mfn}, " of domain ", domain.id, " is counted and not complete");
    }
  }
  void CompareType(const Domain& domain, std::uint32_t index, std::uint64_t counted) {
    const Frame& frame = core_.frames.At(index);
    std::uint64_t count = frame.type.value();
    if (PageTypes::IsTable(frame)) {
      const auto* refs = reinterpret_cast<const TableRefs*>(
          core_.frames.Bytes(core_.frames.MfnOf(frame.type.value())));
      count = refs->count;
    }
    // Those that are being taken apart count no more.
    if (count != counted && domain.dropping == kNoFrame && !domain.dying()) {
      Fault("frame ", Hex{core_.frames.MfnOf(index)}, " of domain ", domain.id, " is of type ",
            static_cast<int>(frame.type.type()), " by ", counted, ", ", count, " are counted");
    }
  }

  void CountP2m(const Domain& domain) {
    const std::uint64_t before = overhead_;
    CountInnerP2m(domain);
    if (const std::uint64_t outer = domain.p2m.outer_)
      CountOuter(domain, outer, P2m::kLimitBits, 0);
    if (overhead_ - before != domain.p2m.pages()) {
      Fault("domain ", domain.id, "'s p2m counts ", domain.p2m.pages(), " pages and has ",
            overhead_ - before);
    }
  }
  // Of gfns from the first one on, as many as 2^bits.
  void CountOuter(const Domain& domain, std::uint64_t table, unsigned bits, std::uint64_t first) {
    ClaimOverhead(table >> kPageShift, 0, "the p2m's outer tables");
    const std::uint64_t* words = domain.p2m.Words(table);
    bool is_empty = true;
    for (std::uint64_t i = 0; i < P2m::kLeafEntries; ++i) {
      if (bits == P2m::kLeafBits) {
        CountEntry(domain, first + i);
      } else if (words[i] != 0) {
        is_empty = false;
        const unsigned below = bits - P2m::kLeafBits;
        CountOuter(domain, words[i], below, first + (i << below));
      }
    }
    if (is_empty && bits != P2m::kLeafBits) {
      Fault("domain ", domain.id, "'s p2m has an empty table at gfn ", Hex{first});
    }
  }
  void CountInnerP2m(const Domain& domain) {
    const P2m& p2m = domain.p2m;
    const std::uint64_t low = P2m::CountOf(p2m.low_);
    if (low != 0) ClaimNew(P2m::EntriesOf(p2m.low_), "the p2m's low entries", low);
    std::uint64_t present = 0;
    for (std::uint64_t gfn = 0; gfn < low; ++gfn) {
      CountEntry(domain, gfn);
      present += p2m.Load(gfn).present() ? 1 : 0;
    }
    if (present != p2m.low_present_) Fault("domain ", domain.id, " miscounts its low entries");
    const std::uint64_t top = p2m.top_.load();
    if (top == 0) return;
    const auto order = static_cast<unsigned>(top & P2m::kOrderMask);
    ClaimOverhead(top >> kPageShift, order, "the p2m's top");
    const std::uint64_t* leaves = p2m.Words(top & ~P2m::kOrderMask);
    for (std::uint64_t i = 0; i < P2m::kLeafEntries << order; ++i) {
      if (leaves[i] == 0) continue;
      if (i * P2m::kLeafEntries < low) Fault("domain ", domain.id, " has a leaf for low entries");
      ClaimOverhead(leaves[i] >> kPageShift, 0, "the p2m's leaf");
      for (std::uint64_t j = 0; j < P2m::kLeafEntries; ++j) {
        CountEntry(domain, i * P2m::kLeafEntries + j);
      }
    }
  }
  void CountEntry(const Domain& domain, std::uint64_t gfn) {
    const P2m& p2m = domain.p2m;
    const P2mEntry entry = p2m.Load(gfn);
    if (!entry.present()) return;
    if (gfn >= p2m.end()) Fault("domain ", domain.id, ": gfn ", Hex{gfn}, " is beyond the end");
    if (!Has(entry.mfn(), "a p2m entry")) return;
    if (entry.type() == P2mType::kForeign) ++RowOf(entry.mfn()).holds;
    if (entry.is_others()) {
      if (entry.type() != P2mType::kForeign) {
        ++grants_placed_[{entry.mfn(), entry.type() == P2mType::kGrantWritable}];
      }
      return;
    }
    const FrameUse use = entry.type() == P2mType::kShared ? FrameUse::kShared : FrameUse::kMemory;
    if (OwnerOf(entry.mfn()) != FrameOwner{domain.id, use} ||
        core_.frames.Of(entry.mfn()).gfn != gfn) {
      Fault("domain ", domain.id, ": gfn ", Hex{gfn}, " leads to frame ", Hex{entry.mfn()},
            ", which is not there");
    }
  }

  void CountVcpus(const Domain& domain) {
    constexpr unsigned kVcpusPerPage = kPageSize / sizeof(Vcpu);
    ClaimNew(domain.vcpus, "the list of vcpus", domain.max_vcpus);
    unsigned claimed = 0;
    for (unsigned i = 0; i < domain.max_vcpus; ++i) {
      const Vcpu* vcpu = domain.vcpus[i];
      if (vcpu == nullptr) continue;
      if (i % kVcpusPerPage == 0) ClaimNew(vcpu, "vcpus", kVcpusPerPage);
      ClaimNew(vcpu->hvm, "an HVM vcpu");
      if (vcpu->context != nullptr) {
        ClaimOverhead(core_.frames.MfnOfPointer(vcpu->context), kContextOrder, "a context");
      }
      for (const std::uint64_t root : vcpu->roots) {
        if (root == kNoFrame || !Has(root, "a vcpu's page table")) continue;
        ++RowOf(root).holds;
        ++RowOf(root).type_count;
      }
      for (const HeldArea* area : {&vcpu->runstate_area, &vcpu->time_area}) {
        for (const HeldArea::Part& part : area->parts_) {
          if (part.length != 0 && Has(part.mfn, "an area")) ++RowOf(part.mfn).pins;
        }
      }
      if (vcpu->in_multicall) Fault("domain ", domain.id, ", vcpu ", i, " is in a list of calls");
      if (vcpu->slot == nullptr) continue;
      ++claimed;
      if (!vcpu->slot->claimed || !slots_.insert(vcpu->slot).second) {
        Fault("vcpu ", i, " has a slot that is not its own");
      }
      if (vcpu->slot->epoch != CallerSlot::kIdle || !vcpu->slot->writes.is_empty()) {
        Fault("a call of vcpu ", i, " is under way");
      }
    }
    if (claimed != domain.claimed_vcpus) {
      Fault("domain ", domain.id, ": ", claimed, " vcpus are claimed, ", domain.claimed_vcpus,
            " are counted");
    }
  }

  void CountRegions(const Domain& domain) {
    const RegionRegistry* registry = domain.regions.load();
    if (registry == nullptr) return;
    ClaimNew(registry, "the regions' registry");
    for (const auto& page : registry->pages_) {
      const RegionRegistry::Slot* slots = page.load();
      if (slots == nullptr) continue;
      ClaimNew(slots, "the regions' slots", RegionRegistry::kSlotsPerPage);
      for (unsigned i = 0; i < RegionRegistry::kSlotsPerPage; ++i) {
        const RegionEntry* const found = slots[i].live.load();
        if (found != nullptr && found != slots[i].region) Fault("a region that is gone is found");
        if (slots[i].region != nullptr) CountRegion(domain, *slots[i].region);
      }
    }
    if (IsLocked(registry->lock_)) Fault("the regions of domain ", domain.id, " are locked");
  }
  void CountRegion(const Domain& domain, const RegionEntry& region) {
    ClaimNew(&region, "a region");
    const std::uint64_t count = RegisteredRegion::PagesOf(region.layout);
    ClaimNew(region.held_pages, "what is held of a region", count);
    const std::uint64_t granule_pages = region.layout.granule_size() >> kPageShift;
    std::uint64_t pages = 0;
    for (std::uint64_t i = 0; i < count; ++i) {
      const HeldPage held = region.held_pages[i];
      if (held.is_none()) continue;
      const std::uint64_t mfn = core_.frames.MfnOfPointer(held.page());
      if (!Has(mfn, "a region's page")) continue;
      ++RowOf(mfn).pins;
      const std::uint64_t gfn = domain.translated() ? core_.frames.Of(mfn).gfn : mfn;
      const P2mEntry entry = domain.p2m.Load(gfn);
      if (entry.mfn() != mfn || !entry.readable() ||
          (!held.Denies(HeldPage::kNotWritable) && !entry.writable())) {
        Fault("a page of a region of domain ", domain.id, " is not there, or not as it was");
      }
      const bool in_progress = region.partial.exists && region.partial.granule == i / granule_pages;
      if (held.is_usable() && !in_progress) ++pages;
    }
    if (!region.ends && pages != region.pages) {
      Fault("a region has ", pages, " pages, ", region.pages, " are counted");
    }
  }

  void CountPorts(const Domain& domain) {
    const EventChannels* channels = domain.event_channels;
    if (channels == nullptr) return;
    ClaimNew(channels, "event channels");
    ClaimNew(channels->pages, "the list of ports", EventChannels::kPages);
    std::uint32_t in_use = 0;
    std::array<std::uint32_t, EventChannels::kPages> taken = {};
    for (std::uint32_t port = 0; port < EventFifo::kPorts; ++port) {
      const std::uint32_t at = port / EventChannels::kPortsPerPage;
      const Port* page = channels->pages[at];
      if (port % EventChannels::kPortsPerPage == 0) {
        ClaimNew(page, "ports", EventChannels::kPortsPerPage);
      }
      if (page == nullptr) continue;
      const Port& row = page[port % EventChannels::kPortsPerPage];
      if (row.state != PortState::kFree) ++taken[at];
      if (row.is_in_use()) ++in_use;
      if (row.state != PortState::kFree && port >= channels->valid) {
        Fault("domain ", domain.id, ": port ", port, " is in use and not valid");
      }
      if (row.state != PortState::kFree && port != 0 && domain.life.load() == Life::kDead) {
        Fault("domain ", domain.id, " has ended: port ", port, " is open");
      }
      if (row.is_waiting && !row.is_in_use()) {
        Fault("domain ", domain.id, ": port ", port, " is free and has an event");
      }
      if (row.state == PortState::kVirq && PortOfVirq(domain, row.virq, row.vcpu) != port) {
        Fault("domain ", domain.id, ": interrupt ", row.virq, " does not find port ", port);
      }
      if (row.state != PortState::kInterdomain) continue;
      const Port* other = PortOf(row.remote_domain, row.remote_port);
      if (other == nullptr || other->state != PortState::kInterdomain ||
          other->remote_domain != domain.id || other->remote_port != port) {
        Fault("domain ", domain.id, ": port ", port, " leads to domain ", row.remote_domain,
              ", port ", row.remote_port, ", which does not lead back");
      }
    }
    if (in_use != channels->in_use) {
      Fault("domain ", domain.id, ": ", in_use, " ports are in use, ", channels->in_use,
            " are counted");
    }
    for (std::uint32_t at = 0; at < EventChannels::kPages; ++at) {
      const bool is_full = (channels->full[at / 64] >> at % 64 & 1) != 0;
      if (taken[at] != channels->taken[at] ||
          is_full != (taken[at] == EventChannels::kPortsPerPage)) {
        Fault("domain ", domain.id, ": ", taken[at], " ports of page ", at, " are taken, ",
              channels->taken[at], " are counted");
      }
    }
    CountVirqs(domain, *channels);
    CountFifo(domain, channels->fifo);
  }
  void CountVirqs(const Domain& domain, const EventChannels& channels) {
    const auto check = [&](std::uint32_t port) {
      const Port* row = port == 0 ? nullptr : PortOf(domain.id, port);
      if (port != 0 && (row == nullptr || row->state != PortState::kVirq)) {
        Fault("domain ", domain.id, ": an interrupt is bound to port ", port, ", which is none");
      }
    };
    for (const std::uint32_t port : channels.virqs) check(port);
    for (unsigned i = 0; i < domain.max_vcpus; ++i) {
      if (domain.vcpus[i] == nullptr) continue;
      for (const std::uint32_t port : domain.vcpus[i]->virq_ports) check(port);
    }
  }
  void CountFifo(const Domain& domain, const EventFifo& fifo) {
    const auto count_pin = [&](const std::byte* bytes) {
      if (bytes == nullptr) return;
      const std::uint64_t mfn = core_.frames.MfnOfPointer(bytes);
      if (Has(mfn, "a page of events")) ++RowOf(mfn).pins;
    };
    bool has_block = false;
    for (const EventQueues* page : fifo.queues_) {
      ClaimNew(page, "queues of events", EventFifo::kVcpusPerPage);
      for (unsigned i = 0; page != nullptr && i < EventFifo::kVcpusPerPage; ++i) {
        count_pin(page[i].control_block);
        has_block |= page[i].control_block != nullptr;
        for (const std::uint32_t tail : page[i].tails) {
          if (tail != 0 && (page[i].control_block == nullptr || tail >= fifo.words_)) {
            Fault("domain ", domain.id, ": port ", tail, " is a tail and has no word");
          }
        }
      }
    }
    if (has_block != fifo.is_on()) Fault("domain ", domain.id, " is half in the FIFO ABI");
    for (std::uint32_t i = 0; i < EventFifo::kArrayPages; ++i) {
      count_pin(fifo.array_[i]);
      if ((fifo.array_[i] != nullptr) != (i * EventFifo::kWordsPerPage < fifo.words_)) {
        Fault("domain ", domain.id, " has another number of words than pages for them");
      }
    }
  }
  const Port* PortOf(std::uint16_t id, std::uint32_t port) const {
    const Domain* domain = core_.domains.Find(id);
    return domain == nullptr ? nullptr : OpenPort(*domain, port);
  }

  void CountDirtyLog(const DirtyLog& log) {
    for (const DirtyLog::Top* top : {log.top_.load(), log.old_}) {
      if (top == nullptr) continue;
      ClaimNew(top, "the dirty log");
      for (const auto& place : top->blocks) {
        const std::uintptr_t block = place.load();
        if (block != DirtyLog::kClosed) {
          ClaimNew(reinterpret_cast<const DirtyLog::Block*>(block), "the dirty log's block");
        }
      }
    }
  }

  void CountPagingPool(const Domain& domain) {
    const PagingPool& pool = domain.paging_pool;
    std::uint64_t pages = 0;
    for (std::uint32_t at = pool.first_; pages < pool.pages_ && at != kNoIndex;
         at = core_.frames.At(at).next) {
      Claim(core_.frames.MfnOf(at), 1, "a paging pool");
      ++pages;
    }
    if (pages != pool.pages_) {
      Fault("the paging pool of domain ", domain.id, " has ", pages, " pages, ", pool.pages_,
            " are counted");
    }
  }

  void CountDomainTable() {
    for (const auto& place : core_.domains.leaves_) {
      const DomainTable::Leaf* leaf = place.load();
      if (leaf != nullptr) Claim(core_.frames.MfnOfPointer(leaf), 1, "the table of domains");
    }
  }

  // Of all.

  void CompareFrames() {
    std::uint64_t held = 0;
    std::uint64_t held_by_domains = 0;
    std::map<std::uint16_t, std::uint64_t> shared_holds;
    for (std::uint32_t i = 0; i < core_.frames.count(); ++i) {
      const std::uint64_t mfn = core_.frames.MfnOf(i);
      const Row& row = rows_[i];
      if (row.claimed == nullptr) {
        Fault("frame ", Hex{mfn}, " is nobody's");
        continue;
      }
      const FrameOwner owner = OwnerOf(mfn);
      const bool has_memory = HasMemory(owner.use);
      if (row.is_free && owner.use != FrameUse::kNone) {
        Fault("frame ", Hex{mfn}, " is free and belongs to domain ", owner.domain);
      }
      if (!has_memory || row.is_free) {
        if (row.pins != 0 || row.holds != 0) Fault("frame ", Hex{mfn}, " is pinned or held");
        continue;
      }
      const Frame& frame = core_.frames.At(i);
      if (frame.pins != row.pins) {
        Fault("frame ", Hex{mfn}, " of domain ", owner.domain, " has ", row.pins, " pins, ",
              frame.pins, " are counted");
      }
      const Domain* domain = core_.domains.Find(owner.domain);
      if (owner.use == FrameUse::kShared && domain != nullptr && domain->translated() &&
          frame.gfn != kNoFrame && domain->p2m.Load(frame.gfn).mfn() != mfn) {
        Fault("shared frame ", Hex{mfn}, " of domain ", domain->id, " is not at gfn ",
              Hex{frame.gfn});
      }
      if (domain != nullptr) CompareType(*domain, i, row.type_count);
      if (frame.leaving) Fault("frame ", Hex{mfn}, " is about to leave");
      if (frame.holds < row.holds)
        Fault("frame ", Hex{mfn}, " is not held as often as it is mapped");
      held += frame.holds;
      held_by_domains += row.holds;
      if (owner.use == FrameUse::kShared) shared_holds[owner.domain] += frame.holds;
    }
    if (held != held_by_domains + options_.held_by_machine) {
      Fault(held, " holds, of which ", held_by_domains, " are domains' and ",
            options_.held_by_machine, " the machine's");
    }
    ForEachDomain([&](const Domain& domain) {
      if (shared_holds[domain.id] != domain.shared_holds) {
        Fault("domain ", domain.id, ": ", shared_holds[domain.id], " holds of shared pages, ",
              domain.shared_holds, " are counted");
      }
    });
  }

  void CompareCounts() {
    if (domains_ != core_.domain_count) {
      Fault("there are ", domains_, " domains, ", core_.domain_count, " are counted");
    }
    if (outstanding_ != core_.outstanding_pages) {
      Fault("domains claim ", outstanding_, " pages, ", core_.outstanding_pages.load(),
            " are counted");
    }
    unsigned slots = 0;
    for (unsigned i = 0; i < core_.quiescence.count_; ++i) {
      slots += core_.quiescence.slots_[i].claimed;
    }
    if (slots != slots_.size()) Fault(slots, " slots are claimed by ", slots_.size(), " vcpus");
    if (IsLocked(core_.control) || IsLocked(core_.events) || IsLocked(core_.heap.lock_)) {
      Fault("the hypervisor is locked");
    }
  }

  static bool IsLocked(const SpinLock& lock) { return lock.locked_.load(); }

  const Core& core_;
  const BooksOptions options_;
  std::vector<Row> rows_;
  std::vector<std::string> faults_;
  std::uint64_t free_ = 0;
  unsigned domains_ = 0;
  std::uint64_t outstanding_ = 0;
  std::set<const CallerSlot*> slots_;
  struct PinsOfGrant {
    std::uint32_t pins = 0;  // by who maps it
    std::uint64_t mfn = kNoFrame;
    std::uint16_t grantee = 0;
    ActiveGrant counted;
  };
  std::map<std::pair<std::uint16_t, std::uint32_t>, PinsOfGrant> pins_of_grants_;
  // Of the domain at hand.
  const Domain* domain_ = nullptr;
  using Placed = std::pair<std::uint64_t, bool>;  // mfn, for writing
  std::map<Placed, std::uint64_t> grants_placed_;
  std::uint64_t overhead_ = 0;
};

std::vector<std::string> Books::Faults(const Hypervisor& hypervisor, const BooksOptions& options) {
  return Counting(*hypervisor.core_, options).Faults();
}

Statistics Books::StatisticsOf(const Hypervisor& hypervisor) {
  Core& core = *hypervisor.core_;
  SpinGuard guard(core.control);
  Statistics now = {
      .total_pages = core.total_pages,
      .free_pages = core.heap.free_pages() + (core.has_own_ ? core.own_heap_.free_pages() : 0),
      .domains = core.domain_count,
      .longest_leg = core.longest_leg.load()};
  for (std::uint32_t i = 0; i < core.frames.count(); ++i) {
    const Frame& frame = core.frames.At(i);
    if (!HasMemory(frame.owner.load().use)) continue;
    now.held_frames += frame.holds.load();
    now.pinned_frames += frame.pins != 0 ? 1 : 0;
  }
  for (const Domain* domain = core.domains.FindFrom(0); domain != nullptr;
       domain = core.domains.FindFrom(domain->id + 1u)) {
    now.regions += RegionsOf(*domain);
  }
  return now;
}

DomainStatistics Books::StatisticsOf(const Hypervisor& hypervisor, std::uint16_t domain_id) {
  SpinGuard guard(hypervisor.core_->control);
  const Domain* domain = hypervisor.core_->domains.Find(domain_id);
  if (domain == nullptr) return {};
  return {.pages = domain->tot_pages.load(),
          .overhead_pages = domain->overhead.used(),
          .regions = RegionsOf(*domain)};
}

unsigned Books::RegionsOf(const Domain& domain) {
  const RegionRegistry* registry = domain.regions.load();
  unsigned regions = 0;
  if (registry == nullptr) return 0;
  for (const auto& page : registry->pages_) {
    const RegionRegistry::Slot* slots = page.load();
    for (unsigned i = 0; slots != nullptr && i < RegionRegistry::kSlotsPerPage; ++i) {
      regions += slots[i].live.load() != nullptr ? 1 : 0;
    }
  }
  return regions;
}

std::vector<bool> Books::FreeFrames(const Hypervisor& hypervisor) {
  return Counting(*hypervisor.core_, {.looks_at_bytes = false}).FreeFrames();
}

const char* Books::UserOf(const Hypervisor& hypervisor, std::uint32_t frame) {
  Counting counting(*hypervisor.core_, {.looks_at_bytes = false});
  static_cast<void>(counting.Faults());
  return counting.UserOf(frame);
}

std::vector<FrameRow> Books::Frames(const Hypervisor& hypervisor) {
  return Counting(*hypervisor.core_, {.looks_at_bytes = false}).Frames();
}

const FrameTable& Books::TableOf(const Hypervisor& hypervisor) { return hypervisor.core_->frames; }

FrameOwner Books::OwnerOf(const Hypervisor& hypervisor, std::uint64_t mfn) {
  return hypervisor.core_->frames.Of(mfn).owner.load();
}

void Books::MakeReadOnly(Hypervisor& hypervisor, std::uint16_t domain, std::uint64_t gfn) {
  P2m& p2m = hypervisor.core_->domains.Find(domain)->p2m;
  p2m.Store(gfn, {p2m.Load(gfn).mfn(), P2mType::kReadOnly});
}

bool Books::IsQuiet(const Hypervisor& hypervisor) {
  const Quiescence& quiescence = hypervisor.core_->quiescence;
  for (unsigned i = 0; i < quiescence.count_; ++i) {
    if (quiescence.slots_[i].epoch != CallerSlot::kIdle) return false;
  }
  return true;
}

}  // namespace xencomm::hypervisor
