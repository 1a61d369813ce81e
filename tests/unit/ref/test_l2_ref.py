"""The reference (tests/support/l2_ref.py) against cases small enough to compute by hand.

Each rule was seen to fail on a planted fault in the reference: see the comments that say "fault:".
"""
import math
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "support"))
import l2_ref  # noqa: E402

US = 1_000_000
T0 = 1_700_000_040 * US  # a whole minute


def snap(seconds, sequence, bid=100.0, ask=101.0, bid_quantity=1.0, ask_quantity=2.0, flow=(0.0, 0.0), epoch=1, **other):
    time = T0 + round(seconds * US)
    if isinstance(flow, tuple):
        flow = {"buy_base": 0.0, "sell_base": 0.0, "buy_quote": flow[0], "sell_quote": flow[1], "trade_count": 1}
    record = {
        "exchange": "x", "symbol": "S", "event_time": time, "received_time": time, "sequence": sequence, "epoch": epoch,
        "bids": [{"price": bid, "quantity": bid_quantity}], "asks": [{"price": ask, "quantity": ask_quantity}],
        "flow": flow}
    record.update(other)
    return record


def every_second(first, last, start=1, **same):
    """One snapshot at each whole second of [first, last)."""
    return [snap(first + i, start + i, **same) for i in range(last - first)]


def minute(records, **params):
    """(bars, features, dead letters) with bars and windows of 60 s."""
    return l2_ref.compute(records, **{"bar_seconds": 60, "window_seconds": 60, "purge_bars": 0, **params})


class Closing(unittest.TestCase):
    def test_the_last_snapshot_before_t_and_nothing_at_t(self):
        # fault: the snapshot taken in before the bars it closes
        records = every_second(0, 60) + [snap(60, 100, bid=50.0, ask=51.0)]
        (bar,), (feature,), dead = minute(records)
        self.assertEqual((bar["bar_time"], bar["snapshots"], bar["gaps"], bar["mid_price"]), (T0, 60, 0, 100.5))
        self.assertAlmostEqual(bar["spread_bps"], 1 / 100.5 * 1e4, places=12)
        self.assertAlmostEqual(bar["depth_imbalance_l1"], -1 / 3)
        self.assertIsNone(bar["depth_imbalance_l5"])
        self.assertEqual((bar["coverage"], feature["l2_mid_price"], dead), (1.0, 100.5, []))
        self.assertEqual(bar["resume"], {"epoch": 1, "sequence": 60, "last_event_time": T0 + 59 * US})

    def test_the_end_of_the_input_closes_nothing(self):
        self.assertEqual(minute(every_second(0, 60)), ([], [], []))

    def test_the_first_bar_holds_the_first_snapshot(self):
        records = every_second(30, 90) + [snap(120, 100)]
        bars, _, _ = minute(records)
        self.assertEqual([bar["bar_time"] - T0 for bar in bars], [0, 60 * US])
        self.assertEqual(bars[0]["coverage"], 0.5)  # 30 s before the first snapshot
        self.assertEqual(bars[0]["gaps"], 0)        # the first has no link
        self.assertEqual(bars[1]["coverage"], 29 / 60)  # the last at 89 s, then nothing

    def test_a_jump_closes_each_bar_between(self):
        bars, features, _ = minute([snap(0, 1), snap(200, 2)])
        self.assertEqual([bar["bar_time"] - T0 for bar in bars], [0, 60 * US, 120 * US])
        self.assertEqual([bar["snapshots"] for bar in bars], [1, 0, 0])
        self.assertEqual([bar["coverage"] for bar in bars], [0.0, 0.0, 0.0])
        self.assertEqual([bar["mid_price"] for bar in bars], [100.5, None, None])
        self.assertEqual(len(features), 3)

    def test_the_jump_that_ended_is_one_gap_of_its_own_bar(self):
        bars, _, _ = minute([snap(0, 1), snap(150, 2), snap(180, 3)])
        self.assertEqual([bar["gaps"] for bar in bars], [0, 0, 1])

    def test_past_the_ttl_the_symbol_starts_anew(self):
        # fault: no retirement
        week = 7 * 24 * 3600
        bars, _, _ = minute([snap(1, 1), snap(week + 1, 2), snap(week + 60, 3)])
        self.assertEqual((len(bars), bars[-1]["gaps"]), (week // 60 + 1, 1))
        bars, _, _ = minute([snap(1, 1), snap(week + 1.000001, 2), snap(week + 60, 3)])
        self.assertEqual((len(bars), bars[-1]["gaps"], bars[-1]["bar_time"]), (week // 60 + 1, 0, T0 + week * US))
        bars, _, _ = minute([snap(1, 1), snap(week + 120, 2), snap(week + 180, 3)])
        self.assertEqual([bars[-2]["bar_time"], bars[-1]["bar_time"]], [T0 + (week - 60) * US, T0 + (week + 120) * US])

    def test_book_age_at_its_limit(self):
        # fault: >= for >
        records = [snap(0, 1), snap(200, 2)]
        self.assertEqual(minute(records, max_book_age=60)[0][0]["mid_price"], 100.5)
        self.assertIsNone(minute(records, max_book_age=59)[0][0]["mid_price"])

    def test_clock_closes_obey_resume_and_move_the_watermark(self):
        # fault: watermark not moved
        records = every_second(0, 50) + [snap(55, 51), snap(60, 52), snap(120, 53)]
        closes = [{"symbol": "S", "bar_time": T0, "resume": {"epoch": 1, "sequence": 50}}]
        bars, _, _ = minute(records, closes=closes)
        self.assertEqual([bar["closed_by"] for bar in bars], ["clock", "event"])
        self.assertEqual([bar["snapshots"] for bar in bars], [50, 1])
        self.assertEqual(bars[0]["coverage"], 49 / 60)  # 49 s to 60 s is a gap, being longer than 5 s
        self.assertEqual(bars[1]["gaps"], 1)  # the late one broke the link


class Links(unittest.TestCase):
    def test_a_gap_is_strictly_more_than_max_gap(self):
        # fault: >= for >
        for step, gaps in ((5.0, 0), (5.000001, 1)):
            bars, _, _ = minute([snap(0, 1), snap(step, 2), snap(60, 3)], window_seconds=60)
            self.assertEqual(bars[0]["gaps"], gaps, step)
            self.assertEqual(bars[0]["coverage"], 0.0 if gaps else 5 / 60)

    def test_the_tail_is_a_gap_only_when_longer(self):
        for end, coverage in ((55, 1.0), (54.999999, 1 - 5.000001 / 60)):
            records = every_second(0, 54) + [snap(end, 99), snap(61, 100)]
            self.assertAlmostEqual(minute(records)[0][0]["coverage"], coverage, places=15)

    def test_a_gap_known_only_later_counts_whole_in_later_windows(self):
        # fault: pending breaks counted at the close
        bad = snap(59.5, 0, asks=[])
        records = every_second(0, 60) + [bad] + every_second(60, 120, start=61) + [snap(120, 121)]
        bars, _, dead = minute(records, window_seconds=120)
        self.assertEqual([bar["gaps"] for bar in bars], [0, 1])
        self.assertEqual([bar["coverage"] for bar in bars], [0.5, 119 / 120])
        self.assertEqual(dead, [{"reason": "empty_side", "symbol": "S", "index": 60}])

    def test_what_breaks_a_link(self):
        good = snap(0, 10)
        for between, gaps in (([], 0), ([snap(0.5, 10)], 0), ([snap(0.5, 9, bid=1.0)], 0),  # duplicates
                              ([snap(-0.5, 11)], 1),               # late by time
                              ([snap(0.5, 99, epoch=0)], 1),       # late by epoch
                              ([snap(-0.5, 1, epoch=2)], 1),       # a higher epoch, but late
                              ([snap(0.5, 11, bid=102.0)], 1),     # rejected
                              ([snap(0.5, 11, exchange="y")], 1),
                              ([snap(0.5, 11, symbol="T", bid=102.0)], 0)):
            bars, _, _ = minute([good] + between + [snap(1, 12), snap(60, 13)])
            self.assertEqual((bars[0]["gaps"], bars[0]["snapshots"]), (gaps, 2), between)

    def test_equal_times_are_kept_and_a_higher_epoch_restarts_the_sequence(self):
        bars, _, _ = minute([snap(0, 10), snap(0, 11), snap(1, 1, epoch=2), snap(2, 2, epoch=2), snap(60, 3, epoch=2)])
        self.assertEqual((bars[0]["snapshots"], bars[0]["gaps"]), (4, 1))
        self.assertEqual(bars[0]["coverage"], 1 / 60)

    def test_coverage_at_its_limit(self):
        # fault: < for <=
        records = every_second(0, 50) + [snap(49.0, 50, asks=[])] + every_second(52, 60, start=60) + [snap(60, 99)]
        bars, _, _ = minute(records)
        self.assertEqual((bars[0]["gaps"], bars[0]["coverage"], bars[0]["ofi_15m"]), (1, 0.95, 0.0))
        records[51]["event_time"] += 1
        bars, _, _ = minute(records)
        self.assertIsNone(bars[0]["ofi_15m"])


class Adopting(unittest.TestCase):
    """A feed that is restarted with a clock behind the symbol's."""

    def restarted(self, count, first=70, **other):
        # An hour ahead once, as a bar of its own; then the true time again, each second.
        return [snap(0, 1), snap(3600, 2)] + [snap(first + i, 1 + i, epoch=2, **other) for i in range(count)]

    def bars(self, records):
        return [(bar["bar_time"] - T0) // (60 * US) for bar in minute(records)[0]]

    def test_the_hundredth_late_record_is_the_first(self):
        # fault: adopted at the 101st
        records = self.restarted(99)
        seen = l2_ref.run(records, bar_seconds=60, window_seconds=60, purge_bars=0)
        self.assertEqual((seen.adopted, seen.dropped["late"]), ([], 99))
        records = self.restarted(100)
        seen = l2_ref.run(records, bar_seconds=60, window_seconds=60, purge_bars=0)
        self.assertEqual((seen.adopted, seen.dropped["late"]), ([("S", T0 + 169 * US)], 99))

    def test_nothing_is_emitted_twice_and_windows_are_empty(self):
        # fault: no emitted bars remembered; the old snapshots kept; the adopted one not counted in gaps
        records = self.restarted(100) + every_second(170, 3670, start=101, epoch=2)
        bars = minute(records)[0]
        self.assertEqual([bar["bar_time"] for bar in bars], [T0 + i * 60 * US for i in range(61)])
        self.assertEqual((bars[-1]["snapshots"], bars[-1]["gaps"], bars[-1]["coverage"]), (60, 0, 1.0))
        in_open_bar = minute([snap(0, 1)] + [snap(5 + i / 10, 1 + i, epoch=0) for i in range(100)] + [snap(60, 2)])[0][0]
        self.assertEqual((in_open_bar["snapshots"], in_open_bar["gaps"], in_open_bar["last_event_time"]),
                         (1, 1, T0 + round(14.9 * US)))

    def test_the_late_ones_must_be_in_order_and_their_clocks_near(self):
        # fault: a run not begun anew; >= for > at 60 s
        def adopted(records):
            return len(l2_ref.run(records, bar_seconds=60, window_seconds=60, purge_bars=0).adopted)

        records = self.restarted(120)
        records[60], records[61] = records[61], records[60]
        self.assertEqual(adopted(records), 0)
        for shift, want in ((60 * US, 1), (60 * US + 1, 0), (-5 * US, 1)):
            late = self.restarted(100)
            for record in late[2:]:
                record["received_time"] = record["event_time"] + shift
            self.assertEqual(adopted(late), want)
        again = self.restarted(100)
        again[50:50] = [snap(3600, 2), snap(3600, 1)]  # duplicates neither count nor end it
        self.assertEqual(adopted(again), 1)
        again[50:50] = [snap(3601, 3)]
        self.assertEqual(adopted(again), 0)


class Ofi(unittest.TestCase):
    def test_each_case_of_e_n(self):
        # (bid, its quantity, ask, its quantity): seed, then each direction
        book = [(100.0, 1.0, 101.0, 2.0), (100.0, 4.0, 101.0, 3.0), (100.5, 5.0, 101.5, 6.0), (99.0, 7.0, 100.0, 8.0)]
        # equal: +4 −1 −3 +2 = 2; both up: +5 +3 = 8; both down: −5 −8 = −13
        records = [snap(i, i + 1, bid=b, bid_quantity=qb, ask=a, ask_quantity=qa)
                   for i, (b, qb, a, qa) in enumerate(book)]
        for used, expected, scale in ((2, 2.0, 10.0), (3, 10.0, 18.0), (4, -3.0, 31.0)):
            bars, _, _ = minute(records[:used] + [snap(60, 99)], coverage=0)
            self.assertEqual((bars[0]["ofi_15m"], bars[0]["terms"]["ofi_15m"]), (expected, scale))

    def test_n_counts_where_it_lies(self):
        # fault: e_n left out when its predecessor precedes the window
        records = [snap(59, 1), snap(61, 2, bid_quantity=4.0), snap(120, 3)]
        bars, _, _ = minute(records, coverage=0)
        self.assertEqual([bar["ofi_15m"] for bar in bars], [None, 3.0])

    def test_a_broken_link_only_seeds(self):
        records = [snap(0, 1), snap(1, 2, bid_quantity=4.0, epoch=2), snap(2, 3, bid_quantity=9.0, epoch=2),
                   snap(60, 4, epoch=2)]
        self.assertEqual(minute(records, coverage=0)[0][0]["ofi_15m"], 5.0)

    def test_nothing_to_sum_is_null(self):
        self.assertIsNone(minute([snap(0, 1), snap(60, 2)], coverage=0)[0][0]["ofi_15m"])


class Kyle(unittest.TestCase):
    def samples(self, pairs, **params):
        """The λ of a bar whose seconds 1, 2, … hold (signed volume, Δmid)."""
        records, mid = [snap(0, 1)], 100.5
        for i, (volume, change) in enumerate(pairs):
            mid += change
            records.append(snap(i + 1, i + 2, bid=mid - 0.5, ask=mid + 0.5,
                                flow=(volume, 0.0) if volume > 0 else (0.0, -volume)))
        return minute(records + [snap(60, 99)], coverage=0, **{"min_samples": 3, **params})[0][0]["kyle_lambda"]

    def test_slope_with_intercept(self):
        # fault: no intercept. x = 1, 2, 3; y = 1, 1, 2.5: Sxy = 1.5, Sxx = 2
        self.assertEqual(self.samples([(1.0, 1.0), (2.0, 1.0), (3.0, 2.5)]), 0.75)
        self.assertEqual(self.samples([(-1.0, 1.0), (0.0, 1.0), (1.0, 2.5)]), 0.75)

    def test_too_few_or_all_equal_is_null(self):
        self.assertIsNone(self.samples([(1.0, 1.0), (2.0, 1.0), (3.0, 2.5)], min_samples=4))
        self.assertIsNone(self.samples([(2.0, 1.0), (2.0, 1.0), (2.0, 2.5)]))
        self.assertIsNone(self.samples([(0.0, 1.0), (0.0, 1.0), (0.0, 2.5)]))
        # fault: Sxx == 0 asked alone. The mean of three 0.1 is not 0.1 in doubles.
        self.assertIsNone(self.samples([(0.1, 1.0), (0.1, 1.0), (0.1, 2.5)]))

    def test_thirty_by_default(self):
        pairs = [(float(i % 3), 0.5 * (i % 3)) for i in range(30)]
        self.assertIsNone(self.samples(pairs[:29], min_samples=30))
        self.assertAlmostEqual(self.samples(pairs, min_samples=30), 0.5)

    def lam(self, records):
        return minute(records + [snap(60, 999, epoch=9)], coverage=0, min_samples=3)[0][0]["kyle_lambda"]

    def book(self, seconds, sequence, mid, **other):
        return snap(seconds, sequence, bid=mid - 0.5, ask=mid + 0.5, **other)

    def test_a_second_is_summed_and_its_last_mid_used(self):
        # (1, 1), (2, 1) in two halves with another mid between, (3, 2.5)
        self.assertEqual(self.lam([
            self.book(0, 1, 100.0), self.book(1, 2, 101.0, flow=(1.0, 0.0)),
            self.book(2, 3, 300.0, flow=(7.0, 0.0)), self.book(2.999999, 4, 102.0, flow=(0.0, 5.0)),
            self.book(3, 5, 104.5, flow=(3.0, 0.0))]), 0.75)

    def test_an_empty_second_joins_the_next_sample(self):
        self.assertEqual(self.lam([
            self.book(0, 1, 100.0), self.book(1, 2, 101.0, flow=(1.0, 0.0)),
            self.book(4, 4, 102.0, flow=(2.0, 0.0)), self.book(8.5, 5, 104.5, flow=(3.0, 0.0))]), 0.75)

    def test_a_second_without_flow_is_left_out_but_its_mid_serves(self):
        # fault: flow=null taken as zero volume. Second 3 is out; second 4 starts from its mid.
        self.assertEqual(self.lam([
            self.book(0, 1, 100.0), self.book(1, 2, 101.0, flow=(1.0, 0.0)), self.book(2, 3, 102.0, flow=(2.0, 0.0)),
            self.book(3, 4, 200.0, flow=(9.0, 0.0)), self.book(3.5, 5, 150.0, flow=None),
            self.book(4, 6, 152.5, flow=(3.0, 0.0))]), 0.75)

    def test_a_second_with_a_broken_link_is_left_out_but_its_mid_serves(self):
        # fault: only the second's first link looked at
        bad = snap(3.2, 5, asks=[])
        self.assertEqual(self.lam([
            self.book(0, 1, 100.0), self.book(1, 2, 101.0, flow=(1.0, 0.0)), self.book(2, 3, 102.0, flow=(2.0, 0.0)),
            self.book(3, 4, 200.0, flow=(9.0, 0.0)), bad, self.book(3.5, 6, 150.0, flow=(1.0, 0.0)),
            self.book(4, 7, 152.5, flow=(3.0, 0.0))]), 0.75)

    def test_a_sample_counts_where_it_lies(self):
        records = [self.book(59, 1, 100.0), self.book(60, 2, 101.0, flow=(1.0, 0.0)),
                   self.book(61, 3, 102.0, flow=(2.0, 0.0)), self.book(62, 4, 104.5, flow=(3.0, 0.0)), snap(120, 5)]
        bars, _, _ = minute(records, coverage=0, min_samples=3)
        self.assertEqual([bar["kyle_lambda"] for bar in bars], [None, 0.75])


class Books(unittest.TestCase):
    def l5(self, bids, asks):
        record = snap(0, 1, bids=[{"price": 100.0 - i, "quantity": q} for i, q in enumerate(bids)],
                      asks=[{"price": 101.0 + i, "quantity": q} for i, q in enumerate(asks)])
        return minute([record, snap(60, 2)])[0][0]

    def test_five_levels_a_side(self):
        self.assertEqual(self.l5([1, 2, 3, 4, 5, 99], [1, 1, 1, 1, 1])["depth_imbalance_l5"], 0.5)
        self.assertIsNone(self.l5([1, 2, 3, 4], [1, 1, 1, 1, 1])["depth_imbalance_l5"])
        self.assertIsNone(self.l5([0] * 5, [0] * 5)["depth_imbalance_l5"])
        self.assertIsNone(self.l5([0] * 5, [0, 1, 1, 1, 1])["depth_imbalance_l1"])
        self.assertEqual(self.l5([0] * 5, [0, 1, 1, 1, 1])["depth_imbalance_l5"], -1.0)

    def test_reasons_and_their_order(self):
        def side(*levels):
            return [{"price": price, "quantity": quantity} for price, quantity in levels]
        bad_flow = {"buy_base": 0.0, "sell_base": 0.0, "buy_quote": math.nan, "sell_quote": -1.0, "trade_count": 0}
        many = side(*((100.0 - i / 100, 1.0) for i in range(1001)))
        for reason, change in (
                ("undecodable", {"bids": many}),
                ("undecodable", {"symbol": "S" * 33}),
                ("symbol_invalid", {"symbol": "S/T", "exchange": "y"}),
                ("symbol_invalid", {"symbol": ""}),
                ("symbol_invalid", {"symbol": "S\n"}),
                ("wrong_exchange", {"exchange": "y", "received_time": T0}),
                ("event_time_ahead", {"received_time": T0 - 4 * US - 1, "bids": []}),
                ("empty_side", {"bids": [], "asks": side((math.nan, 1.0))}),
                ("empty_side", {"asks": []}),
                ("not_finite", {"bids": side((100.0, 1.0), (-1.0, math.inf))}),
                ("not_finite", {"flow": bad_flow, "bids": side((0.0, 1.0))}),
                ("price_not_positive", {"bids": side((100.0, -1.0), (0.0, 1.0))}),
                ("quantity_negative", {"asks": side((101.0, 1.0), (101.0, -1.0))}),
                ("quantity_negative", {"flow": {**bad_flow, "buy_quote": 0.0}}),
                ("levels_out_of_order", {"bids": side((102.0, 1.0), (102.0, 1.0))}),
                ("levels_out_of_order", {"asks": side((101.0, 1.0), (100.9, 1.0))}),
                ("crossed_book", {"bids": side((101.0, 1.0))}),
                (None, {"received_time": T0 - 4 * US}),
                (None, {"received_time": T0 + 99 * US}),
                (None, {"bids": side((100.0, -0.0))})):
            _, _, dead = minute([snap(0, 1), snap(1, 2, **change)])
            self.assertEqual([letter["reason"] for letter in dead], [reason] if reason else [], change)

    def test_the_validity_of_a_duplicate_is_judged_first(self):
        records = [snap(0, 5), snap(0, 5, asks=[]), snap(1, 6), snap(60, 7)]
        bars, _, dead = minute(records)
        self.assertEqual((len(dead), bars[0]["gaps"]), (1, 1))

    def test_max_symbols_is_asked_last(self):
        records = [snap(0, 1), snap(0, 1, symbol="T"), snap(0, 2, symbol="T", asks=[]), snap(1, 2)]
        _, _, dead = minute(records, max_symbols=1)
        self.assertEqual([letter["reason"] for letter in dead], ["max_symbols", "empty_side"])


class Purge(unittest.TestCase):
    def test_shifted_by_bars_on_the_grid(self):
        # fault: shifted by rows
        records = [snap(i * 60, i + 1, bid=100.0 + i, ask=101.0 + i) for i in range(6)]
        _, features, _ = minute(records, purge_bars=2)
        self.assertEqual([feature["l2_mid_price"] for feature in features], [None, None, 100.5, 101.5, 102.5])
        self.assertEqual([feature["source_bar_time"] - feature["bar_time"] for feature in features], [-120 * US] * 5)

    def test_the_ring_is_on_the_grid_after_a_retirement(self):
        week = 7 * 24 * 3600
        records = [snap(0, 1), snap(week + 600, 2), snap(week + 660, 3)]
        _, features, _ = minute(records, purge_bars=2)
        self.assertIsNone(features[-1]["l2_mid_price"])
        self.assertIsNone(features[-1]["last_event_time"])

    def test_schema_version_names_what_differs(self):
        for params, name in (({}, ""), ({"bar_seconds": 60, "purge_bars": 3}, ""),
                             ({"window_seconds": 60, "max_gap_seconds": 7}, "+w60+g7"),
                             ({"sample_seconds": 5, "max_book_age": 9, "coverage": 90, "min_samples": 3}, "+k5+a9+c90+n3")):
            self.assertEqual(l2_ref.Params(**params).schema_version(), "l2_schema_v1" + name)


if __name__ == "__main__":
    unittest.main()
