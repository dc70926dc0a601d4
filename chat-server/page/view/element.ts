// Making elements. Everything that people wrote is set as text, never as markup.

type Child = Node | string;

/** The element of the page with that id, which is there. */
export function byId<Kind extends HTMLElement = HTMLElement>(id: string): Kind {
  return document.getElementById(id) as Kind;
}

export function element<Tag extends keyof HTMLElementTagNameMap>(tag: Tag, classes = '', ...children: Child[]): HTMLElementTagNameMap[Tag] {
  const made = document.createElement(tag);
  if (classes !== '') made.className = classes;
  made.append(...children);
  return made;
}

export function button(label: string, pressed: () => void): HTMLButtonElement {
  const made = element('button', '', label);
  made.type = 'button';
  made.addEventListener('click', pressed);
  return made;
}

/** One of the drawings in index.html; the words beside it say what it means. */
export function icon(name: string): SVGElement {
  const space = 'http://www.w3.org/2000/svg';
  const made = document.createElementNS(space, 'svg');
  const use = document.createElementNS(space, 'use');
  made.setAttribute('class', 'icon');
  made.setAttribute('aria-hidden', 'true');
  use.setAttribute('href', `#icon-${name}`);
  made.append(use);
  return made;
}

/** Words for those who do not see the page. */
export function unseen(text: string): HTMLElement {
  return element('span', 'unseen', text);
}

/** A name, kept apart from the direction of what is around it. */
export function isolate(name: string, classes = ''): HTMLElement {
  return element('bdi', classes, name);
}
