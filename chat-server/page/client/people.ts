// Who is in a room right now, folded from pages of members and from notices. Pure.
//
// Notices and pages may come in any order. Both carry the room's version, so that the newer one wins, person by person.

import type { MembersPage, Presence, PresenceReset, User } from './wire';

interface Known {
  readonly name: string;
  readonly online: boolean;
  readonly version: number;
}

export class People {
  readonly #known = new Map<string, Known>();
  /** What the pages of one reading have listed so far, and the version of the first of them. */
  #listed: { readonly ids: Set<string>; readonly since: number } | undefined;
  /** In large rooms the server says only how many there are, or only the first of them are asked for. */
  #count: number | undefined;

  /** Those who are known to be there, by name. */
  get online(): User[] {
    const users = [...this.#known].filter(([, { online }]) => online).map(([id, { name }]) => ({ id, name }));
    return users.sort((one, other) => one.name.localeCompare(other.name) || (one.id < other.id ? -1 : 1));
  }

  /** How many are there; those of whom no name is known included. */
  get count(): number {
    return this.#count ?? [...this.#known.values()].filter(({ online }) => online).length;
  }

  isOnline(id: string): boolean {
    return this.#known.get(id)?.online === true;
  }

  name(id: string): string | undefined {
    return this.#known.get(id)?.name;
  }

  /** One page of members, the first one first. `complete`: no page follows. */
  page({ members, version, total }: MembersPage, first: boolean, complete: boolean): void {
    if (first || this.#listed === undefined) this.#listed = { ids: new Set(), since: version };
    for (const { id, name } of members) {
      this.#listed.ids.add(id);
      this.#learn(id, { name, online: true, version });
    }
    this.#count = complete ? undefined : total;
    if (!complete) return;
    const { ids, since } = this.#listed;
    // Who is not listed and of whom nothing newer was said has left.
    for (const [id, person] of this.#known) if (!ids.has(id) && person.version <= since) this.#known.delete(id);
    this.#listed = undefined;
  }

  notice({ user, online, version, count }: Presence): void {
    const before = this.isOnline(user.id);
    if (!this.#learn(user.id, { name: user.name, online, version }) || this.#count === undefined) return;
    if (count !== undefined) this.#count = count;
    else if (before !== online) this.#count += online ? 1 : -1;
  }

  /** Somebody goes by another name; whether they are there is another matter. */
  rename(id: string, name: string): void {
    const known = this.#known.get(id);
    if (known !== undefined) this.#known.set(id, { ...known, name });
  }

  /** What was said before counts no more. */
  reset({ version, online, count }: PresenceReset): void {
    this.#count = online === undefined ? count : undefined;
    this.#listed = undefined;
    if (online === undefined) return;
    this.#known.clear();
    for (const { id, name } of online) this.#known.set(id, { name, online: true, version });
  }

  /** Another connection: versions of the last one say nothing any more. The people stay until the next page. */
  reconnected(): void {
    for (const [id, person] of this.#known) {
      if (person.online) this.#known.set(id, { ...person, version: -1 });
      else this.#known.delete(id);
    }
    this.#listed = undefined;
  }

  #learn(id: string, news: Known): boolean {
    const known = this.#known.get(id);
    if (known !== undefined && news.version < known.version) return false;
    this.#known.set(id, news);
    return true;
  }
}
