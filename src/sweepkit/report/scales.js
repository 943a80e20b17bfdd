// Axes: from values to pixels and back, linear or logarithmic; where ticks are, and what they say.
"use strict";

// From a range of values to pixels and back; equal steps of the logarithm where that is asked.
function scaleOf(range, isLog, from, to) {
  const [low, high] = isLog ? range.map(Math.log10) : range;
  const width = (high - low) || 1;
  return {
    at: value => from + ((isLog ? Math.log10(value) : value) - low) / width * (to - from),
    back: pixel => {
      const value = low + (pixel - from) / (to - from) * width;
      return isLog ? 10 ** value : value;
    },
  };
}

// Whether floating-point numbers tell the ends of a range and what lies between them apart.
function isSpan([low, high], isLog) {
  if (isLog) return low > 1e-300 && high < 1e300 && high / low > 1 + 1e-9;
  return Number.isFinite(high - low) && high - low > 1e-9 * Math.max(Math.abs(low), Math.abs(high));
}

function ticksOf([low, high], isLog, wanted) {
  if (isLog && high / low > 8) {
    const digits = high / low > 1e4 ? [1] : high / low > 100 ? [1, 3] : [1, 2, 5], found = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
      for (const digit of digits) found.push(digit * 10 ** power);
    const inside = found.filter(value => value >= low && value <= high);
    return inside.filter((_, i) => i % Math.ceil(inside.length / (wanted + 2)) === 0);
  }
  const raw = (high - low) / wanted, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map(digit => digit * power).find(value => value >= raw);
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high + step * 1e-9; i++) found.push(i * step);
  return found;
}

// 1.5M, 0.0012, 2.31: short enough for an axis, and different where ticks are `apart`.
function short(value, apart = Math.abs(value) / 1e4) {
  const size = Math.abs(value);
  const [letter, times] = size < 1e4 ? ["", 1] : Object.entries({E: 1e18, P: 1e15, T: 1e12, G: 1e9, M: 1e6, k: 1e3}).find(([, n]) => size >= n);
  if (size && size < 1e-4) return value.toExponential(2).replace(/\.?0+e/, "e");
  let decimals = Math.min(8, Math.max(0, Math.ceil(-Math.log10(apart / times || 1) - 1e-9)));
  if (decimals < 8 && Math.abs(apart / times * 10 ** decimals % 1 - 0.5) < 1e-6) decimals += 1;  // steps of 2.5
  const text = (value / times).toFixed(decimals);
  return (text.includes(".") ? text.replace(/\.?0+$/, "") : text).replace("-", "−") + letter;
}

const least = values => values.reduce((a, b) => Math.min(a, b), Infinity);
const most = values => values.reduce((a, b) => Math.max(a, b), -Infinity);

function widened([low, high], isLog, share) {
  if (isLog) return low === high ? [low / 2, high * 2] : [low / (high / low) ** share, high * (high / low) ** share];
  const margin = share * (high - low) || (low === high ? Math.abs(low) / 10 || 1 : 0);
  return [low - margin, high + margin];
}

// From the least to the most of values, without those that lie far from the others.
function usual(values) {
  const sorted = [...values].sort((a, b) => a - b), at = share => sorted[Math.round(share * (sorted.length - 1))];
  const reach = 4 * (at(0.75) - at(0.25)) || Infinity;
  return [Math.max(sorted[0], at(0.25) - reach), Math.min(sorted.at(-1), at(0.75) + reach)];
}
