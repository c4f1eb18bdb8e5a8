/* What libxencomm.so shows; everything else is hidden. */
#ifndef XENCOMM_EXPORT_H_
#define XENCOMM_EXPORT_H_

#if defined(__GNUC__)
#define XENCOMM_API __attribute__((visibility("default")))
/* Of what is shown, a part that is not. */
#define XENCOMM_HIDDEN __attribute__((visibility("hidden")))
#else
#define XENCOMM_API
#define XENCOMM_HIDDEN
#endif

#endif /* XENCOMM_EXPORT_H_ */
