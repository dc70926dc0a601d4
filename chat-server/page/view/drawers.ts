// What stands beside the conversation where there is room, and slides over it where there is none.

import { byId } from './element';

export class Drawer {
  readonly #panel: HTMLElement;
  readonly #opener: HTMLElement;
  readonly #wide: MediaQueryList;

  /** `wide`: the media query under which the panel stands beside the conversation. */
  constructor(panel: string, opener: string, wide: string) {
    this.#panel = byId(panel);
    this.#opener = byId(opener);
    this.#wide = matchMedia(wide);
    this.#opener.addEventListener('click', () => (this.#isOpen ? this.close() : this.open()));
    this.#panel.querySelector('.close')?.addEventListener('click', () => this.close());
    byId('veil').addEventListener('click', () => this.close());
    this.#wide.addEventListener('change', () => this.#set(false));
    addEventListener('keydown', (event) => event.key === 'Escape' && this.close());
    this.#set(false);
  }

  open(): void {
    this.#set(true);
    this.#panel.querySelector<HTMLElement>('.close')?.focus();
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#set(false);
    this.#opener.focus();
  }

  get #isOpen(): boolean {
    return this.#panel.classList.contains('open');
  }

  #set(open: boolean): void {
    this.#panel.classList.toggle('open', open);
    this.#opener.setAttribute('aria-expanded', String(open));
    const over = document.querySelector('.drawer.open') !== null;
    byId('veil').hidden = !over;
    byId('chat').inert = over;
  }
}
