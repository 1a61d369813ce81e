/* exact.h: functions that must come to the same bits on every machine and libm. Pure. */
#ifndef L2_EXACT_H
#define L2_EXACT_H

/* Natural logarithm of a finite x > 0, within 2 units in the last place of the largest term: from
 * frexp and the series of artanh, never from libm, whose log differs between CPUs. */
double l2_ln(double x);

#endif
