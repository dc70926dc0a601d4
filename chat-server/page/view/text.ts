// What people wrote, made fit to be shown: names that cannot rearrange what is around them, links that are only links. Pure.

import type { Words } from './words';

const NAME_MAX = 64;
/** What turns the direction of text around; in a name it could only deceive. Also what cannot be seen at all. */
const TURNING = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;
const UNSEEN = /[\p{Cc}\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u2028\u2029\u2060-\u2064\u2800\u3164\ufeff\uffa0]/gu;
/** What shows only together with something else. */
const BESIDE = /^[\s\p{M}\u200c\u200d]*$/u;
/** No script needs as many marks above one another; piled up higher they cover what others wrote. */
const PILED = /(\p{M}{4})\p{M}+/gu;

/** A name as it is shown: one line, in its own order. Empty if nothing of it can be seen. */
export function nameOf(name: unknown): string {
  if (typeof name !== 'string') return '';
  const seen = name.replace(TURNING, '').replace(UNSEEN, ' ').replace(PILED, '$1').replace(/\s+/g, ' ').trim();
  return BESIDE.test(seen) ? '' : [...seen].slice(0, NAME_MAX).join('');
}

/** A name for where no element can keep it apart: in a title, a label, a sentence. */
export function isolated(name: string): string {
  return `\u2068${name}\u2069`;
}

/** The text of a message: `{text}` is this page's convention, a plain string that of simpler clients. */
export function textOf(content: unknown, words: Words): string {
  if (typeof content === 'string') return content;
  if (typeof content === 'object' && content !== null && 'text' in content && typeof content.text === 'string') return content.text;
  if (content instanceof ArrayBuffer) return words.bytes(content.byteLength);
  return JSON.stringify(content, (_, value) => (value instanceof ArrayBuffer ? words.bytes(value.byteLength) : value)) ?? '';
}

export type Part = string | { readonly text: string; readonly href: string };

/** Longer ones work nowhere. */
const LINK_MAX = 2_000;
const LINK = /\bhttps?:\/\/[^\s<>"'`\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069，。！？；：、（）《》「」]+/giu;

/** Text in parts: what is an http or https address by itself, and the rest. Together they are the text. */
export function parts(text: string): Part[] {
  const found: Part[] = [];
  let end = 0;
  for (const { 0: match, index } of text.matchAll(LINK)) {
    const address = withoutTrail(match);
    const href = address.length <= LINK_MAX ? hrefOf(address) : undefined;
    if (href === undefined) continue;
    if (end < index) found.push(text.slice(end, index));
    found.push({ text: address, href });
    end = index + address.length;
  }
  if (end < text.length) found.push(text.slice(end));
  return found;
}

/** Where a link leads, if it leads to a place on the web. What looks like `user@host` hides the host, so it is none. */
function hrefOf(address: string): string | undefined {
  try {
    const url = new URL(address);
    const web = url.protocol === 'http:' || url.protocol === 'https:';
    return web && url.username === '' && url.password === '' ? url.href : undefined;
  } catch {
    return undefined;
  }
}

/** The full stop of a sentence is no part of an address, nor is a bracket that was opened before it. */
function withoutTrail(address: string): string {
  let unopened = address.split(')').length - address.split('(').length;
  let end = address.length;
  for (; 0 < end; end -= 1) {
    const last = address.charAt(end - 1);
    const isUnopened = last === ')' && 0 < unopened;
    if (!isUnopened && !/[.,;:!?*_~\]}]/.test(last)) break;
    if (isUnopened) unopened -= 1;
  }
  return address.slice(0, end);
}

/** One of eight colours, the same for the same person everywhere. */
export function tint(id: string): number {
  let sum = 0;
  for (const character of id) sum = (sum * 31 + (character.codePointAt(0) ?? 0)) % 8_191;
  return sum % 8;
}

/** What stands for a name in a small circle. */
export function initial(name: string): string {
  const [first] = new Intl.Segmenter().segment(name);
  return first?.segment.toLocaleUpperCase() ?? '?';
}

/** The name of an ordinary room as the server wants it, undefined if it cannot be one. */
export function roomNameOf(typed: string): string | undefined {
  const name = typed.trim().replace(/^#\s*/, '').normalize('NFC');
  const characters = [...name].length;
  if (characters < 1 || 128 < characters || /\p{Cc}/u.test(name) || name.startsWith('~') || name.startsWith('dm:') || nameOf(name) === '') return undefined;
  return name;
}
