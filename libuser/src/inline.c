// SPDX-License-Identifier: MIT
/*
 * The public header's inline functions as symbols, for languages that can't include C.
 * There is no code here: the header is included with its functions made external.
 * The contract is in <hftchan.h>.
 */
#define HFTCHAN_INLINE	HFTCHAN_API
/* a definition in a header has no earlier prototype */
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#include <hftchan.h>
