// Random numbers from a seed, so that a run can be told again. (What the clients and the server do meanwhile is theirs.)

export function seeded(seed) {
  let state = seed >>> 0;
  // mulberry32's step: small, and good enough to spread moments in time.
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return { between: (low, high) => low + next() * (high - low), pick: (list) => list[Math.floor(next() * list.length)] };
}
