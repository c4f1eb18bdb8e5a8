#include "hcall/trace/request_replay.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

#include "hcall/machine/event_calls.h"
#include "hcall/schema/generated/xen.h"
#include "hcall/transport/privcmd_calls.h"

namespace xencomm::trace {
namespace {

using Answer = std::optional<std::int64_t>;

constexpr std::uint64_t kPageShift = 12;
constexpr std::uint64_t kMostFrames = std::uint64_t{1} << 20;

template <class T>
std::optional<T> Read(const MemoryImage& image, std::uint64_t address) {
  const auto bytes = image.At(address, sizeof(T));
  if (bytes.size() < sizeof(T)) return {};
  T object;
  std::memcpy(&object, bytes.data(), sizeof(T));
  return object;
}

template <class T>
void Write(CapturedCall& call, const void* address, std::span<const T> objects) {
  call.after.Add(reinterpret_cast<std::uint64_t>(address), std::as_bytes(objects));
}

// --- Event channels ------------------------------------------------------------------------------

// `port`: of an op that answers one.
template <class T>
std::int64_t CallEvents(Client& client, std::uint64_t op, const T& argument,
                        std::uint32_t T::*port = nullptr) {
  const auto own = client.arena().New<T>(Contents::kCleared);
  if (!own.ok()) return -ENOMEM;
  **own = argument;
  const std::int64_t result = client.Call(__HYPERVISOR_event_channel_op, op, own->get());
  return result < 0 || port == nullptr ? result : (**own).*port;
}

Answer MakeEventRequest(const CapturedCall& call, Client& client) {
  const auto in = [&]<class T>(T* to) {
    const auto read = Read<T>(call.before, call.argument);
    if (read) *to = *read;
    return read.has_value();
  };
  switch (call.request) {
    case machine::kEventBindVirq: {
      machine::EventBindVirq bind;
      if (!in(&bind)) return {};
      return CallEvents(client, EVTCHNOP_bind_virq,
                        evtchn_bind_virq{.virq = bind.virq, .vcpu = 0, .port = 0},
                        &evtchn_bind_virq::port);
    }
    case machine::kEventBindInterdomain: {
      machine::EventBindInterdomain bind;
      if (!in(&bind)) return {};
      return CallEvents(
          client, EVTCHNOP_bind_interdomain,
          evtchn_bind_interdomain{.remote_dom = static_cast<domid_t>(bind.remote_domain),
                                  .remote_port = bind.remote_port,
                                  .local_port = 0},
          &evtchn_bind_interdomain::local_port);
    }
    case machine::kEventBindUnbound: {
      machine::EventBindUnbound bind;
      if (!in(&bind)) return {};
      return CallEvents(
          client, EVTCHNOP_alloc_unbound,
          evtchn_alloc_unbound{
              .dom = DOMID_SELF, .remote_dom = static_cast<domid_t>(bind.remote_domain), .port = 0},
          &evtchn_alloc_unbound::port);
    }
    case machine::kEventUnbind: {
      machine::EventPort port;
      if (!in(&port)) return {};
      return CallEvents(client, EVTCHNOP_close, evtchn_close{.port = port.port});
    }
    case machine::kEventNotify: {
      machine::EventPort port;
      if (!in(&port)) return {};
      return CallEvents(client, EVTCHNOP_send, evtchn_send{.port = port.port});
    }
    default:
      return {};
  }
}

// --- Frames --------------------------------------------------------------------------------------

constexpr int kProtection = PROT_READ | PROT_WRITE;

// Linux says that frames are paged out, and nothing of others that cannot be mapped.
Answer MapBatch(CapturedCall& call, ForeignMemory& memory) {
  const auto batch = Read<PrivcmdMapBatch>(call.before, call.argument);
  if (!batch || batch->num == 0 || batch->num > kMostFrames) return {};
  const std::size_t size = batch->num * sizeof(std::uint64_t);
  const auto bytes = call.before.At(reinterpret_cast<std::uint64_t>(batch->arr), size);
  if (bytes.size() < size) return {};
  std::vector<std::uint64_t> frames(batch->num);
  std::memcpy(frames.data(), bytes.data(), size);
  std::vector<int> errors(batch->num);
  ForeignMemory::Placement place = {.protection = kProtection, .flags = MAP_SHARED};
  const int result = memory.Map(batch->dom, place, frames, errors);
  if (result != 0) return result;
  memory.Unmap(place.address, frames.size());
  Write<int>(call, batch->err, errors);
  return std::ranges::find(errors, -ENOENT) != errors.end() ? -ENOENT : 0;
}

Answer MapResource(CapturedCall& call, ForeignMemory& memory) {
  const auto asked = Read<PrivcmdMapResource>(call.before, call.argument);
  if (!asked || asked->num > kMostFrames) return {};
  const ForeignMemory::Resource resource = {.domain = asked->dom,
                                            .type = asked->type,
                                            .id = asked->id,
                                            .first = asked->idx,
                                            .count = asked->num};
  if (asked->num != 0) {
    ForeignMemory::Placement place = {.protection = kProtection, .flags = MAP_SHARED};
    const int result = memory.MapResource(resource, place);
    if (result == 0) memory.UnmapResource(place.address, asked->num);
    return result;
  }
  std::size_t bytes = 0;
  const int result = memory.ResourceSize(resource, &bytes);
  if (result != 0) return result;
  PrivcmdMapResource answered = *asked;
  answered.num = bytes >> kPageShift;
  call.after.Add(call.argument, std::as_bytes(std::span(&answered, 1)));
  return 0;
}

}  // namespace

std::optional<std::int64_t> MakeRequest(CapturedCall& call, Client& client, ForeignMemory* memory) {
  call.after = {};
  Answer answer;
  if (memory != nullptr && call.request == kPrivcmdMapBatch) {
    answer = MapBatch(call, *memory);
  } else if (memory != nullptr && call.request == kPrivcmdMapResource) {
    answer = MapResource(call, *memory);
  } else {
    answer = MakeEventRequest(call, client);
  }
  // What it does not write is as it was.
  for (const auto& [address, bytes] : call.before.pieces()) call.after.Add(address, bytes);
  return answer;
}

}  // namespace xencomm::trace
