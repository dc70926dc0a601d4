// The laws of the promises, for a finished history of one room. Pure: takes what was recorded, returns what is wrong with it.
//
// history = {
//   log:     [{offset, key, content}]   the room as it is in the end
//   posts:   [{key, content, answers: [{ok, offset}]}]   one per message somebody wanted to post, `answers` to every attempt
//   readers: [{name, connections: [{after, received: [{offset, key, content}], lost}]}]   `after`: the offset the client said it had;
//                                                                           `key` undefined where the protocol does not tell it
// }

/** Every breach, as a sentence; an empty list if the history keeps the promises. */
export function breaches({ log, posts, readers }) {
  const stored = new Map();
  for (const entry of log) stored.set(text(entry.content), [...(stored.get(text(entry.content)) ?? []), entry]);
  return [
    ...breachesOfLog(log, posts),
    ...posts.flatMap((post) => [...breachesOfPost(post, stored.get(text(post.content)) ?? [])]),
    ...readers.flatMap((reader) => [...breachesOfReader(reader, log)]),
  ];
}

function* breachesOfLog(log, posts) {
  for (const [index, { offset }] of log.entries()) {
    if (offset !== index + 1) yield `the log has offset ${offset} where ${index + 1} belongs`;
  }
  const known = new Map(posts.map((post) => [text(post.content), post]));
  for (const entry of log) {
    const post = known.get(text(entry.content));
    if (!post) yield `offset ${entry.offset} holds ${text(entry.content)}, which nobody posted`;
    // The tutorial's protocol does not show the key to readers, but the log is read by the full one.
    else if (entry.key !== post.key) yield `offset ${entry.offset} has the key ${entry.key} instead of ${post.key}`;
  }
}

function* breachesOfPost({ content, answers }, stored) {
  if (stored.length > 1) yield `${text(content)} is stored ${stored.length} times`;
  const yes = answers.filter(({ ok }) => ok);
  if (yes.length > 0 && stored.length === 0) yield `${text(content)} was acknowledged and is not stored`;
  const named = new Set(yes.map(({ offset }) => offset).filter((offset) => offset !== undefined));
  if (named.size > 1) yield `${text(content)} was acknowledged at several offsets: ${[...named]}`;
  for (const offset of named) {
    if (stored.length > 0 && stored[0].offset !== offset) yield `${text(content)} was acknowledged at ${offset} and stands at ${stored[0].offset}`;
  }
}

function* breachesOfReader({ name, connections }, log) {
  let newest = 0;
  for (const { after, received, lost = 0 } of connections) {
    if (lost > 0) yield `${name} was told that history is lost, and nothing was lost`;
    let due = after + 1;
    for (const message of received) {
      if (message.offset < due) yield `${name}, resuming after ${after}, was sent ${message.offset} where ${due} was due: a repeat, or out of order`;
      if (message.offset > due) yield `${name}, resuming after ${after}, missed ${due} to ${message.offset - 1}`;
      const entry = log[message.offset - 1];
      if (!entry) yield `${name} was sent offset ${message.offset}, which is not in the log`;
      else if (text(entry.content) !== text(message.content)) yield `${name} was sent ${text(message.content)} at offset ${message.offset}, where the log has ${text(entry.content)}`;
      else if (message.key !== undefined && message.key !== entry.key) yield `${name} was sent another key at offset ${message.offset}`;
      due = Math.max(due, message.offset + 1);
      newest = Math.max(newest, message.offset);
    }
  }
  if (newest < log.length) yield `${name} never got ${newest + 1} to ${log.length}`;
}

function text(content) {
  return JSON.stringify(content);
}
