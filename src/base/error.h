/* base/error: the text of an outcome. The codes themselves stand in the public header. */
#ifndef NC_BASE_ERROR_H
#define NC_BASE_ERROR_H

#include "nearcache.h"

/* Static text, never NULL. */
const char *nc_error_text(int outcome);

#endif
