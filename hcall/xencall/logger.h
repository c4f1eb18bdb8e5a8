// Where a library handle logs: the caller's logger, or stderr.
#ifndef HCALL_XENCALL_LOGGER_H_
#define HCALL_XENCALL_LOGGER_H_

#include <cstdarg>
#include <cstdio>

extern "C" {
#include <xentoollog.h>
}

namespace xencomm {

class Logger {
 public:
  // `theirs` is borrowed; null: one of our own, which prints errors.
  Logger(xentoollog_logger* theirs, const char* context)
      : context_(context),
        ours_(theirs == nullptr ? MakeOurs() : nullptr),
        logger_(theirs == nullptr ? ours_ : theirs) {}
  Logger(const Logger&) = delete;
  Logger& operator=(const Logger&) = delete;
  ~Logger() { xtl_logger_destroy(ours_); }

  void Error(const char* sentence) const {
    if (logger_ != nullptr) xtl_log(logger_, XTL_ERROR, -1, context_, "%s", sentence);
  }

 private:
  // The stream logger begins with a xentoollog_logger, as every logger does (xentoollog.h).
  static xentoollog_logger* MakeOurs() {
    return reinterpret_cast<xentoollog_logger*>(
        xtl_createlogger_stdiostream(stderr, XTL_PROGRESS, 0));
  }

  const char* const context_;
  xentoollog_logger* const ours_;
  xentoollog_logger* const logger_;
};

}  // namespace xencomm

#endif  // HCALL_XENCALL_LOGGER_H_
