"""What the demo shows: a table that lives on a terminal and prints lines elsewhere, and the summary."""

import shutil
import sys
import time

COLUMNS = (("mid_price", "mid", 11, "{:.2f}"), ("spread_bps", "spread bps", 11, "{:.4f}"),
           ("depth_imbalance_l1", "imb L1", 8, "{:+.3f}"), ("depth_imbalance_l5", "imb L5", 8, "{:+.3f}"),
           ("ofi_15m", "OFI 15m", 10, "{:+.1f}"), ("kyle_lambda", "kyle λ", 10, "{:.2e}"))
LINE_EVERY_SECONDS = 5


def cell(value, width, form):
    return (form.format(value) if value is not None else "–").rjust(width)


class Table:
    def __init__(self, speed):
        self.speed, self.live = speed, sys.stdout.isatty()
        self.lines, self.began, self.rate = 0, time.monotonic(), 0.0
        self.last, self.printed = (time.monotonic(), 0), 0.0

    def show(self, reader, taken):
        now = time.monotonic()
        if now - self.last[0] >= 1:
            self.rate = (taken - self.last[1]) / (now - self.last[0])
            self.last = (now, taken)
        if self.live:
            self._draw(self._rows(reader, taken))
        elif now - self.printed >= LINE_EVERY_SECONDS:
            self.printed = now
            print("\n".join(self._rows(reader, taken)), flush=True)

    def _rows(self, reader, taken):
        head = f"{'symbol':<9} {'bar (UTC)':<12}" + "".join(" " + name.rjust(w) for _, name, w, _ in COLUMNS)
        rows = [f"{time.monotonic() - self.began:5.0f} s   {taken:,} snapshots   {self.rate:,.0f} records/s",
                head + "  coverage      lag"]
        for symbol in sorted(reader.newest_bar):
            bar = reader.newest_bar[symbol]
            # heartbeats tell market time; people wait in real time
            lag = reader.lag_ms.get(symbol, 0) / self.speed
            rows.append(f"{symbol:<9} {bar['bar_time']:%m-%d %H:%M} " + "".join(
                " " + cell(bar[c], w, form) for c, _, w, form in COLUMNS) + f"  {bar['coverage']:8.3f} {lag:6.0f} ms")
        return rows

    def _draw(self, rows):
        width = shutil.get_terminal_size().columns
        if self.lines:
            sys.stdout.write(f"\033[{self.lines}A")
        for row in rows:
            sys.stdout.write("\033[2K" + row[:width - 1] + "\n")
        sys.stdout.flush()
        self.lines = len(rows)

    def close(self):
        sys.stdout.flush()


def summary(args, result, description, bootstrap, prefix, folder, port, store):
    seconds = args.hours * 3600 / args.speed
    source = "SYNTHETIC: a generated market" if args.synthetic else (
        f"a real recording of 345 s (Binance USD-M, 2024-08-08), LOOPED in event time")
    print(f"""
  market        {source}; {args.hours:g} h at {args.speed:g} x on the rehearsal clock
  snapshots     {result['snapshots']:,} ({result['snapshots'] / seconds:,.0f} a second)
  bars          {result['bars']}   features {result['features']}   dead letters {result['dead_letters']}""")
    if result["measured"]:
        print(f"  latency       p50 {result['p50_ms']:.0f} ms, p99 {result['p99_ms']:.0f} ms over {result['measured']} bars: "
              "closing snapshot's Kafka time → feature readable, real time")
    if result["archived"] is not None:
        for symbol in description["symbols"]:
            stored = [f"{rows.get(symbol, 0)} {what}" for what, rows in
                      (("bars", result["archived"]["l2_snapshots"]), ("candles", result["archived"]["ohlcv"]))]
            print(f"  archive       {symbol}: {', '.join(stored)} in PostgreSQL")
    print("  check         " + ("no bar is missing or doubled, every feature is the row of 20 bars before"
                                + (", every bar is archived: OK" if result["archived"] is not None else ": OK")
                                if result["ok"] else "FAILED"))
    for fault in result["faults"][:20]:
        print(f"                {fault}")
    print("\nnext:")
    if args.keep:
        print(f"  export L2_KAFKA_BOOTSTRAP_SERVERS={bootstrap} L2_TOPIC_PREFIX={prefix}")
        print("  build/release/bin/l2ctl tail l2.features --follow        (and the README's examples)")
        print(f"  curl -s http://127.0.0.1:{port}/metrics        (Kafka and PostgreSQL: ./run status, ./run down)")
        if result["archived"] is not None:
            print(f"  PGPASSWORD=$(cat {store.server.password_file('reader')}) psql -h 127.0.0.1 -p {store.server.port} "
                  f"-U reader {store.database} -c 'SELECT symbol, count(*) FROM l2flow.l2_snapshots GROUP BY 1'")
    else:
        print("  ./run demo --keep        leaves all of it running, to look around")
    print("  ./run test               every test")
    print(f"  logs: {folder}")
