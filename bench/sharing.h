// Rows about other domains' memory, each way of doing a thing beside the others: `stock` is
// Debian's libraries over the devices, `ours` this library's interface, `plain` memory that no
// other domain has.
#ifndef BENCH_SHARING_H_
#define BENCH_SHARING_H_

#include <cstddef>
#include <functional>
#include <string>

#include "bench/domain.h"

namespace xencomm::bench {

inline constexpr std::size_t kPageBytes = 4096;

// Prints a line: "sharing/NAME: nanoseconds and ticks of the time stamp counter of one turn".
// `what` is done so often, and once before; the program ends unless it works each time.
void Measure(const std::string& name, unsigned turns, const std::function<bool()>& what);

// Pages that this domain grants itself: mapped, written to and unmapped; copied from.
void MeasureGrants();
// So many frames of a domain: mapped, read and unmapped; in runs of `run`, and those in no order.
void MeasureFrames(xc_interface* xch, unsigned count, unsigned run);
// Requests to the block back-end, in one thread with it, of a guest whose memory is foreign frames
// or grants. `plain` are the file's pread and pwrite.
void MeasureDisk(xc_interface* xch);
// A stream through libxenvchan to a forked process, in pieces of 64 KiB. `plain` is a socket pair.
void MeasureVchan();

}  // namespace xencomm::bench

#endif  // BENCH_SHARING_H_
