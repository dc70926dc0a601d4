// What an application needs of this module: see README.md.

export { Chat, type ChatEvents, type ChatOptions, type ChatState } from './chat';
export { guestSecret } from './guest';
export { type Draft, type KeyValues, Outbox, randomId } from './outbox';
export { People } from './people';
export { Reads } from './reads';
export { type Pending, Room } from './room';
export { Timeline } from './timeline';
export { Typing } from './typing';
export type * from './wire';
