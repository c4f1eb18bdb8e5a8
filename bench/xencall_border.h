// What a program spends in its libxencall, whichever the loader finds.
//
// The program answers to the names of libxencall's functions itself and passes each call on. What
// lies between is the library's own part: its buffers and all that it asks of the kernel for them,
// page faults included. The hypercall's ioctl is not in it.
#ifndef BENCH_XENCALL_BORDER_H_
#define BENCH_XENCALL_BORDER_H_

#include <cstdint>

namespace xencomm::bench {

// Until it is called, Xen's devices are as they are. From then on both are there, give zeroed
// memory of their own for every mapping, and answer each hypercall with 0 at once.
void MakeDevicesNull();

// Of the processor's time stamp counter, since the last one; less what reading it costs.
std::uint64_t TakeTicksInLibrary();
double TicksPerNanosecond();

// From now on callgrind collects what is in the library, and no ticks are read.
void CollectForCallgrind();

}  // namespace xencomm::bench

#endif  // BENCH_XENCALL_BORDER_H_
