import { MAX_FRAME_BYTES } from '../../hsm-adapters/frames/frame-channel.ts';
import { MAX_PAGE_BODY_BYTES, PAGE_CALLS, type PageAnswer, type PageCall } from '../proto/page-calls.ts';
import { ProtocolError } from './protocol-error.ts';

/** Above what an honest gateway keeps in flight (`pages.ts`). */
const MAX_WAITING = 128;
const MAX_CALL_BYTES = 6 * MAX_PAGE_BODY_BYTES + 4096;

/** The broker's end of the pages: what a control gateway says that a page asked for, and one answer to each. */
export class PageInlet {
  readonly #onPage: (call: PageCall) => Promise<PageAnswer>;
  readonly #send: (id: number, answer: Buffer) => void;
  /** Replaced when the process is: an answer to a call of the old one reaches nobody. */
  #waiting = new Set<number>();

  constructor(onPage: (call: PageCall) => Promise<PageAnswer>, send: (id: number, answer: Buffer) => void) {
    this.#onPage = onPage;
    this.#send = send;
  }

  /** @throws ProtocolError */
  call(id: number, payload: Buffer): void {
    const waiting = this.#waiting;
    if (waiting.has(id)) throw new ProtocolError('page call under a number that is in use');
    if (waiting.size >= MAX_WAITING) throw new ProtocolError('more page calls than it may have in flight');
    const call = readPageCall(payload);
    waiting.add(id);
    this.#onPage(call)
      .catch(
        (): PageAnswer => ({
          ok: false,
          reason: 'unavailable',
          message: 'internal error: the cause is in the operator’s log',
        }),
      )
      .then((answer) => {
        if (waiting.delete(id) && waiting === this.#waiting) this.#send(id, encode(answer));
      });
  }

  ended(): void {
    this.#waiting = new Set();
  }
}

function readPageCall(payload: Buffer): PageCall {
  if (payload.length > MAX_CALL_BYTES) throw new ProtocolError('page call is too long');
  let parsed: unknown;
  try {
    parsed = JSON.parse(payload.toString('utf8'));
  } catch (cause) {
    throw new ProtocolError('page call is not JSON', { cause });
  }
  const { name, peer, signIn, body } = (parsed ?? {}) as Record<string, unknown>;
  const known = PAGE_CALLS.find((candidate) => candidate === name);
  if (
    known === undefined ||
    typeof peer !== 'string' ||
    peer.length > 64 ||
    typeof body !== 'string' ||
    Buffer.byteLength(body) > MAX_PAGE_BODY_BYTES ||
    (signIn !== undefined && (typeof signIn !== 'string' || signIn.length > 64))
  ) {
    throw new ProtocolError('page call is malformed');
  }
  return { name: known, peer, signIn, body };
}

function encode(answer: PageAnswer): Buffer {
  const bytes = Buffer.from(JSON.stringify(answer));
  if (bytes.length + 64 < MAX_FRAME_BYTES) return bytes;
  const tooLong: PageAnswer = {
    ok: false,
    reason: 'unavailable',
    message: 'too much for a page: use `lastmile approvals`',
  };
  return Buffer.from(JSON.stringify(tooLong));
}
