// What a test has started is ended in the opposite order: clients before the server that they talk to.
//
// A client of the library that is closed while it changes transports waits for its server for 45 s.

const stacks = new WeakMap();

/** Runs `end` when the test `t` is over, before everything that was registered earlier. */
export function atEnd(t, end) {
  if (!stacks.has(t)) {
    const stack = [];
    stacks.set(t, stack);
    t.after(async () => {
      while (stack.length > 0) await stack.pop()();
    });
  }
  stacks.get(t).push(end);
}
