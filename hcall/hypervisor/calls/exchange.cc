// memory_op: exchanging pages for others of a different size or place.
//
// Done chunk by chunk: as many pages in as one extent out needs, or the other way round. A chunk is
// exchanged as a whole or not at all, and how far the call came stands in its argument.

#include <cstring>
#include <new>
#include <span>

#include "hcall/hypervisor/calls/memory_op.h"
#include "hcall/hypervisor/memory/physmap.h"
#include "hcall/schema/generated/rows.h"

namespace xencomm::hypervisor {
namespace {

struct Exchanging {
  Call& call;
  Domain& target;
  GuestHandle<const xen_pfn_t> in;
  GuestHandle<xen_pfn_t> out;
  unsigned in_order;
  unsigned out_order;
  unsigned width;  // of the new frames' numbers, at most
};

bool Fits(const xen_memory_reservation& reservation, std::uint64_t* pages) {
  if (~std::uint64_t{0} >> reservation.extent_order < reservation.nr_extents) return false;
  *pages = reservation.nr_extents << reservation.extent_order;
  return true;
}

// Frames out of the heap that nobody owns yet, linked by Frame::next.
class NewFrames {
 public:
  explicit NewFrames(const Exchanging& exchange) : exchange_(exchange) {}
  ~NewFrames() {
    for (std::uint64_t mfn = Take(); mfn != kNoFrame; mfn = Take()) {
      exchange_.call.core.heap.Free(mfn, exchange_.out_order);
    }
  }
  NewFrames(const NewFrames&) = delete;
  NewFrames& operator=(const NewFrames&) = delete;

  bool Allocate() {
    Core& core = exchange_.call.core;
    const std::uint64_t mfn = core.heap.AllocateMemory(0, exchange_.out_order, exchange_.width);
    if (mfn == kNoFrame) return false;
    core.frames.Of(mfn).next = first_;
    first_ = core.frames.IndexOf(mfn);
    return true;
  }
  // The new memory, which is one extent when a chunk gives up several: room for their numbers.
  std::span<std::byte> Bytes() const {
    const FrameTable& frames = exchange_.call.core.frames;
    return {frames.Bytes(frames.MfnOf(first_)), kPageSize << exchange_.out_order};
  }
  // kNoFrame when there are no more.
  std::uint64_t Take() {
    if (first_ == kNoIndex) return kNoFrame;
    const FrameTable& frames = exchange_.call.core.frames;
    const std::uint64_t mfn = frames.MfnOf(first_);
    first_ = frames.At(first_).next;
    return mfn;
  }

 private:
  const Exchanging& exchange_;
  std::uint32_t first_ = kNoIndex;
};

// Gives up the pages of a chunk, all of them or none. The list is read once; a copy of it lies in
// the new memory for as long as it is needed.
std::int64_t GiveIn(const Exchanging& exchange, Physmap& physmap, std::uint64_t first,
                    std::uint64_t count, const NewFrames& frames) {
  std::uint64_t one;
  std::span<std::uint64_t> extents(&one, 1);
  if (count != 1) {
    extents = {new (frames.Bytes().data()) std::uint64_t[count], count};
  }
  std::int64_t error = -kEFAULT;
  if (exchange.in.Read(first, extents).ok()) {
    // Pages of an HVM domain are not Xen's to swap.
    error = exchange.target.hvm ? -kEOPNOTSUPP : physmap.FreeAll(extents, exchange.in_order);
  }
  if (count != 1) std::memset(extents.data(), 0, extents.size_bytes());
  return error;
}

// A new extent at the gfn that the list names. It is the domain's also when it could not be placed.
std::int64_t PlaceOut(const Exchanging& exchange, Physmap& physmap, std::uint64_t index,
                      std::uint64_t mfn) {
  xen_pfn_t gfn;
  if (!exchange.out.Read(index, gfn).ok()) return -kEFAULT;
  const std::int64_t error = physmap.Place(gfn, mfn, exchange.out_order, P2mType::kRam);
  if (error != 0 || exchange.target.translated()) return error;
  return exchange.out.Write(index, xen_pfn_t{mfn}).ok() ? 0 : -kEFAULT;
}

std::int64_t ExchangeChunk(const Exchanging& exchange, std::uint64_t in_first,
                           std::uint64_t in_count, std::uint64_t out_first,
                           std::uint64_t out_count) {
  // All that is needed, before anything is given up.
  NewFrames frames(exchange);
  for (std::uint64_t i = 0; i < out_count; ++i) {
    if (!frames.Allocate()) return -kENOMEM;
  }
  Physmap physmap(exchange.call.core, exchange.target);
  std::int64_t error = GiveIn(exchange, physmap, in_first, in_count, frames);
  if (error != 0) return error;
  for (std::uint64_t i = out_first; i < out_first + out_count; ++i) {
    const std::uint64_t mfn = frames.Take();
    const std::int64_t adopted = physmap.Adopt(mfn, exchange.out_order);
    if (adopted != 0) {
      exchange.call.core.heap.Free(mfn, exchange.out_order);
      return adopted;
    }
    const std::int64_t placed = PlaceOut(exchange, physmap, i, mfn);
    if (placed != 0) error = placed;
  }
  return error;
}

}  // namespace

std::int64_t Exchange(Call& call) {
  namespace rows = schema::rows::memory_op::exchange;
  Argument<xen_memory_exchange> request(call, call.frame.arguments[1]);
  if (!request.Fetch(__HYPERVISOR_memory_op, XENMEM_exchange)) return -kEFAULT;
  const xen_memory_reservation& in = request->in;
  const xen_memory_reservation& out = request->out;
  const auto finish = [&](std::int64_t answer) { return request.Store() ? answer : -kEFAULT; };

  const unsigned max_order = MaxExtentOrder(call.domain);
  if (in.extent_order > max_order || out.extent_order > max_order) return finish(-kEPERM);
  std::uint64_t in_pages;
  std::uint64_t out_pages;
  if (request->nr_exchanged > in.nr_extents || in.domid != out.domid || !Fits(in, &in_pages) ||
      !Fits(out, &out_pages) || in_pages != out_pages) {
    return finish(-kEINVAL);
  }
  if (request->nr_exchanged == in.nr_extents) return 0;
  const auto in_extents = request.Bind(rows::in_extent_start);
  const auto out_extents = request.Bind(rows::out_extent_start);
  // A list that is too long to be is found out before anything is given up for it.
  if (out_extents.count() != out.nr_extents) return finish(-kEFAULT);
  Domain* target = call.FindAny(in.domid);
  if (target == nullptr) return finish(-kESRCH);
  if (!call.Controls(*target)) return finish(-kEPERM);

  Exchanging exchange = {.call = call,
                         .target = *target,
                         .in = in_extents,
                         .out = out_extents,
                         .in_order = in.extent_order,
                         .out_order = out.extent_order,
                         .width = FrameHeap::kAnyWidth};
  const unsigned bits = XENMEMF_get_address_bits(out.mem_flags);
  if (bits > kPageShift) exchange.width = bits - kPageShift;

  // Extents of a chunk on either side: one on the side with the larger ones.
  const bool grows = in.extent_order <= out.extent_order;
  const unsigned in_shift = grows ? out.extent_order - in.extent_order : 0;
  const unsigned out_shift = grows ? 0 : in.extent_order - out.extent_order;
  const std::uint64_t chunks = in.nr_extents >> in_shift;
  for (std::uint64_t i = request->nr_exchanged >> in_shift; i < chunks; ++i) {
    const std::int64_t error = ExchangeChunk(exchange, i << in_shift, std::uint64_t{1} << in_shift,
                                             i << out_shift, std::uint64_t{1} << out_shift);
    if (error != 0) {
      request->nr_exchanged = i << in_shift;
      return finish(error);
    }
    if (i + 1 != chunks && call.ShouldPreempt(std::uint64_t{1} << (in_shift + exchange.in_order))) {
      request->nr_exchanged = (i + 1) << in_shift;
      if (!request.Store()) return -kEFAULT;
      return ContinueMemoryOp(call, XENMEM_exchange, 0);
    }
  }
  request->nr_exchanged = in.nr_extents;
  return finish(0);
}

}  // namespace xencomm::hypervisor
