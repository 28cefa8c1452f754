/** What both pages need of the browser. Runs in the browser: it imports nothing but types. */
import type { PageAnswer, PageCallName, PageRefusal } from '../../proto/page-calls.ts';

/** What the broker, or the gateway in front of it, refused. The message is for the person. */
export class Refused extends Error {
  readonly reason: PageRefusal;

  constructor(reason: PageRefusal, message: string) {
    super(message);
    this.reason = reason;
  }
}

/** @throws Refused */
export async function ask<T>(name: PageCallName, body: object): Promise<T> {
  let answer: PageAnswer;
  try {
    const response = await fetch(`/api/${name}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      credentials: 'same-origin',
      cache: 'no-store',
      redirect: 'error',
    });
    answer = (await response.json()) as PageAnswer;
  } catch (cause) {
    throw new Refused('unavailable', `the broker cannot be reached: ${String(cause)}`);
  }
  if (!answer.ok) throw new Refused(answer.reason, answer.message);
  return answer.body as T;
}

export function element<T extends HTMLElement>(id: string, kind: abstract new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no ${id}`);
  return found;
}

export function toBase64Url(bytes: ArrayBuffer | Uint8Array): string {
  let binary = '';
  for (const byte of new Uint8Array(bytes)) binary += String.fromCharCode(byte);
  return btoa(binary).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
}

export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text.replaceAll('-', '+').replaceAll('_', '/'));
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

export async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
}

export function toHex(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Why a browser gave no passkey, in words. Browsers do not say more, on purpose. */
export function passkeyTrouble(error: unknown): string {
  if (error instanceof DOMException && error.name === 'NotAllowedError')
    return 'the passkey was not used: cancelled, too late, or none of this site is on this device';
  if (error instanceof DOMException && error.name === 'InvalidStateError')
    return 'this device has a passkey for that id already';
  return error instanceof Error ? error.message : String(error);
}
