/* rep_dec.h: decimals as exchanges write them ("61800.20"). Pure. */
#ifndef REP_DEC_H
#define REP_DEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REP_DEC_BYTES_MAX 40
#define REP_DEC_PRICE_DECIMALS 8 /* as many as any Binance market has */

/*
 * Digits, at most one point, digits: no sign, no exponent, no blanks, at most REP_DEC_BYTES_MAX
 * bytes. The value is the double nearest to the text, as strtod gives. False: not such a text,
 * *ret_value untouched.
 */
bool rep_dec_value(const char *text, size_t n, double *ret_value);

/*
 * The same, and the price as a whole number of 10^-8, by which prices compare exactly. False also
 * for a ninth decimal that is not 0, and from 92,233,720,369 on, where int64 ends.
 */
bool rep_dec_price(const char *text, size_t n, int64_t *ret_key, double *ret_value);

#endif
