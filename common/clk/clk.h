/* clk.h: the only clock. Virtual time is what markets, bars and feeds live on; real time is what
 * Kafka and people live on. */
#ifndef CLK_H
#define CLK_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define CLK_US_PER_S INT64_C(1000000)
#define CLK_SPEED_MAX 1000.0
#define CLK_DESCRIBE_BYTES 128
#define CLK_TEXT_BYTES 40
#define CLK_REAL_FLOOR_US                                                                          \
    (2 * CLK_US_PER_S) /* graces and alert durations never shrink below this in real time */

struct clk;

/*
 * spec: NULL or "" for the wall clock, else "<real start>/<virtual start>/<speed>"
 * (L2_CLOCK); starts are Unix seconds with an optional fraction, or RFC 3339 in UTC
 * ("2024-08-08T23:54:16.5Z"); the virtual start precedes the real one; speed in (0, 1000], at most
 * six decimals (it is kept as a whole number of millionths, so that the mapping is exact).
 * ERR_REJECT names what is wrong. The caller frees with clk_free (NULL-safe).
 */
enum err_class clk_new(const char *spec, struct clk **ret_clk, struct err *err) MUST_CHECK;
/*
 * A clock that stands at virtual_us until clk_test_set moves it: tests and the simulator. Real time
 * equals virtual time. Moving it while other threads read is allowed.
 */
struct clk *clk_new_test(int64_t virtual_us);
void clk_test_set(struct clk *clk, int64_t virtual_us);
void clk_free(struct clk *clk);

int64_t clk_now_us(
    const struct clk *clk);  /* virtual, µs since the Unix epoch; equals real on the wall clock */
int64_t clk_real_us(const struct clk *clk); /* CLOCK_REALTIME, µs */
int64_t clk_wall_us(void); /* CLOCK_REALTIME, µs, where no clock is at hand: log lines */
int64_t clk_mono_us(void); /* CLOCK_MONOTONIC, µs: periods, retries, deadlines, latencies */

/*
 * The mapping, exact in whole microseconds and monotone both ways; each call starts from the real
 * start, so nothing drifts. to_virtual rounds down (a Kafka timestamp → virtual time). to_real
 * rounds up: it is the first real µs at which virtual time has reached virtual_us. Hence
 * to_real(to_virtual(t)) = t for speed ≥ 1 (else within 1 / speed µs), and v ≤
 * to_virtual(to_real(v)) < v + max(speed, 1) µs. Results beyond int64 stand at its ends.
 */
int64_t clk_to_virtual_us(const struct clk *clk, int64_t real_us);
int64_t clk_to_real_us(const struct clk *clk, int64_t virtual_us);
/* The longer of virtual_us and 2 s of real time, in virtual µs: close_grace, "held for 60 s". */
int64_t clk_grace_us(const struct clk *clk, int64_t virtual_us);

bool clk_is_rehearsal(const struct clk *clk);
double clk_speed(const struct clk *clk); /* 1 on the wall clock */
/* A rehearsal is over when its virtual time reaches its real start; the process then drains and
 * exits. */
bool clk_is_over(const struct clk *clk);
/*
 * "rehearsal clock: virtual 2024-08-08T23:54:16Z + 480 x since 2026-01-02T03:04:05Z", "wall clock"
 * or "test clock at …" for logs; `buf` of at least CLK_DESCRIBE_BYTES; returns buf.
 */
const char *clk_describe(const struct clk *clk, char *buf, unsigned size);
/* "2024-08-08T23:54:16.123456Z" (µs since the Unix epoch, years 0 to 9999); `buf` of
 * CLK_TEXT_BYTES; returns buf. */
const char *clk_text(int64_t us, char *buf, unsigned size);

#endif
