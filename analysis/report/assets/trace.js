"use strict";
/* The trace of a run on a canvas: envelopes at several resolutions, readings when zoomed in, marks on the same axis.
   Data: see analysis/report/trace_data.py. Times are seconds since the begin of what is shown, on the power's axis. */
(function () {
  const MISSING = 65535;
  const PHASE = {
    load: ["--grey", "load"], warm_up: ["--sky", "warm-up"], standby_before: ["--green", "standby before"],
    marker: ["--pink", "marker"], lead_in: ["--sky", "lead-in"], measured: ["--orange", "measured"],
    lead_out: ["--sky", "lead-out"], probe: ["--vermillion", "gap probe"], standby_after: ["--green", "standby after"],
  };
  const SHADED = new Set(["standby_before", "marker", "measured", "probe", "standby_after"]);
  function bytes(text) {
    const raw = atob(text), out = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
    return out;
  }
  const u16 = (text) => new Uint16Array(bytes(text).buffer);
  const u32 = (text) => new Uint32Array(bytes(text).buffer);

  function firstAtLeast(array, value, end) {
    let a = 0, b = end === undefined ? array.length : end;
    while (a < b) { const m = (a + b) >> 1; if (array[m] < value) a = m + 1; else b = m; }
    return a;
  }

  function steps(span, most) {
    const rough = span / Math.max(1, most), power = Math.pow(10, Math.floor(Math.log10(rough))), r = rough / power;
    return power * (r <= 1 ? 1 : r <= 2 ? 2 : r <= 5 ? 5 : 10);
  }

  function time(s) {
    const a = Math.abs(s);
    if (a >= 1) return s.toPrecision(3) + " s";
    if (a >= 1e-3) return (s * 1e3).toPrecision(3) + " ms";
    return (s * 1e6).toPrecision(3) + " µs";
  }
  function watt(w) { return Math.abs(w) >= 1 ? w.toFixed(3) + " W" : (w * 1e3).toFixed(1) + " mW"; }

  class Trace {
    constructor(figure) {
      this.figure = figure;
      this.d = JSON.parse(document.getElementById(figure.dataset.source).textContent);
      this.canvas = figure.querySelector("canvas.plot");
      this.overview = figure.querySelector("canvas.overview");
      this.readout = figure.querySelector(".readout");
      this.resolution = figure.querySelector(".resolution");
      this.unpack();
      this.a = 0; this.b = this.d.seconds;
      this.hover = null; this.pointers = new Map();
      this.listen();
      this.draw();
    }

    unpack() {
      const d = this.d;
      this.levels = d.levels.map((l) => ({ bins: l.bins, bin: d.seconds / l.bins, low: u16(l.low), mean: u16(l.mean), high: u16(l.high) }));
      this.stretches = d.stretches.map((s) => {
        const edge = u32(s.edge);
        return { edge, power: u16(s.power), a: edge.length ? edge[0] * d.tick_s : 0, b: edge.length ? edge[edge.length - 1] * d.tick_s : 0 };
      }).filter((s) => s.power.length > 0);
      if (d.busy) {
        const q = d.busy;
        this.busy = { begin: u32(q.begin), length: u32(q.length), phase: bytes(q.phase), start: u16(q.start), number: u32(q.number), phases: q.phases };
        this.longest = this.busy.length.reduce((m, v) => Math.max(m, v), 0);
      }
      this.least = Math.max(d.stretches.length ? 8 * d.period_s : 40 * this.levels[this.levels.length - 1].bin, 20 * d.tick_s);
    }

    w(code) { return this.d.low_w + code * this.d.step_w; }

    colours() {
      const style = getComputedStyle(document.documentElement), found = {};
      return (name) => found[name] || (found[name] = style.getPropertyValue(name).trim());
    }

    /* ---- view ---- */
    set(a, b) {
      const whole = this.d.seconds;
      let width = Math.min(Math.max(b - a, Math.min(this.least, whole)), whole);
      const middle = (a + b) / 2;
      a = Math.min(Math.max(middle - width / 2, 0), whole - width);
      this.a = a; this.b = a + width;
      this.draw();
    }
    zoom(factor, at) {
      const t = at === undefined ? (this.a + this.b) / 2 : at;
      this.set(t - (t - this.a) * factor, t + (this.b - t) * factor);
    }
    pan(share) { const s = (this.b - this.a) * share; this.set(this.a + s, this.b + s); }

    show(what) {
      const spans = this.d.spans;
      if (what === "all") return this.set(0, this.d.seconds);
      if (what === "inference" && this.busy) {
        const rows = [];
        for (let i = 0; i < this.busy.begin.length; i++) if (this.busy.phases[this.busy.phase[i]] === "measured") rows.push(i);
        if (!rows.length) return undefined;
        const begin = (i) => this.busy.begin[i] * this.d.tick_s, end = (i) => begin(i) + this.busy.length[i] * this.d.tick_s;
        const now = this.current === undefined ? -1 : rows.indexOf(this.current);
        const next = now < 0 ? rows[rows.length >> 1] : rows[(now + 1) % rows.length];
        this.current = next;
        const room = 0.08 * (end(next) - begin(next));
        return this.set(begin(next) - room, end(next) + room);
      }
      const some = spans.filter((s) => what === "standby" ? s[1].startsWith("standby") : s[1] === what);
      if (!some.length) return undefined;
      this.turn = this.turn || {};
      this.turn[what] = ((this.turn[what] === undefined ? -1 : this.turn[what]) + 1) % some.length;
      const s = some[this.turn[what]], room = 0.05 * (s[3] - s[2]);
      return this.set(s[2] - room, s[3] + room);
    }

    listen() {
      const c = this.canvas, at = (e) => { const r = c.getBoundingClientRect(); return this.t(e.clientX - r.left); };
      c.addEventListener("wheel", (e) => {
        const out = e.deltaY > 0;
        if (out && this.b - this.a >= this.d.seconds * 0.9999 && !e.ctrlKey) return;
        e.preventDefault();
        if (Math.abs(e.deltaX) > Math.abs(e.deltaY)) return void this.pan(e.deltaX / 600);
        this.zoom(Math.exp(Math.max(-1, Math.min(1, e.deltaY / 240))), at(e));
      }, { passive: false });
      c.addEventListener("pointerdown", (e) => {
        c.setPointerCapture(e.pointerId); this.pointers.set(e.pointerId, e.offsetX); c.focus({ preventScroll: true });
      });
      c.addEventListener("pointermove", (e) => {
        const before = this.pointers.get(e.pointerId);
        if (before !== undefined) {
          const others = [...this.pointers].filter(([id]) => id !== e.pointerId).map(([, x]) => x);
          this.pointers.set(e.pointerId, e.offsetX);
          if (others.length) {
            const was = Math.abs(before - others[0]), is = Math.abs(e.offsetX - others[0]);
            if (was > 4 && is > 4) this.zoom(was / is, this.t((e.offsetX + others[0]) / 2));
          } else {
            const s = (before - e.offsetX) / this.plotWidth * (this.b - this.a);
            this.set(this.a + s, this.b + s);
          }
        }
        this.hover = at(e); this.draw();
      });
      const up = (e) => this.pointers.delete(e.pointerId);
      c.addEventListener("pointerup", up); c.addEventListener("pointercancel", up);
      c.addEventListener("pointerleave", () => { this.hover = null; this.draw(); });
      c.addEventListener("dblclick", (e) => this.zoom(0.25, at(e)));
      c.addEventListener("keydown", (e) => {
        const keys = {
          ArrowLeft: () => this.pan(-0.2), ArrowRight: () => this.pan(0.2), "+": () => this.zoom(0.5), "=": () => this.zoom(0.5),
          "-": () => this.zoom(2), ArrowUp: () => this.zoom(0.5), ArrowDown: () => this.zoom(2), Home: () => this.show("all"),
          "0": () => this.show("all"), i: () => this.show("inference"), s: () => this.show("standby"), p: () => this.show("probe"),
        };
        if (e.ctrlKey || e.metaKey || e.altKey || !keys[e.key]) return;
        e.preventDefault(); keys[e.key]();
      });
      this.figure.querySelectorAll("button[data-do]").forEach((button) => {
        const what = button.dataset.do;
        button.addEventListener("click", () => {
          if (what === "in") this.zoom(0.5); else if (what === "out") this.zoom(2);
          else if (what === "left") this.pan(-0.4); else if (what === "right") this.pan(0.4);
          else this.show(what);
        });
      });
      if (this.overview) {
        const go = (e) => {
          if (e.type === "pointermove" && !e.buttons) return;
          const r = this.overview.getBoundingClientRect(), t = (e.clientX - r.left) / r.width * this.d.seconds, half = (this.b - this.a) / 2;
          this.set(t - half, t + half);
        };
        this.overview.addEventListener("pointerdown", go); this.overview.addEventListener("pointermove", go);
      }
      new ResizeObserver(() => this.draw()).observe(this.canvas);
      matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    }

    x(t) { return this.left + (t - this.a) / (this.b - this.a) * this.plotWidth; }
    t(x) { return this.a + (x - this.left) / this.plotWidth * (this.b - this.a); }

    /* ---- what there is at a time ---- */
    powerAt(t) {
      for (const s of this.stretches) {
        if (t < s.a || t >= s.b) continue;
        const k = firstAtLeast(s.edge, t / this.d.tick_s) - 1;
        if (k < 0 || k >= s.power.length) continue;
        return { readings: true, mean: s.power[k] };
      }
      const l = this.levels[this.levels.length - 1], k = Math.min(l.bins - 1, Math.max(0, Math.floor(t / l.bin)));
      return { readings: false, low: l.low[k], mean: l.mean[k], high: l.high[k], bin: l.bin };
    }
    busyAt(t) {
      if (!this.busy) return -1;
      const q = this.busy, tick = t / this.d.tick_s;
      for (let i = firstAtLeast(q.begin, tick + 1) - 1; i >= 0 && q.begin[i] + this.longest >= tick; i--)
        if (q.begin[i] + q.length[i] > tick) return i;
      return -1;
    }
    kernelEdges(i) {
      const k = this.d.kernels, own = k.own[i], begin = this.busy.begin[i] * this.d.tick_s, length = this.busy.length[i] * this.d.tick_s;
      if (own) return { own: true, edge: (j) => [own[2 * j], own[2 * j + 1]] };
      return { own: false, edge: (j) => [begin + k.begin[j] * length, begin + k.end[j] * length] };
    }
    says(t) {
      const p = this.powerAt(t), parts = ["t = " + t.toFixed(Math.max(3, Math.min(6, 3 - Math.floor(Math.log10(this.b - this.a))))) + " s"];
      if (p.mean === MISSING) parts.push("no reading");
      else if (p.readings) parts.push(watt(this.w(p.mean)) + " (one reading)");
      else parts.push(watt(this.w(p.mean)) + " mean, " + watt(this.w(p.low)) + " to " + watt(this.w(p.high)) + " in " + time(p.bin));
      const span = this.d.spans.find((s) => t >= s[2] && t < s[3]);
      const i = this.busyAt(t);
      if (span) parts.push((PHASE[span[1]] ? PHASE[span[1]][1] : span[1]) + " of start " + (span[0] + 1));
      if (i >= 0) {
        const q = this.busy, phase = q.phases[q.phase[i]];
        parts.push((phase === "marker" ? "chip " : "inference ") + q.number[i] + " (" + time(q.length[i] * this.d.tick_s) + ")");
        if (this.d.kernels && phase !== "marker") {
          const e = this.kernelEdges(i), k = this.d.kernels;
          for (let j = 0; j < k.names.length; j++) {
            const [a, b] = e.edge(j);
            if (t >= a && t < b) { parts.push("layer " + k.names[j] + " (" + k.ops[j] + ", " + time(b - a) + (e.own ? "" : ", from the profile") + ")"); break; }
          }
        }
      } else if (span && this.busy && !span[1].startsWith("standby") && span[1] !== "load") parts.push("no inference");
      return parts.join("  ·  ");
    }

    /* ---- drawing ---- */
    draw() {
      if (this.queued) return;
      this.queued = true;
      requestAnimationFrame(() => { this.queued = false; this.paint(); });
    }

    surface(canvas) {
      const ratio = window.devicePixelRatio || 1, w = canvas.clientWidth, h = canvas.clientHeight;
      if (canvas.width !== Math.round(w * ratio) || canvas.height !== Math.round(h * ratio)) {
        canvas.width = Math.round(w * ratio); canvas.height = Math.round(h * ratio);
      }
      const g = canvas.getContext("2d");
      g.setTransform(ratio, 0, 0, ratio, 0, 0);
      g.clearRect(0, 0, w, h);
      g.font = "12px system-ui, sans-serif";
      return [g, w, h];
    }

    paint() {
      const [g, W, H] = this.surface(this.canvas), colour = this.colours();
      if (!W) return;
      const layers = this.d.kernels ? 22 : 0, strip = this.d.busy ? 16 : 0;
      this.left = 52; this.plotWidth = W - this.left - 8;
      const top = 22, bottom = H - 26 - layers - strip, pxs = (this.b - this.a) / this.plotWidth;
      const drawn = this.collect(pxs);
      let low = Infinity, high = -Infinity;
      for (const s of drawn.pieces) { low = Math.min(low, s.low); high = Math.max(high, s.high); }
      for (const r of drawn.runs) for (let k = r.from; k < r.to; k++) { const c = r.s.power[k]; if (c !== MISSING) { low = Math.min(low, c); high = Math.max(high, c); } }
      if (!(high >= low)) { low = 0; high = MISSING - 1; }
      low = this.w(low); high = this.w(high);
      const line = this.d.standby ? this.d.standby.line : null;
      if (line) for (const p of line) { low = Math.min(low, p[1]); high = Math.max(high, p[1]); }
      const room = Math.max(0.07 * (high - low), 1e-6);
      low -= room; high += room;
      const y = (w) => bottom - (w - low) / (high - low) * (bottom - top);
      g.save(); g.beginPath(); g.rect(this.left, 0, this.plotWidth, H); g.clip();
      const fine = this.marks(g, colour, top, bottom, strip, layers, pxs);
      this.power(g, colour, drawn, y, pxs);
      if (line) this.level(g, colour("--green"), line, y, "standby");
      if (this.d.gap_w !== null && fine) this.level(g, colour("--ink"), [[this.a, this.d.gap_w], [this.b, this.d.gap_w]], y, "gap");
      if (this.d.simulated) {
        g.globalAlpha = 0.1; g.fillStyle = colour("--ink"); g.font = "bold " + Math.min(64, W / 12) + "px system-ui, sans-serif";
        g.textAlign = "center"; g.fillText("SIMULATED", this.left + this.plotWidth / 2, (top + bottom) / 2 + 16);
        g.globalAlpha = 1; g.font = "12px system-ui, sans-serif";
      }
      g.restore();
      this.axes(g, colour, top, bottom, low, high, y, H);
      const at = this.hover;
      if (at !== null && at >= this.a && at <= this.b) {
        g.strokeStyle = colour("--ink"); g.globalAlpha = 0.6; g.beginPath(); g.moveTo(this.x(at), top); g.lineTo(this.x(at), H - 26); g.stroke(); g.globalAlpha = 1;
        const p = this.powerAt(at);
        if (p.mean !== MISSING) { g.fillStyle = colour("--power"); g.beginPath(); g.arc(this.x(at), y(this.w(p.mean)), 3.5, 0, 7); g.fill(); }
      }
      this.readout.textContent = at === null ? this.readout.dataset.idle : this.says(at);
      this.resolution.textContent = drawn.says + "; " + time(this.b - this.a) + " shown of " + time(this.d.seconds) + ".";
      if (this.overview) this.small(colour);
    }

    /* Which data the view is drawn from: runs of single readings where they exist and fit, columns of a level elsewhere. */
    collect(pxs) {
      const d = this.d, runs = [], pieces = [];
      for (const s of this.stretches) {
        if (s.b <= this.a || s.a >= this.b) continue;
        const from = Math.max(0, firstAtLeast(s.edge, this.a / d.tick_s) - 1), to = Math.min(s.power.length, firstAtLeast(s.edge, this.b / d.tick_s) + 1);
        const seconds = Math.min(s.b, this.b) - Math.max(s.a, this.a);
        if ((to - from) <= 2.5 * Math.max(seconds / pxs, 8)) runs.push({ s, from, to });
      }
      let level = this.levels[0];
      for (const l of this.levels) { level = l; if (l.bin <= pxs) break; }
      const first = Math.max(0, Math.floor(this.a / level.bin)), last = Math.min(level.bins, Math.ceil(this.b / level.bin));
      const wide = Math.max(1, Math.floor(pxs / level.bin));
      let inRuns = 0;
      for (let k = first; k < last; k += wide) {
        const a = k * level.bin, b = Math.min(k + wide, last) * level.bin, middle = (a + b) / 2;
        if (runs.some((r) => middle >= r.s.a && middle <= r.s.b)) { inRuns++; continue; }
        let low = MISSING, high = -1, sum = 0, n = 0;
        for (let j = k; j < Math.min(k + wide, last); j++) {
          if (level.mean[j] === MISSING) continue;
          low = Math.min(low, level.low[j]); high = Math.max(high, level.high[j]); sum += level.mean[j]; n++;
        }
        if (n) pieces.push({ a, b, low, high, mean: sum / n });
      }
      const bin = wide * level.bin, readings = Math.max(1, Math.round(bin / d.period_s));
      let says = "Every column runs from the lowest to the highest of about " + readings + " readings (" + time(bin) + "), the line is their mean";
      if (runs.length && pieces.length <= 2) says = "Every single reading is drawn (one each " + time(d.period_s) + ")";
      else if (runs.length) says = "Single readings where they are kept; elsewhere " + says.toLowerCase();
      return { runs, pieces, says };
    }

    power(g, colour, drawn, y, pxs) {
      g.fillStyle = colour("--envelope");
      for (const p of drawn.pieces) {
        const x = this.x(p.a), top = y(this.w(p.high)), bottom = y(this.w(p.low));
        g.fillRect(x, top, Math.max((p.b - p.a) / pxs, 0.7), Math.max(bottom - top, 0.8));
      }
      g.strokeStyle = colour("--power"); g.lineWidth = 1.3; g.lineJoin = "round";
      g.beginPath();
      let last = -1;
      for (const p of drawn.pieces) {
        const yy = y(this.w(p.mean));
        if (last < 0 || p.a - last > 1e-9 + 0.5 * (p.b - p.a)) g.moveTo(this.x(p.a), yy); else g.lineTo(this.x(p.a), yy);
        g.lineTo(this.x(p.b), yy);
        last = p.b;
      }
      for (const r of drawn.runs) {
        let pen = false;
        for (let k = r.from; k < r.to; k++) {
          const c = r.s.power[k];
          if (c === MISSING) { pen = false; continue; }
          const yy = y(this.w(c)), x0 = this.x(r.s.edge[k] * this.d.tick_s), x1 = this.x(r.s.edge[k + 1] * this.d.tick_s);
          if (pen) g.lineTo(x0, yy); else g.moveTo(x0, yy);
          g.lineTo(x1, yy);
          pen = true;
        }
      }
      g.stroke(); g.lineWidth = 1;
    }

    level(g, stroke, line, y, name) {
      g.strokeStyle = stroke; g.setLineDash([6, 4]); g.lineWidth = 1.4; g.beginPath();
      line.forEach((p, k) => k ? g.lineTo(this.x(p[0]), y(p[1])) : g.moveTo(this.x(p[0]), y(p[1])));
      g.stroke(); g.setLineDash([]); g.lineWidth = 1;
      const [p, q] = [line[0], line[line.length - 1]], t = Math.min(this.b, q[0]), w = p[1] + (q[1] - p[1]) * (q[0] > p[0] ? (t - p[0]) / (q[0] - p[0]) : 0);
      if (t > this.a) { g.fillStyle = stroke; g.textAlign = "right"; g.fillText(name, this.x(t) - 4, y(w) - 4); }
    }

    /* Phases above, shading behind, inferences and layers beneath. Returns whether single inferences are told apart. */
    marks(g, colour, top, bottom, strip, layers, pxs) {
      const q = this.busy, d = this.d;
      let rows = [], fine = false;
      if (q) {
        const i0 = firstAtLeast(q.begin, Math.max(0, this.a / d.tick_s - this.longest)), i1 = firstAtLeast(q.begin, this.b / d.tick_s);
        fine = i1 - i0 > 0 && (i1 - i0) < this.plotWidth / 3;
        for (let i = i0; i < i1 && fine; i++) if (q.begin[i] + q.length[i] > this.a / d.tick_s) rows.push(i);
      }
      g.textAlign = "left";
      for (const s of d.spans) {
        if (s[3] < this.a || s[2] > this.b) continue;
        const [name, label] = PHASE[s[1]] || ["--grey", s[1]], x0 = this.x(Math.max(s[2], this.a)), x1 = this.x(Math.min(s[3], this.b));
        g.fillStyle = colour(name); g.globalAlpha = 0.9; g.fillRect(x0, 3, Math.max(x1 - x0, 1), 5); g.globalAlpha = 1;
        if (SHADED.has(s[1]) && !(fine && rows.length && !s[1].startsWith("standby"))) {
          g.globalAlpha = 0.13; g.fillRect(x0, top - 4, Math.max(x1 - x0, 1), bottom - top + 4); g.globalAlpha = 1;
        }
        if (x1 - x0 > g.measureText(label).width + 4) { g.fillStyle = colour("--muted"); g.fillText(label, x0 + 2, 19); }
      }
      if (!fine) {
        if (strip && this.b - this.a < d.seconds * 0.5) { g.fillStyle = colour("--muted"); g.fillText(this.figure.dataset.hint || "", this.left + 4, bottom + strip + 8); }
        return false;
      }
      for (const i of rows) {
        const phase = q.phases[q.phase[i]], a = q.begin[i] * d.tick_s, b = a + q.length[i] * d.tick_s, x0 = this.x(a), x1 = this.x(b);
        const [name] = PHASE[phase] || ["--grey"];
        g.fillStyle = colour(name);
        g.globalAlpha = phase === "measured" ? 0.17 : 0.1; g.fillRect(x0, top - 4, x1 - x0, bottom - top + 4);
        g.globalAlpha = 0.85; g.fillRect(x0, bottom + 22, Math.max(x1 - x0 - 1, 1), strip - 4); g.globalAlpha = 1;
        const seen0 = Math.max(x0, this.left), seen1 = Math.min(x1, this.left + this.plotWidth), label = (phase === "marker" ? "chip " : "inference ") + q.number[i];
        const text = seen1 - seen0 > g.measureText(label).width + 8 ? label : seen1 - seen0 > g.measureText(String(q.number[i])).width + 6 ? String(q.number[i]) : "";
        if (text) { g.fillStyle = colour("--on-mark"); g.fillText(text, seen0 + 4, bottom + 22 + strip - 6); }
        if (layers && phase !== "marker" && x1 - x0 > 40) this.kernels(g, colour, i, top, bottom, bottom + 22 + strip, layers - 2);
      }
      return true;
    }

    kernels(g, colour, i, top, bottom, y, height) {
      const k = this.d.kernels, e = this.kernelEdges(i);
      for (let j = 0; j < k.names.length; j++) {
        const [a, b] = e.edge(j);
        if (b < this.a || a > this.b) continue;
        const x0 = Math.max(this.x(a), this.left), x1 = Math.min(this.x(b), this.left + this.plotWidth), wide = x1 - x0;
        g.fillStyle = k.colours[j];
        g.fillRect(x0, y, Math.max(wide - (wide > 3 ? 1 : 0), 0.6), height);
        if (wide > 5) { g.globalAlpha = 0.25; g.strokeStyle = colour("--ink"); g.beginPath(); g.moveTo(x0, top); g.lineTo(x0, bottom); g.stroke(); g.globalAlpha = 1; }
        if (wide > 30) {
          let text = k.names[j].split("/").filter(Boolean).pop() || k.names[j];
          while (text.length > 3 && g.measureText(text).width > wide - 6) text = text.slice(0, text.length - 2);
          if (g.measureText(text).width <= wide - 4) { g.fillStyle = /^#(00|60|D5|A6)/.test(k.colours[j]) ? "#fff" : "#111"; g.fillText(text, x0 + 3, y + height - 6); }
        }
      }
    }

    axes(g, colour, top, bottom, low, high, y, H) {
      g.strokeStyle = colour("--line"); g.fillStyle = colour("--muted");
      const dy = steps(high - low, (bottom - top) / 45), dx = steps(this.b - this.a, this.plotWidth / 90);
      const places = (s) => Math.max(0, -Math.floor(Math.log10(s) + 1e-9));
      g.textAlign = "right";
      for (let w = Math.ceil(low / dy) * dy; w <= high; w += dy) {
        const yy = Math.round(y(w)) + 0.5;
        g.globalAlpha = 0.6; g.beginPath(); g.moveTo(this.left, yy); g.lineTo(this.left + this.plotWidth, yy); g.stroke(); g.globalAlpha = 1;
        g.fillText(w.toFixed(places(dy)), this.left - 6, yy + 4);
      }
      g.textAlign = "center";
      for (let k = Math.ceil(this.a / dx); k * dx <= this.b + 1e-12; k++) {
        const xx = Math.round(this.x(k * dx)) + 0.5;
        g.beginPath(); g.moveTo(xx, bottom); g.lineTo(xx, bottom + 5); g.stroke();
        const label = (k * dx).toFixed(places(dx)), half = g.measureText(label).width / 2;
        if (xx + half < this.left + this.plotWidth - 34) g.fillText(label, Math.max(xx, this.left + half - 10), bottom + 17);
      }
      g.textAlign = "right"; g.fillText("time (s)", this.left + this.plotWidth, bottom + 17);
      g.strokeStyle = colour("--muted"); g.beginPath(); g.moveTo(this.left + 0.5, top - 4); g.lineTo(this.left + 0.5, bottom + 0.5); g.lineTo(this.left + this.plotWidth, bottom + 0.5); g.stroke();
      g.save(); g.translate(11, (top + bottom) / 2); g.rotate(-Math.PI / 2); g.textAlign = "center"; g.fillText("power (W)", 0, 0); g.restore();
    }

    small(colour) {
      const [g, W, H] = this.surface(this.overview), l = this.levels[0], d = this.d;
      let low = MISSING, high = 0;
      for (let k = 0; k < l.bins; k++) if (l.mean[k] !== MISSING) { low = Math.min(low, l.low[k]); high = Math.max(high, l.high[k]); }
      const y = (c) => H - 3 - (c - low) / Math.max(1, high - low) * (H - 10);
      for (const s of d.spans) {
        g.fillStyle = colour((PHASE[s[1]] || ["--grey"])[0]); g.globalAlpha = 0.8;
        g.fillRect(s[2] / d.seconds * W, 0, Math.max(1, (s[3] - s[2]) / d.seconds * W), 3); g.globalAlpha = 1;
      }
      g.fillStyle = colour("--envelope");
      for (let k = 0; k < l.bins; k++) if (l.mean[k] !== MISSING) g.fillRect(k / l.bins * W, y(l.high[k]), Math.max(W / l.bins, 0.7), Math.max(1, y(l.low[k]) - y(l.high[k])));
      const x0 = this.a / d.seconds * W, x1 = Math.max(this.b / d.seconds * W, x0 + 2);
      g.fillStyle = colour("--veil"); g.fillRect(0, 0, x0, H); g.fillRect(x1, 0, W - x1, H);
      g.strokeStyle = colour("--ink"); g.strokeRect(x0 + 0.5, 0.5, Math.max(x1 - x0 - 1, 1), H - 1);
    }
  }

  window.JoulebenchTrace = Trace;
})();
