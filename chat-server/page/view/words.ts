// What the page says, in each of its languages.

const en = {
  language: 'Language',
  title: 'Chat',
  incomplete: 'The page did not load completely. Reload it.',
  skip: 'To the message box',

  rooms: 'Rooms',
  directs: 'Private chats',
  join: 'Join a room',
  joinHint: 'Name of a room',
  roomNameBad: 'That cannot be the name of a room.',
  leave: 'Leave this room',
  leaveUnsent: 'Messages that were not sent yet will be given up. Leave this room?',
  openSide: 'Show rooms',
  openPeople: 'Show people',
  close: 'Close',
  unread: (count: number) => (count === 1 ? '1 unread message' : `${count} unread messages`),
  privateChat: 'Private chat',
  you: 'You',
  noMessage: 'No messages yet',

  name: 'Your name',
  chooseName: 'Choose a name',
  nameHint: 'Others see it beside what you write.',
  save: 'Save',
  cancel: 'Cancel',
  nameRefused: (why: string) => `That name was refused: ${why}.`,
  guest: 'Guest',

  people: 'People here',
  peopleCount: (count: number) => (count === 1 ? '1 person here' : `${count} people here`),
  morePeople: (count: number) => `and ${count} more`,
  writeTo: (name: string) => `Write to ${name} privately`,
  here: 'Here now',
  away: 'Not here now',
  itIsYou: 'you',
  noDirect: (why: string) => `There is no private chat: ${why}.`,

  conversation: 'Conversation',
  messages: 'Messages',
  empty: 'No messages yet. Write the first one.',
  earlier: 'Earlier messages',
  newest: 'New messages',
  newFrom: 'New',
  today: 'Today',
  yesterday: 'Yesterday',
  removed: 'Message removed',
  bytes: (count: number) => `(${count} bytes)`,
  lost: 'Earlier messages are no longer kept on the server. This is what it has.',
  announce: (count: number) => `${count} new messages`,

  message: 'Message',
  messageTo: (room: string) => `Message ${room}`,
  send: 'Send',
  waiting: 'Waiting to be sent',
  stored: 'Sent',
  seen: 'Seen',
  seenBy: (names: string[], more: number) => `Seen by ${names.join(', ')}${more > 0 ? ` and ${more} more` : ''}`,
  notSent: (why: string) => `Not sent: ${why}`,
  tooLong: 'it is too long.',
  forbidden: 'you may not write here.',
  retry: 'Try again',
  edit: 'Edit',
  typing: (names: string[], count: number) => {
    if (names.length === 1 && count === 1) return `${names[0]} is typing…`;
    if (names.length === 2 && count === 2) return `${names[0]} and ${names[1]} are typing…`;
    return `${count} people are typing…`;
  },

  state: {
    connecting: () => 'Connecting…',
    'catching-up': (missing: number) => (missing > 0 ? `Catching up, ${missing} to go` : 'Catching up…'),
    online: () => 'Online',
    offline: () => 'Offline',
    refused: () => 'Not connected',
  },
  refused: (why: string) => `The server refused this connection: ${why}. Reload the page to try again.`,
  signedOut: (why: string) => `You were signed out${why && `: ${why}`}. Reload the page to come back.`,
  notDurable: 'This browser keeps nothing for this page: what has not been sent yet is gone when you close it.',
  shutOut: (why: string) => `You cannot be in this room${why && `: ${why}`}.`,
  causes: { kicked: 'you were asked to leave', banned: 'you are banned', expired: 'your sign-in has expired', signed_out: '' },
  until: (when: string) => `until ${when}`,
  again: 'Try again',
};

export type Words = typeof en;

const zh: Words = {
  language: '语言',
  title: '聊天',
  incomplete: '页面没有完整加载，请重新加载。',
  skip: '跳到输入框',

  rooms: '聊天室',
  directs: '私聊',
  join: '加入聊天室',
  joinHint: '聊天室名称',
  roomNameBad: '这不能用作聊天室名称。',
  leave: '离开此聊天室',
  leaveUnsent: '尚未发送的消息将被放弃。要离开此聊天室吗？',
  openSide: '显示聊天室',
  openPeople: '显示成员',
  close: '关闭',
  unread: (count) => `${count} 条未读消息`,
  privateChat: '私聊',
  you: '我',
  noMessage: '还没有消息',

  name: '你的名字',
  chooseName: '取个名字',
  nameHint: '别人会在你的消息旁看到它。',
  save: '保存',
  cancel: '取消',
  nameRefused: (why) => `这个名字被拒绝：${why}。`,
  guest: '访客',

  people: '在线成员',
  peopleCount: (count) => `${count} 人在线`,
  morePeople: (count) => `以及另外 ${count} 人`,
  writeTo: (name) => `与 ${name} 私聊`,
  here: '在线',
  away: '现在不在',
  itIsYou: '我',
  noDirect: (why) => `无法私聊：${why}。`,

  conversation: '对话',
  messages: '消息',
  empty: '还没有消息，来写第一条吧。',
  earlier: '更早的消息',
  newest: '新消息',
  newFrom: '新消息',
  today: '今天',
  yesterday: '昨天',
  removed: '消息已移除',
  bytes: (count) => `（${count} 字节）`,
  lost: '服务器不再保存更早的消息，以下是现有的全部内容。',
  announce: (count) => `${count} 条新消息`,

  message: '消息',
  messageTo: (room) => `发消息到 ${room}`,
  send: '发送',
  waiting: '等待发送',
  stored: '已发送',
  seen: '已读',
  seenBy: (names, more) => `${names.join('、')}${more > 0 ? `等 ${names.length + more} 人` : ''}已读`,
  notSent: (why) => `未发送：${why}`,
  tooLong: '消息太长。',
  forbidden: '你不能在这里发言。',
  retry: '重试',
  edit: '编辑',
  typing: (names, count) => {
    if (names.length === count && 0 < count && count <= 2) return `${names.join('和')}正在输入…`;
    return `${count} 人正在输入…`;
  },

  state: {
    connecting: () => '正在连接…',
    'catching-up': (missing) => (missing > 0 ? `正在同步，还剩 ${missing} 条` : '正在同步…'),
    online: () => '在线',
    offline: () => '离线',
    refused: () => '未连接',
  },
  refused: (why) => `服务器拒绝了此连接：${why}。请重新加载页面再试。`,
  signedOut: (why) => `你已退出登录${why && `：${why}`}。重新加载页面即可回来。`,
  notDurable: '此浏览器不为本页面保存任何内容：关闭页面后，尚未发送的消息将会丢失。',
  shutOut: (why) => `你不能进入此聊天室${why && `：${why}`}。`,
  causes: { kicked: '你被请出', banned: '你已被禁止进入', expired: '登录已过期', signed_out: '' },
  until: (when) => `直到 ${when}`,
  again: '重试',
};

export const LANGUAGES = { en, 'zh-Hans': zh } as const;
export type Language = keyof typeof LANGUAGES;

/** The first of the wanted languages that the page has. */
export function languageFor(wanted: readonly string[]): Language {
  for (const tag of wanted) {
    if (/^zh\b/i.test(tag)) return 'zh-Hans';
    if (/^en\b/i.test(tag)) return 'en';
  }
  return 'en';
}

/** The words of the language that was chosen, and how it writes times. */
export class Speech {
  words: Words = en;
  language: Language = 'en';
  #time!: Intl.DateTimeFormat;
  #day!: Intl.DateTimeFormat;
  #dayAndYear!: Intl.DateTimeFormat;
  #short!: Intl.DateTimeFormat;
  #whole!: Intl.DateTimeFormat;

  constructor(language: Language) {
    this.choose(language);
  }

  choose(language: Language): void {
    this.language = language;
    this.words = LANGUAGES[language];
    // Somebody whose browser speaks this language in their country's way is told the time in that way.
    const locale = navigator.languages.find((tag) => languageFor([tag]) === language && /^(en|zh)\b/i.test(tag)) ?? language;
    this.#time = new Intl.DateTimeFormat(locale, { hour: 'numeric', minute: '2-digit' });
    this.#day = new Intl.DateTimeFormat(locale, { weekday: 'long', day: 'numeric', month: 'long' });
    this.#dayAndYear = new Intl.DateTimeFormat(locale, { day: 'numeric', month: 'long', year: 'numeric' });
    this.#short = new Intl.DateTimeFormat(locale, { day: 'numeric', month: 'short' });
    this.#whole = new Intl.DateTimeFormat(locale, { dateStyle: 'long', timeStyle: 'short' });
  }

  time(at: number): string {
    return this.#format(this.#time, at);
  }

  whole(at: number): string {
    return this.#format(this.#whole, at);
  }

  /** Where there is little room. */
  shortDay(at: number): string {
    return this.#format(this.#short, at);
  }

  day(at: number, now = Date.now()): string {
    const date = new Date(at);
    const today = new Date(now);
    if (date.toDateString() === today.toDateString()) return this.words.today;
    today.setDate(today.getDate() - 1);
    if (date.toDateString() === today.toDateString()) return this.words.yesterday;
    return this.#format(date.getFullYear() === today.getFullYear() ? this.#day : this.#dayAndYear, at);
  }

  /** A server may say anything; what is no time is not shown. */
  #format(format: Intl.DateTimeFormat, at: number): string {
    return Number.isFinite(at) && Math.abs(at) <= 8.64e15 ? format.format(at) : '';
  }
}
