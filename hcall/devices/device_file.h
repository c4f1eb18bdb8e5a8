/* A device's file, as the name of its descriptor says (device_names.h). For both fronts. */
#ifndef HCALL_DEVICES_DEVICE_FILE_H_
#define HCALL_DEVICES_DEVICE_FILE_H_

#include <stdint.h>

#include "hcall/transport/machine/device_names.h"

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(hidden)

struct xencomm_device_file {
  enum xencomm_device device; /* XENCOMM_NO_DEVICE: it is another file, or none */
  int access_mode;            /* as open's flags say it */
  uint64_t id;                /* the machine's number of it */
};

/* Of a descriptor of this process; it may be of anything. errno is left alone. */
struct xencomm_device_file xencomm_device_file_of(int fd);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif /* HCALL_DEVICES_DEVICE_FILE_H_ */
