/* The page of l2monitor backtest: tables and plots from the data blocks before this script. All text goes in as text. */
"use strict";
(() => {
    const report = JSON.parse(document.getElementById("report").textContent);
    const byId = id => document.getElementById(id);
    const seriesOf = (run, crypto) => JSON.parse(byId(`series-${run}-${crypto}`).textContent);
    const cryptos = JSON.parse(byId("cryptos").textContent);
    const severities = ["p2", "warn", "no_data"];
    const words = {p2: "P2", warn: "warning", no_data: "no data", ok: "ok"};
    const view = {run: 0, crypto: 0, timelineSignal: "", valuesSignal: "", charts: [], timeline: null};

    /* ---- words */

    const element = (name, text, className) => {
        const made = document.createElement(name);
        if (text !== undefined)
            made.textContent = text;
        if (className)
            made.className = className;
        return made;
    };
    const time = us => us.slice(0, 16).replace("T", " ");
    const seconds = text => Date.parse(text) / 1000;
    const count = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;
    const figure = x => x === null || x === undefined ? "–" : Number(x.toPrecision(4)).toString();

    function duration(s) {
        if (s === null)
            return "–";
        const min = Math.floor(s / 60);
        if (min < 1)
            return `${Math.floor(s)} s`;
        if (min < 60)
            return `${min} min`;
        if (min < 1440)
            return `${Math.floor(min / 60)} h ${min % 60} min`;
        return `${Math.floor(min / 1440)} d ${Math.floor(min % 1440 / 60)} h`;
    }

    function thresholds(t) {
        const parts = [];
        for (const level of ["warn", "p2"]) {
            const below = t[`${level}_below`], above = t[`${level}_above`];
            if (below !== null && below !== undefined)
                parts.push(`${words[level]} < ${figure(below)}`);
            if (above !== null && above !== undefined)
                parts.push(`${words[level]} > ${figure(above)}`);
        }
        return parts.join(", ");
    }

    const runName = run => {
        const name = run.reference === null ? "without a reference" : `${run.reference} (${run.reference_version})`;
        return run.set.length > 0 ? `${name}, with ${run.set.join(", ")}` : name;
    };

    /* ---- tables */

    function fill(table, heads, rows) {
        table.replaceChildren();
        const head = table.createTHead().insertRow();
        for (const [text, className] of heads) {
            const cell = element("th", text, className);
            cell.scope = "col";
            head.append(cell);
        }
        const body = table.createTBody();
        for (const row of rows)
            body.append(row);
    }

    function row(cells, className) {
        const made = element("tr", undefined, className);
        for (const [content, cellClass, isHead] of cells) {
            const cell = element(isHead ? "th" : "td", undefined, cellClass);
            if (isHead)
                cell.scope = "row";
            cell.append(content instanceof Node ? content : document.createTextNode(content));
            made.append(cell);
        }
        return made;
    }

    const badge = severity => element("span", words[severity], `severity ${severity}`);

    function showSignals(run) {
        const rows = [];
        for (const s of run.signals) {
            const fired = severities.filter(severity => s[severity].episodes > 0);
            if (fired.length === 0 && s.evaluated.is_evaluated)
                rows.push(row([[s.signal, "", true], [badge("ok")], ["0", "number"], ["0", "number"], ["–", "number"], ["–", "number"],
                    ["–", "number"], [String(s.alerts.sent), "number"], [""], [thresholds(s.thresholds), "time"]]));
            fired.forEach((severity, i) => {
                const c = s[severity];
                const isFirst = i === 0;
                rows.push(row([[isFirst ? s.signal : "", "", isFirst], [badge(severity)], [String(c.episodes), "number"],
                    [c.per_crypto_month === null ? "–" : c.per_crypto_month.toFixed(2), "number"], [String(c.cryptos), "number"],
                    [duration(c.median_seconds), "number"], [duration(c.longest_seconds), "number"],
                    [isFirst ? String(s.alerts.sent) : "", "number"], [severity === "p2" && s.action !== "none" ? s.action : ""],
                    [isFirst ? thresholds(s.thresholds) : "", "time"]], i + 1 < fired.length ? "part" : ""));
            });
        }
        fill(byId("signals"), [["signal"], ["worst"], ["episodes", "number"], ["a crypto-month", "number"], ["cryptos", "number"],
            ["median", "number"], ["longest", "number"], ["alerts sent", "number"], ["asks for"], ["thresholds"]], rows);
        for (const [id, key] of [["not-evaluated", "why_not"], ["notes", "note"]]) {
            const list = byId(id);
            list.replaceChildren();
            for (const s of run.signals.filter(one => one.evaluated[key] !== undefined))
                list.append(element("dt", s.signal), element("dd", s.evaluated[key]));
            if (!list.hasChildNodes())
                list.append(element("dd", "nothing"));
        }
    }

    function showSides() {
        if (report.runs.length < 2)
            return;
        byId("sides-section").hidden = false;
        const rows = [];
        report.runs[0].signals.forEach((first, i) => {
            for (const severity of severities) {
                const all = report.runs.map(run => run.signals[i]);
                if (all.every(s => s[severity].episodes === 0))
                    continue;
                const rates = all.map(s => !s.evaluated.is_evaluated ? "not evaluated" : s[severity].per_crypto_month === null ? "–"
                    : s[severity].per_crypto_month.toFixed(2));
                rows.push(row([[first.signal, "", true], [badge(severity)],
                    ...rates.map(rate => [rate, rate === rates[0] ? "number" : "number differs"])]));
            }
        });
        byId("sides-names").replaceChildren(...report.runs.map(run => element("li", runName(run))));
        fill(byId("sides"), [["signal"], ["worst"], ...report.runs.map((run, i) => [String(i + 1), "number"])], rows);
    }

    function showEpisodes(run) {
        const most = 500, symbol = cryptos[view.crypto];
        const all = run.episodes.filter(e => e.symbol === symbol && (view.valuesSignal === "" || e.signal === view.valuesSignal));
        byId("episodes-of").textContent = symbol;
        byId("episodes-about").textContent = all.length === 0 ? "None." : all.length > most
            ? `${count(all.length, "episode")}, of which the first ${most}: all are in the JSON.` : `${count(all.length, "episode")}.`;
        fill(byId("episodes"), [["from (UTC)"], ["to"], ["lasted", "number"], ["worst"], ["signal"], ["peak", "number"], ["threshold", "number"],
            ["at"], ["n", "number"], ["asks for"]], all.slice(0, most).map(e => row([[time(e.start), "time"],
            [e.end === null ? "still open" : time(e.end), "time"], [duration(e.seconds), "number"], [badge(e.severity)],
            [e.arm === "none" ? e.signal : `${e.signal} (${e.arm})`], [e.peak ? figure(e.peak.value) : "–", "number"],
            [e.peak ? figure(e.peak.threshold) : "–", "number"], [e.peak ? time(e.peak.time) : "–", "time"],
            [e.peak ? String(e.peak.n) : "–", "number"], [e.action === "none" ? "" : e.action]])));
    }

    /* ---- plots */

    const color = name => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
    const fills = {p2: "p2-fill", warn: "warn-fill", no_data: "no-data-fill"};
    const solids = {p2: "p2", warn: "warn", no_data: "no-data"};
    const utc = ts => uPlot.tzDate(new Date(ts * 1000), "Etc/UTC");
    const history = {from: seconds(report.history.from), to: seconds(report.history.to)};

    /* Dates as everywhere else: 05-31, the year under the first; hours with the date under each first of a day. */
    function dates(u, splits, at, space, step) {
        let before = "";
        return splits.map(ts => {
            const iso = new Date(ts * 1000).toISOString(), day = iso.slice(5, 10), year = iso.slice(0, 4);
            const under = step >= 86400 ? year : `${year}-${day}`, isNew = under !== before;
            before = under;
            return (step >= 86400 ? day : iso.slice(11, 16)) + (isNew ? `\n${under}` : "");
        });
    }

    const axis = more => ({stroke: color("dim"), grid: {stroke: color("rule"), width: 1}, ticks: {stroke: color("rule"), width: 1},
        font: "12px system-ui, sans-serif", ...more});
    const endOf = e => e.end === null ? history.to : seconds(e.end);

    /* Rectangles behind the curves: when the signal was not ok. */
    function shade(u, episodes) {
        const {left, top, width, height} = u.bbox;
        u.ctx.save();
        u.ctx.beginPath();
        u.ctx.rect(left, top, width, height);
        u.ctx.clip();
        for (const e of episodes) {
            const x = u.valToPos(seconds(e.start), "x", true);
            u.ctx.fillStyle = color(fills[e.severity]);
            u.ctx.fillRect(x, top, Math.max(u.valToPos(endOf(e), "x", true) - x, devicePixelRatio), height);
        }
        u.ctx.restore();
    }

    /* The columns that uPlot wants; a null between values that are further apart than usual breaks the curve. */
    function columns(data, s) {
        const gaps = s.at.slice(1).map((at, i) => at - s.at[i]).sort((a, b) => a - b);
        const usual = gaps.length > 0 ? gaps[Math.floor(gaps.length / 2)] : 1;
        const x = [], low = [], high = [], below = [], above = [];
        s.at.forEach((at, i) => {
            if (i > 0 && at - s.at[i - 1] > 2 * usual) {
                x.push(data.from + (s.at[i - 1] + usual) * data.step);
                [low, high, below, above].forEach(column => column.push(null));
            }
            x.push(data.from + at * data.step);
            low.push(s.low[i]);
            high.push(s.high ? s.high[i] : s.low[i]);
            below.push(s.below ? s.below[i] : s.warn_below);
            above.push(s.above ? s.above[i] : s.warn_above);
        });
        return {x, low, high, below, above};
    }

    /* A scale that holds the values, and the thresholds that are not so far away that they would flatten them. */
    function scaleOf(c, s) {
        const finite = [...c.low, ...c.high].filter(v => v !== null);
        let min = Math.min(...finite), max = Math.max(...finite);
        const reach = 4 * (max - min || Math.abs(max) || 1), beyond = [];
        for (const [label, values] of [["warning", c.below], ["warning", c.above], ["P2", [s.p2_below]], ["P2", [s.p2_above]]]) {
            const known = values.filter(v => v !== null && v !== undefined);
            if (known.length === 0)
                continue;
            const least = Math.min(...known), greatest = Math.max(...known);
            if (greatest > max + reach || least < min - reach)
                beyond.push(`${label} at ${figure(greatest > max + reach ? greatest : least)} is beyond the plot`);
            else
                [min, max] = [Math.min(min, least), Math.max(max, greatest)];
        }
        const edge = (max - min || Math.abs(max) || 1) * 0.06;
        return {range: [min - edge, max + edge], beyond};
    }

    function draw(host, data, s, episodes) {
        const c = columns(data, s), scale = scaleOf(c, s);
        const flat = v => v === null || v === undefined ? null : c.x.map(() => v);
        const lines = [["warning <", "warn", c.below], ["warning >", "warn", c.above], ["P2 <", "p2", flat(s.p2_below)],
            ["P2 >", "p2", flat(s.p2_above)]]
            .filter(([, , values]) => values !== null && values.some(v => v !== null && v !== undefined));
        const box = element("figure", undefined, s.high ? "range" : ""), caption = element("figcaption", s.arm === "none" ? s.signal : `${s.signal} (${s.arm})`);
        const plot = element("div");
        caption.append(element("small", [thresholds(s), count(episodes.length, "episode"), ...scale.beyond].filter(Boolean).join("; ")));
        plot.setAttribute("role", "img");
        plot.setAttribute("aria-label", `${caption.firstChild.textContent} of ${data.symbol} over time, between ${figure(Math.min(...s.low))} and ` +
            `${figure(Math.max(...(s.high || s.low)))}; ${count(episodes.length, "episode")}`);
        box.append(caption, plot);
        host.append(box);
        const value = (u, v) => v === null || v === undefined ? "–" : figure(v);
        const chart = new uPlot({
            width: Math.max(plot.clientWidth, 200), height: 190, tzDate: utc, padding: [8, 8, 0, 0],
            cursor: {sync: {key: "time", setSeries: false}, y: false},
            scales: {x: {range: (u, min, max) => min === null ? [history.from, history.to] : [min, max]}, y: {range: () => scale.range}},
            axes: [axis({values: dates}), axis({size: 62, values: (u, all) => all.map(figure)})],
            series: [{label: "UTC", value: "{YYYY}-{MM}-{DD} {HH}:{mm}"},
                {label: s.high ? "greatest" : "value", stroke: color("value"), width: 1.2, value, points: {show: c.x.length < 120, size: 4}},
                ...(s.high ? [{label: "least", stroke: color("value"), width: 1.2, value, points: {show: false}}] : []),
                ...lines.map(([label, name]) => ({label, stroke: color(name), width: 1.2, dash: [6, 4], value, points: {show: false}}))],
            bands: s.high ? [{series: [1, 2], fill: color("range")}] : [],
            hooks: {drawClear: [u => shade(u, episodes)], setScale: [follow]},
        }, [c.x, c.high, ...(s.high ? [c.low] : []), ...lines.map(([, , values]) => values)], plot);
        chart.setScale("x", view.range || {min: history.from, max: history.to});
        view.charts.push([chart, plot]);
    }

    /* What one plot was zoomed to, all are. */
    let following = false;
    function follow(u, key) {
        if (key !== "x" || following || u.scales.x.min === null)
            return;
        following = true;
        view.range = {min: u.scales.x.min, max: u.scales.x.max};
        for (const [chart] of view.charts) {
            if (chart !== u)
                chart.setScale("x", view.range);
        }
        following = false;
    }

    function showValues(run) {
        const data = seriesOf(view.run, view.crypto), host = byId("plots");
        view.charts.forEach(([chart]) => chart.destroy());
        view.charts = [];
        host.replaceChildren();
        byId("values-of").textContent = data.symbol;
        byId("values-hint").textContent = `Each point stands for ${duration(data.step)}: the least and the greatest value in it.`;
        for (const s of data.series) {
            if (view.valuesSignal === "" || s.signal === view.valuesSignal)
                draw(host, data, s, run.episodes.filter(e => e.symbol === data.symbol && e.signal === s.signal && e.arm === s.arm));
        }
        if (!host.hasChildNodes())
            host.append(element("p", "No value of it."));
    }

    /* ---- the timeline: a row a crypto */

    function bars(u, episodes) {
        const ctx = u.ctx, height = Math.abs(u.valToPos(1, "y", true) - u.valToPos(0, "y", true)) * 0.7;
        ctx.save();
        ctx.beginPath();
        ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
        ctx.clip();
        for (const severity of [...severities].reverse()) { /* the worst on top */
            ctx.fillStyle = color(solids[severity]);
            for (const e of episodes.filter(one => one.severity === severity)) {
                const x = u.valToPos(seconds(e.start), "x", true);
                ctx.fillRect(x, u.valToPos(cryptos.indexOf(e.symbol), "y", true) - height / 2,
                    Math.max(u.valToPos(endOf(e), "x", true) - x, 2 * devicePixelRatio), height);
            }
        }
        ctx.restore();
    }

    const rowAt = u => u.cursor.top === undefined || u.cursor.top < 0 ? -1 : Math.round(u.posToVal(u.cursor.top, "y"));

    function tell(u, episodes) {
        const crypto = rowAt(u), at = u.posToVal(u.cursor.left, "x"), slack = 3 * (u.posToVal(1, "x") - u.posToVal(0, "x"));
        const here = crypto < 0 || crypto >= cryptos.length ? [] : episodes.filter(e => e.symbol === cryptos[crypto] &&
            seconds(e.start) <= at + slack && endOf(e) >= at - slack);
        byId("under-cursor").textContent = here.slice(0, 3).map(e => `${e.symbol}: ${words[e.severity]} of ${e.signal}, ${time(e.start)}, ` +
            `${duration(e.seconds)}${e.peak ? `, ${figure(e.peak.value)} against ${figure(e.peak.threshold)}` : ""}`).join("; ") +
            (here.length > 3 ? `; ${here.length - 3} more` : "");
    }

    function showTimeline(run) {
        const host = byId("timeline"), n = cryptos.length;
        const episodes = run.episodes.filter(e => view.timelineSignal === "" || e.signal === view.timelineSignal);
        if (view.timeline)
            view.timeline.destroy();
        host.replaceChildren();
        host.setAttribute("role", "img");
        host.setAttribute("aria-label", `${count(episodes.length, "episode")} of ${count(n, "crypto")} over time; the tables below list them`);
        view.timeline = new uPlot({
            width: Math.max(host.clientWidth, 200), height: 22 * n + 70, tzDate: utc, legend: {show: false}, padding: [4, 8, 0, 0],
            cursor: {y: false, points: {show: false}},
            scales: {x: {range: (u, min, max) => min === null ? [history.from, history.to] : [min, max]},
                y: {dir: -1, range: () => [-0.6, n - 0.4]}},
            axes: [axis({values: dates}), axis({size: 120, splits: () => cryptos.map((_, i) => i), values: () => cryptos, grid: {show: false}})],
            series: [{}, {stroke: "transparent", points: {show: false}}],
            hooks: {draw: [u => bars(u, episodes)], setCursor: [u => tell(u, episodes)]},
        }, [[history.from, history.to], [null, null]], host);
        view.timeline.over.addEventListener("click", () => {
            const crypto = rowAt(view.timeline);
            if (crypto >= 0 && crypto < n && crypto !== view.crypto) {
                byId("crypto").value = String(crypto);
                view.crypto = crypto;
                showCrypto();
            }
        });
    }

    /* ---- what is chosen */

    function choose(id, options, onChange) {
        const select = byId(id);
        select.replaceChildren();
        for (const [value, text] of options) {
            const option = element("option", text);
            option.value = value;
            select.append(option);
        }
        select.addEventListener("change", () => onChange(select.value));
    }

    function showCrypto() {
        showValues(report.runs[view.run]);
        showEpisodes(report.runs[view.run]);
    }

    function showRun() {
        const run = report.runs[view.run], lost = run.episodes_left_out;
        byId("run-about").textContent = `Judged by: ${runName(run)}.` + (lost > 0 ? ` ${count(lost, "more episode")} are left out.` : "");
        showSignals(run);
        showTimeline(run);
        showCrypto();
    }

    function resize() {
        if (view.timeline)
            view.timeline.setSize({width: Math.max(byId("timeline").clientWidth, 200), height: view.timeline.height});
        for (const [chart, plot] of view.charts)
            chart.setSize({width: Math.max(plot.clientWidth, 200), height: chart.height});
    }

    function start() {
        const h = report.history, r = h.records;
        byId("about").textContent = `${count(h.cryptos, "crypto")} of ${h.exchange}, bars of ${duration(h.bar_seconds)}, ${time(h.from)} to ` +
            `${time(h.to)} UTC; ${count(r.bars, "bar")}, ${count(r.candles, "candle")}, ${count(r.features, "feature record")}` +
            `${r.features_from_bars > 0 ? ` (and ${r.features_from_bars.toLocaleString("en")} made from bars)` : ""}, ` +
            `${count(r.predictions, "prediction")}.`;
        byId("made-by").textContent = `${report.made_by}; plots by uPlot 1.6.32.`;
        const all = [["", "all"], ...report.runs[0].signals.filter(s => s.evaluated.is_evaluated).map(s => [s.signal, s.signal])];
        byId("run-choice").hidden = report.runs.length < 2;
        choose("run", report.runs.map((run, i) => [String(i), `${i + 1}: ${runName(run)}`]), value => { view.run = Number(value); showRun(); });
        choose("crypto", cryptos.map((symbol, i) => [String(i), symbol]), value => { view.crypto = Number(value); showCrypto(); });
        choose("timeline-signal", all, value => { view.timelineSignal = value; showTimeline(report.runs[view.run]); });
        choose("values-signal", all, value => { view.valuesSignal = value; showCrypto(); });
        showSides();
        showRun();
        let due = 0;
        window.addEventListener("resize", () => { cancelAnimationFrame(due); due = requestAnimationFrame(resize); });
        matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showRun);
    }

    start();
})();
