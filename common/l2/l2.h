/* l2.h: the domain, pure: books, features, windows, bars, purge, feature sets, sketches,
 * drift, labels, scores. Include this, or the part you need. */
#ifndef L2_H
#define L2_H

#include "l2/book.h"
#include "l2/calibrate.h"
#include "l2/exact.h"
#include "l2/features.h"
#include "l2/gate.h"
#include "l2/kyle.h"
#include "l2/label.h"
#include "l2/params.h"
#include "l2/proof.h"
#include "l2/psi.h"
#include "l2/purge.h"
#include "l2/reference.h"
#include "l2/route.h"
#include "l2/score.h"
#include "l2/sets.h"
#include "l2/sketch.h"
#include "l2/stream.h"
#include "l2/tally.h"
#include "l2/types.h"
#include "l2/volatility.h"
#include "l2/window.h"

#endif
