import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { ApprovalPolicy, Approver } from '../../policy/quorum.ts';
import type { PasskeyAssertion } from '../proto/page-calls.ts';
import { AssertionFormatError, type RelyingParty, verifyAssertion } from './passkey.ts';
import type { IsFrozen } from './tally.ts';

/** A passkey that the policy in force knows, and whose it is. */
interface EnrolledPasskey {
  readonly approver: Approver;
  readonly credentialId: string;
  /** COSE_Key, base64url. */
  readonly publicKey: string;
}

export interface SignInOptions {
  /** The policy in force, asked each time: whoever is no longer enrolled is signed out. */
  readonly policy: () => ApprovalPolicy;
  readonly isFrozen: IsFrozen;
  readonly party: () => RelyingParty;
  /** Monotonic, milliseconds. */
  readonly now?: (() => number) | undefined;
}

/** Somebody at a page. Not a session: those are PKCS#11's. */
export interface SignIn {
  readonly approver: Approver;
  readonly credentialId: string;
  /** Milliseconds until it ends at the latest. */
  readonly leftMs: number;
}

export class SignInRefused extends Error {
  override readonly name = 'SignInRefused';
  readonly reason: 'too-many-requests' | 'refused';

  constructor(reason: 'too-many-requests' | 'refused', message: string) {
    super(message);
    this.reason = reason;
  }
}

const CHALLENGE_MS = 3 * 60_000;
const LONGEST_MS = 15 * 60_000;
const IDLE_MS = 5 * 60_000;
const MAX_PER_PERSON = 4;
const WINDOW_MS = 60_000;
/** Steps of signing in (a challenge, an answer) a minute. */
const MAX_STEPS_PER_ADDRESS = 20;
const MAX_STEPS = 600;
/** What one sign-in may ask in a minute. */
const MAX_CALLS = 120;

const NONCE_BYTES = 16;
const TIME_BYTES = 8;
const MAC_BYTES = 32;

interface Kept {
  readonly approver: string;
  readonly credentialId: string;
  readonly publicKey: string;
  readonly peer: string;
  readonly startedAt: number;
  usedAt: number;
  windowStart: number;
  calls: number;
}

/**
 * Who is at the pages. Only the broker knows: the gateway sees a secret pass, and nothing that it says makes a sign-in.
 *
 * Invariants:
 *   - before a passkey has answered, nothing is kept: a challenge carries its own proof (a MAC of this process), so that
 *     strangers can fill no table; it serves once and for three minutes
 *   - a sign-in ends after 15 minutes, 5 minutes after its last use, with the broker, with the gateway process, when it
 *     comes from another address, and when its passkey is no longer the policy's
 *   - it lists and rejects; it never approves: that takes the passkey again, over the act itself
 */
export class SignIns {
  readonly #options: SignInOptions;
  readonly #now: () => number;
  readonly #macKey = randomBytes(32);
  /** By the SHA-256 of the secret: what is looked up is not what opens. */
  readonly #kept = new Map<string, Kept>();
  /** Challenges that were answered, until they would have ended anyway. */
  readonly #answered = new Map<string, number>();
  readonly #steps = new Map<string, number>();
  #allSteps = 0;
  #windowStart = Number.NEGATIVE_INFINITY;

  constructor(options: SignInOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  /** @throws SignInRefused when there were too many from that address, or from all */
  challenge(peer: string): Uint8Array {
    this.#step(peer);
    const body = Buffer.alloc(NONCE_BYTES + TIME_BYTES);
    randomBytes(NONCE_BYTES).copy(body);
    body.writeDoubleBE(this.#now() + CHALLENGE_MS, NONCE_BYTES);
    return Buffer.concat([body, this.#mac(body)]);
  }

  /**
   * @returns the secret that the browser is to keep, and whose it is
   * @throws SignInRefused with the same words whatever was wrong: who is enrolled is nobody's business
   */
  async signIn(
    assertion: PasskeyAssertion,
    peer: string,
  ): Promise<{ readonly secret: string; readonly signIn: SignIn }> {
    this.#step(peer);
    const challenge = challengeIn(assertion.clientDataJson);
    const passkey = this.#find(assertion.credentialId);
    if (challenge === undefined || passkey === undefined || !this.#isOurs(challenge)) throw refused();
    // Taken before the check: two answers to one challenge cannot race.
    const name = challenge.toString('base64url');
    if (this.#answered.has(name)) throw refused();
    this.#answered.set(name, this.#now() + CHALLENGE_MS);
    if (!(await isAnswer(assertion, passkey.publicKey, challenge, this.#options.party()))) throw refused();
    return this.#keep(passkey, peer);
  }

  /**
   * Undefined: nobody is signed in so.
   *
   * @throws SignInRefused when it asks too often
   */
  find(secret: string | undefined, peer: string): SignIn | undefined {
    if (secret === undefined) return undefined;
    const digest = digestOf(secret);
    const kept = this.#kept.get(digest);
    if (kept === undefined) return undefined;
    const now = this.#now();
    const passkey = this.#find(kept.credentialId);
    if (
      now - kept.startedAt >= LONGEST_MS ||
      now - kept.usedAt >= IDLE_MS ||
      kept.peer !== peer ||
      passkey === undefined ||
      passkey.approver.id !== kept.approver ||
      passkey.publicKey !== kept.publicKey
    ) {
      this.#kept.delete(digest);
      return undefined;
    }
    if (now - kept.windowStart >= WINDOW_MS) {
      kept.windowStart = now;
      kept.calls = 0;
    }
    kept.calls += 1;
    if (kept.calls > MAX_CALLS)
      throw new SignInRefused('too-many-requests', 'too many requests: wait a minute');
    kept.usedAt = now;
    return {
      approver: passkey.approver,
      credentialId: kept.credentialId,
      leftMs: LONGEST_MS - (now - kept.startedAt),
    };
  }

  end(secret: string | undefined): void {
    if (secret !== undefined) this.#kept.delete(digestOf(secret));
  }

  /** The process that saw the secrets is gone, and perhaps not by itself. */
  endAll(): void {
    this.#kept.clear();
  }

  #keep(passkey: EnrolledPasskey, peer: string): { readonly secret: string; readonly signIn: SignIn } {
    const own = [...this.#kept].filter(([, kept]) => kept.approver === passkey.approver.id);
    // In the order in which they began.
    for (const [digest] of own.slice(0, Math.max(0, own.length - MAX_PER_PERSON + 1)))
      this.#kept.delete(digest);
    const secret = randomBytes(32).toString('base64url');
    const now = this.#now();
    const { approver, credentialId, publicKey } = passkey;
    this.#kept.set(digestOf(secret), {
      approver: approver.id,
      credentialId,
      publicKey,
      peer,
      startedAt: now,
      usedAt: now,
      windowStart: now,
      calls: 0,
    });
    return { secret, signIn: { approver, credentialId, leftMs: LONGEST_MS } };
  }

  #find(credentialId: string): EnrolledPasskey | undefined {
    for (const approver of this.#options.policy().approvers.values()) {
      for (const key of approver.keys) {
        if (key.method !== 'webauthn' || key.credentialId !== credentialId) continue;
        return this.#options.isFrozen(approver)
          ? undefined
          : { approver, credentialId, publicKey: key.publicKey };
      }
    }
    return undefined;
  }

  #isOurs(challenge: Buffer): boolean {
    if (challenge.length !== NONCE_BYTES + TIME_BYTES + MAC_BYTES) return false;
    const body = challenge.subarray(0, NONCE_BYTES + TIME_BYTES);
    if (!timingSafeEqual(challenge.subarray(body.length), this.#mac(body))) return false;
    return this.#now() < body.readDoubleBE(NONCE_BYTES);
  }

  #mac(body: Uint8Array): Buffer {
    return createHmac('sha256', this.#macKey).update('lastmile-sign-in-v1\0').update(body).digest();
  }

  #step(peer: string): void {
    const now = this.#now();
    if (now - this.#windowStart >= WINDOW_MS) {
      this.#windowStart = now;
      this.#allSteps = 0;
      this.#steps.clear();
      for (const [name, endsAt] of this.#answered) if (now >= endsAt) this.#answered.delete(name);
    }
    const network = networkOf(peer);
    const own = this.#steps.get(network) ?? 0;
    if (own >= MAX_STEPS_PER_ADDRESS || this.#allSteps >= MAX_STEPS)
      throw new SignInRefused('too-many-requests', 'too many attempts to sign in: wait a minute');
    this.#steps.set(network, own + 1);
    this.#allSteps += 1;
  }
}

/** By somebody who was there and whom the authenticator has recognised: the sign-in rejects without asking again. */
async function isAnswer(
  assertion: PasskeyAssertion,
  publicKey: string,
  challenge: Uint8Array,
  party: RelyingParty,
): Promise<boolean> {
  try {
    const verified = await verifyAssertion(assertion, publicKey, challenge, party);
    return verified?.presence.userPresent === true && verified.presence.userVerified;
  } catch (error) {
    if (error instanceof AssertionFormatError) return false;
    throw error;
  }
}

function refused(): SignInRefused {
  return new SignInRefused('refused', 'this passkey is not enrolled here, or its answer came too late');
}

/** Of CollectedClientData (WebAuthn level 3, section 5.8.1). Only to find which challenge is meant: the check compares. */
function challengeIn(clientDataJson: string): Buffer | undefined {
  try {
    const data: unknown = JSON.parse(Buffer.from(clientDataJson, 'base64url').toString('utf8'));
    const { challenge } = (data ?? {}) as { readonly challenge?: unknown };
    return typeof challenge === 'string' ? Buffer.from(challenge, 'base64url') : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function digestOf(secret: string): string {
  return createHash('sha256').update(secret).digest('base64url');
}

/** An IPv6 host has a whole /64 to call from. */
function networkOf(peer: string): string {
  if (!peer.includes(':') || peer.startsWith('::ffff:')) return peer;
  const [head = ''] = peer.split('::');
  const groups = head.split(':').filter((group) => group !== '');
  return `${[...groups, '0', '0', '0', '0'].slice(0, 4).join(':')}::/64`;
}
