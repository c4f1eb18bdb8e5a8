// Error numbers as hypercalls answer them, negated: the ABI's own (public/errno.h), not those of
// the machine that the code happens to run on.
#ifndef HCALL_HYPERVISOR_BASE_ERRNO_H_
#define HCALL_HYPERVISOR_BASE_ERRNO_H_

#include <cstdint>

namespace xencomm::hypervisor {

inline constexpr std::int64_t kEPERM = 1;
inline constexpr std::int64_t kENOENT = 2;
inline constexpr std::int64_t kESRCH = 3;
inline constexpr std::int64_t kEIO = 5;
inline constexpr std::int64_t kENXIO = 6;
inline constexpr std::int64_t kE2BIG = 7;
inline constexpr std::int64_t kEAGAIN = 11;
inline constexpr std::int64_t kENOMEM = 12;
inline constexpr std::int64_t kEACCES = 13;
inline constexpr std::int64_t kEFAULT = 14;
inline constexpr std::int64_t kEBUSY = 16;
inline constexpr std::int64_t kEEXIST = 17;
inline constexpr std::int64_t kENODEV = 19;
inline constexpr std::int64_t kEINVAL = 22;
inline constexpr std::int64_t kENOSPC = 28;
inline constexpr std::int64_t kEDOM = 33;
inline constexpr std::int64_t kERANGE = 34;
inline constexpr std::int64_t kENOSYS = 38;
inline constexpr std::int64_t kENODATA = 61;
inline constexpr std::int64_t kEOVERFLOW = 75;
inline constexpr std::int64_t kEILSEQ = 84;
inline constexpr std::int64_t kEOPNOTSUPP = 95;
inline constexpr std::int64_t kENOBUFS = 105;

}  // namespace xencomm::hypervisor

#endif  // HCALL_HYPERVISOR_BASE_ERRNO_H_
