// The checker itself: it finds each kind of breach in a history made by hand, and nothing in a good one.

import assert from 'node:assert/strict';

import { breaches } from './support/checker.js';
import { test } from './support/testing.js';

/** A history that keeps every promise; `spoil` may damage it. */
function history(spoil = () => {}) {
  const entry = (offset) => ({ offset, key: `key-${offset}`, content: `text ${offset}` });
  const good = {
    log: [1, 2, 3, 4].map(entry),
    posts: [
      { key: 'key-1', content: 'text 1', answers: [{ ok: true, offset: 1 }] },
      { key: 'key-2', content: 'text 2', answers: [] },
      { key: 'key-3', content: 'text 3', answers: [{ ok: true }, { ok: true, offset: 3 }] },
      { key: 'key-4', content: 'text 4', answers: [{ ok: true, offset: 4 }] },
      { key: 'key-5', content: 'text 5', answers: [] },
    ],
    readers: [
      { name: 'ada', connections: [{ after: 0, received: [1, 2].map(entry) }, { after: 1, received: [2, 3, 4].map(entry) }] },
      { name: 'bob', connections: [{ after: 2, received: [3, 4].map(entry) }, { after: 4, received: [] }] },
      { name: 'tutorial', connections: [{ after: 0, received: [1, 2, 3, 4].map(entry).map(({ offset, content }) => ({ offset, content })) }] },
    ],
  };
  spoil(good);
  return good;
}

test('a history that keeps every promise has no breach', () => {
  assert.deepEqual(breaches(history()), []);
});

const ada = (history, connection) => history.readers[0].connections[connection].received;
const bob = (history) => history.readers[1].connections[0].received;
const tutorial = (history) => history.readers[2].connections[0].received;

const SPOILS = {
  'an acknowledged post is gone': [(h) => h.log.pop(), /was acknowledged and is not stored/],
  'a post is stored twice': [(h) => h.log.push({ offset: 5, key: 'key-2', content: 'text 2' }), /stored 2 times/],
  'an unanswered post is stored twice': [(h) => h.log.push({ offset: 5, key: 'key-9', content: 'text 2' }), /stored 2 times/],
  'a post is acknowledged at two offsets': [(h) => h.posts[0].answers.push({ ok: true, offset: 2 }), /several offsets: 1,2/],
  'a post is acknowledged at an offset where it does not stand': [(h) => { h.posts[0].answers = [{ ok: true, offset: 3 }]; }, /acknowledged at 3 and stands at 1/],
  'the log has a hole': [(h) => { h.log[3].offset = 5; }, /offset 5 where 4 belongs/],
  'the log holds what nobody posted': [(h) => { h.log[1].content = 'ghost'; }, /which nobody posted/],
  'the log has another key': [(h) => { h.log[1].key = 'other'; }, /the key other instead of key-2/],
  'a reader misses a message': [(h) => ada(h, 1).splice(1, 1), /ada, resuming after 1, missed 3 to 3/],
  'a reader misses the first message of a resume': [(h) => ada(h, 1).shift(), /ada, resuming after 1, missed 2 to 2/],
  'a reader misses the last message': [(h) => bob(h).pop(), /bob never got 4 to 4/],
  'a reader gets nothing': [(h) => { h.readers[2].connections = []; }, /tutorial never got 1 to 4/],
  'a reader gets a message twice': [(h) => ada(h, 1).splice(2, 0, ada(h, 1)[1]), /ada, resuming after 1, was sent 3 where 4 was due/],
  'a reader that resumes gets again what it has': [(h) => { h.readers[0].connections[1].after = 2; }, /ada, resuming after 2, was sent 2 where 3 was due/],
  'a reader gets messages out of order': [(h) => tutorial(h).reverse(), /tutorial, resuming after 0, was sent 3 where 5 was due/],
  'a reader sees another text': [(h) => { tutorial(h)[0].content = 'other'; }, /where the log has "text 1"/],
  'a reader sees another key': [(h) => { ada(h, 0)[0] = { ...ada(h, 0)[0], key: 'other' }; }, /ada was sent another key at offset 1/],
  'a reader sees what the log does not have': [(h) => bob(h).push({ offset: 5, key: 'key-5', content: 'text 5' }), /offset 5, which is not in the log/],
  'a reader is told of a loss that did not happen': [(h) => { h.readers[0].connections[0].lost = 1; }, /told that history is lost/],
};

for (const [story, [spoil, expected]] of Object.entries(SPOILS)) {
  test(`the checker sees that ${story}`, () => {
    const found = breaches(history(spoil));
    assert.ok(found.some((breach) => expected.test(breach)), `it found: ${found.join('; ') || 'nothing'}`);
  });
}
