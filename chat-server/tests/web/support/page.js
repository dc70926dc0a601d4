// People at the page, and what they see.
//
// CHAT_SCREENSHOTS=FOLDER keeps pictures of it.

import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';

import { newUser } from './browser.js';
import { until } from './until.js';

/** A user at the page. */
export async function visit(browser, server, options) {
  const user = await newUser(browser, options);
  user.page = await user.profile.newPage();
  await user.page.goto(server.url);
  return user;
}

export async function say(page, text) {
  await page.fill('#input', text);
  await page.press('#input', 'Enter');
}

export const texts = (page) => page.$$eval('#messages .text', (items) => items.map((item) => item.textContent));
export const state = (page) => page.getAttribute('#state', 'data-state');
/** What is shown as sent: in the room, or known to be stored. */
export const settled = (page) => page.$$eval('#messages .message:not(.waiting):not(.failed) .text', (items) => items.map((item) => item.textContent));

/** Waits until the page shows these messages, all of them settled, and nothing else: just after a click it may still show another room. */
export async function shows(page, expected) {
  let shown;
  await until(async () => {
    shown = [await settled(page), await texts(page)];
    return shown.every((found) => isDeepStrictEqual(found, expected));
  }, () => `the page shows ${JSON.stringify(expected)}; settled and shown are ${JSON.stringify(shown)}`, 30_000);
}

export function isIn(page, name) {
  return until(async () => (await state(page)) === name, `the page is ${name}`, 60_000);
}

export async function picture(page, name) {
  if (process.env.CHAT_SCREENSHOTS) await page.screenshot({ path: join(process.env.CHAT_SCREENSHOTS, `${name}.png`) });
}

/** A user at the page who has chosen a name. */
export async function visitAs(name, browser, server, options) {
  const user = await visit(browser, server, options);
  await isIn(user.page, 'online');
  await rename(user.page, name);
  return user;
}

/** Chooses a name as people do. */
export async function rename(page, name) {
  if (!(await page.isVisible('#me'))) await page.click('#open-side');
  await page.click('#me');
  await page.fill('#name', name);
  await page.press('#name', 'Enter');
  await page.waitForSelector('#naming:not([open])', { state: 'attached' });
}

/** Joins a room as people do. */
export async function enter(page, room) {
  await page.fill('#join-name', room);
  await page.press('#join-name', 'Enter');
  await until(async () => (await page.textContent('#room')) === room, `the page shows ${room}`);
}

/** The entry of a room in the list of rooms. */
export const entry = (page, title) => page.locator('a.room', { has: page.locator('.title', { hasText: title }) });

/** Turns to a room in the list, as people do: the page changes a moment after the click. */
export async function turnTo(page, title) {
  await entry(page, title).click();
  await until(async () => (await page.textContent('#room')) === title, `the page shows ${title}`);
}

/** What the page says is unread in a room, 0 if it says nothing. */
export async function unread(page, title) {
  const badge = entry(page, title).locator('.badge');
  return (await badge.count()) === 0 ? 0 : Number(await badge.textContent());
}

export const people = (page) => page.$$eval('#members .title', (names) => names.map((name) => name.textContent));
