// Seconds as a player shows them, with tenths.
export function clock(seconds) {
  const tenths = Math.round(seconds * 10);
  const minutes = Math.floor(tenths / 600);
  const rest = ((tenths % 600) / 10).toFixed(1).padStart(4, "0");
  const hours = Math.floor(minutes / 60);
  return hours ? `${hours}:${String(minutes % 60).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

// Round times for the marks below the time line, about so many.
export function ticks(duration, count) {
  const steps = [0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200];
  const step = steps.find((each) => duration / each <= count) ?? 14400;
  return Array.from({ length: Math.floor(duration / step) + 1 }, (_, number) => number * step);
}

export function megabytes(bytes) {
  if (bytes < 1e6) return `${Math.ceil(bytes / 1e3)} kB`;
  return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
}

export function shownScore(score) {
  return score < 0.01 ? "< 0.01" : score.toFixed(2);
}
