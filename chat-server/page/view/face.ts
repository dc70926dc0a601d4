// The small circle that stands for a person or a room.

import { element } from './element';
import { initial, tint } from './text';

export function face(id: string, name: string): HTMLElement {
  const made = element('span', `face tint-${tint(id)}`, initial(name));
  made.setAttribute('aria-hidden', 'true');
  return made;
}

export function roomFace(): HTMLElement {
  const made = element('span', 'face hash', '#');
  made.setAttribute('aria-hidden', 'true');
  return made;
}
