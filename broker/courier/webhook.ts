import { createHmac } from 'node:crypto';
import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import type { WebhookDestination } from './courier-frames.ts';
import { bodyOf, type Notice } from './notice.ts';

export type Secret = Uint8Array;

/** Why a delivery failed. The message is bounded and holds nothing that the other side said. */
export class DeliveryError extends Error {
  override readonly name = 'DeliveryError';
  /** What the receiver asked for (`Retry-After`), milliseconds. */
  readonly retryAfterMs: number | undefined;

  constructor(message: string, retryAfterMs?: number) {
    super(message);
    this.retryAfterMs = retryAfterMs;
  }
}

const MAX_RETRY_AFTER_S = 3_600;
const MIN_SECRET_BYTES = 24;

/**
 * One secret a line: `whsec_` and base64, as Standard Webhooks writes them, or any text of at least 24 bytes.
 *
 * @throws Error that names no part of a secret
 */
export function readSecrets(text: string): readonly Secret[] {
  const secrets = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .map((line) => (line.startsWith('whsec_') ? Buffer.from(line.slice(6), 'base64') : Buffer.from(line)));
  if (secrets.length === 0 || secrets.length > 4) throw new Error('holds no secret, or more than four');
  if (secrets.some((secret) => secret.length < MIN_SECRET_BYTES))
    throw new Error(`holds a secret of less than ${MIN_SECRET_BYTES} bytes`);
  return secrets;
}

/** `webhook-signature` of Standard Webhooks, symmetric: a receiver accepts when one of them is right. */
export function signatures(
  secrets: readonly Secret[],
  id: string,
  timestampSeconds: number,
  body: string,
): string {
  return secrets
    .map((secret) =>
      createHmac('sha256', secret).update(`${id}.${timestampSeconds}.${body}`).digest('base64'),
    )
    .map((mac) => `v1,${mac}`)
    .join(' ');
}

/**
 * One attempt. Redirects are not followed: a destination is what the configuration says, and nothing that a receiver
 * answers leads elsewhere.
 *
 * @param now milliseconds of the Unix epoch, for the signature: receivers refuse what is old
 * @throws DeliveryError
 */
export function postWebhook(
  destination: WebhookDestination,
  secrets: readonly Secret[],
  ca: string | undefined,
  notice: Notice,
  now: number,
): Promise<void> {
  const url = new URL(destination.url);
  const body = bodyOf(notice);
  const timestamp = Math.floor(now / 1000);
  const request = url.protocol === 'https:' ? requestHttps : requestHttp;
  return new Promise((resolve, reject) => {
    const sent = request(url, {
      method: 'POST',
      agent: false,
      ...(ca === undefined ? {} : { ca }),
      signal: AbortSignal.timeout(destination.timeoutMs),
      maxHeaderSize: 16 * 1024,
      headers: {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
        'user-agent': 'lastmile-courier',
        'webhook-id': notice.id,
        'webhook-timestamp': String(timestamp),
        'webhook-signature': signatures(secrets, notice.id, timestamp, body),
      },
    });
    sent.on('response', (response) => {
      // What it says beyond its status is not read.
      response.on('error', () => undefined);
      response.destroy();
      const { statusCode = 0 } = response;
      if (statusCode >= 200 && statusCode < 300) resolve();
      else reject(new DeliveryError(`status ${statusCode}`, retryAfter(response.headers['retry-after'])));
    });
    sent.on('error', (error: NodeJS.ErrnoException) => reject(new DeliveryError(reasonOf(error))));
    sent.end(body);
  });
}

function reasonOf(error: NodeJS.ErrnoException): string {
  if (error.name === 'AbortError' || error.name === 'TimeoutError') return 'no answer in time';
  // Codes are of a closed kind; messages may quote certificates.
  return /^[A-Z0-9_]{1,64}$/.test(error.code ?? '') ? (error.code ?? '') : error.name.slice(0, 64);
}

function retryAfter(header: string | undefined): number | undefined {
  if (header === undefined || !/^\d{1,6}$/.test(header)) return undefined;
  return Math.min(Number(header), MAX_RETRY_AFTER_S) * 1000;
}
