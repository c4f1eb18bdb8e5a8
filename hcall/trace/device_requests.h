// The ioctls of Xen's devices in Linux, but the hypercall itself: what each takes, as data.
//
// Sources: Linux, include/uapi/xen/privcmd.h, gntdev.h, gntalloc.h, evtchn.h.
#ifndef HCALL_TRACE_DEVICE_REQUESTS_H_
#define HCALL_TRACE_DEVICE_REQUESTS_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "hcall/schema/op.h"
#include "hcall/schema/words.h"

namespace xencomm::trace {

struct DeviceField {
  enum class Form : std::uint8_t { kNumber, kSigned, kAddress, kFrame, kDomain, kPort, kError };

  const char* name;
  std::uint16_t offset;
  std::uint16_t size;
  Form form = Form::kNumber;
  schema::Direction direction = schema::Direction::kIn;
  // It is there when this bit of the element's flags is set, or when it is not.
  std::uint16_t with_flag = 0;
  std::uint16_t without_flag = 0;
};

// So many elements behind a pointer of the structure, or behind the structure itself.
struct DeviceArray {
  static constexpr std::uint16_t kTrailing = 0xffff;

  const char* name;
  std::uint16_t pointer;  // where it stands in the structure, or kTrailing
  schema::Ref count;
  std::uint16_t element_size;
  std::span<const DeviceField> element;  // one field at 0 without a name: the element is that
  schema::Direction direction = schema::Direction::kIn;
  schema::Ref flags = {};  // of an element
};

struct DeviceRequest {
  std::uint64_t request;
  const char* device;
  const char* name;
  std::uint16_t size;             // of the structure that the argument points at; 0: there is none
  std::uint16_t trailing_at = 0;  // where its array begins, if it has one behind it
  std::span<const DeviceField> fields = {};
  std::span<const DeviceArray> arrays = {};
  bool makes_port = false;  // and answers its number
};

std::span<const DeviceRequest> DeviceRequests();

// Whether a field of an array's element is there.
bool Has(const DeviceArray& array, const DeviceField& field, std::span<const std::byte> element);

// Whose number a field is, if it is one (hcall/schema/words.h).
schema::Local LocalOf(const DeviceField& field);

// nullptr: unknown, or a hypercall. gntdev and gntalloc share a number for the same request.
const DeviceRequest* FindDeviceRequest(std::uint64_t request);

}  // namespace xencomm::trace

#endif  // HCALL_TRACE_DEVICE_REQUESTS_H_
