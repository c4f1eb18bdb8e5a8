/* What libxencomm.so shows; everything else is hidden. */
#ifndef XENCOMM_EXPORT_H_
#define XENCOMM_EXPORT_H_

#if defined(__GNUC__)
#define XENCOMM_API __attribute__((visibility("default")))
#else
#define XENCOMM_API
#endif

#endif /* XENCOMM_EXPORT_H_ */
